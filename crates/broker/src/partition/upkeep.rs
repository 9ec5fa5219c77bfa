//! What happens to a partition beside requests: roles, configuration, retention, deletion.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::{DeletedFiles, FsStorage};
use ottla_types::{MonoTime, Offset, Uuid, WallTime};

use super::{Durability, Files, Partition, PartitionConfig, Role};
use crate::replicas::FsLog;

/// Figures of one partition, for tools and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartitionFigures {
    /// First offset.
    pub(crate) log_start: Offset,
    /// Next offset to be written.
    pub(crate) log_end: Offset,
    /// Bytes of all segments.
    pub(crate) bytes: u64,
    /// Segments.
    pub(crate) segments: usize,
    /// Waiting produce requests.
    pub(crate) waiting_produce: usize,
    /// Waiting fetch requests.
    pub(crate) waiting_fetch: usize,
    /// Producers with sequence state.
    pub(crate) producers: usize,
    /// Whether this broker leads.
    pub(crate) leads: bool,
    /// Whether the log has failed.
    pub(crate) failed: bool,
}

impl Partition {
    /// Follows the newest metadata; a new leader epoch starts at the log's end.
    pub(crate) fn set_role(&self, role: Role) {
        let mut state = self.state.lock();
        if state.role == role {
            return;
        }
        if let (Role::Leader { epoch, .. }, Some(log)) = (role, &mut state.log) {
            log.start_epoch(epoch);
        }
        let alone = matches!(state.role, Role::Leader { isr: 1, .. });
        state.role = role;
        let confirmed = state.log.as_ref().map(|log| match self.config.load().durability {
            Durability::Os => log.end_offset(),
            Durability::Fsync => log.flushed_to(),
        });
        if let (Role::Leader { .. }, Some(to)) = (role, confirmed) {
            // What waited for replicas that have left the ISR since.
            self.raise_high_watermark(&mut state, to);
        }
        // What this broker alone was to keep is committed by the sync that is under way, whoever
        // leads from now on: its producers get the answer they wait for.
        let end = state.log.as_ref().filter(|log| !log.is_failed()).map(FsLog::end_offset);
        state.sync_commits = alone && Some(state.high_watermark) < end;
        if state.sync_commits {
            state.waiting.changed();
            drop(state);
            self.directory.load().hurry();
        } else {
            state.waiting.abandon();
        }
    }

    /// Takes over a changed configuration.
    pub(crate) fn set_config(self: &Arc<Self>, config: Arc<PartitionConfig>) {
        let mut state = self.state.lock();
        if let Some(log) = &mut state.log {
            log.set_config(config.log.clone());
        }
        let committed = state.log.as_ref().map(|log| config.committed(log));
        self.config.store(config);
        if let Some(committed) = committed {
            self.raise_high_watermark(&mut state, committed);
        }
        drop(state);
        if self.flushes_at_once() {
            self.sync_soon();
        }
    }

    // Whether records that are not synced wait for it.
    fn flushes_at_once(&self) -> bool {
        let config = self.config.load();
        let due = |log: &FsLog| config.must_flush(log);
        config.durability == Durability::Fsync || self.state.lock().log.as_ref().is_some_and(due)
    }

    /// Asks for a sync of records that `flush.ms` leaves unsynced no longer; looked at while files
    /// are open, and they stay open until then.
    pub(crate) fn sync_if_old(self: &Arc<Self>, now: MonoTime) {
        let Some(age) = self.config.load().flush_age else { return };
        let mut state = self.state.lock();
        let Some(log) = state.log.as_ref().filter(|log| !log.is_failed()) else { return };
        if log.flushed_to() == log.end_offset() {
            state.clean_at = now;
        } else if age <= now.since(state.clean_at) {
            state.clean_at = now;
            drop(state);
            self.request_flush();
        }
    }

    /// Closes files if nothing was appended since the last call; answers whether they are closed.
    pub(crate) fn close_idle_files(&self) -> bool {
        let mut state = self.state.lock();
        if state.files == Files::Used {
            state.files = Files::Idle;
            return false;
        }
        drop(state);
        self.close_files()
    }

