//! Reading what is in the page cache: finding batches, and getting their bytes.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::FsStorage;
use ottla_record::format::HEADER_LEN;
use ottla_types::Offset;

use crate::runs::{Folder, Numbers, Runs, timed};
use crate::stores::{Fjall, Redb};
use crate::written::{Log, batch, config, create, fill, open};

const TOTAL: usize = 256 << 20;
const SEGMENT: u64 = 64 << 20;
const BATCH: usize = 16 << 10;
const CHUNK: usize = 1 << 20;
const CALLS: usize = 200_000;

pub(crate) fn run(runs: &mut Runs) {
    let runs = &*runs;
    let batch = &batch(BATCH);
    let total = runs.scale.of(TOTAL);
    let count = total / batch.len();
    runs.in_turns(vec![
        Box::new(move |folder: &Folder| raw(runs, folder.path(), batch, count)),
        Box::new(move |folder: &Folder| {
            let mut log = closed(folder.path(), batch, total);
            plans(runs, &mut log);
            bytes(runs, &mut log, count);
        }),
        Box::new(move |folder: &Folder| {
            let store = Fjall::open(folder.path());
            (0..count as u64).for_each(|number| store.append(number, batch));
            store.sync();
            points(runs, "fjall", count, |number| store.get(number));
            scan(runs, "fjall", || store.scan());
        }),
        Box::new(move |folder: &Folder| {
            let store = Redb::open(folder.path());
            store.fill(count as u64, batch);
            store.reading(|get| points(runs, "redb", count, get));
            scan(runs, "redb", || store.scan());
        }),
    ]);
}

/// A log that was closed and opened again, so that all of its indexes are mapped files.
fn closed(folder: &Path, batch: &Bytes, total: usize) -> Log {
    let config = config(SEGMENT);
    let mut log = create(folder, 0, &config);
    fill(&mut log, batch, total);
    log.close().unwrap();
    let (end, dir) = (log.end_offset(), log.dir().to_path_buf());
    drop(log);
    let storage = Arc::new(FsStorage::default());
    open(&storage, &dir, 0, &config, Some(end)).recover().unwrap().0
}

fn plans(runs: &Runs, log: &mut Log) {
    let end = log.end_offset();
    let mut numbers = Numbers::new();
    let lookup = |_| {
        black_box(log.indexed_position(Offset(numbers.below(end.0))).unwrap());
    };
    runs.each("index lookup, anywhere", "ottla", CALLS, timed(|| (0..CALLS).for_each(lookup)).0);
    // Where consumers are that keep up.
    let hot = end.0 - end.0 / 100;
    let lookup = |_| {
        black_box(log.indexed_position(Offset(hot + numbers.below(end.0 - hot))).unwrap());
    };
    runs.each("index lookup", "ottla", CALLS, timed(|| (0..CALLS).for_each(lookup)).0);
    let mut from = Offset(0);
    let next = |_| {
        let slice = log.read(from, CHUNK, end, true).unwrap();
        from = if slice.next_offset < end { slice.next_offset } else { Offset(0) };
    };
    runs.each("read plan, reading on", "ottla", CALLS, timed(|| (0..CALLS).for_each(next)).0);
    let anywhere = |_| {
        black_box(log.read(Offset(numbers.below(end.0)), CHUNK, end, true).unwrap());
    };
    runs.each("read plan, anywhere", "ottla", CALLS, timed(|| (0..CALLS).for_each(anywhere)).0);
}

fn bytes(runs: &Runs, log: &mut Log, count: usize) {
    let end = log.end_offset();
    let records = end.0 / count as u64;
    points(runs, "ottla", count, |number| {
        log.read_bytes(Offset(number * records), 1, end).unwrap().len()
    });
    scan(runs, "ottla", || {
        let (mut from, mut sum) = (Offset(0), 0);
        while from < end {
            let slice = log.read(from, CHUNK, end, true).unwrap();
            sum += log.read_bytes(from, CHUNK, end).unwrap().len();
            from = slice.next_offset;
        }
        sum
    });
}

fn raw(runs: &Runs, folder: &Path, batch: &Bytes, count: usize) {
    let path = folder.join("raw");
    let file = File::create(&path).unwrap();
    let len = batch.len();
    (0..count).for_each(|at| file.write_all_at(batch, (at * len) as u64).unwrap());
    let file = File::open(&path).unwrap();
    let mut numbers = Numbers::new();
    let header = |_| {
        let at = numbers.below(count as u64) * len as u64;
        file.read_exact_at(&mut [0; HEADER_LEN], at).unwrap();
    };
    // What a look at one header costs, of which a plan needs at least one.
    let workload = "read plan, reading on";
    runs.each(workload, "pread of a header", CALLS, timed(|| (0..CALLS).for_each(header)).0);
    points(runs, "pread", count, |number| {
        let mut buffer = vec![0; len];
        file.read_exact_at(&mut buffer, number * len as u64).unwrap();
        buffer.len()
    });
    scan(runs, "pread", || {
        let mut sum = 0;
        loop {
            let mut buffer = vec![0; CHUNK];
            match file.read_at(&mut buffer, sum as u64).unwrap() {
                0 => return sum,
                got => sum += got,
            }
        }
    });
}

/// Single batches, in no order.
fn points(runs: &Runs, contestant: &str, count: usize, mut get: impl FnMut(u64) -> usize) {
    let calls = CALLS / 10;
    let mut numbers = Numbers::new();
    let (time, got) = timed(|| (0..calls).map(|_| get(numbers.below(count as u64))).sum::<usize>());
    assert!(got >= calls * BATCH / 2, "{contestant} read {got} bytes");
    runs.each("read of one batch of 16 KiB", contestant, calls, time);
}

/// All batches, in their order.
fn scan(runs: &Runs, contestant: &str, read: impl FnOnce() -> usize) {
    let (time, got) = timed(read);
    runs.rate("read of everything", contestant, got, time);
}
