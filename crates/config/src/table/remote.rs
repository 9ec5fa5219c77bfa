//! Tiered storage.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Check, Key, boolean, double, int, long, string};

/// Tiered storage.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    boolean("remote.log.storage.system.enable").or("false").not_yet("tiered storage")
        .doc("Turn tiered storage on for this broker."),
    string("remote.log.storage.manager.class.name").null().check(Check::NonEmpty)
        .not_yet("tiered storage")
        .doc("Java class that stores segments remotely."),
    string("remote.log.storage.manager.class.path").null().not_yet("tiered storage")
        .doc("Where that class is found."),
    string("remote.log.storage.manager.impl.prefix").or("rsm.config.").check(Check::NonEmpty)
        .not_yet("tiered storage")
        .doc("Prefix of the keys that are handed to that class."),
    string("remote.log.metadata.manager.class.name").or("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager").check(Check::NonEmpty)
        .not_yet("tiered storage")
        .doc("Java class that keeps the metadata of remote segments."),
    string("remote.log.metadata.manager.class.path").null().not_yet("tiered storage")
        .doc("Where that class is found."),
    string("remote.log.metadata.manager.impl.prefix").or("rlmm.config.").check(Check::NonEmpty)
        .not_yet("tiered storage")
        .doc("Prefix of the keys that are handed to the metadata class."),
    string("remote.log.metadata.manager.listener.name").null().check(Check::NonEmpty)
        .not_yet("tiered storage")
        .doc("Listener that the metadata class connects to."),
    int("remote.log.metadata.custom.metadata.max.bytes").or("128").at_least(0).low()
        .not_yet("tiered storage")
        .doc("Most bytes of private metadata of a remote segment."),
    long("remote.log.index.file.cache.total.size.bytes").or("1073741824").at_least(1).low().cluster_wide()
        .not_yet("tiered storage")
        .doc("Local space for indexes of remote segments."),
    long("remote.log.index.file.cache.ttl.ms").or("900000").at_least(-1).low().internal()
        .not_yet("tiered storage")
        .doc("How long an unused index of a remote segment stays in the cache."),
    int("remote.log.manager.thread.pool.size").or("2").at_least(1).not_yet("tiered storage")
        .doc("Older key for the threads that follow remote logs."),
    int("remote.log.manager.copier.thread.pool.size").or("10").at_least(1).cluster_wide()
        .not_yet("tiered storage")
        .doc("Threads that copy segments to remote storage."),
    int("remote.log.manager.expiration.thread.pool.size").or("10").at_least(1).cluster_wide()
        .not_yet("tiered storage")
        .doc("Threads that delete expired remote segments."),
    int("remote.log.manager.follower.thread.pool.size").or("2").at_least(1).cluster_wide()
        .not_yet("tiered storage")
        .doc("Threads that follow remote logs of partitions led elsewhere."),
    long("remote.log.manager.task.interval.ms").or("30000").at_least(1).low()
        .not_yet("tiered storage")
        .doc("How often each partition's remote work is run."),
    long("remote.log.manager.task.retry.backoff.ms").or("500").at_least(1).low().internal()
        .not_yet("tiered storage")
        .doc("First pause before remote work is tried again."),
    long("remote.log.manager.task.retry.backoff.max.ms").or("30000").at_least(1).low().internal()
        .not_yet("tiered storage")
        .doc("Longest pause before remote work is tried again."),
    double("remote.log.manager.task.retry.jitter").or("0.2").between_f(0.0, 0.5).low().internal()
        .not_yet("tiered storage")
        .doc("Random share of the pause before remote work is tried again."),
    long("remote.log.manager.copy.max.bytes.per.second").or("9223372036854775807").at_least(1).cluster_wide()
        .not_yet("tiered storage")
        .doc("Most bytes copied to remote storage in a second."),
    int("remote.log.manager.copy.quota.window.num").or("11").at_least(1).not_yet("tiered storage")
        .doc("Samples kept for the copy limit."),
    int("remote.log.manager.copy.quota.window.size.seconds").or("1").at_least(1)
        .not_yet("tiered storage")
        .doc("Length of one sample of the copy limit."),
    long("remote.log.manager.fetch.max.bytes.per.second").or("9223372036854775807").at_least(1).cluster_wide()
        .not_yet("tiered storage")
        .doc("Most bytes read from remote storage in a second."),
    int("remote.log.manager.fetch.quota.window.num").or("11").at_least(1).not_yet("tiered storage")
        .doc("Samples kept for the remote read limit."),
    int("remote.log.manager.fetch.quota.window.size.seconds").or("1").at_least(1)
        .not_yet("tiered storage")
        .doc("Length of one sample of the remote read limit."),
    int("remote.log.reader.threads").or("10").at_least(1).cluster_wide().not_yet("tiered storage")
        .doc("Threads that read from remote storage."),
    int("remote.log.reader.max.pending.tasks").or("100").at_least(1).not_yet("tiered storage")
        .doc("Remote reads that may wait for a thread."),
    int("remote.fetch.max.wait.ms").or("500").at_least(1).cluster_wide().not_yet("tiered storage")
        .doc("How long a Fetch may wait for remote storage."),
    long("remote.list.offsets.request.timeout.ms").or("30000").at_least(1).cluster_wide()
        .not_yet("tiered storage")
        .doc("How long ListOffsets may wait for remote storage."),
];
