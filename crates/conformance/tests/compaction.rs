//! Kafka's cleaner and Ottla's on copies of one directory: what stays is the same, to the byte where no codec and no
//! clock is involved, and Kafka serves what Ottla compacted.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]
#![allow(
    clippy::disallowed_methods,
    reason = "it copies and reads the files of nodes that have stopped"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_conformance::{Driver, ensure_java, run_tool};
use ottla_record::{Batch, Batches, Compression, DecompressLimits};
use ottla_testkit::{Folder, Kind, Node, NodeOptions, Random, wait_until};
use ottla_types::Timestamp;
use serde_json::{Value, json};

/// Nothing in it depends on a codec's implementation or on when it was compacted.
const PLAIN: &str = "plain";
/// Every codec, tombstones, transactions.
const MIXED: &str = "mixed";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn both_cleaners_leave_the_same() -> Result<()> {
    ensure_java!();
    let written = Folder::new("written")?;
    let mut node = Node::prepare(with_cleaner(false))?;
    node.format(Kind::Kafka)?;
    node.start_as(Kind::Kafka)?;
    let newest = write(&mut Driver::start(node.bootstrap())?)?;
    node.stop()?;
    copy(&node.data(), written.path())?;

    let [kafka, ottla] = [Kind::Kafka, Kind::target()].map(|kind| compacted(written.path(), kind));
    let (kafka, mut ottla) = (kafka?, ottla?);
    same_files(&kafka.data(), &ottla.data())?;
    for topic in [PLAIN, MIXED] {
        let dir = format!("{topic}-0");
        let [left, right] = [&kafka, &ottla].map(|node| batches(&node.data().join(&dir)));
        let (left, right) = (left?, right?);
        assert!(left.len() > 10, "{topic}: {} batches", left.len());
        for (left, right) in left.iter().zip(&right) {
            assert_eq!(left, right, "{topic}: Kafka's batch and Ottla's");
        }
        assert_eq!(left.len(), right.len(), "{topic}: number of batches");
        sound(&ottla.data().join(&dir))?;
    }

    ottla.start_as(Kind::Kafka)?;
    let mut driver = Driver::start(ottla.bootstrap())?;
    for (topic, newest) in [PLAIN, MIXED].iter().zip(&newest) {
        let seen = everything(&mut driver, topic)?;
        assert_eq!(&seen, newest, "{topic}: what Kafka serves of Ottla's files");
    }
    Ok(())
}

fn with_cleaner(on: bool) -> NodeOptions {
    NodeOptions::default()
        .with("log.cleaner.enable", if on { "true" } else { "false" })
        .with("log.cleaner.backoff.ms", "50")
        .with("log.cleaner.threads", "1")
        .with("transaction.state.log.replication.factor", "1")
        .with("transaction.state.log.min.isr", "1")
}

/// Values of keys, the newest ones.
type Newest = BTreeMap<String, Option<String>>;

/// Fills both topics; returns what a reader of committed records must find of each.
fn write(driver: &mut Driver) -> Result<[Newest; 2]> {
    let mut random = Random::new(7);
    let configs = json!({"cleanup.policy": "compact", "segment.bytes": "1048576",
        "min.cleanable.dirty.ratio": "0.01", "index.interval.bytes": "1000"});
    for topic in [PLAIN, MIXED] {
        driver.call(&json!({"do": "createTopics", "topic": topic, "partitions": 1, "factor": 1,
            "configs": configs}))?;
    }
    let mut plain = Newest::new();
    let mut mixed = Newest::new();
    for round in 0..5 {
        let config = json!({"compression.type": "none", "batch.size": "8000"});
        produce(driver, PLAIN, &config, records(&mut random, round, 0, &mut plain))?;
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][round];
        let config = json!({"compression.type": codec, "batch.size": "8000"});
        produce(driver, MIXED, &config, records(&mut random, round, 10, &mut mixed))?;
        transact(driver, &mut random, round, &mut mixed)?;
    }
    // Neither is the active segment compacted nor what stands in the transaction before it hidden.
    for (topic, newest) in [(PLAIN, &mut plain), (MIXED, &mut mixed)] {
        let config = json!({"compression.type": "none"});
        produce(driver, topic, &config, records(&mut random, 9, 0, newest))?;
    }
    Ok([plain, mixed])
}

/// Two mebibytes, some of them without a value where `tombstones` in a hundred is not 0.
fn records(random: &mut Random, round: usize, tombstones: u64, newest: &mut Newest) -> Vec<Value> {
    (0..2000)
        .map(|number| {
            let key = format!("key {}", random.below(300 + 100 * round as u64));
            let filler: String = "filler ".repeat(random.index(280));
            let value = format!("{round}/{number} {filler}");
            let value = (random.below(100) >= tombstones).then_some(value);
            let record = json!({"partition": 0, "key": key, "value": value,
                "headers": [["round", round.to_string()]]});
            newest.insert(key, value);
            record
        })
        .collect()
}

fn produce(driver: &mut Driver, topic: &str, config: &Value, records: Vec<Value>) -> Result<()> {
    let produce = json!({"do": "produce", "topic": topic, "config": config, "records": records});
    driver.call(&produce)?;
    Ok(())
}

