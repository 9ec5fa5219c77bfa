//! One segment: a file of batches and its indexes.
//!
//! A segment that nobody reads or writes holds no open file. Only the last segment of a log grows;
//! the one before it was sealed by [`Segment::seal`].

mod find;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use ottla_record::BatchHeader;
use ottla_record::format::HEADER_LEN;
use ottla_types::{Offset, Timestamp, WallTime};
use smallvec::SmallVec;

use crate::error::ReadError;
use crate::format::{
    INDEX_CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_CLEANED_SUFFIX, TIME_INDEX_SUFFIX,
    TXN_INDEX_CLEANED_SUFFIX, TXN_INDEX_SUFFIX, file_name,
};
use crate::index::{OffsetEntry, SparseIndex, TimeEntry};
use crate::storage::{Storage, StorageFile};
use crate::txn_index::AbortedTransaction;
use crate::walk::HeaderWalk;
use crate::window::Window;

/// Where a log's files are.
#[derive(Debug)]
pub(crate) struct Home<S> {
    pub(crate) storage: Arc<S>,
    pub(crate) dir: PathBuf,
}

impl<S> Clone for Home<S> {
    fn clone(&self) -> Self {
        Self { storage: Arc::clone(&self.storage), dir: self.dir.clone() }
    }
}

/// One batch on its way to the disk: its header as it will stand, and its body.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

/// A segment of a log.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    base: Offset,
    /// Bytes of whole batches; what lies behind in the file is not part of the log.
    size: u64,
    kept: Option<Arc<F>>,
    lent: Weak<F>,
    index: SparseIndex<OffsetEntry>,
    time_index: SparseIndex<TimeEntry>,
    aborted: SparseIndex<AbortedTransaction>,
    since_index: u64,
    // Outer `None`: not read from the time index yet.
    max_timestamp: Option<Option<TimeEntry>>,
    // Outer `None`: not read from the first batch yet.
    first_timestamp: Option<Option<Timestamp>>,
    created: WallTime,
    modified: WallTime,
    unsynced: bool,
}

impl<F: StorageFile> Segment<F> {
    /// Creates the files of an empty segment, and keeps none open. Their names are durable once
    /// the directory is synced.
    pub(crate) fn create<S: Storage<File = F>>(
        home: &Home<S>,
        base: Offset,
        now: WallTime,
    ) -> io::Result<Self> {
        home.storage.create(&home.dir.join(file_name(base, LOG_SUFFIX)))?;
        let mut segment = Self {
            base,
            size: 0,
            lent: Weak::new(),
            kept: None,
            index: SparseIndex::empty(base, INDEX_SUFFIX),
            time_index: SparseIndex::empty(base, TIME_INDEX_SUFFIX),
            aborted: SparseIndex::empty(base, TXN_INDEX_SUFFIX),
            since_index: 0,
            max_timestamp: Some(None),
            first_timestamp: Some(None),
            created: now,
            modified: now,
            // The name is the directory's, which is synced with it.
            unsynced: false,
        };
        segment.persist_indexes(home)?;
        Ok(segment)
    }

    /// A segment whose files exist; none is opened.
    pub(crate) fn existing(
        base: Offset,
        size: u64,
        [index_len, time_index_len, txn_index_len]: [u64; 3],
        modified: WallTime,
    ) -> Self {
        Self {
            base,
            size,
            kept: None,
            lent: Weak::new(),
            index: SparseIndex::on_disk(base, INDEX_SUFFIX, index_len),
            time_index: SparseIndex::on_disk(base, TIME_INDEX_SUFFIX, time_index_len),
            aborted: SparseIndex::on_disk(base, TXN_INDEX_SUFFIX, txn_index_len),
            since_index: 0,
            max_timestamp: None,
            first_timestamp: None,
            created: modified,
            modified,
            unsynced: false,
        }
    }

    /// A segment that compaction writes: not part of a log, its indexes under other names.
    pub(crate) fn cleaned(base: Offset, file: Arc<F>) -> Self {
        Self {
            kept: Some(file),
            index: SparseIndex::empty(base, INDEX_CLEANED_SUFFIX),
            time_index: SparseIndex::empty(base, TIME_INDEX_CLEANED_SUFFIX),
            max_timestamp: Some(None),
            first_timestamp: Some(None),
            aborted: SparseIndex::empty(base, TXN_INDEX_CLEANED_SUFFIX),
            ..Self::existing(base, 0, [0; 3], WallTime::default())
        }
    }

    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Lengths of the indexes in bytes: of offsets, of times and of aborted transactions.
    pub(crate) fn index_bytes(&self) -> [u64; 3] {
        [self.index.bytes(), self.time_index.bytes(), self.aborted.bytes()]
    }

    /// When it was last written to.
    pub(crate) fn modified(&self) -> WallTime {
        self.modified
    }

    /// Whether it holds no batch, and its indexes no entry.
    pub(crate) fn is_empty(&self) -> bool {
        let indexed = self.index.len() + self.time_index.len() + self.aborted.len();
        self.size == 0 && indexed == 0
    }

    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    pub(crate) fn set_unsynced(&mut self, unsynced: bool) {
        self.unsynced = unsynced;
    }

