//! What raft reads back: entries not yet trimmed, their offsets, and the newest snapshot.
//!
//! It mirrors the write-ahead log in memory. Entries are placed here when they are handed out for
//! writing, which is what raft's asynchronous mode expects; whether they are on disk is raft's own
//! bookkeeping. [`Storage::snapshot`] never blocks: if no snapshot will do, it says so and leaves
//! a note that one is wanted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_types::Offset;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::entry::LogEntry;
use crate::ids::RaftId;
use crate::snapshot::SnapshotId;
use crate::state_file::LogPoint;

/// A snapshot on disk, as raft sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredSnapshot {
    pub(crate) point: LogPoint,
    pub(crate) id: SnapshotId,
    /// Voters as of the snapshot.
    pub(crate) voters: Vec<RaftId>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    trimmed: LogPoint,
    entries: VecDeque<LogEntry>,
    initial: (HardState, Vec<RaftId>),
    snapshot: Option<StoredSnapshot>,
    snapshot_wanted: AtomicBool,
}

impl Store {
    pub(crate) fn new(
        trimmed: LogPoint,
        entries: Vec<LogEntry>,
        hard_state: HardState,
        voters: Vec<RaftId>,
    ) -> Self {
        let initial = (hard_state, voters);
        Self { trimmed, entries: entries.into(), initial, ..Self::default() }
    }

    pub(crate) fn trimmed(&self) -> LogPoint {
        self.trimmed
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.trimmed.index + u64::try_from(self.entries.len()).expect("it fits in memory")
    }

    /// Where the log ends after its last entry, committed or not.
    pub(crate) fn end(&self) -> Offset {
        self.entries.back().map_or(self.trimmed.end, |entry| entry.end)
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&LogEntry> {
        let at = index.checked_sub(self.trimmed.index)?.checked_sub(1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// Where the log ends after an entry; `None` if it is unknown.
    pub(crate) fn end_at(&self, index: u64) -> Option<Offset> {
        if index == self.trimmed.index {
            return Some(self.trimmed.end);
        }
        self.entry(index).map(|entry| entry.end)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Places an entry behind its predecessor; it replaces what stood there and behind.
    pub(crate) fn place(&mut self, entry: LogEntry) {
        assert!(entry.index > self.trimmed.index, "a trimmed entry comes again");
        while self.last_index() >= entry.index {
            self.entries.pop_back();
        }
        assert!(entry.index == self.last_index() + 1, "a gap in the entries");
        assert!(entry.base == self.end(), "a gap in the offsets");
        self.entries.push_back(entry);
    }

    /// The point behind an entry; `None` if it is unknown.
    pub(crate) fn point(&self, index: u64) -> Option<LogPoint> {
        if index == self.trimmed.index {
            return Some(self.trimmed);
        }
        let entry = self.entry(index)?;
        let until = usize::try_from(index - self.trimmed.index).ok()?;
        let mut batches = self.entries.iter().take(until).rev().filter(|e| !e.batch.is_empty());
        let epoch = batches.next().map(LogEntry::epoch).or(self.trimmed.epoch);
        Some(LogPoint { index, term: entry.term, end: entry.end, epoch })
    }

    /// The point at which a committed log ended at `end`: the entry whose batch ends there.
    pub(crate) fn point_at(&self, end: Offset) -> Option<LogPoint> {
        if end == self.trimmed.end {
            return Some(self.trimmed);
        }
        let found = self.entries.iter().find(|entry| entry.end == end && !entry.batch.is_empty());
        found.and_then(|entry| self.point(entry.index))
    }

    /// Forgets the entries up to `index`.
    pub(crate) fn trim(&mut self, index: u64) {
        let point = self.point(index).expect("only known entries are trimmed");
        while self.trimmed.index < index {
            self.entries.pop_front();
            self.trimmed.index += 1;
        }
        self.trimmed = point;
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.point.index < index) {
            // Whoever read it would not find the entries that follow.
            self.snapshot = None;
        }
    }

    /// Starts over behind an installed snapshot.
    pub(crate) fn install(&mut self, snapshot: StoredSnapshot) {
        assert!(snapshot.point.index > self.trimmed.index, "an old snapshot is installed");
        self.entries.clear();
        self.trimmed = snapshot.point;
        self.snapshot = Some(snapshot);
    }

    /// Notes a snapshot that was written here; returns whether raft can use it.
    pub(crate) fn note_snapshot(&mut self, snapshot: StoredSnapshot) -> bool {
        let usable = snapshot.point.index >= self.trimmed.index && snapshot.point.index > 0;
        let newer = self.snapshot.as_ref().is_none_or(|old| old.point.index < snapshot.point.index);
        if usable && newer {
            self.snapshot = Some(snapshot);
        }
        usable
    }

    /// The stored snapshot, if it is the one at this index.
    pub(crate) fn snapshot_at(&self, index: u64) -> Option<SnapshotId> {
        let stored = self.snapshot.as_ref().filter(|stored| stored.point.index == index);
        stored.map(|stored| stored.id)
    }

    /// Whether a peer needs a snapshot that does not exist; asking clears the note.
    pub(crate) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.swap(false, Ordering::Relaxed)
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let (hard_state, voters) = &self.initial;
        let voters: Vec<u64> = voters.iter().map(|id| id.to_wire()).collect();
        Ok(RaftState::new(hard_state.clone(), ConfState::from((voters, Vec::new()))))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.trimmed.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last_index() + 1, "raft asks beyond the log");
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0_u64;
        let wanted = (low..high).map_while(|index| {
            let entry = self.entry(index)?;
            let first = size == 0;
            size += u64::try_from(entry.batch.len()).expect("it fits in memory") + 32;
            (first || size <= limit).then(|| entry.to_raft())
        });
        Ok(wanted.collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.trimmed.index {
            return Ok(self.trimmed.term);
        }
        if index < self.trimmed.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let entry = self.entry(index);
        entry.map(|entry| entry.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.trimmed.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let stored = self.snapshot.as_ref().filter(|s| s.point.index >= request_index);
        let Some(stored) = stored else {
            self.snapshot_wanted.store(true, Ordering::Relaxed);
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let voters: Vec<u64> = stored.voters.iter().map(|id| id.to_wire()).collect();
        // Raft refuses a snapshot that does not name its receiver.
        let receiver = (!voters.contains(&to)).then_some(to);
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = stored.point.index;
        metadata.term = stored.point.term;
        metadata
            .set_conf_state(ConfState::from((voters, receiver.into_iter().collect::<Vec<_>>())));
        Ok(snapshot)
    }
}
