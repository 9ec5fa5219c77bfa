//! Runs a script against one shard, whose log and driver it plays.
#![allow(clippy::disallowed_methods, reason = "golden files are read and written")]

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_group::Topics as _;
use ottla_group::{
    AppendFailure, CommittedOffset, DeletedTopic, Epoch, GroupConfig, GroupId, GroupShard,
    Heartbeat, JoinGroup, LeaveGroup, LeavingMember, ListGroups, LoggedRecord, MigrationPolicy,
    Now, OffsetCommit, OffsetCommitPartition, OffsetCommitTopic, OffsetDelete, OffsetFetch,
    OffsetFetchTopic, Output, Record, Request, SyncGroup, Token,
};
use ottla_types::{LeaderEpoch, MonoTime, Offset, ProducerId, TopicId, Uuid, WallTime};

use crate::parse::{Line, expand, partition, shorten};
use crate::show;

/// Runs the script `testdata/{name}.txt` and compares.
pub(crate) fn check(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{name}.txt"));
    let expected = std::fs::read_to_string(&path).expect("the script is there");
    let commands = expected.lines().filter(|line| !line.starts_with(' '));
    let got = run(&commands.collect::<Vec<_>>().join("\n"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, got).expect("the script can be written");
    } else {
        assert!(got == expected, "{name}: UPDATE_EXPECT=1 shows the difference; got\n{got}");
    }
}

/// Commands with what came of them. `---` begins again with a new shard.
pub(crate) fn run(script: &str) -> String {
    play(script).out
}

/// The log that a script leaves.
pub(crate) fn log_of(script: &str) -> Vec<LoggedRecord> {
    play(script).log
}

fn play(script: &str) -> World {
    let mut world = World::new();
    for line in script.lines() {
        world.out += line;
        world.out.push('\n');
        if line.starts_with("---") {
            let out = std::mem::take(&mut world.out);
            world = World { out, ..World::new() };
        } else if !line.is_empty() && !line.starts_with('#') {
            world.command(&Line::new(line));
        }
    }
    world
}

struct World {
    shard: GroupShard,
    config: GroupConfig,
    loaded: bool,
    now: u64,
    log: Vec<LoggedRecord>,
    tokens: u64,
    random: u64,
    /// The high watermark stays where it is.
    hold: bool,
    /// Outputs are not asked for.
    wait: bool,
    fail_next: Option<AppendFailure>,
    topics: Option<std::sync::Arc<crate::consumer::Cluster>>,
    out: String,
}

impl World {
    fn new() -> Self {
        let config = GroupConfig::default();
        Self {
            shard: GroupShard::new(config.clone()),
            config,
            loaded: false,
            now: 0,
            log: Vec::new(),
            tokens: 0,
            random: 0,
            hold: false,
            wait: false,
            fail_next: None,
            topics: None,
            out: String::new(),
        }
    }

    fn now(&self) -> Now {
        let wall = WallTime::from_millis(i64::try_from(self.now).expect("a time"));
        Now { mono: MonoTime::from_millis(self.now), wall }
    }

    fn end(&self) -> Offset {
        Offset(u64::try_from(self.log.len()).expect("a log"))
    }

    fn command(&mut self, line: &Line) {
        match line.command.as_str() {
            "config" => return self.configure(line),
            "replay" => return self.replay(line),
            "marker" => {
                let committed = line.word(1) == "commit";
                let producer = ProducerId(line.word(0).parse().expect("a producer"));
                return self.shard.replay_marker(producer, committed);
            }
            "loading" => self.loaded = true,
            _ => {}
        }
        if !self.loaded {
            self.load();
        }
        match line.command.as_str() {
            "load" | "loading" => {}
            "at" => self.advance(line.word(0).parse().expect("a time")),
            "hold" => self.hold = true,
            "wait" => self.wait = true,
            "poll" => self.wait = false,
            "release" => {
                self.hold = false;
                let (now, end) = (self.now(), self.end());
                self.shard.high_watermark(now, end);
            }
            "fail" => self.fail_next = Some(failure(line.word(0))),
            "close" => {
                let now = self.now();
                self.shard.close(now);
            }
            "restart" => self.restart(),
            "topics" => {
                let topics = crate::consumer::Cluster::read(line);
                let changed = topics.names();
                self.topics = Some(topics.clone());
                self.shard.topics_changed(topics, &changed, line.get("created").is_some());
            }
            "topic-deleted" => self.shard.topics_deleted(&[DeletedTopic {
                topic: line.word(0).into(),
                topic_id: topic_id(line),
            }]),
            "stats" => {
                let stats = self.shard.stats();
                writeln!(self.out, "  {stats:?}").expect("text");
            }
            _ => self.request(line),
        }
        self.drive();
    }

