//! One node's directories, no conversion: Ottla and Apache Kafka take turns on it after clean stops.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Driver, ensure_java};
use ottla_testkit::{Folder, Kind, Node, NodeOptions, wait_until};
use serde_json::{Value, json};

/// The directory's owners in order; each reads all that the former wrote and writes more.
fn hand_over(owners: &[Kind]) -> Result<()> {
    let disks = Folder::new("disks")?;
    let dirs = ["a", "b", "c"].map(|name| disks.path().join(name).display().to_string());
    let options = NodeOptions::default()
        .with("log.dirs", &dirs.join(","))
        .with("log.cleaner.backoff.ms", "50");
    let mut node = Node::prepare(options)?;
    node.format(owners[0])?;
    let mut compacted = Compacted::default();
    let (mut records, mut committed) = (0, Vec::new());
    for (turn, owner) in owners.iter().enumerate() {
        let taken = take_turn(&mut node, *owner, turn, records).and_then(|mut driver| {
            compacted.takes_turn(&mut driver, disks.path(), turn)?;
            transactions(&mut driver, *owner, turn, &mut committed)
        });
        taken.with_context(|| format!("turn {turn}, {owner:?}\n{}", node.tail()))?;
        records += RECORDS;
        node.stop()?;
    }
    Ok(())
}

/// Records that a turn adds to the common topic.
const RECORDS: usize = 500;

fn take_turn(node: &mut Node, owner: Kind, turn: usize, records: usize) -> Result<Driver> {
    node.start_as(owner)?;
    // A client of its own, so that nothing is remembered from the turn before.
    let mut driver = Driver::start(node.bootstrap())?;
    if turn > 0 {
        everything_is_there(&mut driver, turn, records)?;
    }
    write_more(&mut driver, turn)?;
    everything_is_there(&mut driver, turn + 1, records + RECORDS)?;
    Ok(driver)
}

/// Kafka writes transactions, and leaves one open; whoever comes next sees those that are committed.
fn transactions(
    driver: &mut Driver,
    owner: Kind,
    turn: usize,
    committed: &mut Vec<String>,
) -> Result<()> {
    let first = committed.is_empty();
    if owner == Kind::Kafka {
        if first {
            let create =
                json!({"do": "createTopics", "topic": "exactly", "partitions": 1, "factor": 1});
            driver.call(&create)?;
        }
        let all: Vec<Vec<String>> = ["commit", "abort", "commit", "abort", "leave open"]
            .iter()
            .enumerate()
            .map(|(at, end)| {
                let values = (0..3).map(|n| format!("turn {turn} transaction {at} record {n}"));
                std::iter::once((*end).to_owned()).chain(values).collect()
            })
            .collect();
        let config = json!({"transactional.id": "handed-over"});
        let transact =
            json!({"do": "transact", "topic": "exactly", "transactions": all, "config": config});
        driver.call(&transact)?;
        let kept = all.iter().filter(|one| one[0] == "commit");
        committed.extend(kept.flat_map(|one| one[1..].to_vec()));
    } else if first {
        return Ok(());
    }
    let isolated = json!({"isolation.level": "read_committed"});
    let count = committed.len();
    let seen = driver
        .call(&json!({"do": "consume", "topic": "exactly", "count": count, "config": isolated}))?;
    let seen: Vec<&str> =
        seen.as_array().into_iter().flatten().filter_map(|one| one["value"].as_str()).collect();
    assert_eq!(seen, *committed, "read_committed in turn {turn}");
    let everything =
        driver.call(&json!({"do": "consume", "topic": "exactly", "count": 15, "brief": true}))?;
    assert!(everything["count"].as_u64() >= Some(15), "{everything}");
    let mut latest = |config: Value| {
        driver.call(&json!({"do": "listOffsets", "topic": "exactly", "partition": 0, "spec": "latest", "isolation": config}))
    };
    let (stable, end) = (latest(json!("read_committed"))?, latest(json!("read_uncommitted"))?);
    let open =
        end["offset"].as_u64().zip(stable["offset"].as_u64()).map(|(end, stable)| end - stable);
    assert_eq!(open, Some(3), "the open transaction: {stable} of {end}");
    Ok(())
}

/// A topic that every owner fills and compacts.
#[derive(Default)]
struct Compacted {
    newest: BTreeMap<String, String>,
    cleaned: u64,
}

impl Compacted {
    fn takes_turn(&mut self, driver: &mut Driver, disks: &Path, turn: usize) -> Result<()> {
        if turn == 0 {
            let configs = json!({"cleanup.policy": "compact", "segment.bytes": "1048576",
                "min.cleanable.dirty.ratio": "0.01"});
            driver.call(&json!({"do": "createTopics", "topic": "compacted", "partitions": 1,
                "factor": 1, "configs": configs}))?;
        } else {
            self.is_there(driver)?;
        }
        let filler = "x".repeat(1000);
        let mut records = Vec::new();
        for number in 0..2500 {
            // Some keys are of this turn alone.
            let (key, value) = if number % 10 == 0 {
                (format!("of turn {turn}: {number}"), format!("kept {turn} {filler}"))
            } else {
                (format!("key {}", number % 50), format!("{turn} {number} {filler}"))
            };
            records.push(json!({"partition": 0, "key": key, "value": value}));
            self.newest.insert(key, value);
        }
        driver.call(&json!({"do": "produce", "topic": "compacted", "records": records}))?;
        let mut cleaned = None;
        wait_until("a pass of the cleaner", Duration::from_secs(60), || {
            cleaned = cleaner_offset(disks);
            cleaned > Some(self.cleaned)
        })?;
        self.cleaned = cleaned.context("an offset")?;
        self.is_there(driver)
    }

