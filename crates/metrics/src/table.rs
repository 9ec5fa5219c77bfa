//! The table of every metric: object name, tags, shape, unit, meaning.
//!
//! Data only, by area. Names, tags and units are those of Apache Kafka 4.3; meanings are ours.

use crate::definition::{Definition, Shape, gauge, histogram, meter, own};

/// A part of the table, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Heading.
    pub title: &'static str,
    /// Metrics in reading order.
    pub metrics: &'static [&'static Definition],
}

/// All metrics by area.
pub const ALL: &[Area] = &[
    Area { title: "Topics", metrics: TOPICS },
    Area { title: "Requests", metrics: REQUESTS },
    Area { title: "Connections", metrics: CONNECTIONS },
    Area { title: "Replicas", metrics: REPLICAS },
    Area { title: "Logs", metrics: LOGS },
    Area { title: "Controller", metrics: CONTROLLER },
    Area { title: "Metadata quorum", metrics: QUORUM },
    Area { title: "Groups", metrics: GROUPS },
    Area { title: "Node and process", metrics: NODE },
];

const TOPICS: &[&Definition] = &[
    &MESSAGES_IN,
    &BYTES_IN,
    &BYTES_OUT,
    &BYTES_REJECTED,
    &PRODUCE_REQUESTS,
    &FETCH_REQUESTS,
    &FAILED_PRODUCE_REQUESTS,
    &FAILED_FETCH_REQUESTS,
    &PRODUCE_CONVERSIONS,
    &NO_KEY_COMPACTED,
    &INVALID_MAGIC,
    &INVALID_CRC,
    &INVALID_SEQUENCE,
    &REPLICATION_BYTES_IN,
    &REPLICATION_BYTES_OUT,
];

const REQUESTS: &[&Definition] = &[
    &REQUESTS_TOTAL,
    &ERRORS_TOTAL,
    &TOTAL_TIME,
    &QUEUE_TIME,
    &LOCAL_TIME,
    &REMOTE_TIME,
    &THROTTLE_TIME,
    &RESPONSE_QUEUE_TIME,
    &RESPONSE_SEND_TIME,
    &REQUEST_BYTES,
    &TEMPORARY_MEMORY,
];

const CONNECTIONS: &[&Definition] = &[
    &CONNECTION_COUNT,
    &CONNECTIONS_OPENED,
    &CONNECTIONS_CLOSED,
    &CONNECTIONS_EXPIRED,
    &NETWORK_IDLE,
    &MEMORY_POOL_AVAILABLE,
    &MEMORY_POOL_USED,
    &REQUEST_QUEUE_SIZE,
    &HANDLER_IDLE,
];

const REPLICAS: &[&Definition] = &[
    &LEADER_COUNT,
    &PARTITION_COUNT,
    &OFFLINE_REPLICAS,
    &UNDER_REPLICATED_PARTITIONS,
    &UNDER_MIN_ISR,
    &AT_MIN_ISR,
    &REASSIGNING,
    &PRODUCER_IDS,
    &ISR_EXPANDS,
    &ISR_SHRINKS,
    &FAILED_ISR_UPDATES,
    &PURGATORY_SIZE,
    &FETCH_SESSIONS,
    &FETCH_SESSION_PARTITIONS,
    &FETCH_SESSION_EVICTIONS,
];

const LOGS: &[&Definition] = &[
    &LOG_SIZE,
    &LOG_START_OFFSET,
    &LOG_END_OFFSET,
    &LOG_SEGMENTS,
    &OFFLINE_LOG_DIRECTORIES,
    &LOG_DIRECTORY_OFFLINE,
    &LOG_FLUSH_TIME,
];

const CONTROLLER: &[&Definition] = &[
    &ACTIVE_CONTROLLERS,
    &ACTIVE_BROKERS,
    &FENCED_BROKERS,
    &GLOBAL_TOPICS,
    &GLOBAL_PARTITIONS,
    &OFFLINE_PARTITIONS,
    &PREFERRED_IMBALANCE,
    &METADATA_ERRORS,
    &LAST_APPLIED_OFFSET,
    &LAST_APPLIED_LAG,
    &LAST_COMMITTED_OFFSET,
    &TIMED_OUT_HEARTBEATS,
    &UNCLEAN_ELECTIONS,
];

