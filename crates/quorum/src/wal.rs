//! The write-ahead log `ottla-quorum.wal`: encoding and recovery, as functions on bytes.
//!
//! It holds what raft needs and the metadata log does not: entries before they are committed. The
//! layout is drawn in `docs/formats/quorum.md`. A record with a lower index than the one before
//! it replaces that one and all that follow, so writing is appending only. This file does no IO.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_codec::{DecodeError, DecodeErrorKind, Reader};
use ottla_types::Offset;

use crate::entry::{EntryError, EntryKind, LogEntry};
use crate::ids::RaftId;

const MAGIC: &[u8; 8] = b"ottlawal";
const FORMAT: u32 = 1;
/// Bytes before the first record.
pub const WAL_HEADER_LEN: usize = 24;
const PREFIX_LEN: usize = 8;
const FIXED_LEN: usize = 45;

const KIND_EMPTY: i8 = 0;
const KIND_BATCH: i8 = 1;
const KIND_ADD: i8 = 2;
const KIND_REMOVE: i8 = 3;

/// What a write-ahead log says after a crash.
#[derive(Debug, Default)]
pub struct WalContents {
    /// Which of the logs that this directory has had; an older one than the state file's is void.
    pub generation: u64,
    /// Its entries, by index, without gaps.
    pub entries: Vec<LogEntry>,
    /// Number of the last complete write.
    pub last_write: u64,
    /// Bytes that are good.
    pub valid_len: usize,
    /// Whether bytes follow that a crash cut short; nobody was promised their content.
    pub torn: bool,
}

/// A write-ahead log that cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// The first bytes are not those of a write-ahead log of this format.
    #[error("ottla-quorum.wal has no valid header")]
    Header,
    /// A record is damaged although a later write was completed, so it had been synced: the disk
    /// lost acknowledged data.
    #[error("ottla-quorum.wal is damaged at byte {at}, before a later complete record")]
    Damaged {
        /// Position of the damaged record.
        at: usize,
    },
    /// A record is whole but does not follow the one before it.
    #[error("ottla-quorum.wal: entry {index} at byte {at} does not follow entry {last}")]
    Gap {
        /// Position of the record.
        at: usize,
        /// Its index.
        index: u64,
        /// Index before it.
        last: u64,
    },
    /// A record is whole but its batch is not.
    #[error("ottla-quorum.wal at byte {at}")]
    Entry {
        /// Position of the record.
        at: usize,
        /// What is wrong.
        #[source]
        source: EntryError,
    },
}

/// The header of a new write-ahead log.
pub(crate) fn encode_wal_header(generation: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(WAL_HEADER_LEN);
    out.put_slice(MAGIC);
    out.put_u32(FORMAT);
    out.put_u64(generation);
    out.put_u32(crc_fast::crc32_iscsi(&out));
    out.freeze()
}

/// Encodes entries that are written, and synced, in one go; `write` counts the goes.
pub(crate) fn encode_wal_write(write: u64, entries: &[LogEntry]) -> Bytes {
    let payload: usize = entries.iter().map(|entry| entry.batch.len()).sum();
    let fixed = PREFIX_LEN + FIXED_LEN + size_of::<u64>();
    let mut out = BytesMut::with_capacity(payload + entries.len() * fixed);
    for (at, entry) in entries.iter().enumerate() {
        let start = out.len();
        out.put_bytes(0, PREFIX_LEN);
        out.put_u64(write);
        out.put_u32(u32::try_from(entries.len() - 1 - at).expect("one write is not that large"));
        out.put_u64(entry.index);
        out.put_u64(entry.term);
        out.put_u64(entry.base.0);
        let (kind, id) = match entry.kind {
            EntryKind::Empty => (KIND_EMPTY, 0),
            EntryKind::Batch => (KIND_BATCH, 0),
            EntryKind::AddVoter(id) => (KIND_ADD, id.to_wire()),
            EntryKind::RemoveVoter(id) => (KIND_REMOVE, id.to_wire()),
        };
        out.put_i8(kind);
        out.put_u64(id);
        out.put_slice(&entry.batch);
        let record = out.get_mut(start..).expect("it was just written");
        let (prefix, body) = record.split_at_mut(PREFIX_LEN);
        let len = u32::try_from(body.len()).expect("a batch is smaller than 2 GiB");
        let (len_at, crc_at) = prefix.split_at_mut(4);
        len_at.copy_from_slice(&len.to_be_bytes());
        crc_at.copy_from_slice(&crc_fast::crc32_iscsi(body).to_be_bytes());
    }
    out.freeze()
}

