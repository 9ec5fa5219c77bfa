//! What peers may say: messages that contradict this node's log are refused, and none panics it.

use bytes::Bytes;
use ottla_quorum::{
    Disk, Input, Now, Output, PeerEntry, PeerMessage, Quorum, QuorumConfig, ReplicaKey,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, MonoTime, NodeId, Offset, Timestamp, WallTime};
use proptest::prelude::*;
use prost::Message as _;

use crate::node::{key, static_voters};

const APPEND: u32 = 3;
const APPEND_RESPONSE: u32 = 4;
const VOTE: u32 = 5;
const HEARTBEAT: u32 = 8;

fn now(millis: u64) -> Now {
    let wall = WallTime::from_millis(i64::try_from(millis).unwrap());
    Now { mono: MonoTime::from_millis(millis), wall }
}

fn batch(base: u64, epoch: u32) -> Bytes {
    let builder = BatchBuilder::new(Compression::None).base_offset(Offset(base));
    let mut builder = builder.leader_epoch(LeaderEpoch(epoch));
    builder.push_pair(Timestamp(0), None, Some(b"x"));
    builder.build().unwrap()
}

fn entry(index: u64, epoch: u32, base: u64) -> PeerEntry {
    let batch = batch(base, epoch);
    PeerEntry { index, term: epoch.into(), batch, ..PeerEntry::default() }
}

// From node 2 (raft id 3) to node 1 (raft id 2), in term 2.
fn message(kind: u32) -> PeerMessage {
    PeerMessage {
        cluster_id: "cluster".to_owned(),
        from: 3,
        from_node: 2,
        to: 2,
        kind,
        term: 2,
        ..PeerMessage::default()
    }
}

fn say(quorum: &mut Quorum, message: &PeerMessage) -> Result<Vec<Output>, String> {
    let input = Input::Message(message.encode_to_vec().into());
    quorum.handle(now(1), input).map_err(|error| error.to_string())?;
    Ok(drain(quorum))
}

fn drain(quorum: &mut Quorum) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some(output) = quorum.poll_output() {
        if let Output::Persist(persist) = &output {
            quorum.handle(now(1), Input::Persisted(persist.number)).unwrap();
        }
        outputs.push(output);
    }
    outputs
}

// A follower of node 2 in epoch 2 that has three batches, of which two are committed.
fn follower() -> Quorum {
    let config = QuorumConfig::new("cluster", key(1), static_voters(&[1, 2, 3]), 5);
    let mut quorum = Quorum::open(config, &Disk::default(), now(0)).unwrap();
    let entries = vec![
        PeerEntry { index: 1, term: 2, ..PeerEntry::default() },
        entry(2, 2, 0),
        entry(3, 2, 1),
        entry(4, 2, 2),
    ];
    let outputs = say(&mut quorum, &PeerMessage { entries, commit: 3, ..message(APPEND) }).unwrap();
    let appended = outputs.iter().filter(|output| matches!(output, Output::Append(_))).count();
    assert_eq!((appended, quorum.high_watermark()), (2, Offset(2)));
    quorum
}

#[track_caller]
fn refused(message: &PeerMessage, why: &str) {
    let mut quorum = follower();
    assert_eq!(say(&mut quorum, message).unwrap_err(), why);
    // Nothing changed: the leader goes on.
    let good = PeerMessage { commit: 4, ..message_after(4) };
    say(&mut quorum, &good).unwrap();
    assert_eq!(quorum.high_watermark(), Offset(3));
}

fn message_after(index: u64) -> PeerMessage {
    PeerMessage { index, log_term: 2, ..message(APPEND) }
}

#[test]
fn strangers_are_refused() {
    let cluster_id = "other".to_owned();
    refused(
        &PeerMessage { cluster_id, ..message(HEARTBEAT) },
        "quorum message from cluster \"other\"",
    );
    let why = "quorum message for 9, which this disk is not";
    refused(&PeerMessage { to: 9, ..message(HEARTBEAT) }, why);
    // Node 3 speaks with node 2's number.
    let why = "quorum message contradicts this log: #3 is 2, but 3 speaks";
    refused(&PeerMessage { from_node: 3, ..message(HEARTBEAT) }, why);
    refused(
        &PeerMessage { from: 0, ..message(HEARTBEAT) },
        "quorum message with an impossible sender",
    );
    let why = "quorum message with an impossible term";
    refused(&PeerMessage { term: 0, ..message(HEARTBEAT) }, why);
    refused(&PeerMessage { term: 1 << 31, ..message(HEARTBEAT) }, why);
}

#[test]
fn claims_beyond_the_log_are_refused() {
    let why = "quorum message contradicts this log: entry 5 is beyond the last one, 4";
    refused(&PeerMessage { commit: 5, ..message(HEARTBEAT) }, why);
    refused(&PeerMessage { index: 5, ..message(APPEND_RESPONSE) }, why);
}

