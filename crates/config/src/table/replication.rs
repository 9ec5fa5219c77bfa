//! Replication between brokers.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Key, boolean, int, long, string};

/// Replication between brokers.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    int("num.replica.fetchers").or("1").at_least(1).high().cluster_wide()
        .not_yet("replication between brokers")
        .doc("Fetcher threads for each source broker."),
    long("replica.lag.time.max.ms").or("30000").high().not_yet("replication between brokers")
        .doc("A follower that has not caught up for this long leaves the in-sync set."),
    int("replica.fetch.max.bytes").or("1048576").at_least(0).not_yet("replication between brokers")
        .doc("Bytes of one partition that a follower asks for."),
    int("replica.fetch.response.max.bytes").or("10485760").at_least(0)
        .not_yet("replication between brokers")
        .doc("Bytes that a follower asks for in one answer."),
    int("replica.fetch.wait.max.ms").or("500").high().not_yet("replication between brokers")
        .doc("How long a leader may hold a follower's Fetch when there is nothing new."),
    int("replica.fetch.min.bytes").or("1").high().not_yet("replication between brokers")
        .doc("Bytes for which a leader holds a follower's Fetch."),
    int("replica.fetch.backoff.ms").or("1000").at_least(0).not_yet("replication between brokers")
        .doc("Pause of a follower after a failed Fetch."),
    int("replica.socket.timeout.ms").or("30000").high().not_yet("replication between brokers")
        .doc("Timeout of a follower's connection to a leader."),
    int("replica.socket.receive.buffer.bytes").or("65536").high()
        .not_yet("replication between brokers")
        .doc("SO_RCVBUF of a follower's connection to a leader."),
    long("replica.high.watermark.checkpoint.interval.ms").or("5000").high()
        .doc("How often the high watermarks of each directory are written."),
    string("replica.selector.class").null().not_yet("reading from followers")
        .doc("Java class that picks the replica a consumer reads from."),
    boolean("follower.fetch.last.tiered.offset.enable").or("false").cluster_wide()
        .not_yet("tiered storage")
        .doc("Let a new follower begin at the last tiered offset."),
];
