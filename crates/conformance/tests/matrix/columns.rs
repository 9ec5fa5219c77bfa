//! What each client is put through; the expectation is the same for all.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use ottla_conformance::Driver;
use ottla_testkit::{Node, wait_until};
use serde_json::{Value, json};

const SETTLE: Duration = Duration::from_secs(60);
const PARTITIONS: usize = 6;

/// A node and the driver of one library.
pub(crate) struct Row<'a> {
    pub(crate) node: &'a mut Node,
    pub(crate) driver: &'a mut Driver,
}

/// What a library can do here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Works,
    /// The library itself cannot; why.
    Lacks(String),
}

type Column = fn(&mut Row<'_>) -> Result<Cell>;

pub(crate) const COLUMNS: [(&str, Column); 9] = [
    ("admin", admin),
    ("records", records),
    ("codecs", codecs),
    ("large records", large),
    ("seek by time", by_time),
    ("pause", pause),
    ("classic group", |row| group(row, "classic")),
    ("consumer group (KIP-848)", |row| group(row, "consumer")),
    ("kill -9", kills),
];

fn admin(row: &mut Row<'_>) -> Result<Cell> {
    let configs = json!({"retention.ms": "7200000"});
    let create = json!({"do": "create", "topic": "made", "partitions": 3, "configs": configs});
    row.driver.call(&create)?;
    ensure!(row.driver.attempt(&create)?.is_err(), "a topic was created twice");
    let partitions = row.driver.call(&json!({"do": "describe", "topic": "made"}))?;
    ensure!(partitions == json!(3), "{partitions}");
    let configs = row.driver.call(&json!({"do": "configs", "topic": "made"}))?;
    ensure!(configs["retention.ms"] == json!("7200000"), "{configs}");
    ensure!(row.has_topic("made")?, "a topic that was created is not listed");
    row.driver.call(&json!({"do": "delete", "topic": "made"}))?;
    wait_until("the topic is gone", SETTLE, || matches!(row.has_topic("made"), Ok(false)))?;
    Ok(Cell::Works)
}

fn records(row: &mut Row<'_>) -> Result<Cell> {
    row.topic("records", 2)?;
    let mut sent = json!([
        {"partition": 0, "key": "k", "value": "v", "timestamp": an_hour_ago()?, "headers": [["h", "1"], ["h", "2"], ["ü", ""]]},
        {"partition": 0, "key": null, "value": "no key"},
        {"partition": 0, "key": "no value", "value": null},
        {"partition": 0, "key": "", "value": ""},
        {"partition": 1, "key": "other", "value": "partition"},
    ]);
    let mut cell = Cell::Works;
    for acks in ["all", "1"] {
        let mut produce =
            json!({"do": "produce", "topic": "records", "records": sent, "acks": acks});
        let places = match row.supported(&produce)? {
            Ok(places) => places,
            Err(lacks) => {
                null_for_empty(&mut sent);
                (produce["records"], cell) = (sent.clone(), lacks);
                row.driver.call(&produce)?
            }
        };
        let base = if acks == "all" { 0 } else { 4 };
        let expected =
            json!([[0, base], [0, base + 1], [0, base + 2], [0, base + 3], [1, base / 4]]);
        ensure!(places == expected, "acks={acks}: {places}");
    }
    let consume = json!({"do": "consume", "topic": "records", "partitions": [0], "count": 8});
    let seen = row.driver.call(&consume)?;
    for (at, record) in seen.as_array().context("a list")?.iter().enumerate() {
        let expected = &sent[at % 4];
        ensure!(record["offset"] == json!(at), "{record}");
        for field in ["key", "value"] {
            ensure!(record[field] == expected[field], "{record} came for {expected}");
        }
        if expected["headers"].is_array() {
            let same = ["headers", "timestamp"].iter().all(|f| record[*f] == expected[*f]);
            ensure!(same, "{record} came for {expected}");
        }
    }
    Ok(cell)
}

/// The same records for a library that cannot tell these two apart.
fn null_for_empty(value: &mut Value) {
    match value {
        Value::String(text) if text.is_empty() => *value = Value::Null,
        Value::Array(inner) => inner.iter_mut().for_each(null_for_empty),
        Value::Object(inner) => inner.values_mut().for_each(null_for_empty),
        _ => {}
    }
}

/// Compressed by the client, kept as it came, read back by the same client.
fn codecs(row: &mut Row<'_>) -> Result<Cell> {
    let (mut plain, mut lacking) = (0, Vec::new());
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        row.topic(&topic, 1)?;
        let generate =
            json!({"do": "generate", "topic": topic, "count": 1000, "size": 300, "codec": codec});
        match row.driver.attempt(&generate)? {
            Err(refused) if refused.error == "Unsupported" => {
                lacking.push(format!("{codec} ({})", refused.message));
                continue;
            }
            Err(refused) => bail!("{codec}: {refused:?}"),
            Ok(acked) => ensure!(acked == json!(1000), "{codec}: {acked}"),
        }
        row.count(&topic, 1000, 300)?;
        let segment = row.node.data().join(format!("{topic}-0/00000000000000000000.log"));
        let size = std::fs::metadata(&segment)?.len();
        if codec == "none" {
            plain = size;
        } else {
            ensure!(size * 2 < plain, "{codec} took {size} bytes, none {plain}");
        }
    }
    Ok(match lacking.is_empty() {
        true => Cell::Works,
        false => Cell::Lacks(lacking.join(", ")),
    })
}

