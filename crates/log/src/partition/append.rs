//! Appending: one write for all batches of a call, their bodies untouched.

use std::io;

use bytes::Bytes;
use ottla_codec::{Few, Reader};
use ottla_record::format::HEADER_LEN;
use ottla_record::{Batch, BatchError, BatchHeader, Batches, ControlType, DecompressLimits, Patch};
use ottla_types::{LeaderEpoch, Offset, ProducerId, Timestamp, WallTime};

use super::PartitionLog;
use crate::error::{AppendError, ReadError};
use crate::prepare::{AppendOrigin, PreparedAppend};
use crate::producer::{Marker, RememberedBatch};
use crate::recovery::remove_segment;
use crate::segment::{Outgoing, RollRules, Segment};
use crate::storage::{Storage, StorageFile as _};

/// Where appended records went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp.
    pub max_timestamp: Timestamp,
    /// Timestamp that the leader gave all records; also set for a repeat, as Kafka does.
    pub log_append_time: Option<Timestamp>,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// Bytes written; 0 for a repeat.
    pub bytes: usize,
    /// Whether the producer had sent this batch before. Nothing was written: the offsets are those
    /// of the first time.
    pub duplicate: bool,
}

// Requests in flight at a stop are five at most, of a megabyte each by a client's default.
const RECALLED_BYTES: u64 = 8 << 20;

impl<S: Storage> PartitionLog<S> {
    /// Appends a batch as the partition's leader of `epoch`: its records get the next offsets.
    ///
    /// # Errors
    /// The producer's sequence or epoch does not fit, or the disk does not take the batch. After
    /// [`AppendError::Disk`] every later append fails.
    pub fn append(
        &mut self,
        prepared: &PreparedAppend,
        epoch: LeaderEpoch,
        now: WallTime,
    ) -> Result<AppendInfo, AppendError> {
        let mut results = self.append_run(std::slice::from_ref(prepared), epoch, now);
        results.pop().unwrap_or(Err(AppendError::Failed))
    }

    /// As [`PartitionLog::append`] for several batches in turn, with one result each. Batches that
    /// follow each other without anything to decide between them are written together.
    pub fn append_run(
        &mut self,
        mut run: &[PreparedAppend],
        epoch: LeaderEpoch,
        now: WallTime,
    ) -> Few<Result<AppendInfo, AppendError>> {
        let mut results = Few::with_capacity(run.len());
        while let Some(first) = run.first() {
            let proven = self.prove_end();
            let taken = match self.check_producer(first) {
                _ if self.failed => Err(proven.err().unwrap_or(AppendError::Failed)),
                Err(error) => Err(error),
                Ok(Some(earlier)) => Ok(Few::from_buf([self.duplicate(&earlier)])),
                Ok(None) => self.append_some(run, epoch, now),
            };
            let count = taken.as_ref().map_or(1, Few::len);
            match taken {
                Ok(infos) => results.extend(infos.into_iter().map(Ok)),
                Err(error) => results.push(Err(error)),
            }
            run = run.get(count..).unwrap_or_default();
        }
        results
    }

    /// Appends the first batch, whose producer may go on, and those that can be written with it.
    fn append_some(
        &mut self,
        run: &[PreparedAppend],
        epoch: LeaderEpoch,
        now: WallTime,
    ) -> Result<Few<AppendInfo>, AppendError> {
        let count = self.written_together(run, now);
        let together = run.get(..count).unwrap_or_default();
        match self.append_together(together, epoch, now) {
            // The disk may still have room for the first.
            Err(AppendError::NoSpace { .. }) if 1 < count => {
                self.append_together(run.get(..1).unwrap_or_default(), epoch, now)
            }
            other => other,
        }
    }

    /// How many batches of a run, at least one, go into the segment as it is, after each other and
    /// whatever becomes of the producer's state in between.
    fn written_together(&mut self, run: &[PreparedAppend], now: WallTime) -> usize {
        let rules = self.roll_rules();
        let end = self.end;
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        // The first batch of a segment decides when it is too old for another.
        if active.size() == 0 {
            return 1;
        }
        let (mut bytes, mut records) = (0, 0);
        for (count, prepared) in run.iter().enumerate() {
            let header = prepared.batch.header();
            bytes += prepared.size() as u64;
            records += header.next_offset().since(header.base_offset);
            let before = count.checked_sub(1).and_then(|at| run.get(at));
            let follows = before.is_none_or(|before| goes_on(before, prepared));
            let last = Offset(end.0 + records - 1);
            let newest = prepared.max_timestamp;
            let roll = active.must_roll(home, &rules, bytes, last, newest, now);
            let fits = matches!(roll, Ok(false));
            if !follows || !fits {
                return count.max(1);
            }
        }
        run.len().max(1)
    }

