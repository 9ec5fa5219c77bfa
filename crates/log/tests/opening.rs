//! What it takes to open a log that was closed, and to keep it: no look at its batches, and little memory.
#![allow(clippy::disallowed_methods, reason = "a caller may have threads")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{DIR, at, client, config, create, partition, reopen, try_open, values};
use ottla_log::storage::{Fault, Operation, SimStorage};
use ottla_log::{
    AppendError, CorruptDetail, FsStorage, LogConfig, OpenError, OpenInfo, PartitionLog,
    SegmentCheck, Storage, StorageFile, UnrecoveredLog,
};
use ottla_testkit::{Folder, Memory};
use ottla_types::{LeaderEpoch, Offset, TopicPartition};

#[global_allocator]
static MEMORY: Memory = Memory;

fn small() -> LogConfig {
    LogConfig { segment_bytes: 300, ..config() }
}

/// A closed log of several segments.
fn closed() -> (Arc<SimStorage>, Arc<LogConfig>, Offset) {
    let (storage, mut log) = create(small());
    for text in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        log.append(&client(&log, &[text, "x"]), LeaderEpoch(0), at(5)).expect("appends");
    }
    assert!(log.segment_count() > 2);
    log.close().expect("closes");
    (storage, Arc::new(small()), log.end_offset())
}

#[test]
fn a_clean_start_looks_at_no_batch() {
    let (storage, config, end) = closed();
    for operation in [Operation::Open, Operation::Read] {
        let found = storage.crash(ottla_log::storage::CrashMode::Everything);
        found.inject(Fault::on(operation).path_ending(".log").from_then_on());
        let opened = try_open(&found, &config, true, end.0, false);
        assert_eq!(opened.expect("opens").0.end_offset(), end, "{operation:?}");
        // The fault is real: without a recovery point that agrees, the last batch is read.
        assert!(try_open(&found, &config, true, 0, false).is_err(), "{operation:?}");
    }
    let (mut log, _) = reopen(&storage, &config, true, end.0);
    log.append(&client(&log, &["i"]), LeaderEpoch(0), at(5)).expect("goes on");
    assert_eq!(values(&mut log).last().map(String::as_str), Some("i"));
}

#[test]
fn files_that_changed_since_the_stop_take_no_append() {
    let (storage, config, end) = closed();
    let logs = storage.list(Path::new(DIR)).expect("lists").into_iter();
    let last = logs.filter(|entry| entry.name.ends_with(".log")).max_by_key(|e| e.name.clone());
    let last = last.expect("a segment");
    let file = storage.open(&last.path).expect("opens");
    let batch_len = u64::try_from(common::batch(&["a", "x"]).len()).expect("small");
    let spoils: [(&str, u64); 2] = [("cut", last.len - batch_len), ("torn", last.len - 1)];
    for (what, len) in spoils {
        file.set_len(len).expect("cuts");
        let (mut log, _) = reopen(&storage, &config, true, end.0);
        let refused = log.append(&client(&log, &["i"]), LeaderEpoch(0), at(5));
        assert!(matches!(refused, Err(AppendError::WrongEnd { .. })), "{what}: {refused:?}");
        let again = log.append(&client(&log, &["i"]), LeaderEpoch(0), at(5));
        assert!(matches!(again, Err(AppendError::Failed)), "{what}: {again:?}");
    }
    // Without its last segment the log ends before what had been synced.
    file.set_len(0).expect("cuts");
    let refused = try_open(&storage, &config, true, end.0, false);
    let detail = CorruptDetail::BeforeRecoveryPoint;
    let corrupt =
        |error: &OpenError| matches!(error, OpenError::Corrupt { detail: d, .. } if *d == detail);
    assert!(refused.as_ref().err().is_some_and(corrupt), "{refused:?}");
    let (log, _) = try_open(&storage, &config, true, end.0, true).expect("accepted");
    assert!(log.end_offset() < end);
}

