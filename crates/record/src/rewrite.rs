//! What log compaction does to a batch: looks at its records without copying them, and writes the
//! batch anew with some of them.
//!
//! Offsets, gaps, producer and codec stay as they were (Kafka's `MemoryRecords.filterTo`). Which
//! records stay is decided elsewhere.

use bytes::Bytes;
use ottla_codec::{DecodeError, DecodeErrorKind, Sink, Writer, varlong_len};
use ottla_types::{Offset, Timestamp};

use crate::compress::{CompressionSettings, DecompressLimits, compress, decompress};
use crate::error::{BatchError, BuildError};
use crate::format::{DELETE_HORIZON_BIT, HEADER_LEN, OVERHEAD};
use crate::header::{Attributes, BatchHeader, Compression, TimestampType};

/// A record as it stands in the body of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Position in the partition.
    pub offset: Offset,
    /// Its own timestamp, or the append time of the batch.
    pub timestamp: Timestamp,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Whether it has a value; one without is a tombstone.
    pub has_value: bool,
    /// All of it, the size in front included.
    whole: &'a [u8],
    /// From the offset delta to the end: what no rewriting changes.
    fields: &'a [u8],
}

/// Walks over the records of a batch's body, decompressed; after an error the walk is over.
///
/// Key and value are found; what is behind them, a record's headers, is not looked at.
#[derive(Clone, Debug)]
pub struct RawRecords<'a> {
    header: &'a BatchHeader,
    rest: &'a [u8],
    index: u32,
    failed: bool,
}

impl<'a> RawRecords<'a> {
    /// Starts at the first record of a body that belongs to this header.
    pub fn new(header: &'a BatchHeader, body: &'a [u8]) -> Self {
        Self { header, rest: body, index: 0, failed: false }
    }

    fn read(&mut self) -> Result<RawRecord<'a>, DecodeError> {
        let whole = self.rest;
        let size = varint(&mut self.rest, "record size")?;
        let size = usize::try_from(size).map_err(|_| negative("record size", size))?;
        let mut fields = take(&mut self.rest, size, "record")?;
        let whole = whole.get(..whole.len() - self.rest.len()).unwrap_or_default();
        take(&mut fields, 1, "record attributes")?;
        let timestamp_delta = varlong(&mut fields, "record timestamp delta")?;
        let from_offset = fields;
        let delta = varint(&mut fields, "record offset delta")?;
        let offset = u32::try_from(delta)
            .ok()
            .and_then(|delta| self.header.base_offset.0.checked_add(delta.into()));
        let kind = DecodeErrorKind::InvalidValue(delta.into());
        let offset = offset.ok_or(DecodeError { field: "record offset delta", kind })?;
        let key = match usize::try_from(varint(&mut fields, "record key")?) {
            Ok(len) => Some(take(&mut fields, len, "record key")?),
            Err(_) => None,
        };
        let value = varint(&mut fields, "record value")?;
        if let Ok(len) = usize::try_from(value) {
            take(&mut fields, len, "record value")?;
        }
        Ok(RawRecord {
            offset: Offset(offset),
            timestamp: timestamp_of(self.header, timestamp_delta),
            key,
            has_value: value >= 0,
            whole,
            fields: from_offset,
        })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.index >= self.header.record_count {
            return None;
        }
        let index = self.index;
        let record = self.read().map_err(|source| BatchError::Record { index, source });
        self.index += 1;
        self.failed = record.is_err();
        Some(record)
    }
}

fn timestamp_of(header: &BatchHeader, delta: i64) -> Timestamp {
    match header.attributes.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => Timestamp(header.base_timestamp.0.wrapping_add(delta)),
    }
}

/// The records of the batch in `bytes`, decompressed into `scratch` if need be.
///
/// # Errors
/// As [`Batch::records`](crate::Batch::records).
pub fn raw_body<'a>(
    header: &BatchHeader,
    bytes: &'a [u8],
    limits: &DecompressLimits,
    scratch: &'a mut Bytes,
) -> Result<&'a [u8], BatchError> {
    let body = bytes.get(HEADER_LEN..).unwrap_or_default();
    match header.compression()? {
        Compression::None => Ok(body),
        // An empty batch that compaction left behind has no body to decompress.
        _ if header.record_count == 0 => Ok(&[]),
        codec => {
            *scratch = decompress(codec, &Bytes::copy_from_slice(body), limits)?;
            Ok(scratch)
        }
    }
}

/// The horizon at which the tombstones of a batch go, or its marker (KIP-534).
pub fn delete_horizon(header: &BatchHeader) -> Option<Timestamp> {
    header.attributes.has_delete_horizon().then_some(header.base_timestamp)
}

