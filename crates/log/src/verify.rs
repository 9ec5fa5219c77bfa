//! Looks at every byte of a partition's files and changes none: for operators, and for a scrub.
//!
//! Each batch is checked with its checksum, and what was derived from the batches (indexes, producer snapshots,
//! leader epochs) against them. What recovery would call a torn tail is one here too.
//!
//! The partition may be in use if nobody appends to it meanwhile: a batch that is half written looks like a torn tail.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ottla_record::{BatchError, BatchHeader};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::compact::Pace;
use crate::epochs::LeaderEpochs;
use crate::format::{
    EPOCHS_FILE, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
    file_name, offset_in_name,
};
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::producer::decode;
use crate::storage::{DirEntry, Storage};
use crate::txn_index::AbortedTransaction;
use crate::walk::{CheckedWalk, find_batch_after};

/// What [`verify`] has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Segments that were read.
    pub segments: u64,
    /// Whole batches.
    pub batches: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is wrong, in the order of the files; at most [`Verified::MOST_FINDINGS`].
    pub findings: Vec<Finding>,
    /// The caller ended it before everything was read.
    pub stopped: bool,
}

impl Verified {
    /// Findings that are kept of one partition.
    pub const MOST_FINDINGS: usize = 100;

    fn note(&mut self, path: PathBuf, position: u64, problem: Problem) {
        if self.findings.len() < Self::MOST_FINDINGS {
            self.findings.push(Finding { path, position, problem });
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, at byte {position}: {problem}", path.display())]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub position: u64,
    /// What.
    pub problem: Problem,
}

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The last batch was not written whole, and nothing follows it: a crash leaves this.
    #[error("a torn tail of {bytes} bytes")]
    TornTail {
        /// From the position to the end of the file.
        bytes: u64,
        /// Where the log ends without it.
        end: Offset,
    },
    /// A batch is damaged and records follow it.
    #[error("a damaged batch: {0}")]
    Batch(BatchError),
    /// The offsets of a batch were there before.
    #[error("the segment begins before the one in front of it ends, at offset {end}")]
    Overlap {
        /// Where that ends.
        end: Offset,
    },
    /// A leader epoch after a later one.
    #[error("leader epoch {found} follows epoch {before}")]
    EpochFalls {
        /// The batch's.
        found: LeaderEpoch,
        /// That of the batch in front of it.
        before: LeaderEpoch,
    },
    /// An entry of an index, or a file beside the log, does not say what the batches say.
    #[error("{0}")]
    Derived(&'static str),
}

/// What would mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The next start cuts it off and keeps the bytes in a `.quarantine` file.
    CutOff,
    /// It is built anew from the batches.
    Rebuild,
    /// The records are gone here: another replica may have them.
    Replica,
}

impl Problem {
    /// What would mend it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::TornTail { .. } => Remedy::CutOff,
            Self::Derived(_) => Remedy::Rebuild,
            Self::Batch(_) | Self::Overlap { .. } | Self::EpochFalls { .. } => Remedy::Replica,
        }
    }
}

/// Reads all of a partition's directory; `pace` is told how many bytes were read, and may wait, or end it.
///
/// # Errors
/// The disk failed. Damaged files are findings, not errors.
pub fn verify<S: Storage>(storage: &S, dir: &Path, pace: Pace<'_>) -> io::Result<Verified> {
    let entries = storage.list(dir)?;
    let of = |suffix: &str| -> BTreeMap<Offset, &DirEntry> {
        let files = entries.iter().filter(|entry| !entry.is_dir);
        files.filter_map(|e| Some((offset_in_name(&e.name, suffix)?, e))).collect()
    };
    let logs: Vec<_> = of(LOG_SUFFIX).into_iter().map(|(base, entry)| (base, entry.len)).collect();
    let mut seen = Verified::default();
    let epochs = read_epochs(storage, dir, &mut seen)?;
    let end = verify_segments(storage, dir, (&logs, epochs.as_ref()), &mut seen, pace)?;
    if seen.stopped {
        return Ok(seen);
    }
    for (at, entry) in of(SNAPSHOT_SUFFIX) {
        let content = storage.read_small(&entry.path)?.unwrap_or_default();
        if decode(content.into()).is_err() {
            seen.note(entry.path.clone(), 0, Problem::Derived("not a snapshot of producers"));
        } else if end < at {
            seen.note(entry.path.clone(), 0, Problem::Derived("producers behind the log's end"));
        }
    }
    Ok(seen)
}

