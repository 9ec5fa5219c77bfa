//! What `verify` says of logs that are whole, and of logs of which one byte is wrong.
#![allow(clippy::disallowed_methods, reason = "a test looks at the files itself")]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{DIR, Log, at, config, create, stamped};
use ottla_log::storage::{CrashMode, SimStorage};
use ottla_log::{FsStorage, LogConfig, Problem, Remedy, Storage, StorageFile, Verified, verify};
use ottla_types::{LeaderEpoch, Offset};
use proptest::prelude::*;

fn look(storage: &SimStorage) -> Verified {
    let mut pace = |_| ControlFlow::Continue(());
    verify(storage, Path::new(DIR), &mut pace).expect("reads")
}

/// A closed log of some segments, epochs and timestamps.
fn closed() -> (Arc<SimStorage>, Log) {
    let (storage, mut log) =
        create(LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..config() });
    for round in 0..24 {
        let epoch = LeaderEpoch(u32::try_from(round / 9).expect("small"));
        log.append(&stamped(&log, 10 + 3 * (round % 7)), epoch, at(50)).expect("appends");
    }
    log.close().expect("closes");
    assert!(log.segment_count() > 3);
    (storage, log)
}

fn files(storage: &SimStorage, suffix: &str) -> Vec<PathBuf> {
    let entries = storage.list(Path::new(DIR)).expect("lists");
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(suffix));
    paths.sort();
    paths
}

/// The disk with one byte of a file changed.
fn with_byte(storage: &SimStorage, path: &Path, place: u64, mask: u8) -> SimStorage {
    let storage = storage.crash(CrashMode::Everything);
    let file = storage.open(path).expect("opens");
    let mut byte = [0];
    file.read_at(&mut byte, place).expect("reads");
    file.write_at(&[&[byte[0] ^ mask]], place).expect("writes");
    storage
}

#[test]
fn a_log_that_was_closed_is_whole() {
    let (storage, log) = closed();
    let seen = look(&storage);
    assert_eq!(seen.findings, []);
    assert_eq!((seen.batches, seen.bytes), (24, log.size_bytes() as u64));
    assert_eq!(seen.segments, log.segment_count() as u64);
}

#[test]
fn kafkas_own_directories_are_whole() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut partitions = 0;
    for release in ["kafka-4.3.1", "kafka-4.3.1-transactions"] {
        for entry in std::fs::read_dir(golden.join(release)).expect("golden files") {
            let dir = entry.expect("an entry").path();
            if dir.is_dir() {
                let mut pace = |_| ControlFlow::Continue(());
                let seen = verify(&FsStorage::default(), &dir, &mut pace).expect("reads");
                assert_eq!(seen.findings, [], "{}", dir.display());
                assert!(seen.batches > 0);
                partitions += 1;
            }
        }
    }
    assert!(partitions >= 2);
}

#[test]
fn any_byte_of_a_batch_that_is_wrong_is_found() {
    /// Base offset and leader epoch have no checksum: a wrong one may be as good as another.
    const UNCHECKED: [std::ops::Range<u64>; 2] = [0..8, 12..16];
    let (storage, log) = closed();
    // All are of one size.
    let batch = log.size_bytes() as u64 / log.end_offset().0;
    for path in files(&storage, ".log") {
        let len = storage.open(&path).expect("opens").len().expect("a length");
        for place in 0..len {
            let spoilt = with_byte(&storage, &path, place, 0x41);
            let found = !look(&spoilt).findings.is_empty();
            let unchecked = UNCHECKED.iter().any(|range| range.contains(&(place % batch)));
            assert!(found || unchecked, "{} byte {place}", path.display());
        }
    }
}

#[test]
fn a_torn_tail_is_told_from_damage() {
    let (storage, log) = closed();
    let last = files(&storage, ".log").pop().expect("a segment");
    let len = storage.open(&last).expect("opens").len().expect("a length");
    let torn = storage.crash(CrashMode::Everything);
    torn.open(&last).expect("opens").set_len(len - 1).expect("cuts");
    let problems = |disk: &SimStorage| -> Vec<Problem> {
        look(disk).findings.into_iter().map(|finding| finding.problem).collect()
    };
    let found = problems(&torn);
    let Some(Problem::TornTail { bytes, end }) = found.first() else { panic!("{found:?}") };
    assert_eq!((*end, *bytes > 0), (Offset(log.end_offset().0 - 1), true));
    assert_eq!(found[0].remedy(), Remedy::CutOff);

    let damaged = with_byte(&storage, &files(&storage, ".log")[0], 30, 1);
    let found = problems(&damaged);
    assert!(matches!(found.first(), Some(Problem::Batch(_))), "{found:?}");
    assert_eq!(found[0].remedy(), Remedy::Replica);
}