const QUORUM: &[&Definition] = &[
    &RAFT_STATE,
    &RAFT_LEADER,
    &RAFT_VOTE,
    &RAFT_EPOCH,
    &RAFT_HIGH_WATERMARK,
    &RAFT_LOG_END_OFFSET,
    &RAFT_LOG_END_EPOCH,
    &RAFT_VOTERS,
    &RAFT_OBSERVERS,
    &RAFT_COMMIT_LATENCY_AVG,
    &RAFT_COMMIT_LATENCY_MAX,
    &RAFT_ELECTION_LATENCY_AVG,
    &RAFT_ELECTION_LATENCY_MAX,
    &RAFT_APPEND_RATE,
    &RAFT_FETCH_RATE,
    &METADATA_APPLIED_OFFSET,
    &METADATA_APPLIED_LAG,
    &METADATA_LOAD_ERRORS,
    &METADATA_APPLY_ERRORS,
];

const GROUPS: &[&Definition] = &[
    &GROUP_COUNT,
    &CLASSIC_GROUP_COUNT,
    &OFFSET_COUNT,
    &COORDINATOR_PARTITIONS,
    &OFFSET_COMMITS,
    &OFFSET_EXPIRATIONS,
    &OFFSET_DELETIONS,
    &GROUP_REBALANCES,
    &COORDINATOR_LOAD_MAX,
];

const NODE: &[&Definition] = &[
    &BROKER_STATE,
    &DISK_READ_BYTES,
    &DISK_WRITE_BYTES,
    &APP_INFO,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_VIRTUAL_MEMORY,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_THREADS,
    &PROCESS_START_TIME,
    &DROPPED_SERIES,
];

// Topics

/// Records appended for producers.
pub static MESSAGES_IN: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "MessagesInPerSec",
    "Records appended for producers.",
)
.tags(&["topic"]);

/// Bytes of batches appended for producers.
pub static BYTES_IN: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "BytesInPerSec",
    "Bytes of batches appended for producers.",
)
.tags(&["topic"]);

/// Bytes of records sent to consumers.
pub static BYTES_OUT: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "BytesOutPerSec",
    "Bytes of records sent to consumers.",
)
.tags(&["topic"]);

/// Bytes of batches refused for their size.
pub static BYTES_REJECTED: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "BytesRejectedPerSec",
    "Bytes of batches refused for their size.",
)
.tags(&["topic"]);

/// Partitions written to by Produce requests.
pub static PRODUCE_REQUESTS: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "TotalProduceRequestsPerSec",
    "Partitions written to by Produce requests.",
)
.tags(&["topic"]);

/// Partitions read by Fetch requests.
pub static FETCH_REQUESTS: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "TotalFetchRequestsPerSec",
    "Partitions read by Fetch requests.",
)
.tags(&["topic"]);

/// Partitions whose write failed.
pub static FAILED_PRODUCE_REQUESTS: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "FailedProduceRequestsPerSec",
    "Partitions whose write failed.",
)
.tags(&["topic"]);

/// Partitions whose read failed.
pub static FAILED_FETCH_REQUESTS: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "FailedFetchRequestsPerSec",
    "Partitions whose read failed.",
)
.tags(&["topic"]);

/// Records that were compressed again before they were appended.
pub static PRODUCE_CONVERSIONS: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "ProduceMessageConversionsPerSec",
    "Records that were compressed again before they were appended.",
)
.tags(&["topic"]);

/// Records refused because a compacted topic needs keys.
pub static NO_KEY_COMPACTED: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "NoKeyCompactedTopicRecordsPerSec",
    "Records refused because a compacted topic needs keys.",
)
.tags(&["topic"]);

/// Batches refused for their format.
pub static INVALID_MAGIC: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "InvalidMagicNumberRecordsPerSec",
    "Batches refused for their format.",
)
.tags(&["topic"]);

/// Batches refused for their checksum.
pub static INVALID_CRC: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "InvalidMessageCrcRecordsPerSec",
    "Batches refused for their checksum.",
)
.tags(&["topic"]);

/// Batches refused for their offsets or sequence numbers.
pub static INVALID_SEQUENCE: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "InvalidOffsetOrSequenceRecordsPerSec",
    "Batches refused for their offsets or sequence numbers.",
)
.tags(&["topic"]);

/// Bytes received from leaders.
pub static REPLICATION_BYTES_IN: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "ReplicationBytesInPerSec",
    "Bytes received from leaders.",
);

