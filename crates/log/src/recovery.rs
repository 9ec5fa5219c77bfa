//! Opening a log that exists.
//!
//! After a clean shutdown no segment's content is read, but for the headers behind the last index
//! entry. After anything else every batch from the recovery point on is checked, and what was
//! derived from it (indexes, epochs, producers) is built anew.
//!
//! Damage is a torn tail only if it lies behind the recovery point and no whole batch follows it,
//! in its file or in a later one. A torn tail is cut off, and its bytes are kept in a
//! `.quarantine` file. Any other damage means that records which were on disk are gone: the log is
//! not opened and nothing is changed, unless [`OpenInfo::accept_damage`] says so.

mod check;
mod files;
mod producers;
mod swap;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::BatchError;
use ottla_types::{Offset, TopicId, TopicPartition, WallTime};

use crate::checkpoint::{parse_topic_id, render_topic_id};
use crate::config::LogConfig;
use crate::epochs::LeaderEpochs;
use crate::error::{CorruptDetail, OpenError, ReadError};
use crate::format::{
    EPOCHS_FILE, LOG_SUFFIX, PARTITION_METADATA_FILE, QUARANTINE_SUFFIX, SNAPSHOT_SUFFIX, file_name,
};
use crate::partition::{PartitionLog, Parts};
use crate::segment::{Home, Segment};
use crate::storage::{Storage, StorageFile};
use crate::walk::{HeaderWalk, find_batch_after};
use crate::window::Window;

use check::Checked;
pub use check::SegmentCheck;
pub(crate) use files::remove_segment;
use files::{Found, sort_files};
pub(crate) use producers::{Replay, rebuild_producers};

/// What is known about a log from outside its directory.
#[derive(Clone, Debug)]
pub struct OpenInfo {
    /// The partition.
    pub partition: TopicPartition,
    /// Id that its topic should have; `None` takes what the directory says.
    pub topic_id: Option<TopicId>,
    /// Whether the whole log directory was shut down cleanly.
    pub clean: bool,
    /// Offset up to which the records are known to be on disk.
    pub recovery_point: Offset,
    /// First offset that may be read.
    pub log_start: Offset,
    /// Settings.
    pub config: Arc<LogConfig>,
    /// An operator accepts that damaged records, and all behind them, are cut off; their bytes
    /// are kept in `.quarantine` files.
    pub accept_damage: bool,
    /// The time.
    pub now: WallTime,
}

/// What recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Bytes of batches that were checked.
    pub checked_bytes: u64,
    /// Bytes cut off.
    pub truncated_bytes: u64,
    /// Where they are kept.
    pub quarantined: Vec<PathBuf>,
    /// Segments whose indexes were built anew.
    pub rebuilt_segments: usize,
    /// Left-over files that were removed.
    pub removed_files: usize,
}

/// A log whose tail has not been checked since the last stop; it can only be recovered.
#[derive(Debug)]
pub struct UnrecoveredLog<S: Storage> {
    home: Home<S>,
    info: OpenInfo,
    topic_id: Option<TopicId>,
}

impl<S: Storage> UnrecoveredLog<S> {
    /// Looks at a partition's directory; changes nothing.
    ///
    /// # Errors
    /// The directory belongs to another topic, or the disk failed.
    pub fn open(storage: Arc<S>, dir: PathBuf, info: OpenInfo) -> Result<Self, OpenError> {
        let path = dir.join(PARTITION_METADATA_FILE);
        let text = storage.read_small(&path).map_err(|e| disk(&path, e))?;
        // A file that a crash left empty says nothing.
        let text = text.filter(|text| !text.is_empty());
        let found = text.map(|text| parse_topic_id(&String::from_utf8_lossy(&text))).transpose();
        let found = found.map_err(|reason| OpenError::Malformed { path, reason })?;
        match (found, info.topic_id) {
            (Some(found), Some(expected)) if found != expected => {
                Err(OpenError::WrongTopic { found, expected })
            }
            _ => Ok(Self { home: Home { storage, dir }, topic_id: found, info }),
        }
    }

