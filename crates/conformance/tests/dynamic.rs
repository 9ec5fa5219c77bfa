//! Configs that kafka-clients' admin changes while records flow, and what they do from then on.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{NodeOptions, wait_until};
use serde_json::{Value, json};

const SETTLE: Duration = Duration::from_secs(30);

fn set(setup: &mut Setup, kind: &str, name: &str, key: &str, value: &str) -> Result<()> {
    let ops = json!([["SET", key, value]]);
    setup.call(json!({"do": "incrementalAlterConfigs", "type": kind, "name": name, "ops": ops}))?;
    Ok(())
}

fn produce(topic: &str, size: u32) -> Value {
    json!({"do": "produce", "topic": topic, "generate": {"count": 1, "size": size}, "config": {"max.request.size": "5000000"}})
}

/// Whether one record of this size is taken; how it is refused if not.
fn outcome(setup: &mut Setup, topic: &str, size: u32) -> Option<String> {
    setup.driver.attempt(&produce(topic, size)).ok().map(|a| match a {
        Ok(_) => "taken".to_owned(),
        Err(refused) => refused.error,
    })
}

#[test]
fn the_largest_batch_changes_with_the_broker_and_the_topic() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("sized", 1)?;
    let refused = Some("RecordTooLargeException".to_owned());
    let taken = Some("taken".to_owned());
    assert_eq!(outcome(&mut setup, "sized", 5000), taken);
    for (kind, name, key, value, size, expected) in [
        // The cluster's default, the broker's own above it, the topic's above both.
        ("BROKER", "", "message.max.bytes", "2000", 5000, &refused),
        ("BROKER", "1", "message.max.bytes", "8000", 5000, &taken),
        ("BROKER", "1", "message.max.bytes", "8000", 9000, &refused),
        ("TOPIC", "sized", "max.message.bytes", "20000", 9000, &taken),
        ("TOPIC", "sized", "max.message.bytes", "1000", 1500, &refused),
    ] {
        set(&mut setup, kind, name, key, value)?;
        let mut last = None;
        wait_until("the new size", SETTLE, || {
            last = outcome(&mut setup, "sized", size);
            last == *expected
        })
        .with_context(|| format!("{kind} {name} {key}={value}: {last:?} for {size}"))?;
    }
    Ok(())
}

#[test]
fn a_shorter_retention_takes_segments_away() -> Result<()> {
    ensure_java!();
    // Kafka looks for old segments thirty seconds after its start at the soonest.
    let options = NodeOptions::default()
        .with("log.retention.check.interval.ms", "500")
        .with("log.initial.task.delay.ms", "500")
        .with("log.segment.delete.delay.ms", "100");
    let mut setup = Setup::with(options)?;
    let configs = json!({"segment.bytes": "1048576"});
    setup.call(json!({"do": "createTopics", "topic": "short", "partitions": 1, "factor": 1, "configs": configs}))?;
    let generate = json!({"count": 300, "size": 10000});
    setup.call(json!({"do": "produce", "topic": "short", "generate": generate, "config": {"compression.type": "none"}}))?;
    let folder = setup.node.data().join("short-0");
    let segments = || -> usize {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.filter(|e| e.path().extension().is_some_and(|e| e == "log")).count()
    };
    ensure!(segments() >= 3, "{} segments", segments());
    let earliest =
        json!({"do": "listOffsets", "topic": "short", "partition": 0, "spec": "earliest"});
    assert_eq!(setup.call(earliest.clone())?["offset"], json!(0));
    set(&mut setup, "TOPIC", "short", "retention.ms", "1")?;
    wait_until("old segments to go", SETTLE, || segments() == 1)
        .with_context(|| format!("{} segments", segments()))?;
    // All of it is older than a millisecond: the active segment is rolled and goes too.
    let mut offset = Value::Null;
    wait_until("a new start", SETTLE, || {
        offset = setup.call(earliest.clone()).unwrap_or_default()["offset"].take();
        offset == json!(300)
    })
    .with_context(|| format!("it starts at {offset}"))?;
    // The next record goes on where the last one was.
    let sent = setup.call(produce("short", 10))?;
    assert_eq!(sent[0]["offset"], json!(300));
    Ok(())
}

#[test]
fn a_default_of_the_broker_reaches_topics_without_their_own() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("stamped", 1)?;
    let stamp = |setup: &mut Setup| -> Result<Value> {
        let records = json!([{"partition": 0, "value": "x", "timestamp": 1000}]);
        let sent = setup.call(json!({"do": "produce", "topic": "stamped", "records": records}))?;
        Ok(sent[0]["timestamp"].clone())
    };
    assert_eq!(stamp(&mut setup)?, json!(1000));
    set(&mut setup, "BROKER", "", "log.message.timestamp.type", "LogAppendTime")?;
    wait_until("the broker's clock", SETTLE, || {
        stamp(&mut setup).is_ok_and(|s| s.as_i64() > Some(1_700_000_000_000))
    })?;
    set(&mut setup, "TOPIC", "stamped", "message.timestamp.type", "CreateTime")?;
    wait_until("the producer's clock", SETTLE, || stamp(&mut setup).is_ok_and(|s| s == json!(1000)))
}

#[test]
fn more_replicas_than_there_are_cannot_be_asked_for() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("alone", 1)?;
    set(&mut setup, "TOPIC", "alone", "min.insync.replicas", "2")?;
    wait_until("the new value", SETTLE, || {
        let asked = json!({"do": "describeConfigs", "type": "TOPIC", "name": "alone"});
        let configs = setup.call(asked).unwrap_or_default();
        configs["min.insync.replicas"]["value"] == json!("2")
    })?;
    // The partition has one replica, so one in sync is all that acks=all waits for.
    assert_eq!(outcome(&mut setup, "alone", 10), Some("taken".to_owned()));
    Ok(())
}
