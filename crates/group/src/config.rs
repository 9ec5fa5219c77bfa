//! What an operator sets for group coordinators. Values only; crate `config` parses the keys.

use std::time::Duration;

/// Settings of the coordinators of one broker. The doc of each field names its Kafka key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`: members of one classic group.
    pub group_size_max: usize,
    /// How long a member that has not yet seen its id may wait in a rebalance (five minutes in
    /// Kafka, not a key).
    pub new_member_join_timeout: Duration,
    /// `offset.metadata.max.bytes`. Kafka compares it with UTF-16 units, and so do we.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// `offsets.commit.timeout.ms`: how long an answer waits for its records to be committed.
    pub commit_timeout: Duration,
    /// Records of several requests share an append until it has this many bytes; the records of
    /// one request are never divided, so an append may be larger.
    pub append_bytes_target: usize,
    /// Groups that one partition of `__consumer_offsets` may hold. Ours: Kafka has no limit.
    pub groups_max: usize,
    /// Members of one group that were given an id and have not come back. Ours: Kafka has no
    /// limit, and each costs memory for a session timeout.
    pub pending_members_max: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: usize::MAX,
            new_member_join_timeout: Duration::from_secs(300),
            offset_metadata_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_retention_check_interval: Duration::from_secs(600),
            commit_timeout: Duration::from_secs(5),
            append_bytes_target: 512 * 1024,
            groups_max: 1_000_000,
            pending_members_max: 10_000,
        }
    }
}
