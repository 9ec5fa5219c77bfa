//! Recovering a log that was not closed, beside a plain read of the same files with a checksum.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use ottla_log::{FsStorage, SegmentCheck};
use ottla_types::Offset;

use crate::runs::{Runs, timed};
use crate::written::{batch, config, create, fill, open};

const TOTAL: usize = 512 << 20;
const SEGMENT: u64 = 64 << 20;
const CHUNK: usize = 1 << 20;
const WORKLOAD: &str = "recovery";

pub(crate) fn run(runs: &mut Runs) {
    let folder = runs.folder();
    let config = config(SEGMENT);
    let mut log = create(folder.path(), 0, &config);
    fill(&mut log, &batch(16 << 10), runs.scale.of(TOTAL));
    let (dir, end, bytes) = (log.dir().to_path_buf(), log.end_offset(), log.size_bytes());
    drop(log);
    let runs = &*runs;
    let storage = &Arc::new(FsStorage::default());
    let recover = |contestant, run: &dyn Fn(&mut [SegmentCheck<FsStorage>])| {
        let log = open(storage, &dir, 0, &config, None);
        let (time, (log, report)) = timed(|| log.recover_with(run).unwrap());
        assert_eq!((log.end_offset(), report.checked_bytes), (end, bytes as u64));
        runs.rate(WORKLOAD, contestant, bytes, time);
    };
    let plain = || {
        let (time, read) = timed(|| read_and_check(&dir));
        assert_eq!(read, bytes);
        runs.rate(WORKLOAD, "pread, CRC-32C", bytes, time);
    };
    plain();
    recover("ottla", &|checks| checks.iter_mut().for_each(SegmentCheck::run));
    recover("ottla, two threads", &|checks| {
        let (left, right) = checks.split_at_mut(checks.len() / 2);
        std::thread::scope(|scope| {
            scope.spawn(|| left.iter_mut().for_each(SegmentCheck::run));
            right.iter_mut().for_each(SegmentCheck::run);
        });
    });
    assert!(end > Offset(0));
}

fn read_and_check(dir: &Path) -> usize {
    let mut buffer = vec![0; CHUNK];
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|suffix| suffix != "log") {
            continue;
        }
        let file = File::open(path).unwrap();
        let mut at = 0;
        loop {
            let got = file.read_at(&mut buffer, at).unwrap();
            let Some(read) = buffer.get(..got).filter(|read| !read.is_empty()) else { break };
            black_box(ottla_record::crc32c(read));
            at += got as u64;
        }
        sum += usize::try_from(at).unwrap();
    }
    sum
}
