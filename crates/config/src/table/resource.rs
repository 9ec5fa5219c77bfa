//! Configs of a group, and of a client metrics subscription.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Check, Key, boolean, int, list, same, string};

/// Configs of a group.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    int("consumer.assignment.interval.ms").or("1000").at_least(0)
        .from(&[same("group.consumer.assignment.interval.ms")])
        .doc("Shortest time between two assignments of this group."),
    int("consumer.heartbeat.interval.ms").or("5000").at_least(1)
        .from(&[same("group.consumer.heartbeat.interval.ms")])
        .doc("Heartbeat interval given to members."),
    int("consumer.session.timeout.ms").or("45000").at_least(1)
        .from(&[same("group.consumer.session.timeout.ms")])
        .doc("Silence after which a member leaves the group."),
    int("share.assignment.interval.ms").or("1000").at_least(0)
        .from(&[same("group.share.assignment.interval.ms")])
        .not_yet("share groups (KIP-932)")
        .doc("Shortest time between two assignments of this group."),
    string("share.auto.offset.reset").or("latest").check(Check::ShareOffsetReset)
        .not_yet("share groups (KIP-932)")
        .doc("Where a share partition begins: earliest, latest, or by_duration: and an ISO 8601 duration."),
    int("share.delivery.count.limit").or("5").at_least(2)
        .from(&[same("group.share.delivery.count.limit")])
        .not_yet("share groups (KIP-932)")
        .doc("How often a record is delivered before it is given up."),
    int("share.heartbeat.interval.ms").or("5000").at_least(1)
        .from(&[same("group.share.heartbeat.interval.ms")])
        .not_yet("share groups (KIP-932)")
        .doc("Heartbeat interval given to members."),
    string("share.isolation.level").or("read_uncommitted").one_of(&["read_committed", "read_uncommitted"])
        .not_yet("share groups (KIP-932)")
        .doc("Whether records of open or aborted transactions are delivered."),
    int("share.partition.max.record.locks").or("2000").at_least(100)
        .from(&[same("group.share.partition.max.record.locks")])
        .not_yet("share groups (KIP-932)")
        .doc("Most locked records of one share partition."),
    int("share.record.lock.duration.ms").or("30000").at_least(1000)
        .from(&[same("group.share.record.lock.duration.ms")])
        .not_yet("share groups (KIP-932)")
        .doc("How long a delivered record stays locked for its consumer."),
    boolean("share.renew.acknowledge.enable").or("true")
        .not_yet("share groups (KIP-932)")
        .doc("Let consumers prolong the lock of a record."),
    int("share.session.timeout.ms").or("45000").at_least(1)
        .from(&[same("group.share.session.timeout.ms")])
        .not_yet("share groups (KIP-932)")
        .doc("Silence after which a member leaves the group."),
    int("streams.assignment.interval.ms").or("1000").at_least(0)
        .from(&[same("group.streams.assignment.interval.ms")])
        .not_yet("streams groups (KIP-1071)")
        .doc("Shortest time between two assignments of this group."),
    int("streams.heartbeat.interval.ms").or("5000").at_least(1)
        .from(&[same("group.streams.heartbeat.interval.ms")])
        .not_yet("streams groups (KIP-1071)")
        .doc("Heartbeat interval given to members."),
    int("streams.initial.rebalance.delay.ms").or("3000").at_least(0)
        .from(&[same("group.streams.initial.rebalance.delay.ms")])
        .not_yet("streams groups (KIP-1071)")
        .doc("How long an empty group waits for more members before its first assignment."),
    int("streams.num.standby.replicas").or("0").at_least(0)
        .from(&[same("group.streams.num.standby.replicas")])
        .not_yet("streams groups (KIP-1071)")
        .doc("Standby copies of each task's state."),
    int("streams.session.timeout.ms").or("45000").at_least(1)
        .from(&[same("group.streams.session.timeout.ms")])
        .not_yet("streams groups (KIP-1071)")
        .doc("Silence after which a member leaves the group."),
];

/// Configs of a client metrics subscription (KIP-714).
#[rustfmt::skip] // one key reads as one entry
pub(super) const CLIENT_METRICS: &[Key] = &[
    int("interval.ms").or("300000")
        .not_yet("client telemetry (KIP-714)")
        .doc("How often clients push their metrics, 100 ms to an hour."),
    list("match").or("").list(&[], true)
        .not_yet("client telemetry (KIP-714)")
        .doc("Which clients are meant, as name=pattern; all when empty."),
    list("metrics").or("").list(&[], true)
        .not_yet("client telemetry (KIP-714)")
        .doc("Prefixes of the metrics that are wanted; * is all."),
];
