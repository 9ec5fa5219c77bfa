//! Compaction's two steps under the lock: naming the segments, and putting new ones in place.
//!
//! The order of the renames makes a crash harmless at every point, as in Kafka: as long as a new
//! file is called `.cleaned` the old ones count, once all are called `.swap` and that is durable
//! the new ones do, and recovery finishes the rest.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_types::{Offset, WallTime};

use super::PartitionLog;
use super::retention::DeletedFiles;
use crate::compact::{
    Cleanable, CleanedSegment, CleanedSegments, CompactionError, CompactionJob, Prepared, Rules,
    Running, SEGMENT_SUFFIXES, SegmentFacts, SourceSegment, delay, first_dirty, holding,
    remove_cleaned,
};
use crate::error::LogError;
use crate::format::{CLEANED_SUFFIX, SWAP_SUFFIX, file_name};
use crate::segment::Segment;
use crate::storage::Storage;

impl<S: Storage> PartitionLog<S> {
    /// What compaction may work on now, and how dirty that is; decides only. `cleaned_to` is where
    /// the last pass ended.
    ///
    /// Nothing is looked at that is not below the high watermark, that belongs to an open
    /// transaction or comes behind one, that is not yet on disk, or that is in the segment that
    /// grows.
    ///
    /// # Errors
    /// A segment could not be read.
    pub fn cleanable(
        &mut self,
        cleaned_to: Option<Offset>,
        high_watermark: Offset,
        now: WallTime,
    ) -> Result<Cleanable, LogError> {
        let (first_dirty, restarts) = first_dirty(cleaned_to, self.log_start, self.end);
        let bases: Vec<_> = self.segments.iter().map(Segment::base).collect();
        let (&active, sealed) = bases.split_last().expect("a log has a segment");
        let dirty = if first_dirty > active { 0..0 } else { holding(sealed, first_dirty, active) };
        let stable = self.first_unstable_offset(high_watermark).unwrap_or(high_watermark);
        let mut until = stable.min(high_watermark).min(self.flushed).min(active);
        let config = Arc::clone(&self.config);
        if config.compaction_lag_min > Duration::ZERO {
            let newest = now.minus(config.compaction_lag_min).as_millis();
            until = until.min(self.first_newer(dirty.clone(), newest)?.unwrap_or(until));
        }
        let delay = match config.compaction_lag_max {
            Some(lag_max) => self.waited(dirty, lag_max, now)?,
            None => Duration::ZERO,
        };
        // Only whole segments are compacted.
        let until = until.max(first_dirty).min(active);
        let until = bases[bases.partition_point(|&base| base <= until).saturating_sub(1)];
        let bytes = |range: Range<usize>| self.segments[range].iter().map(Segment::size).sum();
        Ok(Cleanable {
            first_dirty,
            until,
            clean_bytes: bytes(0..bases.partition_point(|&base| base < first_dirty)),
            dirty_bytes: bytes(holding(&bases, first_dirty.min(until), until)),
            delay,
            restarts,
        })
    }

    // First of these segments that has a record newer than that.
    fn first_newer(
        &mut self,
        range: Range<usize>,
        newest: i64,
    ) -> Result<Option<Offset>, LogError> {
        let Self { segments, home, .. } = self;
        for segment in &mut segments[range] {
            if segment.age_mark(home)? > newest {
                return Ok(Some(segment.base()));
            }
        }
        Ok(None)
    }

    fn waited(
        &mut self,
        range: Range<usize>,
        lag_max: Duration,
        now: WallTime,
    ) -> Result<Duration, LogError> {
        let Self { segments, home, .. } = self;
        let mut firsts = Vec::with_capacity(range.len());
        for segment in &mut segments[range] {
            firsts.extend(segment.first_timestamp(home)?.map(|first| first.0));
        }
        Ok(delay(firsts.into_iter(), lag_max, now))
    }

    /// Names what a pass of compaction works on: what [`PartitionLog::cleanable`] has found just
    /// now. `None` if there is nothing dirty, or a pass is under way. Until the job is dropped no
    /// segment expires; a truncation, a move or the end of the log aborts it.
    ///
    /// # Errors
    /// The log failed earlier.
    pub fn prepare_compaction(
        &mut self,
        cleanable: Cleanable,
        now: WallTime,
    ) -> Result<Option<CompactionJob<S>>, LogError> {
        self.refuse_if_failed()?;
        if self.is_compacting() || cleanable.dirty_bytes == 0 {
            return Ok(None);
        }
        let bases: Vec<_> = self.segments.iter().map(Segment::base).collect();
        let count = bases.partition_point(|&base| base < cleanable.until);
        // Between the two calls the log may have lost segments.
        if bases.get(count) != Some(&cleanable.until) || cleanable.until > self.flushed {
            return Ok(None);
        }
        let sources = self.segments.iter().zip(bases.iter().skip(1)).take(count);
        let source = |(segment, &next_base): (&Segment<S::File>, &Offset)| {
            let [index_bytes, time_index_bytes, _] = segment.index_bytes();
            let (base, bytes) = (segment.base(), segment.size());
            let facts = SegmentFacts { base, bytes, index_bytes, time_index_bytes };
            SourceSegment { facts, modified: segment.modified(), next_base }
        };
        let segments = sources.map(source).collect();
        // A transaction may end behind what is compacted.
        let aborted = self.aborted_between(bases[0], cleanable.until)?;
        let running = Arc::new(Running::default());
        self.compaction = Arc::downgrade(&running);
        let rules = Rules {
            producers: self.producers.last_records(),
            until: cleanable.until,
            now,
            delete_retention: self.config.delete_retention,
            limits: self.config.decompress_limits,
        };
        Ok(Some(CompactionJob::new(Prepared {
            home: self.home.clone(),
            running,
            config: Arc::clone(&self.config),
            cleanable,
            rules,
            segments,
            aborted,
        })))
    }

