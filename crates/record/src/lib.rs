//! Kafka's record batch, format version 2: header, checksum, records, compression, control
//! records.
//!
//! [`Batches`] splits bytes into batches, [`Batch`] reads one, [`BatchBuilder`] writes one,
//! [`check_header`] and [`check_records`] decide whether a client's batch is acceptable, and
//! [`Patch`] is what a leader changes when it appends one. Input never panics anything, and
//! decompression stops at [`DecompressLimits`].
//!
//! What this crate is not: it stores nothing, and it does not read the formats before version 2,
//! which it names ([`BatchError::Legacy`]) and refuses, as Kafka has done since 4.0 (KIP-724).

#![doc = include_str!("../README.md")]

pub mod format;
pub mod generated;

mod batch;
mod builder;
mod check;
mod compress;
mod control;
mod error;
mod header;
mod patch;
mod record;
mod rewrite;

pub use batch::{Batch, Batches, check_crc, crc32c};
pub use builder::BatchBuilder;
pub use check::{
    CheckRules, Checked, RecordsRefused, RefusedReason, RefusedRecord, check_header, check_records,
};
pub use compress::{CompressionSettings, DecompressLimits, compress, decompress};
pub use control::ControlType;
pub use error::{BatchError, BuildError, Fault};
pub use header::{Attributes, BatchHeader, Compression, TimestampType, batch_len};
pub use patch::Patch;
pub use record::{NewRecord, Record, RecordHeader, Records};
pub use rewrite::{RawRecord, RawRecords, delete_horizon, emptied, raw_body, retain};

/// The table that the messages in [`generated`] are made from, for whoever shows them as JSON.
pub const SCHEMA: &str = include_str!("../schemas/control.schema");
