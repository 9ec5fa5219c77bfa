//! kafka-clients' producer and consumer: every codec, headers, nulls, sizes, timestamps, acks.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{Kind, wait_until};
use serde_json::{Value, json};

#[test]
fn records_come_back_as_they_went() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("plain", 2)?;
    let records = json!([
        {"partition": 0, "key": "k", "value": "v", "timestamp": 1_700_000_000_000_i64, "headers": [["h", "1"], ["h", null], ["ü", ""]]},
        {"partition": 0, "key": null, "value": "no key"},
        {"partition": 0, "key": "no value", "value": null},
        {"partition": 0, "key": "", "value": ""},
        {"partition": 1, "key": "other", "value": "partition"},
    ]);
    let sent = setup.call(json!({"do": "produce", "topic": "plain", "records": records}))?;
    assert_eq!(offsets(&sent), [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]);
    let seen =
        setup.call(json!({"do": "consume", "topic": "plain", "partitions": [0], "count": 4}))?;
    let first = &seen[0];
    assert_eq!((&first["key"], &first["value"]), (&json!("k"), &json!("v")));
    assert_eq!(first["timestamp"], json!(1_700_000_000_000_i64));
    assert_eq!(first["timestamp_type"], json!("CreateTime"));
    assert_eq!(first["headers"], json!([["h", "1"], ["h", null], ["ü", ""]]));
    assert_eq!((&seen[1]["key"], &seen[1]["value"]), (&Value::Null, &json!("no key")));
    assert_eq!((&seen[2]["key"], &seen[2]["value"]), (&json!("no value"), &Value::Null));
    assert_eq!((&seen[3]["key"], &seen[3]["value"]), (&json!(""), &json!("")));
    Ok(())
}

#[test]
fn every_codec_comes_back_whole() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let mut checksums = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        setup.topic(&topic, 1)?;
        let generate = json!({"count": 2000, "size": 300});
        let config = json!({"compression.type": codec, "linger.ms": "20"});
        setup.call(
            json!({"do": "produce", "topic": topic, "generate": generate, "config": config}),
        )?;
        let seen =
            setup.call(json!({"do": "consume", "topic": topic, "count": 2000, "brief": true}))?;
        assert_eq!(seen["count"], json!(2000), "{codec}");
        checksums.push(seen["crc"].clone());
    }
    assert!(checksums.iter().all(|c| *c == checksums[0]), "{checksums:?}");
    Ok(())
}

#[test]
fn a_topic_recompresses_when_it_is_told_to() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.call(json!({"do": "createTopics", "topic": "zstd", "partitions": 1, "factor": 1, "configs": {"compression.type": "zstd"}}))?;
    let generate = json!({"count": 500, "size": 1000});
    setup.call(json!({"do": "produce", "topic": "zstd", "generate": generate, "config": {"compression.type": "gzip"}}))?;
    let seen =
        setup.call(json!({"do": "consume", "topic": "zstd", "count": 500, "brief": true}))?;
    assert_eq!(seen["count"], json!(500));
    let segment = setup.node.data().join("zstd-0/00000000000000000000.log");
    let dump = setup.tool("kafka-dump-log", &["--files", &segment.display().to_string()], "")?;
    let codecs: Vec<&str> = dump.stdout.lines().filter(|l| l.contains("compresscodec:")).collect();
    ensure!(
        !codecs.is_empty() && codecs.iter().all(|l| l.contains("compresscodec: zstd")),
        "{}",
        dump.stdout
    );
    Ok(())
}

#[test]
fn large_records_pass_up_to_the_limit() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("large", 1)?;
    let client = json!({"max.request.size": "20000000", "buffer.memory": "64000000"});
    let near = json!({"count": 3, "size": 1_000_000});
    setup.call(json!({"do": "produce", "topic": "large", "generate": near, "config": client}))?;
    let over = json!({"count": 1, "size": 1_100_000});
    let refused = setup
        .driver
        .refused(&json!({"do": "produce", "topic": "large", "generate": over, "config": client}))?;
    assert_eq!(refused.error, "RecordTooLargeException");
    setup.call(json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "large", "ops": [["SET", "max.message.bytes", "12000000"]]}))?;
    let ten = json!({"count": 1, "size": 10_000_000});
    setup.call(json!({"do": "produce", "topic": "large", "generate": ten, "config": client}))?;
    // A consumer with the usual limits still gets a batch that is larger than they are.
    let seen = setup.call(json!({"do": "consume", "topic": "large", "count": 4, "brief": true}))?;
    assert_eq!((&seen["count"], &seen["bytes"]), (&json!(4), &json!(13_000_000)));
    Ok(())
}

