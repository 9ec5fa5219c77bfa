//! Every client library against the real binary: one test a client, one column a capability.
//!
//! The rows of docs/compatibility.md are what these tests saw; a row that has become untrue fails its
//! test. `UPDATE_EXPECT=1` writes them anew.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

mod columns;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use ottla_conformance::Driver;
use ottla_testkit::{Kind, Node, NodeOptions, note_skip, peers_folder};
use serde_json::json;

use crate::columns::{COLUMNS, Row};

/// How the driver of one language is started.
struct Language {
    peer: &'static str,
    /// A program on the path, or below the folder of peers.
    program: &'static str,
    /// Below the folder of peers; there once the peer has been fetched.
    fetched: &'static str,
    /// Jars below the folder of peers, for Java.
    class_path: Option<&'static str>,
    /// Below the folder of this crate.
    script: Option<&'static str>,
}

const PYTHON: Language = Language {
    peer: "python",
    program: "python/bin/python",
    fetched: "python/fetched.lock",
    class_path: None,
    script: Some("clients/python/driver.py"),
};

const PYTHON_OLD: Language = Language {
    peer: "python-old",
    program: "python-old/bin/python",
    fetched: "python-old/fetched.lock",
    ..PYTHON
};

const NODE: Language = Language {
    peer: "node",
    program: "node",
    fetched: "node/fetched.lock",
    class_path: None,
    script: Some("clients/node/driver.mjs"),
};

const GO: Language = Language {
    peer: "go",
    program: "go/driver",
    fetched: "go/driver",
    class_path: None,
    script: None,
};

/// One source with the jars of each version, compiled when it starts.
const fn java(class_path: &'static str) -> Language {
    Language {
        peer: "kafka-clients",
        program: "java",
        fetched: "kafka-clients/checked-jars.lock",
        class_path: Some(class_path),
        script: Some("clients/java/Driver.java"),
    }
}

#[test]
fn confluent_kafka() -> Result<()> {
    check(&PYTHON, "confluent-kafka")
}

/// The librdkafka that long-lived distributions ship.
#[test]
fn librdkafka() -> Result<()> {
    check(&PYTHON_OLD, "librdkafka")
}

#[test]
fn kafka_python() -> Result<()> {
    check(&PYTHON, "kafka-python")
}

#[test]
fn aiokafka() -> Result<()> {
    check(&PYTHON, "aiokafka")
}

#[test]
fn kafkajs() -> Result<()> {
    check(&NODE, "kafkajs")
}

#[test]
fn platformatic_kafka() -> Result<()> {
    check(&NODE, "@platformatic/kafka")
}

#[test]
fn franz_go() -> Result<()> {
    check(&GO, "franz-go")
}

#[test]
fn sarama() -> Result<()> {
    check(&GO, "sarama")
}

#[test]
fn kafka_go() -> Result<()> {
    check(&GO, "kafka-go")
}

#[test]
fn kafka_clients_2() -> Result<()> {
    check(&java("kafka-clients/libs/2.1.1/*"), "kafka-clients 2")
}

#[test]
fn kafka_clients_3() -> Result<()> {
    check(&java("kafka-clients/libs/3.9.2/*"), "kafka-clients 3")
}

#[test]
fn kafka_clients_4() -> Result<()> {
    check(&java("kafka-clients/libs/4.3.1/*"), "kafka-clients 4")
}

/// Runs all columns with one library and compares the outcome with its row.
fn check(language: &Language, library: &str) -> Result<()> {
    let fetched = peers_folder().join(language.fetched);
    if !fetched.exists() {
        let why = format!("no {}; fetch it with cargo xtask peers", fetched.display());
        note_skip(library, language.peer, &why);
        return Ok(());
    }
    // In the new protocol the broker says how often; a rebalance takes some of these.
    let options = NodeOptions::default()
        .with("group.consumer.min.heartbeat.interval.ms", "500")
        .with("group.consumer.heartbeat.interval.ms", "500");
    let mut node = Node::start(Kind::target(), options)?;
    let mut driver = start(language, library, &node)?;
    let version = driver.call(&json!({"do": "version"}))?;
    let mut cells = Vec::new();
    for (name, column) in COLUMNS {
        let mut row = Row { node: &mut node, driver: &mut driver };
        let cell = column(&mut row).with_context(|| format!("{library}: {name}"));
        cells.push(cell.with_context(|| node.tail())?);
    }
    table::check(library, version.as_str().unwrap_or_default(), &cells)
}

fn start(language: &Language, library: &str, node: &Node) -> Result<Driver> {
    let (peers, here) = (peers_folder(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let own = peers.join(language.program);
    let program = if own.is_file() { own } else { PathBuf::from(language.program) };
    let mut command = Command::new(program);
    command.env("OTTLA_CLIENTS", peers.join(language.peer));
    if let Some(class_path) = language.class_path {
        // Short programs: start quickly, take one core and little memory.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m", "-cp"]);
        command.arg(peers.join(class_path));
    }
    command.args(language.script.map(|script| here.join(script)));
    Driver::spawn(command.args([library, node.bootstrap()]))
}
