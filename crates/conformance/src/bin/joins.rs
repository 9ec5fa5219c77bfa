//! A client that measures how long ten new members take to share 900 partitions, for `cargo xtask bench
//! joins`.
//!
//! `joins BOOTSTRAP classic|consumer TIMES` lets ten members, each connected already, join a new group at
//! once, and stops the clock when each of them has its 90 partitions of topic `joins`; so often, with a
//! new group each time. One JSON object goes to stdout, times in microseconds. The members ask without
//! pauses of their own, so what is measured is the coordinator: a library adds its heartbeat interval.

#![allow(clippy::print_stdout, reason = "the result is what it prints")]

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ottla_codec::{Message, Str, encode_to_bytes};
use ottla_conformance::RawClient;
use ottla_protocol::{
    ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, FindCoordinatorRequest,
    FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
    consumer_group_heartbeat_request, consumer_protocol_assignment, join_group_request,
    leave_group_request, sync_group_request,
};
use ottla_types::ErrorCode;

const MEMBERS: usize = 10;
const PARTITIONS: i32 = 900;
const EACH: usize = 90;
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two questions of a member that has nothing new to say.
const PAUSE: Duration = Duration::from_micros(100);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, protocol, times] = &arguments[..] else {
        bail!("joins BOOTSTRAP classic|consumer TIMES")
    };
    let member: fn(&str, &str, &Shared) -> Result<()> = match protocol.as_str() {
        "classic" => classic,
        "consumer" => consumer,
        other => bail!("no protocol {other}"),
    };
    find_coordinator(bootstrap)?;
    let mut micros = Vec::new();
    for time in 0..times.parse::<u32>()? {
        let group = format!("joins-{protocol}-{}-{time}", std::process::id());
        let shared = Arc::new(Shared::default());
        let threads: Vec<_> = (0..MEMBERS)
            .map(|_| {
                let (bootstrap, group, shared) = (bootstrap.clone(), group.clone(), shared.clone());
                thread::spawn(move || member(&bootstrap, &group, &shared))
            })
            .collect();
        shared.connected.wait();
        let begun = Instant::now();
        while shared.settled.load(Ordering::Acquire) < MEMBERS {
            ensure!(begun.elapsed() < PATIENCE, "the group does not settle");
            if threads.iter().any(thread::JoinHandle::is_finished) {
                break;
            }
            thread::park_timeout(Duration::from_micros(50));
        }
        micros.push(u64::try_from(begun.elapsed().as_micros())?);
        shared.leave.store(1, Ordering::Release);
        for thread in threads {
            thread.join().ok().context("a member panicked")??;
        }
    }
    micros.sort_unstable();
    let at = |share: usize| micros.get(micros.len() * share / 100).or_else(|| micros.last());
    println!(
        r#"{{"count": {}, "p50": {}, "max": {}}}"#,
        micros.len(),
        at(50).context("no time was measured")?,
        at(100).context("no time was measured")?
    );
    Ok(())
}

/// Has the topic made that coordinators need.
fn find_coordinator(bootstrap: &str) -> Result<()> {
    let mut client = RawClient::connect(bootstrap)?;
    let request =
        FindCoordinatorRequest { coordinator_keys: vec!["joins".into()], ..Default::default() };
    let begun = Instant::now();
    loop {
        let answer: FindCoordinatorResponse = client.call(ApiKey::FindCoordinator, 4, &request)?;
        if answer.coordinators.iter().all(|one| one.error_code == 0) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "there is no coordinator: {answer:?}");
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// What the members of a group know of each other.
struct Shared {
    /// Until all are, nobody joins.
    connected: Barrier,
    /// How many have their share.
    settled: AtomicUsize,
    leave: AtomicI32,
}

impl Default for Shared {
    fn default() -> Self {
        // The members, and who looks at the clock.
        let connected = Barrier::new(MEMBERS + 1);
        Self { connected, settled: AtomicUsize::new(0), leave: AtomicI32::new(0) }
    }
}

impl Shared {
    fn connect(&self, bootstrap: &str) -> Result<RawClient> {
        let client = RawClient::connect(bootstrap);
        self.connected.wait();
        client
    }

    /// Notes a change of one member's share; true once it shall leave.
    fn note(&self, before: usize, now: usize) -> bool {
        match (before == EACH, now == EACH) {
            (false, true) => _ = self.settled.fetch_add(1, Ordering::AcqRel),
            (true, false) => _ = self.settled.fetch_sub(1, Ordering::AcqRel),
            _ => {}
        }
        self.leave.load(Ordering::Acquire) != 0
    }
}

/// A member of the classic protocol; the leader gives everybody the same number.
fn classic(bootstrap: &str, group: &str, shared: &Shared) -> Result<()> {
    let mut client = shared.connect(bootstrap)?;
    let mut member_id = Str::default();
    let mut share = 0;
    loop {
        let joined = join(&mut client, group, &member_id)?;
        member_id = joined.member_id.clone();
        match ErrorCode::from_code(joined.error_code) {
            None | Some(ErrorCode::None) => {}
            Some(ErrorCode::MemberIdRequired | ErrorCode::CoordinatorNotAvailable) => continue,
            Some(ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator) => continue,
            Some(error) => bail!("join: {error}"),
        }
        let synced = sync(&mut client, group, &joined)?;
        if synced.error_code != 0 {
            continue;
        }
        let before = std::mem::replace(&mut share, assigned(synced.assignment)?);
        let mut leaves = shared.note(before, share);
        while !leaves {
            let request = HeartbeatRequest {
                group_id: group.into(),
                generation_id: joined.generation_id,
                member_id: member_id.clone(),
                ..Default::default()
            };
            let answer: HeartbeatResponse = client.call(ApiKey::Heartbeat, 4, &request)?;
            if answer.error_code != 0 {
                break;
            }
            thread::park_timeout(PAUSE);
            leaves = shared.note(share, share);
        }
        if leaves {
            let member = leave_group_request::MemberIdentity { member_id, ..Default::default() };
            let request = LeaveGroupRequest {
                group_id: group.into(),
                members: vec![member],
                ..Default::default()
            };
            let _: LeaveGroupResponse = client.call(ApiKey::LeaveGroup, 5, &request)?;
            return Ok(());
        }
    }
}

fn join(client: &mut RawClient, group: &str, member_id: &Str) -> Result<JoinGroupResponse> {
    let subscription =
        ConsumerProtocolSubscription { topics: vec!["joins".into()], ..Default::default() };
    let protocol = join_group_request::JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: versioned(&subscription)?,
    };
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    client.call(ApiKey::JoinGroup, 9, &request)
}

