//! What power cuts and kills once broke, each in its smallest form.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, Log, at, client, config, create, names, reopen, try_open, values};
use ottla_log::storage::{CrashMode, SimStorage};
use ottla_log::{LogConfig, LogDirectory, Storage};
use ottla_record::{BatchBuilder, Compression, ControlType, NewRecord};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

fn small_segments() -> LogConfig {
    LogConfig { segment_bytes: 100, ..config() }
}

fn fill(log: &mut Log, values: &[&str]) {
    for value in values {
        log.append(&client(log, &[value]), LeaderEpoch(1), at(5)).expect("appends");
    }
}

fn given(log: &mut Log, builder: BatchBuilder) {
    let bytes = builder.base_offset(log.end_offset()).leader_epoch(LeaderEpoch(1)).build();
    log.append_given(bytes.expect("builds"), at(5)).expect("appends");
}

/// A transaction of one record, and its abort.
fn abort(log: &mut Log) {
    let (id, epoch) = (ProducerId(7), ProducerEpoch(0));
    let mut data =
        BatchBuilder::new(Compression::None).producer(id, epoch, Sequence(0)).transactional();
    data.push_pair(Timestamp(5), None, Some(b"aborted"));
    given(log, data);
    let marker = BatchBuilder::new(Compression::None).marker_of(id, epoch);
    let mut marker = marker.transactional().control();
    marker.push(&NewRecord {
        timestamp: Timestamp(6),
        key: Some(&ControlType::Abort.key()),
        value: Some(&[0; 6]),
        headers: &[],
    });
    given(log, marker);
}

fn aborted(log: &mut Log) -> usize {
    log.aborted_between(log.log_start_offset(), log.end_offset()).expect("reads").len()
}

/// Does something with the power going at each of its steps; looks at what a kill leaves.
fn killed_at_every_step(
    made: impl Fn() -> (Arc<SimStorage>, Log),
    doing: impl Fn(&mut Log),
    look: impl Fn(&SimStorage, usize),
) {
    let (storage, mut log) = made();
    let before = storage.steps();
    doing(&mut log);
    let steps = storage.steps() - before;
    assert!(steps > 1);
    for step in 1..=steps {
        let (storage, mut log) = made();
        storage.lose_power_at_step(storage.steps() + step);
        doing(&mut log);
        look(&storage.crash(CrashMode::Everything), step);
    }
}

#[test]
fn a_new_directory_has_a_durable_name() {
    let storage = Arc::new(SimStorage::new());
    LogDirectory::open(Arc::clone(&storage), Path::new("disk/kafka")).unwrap();
    storage.crash(CrashMode::Nothing).list(Path::new("disk/kafka")).unwrap();
}

#[test]
fn a_truncation_cut_short_leaves_no_gap() {
    let made = || {
        let (storage, mut log) = create(small_segments());
        fill(&mut log, &["a", "b", "c", "d", "e"]);
        log.flush().unwrap();
        (storage, log)
    };
    let settings = Arc::new(small_segments());
    let cut = |log: &mut Log| drop(log.truncate_to(Offset(1)));
    killed_at_every_step(made, cut, |found, step| {
        let (log, _) = try_open(found, &settings, false, 0, false).unwrap();
        assert!(Offset(1) <= log.end_offset(), "step {step}");
    });
    let start_over = |log: &mut Log| drop(log.truncate_fully(Offset(9), at(5)));
    killed_at_every_step(made, start_over, |found, step| {
        let opened = try_open(found, &settings, false, 0, false);
        assert!(opened.is_ok(), "step {step}: {opened:?}");
    });
}

#[test]
fn what_was_cut_off_does_not_continue_what_came_later() {
    let (storage, mut log) = create(config());
    fill(&mut log, &["a", "b", "c", "d"]);
    log.flush().unwrap();
    log.truncate_to(Offset(1)).unwrap();
    log.append(&client(&log, &["x"]), LeaderEpoch(2), at(5)).unwrap();
    // The new batch comes to the disk, and its length does not.
    for seed in 0..200 {
        let found = storage.crash(CrashMode::Blocks { seed, size: 64 });
        let (mut log, _) = reopen(&found, log.config(), false, 0);
        let got = values(&mut log);
        assert!(got == ["a"] || got == ["a", "x"], "{got:?}");
    }
}

#[test]
fn a_clean_stop_makes_the_last_indexes_durable() {
    let (storage, mut log) = create(config());
    abort(&mut log);
    log.flush().unwrap();
    log.close().unwrap();
    let found = storage.crash(CrashMode::Nothing);
    let (mut log, _) = reopen(&found, log.config(), true, 2);
    assert_eq!(aborted(&mut log), 1);
    let found = log.offset_for_timestamp(Timestamp(6)).unwrap();
    assert_eq!(found.map(|found| found.offset), Some(Offset(1)));
}

#[test]
fn a_segment_that_ends_at_the_recovery_point_is_not_trusted() {
    let (storage, mut log) = create(config());
    abort(&mut log);
    assert_eq!(log.flush().unwrap(), Offset(2));
    // The indexes are written now, and the recovery point is known.
    log.roll(at(5)).unwrap();
    fill(&mut log, &["a"]);
    let (mut log, _) = reopen(&storage.crash(CrashMode::Names), log.config(), false, 2);
    assert_eq!(aborted(&mut log), 1);
}

#[test]
fn a_segment_that_comes_back_has_its_aborted_transactions() {
    let made = || {
        let (storage, mut log) = create(small_segments());
        abort(&mut log);
        fill(&mut log, &["a", "b"]);
        log.flush().unwrap();
        log.delete_records(Offset(2), Offset(4)).unwrap();
        (storage, log)
    };
    let settings = Arc::new(small_segments());
    let retain = |log: &mut Log| drop(log.delete_expired(at(5), Offset(4)));
    killed_at_every_step(made, retain, |found, step| {
        let (mut log, _) = try_open(found, &settings, false, 4, false).unwrap();
        let first = log.log_start_offset();
        let expected = usize::from(first < Offset(2));
        assert_eq!(aborted(&mut log), expected, "step {step}, from {first}");
    });
}

#[test]
fn a_snapshot_of_deleted_records_tells_nothing() {
    let (storage, mut log) = create(small_segments());
    let begin = BatchBuilder::new(Compression::None);
    let mut begin = begin.producer(ProducerId(9), ProducerEpoch(0), Sequence(0)).transactional();
    begin.push_pair(Timestamp(5), None, Some(b"open"));
    given(&mut log, begin);
    log.roll(at(5)).unwrap();
    fill(&mut log, &["a", "b"]);
    log.flush().unwrap();
    assert!(names(&storage).contains(&"00000000000000000001.snapshot".to_owned()));
    log.delete_records(Offset(2), Offset(3)).unwrap();
    drop(log.delete_expired(at(5), Offset(3)).unwrap());
    // The segment is gone, and what came behind the snapshot with it; newer snapshots rot.
    let found = storage.crash(CrashMode::Everything);
    let name = |offset| Path::new(DIR).join(format!("{offset:020}.snapshot"));
    for offset in [2, 3] {
        let _ = found.remove_file(&name(offset));
    }
    let returned = name(1);
    let gone = returned.with_extension("snapshot.deleted");
    if found.open(&gone).is_ok() {
        found.rename(&gone, &returned).unwrap();
    }
    let (mut log, _) = reopen(&found, log.config(), false, 3);
    assert_eq!(log.first_unstable_offset(Offset(3)), None);
}