    /// Id of the topic that the directory belongs to.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// Brings the log into a state that can be appended to.
    ///
    /// Records found behind the recovery point may be in memory only, so they are not yet counted
    /// as durable: the next flush makes them so.
    ///
    /// # Errors
    /// Records are damaged that must not be cut off, or the disk failed.
    pub fn recover(self) -> Result<(PartitionLog<S>, RecoveryReport), OpenError> {
        self.recover_with(|checks| checks.iter_mut().for_each(SegmentCheck::run))
    }

    /// As [`UnrecoveredLog::recover`]; `run` is given the segments that must be read, a few at a time and
    /// in order, and may check them on several threads.
    ///
    /// # Errors
    /// As [`UnrecoveredLog::recover`].
    pub fn recover_with(
        self,
        run: impl FnMut(&mut [SegmentCheck<S>]),
    ) -> Result<(PartitionLog<S>, RecoveryReport), OpenError> {
        let Self { home, info, topic_id } = self;
        let fail = |source| disk(&home.dir, source);
        if let (None, Some(id)) = (topic_id, info.topic_id) {
            let path = home.dir.join(PARTITION_METADATA_FILE);
            let text = render_topic_id(id);
            home.storage.replace_small(&path, text.as_bytes()).map_err(fail)?;
        }
        let topic_id = topic_id.or(info.topic_id);
        let found = sort_files(&home)?;
        let mut work = Recovery::new(home, info, found)?;
        work.check_segments(run)?;
        let parts = work.finish(topic_id)?;
        Ok((PartitionLog::assemble(parts.0), parts.1))
    }
}

/// Segments whose new indexes are in memory at the same time.
const CHECKED_AT_ONCE: usize = 16;

struct Recovery<S: Storage> {
    home: Home<S>,
    info: OpenInfo,
    segments: Vec<Segment<S::File>>,
    // Indexes that are missing or of an impossible length.
    unindexed: Vec<Offset>,
    snapshots: Vec<Offset>,
    epochs: LeaderEpochs,
    epochs_known: bool,
    // From this segment on, the indexes of aborted transactions are made anew.
    untold: Option<Offset>,
    // Checked segments without a batch of a producer.
    plain: Vec<Offset>,
    names_unsynced: bool,
    report: RecoveryReport,
}

impl<S: Storage> Recovery<S> {
    fn new(home: Home<S>, info: OpenInfo, found: Found<S::File>) -> Result<Self, OpenError> {
        let path = home.dir.join(EPOCHS_FILE);
        let text = home.storage.read_small(&path).map_err(|e| disk(&path, e))?;
        let epochs =
            text.and_then(|text| LeaderEpochs::parse(&String::from_utf8_lossy(&text)).ok());
        let report = RecoveryReport { removed_files: found.removed, ..RecoveryReport::default() };
        Ok(Self {
            home,
            info,
            segments: found.segments,
            unindexed: found.unindexed,
            snapshots: found.snapshots,
            epochs_known: epochs.is_some(),
            untold: found.untold,
            plain: Vec::new(),
            epochs: epochs.unwrap_or_default(),
            names_unsynced: found.removed > 0 || found.renamed,
            report,
        })
    }

    // Checks what may have been lost, and whatever lacks an index.
    fn check_segments(
        &mut self,
        mut run: impl FnMut(&mut [SegmentCheck<S>]),
    ) -> Result<(), OpenError> {
        // The segment that ends at the recovery point may have been closed since, and its indexes
        // written but not synced. Empty ones behind it say nothing about where it ends.
        let after = self.segments.partition_point(|s| s.base() < self.info.recovery_point);
        let filled = self.segments.iter().rposition(|s| !s.is_empty()).unwrap_or(0);
        let unsafe_from =
            if self.info.clean { self.segments.len() } else { after.saturating_sub(1).min(filled) };
        if unsafe_from < self.segments.len() {
            // The batches say better what the epochs are.
            let from = self.segments[unsafe_from].base();
            self.epochs.truncate_from_end(from);
            self.epochs_known |= unsafe_from == 0;
            let filled = self.segments.iter().skip(unsafe_from).find(|s| !s.is_empty());
            self.untold = self.untold.into_iter().chain(filled.map(Segment::base)).min();
        }
        let mut index = 0;
        while index < self.segments.len() {
            index = self.check_some(index, unsafe_from, &mut run)?;
        }
        Ok(())
    }

