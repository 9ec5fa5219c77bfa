//! Many members that come, go, die and change their minds, against one shard that restarts from
//! its log, compacted or not. Whatever happens: no partition is with two members at once, by what
//! they were told and have given up; and when it gets quiet, everything has exactly one owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_group::{
    AppendFailure, Beat, ConsumerGroupHeartbeat, Epoch, GroupConfig, GroupError, GroupShard,
    LoggedRecord, MemberId, Now, Output, Request, Response, Token, Topic, Topics,
};
use ottla_types::{MonoTime, Offset, PartitionIndex, TopicId, WallTime};

use crate::consumer::{Cluster, id};

const TOPICS: u64 = 10;
const PARTITIONS: u32 = 100;
const SESSION_MILLIS: u64 = 45_000;
const BEAT_MILLIS: u64 = 3_000;

type Owned = BTreeSet<(TopicId, PartitionIndex)>;

#[derive(Clone, Debug, Default)]
struct Client {
    alive: bool,
    member: MemberId,
    instance: Option<String>,
    epoch: Option<Epoch>,
    topics: BTreeSet<u64>,
    changed: bool,
    /// What it works on; what is not in `told` it still has to give up.
    owned: Owned,
    told: Owned,
    heard_at: u64,
    /// The last answer did not arrive.
    unsure: bool,
}

struct World {
    shard: GroupShard,
    cluster: Arc<Cluster>,
    log: Vec<LoggedRecord>,
    clients: Vec<Client>,
    now: u64,
    tokens: u64,
    members: u64,
    random: u64,
    fail_next: bool,
}

