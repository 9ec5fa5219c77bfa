//! Record batches described in a few words, good and bad ones.
//!
//! `batch:` and then, separated by commas: `count=N`, `key=K`, `time=MS`, `codec=NAME`, `producer=ID:EPOCH:SEQUENCE`,
//! `transactional`, `control`, `size=BYTES` (of each value), `set=AT:HEX` (bytes put into the batch, the checksum
//! then made right unless they are the checksum), `cut=N` (bytes dropped at the end), `twice`.

use anyhow::{Context, Result, bail};
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::codec::{from_hex, to_hex};
use ottla_types::{ProducerEpoch, ProducerId, Sequence, Timestamp};
use serde_json::Value as Json;

/// Where the length is, and what it counts from.
const LENGTH_AT: usize = 8;
const LENGTH_COUNTS_FROM: usize = 12;
/// Where the checksum is, and where that which it covers begins.
const CRC_AT: usize = 17;
const COVERED_FROM: usize = 21;

/// Puts the bytes, in hexadecimal, in place of every string that describes a batch.
pub(super) fn fill_in(json: &mut Json) -> Result<()> {
    match json {
        Json::Array(items) => items.iter_mut().try_for_each(fill_in),
        Json::Object(fields) => fields.values_mut().try_for_each(fill_in),
        Json::String(text) => {
            if let Some(words) = text.strip_prefix("batch:") {
                *text = to_hex(&build(words).with_context(|| format!("batch:{words}"))?);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn build(words: &str) -> Result<Vec<u8>> {
    let words: Vec<(&str, &str)> = words
        .split(',')
        .filter(|w| !w.is_empty())
        .map(|w| w.split_once('=').unwrap_or((w, "")))
        .collect();
    let get = |name: &str| words.iter().find(|w| w.0 == name).map(|w| w.1);
    let codec = match get("codec") {
        None => Compression::None,
        Some("gzip") => Compression::Gzip,
        Some("snappy") => Compression::Snappy,
        Some("lz4") => Compression::Lz4,
        Some("zstd") => Compression::Zstd,
        Some(other) => bail!("no codec is called {other}"),
    };
    let mut builder = BatchBuilder::new(codec);
    if let Some(producer) = get("producer") {
        let mut numbers = producer.split(':').map(str::parse::<i64>);
        let mut next = || numbers.next().context("producer=ID:EPOCH:SEQUENCE");
        let (id, epoch, sequence) = (next()??, next()??, next()??);
        builder = builder.producer(
            ProducerId::from_wire(id).context("producer id")?,
            ProducerEpoch::from_wire(i16::try_from(epoch)?).context("epoch")?,
            Sequence(u32::try_from(sequence)?),
        );
    }
    if get("transactional").is_some() {
        builder = builder.transactional();
    }
    if get("control").is_some() {
        builder = builder.control();
    }
    let time: i64 = get("time").unwrap_or("1700000000000").parse()?;
    let value = "v".repeat(get("size").unwrap_or("5").parse()?);
    for number in 0..get("count").unwrap_or("1").parse::<i64>()? {
        builder.push_pair(
            Timestamp(time + number),
            get("key").map(str::as_bytes),
            Some(value.as_bytes()),
        );
    }
    let mut bytes = builder.build()?.to_vec();
    for (_, patch) in words.iter().filter(|w| w.0 == "set") {
        set(&mut bytes, patch)?;
    }
    if let Some(cut) = get("cut") {
        bytes.truncate(bytes.len() - cut.parse::<usize>()?);
    }
    if get("twice").is_some() {
        bytes.extend(bytes.clone());
    }
    Ok(bytes)
}

fn set(bytes: &mut [u8], patch: &str) -> Result<()> {
    let (at, hex) = patch.split_once(':').context("set=AT:HEX")?;
    let (at, new) = (at.parse::<usize>()?, from_hex(hex));
    bytes.get_mut(at..at + new.len()).context("outside the batch")?.copy_from_slice(&new);
    if at != CRC_AT {
        let crc = crc32c(&bytes[COVERED_FROM..]);
        bytes[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    }
    Ok(())
}

/// A batch with the header of another one, and records that were packed elsewhere.
///
/// # Errors
/// If it is longer than a batch can say.
pub fn repacked(header: &[u8], codec: u8, packed: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = [header, packed].concat();
    let length = i32::try_from(bytes.len() - LENGTH_COUNTS_FROM)?;
    bytes[LENGTH_AT..LENGTH_COUNTS_FROM].copy_from_slice(&length.to_be_bytes());
    set(&mut bytes, &format!("22:{codec:02x}"))?;
    Ok(bytes)
}

/// CRC-32C bit by bit: slow, and shares nothing with what it checks.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_patched_batch_has_a_right_checksum_again() {
        let plain = build("count=2").unwrap();
        let patched = build("count=2,set=57:00000002").unwrap();
        assert_eq!(plain, patched);
        assert_ne!(plain, build("count=2,set=17:00000000").unwrap());
    }
}
