//! What a node runs with, as typed values.
//!
//! Made from texts by [`BrokerConfig::read`], at the start and again when dynamic configs change;
//! every part can be compared with its former self to see what has changed. Times are
//! [`Duration`]s, sizes are bytes, and "no limit" is `None`.

mod group;
mod listeners;
mod topic;

use std::time::Duration;

use ottla_types::NodeId;

pub(crate) use topic::inherited;

pub use group::{Bounded, ConsumerGroups, GroupConfig, OffsetsTopic};
pub use listeners::{Listeners, Roles};
pub use topic::{
    CleanupPolicy, Compression, Durability, TimestampType, TopicConfig, effective_topic_texts,
};

use crate::{
    address::{HostPort, Voter, bootstrap_servers, host_port, voters},
    error::ConfigError,
    reader::Reader,
    settings::Texts,
};

/// Everything a node runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerConfig {
    /// Number of this node.
    pub node_id: NodeId,
    /// What this node does.
    pub roles: Roles,
    /// Rack of this broker.
    pub rack: Option<String>,
    /// Where it listens and what it tells others.
    pub listeners: Listeners,
    /// How it finds and joins the metadata quorum.
    pub quorum: QuorumConfig,
    /// Where it keeps data.
    pub dirs: DirConfig,
    /// Sockets and limits on connections.
    pub network: NetworkConfig,
    /// How logs are looked after.
    pub logs: LogConfig,
    /// How logs are compacted.
    pub cleaner: CleanerConfig,
    /// How logs are verified in the background.
    pub scrub: ScrubConfig,
    /// How topics are created and deleted.
    pub topics: TopicPolicy,
    /// Configs of a topic that overrides nothing.
    pub topic_defaults: TopicConfig,
    /// Limits and waits of replication.
    pub replication: ReplicationConfig,
    /// How Fetch is answered.
    pub fetch: FetchConfig,
    /// How the broker part lives with its controller.
    pub lifecycle: LifecycleConfig,
    /// How the controller part works.
    pub controller: ControllerConfig,
    /// Group coordinator.
    pub groups: GroupConfig,
    /// Idle time after which a producer's sequence state is forgotten.
    pub producer_id_expiration: Duration,
    /// Address of metrics and health; `None` turns them off.
    pub http_listener: Option<HostPort>,
    /// How batches are checked on produce.
    pub validation: ProduceValidation,
}

/// How batches are checked on produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceValidation {
    /// Header and checksum; records only where the rules need them.
    Header,
    /// Every record, as Kafka does.
    Records,
}

/// How a node finds and joins the metadata quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumConfig {
    /// Fixed voters; empty when they are kept in the log.
    pub voters: Vec<Voter>,
    /// Controllers to ask first.
    pub bootstrap_servers: Vec<HostPort>,
    /// How long a candidate waits for votes.
    pub election_timeout: Duration,
    /// Silence of the leader after which a voter stands.
    pub fetch_timeout: Duration,
    /// Most bytes of one answer to a metadata Fetch.
    pub fetch_bytes_max: u64,
    /// Most bytes of one FetchSnapshot answer.
    pub fetch_snapshot_bytes_max: u64,
    /// Whether an observing controller asks to become a voter.
    pub auto_join: bool,
}

/// Where a node keeps data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirConfig {
    /// Data directories, at least one.
    pub log_dirs: Vec<String>,
    /// Directory of the metadata log.
    pub metadata_log_dir: String,
    /// Directories that get no new partitions.
    pub cordoned_log_dirs: Vec<String>,
}