    fn append_together(
        &mut self,
        run: &[PreparedAppend],
        epoch: LeaderEpoch,
        now: WallTime,
    ) -> Result<Few<AppendInfo>, AppendError> {
        let mut next = self.end;
        let mut placed = Few::with_capacity(run.len());
        for prepared in run {
            let mut header = *prepared.batch.header();
            header.base_offset = next;
            header.leader_epoch = Some(epoch);
            header.attributes = prepared.attributes;
            header.max_timestamp = prepared.max_timestamp;
            let mut head = prepared.header;
            Patch::place(&mut head, header.base_offset, epoch);
            let marker = read_marker(&prepared.batch, &self.config.decompress_limits)?;
            next = header.next_offset();
            placed.push((header, head, marker));
        }
        let outgoing: Few<Outgoing<'_>> = run
            .iter()
            .zip(&placed)
            .map(|(prepared, (header, head, _))| {
                let body = prepared.batch.bytes().get(HEADER_LEN..).unwrap_or_default();
                Outgoing { header: *header, head, body }
            })
            .collect();
        self.write(&outgoing, now)?;
        drop(outgoing);
        let infos = run.iter().zip(placed).map(|(prepared, (header, _, marker))| {
            self.epochs.assign(epoch, header.base_offset);
            self.note_producer(&header, marker);
            AppendInfo {
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
                log_append_time: prepared.log_append_time,
                log_start_offset: self.log_start,
                bytes: prepared.size(),
                duplicate: false,
            }
        });
        Ok(infos.collect())
    }

