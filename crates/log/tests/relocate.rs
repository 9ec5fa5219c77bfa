//! A log moves to another directory while it grows, and power is lost at every sync on the way:
//! there is one current log or a complete future one, and whatever had been reported as durable
//! is in it.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Log, at, client, config, partition, records, values};
use ottla_log::storage::{CrashMode, Fault, Operation, SimStorage};
use ottla_log::{
    LogConfig, OpenInfo, PartitionLog, Relocation, Storage, UnrecoveredLog, future_dir_name,
};
use ottla_types::{LeaderEpoch, Offset, Uuid};

const OLD: &str = "a/t-0";
const NEW: &str = "b/t-0";
const FUTURE: Uuid = Uuid([7; 16]);
const IN_DOUBT: &str = "in doubt: ";

fn settings() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..config() })
}

fn create(storage: &Arc<SimStorage>) -> Option<Log> {
    let (parent, start) = (Path::new("a"), Offset(0));
    PartitionLog::create(storage.clone(), parent, partition(), None, start, settings(), at(0)).ok()
}

fn append(log: &mut Log, count: u64) -> Option<()> {
    for _ in 0..count {
        let next = log.end_offset().0.to_string();
        let prepared = client(log, &[&next, "second"]);
        log.append(&prepared, LeaderEpoch(1), at(5)).ok()?;
    }
    Some(())
}

fn begin(log: &mut Log, storage: &Arc<SimStorage>) -> Option<Relocation<SimStorage>> {
    Relocation::begin(log, storage.clone(), Path::new("b"), FUTURE, at(5)).ok()
}

fn step(relocation: &mut Relocation<SimStorage>, log: &mut Log, bytes: usize) -> Option<()> {
    let job = relocation.plan(log, bytes, at(5)).ok()?;
    let records = job.read().ok()?;
    relocation.append(&job, records, at(5)).ok()
}

/// Grows, moves in small steps while it grows, and grows on. Notes what was durable.
fn workload(storage: &Arc<SimStorage>, durable: &mut u64) -> Option<()> {
    let mut log = create(storage)?;
    append(&mut log, 12)?;
    *durable = log.flush().ok()?.0;
    let mut relocation = begin(&mut log, storage)?;
    for round in 0..6 {
        step(&mut relocation, &mut log, 300)?;
        append(&mut log, 1)?;
        if round % 2 == 0 {
            *durable = log.flush().ok()?.0;
            relocation.flush().ok()?;
        }
    }
    relocation.take_over(&mut log, Uuid([9; 16]), at(5)).ok()?;
    *durable = log.flush().ok()?.0;
    append(&mut log, 3)?;
    *durable = log.flush().ok()?.0;
    Some(())
}

fn open(storage: &SimStorage, dir: PathBuf) -> Log {
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean: false,
        recovery_point: Offset(0),
        log_start: Offset(0),
        config: settings(),
        accept_damage: true,
        now: at(0),
    };
    let log = UnrecoveredLog::open(Arc::new(storage.clone()), dir, info).expect("opens");
    log.recover().expect("recovers").0
}

fn has(storage: &SimStorage, dir: &str) -> bool {
    storage.list(Path::new(dir)).is_ok_and(|entries| !entries.is_empty())
}

/// What a start does with what it finds, and the move brought to its end.
fn restart(storage: &SimStorage, context: &str) -> Option<Log> {
    let future = Path::new("b").join(future_dir_name(&partition(), FUTURE));
    let (old, new) = (has(storage, OLD), has(storage, NEW));
    let filled = has(storage, &future.to_string_lossy());
    let in_doubt = context.starts_with(IN_DOUBT);
    assert!(in_doubt || !(old && new), "two current logs: {context}");
    if old && new {
        // The move has failed, so metadata names the old one; the other is a stray.
        storage.rename(Path::new(NEW), Path::new("b/t-0-stray")).expect("renames");
        return restart(storage, context);
    }
    assert!(!(new && filled), "the future has come and is still to come: {context}");
    if new {
        return Some(open(storage, NEW.into()));
    }
    if old {
        let mut log = open(storage, OLD.into());
        let mut relocation = match filled {
            true => Relocation::resume(open(storage, future), &log).expect("resumes"),
            false => begin(&mut log, &Arc::new(storage.clone())).expect("begins"),
        };
        step(&mut relocation, &mut log, 300).expect("copies");
        relocation.take_over(&mut log, Uuid([9; 16]), at(5)).map_err(|e| e.1).expect("moves");
        return Some(log);
    }
    if filled {
        let mut log = open(storage, future);
        log.promote().expect("promoted");
        return Some(log);
    }
    None
}

