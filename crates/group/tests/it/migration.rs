//! Members of both protocols that come, go, die and start again as the other, under each migration
//! policy, against one shard that restarts from its log. Whatever happens: no partition is with two
//! members at once, nobody is turned away that the policy lets in, and once it has been quiet for as
//! long as a session lasts, everything has exactly one owner.

mod client;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_group::{
    AppendFailure, GroupConfig, GroupKind, GroupShard, ListGroups, LoggedRecord, MemberId,
    MigrationPolicy, Now, Output, Request, Response, Token,
};
use ottla_types::{MonoTime, Offset, WallTime};

use crate::consumer::{Cluster, id};

const TOPIC: &str = "t";
const SESSION_MILLIS: u64 = 45_000;
const BEAT_MILLIS: u64 = 3_000;
/// A session until a dead member is missed, one more if it died while its join was parked, and time
/// for whoever is left to be told.
const QUIET_MILLIS: u64 = 2 * SESSION_MILLIS + 10 * BEAT_MILLIS;

type Owned = BTreeSet<u32>;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// Classic; gives everything up before it joins again.
    Eager,
    /// Classic; gives up what it is told to.
    Cooperative,
    Consumer,
}

#[derive(Clone, Debug)]
struct Client {
    alive: bool,
    speech: Speech,
    member: MemberId,
    instance: Option<String>,
    /// Generation or member epoch; none before it has joined.
    epoch: Option<i32>,
    /// The request that is not answered.
    waits: Option<Token>,
    /// What it works on; what is not in `told` it still has to give up.
    owned: Owned,
    told: Owned,
    /// When its session was last known to begin anew.
    heard_at: u64,
    /// When it was last told what it has.
    told_at: u64,
    /// The last answer did not arrive.
    unsure: bool,
    /// There may be partitions that its group's leader has not seen.
    stale: bool,
}

struct World {
    seed: u64,
    shard: GroupShard,
    policy: MigrationPolicy,
    cluster: Arc<Cluster>,
    log: Vec<LoggedRecord>,
    clients: Vec<Client>,
    /// Which request a client waits for.
    asked: BTreeMap<Token, usize>,
    now: u64,
    tokens: u64,
    members: u64,
    random: u64,
    fail_next: bool,
    /// Nothing gets lost any more.
    quiet: bool,
    kind: Option<GroupKind>,
    /// Counts what the shard was asked to do; when the group last changed its kind.
    steps: u64,
    changed_at: u64,
    seen: Seen,
}

/// What happened, so that a test knows that it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    upgrades: u32,
    downgrades: u32,
    consumers_refused: u32,
    classics_refused: u32,
}

