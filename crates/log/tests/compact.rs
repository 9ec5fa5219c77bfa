//! Compaction, case by case: a log in words, and what is left of it.

mod common;

use common::compacted::{Told, pass, settings};
use common::{at, names, reopen};
use ottla_log::{CompactionError, LogConfig, MapSettings};
use ottla_record::Compression;
use ottla_types::Offset;

/// Tells a log the script and compares what is in its segments afterwards.
fn check(script: &str, expected: &str) {
    let mut told = Told::new(settings());
    told.tell(script);
    assert_eq!(told.dump(), lines(expected), "{script}");
    // The same after a start, with every codec, and however it is grouped and buffered.
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut other = Told::new(settings());
        other.codec = codec;
        other.tell(script);
        assert_eq!(other.dump(), lines(expected), "{codec:?}: {script}");
    }
    let end = told.log.end_offset();
    told.log.close().expect("closes");
    let shared = told.log.config().clone();
    let (reopened, _) = reopen(&told.storage, &shared, false, 0);
    assert_eq!(reopened.end_offset(), end);
    assert_eq!(told.dump(), lines(expected), "after recovery: {script}");
}

fn lines(text: &str) -> String {
    let text: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = |line: &&str| {
        let top = line.starts_with("segment");
        format!("{}{line}\n", if top { "" } else { "  " })
    };
    text.iter().map(line).collect()
}

#[test]
fn the_newest_record_of_each_key_stays() {
    check(
        "a=1 b=1
         a=2
         c=1
         roll
         b=2 d=1
         roll
         a=9
         compact 10",
        "segment 0
           2..2 a=2
           3..3 c=1
           4..5 b=2 d=1
         segment 6
           6..6 a=9",
    );
}

#[test]
fn a_batch_keeps_its_offsets_when_some_records_go() {
    check(
        "a=1 b=1 a=2 c=1 b=2
         roll
         x=1
         compact 10",
        "segment 0
           0..4 a=2 c=1 b=2
         segment 5
           5..5 x=1",
    );
}

#[test]
fn the_segment_that_grows_is_left_alone() {
    check(
        "a=1 a=2
         compact 10",
        "segment 0
           0..1 a=1 a=2",
    );
}

#[test]
fn records_without_a_key_go() {
    check(
        "a=1 ?x
         ?y
         b=1
         roll
         ?z
         compact 10",
        "segment 0
           0..1 a=1
           3..3 b=1
         segment 4
           4..4 ?z",
    );
}

#[test]
fn the_last_batch_of_a_pass_stays_without_records() {
    check(
        "a=1
         ?y
         roll
         b=1
         compact 10",
        "segment 0
           0..0 a=1
           1..1
         segment 2
           2..2 b=1",
    );
}

#[test]
fn tombstones_get_a_horizon_and_go_behind_it() {
    let script = "a=1 b=1
         -a c=1
         roll
         x=1
         roll
         compact 1000";
    check(
        script,
        "segment 0
           0..1 b=1
           2..3 -a c=1 until 1100
           4..4 x=1
         segment 5",
    );
    // Nothing is dirty, so nothing happens until something is.
    check(
        &format!("{script}\ncompact 5000"),
        "segment 0
           0..1 b=1
           2..3 -a c=1 until 1100
           4..4 x=1
         segment 5",
    );
    check(
        &format!("{script}\ny=1\nroll\ncompact 1099"),
        "segment 0
           0..1 b=1
           2..3 -a c=1 until 1100
           4..4 x=1
           5..5 y=1
         segment 6",
    );
    check(
        &format!("{script}\ny=1\nroll\ncompact 1100"),
        "segment 0
           0..1 b=1
           2..3 c=1 until 1100
           4..4 x=1
           5..5 y=1
         segment 6",
    );
}

#[test]
fn what_the_map_has_no_room_for_stays() {
    let script = "a=1 b=1
         a=2 c=1
         roll
         a=3 b=3
         roll
         compact 10 map=2";
    check(
        script,
        "segment 0
           0..1 a=1 b=1
           2..3 a=2 c=1
         segment 4
           4..5 a=3 b=3
         segment 6",
    );
    check(
        &format!("{script}\ncompact 20 map=2"),
        "segment 0
           0..1 b=1
           2..3 a=2 c=1
         segment 4
           4..5 a=3 b=3
         segment 6",
    );
    check(
        &format!("{script}\ncompact 20 map=2\ncompact 30 map=10"),
        "segment 0
           2..3 c=1
           4..5 a=3 b=3
         segment 6",
    );
}