impl World {
    fn new(seed: u64, clients: usize) -> Self {
        let topic = |number: u64| (name(number), id(number), PARTITIONS, None);
        let cluster = Cluster { version: 1, topics: (1..=TOPICS).map(topic).collect() };
        let mut world = Self {
            shard: GroupShard::new(GroupConfig::default()),
            cluster: Arc::new(cluster),
            log: Vec::new(),
            clients: vec![Client::default(); clients],
            now: 1_000,
            tokens: 0,
            members: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            fail_next: false,
        };
        for (number, client) in world.clients.iter_mut().enumerate() {
            client.instance = (number % 3 == 0).then(|| format!("i{number}"));
            client.topics = (1..=TOPICS).collect();
        }
        world.restart(false);
        world
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn client(&mut self) -> usize {
        let count = u64::try_from(self.clients.len()).unwrap();
        usize::try_from(self.draw(count)).unwrap()
    }

    fn now(&self) -> Now {
        let wall = WallTime::from_millis(i64::try_from(self.now).unwrap());
        Now { mono: MonoTime::from_millis(self.now), wall }
    }

    fn end(&self) -> Offset {
        Offset(u64::try_from(self.log.len()).unwrap())
    }

    /// A new coordinator reads the log; it may have been compacted.
    fn restart(&mut self, compacted: bool) {
        if compacted {
            let mut last: BTreeMap<Bytes, usize> = BTreeMap::new();
            for (at, record) in self.log.iter().enumerate() {
                last.insert(record.key.clone().unwrap(), at);
            }
            let log = std::mem::take(&mut self.log);
            let kept = log.into_iter().enumerate();
            self.log = kept
                .filter(|(at, record)| last[record.key.as_ref().unwrap()] == *at)
                .map(|(_, record)| record)
                .collect();
        }
        self.shard = GroupShard::new(GroupConfig::default());
        for record in &self.log {
            self.shard.replay(record);
        }
        self.shard.topics_changed(self.cluster.clone(), &[], false);
        let (now, end) = (self.now(), self.end());
        self.shard.loaded(now, end);
    }

    fn drive(&mut self) -> Vec<Response> {
        let mut answers = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            let now = self.now();
            match output {
                Output::Reply { response, .. } => answers.push(response),
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
        answers
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            let to = until.min(self.now + BEAT_MILLIS);
            while let Some(at) = self.shard.poll_timeout().filter(|at| at.as_millis() <= to) {
                self.now = self.now.max(at.as_millis());
                self.shard.handle_timeout(self.now());
                self.drive();
            }
            self.now = to;
            // Who was not heard for as long as a session knows that it has nothing any more.
            for client in &mut self.clients {
                if !client.alive && SESSION_MILLIS <= self.now - client.heard_at {
                    client.owned.clear();
                }
            }
            for number in 0..self.clients.len() {
                if self.clients[number].alive {
                    self.beat(number);
                }
            }
        }
    }

    fn start(&mut self, number: usize) {
        self.members += 1;
        let client = &mut self.clients[number];
        // A process that starts again has nothing, and a dynamic one is somebody else.
        client.owned.clear();
        client.told.clear();
        client.alive = true;
        client.epoch = None;
        client.changed = false;
        client.heard_at = self.now;
        client.member = format!("m{}", self.members).as_str().into();
    }

    fn beat(&mut self, number: usize) {
        let client = &mut self.clients[number];
        // What was taken away is given up before the next beat says so.
        client.owned = client.owned.intersection(&client.told).copied().collect();
        let joining = client.epoch.is_none();
        let whole = joining || client.unsure || client.changed;
        let mut owned: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for (topic, index) in client.owned.iter().filter(|_| !joining) {
            owned.entry(*topic).or_default().push(*index);
        }
        let names = || client.topics.iter().map(|number| name(*number)).collect::<Vec<_>>();
        let beat = ConsumerGroupHeartbeat {
            group: "g".into(),
            member: client.member.clone(),
            beat: client.epoch.map_or(Beat::Join, Beat::Stay),
            instance: client.instance.as_deref().map(Into::into),
            rack: None,
            rebalance_timeout: whole.then_some(Duration::from_secs(60)),
            topics: whole.then(names),
            regex: None,
            assignor: None,
            owned: Some(owned.into_iter().collect()),
            client_id: "c".into(),
            client_host: "/h".into(),
        };
        let lost = self.draw(20) == 0;
        let answer = self.ask(beat);
        self.answered(number, answer, lost);
    }

    fn ask(
        &mut self,
        beat: ConsumerGroupHeartbeat,
    ) -> Result<ottla_group::ConsumerGroupHeartbeatResponse, GroupError> {
        self.tokens += 1;
        let (now, token) = (self.now(), Token(self.tokens));
        self.shard.handle(now, Request::ConsumerGroupHeartbeat(Box::new(beat)), token);
        match self.drive().pop() {
            Some(Response::ConsumerGroupHeartbeat(result)) => {
                result.map_err(|refused| refused.error)
            }
            other => panic!("{other:?}"),
        }
    }

    fn answered(
        &mut self,
        number: usize,
        answer: Result<ottla_group::ConsumerGroupHeartbeatResponse, GroupError>,
        lost: bool,
    ) {
        let now = self.now;
        let client = &mut self.clients[number];
        match answer {
            _ if lost => client.unsure = true,
            Ok(fine) => {
                client.heard_at = now;
                client.epoch = Some(fine.epoch);
                (client.unsure, client.changed) = (false, false);
                if let Some(topics) = fine.assignment {
                    let all = topics.into_iter();
                    client.told =
                        all.flat_map(|(id, all)| all.into_iter().map(move |p| (id, p))).collect();
                    client.owned.extend(&client.told);
                    self.check();
                }
            }
            Err(GroupError::CoordinatorNotAvailable) => client.unsure = true,
            Err(GroupError::FencedMemberEpoch | GroupError::UnknownMemberId) => {
                client.owned.clear();
                client.told.clear();
                client.epoch = None;
            }
            // The one before it has not expired.
            Err(GroupError::UnreleasedInstanceId | GroupError::FencedInstanceId) => {
                client.alive = false;
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn check(&self) {
        let mut owners: BTreeMap<(TopicId, PartitionIndex), &MemberId> = BTreeMap::new();
        for client in &self.clients {
            for partition in &client.owned {
                if let Some(other) = owners.insert(*partition, &client.member) {
                    panic!("{partition:?} is with {other} and {}", client.member);
                }
            }
        }
    }

    fn leave(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.alive = false;
        client.owned.clear();
        let away = client.instance.is_some();
        let beat = ConsumerGroupHeartbeat {
            group: "g".into(),
            member: client.member.clone(),
            beat: if away { Beat::LeaveForNow } else { Beat::Leave },
            instance: client.instance.as_deref().map(Into::into),
            rack: None,
            rebalance_timeout: None,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            client_id: "c".into(),
            client_host: "/h".into(),
        };
        let _ = self.ask(beat);
    }

    fn act(&mut self) {
        let number = self.client();
        let alive = self.clients[number].alive;
        match self.draw(12) {
            0..=3 if !alive => self.start(number),
            4 if alive => self.leave(number),
            5 if alive => {
                // Killed: what it had stays with it until its session is over.
                self.clients[number].alive = false;
            }
            6 if alive => {
                let topic = 1 + self.draw(TOPICS);
                let client = &mut self.clients[number];
                if !client.topics.remove(&topic) {
                    client.topics.insert(topic);
                }
                client.changed = true;
            }
            7 => {
                let compacted = self.draw(2) == 0;
                self.restart(compacted);
            }
            8 => self.fail_next = true,
            9 => {
                let mut cluster = (*self.cluster).clone();
                let at = usize::try_from(self.draw(TOPICS)).unwrap();
                cluster.version += 1;
                cluster.topics[at].2 += 1;
                let changed = [cluster.topics[at].0.clone()];
                self.cluster = Arc::new(cluster);
                self.shard.topics_changed(self.cluster.clone(), &changed, false);
            }
            _ => {
                let millis = self.draw(12_000);
                self.wait(millis);
            }
        }
    }

    /// Everything that anybody asks for has one owner.
    fn check_settled(&self) {
        let wanted: BTreeSet<u64> = self
            .clients
            .iter()
            .filter(|client| client.alive)
            .flat_map(|client| client.topics.iter().copied())
            .collect();
        let mut owned = Owned::new();
        for client in self.clients.iter().filter(|client| client.alive) {
            assert_eq!(client.owned, client.told, "{} is done", client.member);
            owned.extend(&client.owned);
        }
        let all = self.cluster.topics.iter().zip(1..).filter(|(_, number)| wanted.contains(number));
        let all: Owned = all
            .flat_map(|(topic, _)| (0..topic.2).map(|index| (topic.1, PartitionIndex(index))))
            .collect();
        assert!(owned == all, "{} of {} are owned", owned.len(), all.len());
        self.check();
    }
}

fn name(number: u64) -> Topic {
    format!("t{number}").as_str().into()
}

fn churn(seed: u64, clients: usize, steps: usize) {
    let mut world = World::new(seed, clients);
    for number in 0..clients {
        world.start(number);
    }
    for _ in 0..steps {
        world.act();
    }
    world.fail_next = false;
    world.wait(200_000);
    world.check_settled();
    assert!(world.cluster.names().len() == 10);
}

#[test]
fn a_hundred_members_share_a_thousand_partitions() {
    churn(1, 100, 150);
}

#[test]
fn small_groups_churn_hard() {
    for seed in 2..14 {
        churn(seed, 6, 200);
    }
}
