//! Sparse indexes: from an offset or a timestamp to a place near it.
//!
//! Entries are hints. A reader verifies the batch that an entry leads to and falls back to the
//! start of the segment, so a damaged index costs time and never correctness. The index of the
//! segment that is being appended to lives in memory, and its file is written when the segment is
//! closed: after a crash it is rebuilt from the batches anyway.

use std::io;
use std::path::{Path, PathBuf};

use ottla_types::{Offset, Timestamp};

use crate::format::{OFFSET_ENTRY_LEN, TIME_ENTRY_LEN};
use crate::storage::{Storage, StorageFile, read_full};

/// An entry of a sparse index.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    /// Bytes on disk.
    const LEN: usize;

    fn decode(base: Offset, bytes: &[u8]) -> Option<Self>;
    fn encode(&self, base: Offset, out: &mut Vec<u8>);
    /// Whether this entry may follow `previous`.
    fn follows(&self, previous: &Self) -> bool;
}

/// "The batch whose last offset is `offset` begins at `position`."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

impl Entry for OffsetEntry {
    const LEN: usize = OFFSET_ENTRY_LEN;

    fn decode(base: Offset, bytes: &[u8]) -> Option<Self> {
        let (relative, position) = bytes.split_first_chunk::<4>()?;
        let relative = u32::try_from(i32::from_be_bytes(*relative)).ok()?;
        let position = u32::try_from(i32::from_be_bytes(*position.first_chunk()?)).ok()?;
        Some(Self { offset: base.plus(relative.into()), position })
    }

    fn encode(&self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&relative(base, self.offset).to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn follows(&self, previous: &Self) -> bool {
        previous.offset < self.offset && previous.position < self.position
    }
}

/// "No record up to `offset` in this segment is later than `timestamp`."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset: Offset,
}

impl Entry for TimeEntry {
    const LEN: usize = TIME_ENTRY_LEN;

    fn decode(base: Offset, bytes: &[u8]) -> Option<Self> {
        let (timestamp, relative) = bytes.split_first_chunk::<8>()?;
        let relative = u32::try_from(i32::from_be_bytes(*relative.first_chunk()?)).ok()?;
        let timestamp = Timestamp(i64::from_be_bytes(*timestamp));
        Some(Self { timestamp, offset: base.plus(relative.into()) })
    }

    fn encode(&self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&relative(base, self.offset).to_be_bytes());
    }

    fn follows(&self, previous: &Self) -> bool {
        previous.timestamp < self.timestamp && previous.offset <= self.offset
    }
}

// A segment is rolled before an offset in it is further from its base than `i32::MAX`.
fn relative(base: Offset, offset: Offset) -> i32 {
    i32::try_from(offset.since(base)).unwrap_or(i32::MAX)
}

/// A sparse index, on disk or in memory.
#[derive(Debug)]
pub(crate) struct SparseIndex<E> {
    base: Offset,
    suffix: &'static str,
    state: State<E>,
}

#[derive(Debug)]
enum State<E> {
    /// Only its number of entries is known.
    Disk { count: u64 },
    /// All entries, of which the file holds the first `persisted`; `None` if there is no such file.
    Memory { entries: Vec<E>, persisted: Option<usize> },
}

impl<E: Entry> SparseIndex<E> {
    /// An index with no entries and no file.
    pub(crate) fn empty(base: Offset, suffix: &'static str) -> Self {
        let state = State::Memory { entries: Vec::new(), persisted: None };
        Self { base, suffix, state }
    }

