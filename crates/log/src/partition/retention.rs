//! Retention: which segments may go, and their removal.
//!
//! A segment goes as a whole. What lies at or behind the high watermark never goes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_types::{Offset, WallTime};

use super::PartitionLog;
use crate::error::LogError;
use crate::format::{
    DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
    file_name,
};
use crate::segment::Segment;
use crate::storage::Storage;

/// Why a segment may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryReason {
    /// All its records are older than `retention.ms`.
    Age,
    /// The log is larger than `retention.bytes` without it.
    Size,
    /// It lies before the start of the log.
    BeforeStart,
}

/// A segment that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its first offset.
    pub base_offset: Offset,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why.
    pub reason: ExpiryReason,
}

/// Files that no longer belong to a log: renamed, but still there for whoever is reading them.
#[derive(Debug)]
#[must_use = "the files take space until they are removed"]
pub struct DeletedFiles<S: Storage> {
    storage: Arc<S>,
    paths: Vec<PathBuf>,
    /// The segments that went.
    pub segments: Vec<Expired>,
}

impl<S: Storage> DeletedFiles<S> {
    pub(super) fn new(storage: Arc<S>, paths: Vec<PathBuf>, segments: Vec<Expired>) -> Self {
        Self { storage, paths, segments }
    }

    /// Removes the files; call it after `file.delete.delay.ms`. What is gone already is fine.
    ///
    /// # Errors
    /// The disk failed. The files go at the next start.
    pub fn remove(self) -> io::Result<()> {
        for path in &self.paths {
            match self.storage.remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<S: Storage> PartitionLog<S> {
    /// The segments that may go now, oldest first; decides only.
    ///
    /// # Errors
    /// A time index could not be read.
    pub fn expired_segments(
        &mut self,
        now: WallTime,
        high_watermark: Offset,
    ) -> Result<Vec<Expired>, LogError> {
        let mut expired = Vec::new();
        let config = Arc::clone(&self.config);
        let oldest = config.retention.filter(|_| config.delete);
        let oldest = oldest.map(|retention| now.minus(retention).as_millis());
        let size_max = config.retention_bytes.filter(|_| config.delete);
        let mut excess = size_max.map_or(0, |size_max| self.size().saturating_sub(size_max));
        for index in 0..self.segments.len() {
            let next_base = self.segments.get(index + 1).map(Segment::base);
            let upper = next_base.unwrap_or(self.end);
            let (segment, home) = (&mut self.segments[index], &self.home);
            // An empty segment that grows is no garbage.
            if upper > high_watermark || (next_base.is_none() && segment.size() == 0) {
                break;
            }
            let too_old = match oldest {
                Some(oldest) => segment.age_mark(home)? < oldest,
                None => false,
            };
            let reason = if next_base.is_some_and(|next| next <= self.log_start) {
                ExpiryReason::BeforeStart
            } else if too_old {
                ExpiryReason::Age
            } else if size_max.is_some() && segment.size() <= excess && excess > 0 {
                ExpiryReason::Size
            } else {
                break;
            };
            excess = excess.saturating_sub(segment.size());
            expired.push(Expired { base_offset: segment.base(), bytes: segment.size(), reason });
        }
        Ok(expired)
    }

    /// Takes the segments that may go out of the log; their files are renamed, and removed by the
    /// caller later. `None` if there is nothing to do, or the log is being compacted.
    ///
    /// # Errors
    /// The disk failed: the log refuses every later change.
    pub fn delete_expired(
        &mut self,
        now: WallTime,
        high_watermark: Offset,
    ) -> Result<Option<DeletedFiles<S>>, LogError> {
        self.refuse_if_failed()?;
        if self.is_compacting() {
            return Ok(None);
        }
        let expired = self.expired_segments(now, high_watermark)?;
        if expired.is_empty() {
            return Ok(None);
        }
        let deleted = self.drop_segments(expired, now);
        if deleted.is_err() {
            self.failed = true;
        }
        self.check();
        deleted.map(Some)
    }

    fn drop_segments(
        &mut self,
        expired: Vec<Expired>,
        now: WallTime,
    ) -> Result<DeletedFiles<S>, LogError> {
        if expired.len() == self.segments.len() {
            // Something must be left to grow.
            self.roll(now).map_err(|error| LogError::Disk(io::Error::other(error)))?;
        }
        let rest = self.segments.split_off(expired.len());
        let gone = std::mem::replace(&mut self.segments, rest);
        let start = self.segments.first().map_or(self.end, Segment::base);
        self.set_log_start(self.log_start.max(start));
        let mut paths = Vec::new();
        for segment in &gone {
            paths.extend(self.rename_away(segment.base(), true)?);
        }
        self.names_unsynced = true;
        Ok(DeletedFiles::new(Arc::clone(&self.home.storage), paths, expired))
    }

    /// Renames the files of a segment, with the snapshot at its base or without; returns their new
    /// paths.
    pub(super) fn rename_away(
        &mut self,
        base: Offset,
        with_snapshot: bool,
    ) -> io::Result<Vec<PathBuf>> {
        let mut renamed = Vec::new();
        let snapshot = self.snapshots.binary_search(&base).ok().filter(|_| with_snapshot);
        if let Some(at) = snapshot {
            self.snapshots.remove(at);
        }
        // The log goes first: without it the others are orphans, which recovery removes. A log that
        // came back without its aborted transactions would show them.
        let files = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];
        for suffix in files.into_iter().chain(snapshot.map(|_| SNAPSHOT_SUFFIX)) {
            let name = file_name(base, suffix);
            let target = self.home.dir.join(format!("{name}{DELETED_SUFFIX}"));
            match self.home.storage.rename(&self.home.dir.join(name), &target) {
                Ok(()) => renamed.push(target),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(renamed)
    }

    /// Moves the start of the log forward, as DeleteRecords does; whole segments before it go with
    /// the next [`PartitionLog::delete_expired`]. Returns the start. An offset before the start
    /// changes nothing.
    ///
    /// # Errors
    /// The offset lies behind the high watermark.
    pub fn delete_records(
        &mut self,
        before: Offset,
        high_watermark: Offset,
    ) -> Result<Offset, LogError> {
        self.refuse_if_failed()?;
        if before > high_watermark.min(self.end) {
            let (start, limit) = (self.log_start, high_watermark);
            return Err(LogError::OutOfRange { offset: before, start, limit });
        }
        if before > self.log_start {
            self.set_log_start(before);
        }
        self.check();
        Ok(self.log_start)
    }

    pub(super) fn set_log_start(&mut self, start: Offset) {
        assert!(self.log_start <= start, "the log start moved back");
        if start > self.log_start {
            self.log_start = start;
            self.epochs.truncate_from_start(start);
        }
    }
}