    fn load(&mut self) {
        let (now, end) = (self.now(), self.end());
        self.shard.loaded(now, end);
        self.loaded = true;
    }

    fn restart(&mut self) {
        self.shard = GroupShard::new(self.config.clone());
        for record in &self.log {
            self.shard.replay(record);
        }
        if let Some(topics) = self.topics.clone() {
            self.shard.topics_changed(topics, &[], false);
        }
        self.load();
    }

    fn configure(&mut self, line: &Line) {
        let config = &mut self.config;
        let size = |key: &str, default: usize| {
            line.get(key).map_or(default, |text| text.parse().expect("a size"))
        };
        config.group_size_max = size("size", config.group_size_max);
        config.consumer_group_size_max = size("consumers", config.consumer_group_size_max);
        config.groups_max = size("groups", config.groups_max);
        config.pending_members_max = size("pending", config.pending_members_max);
        config.offset_metadata_max = size("metadata", config.offset_metadata_max);
        config.append_bytes_target = size("append", config.append_bytes_target);
        if line.get("delay").is_some() {
            config.initial_rebalance_delay = line.millis("delay", 0);
        }
        if line.get("retention").is_some() {
            config.offsets_retention = line.millis("retention", 0);
        }
        if line.get("check").is_some() {
            config.offsets_retention_check_interval = line.millis("check", 0);
        }
        if let Some(policy) = line.get("migration") {
            config.consumer_migration = MigrationPolicy::named(policy).expect("a policy");
        }
        self.shard.set_config(config.clone());
    }

    /// `replay KEY-HEX VALUE-HEX|-`, or a record of another protocol by its id.
    fn replay(&mut self, line: &Line) {
        let (key, value) = match line.word(0) {
            "foreign" => {
                let mut key = BytesMut::new();
                key.put_i16(line.word(1).parse().expect("a record id"));
                let group = line.word(2);
                key.put_i16(i16::try_from(group.len()).expect("short"));
                key.put_slice(group.as_bytes());
                key.put_slice(line.word(3).as_bytes());
                (key.freeze(), line.get("gone").is_none().then(|| Bytes::from_static(b"\0\0")))
            }
            key => (hex(key), (line.word(1) != "-").then(|| hex(line.word(1)))),
        };
        let producer = line.get("producer").map(|text| ProducerId(text.parse().expect("an id")));
        let record =
            LoggedRecord { offset: self.end(), transaction_of: producer, key: Some(key), value };
        self.shard.replay(&record);
        self.log.push(record);
    }

    fn advance(&mut self, to: u64) {
        while let Some(at) = self.shard.poll_timeout().filter(|at| at.as_millis() <= to) {
            self.now = self.now.max(at.as_millis());
            let now = self.now();
            writeln!(self.out, "  ({})", self.now).expect("text");
            let before = self.out.len();
            self.shard.handle_timeout(now);
            self.drive();
            if self.out.len() == before {
                writeln!(self.out, "    nothing to say").expect("text");
            }
        }
        self.now = to;
    }

    fn drive(&mut self) {
        while !self.wait
            && let Some(output) = self.shard.poll_output()
        {
            match output {
                Output::Reply { token, response } => {
                    self.print(&format!("#{} {}", token.0, show::response(&response)));
                }
                Output::Append { id, records } => {
                    let now = self.now();
                    if let Some(failure) = self.fail_next.take() {
                        self.print(&format!("append of {} fails", records.len()));
                        self.shard.append_failed(now, id, failure);
                        continue;
                    }
                    self.append(records);
                    let end = self.end();
                    self.shard.appended(now, id, end);
                    if !self.hold {
                        self.shard.high_watermark(now, end);
                    }
                }
            }
        }
    }

