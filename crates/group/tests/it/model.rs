//! Random clients against one shard. Whatever they do, and whatever the log does:
//! every request is answered exactly once; a generation has one leader; who synced in a generation
//! has what its leader assigned in it; and the log alone makes the same state again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_group::{
    AppendFailure, CommittedOffset, DescribedGroup, GroupConfig, GroupError, GroupShard, Heartbeat,
    JoinGroup, LeaveGroup, LeavingMember, ListGroups, LoggedRecord, MemberId, Now, OffsetCommit,
    OffsetCommitPartition, OffsetCommitTopic, OffsetFetch, OffsetFetchTopicResult, Output, Request,
    Response, SyncGroup, Token,
};
use ottla_types::{Generation, MonoTime, Offset, PartitionIndex, TopicId, Uuid, WallTime};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const CLIENTS: usize = 8;
const GROUPS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Action {
    Join { client: usize, sticky: bool },
    JoinAll(usize),
    Sync(usize),
    SyncAll(usize),
    Heartbeat(usize),
    Leave(usize),
    Commit { client: usize, partition: u32 },
    CommitAlone { group: usize, partition: u32 },
    Fetch { group: usize, stable: bool },
    Forget(usize),
    Delete(usize),
    Wait(u16),
    Hold,
    Release,
    FailNext,
}

fn action() -> impl Strategy<Value = Action> {
    let client = 0..CLIENTS;
    let group = 0..GROUPS;
    prop_oneof![
        6 => (client.clone(), any::<bool>())
            .prop_map(|(client, sticky)| Action::Join { client, sticky }),
        2 => group.clone().prop_map(Action::JoinAll),
        3 => client.clone().prop_map(Action::Sync),
        6 => group.clone().prop_map(Action::SyncAll),
        2 => client.clone().prop_map(Action::Heartbeat),
        1 => client.clone().prop_map(Action::Leave),
        2 => (client.clone(), 0..3u32)
            .prop_map(|(client, partition)| Action::Commit { client, partition }),
        1 => (group.clone(), 0..3u32)
            .prop_map(|(group, partition)| Action::CommitAlone { group, partition }),
        1 => (group.clone(), any::<bool>())
            .prop_map(|(group, stable)| Action::Fetch { group, stable }),
        1 => client.prop_map(Action::Forget),
        1 => group.prop_map(Action::Delete),
        4 => (0..12_000u16).prop_map(Action::Wait),
        1 => Just(Action::Hold),
        1 => Just(Action::Release),
        1 => Just(Action::FailNext),
    ]
}

/// What a client remembers.
#[derive(Clone, Debug, Default)]
struct Client {
    member: MemberId,
    generation: Option<Generation>,
    /// Everyone, if the client leads.
    roster: Vec<MemberId>,
}

struct World {
    shard: GroupShard,
    now: u64,
    log: Vec<LoggedRecord>,
    clients: Vec<Client>,
    asked: BTreeMap<Token, Option<usize>>,
    tokens: u64,
    /// Who leads in a generation, for as long as the group lives.
    leaders: BTreeMap<(usize, Generation), MemberId>,
    hold: bool,
    fail_next: bool,
    /// An answer came too late, so the log may know more than the shard.
    late: bool,
    offsets: i64,
    trace: Vec<String>,
}

fn group_of(client: usize) -> usize {
    client % GROUPS
}

fn name(group: usize) -> String {
    format!("g{group}")
}