#[test]
fn acks_decide_what_a_producer_learns() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("acks", 1)?;
    let one = json!([{"partition": 0, "value": "x"}]);
    let unknown = setup.call(json!({"do": "produce", "topic": "acks", "records": one, "config": {"acks": "0", "enable.idempotence": "false"}}))?;
    assert_eq!(unknown[0]["offset"], json!(-1));
    for (acks, offset) in [("1", 1), ("all", 2)] {
        let config = json!({"acks": acks, "enable.idempotence": "false"});
        let sent = setup
            .call(json!({"do": "produce", "topic": "acks", "records": one, "config": config}))?;
        assert_eq!(offsets(&sent), [(0, offset)], "acks={acks}");
    }
    Ok(())
}

#[test]
fn log_append_time_is_the_brokers() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let configs = json!({"message.timestamp.type": "LogAppendTime"});
    setup.call(json!({"do": "createTopics", "topic": "stamped", "partitions": 1, "factor": 1, "configs": configs}))?;
    let records = json!([{"value": "a", "timestamp": 1000}, {"value": "b", "timestamp": 2000}]);
    let sent = setup.call(json!({"do": "produce", "topic": "stamped", "records": records}))?;
    let seen = setup.call(json!({"do": "consume", "topic": "stamped", "count": 2}))?;
    assert_eq!(seen[0]["timestamp_type"], json!("LogAppendTime"));
    ensure!(seen[0]["timestamp"].as_i64() > Some(1_700_000_000_000), "{seen}");
    assert_eq!(seen[0]["timestamp"], sent[0]["timestamp"]);
    Ok(())
}

#[test]
fn timestamps_out_of_bounds_are_refused() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let configs = json!({"message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "1000"});
    setup.call(json!({"do": "createTopics", "topic": "bounded", "partitions": 1, "factor": 1, "configs": configs}))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let now = i64::try_from(now)?;
    for (moved, refusal) in [
        (0, None),
        (-30_000, None),
        (-120_000, Some("InvalidTimestampException")),
        (60_000, Some("InvalidTimestampException")),
    ] {
        let records = json!([{"value": "x", "timestamp": now + moved}]);
        let command = json!({"do": "produce", "topic": "bounded", "records": records});
        let ended = setup.driver.attempt(&command)?.err().map(|r| r.error);
        assert_eq!(ended.as_deref(), refusal, "{moved} ms from now");
    }
    // The broker's own clock is within any bounds.
    setup.call(json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "bounded", "ops": [["SET", "message.timestamp.type", "LogAppendTime"]]}))?;
    let old =
        json!({"do": "produce", "topic": "bounded", "records": [{"value": "y", "timestamp": 1}]});
    let mut last = Value::Null;
    wait_until("the broker's clock", Duration::from_secs(30), || {
        last = setup.call(old.clone()).unwrap_or_default();
        last[0]["timestamp"].as_i64() >= Some(now)
    })
    .with_context(|| last.to_string())
}

#[test]
fn an_unknown_topic_is_created_on_first_use() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.call(json!({"do": "produce", "topic": "fresh", "records": [{"value": "x"}]}))?;
    let seen = setup.call(json!({"do": "consume", "topic": "fresh", "count": 1}))?;
    assert_eq!(seen[0]["value"], json!("x"));
    let refused = setup
        .driver
        .refused(&json!({"do": "produce", "topic": "not a name", "records": [{"value": "x"}]}))?;
    assert_eq!(refused.error, "InvalidTopicException");
    Ok(())
}

#[test]
fn a_transactional_producer_is_told_at_once() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let begun = std::time::Instant::now();
    let command = json!({"do": "initTransactions", "config": {"transactional.id": "t"}});
    if setup.node.kind() == Kind::Kafka {
        setup.call(command)?;
        return Ok(());
    }
    let refused = setup.driver.refused(&command)?;
    // No retry until a timeout of a minute: the error says that this broker has no transactions. Java wraps
    // what FindCoordinator says (UNSUPPORTED_VERSION) into an exception of its own.
    ensure!(refused.message.contains("no transactions yet"), "{refused:?}");
    ensure!(begun.elapsed().as_secs() < 10, "{refused:?}");
    Ok(())
}

/// Partition and offset of each answer.
fn offsets(sent: &Value) -> Vec<(i64, i64)> {
    let answers = sent.as_array().context("answers").cloned().unwrap_or_default();
    answers
        .iter()
        .map(|a| (a["partition"].as_i64().unwrap_or(-1), a["offset"].as_i64().unwrap_or(-1)))
        .collect()
}