/// Reads a write-ahead log as a crash may have left it.
///
/// A damaged or incomplete tail is cut off if it can be the last write, which nobody waited for;
/// if a later write is complete, the damage is an error.
///
/// # Errors
/// The file cannot be trusted.
pub fn read_wal(bytes: &Bytes) -> Result<WalContents, WalError> {
    let generation = read_header(bytes)?;
    Ok(WalContents { generation, ..read_writes(bytes, WAL_HEADER_LEN)? })
}

/// Reads what was handed out to be appended to a write-ahead log: records without a header.
///
/// # Errors
/// As [`read_wal`].
pub fn read_wal_append(bytes: &Bytes) -> Result<WalContents, WalError> {
    read_writes(bytes, 0)
}

fn read_writes(bytes: &Bytes, start: usize) -> Result<WalContents, WalError> {
    let mut contents = WalContents::default();
    let mut at = start;
    // Records of the last write that are still to come.
    let mut left = 0;
    while at < bytes.len() {
        let Some(record) = read_record(bytes, at) else {
            let synced = contents.last_write + if left > 0 { 0 } else { 1 };
            if (at + 1..bytes.len()).any(|later| is_later(bytes, later, synced)) {
                return Err(WalError::Damaged { at });
            }
            contents.torn = true;
            break;
        };
        push(&mut contents.entries, &record, at)?;
        left = record.left;
        contents.last_write = record.write;
        at += record.len;
    }
    contents.valid_len = at;
    Ok(contents)
}

fn read_header(bytes: &Bytes) -> Result<u64, WalError> {
    let header = bytes.get(..WAL_HEADER_LEN).ok_or(WalError::Header)?;
    let (body, crc) = header.split_at(WAL_HEADER_LEN - 4);
    let good = crc == crc_fast::crc32_iscsi(body).to_be_bytes();
    let mut reader = Reader::new(bytes.slice(..WAL_HEADER_LEN));
    let fields = |reader: &mut Reader| -> Result<u64, DecodeError> {
        let magic = reader.bytes_exact("magic", MAGIC.len())?;
        let format = reader.u32("format")?;
        let known = &magic[..] == MAGIC && format == FORMAT;
        let generation = reader.i64("generation")?.cast_unsigned();
        let kind = DecodeErrorKind::NegativeLength(0);
        if known { Ok(generation) } else { Err(DecodeError { field: "format", kind }) }
    };
    fields(&mut reader).ok().filter(|_| good).ok_or(WalError::Header)
}

struct WalRecord {
    len: usize,
    write: u64,
    left: u32,
    index: u64,
    term: u64,
    base: Offset,
    kind: EntryKind,
    batch: Bytes,
}

// A whole record with a good checksum, or none.
fn read_record(bytes: &Bytes, at: usize) -> Option<WalRecord> {
    let prefix = bytes.get(at..at.checked_add(PREFIX_LEN)?)?;
    let (len, crc) = prefix.split_at(4);
    let len = usize::try_from(u32::from_be_bytes(*len.first_chunk()?)).ok()?;
    let start = at + PREFIX_LEN;
    let body = bytes.get(start..start.checked_add(len)?)?;
    if len < FIXED_LEN || crc != crc_fast::crc32_iscsi(body).to_be_bytes() {
        return None;
    }
    read_body(bytes.slice(start..start + len)).ok()?
}

fn read_body(body: Bytes) -> Result<Option<WalRecord>, DecodeError> {
    let len = PREFIX_LEN + body.len();
    let mut reader = Reader::new(body);
    let write = reader.i64("write")?.cast_unsigned();
    let left = reader.u32("left")?;
    let index = reader.i64("index")?.cast_unsigned();
    let term = reader.i64("term")?.cast_unsigned();
    let base = Offset(reader.i64("base offset")?.cast_unsigned());
    let kind = reader.i8("kind")?;
    let id = RaftId::from_wire(reader.i64("raft id")?.cast_unsigned());
    let kind = match (kind, id) {
        (KIND_EMPTY, None) => EntryKind::Empty,
        (KIND_BATCH, None) => EntryKind::Batch,
        (KIND_ADD, Some(id)) => EntryKind::AddVoter(id),
        (KIND_REMOVE, Some(id)) => EntryKind::RemoveVoter(id),
        _ => return Ok(None),
    };
    let batch = reader.bytes_exact("batch", reader.remaining())?;
    Ok(Some(WalRecord { len, write, left, index, term, base, kind, batch }))
}

// Whether a whole record of a write after `synced` stands here.
fn is_later(bytes: &Bytes, at: usize, synced: u64) -> bool {
    read_record(bytes, at).is_some_and(|record| record.write > synced)
}