impl World {
    fn new() -> Self {
        let mut config = GroupConfig::default();
        config.initial_rebalance_delay = Duration::from_millis(1000);
        let mut shard = GroupShard::new(config);
        let start = Now { mono: MonoTime::ZERO, wall: WallTime::from_millis(0) };
        shard.loaded(start, Offset::ZERO);
        Self {
            shard,
            now: 0,
            log: Vec::new(),
            clients: vec![Client::default(); CLIENTS],
            asked: BTreeMap::new(),
            tokens: 0,
            leaders: BTreeMap::new(),
            hold: false,
            fail_next: false,
            late: false,
            offsets: 0,
            trace: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let wall = WallTime::from_millis(i64::try_from(self.now).unwrap());
        Now { mono: MonoTime::from_millis(self.now), wall }
    }

    fn end(&self) -> Offset {
        Offset(u64::try_from(self.log.len()).unwrap())
    }

    fn ask(&mut self, client: Option<usize>, request: Request) {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.asked.insert(token, client);
        self.shard.handle(self.now(), request, token);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Join { client, sticky } => self.join(client, sticky),
            Action::JoinAll(group) => {
                for client in (0..CLIENTS).filter(|client| group_of(*client) == group) {
                    self.join(client, true);
                }
            }
            Action::Sync(client) => self.sync(client),
            Action::SyncAll(group) => {
                for client in (0..CLIENTS).filter(|client| group_of(*client) == group) {
                    self.sync(client);
                }
            }
            Action::Heartbeat(client) => {
                let Client { member, generation, .. } = self.clients[client].clone();
                let group = name(group_of(client)).into();
                let request = Heartbeat { group, generation, member, instance: None };
                self.ask(None, Request::Heartbeat(request));
            }
            Action::Leave(client) => {
                let member = self.clients[client].member.clone();
                let leaving = LeavingMember { member, instance: None, reason: None };
                let group = name(group_of(client)).into();
                self.ask(None, Request::LeaveGroup(LeaveGroup { group, members: vec![leaving] }));
            }
            Action::Commit { client, partition } => {
                let Client { member, generation, .. } = self.clients[client].clone();
                self.commit(group_of(client), member, generation, partition);
            }
            Action::CommitAlone { group, partition } => {
                self.commit(group, MemberId::default(), None, partition);
            }
            Action::Fetch { group, stable } => {
                let group = name(group).into();
                let request = OffsetFetch {
                    group,
                    member: None,
                    member_epoch: None,
                    topics: None,
                    require_stable: stable,
                };
                self.ask(None, Request::OffsetFetch(request));
            }
            Action::Forget(client) => self.clients[client] = Client::default(),
            Action::Delete(group) => {
                self.ask(None, Request::DeleteGroups(vec![name(group).into()]));
            }
            Action::Wait(millis) => self.wait(u64::from(millis)),
            Action::Hold => self.hold = true,
            Action::Release => self.release(),
            Action::FailNext => self.fail_next = true,
        }
        self.drive();
        self.check_timers();
    }