    /// Whether a job is under way that was neither dropped nor aborted.
    pub fn is_compacting(&self) -> bool {
        let running = self.compaction.upgrade();
        running.is_some_and(|running| !running.aborted.load(Ordering::Acquire))
    }

    /// Ends a pass of compaction that is under way: it notices soon, and puts nothing in place any
    /// more.
    pub fn abort_compaction(&mut self) {
        if let Some(running) = std::mem::take(&mut self.compaction).upgrade() {
            running.aborted.store(true, Ordering::Release);
        }
    }

    /// Puts new segments in the place of those that they were made of. The old files are renamed,
    /// and removed by the caller later. Costs three syncs of the directory.
    ///
    /// # Errors
    /// The pass was aborted, and the new files are gone again; or the disk failed, and the log
    /// refuses every later change.
    pub fn complete_compaction(
        &mut self,
        cleaned: CleanedSegments<S>,
    ) -> Result<DeletedFiles<S>, CompactionError> {
        self.refuse_if_failed()?;
        let CleanedSegments { home, running, old, new } = cleaned;
        let current = self.compaction.upgrade().is_some_and(|own| Arc::ptr_eq(&own, &running));
        let first = old.first().and_then(|first| {
            self.segments.binary_search_by_key(first, |segment| segment.base()).ok()
        });
        let same = first.filter(|&first| {
            let bases = self.segments[first..].iter().map(Segment::base).take(old.len());
            bases.eq(old.iter().copied()) && first + old.len() < self.segments.len()
        });
        let Some(first) = same.filter(|_| current && !running.aborted.load(Ordering::Acquire))
        else {
            for segment in &new {
                // What cannot be removed now goes at the next start.
                let _ = remove_cleaned(&home, segment.base);
            }
            return Err(CompactionError::Aborted);
        };
        let put = self.put_in_place(first..first + old.len(), &new);
        if put.is_err() {
            self.failed = true;
        }
        self.check();
        Ok(put.map_err(LogError::Disk)?)
    }

    fn put_in_place(
        &mut self,
        old: Range<usize>,
        new: &[CleanedSegment],
    ) -> std::io::Result<DeletedFiles<S>> {
        let storage = Arc::clone(&self.home.storage);
        let dir = self.home.dir.clone();
        let (head, rest) = new.split_first().expect("a group has a segment");
        // A `.swap` file behind a `.cleaned` one counts for nothing, so the first decides.
        for segment in rest {
            rename_segment(&*storage, &dir, segment.base, CLEANED_SUFFIX, SWAP_SUFFIX)?;
        }
        if !rest.is_empty() {
            storage.sync_dir(&dir)?;
        }
        rename_segment(&*storage, &dir, head.base, CLEANED_SUFFIX, SWAP_SUFFIX)?;
        storage.sync_dir(&dir)?;
        let bases: Vec<_> = self.segments[old.clone()].iter().map(Segment::base).collect();
        let mut paths = Vec::new();
        for base in bases {
            let stays = new.iter().any(|segment| segment.base == base);
            paths.extend(self.rename_away(base, !stays)?);
        }
        // None of the old names may come back once a new one counts without its suffix.
        storage.sync_dir(&dir)?;
        for segment in new {
            rename_segment(&*storage, &dir, segment.base, SWAP_SUFFIX, "")?;
        }
        // The next group's `.cleaned` files must not find a `.swap` file behind them.
        storage.sync_dir(&dir)?;
        let replaced = new.iter().map(|segment| {
            Segment::existing(segment.base, segment.size, segment.index_bytes, segment.modified)
        });
        self.segments.splice(old, replaced);
        self.cursors.clear();
        Ok(DeletedFiles::new(storage, paths, Vec::new()))
    }
}

fn rename_segment<S: Storage>(
    storage: &S,
    dir: &Path,
    base: Offset,
    from: &str,
    to: &str,
) -> std::io::Result<()> {
    for suffix in SEGMENT_SUFFIXES {
        let name = file_name(base, suffix);
        let (from, to) = (dir.join(format!("{name}{from}")), dir.join(format!("{name}{to}")));
        match storage.rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