fn push(entries: &mut Vec<LogEntry>, record: &WalRecord, at: usize) -> Result<(), WalError> {
    let place = (record.index, record.term);
    let entry = LogEntry::place(place, record.base, record.kind, record.batch.clone());
    let entry = entry.map_err(|source| WalError::Entry { at, source })?;
    // Replaced entries were never committed.
    let kept = entries.iter().position(|old| old.index >= entry.index).unwrap_or(entries.len());
    entries.truncate(kept);
    let last = entries.last();
    let follows = last.is_none_or(|last| last.index + 1 == entry.index && last.end == entry.base);
    if !follows {
        let last = last.map_or(0, |last| last.index);
        return Err(WalError::Gap { at, index: entry.index, last });
    }
    entries.push(entry);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use ottla_record::{BatchBuilder, Compression};
    use ottla_types::{LeaderEpoch, Timestamp};

    use super::*;

    fn entry(index: u64, term: u32, base: u64, records: u64) -> LogEntry {
        let place = (index, u64::from(term));
        if records == 0 {
            return LogEntry::place(place, Offset(base), EntryKind::Empty, Bytes::new()).unwrap();
        }
        let builder = BatchBuilder::new(Compression::None).base_offset(Offset(base));
        let mut builder = builder.leader_epoch(LeaderEpoch(term));
        for _ in 0..records {
            builder.push_pair(Timestamp(0), None, Some(b"x"));
        }
        let batch = builder.build().unwrap();
        LogEntry::place(place, Offset(base), EntryKind::Batch, batch).unwrap()
    }

    // Three writes: two entries, one entry, then one that replaces the last.
    fn three_writes() -> Vec<Bytes> {
        vec![
            encode_wal_header(5),
            encode_wal_write(1, &[entry(8, 1, 10, 0), entry(9, 1, 10, 2)]),
            encode_wal_write(2, &[entry(10, 1, 12, 1)]),
            encode_wal_write(3, &[entry(10, 2, 12, 3)]),
        ]
    }

    fn show(bytes: &[u8]) -> String {
        let contents = match read_wal(&Bytes::copy_from_slice(bytes)) {
            Ok(contents) => contents,
            Err(error) => return error.to_string(),
        };
        let mut text = format!("generation {}", contents.generation);
        for entry in &contents.entries {
            let LogEntry { index, term, base, end, .. } = entry;
            write!(text, ", {index}@{term} {base}..{end}").unwrap();
        }
        let torn = if contents.torn { ", torn" } else { "" };
        write!(text, ", write {}{torn}", contents.last_write).unwrap();
        text
    }

    #[test]
    fn later_writes_replace_the_tail() {
        let whole = three_writes().concat();
        assert_eq!(show(&whole), "generation 5, 8@1 10..10, 9@1 10..12, 10@2 12..15, write 3");
        assert_eq!(show(&whole[..24]), "generation 5, write 0");
    }

    #[test]
    fn every_cut_and_every_flip_in_the_last_write_is_a_torn_tail() {
        let writes = three_writes();
        let (synced, whole) = (writes[..3].concat(), writes.concat());
        let before = "generation 5, 8@1 10..10, 9@1 10..12, 10@1 12..13, write 2";
        assert_eq!(show(&synced), before);
        for cut in synced.len() + 1..whole.len() {
            assert_eq!(show(&whole[..cut]), format!("{before}, torn"), "cut at {cut}");
        }
        for at in synced.len()..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert_eq!(show(&flipped), format!("{before}, torn"), "flip at {at}");
        }
    }

    #[test]
    fn damage_before_a_complete_write_is_an_error() {
        let writes = three_writes();
        let (synced, whole) = (writes[..2].concat(), writes.concat());
        for at in WAL_HEADER_LEN..synced.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(show(&flipped).contains("is damaged at byte"), "flip at {at}");
        }
        let mut flipped = whole;
        flipped[3] ^= 1;
        assert_eq!(show(&flipped), "ottla-quorum.wal has no valid header");
    }

    #[test]
    fn a_hole_in_the_last_write_is_a_torn_tail() {
        // Pages of one write may reach the disk in any order.
        let header = encode_wal_header(1);
        let write = encode_wal_write(1, &[entry(1, 1, 0, 1), entry(2, 1, 1, 1)]);
        let mut bytes = [header, write].concat();
        bytes[WAL_HEADER_LEN + 20] ^= 1;
        assert_eq!(show(&bytes), "generation 1, write 0, torn");
    }

    #[test]
    fn a_gap_is_an_error() {
        let header = encode_wal_header(1);
        let writes =
            [encode_wal_write(1, &[entry(1, 1, 0, 1)]), encode_wal_write(2, &[entry(3, 1, 1, 1)])];
        let bytes = [header, writes[0].clone(), writes[1].clone()].concat();
        let at = bytes.len() - writes[1].len();
        let expected = format!("ottla-quorum.wal: entry 3 at byte {at} does not follow entry 1");
        assert_eq!(show(&bytes), expected);
    }
}