    /// The open file, opened now if need be and kept for as long as somebody uses it.
    pub(crate) fn file<S: Storage<File = F>>(&mut self, home: &Home<S>) -> io::Result<Arc<F>> {
        if let Some(file) = self.kept.clone().or_else(|| self.lent.upgrade()) {
            return Ok(file);
        }
        let file = home.storage.open(&home.dir.join(file_name(self.base, LOG_SUFFIX)))?;
        let file = Arc::new(file);
        self.lent = Arc::downgrade(&file);
        Ok(file)
    }

    /// As [`Segment::file`], and keeps it open until [`Segment::release`].
    pub(crate) fn keep_open<S: Storage<File = F>>(&mut self, home: &Home<S>) -> io::Result<Arc<F>> {
        let file = self.file(home)?;
        self.kept = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Whether the file is kept open.
    pub(crate) fn is_open(&self) -> bool {
        self.kept.is_some()
    }

    /// Lets go of the file and of what the indexes hold in memory.
    pub(crate) fn release<S: Storage<File = F>>(&mut self, home: &Home<S>) -> io::Result<()> {
        self.index.unload(&*home.storage, &home.dir)?;
        self.time_index.unload(&*home.storage, &home.dir)?;
        self.aborted.unload(&*home.storage, &home.dir)?;
        self.kept = None;
        Ok(())
    }

    /// Whether the next `bytes`, up to `last`, must go to a new segment (Kafka's
    /// `LogSegment.shouldRoll`); `timestamp` is the largest among them.
    pub(crate) fn must_roll<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        rules: &RollRules,
        bytes: u64,
        last: Offset,
        timestamp: Timestamp,
        now: WallTime,
    ) -> Result<bool, ReadError> {
        if last.since(self.base) > i32::MAX.unsigned_abs().into() {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        let full = self.size + bytes > rules.segment_bytes
            || self.index.len() >= u64::from(rules.index_bytes) / 8
            || self.time_index.len() >= u64::from(rules.index_bytes) / 12;
        if full {
            return Ok(true);
        }
        let waited = match self.first_timestamp(home)? {
            Some(first) if first.0 >= 0 => timestamp.0.saturating_sub(first.0),
            _ => now.as_millis().saturating_sub(self.created.as_millis()),
        };
        Ok(waited > rules.age_max_ms)
    }

    /// Largest timestamp of the first batch.
    pub(crate) fn first_timestamp<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
    ) -> Result<Option<Timestamp>, ReadError> {
        if let Some(known) = self.first_timestamp {
            return Ok(known);
        }
        let file = self.file(home)?;
        let first =
            HeaderWalk::new(file, self.base, 0, self.size, &mut Window::default()).next()?;
        let first = first.map(|placed| placed.header.max_timestamp);
        self.first_timestamp = Some(first);
        Ok(first)
    }

    /// Appends batches in one write.
    ///
    /// On an error the segment's size is what it was, but the file may be longer.
    pub(crate) fn append<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        batches: &[Outgoing<'_>],
        index_interval: u32,
        now: WallTime,
    ) -> io::Result<()> {
        let file = self.keep_open(home)?;
        // Nothing may fail once the bytes are written, so memory is made ready first.
        self.index.load(&*home.storage, &home.dir)?;
        self.time_index.load(&*home.storage, &home.dir)?;
        self.aborted.load(&*home.storage, &home.dir)?;
        self.max_timestamp(home)?;
        let mut parts: SmallVec<[&[u8]; 2]> = SmallVec::with_capacity(batches.len() * 2);
        for batch in batches {
            parts.extend([batch.head, batch.body]);
        }
        self.unsynced = true;
        file.write_at(&parts, self.size)?;
        for batch in batches {
            assert!(batch.head.len() == HEADER_LEN, "a batch begins with its header");
            let len = (batch.head.len() + batch.body.len()) as u64;
            self.note(&batch.header, len, index_interval);
        }
        self.modified = now;
        Ok(())
    }

    /// Takes a batch of `len` bytes at the end of the segment into account.
    pub(crate) fn note(&mut self, header: &BatchHeader, len: u64, index_interval: u32) {
        let last = header.last_offset();
        let known = self.max_timestamp.flatten();
        if known.is_none_or(|known| header.max_timestamp > known.timestamp) {
            let entry = TimeEntry { timestamp: header.max_timestamp, offset: last };
            self.max_timestamp = Some(Some(entry));
        }
        if self.since_index > index_interval.into()
            && let Ok(position) = u32::try_from(self.size)
        {
            self.index.push(OffsetEntry { offset: last, position });
            if let Some(entry) = self.max_timestamp.flatten() {
                self.time_index.push(entry);
            }
            self.since_index = 0;
        }
        if self.size == 0 {
            self.first_timestamp = Some(Some(header.max_timestamp));
        }
        self.size += len;
        self.since_index += len;
    }

