//! One error enum for each operation, split by whose fault it is.

use std::io;
use std::path::PathBuf;

use ottla_record::{BatchError, RecordsRefused};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, TopicId};

/// Records were not appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch is not acceptable; the log is unchanged.
    #[error("batch refused: {0}")]
    Batch(#[from] BatchError),
    /// Single records of the batch are not acceptable; the log is unchanged.
    #[error("records refused: {0}")]
    Records(RecordsRefused),
    /// Not exactly one batch in a leader's append: none, or two and perhaps more.
    #[error("exactly one batch is appended at a time, got {0}")]
    BatchCount(usize),
    /// The batch is larger than `max.message.bytes`.
    #[error("batch of {size} bytes is larger than {max}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// Largest size allowed.
        max: usize,
    },
    /// The batch is larger than a whole segment.
    #[error("batch of {size} bytes does not fit into a segment of {max}")]
    LargerThanSegment {
        /// Bytes of the batch.
        size: usize,
        /// `segment.bytes`.
        max: u64,
    },
    /// The broker could not compress the records as the topic demands.
    #[error("records could not be compressed: {0}")]
    Recompress(#[source] ottla_record::BuildError),
    /// A transactional batch, but no transaction is known here.
    #[error("producer {0} has no transaction in this partition")]
    NoTransaction(ProducerId),
    /// A batch outside the transaction that its producer has open.
    #[error("producer {0} has an open transaction and sent a batch outside of it")]
    OutsideTransaction(ProducerId),
    /// A newer incarnation of the producer has written already.
    #[error("producer {producer_id} has epoch {current}, got {epoch}")]
    ProducerFenced {
        /// The producer.
        producer_id: ProducerId,
        /// Epoch of the batch.
        epoch: ProducerEpoch,
        /// Newest epoch seen.
        current: ProducerEpoch,
    },
    /// The batch does not follow the producer's last one.
    #[error("producer {producer_id} sent sequence {first} after {last:?}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// First sequence of the batch.
        first: Sequence,
        /// Last sequence seen; `None` if a new epoch must begin at 0.
        last: Option<Sequence>,
    },
    /// Given offsets do not continue the log.
    #[error("first offset {first} is before the end of the log, {end}")]
    UnexpectedOffset {
        /// First offset of the batches.
        first: Offset,
        /// Offset that the next record would get.
        end: Offset,
    },
    /// The disk is full; the log is unchanged, and the next append tries again.
    #[error("no space left for the append at offset {at}")]
    NoSpace {
        /// Offset that the first record would have had.
        at: Offset,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log does not end where the clean stop said that it does: somebody changed its files. The log
    /// refuses every later append.
    #[error("the last batch ends at offset {found}, the clean stop said {end}")]
    WrongEnd {
        /// Offset that the next record would have had.
        end: Offset,
        /// Offset after the last batch.
        found: Offset,
    },
    /// An earlier failure left the tail unknown; reopen the log to recover it.
    #[error("log failed earlier")]
    Failed,
    /// The disk failed; what is on it is unknown, so this log refuses every later append.
    #[error("append at offset {at} failed")]
    Disk {
        /// Offset that the first record would have had.
        at: Offset,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Records could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset is outside {start} to {end}")]
    OutOfRange {
        /// First offset that may be read.
        start: Offset,
        /// Offset after the last record.
        end: Offset,
    },
    /// A batch on disk is not what was written.
    #[error("segment {segment} is damaged at byte {position}: {source}")]
    Corrupt {
        /// First offset of the segment.
        segment: Offset,
        /// Where in its file.
        position: u64,
        /// What is wrong there.
        #[source]
        source: BatchError,
    },
    /// The disk failed.
    #[error("read failed")]
    Disk(#[from] io::Error),
}

/// A log could not be opened or created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk failed.
    #[error("{} cannot be used", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory belongs to another topic of the same name.
    #[error("directory belongs to topic id {found}, not {expected}")]
    WrongTopic {
        /// Id in `partition.metadata`.
        found: TopicId,
        /// Id that the partition has.
        expected: TopicId,
    },
    /// A file that Kafka writes is not readable as such.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Records that were on disk are damaged. Nothing was changed; the partition stays offline
    /// until it is restored, or its damage accepted.
    #[error("segment {segment} is damaged at byte {position} ({detail}): {source}")]
    Corrupt {
        /// First offset of the segment.
        segment: Offset,
        /// Where in its file.
        position: u64,
        /// Why this is no torn tail.
        detail: CorruptDetail,
        /// What is wrong there.
        #[source]
        source: BatchError,
    },
}

/// Why damage is no torn tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorruptDetail {
    /// It lies before the recovery point: the bytes had been synced.
    BeforeRecoveryPoint,
    /// Whole batches follow it in the same file.
    BatchesFollow,
    /// It is not in the last segment.
    SegmentsFollow,
}

impl std::fmt::Display for CorruptDetail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BeforeRecoveryPoint => "before the recovery point",
            Self::BatchesFollow => "whole batches follow",
            Self::SegmentsFollow => "segments follow",
        })
    }
}

/// A change of the log other than an append failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// An earlier failure left the tail unknown; reopen the log to recover it.
    #[error("log failed earlier")]
    Failed,
    /// An offset outside of what the operation allows.
    #[error("offset {offset} is outside {start} to {limit}")]
    OutOfRange {
        /// The offset.
        offset: Offset,
        /// Lowest offset allowed.
        start: Offset,
        /// Highest offset allowed.
        limit: Offset,
    },
    /// What is on disk could not be read.
    #[error(transparent)]
    Read(ReadError),
    /// The disk failed; the log refuses every later change.
    #[error("disk failed")]
    Disk(#[from] io::Error),
}

impl From<ReadError> for LogError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Disk(source) => Self::Disk(source),
            other => Self::Read(other),
        }
    }
}
