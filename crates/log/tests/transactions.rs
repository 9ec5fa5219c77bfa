//! A partition with aborted, committed and open transactions that Kafka 4.3.1 wrote
//! (`golden/kafka-4.3.1-transactions`): its indexes of aborted transactions are read, made anew from
//! the batches, and written again byte by byte.
//!
//! Made with two transactional Java producers and a plain one, on a topic with
//! `internal.segment.bytes=1000` and `index.interval.bytes=100`, and a clean stop that left a
//! transaction open.
#![allow(clippy::disallowed_methods, reason = "a test looks at the files itself")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use common::{DIR, Log, PARENT, at, partition, reopen};
use ottla_log::storage::SimStorage;
use ottla_log::{AbortedTransaction, LogConfig, PartitionLog, Storage, StorageFile};
use ottla_record::{Batch, Batches, ControlType, DecompressLimits};
use ottla_types::{Offset, ProducerId};

const FILES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/kafka-4.3.1-transactions/t-0");
const END: u64 = 35;

/// Spoils the content of a file of this name.
type Damage = fn(&str, &mut Vec<u8>);

fn config() -> Arc<LogConfig> {
    let config = common::config();
    Arc::new(LogConfig { segment_bytes: 1000, index_interval_bytes: 100, ..config })
}

fn kafkas_files() -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(FILES).expect("golden files").map(|entry| {
        let entry = entry.expect("an entry");
        let content = std::fs::read(entry.path()).expect("reads");
        (entry.file_name().to_string_lossy().into_owned(), content)
    });
    entries.collect()
}

fn disk_with(files: &BTreeMap<String, Vec<u8>>) -> SimStorage {
    let storage = SimStorage::new();
    storage.create_dir(Path::new(DIR)).expect("creates");
    for (name, content) in files {
        let file = storage.create(&Path::new(DIR).join(name)).expect("creates");
        file.write_at(&[content], 0).expect("writes");
    }
    storage
}

fn files_on(storage: &SimStorage) -> BTreeMap<String, Vec<u8>> {
    let entries = storage.list(Path::new(DIR)).expect("lists").into_iter();
    entries
        .map(|entry| {
            let content = storage.read_small(&entry.path).expect("reads").expect("is there");
            (entry.name, content)
        })
        .collect()
}

fn batches(log: &mut Log) -> Vec<Batch> {
    let bytes =
        |log: &mut Log, from| log.read_bytes(from, 1 << 20, log.end_offset()).expect("reads");
    let mut all = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.end_offset() {
        all.extend(Batches::new(bytes(log, from)).map(|batch| batch.expect("a batch")));
        from = all.last().expect("progress").header().next_offset();
    }
    all
}

/// What the batches themselves say was aborted.
fn aborted_by_hand(batches: &[Batch]) -> Vec<AbortedTransaction> {
    let mut open: HashMap<ProducerId, Offset> = HashMap::new();
    let mut aborted = Vec::new();
    for batch in batches {
        let header = batch.header();
        let Some(producer_id) = header.producer_id.filter(|_| header.attributes.is_transactional())
        else {
            continue;
        };
        if !header.attributes.is_control() {
            open.entry(producer_id).or_insert(header.base_offset);
            continue;
        }
        let first_offset = open.remove(&producer_id).expect("what ends was open");
        let limits = DecompressLimits::default();
        let record = batch.records(&limits).expect("records").next().expect("one").expect("whole");
        if ControlType::of(&record).expect("a marker") == ControlType::Abort {
            let last_offset = header.last_offset();
            let last_stable_offset =
                open.values().copied().min().unwrap_or_else(|| last_offset.next());
            let one =
                AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
            aborted.push(one);
        }
    }
    aborted
}

#[test]
fn the_index_says_what_the_batches_say() {
    let (mut log, _) = reopen(&disk_with(&kafkas_files()), &config(), true, 0);
    assert_eq!(log.end_offset(), Offset(END));
    let expected = aborted_by_hand(&batches(&mut log));
    assert_eq!(expected.len(), 6);
    let stable = log.first_unstable_offset(log.end_offset()).expect("one is open");
    for (from, end) in
        (0..stable.0).flat_map(|from| (from + 1..=stable.0).map(move |end| (from, end)))
    {
        let got = log.aborted_between(Offset(from), Offset(end)).expect("reads");
        let touched =
            |one: &&AbortedTransaction| from <= one.last_offset.0 && one.first_offset.0 < end;
        let expected: Vec<_> = expected.iter().filter(touched).copied().collect();
        assert_eq!(got, expected, "{from} to {end}");
    }
}

