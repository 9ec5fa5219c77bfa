//! What happens to log directories as time passes: retention, checkpoints, removal of files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_log::{Checkpoint, DeletedFiles, DirectoryError, FsStorage, Offsets, Storage as _};
use ottla_types::{MonoTime, Offset, TopicPartition};

use super::{DataDir, Replicas, Trash, is_full};
use crate::shared::Shared;

/// Files of partitions stay open for as long as this after an append, and at most twice as long.
const FILES_IDLE: Duration = Duration::from_secs(30);

/// The first verification of all logs waits at most so long after the start.
const SCRUB_FIRST: Duration = Duration::from_secs(3600);

/// When each of the regular tasks is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    retention: MonoTime,
    checkpoints: MonoTime,
    high_watermarks: MonoTime,
    idle_files: MonoTime,
    compaction: MonoTime,
    scrub: MonoTime,
}

impl Schedule {
    /// A schedule for a broker that starts now.
    pub(crate) fn new(shared: &Shared) -> Self {
        let config = shared.config.load();
        let first = shared.clock.now().after(config.logs.initial_task_delay);
        Self {
            retention: first,
            checkpoints: first,
            high_watermarks: first,
            idle_files: first,
            compaction: shared.clock.now(),
            // A broker that is restarted every day is to come to it as well.
            scrub: first.after(config.scrub.interval.min(SCRUB_FIRST)),
        }
    }
}

impl Replicas {
    /// Does what is due.
    pub(crate) fn upkeep(&self, shared: &Arc<Shared>, schedule: &mut Schedule) {
        let now = shared.clock.now();
        let config = shared.config.load();
        if schedule.retention <= now {
            schedule.retention = now.after(config.logs.retention_check_interval);
            self.delete_expired(shared);
        }
        if schedule.checkpoints <= now {
            schedule.checkpoints = now.after(config.logs.recovery_point_checkpoint_interval);
            self.write_checkpoints(shared);
        } else if schedule.high_watermarks <= now {
            self.write_high_watermarks(shared);
        }
        if schedule.high_watermarks <= now {
            let interval = config.replication.high_watermark_checkpoint_interval;
            schedule.high_watermarks = now.after(interval);
        }
        for dir in &self.dirs {
            dir.handle.open_files().each(|partition| partition.sync_if_old(now));
        }
        if schedule.compaction <= now {
            schedule.compaction = now.after(config.cleaner.backoff);
            shared.cleaner.look(shared);
        }
        if schedule.scrub <= now {
            schedule.scrub = now.after(config.scrub.interval);
            shared.scrub.start(shared);
        }
        if schedule.idle_files <= now {
            schedule.idle_files = now.after(FILES_IDLE);
            self.dirs.iter().for_each(|dir| dir.handle.open_files().close_idle());
        }
        if self.metadata_loaded.swap(false, Ordering::AcqRel) {
            ottla_sys::release_free_memory();
        }
        self.empty_trash(now);
    }

    fn delete_expired(&self, shared: &Shared) {
        let now = shared.clock.wall();
        for partition in shared.partitions.all() {
            let Some(deleted) = partition.delete_expired(now) else { continue };
            if !deleted.segments.is_empty() {
                let count = deleted.segments.len();
                tracing::info!(partition = %partition.topic_partition(), count, "segments expired");
            }
            let due = shared.clock.now().after(partition.file_delete_delay());
            self.discard_files(due, deleted);
        }
    }

    /// Removes the renamed files of segments when they are due.
    pub(crate) fn discard_files(&self, due: MonoTime, files: DeletedFiles<FsStorage>) {
        self.trash.lock().push((due, Trash::Segments(files)));
    }

    /// Writes where compaction has come.
    pub(crate) fn write_cleaner_offsets(&self, shared: &Shared) {
        self.write(shared, Checkpoint::CleanerOffsets, |partition| partition.cleaned_to());
    }

    fn empty_trash(&self, now: MonoTime) {
        let due: Vec<Trash> = {
            let mut trash = self.trash.lock();
            let (due, later) =
                std::mem::take(&mut *trash).into_iter().partition(|(at, _)| *at <= now);
            *trash = later;
            let due: Vec<(MonoTime, Trash)> = due;
            due.into_iter().map(|(_, trash)| trash).collect()
        };
        for trash in due {
            let removed = match trash {
                Trash::Segments(files) => files.remove(),
                Trash::Directory { storage, path } => storage.remove_dir_all(&path),
            };
            if let Err(error) = removed {
                tracing::warn!(%error, "deleted files cannot be removed");
            }
        }
    }

    /// Writes recovery points, log starts and high watermarks of every directory.
    pub(super) fn write_checkpoints(&self, shared: &Shared) {
        self.write(shared, Checkpoint::RecoveryPoints, |partition| partition.recovery_point());
        self.write(shared, Checkpoint::LogStarts, |partition| {
            partition.log_start_offset().filter(|start| *start > Offset::ZERO)
        });
        self.write_high_watermarks(shared);
        // A replica may have moved to another directory.
        self.write_cleaner_offsets(shared);
    }

    fn write_high_watermarks(&self, shared: &Shared) {
        self.write(shared, Checkpoint::HighWatermarks, |partition| {
            Some(partition.high_watermark())
        });
    }

    fn write(
        &self,
        shared: &Shared,
        which: Checkpoint,
        value: impl Fn(&crate::partition::Partition) -> Option<Offset>,
    ) {
        let mut offsets: Vec<BTreeMap<TopicPartition, Offset>> =
            self.dirs.iter().map(|_| BTreeMap::new()).collect();
        for partition in shared.partitions.all() {
            if let (Some(offset), Some(offsets)) =
                (value(&partition), offsets.get_mut(partition.directory()))
            {
                offsets.insert(partition.topic_partition().clone(), offset);
            }
        }
        if which == Checkpoint::RecoveryPoints {
            for (place, partition, point) in self.move_recovery_points() {
                if let Some(offsets) = offsets.get_mut(place) {
                    offsets.insert(partition, point);
                }
            }
        }
        for (dir, offsets) in self.dirs.iter().zip(offsets) {
            dir.write_checkpoint(which, offsets);
        }
    }
}

impl DataDir {
    /// Writes a checkpoint, unless that is what is on disk.
    fn write_checkpoint(&self, which: Checkpoint, offsets: Offsets) {
        // Before the first image the files on disk know more than we do.
        let Some(log) = self.online().filter(|_| self.left.lock().is_none()) else { return };
        let mut written = self.written.lock();
        if written.iter().any(|(known, on_disk)| *known == which && *on_disk == offsets) {
            return;
        }
        written.retain(|(known, _)| *known != which);
        match log.write_checkpoint(which, &offsets) {
            Ok(()) => {
                written.push((which, offsets));
                if self.unwritable.swap(false, Ordering::AcqRel) {
                    tracing::info!(dir = self.path, "checkpoints are written again");
                }
            }
            Err(DirectoryError::Disk { source, .. }) if !is_full(&source) => {
                self.handle.report(&source);
            }
            // A full disk: said once, and tried again.
            Err(error) => {
                if !self.unwritable.swap(true, Ordering::AcqRel) {
                    tracing::error!(dir = self.path, %error, "cannot write a checkpoint");
                }
            }
        }
    }
}
