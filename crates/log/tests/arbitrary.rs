//! Directories of arbitrary files are opened or refused; nothing in them is worth a panic or much memory.
#![allow(clippy::indexing_slicing, reason = "test code: a panic is how it fails")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, at, batch, client, config, partition};
use ottla_log::storage::SimStorage;
use ottla_log::{LogConfig, OpenInfo, PartitionLog, Storage, StorageFile as _, UnrecoveredLog};
use ottla_testkit::cases;
use ottla_types::{LeaderEpoch, Offset};
use proptest::prelude::*;

const SUFFIXES: [&str; 14] = [
    ".log",
    ".index",
    ".timeindex",
    ".txnindex",
    ".snapshot",
    ".log.swap",
    ".index.swap",
    ".log.cleaned",
    ".timeindex.cleaned",
    ".log.deleted",
    ".snapshot.deleted",
    ".log.tmp",
    "-7.quarantine",
    ".log.swap.swap",
];

/// A segment's file, one of the named ones, or any name.
fn name() -> impl Strategy<Value = String> {
    let segment = (0..40_u64, 0..SUFFIXES.len())
        .prop_map(|(offset, suffix)| format!("{offset:020}{}", SUFFIXES[suffix]));
    let known = prop_oneof![Just("leader-epoch-checkpoint"), Just("partition.metadata")];
    prop_oneof![8 => segment, 1 => known.prop_map(str::to_owned), 1 => "[a-z0-9][a-z0-9.-]{0,30}"]
}

/// Batches with some bytes changed, an announced length that is not there, text, or anything.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0..40_u8, 1..4_usize).prop_map(|(offset, records)| {
            let mut bytes = batch(&["x", "yy", "zzz"][..records]).to_vec();
            bytes[7] = offset;
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => Just(vec![0, 0, 0, 0, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 2]),
        1 => Just(b"0\n2\n0 0\n3 7\n".to_vec()),
        1 => Just(vec![0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
    ];
    let pieces = prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    (pieces, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
        |(mut bytes, changes)| {
            for (at, byte) in changes.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes
        },
    )
}

/// Opens it, and does with it what a broker does.
fn use_it(storage: Arc<SimStorage>, clean: bool, accept_damage: bool, [point, start]: [u64; 2]) {
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean,
        recovery_point: Offset(point),
        log_start: Offset(start),
        config: Arc::new(LogConfig { segment_bytes: 1000, ..config() }),
        accept_damage,
        now: at(1),
    };
    let opened = UnrecoveredLog::open(storage, Path::new(DIR).to_path_buf(), info);
    let Ok((mut log, _)) = opened.and_then(UnrecoveredLog::recover) else { return };
    let (first, end) = (log.log_start_offset(), log.end_offset());
    assert!(first <= end, "{first} <= {end}");
    let mut from = first;
    while from < end {
        match log.read(from, 1 << 16, end, true) {
            Ok(slice) if from < slice.next_offset => from = slice.next_offset,
            _ => break,
        }
    }
    let _ = log.aborted_between(first, end);
    appends(&mut log, end);
}

fn appends(log: &mut PartitionLog<SimStorage>, end: Offset) {
    let prepared = client(log, &["after"]);
    // A clean start believes what a stop said, and finds out at the first append.
    if let Ok(info) = log.append(&prepared, LeaderEpoch(1000), at(2)) {
        assert_eq!(info.base_offset, end);
        log.flush().expect("a disk that works");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(cases(2000)).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_directory_is_opened_or_refused(
        files in prop::collection::btree_map(name(), content(), 0..8),
        clean: bool,
        accept_damage: bool,
        offsets in prop::array::uniform2(0..40_u64),
    ) {
        let storage = Arc::new(SimStorage::new());
        storage.create_dir(Path::new(common::PARENT)).expect("creates");
        storage.create_dir(Path::new(DIR)).expect("creates");
        for (name, content) in &files {
            let file = storage.create(&Path::new(DIR).join(name)).expect("creates");
            file.write_at(&[content], 0).expect("writes");
        }
        use_it(storage, clean, accept_damage, offsets);
    }
}
