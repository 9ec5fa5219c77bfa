//! What can be wrong with a batch, and whose fault it is.

use ottla_codec::DecodeError;

/// A batch cannot be accepted or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end inside the batch.
    #[error("batch needs {needed} bytes, {remaining} remain")]
    Truncated {
        /// Bytes that the batch needs.
        needed: usize,
        /// Bytes that were left.
        remaining: usize,
    },
    /// The length field is below what any batch has, or negative.
    #[error("batch length {0} is too small")]
    Length(i32),
    /// A batch of the formats before version 2, which Kafka stopped accepting in 4.0 (KIP-724).
    #[error("record format version {0} is no longer supported")]
    Legacy(u8),
    /// A format version that never existed.
    #[error("unknown record format version {0}")]
    Magic(i8),
    /// The content does not match its checksum.
    #[error("stored crc is {stored:#010x}, computed crc is {computed:#010x}")]
    Crc {
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the bytes.
        computed: u32,
    },
    /// The attributes name a codec that does not exist.
    #[error("unknown compression type id {0}")]
    UnknownCodec(u16),
    /// The base offset is negative.
    #[error("base offset {0} is negative")]
    BaseOffset(i64),
    /// The last offset lies before the base offset, or past the largest offset.
    #[error("invalid last offset delta {0}")]
    OffsetRange(i32),
    /// The record count is negative, or zero in a batch of a client.
    #[error("invalid record count {0}")]
    RecordCount(i32),
    /// The offsets span another number of records than the count says.
    #[error("offsets span {offsets} records, but the count is {count}")]
    CountMismatch {
        /// Records from base to last offset.
        offsets: u64,
        /// Records that the header counts.
        count: u32,
    },
    /// A client sent control records.
    #[error("clients are not allowed to write control records")]
    ControlFromClient,
    /// A producer id without a sequence.
    #[error("batch with a producer id has no valid sequence")]
    MissingSequence,
    /// A client set another base offset than 0.
    #[error("base offset should be 0, but is {0}")]
    ClientBaseOffset(u64),
    /// A timestamp lies outside the allowed window, or is LogAppendTime from a producer.
    #[error("timestamp {0} is out of range or of a type that producers may not set")]
    Timestamp(i64),
    /// A record cannot be parsed.
    #[error("record {index}: {source}")]
    Record {
        /// Position in the batch, from 0.
        index: u32,
        /// What was wrong.
        #[source]
        source: DecodeError,
    },
    /// Bytes are left after the last record, or a record is shorter or longer than it says.
    #[error("record {index}: size does not match its content")]
    RecordSize {
        /// Position in the batch, from 0.
        index: u32,
    },
    /// The compressed records cannot be decompressed.
    #[error("{codec} data cannot be decompressed: {reason}")]
    Decompress {
        /// Name of the codec.
        codec: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// Decompressing would pass the limit on size or on the ratio to the compressed size.
    #[error("decompressed records pass the limit of {limit} bytes")]
    TooLarge {
        /// Limit that was hit, in bytes.
        limit: usize,
    },
    /// A control record cannot be parsed.
    #[error("control record: {0}")]
    Control(#[source] DecodeError),
}

/// Whose fault a [`BatchError`] is; Kafka has one error code for each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are damaged (`CORRUPT_MESSAGE`).
    Corrupt,
    /// The producer built a wrong batch (`INVALID_RECORD`).
    Invalid,
    /// A timestamp is not acceptable (`INVALID_TIMESTAMP`).
    Timestamp,
    /// A format that is no longer read (Kafka answers `INVALID_RECORD` to a Produce since it has
    /// stopped converting).
    Format,
    /// A codec that nobody knows (`UNSUPPORTED_COMPRESSION_TYPE`).
    Codec,
    /// More data than the limits allow (`MESSAGE_TOO_LARGE`).
    TooLarge,
}

impl BatchError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Truncated { .. } | Self::Length(_) | Self::Magic(_) | Self::Crc { .. } => {
                Fault::Corrupt
            }
            Self::Legacy(_) => Fault::Format,
            Self::UnknownCodec(_) => Fault::Codec,
            Self::Timestamp(_) => Fault::Timestamp,
            Self::TooLarge { .. } => Fault::TooLarge,
            Self::BaseOffset(_)
            | Self::OffsetRange(_)
            | Self::RecordCount(_)
            | Self::CountMismatch { .. }
            | Self::ControlFromClient
            | Self::MissingSequence
            | Self::ClientBaseOffset(_)
            | Self::Record { .. }
            | Self::RecordSize { .. }
            | Self::Decompress { .. }
            | Self::Control(_) => Fault::Invalid,
        }
    }
}

/// A batch could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The batch would be larger than its length field can say.
    #[error("batch of {0} bytes is too large")]
    TooLarge(usize),
    /// More records than the count field can say.
    #[error("too many records")]
    TooManyRecords,
    /// The codec failed, or does not know the level.
    #[error("{codec} compression failed: {reason}")]
    Compress {
        /// Name of the codec.
        codec: &'static str,
        /// What the encoder said.
        reason: String,
    },
    /// A control record could not be written.
    #[error("control record: {0}")]
    Control(#[source] ottla_codec::EncodeError),
}