/// Bytes sent to followers.
pub static REPLICATION_BYTES_OUT: Definition = meter(
    "kafka.server",
    "BrokerTopicMetrics",
    "ReplicationBytesOutPerSec",
    "Bytes sent to followers.",
);

// Requests

/// Requests by name and version.
pub static REQUESTS_TOTAL: Definition =
    meter("kafka.network", "RequestMetrics", "RequestsPerSec", "Requests by name and version.")
        .tags(&["request", "version"]);

/// Answers by name of the request and error; NONE counts successes.
pub static ERRORS_TOTAL: Definition = meter(
    "kafka.network",
    "RequestMetrics",
    "ErrorsPerSec",
    "Answers by name of the request and error; NONE counts successes.",
)
.tags(&["request", "error"]);

/// Milliseconds from the arrival of a request to the last byte of its answer.
pub static TOTAL_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "TotalTimeMs",
    "Milliseconds from the arrival of a request to the last byte of its answer.",
)
.tags(&["request"])
.scale(0.001);

/// Milliseconds a request waits before it is begun.
pub static QUEUE_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "RequestQueueTimeMs",
    "Milliseconds a request waits before it is begun.",
)
.tags(&["request"])
.scale(0.001);

/// Milliseconds of work on a request in this node.
pub static LOCAL_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "LocalTimeMs",
    "Milliseconds of work on a request in this node.",
)
.tags(&["request"])
.scale(0.001);

/// Milliseconds a request waits for data or for other nodes.
pub static REMOTE_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "RemoteTimeMs",
    "Milliseconds a request waits for data or for other nodes.",
)
.tags(&["request"])
.scale(0.001);

/// Milliseconds an answer is held back by quotas.
pub static THROTTLE_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "ThrottleTimeMs",
    "Milliseconds an answer is held back by quotas.",
)
.tags(&["request"])
.scale(0.001);

/// Milliseconds an answer waits for earlier answers of its connection.
pub static RESPONSE_QUEUE_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "ResponseQueueTimeMs",
    "Milliseconds an answer waits for earlier answers of its connection.",
)
.tags(&["request"])
.scale(0.001);

/// Milliseconds it takes to send an answer.
pub static RESPONSE_SEND_TIME: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "ResponseSendTimeMs",
    "Milliseconds it takes to send an answer.",
)
.tags(&["request"])
.scale(0.001);

/// Sizes of requests.
pub static REQUEST_BYTES: Definition =
    histogram("kafka.network", "RequestMetrics", "RequestBytes", "Sizes of requests.")
        .tags(&["request"]);

/// Memory used to decompress or compress again for a request.
pub static TEMPORARY_MEMORY: Definition = histogram(
    "kafka.network",
    "RequestMetrics",
    "TemporaryMemoryBytes",
    "Memory used to decompress or compress again for a request.",
)
.tags(&["request"]);

// Connections

/// Open connections.
pub static CONNECTION_COUNT: Definition =
    gauge("kafka.server", "socket-server-metrics", "connection-count", "Open connections.")
        .tags(&["listener", "networkProcessor"])
        .attribute();

/// Connections opened so far.
pub static CONNECTIONS_OPENED: Definition = gauge(
    "kafka.server",
    "socket-server-metrics",
    "connection-creation-total",
    "Connections opened so far.",
)
.tags(&["listener", "networkProcessor"])
.attribute()
.shape(Shape::Counter);

/// Connections closed so far.
pub static CONNECTIONS_CLOSED: Definition = gauge(
    "kafka.server",
    "socket-server-metrics",
    "connection-close-total",
    "Connections closed so far.",
)
.tags(&["listener", "networkProcessor"])
.attribute()
.shape(Shape::Counter);

/// Idle connections closed so far.
pub static CONNECTIONS_EXPIRED: Definition = gauge(
    "kafka.server",
    "socket-server-metrics",
    "expired-connections-killed-count",
    "Idle connections closed so far.",
)
.tags(&["listener", "networkProcessor"])
.attribute()
.shape(Shape::Counter);

/// Share of time in which the worker threads have nothing to do, 0 to 1.
pub static NETWORK_IDLE: Definition = gauge(
    "kafka.network",
    "SocketServer",
    "NetworkProcessorAvgIdlePercent",
    "Share of time in which the worker threads have nothing to do, 0 to 1.",
);

