//! What one request costs the real binary in calls of the system, in its steady state.
//!
//! Its allocations are counted in `crates/broker/tests/counts.rs`.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ottla_codec::{RecordData, encode_to_bytes};
use ottla_conformance::Honest;
use ottla_protocol::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::{ApiKey, FetchRequest, ProduceRequest};
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::{Kind, Node, NodeOptions, system_calls};
use ottla_types::Timestamp;

const COUNTED: u64 = 500;
/// Waiting for the socket, receiving, the file, answering.
const MOST: f64 = 4.0;
/// What the node does besides: timers, and two threads that meet now and then.
const BESIDES: f64 = 0.25;

#[test]
fn a_request_takes_four_calls() -> Result<()> {
    let options = NodeOptions::default().with("ottla.durability", "os");
    let mut node = Node::start(Kind::Ottla, options)?;
    let pid = node.process()?.pid();
    let mut client = Honest::start(&node)?.client;
    let (produce, fetch) = (produce()?, fetch()?);
    let mut check = |what: &str, api, version, body: &[u8]| -> Result<()> {
        let mut failed = None;
        let calls = system_calls(pid, COUNTED, || {
            if let Err(error) = client.exchange(api, version, body) {
                failed.get_or_insert(error);
            }
        });
        let calls = calls.with_context(|| node.tail())?;
        if let Some(error) = failed {
            return Err(error).context(what.to_owned());
        }
        let each = calls.values().sum::<u64>() as f64 / COUNTED as f64;
        println!("{what}: {each:.2} calls a request: {calls:?}");
        ensure!(each <= MOST + BESIDES, "{what}: {each:.2} calls a request: {calls:?}");
        Ok(())
    };
    check("produce", ApiKey::Produce, 9, &produce)?;
    check("fetch", ApiKey::Fetch, 12, &fetch)
}

/// One batch of 16 KiB, acks=1.
fn produce() -> Result<Bytes> {
    let now = Timestamp(i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?);
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..16 {
        builder.push_pair(now, None, Some(&[7; 1000]));
    }
    let records = Some(RecordData::from(builder.build()?));
    let partition = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData {
        name: "honest".into(),
        partition_data: [partition].into(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: [topic].into(),
        ..ProduceRequest::default()
    };
    Ok(encode_to_bytes(&request, 9)?)
}

/// The first of those batches; a record that was written before them is offset 0.
fn fetch() -> Result<Bytes> {
    let partition = FetchPartition {
        fetch_offset: 1,
        partition_max_bytes: 16 << 10,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: "honest".into(),
        partitions: [partition].into(),
        ..FetchTopic::default()
    };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 16 << 10,
        session_epoch: -1,
        topics: [topic].into(),
        ..FetchRequest::default()
    };
    Ok(encode_to_bytes(&request, 12)?)
}
