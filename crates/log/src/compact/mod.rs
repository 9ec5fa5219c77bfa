//! Compaction: of the records with one key only the newest stays (KIP-58, KIP-534).
//!
//! [`PartitionLog::prepare_compaction`] names the segments, under the partition's lock. Without it,
//! [`CompactionJob::index`] reads the dirty part and notes each key's newest offset, and
//! [`CompactionJob::clean_next`] writes one group of segments after the other anew. Under the lock
//! again, [`PartitionLog::complete_compaction`] puts each group in the place of the old ones. Who
//! compacts, what, when and how fast is decided elsewhere.
//!
//! Nothing here looks at a clock: the time of the pass is an argument. Records that are not yet on
//! disk are left alone, so that a crash cannot take a key's newest value when its older one is
//! gone.
//!
//! [`PartitionLog::prepare_compaction`]: crate::PartitionLog::prepare_compaction
//! [`PartitionLog::complete_compaction`]: crate::PartitionLog::complete_compaction

mod filter;
mod map;
mod output;
mod plan;
mod transactions;

use std::collections::VecDeque;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_record::{BatchError, BatchHeader, BuildError, RawRecords, raw_body};
use ottla_types::{Offset, WallTime};

use crate::config::LogConfig;
use crate::error::{LogError, ReadError};
use crate::format::{LOG_SUFFIX, file_name};
use crate::segment::Home;
use crate::storage::Storage;
use crate::txn_index::AbortedTransaction;
use crate::walk::CheckedWalk;

pub(crate) use filter::{LastRecord, Rules};
pub use map::{MapSettings, OffsetMap};
pub(crate) use output::{CleanedSegment, SEGMENT_SUFFIXES, remove_cleaned};
pub use plan::Cleanable;
pub(crate) use plan::{SegmentFacts, delay, first_dirty, holding};

use filter::{Fate, Filter, FilterError, control_type};
use output::Output;
use transactions::Transactions;

/// Told how many bytes were read or written since the last call; may wait, or end the pass.
pub type Pace<'a> = &'a mut dyn FnMut(usize) -> ControlFlow<()>;

/// A log was not compacted, or not all of it; it is as good as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactionError {
    /// The caller ended it, or the log was truncated, moved or deleted meanwhile.
    #[error("compaction was aborted")]
    Aborted,
    /// The map has no room for a single key.
    #[error("the offset map has no room for a single key")]
    NoRoom,
    /// A segment is damaged, or cannot be read.
    #[error("a segment cannot be compacted")]
    Read(#[from] ReadError),
    /// A batch could not be written anew.
    #[error("a batch of segment {segment} cannot be written anew")]
    Build {
        /// First offset of the segment.
        segment: Offset,
        /// Why.
        #[source]
        source: BuildError,
    },
    /// A new segment could not be written.
    #[error("a compacted segment cannot be written")]
    Write(#[source] io::Error),
    /// The new segments could not be put in place.
    #[error("compacted segments cannot be put in place")]
    Log(#[from] LogError),
}

/// What a pass has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CompactionStats {
    /// Bytes read to fill the map.
    pub indexed_bytes: u64,
    /// Records read to fill the map.
    pub indexed_records: u64,
    /// Bytes of segments that were read to be written anew.
    pub read_bytes: u64,
    /// Bytes of the new segments.
    pub written_bytes: u64,
    /// Records read to be written anew, but for those of batches that went as a whole.
    pub read_records: u64,
    /// Records of the new segments.
    pub written_records: u64,
    /// Records without a key, which went.
    pub invalid_records: u64,
    /// Part of the map that was used, between 0 and 1.
    pub map_utilization: f64,
}

/// A segment as it was when a job was prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceSegment {
    pub(crate) facts: SegmentFacts,
    pub(crate) modified: WallTime,
    /// Where the next segment begins.
    pub(crate) next_base: Offset,
}

/// Ties a job to the log that it was prepared for.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) aborted: AtomicBool,
}