fn large(row: &mut Row<'_>) -> Result<Cell> {
    row.topic("large", 1)?;
    let generate =
        json!({"do": "generate", "topic": "large", "count": 5, "size": 900_000, "codec": "none"});
    ensure!(row.driver.call(&generate)? == json!(5), "not every record was acknowledged");
    row.count("large", 5, 900_000)?;
    Ok(Cell::Works)
}

fn by_time(row: &mut Row<'_>) -> Result<Cell> {
    row.topic("time", 1)?;
    let start = an_hour_ago()?;
    let records: Vec<Value> = (0..10)
        .map(|n| json!({"partition": 0, "value": n.to_string(), "timestamp": start + n * 1000}))
        .collect();
    row.driver.call(&json!({"do": "produce", "topic": "time", "records": records}))?;
    for (timestamp, expected) in
        [(0, json!(0)), (4500, json!(5)), (9000, json!(9)), (9001, Value::Null)]
    {
        let since = json!({"do": "since", "topic": "time", "timestamp": start + timestamp});
        let offset = row.driver.call(&since)?;
        ensure!(offset == expected, "{timestamp} ms after the first: {offset}");
    }
    Ok(Cell::Works)
}

fn pause(row: &mut Row<'_>) -> Result<Cell> {
    row.topic("pause", 2)?;
    let records: Vec<Value> =
        (0..20).map(|n| json!({"partition": n % 2, "value": n.to_string()})).collect();
    row.driver.call(&json!({"do": "produce", "topic": "pause", "records": records}))?;
    let pause = json!({"do": "pause", "topic": "pause", "count": 10});
    row.supported(&pause)?.map_or_else(Ok, |seen| {
        ensure!(seen == json!([[0], [1]]), "{seen}");
        Ok(Cell::Works)
    })
}

/// Members come and go while records flow; every acknowledged record is delivered.
fn group(row: &mut Row<'_>, protocol: &str) -> Result<Cell> {
    let name = format!("group-{protocol}");
    row.topic(&name, PARTITIONS)?;
    if let Err(lacks) = row.member(&name, "a", protocol)? {
        return Ok(lacks);
    }
    row.driver.call(&json!({"do": "load.start", "load": name, "topic": name}))?;
    row.wait_for_balance(&["a"])?;
    for member in ["b", "c"] {
        let joined = row.member(&name, member, protocol)?;
        ensure!(joined.is_ok(), "{joined:?}");
    }
    row.wait_for_balance(&["a", "b", "c"])?;
    row.driver.call(&json!({"do": "member.stop", "member": "a"}))?;
    row.wait_for_balance(&["b", "c"])?;
    row.finish(&name, &["b", "c"])
}

/// A producer and a member outlive two kills of the node; every acknowledged record is delivered.
fn kills(row: &mut Row<'_>) -> Result<Cell> {
    row.topic("kills", PARTITIONS)?;
    let joined = row.member("kills", "k", "classic")?;
    ensure!(joined.is_ok(), "{joined:?}");
    row.driver.call(&json!({"do": "load.start", "load": "kills", "topic": "kills"}))?;
    for _ in 0..2 {
        let before = row.seen("kills")?;
        wait_until("records flow", SETTLE, || {
            row.seen("kills").is_ok_and(|now| now >= before + 50)
        })?;
        row.node.kill9()?;
        row.node.restart()?;
    }
    row.wait_for_balance(&["k"])?;
    row.finish("kills", &["k"])
}