/// Sockets and limits on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// SO_SNDBUF; `None` keeps the system's choice.
    pub send_buffer_bytes: Option<u64>,
    /// SO_RCVBUF; `None` keeps the system's choice.
    pub receive_buffer_bytes: Option<u64>,
    /// Largest request.
    pub request_bytes_max: u64,
    /// Bytes of requests over all connections; `None` lets the broker choose.
    pub queued_bytes_max: Option<u64>,
    /// Connections that may wait to be accepted; `None` lets the broker choose.
    pub listen_backlog: Option<u32>,
    /// Most connections of the broker.
    pub connections_max: u32,
    /// Most connections from one address.
    pub connections_per_ip_max: u32,
    /// Exceptions from that limit by host.
    pub connections_per_ip_overrides: Vec<(String, u32)>,
    /// Most new connections a second.
    pub connection_rate_max: u32,
    /// Most connections of single listeners, by name.
    pub listener_connections_max: Vec<(String, u32)>,
    /// Most new connections a second of single listeners, by name.
    pub listener_connection_rate_max: Vec<(String, u32)>,
    /// Idle time after which a connection is closed; `None` never.
    pub idle_max: Option<Duration>,
    /// First timeout for opening a connection to another node.
    pub setup_timeout: Duration,
    /// How long this node waits for answers to its own requests.
    pub request_timeout: Duration,
    /// How long it waits for answers of the active controller.
    pub controller_timeout: Duration,
}

/// How logs are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How often segments are checked for deletion.
    pub retention_check_interval: Duration,
    /// Threads for each directory that open partitions at the start, and segments of one.
    pub recovery_threads: u32,
    /// How often recovery points are written.
    pub recovery_point_checkpoint_interval: Duration,
    /// Pause after the start before background work begins.
    pub initial_task_delay: Duration,
}

/// How logs are compacted.
#[derive(Clone, Debug, PartialEq)]
pub struct CleanerConfig {
    /// Whether they are at all.
    pub enabled: bool,
    /// Most threads that compact at a time.
    pub threads: u32,
    /// Pause before logs are looked at again when there was nothing to do.
    pub backoff: Duration,
    /// Memory of all threads for remembering keys.
    pub dedupe_bytes: u64,
    /// How full that may get, between 0 and 1.
    pub load_factor: f64,
    /// Memory of all threads for reading and writing.
    pub io_buffer_bytes: u64,
    /// Most bytes that all threads read and write in a second; `None` any.
    pub io_bytes_per_second: Option<f64>,
}

/// How logs are verified in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// Bytes that are read in a second; 0 for none.
    pub bytes_per_second: u64,
    /// Time from the beginning of one pass to the next.
    pub interval: Duration,
}

/// How topics are created and deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// Whether a topic is created when a client asks for one that does not exist.
    pub auto_create: bool,
    /// Whether topics may be deleted.
    pub delete_enabled: bool,
    /// Partitions when a request does not say.
    pub partitions: u32,
    /// Replicas when a request does not say.
    pub replication_factor: u32,
    /// Replicas and partitions of the transaction state topic.
    pub transaction_log: InternalTopic,
    /// Replicas and partitions of the share state topic.
    pub share_log: InternalTopic,
}

/// Shape of an internal topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    /// Partitions.
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: u32,
    /// In-sync replicas that a write needs.
    pub min_insync_replicas: u32,
    /// Segment size.
    pub segment_bytes: u32,
}

/// Limits and waits of replication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationConfig {
    /// How often high watermarks are written.
    pub high_watermark_checkpoint_interval: Duration,
    /// How long a leader may hold a follower's Fetch.
    pub fetch_wait_max: Duration,
    /// Bytes for which a leader holds a follower's Fetch.
    pub fetch_bytes_min: u64,
    /// Bytes of one partition that a follower asks for.
    pub fetch_bytes_max: u64,
    /// Bytes that a follower asks for in one answer.
    pub fetch_response_bytes_max: u64,
    /// Bytes a second that are moved between log directories.
    pub alter_dirs_bytes_per_second: u64,
}

/// How Fetch is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// Most bytes of records in one answer.
    pub bytes_max: u64,
    /// Sessions kept at the same time (KIP-227).
    pub session_slots: u32,
    /// Most partitions in one DescribeTopicPartitions answer.
    pub describe_partitions_max: u32,
}

/// How the broker part lives with its controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleConfig {
    /// How often the broker tells the controller that it is alive.
    pub heartbeat_interval: Duration,
    /// `log.dir.failure.timeout.ms`: how long the controller may not hear of a failed log directory.
    pub directory_failure_timeout: Duration,
    /// Silence after which the controller fences a broker.
    pub session_timeout: Duration,
    /// How long a starting broker tries to register.
    pub registration_timeout: Duration,
    /// Whether leadership is handed over before stopping.
    pub controlled_shutdown: bool,
}

