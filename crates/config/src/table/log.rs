//! Data directories, topics and the defaults of their configs.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Check, Key, boolean, class, double, int, list, long, string};

/// Data directories, topics and the defaults of their configs.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    list("log.dir").or("/tmp/kafka-logs").list(&[], false).high()
        .doc("Data directories, used when log.dirs is unset."),
    list("log.dirs").null().list(&[], false).high()
        .doc("Data directories, separated by commas."),
    list("cordoned.log.dirs").or("").list(&[], true).per_broker()
        .doc("Data directories that get no new partitions; * means all."),
    long("log.dir.failure.timeout.ms").or("30000").at_least(1).low()
        .doc("How long a broker tries to report a failed data directory before it stops."),
    int("num.recovery.threads.per.data.dir").or("2").at_least(1).high().cluster_wide()
        .doc("Threads for each data directory that recover partitions at start, and segments of one."),
    int("num.replica.alter.log.dirs.threads").null().high()
        .meaningless("one thread moves all replicas in turn; replica.alter.log.dirs.io.max.bytes.per.second bounds it")
        .doc("Threads that move replicas between data directories; one for each directory when unset."),
    boolean("auto.create.topics.enable").or("true").high()
        .doc("Create a topic when a client asks for one that does not exist."),
    boolean("delete.topic.enable").or("true").high()
        .doc("Allow topics to be deleted."),
    int("num.partitions").or("1").at_least(1)
        .doc("Partitions of a new topic when the request does not say."),
    int("default.replication.factor").or("1")
        .doc("Replicas of a new topic's partitions when the request does not say."),
    class("create.topic.policy.class.name").null().low().refused("policy plug-ins")
        .doc("Java class that may refuse new topics."),
    class("alter.config.policy.class.name").null().low().refused("policy plug-ins")
        .doc("Java class that may refuse changed configs."),
    int("message.max.bytes").or("1048588").at_least(0).high().cluster_wide()
        .doc("Largest record batch, after compression, that is accepted."),
    string("compression.type").or("producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]).high().cluster_wide()
        .doc("Codec in which batches are stored; producer keeps what the producer chose."),
    int("compression.gzip.level").or("-1").check(Check::GzipLevel).cluster_wide()
        .doc("Level for gzip when batches are compressed here; -1 is the library's own."),
    int("compression.lz4.level").or("9").between(1, 17).cluster_wide()
        .meaningless("lz4 is always written at its fast level")
        .doc("Level for lz4 when batches are compressed here."),
    int("compression.zstd.level").or("3").between(-131_072, 22).cluster_wide()
        .doc("Level for zstd when batches are compressed here."),
    int("log.segment.bytes").or("1073741824").at_least(1_048_576).high().cluster_wide()
        .doc("Largest size of one segment file."),
    long("log.roll.ms").null().high().cluster_wide()
        .doc("Age after which a new segment is begun; log.roll.hours when unset."),
    int("log.roll.hours").or("168").at_least(1).high()
        .doc("Age in hours after which a new segment is begun."),
    long("log.roll.jitter.ms").null().high().cluster_wide()
        .doc("Random time taken off the roll age so that partitions do not roll together; log.roll.jitter.hours when unset."),
    int("log.roll.jitter.hours").or("0").at_least(0).high()
        .doc("Random time in hours taken off the roll age."),
    long("log.retention.ms").null().high().cluster_wide()
        .doc("Age after which segments are deleted; -1 keeps them for ever; log.retention.minutes when unset."),
    int("log.retention.minutes").null().high()
        .doc("Age in minutes after which segments are deleted; log.retention.hours when unset."),
    int("log.retention.hours").or("168").high()
        .doc("Age in hours after which segments are deleted."),
    long("log.retention.bytes").or("-1").high().cluster_wide()
        .doc("Size of a partition above which its oldest segments are deleted; -1 sets no limit."),
    long("log.retention.check.interval.ms").or("300000").at_least(1)
        .doc("How often segments are checked for deletion."),
    list("log.cleanup.policy").or("delete").list(&["compact", "delete"], true).cluster_wide()
        .doc("What happens to old segments: delete, compact, both, or nothing when empty."),
    int("log.index.size.max.bytes").or("10485760").at_least(4).cluster_wide()
        .doc("Largest size of an index file."),
    int("log.index.interval.bytes").or("4096").at_least(0).cluster_wide()
        .doc("Bytes of records between two index entries."),
    long("log.flush.interval.messages").or("9223372036854775807").at_least(1).high().cluster_wide()
        .doc("Records after which a partition is synced to disk."),
    long("log.flush.interval.ms").null().high().cluster_wide()
        .doc("Time after which unsynced records are synced to disk; log.flush.scheduler.interval.ms when unset."),
    long("log.flush.scheduler.interval.ms").or("9223372036854775807").high()
        .doc("log.flush.interval.ms where that is unset; whether a sync is due is looked at every second."),
    int("log.flush.offset.checkpoint.interval.ms").or("60000").at_least(0).high()
        .doc("How often the recovery point of each directory is written."),
    int("log.flush.start.offset.checkpoint.interval.ms").or("60000").at_least(0).high()
        .meaningless("start offsets are written with the recovery points, see log.flush.offset.checkpoint.interval.ms")
        .doc("How often the log start offsets of each directory are written."),
    long("log.segment.delete.delay.ms").or("60000").at_least(0).high().cluster_wide()
        .doc("How long a deleted segment stays on disk under its .deleted name."),
    boolean("log.preallocate").or("false").cluster_wide()
        .meaningless("segment files grow as they are written")
        .doc("Reserve the full size of a segment file when it is created."),
    long("log.initial.task.delay.ms").or("30000").at_least(0).low().internal()
        .doc("Pause after the start before retention, flush and checkpoints begin."),
    string("log.message.timestamp.type").or("CreateTime").one_of(&["CreateTime", "LogAppendTime"]).cluster_wide()
        .doc("Whether a record carries the producer's time or the time of the append."),
    long("log.message.timestamp.before.max.ms").or("9223372036854775807").at_least(0).cluster_wide()
        .doc("How far a record's timestamp may lie in the past of the broker's clock."),
    long("log.message.timestamp.after.max.ms").or("3600000").at_least(0).cluster_wide()
        .doc("How far a record's timestamp may lie in the future of the broker's clock."),
    int("min.insync.replicas").or("1").at_least(1).high().cluster_wide()
        .doc("In-sync replicas that a write with acks=all needs."),
    boolean("unclean.leader.election.enable").or("false").high().cluster_wide()
        .doc("Allow a replica that is not in sync to lead when none else is left, at the price of lost records."),
    boolean("log.cleaner.enable").or("true")
        .doc("Compact topics whose cleanup.policy says so; without it they only grow."),
    int("log.cleaner.threads").or("1").at_least(0).cluster_wide()
        .doc("Most threads that compact logs at a time; while nothing is dirty there is none."),
    long("log.cleaner.dedupe.buffer.size").or("134217728").cluster_wide()
        .doc("Memory of all cleaner threads for remembering keys."),
    int("log.cleaner.io.buffer.size").or("524288").at_least(0).cluster_wide()
        .doc("Memory of all cleaner threads for reading and writing."),
    double("log.cleaner.io.buffer.load.factor").or("0.9").cluster_wide()
        .doc("How full the cleaner's key table may get."),
    double("log.cleaner.io.max.bytes.per.second").or("1.7976931348623157E308").cluster_wide()
        .doc("Most bytes the cleaner reads and writes in a second."),
    long("log.cleaner.backoff.ms").or("15000").at_least(0).cluster_wide()
        .doc("Pause of a cleaner thread that found nothing to do."),
    long("log.cleaner.delete.retention.ms").or("86400000").at_least(0).cluster_wide()
        .doc("How long tombstones are kept in compacted topics."),
    double("log.cleaner.min.cleanable.ratio").or("0.5").between_f(0.0, 1.0).cluster_wide()
        .doc("Share of not yet compacted bytes from which a log is worth cleaning."),
    long("log.cleaner.min.compaction.lag.ms").or("0").at_least(0).cluster_wide()
        .doc("Age below which a record is never compacted away."),
    long("log.cleaner.max.compaction.lag.ms").or("9223372036854775807").at_least(1).cluster_wide()
        .doc("Age after which a log must be compacted."),
    long("log.local.retention.ms").or("-2").at_least(-2).cluster_wide().not_yet("tiered storage")
        .doc("Age after which a local copy of a tiered segment is deleted; -2 takes the topic's retention."),
    long("log.local.retention.bytes").or("-2").at_least(-2).cluster_wide().not_yet("tiered storage")
        .doc("Local size of a tiered partition above which local copies are deleted; -2 takes the topic's retention."),
    int("producer.id.expiration.ms").or("86400000").at_least(1).low().cluster_wide()
        .doc("Idle time after which a producer's sequence state is forgotten."),
    int("producer.id.expiration.check.interval.ms").or("600000").at_least(1).low().internal()
        .meaningless("idle producers are looked for with old segments, see log.retention.check.interval.ms")
        .doc("How often idle producer state is looked for."),
];
