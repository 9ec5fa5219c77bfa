//! Consumer groups, their offsets, and the internal topic that keeps them.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Key, int, list, long, short, string};

/// Consumer groups, their offsets, and the internal topic that keeps them.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    list("group.coordinator.rebalance.protocols").or("classic,consumer,streams").list(&["consumer", "classic", "share", "streams"], false)
        .meaningless("the group protocols that exist are offered, and features turn them on")
        .doc("Group protocols that are switched on."),
    int("group.coordinator.threads").or("4").at_least(1).high()
        .meaningless("each partition of the offsets topic has its own driver task")
        .doc("Threads of the group coordinator."),
    int("group.coordinator.background.threads").or("2").at_least(1).high()
        .meaningless("background work runs on the async runtime")
        .doc("Threads for the coordinator's background work."),
    int("group.coordinator.append.linger.ms").or("-1").at_least(-1)
        .meaningless("records of all requests that wait are appended together, without a timer")
        .doc("How long the coordinator may hold back records to write them together; -1 adapts."),
    int("group.coordinator.cached.buffer.max.bytes").or("1048588").at_least(524_288).cluster_wide()
        .meaningless("write buffers are not cached")
        .doc("Largest write buffer that the coordinator keeps for reuse."),
    int("group.initial.rebalance.delay.ms").or("3000")
        .doc("How long an empty classic group waits for more members before its first rebalance."),
    int("group.min.session.timeout.ms").or("6000")
        .doc("Shortest session timeout a classic member may ask for."),
    int("group.max.session.timeout.ms").or("1800000")
        .doc("Longest session timeout a classic member may ask for."),
    int("group.max.size").or("2147483647").at_least(1)
        .doc("Most members of a classic group."),
    int("offset.metadata.max.bytes").or("4096").high()
        .doc("Longest metadata string of a committed offset."),
    int("offsets.commit.timeout.ms").or("5000").at_least(1).high()
        .doc("How long a commit may wait for the in-sync replicas."),
    int("offsets.load.buffer.size").or("5242880").at_least(1).high()
        .doc("Bytes read at a time when group state is loaded."),
    int("offsets.retention.minutes").or("10080").at_least(1).high()
        .doc("How long offsets outlive the last member of a group, or the last commit of a group without members."),
    long("offsets.retention.check.interval.ms").or("600000").at_least(1).high()
        .doc("How often expired offsets are looked for."),
    int("offsets.topic.num.partitions").or("50").at_least(1).high()
        .doc("Partitions of the offsets topic; not to be changed once it exists."),
    short("offsets.topic.replication.factor").or("3").at_least(1).high()
        .doc("Replicas of the offsets topic."),
    int("offsets.topic.segment.bytes").or("104857600").at_least(1).high()
        .doc("Segment size of the offsets topic."),
    int("offsets.topic.compression.codec").or("0").high()
        .doc("Number of the codec in which group records are written (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd)."),
    int("group.consumer.session.timeout.ms").or("45000").at_least(1)
        .doc("Session timeout of consumer groups."),
    int("group.consumer.min.session.timeout.ms").or("45000").at_least(1)
        .doc("Lower bound for the session timeout of consumer groups."),
    int("group.consumer.max.session.timeout.ms").or("60000").at_least(1)
        .doc("Upper bound for the session timeout of consumer groups."),
    int("group.consumer.heartbeat.interval.ms").or("5000").at_least(1)
        .doc("Heartbeat interval given to members of consumer groups."),
    int("group.consumer.min.heartbeat.interval.ms").or("5000").at_least(1)
        .doc("Lower bound for the heartbeat interval of consumer groups."),
    int("group.consumer.max.heartbeat.interval.ms").or("15000").at_least(1)
        .doc("Upper bound for the heartbeat interval of consumer groups."),
    int("group.consumer.assignment.interval.ms").or("1000").at_least(0).cluster_wide()
        .doc("Shortest time between two assignments of a consumer group."),
    int("group.consumer.min.assignment.interval.ms").or("0").at_least(0)
        .doc("Lower bound for the assignment interval of consumer groups."),
    int("group.consumer.max.assignment.interval.ms").or("15000").at_least(0)
        .doc("Upper bound for the assignment interval of consumer groups."),
    int("group.consumer.max.size").or("2147483647").at_least(1)
        .doc("Most members of a consumer group."),
    list("group.consumer.assignors").or("uniform,range").list(&[], false)
        .doc("Server-side assignors, the first being the default."),
    string("group.consumer.migration.policy").or("bidirectional").one_of_any_case(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"])
        .doc("Which way a group may change between the classic and the consumer protocol while it runs."),
    int("group.consumer.regex.refresh.interval.ms").or("600000").at_least(10_000).internal()
        .doc("How often subscriptions by pattern are resolved again."),
    int("group.share.session.timeout.ms").or("45000").at_least(1).not_yet("share groups (KIP-932)")
        .doc("Session timeout of share groups."),
    int("group.share.min.session.timeout.ms").or("45000").at_least(1)
        .not_yet("share groups (KIP-932)")
        .doc("Lower bound for the session timeout of share groups."),
    int("group.share.max.session.timeout.ms").or("60000").at_least(1)
        .not_yet("share groups (KIP-932)")
        .doc("Upper bound for the session timeout of share groups."),
    int("group.share.heartbeat.interval.ms").or("5000").at_least(1)
        .not_yet("share groups (KIP-932)")
        .doc("Heartbeat interval given to members of share groups."),
    int("group.share.min.heartbeat.interval.ms").or("5000").at_least(1)
        .not_yet("share groups (KIP-932)")
        .doc("Lower bound for the heartbeat interval of share groups."),
    int("group.share.max.heartbeat.interval.ms").or("15000").at_least(1)
        .not_yet("share groups (KIP-932)")
        .doc("Upper bound for the heartbeat interval of share groups."),
    int("group.share.assignment.interval.ms").or("1000").at_least(0).cluster_wide()
        .not_yet("share groups (KIP-932)")
        .doc("Shortest time between two assignments of a share group."),
    int("group.share.min.assignment.interval.ms").or("0").at_least(0)
        .not_yet("share groups (KIP-932)")
        .doc("Lower bound for the assignment interval of share groups."),
    int("group.share.max.assignment.interval.ms").or("15000").at_least(0)
        .not_yet("share groups (KIP-932)")
        .doc("Upper bound for the assignment interval of share groups."),
    int("group.share.max.size").or("200").between(1, 1000).not_yet("share groups (KIP-932)")
        .doc("Most members of a share group."),
    int("group.share.max.share.sessions").or("2000").at_least(1).not_yet("share groups (KIP-932)")
        .doc("Share sessions kept at the same time."),
    list("group.share.assignors").or("simple").list(&[], false).not_yet("share groups (KIP-932)")
        .doc("Assignor of share groups."),
    int("group.share.delivery.count.limit").or("5").between(2, 10).not_yet("share groups (KIP-932)")
        .doc("How often a record is delivered before it is given up."),
    int("group.share.min.delivery.count.limit").or("2").between(2, 5)
        .not_yet("share groups (KIP-932)")
        .doc("Lower bound for the delivery count limit of a group."),
    int("group.share.max.delivery.count.limit").or("10").between(5, 25)
        .not_yet("share groups (KIP-932)")
        .doc("Upper bound for the delivery count limit of a group."),
    int("group.share.record.lock.duration.ms").or("30000").between(1000, 3_600_000)
        .not_yet("share groups (KIP-932)")
        .doc("How long a delivered record stays locked for its consumer."),
    int("group.share.min.record.lock.duration.ms").or("15000").between(1000, 30_000)
        .not_yet("share groups (KIP-932)")
        .doc("Lower bound for the lock duration of a group."),
    int("group.share.max.record.lock.duration.ms").or("60000").between(30_000, 3_600_000)
        .not_yet("share groups (KIP-932)")
        .doc("Upper bound for the lock duration of a group."),
    int("group.share.partition.max.record.locks").or("2000").between(100, 10_000)
        .not_yet("share groups (KIP-932)")
        .doc("Most locked records of one share partition."),
    int("group.share.min.partition.max.record.locks").or("100").between(100, 2000)
        .not_yet("share groups (KIP-932)")
        .doc("Lower bound for the locked records of a group's share partition."),
    int("group.share.max.partition.max.record.locks").or("4000").between(2000, 10_000)
        .not_yet("share groups (KIP-932)")
        .doc("Upper bound for the locked records of a group's share partition."),
    int("group.share.initialize.retry.interval.ms").or("30000").at_least(1).low().internal()
        .not_yet("share groups (KIP-932)")
        .doc("Pause before share state is initialized again after a failure."),
    string("group.share.persister.class.name").or("org.apache.kafka.server.share.persister.DefaultStatePersister").internal()
        .not_yet("share groups (KIP-932)")
        .doc("Java class that stores share state."),
    int("share.coordinator.threads").or("1").at_least(1).not_yet("share groups (KIP-932)")
        .doc("Threads of the share coordinator."),
    int("share.coordinator.append.linger.ms").or("-1").at_least(-1)
        .not_yet("share groups (KIP-932)")
        .doc("How long the share coordinator may hold back records to write them together; -1 adapts."),
    int("share.coordinator.cached.buffer.max.bytes").or("1048588").at_least(524_288).cluster_wide()
        .not_yet("share groups (KIP-932)")
        .doc("Largest write buffer that the share coordinator keeps for reuse."),
    int("share.coordinator.load.buffer.size").or("5242880").at_least(1).high()
        .not_yet("share groups (KIP-932)")
        .doc("Bytes read at a time when share state is loaded."),
    int("share.coordinator.write.timeout.ms").or("5000").at_least(1).high()
        .not_yet("share groups (KIP-932)")
        .doc("How long a write of share state may wait for the in-sync replicas."),
    int("share.coordinator.snapshot.update.records.per.snapshot").or("500").between(0, 500)
        .not_yet("share groups (KIP-932)")
        .doc("Update records between two snapshots of a share partition."),
    int("share.coordinator.cold.partition.snapshot.interval.ms").or("300000").at_least(1).low().internal()
        .not_yet("share groups (KIP-932)")
        .doc("How often share partitions without traffic are written again as snapshots."),
    int("share.coordinator.state.topic.num.partitions").or("50").at_least(1).high()
        .not_yet("share groups (KIP-932)")
        .doc("Partitions of the share state topic."),
    short("share.coordinator.state.topic.replication.factor").or("3").at_least(1).high()
        .not_yet("share groups (KIP-932)")
        .doc("Replicas of the share state topic."),
    short("share.coordinator.state.topic.min.isr").or("2").at_least(1).high()
        .not_yet("share groups (KIP-932)")
        .doc("In-sync replicas that a write to the share state topic needs."),
    int("share.coordinator.state.topic.segment.bytes").or("104857600").at_least(1).high()
        .not_yet("share groups (KIP-932)")
        .doc("Segment size of the share state topic."),
    int("share.coordinator.state.topic.compression.codec").or("0").high()
        .not_yet("share groups (KIP-932)")
        .doc("Number of the codec in which share state is written."),
    int("share.coordinator.state.topic.prune.interval.ms").or("300000").at_least(1).low().internal()
        .not_yet("share groups (KIP-932)")
        .doc("How often superseded share state is deleted."),
    int("group.streams.session.timeout.ms").or("45000").at_least(1)
        .not_yet("streams groups (KIP-1071)")
        .doc("Session timeout of streams groups."),
    int("group.streams.min.session.timeout.ms").or("45000").at_least(1)
        .not_yet("streams groups (KIP-1071)")
        .doc("Lower bound for the session timeout of streams groups."),
    int("group.streams.max.session.timeout.ms").or("60000").at_least(1)
        .not_yet("streams groups (KIP-1071)")
        .doc("Upper bound for the session timeout of streams groups."),
    int("group.streams.heartbeat.interval.ms").or("5000").at_least(1)
        .not_yet("streams groups (KIP-1071)")
        .doc("Heartbeat interval given to members of streams groups."),
    int("group.streams.min.heartbeat.interval.ms").or("5000").at_least(1)
        .not_yet("streams groups (KIP-1071)")
        .doc("Lower bound for the heartbeat interval of streams groups."),
    int("group.streams.max.heartbeat.interval.ms").or("15000").at_least(1)
        .not_yet("streams groups (KIP-1071)")
        .doc("Upper bound for the heartbeat interval of streams groups."),
    int("group.streams.assignment.interval.ms").or("1000").at_least(0).cluster_wide()
        .not_yet("streams groups (KIP-1071)")
        .doc("Shortest time between two assignments of a streams group."),
    int("group.streams.min.assignment.interval.ms").or("0").at_least(0)
        .not_yet("streams groups (KIP-1071)")
        .doc("Lower bound for the assignment interval of streams groups."),
    int("group.streams.max.assignment.interval.ms").or("15000").at_least(0)
        .not_yet("streams groups (KIP-1071)")
        .doc("Upper bound for the assignment interval of streams groups."),
    int("group.streams.max.size").or("2147483647").at_least(1).not_yet("streams groups (KIP-1071)")
        .doc("Most members of a streams group."),
    int("group.streams.num.standby.replicas").or("0").at_least(0)
        .not_yet("streams groups (KIP-1071)")
        .doc("Standby copies of each task's state."),
    int("group.streams.max.standby.replicas").or("2").at_least(0)
        .not_yet("streams groups (KIP-1071)")
        .doc("Upper bound for the standby copies of a group."),
    int("group.streams.initial.rebalance.delay.ms").or("3000").at_least(0)
        .not_yet("streams groups (KIP-1071)")
        .doc("How long an empty streams group waits for more members before its first assignment."),
];
