//! Configs of a topic, each with the broker keys that provide its default.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Check, Key, boolean, double, hours, int, list, long, minutes, same, string};

/// Configs of a topic.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    list("cleanup.policy").or("delete").list(&["compact", "delete"], true)
        .from(&[same("log.cleanup.policy")])
        .doc("What happens to old segments: delete, compact, both, or nothing when empty."),
    int("compression.gzip.level").or("-1").check(Check::GzipLevel)
        .from(&[same("compression.gzip.level")])
        .doc("Level for gzip when batches are compressed here; -1 is the library's own."),
    int("compression.lz4.level").or("9").between(1, 17).from(&[same("compression.lz4.level")])
        .meaningless("lz4 is always written at its fast level")
        .doc("Level for lz4 when batches are compressed here."),
    string("compression.type").or("producer").one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .from(&[same("compression.type")])
        .doc("Codec in which batches are stored; producer keeps what the producer chose."),
    int("compression.zstd.level").or("3").between(-131_072, 22)
        .from(&[same("compression.zstd.level")])
        .doc("Level for zstd when batches are compressed here."),
    long("delete.retention.ms").or("86400000").at_least(0)
        .from(&[same("log.cleaner.delete.retention.ms")])
        .doc("How long tombstones are kept when the topic is compacted."),
    long("file.delete.delay.ms").or("60000").at_least(0)
        .from(&[same("log.segment.delete.delay.ms")])
        .doc("How long a deleted segment stays on disk under its .deleted name."),
    long("flush.messages").or("9223372036854775807").at_least(1)
        .from(&[same("log.flush.interval.messages")])
        .doc("Records after which a partition is synced to disk."),
    long("flush.ms").or("9223372036854775807").at_least(0)
        .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
        .doc("Time after which unsynced records are synced to disk."),
    list("follower.replication.throttled.replicas").or("").check(Check::ThrottledReplicas)
        .not_yet("enforcement of quotas")
        .doc("Follower replicas whose traffic is limited, as partition:broker; * is all."),
    int("index.interval.bytes").or("4096").at_least(0).from(&[same("log.index.interval.bytes")])
        .doc("Bytes of records between two index entries."),
    int("internal.segment.bytes").null().internal()
        .doc("Segment size for tests, without the lower bound of segment.bytes."),
    list("leader.replication.throttled.replicas").or("").check(Check::ThrottledReplicas)
        .not_yet("enforcement of quotas")
        .doc("Leader replicas whose traffic is limited, as partition:broker; * is all."),
    long("local.retention.bytes").or("-2").at_least(-2)
        .from(&[same("log.local.retention.bytes")])
        .not_yet("tiered storage")
        .doc("Local size of a tiered partition above which local copies are deleted; -2 takes retention.bytes."),
    long("local.retention.ms").or("-2").at_least(-2).from(&[same("log.local.retention.ms")])
        .not_yet("tiered storage")
        .doc("Age after which a local copy of a tiered segment is deleted; -2 takes retention.ms."),
    long("max.compaction.lag.ms").or("9223372036854775807").at_least(1)
        .from(&[same("log.cleaner.max.compaction.lag.ms")])
        .doc("Age after which the log must be compacted."),
    int("max.message.bytes").or("1048588").at_least(0).from(&[same("message.max.bytes")])
        .doc("Largest record batch, after compression, that is accepted."),
    long("message.timestamp.after.max.ms").or("3600000").at_least(0)
        .from(&[same("log.message.timestamp.after.max.ms")])
        .doc("How far a record's timestamp may lie in the future of the broker's clock."),
    long("message.timestamp.before.max.ms").or("9223372036854775807").at_least(0)
        .from(&[same("log.message.timestamp.before.max.ms")])
        .doc("How far a record's timestamp may lie in the past of the broker's clock."),
    string("message.timestamp.type").or("CreateTime").one_of(&["CreateTime", "LogAppendTime"])
        .from(&[same("log.message.timestamp.type")])
        .doc("Whether a record carries the producer's time or the time of the append."),
    double("min.cleanable.dirty.ratio").or("0.5").between_f(0.0, 1.0)
        .from(&[same("log.cleaner.min.cleanable.ratio")])
        .doc("Share of not yet compacted bytes from which the log is worth cleaning."),
    long("min.compaction.lag.ms").or("0").at_least(0)
        .from(&[same("log.cleaner.min.compaction.lag.ms")])
        .doc("Age below which a record is never compacted away."),
    int("min.insync.replicas").or("1").at_least(1).from(&[same("min.insync.replicas")])
        .doc("In-sync replicas that a write with acks=all needs."),
    string("ottla.durability").or("fsync").one_of(&["fsync", "os"])
        .from(&[same("ottla.durability")])
        .doc("When a write counts as kept: fsync, once it is on disk; os, once the operating system has it, as Kafka does."),
    boolean("preallocate").or("false").from(&[same("log.preallocate")])
        .meaningless("segment files grow as they are written")
        .doc("Reserve the full size of a segment file when it is created."),
    boolean("remote.log.copy.disable").or("false")
        .not_yet("tiered storage")
        .doc("Stop copying segments to remote storage."),
    boolean("remote.log.delete.on.disable").or("false")
        .not_yet("tiered storage")
        .doc("Delete remote data when remote storage is turned off."),
    boolean("remote.storage.enable").or("false")
        .not_yet("tiered storage")
        .doc("Keep old segments in remote storage."),
    long("retention.bytes").or("-1").from(&[same("log.retention.bytes")])
        .doc("Size of a partition above which its oldest segments are deleted; -1 sets no limit."),
    long("retention.ms").or("604800000").at_least(-1)
        .from(&[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")])
        .doc("Age after which segments are deleted; -1 keeps them for ever."),
    int("segment.bytes").or("1073741824").at_least(1_048_576).from(&[same("log.segment.bytes")])
        .doc("Largest size of one segment file."),
    int("segment.index.bytes").or("10485760").at_least(4)
        .from(&[same("log.index.size.max.bytes")])
        .doc("Largest size of an index file."),
    long("segment.jitter.ms").or("0").at_least(0)
        .from(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")])
        .doc("Random time taken off segment.ms so that partitions do not roll together."),
    long("segment.ms").or("604800000").at_least(1)
        .from(&[same("log.roll.ms"), hours("log.roll.hours")])
        .doc("Age after which a new segment is begun."),
    boolean("unclean.leader.election.enable").or("false")
        .from(&[same("unclean.leader.election.enable")])
        .doc("Allow a replica that is not in sync to lead when none else is left, at the price of lost records."),
];
