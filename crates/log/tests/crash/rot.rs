//! Bytes go bad in every file of a log: it is opened or refused, and whatever it hands out is what was appended or
//! fails its checksum, so that a reader knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::storage::{CrashMode, Rot, SimStorage};
use ottla_log::{LogDirectory, Storage as _};
use ottla_record::Batches;
use ottla_types::Offset;

use crate::common::{DIR, Log, PARENT};
use crate::workload::{Run, Step, open_as_left, script};

/// Places in each file that go bad, for each kind of rot.
const PLACES: u64 = 12;

/// How often each thing happened.
#[derive(Debug, Default)]
struct Seen {
    opened: u64,
    refused: u64,
    bad_checksums: u64,
    failed_reads: u64,
}

#[test]
fn whatever_goes_bad_nothing_else_is_handed_out() {
    // Up to where the script throws everything away.
    let whole = script().into_iter().take_while(|step| !matches!(step, Step::TruncateFully));
    let steps: Vec<Step> = whole.chain([Step::Reopen]).collect();
    let disk = SimStorage::new();
    let mut run = Run::new(disk.clone());
    run.play(&steps).expect("runs to its end");
    let appended: BTreeSet<u32> = run.model.batches.iter().map(|batch| batch.crc).collect();
    let files = files(&disk);
    assert!(files.len() > 8, "{files:?}");
    let mut seen = Seen::default();
    for file in &files {
        for (rot, seed) in Rot::ALL.iter().flat_map(|rot| (0..PLACES).map(move |seed| (rot, seed)))
        {
            for clean in [true, false] {
                let disk = disk.crash(CrashMode::Everything);
                if disk.rot(file, *rot, seed).expect("a file") {
                    eprintln!("{} {rot:?} {seed} clean {clean}", file.display());
                    open(Arc::new(disk), clean, &appended, &mut seen);
                }
            }
        }
    }
    let Seen { opened, refused, bad_checksums, failed_reads } = seen;
    let everything = opened > 0 && refused > 0 && bad_checksums > 0 && failed_reads > 0;
    assert!(everything, "{seen:?}");
}

/// The files of the partition and of its log directory.
fn files(disk: &SimStorage) -> Vec<PathBuf> {
    let list = |dir: &str| disk.list(Path::new(dir)).expect("lists");
    let entries = [list(PARENT), list(DIR)].concat();
    let files = entries.into_iter().filter(|entry| !entry.is_dir && entry.len > 0);
    files.map(|entry| entry.path).collect()
}

fn open(disk: Arc<SimStorage>, clean: bool, appended: &BTreeSet<u32>, seen: &mut Seen) {
    let Ok(directory) = LogDirectory::open(Arc::clone(&disk), Path::new(PARENT)) else {
        seen.refused += 1;
        return;
    };
    match open_as_left(&disk, &directory, clean, false) {
        Some(Ok((mut log, _))) => {
            seen.opened += 1;
            read(&mut log, appended, seen);
            // What it knows besides must not be worth a panic either.
            log.describe_producers();
            let _ = log.aborted_between(log.log_start_offset(), log.end_offset());
            let _ = log.close();
        }
        // The other one of the two has no such checkpoint.
        Some(Err(_)) | None => seen.refused += 1,
    }
}

fn read(log: &mut Log, appended: &BTreeSet<u32>, seen: &mut Seen) {
    let end = log.end_offset();
    let mut from = log.log_start_offset();
    while from < end {
        let Ok(bytes) = log.read_bytes(from, 1 << 16, end) else {
            seen.failed_reads += 1;
            return;
        };
        let mut next = from;
        for batch in Batches::new(bytes) {
            let Ok(batch) = batch else { break };
            let header = *batch.header();
            if ottla_record::check_crc(batch.bytes()).is_err() {
                seen.bad_checksums += 1;
            } else {
                assert!(appended.contains(&header.crc), "nobody appended {header:?}");
            }
            next = next.max(header.next_offset());
        }
        if next <= from {
            seen.failed_reads += 1;
            return;
        }
        from = next.min(Offset(end.0));
    }
}
