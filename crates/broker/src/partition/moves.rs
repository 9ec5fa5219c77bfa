//! Failures of a partition's disk, and its move to another directory (KIP-113).

use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::{AppendError, FsStorage, LogError, ReadError, RelocateError, Relocation};
use ottla_types::{ErrorCode, Uuid, WallTime};
use parking_lot::MutexGuard;

use super::{Partition, State};
use crate::error_code;
use crate::replicas::Directory;

impl Partition {
    /// Takes the log out of service, because its directory has failed.
    pub(crate) fn fail(&self) {
        let mut state = self.state.lock();
        if let Some(log) = &mut state.log {
            log.fail();
        }
        state.waiting.abandon();
    }

    /// Takes note of a failed change of the log.
    pub(super) fn note_failure(&self, error: &LogError) {
        if let LogError::Disk(source) = error {
            tracing::error!(partition = %self.topic_partition, error = %source, "the log failed");
            self.directory.load().report(source);
        }
    }

    /// Takes note of a failed read, and says what a client is told.
    pub(super) fn note_failed_read(&self, error: &ReadError) -> ErrorCode {
        if let ReadError::Disk(source) = error {
            self.directory.load().report(source);
        }
        error_code::read_error(error)
    }

    /// Takes note of an append that the disk refused; of a full disk once, not for each retry.
    pub(super) fn note_failed_append(
        &self,
        state: &mut MutexGuard<'_, State>,
        error: &AppendError,
    ) {
        match error {
            AppendError::NoSpace { source, .. } if !state.full => {
                state.full = true;
                let (partition, dir) = (&self.topic_partition, self.directory.load());
                let dir = dir.path();
                tracing::error!(%partition, dir, error = %source, "no room: records are refused");
            }
            AppendError::Disk { source, .. } => {
                tracing::error!(partition = %self.topic_partition, error = %source, "the log failed");
                state.waiting.abandon();
                self.directory.load().report(source);
            }
            _ => {}
        }
    }

    /// Takes note of an append that succeeded.
    pub(super) fn note_room(&self, state: &mut MutexGuard<'_, State>) {
        if std::mem::take(&mut state.full) {
            tracing::info!(partition = %self.topic_partition, "there is room for records again");
        }
    }

    /// Exchanges the log for the one in another directory that was filled from it. Nobody appends
    /// or reads meanwhile: the rest is copied and synced under the lock, once for a whole move.
    /// Answers where the old directory waits for its removal.
    pub(crate) fn relocate(
        &self,
        relocation: Relocation<FsStorage>,
        target: &Arc<Directory>,
        unique: Uuid,
        now: WallTime,
    ) -> Result<PathBuf, (Relocation<FsStorage>, Option<RelocateError>)> {
        let mut state = self.state.lock();
        let Some(log) = &mut state.log else { return Err((relocation, None)) };
        let deleted = relocation.take_over(log, unique, now);
        let deleted = deleted.map_err(|(relocation, error)| (relocation, Some(error)))?;
        let committed = self.config.load().committed(log);
        state.moves += 1;
        self.directory.store(target.clone());
        self.raise_high_watermark(&mut state, committed);
        Ok(deleted)
    }
}