/// How the controller part works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerConfig {
    /// Bytes of new records after which a snapshot is written.
    pub snapshot_bytes: u64,
    /// Longest time between snapshots; `None` sets none.
    pub snapshot_interval: Option<Duration>,
    /// How often an idle leader writes a no-op record; `None` never.
    pub idle_interval: Option<Duration>,
    /// Segment size of the metadata log.
    pub segment_bytes: u32,
    /// Age after which a segment of the metadata log is rolled.
    pub segment_age: Duration,
    /// Size above which old metadata is deleted; `None` never.
    pub retention_bytes: Option<u64>,
    /// Age above which old metadata is deleted; `None` never.
    pub retention_age: Option<Duration>,
    /// How often leadership is given back to preferred replicas; `None` never.
    pub leader_rebalance_interval: Option<Duration>,
    /// How often leaderless partitions are looked at.
    pub unclean_election_interval: Duration,
}

impl BrokerConfig {
    /// Reads and checks the texts of all broker keys, as a file and dynamic configs give them.
    ///
    /// # Errors
    /// Everything that is wrong with them, in the order of the table and then of the rules.
    pub fn read(texts: &Texts) -> Result<Self, Vec<ConfigError>> {
        let texts = with_node_id(texts);
        let mut reader = Reader::new(&texts);
        let config = Self::build(&mut reader, &texts);
        crate::rules::check(&config, &mut reader);
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }

    fn build(r: &mut Reader<'_>, texts: &Texts) -> Self {
        let roles = Roles::read(r);
        let quorum = QuorumConfig::read(r);
        let node_id = i32::try_from(r.number("node.id")).ok().and_then(NodeId::from_wire);
        let node_id = node_id.unwrap_or(NodeId(0));
        let (topic_defaults, _) = TopicConfig::resolve(texts, &Texts::new());
        let idle = Duration::from_millis(1);
        let validation = match r.text("ottla.produce.validation").as_deref() {
            Some("records") => ProduceValidation::Records,
            _ => ProduceValidation::Header,
        };
        Self {
            node_id,
            roles,
            rack: r.text("broker.rack"),
            listeners: Listeners::read(r, roles, node_id, &quorum.voters),
            quorum,
            dirs: DirConfig::read(r),
            network: NetworkConfig::read(r, texts),
            logs: LogConfig::read(r),
            cleaner: CleanerConfig::read(r),
            scrub: ScrubConfig::read(r),
            topics: TopicPolicy::read(r),
            topic_defaults,
            replication: ReplicationConfig::read(r),
            fetch: FetchConfig {
                bytes_max: r.bytes("fetch.max.bytes"),
                session_slots: r.count("max.incremental.fetch.session.cache.slots"),
                describe_partitions_max: r.count("max.request.partition.size.limit"),
            },
            lifecycle: LifecycleConfig {
                heartbeat_interval: r.millis("broker.heartbeat.interval.ms").max(idle),
                directory_failure_timeout: r.millis("log.dir.failure.timeout.ms"),
                session_timeout: r.millis("broker.session.timeout.ms"),
                registration_timeout: r.millis("initial.broker.registration.timeout.ms"),
                controlled_shutdown: r.flag("controlled.shutdown.enable"),
            },
            controller: ControllerConfig::read(r),
            groups: GroupConfig::read(r),
            producer_id_expiration: r.millis("producer.id.expiration.ms"),
            http_listener: r.text("ottla.http.listener").as_deref().and_then(host_port),
            validation,
        }
    }
}

impl QuorumConfig {
    fn read(r: &Reader<'_>) -> Self {
        let name = "controller.quorum.bootstrap.servers";
        Self {
            voters: voters(&r.list("controller.quorum.voters")).unwrap_or_default(),
            bootstrap_servers: bootstrap_servers(name, &r.list(name)).unwrap_or_default(),
            election_timeout: r.millis("controller.quorum.election.timeout.ms"),
            fetch_timeout: r.millis("controller.quorum.fetch.timeout.ms"),
            fetch_bytes_max: r.bytes("controller.quorum.fetch.max.bytes"),
            fetch_snapshot_bytes_max: r.bytes("controller.quorum.fetch.snapshot.max.bytes"),
            auto_join: r.flag("controller.quorum.auto.join.enable"),
        }
    }
}

