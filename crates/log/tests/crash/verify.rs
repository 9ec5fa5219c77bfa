//! A disk as it is found after a crash: it is started from, and compared with the model.
//!
//! What holds: records that were reported as durable are there; nothing is there that was never
//! appended; order, offsets, epochs, producers and transactions are those of the batches; a second
//! recovery finds what the first one did, also if the first one was cut short.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_log::storage::{CrashMode, SimStorage};
use ottla_log::{AppendOrigin, CorruptDetail, LogDirectory, OpenError, RecoveryReport, Storage};
use ottla_record::{BatchBuilder, Batches, Compression};
use ottla_types::{LeaderEpoch, Timestamp};

use crate::common::{Log, PARENT, at};
use crate::model::{Aborted, Batch, Model, replay};
use crate::workload::open_as_left;

/// How often each thing was seen, so that a run can say what it was worth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Disks that were started from.
    pub(crate) images: u64,
    /// With a tail that was cut off.
    pub(crate) torn: u64,
    /// Not opened until the damage was accepted.
    pub(crate) refused: u64,
    /// Without the partition, of which nothing was durable.
    pub(crate) empty: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.images += other.images;
        self.torn += other.torn;
        self.refused += other.refused;
        self.empty += other.empty;
    }

    /// Whether every outcome was met.
    pub(crate) fn has_everything(&self) -> bool {
        self.torn > 0 && self.refused > 0 && self.empty > 0
    }
}

/// What one start found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    start: u64,
    end: u64,
    batches: Vec<Batch>,
    producers: BTreeMap<u64, (Option<u32>, Option<u64>)>,
    aborted: Vec<Aborted>,
}

/// Checks one image, and those of crashes while it is recovered; `seed` scatters these.
pub(crate) fn check(image: &SimStorage, model: &Model, mode: CrashMode, seed: u64) -> Tally {
    let mut tally = Tally { images: 1, ..Tally::default() };
    let disk = Arc::new(image.crash(CrashMode::Everything));
    let Some((mut log, report, accepted)) = start(&disk, model, mode) else {
        assert_eq!(model.durable, 0, "the partition is gone");
        tally.empty = 1;
        return tally;
    };
    tally.torn = u64::from(report.truncated_bytes > 0);
    tally.refused = u64::from(accepted);
    let found = look(&mut log, model);
    compare(&found, &mut log, model, mode);
    let kept: u64 = report.quarantined.iter().map(|path| file_len(&disk, path)).sum();
    assert_eq!(kept, report.truncated_bytes, "cut off bytes are kept");
    drop(log);
    // Power goes again before anything that recovery wrote was synced, ...
    again(&disk.crash(CrashMode::Nothing), model, mode, &found);
    // ... or while it wrote.
    let steps = disk.steps();
    if steps > 0 {
        let disk = Arc::new(image.crash(CrashMode::Everything));
        disk.lose_power_at_step(1 + usize::try_from(seed).expect("64 bits") % steps);
        start_quietly(&disk);
        again(&disk.crash(CrashMode::Prefix(seed)), model, mode, &found);
        tally.images += 1;
    }
    tally.images += 1;
    goes_on(&disk, model, mode, &found);
    tally
}

/// Starts; damage that an operator must accept is accepted, if such a crash may look like that.
fn start(
    disk: &Arc<SimStorage>,
    model: &Model,
    mode: CrashMode,
) -> Option<(Log, RecoveryReport, bool)> {
    if disk.list(Path::new(PARENT)).is_err() {
        return None;
    }
    let directory = LogDirectory::open(Arc::clone(disk), Path::new(PARENT)).expect("a directory");
    let clean = directory.take_clean_mark().expect("readable").is_some();
    match open_as_left(disk, &directory, clean, false)? {
        Ok((log, report)) => Some((log, report, false)),
        Err(error) => {
            assert!(may_be_refused(&error, mode), "{error}: {model:?}");
            let opened = open_as_left(disk, &directory, clean, true)?;
            let (log, report) = opened.expect("accepted");
            Some((log, report, true))
        }
    }
}

