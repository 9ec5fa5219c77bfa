//! Running other programs: one way to start them, to bound them in time and to say what failed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Starts a description of `cargo ARGS` in the repository's root.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // A nested cargo must not inherit what the outer one set for this package alone.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_")
            || name == "CARGO_MANIFEST_DIR"
            || name == "CARGO_MANIFEST_PATH"
        {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(root);
    command
}

/// Runs to the end with inherited output; an exit code other than 0 is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if status.success() { Ok(()) } else { bail!("`{shown}` ended with {status}") }
}

/// Runs to the end and gives back stdout; stderr is inherited.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no UTF-8"))
}

/// Runs with a limit of time, handing each line of stdout to `line`; true if it ended with code 0.
///
/// The child is killed when the limit has passed, so that a hanging test costs its limit and no more.
pub(crate) fn run_bounded(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<bool> {
    let shown = show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let stdout = child.stdout.take().context("stdout was asked for")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for text in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(text) => line(&text),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                child.kill().ok();
                child.wait().ok();
                eprintln!("`{shown}` did not end within {} s and was killed", limit.as_secs());
                return Ok(false);
            }
        }
    }
    Ok(child.wait()?.success())
}

/// True if a program of this name can be started.
pub(crate) fn exists(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hanging_program_costs_its_limit_only() {
        let start = Instant::now();
        let ended = run_bounded(
            Command::new("tail").args(["-f", "/dev/null"]),
            Duration::from_millis(50),
            |_| (),
        );
        assert!(!ended.unwrap());
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failing_program_is_named() {
        let error = run(Command::new("false").arg("--flag")).unwrap_err();
        assert!(format!("{error}").contains("`false --flag`"), "{error}");
    }
}
