//! A combined broker and controller as a child process: Ottla or Apache Kafka, on the same directory.
//!
//! Both are started with the same `server.properties`, so a test that is right for one is right for the
//! other, and a directory can be handed from one to the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::binary::ottla_binary;
use crate::folder::Folder;
use crate::java::{Java, run_bounded};
use crate::ports::free_port;
use crate::probe::answers_api_versions;
use crate::process::Process;
use crate::usage::Usage;
use crate::wait::wait_until;

/// Sixteen bytes of text in the base64 that Kafka uses for uuids.
const CLUSTER_ID: &str = "b3R0bGEtdGVzdC1jbHVzdA";

/// The longest a node may take until it answers; a JVM on a loaded machine needs most of it.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The longest a stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// One look at a node that may not answer yet.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// Exit code of a JVM that ended by SIGTERM: 128 and the signal.
const JVM_TERMINATED: i32 = 143;

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our binary.
    Ottla,
    /// A real Apache Kafka.
    Kafka,
}

impl Kind {
    /// The program that conformance tests aim at: `OTTLA_CONFORMANCE_TARGET=kafka` shows that the tests
    /// themselves are right.
    pub fn target() -> Self {
        match std::env::var("OTTLA_CONFORMANCE_TARGET").as_deref() {
            Ok("kafka") => Self::Kafka,
            _ => Self::Ottla,
        }
    }
}

/// How a node is set up.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Properties added to the usual ones, or put in their place; an empty value takes a property away.
    pub properties: Vec<(String, String)>,
    /// Arguments of the virtual machine, for Kafka.
    pub jvm: Vec<String>,
    /// Kafka's or Ottla's arguments after the file name, for example `--override`.
    pub arguments: Vec<String>,
    /// More arguments for the tool that formats.
    pub format_arguments: Vec<String>,
}

impl NodeOptions {
    /// With one more property.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_string(), value.to_string()));
        self
    }
}

/// A node with its own folder, ports and log; it is killed when this goes.
#[derive(Debug)]
pub struct Node {
    kind: Kind,
    process: Option<Process>,
    properties: BTreeMap<String, String>,
    options: NodeOptions,
    bootstrap: String,
    controller: String,
    folder: Folder,
}

impl Node {
    /// As [`Node::start`], for a broker alone that belongs to the controller of another node.
    pub fn start_broker(kind: Kind, of: &Self, options: NodeOptions) -> Result<Self> {
        let mut options = options.with("process.roles", "broker");
        match of.properties.get("controller.quorum.voters") {
            Some(voters) => options = options.with("controller.quorum.voters", voters),
            None => {
                options = options
                    .with("controller.quorum.voters", "")
                    .with("controller.quorum.bootstrap.servers", of.controller());
            }
        }
        Self::start(kind, options)
    }

    /// Formats a new directory with this program's own tool and starts the program on it.
    pub fn start(kind: Kind, options: NodeOptions) -> Result<Self> {
        let mut node = Self::prepare(options)?;
        node.format(kind)?;
        node.start_as(kind)?;
        Ok(node)
    }

    /// A folder with a `server.properties`; nothing is formatted and nothing runs.
    pub fn prepare(options: NodeOptions) -> Result<Self> {
        let folder = Folder::new("node")?;
        let bootstrap = format!("127.0.0.1:{}", free_port()?);
        let controller = format!("127.0.0.1:{}", free_port()?);
        let mut properties = usual_properties(folder.path(), &bootstrap, &controller);
        set_roles(&mut properties, &options, &bootstrap, &controller);
        for (name, value) in &options.properties {
            if value.is_empty() {
                properties.remove(name);
            } else {
                properties.insert(name.clone(), value.clone());
            }
        }
        if !properties.contains_key("controller.quorum.voters") {
            let servers = properties.entry("controller.quorum.bootstrap.servers".into());
            servers.or_insert_with(|| controller.clone());
        }
        // A controller alone has no listener for clients: whoever asks it, asks there.
        let is_controller = properties.get("process.roles").is_some_and(|r| r == "controller");
        let bootstrap = if is_controller { controller.clone() } else { bootstrap };
        let node = Self {
            kind: Kind::Ottla,
            process: None,
            properties,
            options,
            bootstrap,
            controller,
            folder,
        };
        node.write_properties()?;
        Ok(node)
    }

    /// Formats the directory with the program's own storage tool.
    pub fn format(&self, kind: Kind) -> Result<()> {
        let file = self.properties_file();
        let file = file.to_str().context("path")?;
        let is_broker = self.properties.get("process.roles").is_some_and(|r| r == "broker");
        // Without static voters a controller is told that it is the first one.
        let standalone = !is_broker && !self.properties.contains_key("controller.quorum.voters");
        let mut command = match kind {
            Kind::Ottla => {
                let mut command = Command::new(ottla_binary()?);
                command.args(["storage", "format", "--cluster-id", CLUSTER_ID, "--config", file]);
                command
            }
            Kind::Kafka => {
                let mut command = Java::find()?.command(&[], "kafka.tools.StorageTool");
                command.args(["format", "--cluster-id", CLUSTER_ID, "--config", file]);
                command
            }
        };
        if standalone {
            command.arg("--standalone");
        }
        command.args(&self.options.format_arguments);
        let ran = run_bounded(&mut command, "", READY_LIMIT)?;
        ensure!(ran.code == Some(0), "formatting failed:\n{}{}", ran.stdout, ran.stderr);
        Ok(())
    }