    /// The index in a file of `len` bytes, which is not read now.
    pub(crate) fn on_disk(base: Offset, suffix: &'static str, len: u64) -> Self {
        Self { base, suffix, state: State::Disk { count: len / E::LEN as u64 } }
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(crate::format::file_name(self.base, self.suffix))
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> u64 {
        match &self.state {
            State::Disk { count } => *count,
            State::Memory { entries, .. } => entries.len() as u64,
        }
    }

    /// Whether entries are in memory that the file lacks.
    pub(crate) fn is_dirty(&self) -> bool {
        matches!(&self.state, State::Memory { entries, persisted }
            if persisted.unwrap_or(0) < entries.len())
    }

    /// Reads all entries into memory, so that more can be added.
    pub(crate) fn load<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<()> {
        if let State::Disk { .. } = self.state {
            let bytes = storage.read_small(&self.path(dir))?.unwrap_or_default();
            let mut entries: Vec<E> = Vec::with_capacity(bytes.len() / E::LEN);
            for entry in bytes.chunks_exact(E::LEN).map_while(|raw| E::decode(self.base, raw)) {
                // A preallocated file ends in zeros, which do not follow anything.
                if entries.last().is_some_and(|last| !entry.follows(last)) {
                    break;
                }
                entries.push(entry);
            }
            let persisted = Some(entries.len());
            self.state = State::Memory { entries, persisted };
        }
        Ok(())
    }

    /// Adds an entry; the index must have been loaded.
    pub(crate) fn push(&mut self, entry: E) {
        let State::Memory { entries, .. } = &mut self.state else {
            unreachable!("an index is loaded before it grows");
        };
        if entries.last().is_none_or(|last| entry.follows(last)) {
            entries.push(entry);
        }
    }

    /// Forgets every entry from the first for which `keep` is false on.
    pub(crate) fn truncate_where(&mut self, keep: impl Fn(&E) -> bool) {
        let State::Memory { entries, persisted } = &mut self.state else {
            unreachable!("an index is loaded before it shrinks");
        };
        entries.truncate(entries.partition_point(keep));
        // The file is written anew: its length must shrink too.
        *persisted = None;
    }

    /// The last entry for which `holds` is true; it must be true for all entries before that.
    pub(crate) fn last_where<S: Storage>(
        &self,
        storage: &S,
        dir: &Path,
        holds: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        match &self.state {
            State::Memory { entries, .. } => {
                let end = entries.partition_point(holds);
                Ok(end.checked_sub(1).and_then(|at| entries.get(at).copied()))
            }
            State::Disk { count } => self.search_file(storage, dir, *count, holds),
        }
    }

    fn search_file<S: Storage>(
        &self,
        storage: &S,
        dir: &Path,
        count: u64,
        holds: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        if count == 0 {
            return Ok(None);
        }
        let file = storage.open(&self.path(dir))?;
        let read = |at: u64| -> io::Result<Option<E>> {
            let mut raw = vec![0; E::LEN];
            let got = read_full(&file, &mut raw, at * E::LEN as u64)?;
            Ok(if got == E::LEN { E::decode(self.base, &raw) } else { None })
        };
        let (mut low, mut high, mut best) = (0, count, None);
        while low < high {
            let middle = low + (high - low) / 2;
            match read(middle)?.filter(&holds) {
                Some(entry) => (low, best) = (middle + 1, Some(entry)),
                None => high = middle,
            }
        }
        Ok(best)
    }

    /// The last entry.
    pub(crate) fn last<S: Storage>(&self, storage: &S, dir: &Path) -> io::Result<Option<E>> {
        match &self.state {
            State::Memory { entries, .. } => Ok(entries.last().copied()),
            State::Disk { .. } => self.last_where(storage, dir, |_| true),
        }
    }

    /// Writes what the file lacks. The file is created even if there are no entries, because a
    /// segment without one is rebuilt when Kafka opens it.
    pub(crate) fn persist<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<()> {
        let path = self.path(dir);
        let State::Memory { entries, persisted } = &mut self.state else { return Ok(()) };
        let file = match *persisted {
            Some(known) if known == entries.len() => return Ok(()),
            None | Some(0) => storage.create(&path)?,
            Some(_) => storage.open(&path)?,
        };
        let known = persisted.unwrap_or(0);
        let mut bytes = Vec::new();
        for entry in entries.iter().skip(known) {
            entry.encode(self.base, &mut bytes);
        }
        file.write_at(&[&bytes], (known * E::LEN) as u64)?;
        *persisted = Some(entries.len());
        Ok(())
    }

    /// Writes what the file lacks and drops the entries from memory.
    pub(crate) fn unload<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<()> {
        self.persist(storage, dir)?;
        self.state = State::Disk { count: self.len() };
        Ok(())
    }
}