/// In milliseconds; what is too old is deleted by retention.
fn an_hour_ago() -> Result<u128> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() - 3_600_000)
}

impl Row<'_> {
    fn topic(&mut self, name: &str, partitions: usize) -> Result<()> {
        let create =
            json!({"do": "create", "topic": name, "partitions": partitions, "configs": {}});
        self.driver.call(&create)?;
        wait_until("the topic is listed", SETTLE, || self.has_topic(name).unwrap_or(false))
    }

    fn has_topic(&mut self, name: &str) -> Result<bool> {
        let names = self.driver.call(&json!({"do": "topics"}))?;
        Ok(names.as_array().context("a list")?.contains(&json!(name)))
    }

    /// The answer, or that the library cannot.
    fn supported(&mut self, command: &Value) -> Result<std::result::Result<Value, Cell>> {
        match self.driver.attempt(command)? {
            Ok(answer) => Ok(Ok(answer)),
            Err(refused) if refused.error == "Unsupported" => Ok(Err(Cell::Lacks(refused.message))),
            Err(refused) => bail!("{command}: {refused:?}"),
        }
    }

    fn count(&mut self, topic: &str, count: u64, size: u64) -> Result<()> {
        let count_all = json!({"do": "count", "topic": topic, "partitions": [0], "count": count});
        let seen = self.driver.call(&count_all)?;
        let sum = count * (count - 1) / 2;
        let expected = json!({"count": count, "bytes": count * size, "sum": sum});
        ensure!(seen == expected, "{topic}: {seen}");
        Ok(())
    }

    fn member(
        &mut self,
        group: &str,
        member: &str,
        protocol: &str,
    ) -> Result<std::result::Result<Value, Cell>> {
        self.supported(&json!({
            "do": "member.start", "member": member, "group": group, "topic": group, "protocol": protocol,
        }))
    }

    /// Waits until these members share all partitions, each with at least one.
    fn wait_for_balance(&mut self, members: &[&str]) -> Result<()> {
        let mut last = Vec::new();
        let waited = wait_until("a balanced group", SETTLE, || {
            let ask =
                |member: &&str| self.driver.call(&json!({"do": "member.state", "member": member}));
            last = members.iter().map(ask).filter_map(Result::ok).collect();
            let own = last.iter().map(|state| state["assigned"].as_array().cloned());
            let own: Vec<Vec<Value>> = own.map(Option::unwrap_or_default).collect();
            let mut all: Vec<String> = own.iter().flatten().map(Value::to_string).collect();
            all.sort();
            all.dedup();
            let total: usize = own.iter().map(Vec::len).sum();
            own.iter().all(|o| !o.is_empty()) && (all.len(), total) == (PARTITIONS, PARTITIONS)
        });
        waited.with_context(|| format!("{last:?}"))
    }

    fn seen(&mut self, group: &str) -> Result<u64> {
        let seen = self.driver.call(&json!({"do": "group.seen", "group": group}))?;
        seen["records"].as_u64().with_context(|| seen.to_string())
    }

    /// Ends the load and waits until its acknowledged records have been delivered.
    fn finish(&mut self, name: &str, members: &[&str]) -> Result<Cell> {
        let load = self.driver.call(&json!({"do": "load.stop", "load": name}))?;
        ensure!(load["failed"] == json!([]), "{load}");
        let acknowledged = load["acknowledged"].as_u64().unwrap_or_default();
        ensure!(acknowledged >= 100, "{load}");
        let all = || self.seen(name).is_ok_and(|seen| seen == acknowledged);
        wait_until("every record is delivered", SETTLE, all)
            .with_context(|| format!("{:?} of {acknowledged}", self.seen(name)))?;
        for member in members {
            let state = self.driver.call(&json!({"do": "member.state", "member": member}))?;
            ensure!(state["error"].is_null(), "{member}: {state}");
            self.driver.call(&json!({"do": "member.stop", "member": member}))?;
        }
        Ok(Cell::Works)
    }
}