impl DirConfig {
    fn read(r: &mut Reader<'_>) -> Self {
        let mut log_dirs = r.list("log.dirs");
        if log_dirs.is_empty() {
            log_dirs = r.list("log.dir");
        }
        let first = log_dirs.first().cloned();
        r.require(first.is_some(), || {
            "At least one log directory must be defined via log.dirs or log.dir.".to_owned()
        });
        let mut cordoned = r.list("cordoned.log.dirs");
        if cordoned.iter().any(|dir| dir == "*") {
            r.require(cordoned.len() == 1, || {
                "When cordoned.log.dirs is set to *, it must not contain other values".to_owned()
            });
            cordoned.clone_from(&log_dirs);
        }
        let unknown: Vec<&str> =
            cordoned.iter().filter(|dir| !log_dirs.contains(dir)).map(String::as_str).collect();
        r.require(unknown.is_empty(), || {
            let missing = unknown.join(", ");
            format!(
                "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. \
                 Missing entries : {missing}"
            )
        });
        Self {
            metadata_log_dir: r.text("metadata.log.dir").or(first).unwrap_or_default(),
            cordoned_log_dirs: cordoned,
            log_dirs,
        }
    }
}

impl NetworkConfig {
    fn read(r: &mut Reader<'_>, texts: &Texts) -> Self {
        Self {
            send_buffer_bytes: r.bytes_or_unlimited("socket.send.buffer.bytes"),
            receive_buffer_bytes: r.bytes_or_unlimited("socket.receive.buffer.bytes"),
            request_bytes_max: r.bytes("socket.request.max.bytes"),
            queued_bytes_max: r.bytes_or_unlimited("queued.max.request.bytes").filter(|n| 0 < *n),
            listen_backlog: r
                .is_set("socket.listen.backlog.size")
                .then(|| r.count("socket.listen.backlog.size")),
            connections_max: r.count("max.connections"),
            connections_per_ip_max: r.count("max.connections.per.ip"),
            connections_per_ip_overrides: ip_overrides(r),
            connection_rate_max: r.count("max.connection.creation.rate"),
            listener_connections_max: by_listener(texts, "max.connections"),
            listener_connection_rate_max: by_listener(texts, "max.connection.creation.rate"),
            idle_max: r.millis_or_forever("connections.max.idle.ms"),
            setup_timeout: r.millis("socket.connection.setup.timeout.ms"),
            request_timeout: r.millis("request.timeout.ms"),
            controller_timeout: r.millis("controller.socket.timeout.ms"),
        }
    }
}

impl LogConfig {
    fn read(r: &Reader<'_>) -> Self {
        Self {
            retention_check_interval: r.millis("log.retention.check.interval.ms"),
            recovery_threads: r.count("num.recovery.threads.per.data.dir"),
            recovery_point_checkpoint_interval: r.millis("log.flush.offset.checkpoint.interval.ms"),
            initial_task_delay: r.millis("log.initial.task.delay.ms"),
        }
    }
}

impl CleanerConfig {
    fn read(r: &Reader<'_>) -> Self {
        let rate = r.double("log.cleaner.io.max.bytes.per.second");
        Self {
            enabled: r.flag("log.cleaner.enable"),
            threads: r.count("log.cleaner.threads"),
            backoff: r.millis("log.cleaner.backoff.ms"),
            dedupe_bytes: r.bytes("log.cleaner.dedupe.buffer.size"),
            load_factor: r.double("log.cleaner.io.buffer.load.factor"),
            io_buffer_bytes: r.bytes("log.cleaner.io.buffer.size"),
            io_bytes_per_second: (rate < f64::MAX).then_some(rate),
        }
    }
}

impl ScrubConfig {
    fn read(r: &Reader<'_>) -> Self {
        Self {
            bytes_per_second: r.bytes("ottla.scrub.bytes.per.second"),
            interval: r.millis("ottla.scrub.interval.ms"),
        }
    }
}

