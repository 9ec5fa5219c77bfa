//! The 61 bytes in front of every batch.
//!
//! Parsing checks the structure only: what the fields mean for a producer or a log is decided in
//! [`crate::check`].

use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::error::BatchError;
use crate::format::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, CODEC_MASK, CONTROL_BIT,
    CRC_AT, DELETE_HORIZON_BIT, HEADER_LEN, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT,
    LEGACY_LENGTH_MIN, LENGTH_AT, LOG_APPEND_TIME_BIT, MAGIC, MAGIC_AT, MAX_TIMESTAMP_AT, OVERHEAD,
    PREFIX_LEN, PRODUCER_EPOCH_AT, PRODUCER_ID_AT, RECORD_COUNT_AT, TRANSACTIONAL_BIT,
};

/// Codec of a batch's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the framing of snappy-java.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// Number in the attributes.
    pub const fn id(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Codec with this number.
    pub const fn from_id(id: u16) -> Option<Self> {
        Some(match id {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// Kafka's name, as in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Codec with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.name() == name)
    }
}

/// What a batch's timestamps mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Set by the producer.
    #[default]
    CreateTime,
    /// Set by the broker at append: the batch's largest timestamp counts for every record.
    LogAppendTime,
}

/// Flags of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub u16);

impl Attributes {
    /// Codec, if it is a known one.
    pub const fn compression(self) -> Option<Compression> {
        Compression::from_id(self.0 & CODEC_MASK)
    }

    /// The same flags with another codec.
    #[must_use]
    pub const fn with_compression(self, codec: Compression) -> Self {
        Self((self.0 & !CODEC_MASK) | codec.id())
    }

    /// What the timestamps mean.
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & LOG_APPEND_TIME_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The same flags with another meaning of timestamps.
    #[must_use]
    pub const fn with_timestamp_type(self, kind: TimestampType) -> Self {
        match kind {
            TimestampType::CreateTime => Self(self.0 & !LOG_APPEND_TIME_BIT),
            TimestampType::LogAppendTime => Self(self.0 | LOG_APPEND_TIME_BIT),
        }
    }

    /// Whether the batch is part of a transaction.
    pub const fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch holds control records.
    pub const fn is_control(self) -> bool {
        self.0 & CONTROL_BIT != 0
    }

    /// Whether the base timestamp is the horizon at which tombstones go (KIP-534).
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON_BIT != 0
    }
}

