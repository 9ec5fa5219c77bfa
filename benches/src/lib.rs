//! Shared pieces of the benchmarks: record batches as a producer sends them.
//!
//! The benchmarks are in `benches/`; `cargo xtask bench` runs them. Comparisons of whole brokers
//! are `cargo xtask bench compare`, and their raw data is in `runs/`.

use bytes::Bytes;
use ottla_record::{BatchBuilder, Compression};
use ottla_types::Timestamp;

/// An uncompressed batch of `records` records, each with a value of `value` bytes and no key.
///
/// # Panics
/// If no batch can hold that.
pub fn batch(records: usize, value: usize) -> Bytes {
    let value = vec![b'x'; value];
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..records {
        builder.push_pair(Timestamp(1), None, Some(&value));
    }
    builder.build().expect("a batch of a sensible size")
}

/// As [`batch`], with as many records as about `bytes` bytes hold.
///
/// # Panics
/// If no batch can hold that.
pub fn batch_of(bytes: usize, value: usize) -> Bytes {
    batch((bytes / (value + RECORD_OVERHEAD)).max(1), value)
}

// Length, attributes, two deltas, no key, value length, no headers.
const RECORD_OVERHEAD: usize = 8;