/// Writes a batch anew with those records of `body` for whose index `keep` is true, and at least
/// one. `horizon` becomes its delete horizon; without one it keeps what it has.
///
/// # Errors
/// The outer error is about the batch's data, the inner one about writing it.
///
/// # Panics
/// If no record is kept: that is what [`emptied`] is for.
pub fn retain(
    header: &BatchHeader,
    body: &[u8],
    keep: impl Fn(usize) -> bool,
    horizon: Option<Timestamp>,
    out: &mut Vec<u8>,
) -> Result<Result<(), BuildError>, BatchError> {
    let horizon = horizon.or_else(|| delete_horizon(header));
    let mut new = BatchHeader { max_timestamp: Timestamp::NONE, record_count: 0, ..*header };
    let mut base = horizon;
    let mut records = Writer::default();
    for (index, record) in RawRecords::new(header, body).enumerate() {
        let record = record?;
        if !keep(index) {
            continue;
        }
        let base = *base.get_or_insert(record.timestamp);
        let same = base == header.base_timestamp
            && header.attributes.timestamp_type() == TimestampType::CreateTime;
        if same {
            records.put(record.whole);
        } else {
            put_moved(&record, base, &mut records);
        }
        new.max_timestamp = new.max_timestamp.max(record.timestamp);
        new.record_count += 1;
    }
    assert!(new.record_count > 0, "a batch without records is emptied, not retained");
    new.base_timestamp = base.unwrap_or(Timestamp::NONE);
    if horizon.is_some() {
        new.attributes.0 |= DELETE_HORIZON_BIT;
    }
    let codec = header.compression()?;
    let records = records.into_bytes();
    let packed = match codec {
        Compression::None => Ok(records),
        _ => compress(CompressionSettings::from(codec), &records).map(Bytes::from),
    };
    Ok(packed.and_then(|packed| put_batch(new, &packed, out)))
}

/// Writes what stays of a batch that has lost all its records but must tell of its producer, or
/// of its last offset.
pub fn emptied(header: &BatchHeader, out: &mut Vec<u8>) {
    let kept = Attributes(header.attributes.0 & !DELETE_HORIZON_BIT);
    let new = BatchHeader {
        attributes: kept.with_compression(Compression::None),
        base_timestamp: Timestamp::NONE,
        record_count: 0,
        ..*header
    };
    // A header alone is not too large.
    let written = put_batch(new, &[], out);
    assert!(written.is_ok(), "a header fits into a batch");
}

// The record with another base for its timestamp; attributes are always 0.
fn put_moved(record: &RawRecord<'_>, base: Timestamp, out: &mut Writer) {
    let delta = record.timestamp.0.wrapping_sub(base.0);
    let size = 1 + varlong_len(delta) + record.fields.len();
    // The builder refuses a batch over 2 GiB, so a saturated length never reaches anybody.
    out.put_varint(i32::try_from(size).unwrap_or(i32::MAX));
    out.put_i8(0);
    out.put_varlong(delta);
    out.put(record.fields);
}

fn put_batch(mut header: BatchHeader, body: &[u8], out: &mut Vec<u8>) -> Result<(), BuildError> {
    let total = HEADER_LEN + body.len();
    let length = i32::try_from(total - OVERHEAD).map_err(|_| BuildError::TooLarge(total))?;
    header.length = length.unsigned_abs();
    header.crc = crate::batch::crc_of(&header.encode(), body);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], len: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
    match rest.split_at_checked(len) {
        Some((taken, behind)) => {
            *rest = behind;
            Ok(taken)
        }
        None => {
            let kind = DecodeErrorKind::Truncated { needed: len, remaining: rest.len() };
            Err(DecodeError { field, kind })
        }
    }
}

fn varint(rest: &mut &[u8], field: &'static str) -> Result<i32, DecodeError> {
    let raw = base128(rest, 5, field)?;
    let raw = u32::try_from(raw).map_err(|_| too_long(field))?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn varlong(rest: &mut &[u8], field: &'static str) -> Result<i64, DecodeError> {
    let raw = base128(rest, 10, field)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn base128(rest: &mut &[u8], bytes_max: usize, field: &'static str) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for (at, &byte) in rest.iter().enumerate().take(bytes_max) {
        let bits = u64::from(byte & 0x7f);
        let shift = at * 7;
        if shift == 63 && bits > 1 {
            return Err(too_long(field));
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            *rest = rest.get(at + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    if rest.len() < bytes_max {
        let kind = DecodeErrorKind::Truncated { needed: rest.len() + 1, remaining: rest.len() };
        return Err(DecodeError { field, kind });
    }
    Err(too_long(field))
}

fn too_long(field: &'static str) -> DecodeError {
    DecodeError { field, kind: DecodeErrorKind::VarintTooLong }
}

fn negative(field: &'static str, raw: i32) -> DecodeError {
    DecodeError { field, kind: DecodeErrorKind::NegativeLength(raw.into()) }
}
