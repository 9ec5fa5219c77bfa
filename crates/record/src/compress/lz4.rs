//! LZ4 frames within the subset that Kafka's Java clients read: version 1, independent blocks.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Failure, read_limited};

// First bytes of a frame, little-endian 0x184D2204.
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
// Bits of the flag byte behind the magic.
const VERSION_MASK: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const INDEPENDENT_BLOCKS: u8 = 0x20;

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    // A reader in Java refuses these, so accepting them would store what nobody can fetch.
    let data = |text: &str| Failure::Data(text.to_owned());
    let flags = match input.strip_prefix(&MAGIC) {
        Some([flags, ..]) => *flags,
        Some([]) => return Err(data("frame ends in its descriptor")),
        None => return Err(data("not an LZ4 frame")),
    };
    if flags & VERSION_MASK != VERSION_1 {
        return Err(data("frame version is not 1"));
    }
    if flags & INDEPENDENT_BLOCKS == 0 {
        return Err(data("dependent blocks are not supported"));
    }
    read_limited(FrameDecoder::new(input), input.len(), limit)
}

pub(super) fn compress(input: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let output = Vec::with_capacity(input.len() / 2 + 64);
    let mut encoder = FrameEncoder::with_frame_info(info, output);
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::from)
}
