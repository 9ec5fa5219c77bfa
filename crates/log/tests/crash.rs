//! Power is lost at every sync of a workload, and the disk is found in many states: whatever had
//! been reported as durable is there, and nothing that was never appended.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, Log, PARENT, at, config, partition, records, try_open};
use ottla_log::storage::{CrashMode, SimStorage};
use ottla_log::{
    AppendOrigin, CorruptDetail, LogConfig, OpenError, PartitionLog, RecoveryReport, Storage,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// What the workload had achieved when the power went.
#[derive(Clone, Debug, Default)]
struct Achieved {
    /// Records appended, whether synced or not: record `n` holds the text of `n`.
    appended: u64,
    /// Every offset before this was reported as durable.
    durable: u64,
    /// Segments before this were taken away by retention.
    start: u64,
    /// The directory may know this recovery point.
    recovery_point: u64,
}

fn settings() -> LogConfig {
    LogConfig { segment_bytes: 700, index_interval_bytes: 100, ..config() }
}

fn append(log: &mut Log, achieved: &mut Achieved, count: u64) -> Option<()> {
    let mut builder = BatchBuilder::new(Compression::None).producer(
        ProducerId(1),
        ProducerEpoch(0),
        Sequence(u32::try_from(achieved.appended).expect("small")),
    );
    for number in achieved.appended..achieved.appended + count {
        let text = number.to_string();
        builder.push_pair(Timestamp(1), None, Some(text.as_bytes()));
    }
    let bytes = builder.build().expect("builds");
    let prepared = log.config().prepare(bytes, AppendOrigin::Client, at(1)).expect("fine");
    log.append(&prepared, LeaderEpoch(u32::try_from(achieved.appended / 20).ok()?), at(1)).ok()?;
    achieved.appended += count;
    Some(())
}

/// Appends, flushes with appends in between, rolls, retention, an orderly close and a reopening.
fn workload(storage: &Arc<SimStorage>, achieved: &mut Achieved) -> Option<()> {
    let shared = Arc::new(settings());
    let mut log = PartitionLog::create(
        Arc::clone(storage),
        Path::new(PARENT),
        partition(),
        None,
        Offset(0),
        Arc::clone(&shared),
        at(0),
    )
    .ok()?;
    for round in 0..14_u64 {
        append(&mut log, achieved, 1 + round % 4)?;
        append(&mut log, achieved, 1)?;
        let job = log.prepare_flush();
        // Comes in while the flusher is at work.
        append(&mut log, achieved, 2)?;
        if let Some(job) = job {
            let outcome = job.run();
            achieved.durable = log.complete_flush(job, outcome).ok()?.0;
        }
        if round % 3 == 0 {
            achieved.recovery_point = achieved.durable;
        }
        if round == 8 {
            log.delete_records(Offset(achieved.durable / 2), log.end_offset()).ok()?;
            let deleted = log.delete_expired(at(1), log.end_offset()).ok()?;
            achieved.start = log.log_start_offset().0;
            deleted?.remove().ok()?;
        }
        if round == 10 {
            log.close().ok()?;
            achieved.durable = log.flushed_to().0;
            let (reopened, _) = try_open(storage, &shared, true, achieved.durable, false).ok()?;
            log = reopened;
        }
    }
    Some(())
}

/// Opens what is left and compares it with what had been achieved.
fn check(found: &SimStorage, achieved: &Achieved, recovery_point: u64, mode: CrashMode) {
    let context = format!("{achieved:?}, recovery point {recovery_point}, {mode:?}");
    let shared = Arc::new(settings());
    let (mut log, report) = match try_open(found, &shared, false, recovery_point, false) {
        Ok(opened) => opened,
        Err(error) => accept(found, achieved, recovery_point, mode, error, &context),
    };
    let got = records(&mut log);
    let end = log.end_offset().0;
    assert!(achieved.durable <= end, "durable records are missing: {context}, end {end}");
    assert!(end <= achieved.appended, "records were invented: {context}, end {end}");
    assert!(log.log_start_offset().0 <= achieved.start, "start: {context}");
    for (offset, record) in (log.log_start_offset().0..end).zip(&got) {
        assert_eq!(record.offset, Offset(offset), "{context}");
        let text = offset.to_string();
        assert_eq!(record.value.as_deref(), Some(text.as_bytes()), "{context}");
    }
    assert_eq!(got.len() as u64, end - log.log_start_offset().0, "{context}");
    let last = log.describe_producers().first().and_then(|producer| producer.last_sequence);
    assert_eq!(last.map_or(0, |last| u64::from(last.0) + 1), end, "producers: {context}");
    let kept: u64 = report.quarantined.iter().map(|path| file_len(found, path)).sum();
    assert_eq!(kept, report.truncated_bytes, "cut off bytes are kept: {context}");
    // It goes on, and is found again.
    let mut after = Achieved { appended: end, ..achieved.clone() };
    append(&mut log, &mut after, 3).expect("appends after recovery");
    assert_eq!(log.flush().expect("flushes").0, end + 3, "{context}");
    let (mut again, _) = try_open(&found.crash(CrashMode::Nothing), &shared, false, end, false)
        .expect("opens again");
    assert_eq!(records(&mut again).len(), got.len() + 3, "{context}");
}

fn file_len(storage: &SimStorage, path: &Path) -> u64 {
    storage.read_small(path).expect("reads").map_or(0, |content| content.len() as u64)
}

/// Writes to different files, or to different places of one, may survive in any order. A hole
/// with batches behind it looks like damage, so the log stays offline, with nothing changed, until
/// an operator accepts it. What was durable lies before the hole.
fn accept(
    found: &SimStorage,
    achieved: &Achieved,
    recovery_point: u64,
    mode: CrashMode,
    error: OpenError,
    context: &str,
) -> (Log, RecoveryReport) {
    let allowed = match (&error, mode) {
        (OpenError::Corrupt { detail, .. }, CrashMode::Prefix(_)) => {
            *detail == CorruptDetail::SegmentsFollow
        }
        (OpenError::Corrupt { detail, .. }, CrashMode::Subset(_)) => {
            *detail != CorruptDetail::BeforeRecoveryPoint
        }
        _ => false,
    };
    assert!(allowed, "{error}: {context}");
    let shared = Arc::new(settings());
    let opened = try_open(found, &shared, false, recovery_point, true).expect("accepted");
    assert!(achieved.durable <= opened.0.end_offset().0, "{context}");
    opened
}

fn lose_power_at(sync: usize) -> Option<(SimStorage, Achieved)> {
    let storage = Arc::new(SimStorage::new());
    storage.lose_power_at_sync(sync);
    let mut achieved = Achieved::default();
    workload(&storage, &mut achieved);
    // Until the directory is durable there is nothing to open, and nothing was promised.
    let created = storage.crash(CrashMode::Nothing);
    let usable = created.list(Path::new(DIR)).is_ok_and(|entries| !entries.is_empty());
    assert!(usable || achieved.durable == 0, "{achieved:?}");
    usable.then(|| ((*storage).clone(), achieved))
}

#[test]
fn power_may_go_at_every_sync() {
    let storage = Arc::new(SimStorage::new());
    let mut achieved = Achieved::default();
    workload(&storage, &mut achieved).expect("runs to its end with power");
    let syncs = storage.syncs();
    assert!(syncs > 30, "{syncs} syncs are too few to mean anything");
    let mut states = 0;
    for sync in 1..=syncs {
        let Some((storage, achieved)) = lose_power_at(sync) else { continue };
        let mut modes = vec![CrashMode::Nothing, CrashMode::Everything];
        modes.extend((0..20).map(|seed| CrashMode::Prefix(seed * 7919 + sync as u64)));
        modes.extend((0..10).map(|seed| CrashMode::Subset(seed * 104_729 + sync as u64)));
        for mode in modes {
            for recovery_point in [0, achieved.recovery_point] {
                check(&storage.crash(mode), &achieved, recovery_point, mode);
                states += 1;
            }
        }
    }
    assert!(states > 1500, "only {states} states");
}
