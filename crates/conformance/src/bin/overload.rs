//! A client that asks for more than a broker can do, for `cargo xtask bench overload`.
//!
//! `overload BOOTSTRAP SECONDS` runs the phases below on topics `small` (8 partitions), `large` (4) and
//! `probe` (1), which must exist, and prints one JSON object. Ten quiet connections send 20 requests of
//! one record a second each all the time and time their answers from when they were due: they are what an
//! innocent user sees.
//!
//! * quiet: nothing else.
//! * capacity: 32 connections with records of 100 bytes and 32 with batches of 256 KiB, each with five
//!   requests under way, as fast as the broker takes them.
//! * stalled: 1,000 consumers ask for records and never read, 1,000 connections stop in the middle of a
//!   request or before it.
//! * overload: three times these connections, which offer three times that rate.
//! * after: nothing else again.
//!
//! Everything is acks=all. In the end each record that was acknowledged must be where it was sent, in its
//! order, and once; of `large` only what retention has left. Threads and blocking sockets, as in `tails`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the result is what it prints")]

#[path = "overload/crowd.rs"]
mod crowd;
#[path = "overload/probe.rs"]
mod probe;
#[path = "overload/verify.rs"]
mod verify;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ottla_codec::{RecordData, encode_to_bytes};
use ottla_conformance::{frame, stuck};
use ottla_protocol::{ApiKey, ProduceRequest, ProduceResponse, produce_request};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::Timestamp;
use serde_json::json;

use crate::crowd::Crowd;
use crate::probe::Probe;

/// A version that names topics, which every broker since Kafka 2.7 speaks.
const PRODUCE: i16 = 9;

const QUIET: Duration = Duration::from_secs(15);
const STALLED: Duration = Duration::from_secs(30);
const CAPACITY: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(45);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, seconds] = &arguments[..] else { bail!("overload BOOTSTRAP SECONDS") };
    let overload = Duration::from_secs(seconds.parse().context("a number of seconds")?);
    let probe = Probe::start(bootstrap)?;
    let quiet = probe.watch(QUIET);
    eprintln!("quiet: {quiet}");
    let crowd = Crowd::start(bootstrap, 32, None)?;
    let capacity_probe = probe.watch(CAPACITY);
    let capacity = crowd.stop()?;
    eprintln!("capacity: {:?}, probe {capacity_probe}", capacity.rates());
    let stalled = {
        let held = stuck::stalled(bootstrap, "large", 1000)?;
        let half_open = stuck::half_open(bootstrap, 1000)?;
        let seen = probe.watch(STALLED);
        eprintln!(
            "beside {} stalled and half-open connections: {seen}",
            held.len() + half_open.len()
        );
        seen
    };
    let offered = capacity.rates();
    let crowd = Crowd::start(bootstrap, 96, Some(offered))?;
    let overload_probe = probe.watch(overload);
    let taken = crowd.stop()?;
    eprintln!("overload: {:?}, probe {overload_probe}", taken.rates());
    let bound = 2 * quiet.p99.max(1_000);
    let (after, back) = probe.watch_recovery(AFTER, bound);
    eprintln!("after: {after}, p99 at most {bound} microseconds after {back:?} s");
    let probes = probe.stop()?;
    let verified = verify::all(bootstrap, &[&capacity, &taken], probes)?;
    let result = json!({
        "quiet": quiet.json(),
        "stalled": stalled.json(),
        "capacity": capacity.json(),
        "capacity_probe": capacity_probe.json(),
        "overload_seconds": overload.as_secs(),
        "overload": taken.json(),
        "overload_probe": overload_probe.json(),
        "after": after.json(),
        "back_bound_us": bound,
        "back_after_seconds": back,
        "verified": verified,
    });
    println!("{result}");
    Ok(())
}

/// A produce request of one batch with one record.
fn request(topic: &str, partition: i32, value: &[u8]) -> Result<ProduceRequest> {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push_pair(Timestamp(now_millis()), None, Some(value));
    let data = produce_request::PartitionProduceData {
        index: partition,
        records: Some(RecordData::Bytes(builder.build()?)),
    };
    let topic = produce_request::TopicProduceData {
        name: topic.into(),
        partition_data: [data].into(),
        ..Default::default()
    };
    Ok(ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: [topic].into(),
        ..Default::default()
    })
}

/// As bytes, with all that comes before it.
fn produce(topic: &str, partition: i32, value: &[u8], correlation_id: i32) -> Result<Vec<u8>> {
    let body = encode_to_bytes(&request(topic, partition, value)?, PRODUCE)?;
    frame(ApiKey::Produce, PRODUCE, correlation_id, &body)
}

/// Where the batch went.
fn base_offset(answer: &ProduceResponse) -> Result<i64> {
    let partition = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
    let partition = partition.context("no partition in the answer")?;
    ensure!(partition.error_code == 0, "error {}", partition.error_code);
    Ok(partition.base_offset)
}

fn now_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or_default()
}
