//! Snappy in the framing of snappy-java (xerial): a header, then blocks with their lengths.
//!
//! Reading also takes a bare snappy block, which some clients send and Java reads.

use std::io;

use snap::raw::{Decoder, Encoder, decompress_len};

use super::Failure;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
// First half of the magic: where a length would stand, it begins another stream.
const MAGIC_HEAD: [u8; 4] = [0x82, b'S', b'N', b'A'];
// Version of the framing, and the oldest version whose readers understand it.
const VERSION: u32 = 1;
const HEADER_LEN: usize = MAGIC.len() + 2 * size_of::<u32>();
// Uncompressed bytes of one block, as Java writes them.
const BLOCK_LEN: usize = 32 << 10;

pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    if !input.starts_with(&MAGIC) {
        block(input, limit, &mut output)?;
        return Ok(output);
    }
    let mut rest = framing_header(input)?;
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        if *len == MAGIC_HEAD {
            rest = framing_header(rest)?;
            continue;
        }
        let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
        let Some((compressed, tail)) = tail.split_at_checked(len) else {
            return Err(data("block ends beyond the data"));
        };
        block(compressed, limit, &mut output)?;
        rest = tail;
    }
    if rest.is_empty() { Ok(output) } else { Err(data("data ends in a block length")) }
}

fn framing_header(input: &[u8]) -> Result<&[u8], Failure> {
    let oldest = input.get(MAGIC.len() + 4..).and_then(|rest| rest.first_chunk::<4>());
    match (oldest, input.get(HEADER_LEN..)) {
        (Some(oldest), Some(rest)) if input.starts_with(&MAGIC) => {
            match u32::from_be_bytes(*oldest) {
                0 => Err(data("framing version is too old")),
                _ => Ok(rest),
            }
        }
        _ => Err(data("framing header is damaged")),
    }
}

// The block says its own size first, which is compared with the limit before memory is taken.
fn block(compressed: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), Failure> {
    let fail = |error: snap::Error| Failure::Data(error.to_string());
    let len = decompress_len(compressed).map_err(fail)?;
    let start = output.len();
    let end = start.checked_add(len).filter(|&end| end <= limit).ok_or(Failure::TooLarge)?;
    // A snappy block yields at most 64 bytes for each 3 of input (a copy), so a larger claim is a
    // lie that would only cost memory.
    if len > compressed.len().saturating_mul(64) {
        return Err(data("block claims more than it can hold"));
    }
    output.resize(end, 0);
    let slot = output.get_mut(start..).unwrap_or_default();
    Decoder::new().decompress(compressed, slot).map_err(fail)?;
    Ok(())
}

fn data(text: &str) -> Failure {
    Failure::Data(text.to_owned())
}

pub(super) fn compress(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len() / 2 + 64);
    output.extend_from_slice(&MAGIC);
    output.extend_from_slice(&VERSION.to_be_bytes());
    output.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = Encoder::new();
    for chunk in input.chunks(BLOCK_LEN) {
        let block = encoder.compress_vec(chunk).map_err(io::Error::other)?;
        let len = u32::try_from(block.len()).map_err(io::Error::other)?;
        output.extend_from_slice(&len.to_be_bytes());
        output.extend_from_slice(&block);
    }
    Ok(output)
}
