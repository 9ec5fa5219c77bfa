//! Builds batches.

use bytes::{Bytes, BytesMut};
use ottla_codec::{Sink, Writer};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::batch::crc_of;
use crate::compress::{CompressionSettings, compress};
use crate::error::BuildError;
use crate::format::{CONTROL_BIT, HEADER_LEN, OVERHEAD, TRANSACTIONAL_BIT};
use crate::header::{Attributes, BatchHeader, Compression, TimestampType};
use crate::record::NewRecord;

/// Collects records and builds one batch of them.
///
/// Offsets are consecutive from the base offset. The first record's timestamp becomes the base
/// timestamp.
#[derive(Debug)]
pub struct BatchBuilder {
    settings: CompressionSettings,
    header: BatchHeader,
    body: Writer,
    count: u32,
}

impl BatchBuilder {
    /// An empty batch at offset 0, with records compressed as told.
    pub fn new(settings: impl Into<CompressionSettings>) -> Self {
        let settings = settings.into();
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            length: 0,
            leader_epoch: None,
            crc: 0,
            attributes: Attributes::default().with_compression(settings.codec),
            last_offset_delta: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: None,
            producer_epoch: None,
            base_sequence: None,
            record_count: 0,
        };
        Self { settings, header, body: Writer::default(), count: 0 }
    }

    /// Sets the offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Sets the epoch of the leader that appends the batch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = Some(epoch);
        self
    }

    /// Names the idempotent producer and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, first: Sequence) -> Self {
        self.header.producer_id = Some(id);
        self.header.producer_epoch = Some(epoch);
        self.header.base_sequence = Some(first);
        self
    }

    /// Names the producer of a marker, which has no sequence.
    #[must_use]
    pub fn marker_of(mut self, id: ProducerId, epoch: ProducerEpoch) -> Self {
        self.header.producer_id = Some(id);
        self.header.producer_epoch = Some(epoch);
        self.header.base_sequence = None;
        self
    }

    /// Makes the batch part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.attributes.0 |= TRANSACTIONAL_BIT;
        self
    }

    /// Makes the records control records.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.header.attributes.0 |= CONTROL_BIT;
        self
    }

    /// Gives all records the time of the append, whatever their own timestamps.
    #[must_use]
    pub fn log_append_time(mut self, now: Timestamp) -> Self {
        let attributes = self.header.attributes;
        self.header.attributes = attributes.with_timestamp_type(TimestampType::LogAppendTime);
        self.header.max_timestamp = now;
        self
    }

    /// Adds a record.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        if self.count == 0 {
            self.header.base_timestamp = record.timestamp;
        }
        if self.header.attributes.timestamp_type() == TimestampType::CreateTime {
            self.header.max_timestamp = self.header.max_timestamp.max(record.timestamp);
        }
        let delta = record.timestamp.0.wrapping_sub(self.header.base_timestamp.0);
        record.write(self.count, delta, &mut self.body);
        self.count = self.count.saturating_add(1);
    }

    /// Adds a record of key and value alone.
    pub fn push_pair(&mut self, timestamp: Timestamp, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push(&NewRecord { timestamp, key, value, headers: &[] });
    }

    /// Records so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the batch if it were built now, without compression.
    pub fn uncompressed_len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Builds the batch.
    ///
    /// # Errors
    /// A batch too large for its format, or a level that the codec does not have.
    ///
    /// # Panics
    /// If there is no record: a batch without one cannot be appended.
    pub fn build(mut self) -> Result<Bytes, BuildError> {
        assert!(self.count > 0, "a batch needs a record");
        if self.count > i32::MAX.unsigned_abs() {
            return Err(BuildError::TooManyRecords);
        }
        self.header.record_count = self.count;
        self.header.last_offset_delta = self.count - 1;
        let body = self.body.into_bytes();
        let packed = match self.settings.codec {
            Compression::None => body,
            _ => compress(self.settings, &body)?.into(),
        };
        join(self.header, &packed)
    }
}

/// Puts a header, whose length and checksum are set here, in front of a body.
pub(crate) fn join(mut header: BatchHeader, body: &[u8]) -> Result<Bytes, BuildError> {
    let total = HEADER_LEN + body.len();
    let length = i32::try_from(total - OVERHEAD).map_err(|_| BuildError::TooLarge(total))?;
    header.length = length.unsigned_abs();
    header.crc = crc_of(&header.encode(), body);
    let mut batch = BytesMut::with_capacity(total);
    batch.extend_from_slice(&header.encode());
    batch.extend_from_slice(body);
    Ok(batch.freeze())
}