/// One pass of compaction over a log.
#[derive(Debug)]
#[must_use = "a job that is not run compacts nothing"]
pub struct CompactionJob<S: Storage> {
    home: Home<S>,
    running: Arc<Running>,
    config: Arc<LogConfig>,
    cleanable: Cleanable,
    rules: Rules,
    /// Those that end at or before [`Cleanable::until`].
    segments: Vec<SourceSegment>,
    aborted: Vec<AbortedTransaction>,
    groups: VecDeque<Range<usize>>,
    filter: Filter,
    cleaned_to: Offset,
    buffer_bytes: usize,
    stats: CompactionStats,
}

/// New segments, complete and synced, that wait for [`PartitionLog::complete_compaction`].
///
/// [`PartitionLog::complete_compaction`]: crate::PartitionLog::complete_compaction
#[derive(Debug)]
#[must_use = "the files take space, and the log is as large as before"]
pub struct CleanedSegments<S: Storage> {
    pub(crate) home: Home<S>,
    pub(crate) running: Arc<Running>,
    /// First offsets of those that they replace.
    pub(crate) old: Vec<Offset>,
    pub(crate) new: Vec<CleanedSegment>,
}

impl<S: Storage> CleanedSegments<S> {
    /// Removes the files.
    ///
    /// # Errors
    /// The disk failed. The files go at the next start.
    pub fn discard(self) -> io::Result<()> {
        self.new.iter().try_for_each(|segment| remove_cleaned(&self.home, segment.base))
    }
}

/// What [`PartitionLog::prepare_compaction`](crate::PartitionLog::prepare_compaction) knows.
pub(crate) struct Prepared<S> {
    pub(crate) home: Home<S>,
    pub(crate) running: Arc<Running>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) cleanable: Cleanable,
    pub(crate) rules: Rules,
    pub(crate) segments: Vec<SourceSegment>,
    pub(crate) aborted: Vec<AbortedTransaction>,
}

impl<S: Storage> CompactionJob<S> {
    pub(crate) fn new(prepared: Prepared<S>) -> Self {
        let Prepared { home, running, config, cleanable, rules, segments, aborted } = prepared;
        Self {
            home,
            running,
            config,
            cleanable,
            rules,
            segments,
            aborted,
            groups: VecDeque::new(),
            filter: Filter::default(),
            cleaned_to: cleanable.first_dirty,
            buffer_bytes: BUFFER_BYTES,
            stats: CompactionStats::default(),
        }
    }

    /// Reads and writes about this many bytes at a time, instead of 256 KiB.
    pub fn set_buffer(&mut self, bytes: usize) {
        self.buffer_bytes = bytes.max(1);
    }

    /// What the pass works on.
    pub fn cleanable(&self) -> Cleanable {
        self.cleanable
    }

    /// An empty map for this pass, no larger than the dirty part needs.
    pub fn offset_map(&self, settings: MapSettings) -> OffsetMap {
        OffsetMap::new(settings, self.cleanable.until.since(self.cleanable.first_dirty))
    }

    /// Everything before this offset is compacted once all groups are in place; known after
    /// [`CompactionJob::index`].
    pub fn cleaned_to(&self) -> Offset {
        self.cleaned_to
    }

    /// What was done so far.
    pub fn stats(&self) -> CompactionStats {
        let counts = self.filter.counts;
        CompactionStats {
            read_records: counts.read,
            written_records: counts.kept,
            invalid_records: counts.invalid,
            ..self.stats
        }
    }

    /// Reads the dirty part of the log and notes every key's newest offset, until the map is full.
    /// Call it once, with an empty map and without the partition's lock.
    ///
    /// # Errors
    /// A segment cannot be read, the map has no room at all, or the pass was aborted.
    pub fn index(&mut self, map: &mut OffsetMap, pace: Pace<'_>) -> Result<(), CompactionError> {
        if !map.is_usable() {
            return Err(CompactionError::NoRoom);
        }
        let (first, until) = (self.cleanable.first_dirty, self.cleanable.until);
        let bases: Vec<_> = self.segments.iter().map(|segment| segment.facts.base).collect();
        let mut transactions = Transactions::default();
        transactions.add(aborted_in(&self.aborted, first, until));
        for at in holding(&bases, first, until) {
            let segment = self.segments[at];
            if !self.index_segment(segment, map, &mut transactions, pace)? {
                break;
            }
            // There may be a gap behind the last record.
            let end = segment.next_base.min(until);
            map.cover(Offset(end.0.saturating_sub(1)));
        }
        self.stats.map_utilization = map.utilization();
        let end = map.latest().map_or(Offset::ZERO, Offset::next);
        self.cleaned_to = end;
        let facts: Vec<_> = self.segments.iter().map(|segment| segment.facts).collect();
        let taken = holding(&bases, Offset::ZERO, end);
        assert!(taken.start == 0, "a pass begins with the first segment");
        let LogConfig { segment_bytes, index_bytes, .. } = *self.config;
        self.groups = plan::groups(&facts[taken], segment_bytes, index_bytes.into(), until).into();
        Ok(())
    }

