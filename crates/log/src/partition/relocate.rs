//! Moving a log to another directory (KIP-113): a second log is filled from the first, and takes
//! its place once it holds all of it.
//!
//! The order of the steps makes a crash harmless at every point: everything in the new directory
//! is durable before the old one loses its name, and the old one has lost its name before the new
//! one gets it. So there are never two current logs, and where there is none the `-future` one is
//! complete. Who copies, when and how fast is decided elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{Offset, TopicPartition, Uuid, WallTime};

use super::read::Range;
use super::{PartitionLog, deleted_dir_name, hex};
use crate::error::{AppendError, LogError, OpenError, ReadError};
use crate::format::FUTURE_DIR_SUFFIX;
use crate::storage::Storage;
use crate::walk::read_range;
use crate::window::Window;

/// A move failed; says on which side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelocateError {
    /// The log that is moved cannot be read or renamed.
    #[error("the log cannot be moved away")]
    Source(#[source] LogError),
    /// The log that is being filled cannot be written.
    #[error("the future log cannot be written")]
    Target(#[source] LogError),
}

/// A log on its way to another directory.
#[derive(Debug)]
pub struct Relocation<S: Storage> {
    future: Box<PartitionLog<S>>,
}

/// Records to copy, named under the log's lock and read without it.
#[derive(Debug)]
pub struct CopyJob<S: Storage> {
    range: Option<Range<S::File>>,
    start: Offset,
    reaches_end: bool,
}

impl<S: Storage> CopyJob<S> {
    /// Whether there is nothing to copy.
    pub fn is_empty(&self) -> bool {
        self.range.is_none()
    }

    /// Bytes that will be read.
    pub fn len(&self) -> usize {
        self.range.as_ref().map_or(0, |range| range.len)
    }

    /// Whether nothing was left behind it when it was made.
    pub fn reaches_end(&self) -> bool {
        self.reaches_end
    }

    /// Reads the records.
    ///
    /// # Errors
    /// The disk failed.
    pub fn read(&self) -> Result<Bytes, ReadError> {
        match &self.range {
            Some(range) => read_range(&*range.file, range.position, range.len),
            None => Ok(Bytes::new()),
        }
    }
}

impl<S: Storage> Relocation<S> {
    /// Begins with an empty log below `parent`; `unique` keeps its name apart from earlier ones.
    ///
    /// # Errors
    /// The log cannot be read, or the new directory not written.
    pub fn begin(
        source: &mut PartitionLog<S>,
        storage: Arc<S>,
        parent: &Path,
        unique: Uuid,
        now: WallTime,
    ) -> Result<Self, RelocateError> {
        let start = source.first_batch().map_err(from_source)?;
        let dir = parent.join(future_dir_name(&source.partition, unique));
        let (partition, id) = (source.partition.clone(), source.topic_id);
        let config = Arc::clone(&source.config);
        let future = PartitionLog::create_in(storage, dir, partition, id, start, config, now);
        let future = future.map_err(|error| open_failed(error, RelocateError::Target))?;
        Ok(Self { future: Box::new(future) })
    }

    /// Goes on with what an earlier run left, cut back to where its epochs say that both logs are
    /// the same (KIP-101): the log may have lost its end since, and grown another one.
    ///
    /// # Errors
    /// The future log cannot be written.
    pub fn resume(
        mut future: PartitionLog<S>,
        source: &PartitionLog<S>,
    ) -> Result<Self, RelocateError> {
        while let Some(latest) = future.latest_epoch() {
            let known = source.end_offset_for_epoch(latest).map(|end| end.end_offset);
            let common = known.unwrap_or(Offset::ZERO).min(source.end).max(future.log_start);
            if future.end <= common {
                break;
            }
            future.truncate_to(common).map_err(RelocateError::Target)?;
            if future.end <= future.log_start {
                break;
            }
        }
        Ok(Self { future: Box::new(future) })
    }

    /// The log that is being filled.
    pub fn future(&self) -> &PartitionLog<S> {
        &self.future
    }

    /// The same, to be given up.
    pub fn into_future(self) -> PartitionLog<S> {
        *self.future
    }

    /// Names what comes next, at most `max_bytes` but always a whole batch; called under the
    /// lock of `source`. A future log that retention has overtaken starts over.
    ///
    /// # Errors
    /// One of the logs cannot be used.
    pub fn plan(
        &mut self,
        source: &mut PartitionLog<S>,
        max_bytes: usize,
        now: WallTime,
    ) -> Result<CopyJob<S>, RelocateError> {
        source.refuse_if_failed().map_err(RelocateError::Source)?;
        self.future.set_config(Arc::clone(&source.config));
        if self.future.end < source.log_start {
            let start = source.first_batch().map_err(from_source)?;
            if self.future.end < start {
                self.future.truncate_fully(start, now).map_err(RelocateError::Target)?;
            }
        }
        let range = source.plan(
            self.future.end.max(source.log_start),
            max_bytes,
            source.end,
            true,
            &mut Window::default(),
        );
        let range = range.map_err(from_source)?;
        let reaches_end = range.as_ref().is_none_or(|range| source.end <= range.next_offset);
        Ok(CopyJob { range, start: source.log_start, reaches_end })
    }

    /// Appends what a job has read.
    ///
    /// # Errors
    /// The future log does not take it.
    pub fn append(
        &mut self,
        job: &CopyJob<S>,
        records: Bytes,
        now: WallTime,
    ) -> Result<(), RelocateError> {
        let failed = |error| RelocateError::Target(append_failed(error));
        self.future.append_given(records, now).map_err(failed)?;
        self.follow_start(job.start)
    }

    fn follow_start(&mut self, start: Offset) -> Result<(), RelocateError> {
        let end = self.future.end;
        let moved = self.future.delete_records(start.min(end), end);
        moved.map(drop).map_err(RelocateError::Target)
    }

    /// Whether the future log holds everything that `source` does.
    pub fn is_caught_up(&self, source: &PartitionLog<S>) -> bool {
        source.end <= self.future.end
    }

    /// Makes what was copied durable.
    ///
    /// # Errors
    /// A sync failed.
    pub fn flush(&mut self) -> Result<(), RelocateError> {
        self.future.flush().map(drop).map_err(RelocateError::Target)
    }

    /// Copies what is left, makes it durable and exchanges the two logs: `source` is the new one
    /// afterwards. Called under the lock of `source`, once little is left. Returns where the old
    /// log's directory waits for its removal.
    ///
    /// # Errors
    /// As the caller had it before, or, if the disk failed in between two renames, out of service.
    pub fn take_over(
        mut self,
        source: &mut PartitionLog<S>,
        unique: Uuid,
        now: WallTime,
    ) -> Result<PathBuf, (Self, RelocateError)> {
        match self.exchange(source, unique, now) {
            Ok(path) => Ok(path),
            Err(error) => Err((self, error)),
        }
    }

    fn exchange(
        &mut self,
        source: &mut PartitionLog<S>,
        unique: Uuid,
        now: WallTime,
    ) -> Result<PathBuf, RelocateError> {
        while !self.is_caught_up(source) {
            let job = self.plan(source, COPY_MAX, now)?;
            let records = job.read().map_err(from_source)?;
            let before = self.future.end;
            self.append(&job, records, now)?;
            assert!(before < self.future.end, "a copy makes progress");
        }
        self.follow_start(source.log_start)?;
        assert!(self.future.end == source.end, "the future log is the log");
        // What the batches alone do not show: expired producers, epochs without records.
        self.future.producers = source.producers.clone();
        self.future.epochs = source.epochs.clone();
        self.future.epochs.set_changed(true);
        self.flush()?;
        let current = source.home.dir.clone();
        let deleted = current.with_file_name(deleted_dir_name(&source.partition, unique));
        rename(&*source.home.storage, &current, &deleted).map_err(disk_of_source)?;
        let target = self.future.home.dir.with_file_name(source.partition.to_string());
        let storage = &*self.future.home.storage;
        if let Err(error) = rename(storage, &self.future.home.dir, &target) {
            // The new log may have the name already, if only the sync failed: there must not be two of it.
            let gave_back = match rename(storage, &target, &self.future.home.dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                outcome => outcome.is_ok() || self.future.is_in_place(),
            };
            // The old log takes its name back, or nobody has it until the next start.
            if !gave_back || rename(&*source.home.storage, &deleted, &current).is_err() {
                source.failed = true;
            }
            return Err(RelocateError::Target(LogError::Disk(error)));
        }
        self.future.home.dir = target;
        source.abort_compaction();
        std::mem::swap(&mut *self.future, source);
        // Its directory has another name; nothing may be written there any more.
        self.future.failed = true;
        Ok(deleted)
    }
}

impl<S: Storage> PartitionLog<S> {
    /// Makes the future log of a partition that has no other one its current log: a crash came
    /// between the two renames of a move.
    ///
    /// # Errors
    /// The disk failed.
    pub fn promote(&mut self) -> io::Result<()> {
        let target = self.home.dir.with_file_name(self.partition.to_string());
        rename(&*self.home.storage, &self.home.dir, &target)?;
        self.home.dir = target;
        Ok(())
    }

    // Whether the directory is where it was, with the name that it had.
    fn is_in_place(&self) -> bool {
        self.home.storage.list(&self.home.dir).is_ok_and(|entries| !entries.is_empty())
    }

    // Deleted records may end in the middle of a batch, which is kept whole.
    fn first_batch(&mut self) -> Result<Offset, ReadError> {
        let start = self.log_start;
        let first = self.locate(start, &mut Window::default())?;
        Ok(first.map_or(start, |(_, placed)| placed.header.base_offset.min(start)))
    }
}

/// Name of the directory of a log that is being filled, as Kafka makes it.
pub fn future_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    format!("{partition}.{}{FUTURE_DIR_SUFFIX}", hex(unique))
}

fn rename<S: Storage>(storage: &S, from: &Path, to: &Path) -> io::Result<()> {
    storage.rename(from, to)?;
    storage.sync_dir(to.parent().unwrap_or_else(|| Path::new(".")))
}

fn from_source(error: ReadError) -> RelocateError {
    RelocateError::Source(error.into())
}

fn disk_of_source(error: io::Error) -> RelocateError {
    RelocateError::Source(LogError::Disk(error))
}

fn open_failed(error: OpenError, side: fn(LogError) -> RelocateError) -> RelocateError {
    side(LogError::Disk(match error {
        OpenError::Disk { source, .. } => source,
        other => io::Error::other(other),
    }))
}

fn append_failed(error: AppendError) -> LogError {
    match error {
        AppendError::Failed => LogError::Failed,
        AppendError::Disk { source, .. } | AppendError::NoSpace { source, .. } => {
            LogError::Disk(source)
        }
        other => LogError::Disk(io::Error::other(other)),
    }
}

/// Bytes of one step while the log is locked.
const COPY_MAX: usize = 1 << 20;