    /// Closes files, unless records wait for a sync that was promised; answers whether they are
    /// closed. A file that stays open until its sync is told of every failed write before it.
    pub(crate) fn close_files(&self) -> bool {
        let mut state = self.state.lock();
        let config = self.config.load();
        let promised = config.durability == Durability::Fsync || config.flush_age.is_some();
        let Some(log) = state.log.as_mut().filter(|log| !log.is_failed()) else { return true };
        if promised && log.flushed_to() < log.end_offset() {
            return false;
        }
        match log.release() {
            Ok(()) => {
                state.files = Files::Closed;
                true
            }
            Err(error) => {
                drop(state);
                self.note_failure(&error);
                false
            }
        }
    }

    /// Counts as open a log that has to be synced because of its age.
    pub(crate) fn watch_age(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let dirty = state.log.as_ref().is_some_and(|log| log.flushed_to() < log.end_offset());
        let news = dirty && state.files == Files::Closed;
        if news {
            state.files = Files::Idle;
            drop(state);
            self.directory.load().open_files().add(self);
        }
    }

    /// Applies retention; the returned segments are renamed and wait for `file.delete.delay.ms`.
    pub(crate) fn delete_expired(&self, now: WallTime) -> Option<DeletedFiles<FsStorage>> {
        let mut state = self.state.lock();
        let high_watermark = state.high_watermark;
        let log = state.log.as_mut().filter(|log| !log.is_failed())?;
        log.expire_producers(now);
        log.delete_expired(now, high_watermark).unwrap_or_else(|error| {
            self.note_failure(&error);
            None
        })
    }

    /// `min.insync.replicas` of the topic.
    pub(crate) fn min_insync_replicas(&self) -> usize {
        self.config.load().min_insync_replicas
    }

    /// `file.delete.delay.ms` of the topic.
    pub(crate) fn file_delete_delay(&self) -> Duration {
        self.config.load().file_delete_delay
    }

    /// Asks for a sync of what is not synced yet.
    pub(crate) fn sync_soon(self: &Arc<Self>) {
        let dirty = self
            .state
            .lock()
            .log
            .as_ref()
            .is_some_and(|log| !log.is_failed() && log.flushed_to() < log.end_offset());
        if dirty {
            self.request_flush();
        }
    }

    /// The offset from which a recovery after a crash must read; none once deleted.
    pub(crate) fn recovery_point(&self) -> Option<Offset> {
        self.state.lock().log.as_ref().map(FsLog::flushed_to)
    }

    /// First offset, if it is not simply the first segment's; none once deleted.
    pub(crate) fn log_start_offset(&self) -> Option<Offset> {
        self.state.lock().log.as_ref().map(FsLog::log_start_offset)
    }

    /// Figures for tools and metrics.
    pub(crate) fn figures(&self) -> PartitionFigures {
        let state = self.state.lock();
        let (waiting_produce, waiting_fetch) = state.waiting.counts();
        let leads = matches!(state.role, Role::Leader { .. });
        let Some(log) = &state.log else { return PartitionFigures::default() };
        PartitionFigures {
            log_start: log.log_start_offset(),
            log_end: log.end_offset(),
            bytes: log.size_bytes() as u64,
            segments: log.segment_count(),
            waiting_produce,
            waiting_fetch,
            producers: log.producer_count(),
            leads,
            failed: log.is_failed(),
        }
    }

    /// Syncs and closes the log before a clean shutdown; false if that failed.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        let Some(log) = &mut state.log else { return true };
        let closed = log.close();
        let committed = self.config.load().committed(log);
        if closed.is_ok() {
            self.raise_high_watermark(&mut state, committed);
        }
        state.waiting.abandon();
        match closed {
            Ok(()) => true,
            Err(error) => {
                drop(state);
                tracing::error!(partition = %self.topic_partition, %error, "cannot close the log");
                false
            }
        }
    }

    /// Takes the partition out of service and renames its directory, whose new path is answered.
    pub(crate) fn delete(&self, suffix: Uuid) -> Option<PathBuf> {
        let mut state = self.state.lock();
        let log = state.log.take()?;
        state.waiting.abandon();
        drop(state);
        match log.delete(suffix) {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::error!(partition = %self.topic_partition, %error, "cannot delete");
                None
            }
        }
    }

    /// Runs `look` on the log; none once deleted.
    pub(crate) fn with_log<T>(&self, look: impl FnOnce(&mut FsLog) -> T) -> Option<T> {
        self.state.lock().log.as_mut().map(look)
    }
}
