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

/// Makes a constant of each row and a list of all areas.
macro_rules! areas {
    ($($title:literal { $($name:ident = $definition:expr, $doc:literal;)* })*) => {
        $($(#[doc = $doc] pub static $name: Definition = $definition.doc($doc);)*)*

        /// All metrics by area.
        pub const ALL: &[Area] = &[
            $(Area { title: $title, metrics: &[$(&$name,)*] },)*
        ];
    };
}

areas! {
    "Topics" {
        MESSAGES_IN = meter("kafka.server", "BrokerTopicMetrics", "MessagesInPerSec").tags(&["topic"]),
            "Records appended for producers.";
        BYTES_IN = meter("kafka.server", "BrokerTopicMetrics", "BytesInPerSec").tags(&["topic"]),
            "Bytes of batches appended for producers.";
        BYTES_OUT = meter("kafka.server", "BrokerTopicMetrics", "BytesOutPerSec").tags(&["topic"]),
            "Bytes of records sent to consumers.";
        BYTES_REJECTED = meter("kafka.server", "BrokerTopicMetrics", "BytesRejectedPerSec").tags(&["topic"]),
            "Bytes of batches refused for their size.";
        PRODUCE_REQUESTS = meter("kafka.server", "BrokerTopicMetrics", "TotalProduceRequestsPerSec").tags(&["topic"]),
            "Partitions written to by Produce requests.";
        FETCH_REQUESTS = meter("kafka.server", "BrokerTopicMetrics", "TotalFetchRequestsPerSec").tags(&["topic"]),
            "Partitions read by Fetch requests.";
        FAILED_PRODUCE_REQUESTS = meter("kafka.server", "BrokerTopicMetrics", "FailedProduceRequestsPerSec").tags(&["topic"]),
            "Partitions whose write failed.";
        FAILED_FETCH_REQUESTS = meter("kafka.server", "BrokerTopicMetrics", "FailedFetchRequestsPerSec").tags(&["topic"]),
            "Partitions whose read failed.";
        NO_KEY_COMPACTED = meter("kafka.server", "BrokerTopicMetrics", "NoKeyCompactedTopicRecordsPerSec").tags(&["topic"]),
            "Records refused because a compacted topic needs keys.";
        INVALID_CRC = meter("kafka.server", "BrokerTopicMetrics", "InvalidMessageCrcRecordsPerSec").tags(&["topic"]),
            "Batches refused for their checksum.";
        INVALID_SEQUENCE = meter("kafka.server", "BrokerTopicMetrics", "InvalidOffsetOrSequenceRecordsPerSec").tags(&["topic"]),
            "Batches refused for their offsets or sequence numbers.";
    }
    "Requests" {
        REQUESTS_TOTAL = meter("kafka.network", "RequestMetrics", "RequestsPerSec").tags(&["request", "version"]),
            "Requests by name and version.";
        ERRORS_TOTAL = meter("kafka.network", "RequestMetrics", "ErrorsPerSec").tags(&["request", "error"]),
            "Answers by name of the request and error; NONE counts successes.";
        TOTAL_TIME = histogram("kafka.network", "RequestMetrics", "TotalTimeMs").tags(&["request"]).scale(0.001),
            "Milliseconds from the arrival of a request until its answer is handed to the socket.";
        QUEUE_TIME = histogram("kafka.network", "RequestMetrics", "RequestQueueTimeMs").tags(&["request"]).scale(0.001),
            "Milliseconds a request waits before it is begun; near 0, because the connection's own thread begins it.";
        LOCAL_TIME = histogram("kafka.network", "RequestMetrics", "LocalTimeMs").tags(&["request"]).scale(0.001),
            "Milliseconds of work on a request in this node.";
        REMOTE_TIME = histogram("kafka.network", "RequestMetrics", "RemoteTimeMs").tags(&["request"]).scale(0.001),
            "Milliseconds a request waits for data or for other nodes.";
        THROTTLE_TIME = histogram("kafka.network", "RequestMetrics", "ThrottleTimeMs").tags(&["request"]).scale(0.001),
            "Milliseconds an answer is held back by quotas.";
        REQUEST_BYTES = histogram("kafka.network", "RequestMetrics", "RequestBytes").tags(&["request"]),
            "Sizes of requests.";
    }
    "Connections" {
        CONNECTION_COUNT = gauge("kafka.server", "socket-server-metrics", "connection-count").tags(&["listener", "networkProcessor"]).attribute(),
            "Open connections.";
        CONNECTIONS_OPENED = gauge("kafka.server", "socket-server-metrics", "connection-creation-total").tags(&["listener", "networkProcessor"]).attribute().shape(Shape::Counter),
            "Connections opened so far.";
        CONNECTIONS_CLOSED = gauge("kafka.server", "socket-server-metrics", "connection-close-total").tags(&["listener", "networkProcessor"]).attribute().shape(Shape::Counter),
            "Connections closed so far.";
        CONNECTIONS_EXPIRED = gauge("kafka.server", "socket-server-metrics", "expired-connections-killed-count").tags(&["listener", "networkProcessor"]).attribute().shape(Shape::Counter),
            "Idle connections closed so far.";
        NETWORK_IDLE = gauge("kafka.network", "SocketServer", "NetworkProcessorAvgIdlePercent"),
            "Share of time in which the worker threads had nothing to do of late, 0 to 1.";
        MEMORY_POOL_AVAILABLE = gauge("kafka.network", "SocketServer", "MemoryPoolAvailable"),
            "Bytes still free for requests over all connections.";
        MEMORY_POOL_USED = gauge("kafka.network", "SocketServer", "MemoryPoolUsed"),
            "Bytes held by requests over all connections.";
        HANDLER_IDLE = gauge("kafka.server", "KafkaRequestHandlerPool", "RequestHandlerAvgIdlePercent"),
            "The same: network and handlers share the worker threads.";
    }
    "Replicas" {
        LEADER_COUNT = gauge("kafka.server", "ReplicaManager", "LeaderCount"),
            "Partitions led by this broker.";
        PARTITION_COUNT = gauge("kafka.server", "ReplicaManager", "PartitionCount"),
            "Partitions hosted by this broker.";
        OFFLINE_REPLICAS = gauge("kafka.server", "ReplicaManager", "OfflineReplicaCount"),
            "Replicas in failed directories or with failed logs.";
        UNDER_REPLICATED_PARTITIONS = gauge("kafka.server", "ReplicaManager", "UnderReplicatedPartitions"),
            "Led partitions with fewer in-sync replicas than replicas.";
        UNDER_MIN_ISR = gauge("kafka.server", "ReplicaManager", "UnderMinIsrPartitionCount"),
            "Led partitions with fewer in-sync replicas than acks=all needs.";
        AT_MIN_ISR = gauge("kafka.server", "ReplicaManager", "AtMinIsrPartitionCount"),
            "Led partitions with just as many in-sync replicas as acks=all needs.";
        REASSIGNING = gauge("kafka.server", "ReplicaManager", "ReassigningPartitions"),
            "Led partitions that are being moved.";
        PRODUCER_IDS = gauge("kafka.server", "ReplicaManager", "ProducerIdCount"),
            "Producer ids with sequence state.";
        PURGATORY_SIZE = gauge("kafka.server", "DelayedOperationPurgatory", "PurgatorySize").tags(&["delayedOperation"]),
            "Requests that wait, by kind.";
        FETCH_SESSIONS = gauge("kafka.server", "FetchSessionCache", "NumIncrementalFetchSessions"),
            "Incremental fetch sessions.";
        FETCH_SESSION_PARTITIONS = gauge("kafka.server", "FetchSessionCache", "NumIncrementalFetchPartitionsCached"),
            "Partitions of all incremental fetch sessions.";
        FETCH_SESSION_EVICTIONS = meter("kafka.server", "FetchSessionCache", "IncrementalFetchSessionEvictionsPerSec"),
            "Incremental fetch sessions closed to make room.";
    }
    "Logs" {
        LOG_SIZE = gauge("kafka.log", "Log", "Size").tags(&["topic", "partition"]),
            "Bytes of a partition's segments.";
        LOG_START_OFFSET = gauge("kafka.log", "Log", "LogStartOffset").tags(&["topic", "partition"]),
            "First offset of a partition.";
        LOG_END_OFFSET = gauge("kafka.log", "Log", "LogEndOffset").tags(&["topic", "partition"]),
            "Offset of the next record of a partition.";
        LOG_SEGMENTS = gauge("kafka.log", "Log", "NumLogSegments").tags(&["topic", "partition"]),
            "Segments of a partition.";
        OFFLINE_LOG_DIRECTORIES = gauge("kafka.log", "LogManager", "OfflineLogDirectoryCount"),
            "Data directories that failed.";
        LOG_DIRECTORY_OFFLINE = gauge("kafka.log", "LogManager", "LogDirectoryOffline").tags(&["logDirectory"]),
            "Whether a data directory failed, 1 or 0.";
        LOG_FLUSH_TIME = histogram("kafka.log", "LogFlushStats", "LogFlushRateAndTimeMs").scale(0.001),
            "Milliseconds that syncs to disk take.";
    }
    "Log cleaner" {
        CLEANER_UTILIZATION = gauge("kafka.log", "LogCleaner", "max-buffer-utilization-percent"),
            "Share of the memory for keys that the last pass of any cleaner thread used, in percent.";
        CLEANER_RECOPY = gauge("kafka.log", "LogCleaner", "cleaner-recopy-percent"),
            "Bytes written by the last pass of each cleaner thread, in percent of those read.";
        CLEANER_TIME = gauge("kafka.log", "LogCleaner", "max-clean-time-secs"),
            "Seconds that the longest of these passes took.";
        CLEANER_DELAY = gauge("kafka.log", "LogCleaner", "max-compaction-delay-secs"),
            "Seconds by which a record waited longer than max.compaction.lag.ms when a thread last looked.";
        CLEANER_DEAD_THREADS = gauge("kafka.log", "LogCleaner", "DeadThreadCount"),
            "Cleaner threads that ended by a fault.";
        UNCLEANABLE_PARTITIONS = gauge("kafka.log", "LogCleanerManager", "uncleanable-partitions-count").tags(&["logDirectory"]),
            "Partitions of a data directory that could not be compacted, and will not be until the next start.";
        UNCLEANABLE_BYTES = gauge("kafka.log", "LogCleanerManager", "uncleanable-bytes").tags(&["logDirectory"]),
            "Bytes in these that would be compacted.";
        CLEANER_DIRTIEST = gauge("kafka.log", "LogCleanerManager", "max-dirty-percent"),
            "Dirty part of the dirtiest partition when the cleaner last looked, in percent.";
        CLEANER_IDLE_TIME = gauge("kafka.log", "LogCleanerManager", "time-since-last-run-ms"),
            "Milliseconds since the cleaner last looked.";
    }
    "Controller" {
        ACTIVE_CONTROLLERS = gauge("kafka.controller", "KafkaController", "ActiveControllerCount"),
            "Whether this node is the active controller, 1 or 0.";
        ACTIVE_BROKERS = gauge("kafka.controller", "KafkaController", "ActiveBrokerCount"),
            "Registered brokers that are not fenced.";
        FENCED_BROKERS = gauge("kafka.controller", "KafkaController", "FencedBrokerCount"),
            "Registered brokers that are fenced.";
        GLOBAL_TOPICS = gauge("kafka.controller", "KafkaController", "GlobalTopicCount"),
            "Topics of the cluster.";
        GLOBAL_PARTITIONS = gauge("kafka.controller", "KafkaController", "GlobalPartitionCount"),
            "Partitions of the cluster.";
        OFFLINE_PARTITIONS = gauge("kafka.controller", "KafkaController", "OfflinePartitionsCount"),
            "Partitions without a leader.";
        PREFERRED_IMBALANCE = gauge("kafka.controller", "KafkaController", "PreferredReplicaImbalanceCount"),
            "Partitions led by another than their preferred replica.";
        LAST_APPLIED_OFFSET = gauge("kafka.controller", "KafkaController", "LastAppliedRecordOffset"),
            "Offset of the last metadata record in effect.";
        LAST_APPLIED_LAG = gauge("kafka.controller", "KafkaController", "LastAppliedRecordLagMs"),
            "Milliseconds since the last metadata record in effect was written; 0 on the active controller.";
        LAST_COMMITTED_OFFSET = gauge("kafka.controller", "KafkaController", "LastCommittedRecordOffset"),
            "Offset of the last committed metadata record.";
    }
    "Metadata quorum" {
        RAFT_STATE = gauge("kafka.server", "raft-metrics", "current-state").attribute().shape(Shape::State),
            "What this node is in the metadata quorum.";
        RAFT_LEADER = gauge("kafka.server", "raft-metrics", "current-leader").attribute(),
            "Node that leads the metadata quorum, -1 for none.";
        RAFT_VOTE = gauge("kafka.server", "raft-metrics", "current-vote").attribute(),
            "Node this node voted for, -1 for none.";
        RAFT_EPOCH = gauge("kafka.server", "raft-metrics", "current-epoch").attribute(),
            "Epoch of the metadata quorum.";
        RAFT_HIGH_WATERMARK = gauge("kafka.server", "raft-metrics", "high-watermark").attribute(),
            "Offset up to which metadata is committed.";
        RAFT_LOG_END_OFFSET = gauge("kafka.server", "raft-metrics", "log-end-offset").attribute(),
            "End of this node's metadata log.";
        RAFT_LOG_END_EPOCH = gauge("kafka.server", "raft-metrics", "log-end-epoch").attribute(),
            "Epoch of the last record in this node's metadata log.";
        RAFT_VOTERS = gauge("kafka.server", "raft-metrics", "number-of-voters").attribute(),
            "Voters of the metadata quorum.";
        RAFT_OBSERVERS = gauge("kafka.server", "raft-metrics", "number-of-observers").attribute(),
            "Observers of the metadata quorum.";
        RAFT_COMMIT_LATENCY_AVG = gauge("kafka.server", "raft-metrics", "commit-latency-avg").attribute(),
            "Mean milliseconds from proposing metadata to its commit.";
        RAFT_COMMIT_LATENCY_MAX = gauge("kafka.server", "raft-metrics", "commit-latency-max").attribute(),
            "Longest milliseconds from proposing metadata to its commit.";
        RAFT_ELECTION_LATENCY_AVG = gauge("kafka.server", "raft-metrics", "election-latency-avg").attribute(),
            "Mean milliseconds that elections took.";
        RAFT_ELECTION_LATENCY_MAX = gauge("kafka.server", "raft-metrics", "election-latency-max").attribute(),
            "Longest milliseconds that an election took.";
        RAFT_APPEND_RATE = gauge("kafka.server", "raft-metrics", "append-records-rate").attribute(),
            "Metadata records that this node, as the leader, appended a second, over about a minute.";
        METADATA_APPLIED_OFFSET = gauge("kafka.server", "broker-metadata-metrics", "last-applied-record-offset").attribute(),
            "Offset of the last metadata record this broker applied.";
        METADATA_APPLIED_LAG = gauge("kafka.server", "broker-metadata-metrics", "last-applied-record-lag-ms").attribute(),
            "Milliseconds since the last metadata record this broker applied was written.";
    }
    "Groups" {
        GROUP_COUNT = gauge("kafka.server", "group-coordinator-metrics", "group-count").tags(&["protocol"]).attribute(),
            "Groups by protocol.";
        CLASSIC_GROUP_COUNT = gauge("kafka.server", "group-coordinator-metrics", "classic-group-count").tags(&["state"]).attribute(),
            "Classic groups by state.";
        CONSUMER_GROUP_COUNT = gauge("kafka.server", "group-coordinator-metrics", "consumer-group-count").tags(&["state"]).attribute(),
            "Consumer groups by state.";
        OFFSET_COUNT = gauge("kafka.server", "group-coordinator-metrics", "offset-count").attribute(),
            "Committed offsets.";
        COORDINATOR_PARTITIONS = gauge("kafka.server", "group-coordinator-metrics", "num-partitions").tags(&["state"]).attribute(),
            "Partitions of the offsets topic by state of their coordinator.";
        OFFSET_COMMITS = gauge("kafka.server", "group-coordinator-metrics", "offset-commit-count").attribute().shape(Shape::Counter),
            "Offsets committed so far.";
        OFFSET_EXPIRATIONS = gauge("kafka.server", "group-coordinator-metrics", "offset-expiration-count").attribute().shape(Shape::Counter),
            "Offsets expired so far.";
        OFFSET_DELETIONS = gauge("kafka.server", "group-coordinator-metrics", "offset-deletion-count").attribute().shape(Shape::Counter),
            "Offsets deleted so far.";
        GROUP_REBALANCES = gauge("kafka.server", "group-coordinator-metrics", "group-completed-rebalance-count").attribute().shape(Shape::Counter),
            "Rebalances completed so far.";
        CONSUMER_GROUP_REBALANCES = gauge("kafka.server", "group-coordinator-metrics", "consumer-group-rebalance-count").attribute().shape(Shape::Counter),
            "Times that the epoch of a consumer group was raised so far.";
        COORDINATOR_LOAD_AVG = gauge("kafka.server", "group-coordinator-metrics", "partition-load-time-avg").attribute(),
            "Mean milliseconds that loading a partition of the offsets topic took.";
        COORDINATOR_LOAD_MAX = gauge("kafka.server", "group-coordinator-metrics", "partition-load-time-max").attribute(),
            "Longest milliseconds that loading a partition of the offsets topic took.";
    }
    "Node and process" {
        BROKER_STATE = gauge("kafka.server", "KafkaServer", "BrokerState"),
            "State of the broker: 1 starting, 2 recovery, 3 running, 6 pending shutdown, 7 shutting down.";
        DISK_READ_BYTES = gauge("kafka.server", "KafkaServer", "linux-disk-read-bytes"),
            "Bytes this process caused to be read from disks.";
        DISK_WRITE_BYTES = gauge("kafka.server", "KafkaServer", "linux-disk-write-bytes"),
            "Bytes this process caused to be written to disks.";
        APP_INFO = gauge("kafka.server", "app-info", "version").tags(&["commit"]).attribute().shape(Shape::State),
            "Version of this program.";
        PROCESS_CPU = own("process_cpu_seconds_total", Shape::Counter),
            "Processor time of this process in seconds.";
        PROCESS_MEMORY = own("process_resident_memory_bytes", Shape::Gauge),
            "Resident memory of this process.";
        PROCESS_VIRTUAL_MEMORY = own("process_virtual_memory_bytes", Shape::Gauge),
            "Address space of this process.";
        PROCESS_OPEN_FDS = own("process_open_fds", Shape::Gauge),
            "Open files and sockets of this process.";
        PROCESS_MAX_FDS = own("process_max_fds", Shape::Gauge),
            "Most files and sockets this process may open.";
        PROCESS_THREADS = own("process_threads", Shape::Gauge), "Threads of this process.";
        PROCESS_START_TIME = own("process_start_time_seconds", Shape::Gauge),
            "When this process started, in seconds since 1970.";
        SCRUB_BYTES = own("ottla_scrub_bytes_total", Shape::Counter),
            "Bytes of closed segments that were verified in the background.";
        SCRUB_PASSES = own("ottla_scrub_passes_total", Shape::Counter),
            "Verifications of all logs that came to their end.";
        SCRUB_DAMAGED = own("ottla_scrub_damaged_partitions", Shape::Gauge),
            "Partitions that the last verification found damaged; the broker's log says where.";
        DROPPED_SERIES = own("ottla_metrics_dropped_series_total", Shape::Counter),
            "Series that are not shown because their family has too many.";
    }
}