/// Committed and aborted transactions over keys that others have too.
fn transact(
    driver: &mut Driver,
    random: &mut Random,
    round: usize,
    newest: &mut Newest,
) -> Result<()> {
    let transactions: Vec<Value> = ["commit", "abort", "abort", "commit"]
        .iter()
        .enumerate()
        .map(|(number, end)| {
            let mut transaction = vec![json!(end)];
            for record in 0..4 {
                let key = format!("key {}", random.below(400));
                let value = format!("{round}/{number}/{record} {end}");
                transaction.push(json!({"partition": 0, "key": key, "value": value}));
                if *end == "commit" {
                    newest.insert(key, Some(value));
                }
            }
            Value::Array(transaction)
        })
        .collect();
    let config = json!({"transactional.id": format!("writer-{}", round % 2)});
    driver.call(&json!({"do": "transact", "topic": MIXED, "transactions": transactions,
        "config": config}))?;
    Ok(())
}

/// A node that has stopped after its cleaner was through with both topics of a copy of `written`.
fn compacted(written: &Path, kind: Kind) -> Result<Node> {
    let mut node = Node::prepare(with_cleaner(true))?;
    copy(written, &node.data())?;
    let active = |topic: &str| -> Result<String> {
        let names = logs(&written.join(format!("{topic}-0")))?;
        let newest = names.last().context("segments")?.file_stem().context("a name")?.to_owned();
        let offset: u64 = newest.to_str().context("digits")?.parse()?;
        Ok(format!("{topic} 0 {offset}"))
    };
    let expected = [active(PLAIN)?, active(MIXED)?];
    node.start_as(kind)?;
    let checkpoint = node.data().join("cleaner-offset-checkpoint");
    let mut text = String::new();
    wait_until("the cleaner's checkpoint", LIMIT, || {
        text = std::fs::read_to_string(&checkpoint).unwrap_or_default();
        expected.iter().all(|line| text.lines().any(|found| found == line))
    })
    .with_context(|| format!("{kind:?}: {expected:?} in\n{text}\n{}", node.tail()))?;
    node.stop()?;
    Ok(node)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Segments of a partition, in order.
fn logs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

/// The files of the plain topic are equal but for what waits for its deletion.
fn same_files(kafka: &Path, ottla: &Path) -> Result<()> {
    let files = |data: &Path| -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(data.join(format!("{PLAIN}-0")))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if [".log", ".index", ".timeindex", ".txnindex"].iter().any(|end| name.ends_with(end)) {
                files.insert(name, std::fs::read(entry.path())?);
            }
        }
        Ok(files)
    };
    let (kafka, ottla) = (files(kafka)?, files(ottla)?);
    let names = |files: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
        files.keys().filter(|name| !name.ends_with(".txnindex")).cloned().collect()
    };
    assert_eq!(names(&kafka), names(&ottla));
    for (name, bytes) in &kafka {
        ensure!(ottla.get(name).is_none_or(|other| other == bytes), "{name} differs");
    }
    Ok(())
}

/// Each batch as text, without what a codec's implementation or the time of the pass decide.
fn batches(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in logs(dir)? {
        for batch in Batches::new(Bytes::from(std::fs::read(&path)?)) {
            let batch = Batch::parse_checked(batch?.into_bytes())?;
            let mut header = *batch.header();
            let horizon = header.attributes.has_delete_horizon();
            if horizon {
                header.base_timestamp = Timestamp(0);
            }
            if horizon || header.compression()? != Compression::None {
                (header.crc, header.length) = (0, 0);
            }
            let mut text = format!("{:?} {header:?}", path.file_name());
            for record in batch.records(&DecompressLimits::default())? {
                text += &format!("\n  {:?}", record?);
            }
            found.push(text);
        }
    }
    Ok(found)
}

/// Kafka's own tool finds nothing wrong with the batches and indexes.
fn sound(dir: &Path) -> Result<()> {
    let logs: Vec<String> = logs(dir)?.iter().map(|path| path.display().to_string()).collect();
    let files: Vec<String> = logs
        .iter()
        .flat_map(|log| {
            [log.clone(), log.replace(".log", ".index"), log.replace(".log", ".timeindex")]
        })
        .collect();
    let arguments = ["--deep-iteration", "--index-sanity-check", "--files", &files.join(",")];
    let ran = run_tool("kafka-dump-log", &arguments, "")?;
    let output = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(ran.code == Some(0), "{output}");
    for bad in ["ismatch", "isvalid: false", "corrupt", "Exception"] {
        ensure!(!output.contains(bad), "{bad} in\n{output}");
    }
    let passed =
        |line: &&str| line.ends_with(" passed sanity check.") || line.ends_with(" is empty.");
    let passed = output.lines().filter(passed).count();
    ensure!(passed == 2 * logs.len(), "{passed} of {} indexes\n{output}", 2 * logs.len());
    Ok(())
}

/// The newest committed value of each key, as a consumer finds them.
fn everything(driver: &mut Driver, topic: &str) -> Result<Newest> {
    let end = driver
        .call(&json!({"do": "listOffsets", "topic": topic, "partition": 0, "spec": "latest"}))?;
    let config = json!({"isolation.level": "read_committed"});
    let seen = driver.call(&json!({"do": "consume", "topic": topic, "until": end["offset"],
        "config": config, "timeout_ms": 60_000}))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let records = seen.as_array().context("records")?.iter();
    records
        .map(|record| Ok((text(&record["key"]).context("a key")?, text(&record["value"]))))
        .collect()
}