    fn join(&mut self, client: usize, sticky: bool) {
        let protocols: &[&str] = if sticky { &["sticky", "range"] } else { &["range"] };
        let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t");
        // Half of the clients are static.
        let instance = (CLIENTS / 2 <= client).then(|| format!("i{client}").as_str().into());
        let request = JoinGroup {
            group: name(group_of(client)).into(),
            member: self.clients[client].member.clone(),
            instance,
            client_id: format!("c{client}"),
            client_host: "/127.0.0.1".into(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(8),
            protocol_type: "consumer".into(),
            protocols: protocols.iter().map(|name| ((*name).into(), metadata.clone())).collect(),
            random: Uuid::from_parts(1, self.tokens),
            member_id_required: client.is_multiple_of(3),
            skip_assignment: true,
        };
        self.ask(Some(client), Request::JoinGroup(request));
    }

    fn sync(&mut self, client: usize) {
        let Client { member, generation, roster } = self.clients[client].clone();
        let Some(generation) = generation else { return };
        let assignment = Bytes::from(format!("@{generation}"));
        let request = SyncGroup {
            group: name(group_of(client)).into(),
            generation: Some(generation),
            member,
            instance: None,
            protocol_type: Some("consumer".into()),
            protocol_name: None,
            assignments: roster.into_iter().map(|member| (member, assignment.clone())).collect(),
        };
        self.ask(Some(client), Request::SyncGroup(request));
    }

    fn commit(
        &mut self,
        group: usize,
        member: MemberId,
        generation: Option<Generation>,
        partition: u32,
    ) {
        self.offsets += 1;
        let partition = OffsetCommitPartition {
            partition: PartitionIndex(partition),
            offset: CommittedOffset(self.offsets),
            leader_epoch: None,
            metadata: String::new(),
        };
        let topic = OffsetCommitTopic {
            topic: "t".into(),
            topic_id: TopicId(Uuid::ZERO),
            partitions: vec![partition],
        };
        let request = OffsetCommit {
            group: name(group).into(),
            generation,
            member,
            instance: None,
            retention: None,
            knows_group_id_not_found: true,
            topics: vec![topic],
        };
        self.ask(None, Request::OffsetCommit(request));
    }

    fn wait(&mut self, millis: u64) {
        let to = self.now + millis;
        while let Some(at) = self.shard.poll_timeout().filter(|at| at.as_millis() <= to) {
            self.now = self.now.max(at.as_millis());
            self.shard.handle_timeout(self.now());
            self.drive();
        }
        self.now = to;
    }

    fn release(&mut self) {
        self.hold = false;
        self.shard.high_watermark(self.now(), self.end());
    }

    fn drive(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            self.trace.push(format!("{output:?}"));
            match output {
                Output::Reply { token, response } => {
                    let client = self.asked.remove(&token).expect("answered once");
                    self.answered(client, response);
                }
                Output::Append { id, .. } if std::mem::take(&mut self.fail_next) => {
                    self.shard.append_failed(self.now(), id, AppendFailure::NotLeader);
                }
                Output::Append { id, records } => {
                    for record in records {
                        for group in 0..GROUPS {
                            // A group that is gone begins again with its generations.
                            let key = [b"\0\x02\0\x02", name(group).as_bytes()].concat();
                            if record.value.is_none() && record.key == key {
                                self.leaders.retain(|(of, _), _| *of != group);
                            }
                        }
                        self.log.push(LoggedRecord {
                            offset: self.end(),
                            transaction_of: None,
                            key: Some(record.key),
                            value: record.value,
                        });
                    }
                    self.shard.appended(self.now(), id, self.end());
                    if !self.hold {
                        self.release();
                    }
                }
            }
        }
    }

    fn answered(&mut self, client: Option<usize>, response: Response) {
        match (client, response) {
            (Some(client), Response::JoinGroup(joined)) => {
                self.late |= joined.error == Some(GroupError::CoordinatorNotAvailable);
                match joined.error {
                    None => {
                        let generation = joined.generation.expect("a generation");
                        if !joined.leader.is_empty() && !joined.skip_assignment {
                            self.one_leader(client, generation, joined.leader.clone());
                        }
                        let roster = joined.members.into_iter().map(|member| member.member);
                        self.clients[client] = Client {
                            member: joined.member,
                            generation: Some(generation),
                            roster: roster.collect(),
                        };
                    }
                    Some(GroupError::MemberIdRequired) => {
                        self.clients[client].member = joined.member;
                    }
                    Some(GroupError::UnknownMemberId | GroupError::FencedInstanceId) => {
                        self.clients[client] = Client::default();
                    }
                    Some(_) => {}
                }
            }
            (Some(client), Response::SyncGroup(synced)) => {
                self.late |= synced.error == Some(GroupError::CoordinatorNotAvailable);
                if synced.error.is_none() && self.has_roster_in(client) {
                    let generation = self.clients[client].generation.expect("it has joined");
                    assert_eq!(synced.assignment, format!("@{generation}"));
                }
            }
            _ => {}
        }
    }

    /// The leader of a client's generation still has its list, or the list was sent already:
    /// true unless the leader forgot who it was before it could assign.
    fn has_roster_in(&self, client: usize) -> bool {
        let Client { member, generation, .. } = &self.clients[client];
        let group = self.describe(group_of(client));
        group.state == "Stable"
            && generation.is_some()
            && group
                .members
                .iter()
                .any(|described| described.member == *member && !described.assignment.is_empty())
    }

    fn one_leader(&mut self, client: usize, generation: Generation, leader: MemberId) {
        let group = group_of(client);
        let known = self.leaders.entry((group, generation)).or_insert_with(|| leader.clone());
        // A static leader that takes its own place over keeps its prefix, and leads on.
        let prefix = |id: &MemberId| id.split('-').next().unwrap_or_default().to_owned();
        assert!(*known == leader || prefix(known) == prefix(&leader), "{known} and {leader} lead");
    }