impl World {
    fn new(seed: u64, policy: MigrationPolicy, clients: usize, speeches: &[Speech]) -> Self {
        let cluster = Cluster { version: 1, topics: vec![(TOPIC.into(), id(1), 20, None)] };
        let client = |number: usize| Client {
            alive: false,
            speech: speeches[number % speeches.len()],
            member: MemberId::default(),
            instance: (number.is_multiple_of(3)).then(|| format!("i{number}")),
            epoch: None,
            waits: None,
            owned: Owned::new(),
            told: Owned::new(),
            heard_at: 0,
            told_at: 0,
            unsure: false,
            stale: false,
        };
        let mut world = Self {
            seed,
            shard: GroupShard::new(GroupConfig::default()),
            policy,
            cluster: Arc::new(cluster),
            log: Vec::new(),
            clients: (0..clients).map(client).collect(),
            asked: BTreeMap::new(),
            now: 1_000,
            tokens: 0,
            members: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            fail_next: false,
            quiet: false,
            kind: None,
            steps: 0,
            changed_at: 0,
            seen: Seen::default(),
        };
        world.restart(false);
        world
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn now(&self) -> Now {
        let wall = WallTime::from_millis(i64::try_from(self.now).unwrap());
        Now { mono: MonoTime::from_millis(self.now), wall }
    }

    fn end(&self) -> Offset {
        Offset(u64::try_from(self.log.len()).unwrap())
    }

    /// A new coordinator reads the log; it may have been compacted. Requests are lost.
    fn restart(&mut self, compacted: bool) {
        if compacted {
            let keys: Vec<Bytes> = self.log.iter().map(|r| r.key.clone().unwrap()).collect();
            let last: BTreeMap<&Bytes, usize> = keys.iter().zip(0..).collect();
            let log = std::mem::take(&mut self.log).into_iter().zip(0..);
            self.log = log.filter(|(_, at)| last[&keys[*at]] == *at).map(|(r, _)| r).collect();
        }
        let mut config = GroupConfig::default();
        config.consumer_migration = self.policy;
        self.shard = GroupShard::new(config);
        for record in &self.log {
            self.shard.replay(record);
        }
        self.shard.topics_changed(self.cluster.clone(), &[], false);
        let (now, end) = (self.now(), self.end());
        self.shard.loaded(now, end);
        for token in std::mem::take(&mut self.asked).into_keys() {
            for client in self.clients.iter_mut().filter(|client| client.waits == Some(token)) {
                (client.waits, client.epoch) = (None, None);
            }
        }
        self.note_kind();
    }

    fn ask(&mut self, number: usize, request: Request) {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.asked.insert(token, number);
        self.clients[number].waits = Some(token);
        let now = self.now();
        self.shard.handle(now, request, token);
        self.drive();
    }

    /// Carries out what the shard says; an answer may make a client ask again, after all the rest.
    fn drive(&mut self) {
        self.steps += 1;
        // Who was not heard for as long as a session knows that it has nothing any more.
        for client in &mut self.clients {
            if !client.alive && SESSION_MILLIS <= self.now - client.heard_at {
                client.owned.clear();
            }
        }
        let mut answers = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            let now = self.now();
            match output {
                Output::Reply { token, response } => answers.push((token, response)),
                Output::Append { id, .. } if std::mem::take(&mut self.fail_next) => {
                    self.shard.append_failed(now, id, AppendFailure::Unavailable);
                }
                Output::Append { id, records } => {
                    for record in records {
                        let (key, value) = (Some(record.key), record.value);
                        let offset = self.end();
                        self.log.push(LoggedRecord { offset, transaction_of: None, key, value });
                    }
                    let end = self.end();
                    self.shard.appended(now, id, end);
                    self.shard.high_watermark(now, end);
                }
            }
        }
        self.note_kind();
        for (token, response) in answers {
            let Some(number) = self.asked.remove(&token) else { continue };
            // Its process has ended meanwhile, or has started again.
            if self.clients[number].waits == Some(token) {
                self.clients[number].waits = None;
                self.answered(number, response);
            }
        }
    }

