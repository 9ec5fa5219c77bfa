//! What a leader checks before it appends a client's batch.
//!
//! [`check_header`] reads the header alone, which is what a broker needs to keep its log sound.
//! [`check_records`] does all that Kafka's `LogValidator` does: it decompresses the batch and
//! parses every record.

use std::time::Duration;

use ottla_types::{Timestamp, WallTime};

use crate::batch::Batch;
use crate::compress::DecompressLimits;
use crate::error::BatchError;
use crate::header::{BatchHeader, TimestampType};

/// A topic's rules for what its producers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckRules {
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a timestamp may lie in the past.
    pub timestamp_before_max: Duration,
    /// `message.timestamp.after.max.ms`: how far it may lie in the future.
    pub timestamp_after_max: Duration,
    /// Whether the topic is compacted, so that every record needs a key.
    pub keys_required: bool,
}

impl Default for CheckRules {
    /// Kafka's defaults: the producer's time, any age, one hour ahead, keys optional.
    fn default() -> Self {
        Self {
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: Duration::MAX,
            timestamp_after_max: Duration::from_secs(3600),
            keys_required: false,
        }
    }
}

impl CheckRules {
    fn timestamp_in_range(&self, timestamp: Timestamp, now: WallTime) -> bool {
        let earliest = now.minus(self.timestamp_before_max).as_millis();
        let latest = now.plus(self.timestamp_after_max).as_millis();
        earliest <= timestamp.0 && timestamp.0 <= latest
    }
}

/// Checks the header of a client's batch; its checksum must have been compared before.
///
/// # Errors
/// Kafka's refusals, in Kafka's order, as far as the header shows them. Timestamps are judged by
/// the largest one.
pub fn check_header(
    header: &BatchHeader,
    rules: &CheckRules,
    now: WallTime,
) -> Result<(), BatchError> {
    if header.base_offset.0 != 0 {
        return Err(BatchError::ClientBaseOffset(header.base_offset.0));
    }
    check_structure(header)?;
    header.compression()?;
    let max = header.max_timestamp;
    let acceptable = match (rules.timestamp_type, header.attributes.timestamp_type()) {
        (TimestampType::CreateTime, _) if max != Timestamp::NONE => {
            rules.timestamp_in_range(max, now)
        }
        (_, kind) => kind == TimestampType::CreateTime,
    };
    if acceptable { Ok(()) } else { Err(BatchError::Timestamp(max.0)) }
}

fn check_structure(header: &BatchHeader) -> Result<(), BatchError> {
    let offsets = u64::from(header.last_offset_delta) + 1;
    if header.record_count == 0 {
        return Err(BatchError::RecordCount(0));
    }
    if offsets != u64::from(header.record_count) {
        return Err(BatchError::CountMismatch { offsets, count: header.record_count });
    }
    if header.attributes.is_control() {
        return Err(BatchError::ControlFromClient);
    }
    if header.producer_id.is_some() && header.base_sequence.is_none() {
        return Err(BatchError::MissingSequence);
    }
    Ok(())
}

/// What the full check learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Largest timestamp of a record.
    pub max_timestamp: Timestamp,
}

/// The records of a batch are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsRefused {
    /// The batch as a whole.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Single records; the batch is refused with them.
    #[error("{} records are refused", .0.len())]
    Records(Vec<RefusedRecord>),
    /// Offsets inside the batch are not 0, 1, 2 and so on.
    #[error("record {index}: offset is not consecutive")]
    Offsets {
        /// Position in the batch, from 0.
        index: u32,
    },
}

/// Why one record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Position in the batch, from 0.
    pub index: u32,
    /// Why.
    pub reason: RefusedReason,
}

/// Why one record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// No key, but the topic is compacted (`INVALID_RECORD`).
    MissingKey,
    /// Its timestamp lies outside the window, or is of the wrong type (`INVALID_TIMESTAMP`).
    Timestamp(Timestamp),
}

/// Checks the header and every record of a client's batch.
///
/// # Errors
/// As [`check_header`] (but timestamps are judged one by one), records that cannot be parsed, and
/// the list of records that break the rules.
pub fn check_records(
    batch: &Batch,
    rules: &CheckRules,
    limits: &DecompressLimits,
    now: WallTime,
) -> Result<Checked, RecordsRefused> {
    let header = batch.header();
    if header.base_offset.0 != 0 {
        return Err(BatchError::ClientBaseOffset(header.base_offset.0).into());
    }
    check_structure(header)?;
    let mut refused = Vec::new();
    let mut max_timestamp = Timestamp::NONE;
    for (index, record) in (0_u32..).zip(batch.records(limits)?) {
        let record = record?;
        if record.offset.since(header.base_offset) != u64::from(index) {
            return Err(RecordsRefused::Offsets { index });
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        let reason = if rules.keys_required && record.key.is_none() {
            Some(RefusedReason::MissingKey)
        } else {
            refused_timestamp(header, record.timestamp, rules, now)
        };
        refused.extend(reason.map(|reason| RefusedRecord { index, reason }));
    }
    if refused.is_empty() {
        Ok(Checked { max_timestamp })
    } else {
        Err(RecordsRefused::Records(refused))
    }
}

// The same decisions as Kafka's `LogValidator.validateTimestamp`.
fn refused_timestamp(
    header: &BatchHeader,
    timestamp: Timestamp,
    rules: &CheckRules,
    now: WallTime,
) -> Option<RefusedReason> {
    let acceptable =
        if rules.timestamp_type == TimestampType::CreateTime && timestamp != Timestamp::NONE {
            rules.timestamp_in_range(timestamp, now)
        } else {
            header.attributes.timestamp_type() == TimestampType::CreateTime
        };
    (!acceptable).then_some(RefusedReason::Timestamp(timestamp))
}