    /// Starts a program on the directory as it is, and waits until it answers; returns how long that took.
    pub fn start_as(&mut self, kind: Kind) -> Result<Duration> {
        ensure!(self.process.is_none(), "it runs already");
        self.kind = kind;
        let begun = Instant::now();
        let mut process =
            Process::start(&mut self.command(kind)?, &self.folder.path().join("log"))?;
        let mut early = None;
        let waited = wait_until("the node to answer", READY_LIMIT, || {
            early = process.ended();
            early.is_some() || answers_api_versions(&self.bootstrap, PROBE_LIMIT)
        });
        waited.with_context(|| process.tail())?;
        if let Some(status) = early {
            bail!("{kind:?} ended with {status} at its start\n{}", process.tail());
        }
        self.process = Some(process);
        Ok(begun.elapsed())
    }

    /// Starts the same program again on the same directory.
    pub fn restart(&mut self) -> Result<Duration> {
        self.start_as(self.kind)
    }

    /// Stops it with SIGTERM, waits, and checks its exit code; returns how long that took.
    pub fn stop(&mut self) -> Result<Duration> {
        let mut process = self.process.take().context("it does not run")?;
        let begun = Instant::now();
        process.terminate()?;
        let status = process.wait(STOP_LIMIT)?;
        let expected = if self.kind == Kind::Kafka { JVM_TERMINATED } else { 0 };
        ensure!(status.code() == Some(expected), "it ended with {status}\n{}", process.tail());
        Ok(begun.elapsed())
    }

    /// Kills it at once.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.take().context("it does not run")?.kill9()
    }

    /// The running process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("it does not run")
    }

    /// Memory and processor time of the running process.
    pub fn usage(&self) -> Result<Usage> {
        self.process.as_ref().context("it does not run")?.usage()
    }

    /// Which program was started last.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where clients connect.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where the controller listens.
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// Its `log.dirs`.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its whole folder: properties, log and data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its `server.properties`.
    pub fn properties_file(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    /// The end of its log, for an assertion's message.
    pub fn tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::tail)
    }

    fn write_properties(&self) -> Result<()> {
        let lines: String = self.properties.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        std::fs::write(self.properties_file(), lines)?;
        let logging = self.folder.path().join("log4j2.properties");
        std::fs::write(logging, LOGGING)?;
        Ok(())
    }

    fn command(&self, kind: Kind) -> Result<Command> {
        let mut command = match kind {
            Kind::Ottla => {
                let mut command = Command::new(ottla_binary()?);
                command.arg("server").arg(self.properties_file());
                command
            }
            Kind::Kafka => {
                let java = Java::find()?;
                let mut command = Command::new("java");
                if self.options.jvm.is_empty() {
                    command.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
                }
                command.args(&self.options.jvm);
                let logging = self.folder.path().join("log4j2.properties");
                command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
                command
                    .args(["-cp", &java.class_path(&[]), "kafka.Kafka"])
                    .arg(self.properties_file());
                command
            }
        };
        command.args(&self.options.arguments);
        Ok(command)
    }
}

/// Log lines of Kafka from warnings on, to the console.
const LOGGING: &str = "\
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
";

fn usual_properties(folder: &Path, bootstrap: &str, controller: &str) -> BTreeMap<String, String> {
    let data = folder.join("data").display().to_string();
    let listeners = format!("PLAINTEXT://{bootstrap},CONTROLLER://{controller}");
    let voters = format!("1@{controller}");
    let advertised = format!("PLAINTEXT://{bootstrap}");
    let pairs = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", &voters),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", &listeners),
        ("advertised.listeners", &advertised),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("log.dirs", &data),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "5"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        // Kafka warns that it does not know this one and goes on.
        ("ottla.http.listener", "none"),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// Listeners that fit the roles, if the options name other ones than usual.
fn set_roles(
    properties: &mut BTreeMap<String, String>,
    options: &NodeOptions,
    bootstrap: &str,
    controller: &str,
) {
    let roles = options.properties.iter().find(|(name, _)| name == "process.roles");
    match roles.map(|(_, roles)| roles.as_str()) {
        Some("broker") => {
            properties.insert("listeners".into(), format!("PLAINTEXT://{bootstrap}"));
        }
        Some("controller") => {
            properties.insert("listeners".into(), format!("CONTROLLER://{controller}"));
            properties.remove("advertised.listeners");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_replace_and_remove_properties() {
        let options = NodeOptions::default().with("node.id", "7").with("ottla.http.listener", "");
        let node = Node::prepare(options).unwrap();
        let text = std::fs::read_to_string(node.properties_file()).unwrap();
        assert!(text.contains("node.id=7\n") && !text.contains("ottla.http"), "{text}");
        assert!(text.contains(&format!("listeners=PLAINTEXT://{}", node.bootstrap())));
    }

    #[test]
    fn only_a_running_node_can_be_stopped() {
        let mut node = Node::prepare(NodeOptions::default()).unwrap();
        assert!(node.stop().is_err() && node.kill9().is_err());
    }
}