#[test]
fn entries_that_do_not_fit_are_refused() {
    let after = |entry| PeerMessage { entries: vec![entry], ..message_after(4) };
    refused(
        &after(entry(6, 2, 3)),
        "quorum message contradicts this log: entry 6 does not follow 4",
    );
    refused(
        &after(entry(5, 3, 3)),
        "quorum message contradicts this log: entry 5 does not follow 4",
    );
    refused(
        &after(entry(5, 2, 4)),
        "quorum message contradicts this log: entry 5 begins at offset 4, the log ends at 3",
    );
    let other_epoch = PeerEntry { batch: batch(3, 1), ..entry(5, 2, 3) };
    refused(
        &after(other_epoch),
        "quorum message contradicts this log: entry 5 of term 2 holds a batch of another epoch",
    );
    let torn = PeerEntry { batch: batch(3, 2).slice(..60), ..entry(5, 2, 3) };
    refused(&after(torn), "quorum message contradicts this log: entry 5");
}

#[test]
fn proposals_of_followers_are_refused() {
    let entries = vec![entry(0, 2, 3)];
    let why = "quorum messages of type 2 are not accepted from peers";
    refused(&PeerMessage { entries, ..message(2) }, why);
}

#[test]
fn a_leader_describes_its_voters_and_observers() {
    let config = QuorumConfig::new("cluster", key(1), static_voters(&[1]), 5);
    let mut quorum = Quorum::open(config, &Disk::default(), now(0)).unwrap();
    say(&mut quorum, &message(VOTE)).unwrap();
    let broker = ReplicaKey::of_node(NodeId(7));
    quorum.observer_fetched(now(1_000), broker, Offset(1));
    quorum.observer_fetched(now(2_000), broker, Offset(0));
    let view = quorum.describe(now(5_000)).unwrap();
    let observer = view.observers[0];
    assert_eq!(
        (view.leader, view.epoch, view.high_watermark),
        (NodeId(1), LeaderEpoch(1), Offset(1))
    );
    assert_eq!(view.voters[0].end, Some(Offset(1)));
    let millis = |at: Option<WallTime>| at.map(WallTime::as_millis);
    let times = (millis(observer.last_fetch), millis(observer.last_caught_up));
    assert_eq!(
        (observer.key, observer.end, times),
        (broker, Some(Offset(0)), (Some(2_000), Some(1_000)))
    );
    assert!(quorum.describe(now(400_000)).unwrap().observers.is_empty());
    assert_eq!(follower().describe(now(5)), None);
}

prop_compose! {
    fn any_entry()(
        index in 0..8_u64,
        term in 0..5_u64,
        added in prop_oneof![Just(0_u64), 1..5_u64],
        removed in prop_oneof![Just(0_u64), 1..5_u64],
        base in 0..6_u64,
        epoch in 1..4_u32,
        empty: bool,
    ) -> PeerEntry {
        let batch = if empty { Bytes::new() } else { batch(base, epoch) };
        PeerEntry { index, term, added, removed, batch }
    }
}

prop_compose! {
    fn any_message()(
        kind in prop_oneof![Just(3_u32), Just(4), Just(5), Just(6), Just(7), Just(8), Just(9), Just(14), Just(17), Just(18)],
        from in 1..5_u64,
        term in 1..5_u64,
        log_term in 0..4_u64,
        index in 0..8_u64,
        commit in 0..8_u64,
        commit_term in 0..4_u64,
        reject: bool,
        reject_hint in 0..8_u64,
        entries in prop::collection::vec(any_entry(), 0..4),
        transfer: bool,
        snapshot in prop::option::of((1..8_u64, 0..5_u64, 0..8_u64)),
    ) -> PeerMessage {
        let snapshot = snapshot.map(|(index, term, end)| ottla_quorum::PeerSnapshot {
            index,
            term,
            end,
            epoch: 2,
            voters: vec![2, 3, 4],
            ids: Vec::new(),
        });
        let from_node = u32::try_from(from - 1).unwrap();
        PeerMessage {
            from, from_node, term, log_term, index, commit, commit_term, reject, reject_hint,
            entries, transfer, snapshot, ..message(kind)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_message_panics_a_node(
        ticks in prop_oneof![Just(0_u64), 30..60_u64],
        messages in prop::collection::vec(any_message(), 1..16),
    ) {
        let mut quorum = follower();
        // After enough of them it stands for election, and the votes below may make it leader.
        for tick in 1..=ticks {
            quorum.handle_timeout(now(tick * 100));
            let _ = drain(&mut quorum);
        }
        for message in &messages {
            // Messages that fit raft's rules may well change votes and entries. What is committed
            // by them may contradict what was: that is raft's trust in its peers.
            let _ = say(&mut quorum, message);
        }
    }
}