impl TopicPolicy {
    fn read(r: &Reader<'_>) -> Self {
        Self {
            auto_create: r.flag("auto.create.topics.enable"),
            delete_enabled: r.flag("delete.topic.enable"),
            partitions: r.count("num.partitions"),
            replication_factor: r.count("default.replication.factor"),
            transaction_log: InternalTopic {
                partitions: r.count("transaction.state.log.num.partitions"),
                replication_factor: r.count("transaction.state.log.replication.factor"),
                min_insync_replicas: r.count("transaction.state.log.min.isr"),
                segment_bytes: r.count("transaction.state.log.segment.bytes"),
            },
            share_log: InternalTopic {
                partitions: r.count("share.coordinator.state.topic.num.partitions"),
                replication_factor: r.count("share.coordinator.state.topic.replication.factor"),
                min_insync_replicas: r.count("share.coordinator.state.topic.min.isr"),
                segment_bytes: r.count("share.coordinator.state.topic.segment.bytes"),
            },
        }
    }
}

impl ReplicationConfig {
    fn read(r: &Reader<'_>) -> Self {
        Self {
            high_watermark_checkpoint_interval: r
                .millis("replica.high.watermark.checkpoint.interval.ms"),
            fetch_wait_max: r.millis("replica.fetch.wait.max.ms"),
            fetch_bytes_min: r.bytes("replica.fetch.min.bytes"),
            fetch_bytes_max: r.bytes("replica.fetch.max.bytes"),
            fetch_response_bytes_max: r.bytes("replica.fetch.response.max.bytes"),
            alter_dirs_bytes_per_second: r.bytes("replica.alter.log.dirs.io.max.bytes.per.second"),
        }
    }
}

impl ControllerConfig {
    fn read(r: &Reader<'_>) -> Self {
        let nonzero = |time: Duration| (!time.is_zero()).then_some(time);
        let segment_bytes = if r.number_or_null("internal.metadata.log.segment.bytes").is_some() {
            r.count("internal.metadata.log.segment.bytes")
        } else {
            r.count("metadata.log.segment.bytes")
        };
        let rebalance = r.flag("auto.leader.rebalance.enable");
        Self {
            snapshot_bytes: r.bytes("metadata.log.max.record.bytes.between.snapshots"),
            snapshot_interval: nonzero(r.millis("metadata.log.max.snapshot.interval.ms")),
            idle_interval: nonzero(r.millis("metadata.max.idle.interval.ms")),
            segment_bytes,
            segment_age: r.millis("metadata.log.segment.ms"),
            retention_bytes: r.bytes_or_unlimited("metadata.max.retention.bytes"),
            retention_age: r.millis_or_forever("metadata.max.retention.ms"),
            leader_rebalance_interval: rebalance
                .then(|| r.seconds("leader.imbalance.check.interval.seconds")),
            unclean_election_interval: r.millis("unclean.leader.election.interval.ms"),
        }
    }
}

/// `node.id` and `broker.id` stand in for each other.
pub(crate) fn with_node_id(texts: &Texts) -> Texts {
    let mut texts = texts.clone();
    match (texts.get("node.id").cloned(), texts.get("broker.id").cloned()) {
        (Some(id), None) => texts.insert("broker.id".to_owned(), id),
        (None, Some(id)) => texts.insert("node.id".to_owned(), id),
        _ => None,
    };
    texts
}

fn ip_overrides(r: &mut Reader<'_>) -> Vec<(String, u32)> {
    let name = "max.connections.per.ip.overrides";
    let text = r.text(name).unwrap_or_default();
    let mut overrides = Vec::new();
    for entry in crate::value::split_list(&text) {
        let parts = entry.rsplit_once(':').map(|(host, count)| (host.trim(), count.trim().parse()));
        match parts {
            Some((host, Ok(count))) if !host.is_empty() => overrides.push((host.to_owned(), count)),
            _ => {
                let reason = "each entry should be in the form host:count";
                r.problems.push(ConfigError::value(name, &entry, reason));
            }
        }
    }
    overrides
}

/// Values of `listener.name.X.KEY`, with X in upper case.
fn by_listener(texts: &Texts, key: &str) -> Vec<(String, u32)> {
    let entry = |(name, text): (&String, &String)| {
        let rest = name.strip_prefix("listener.name.")?;
        let listener = rest.strip_suffix(key)?.strip_suffix('.')?;
        Some((listener.to_uppercase(), text.trim().parse().ok()?))
    };
    texts.iter().filter_map(entry).collect()
}