#[test]
fn power_may_go_at_every_sync_of_a_move() {
    let storage = Arc::new(SimStorage::new());
    workload(&storage, &mut 0).expect("runs to its end with power");
    let syncs = storage.syncs();
    assert!(syncs > 15, "{syncs} syncs are too few to mean anything");
    let mut states = 0;
    for sync in 1..=syncs {
        let storage = Arc::new(SimStorage::new());
        storage.lose_power_at_sync(sync);
        let mut durable = 0;
        workload(&storage, &mut durable);
        let mut modes = vec![CrashMode::Nothing, CrashMode::Everything];
        modes.extend((0..20).map(|seed| CrashMode::Prefix(seed * 7919 + sync as u64)));
        for mode in modes {
            let context = format!("sync {sync}, {mode:?}, durable {durable}");
            states += check(&storage.crash(mode), durable, &context);
        }
    }
    assert!(states > 250, "only {states} states");
}

#[test]
fn any_call_of_a_move_may_fail() {
    let (mut states, mut places) = (0, BTreeSet::new());
    for full in [false, true] {
        for call in 1.. {
            let storage = Arc::new(SimStorage::new());
            storage.record_sites();
            let fault = Fault::any().nth(call);
            storage.inject(if full { fault.full() } else { fault });
            let mut durable = 0;
            workload(&storage, &mut durable);
            let sites = storage.sites();
            let Some(place) = sites.iter().find_map(|(site, hit)| hit.then_some(*site)) else {
                break;
            };
            places.insert(place);
            storage.clear_faults();
            for mode in [CrashMode::Everything, CrashMode::Nothing, CrashMode::Prefix(call as u64)]
            {
                // What a directory's failed sync has left there nobody knows after a power cut.
                let doubt = place.operation == Operation::SyncDir && mode != CrashMode::Everything;
                let doubt = if doubt { IN_DOUBT } else { "" };
                let context = format!("{doubt}call {call}, {place:?}, {mode:?}, durable {durable}");
                states += check(&storage.crash(mode), durable, &context);
            }
        }
    }
    assert!(states > 500 && places.len() > 15, "{states} states, {} places", places.len());
}

/// Restarts a disk, looks for what was durable, and goes on; 1 if there was a log.
fn check(found: &SimStorage, durable: u64, context: &str) -> u64 {
    let Some(mut log) = restart(found, context) else {
        assert_eq!(durable, 0, "{context}");
        return 0;
    };
    assert!(durable <= log.end_offset().0, "lost: {context}, end {}", log.end_offset());
    for (number, record) in records(&mut log).iter().enumerate() {
        let text = if number % 2 == 0 { number.to_string() } else { "second".to_owned() };
        assert_eq!(record.value.as_deref(), Some(text.as_bytes()), "{context}");
    }
    append(&mut log, 1).expect("goes on");
    log.flush().expect("flushes");
    let end = log.end_offset();
    let again = restart(&found.crash(CrashMode::Nothing), context).expect("is there");
    assert_eq!(again.end_offset(), end, "{context}");
    1
}

#[test]
fn a_move_follows_deleted_records_and_keeps_producers() {
    let storage = Arc::new(SimStorage::new());
    let mut log = create(&storage).expect("created");
    append(&mut log, 10).expect("appends");
    let end = log.end_offset();
    // In the middle of a batch: the batch goes along whole.
    log.delete_records(Offset(3), end).expect("deletes");
    let mut relocation = begin(&mut log, &storage).expect("begins");
    step(&mut relocation, &mut log, 1).expect("copies one batch");
    assert_eq!(relocation.future().end_offset(), Offset(4));
    assert_eq!(relocation.future().log_start_offset(), Offset(3));
    // Retention overtakes the copy.
    log.delete_records(Offset(12), end).expect("deletes");
    step(&mut relocation, &mut log, 1).expect("copies on");
    assert_eq!(relocation.future().log_start_offset(), Offset(12));
    log.start_epoch(LeaderEpoch(4));
    let old = relocation.take_over(&mut log, Uuid([9; 16]), at(5)).map_err(|e| e.1);
    assert_eq!(old.expect("moves").to_string_lossy(), format!("a/t-0.{}-delete", "09".repeat(16)));
    assert_eq!(log.dir(), Path::new(NEW));
    assert_eq!((log.log_start_offset(), log.end_offset()), (Offset(12), end));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
    assert_eq!(log.flushed_to(), end);
    assert_eq!(values(&mut log).len(), 8);
}
