//! kcat, as its users call it, with the librdkafka that Debian ships. Shell scripts are made of these command lines.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_record::Batches;
use ottla_testkit::{
    Kind, Node, NodeOptions, Process, note_skip, peers_folder, run_bounded, wait_until,
};
use serde_json::{Value as Json, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A command that begins as each of kcat's does; none if it has not been fetched.
fn kcat(test: &str, node: &Node) -> Option<Command> {
    let folder = peers_folder().join("kcat");
    let program = folder.join("usr/bin/kcat");
    if !program.is_file() {
        note_skip(test, "kcat", &format!("no {}", program.display()));
        return None;
    }
    let mut command = Command::new(program);
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", folder.join(libraries));
    command.args(["-q", "-b", node.bootstrap()]);
    Some(command)
}

/// A node, and what kcat says to words and input.
struct World {
    node: Node,
    test: &'static str,
}

impl World {
    /// None without kcat.
    fn start(test: &'static str) -> Result<Option<Self>> {
        let node = Node::start(Kind::target(), NodeOptions::default())?;
        Ok(kcat(test, &node).map(|_| Self { node, test }))
    }

    fn command(&self, words: &str) -> Result<Command> {
        let mut command = kcat(self.test, &self.node).context("kcat is gone")?;
        command.args(words.split_whitespace());
        Ok(command)
    }

    fn run(&self, words: &str, input: &str) -> Result<String> {
        let ran = run_bounded(&mut self.command(words)?, input, LIMIT)?;
        ensure!(ran.code == Some(0), "{words}: {ran:?}\n{}", self.node.tail());
        Ok(ran.stdout)
    }
}

#[test]
fn metadata_as_json() -> Result<()> {
    let Some(world) = World::start("kcat::metadata_as_json")? else { return Ok(()) };
    world.run("-P -t made", "x\n")?;
    let listed: Json = serde_json::from_str(&world.run("-L -J", "")?)?;
    ensure!(listed["brokers"] == json!([{"id": 1, "name": world.node.bootstrap()}]), "{listed}");
    let topics = listed["topics"].as_array().cloned().unwrap_or_default();
    let made = topics.iter().find(|topic| topic["topic"] == "made").context("the topic")?;
    ensure!(made["partitions"][0]["leader"] == 1, "{listed}");
    Ok(())
}

/// Back as they went, and compressed on disk: this librdkafka leaves it if it takes the broker for one that cannot.
#[test]
fn records_with_each_codec() -> Result<()> {
    let Some(world) = World::start("kcat::records_with_each_codec")? else { return Ok(()) };
    for (number, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let lines: String = (0..200).map(|n| format!("k{n}:{}\n", "value ".repeat(20))).collect();
        let input = format!("key:value\n:no key\nno value:\n{lines}");
        let words =
            format!("-P -t {codec} -p 0 -K: -Z -z {codec} -H h=1 -H other= -X linger.ms=100");
        world.run(&words, &input)?;
        let words = format!("-C -t {codec} -o beginning -e -J");
        let read = world.run(&words, "")?;
        let records: Vec<Json> =
            read.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(records.len() == 203, "{codec}: {}", records.len());
        let pairs = json!([["key", "value"], [null, "no key"], ["no value", null]]);
        for (at, record) in records.iter().enumerate() {
            ensure!(record["offset"] == json!(at) && record["tstype"] == "create", "{record}");
            ensure!(record["headers"] == json!(["h", "1", "other", ""]), "{record}");
            let pair = json!([record["key"], record["payload"]]);
            ensure!(pairs.get(at).is_none_or(|expected| *expected == pair), "{codec}: {record}");
        }
        let segment = world.node.data().join(format!("{codec}-0/00000000000000000000.log"));
        // What did not get smaller, as a few records may, is sent as it was.
        let batches = Batches::new(std::fs::read(&segment)?.into());
        let codecs = batches.map(|batch| Ok(batch?.header().attributes.0 & 7));
        let codecs = codecs.collect::<Result<Vec<_>>>()?;
        ensure!(codecs.iter().any(|found| usize::from(*found) == number), "{codec}: {codecs:?}");
    }
    Ok(())
}

#[test]
fn a_file_as_one_record_and_offsets_by_time() -> Result<()> {
    let test = "kcat::a_file_as_one_record_and_offsets_by_time";
    let Some(world) = World::start(test)? else { return Ok(()) };
    let file = world.node.folder().join("large");
    std::fs::write(&file, "x".repeat(900_000))?;
    world.run(&format!("-P -t t -X enable.idempotence=true {}", file.display()), "")?;
    world.run("-P -t t -X acks=1", "after\n")?;
    ensure!(world.run("-C -t t -o beginning -e -f %o:%S\\n", "")? == "0:900000\n1:5\n");
    ensure!(world.run("-C -t t -o -1 -e -f %o:%s\\n", "")? == "1:after\n");
    for (time, offset) in [("-1", 2), ("-2", 0), ("1000", 0)] {
        let told = world.run(&format!("-Q -t t:0:{time}"), "")?;
        ensure!(told.trim() == format!("t [0] offset {offset}"), "{time}: {told}");
    }
    Ok(())
}

/// A member and a producer outlive a kill of the node; nothing that was acknowledged is missed.
#[test]
fn a_group_reads_on_after_a_kill() -> Result<()> {
    let Some(mut world) = World::start("kcat::a_group_reads_on_after_a_kill")? else {
        return Ok(());
    };
    let numbers = |from: u32| (from..from + 500).map(|n| format!("n{n}\n")).collect::<String>();
    world.run("-P -t t -X acks=all", &numbers(0))?;
    // -E: kcat ends when its only broker is gone, unless it is told not to.
    let mut command = world.command("-E -u -X auto.offset.reset=earliest -G group t")?;
    let log = world.node.folder().join("member");
    let mut member = Process::start(&mut command, &log)?;
    let has = |member: &Process, count: usize| {
        let output = member.output();
        let seen: BTreeSet<_> = output.lines().filter(|line| line.starts_with('n')).collect();
        seen.len() == count
    };
    wait_until("500 records", LIMIT, || has(&member, 500)).with_context(|| member.tail())?;
    world.node.kill9()?;
    world.node.restart()?;
    world.run("-P -t t -X acks=all", &numbers(500))?;
    wait_until("1000 records", LIMIT, || has(&member, 1000)).with_context(|| member.tail())?;
    member.terminate()?;
    member.wait(LIMIT)?;
    Ok(())
}
