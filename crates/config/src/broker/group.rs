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