#[test]
fn the_last_batch_of_a_producer_stays_without_records() {
    check(
        "#1 a=1
         #1 a=2
         #2 b=1
         a=3 b=3
         roll
         x=1
         compact 10",
        "segment 0
           1..1 #1/1
           2..2 #2/0
           3..4 a=3 b=3
         segment 5
           5..5 x=1",
    );
}

#[test]
fn aborted_records_go_at_once_and_their_markers_later() {
    let script = "a=1
         t1 a=2 b=2
         t2 c=2
         abort 1
         commit 2
         roll
         x=1
         roll
         compact 1000";
    // Each producer is remembered by its last batch.
    check(
        script,
        "segment 0
           0..0 a=1
           1..2 #1/0
           3..3 #2/0 c=2
           4..4 #1 Abort
           5..5 #2 Commit
           6..6 x=1
         aborted 1
         segment 7",
    );
    // Their data goes in this pass, so that the next one finds markers without any.
    let script = format!("{script}\n#1 y=1\n#2 c=3\nroll\ncompact 2000\nz=1\nroll");
    check(
        &format!("{script}\ncompact 2100"),
        "segment 0
           0..0 a=1
           4..4 #1 Abort until 2200
           5..5 #2 Commit until 2200
           6..6 x=1
           7..7 #1/2 y=1
           8..8 #2/1 c=3
           9..9 z=1
         segment 10",
    );
    check(
        &format!("{script}\ncompact 2100\nz=2\nroll\ncompact 2200"),
        "segment 0
           0..0 a=1
           6..6 x=1
           7..7 #1/2 y=1
           8..8 #2/1 c=3
           10..10 z=2
         segment 11",
    );
}

#[test]
fn an_open_transaction_ends_what_is_compacted() {
    check(
        "a=1
         a=2
         roll
         t1 b=1
         roll
         a=3
         a=4
         roll
         compact 10",
        "segment 0
           1..1 a=2
         segment 2
           2..2 #1/0 b=1
         segment 3
           3..3 a=3
           4..4 a=4
         segment 5",
    );
}

#[test]
fn a_transaction_may_end_behind_what_is_compacted() {
    check(
        "a=1
         t1 a=2
         roll
         t3 q=1
         roll
         abort 1
         t2 q=1
         compact 10
         roll",
        "segment 0
           0..0 a=1
           1..1 #1/0
         segment 2
           2..2 #3/0 q=1
         segment 3
           3..3 #1 Abort
           4..4 #2/0 q=1
         aborted 1
         segment 5",
    );
}

#[test]
fn segments_are_merged_up_to_their_size() {
    let config = LogConfig { segment_bytes: 240, ..settings() };
    let mut told = Told::new(config);
    told.tell("a=1\nroll\nb=1\nroll\nc=1\nroll\nd=1\nroll\na=2\nroll\ne=1\ncompact 10");
    let expected = "segment 0
           1..1 b=1
           2..2 c=1
         segment 3
           3..3 d=1
           4..4 a=2
         segment 5
           5..5 e=1";
    assert_eq!(told.dump(), lines(expected));
    assert_eq!(told.log.segment_count(), 3);
    let kept: Vec<_> = common::records(&mut told.log).iter().map(|r| r.offset.0).collect();
    assert_eq!(kept, [1, 2, 3, 4, 5], "reads go over gaps");
    let stats = told.stats.last().expect("a pass");
    assert_eq!((stats.read_records, stats.written_records, stats.indexed_records), (5, 4, 5));
    let none = names(&told.storage)
        .into_iter()
        .find(|name| [".cleaned", ".swap", ".deleted"].iter().any(|suffix| name.ends_with(suffix)));
    assert_eq!(none, None, "nothing is left over");
}

#[test]
fn a_pass_ends_when_the_log_is_changed_otherwise() {
    type Change = fn(&mut common::Log);
    let changes: [(&str, Change); 3] = [
        ("truncated", |log| {
            log.truncate_to(Offset(1)).expect("truncates");
        }),
        ("emptied", |log| log.truncate_fully(Offset(9), at(1)).expect("empties")),
        ("ended", common::Log::abort_compaction),
    ];
    for (what, change) in changes {
        let mut told = Told::new(settings());
        told.tell("a=1 a=2\nroll\na=3\nroll\nb=1");
        told.log.flush().expect("flushes");
        let end = told.log.end_offset();
        let cleanable = told.log.cleanable(None, end, at(5)).expect("decides");
        let mut job = told.log.prepare_compaction(cleanable, at(5)).expect("fine").expect("dirty");
        assert!(told.log.prepare_compaction(cleanable, at(5)).expect("fine").is_none(), "one only");
        let mut map = job.offset_map(MapSettings { memory: 2400, load: 0.9, seed: 0 });
        let mut pace = |_| std::ops::ControlFlow::Continue(());
        job.index(&mut map, &mut pace).expect("indexes");
        let cleaned = job.clean_next(&map, &mut pace).expect("cleans").expect("a group");
        change(&mut told.log);
        assert!(!told.log.is_compacting(), "{what}");
        let got = told.log.complete_compaction(cleaned);
        assert!(matches!(got, Err(CompactionError::Aborted)), "{what}: {got:?}");
        let got = job.clean_next(&map, &mut pace);
        assert!(matches!(got, Err(CompactionError::Aborted) | Ok(None)), "{what}: {got:?}");
        assert!(names(&told.storage).iter().all(|name| !name.ends_with(".cleaned")), "{what}");
        let end = told.log.end_offset();
        pass(&mut told.log, None, end, 6, 10, &mut Vec::new()).expect("the next one works");
    }
}