    // Checks the next segments of those that need it; returns where to go on.
    fn check_some(
        &mut self,
        from: usize,
        unsafe_from: usize,
        run: &mut impl FnMut(&mut [SegmentCheck<S>]),
    ) -> Result<usize, OpenError> {
        let needs_check = |index: &usize| {
            let segment = &self.segments[*index];
            // Nothing can be wrong with nothing; most partitions of a large node are so.
            let nothing = index + 1 == self.segments.len() && segment.is_empty();
            (unsafe_from <= *index && !nothing) || self.unindexed.contains(&segment.base())
        };
        let Some(first) = (from..self.segments.len()).find(needs_check) else {
            return Ok(self.segments.len());
        };
        let end =
            (first..self.segments.len()).take(CHECKED_AT_ONCE).take_while(needs_check).count()
                + first;
        let interval = self.info.config.index_interval_bytes;
        let mut checks: Vec<_> = self
            .segments
            .splice(first..end, [])
            .map(|segment| SegmentCheck::new(&self.home, segment, interval))
            .collect();
        run(&mut checks);
        let (segments, checked): (Vec<_>, Vec<_>) =
            checks.into_iter().map(SegmentCheck::finish).unzip();
        self.segments.splice(first..first, segments);
        for (index, checked) in (first..).zip(checked) {
            self.take_over(index, unsafe_from <= index, checked?)?;
            // Damage was cut off, with all that followed.
            if self.segments.len() < end {
                return Ok(self.segments.len());
            }
        }
        Ok(end)
    }

    fn take_over(
        &mut self,
        index: usize,
        unsynced: bool,
        checked: Checked,
    ) -> Result<(), OpenError> {
        let Self { home, segments, report, epochs, .. } = self;
        let segment = &mut segments[index];
        let path = home.dir.join(file_name(segment.base(), LOG_SUFFIX));
        for (epoch, offset) in checked.epochs {
            epochs.assign(epoch, offset);
        }
        report.checked_bytes += checked.position;
        report.rebuilt_segments += 1;
        if !checked.producers {
            self.plain.push(segment.base());
        }
        // The indexes are trusted at the next clean start.
        segment.set_unsynced(true);
        self.names_unsynced = true;
        segment.seal(home).map_err(|source| disk(&path, source))?;
        if index + 1 < segments.len() {
            // Many may follow.
            let released = segments[index].release(home);
            released.map_err(|source| disk(&path, source))?;
        }
        match checked.damage {
            Some(error) => self.damaged(index, checked.position, checked.next, error, checked.len),
            None => self.check_gap(index, checked.next, unsynced),
        }
    }

    // Behind a whole segment the next one begins; only compaction leaves gaps, and nothing lets it begin before.
    fn check_gap(&mut self, index: usize, next: Offset, unsynced: bool) -> Result<(), OpenError> {
        let Some(base) = self.segments.get(index + 1).map(Segment::base) else { return Ok(()) };
        let fits = if self.info.config.compact { next <= base } else { next == base };
        if !unsynced || fits {
            return Ok(());
        }
        let size = self.segments[index].size();
        let error = BatchError::Truncated { needed: 1, remaining: 0 };
        self.damaged(index, size, next, error, size)
    }

