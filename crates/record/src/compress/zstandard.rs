//! Zstandard frames (KIP-110); several may follow each other, as zstd-jni reads them.

use std::io;

use super::{Failure, read_limited};

// Kafka's default level.
const LEVEL: i32 = 3;

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // The decoder's window of up to 128 MiB (the library's own ceiling, which level 22 uses) is
    // reserved at once but becomes resident only as far as output is written, so the limit on
    // output bounds it too.
    let decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    read_limited(decoder, input.len(), limit)
}

pub(super) fn compress(input: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    let level = level.unwrap_or(LEVEL);
    if !zstd::compression_level_range().contains(&level) {
        let text = format!("level {level} does not exist");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    zstd::bulk::compress(input, level)
}
