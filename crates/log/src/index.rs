//! Sparse indexes: from an offset or a timestamp to a place near it.
//!
//! Entries are hints. A reader verifies the batch that an entry leads to and falls back to the
//! start of the segment, so a damaged index costs time and never correctness. The index of the
//! segment that is being appended to lives in memory, and its file is written when the segment is
//! closed: after a crash it is rebuilt from the batches anyway.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use ottla_types::{Offset, Timestamp};

use crate::format::{OFFSET_ENTRY_LEN, TIME_ENTRY_LEN, TXN_ENTRY_LEN};
use crate::storage::{IndexFile, Storage, StorageFile};

/// An entry of a sparse index.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    /// Bytes on disk.
    const LEN: usize;
    /// Whether a segment without the file is rebuilt when Kafka opens it.
    const NEEDED: bool = true;

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

/// Bytes of the longest entry.
const ENTRY_LEN_MAX: usize = TXN_ENTRY_LEN;

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
    /// Only its number of entries is known; the file is there for as long as the storage keeps it.
    Disk { count: u64, opened: Weak<IndexFile> },
    /// All entries, and how much of them the file holds.
    Memory { entries: Vec<E>, file: File },
}

impl<E> State<E> {
    fn on_disk(count: u64) -> Self {
        Self::Disk { count, opened: Weak::new() }
    }
}

/// What an index file holds of the entries in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// There is no file.
    Missing,
    /// Exactly the first so many.
    First(usize),
    /// Something else.
    Stale,
}

impl<E: Entry> SparseIndex<E> {
    /// An index with no entries and no file.
    pub(crate) fn empty(base: Offset, suffix: &'static str) -> Self {
        let state = State::Memory { entries: Vec::new(), file: File::Missing };
        Self { base, suffix, state }
    }

    /// Forgets every entry; a file that has some is emptied when the index is written.
    pub(crate) fn reset(&mut self) {
        let file = match self.state {
            State::Disk { count: 0, .. } if !E::NEEDED => File::Missing,
            State::Memory { file: File::Missing, .. } => File::Missing,
            State::Disk { .. } | State::Memory { .. } => File::Stale,
        };
        self.state = State::Memory { entries: Vec::new(), file };
    }

    /// The index in a file of `len` bytes, which is not read now.
    pub(crate) fn on_disk(base: Offset, suffix: &'static str, len: u64) -> Self {
        Self { base, suffix, state: State::on_disk(len / E::LEN as u64) }
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(crate::format::file_name(self.base, self.suffix))
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> u64 {
        match &self.state {
            State::Disk { count, .. } => *count,
            State::Memory { entries, .. } => entries.len() as u64,
        }
    }

    /// Bytes of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        self.len() * E::LEN as u64
    }

    /// Whether entries are in memory that the file lacks.
    pub(crate) fn is_dirty(&self) -> bool {
        match &self.state {
            State::Disk { .. } => false,
            State::Memory { entries, file: File::First(known) } => *known < entries.len(),
            State::Memory { entries, file: File::Missing } => !entries.is_empty(),
            State::Memory { file: File::Stale, .. } => true,
        }
    }

    /// Reads all entries into memory, so that more can be added.
    pub(crate) fn load<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<()> {
        if let State::Disk { count, .. } = self.state {
            if count == 0 && !E::NEEDED {
                self.reset();
                return Ok(());
            }
            let bytes = storage.read_small(&self.path(dir))?.unwrap_or_default();
            let mut entries: Vec<E> = Vec::with_capacity(bytes.len() / E::LEN);
            for entry in bytes.chunks_exact(E::LEN).map_while(|raw| E::decode(self.base, raw)) {
                // A preallocated file ends in zeros, which do not follow anything.
                if entries.last().is_some_and(|last| !entry.follows(last)) {
                    break;
                }
                entries.push(entry);
            }
            let file = File::First(entries.len());
            self.state = State::Memory { entries, file };
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
        let State::Memory { entries, file } = &mut self.state else {
            unreachable!("an index is loaded before it shrinks");
        };
        let kept = entries.partition_point(keep);
        // The file is written anew: its length must shrink too.
        if kept < entries.len() && *file != File::Missing {
            *file = File::Stale;
        }
        entries.truncate(kept);
    }

    /// All entries; the index must have been loaded.
    pub(crate) fn entries(&self) -> &[E] {
        let State::Memory { entries, .. } = &self.state else {
            unreachable!("an index is loaded before it is listed");
        };
        entries
    }

    /// The last entry for which `holds` is true; it must be true for all entries before that.
    pub(crate) fn last_where<S: Storage>(
        &mut self,
        storage: &S,
        dir: &Path,
        holds: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        if let State::Memory { entries, .. } = &self.state {
            let end = entries.partition_point(holds);
            return Ok(end.checked_sub(1).and_then(|at| entries.get(at).copied()));
        }
        let count = self.len();
        if count == 0 {
            return Ok(None);
        }
        let file = self.opened(storage, dir)?;
        // Halves without a branch on what was found, which no processor could foresee.
        let (mut low, mut left) = (0, count);
        while left > 1 {
            let half = left / 2;
            let holds = self.entry_in(&file, low + half).is_some_and(|entry| holds(&entry));
            low += if holds { half } else { 0 };
            left -= half;
        }
        let best = self.entry_in(&file, low).filter(holds);
        Ok(best)
    }

    fn opened<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<Arc<IndexFile>> {
        let State::Disk { opened, count } = &self.state else {
            unreachable!("an index in memory needs no file");
        };
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let count = *count;
        let file = storage.open_index(&self.path(dir))?;
        self.state = State::Disk { count, opened: Arc::downgrade(&file) };
        Ok(file)
    }

    #[inline]
    fn entry_in(&self, file: &IndexFile, at: u64) -> Option<E> {
        let mut raw = [0; ENTRY_LEN_MAX];
        let raw = raw.get_mut(..E::LEN)?;
        let place = usize::try_from(at).ok()?.checked_mul(E::LEN)?;
        file.copy_to(place, raw).then(|| E::decode(self.base, raw)).flatten()
    }

    /// The last entry.
    pub(crate) fn last<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<Option<E>> {
        self.last_where(storage, dir, |_| true)
    }

    /// Writes what the file lacks. One that is needed is created even if there are no entries.
    pub(crate) fn persist<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<()> {
        let path = self.path(dir);
        let State::Memory { entries, file: known } = &mut self.state else { return Ok(()) };
        let (file, from) = match *known {
            File::First(known) if known == entries.len() => return Ok(()),
            File::Missing if entries.is_empty() && !E::NEEDED => return Ok(()),
            File::First(known) if 0 < known => (storage.open(&path)?, known),
            File::Missing | File::First(_) | File::Stale => (storage.create(&path)?, 0),
        };
        let mut bytes = Vec::new();
        for entry in entries.iter().skip(from) {
            entry.encode(self.base, &mut bytes);
        }
        file.write_at(&[&bytes], (from * E::LEN) as u64)?;
        *known = File::First(entries.len());
        Ok(())
    }

    /// Writes what the file lacks and drops the entries from memory.
    pub(crate) fn unload<S: Storage>(&mut self, storage: &S, dir: &Path) -> io::Result<()> {
        self.persist(storage, dir)?;
        self.state = State::on_disk(self.len());
        Ok(())
    }
}