/// Bytes still free for requests over all connections.
pub static MEMORY_POOL_AVAILABLE: Definition = gauge(
    "kafka.network",
    "SocketServer",
    "MemoryPoolAvailable",
    "Bytes still free for requests over all connections.",
);

/// Bytes held by requests over all connections.
pub static MEMORY_POOL_USED: Definition = gauge(
    "kafka.network",
    "SocketServer",
    "MemoryPoolUsed",
    "Bytes held by requests over all connections.",
);

/// Requests that are begun and not answered.
pub static REQUEST_QUEUE_SIZE: Definition = gauge(
    "kafka.network",
    "RequestChannel",
    "RequestQueueSize",
    "Requests that are begun and not answered.",
);

/// Share of time in which the worker threads have nothing to do, 0 to 1.
pub static HANDLER_IDLE: Definition = gauge(
    "kafka.server",
    "KafkaRequestHandlerPool",
    "RequestHandlerAvgIdlePercent",
    "Share of time in which the worker threads have nothing to do, 0 to 1.",
);

// Replicas

/// Partitions led by this broker.
pub static LEADER_COUNT: Definition =
    gauge("kafka.server", "ReplicaManager", "LeaderCount", "Partitions led by this broker.");

/// Partitions hosted by this broker.
pub static PARTITION_COUNT: Definition =
    gauge("kafka.server", "ReplicaManager", "PartitionCount", "Partitions hosted by this broker.");

/// Replicas in failed directories or with failed logs.
pub static OFFLINE_REPLICAS: Definition = gauge(
    "kafka.server",
    "ReplicaManager",
    "OfflineReplicaCount",
    "Replicas in failed directories or with failed logs.",
);

/// Led partitions with fewer in-sync replicas than replicas.
pub static UNDER_REPLICATED_PARTITIONS: Definition = gauge(
    "kafka.server",
    "ReplicaManager",
    "UnderReplicatedPartitions",
    "Led partitions with fewer in-sync replicas than replicas.",
);

/// Led partitions with fewer in-sync replicas than acks=all needs.
pub static UNDER_MIN_ISR: Definition = gauge(
    "kafka.server",
    "ReplicaManager",
    "UnderMinIsrPartitionCount",
    "Led partitions with fewer in-sync replicas than acks=all needs.",
);

/// Led partitions with just as many in-sync replicas as acks=all needs.
pub static AT_MIN_ISR: Definition = gauge(
    "kafka.server",
    "ReplicaManager",
    "AtMinIsrPartitionCount",
    "Led partitions with just as many in-sync replicas as acks=all needs.",
);

/// Led partitions that are being moved.
pub static REASSIGNING: Definition = gauge(
    "kafka.server",
    "ReplicaManager",
    "ReassigningPartitions",
    "Led partitions that are being moved.",
);

/// Producer ids with sequence state.
pub static PRODUCER_IDS: Definition =
    gauge("kafka.server", "ReplicaManager", "ProducerIdCount", "Producer ids with sequence state.");

/// Replicas that came back in sync.
pub static ISR_EXPANDS: Definition =
    meter("kafka.server", "ReplicaManager", "IsrExpandsPerSec", "Replicas that came back in sync.");

/// Replicas that fell out of sync.
pub static ISR_SHRINKS: Definition =
    meter("kafka.server", "ReplicaManager", "IsrShrinksPerSec", "Replicas that fell out of sync.");

/// Changes of in-sync replicas that the controller refused.
pub static FAILED_ISR_UPDATES: Definition = meter(
    "kafka.server",
    "ReplicaManager",
    "FailedIsrUpdatesPerSec",
    "Changes of in-sync replicas that the controller refused.",
);

/// Requests that wait, by kind.
pub static PURGATORY_SIZE: Definition = gauge(
    "kafka.server",
    "DelayedOperationPurgatory",
    "PurgatorySize",
    "Requests that wait, by kind.",
)
.tags(&["delayedOperation"]);

/// Incremental fetch sessions.
pub static FETCH_SESSIONS: Definition = gauge(
    "kafka.server",
    "FetchSessionCache",
    "NumIncrementalFetchSessions",
    "Incremental fetch sessions.",
);

/// Partitions of all incremental fetch sessions.
pub static FETCH_SESSION_PARTITIONS: Definition = gauge(
    "kafka.server",
    "FetchSessionCache",
    "NumIncrementalFetchPartitionsCached",
    "Partitions of all incremental fetch sessions.",
);

