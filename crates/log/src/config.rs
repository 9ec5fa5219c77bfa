//! What one partition's log is told about its topic.
//!
//! The keys are Kafka's; parsing and defaults of the configuration live in another crate. The
//! defaults here are Kafka's too.

use std::time::Duration;

use ottla_record::{CheckRules, CompressionSettings, DecompressLimits, TimestampType};

/// How closely a client's batch is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// The header and the checksum; records are parsed only where a rule needs them.
    #[default]
    Header,
    /// Every record, as Kafka does.
    Records,
}

/// Settings of one partition's log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: largest size of one segment file; at most `i32::MAX`.
    pub segment_bytes: u64,
    /// `segment.ms`: age at which a segment is closed although it is not full.
    pub segment_age_max: Duration,
    /// `segment.jitter.ms`, drawn by the caller: taken off `segment_age_max`.
    pub segment_jitter: Duration,
    /// `segment.index.bytes`: a segment is closed when one of its indexes reaches this size.
    pub index_bytes: u32,
    /// `index.interval.bytes`: bytes of batches between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`; `None` keeps records of any age.
    pub retention: Option<Duration>,
    /// `retention.bytes`; `None` keeps any amount.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` has `delete`; without it retention does nothing.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`; then every record needs a key.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`: a log is compacted when a larger part of it is dirty.
    pub cleanable_ratio_min: f64,
    /// `min.compaction.lag.ms`: how long a record stays uncompacted at least.
    pub compaction_lag_min: Duration,
    /// `max.compaction.lag.ms`: when a log is compacted however little of it is dirty; `None` for
    /// never.
    pub compaction_lag_max: Option<Duration>,
    /// `delete.retention.ms`: how long tombstones and markers stay once they are compacted.
    pub delete_retention: Duration,
    /// `max.message.bytes`: largest batch, as it comes in.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max: Duration,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max: Duration,
    /// `compression.type` and its level; `None` keeps what the producer chose.
    pub compression: Option<CompressionSettings>,
    /// `ottla.produce.validation`.
    pub validation: Validation,
    /// Limits on decompression.
    pub decompress_limits: DecompressLimits,
    /// `producer.id.expiration.ms`: how long an idle producer is remembered.
    pub producer_expiration: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        let rules = CheckRules::default();
        Self {
            segment_bytes: 1 << 30,
            segment_age_max: Duration::from_secs(7 * 24 * 3600),
            segment_jitter: Duration::ZERO,
            index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            delete: true,
            compact: false,
            cleanable_ratio_min: 0.5,
            compaction_lag_min: Duration::ZERO,
            compaction_lag_max: None,
            delete_retention: Duration::from_secs(24 * 3600),
            max_message_bytes: 1_048_588,
            timestamp_type: rules.timestamp_type,
            timestamp_before_max: rules.timestamp_before_max,
            timestamp_after_max: rules.timestamp_after_max,
            compression: None,
            validation: Validation::Header,
            decompress_limits: DecompressLimits::default(),
            producer_expiration: Duration::from_secs(24 * 3600),
        }
    }
}

impl LogConfig {
    /// What the topic demands of a client's records.
    pub fn check_rules(&self) -> CheckRules {
        CheckRules {
            timestamp_type: self.timestamp_type,
            timestamp_before_max: self.timestamp_before_max,
            timestamp_after_max: self.timestamp_after_max,
            keys_required: self.compact,
        }
    }
}