    fn describe(&self, group: usize) -> DescribedGroup {
        describe(&self.shard, &name(group))
    }

    fn check_timers(&self) {
        let stats = self.shard.stats();
        let pending = usize::try_from(self.tokens).unwrap();
        assert!(stats.timers <= stats.members + pending.min(64) + 2 * GROUPS + 2);
    }

    /// Time enough for everything to be answered.
    fn settle(&mut self) {
        self.fail_next = false;
        self.release();
        self.drive();
        self.wait(700_000);
        self.drive();
        let left: Vec<_> = self.asked.keys().collect();
        assert!(left.is_empty(), "never answered: {left:?}");
    }
}

/// Describes without the shard's help: a copy of the answer that a client would get.
fn describe(shard: &GroupShard, group: &str) -> DescribedGroup {
    shard.describe_now(&group.into())
}

fn fetch(shard: &mut GroupShard, now: Now, group: usize) -> Vec<OffsetFetchTopicResult> {
    let group = name(group).into();
    let request = OffsetFetch {
        group,
        member: None,
        member_epoch: None,
        topics: None,
        require_stable: false,
    };
    shard.handle(now, Request::OffsetFetch(request), Token(0));
    match shard.poll_output() {
        Some(Output::Reply { response: Response::OffsetFetch(Ok(topics)), .. }) => topics,
        other => panic!("no answer but {other:?}"),
    }
}

fn list(shard: &mut GroupShard, now: Now) -> BTreeSet<String> {
    shard.handle(now, Request::ListGroups(ListGroups::default()), Token(0));
    match shard.poll_output() {
        Some(Output::Reply { response: Response::ListGroups(Ok(groups)), .. }) => {
            groups.into_iter().map(|listed| listed.group.to_string()).collect()
        }
        other => panic!("no answer but {other:?}"),
    }
}

/// What the log alone makes must be what the shard holds: all offsets, and groups that are not in
/// a rebalance, which the log does not know.
fn check_replay(world: &mut World) {
    let now = world.now();
    let mut again = GroupShard::new(GroupConfig::default());
    for record in &world.log {
        again.replay(record);
    }
    again.loaded(now, world.end());
    assert_eq!(again.stats().counters.skipped_records, 0);
    let (listed, listed_again) = (list(&mut world.shard, now), list(&mut again, now));
    for group in 0..GROUPS {
        let offsets = fetch(&mut world.shard, now, group);
        assert_eq!(offsets, fetch(&mut again, now, group));
        let known = listed_again.contains(&name(group));
        // A group whose last offset was deleted leaves nothing in the log.
        assert!(known == listed.contains(&name(group)) || offsets.is_empty());
        let described = world.describe(group);
        if described.state == "Stable" && !world.late {
            assert_eq!(described, describe(&again, &name(group)));
            for member in &described.members {
                assert!(member.assignment.is_empty() || member.assignment.starts_with(b"@"));
            }
        }
    }
}

/// Always the same thousand runs; a failure prints the shortest script that shows it.
fn runner() -> TestRunner {
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn random_clients_find_every_promise_kept() {
    let mut runner = runner();
    let actions = prop::collection::vec(action(), 1..120);
    runner
        .run(&actions, |actions| {
            let mut worlds = [World::new(), World::new()];
            for world in &mut worlds {
                for action in &actions {
                    world.act(*action);
                }
                world.fail_next = false;
                world.release();
                world.drive();
                check_replay(world);
                world.settle();
                check_replay(world);
            }
            let [one, other] = worlds;
            assert_eq!(one.trace, other.trace, "the same twice");
            Ok(())
        })
        .unwrap();
}

#[test]
fn random_clients_do_get_assignments() {
    // The test above would pass if nobody ever got anywhere.
    let mut runner = runner();
    let actions = prop::collection::vec(action(), 120);
    let mut completed = 0;
    for _ in 0..100 {
        let actions = actions.new_tree(&mut runner).unwrap().current();
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        completed += world.shard.stats().counters.completed_rebalances;
    }
    assert!(100 < completed, "{completed} rebalances in 100 runs");
}