/// Incremental fetch sessions closed to make room.
pub static FETCH_SESSION_EVICTIONS: Definition = meter(
    "kafka.server",
    "FetchSessionCache",
    "IncrementalFetchSessionEvictionsPerSec",
    "Incremental fetch sessions closed to make room.",
);

// Logs

/// Bytes of a partition's segments.
pub static LOG_SIZE: Definition =
    gauge("kafka.log", "Log", "Size", "Bytes of a partition's segments.")
        .tags(&["topic", "partition"]);

/// First offset of a partition.
pub static LOG_START_OFFSET: Definition =
    gauge("kafka.log", "Log", "LogStartOffset", "First offset of a partition.")
        .tags(&["topic", "partition"]);

/// Offset of the next record of a partition.
pub static LOG_END_OFFSET: Definition =
    gauge("kafka.log", "Log", "LogEndOffset", "Offset of the next record of a partition.")
        .tags(&["topic", "partition"]);

/// Segments of a partition.
pub static LOG_SEGMENTS: Definition =
    gauge("kafka.log", "Log", "NumLogSegments", "Segments of a partition.")
        .tags(&["topic", "partition"]);

/// Data directories that failed.
pub static OFFLINE_LOG_DIRECTORIES: Definition =
    gauge("kafka.log", "LogManager", "OfflineLogDirectoryCount", "Data directories that failed.");

/// Whether a data directory failed, 1 or 0.
pub static LOG_DIRECTORY_OFFLINE: Definition = gauge(
    "kafka.log",
    "LogManager",
    "LogDirectoryOffline",
    "Whether a data directory failed, 1 or 0.",
)
.tags(&["logDirectory"]);

/// Milliseconds that syncs to disk take.
pub static LOG_FLUSH_TIME: Definition = histogram(
    "kafka.log",
    "LogFlushStats",
    "LogFlushRateAndTimeMs",
    "Milliseconds that syncs to disk take.",
)
.scale(0.001);

// Controller

/// Whether this node is the active controller, 1 or 0.
pub static ACTIVE_CONTROLLERS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "ActiveControllerCount",
    "Whether this node is the active controller, 1 or 0.",
);

/// Registered brokers that are not fenced.
pub static ACTIVE_BROKERS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "ActiveBrokerCount",
    "Registered brokers that are not fenced.",
);

/// Registered brokers that are fenced.
pub static FENCED_BROKERS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "FencedBrokerCount",
    "Registered brokers that are fenced.",
);

/// Topics of the cluster.
pub static GLOBAL_TOPICS: Definition =
    gauge("kafka.controller", "KafkaController", "GlobalTopicCount", "Topics of the cluster.");

/// Partitions of the cluster.
pub static GLOBAL_PARTITIONS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "GlobalPartitionCount",
    "Partitions of the cluster.",
);

/// Partitions without a leader.
pub static OFFLINE_PARTITIONS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "OfflinePartitionsCount",
    "Partitions without a leader.",
);

/// Partitions led by another than their preferred replica.
pub static PREFERRED_IMBALANCE: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "PreferredReplicaImbalanceCount",
    "Partitions led by another than their preferred replica.",
);

/// Errors in the metadata log that this node met.
pub static METADATA_ERRORS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "MetadataErrorCount",
    "Errors in the metadata log that this node met.",
);

/// Offset of the last metadata record in effect.
pub static LAST_APPLIED_OFFSET: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "LastAppliedRecordOffset",
    "Offset of the last metadata record in effect.",
);

/// Milliseconds since the last metadata record in effect was written.
pub static LAST_APPLIED_LAG: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "LastAppliedRecordLagMs",
    "Milliseconds since the last metadata record in effect was written.",
);

/// Offset of the last committed metadata record.
pub static LAST_COMMITTED_OFFSET: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "LastCommittedRecordOffset",
    "Offset of the last committed metadata record.",
);

/// Heartbeats that timed out so far.
pub static TIMED_OUT_HEARTBEATS: Definition = gauge(
    "kafka.controller",
    "KafkaController",
    "TimedOutBrokerHeartbeatCount",
    "Heartbeats that timed out so far.",
);

