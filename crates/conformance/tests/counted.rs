//! `/metrics` after a load whose counts are known: names as Strimzi gives them, values exact.
//!
//! Apache Kafka serves no such page, so these tests pass there without asking.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{Kind, NodeOptions, free_port, wait_until};
use serde_json::json;

const SETTLE: Duration = Duration::from_secs(30);

/// The page of a node.
struct Page(String);

impl Page {
    fn read(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SETTLE))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(Self(answer))
    }

    /// The sum of all series of this name that have all of these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let mut sum = None;
        for line in self.0.lines().filter(|l| !l.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap_or_default();
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            if found == name && labels.iter().all(|l| rest.contains(l)) {
                sum = Some(sum.unwrap_or(0.0) + value.parse::<f64>().context(line.to_string())?);
            }
        }
        sum.with_context(|| {
            let near: Vec<&str> = self.0.lines().filter(|l| l.starts_with(name)).collect();
            format!("no {name} with {labels:?}; there are {near:#?}")
        })
    }
}

#[test]
fn a_known_load_is_counted_exactly() -> Result<()> {
    ensure_java!();
    if Kind::target() == Kind::Kafka {
        return Ok(());
    }
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut setup = Setup::with(NodeOptions::default().with("ottla.http.listener", &address))?;
    setup.topic("counted", 2)?;
    setup.topic("other", 1)?;
    let config = json!({"linger.ms": "5", "batch.size": "16384", "compression.type": "none"});
    let generate = json!({"count": 1000, "size": 200, "partitions": 2});
    setup.call(
        json!({"do": "produce", "topic": "counted", "generate": generate, "config": config}),
    )?;
    let ten = json!({"count": 10, "size": 50});
    setup.call(json!({"do": "produce", "topic": "other", "generate": ten, "config": config}))?;
    setup.call(json!({"do": "consume", "topic": "counted", "count": 1000, "brief": true}))?;
    setup.driver.refused(&json!({"do": "produce", "topic": "other", "generate": {"count": 1, "size": 1_100_000}, "config": {"max.request.size": "2000000"}}))?;
    let page = Page::read(&address)?;
    let topic = |name: &str, topic: &str| {
        let label = format!("topic=\"{topic}\"");
        page.sum(&format!("kafka_server_brokertopicmetrics_{name}_total"), &[&label])
    };
    for (name, of, expected) in [("messagesin", "counted", 1000.0), ("messagesin", "other", 10.0)] {
        assert_eq!(topic(name, of)?, expected, "{name} of {of}");
    }
    // A batch that is too large is the producer's fault, not a failure of the broker.
    ensure!(topic("failedproducerequests", "other").is_err());
    assert_eq!(page.sum("kafka_server_brokertopicmetrics_failedproducerequests_total", &[])?, 0.0);
    let written = topic("bytesin", "counted")?;
    // Values of 200 bytes and keys of at most 7, and not more than 20 bytes of frame for each.
    ensure!((200_000.0..240_000.0).contains(&written), "{written} bytes in");
    let files: u64 = (0..2)
        .map(|p| setup.node.data().join(format!("counted-{p}/00000000000000000000.log")))
        .map(|f| f.metadata().map_or(0, |m| m.len()))
        .sum();
    assert_eq!(written, files as f64, "what came in is what was written");
    assert_eq!(topic("bytesout", "counted")?, written, "it was read once, and whole");
    ensure!(topic("bytesrejected", "other")? > 1_100_000.0);
    for partition in ["0", "1"] {
        let labels = ["topic=\"counted\"", &format!("partition=\"{partition}\"")];
        assert_eq!(page.sum("kafka_log_log_logendoffset", &labels)?, 500.0);
        assert_eq!(page.sum("kafka_log_log_logstartoffset", &labels)?, 0.0);
        assert_eq!(page.sum("kafka_log_log_numlogsegments", &labels)?, 1.0);
    }
    requests_add_up(&page)
}

/// Each request has one answer, with an error or with NONE, and one time.
fn requests_add_up(page: &Page) -> Result<()> {
    for request in ["Produce", "FetchConsumer", "Metadata", "ApiVersions", "CreateTopics"] {
        let label = format!("request=\"{request}\"");
        let requests = page.sum("kafka_network_requestmetrics_requests_total", &[&label])?;
        let timed = page.sum("kafka_network_requestmetrics_totaltimems_count", &[&label])?;
        ensure!(requests > 0.0 && requests == timed, "{request}: {requests}, {timed} timed");
    }
    let created =
        page.sum("kafka_network_requestmetrics_requests_total", &["request=\"CreateTopics\""])?;
    // Once asked of the broker and once, in an Envelope, of the controller.
    assert_eq!(created, 4.0);
    let errors = page.sum(
        "kafka_network_requestmetrics_errors_total",
        &["request=\"Produce\"", "error=\"MESSAGE_TOO_LARGE\""],
    )?;
    assert_eq!(errors, 1.0);
    Ok(())
}

#[test]
fn groups_are_counted() -> Result<()> {
    ensure_java!();
    if Kind::target() == Kind::Kafka {
        return Ok(());
    }
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut setup = Setup::with(NodeOptions::default().with("ottla.http.listener", &address))?;
    setup.topic("t", 3)?;
    let generate = json!({"count": 30, "size": 10, "partitions": 3});
    setup.call(json!({"do": "produce", "topic": "t", "generate": generate}))?;
    let group = |name: &str, labels: &[&str]| {
        Page::read(&address)?.sum(&format!("kafka_server_group_coordinator_metrics_{name}"), labels)
    };
    let config = json!({"group.protocol": "classic", "heartbeat.interval.ms": "500"});
    setup.call(json!({"do": "member.start", "member": "a", "group": "g", "topics": ["t"], "config": config}))?;
    wait_until("the records", SETTLE, || {
        let seen = setup.call(json!({"do": "group.seen", "group": "g"})).unwrap_or_default();
        seen["records"] == json!(30)
    })?;
    wait_until("their commit", SETTLE, || group("offset_count", &[]).is_ok_and(|c| c == 3.0))?;
    assert_eq!(group("group_count", &["protocol=\"classic\""])?, 1.0);
    assert_eq!(group("classic_group_count", &["state=\"Stable\""])?, 1.0);
    assert_eq!(group("classic_group_count", &["state=\"Empty\""])?, 0.0);
    ensure!(group("group_completed_rebalance_count", &[])? >= 1.0);
    let committed = group("offset_commit_count", &[])?;
    ensure!(committed >= 3.0, "{committed} offsets committed");
    setup.call(json!({"do": "member.stop", "member": "a"}))?;
    wait_until("an empty group", SETTLE, || {
        group("classic_group_count", &["state=\"Empty\""]).is_ok_and(|c| c == 1.0)
    })?;
    setup.call(json!({"do": "deleteConsumerGroupOffsets", "group": "g", "partitions": [{"topic": "t", "partition": 1}]}))?;
    assert_eq!(group("offset_deletion_count", &[])?, 1.0);
    assert_eq!(group("offset_count", &[])?, 2.0);
    // As in Kafka, offsets that go with their group do not count as deleted.
    setup.call(json!({"do": "deleteConsumerGroups", "groups": ["g"]}))?;
    wait_until("no group", SETTLE, || {
        group("group_count", &["protocol=\"classic\""]).is_ok_and(|c| c == 0.0)
    })?;
    assert_eq!(group("offset_count", &[])?, 0.0);
    assert_eq!(group("offset_deletion_count", &[])?, 1.0);
    Ok(())
}