    fn append(&mut self, records: Vec<Record>) {
        for record in records {
            self.print(&format!("{}: {}", self.log.len(), show::record(&record)));
            let Record { key, value } = record;
            let offset = self.end();
            self.log.push(LoggedRecord { offset, transaction_of: None, key: Some(key), value });
        }
    }

    fn print(&mut self, text: &str) {
        for line in shorten(text).lines() {
            writeln!(self.out, "  {line}").expect("text");
        }
    }

    fn request(&mut self, line: &Line) {
        self.tokens += 1;
        let token = Token(self.tokens);
        let request = match line.command.as_str() {
            "join" => self.join(line),
            "sync" => sync(line),
            "heartbeat" => Request::Heartbeat(Heartbeat {
                group: line.word(0).into(),
                generation: line.generation(),
                member: line.word(1).into(),
                instance: line.get("instance").map(Into::into),
            }),
            "leave" => leave(line),
            "commit" => commit(line),
            "fetch" => fetch(line),
            "offset-delete" => Request::OffsetDelete(OffsetDelete {
                group: line.word(0).into(),
                topics: line.words(1).iter().map(|word| topic_of_one(word)).collect(),
            }),
            "describe" => Request::DescribeGroups(groups(line)),
            "list" => Request::ListGroups(ListGroups {
                states: line.list("states"),
                kinds: line.list("kinds"),
            }),
            "delete" => Request::DeleteGroups(groups(line)),
            "beat" => Request::ConsumerGroupHeartbeat(Box::new(crate::consumer::beat(line))),
            "describe-consumer" => Request::ConsumerGroupDescribe(groups(line)),
            other => panic!("no command {other}"),
        };
        let now = self.now();
        self.shard.handle(now, request, token);
    }

    fn join(&mut self, line: &Line) -> Request {
        self.random += 1;
        let version = line.number("v", 9);
        Request::JoinGroup(JoinGroup {
            group: line.word(0).into(),
            member: line.word(1).into(),
            instance: line.get("instance").map(Into::into),
            client_id: line.or("client", "c").into(),
            client_host: "/10.0.0.1".into(),
            session_timeout: line.millis("session", 10_000),
            rebalance_timeout: line.millis("rebalance", 60_000),
            protocol_type: line.or("type", "consumer").into(),
            protocols: line
                .or("protocols", "range:t")
                .split_terminator(',')
                .map(protocol)
                .collect(),
            random: Uuid::from_parts(0x4000, (1 << 63) | self.random),
            member_id_required: 4 <= version,
            skip_assignment: 9 <= version,
        })
    }
}

/// `range:t1+t2` with a subscription to t1 and t2, `range!x` with metadata `x`, `range%t1+t2/t1-0+t1-1`
/// as today's consumers write it, with what the member has.
fn protocol(text: &str) -> (ottla_group::ProtocolName, Bytes) {
    if let Some((name, metadata)) = text.split_once('!') {
        return (name.into(), Bytes::copy_from_slice(metadata.as_bytes()));
    }
    if let Some((name, said)) = text.split_once('%') {
        return (name.into(), said_by_consumer(said));
    }
    let (name, topics) = text.split_once(':').expect("name:topics");
    let topics: Vec<&str> = topics.split_terminator('+').collect();
    let mut metadata = BytesMut::new();
    metadata.put_i16(0);
    metadata.put_i32(i32::try_from(topics.len()).expect("few"));
    for topic in topics {
        metadata.put_i16(i16::try_from(topic.len()).expect("short"));
        metadata.put_slice(topic.as_bytes());
    }
    (name.into(), metadata.freeze())
}

fn said_by_consumer(text: &str) -> Bytes {
    let (topics, owned) = text.split_once('/').unwrap_or((text, ""));
    let mut metadata = BytesMut::from(&protocol(&format!("any:{topics}")).1[..]);
    metadata[1] = 1;
    metadata.put_i32(-1);
    let owned: Vec<&str> = owned.split_terminator('+').collect();
    metadata.put_i32(i32::try_from(owned.len()).expect("few"));
    for word in owned {
        let (topic, index) = partition(word);
        metadata.put_i16(i16::try_from(topic.len()).expect("short"));
        metadata.put_slice(topic.as_bytes());
        metadata.put_i32(1);
        metadata.put_i32(index.to_wire());
    }
    metadata.freeze()
}