    /// Takes note of a transaction whose marker was appended.
    pub(crate) fn note_aborted(&mut self, aborted: AbortedTransaction) {
        self.aborted.push(aborted);
    }

    /// Transactions whose abort markers are in the segment.
    pub(crate) fn aborted<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
    ) -> io::Result<&[AbortedTransaction]> {
        self.aborted.load(&*home.storage, &home.dir)?;
        Ok(self.aborted.entries())
    }

    /// Forgets aborted transactions, so that they can be noted anew.
    pub(crate) fn reset_aborted(&mut self) {
        self.aborted.reset();
    }

    /// Forgets offsets and times, so that [`Segment::note`] can build their indexes anew from the first
    /// batch.
    pub(crate) fn reset(&mut self) {
        self.index.reset();
        self.time_index.reset();
        (self.size, self.since_index) = (0, 0);
        self.max_timestamp = Some(None);
        self.first_timestamp = Some(None);
    }

    /// Completes the indexes of a segment that will not grow any more, as Kafka does: the largest
    /// timestamp is the last entry of the time index.
    pub(crate) fn seal<S: Storage<File = F>>(&mut self, home: &Home<S>) -> io::Result<()> {
        if let Some(entry) = self.max_timestamp(home)? {
            self.time_index.load(&*home.storage, &home.dir)?;
            self.time_index.push(entry);
        }
        self.persist_indexes(home)
    }

    /// Writes the indexes to their files.
    pub(crate) fn persist_indexes<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
    ) -> io::Result<()> {
        self.index.persist(&*home.storage, &home.dir)?;
        self.time_index.persist(&*home.storage, &home.dir)?;
        self.aborted.persist(&*home.storage, &home.dir)
    }

    /// Whether the index files lack entries.
    pub(crate) fn indexes_dirty(&self) -> bool {
        self.index.is_dirty() || self.time_index.is_dirty() || self.aborted.is_dirty()
    }

    /// Paths of the indexes; there may be no file of the last one.
    pub(crate) fn index_paths<S>(&self, home: &Home<S>) -> [PathBuf; 3] {
        let dir = &home.dir;
        [self.index.path(dir), self.time_index.path(dir), self.aborted.path(dir)]
    }

    /// Largest timestamp in the segment and the last offset of its batch.
    pub(crate) fn max_timestamp<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
    ) -> io::Result<Option<TimeEntry>> {
        if let Some(known) = self.max_timestamp {
            return Ok(known);
        }
        let last = self.time_index.last(&*home.storage, &home.dir)?;
        self.max_timestamp = Some(last);
        Ok(last)
    }

    /// What retention by time judges: the largest timestamp, or the time of the last write if no
    /// record has one (Kafka's `largestTimestamp`).
    pub(crate) fn age_mark<S: Storage<File = F>>(&mut self, home: &Home<S>) -> io::Result<i64> {
        let largest = self.max_timestamp(home)?.map(|entry| entry.timestamp.0);
        Ok(largest.filter(|&millis| millis >= 0).unwrap_or(self.modified.as_millis()))
    }

    /// Cuts the segment back to `position`, durably, which is where a batch begins, and whose base
    /// offset is `offset`.
    pub(crate) fn truncate<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        position: u64,
        offset: Offset,
    ) -> Result<(), ReadError> {
        assert!(position <= self.size, "a truncation only takes away");
        let file = self.keep_open(home)?;
        self.index.load(&*home.storage, &home.dir)?;
        self.time_index.load(&*home.storage, &home.dir)?;
        self.aborted.load(&*home.storage, &home.dir)?;
        file.set_len(position)?;
        file.sync()?;
        self.unsynced = true;
        self.size = position;
        self.since_index = 0;
        self.index.truncate_where(|entry| entry.offset < offset);
        self.time_index.truncate_where(|entry| entry.offset < offset);
        self.aborted.truncate_where(|entry| entry.last_offset < offset);
        self.persist_indexes(home)?;
        self.refresh_max_timestamp(home)?;
        if position == 0 {
            self.first_timestamp = Some(None);
        }
        Ok(())
    }

    // The last time entry may be older than the batches behind it.
    fn refresh_max_timestamp<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
    ) -> Result<(), ReadError> {
        let mut max = self.time_index.last(&*home.storage, &home.dir)?;
        let hint = self.index.last(&*home.storage, &home.dir)?;
        let hint = hint.map_or(0, |entry| u64::from(entry.position)).min(self.size);
        let mut window = Window::default();
        let mut walk = HeaderWalk::new(self.file(home)?, self.base, hint, self.size, &mut window);
        while let Some(placed) = walk.next()? {
            let (timestamp, offset) = (placed.header.max_timestamp, placed.header.last_offset());
            if max.is_none_or(|max| timestamp > max.timestamp) {
                max = Some(TimeEntry { timestamp, offset });
            }
        }
        self.max_timestamp = Some(max);
        Ok(())
    }
}

/// When a segment is closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollRules {
    pub(crate) segment_bytes: u64,
    pub(crate) index_bytes: u32,
    pub(crate) age_max_ms: i64,
}