#[test]
fn recovery_makes_the_index_anew() {
    let kafkas = kafkas_files();
    let is_txn = |name: &&String| name.ends_with(".txnindex");
    assert_eq!(kafkas.keys().filter(is_txn).count(), 3);
    let damages: [(&str, bool, Damage); 4] = [
        ("lost", false, |_, content| content.clear()),
        ("stale", false, |_, content| content.iter_mut().for_each(|byte| *byte ^= 1)),
        ("longer", false, |_, content| content.extend_from_within(34..68)),
        ("of an impossible length", true, |name, content| {
            if name.starts_with("00000000000000000015") {
                content.truncate(33);
            }
        }),
    ];
    for (what, clean, damage) in damages {
        let mut found = kafkas.clone();
        for (name, content) in found.iter_mut().filter(|(name, _)| is_txn(name)) {
            damage(name, content);
        }
        let storage = disk_with(&found);
        let (mut log, _) = reopen(&storage, &config(), clean, 0);
        log.close().expect("closes");
        let after = files_on(&storage);
        for (name, content) in kafkas.iter().filter(|(name, _)| is_txn(name)) {
            assert_eq!(after.get(name), Some(content), "{what}: {name}");
        }
    }
}

#[test]
fn the_same_batches_make_the_same_files() {
    let kafkas = kafkas_files();
    let (mut theirs, _) = reopen(&disk_with(&kafkas), &config(), true, 0);
    let storage = Arc::new(SimStorage::new());
    let mut ours = PartitionLog::create(
        Arc::clone(&storage),
        Path::new(PARENT),
        partition(),
        theirs.topic_id(),
        Offset(0),
        config(),
        at(0),
    )
    .expect("created");
    for batch in batches(&mut theirs) {
        ours.append_given(batch.bytes().clone(), at(0)).expect("fits");
    }
    ours.close().expect("closes");
    let written = files_on(&storage);
    assert_eq!(written.keys().collect::<Vec<_>>(), kafkas.keys().collect::<Vec<_>>());
    for (name, content) in &kafkas {
        assert_eq!(written.get(name), Some(content), "{name}");
    }
}

#[test]
fn a_truncation_takes_the_index_along() {
    let (mut whole, _) = reopen(&disk_with(&kafkas_files()), &config(), true, 0);
    let all = batches(&mut whole);
    for cut in 0..=END {
        let storage = disk_with(&kafkas_files());
        let (mut log, _) = reopen(&storage, &config(), true, 0);
        let end = log.truncate_to(Offset(cut)).expect("cuts");
        let left: Vec<_> =
            all.iter().filter(|batch| batch.header().next_offset() <= end).cloned().collect();
        let expected = aborted_by_hand(&left);
        assert_eq!(log.aborted_between(Offset(0), end).expect("reads"), expected, "cut at {cut}");
        // It goes on from there, and ends as it was.
        for batch in all.iter().skip(left.len()) {
            log.append_given(batch.bytes().clone(), at(0)).expect("fits");
        }
        log.close().expect("closes");
        let (mut again, _) = reopen(&storage, &config(), true, 0);
        let got = again.aborted_between(Offset(0), Offset(END)).expect("reads");
        assert_eq!(got, aborted_by_hand(&all), "cut at {cut}");
    }
}

#[test]
fn a_marker_behind_the_high_watermark_decides_nothing_yet() {
    let (mut whole, _) = reopen(&disk_with(&kafkas_files()), &config(), true, 0);
    let all = batches(&mut whole);
    let (_, mut log) = common::create(*config());
    let transactional: Vec<_> = all
        .iter()
        .filter(|batch| batch.header().attributes.is_transactional())
        .take(3)
        .cloned()
        .collect();
    let [first, .., marker] = &transactional[..] else { panic!("a transaction of two records") };
    assert!(marker.header().attributes.is_control());
    for batch in &transactional {
        log.append_given(batch.bytes().clone(), at(0)).expect("fits");
    }
    let open_at = Some(first.header().base_offset);
    let at_marker = marker.header().base_offset;
    assert_eq!(log.first_unstable_offset(at_marker), open_at);
    assert_eq!(log.first_unstable_offset(at_marker.next()), None);
    assert_eq!(log.first_unstable_offset(at_marker), None, "a high watermark does not go back");
}