#[test]
fn what_is_not_on_disk_is_left_alone() {
    let mut told = Told::new(settings());
    told.tell("a=1\na=2\nroll\nb=1\nroll\nb=2");
    let end = told.log.end_offset();
    let until = |told: &mut Told, high_watermark| {
        told.log.cleanable(None, high_watermark, at(5)).expect("decides").until
    };
    assert_eq!(until(&mut told, end), Offset(0), "nothing is synced");
    told.log.flush().expect("flushes");
    assert_eq!(until(&mut told, end), Offset(3));
    assert_eq!(until(&mut told, Offset(2)), Offset(2), "the high watermark");
    assert_eq!(until(&mut told, Offset(1)), Offset(0), "whole segments only");
}

#[test]
fn lags_hold_back_and_push() {
    use std::time::Duration;
    let told = |min, max: Option<u64>| {
        let config = LogConfig {
            compaction_lag_min: Duration::from_millis(min),
            compaction_lag_max: max.map(Duration::from_millis),
            ..settings()
        };
        let mut told = Told::new(config);
        // Timestamps are the offsets and one.
        told.tell("a=1\na=2\nroll\nb=1\nb=2\nroll\nb=3");
        told.log.flush().expect("flushes");
        told
    };
    let cleanable =
        |mut told: Told, now| told.log.cleanable(None, Offset(5), at(now)).expect("decides");
    assert_eq!(cleanable(told(10, None), 11).until, Offset(0));
    assert_eq!(cleanable(told(10, None), 12).until, Offset(2));
    assert_eq!(cleanable(told(10, None), 14).until, Offset(4));
    assert_eq!(cleanable(told(0, Some(10)), 11).delay, Duration::ZERO);
    assert_eq!(cleanable(told(0, Some(10)), 31).delay, Duration::from_millis(20));
    assert!(cleanable(told(0, Some(10)), 31).is_due(1.0));
    let config = told(0, None);
    assert_eq!(config.log.config().cleanable_ratio_min, 0.5);
}

#[test]
fn damage_is_not_carried_on() {
    use ottla_log::{Storage as _, StorageFile as _};
    let mut told = Told::new(settings());
    told.tell("a=1\na=2\nroll\nb=1");
    told.log.flush().expect("flushes");
    let path = std::path::Path::new(common::DIR).join("00000000000000000000.log");
    let file = told.storage.open(&path).expect("opens");
    file.write_at(&[b"?"], 70).expect("writes");
    let before = told.storage.read_small(&path).expect("reads");
    let got = pass(&mut told.log, None, Offset(3), 5, 10, &mut Vec::new());
    assert!(matches!(got, Err(CompactionError::Read(_))), "{got:?}");
    assert_eq!(told.storage.read_small(&path).expect("reads"), before);
    assert!(!told.log.is_failed() && !told.log.is_compacting());
}

#[test]
fn retention_waits_for_a_pass() {
    let mut told = Told::new(LogConfig {
        delete: true,
        retention: Some(std::time::Duration::from_millis(1)),
        ..settings()
    });
    told.tell("a=1\nroll\nb=1\nroll\nc=1");
    told.log.flush().expect("flushes");
    let end = told.log.end_offset();
    let cleanable = told.log.cleanable(None, end, at(5)).expect("decides");
    let job = told.log.prepare_compaction(cleanable, at(5)).expect("fine").expect("dirty");
    assert!(told.log.delete_expired(at(1000), end).expect("decides").is_none());
    drop(job);
    let gone = told.log.delete_expired(at(1000), end).expect("decides").expect("expired");
    assert_eq!(gone.segments.len(), 3);
    gone.remove().expect("removes");
}