    /// A group with members changes its kind only in the directions that the policy has.
    fn note_kind(&mut self) {
        let request = Request::ListGroups(ListGroups::default());
        let now = self.now();
        self.shard.handle(now, request, Token(0));
        let mut kind = None;
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Reply { token: Token(0), response: Response::ListGroups(Ok(groups)) } => {
                    let listed = groups.into_iter().find(|listed| listed.state != "Empty");
                    kind = listed.map(|listed| listed.kind);
                }
                other => panic!("{other:?}"),
            }
        }
        let before = std::mem::replace(&mut self.changed_at, self.steps);
        match (self.kind, kind) {
            (Some(GroupKind::Classic), Some(GroupKind::Consumer)) => self.seen.upgrades += 1,
            (Some(GroupKind::Consumer), Some(GroupKind::Classic)) => self.seen.downgrades += 1,
            _ => self.changed_at = before,
        }
        self.kind = kind;
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            let to = until.min(self.now + BEAT_MILLIS);
            while let Some(at) = self.shard.poll_timeout().filter(|at| at.as_millis() <= to) {
                self.now = self.now.max(at.as_millis());
                let now = self.now();
                self.shard.handle_timeout(now);
                self.drive();
            }
            self.now = to;
            for number in 0..self.clients.len() {
                if self.clients[number].alive && self.clients[number].waits.is_none() {
                    self.beat(number);
                }
            }
        }
    }
    fn check(&self) {
        let mut owners: BTreeMap<u32, &Client> = BTreeMap::new();
        // As in Kafka, a group that changes its kind goes by what its classic members are to have.
        // Who still has more is told so as soon as it is heard.
        let told = |client: &&Client| {
            client.speech == Speech::Consumer || self.changed_at < client.told_at
        };
        for client in self.clients.iter().filter(told) {
            for partition in &client.owned {
                if let Some(other) = owners.insert(*partition, client) {
                    panic!("seed {}: {partition} is with {other:?} and {client:?}", self.seed);
                }
            }
        }
    }
    fn act(&mut self, speeches: &[Speech]) {
        let number = self.draw(u64::try_from(self.clients.len()).unwrap());
        let number = usize::try_from(number).unwrap();
        let alive = self.clients[number].alive;
        match self.draw(12) {
            0..=3 if !alive => {
                let at = self.draw(u64::try_from(speeches.len()).unwrap());
                self.start(number, speeches[usize::try_from(at).unwrap()]);
            }
            4..=5 if alive => self.leave(number),
            // Killed: what it had stays with it until its session is over.
            6 if alive => self.clients[number].alive = false,
            // As in Kafka, a new coordinator does not know that a group was about to rebalance because
            // its last consumer had left.
            7 if self.kind != Some(GroupKind::Classic) || self.has_settled() => {
                let compacted = self.draw(2) == 0;
                self.restart(compacted);
            }
            8 => self.fail_next = true,
            9 => {
                let mut cluster = (*self.cluster).clone();
                cluster.version += 1;
                cluster.topics[0].2 += 1;
                self.cluster = Arc::new(cluster);
                for client in &mut self.clients {
                    client.stale = client.speech != Speech::Consumer;
                }
                self.shard.topics_changed(self.cluster.clone(), &[TOPIC.into()], false);
            }
            _ => {
                let millis = self.draw(12_000);
                self.wait(millis);
            }
        }
    }

    /// Whether anybody was told what it has since the group changed its kind.
    fn has_settled(&self) -> bool {
        self.changed_at == 0 || self.clients.iter().any(|client| self.changed_at < client.told_at)
    }

    /// Everything has one owner, if there is anybody.
    fn check_settled(&self) {
        let alive: Vec<&Client> = self.clients.iter().filter(|client| client.alive).collect();
        let owned: Owned = alive.iter().flat_map(|client| client.owned.clone()).collect();
        self.check();
        let all = self.cluster.topics[0].2;
        assert!(
            alive.is_empty() || owned == (0..all).collect(),
            "seed {}: {owned:?} of {all}: {alive:?}",
            self.seed
        );
    }
}
fn churn(seed: u64, policy: MigrationPolicy, speeches: &[Speech]) -> Seen {
    let mut world = World::new(seed, policy, 6, speeches);
    for _ in 0..200 {
        world.act(speeches);
    }
    (world.fail_next, world.quiet) = (false, true);
    world.wait(QUIET_MILLIS);
    world.check_settled();
    world.seen
}

/// Some seeds of each policy; gives back what happened in all of them.
fn many(policy: MigrationPolicy, speeches: &[Speech]) -> Seen {
    let mut all = Seen::default();
    for seed in 1..60 {
        let seen = churn(seed, policy, speeches);
        all.upgrades += seen.upgrades;
        all.downgrades += seen.downgrades;
        all.consumers_refused += seen.consumers_refused;
        all.classics_refused += seen.classics_refused;
    }
    all
}

const EAGER: [Speech; 2] = [Speech::Eager, Speech::Consumer];

#[test]
fn groups_go_both_ways() {
    let seen = many(MigrationPolicy::Bidirectional, &EAGER);
    assert!(20 < seen.upgrades && 20 < seen.downgrades, "{seen:?}");
    assert_eq!((seen.consumers_refused, seen.classics_refused), (0, 0));
}

#[test]
fn groups_that_are_only_upgraded_stay_so() {
    let seen = many(MigrationPolicy::Upgrade, &EAGER);
    assert!(5 < seen.upgrades && seen.downgrades == 0, "{seen:?}");
    assert_eq!((seen.consumers_refused, seen.classics_refused), (0, 0));
}

#[test]
fn groups_that_are_only_downgraded_refuse_consumers_then() {
    let seen = many(MigrationPolicy::Downgrade, &EAGER);
    assert!(5 < seen.downgrades && seen.upgrades == 0, "{seen:?}");
    assert!(0 < seen.consumers_refused && seen.classics_refused == 0, "{seen:?}");
}

#[test]
fn without_migration_a_group_is_what_its_first_member_speaks() {
    let seen = many(MigrationPolicy::Disabled, &EAGER);
    assert_eq!((seen.upgrades, seen.downgrades), (0, 0));
    assert!(0 < seen.consumers_refused && 0 < seen.classics_refused, "{seen:?}");
}

#[test]
fn cooperative_members_take_part() {
    let speeches = [Speech::Cooperative, Speech::Consumer, Speech::Cooperative];
    let seen = many(MigrationPolicy::Bidirectional, &speeches);
    assert!(20 < seen.upgrades && 20 < seen.downgrades, "{seen:?}");
}
