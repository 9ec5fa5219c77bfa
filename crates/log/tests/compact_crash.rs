//! Power is lost at every sync of a compaction, and the disk is found in many states: every key
//! has its newest value, and nothing is there that was never appended.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use common::compacted::{Told, data, pass, settings};
use common::{DIR, names, try_open};
use ottla_log::storage::{CrashMode, Fault, SimStorage, StorageFile as _};
use ottla_log::{LogConfig, Storage};
use ottla_types::Offset;

/// Disks that are looked at for each sync and each of two modes; more find nothing else.
const SEEDS: u64 = 24;

type Records = Vec<(u64, String, Option<String>)>;

/// Three groups, one of which loses all its records.
fn config() -> LogConfig {
    LogConfig { segment_bytes: 300, ..settings() }
}

fn told() -> Told {
    let mut told = Told::new(config());
    told.tell(
        "a=1 b=1 c=1
         roll
         #4 a=2 d=1
         roll
         t5 a=3 e=1
         abort 5
         roll
         f=1 a=4
         f=2
         roll
         -b c=2
         t6 g=1 a=5
         commit 6
         roll
         f=3 c=3 g=2 d=2
         roll
         h=1",
    );
    told.log.flush().expect("flushes");
    told
}

/// Runs two passes; how far they come depends on the power.
fn compact(told: &mut Told, end: Offset) -> Option<()> {
    for now in [1000, 2000] {
        pass(&mut told.log, None, end, now, 100, &mut Vec::new()).ok()?;
    }
    Some(())
}

fn newest(records: &Records) -> BTreeMap<String, String> {
    let mut newest = BTreeMap::new();
    for (_, key, value) in records {
        match value {
            Some(value) => newest.insert(key.clone(), value.clone()),
            None => newest.remove(key),
        };
    }
    newest
}

fn check(found: &SimStorage, before: &Records, end: Offset, context: &str) {
    let shared = Arc::new(config());
    let (mut log, _) = try_open(found, &shared, false, end.0, false)
        .unwrap_or_else(|error| panic!("{error}: {context}"));
    assert_eq!(log.end_offset(), end, "{context}");
    let after = data(found);
    // Aborted records are seen by no one who asks for committed ones.
    let committed = |records: &Records| {
        let aborted = |&&(offset, ..): &&(u64, String, Option<String>)| !(5..7).contains(&offset);
        records.iter().filter(aborted).cloned().collect::<Vec<_>>()
    };
    assert_eq!(newest(&committed(&after)), newest(&committed(before)), "{context}");
    assert!(after.iter().all(|record| before.contains(record)), "invented: {context}");
    let offsets: Vec<_> = after.iter().map(|record| record.0).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}: {context}");
    let left = |name: &String| [".cleaned", ".swap", ".deleted"].iter().any(|s| name.ends_with(s));
    assert!(!names(found).iter().any(left), "{:?}: {context}", names(found));
    let read: Vec<_> = common::records(&mut log).iter().map(|record| record.offset).collect();
    assert!(read.is_sorted(), "{read:?}: {context}");
    assert_eq!(log.describe_producers().len(), 3, "producers: {context}");
    // It goes on, and a recovered one is recovered.
    log.flush().expect("flushes");
    pass(&mut log, None, end, 3000, 100, &mut Vec::new()).expect("compacts after recovery");
    log.flush().expect("flushes");
    let again = found.crash(CrashMode::Nothing);
    try_open(&again, &shared, false, end.0, false).expect("opens again");
    assert_eq!(newest(&committed(&data(&again))), newest(&committed(before)), "{context}");
}

