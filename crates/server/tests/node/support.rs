//! What every module here needs: the binary of this build, and looks at what it says.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ottla_testkit::{Kind, Node, NodeOptions, Ran, run_bounded, use_binary};
use serde_json::Value;

/// The longest a command may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(30);

/// The binary that belongs to these tests.
pub(crate) fn binary() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_ottla"));
    use_binary(path.clone());
    path
}

/// A command that sees none of the variables that would change it.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("OTTLA_BROKERS").env_remove("OTTLA_LOG");
    command
}

/// Runs a command to its end.
pub(crate) fn ottla(arguments: &[&str]) -> Result<Ran> {
    ottla_with(arguments, "")
}

/// Runs a command with a standard input.
pub(crate) fn ottla_with(arguments: &[&str], stdin: &str) -> Result<Ran> {
    run_bounded(&mut command(arguments), stdin, LIMIT)
}

/// Runs a command that must succeed, and gives its standard output.
pub(crate) fn succeeds(arguments: &[&str], stdin: &str) -> Result<String> {
    let ran = ottla_with(arguments, stdin)?;
    ensure!(ran.code == Some(0), "{arguments:?} ended with {:?}: {}", ran.code, ran.stderr);
    Ok(ran.stdout)
}

/// Runs a command that must succeed and print JSON.
pub(crate) fn json(arguments: &[&str]) -> Result<Value> {
    let text = succeeds(&[arguments, &["-o", "json"]].concat(), "")?;
    serde_json::from_str(&text).with_context(|| text)
}

/// A node whose directories are formatted, and which does not run.
pub(crate) fn formatted(options: NodeOptions) -> Result<Node> {
    binary();
    let node = Node::prepare(options)?;
    node.format(Kind::Ottla)?;
    Ok(node)
}

/// A running node.
pub(crate) fn running(options: NodeOptions) -> Result<Node> {
    let mut node = formatted(options)?;
    node.start_as(Kind::Ottla)?;
    Ok(node)
}

/// Its `server.properties`, as an argument.
pub(crate) fn properties(node: &Node) -> String {
    node.properties_file().display().to_string()
}

/// Checks how a command failed: its exit code, and what its standard error says.
pub(crate) fn check_failure(what: &str, ran: &Ran, code: i32, says: &[&str]) -> Result<()> {
    ensure!(ran.code == Some(code), "{what} ended with {:?}: {}", ran.code, ran.stderr);
    for text in says {
        ensure!(ran.stderr.contains(text), "{what} does not say {text:?}: {}", ran.stderr);
    }
    Ok(())
}

/// Status and body of an HTTP GET.
pub(crate) fn http_get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
