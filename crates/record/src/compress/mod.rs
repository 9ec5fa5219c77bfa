//! The five codecs, with limits on what decompression may yield.
//!
//! Writers choose what Kafka's Java clients choose, so that every client can read the result.

mod gzip;
mod lz4;
mod snappy;
mod zstandard;

use std::io::{self, Read};

use bytes::Bytes;

use crate::error::{BatchError, BuildError};
use crate::header::Compression;

/// How much one batch may grow when it is decompressed.
///
/// A few hundred bytes can stand for gigabytes (zstd: 32,000 to 1), so both the size and the
/// ratio are bounded. Kafka has neither limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecompressLimits {
    /// Most bytes that one batch may become.
    pub output_max: usize,
    /// Output that is always allowed, whatever the ratio, in bytes.
    pub ratio_free: usize,
    /// Most bytes of output for one byte of input, beyond `ratio_free`.
    pub ratio_max: usize,
}

impl DecompressLimits {
    /// No limit but the address space; for data that this process compressed itself.
    pub const UNLIMITED: Self =
        Self { output_max: usize::MAX, ratio_free: usize::MAX, ratio_max: usize::MAX };

    /// Most bytes that `input` compressed bytes may become.
    pub fn output_for(&self, input: usize) -> usize {
        self.output_max.min(self.ratio_free.max(input.saturating_mul(self.ratio_max)))
    }
}

impl Default for DecompressLimits {
    /// 100 MiB, and 1,024 to 1 beyond the first 16 MiB.
    fn default() -> Self {
        Self { output_max: 100 << 20, ratio_free: 16 << 20, ratio_max: 1024 }
    }
}

/// Codec and level that a batch is written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompressionSettings {
    /// Codec.
    pub codec: Compression,
    /// Level in the codec's own scale; `None` is Kafka's default. Snappy and none have no level,
    /// and LZ4 is always written at its fast level.
    pub level: Option<i32>,
}

impl From<Compression> for CompressionSettings {
    fn from(codec: Compression) -> Self {
        Self { codec, level: None }
    }
}

/// Decompresses `input` as a whole.
///
/// # Errors
/// Data that the codec cannot read, or more of it than the limits allow.
pub fn decompress(
    codec: Compression,
    input: &Bytes,
    limits: &DecompressLimits,
) -> Result<Bytes, BatchError> {
    let limit = limits.output_for(input.len());
    let output = match codec {
        Compression::None if input.len() > limit => return Err(BatchError::TooLarge { limit }),
        Compression::None => return Ok(input.clone()),
        Compression::Gzip => gzip::decompress(input, limit),
        Compression::Snappy => snappy::decompress(input, limit),
        Compression::Lz4 => lz4::decompress(input, limit),
        Compression::Zstd => zstandard::decompress(input, limit),
    };
    output.map(Bytes::from).map_err(|failure| match failure {
        Failure::TooLarge => BatchError::TooLarge { limit },
        Failure::Data(reason) => BatchError::Decompress { codec: codec.name(), reason },
    })
}

/// Compresses `input` as a whole.
///
/// # Errors
/// The codec does not know the level.
pub fn compress(settings: CompressionSettings, input: &[u8]) -> Result<Vec<u8>, BuildError> {
    let output = match settings.codec {
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => gzip::compress(input, settings.level),
        Compression::Snappy => snappy::compress(input),
        Compression::Lz4 => lz4::compress(input),
        Compression::Zstd => zstandard::compress(input, settings.level),
    };
    output.map_err(|error| BuildError::Compress {
        codec: settings.codec.name(),
        reason: error.to_string(),
    })
}

/// Why decompression stopped.
enum Failure {
    /// The limit was reached.
    TooLarge,
    /// The data is not what the codec expects.
    Data(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Data(error.to_string())
    }
}

/// Reads `source` to its end, but never more than `limit` bytes (and one, to notice).
fn read_limited(source: impl Read, input: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::with_capacity(input.saturating_mul(3).min(limit));
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(ceiling).read_to_end(&mut output)?;
    if output.len() > limit { Err(Failure::TooLarge) } else { Ok(output) }
}

#[cfg(test)]
mod tests;