/// Writes to different files, or to different places of one, may survive in any order. A hole with
/// batches behind it looks like damage, and then nothing is cut off until an operator says so. What
/// was durable is never damaged.
fn may_be_refused(error: &OpenError, mode: CrashMode) -> bool {
    let OpenError::Corrupt { detail, .. } = error else { return false };
    match mode {
        CrashMode::Nothing | CrashMode::Everything => false,
        CrashMode::Prefix(_) => *detail == CorruptDetail::SegmentsFollow,
        _ => *detail != CorruptDetail::BeforeRecoveryPoint,
    }
}

fn start_quietly(disk: &Arc<SimStorage>) -> Option<()> {
    let directory = LogDirectory::open(Arc::clone(disk), Path::new(PARENT)).ok()?;
    let clean = directory.take_clean_mark().ok()?.is_some();
    if open_as_left(disk, &directory, clean, false)?.is_err() {
        open_as_left(disk, &directory, clean, true)?.ok()?;
    }
    Some(())
}

fn again(image: &SimStorage, model: &Model, mode: CrashMode, found: &Found) {
    let disk = Arc::new(image.clone());
    let mode = match mode {
        // What a crash while recovering left may be one more tear.
        CrashMode::Nothing | CrashMode::Everything => CrashMode::Prefix(0),
        other => other,
    };
    let Some((mut log, ..)) = start(&disk, model, mode) else {
        panic!("the partition was there: {model:?}");
    };
    let second = look(&mut log, model);
    assert_eq!(&second, found, "a second recovery finds the same: {model:?}");
}

/// The log takes records again, and they are durable.
fn goes_on(disk: &Arc<SimStorage>, model: &Model, mode: CrashMode, found: &Found) {
    let Some((mut log, ..)) = start(disk, model, mode) else { panic!("the partition was there") };
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push_pair(Timestamp(1), None, Some(b"after"));
    let bytes = builder.build().expect("builds");
    let prepared = log.config().prepare(bytes, AppendOrigin::Client, at(1)).expect("fine");
    log.append(&prepared, LeaderEpoch(model.epoch + 1), at(1)).expect("appends after recovery");
    assert_eq!(log.flush().expect("flushes").0, found.end + 1);
    drop(log);
    let after = Arc::new(disk.crash(CrashMode::Nothing));
    let Some((mut log, ..)) = start(&after, model, CrashMode::Nothing) else {
        panic!("a flushed partition is gone: {model:?}");
    };
    let last = look(&mut log, model);
    assert_eq!(last.end, found.end + 1);
    assert_eq!(last.batches.len(), found.batches.len() + 1, "{model:?}");
}

fn look(log: &mut Log, model: &Model) -> Found {
    let (start, end) = (log.log_start_offset(), log.end_offset());
    let mut batches = Vec::new();
    let mut from = start;
    while from < end {
        let bytes = log.read_bytes(from, 1 << 16, end).expect("reads");
        for batch in Batches::new(bytes) {
            let batch = batch.expect("a batch");
            ottla_record::check_crc(batch.bytes()).expect("undamaged");
            let header = *batch.header();
            assert!(from <= header.base_offset || batches.is_empty(), "offsets ascend");
            // Of deleted records that a crash brought back the epochs may be forgotten.
            let known = log.epoch_at(header.base_offset.max(start));
            let deleted = header.base_offset.0 < model.log_start.max(model.start);
            assert!(
                known == header.leader_epoch || (known < header.leader_epoch && deleted),
                "epoch {known:?} of {header:?}, start {start}, end {end}: {model:?}"
            );
            from = header.next_offset();
            batches.push(Batch::found(&header));
        }
    }
    assert_eq!(from, end.max(start), "the last batch ends the log");
    let producers = log.describe_producers().into_iter().map(|view| {
        let start = view.transaction_start.map(|start| start.0);
        (view.producer_id.0, (view.last_sequence.map(|last| last.0), start))
    });
    let producers = producers.collect();
    let aborted = log.aborted_between(start, end).expect("reads").into_iter();
    let aborted =
        aborted.map(|one| (one.producer_id.0, one.first_offset.0, one.last_offset.0)).collect();
    Found { start: start.0, end: end.0, batches, producers, aborted }
}

