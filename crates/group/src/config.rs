//! What an operator sets for group coordinators. Values only; crate `config` parses the keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::consumer::assignor::Assignor;
use crate::names::GroupId;

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
    /// `group.consumer.max.size`: members of one consumer group.
    pub consumer_group_size_max: usize,
    /// `group.consumer.session.timeout.ms`, `group.consumer.heartbeat.interval.ms` and
    /// `group.consumer.assignment.interval.ms`.
    pub consumer: ConsumerTimes,
    /// What groups have of their own; within the broker's bounds already.
    pub consumer_of_group: Arc<BTreeMap<GroupId, ConsumerTimes>>,
    /// `group.consumer.assignors`, the first: for groups whose members prefer none.
    pub consumer_assignor: Assignor,
    /// `group.consumer.migration.policy`.
    pub consumer_migration: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub consumer_regex_refresh_interval: Duration,
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

/// Which way a group with members may change between the classic and the consumer protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl MigrationPolicy {
    /// By Kafka's name, in upper or lower case.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            ("disabled", Self::Disabled),
            ("upgrade", Self::Upgrade),
            ("downgrade", Self::Downgrade),
            ("bidirectional", Self::Bidirectional),
        ];
        all.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, policy)| policy)
    }

    pub(crate) const fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) const fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// Times of a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTimes {
    /// How long a member may stay silent.
    pub session_timeout: Duration,
    /// How often a member is to be heard.
    pub heartbeat_interval: Duration,
    /// Shortest time between two target assignments.
    pub assignment_interval: Duration,
}

impl Default for ConsumerTimes {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            assignment_interval: Duration::from_secs(1),
        }
    }
}

impl GroupConfig {
    fn times_of(&self, group: &GroupId) -> &ConsumerTimes {
        self.consumer_of_group.get(group).unwrap_or(&self.consumer)
    }

    pub(crate) fn consumer_session_timeout(&self, group: &GroupId) -> Duration {
        self.times_of(group).session_timeout
    }

    pub(crate) fn consumer_heartbeat_interval(&self, group: &GroupId) -> Duration {
        self.times_of(group).heartbeat_interval
    }

    pub(crate) fn consumer_assignment_interval(&self, group: &GroupId) -> Duration {
        self.times_of(group).assignment_interval
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            initial_rebalance_delay: Duration::from_secs(3),
            group_size_max: usize::MAX,
            new_member_join_timeout: Duration::from_secs(300),
            consumer_group_size_max: usize::MAX,
            consumer: ConsumerTimes::default(),
            consumer_of_group: Arc::default(),
            consumer_assignor: Assignor::Uniform,
            consumer_migration: MigrationPolicy::Bidirectional,
            consumer_regex_refresh_interval: Duration::from_secs(600),
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