#[test]
fn what_was_derived_is_compared_with_the_batches() {
    let (storage, _) = closed();
    let first = |suffix: &str| files(&storage, suffix).swap_remove(0);
    // Its position; its timestamp, to an earlier one; the checksum of a snapshot; the first epoch's offset.
    let epochs = PathBuf::from(DIR).join("leader-epoch-checkpoint");
    let text = storage.read_small(&epochs).expect("reads").expect("is there");
    let spoils = [
        (first(".index"), 7, 1),
        (first(".timeindex"), 7, 0x1f),
        (first(".snapshot"), 3, 1),
        (epochs, text.len() as u64 - 2, 1),
    ];
    for (path, place, mask) in spoils {
        let found = look(&with_byte(&storage, &path, place, mask)).findings;
        let derived = |f: &ottla_log::Finding| matches!(f.problem, Problem::Derived(_));
        assert!(!found.is_empty() && found.iter().all(derived), "{}: {found:?}", path.display());
        assert!(found.iter().all(|f| f.problem.remedy() == Remedy::Rebuild));
    }
    storage.remove_file(&first(".index")).expect("removes");
    assert_eq!(look(&storage).findings.len(), 1, "an index of a closed segment is missing");
}

#[test]
fn it_ends_when_it_is_told_to() {
    let (storage, _) = closed();
    let mut read = 0;
    let mut pace = |bytes| {
        read += bytes;
        if read > 500 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let seen = verify(&*storage, Path::new(DIR), &mut pace).expect("reads");
    assert!(seen.stopped && seen.batches < 24, "{seen:?}");
}

#[test]
fn a_scrub_reads_what_is_closed_and_forgets_what_has_gone() {
    let settings = LogConfig { segment_bytes: 400, ..config() };
    let (storage, mut log) = create(settings);
    let fill = |log: &mut Log, count: usize| {
        for _ in 0..count {
            log.append(&stamped(log, 10), LeaderEpoch(0), at(50)).expect("appends");
        }
    };
    fill(&mut log, 3);
    log.flush().expect("flushes");
    assert!(log.prepare_scrub().is_none(), "a segment that grows is left alone");
    fill(&mut log, 20);
    assert!(log.prepare_scrub().is_none(), "so is what is not on disk");
    log.flush().expect("flushes");
    let closed = log.segment_count() as u64 - 1;

    // In the second of them.
    let path = files(&storage, ".log").swap_remove(1);
    let file = storage.open(&path).expect("opens");
    file.write_at(&[b"?"], 66).expect("writes");
    let mut pace = |_| ControlFlow::Continue(());
    let job = log.prepare_scrub().expect("closed segments");
    let seen = job.run(&mut pace).expect("reads");
    let seen = log.complete_scrub(job, seen);
    assert_eq!((seen.findings.len(), seen.segments), (1, closed));
    assert_eq!((&seen.findings[0].path, seen.findings[0].position), (&path, 0));

    // What is retained no longer is nobody's damage, whether it goes before or after it was read.
    let (before, after) =
        (log.prepare_scrub().expect("a job"), log.prepare_scrub().expect("a job"));
    let read = before.run(&mut pace).expect("reads");
    let end = log.end_offset();
    log.delete_records(Offset(15), end).expect("deletes");
    log.delete_expired(at(60), end).expect("expires").expect("segments").remove().expect("removes");
    assert_eq!(log.complete_scrub(before, read).findings, []);
    let read = after.run(&mut pace).expect("reads");
    assert!(read.segments < closed);
    assert_eq!(log.complete_scrub(after, read).findings, []);
}

#[derive(Clone, Debug)]
enum Step {
    Append(i64),
    Truncate(u64),
    Roll,
    NextEpoch,
    Flush,
    Reopen(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_i64..200).prop_map(Step::Append),
        1 => (0_u64..12).prop_map(Step::Truncate),
        1 => Just(Step::Roll),
        1 => Just(Step::NextEpoch),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_was_done_to_a_log_it_is_whole(steps in prop::collection::vec(step(), 1..60)) {
        let shared = LogConfig { segment_bytes: 500, index_interval_bytes: 150, ..config() };
        let (storage, mut log) = create(shared);
        let shared = Arc::new(shared);
        let mut epoch = 0;
        for step in steps {
            match step {
                Step::Append(millis) => {
                    log.append(&stamped(&log, millis), LeaderEpoch(epoch), at(millis)).expect("appends");
                }
                Step::Truncate(back) => {
                    let end = Offset(log.end_offset().0.saturating_sub(back));
                    log.truncate_to(end).expect("truncates");
                }
                Step::Roll => log.roll(at(300)).expect("rolls"),
                Step::NextEpoch => epoch += 1,
                Step::Flush => drop(log.flush().expect("flushes")),
                Step::Reopen(clean) => {
                    log.close().expect("closes");
                    let end = log.end_offset().0;
                    drop(log);
                    log = common::reopen(&storage, &shared, clean, end).0;
                }
            }
        }
        log.close().expect("closes");
        let seen = look(&storage);
        prop_assert_eq!(&seen.findings, &[]);
        prop_assert_eq!(seen.bytes, log.size_bytes() as u64);
    }
}