    fn is_there(&self, driver: &mut Driver) -> Result<()> {
        let ask = |spec: &str| json!({"do": "listOffsets", "topic": "compacted", "partition": 0, "spec": spec});
        let end = driver.call(&ask("latest"))?["offset"].clone();
        let seen = driver.call(&json!({"do": "consume", "topic": "compacted", "until": end}))?;
        let seen = seen.as_array().context("records")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let newest: BTreeMap<String, String> =
            seen.iter().map(|record| (text(&record["key"]), text(&record["value"]))).collect();
        ensure!(newest == self.newest, "{} keys of {}", newest.len(), self.newest.len());
        Ok(())
    }
}

/// How far the cleaner was, in whichever directory the partition is.
fn cleaner_offset(disks: &Path) -> Option<u64> {
    let lines = ["a", "b", "c"].map(|dir| {
        std::fs::read_to_string(disks.join(dir).join("cleaner-offset-checkpoint"))
            .unwrap_or_default()
    });
    lines
        .iter()
        .flat_map(|text| text.lines())
        .find_map(|line| line.strip_prefix("compacted 0 ")?.parse().ok())
}

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// In each turn: a new topic with configs, records of every codec in an old one, offsets, a changed config.
fn write_more(driver: &mut Driver, turn: usize) -> Result<()> {
    let configs =
        json!({"retention.ms": format!("{}", 1_000_000_000 + turn), "segment.bytes": "1048576"});
    driver.call(&json!({"do": "createTopics", "topic": format!("turn-{turn}"), "partitions": 2, "factor": 1, "configs": configs}))?;
    if turn == 0 {
        driver
            .call(&json!({"do": "createTopics", "topic": "all", "partitions": 1, "factor": 1}))?;
    }
    for codec in CODECS {
        let config = json!({"compression.type": codec});
        let generate = json!({"count": 100, "size": 500});
        driver.call(
            &json!({"do": "produce", "topic": "all", "generate": generate, "config": config}),
        )?;
    }
    driver.call(&json!({"do": "produce", "topic": format!("turn-{turn}"), "generate": {"count": 50, "size": 100, "partitions": 2}}))?;
    let offsets =
        json!([{"topic": "all", "partition": 0, "offset": turn * 10 + 7, "metadata": "here"}]);
    driver.call(&json!({"do": "alterConsumerGroupOffsets", "group": format!("group-{turn}"), "offsets": offsets}))?;
    driver.call(&json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "all", "ops": [["SET", "max.message.bytes", format!("{}", 2_000_000 + turn)]]}))?;
    if turn == 1 {
        driver.call(
            &json!({"do": "createTopics", "topic": "doomed", "partitions": 1, "factor": 1}),
        )?;
    }
    if turn == 2 {
        driver.call(&json!({"do": "deleteTopics", "topics": ["doomed"]}))?;
    }
    Ok(())
}

fn everything_is_there(driver: &mut Driver, turns: usize, records: usize) -> Result<()> {
    let seen = driver.call(&json!({"do": "consume", "topic": "all", "count": records, "brief": true, "timeout_ms": 60_000}))?;
    assert_eq!(seen["count"], json!(records), "after {turns} turns");
    let end = driver
        .call(&json!({"do": "listOffsets", "topic": "all", "partition": 0, "spec": "latest"}))?;
    assert_eq!(end["offset"], json!(records));
    for turn in 0..turns {
        let seen = driver.call(
            &json!({"do": "consume", "topic": format!("turn-{turn}"), "count": 50, "brief": true}),
        )?;
        assert_eq!(seen["count"], json!(50), "topic of turn {turn}");
        let configs = driver.call(
            &json!({"do": "describeConfigs", "type": "TOPIC", "name": format!("turn-{turn}")}),
        )?;
        assert_eq!(configs["retention.ms"]["value"], json!(format!("{}", 1_000_000_000 + turn)));
        let offsets = driver
            .call(&json!({"do": "listConsumerGroupOffsets", "group": format!("group-{turn}")}))?;
        assert_eq!(
            (&offsets["all-0"]["offset"], &offsets["all-0"]["metadata"]),
            (&json!(turn * 10 + 7), &json!("here"))
        );
    }
    let mut limit = Value::Null;
    wait_until("the changed config", Duration::from_secs(20), || {
        let configs = driver
            .call(&json!({"do": "describeConfigs", "type": "TOPIC", "name": "all"}))
            .unwrap_or_default();
        limit = configs["max.message.bytes"]["value"].clone();
        limit == json!(format!("{}", 2_000_000 + turns - 1))
    })
    .map_err(|e| e.context(limit.to_string()))?;
    let cluster = driver.call(&json!({"do": "describeCluster"}))?;
    ensure!(cluster["cluster_id"] == json!("b3R0bGEtdGVzdC1jbHVzdA"), "{cluster}");
    Ok(())
}

#[test]
fn ottla_writes_kafka_takes_over_and_hands_back() -> Result<()> {
    ensure_java!();
    let ours = Kind::target();
    hand_over(&[ours, Kind::Kafka, ours])
}

#[test]
fn kafka_writes_ottla_takes_over_and_hands_back() -> Result<()> {
    ensure_java!();
    hand_over(&[Kind::Kafka, Kind::target(), Kind::Kafka])
}