    /// Notes the keys of one segment; false if the map is full.
    fn index_segment(
        &mut self,
        segment: SourceSegment,
        map: &mut OffsetMap,
        transactions: &mut Transactions,
        pace: Pace<'_>,
    ) -> Result<bool, CompactionError> {
        let base = segment.facts.base;
        let first = self.cleanable.first_dirty;
        let file = self.open(base)?;
        let mut walk = CheckedWalk::new(&file, base, segment.facts.bytes).by(self.buffer_bytes);
        let mut paced = 0;
        loop {
            let position = walk.position();
            let corrupt = |source| {
                CompactionError::Read(ReadError::Corrupt { segment: base, position, source })
            };
            let Some(header) = walk.next().map_err(ReadError::Disk)? else { break };
            let header = header.map_err(corrupt)?;
            let batch = walk.batch();
            let full = index_batch(&self.rules, map, transactions, first, &header, batch);
            let (records, full) = full.map_err(corrupt)?;
            self.stats.indexed_records += records;
            self.stats.indexed_bytes += header.total_len() as u64;
            paced += header.total_len();
            if full {
                return Ok(false);
            }
            if first <= header.last_offset() {
                map.cover(header.last_offset());
            }
            if self.buffer_bytes <= paced {
                self.go_on(std::mem::take(&mut paced), pace)?;
            }
        }
        self.go_on(paced, pace).map(|()| true)
    }

    /// Writes the next group of segments anew; `None` after the last. Call it after
    /// [`CompactionJob::index`] with the same map, without the partition's lock, and complete each
    /// group before the next.
    ///
    /// # Errors
    /// A segment cannot be read, the new one cannot be written, or the pass was aborted. Groups
    /// that are in place stay so.
    pub fn clean_next(
        &mut self,
        map: &OffsetMap,
        pace: Pace<'_>,
    ) -> Result<Option<CleanedSegments<S>>, CompactionError> {
        let Some(group) = self.groups.pop_front() else { return Ok(None) };
        let segments: Vec<_> = self.segments[group].to_vec();
        let mut cleaned = CleanedSegments {
            home: self.home.clone(),
            running: Arc::clone(&self.running),
            old: segments.iter().map(|segment| segment.facts.base).collect(),
            new: Vec::new(),
        };
        let mut begun = Vec::new();
        match self.clean_group(map, &segments, &mut begun, pace) {
            Ok(new) => {
                cleaned.new = new;
                Ok(Some(cleaned))
            }
            Err(error) => {
                for base in begun {
                    // What cannot be removed now goes at the next start.
                    let _ = remove_cleaned(&self.home, base);
                }
                Err(error)
            }
        }
    }

