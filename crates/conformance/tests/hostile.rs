//! Frames from a mutation fuzzer over the socket, and connections that never get on: no crash, bounded memory, an
//! honest client keeps working.
//!
//! `cargo xtask fuzz` sends 100,000 of them.
#![allow(clippy::indexing_slicing, reason = "positions are drawn below the length")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Honest, RawClient, frame, repeat, stuck};
use ottla_protocol::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use ottla_testkit::wire::Shape;
use ottla_testkit::{Kind, Node, NodeOptions, Random, Replay, schema, seed};

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

/// A thousand of each kind; what they hold is more than the memory that requests may have.
#[test]
fn connections_that_never_get_on_cost_little_and_stop_nobody() -> Result<()> {
    if Kind::target() == Kind::Kafka {
        return Ok(());
    }
    let options = NodeOptions::default()
        .with("queued.max.request.bytes", "8388608")
        .with("socket.request.max.bytes", "2097152");
    let mut node = Node::start(Kind::Ottla, options)?;
    let mut honest = Honest::start(&node)?;
    honest.fill(32, 1_000_000)?;
    honest.work(0)?;
    let before = node.usage()?.resident;
    let stalled = stuck::stalled(node.bootstrap(), "honest", 1000)?;
    let half_open = stuck::half_open(node.bootstrap(), 1000)?;
    for turn in 1..=50 {
        honest.work(turn).with_context(|| node.tail())?;
    }
    // Who comes now is served as well.
    let mut late = Honest { client: RawClient::connect(node.bootstrap())? };
    late.work(51).with_context(|| node.tail())?;
    let after = node.usage()?.resident;
    ensure!(after.saturating_sub(before) <= GROWTH_MAX, "it grew from {before} to {after} bytes");
    drop((stalled, half_open));
    honest.work(52)?;
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