fn compare(found: &Found, log: &mut Log, model: &Model, mode: CrashMode) {
    // An operator who accepts a hole where records were being deleted gives up what is behind it.
    let deleted = matches!(mode, CrashMode::Blocks { .. }) && found.end <= model.start;
    assert!(
        model.durable <= found.end || deleted,
        "durable records are missing: {found:?} {model:?}"
    );
    let history = model.histories().find(|batches| matches(found, batches, model, mode));
    let Some(history) = history else {
        panic!("not what was appended: {mode:?} {found:?} {model:?}");
    };
    compare_producers(found, history, model, mode);
    let newest = log.latest_epoch().map(|epoch| epoch.0);
    let known = history.iter().filter(|batch| batch.base < found.end).map(|batch| batch.epoch);
    // A log that starts over forgets its epochs last.
    let empty = found.batches.is_empty();
    assert!(empty || newest <= known.max(), "an epoch without records: {newest:?} {model:?}");
    let (flushed, most) = (log.flushed_to().0, model.durable.max(found.start));
    // A truncation that is under way takes what was durable.
    assert!(
        flushed <= most || model.before.is_some(),
        "{flushed} are not durable: {found:?} {model:?}"
    );
}

fn compare_producers(found: &Found, history: &[Batch], model: &Model, mode: CrashMode) {
    let mut kept_from = found.batches.first().map_or(found.end, |first| first.base);
    if matches!(mode, CrashMode::Blocks { .. }) {
        // Of what was being deleted any file may be missing.
        kept_from = kept_from.max(model.start);
    }
    // A marker may be in a hole where deleted records were.
    let pairs = found.batches.iter().zip(found.batches.iter().skip(1));
    let whole = pairs.into_iter().all(|(one, next)| one.next == next.base);
    let (producers, aborted) = replay(history, found.end);
    for (id, expected) in &producers {
        let got = found.producers.get(id).copied();
        // What was deleted with the records may be known from a snapshot.
        if expected.seen_at >= kept_from {
            let (last, start) = got.unwrap_or_default();
            assert_eq!(last, expected.last_sequence, "producer {id}: {found:?} {model:?}");
            if whole && expected.transaction_start.is_none_or(|start| start >= kept_from) {
                assert_eq!(start, expected.transaction_start, "producer {id}: {model:?}");
            }
        }
    }
    // A log that starts over forgets its producers last, if names are lost at random.
    let ever = model.before.as_ref().map(|before| replay(before, u64::MAX).0).unwrap_or_default();
    let ever = |id| found.batches.is_empty() && ever.contains_key(id);
    for id in found.producers.keys() {
        assert!(producers.contains_key(id) || ever(id), "producer {id}: {found:?} {model:?}");
    }
    // One that began before the first record begins with it, or is forgotten.
    for one in aborted.iter().filter(|one| one.1 >= kept_from && whole) {
        assert!(found.aborted.contains(one), "{one:?} was aborted: {found:?} {model:?}");
    }
    for got in found.aborted.iter().filter(|got| got.1 >= kept_from && whole) {
        let same = |one: &&Aborted| (one.0, one.2) == (got.0, got.2);
        let one = aborted.iter().find(same);
        let right = one.is_some_and(|one| one.1 == got.1 || one.1 < kept_from);
        assert!(right, "{got:?} was not aborted: {found:?} {model:?}");
    }
}

/// Whether what was found is a stretch of these batches that holds all that may not be missing.
fn matches(found: &Found, batches: &[Batch], model: &Model, mode: CrashMode) -> bool {
    let needed_from = model.start.max(found.start);
    let mut expected = batches.iter().filter(|batch| batch.next > found.start);
    let mut last = None;
    for header in &found.batches {
        let Some(batch) = expected.by_ref().find(|batch| {
            // Only what was deleted may be missing, and that only where names are lost at random.
            let may_lack = batch.next <= model.start && matches!(mode, CrashMode::Blocks { .. });
            batch.is(header) || !(may_lack || (last.is_none() && batch.next <= model.start))
        }) else {
            return false;
        };
        if !batch.is(header) {
            return false;
        }
        last = Some(batch.next);
    }
    let begins = found.batches.first().map_or(found.end, |first| first.base);
    let first_needed = batches.iter().find(|batch| batch.next > needed_from);
    let whole = first_needed.is_none_or(|first| begins <= first.base || found.end <= first.base);
    // A log that ends before it may be read starts over there.
    (whole || found.end == found.start) && last.is_none_or(|last| last == found.end)
}

fn file_len(disk: &SimStorage, path: &Path) -> u64 {
    disk.read_small(path).expect("reads").map_or(0, |content| content.len() as u64)
}