#[test]
fn a_crash_in_a_pass_takes_no_value() {
    let whole = told();
    let end = whole.log.end_offset();
    let before = data(&whole.storage);
    let mut images = 0;
    for number in 1.. {
        let mut told = told();
        told.storage.lose_power_at_sync(told.storage.syncs() + number);
        let done = compact(&mut told, end).is_some();
        let ends =
            [CrashMode::Nothing, CrashMode::Everything, CrashMode::Names, CrashMode::Content];
        let modes = ends
            .into_iter()
            .chain((0..SEEDS).map(CrashMode::Prefix))
            .chain((0..SEEDS).map(|seed| CrashMode::Blocks { seed, size: 512 }));
        for mode in modes {
            let found = told.storage.crash(mode);
            check(&found, &before, end, &format!("power lost at sync {number}, {mode:?}"));
            images += 1;
        }
        if done {
            assert!(number > 20, "a pass syncs: {number}");
            break;
        }
    }
    assert!(images > 500, "{images}");
}

#[test]
fn any_call_of_a_pass_may_fail() {
    let whole = told();
    let end = whole.log.end_offset();
    let before = data(&whole.storage);
    let (mut images, mut places) = (0, BTreeSet::new());
    for full in [false, true] {
        for call in 1.. {
            let mut told = told();
            told.storage.record_sites();
            let fault = Fault::any().nth(call);
            told.storage.inject(if full { fault.full() } else { fault });
            let _ = compact(&mut told, end);
            let sites = told.storage.sites();
            let Some(place) = sites.iter().find_map(|(site, hit)| hit.then_some(*site)) else {
                break;
            };
            places.insert(place);
            told.storage.clear_faults();
            for mode in [CrashMode::Everything, CrashMode::Nothing, CrashMode::Prefix(call as u64)]
            {
                let found = told.storage.crash(mode);
                check(&found, &before, end, &format!("call {call}, {place:?}, {mode:?}"));
                images += 1;
            }
        }
    }
    assert!(images > 500 && places.len() > 15, "{images} images, {} places", places.len());
}

/// What a crash leaves, file by file, as Kafka's `LogLoader` judges it.
#[test]
fn unfinished_swaps_are_finished_or_undone() {
    let check = |left: &[(&str, &str)], expected: &[&str]| {
        let mut told = Told::new(settings());
        told.tell("a=1\na=2\nroll\na=3\nroll\nb=1");
        told.log.close().expect("closes");
        let path = |name: &str| Path::new(DIR).join(name);
        for (from, to) in left {
            let content = told.storage.read_small(&path(from)).expect("reads").expect("is there");
            let file = told.storage.create(&path(to)).expect("creates");
            file.write_at(&[&content], 0).expect("writes");
        }
        let (log, _) =
            try_open(&told.storage, &Arc::new(settings()), true, 4, false).expect("opens");
        let found = names(&told.storage);
        let logs: Vec<_> =
            found.iter().filter(|name| name.starts_with('0') && !name.ends_with("index")).collect();
        assert_eq!(logs, expected, "{left:?}");
        assert_eq!(log.end_offset(), Offset(4), "{left:?}");
    };
    let (zero, two, three) =
        ("00000000000000000000.log", "00000000000000000002.log", "00000000000000000003.log");
    let snapshot = |offset: u64| format!("{offset:020}.snapshot");
    let (at_two, at_three, at_four) = (snapshot(2), snapshot(3), snapshot(4));
    let all = [zero, two, at_two.as_str(), three, at_three.as_str(), at_four.as_str()];
    check(&[(zero, "00000000000000000000.log.cleaned")], &all);
    check(&[(zero, "00000000000000000000.log.deleted")], &all);
    // In place of the first segment alone.
    check(&[(zero, "00000000000000000000.log.swap")], &all);
    // A later part was renamed, the first was not.
    let undone = [
        (zero, "00000000000000000000.log.cleaned"),
        (zero, "00000000000000000000.log.swap"),
        (two, "00000000000000000002.log.swap"),
    ];
    check(&undone, &all);
    // The second one's records end at 3, so the first segment stays.
    check(
        &[(two, "00000000000000000002.log.swap")],
        &[zero, two, three, at_three.as_str(), at_four.as_str()],
    );
}
