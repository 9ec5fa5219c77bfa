//! Typed configs of the group coordinator.

use std::time::Duration;

use crate::reader::Reader;

/// What the group coordinator runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// How long an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// Shortest session timeout a member may ask for.
    pub session_timeout_min: Duration,
    /// Longest session timeout a member may ask for.
    pub session_timeout_max: Duration,
    /// Most members of a group.
    pub members_max: u32,
    /// Consumer groups (KIP-848).
    pub consumer: ConsumerGroups,
    /// Longest metadata string of a committed offset, in bytes.
    pub offset_metadata_bytes_max: u32,
    /// How long a commit may wait for the in-sync replicas.
    pub commit_timeout: Duration,
    /// How long offsets are kept.
    pub offsets_retention: Duration,
    /// How often expired offsets are looked for.
    pub offsets_retention_check_interval: Duration,
    /// Bytes read at a time when state is loaded.
    pub load_buffer_bytes: u64,
    /// The topic that keeps group state.
    pub offsets_topic: OffsetsTopic,
}

/// What consumer groups run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroups {
    /// Silence after which a member leaves.
    pub session_timeout: Bounded,
    /// How often a member is to be heard.
    pub heartbeat_interval: Bounded,
    /// Shortest time between two assignments.
    pub assignment_interval: Bounded,
    /// Most members of a group.
    pub members_max: u32,
    /// Assignors by name, the first for who prefers none.
    pub assignors: Vec<String>,
    /// Which way a group with members may change its protocol, by Kafka's name.
    pub migration_policy: String,
    /// How often regular expressions are resolved again.
    pub regex_refresh_interval: Duration,
}

/// A time, and the bounds of what a group may have instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// For groups without their own.
    pub value: Duration,
    /// Least that counts.
    pub min: Duration,
    /// Most that counts.
    pub max: Duration,
}

impl Bounded {
    fn read(r: &Reader<'_>, what: &str) -> Self {
        Self {
            value: r.millis(&format!("group.consumer.{what}.ms")),
            min: r.millis(&format!("group.consumer.min.{what}.ms")),
            max: r.millis(&format!("group.consumer.max.{what}.ms")),
        }
    }

    /// A group's own time, within the bounds.
    pub fn within(&self, own: Duration) -> Duration {
        own.min(self.max).max(self.min)
    }
}

impl ConsumerGroups {
    fn read(r: &mut Reader<'_>) -> Self {
        let assignors = r.list("group.consumer.assignors");
        let known = |name: &String| matches!(name.as_str(), "uniform" | "range");
        r.require(!assignors.is_empty() && assignors.iter().all(known), || {
            "group.consumer.assignors must name assignors that there are: uniform, range".to_owned()
        });
        Self {
            session_timeout: Bounded::read(r, "session.timeout"),
            heartbeat_interval: Bounded::read(r, "heartbeat.interval"),
            assignment_interval: Bounded::read(r, "assignment.interval"),
            members_max: r.count("group.consumer.max.size"),
            assignors,
            migration_policy: r.text("group.consumer.migration.policy").unwrap_or_default(),
            regex_refresh_interval: r.millis("group.consumer.regex.refresh.interval.ms"),
        }
    }
}

/// Shape of the topic that keeps group state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// Partitions; not to be changed once the topic exists.
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: u32,
    /// Segment size.
    pub segment_bytes: u32,
    /// Number of the codec of group records, as in batch attributes.
    pub compression_codec: u8,
}

impl GroupConfig {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let codec = r.number("offsets.topic.compression.codec");
        r.require((0..=4).contains(&codec), || {
            format!("Unknown compression type id: {codec} in offsets.topic.compression.codec")
        });
        let minutes = r.bytes("offsets.retention.minutes");
        Self {
            initial_rebalance_delay: r.millis("group.initial.rebalance.delay.ms"),
            session_timeout_min: r.millis("group.min.session.timeout.ms"),
            session_timeout_max: r.millis("group.max.session.timeout.ms"),
            members_max: r.count("group.max.size"),
            consumer: ConsumerGroups::read(r),
            offset_metadata_bytes_max: r.count("offset.metadata.max.bytes"),
            commit_timeout: r.millis("offsets.commit.timeout.ms"),
            offsets_retention: Duration::from_secs(minutes.saturating_mul(60)),
            offsets_retention_check_interval: r.millis("offsets.retention.check.interval.ms"),
            load_buffer_bytes: r.bytes("offsets.load.buffer.size"),
            offsets_topic: OffsetsTopic {
                partitions: r.count("offsets.topic.num.partitions"),
                replication_factor: r.count("offsets.topic.replication.factor"),
                segment_bytes: r.count("offsets.topic.segment.bytes"),
                compression_codec: u8::try_from(codec).unwrap_or(0),
            },
        }
    }
}