    // Decides whether damage is a torn tail, and cuts it off if so.
    fn damaged(
        &mut self,
        index: usize,
        position: u64,
        next: Offset,
        source: BatchError,
        len: u64,
    ) -> Result<(), OpenError> {
        if !self.info.accept_damage
            && let Some(detail) = self.no_torn_tail(index, position, next, len)?
        {
            let segment = self.segments[index].base();
            return Err(OpenError::Corrupt { segment, position, detail, source });
        }
        let fail_dir = self.home.dir.clone();
        let fail = |source| disk(&fail_dir, source);
        let base = self.segments[index].base();
        for later in self.segments.split_off(index + 1).iter().rev() {
            self.quarantine(later.base(), 0, later.size()).map_err(fail)?;
            remove_segment(&self.home, later.base()).map_err(fail)?;
        }
        self.quarantine(base, position, len).map_err(fail)?;
        let segment = &mut self.segments[index];
        let file = segment.file(&self.home).map_err(fail)?;
        // Durable, so that no byte of it comes back behind what is appended from here on.
        self.home.storage.sync_dir(&self.home.dir).map_err(fail)?;
        file.set_len(position).and_then(|()| file.sync()).map_err(fail)?;
        segment.set_unsynced(true);
        self.names_unsynced = true;
        Ok(())
    }

    fn no_torn_tail(
        &mut self,
        index: usize,
        position: u64,
        next: Offset,
        len: u64,
    ) -> Result<Option<CorruptDetail>, OpenError> {
        if next < self.info.recovery_point {
            return Ok(Some(CorruptDetail::BeforeRecoveryPoint));
        }
        let dir = self.home.dir.clone();
        let fail = |source| disk(&dir, source);
        let file = self.segments[index].file(&self.home).map_err(fail)?;
        if find_batch_after(&*file, position + 1, len, next).map_err(fail)?.is_some() {
            return Ok(Some(CorruptDetail::BatchesFollow));
        }
        for later in self.segments.iter_mut().skip(index + 1) {
            let file = later.file(&self.home).map_err(fail)?;
            if find_batch_after(&*file, 0, later.size(), next).map_err(fail)?.is_some() {
                return Ok(Some(CorruptDetail::SegmentsFollow));
            }
        }
        Ok(None)
    }

