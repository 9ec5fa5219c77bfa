//! Gzip (RFC 1952), as Java's `GZIPInputStream` reads it: several members may follow each other.

use std::io::{self, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Failure, read_limited};

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    read_limited(MultiGzDecoder::new(input), input.len(), limit)
}

pub(super) fn compress(input: &[u8], level: Option<i32>) -> io::Result<Vec<u8>> {
    // Java's -1 means zlib's own default, 6.
    let level = match level {
        None | Some(-1) => 6,
        Some(level @ 1..=9) => level.unsigned_abs(),
        Some(level) => {
            let text = format!("level {level} is not -1 or 1 to 9");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let output = Vec::with_capacity(input.len() / 2 + 64);
    let mut encoder = GzEncoder::new(output, flate2::Compression::new(level));
    encoder.write_all(input)?;
    encoder.finish()
}