/// Verifies segments, given as base offsets and lengths, one after the other; returns where the last one ends. One
/// that has gone meanwhile is passed over.
pub(crate) fn verify_segments<S: Storage>(
    storage: &S,
    dir: &Path,
    (segments, epochs): (&[(Offset, u64)], Option<&LeaderEpochs>),
    seen: &mut Verified,
    pace: Pace<'_>,
) -> io::Result<Offset> {
    let mut before = Before { end: Offset::ZERO, epoch: None };
    for (at, (base, len)) in segments.iter().enumerate() {
        let later = segments.get(at + 1..).unwrap_or_default();
        let segment = Segment { storage, dir, base: *base, len: *len, later, epochs };
        match segment.verify(&mut before, seen, pace) {
            Ok(ControlFlow::Continue(())) => seen.segments += 1,
            Ok(ControlFlow::Break(())) => {
                seen.stopped = true;
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(before.end)
}

fn read_epochs<S: Storage>(
    storage: &S,
    dir: &Path,
    seen: &mut Verified,
) -> io::Result<Option<LeaderEpochs>> {
    let path = dir.join(EPOCHS_FILE);
    let Some(text) = storage.read_small(&path)? else { return Ok(None) };
    match LeaderEpochs::parse(&String::from_utf8_lossy(&text)) {
        Ok(epochs) => Ok(Some(epochs)),
        Err(_) => {
            seen.note(path, 0, Problem::Derived("not a checkpoint of leader epochs"));
            Ok(None)
        }
    }
}

/// The log up to a segment.
struct Before {
    end: Offset,
    epoch: Option<LeaderEpoch>,
}

struct Segment<'a, S> {
    storage: &'a S,
    dir: &'a Path,
    base: Offset,
    len: u64,
    /// Base offsets and lengths of the segments behind it.
    later: &'a [(Offset, u64)],
    epochs: Option<&'a LeaderEpochs>,
}

impl<S: Storage> Segment<'_, S> {
    fn verify(
        &self,
        before: &mut Before,
        seen: &mut Verified,
        pace: Pace<'_>,
    ) -> io::Result<ControlFlow<()>> {
        let path = self.path(LOG_SUFFIX);
        if self.base < before.end {
            seen.note(path.clone(), 0, Problem::Overlap { end: before.end });
        }
        let mut indexes = Indexes::read(self)?;
        let file = self.storage.open(&path)?;
        let mut walk = CheckedWalk::new(&file, self.base, self.len);
        let (mut max_timestamp, mut whole) = (Timestamp(-1), true);
        loop {
            let position = walk.position();
            match walk.next()? {
                None => break,
                Some(Err(error)) => {
                    let problem = self.damage(&file, position, walk.next_offset(), error)?;
                    seen.note(path, position, problem);
                    whole = false;
                    break;
                }
                Some(Ok(header)) => {
                    max_timestamp = max_timestamp.max(header.max_timestamp);
                    self.check_epoch(&header, position, before, seen);
                    indexes.check(&header, position, max_timestamp);
                    seen.batches += 1;
                    seen.bytes += header.total_len() as u64;
                    if pace(header.total_len()).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        before.end = before.end.max(walk.next_offset());
        indexes.finish(seen, whole);
        Ok(ControlFlow::Continue(()))
    }

    fn check_epoch(
        &self,
        header: &BatchHeader,
        position: u64,
        before: &mut Before,
        seen: &mut Verified,
    ) {
        let Some(found) = header.leader_epoch else { return };
        if let Some(before) = before.epoch.filter(|before| found < *before) {
            let problem = Problem::EpochFalls { found, before };
            seen.note(self.path(LOG_SUFFIX), position, problem);
        }
        if before.epoch.is_none_or(|before| before < found) {
            // Nothing is told of what lies before the start of the log.
            let told = self.epochs.and_then(|epochs| epochs.epoch_at(header.base_offset));
            if told.is_some_and(|told| told != found) {
                let problem = Problem::Derived("the leader epochs are others than the batches'");
                seen.note(self.dir.join(EPOCHS_FILE), 0, problem);
            }
            before.epoch = Some(found);
        }
    }

    /// A torn tail has no whole batch behind it, in its file or in a later one.
    fn damage(
        &self,
        file: &S::File,
        position: u64,
        next: Offset,
        error: BatchError,
    ) -> io::Result<Problem> {
        if find_batch_after(file, position + 1, self.len, next)?.is_some() {
            return Ok(Problem::Batch(error));
        }
        for (base, len) in self.later {
            let later = self.storage.open(&self.dir.join(file_name(*base, LOG_SUFFIX)))?;
            if find_batch_after(&later, 0, *len, next)?.is_some() {
                return Ok(Problem::Batch(error));
            }
        }
        Ok(Problem::TornTail { bytes: self.len - position, end: next })
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(file_name(self.base, suffix))
    }
}

/// The entries of a segment's indexes that the walk has not come to.
struct Indexes {
    offsets: Entries<OffsetEntry>,
    times: Entries<TimeEntry>,
    aborted: Entries<AbortedTransaction>,
    end: Offset,
}

struct Entries<E> {
    path: PathBuf,
    /// `None` where an entry cannot be read, or does not follow the one before it.
    entries: Vec<Option<E>>,
    next: usize,
    wrong: Option<(usize, &'static str)>,
}

impl Indexes {
    fn read<S: Storage>(segment: &Segment<'_, S>) -> io::Result<Self> {
        Ok(Self {
            offsets: Entries::read(segment, INDEX_SUFFIX)?,
            times: Entries::read(segment, TIME_INDEX_SUFFIX)?,
            aborted: Entries::read(segment, TXN_INDEX_SUFFIX)?,
            end: segment.base,
        })
    }

    fn check(&mut self, header: &BatchHeader, position: u64, max_timestamp: Timestamp) {
        let (first, last) = (header.base_offset, header.last_offset());
        self.offsets.pass(|entry| {
            let at = u64::from(entry.position);
            let leads_here = at == position && (first..=last).contains(&entry.offset);
            (at <= position).then_some(leads_here)
        });
        // No record up to the entry's offset is later; the batch itself ends there or behind.
        self.times.pass(|entry| (entry.offset <= last).then_some(max_timestamp <= entry.timestamp));
        self.end = header.next_offset();
    }

    fn finish(mut self, seen: &mut Verified, whole: bool) {
        if whole {
            // What is left leads to nothing.
            self.offsets.pass(|_| Some(false));
            self.times.pass(|_| Some(false));
            let end = self.end;
            let fits = |one: &AbortedTransaction| one.first_offset <= one.last_offset;
            self.aborted.pass(|one| Some(fits(one) && one.last_offset < end));
        }
        let Self { offsets, times, aborted, .. } = self;
        let wrongs = [offsets.wrong(), times.wrong(), aborted.wrong()];
        for (path, position, problem) in wrongs.into_iter().flatten() {
            seen.note(path, position, problem);
        }
    }
}

impl<E: Entry> Entries<E> {
    fn read<S: Storage>(segment: &Segment<'_, S>, suffix: &str) -> io::Result<Self> {
        let path = segment.path(suffix);
        let content = segment.storage.read_small(&path)?;
        let bytes = content.as_deref().unwrap_or_default();
        let mut entries: Vec<Option<E>> = Vec::with_capacity(bytes.len() / E::LEN);
        for raw in bytes.chunks_exact(E::LEN) {
            // Kafka makes an index longer than it is; what it did not use is zero.
            let more = !entries.is_empty() || bytes.len() > E::LEN;
            if more && raw.iter().all(|byte| *byte == 0) {
                break;
            }
            let entry = E::decode(segment.base, raw);
            let last = entries.last().and_then(Option::as_ref);
            let follows = |entry: &E| last.is_none_or(|last| entry.follows(last));
            entries.push(entry.filter(follows));
        }
        let mut read = Self { path, entries, next: 0, wrong: None };
        if content.is_none() && E::NEEDED && segment.len > 0 && !segment.later.is_empty() {
            read.wrong = Some((0, "the index is missing"));
        } else if bytes.len() % E::LEN != 0 {
            read.wrong = Some((read.entries.len(), "a part of an entry at the end"));
        }
        Ok(read)
    }

    /// Judges the next entries for as long as `holds` has something to say of them.
    fn pass(&mut self, holds: impl Fn(&E) -> Option<bool>) {
        while let Some(entry) = self.entries.get(self.next) {
            let verdict = match entry {
                Some(entry) => holds(entry),
                None => Some(false),
            };
            let Some(right) = verdict else { return };
            if !right {
                self.wrong.get_or_insert((self.next, "an entry that does not fit the batches"));
            }
            self.next += 1;
        }
    }

    fn wrong(self) -> Option<(PathBuf, u64, Problem)> {
        let (entry, what) = self.wrong?;
        Some((self.path, (entry * E::LEN) as u64, Problem::Derived(what)))
    }
}
