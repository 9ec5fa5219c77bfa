//! A node and a driver for one test, and Kafka's tools by their script names.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_testkit::{Java, Kind, Node, NodeOptions, Ran};
use serde_json::{Value, json};

use crate::driver::Driver;

/// The longest one tool may run.
const TOOL_LIMIT: Duration = Duration::from_secs(90);

/// Kafka's scripts and the classes behind them.
const TOOLS: &[(&str, &str)] = &[
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-metadata-shell", "org.apache.kafka.shell.MetadataShell"),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-storage", "kafka.tools.StorageTool"),
    ("kafka-acls", "org.apache.kafka.tools.AclCommand"),
];

/// A running node and clients for it.
#[derive(Debug)]
pub struct Setup {
    /// The node.
    pub node: Node,
    /// Java clients of it.
    pub driver: Driver,
}

impl Setup {
    /// A fresh node of the kind that is tested, and a driver.
    pub fn start() -> Result<Self> {
        Self::with(NodeOptions::default())
    }

    /// As [`Setup::start`], with more properties.
    pub fn with(options: NodeOptions) -> Result<Self> {
        let node = Node::start(Kind::target(), options)?;
        let driver = Driver::start(node.bootstrap())?;
        Ok(Self { node, driver })
    }

    /// Creates a topic with one replica.
    pub fn topic(&mut self, name: &str, partitions: u32) -> Result<()> {
        self.driver.call(
            &json!({"do": "createTopics", "topic": name, "partitions": partitions, "factor": 1}),
        )?;
        Ok(())
    }

    /// Runs one of Kafka's tools by its script's name and gives back what it printed and its exit code.
    pub fn tool(&self, name: &str, arguments: &[&str], stdin: &str) -> Result<Ran> {
        run_tool(name, arguments, stdin)
    }

    /// Runs a tool with `--bootstrap-server`; it must end with code 0. Gives back its standard output.
    pub fn online(&self, name: &str, arguments: &[&str]) -> Result<String> {
        self.online_with(name, arguments, "")
    }

    /// As [`Setup::online`], with standard input.
    pub fn online_with(&self, name: &str, arguments: &[&str], stdin: &str) -> Result<String> {
        let mut all = vec!["--bootstrap-server", self.node.bootstrap()];
        all.extend(arguments);
        let ran = run_tool(name, &all, stdin)?;
        ensure!(
            ran.code == Some(0),
            "{name} {arguments:?} ended with {:?}\n{}{}\n{}",
            ran.code,
            ran.stdout,
            ran.stderr,
            self.node.tail()
        );
        Ok(ran.stdout)
    }

    /// Executes a driver command; on failure the node's log is part of the error.
    pub fn call(&mut self, command: Value) -> Result<Value> {
        let called = self.driver.call(&command);
        called.with_context(|| self.node.tail())
    }
}

/// Runs one of Kafka's tools by its script's name, on no node in particular.
pub fn run_tool(name: &str, arguments: &[&str], stdin: &str) -> Result<Ran> {
    Java::find()?.run(tool_class(name)?, arguments, stdin, TOOL_LIMIT)
}

/// The main class behind one of Kafka's scripts.
pub fn tool_class(name: &str) -> Result<&'static str> {
    let class = TOOLS.iter().find(|t| t.0 == name).map(|t| t.1);
    class.with_context(|| format!("no tool is called {name}"))
}

/// How often to repeat something: a variable, set by the longer commands of xtask, or the test's own number.
pub fn repeat(variable: &str, own: u32) -> u32 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(own)
}
