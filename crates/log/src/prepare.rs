//! The part of a leader's append that needs no lock: checking, recompressing, stamping.
//!
//! It yields a [`PreparedAppend`], which is the only thing that
//! [`PartitionLog::append`](crate::PartitionLog::append) takes.

use bytes::Bytes;
use ottla_record::format::HEADER_LEN;
use ottla_record::{
    Attributes, Batch, BatchError, BatchHeader, Compression, Patch, RecordsRefused, TimestampType,
    batch_len, check_header, check_records,
};
use ottla_types::{LeaderEpoch, Offset, Timestamp, WallTime};

use crate::config::{LogConfig, Validation};
use crate::error::AppendError;

/// Who made the records that a leader appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: everything is checked.
    Client,
    /// A coordinator in this broker: control batches are fine, and sequences are not checked.
    Coordinator,
}

/// One batch that passed every check that needs no lock.
#[derive(Clone, Debug)]
pub struct PreparedAppend {
    pub(crate) batch: Batch,
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) attributes: Attributes,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) log_append_time: Option<Timestamp>,
    pub(crate) origin: AppendOrigin,
}

impl PreparedAppend {
    /// The batch's header as the producer sent it.
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// Bytes that will be written.
    pub fn size(&self) -> usize {
        self.batch.bytes().len()
    }

    /// Codec of the stored records.
    pub fn compression(&self) -> Compression {
        self.attributes.compression().unwrap_or_default()
    }
}

impl LogConfig {
    /// Checks the one batch in `records` as Kafka's leader does, and gives it the compression and
    /// the timestamps that the topic demands.
    ///
    /// Offsets and the producer's sequence are checked by the append itself.
    ///
    /// # Errors
    /// The batch is not acceptable; nothing was changed anywhere.
    pub fn prepare(
        &self,
        records: Bytes,
        origin: AppendOrigin,
        now: WallTime,
    ) -> Result<PreparedAppend, AppendError> {
        let bytes = single_batch(records)?;
        let rules = self.check_rules();
        if origin == AppendOrigin::Client {
            check_base_offset(&bytes)?;
        }
        self.check_size(bytes.len())?;
        let batch = Batch::parse_checked(bytes)?;
        let codec = batch.header().compression()?;
        let target = self
            .compression
            .filter(|target| target.codec != codec && !(batch.header().attributes.is_control()));
        let mut max_timestamp = batch.header().max_timestamp;
        if origin == AppendOrigin::Client {
            let thorough =
                self.validation == Validation::Records || self.compact || target.is_some();
            if thorough {
                let checked = check_records(&batch, &rules, &self.decompress_limits, now);
                max_timestamp = checked.map_err(refused)?.max_timestamp;
            } else {
                check_header(batch.header(), &rules, now)?;
            }
        }
        let batch = match target {
            None => batch,
            Some(target) => {
                let packed = batch.recompress(target, &self.decompress_limits)?;
                let packed = packed.map_err(AppendError::Recompress)?;
                self.check_size(packed.bytes().len())?;
                packed
            }
        };
        let size = batch.bytes().len();
        if size as u64 > self.segment_bytes {
            return Err(AppendError::LargerThanSegment { size, max: self.segment_bytes });
        }
        let append_time = match self.timestamp_type {
            TimestampType::LogAppendTime => Some(now.timestamp()),
            TimestampType::CreateTime => None,
        };
        let max_timestamp = append_time.unwrap_or(max_timestamp);
        let header = batch.patched_header(&Patch {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::ZERO,
            timestamp_type: self.timestamp_type,
            max_timestamp: Some(max_timestamp),
        });
        let attributes = batch.header().attributes.with_timestamp_type(self.timestamp_type);
        let log_append_time = append_time;
        Ok(PreparedAppend { batch, header, attributes, max_timestamp, log_append_time, origin })
    }

    fn check_size(&self, size: usize) -> Result<(), AppendError> {
        let max = usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX);
        if size > max { Err(AppendError::TooLarge { size, max }) } else { Ok(()) }
    }
}

// Only lengths and formats are looked at: whether the fields can be believed is for the checksum
// to say, and a field that was damaged on its way must not be blamed on the producer.
fn single_batch(records: Bytes) -> Result<Bytes, AppendError> {
    let whole = |bytes: &[u8]| match batch_len(bytes) {
        Ok(len) => Ok(Some(len).filter(|&len| len <= bytes.len())),
        Err(BatchError::Truncated { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let len = whole(&records)?.ok_or(AppendError::BatchCount(0))?;
    // Kafka trims the cut-off end of a second batch.
    match whole(records.get(len..).unwrap_or_default())? {
        None => Ok(records.slice(..len)),
        Some(_) => Err(AppendError::BatchCount(2)),
    }
}

fn check_base_offset(bytes: &[u8]) -> Result<(), BatchError> {
    let raw = bytes.first_chunk().map_or(0, |raw| i64::from_be_bytes(*raw));
    match Offset::from_wire(raw) {
        Some(Offset::ZERO) => Ok(()),
        Some(other) => Err(BatchError::ClientBaseOffset(other.0)),
        None => Err(BatchError::BaseOffset(raw)),
    }
}

fn refused(refused: RecordsRefused) -> AppendError {
    match refused {
        RecordsRefused::Batch(error) => error.into(),
        other => AppendError::Records(other),
    }
}
