//! Making appended records durable, outside of the partition's lock.
//!
//! [`PartitionLog::prepare_flush`] names what is not on disk yet, [`FlushJob::run`] syncs it while
//! others append, and [`PartitionLog::complete_flush`] moves the durable offset. One thread for
//! each disk may run the jobs of many partitions, and everything that was appended before a job
//! was prepared shares its sync: group commit.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::Offset;

use super::PartitionLog;
use crate::error::LogError;
use crate::format::{PARTITION_METADATA_FILE, SNAPSHOT_SUFFIX, file_name};
use crate::producer::encode;
use crate::storage::{Storage, StorageFile};

/// Syncs that make a log durable up to [`FlushJob::end_offset`].
#[derive(Debug)]
#[must_use = "an unsynced log is not durable"]
pub struct FlushJob<S: Storage> {
    storage: Arc<S>,
    dir: PathBuf,
    segments: Vec<(Offset, Arc<S::File>)>,
    /// Indexes of sealed segments, and producers as they were at their ends: recovery trusts them.
    trusted_paths: Vec<PathBuf>,
    names: bool,
    /// The directory itself is new: its topic id, and its name, must be synced too.
    new: bool,
    epochs: Option<(PathBuf, String)>,
    end: Offset,
    truncations: u64,
}

impl<S: Storage> FlushJob<S> {
    /// Records before this offset are durable once the job has run.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Syncs; call it without the partition's lock, once.
    ///
    /// # Errors
    /// A sync failed. It must not be repeated: hand the error to
    /// [`PartitionLog::complete_flush`], which takes the log out of service.
    pub fn run(&self) -> io::Result<()> {
        for (_, file) in &self.segments {
            file.sync()?;
        }
        for path in &self.trusted_paths {
            sync_if_there(&*self.storage, path)?;
        }
        if self.new {
            sync_if_there(&*self.storage, &self.dir.join(PARTITION_METADATA_FILE))?;
        }
        match &self.epochs {
            // Syncs the directory as well.
            Some((path, text)) => self.storage.replace_small(path, text.as_bytes())?,
            None if self.names => self.storage.sync_dir(&self.dir)?,
            None => {}
        }
        match self.dir.parent() {
            Some(parent) if self.new => self.storage.sync_dir(parent),
            _ => Ok(()),
        }
    }
}

impl<S: Storage> PartitionLog<S> {
    /// What must be synced so that all records appended so far are durable; `None` if they are.
    pub fn prepare_flush(&mut self) -> Option<FlushJob<S>> {
        self.prepare_flush_with(false)
    }

    // With the indexes of the segment that grows, if they are complete and will be trusted.
    fn prepare_flush_with(&mut self, active_indexes: bool) -> Option<FlushJob<S>> {
        let idle = self.flushed == self.end && !self.names_unsynced && !self.new;
        if self.failed || (idle && !self.epochs.is_changed()) {
            return None;
        }
        let truncations = self.truncations;
        let epochs = self.epochs.is_changed().then(|| (self.epochs_path(), self.epochs.render()));
        let Self { segments, home, snapshots, .. } = self;
        let mut files = Vec::new();
        let mut trusted_paths = Vec::new();
        // From the last to the first, so that each knows where the one behind it begins.
        let mut next_base = None;
        for segment in segments.iter_mut().rev() {
            let after = next_base.replace(segment.base());
            if !segment.is_unsynced() {
                continue;
            }
            match segment.file(home) {
                Ok(file) => files.push((segment.base(), file)),
                Err(_) => {
                    self.failed = true;
                    return None;
                }
            }
            if active_indexes || after.is_some() {
                trusted_paths.extend(segment.index_paths(home));
            }
            let snapshot = after.filter(|after| snapshots.binary_search(after).is_ok());
            trusted_paths.extend(
                snapshot.map(|snapshot| home.dir.join(file_name(snapshot, SNAPSHOT_SUFFIX))),
            );
            // What is appended from here on is not covered.
            segment.set_unsynced(false);
        }
        files.reverse();
        let names = std::mem::take(&mut self.names_unsynced);
        let new = std::mem::take(&mut self.new);
        self.epochs.set_changed(false);
        Some(FlushJob {
            storage: Arc::clone(&self.home.storage),
            dir: self.home.dir.clone(),
            segments: files,
            trusted_paths,
            names,
            new,
            epochs,
            end: self.end,
            truncations,
        })
    }

    /// Takes note of a job's outcome; returns the offset up to which the log is durable now.
    ///
    /// # Errors
    /// The job failed: the log refuses every later append.
    pub fn complete_flush(
        &mut self,
        job: FlushJob<S>,
        outcome: io::Result<()>,
    ) -> Result<Offset, LogError> {
        if let Err(source) = outcome {
            self.failed = true;
            return Err(LogError::Disk(source));
        }
        self.refuse_if_failed()?;
        let active_base = self.active_segment_base();
        let Self { segments, home, .. } = self;
        for segment in segments.iter_mut() {
            let synced = job.segments.iter().any(|(base, _)| *base == segment.base());
            // A sealed segment is needed open only for as long as it is not synced.
            if synced && segment.base() != active_base && !segment.is_unsynced() {
                segment.release(home)?;
            }
        }
        if job.truncations == self.truncations {
            self.flushed = self.flushed.max(job.end);
        }
        self.check();
        Ok(self.flushed)
    }