fn sync(line: &Line) -> Request {
    let assignment = |word: &String| {
        let (member, assignment) = word.split_once(':').expect("member:assignment");
        (member.into(), Bytes::copy_from_slice(assignment.as_bytes()))
    };
    Request::SyncGroup(SyncGroup {
        group: line.word(0).into(),
        generation: line.generation(),
        member: line.word(1).into(),
        instance: line.get("instance").map(Into::into),
        protocol_type: line.get("type").map(Into::into),
        protocol_name: line.get("protocol").map(Into::into),
        assignments: line.list("assign").iter().map(assignment).collect(),
    })
}

fn leave(line: &Line) -> Request {
    let member = |word: &String| {
        let (member, instance) = word.split_once('/').unwrap_or((word, ""));
        LeavingMember {
            member: member.into(),
            instance: (!instance.is_empty()).then(|| instance.into()),
            reason: None,
        }
    };
    let members = line.words(1).iter().map(member).collect();
    Request::LeaveGroup(LeaveGroup { group: line.word(0).into(), members })
}

/// `commit g t-0:5 t-1:6@3:metadata member= gen= v= retention=`
fn commit(line: &Line) -> Request {
    let topic = |word: &String| {
        let mut parts = word.splitn(3, ':');
        let (topic, partition) = partition(parts.next().expect("a partition"));
        let offset = parts.next().expect("an offset");
        let (offset, epoch) = offset.split_once('@').unwrap_or((offset, ""));
        let metadata = parts.next().unwrap_or("");
        OffsetCommitTopic {
            topic: topic.into(),
            topic_id: topic_id(line),
            partitions: vec![OffsetCommitPartition {
                partition,
                offset: CommittedOffset(offset.parse().expect("an offset")),
                leader_epoch: epoch.parse().ok().map(LeaderEpoch),
                metadata: metadata.into(),
            }],
        }
    };
    Request::OffsetCommit(OffsetCommit {
        group: line.word(0).into(),
        generation: line.generation(),
        member: expand(line.or("member", "")).as_str().into(),
        instance: line.get("instance").map(Into::into),
        retention: line.get("retention").map(|_| line.millis("retention", 0)),
        knows_group_id_not_found: 9 <= line.number("v", 9),
        topics: line.words(1).iter().map(topic).collect(),
    })
}

/// `fetch g *` for all topics.
fn fetch(line: &Line) -> Request {
    let topic = |word: &String| {
        let (topic, partitions) = topic_of_one(word);
        OffsetFetchTopic { topic, topic_id: topic_id(line), partitions }
    };
    let topics = (line.word(1) != "*").then(|| line.words(1).iter().map(topic).collect());
    let require_stable = line.get("stable").is_some();
    Request::OffsetFetch(OffsetFetch {
        group: line.word(0).into(),
        member: line.get("member").map(Into::into),
        member_epoch: line.generation().map(|epoch| Epoch(epoch.to_wire())),
        topics,
        require_stable,
    })
}

fn topic_of_one(word: &str) -> (ottla_group::Topic, Vec<ottla_types::PartitionIndex>) {
    let (topic, partition) = partition(word);
    (topic.into(), vec![partition])
}

fn topic_id(line: &Line) -> TopicId {
    let number = line.number("id", 0);
    TopicId(Uuid::from_parts(0, u64::try_from(number).expect("an id")))
}

fn groups(line: &Line) -> Vec<GroupId> {
    line.words(0).iter().map(|word| GroupId::from(word.as_str())).collect()
}

fn failure(name: &str) -> AppendFailure {
    match name {
        "unavailable" => AppendFailure::Unavailable,
        "not-leader" => AppendFailure::NotLeader,
        "too-large" => AppendFailure::TooLarge,
        other => panic!("no failure {other}"),
    }
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u32> =
        text.chars().map(|digit| digit.to_digit(16).expect("a hex digit")).collect();
    let byte = |pair: &[u32]| {
        u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).expect("a byte")
    };
    digits.chunks(2).map(byte).collect::<Vec<_>>().into()
}
