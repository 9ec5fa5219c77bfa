//! Frames from a mutation fuzzer over the socket: no crash, bounded memory, an honest client keeps working.
//!
//! `cargo xtask fuzz` sends 100,000 of them.
#![allow(clippy::indexing_slicing, reason = "positions are drawn below the length")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use ottla_codec::RecordData;
use ottla_conformance::{RawClient, frame, repeat};
use ottla_protocol::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse,
};
use ottla_protocol::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_protocol::{ProduceRequest, ProduceResponse, create_topics_request::CreatableTopic};
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::wire::Shape;
use ottla_testkit::{Kind, Node, NodeOptions, Random, Replay, schema, seed, wait_until};
use ottla_types::Timestamp;

/// What frames may add to resident memory.
const GROWTH_MAX: u64 = 64 << 20;

/// How long an answer is waited for; a long poll is not worth more.
const ANSWER: Duration = Duration::from_millis(20);

/// Requests whose very purpose is to take the node out of service.
const FATAL: [ApiKey; 4] = [
    ApiKey::UnregisterBroker,
    ApiKey::UpdateFeatures,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

const TABLE: &str = include_str!("../../protocol/schemas/rpc.schema");

#[test]
fn mutated_frames_neither_crash_nor_bloat() -> Result<()> {
    if Kind::target() == Kind::Kafka {
        // A JVM's heap is no measure, and Kafka's own robustness is not our business.
        return Ok(());
    }
    let frames = repeat("OTTLA_FRAMES", 5000);
    let seed = seed(0x0066_7265_6173);
    let _replay =
        Replay::with(format!("cargo xtask fuzz --frames {frames} --cases 0 --seed {seed}"));
    let mut random = Random::new(seed);
    let mut node = Node::start(Kind::Ottla, NodeOptions::default())?;
    let mut honest = Honest::start(&node)?;
    let messages = offered(&mut honest.client)?;
    // What ordinary work costs comes first, so that only growth by hostile frames is counted.
    for turn in 0..50 {
        honest.work(turn)?;
    }
    let before = node.usage()?.resident;
    let (mut sent, mut answered) = (0, 0);
    let mut turn = 50;
    while sent < frames {
        let together = 1 + random.below(4);
        let mut bytes = Vec::new();
        for _ in 0..together {
            bytes.extend(hostile_frame(&messages, &mut random)?);
        }
        let client = RawClient::connect(node.bootstrap()).context("it accepts no more")?;
        answered += client.blurt(&bytes, ANSWER);
        sent += u32::try_from(together)?;
        if random.once_in(50) {
            ensure!(
                node.process()?.ended().is_none(),
                "it ended after {sent} frames\n{}",
                node.tail()
            );
            honest.work(turn).with_context(|| format!("after {sent} frames\n{}", node.tail()))?;
            turn += 1;
        }
    }
    honest.work(turn).with_context(|| node.tail())?;
    let after = node.usage()?.resident;
    println!(
        "{sent} frames, {answered} answers: resident {} KiB before, {} KiB after",
        before >> 10,
        after >> 10
    );
    // Damage that closes every connection at once would test nothing behind the decoder.
    ensure!(answered > sent / 10, "only {answered} of {sent} frames were answered");
    ensure!(after.saturating_sub(before) <= GROWTH_MAX, "it grew from {before} to {after} bytes");
    let output = node.process()?.output();
    ensure!(!output.contains("panicked"), "{}", node.tail());
    node.stop()?;
    Ok(())
}

/// Requests that the broker offers: the others are refused before anything of them is read.
fn offered(client: &mut RawClient) -> Result<Vec<schema::Message>> {
    let request = ApiVersionsRequest::default();
    let answer: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 0, &request)?;
    let keys: Vec<i16> = answer.api_keys.iter().map(|a| a.api_key).collect();
    let mut messages = schema::parse(TABLE)?;
    messages.retain(|m| m.kind == "request" && m.key.is_some_and(|k| keys.contains(&k)));
    ensure!(messages.len() > 30, "{keys:?}");
    Ok(messages)
}

/// A request that is valid but for some damage, or random bytes, with or without an honest length.
fn hostile_frame(requests: &[schema::Message], random: &mut Random) -> Result<Vec<u8>> {
    let message = random.choose(requests);
    let api = message.key.and_then(ApiKey::from_key).context("a request without a key")?;
    if random.once_in(30) || FATAL.contains(&api) {
        let len = random.index(300);
        return Ok(random.bytes(len));
    }
    let versions: Vec<i16> = (0..=20).filter(|v| message.versions.contains(*v)).collect();
    let version = *random.choose(&versions);
    let shape = Shape { message, version };
    let body = shape.bytes(&shape.random(random));
    let mut frame = frame(api, version, 1, &body)?;
    for _ in 0..random.below(3) {
        damage(&mut frame, random);
    }
    Ok(frame)
}

fn damage(frame: &mut Vec<u8>, random: &mut Random) {
    if frame.is_empty() {
        return;
    }
    let at = random.index(frame.len());
    match random.below(7) {
        0 => frame[at] ^= 1 << random.below(8),
        1 => frame[at] = *random.choose(&[0, 1, 0x7f, 0x80, 0xff]),
        2 => frame.truncate(at),
        3 => drop(frame.splice(at..at, [0xff; 4])),
        4 => drop(frame.drain(at..(at + 4).min(frame.len()))),
        // The length, the API key or the version.
        5 => frame[at.min(7)] = *random.choose(&[0, 1, 0x7f, 0xff]),
        // A count that no frame can hold.
        _ => drop(frame.splice(at..(at + 4).min(frame.len()), [0x7f, 0xff, 0xff, 0xff])),
    }
}

/// A client that behaves, on one connection for the whole time.
struct Honest {
    client: RawClient,
}

impl Honest {
    fn start(node: &Node) -> Result<Self> {
        let mut client = RawClient::connect(node.bootstrap())?;
        let topic = CreatableTopic {
            name: "honest".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..CreateTopicsRequest::default()
        };
        // A broker that has just started may be fenced for a moment.
        wait_until("the topic", Duration::from_secs(10), || {
            let created = client.call(ApiKey::CreateTopics, 5, &request);
            created.is_ok_and(|c: CreateTopicsResponse| c.topics[0].error_code == 0)
        })?;
        let mut honest = Self { client };
        wait_until("a leader", Duration::from_secs(10), || honest.produce().is_ok_and(|e| e == 0))?;
        Ok(honest)
    }

    /// Writes one record and reads what is there.
    fn work(&mut self, turn: i64) -> Result<()> {
        let error = self.produce()?;
        ensure!(error == 0, "turn {turn}: produce answered {error}");
        let partition = FetchPartition {
            partition: 0,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: "honest".into(),
            partitions: vec![partition],
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: 1000,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let answer: FetchResponse = self.client.call(ApiKey::Fetch, 11, &request)?;
        let partition = &answer.responses[0].partitions[0];
        ensure!(partition.error_code == 0, "turn {turn}: fetch answered {}", partition.error_code);
        ensure!(
            partition.records.as_ref().is_some_and(|r| !r.is_empty()),
            "turn {turn}: nothing fetched"
        );
        Ok(())
    }

    fn produce(&mut self) -> Result<i16> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push_pair(Timestamp(1), None, Some(b"honest"));
        let records: Bytes = builder.build()?;
        let partition = PartitionProduceData { index: 0, records: Some(RecordData::from(records)) };
        let topic = TopicProduceData {
            name: "honest".into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let answer: ProduceResponse = self.client.call(ApiKey::Produce, 8, &request)?;
        Ok(answer.responses[0].partition_responses[0].error_code)
    }
}