fn sync(
    client: &mut RawClient,
    group: &str,
    joined: &JoinGroupResponse,
) -> Result<SyncGroupResponse> {
    let members = joined.members.len();
    let mut assignments = Vec::new();
    for (at, member) in joined.members.iter().enumerate() {
        let partitions =
            (0..PARTITIONS).filter(|p| usize::try_from(*p).is_ok_and(|p| p % members == at));
        let topic = consumer_protocol_assignment::TopicPartition {
            topic: "joins".into(),
            partitions: partitions.collect(),
        };
        let assignment =
            ConsumerProtocolAssignment { assigned_partitions: vec![topic], ..Default::default() };
        assignments.push(sync_group_request::SyncGroupRequestAssignment {
            member_id: member.member_id.clone(),
            assignment: versioned(&assignment)?,
        });
    }
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments,
        ..Default::default()
    };
    client.call(ApiKey::SyncGroup, 5, &request)
}

/// As clients wrap their own messages: a version first.
fn versioned(message: &impl Message) -> Result<Bytes> {
    let body = encode_to_bytes(message, 0)?;
    Ok(Bytes::from([&[0, 0][..], &body].concat()))
}

fn assigned(bytes: Bytes) -> Result<usize> {
    let mut reader = ottla_codec::Reader::new(bytes);
    reader.i16("version")?;
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, 0)?;
    Ok(assignment.assigned_partitions.iter().map(|topic| topic.partitions.len()).sum())
}

/// A member of the protocol of KIP-848, which takes and gives back at once what it is told to.
fn consumer(bootstrap: &str, group: &str, shared: &Shared) -> Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut client = shared.connect(bootstrap)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let member_id = Str::from(format!("member-{}-{number}", std::process::id()));
    let mut epoch = 0;
    let mut owned: Vec<consumer_group_heartbeat_request::TopicPartitions> = Vec::new();
    let mut share = 0;
    let mut news = true;
    loop {
        let joining = epoch == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: group.into(),
            member_id: member_id.clone(),
            member_epoch: epoch,
            rebalance_timeout_ms: if joining { 60_000 } else { -1 },
            subscribed_topic_names: joining.then(|| vec!["joins".into()]),
            topic_partitions: news.then(|| owned.clone()),
            ..Default::default()
        };
        let answer: ConsumerGroupHeartbeatResponse =
            client.call(ApiKey::ConsumerGroupHeartbeat, 1, &request)?;
        match ErrorCode::from_code(answer.error_code) {
            None | Some(ErrorCode::None) => {}
            Some(error) if error.retriable() => continue,
            Some(error) => bail!("heartbeat: {error}"),
        }
        if epoch == LEAVE {
            return Ok(());
        }
        epoch = answer.member_epoch;
        news = answer.assignment.is_some();
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.into_iter();
            owned = topics
                .map(|topic| consumer_group_heartbeat_request::TopicPartitions {
                    topic_id: topic.topic_id,
                    partitions: topic.partitions,
                })
                .collect();
        }
        let now = owned.iter().map(|topic| topic.partitions.len()).sum();
        let before = std::mem::replace(&mut share, now);
        if shared.note(before, now) {
            epoch = LEAVE;
        } else if !news {
            thread::park_timeout(PAUSE);
        }
    }
}

/// The epoch by which a member says goodbye.
const LEAVE: i32 = -1;