    fn clean_group(
        &mut self,
        map: &OffsetMap,
        segments: &[SourceSegment],
        begun: &mut Vec<Offset>,
        pace: Pace<'_>,
    ) -> Result<Vec<CleanedSegment>, CompactionError> {
        let write = CompactionError::Write;
        let mut finished = Vec::new();
        let Some(head) = segments.first() else { return Ok(finished) };
        self.go_on(0, pace)?;
        begun.push(head.facts.base);
        let mut output = Output::create(&self.home, head.facts.base).map_err(write)?;
        let mut modified = head.modified;
        for segment in segments {
            modified = segment.modified;
            let (base, end) = (segment.facts.base, segment.next_base);
            self.filter.transactions.add(aborted_in(&self.aborted, base, end));
            let file = self.open(base)?;
            let mut walk = CheckedWalk::new(&file, base, segment.facts.bytes).by(self.buffer_bytes);
            let mut paced = 0;
            loop {
                let position = walk.position();
                let Some(header) = walk.next().map_err(ReadError::Disk)? else { break };
                let corrupt = |source| ReadError::Corrupt { segment: base, position, source };
                let header = header.map_err(corrupt)?;
                let batch = walk.batch();
                let judged = self.filter.judge(&self.rules, map, &header, batch);
                let (fate, aborted) = judged.map_err(|error| match error {
                    FilterError::Batch(source) => corrupt(source).into(),
                    FilterError::Build(source) => CompactionError::Build { segment: base, source },
                })?;
                paced += header.total_len();
                let kept = match fate {
                    Fate::Gone => None,
                    Fate::Same => Some((header, batch)),
                    Fate::Rewritten => {
                        let written = self.filter.written();
                        Some((BatchHeader::parse(written).map_err(corrupt)?, written))
                    }
                };
                if let Some((header, batch)) = kept {
                    if !output.has_room(&header) {
                        begun.push(header.base_offset);
                        let next = Output::create(&self.home, header.base_offset).map_err(write)?;
                        let full = std::mem::replace(&mut output, next);
                        finished.push(full.finish(&self.home, modified).map_err(write)?);
                    }
                    let interval = self.config.index_interval_bytes;
                    output.push(&header, batch, interval, self.buffer_bytes).map_err(write)?;
                    self.stats.written_bytes += batch.len() as u64;
                    paced += batch.len();
                }
                if let Some(entry) = aborted {
                    output.push_aborted(entry);
                }
                if self.buffer_bytes <= paced {
                    self.go_on(std::mem::take(&mut paced), pace)?;
                }
            }
            self.stats.read_bytes += segment.facts.bytes;
            self.go_on(paced, pace)?;
        }
        finished.push(output.finish(&self.home, modified).map_err(write)?);
        self.home.storage.sync_dir(&self.home.dir).map_err(write)?;
        Ok(finished)
    }

    fn go_on(&self, bytes: usize, pace: Pace<'_>) -> Result<(), CompactionError> {
        let ended = pace(bytes).is_break() || self.running.aborted.load(Ordering::Acquire);
        if ended { Err(CompactionError::Aborted) } else { Ok(()) }
    }

    // A log that has lost a segment was truncated, moved or deleted.
    fn open(&self, base: Offset) -> Result<S::File, CompactionError> {
        match self.home.storage.open(&self.home.dir.join(file_name(base, LOG_SUFFIX))) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CompactionError::Aborted),
            Err(error) => Err(ReadError::Disk(error).into()),
        }
    }
}

/// Notes the keys of one batch: how many records were looked at, and whether the map is full.
fn index_batch(
    rules: &Rules,
    map: &mut OffsetMap,
    transactions: &mut Transactions,
    first: Offset,
    header: &BatchHeader,
    batch: &[u8],
) -> Result<(u64, bool), BatchError> {
    if header.attributes.is_control() {
        let kind = control_type(header, batch, &rules.limits)?;
        transactions.on_control(header, kind);
        return Ok((1, false));
    }
    if transactions.on_data(header) {
        return Ok((header.record_count.into(), false));
    }
    let mut scratch = Bytes::new();
    let body = raw_body(header, batch, &rules.limits, &mut scratch)?;
    let mut records = 0;
    for record in RawRecords::new(header, body) {
        let record = record?;
        let key = record.key.filter(|_| first <= record.offset);
        if key.is_some_and(|key| !map.put(key, record.offset)) {
            return Ok((records, true));
        }
        records += 1;
    }
    Ok((records, false))
}

/// Those of the aborted transactions that reach into `from..to`.
fn aborted_in(
    aborted: &[AbortedTransaction],
    from: Offset,
    to: Offset,
) -> impl Iterator<Item = AbortedTransaction> {
    aborted.iter().filter(move |aborted| aborted.touches(from, to)).copied()
}

/// Kafka's default: half of `log.cleaner.io.buffer.size`.
const BUFFER_BYTES: usize = 256 << 10;
