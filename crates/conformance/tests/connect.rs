//! Kafka Connect and MirrorMaker 2, as their users start them: what they move arrives, across restarts of both sides.
//!
//! Exactly-once sources need transactions and are not part of it.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Driver, ensure_java};
use ottla_testkit::{Folder, Java, Kind, Node, NodeOptions, Process, free_port, wait_until};
use serde_json::{Value, json};

const SETTLE: Duration = Duration::from_secs(90);

/// Lines of a file go to a topic and from there to another file.
#[test]
fn connect_standalone() -> Result<()> {
    ensure_java!();
    let mut node = Node::start(Kind::target(), NodeOptions::default())?;
    let lines = Lines::new(node.bootstrap())?;
    let moved = move_lines(&mut node, &lines);
    moved.with_context(|| node.tail())?;
    listed("| Kafka Connect, standalone | 4.3.1 |")
}

fn move_lines(node: &mut Node, lines: &Lines) -> Result<()> {
    let mut worker = lines.worker()?;
    lines.add(0..100)?;
    lines.wait_for_exactly(100).with_context(|| worker.tail())?;
    // Its own offsets and those of its group say where it was.
    stop(&mut worker)?;
    lines.add(100..200)?;
    let worker = lines.worker()?;
    lines.wait_for_exactly(200).with_context(|| worker.tail())?;
    node.kill9()?;
    lines.add(200..300)?;
    node.restart()?;
    // At least once: what was under way may come twice.
    let all = || {
        let arrived = lines.arrived();
        (0..300).all(|number| arrived.contains(&number))
    };
    wait_until("every line", SETTLE, all).with_context(|| worker.tail())
}

/// The files of one worker.
struct Lines {
    folder: Folder,
}