    /// Makes everything durable here and now.
    ///
    /// # Errors
    /// As [`PartitionLog::complete_flush`].
    pub fn flush(&mut self) -> Result<Offset, LogError> {
        self.flush_with(false)
    }

    fn flush_with(&mut self, active_indexes: bool) -> Result<Offset, LogError> {
        self.refuse_if_failed()?;
        match self.prepare_flush_with(active_indexes) {
            Some(job) => {
                let outcome = job.run();
                self.complete_flush(job, outcome)
            }
            None => {
                self.refuse_if_failed()?;
                Ok(self.flushed)
            }
        }
    }

    /// Makes everything durable and leaves the directory as a clean shutdown must: indexes
    /// complete, producers in a snapshot at the end of the log.
    ///
    /// # Errors
    /// The disk failed, now or earlier: the clean mark must not be written.
    pub fn close(&mut self) -> Result<(), LogError> {
        self.refuse_if_failed()?;
        let closed = self.close_files();
        if closed.is_err() {
            self.failed = true;
        }
        closed
    }

    fn close_files(&mut self) -> Result<(), LogError> {
        if !self.is_as_closed() && !self.was_never_used() {
            let Self { segments, home, .. } = self;
            let active = segments.last_mut().expect("a log has a segment");
            if active.size() > 0 || active.indexes_dirty() {
                active.seal(home)?;
                // A clean start trusts the indexes, whenever they were written.
                active.set_unsynced(true);
                self.names_unsynced = true;
            }
            self.take_snapshot(true)?;
            self.flush_with(true)?;
            self.closed_at = Some(self.end);
        }
        let Self { segments, home, .. } = self;
        for segment in segments.iter_mut() {
            segment.release(home)?;
        }
        Ok(())
    }

    // Whether the files are what the last close left; reads and idle times change nothing.
    fn is_as_closed(&self) -> bool {
        let whole = self.flushed == self.end && self.segments.iter().all(|s| !s.is_unsynced());
        let changed = self.names_unsynced || self.new || self.epochs.is_changed_before(self.end);
        self.closed_at == Some(self.end) && whole && !changed
    }

    // Whether nobody can miss the directory: a start that does not find it makes one like it.
    fn was_never_used(&self) -> bool {
        self.end == Offset::ZERO && self.segments.len() == 1
    }

    /// Lets go of open files and of indexes in memory; the next use opens them again.
    ///
    /// What is not synced yet stays so: the next flush opens the files again, and Linux tells it
    /// of failed writes that nobody has heard of.
    ///
    /// # Errors
    /// The indexes could not be written; they stay in memory, and the log is as it was.
    pub fn release(&mut self) -> Result<(), LogError> {
        self.refuse_if_failed()?;
        self.cursors.clear();
        let Self { segments, home, .. } = self;
        for segment in segments.iter_mut() {
            segment.release(home)?;
        }
        Ok(())
    }

    /// Whether a file is kept open.
    pub fn is_open(&self) -> bool {
        self.segments.iter().any(|segment| segment.is_open())
    }

    /// Writes the producers as they are at the end of the log, unless that file is there already,
    /// and removes snapshots that nobody needs: as Kafka, one stays for each segment.
    pub(super) fn take_snapshot(&mut self, sync: bool) -> io::Result<()> {
        let at = self.end;
        if self.snapshots.last() == Some(&at) || (self.producers.len() == 0 && at == Offset::ZERO) {
            return Ok(());
        }
        let path = self.home.dir.join(file_name(at, SNAPSHOT_SUFFIX));
        let file = self.home.storage.create(&path)?;
        file.write_at(&[&encode(&self.producers)], 0)?;
        if sync {
            file.sync()?;
        }
        self.names_unsynced = true;
        let bases: Vec<_> = self.segments.iter().map(|segment| segment.base()).collect();
        let stale = |offset: &Offset| bases.binary_search(offset).is_err();
        for offset in self.snapshots.iter().copied().filter(stale) {
            self.home
                .storage
                .remove_file(&self.home.dir.join(file_name(offset, SNAPSHOT_SUFFIX)))?;
        }
        self.snapshots.retain(|offset| !stale(offset));
        self.snapshots.push(at);
        Ok(())
    }
}

// Retention may have been faster, and a topic may have no id.
pub(crate) fn sync_if_there<S: Storage>(storage: &S, path: &Path) -> io::Result<()> {
    match storage.open(path) {
        Ok(file) => file.sync(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
