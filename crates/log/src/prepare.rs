//! The part of a leader's append that needs no lock: checking, recompressing, stamping.
//!
//! It yields a [`PreparedAppend`], which is the only thing that
//! [`PartitionLog::append`](crate::PartitionLog::append) takes.

use bytes::Bytes;
use ottla_record::format::HEADER_LEN;
use ottla_record::{
    Attributes, Batch, BatchError, BatchHeader, Batches, Compression, Patch, RecordsRefused,
    TimestampType, check_header, check_records,
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
        let batch = single_batch(records)?;
        let rules = self.check_rules();
        if origin == AppendOrigin::Client {
            let base = batch.header().base_offset;
            if base != Offset::ZERO {
                return Err(BatchError::ClientBaseOffset(base.0).into());
            }
        }
        self.check_size(&batch)?;
        let batch = Batch::parse_checked(batch.into_bytes())?;
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
                self.check_size(&packed)?;
                packed
            }
        };
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

    fn check_size(&self, batch: &Batch) -> Result<(), AppendError> {
        let size = batch.bytes().len();
        let max = usize::try_from(self.max_message_bytes).unwrap_or(usize::MAX);
        if size > max {
            return Err(AppendError::TooLarge { size, max });
        }
        if size as u64 > self.segment_bytes {
            return Err(AppendError::LargerThanSegment { size, max: self.segment_bytes });
        }
        Ok(())
    }
}

fn single_batch(records: Bytes) -> Result<Batch, AppendError> {
    let mut batches = Batches::new(records);
    let first = batches.next().ok_or(AppendError::BatchCount(0))??;
    match batches.next() {
        // Kafka trims the cut-off end of a batch that is not whole.
        None => Ok(first),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) => Err(AppendError::BatchCount(2 + batches.count())),
    }
}

fn refused(refused: RecordsRefused) -> AppendError {
    match refused {
        RecordsRefused::Batch(error) => error.into(),
        other => AppendError::Records(other),
    }
}

/// Codec that a prepared batch is stored with.
impl PreparedAppend {
    /// Codec of the stored records.
    pub fn compression(&self) -> Compression {
        self.attributes.compression().unwrap_or_default()
    }
}