impl Lines {
    fn new(bootstrap: &str) -> Result<Self> {
        let lines = Self { folder: Folder::new("connect")? };
        let (from, to) = (lines.path("from"), lines.path("to"));
        File::create(&from)?;
        let worker = format!(
            "bootstrap.servers={bootstrap}
listeners=http://127.0.0.1:{}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename={}
offset.flush.interval.ms=1000
plugin.discovery=service_load\n",
            free_port()?,
            lines.path("offsets").display(),
        );
        std::fs::write(lines.path("worker"), worker)?;
        let connector = |name: &str, class: &str, topic: &str, file: &Path| {
            let class = format!("org.apache.kafka.connect.file.FileStream{class}Connector");
            let file = file.display();
            let text =
                format!("name={name}\nconnector.class={class}\n{topic}=lines\nfile={file}\n");
            std::fs::write(lines.path(name), text)
        };
        connector("source.properties", "Source", "topic", &from)?;
        connector("sink.properties", "Sink", "topics", &to)?;
        Ok(lines)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn worker(&self) -> Result<Process> {
        let mut command = java()?.command(&[], "org.apache.kafka.connect.cli.ConnectStandalone");
        let files = ["worker", "source.properties", "sink.properties"];
        command.args(files.map(|name| self.path(name)));
        Process::start(&mut command, &self.path("log"))
    }

    fn add(&self, numbers: std::ops::Range<u32>) -> Result<()> {
        let text: Vec<String> = numbers.map(|number| format!("{number}\n")).collect();
        let mut file = File::options().append(true).open(self.path("from"))?;
        Ok(file.write_all(text.concat().as_bytes())?)
    }

    fn arrived(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(self.path("to")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn wait_for_exactly(&self, count: u32) -> Result<()> {
        let many = || count as usize <= self.arrived().len();
        wait_until("the lines", SETTLE, many)?;
        let arrived = self.arrived();
        ensure!(arrived == Vec::from_iter(0..count), "{arrived:?}");
        Ok(())
    }
}

/// A topic with its configs, its records and a group's offsets arrive in another cluster.
#[test]
fn mirror_maker() -> Result<()> {
    ensure_java!();
    let mut from = Node::start(Kind::target(), NodeOptions::default())?;
    let mut to = Node::start(Kind::target(), NodeOptions::default())?;
    let mirrored = mirror(&mut from, &mut to);
    mirrored.with_context(|| format!("{}\n{}", from.tail(), to.tail()))?;
    listed("| MirrorMaker 2 | 4.3.1 |")
}

fn mirror(from: &mut Node, to: &mut Node) -> Result<()> {
    let (mut near, mut far) = (Driver::start(from.bootstrap())?, Driver::start(to.bootstrap())?);
    let configs = json!({"retention.ms": "7200000"});
    near.call(&json!({"do": "createTopics", "topic": "orders", "partitions": 2, "factor": 1, "configs": configs}))?;
    produce(&mut near, 500)?;
    let offsets = [0, 1]
        .map(|partition| json!({"topic": "orders", "partition": partition, "offset": 250, "metadata": ""}));
    near.call(&json!({"do": "alterConsumerGroupOffsets", "group": "readers", "offsets": offsets}))?;
    let folder = Folder::new("mirror")?;
    let worker = mirror_maker_of(&folder, from, to)?;
    wait_until("the records", SETTLE, || ends(&mut far).is_ok_and(|ends| ends == [250, 250]))
        .with_context(|| worker.tail())?;
    let resource = json!({"do": "describeConfigs", "type": "TOPIC", "name": "near.orders"});
    let synced =
        || far.call(&resource).is_ok_and(|configs| configs.to_string().contains("7200000"));
    wait_until("the topic's configs", SETTLE, synced).with_context(|| worker.tail())?;
    let group = json!({"do": "listConsumerGroupOffsets", "group": "readers"});
    let translated = || {
        let offsets = far.call(&group).map(|offsets| offsets.to_string()).unwrap_or_default();
        offsets.matches("near.orders").count() == 2 && offsets.matches("250").count() == 2
    };
    wait_until("the group's offsets", SETTLE, translated)
        .with_context(|| format!("{:?}\n{}", far.call(&group), worker.tail()))?;
    to.kill9()?;
    produce(&mut near, 100)?;
    to.restart()?;
    all_came(&mut near, &mut far, 600).with_context(|| worker.tail())?;
    from.kill9()?;
    from.restart()?;
    produce(&mut near, 80)?;
    all_came(&mut near, &mut far, 680).with_context(|| worker.tail())
}

/// Waits until every record is there in its order. At least once: what was under way may come twice.
fn all_came(near: &mut Driver, far: &mut Driver, count: u32) -> Result<()> {
    let sent = near.call(&json!({"do": "consume", "topic": "orders", "count": count}))?;
    let mut last = Ok(false);
    let same = || {
        last = read(far).map(|came| (0..2).all(|p| values(&sent, p) == values(&came, p)));
        matches!(last, Ok(true))
    };
    wait_until("every record", SETTLE, same).with_context(|| format!("{last:?}"))
}

fn read(far: &mut Driver) -> Result<Value> {
    let count: i64 = ends(far)?.iter().sum();
    far.call(&json!({"do": "consume", "topic": "near.orders", "count": count}))
}

/// Different values of a partition in the order of their first appearance.
fn values(records: &Value, partition: i64) -> Vec<&Value> {
    let mut values = Vec::new();
    for record in records.as_array().into_iter().flatten() {
        if record["partition"] == json!(partition) && !values.contains(&&record["value"]) {
            values.push(&record["value"]);
        }
    }
    values
}

fn produce(near: &mut Driver, count: u32) -> Result<()> {
    let generate = json!({"count": count, "size": 100 + count, "partitions": 2});
    let config = json!({"compression.type": "zstd"});
    near.call(
        &json!({"do": "produce", "topic": "orders", "generate": generate, "config": config}),
    )?;
    Ok(())
}

fn ends(far: &mut Driver) -> Result<[i64; 2]> {
    let mut ends = [0; 2];
    for (partition, end) in ends.iter_mut().enumerate() {
        let found = far.call(
            &json!({"do": "listOffsets", "topic": "near.orders", "partition": partition, "spec": "latest"}),
        )?;
        *end = found["offset"].as_i64().context("an offset")?;
    }
    Ok(ends)
}

fn mirror_maker_of(folder: &Folder, from: &Node, to: &Node) -> Result<Process> {
    let mut text = format!(
        "clusters=near, far
near.bootstrap.servers={}
far.bootstrap.servers={}
near->far.enabled=true
near->far.topics=orders
near->far.groups=readers
far->near.enabled=false
replication.factor=1
sync.group.offsets.enabled=true
offset.lag.max=0
plugin.discovery=service_load\n",
        from.bootstrap(),
        to.bootstrap()
    );
    for topic in ["checkpoints.topic", "heartbeats.topic", "offset-syncs.topic"] {
        text.push_str(&format!("{topic}.replication.factor=1\n"));
    }
    for storage in ["offset", "status", "config"] {
        text.push_str(&format!("{storage}.storage.replication.factor=1\n"));
    }
    for what in [
        "refresh.topics",
        "refresh.groups",
        "sync.topic.configs",
        "emit.checkpoints",
        "sync.group.offsets",
    ] {
        text.push_str(&format!("{what}.interval.seconds=1\n"));
    }
    let file = folder.path().join("mirror.properties");
    std::fs::write(&file, text)?;
    let mut command = java()?.command(&[], "org.apache.kafka.connect.mirror.MirrorMaker");
    Process::start(command.arg(&file), &folder.path().join("log"))
}

/// More memory than short programs get.
fn java() -> Result<Java> {
    Ok(Java::find()?.with_flags(&["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx768m"]))
}

fn stop(process: &mut Process) -> Result<()> {
    process.terminate()?;
    process.wait(SETTLE)?;
    Ok(())
}

/// What has passed stands in the table of programs.
fn listed(row: &str) -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let page = std::fs::read_to_string(page)?;
    let found = page.lines().find(|line| line.starts_with(row));
    found.with_context(|| format!("docs/compatibility.md has no row {row}"))?;
    Ok(())
}