    // Keeps the bytes from `position` on in a file of their own, synced before they are cut off.
    fn quarantine(&mut self, base: Offset, position: u64, end: u64) -> io::Result<()> {
        if position >= end {
            return Ok(());
        }
        let source = self.home.storage.open(&self.home.dir.join(file_name(base, LOG_SUFFIX)))?;
        let suffix = format!("-{position}{QUARANTINE_SUFFIX}");
        let path = self.home.dir.join(file_name(base, &suffix));
        let target = self.home.storage.create(&path)?;
        let mut at = position;
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 20);
            let mut bytes = vec![0; len];
            let read = crate::storage::read_full(&source, &mut bytes, at)?;
            if read == 0 {
                break;
            }
            target.write_at(&[bytes.get(..read).unwrap_or_default()], at - position)?;
            at += read as u64;
        }
        target.sync()?;
        self.home.storage.sync_dir(&self.home.dir)?;
        self.report.truncated_bytes += at - position;
        self.report.quarantined.push(path);
        Ok(())
    }

    fn finish(
        mut self,
        topic_id: Option<TopicId>,
    ) -> Result<(Parts<S>, RecoveryReport), OpenError> {
        let dir = self.home.dir.clone();
        let fail = |error| read_failed(&dir, error);
        let first = self.segments.first().map(Segment::base);
        let log_start = first.map_or(self.info.log_start, |first| first.max(self.info.log_start));
        let stopped_at = self.stopped_at();
        let mut end = match stopped_at {
            Some(end) => end,
            None => self.end().map_err(fail)?,
        };
        self.check_nothing_is_missing(end)?;
        if self.segments.is_empty() || end < log_start {
            // Nothing that may still be read is left (Kafka starts over there as well).
            for gone in std::mem::take(&mut self.segments) {
                remove_segment(&self.home, gone.base()).map_err(|e| disk(&dir, e))?;
            }
            let segment = Segment::create(&self.home, log_start, self.info.now);
            self.segments.push(segment.map_err(|e| disk(&dir, e))?);
            (end, self.names_unsynced) = (log_start, true);
        }
        if !self.epochs_known {
            self.epochs = self.read_epochs().map_err(fail)?;
        }
        self.epochs.truncate_from_end(end);
        self.epochs.truncate_from_start(log_start);
        let Self { home, info, mut segments, mut snapshots, epochs, report, .. } = self;
        for stray in snapshots.iter().filter(|&&at| at > end) {
            let path = home.dir.join(file_name(*stray, SNAPSHOT_SUFFIX));
            home.storage.remove_file(&path).map_err(|e| disk(&path, e))?;
        }
        snapshots.retain(|&at| at <= end);
        let limits = &info.config.decompress_limits;
        let replay = Replay { untold: self.untold, plain: &self.plain, end, limits };
        let producers =
            rebuild_producers(&home, &mut segments, &mut snapshots, replay).map_err(fail)?;
        let flushed = if info.clean { end } else { info.recovery_point.max(log_start).min(end) };
        let names_unsynced = self.names_unsynced;
        segments.shrink_to_fit();
        let parts = Parts {
            home,
            partition: info.partition,
            topic_id,
            config: info.config,
            segments,
            log_start,
            end,
            flushed,
            epochs,
            producers,
            snapshots,
            names_unsynced,
            // A crash may have come before its first flush.
            new: !info.clean,
            closed_at: info.clean.then_some(end),
            end_unproven: stopped_at.is_some(),
        };
        Ok((parts, report))
    }

    // A clean stop had synced everything up to the recovery point; without one, the checks have seen to it.
    fn check_nothing_is_missing(&self, end: Offset) -> Result<(), OpenError> {
        let Some(active) = self.segments.last().filter(|_| self.info.clean) else { return Ok(()) };
        if self.info.accept_damage || self.info.recovery_point <= end {
            return Ok(());
        }
        let (segment, position) = (active.base(), active.size());
        let source = BatchError::Truncated { needed: 1, remaining: 0 };
        let detail = CorruptDetail::BeforeRecoveryPoint;
        Err(OpenError::Corrupt { segment, position, detail, source })
    }

    // Where a clean stop left the end, if its snapshot and its recovery point agree: then nothing is read.
    fn stopped_at(&self) -> Option<Offset> {
        let end = self.info.recovery_point;
        let active = self.segments.last()?;
        let fits = if active.size() == 0 { active.base() == end } else { active.base() < end };
        (self.info.clean && fits && self.snapshots.last() == Some(&end)).then_some(end)
    }

    fn end(&mut self) -> Result<Offset, ReadError> {
        let Some(active) = self.segments.last_mut() else { return Ok(self.info.log_start) };
        let last = active.last_batch(&self.home)?;
        Ok(last.map_or_else(|| active.base(), |last| last.header.next_offset()))
    }

    fn read_epochs(&mut self) -> Result<LeaderEpochs, ReadError> {
        let mut epochs = LeaderEpochs::default();
        for segment in &mut self.segments {
            let file = segment.file(&self.home)?;
            let mut window = Window::default();
            let mut walk = HeaderWalk::new(file, segment.base(), 0, segment.size(), &mut window);
            while let Some(placed) = walk.next()? {
                if let Some(epoch) = placed.header.leader_epoch {
                    epochs.assign(epoch, placed.header.base_offset);
                }
            }
        }
        Ok(epochs)
    }
}

pub(crate) fn disk(path: &Path, source: io::Error) -> OpenError {
    OpenError::Disk { path: path.to_path_buf(), source }
}

fn read_failed(dir: &Path, error: ReadError) -> OpenError {
    match error {
        ReadError::Corrupt { segment, position, source } => OpenError::Corrupt {
            segment,
            position,
            // Only what was not to be checked is read without being checked first.
            detail: CorruptDetail::BeforeRecoveryPoint,
            source,
        },
        ReadError::Disk(source) => disk(dir, source),
        other => disk(dir, io::Error::other(other)),
    }
}