/// Elections of a replica that was not in sync.
pub static UNCLEAN_ELECTIONS: Definition = meter(
    "kafka.controller",
    "ControllerStats",
    "UncleanLeaderElectionsPerSec",
    "Elections of a replica that was not in sync.",
);

// Metadata quorum

/// What this node is in the metadata quorum.
pub static RAFT_STATE: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "current-state",
    "What this node is in the metadata quorum.",
)
.attribute()
.shape(Shape::State);

/// Node that leads the metadata quorum, -1 for none.
pub static RAFT_LEADER: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "current-leader",
    "Node that leads the metadata quorum, -1 for none.",
)
.attribute();

/// Node this node voted for, -1 for none.
pub static RAFT_VOTE: Definition =
    gauge("kafka.server", "raft-metrics", "current-vote", "Node this node voted for, -1 for none.")
        .attribute();

/// Epoch of the metadata quorum.
pub static RAFT_EPOCH: Definition =
    gauge("kafka.server", "raft-metrics", "current-epoch", "Epoch of the metadata quorum.")
        .attribute();

/// Offset up to which metadata is committed.
pub static RAFT_HIGH_WATERMARK: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "high-watermark",
    "Offset up to which metadata is committed.",
)
.attribute();

/// End of this node's metadata log.
pub static RAFT_LOG_END_OFFSET: Definition =
    gauge("kafka.server", "raft-metrics", "log-end-offset", "End of this node's metadata log.")
        .attribute();

/// Epoch of the last record in this node's metadata log.
pub static RAFT_LOG_END_EPOCH: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "log-end-epoch",
    "Epoch of the last record in this node's metadata log.",
)
.attribute();

/// Voters of the metadata quorum.
pub static RAFT_VOTERS: Definition =
    gauge("kafka.server", "raft-metrics", "number-of-voters", "Voters of the metadata quorum.")
        .attribute();

/// Observers of the metadata quorum.
pub static RAFT_OBSERVERS: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "number-of-observers",
    "Observers of the metadata quorum.",
)
.attribute();

/// Mean milliseconds from proposing metadata to its commit.
pub static RAFT_COMMIT_LATENCY_AVG: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "commit-latency-avg",
    "Mean milliseconds from proposing metadata to its commit.",
)
.attribute();

/// Longest milliseconds from proposing metadata to its commit.
pub static RAFT_COMMIT_LATENCY_MAX: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "commit-latency-max",
    "Longest milliseconds from proposing metadata to its commit.",
)
.attribute();

/// Mean milliseconds that elections took.
pub static RAFT_ELECTION_LATENCY_AVG: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "election-latency-avg",
    "Mean milliseconds that elections took.",
)
.attribute();

/// Longest milliseconds that an election took.
pub static RAFT_ELECTION_LATENCY_MAX: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "election-latency-max",
    "Longest milliseconds that an election took.",
)
.attribute();

/// Metadata records appended a second.
pub static RAFT_APPEND_RATE: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "append-records-rate",
    "Metadata records appended a second.",
)
.attribute();

/// Metadata records fetched a second.
pub static RAFT_FETCH_RATE: Definition = gauge(
    "kafka.server",
    "raft-metrics",
    "fetch-records-rate",
    "Metadata records fetched a second.",
)
.attribute();

/// Offset of the last metadata record this broker applied.
pub static METADATA_APPLIED_OFFSET: Definition = gauge(
    "kafka.server",
    "broker-metadata-metrics",
    "last-applied-record-offset",
    "Offset of the last metadata record this broker applied.",
)
.attribute();

/// Milliseconds since the last metadata record this broker applied was written.
pub static METADATA_APPLIED_LAG: Definition = gauge(
    "kafka.server",
    "broker-metadata-metrics",
    "last-applied-record-lag-ms",
    "Milliseconds since the last metadata record this broker applied was written.",
)
.attribute();

/// Errors while this broker read metadata.
pub static METADATA_LOAD_ERRORS: Definition = gauge(
    "kafka.server",
    "broker-metadata-metrics",
    "metadata-load-error-count",
    "Errors while this broker read metadata.",
)
.attribute();

/// Errors while this broker applied metadata.
pub static METADATA_APPLY_ERRORS: Definition = gauge(
    "kafka.server",
    "broker-metadata-metrics",
    "metadata-apply-error-count",
    "Errors while this broker applied metadata.",
)
.attribute();

// Groups

