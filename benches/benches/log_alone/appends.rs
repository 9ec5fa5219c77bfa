//! Appending into the page cache: nothing is synced.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::runs::{Folder, Runs, timed};
use crate::stores::{Fjall, Redb};
use crate::written::{EPOCH, NOW, batch, config, create, fill, prepare};

/// Bytes that each contestant appends.
const TOTAL: usize = 384 << 20;

pub(crate) fn run(runs: &mut Runs) {
    for (workload, size) in
        [("append 16 KiB", 16 << 10), ("append 64 KiB", 64 << 10), ("append 1 MiB", 1 << 20)]
    {
        let runs = &*runs;
        let batch = &batch(size);
        let count = (runs.scale.of(TOTAL) / batch.len()).max(1);
        let note = move |contestant, time| {
            runs.rate(workload, contestant, count * batch.len(), time);
        };
        let config = &config(1 << 30);
        let raw = move |folder: &Folder| {
            let file = File::create(folder.path().join("raw")).unwrap();
            let write = |at: usize| file.write_all_at(batch, (at * batch.len()) as u64).unwrap();
            note("pwrite", timed(|| (0..count).for_each(write)).0);
        };
        let append = move |folder: &Folder| {
            let mut log = create(folder.path(), 0, config);
            note("ottla", timed(|| fill(&mut log, batch, count * batch.len())).0);
        };
        let check = move |folder: &Folder| {
            let mut log = create(folder.path(), 0, config);
            let append = |_| {
                log.append(&prepare(config, batch), EPOCH, NOW).unwrap();
            };
            note("ottla, checked", timed(|| (0..count).for_each(append)).0);
        };
        let fjall = move |folder: &Folder| {
            let store = Fjall::open(folder.path());
            let append = |number| store.append(number, batch);
            note("fjall", timed(|| (0..count as u64).for_each(append)).0);
        };
        let redb = move |folder: &Folder| {
            let store = Redb::open(folder.path());
            let append = |number| store.append(number, batch, false);
            note("redb", timed(|| (0..count as u64).for_each(append)).0);
        };
        runs.in_turns(vec![
            Box::new(raw),
            Box::new(append),
            Box::new(check),
            Box::new(fjall),
            Box::new(redb),
        ]);
    }
}
