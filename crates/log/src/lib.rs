//! Segmented crash-safe log of Kafka record batches, in Kafka's own files.
//!
//! A [`LogDirectory`] is one disk's directory of partitions. A partition that exists is an
//! [`UnrecoveredLog`] until its tail has been checked, then a [`PartitionLog`]; a new one is made
//! by [`PartitionLog::create`]. A leader's append is prepared without the partition's lock
//! ([`LogConfig::prepare`]) and then takes one write. Durability is asked for, by
//! [`PartitionLog::prepare_flush`], and paid for outside of the lock; so is compaction, by
//! [`PartitionLog::prepare_compaction`].
//!
//! What this crate is not: it has no threads, no timers and no clock, it knows no network and no
//! replicas (the high watermark is passed in), and it touches the disk only through [`Storage`].

#![doc = include_str!("../README.md")]
#![allow(
    clippy::indexing_slicing,
    reason = "indexes into the log's own lists; foreign bytes are read with `get` and `Reader`"
)]

pub mod format;
pub mod generated;
pub mod storage;

mod checkpoint;
mod compact;
mod config;
mod directory;
mod epochs;
mod error;
mod index;
mod partition;
mod prepare;
mod producer;
mod recovery;
mod segment;
mod txn_index;
mod verify;
mod walk;
mod window;

pub use checkpoint::{CleanShutdown, MetaProperties, Offsets};
pub use compact::{
    Cleanable, CleanedSegments, CompactionError, CompactionJob, CompactionStats, MapSettings,
    OffsetMap, Pace,
};
pub use config::{LogConfig, Validation};
pub use directory::{Checkpoint, DirectoryError, LogDirectory, PartitionDir, PartitionDirKind};
pub use epochs::EpochEnd;
pub use error::{AppendError, CorruptDetail, LogError, OpenError, ReadError};
pub use partition::{
    AppendInfo, CopyJob, DeletedFiles, Expired, ExpiryReason, FetchSlice, FlushJob, PartitionLog,
    RelocateError, Relocation, ScrubJob, TimestampedOffset, future_dir_name,
};
pub use prepare::{AppendOrigin, PreparedAppend};
pub use producer::ProducerView;
pub use recovery::{OpenInfo, RecoveryReport, SegmentCheck, UnrecoveredLog};
pub use storage::{FsStorage, IndexFile, Storage, StorageFile};
pub use txn_index::AbortedTransaction;
pub use verify::{Finding, Problem, Remedy, Verified, verify};
pub use window::{ReadBuffer, ReadBuffers};

/// The table that the messages in [`generated`] are made from, for whoever shows them as JSON.
pub const SCHEMA: &str = include_str!("../schemas/storage.schema");