/// Groups by protocol.
pub static GROUP_COUNT: Definition =
    gauge("kafka.server", "group-coordinator-metrics", "group-count", "Groups by protocol.")
        .tags(&["protocol"])
        .attribute();

/// Classic groups by state.
pub static CLASSIC_GROUP_COUNT: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "classic-group-count",
    "Classic groups by state.",
)
.tags(&["state"])
.attribute();

/// Committed offsets.
pub static OFFSET_COUNT: Definition =
    gauge("kafka.server", "group-coordinator-metrics", "offset-count", "Committed offsets.")
        .attribute();

/// Partitions of the offsets topic by state of their coordinator.
pub static COORDINATOR_PARTITIONS: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "num-partitions",
    "Partitions of the offsets topic by state of their coordinator.",
)
.tags(&["state"])
.attribute();

/// Offsets committed so far.
pub static OFFSET_COMMITS: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "offset-commit-count",
    "Offsets committed so far.",
)
.attribute()
.shape(Shape::Counter);

/// Offsets expired so far.
pub static OFFSET_EXPIRATIONS: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "offset-expiration-count",
    "Offsets expired so far.",
)
.attribute()
.shape(Shape::Counter);

/// Offsets deleted so far.
pub static OFFSET_DELETIONS: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "offset-deletion-count",
    "Offsets deleted so far.",
)
.attribute()
.shape(Shape::Counter);

/// Rebalances completed so far.
pub static GROUP_REBALANCES: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "group-completed-rebalance-count",
    "Rebalances completed so far.",
)
.attribute()
.shape(Shape::Counter);

/// Longest milliseconds that loading a partition of the offsets topic took.
pub static COORDINATOR_LOAD_MAX: Definition = gauge(
    "kafka.server",
    "group-coordinator-metrics",
    "partition-load-time-max",
    "Longest milliseconds that loading a partition of the offsets topic took.",
)
.attribute();

// Node and process

/// State of the broker: 1 starting, 2 recovery, 3 running, 6 pending shutdown, 7 shutting down.
pub static BROKER_STATE: Definition = gauge(
    "kafka.server",
    "KafkaServer",
    "BrokerState",
    "State of the broker: 1 starting, 2 recovery, 3 running, 6 pending shutdown, 7 shutting down.",
);

/// Bytes this process caused to be read from disks.
pub static DISK_READ_BYTES: Definition = gauge(
    "kafka.server",
    "KafkaServer",
    "linux-disk-read-bytes",
    "Bytes this process caused to be read from disks.",
);

/// Bytes this process caused to be written to disks.
pub static DISK_WRITE_BYTES: Definition = gauge(
    "kafka.server",
    "KafkaServer",
    "linux-disk-write-bytes",
    "Bytes this process caused to be written to disks.",
);

/// Version of this program.
pub static APP_INFO: Definition =
    gauge("kafka.server", "app-info", "version", "Version of this program.")
        .tags(&["commit"])
        .attribute()
        .shape(Shape::State);

/// Processor time of this process in seconds.
pub static PROCESS_CPU: Definition =
    own("process_cpu_seconds_total", Shape::Counter, "Processor time of this process in seconds.");

/// Resident memory of this process.
pub static PROCESS_MEMORY: Definition =
    own("process_resident_memory_bytes", Shape::Gauge, "Resident memory of this process.");

/// Address space of this process.
pub static PROCESS_VIRTUAL_MEMORY: Definition =
    own("process_virtual_memory_bytes", Shape::Gauge, "Address space of this process.");

/// Open files and sockets of this process.
pub static PROCESS_OPEN_FDS: Definition =
    own("process_open_fds", Shape::Gauge, "Open files and sockets of this process.");

/// Most files and sockets this process may open.
pub static PROCESS_MAX_FDS: Definition =
    own("process_max_fds", Shape::Gauge, "Most files and sockets this process may open.");

/// Threads of this process.
pub static PROCESS_THREADS: Definition =
    own("process_threads", Shape::Gauge, "Threads of this process.");

/// When this process started, in seconds since 1970.
pub static PROCESS_START_TIME: Definition = own(
    "process_start_time_seconds",
    Shape::Gauge,
    "When this process started, in seconds since 1970.",
);

/// Series that are not shown because their family has too many.
pub static DROPPED_SERIES: Definition = own(
    "ottla_metrics_dropped_series_total",
    Shape::Counter,
    "Series that are not shown because their family has too many.",
);
