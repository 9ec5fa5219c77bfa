//! Compaction of one partition: what is known of it, and its steps under the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ottla_log::{
    Cleanable, CleanedSegments, CompactionError, CompactionJob, DeletedFiles, FsStorage, LogError,
};
use ottla_types::{Offset, WallTime};

use super::Partition;

/// What the cleaner knows of a partition.
#[derive(Debug)]
pub(super) struct Cleaning {
    /// Where the last pass ended; [`NEVER`] before the first.
    cleaned_to: AtomicU64,
    /// A thread is at it.
    busy: AtomicBool,
    /// It could not be compacted, and is left alone until the next start.
    uncleanable: AtomicBool,
}

const NEVER: u64 = u64::MAX;

impl Default for Cleaning {
    fn default() -> Self {
        let (busy, uncleanable) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { cleaned_to: AtomicU64::new(NEVER), busy, uncleanable }
    }
}

/// A partition that this thread may compact, and no other; marked as uncleanable if the thread
/// ends by a fault.
#[derive(Debug)]
pub(crate) struct Claimed(Arc<Partition>);

impl std::ops::Deref for Claimed {
    type Target = Arc<Partition>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_uncleanable();
        }
        self.0.cleaning.busy.store(false, Ordering::Release);
    }
}

impl Partition {
    /// Where the last pass of compaction ended.
    pub(crate) fn cleaned_to(&self) -> Option<Offset> {
        let offset = self.cleaning.cleaned_to.load(Ordering::Acquire);
        (offset != NEVER).then_some(Offset(offset))
    }

    /// Notes where a pass of compaction ended.
    pub(crate) fn set_cleaned_to(&self, offset: Offset) {
        self.cleaning.cleaned_to.store(offset.0, Ordering::Release);
    }

    /// Whether its topic is compacted, nobody is at it and nothing speaks against it.
    pub(crate) fn may_be_compacted(&self) -> bool {
        self.config.load().log.compact
            && !self.cleaning.busy.load(Ordering::Acquire)
            && !self.is_uncleanable()
    }

    /// Takes it for this thread, unless another one has.
    pub(crate) fn claim_for_compaction(self: &Arc<Self>) -> Option<Claimed> {
        let busy = self.cleaning.busy.swap(true, Ordering::AcqRel);
        (!busy).then(|| Claimed(self.clone()))
    }

    /// Whether it could not be compacted.
    pub(crate) fn is_uncleanable(&self) -> bool {
        self.cleaning.uncleanable.load(Ordering::Acquire)
    }

    /// It cannot be compacted; it is left alone until the next start.
    pub(crate) fn set_uncleanable(&self) {
        self.cleaning.uncleanable.store(true, Ordering::Release);
    }

    /// What could be compacted now; none if the log is gone or has failed.
    pub(crate) fn cleanable(
        self: &Arc<Self>,
        now: WallTime,
    ) -> Option<Result<Cleanable, LogError>> {
        let mut state = self.state.lock();
        let high_watermark = state.high_watermark;
        let log = state.log.as_mut().filter(|log| !log.is_failed())?;
        let sealed_unsynced = log.flushed_to() < log.active_segment_base();
        let cleanable = log.cleanable(self.cleaned_to(), high_watermark, now);
        drop(state);
        if sealed_unsynced {
            // Only what is on disk is compacted; the next look finds it.
            self.request_flush();
        }
        if let Ok(Cleanable { restarts: true, first_dirty, .. }) = &cleanable {
            let (partition, cleaned_to) = (&self.topic_partition, self.cleaned_to());
            if !self.config.load().log.delete {
                tracing::warn!(%partition, ?cleaned_to, %first_dirty, "compaction starts over");
            }
            self.set_cleaned_to(*first_dirty);
        }
        Some(cleanable)
    }

    /// Part of the log that must be dirty before it is compacted.
    pub(crate) fn cleanable_ratio_min(&self) -> f64 {
        self.config.load().log.cleanable_ratio_min
    }

    /// Begins a pass; none if there is nothing to do any more.
    pub(crate) fn prepare_compaction(
        self: &Arc<Self>,
        now: WallTime,
    ) -> Result<Option<CompactionJob<FsStorage>>, CompactionError> {
        let Some(cleanable) = self.cleanable(now).transpose()? else { return Ok(None) };
        let mut state = self.state.lock();
        let Some(log) = state.log.as_mut() else { return Ok(None) };
        Ok(log.prepare_compaction(cleanable, now)?)
    }

    /// Puts compacted segments in place; the old files wait for `file.delete.delay.ms`.
    pub(crate) fn complete_compaction(
        &self,
        cleaned: CleanedSegments<FsStorage>,
    ) -> Result<DeletedFiles<FsStorage>, CompactionError> {
        let mut state = self.state.lock();
        let Some(log) = state.log.as_mut() else {
            drop(state);
            // Its directory waits for its removal, so it does not matter whether this succeeds.
            let _ = cleaned.discard();
            return Err(CompactionError::Aborted);
        };
        let completed = log.complete_compaction(cleaned);
        if log.is_failed() {
            state.waiting.abandon();
        }
        completed
    }

    /// Takes note of a disk that fails while this is compacted.
    pub(crate) fn note_failed_compaction(&self, error: &std::io::Error) {
        self.directory.load().report(error);
    }
}
