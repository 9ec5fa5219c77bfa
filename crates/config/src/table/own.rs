//! Keys that only this server has, and broker keys that Kafka knows in dynamic configs only.
//!
//! Data only. A row ends with its description.

use crate::key::{Check, Key, long, string};

/// Keys of this server.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    string("ottla.durability").or("fsync").one_of(&["fsync", "os"]).high().cluster_wide()
        .doc("When a write counts as kept: fsync, once it is on disk; os, once the operating system has it, as Kafka does."),
    string("ottla.http.listener").or("127.0.0.1:9404").check(Check::HttpListener)
        .doc("Address of /metrics, /livez and /readyz; none turns it off."),
    string("ottla.produce.validation").or("header").one_of(&["header", "records"])
        .doc("How batches are checked on produce: their headers and checksums, or every record as Kafka does."),
    long("ottla.scrub.bytes.per.second").or("4194304").at_least(0).cluster_wide()
        .doc("Bytes a second of closed segments that are verified in the background; 0 turns it off."),
    long("ottla.scrub.interval.ms").or("604800000").at_least(1).cluster_wide()
        .doc("Time from the beginning of one verification of all logs to the next."),
];

/// Keys that exist in dynamic broker configs only (KIP-73, KIP-113).
#[rustfmt::skip] // one key reads as one entry
pub(super) const DYNAMIC_ONLY: &[Key] = &[
    long("leader.replication.throttled.rate").or("9223372036854775807").at_least(0).cluster_wide()
        .not_yet("enforcement of quotas")
        .doc("Bytes a second that throttled replicas may read from this leader."),
    long("follower.replication.throttled.rate").or("9223372036854775807").at_least(0).cluster_wide()
        .not_yet("enforcement of quotas")
        .doc("Bytes a second that throttled replicas of this follower may fetch."),
    long("replica.alter.log.dirs.io.max.bytes.per.second").or("9223372036854775807").at_least(0).cluster_wide()
        .doc("Bytes a second that may be moved between data directories."),
];