/// Every field of a batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes after the length field; at least [`HEADER_LEN`] - [`OVERHEAD`].
    pub length: u32,
    /// Epoch of the leader that appended the batch; producers leave it out.
    pub leader_epoch: Option<LeaderEpoch>,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Flags.
    pub attributes: Attributes,
    /// Last offset less base offset.
    pub last_offset_delta: u32,
    /// Timestamp that the records' deltas start from.
    pub base_timestamp: Timestamp,
    /// Largest timestamp of the records, or the append time of all of them.
    pub max_timestamp: Timestamp,
    /// Idempotent producer, if any.
    pub producer_id: Option<ProducerId>,
    /// Its epoch.
    pub producer_epoch: Option<ProducerEpoch>,
    /// Its sequence for the first record.
    pub base_sequence: Option<Sequence>,
    /// Number of records; a compacted batch may have fewer than its offsets span.
    pub record_count: u32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; what follows is not looked at.
    ///
    /// # Errors
    /// Too few bytes, a length or format that no batch has, a negative offset, span or count.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let total = batch_len(bytes)?;
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated { needed: HEADER_LEN, remaining: bytes.len() });
        };
        if total < HEADER_LEN {
            return Err(BatchError::Length(i32_at(header, LENGTH_AT)));
        }
        let base_offset = i64_at(header, BASE_OFFSET_AT);
        let base_offset =
            Offset::from_wire(base_offset).ok_or(BatchError::BaseOffset(base_offset))?;
        let delta = i32_at(header, LAST_OFFSET_DELTA_AT);
        let last_offset_delta = u32::try_from(delta)
            .ok()
            .filter(|&delta| base_offset.to_wire().checked_add(delta.into()).is_some())
            .ok_or(BatchError::OffsetRange(delta))?;
        let count = i32_at(header, RECORD_COUNT_AT);
        Ok(Self {
            base_offset,
            length: i32_at(header, LENGTH_AT).cast_unsigned(),
            leader_epoch: LeaderEpoch::from_wire(i32_at(header, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(array(header, CRC_AT)),
            attributes: Attributes(u16::from_be_bytes(array(header, ATTRIBUTES_AT))),
            last_offset_delta,
            base_timestamp: Timestamp(i64_at(header, BASE_TIMESTAMP_AT)),
            max_timestamp: Timestamp(i64_at(header, MAX_TIMESTAMP_AT)),
            producer_id: ProducerId::from_wire(i64_at(header, PRODUCER_ID_AT)),
            producer_epoch: ProducerEpoch::from_wire(i16::from_be_bytes(array(
                header,
                PRODUCER_EPOCH_AT,
            ))),
            base_sequence: Sequence::from_wire(i32_at(header, BASE_SEQUENCE_AT)),
            record_count: u32::try_from(count).map_err(|_| BatchError::RecordCount(count))?,
        })
    }

    /// The header as it stands in a batch; parsing it again gives the same fields.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        put(&mut out, BASE_OFFSET_AT, self.base_offset.to_wire().to_be_bytes());
        put(&mut out, LENGTH_AT, self.length.to_be_bytes());
        put(
            &mut out,
            LEADER_EPOCH_AT,
            LeaderEpoch::option_to_wire(self.leader_epoch).to_be_bytes(),
        );
        put(&mut out, MAGIC_AT, [MAGIC]);
        put(&mut out, CRC_AT, self.crc.to_be_bytes());
        put(&mut out, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(&mut out, LAST_OFFSET_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(&mut out, BASE_TIMESTAMP_AT, self.base_timestamp.0.to_be_bytes());
        put(&mut out, MAX_TIMESTAMP_AT, self.max_timestamp.0.to_be_bytes());
        put(&mut out, PRODUCER_ID_AT, ProducerId::option_to_wire(self.producer_id).to_be_bytes());
        put(
            &mut out,
            PRODUCER_EPOCH_AT,
            ProducerEpoch::option_to_wire(self.producer_epoch).to_be_bytes(),
        );
        put(&mut out, BASE_SEQUENCE_AT, Sequence::option_to_wire(self.base_sequence).to_be_bytes());
        put(&mut out, RECORD_COUNT_AT, self.record_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch.
    pub fn total_len(&self) -> usize {
        OVERHEAD.saturating_add(usize::try_from(self.length).unwrap_or(usize::MAX))
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta.into())
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Sequence of the last record.
    pub fn last_sequence(&self) -> Option<Sequence> {
        self.base_sequence.map(|base| base.plus(self.last_offset_delta))
    }

    /// Codec.
    ///
    /// # Errors
    /// The attributes name a codec that does not exist.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes
            .compression()
            .ok_or(BatchError::UnknownCodec(self.attributes.0 & CODEC_MASK))
    }
}

/// Bytes of the whole batch that starts at `bytes`, once its first [`PREFIX_LEN`] bytes are there.
///
/// # Errors
/// Fewer bytes, a length that no batch has, or a format other than version 2.
pub fn batch_len(bytes: &[u8]) -> Result<usize, BatchError> {
    let Some(prefix) = bytes.first_chunk::<PREFIX_LEN>() else {
        return Err(BatchError::Truncated { needed: PREFIX_LEN, remaining: bytes.len() });
    };
    let raw = i32_at(prefix, LENGTH_AT);
    let length = usize::try_from(raw).map_err(|_| BatchError::Length(raw))?;
    if length < LEGACY_LENGTH_MIN {
        return Err(BatchError::Length(raw));
    }
    match array::<1, PREFIX_LEN>(prefix, MAGIC_AT) {
        [MAGIC] => Ok(OVERHEAD + length),
        [magic @ (0 | 1)] => Err(BatchError::Legacy(magic)),
        [magic] => Err(BatchError::Magic(magic.cast_signed())),
    }
}

// The positions are constants inside the array, asserted in `format`; a wrong one would be caught
// by the first test, and yields zeros instead of a panic.
fn array<const N: usize, const M: usize>(bytes: &[u8; M], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().unwrap_or([0; N])
}

fn i32_at<const M: usize>(bytes: &[u8; M], at: usize) -> i32 {
    i32::from_be_bytes(array(bytes, at))
}

fn i64_at<const M: usize>(bytes: &[u8; M], at: usize) -> i64 {
    i64::from_be_bytes(array(bytes, at))
}

fn put<const N: usize>(out: &mut [u8; HEADER_LEN], at: usize, value: [u8; N]) {
    if let Some(slot) = out.get_mut(at..at + N) {
        slot.copy_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(7),
            length: 49,
            leader_epoch: Some(LeaderEpoch(3)),
            crc: 0xdead_beef,
            attributes: Attributes(TRANSACTIONAL_BIT | 4),
            last_offset_delta: 2,
            base_timestamp: Timestamp(1000),
            max_timestamp: Timestamp(1002),
            producer_id: Some(ProducerId(9)),
            producer_epoch: Some(ProducerEpoch(1)),
            base_sequence: Some(Sequence(i32::MAX.unsigned_abs())),
            record_count: 3,
        }
    }

    #[test]
    fn header_comes_back() {
        let header = header();
        assert_eq!(BatchHeader::parse(&header.encode()), Ok(header));
        assert_eq!(header.last_offset(), Offset(9));
        assert_eq!(header.last_sequence(), Some(Sequence(1)));
        assert_eq!(header.compression(), Ok(Compression::Zstd));
        assert_eq!(header.total_len(), HEADER_LEN);
    }

    #[test]
    fn faults_are_named() {
        let good = header().encode();
        let with = |at: usize, bytes: &[u8]| {
            let mut bad = good;
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            BatchHeader::parse(&bad).unwrap_err()
        };
        assert_eq!(with(MAGIC_AT, &[0]), BatchError::Legacy(0));
        assert_eq!(with(MAGIC_AT, &[1]), BatchError::Legacy(1));
        assert_eq!(with(MAGIC_AT, &[3]), BatchError::Magic(3));
        assert_eq!(with(LENGTH_AT, &[0xff; 4]), BatchError::Length(-1));
        assert_eq!(with(LENGTH_AT, &48_i32.to_be_bytes()), BatchError::Length(48));
        assert_eq!(with(BASE_OFFSET_AT, &[0xff; 8]), BatchError::BaseOffset(-1));
        assert_eq!(with(LAST_OFFSET_DELTA_AT, &[0xff; 4]), BatchError::OffsetRange(-1));
        assert_eq!(with(BASE_OFFSET_AT, &i64::MAX.to_be_bytes()), BatchError::OffsetRange(2));
        assert_eq!(with(RECORD_COUNT_AT, &[0xff; 4]), BatchError::RecordCount(-1));
        assert_eq!(
            BatchHeader::parse(&good[..60]),
            Err(BatchError::Truncated { needed: 61, remaining: 60 })
        );
        assert_eq!(
            BatchHeader::parse(&good[..16]),
            Err(BatchError::Truncated { needed: 17, remaining: 16 })
        );
    }
}