/// A log of many segments after a crash: the last one ends in a torn batch.
fn torn() -> SimStorage {
    let (storage, mut log) = create(small());
    for number in 0..120_u32 {
        let text = number.to_string();
        let epoch = LeaderEpoch(number / 30);
        log.append(&client(&log, &[&text, "x"]), epoch, at(5)).expect("appends");
    }
    assert!(log.segment_count() > 32, "{}", log.segment_count());
    let active = format!("{:020}.log", log.active_segment_base().0);
    let file = storage.open(&Path::new(DIR).join(active)).expect("opens");
    let len = file.len().expect("is there");
    file.set_len(len - 1).expect("cuts");
    (*storage).clone()
}

#[test]
fn threads_change_nothing_about_a_recovery() {
    type Run = fn(&mut [SegmentCheck<SimStorage>]);
    let runs: [Run; 4] = [
        |checks| checks.iter_mut().for_each(SegmentCheck::run),
        |checks| checks.iter_mut().rev().for_each(SegmentCheck::run),
        |checks| {
            std::thread::scope(|scope| {
                for check in checks.iter_mut() {
                    scope.spawn(|| check.run());
                }
            });
        },
        // What is not run is run by the recovery.
        |checks| assert!(checks.len() <= 16),
    ];
    let outcomes = runs.map(|run| {
        let storage = torn();
        let info = OpenInfo {
            partition: partition(),
            topic_id: None,
            clean: false,
            recovery_point: Offset(0),
            log_start: Offset(0),
            config: Arc::new(small()),
            accept_damage: false,
            now: at(0),
        };
        let log = UnrecoveredLog::open(Arc::new(storage.clone()), PathBuf::from(DIR), info);
        let (mut log, report) = log.expect("opens").recover_with(run).expect("recovers");
        let values = values(&mut log);
        let epochs: Vec<_> = (0..5).map(|n| log.end_offset_for_epoch(LeaderEpoch(n))).collect();
        log.close().expect("closes");
        let files = common::names(&storage).into_iter().map(|name| {
            let content = storage.read_small(&Path::new(DIR).join(&name)).expect("reads");
            (name, content)
        });
        (values, epochs, report, files.collect::<Vec<_>>())
    });
    let [first, others @ ..] = outcomes;
    assert_eq!((first.0.len(), first.2.quarantined.len()), (238, 1));
    assert!(others.iter().all(|other| *other == first));
}

#[test]
fn an_idle_partition_takes_less_than_a_kibibyte() {
    const MANY: usize = 100;
    let folder = Folder::new("idle").expect("a folder");
    let storage = Arc::new(FsStorage::default());
    let config = Arc::new(config());
    let name = |number| TopicPartition::parse(&format!("orders-{number}")).expect("a name");
    for number in 0..MANY {
        let log = PartitionLog::create(
            storage.clone(),
            folder.path(),
            name(number),
            None,
            Offset(0),
            config.clone(),
            at(0),
        );
        let mut log = log.expect("created");
        log.append(&client_of(&config), LeaderEpoch(0), at(5)).expect("appends");
        log.close().expect("closes");
    }
    let open = |number| {
        let info = OpenInfo {
            partition: name(number),
            topic_id: None,
            clean: true,
            recovery_point: Offset(1),
            log_start: Offset(0),
            config: config.clone(),
            accept_damage: false,
            now: at(0),
        };
        let dir: PathBuf = folder.path().join(name(number).to_string());
        let log = UnrecoveredLog::open(storage.clone(), dir, info).expect("opens");
        let mut log = log.recover().expect("recovers").0;
        // Used once, and let go of.
        log.append(&client_of(&config), LeaderEpoch(0), at(5)).expect("appends");
        log.read_bytes(Offset(0), 1 << 20, Offset(2)).expect("reads");
        log.flush().expect("flushes");
        log.release().expect("releases");
        log
    };
    let mut logs: Vec<PartitionLog<FsStorage>> = Vec::with_capacity(MANY);
    let (held, taken) = Memory::measure(|| {
        logs.extend((0..MANY).map(open));
        logs.len()
    });
    assert_eq!(held, MANY);
    let each = taken.peak / MANY + size_of::<PartitionLog<FsStorage>>();
    assert!((100..=1024).contains(&each), "{each} bytes each");
    let _ = partition();
}

fn client_of(config: &LogConfig) -> ottla_log::PreparedAppend {
    let origin = ottla_log::AppendOrigin::Client;
    config.prepare(common::batch(&["a"]), origin, at(5)).expect("acceptable")
}