    /// Appends batches that already have their offsets and epochs, as a follower does, and as the
    /// metadata log does. Checksums are compared; a cut-off batch at the end is left out. Offsets
    /// may leave gaps but must not go back.
    ///
    /// Returns `None` if there is no whole batch.
    ///
    /// # Errors
    /// A damaged batch, offsets before the end of the log, or a disk that does not take them.
    pub fn append_given(
        &mut self,
        records: Bytes,
        now: WallTime,
    ) -> Result<Option<AppendInfo>, AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        self.prove_end()?;
        let mut batches = Vec::new();
        let mut markers = Vec::new();
        let mut expected = self.end;
        for batch in Batches::new(records) {
            let batch = Batch::parse_checked(batch?.into_bytes())?;
            let first = batch.header().base_offset;
            if first < expected {
                return Err(AppendError::UnexpectedOffset { first, end: expected });
            }
            expected = batch.header().next_offset();
            // Whatever can be wrong with a batch is found before anything is written.
            markers.push(read_marker(&batch, &self.config.decompress_limits)?);
            batches.push(batch);
        }
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else { return Ok(None) };
        let info = AppendInfo {
            base_offset: first.header().base_offset,
            last_offset: last.header().last_offset(),
            max_timestamp: max_timestamp(batches.iter().map(Batch::header)),
            log_append_time: None,
            log_start_offset: self.log_start,
            bytes: batches.iter().map(|batch| batch.bytes().len()).sum(),
            duplicate: false,
        };
        let outgoing: Vec<_> = batches.iter().map(outgoing).collect();
        self.write(&outgoing, now)?;
        for (batch, marker) in batches.iter().zip(markers) {
            if let Some(epoch) = batch.header().leader_epoch {
                self.epochs.assign(epoch, batch.header().base_offset);
            }
            self.note_producer(batch.header(), marker);
        }
        Ok(Some(info))
    }

    /// Before anything is put where a clean stop said that the log ends, the last batch must say so too.
    fn prove_end(&mut self) -> Result<(), AppendError> {
        if !std::mem::take(&mut self.end_unproven) {
            return Ok(());
        }
        let end = self.end;
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        let refused = match active.last_batch(home) {
            Ok(last) => {
                let found = last.map_or_else(|| active.base(), |last| last.header.next_offset());
                if found == end {
                    return Ok(());
                }
                AppendError::WrongEnd { end, found }
            }
            Err(ReadError::Disk(source)) => AppendError::Disk { at: end, source },
            Err(_) => AppendError::WrongEnd { end, found: active.base() },
        };
        self.failed = true;
        Err(refused)
    }

    /// A repeat that the state does not know may be in the log: a snapshot has the last batch alone.
    fn check_producer(
        &mut self,
        prepared: &PreparedAppend,
    ) -> Result<Option<RememberedBatch>, AppendError> {
        match self.judge_producer(prepared) {
            Err(AppendError::OutOfOrderSequence { producer_id, .. })
                if self.recall(producer_id) =>
            {
                self.judge_producer(prepared)
            }
            other => other,
        }
    }

    /// Reads the last batches of a producer once after a start; true if that told more. What
    /// cannot be read is not remembered, and the producer begins a new epoch.
    fn recall(&mut self, producer_id: ProducerId) -> bool {
        if !self.producers.take_partial(producer_id) {
            return false;
        }
        let Self { segments, home, producers, .. } = self;
        let older = segments.len().saturating_sub(2);
        let headers = segments
            .iter_mut()
            .skip(older)
            .filter_map(|segment| segment.last_headers(home, RECALLED_BYTES).ok());
        producers.recall(producer_id, &headers.flatten().collect::<Vec<_>>())
    }

    fn judge_producer(
        &self,
        prepared: &PreparedAppend,
    ) -> Result<Option<RememberedBatch>, AppendError> {
        let header = prepared.batch.header();
        let Some(producer_id) = header.producer_id else { return Ok(None) };
        let earlier = match prepared.origin {
            AppendOrigin::Client => self.producers.check(header)?,
            AppendOrigin::Coordinator => {
                self.producers.check_epoch(header)?;
                None
            }
        };
        if earlier.is_none() && !header.attributes.is_control() {
            match (header.attributes.is_transactional(), self.producers.transaction_of(producer_id))
            {
                (true, None) => return Err(AppendError::NoTransaction(producer_id)),
                (false, Some(_)) => return Err(AppendError::OutsideTransaction(producer_id)),
                _ => {}
            }
        }
        Ok(earlier)
    }

    fn duplicate(&self, earlier: &RememberedBatch) -> AppendInfo {
        AppendInfo {
            base_offset: earlier.first_offset(),
            last_offset: earlier.last_offset,
            max_timestamp: earlier.timestamp,
            log_append_time: Some(earlier.timestamp),
            log_start_offset: self.log_start,
            bytes: 0,
            duplicate: true,
        }
    }

    // Only the tail of the log changes; on an error nothing but the file's unused end does.
    fn write(&mut self, batches: &[Outgoing<'_>], now: WallTime) -> Result<(), AppendError> {
        let at = self.end;
        let disk = |source| AppendError::Disk { at, source };
        let last = batches.last().map_or(at, |batch| batch.header.last_offset());
        assert!(at <= last, "appended offsets follow the end");
        let bytes = batches.iter().map(|batch| (batch.head.len() + batch.body.len()) as u64).sum();
        let newest = max_timestamp(batches.iter().map(|batch| &batch.header));
        let rules = self.roll_rules();
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        let first = batches.first().map_or(at, |batch| batch.header.base_offset);
        let roll = active.must_roll(home, &rules, bytes, last, newest, now);
        if roll.map_err(|error| disk(io::Error::other(error)))? {
            self.roll_at(first, now).map_err(|source| self.write_failed(at, source))?;
        }
        let interval = self.config.index_interval_bytes;
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        let before = active.size();
        match active.append(home, batches, interval, now) {
            Ok(()) => {
                assert!(active.size() == before + bytes, "every byte is accounted for");
                self.end = last.next();
                self.closed_at = None;
                self.check();
                Ok(())
            }
            Err(source) => Err(self.write_failed(at, source)),
        }
    }

    // A full disk leaves the log as it was, if what was written of the batch can be cut off again.
    // Anything else leaves it dead.
    fn write_failed(&mut self, at: Offset, source: io::Error) -> AppendError {
        let full =
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        let size = active.size();
        let restored = full
            && !self.failed
            && active.keep_open(home).and_then(|file| file.set_len(size)).is_ok();
        if restored {
            return AppendError::NoSpace { at, source };
        }
        self.failed = true;
        AppendError::Disk { at, source }
    }

    fn note_producer(&mut self, header: &BatchHeader, marker: Option<Marker>) {
        match marker {
            Some(marker) => {
                if let Some(aborted) = self.producers.note_marker(header, marker) {
                    self.active().note_aborted(aborted);
                }
            }
            None if !header.attributes.is_control() => self.producers.note(header),
            None => {}
        }
    }

    pub(super) fn roll_rules(&self) -> RollRules {
        let age = self.config.segment_age_max.saturating_sub(self.config.segment_jitter);
        RollRules {
            segment_bytes: self.config.segment_bytes,
            index_bytes: self.config.index_bytes,
            age_max_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Closes the segment that grows and begins another, unless it is empty.
    ///
    /// # Errors
    /// The disk failed; a full disk changes nothing.
    pub fn roll(&mut self, now: WallTime) -> Result<(), AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        if self.active().size() == 0 {
            return Ok(());
        }
        let at = self.end;
        self.roll_at(at, now).map_err(|source| self.write_failed(at, source))
    }

    // The new segment begins with the first offset that will be in it, which may lie behind a gap.
    fn roll_at(&mut self, first: Offset, now: WallTime) -> io::Result<()> {
        let base = first.max(self.end);
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        assert!(active.base() < base, "a segment begins where the one before it ends");
        active.seal(home)?;
        // Its indexes were written just now, and recovery will trust them.
        active.set_unsynced(true);
        let created = Segment::create(home, base, now);
        self.names_unsynced = true;
        let next = created.inspect_err(|_| {
            // What fits goes on into the segment before, and a file of this name would hide it at the next start.
            self.failed |= remove_segment(&self.home, base).is_err();
        })?;
        self.segments.push(next);
        // Synced with the next flush: until then an older one and the batches behind it will do.
        self.take_snapshot(false)
    }
}

/// Whether a batch that was checked leaves nothing to check for the one behind it: both without a
/// producer, or the next in sequence of the same one, and neither of a transaction.
fn goes_on(before: &PreparedAppend, next: &PreparedAppend) -> bool {
    let (before, next) = (before.batch.header(), next.batch.header());
    let plain = |header: &BatchHeader| {
        !header.attributes.is_control() && !header.attributes.is_transactional()
    };
    let same =
        (before.producer_id, before.producer_epoch) == (next.producer_id, next.producer_epoch);
    let in_order = match (before.last_sequence(), next.base_sequence) {
        (None, None) => true,
        (Some(last), Some(first)) => last.plus(1) == first,
        _ => false,
    };
    plain(before) && plain(next) && same && in_order
}

fn outgoing(batch: &Batch) -> Outgoing<'_> {
    let (head, body) = batch.bytes().split_at(HEADER_LEN);
    Outgoing { header: *batch.header(), head, body }
}

fn max_timestamp<'a>(headers: impl Iterator<Item = &'a BatchHeader>) -> Timestamp {
    headers.map(|header| header.max_timestamp).max().unwrap_or_default()
}

/// What the batch says if it is a producer's marker: its value is a version and the epoch of the
/// transaction coordinator.
pub(crate) fn read_marker(
    batch: &Batch,
    limits: &DecompressLimits,
) -> Result<Option<Marker>, BatchError> {
    if batch.header().producer_id.is_none() || !batch.header().attributes.is_control() {
        return Ok(None);
    }
    // Compaction leaves an empty batch when the whole transaction is gone.
    let Some(record) = batch.records(limits)?.next().transpose()? else { return Ok(None) };
    let aborts = match ControlType::of(&record)? {
        ControlType::Abort => true,
        ControlType::Commit => false,
        _ => return Ok(None),
    };
    let mut value = Reader::new(record.value.unwrap_or_default());
    value.i16("marker version").map_err(BatchError::Control)?;
    let coordinator_epoch = value.i32("coordinator epoch").map_err(BatchError::Control)?;
    Ok(Some(Marker { aborts, coordinator_epoch }))
}
