//! The log alone, on the disk of the temporary folder: checking and appending, planning a read,
//! and what recovery reads after a crash. Nothing is synced, so that the figures are the code's.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ottla_benches::{batch, batch_of};
use ottla_log::{AppendOrigin, FsStorage, LogConfig, OpenInfo, PartitionLog, UnrecoveredLog};
use ottla_types::{LeaderEpoch, Offset, TopicPartition, WallTime};

const NOW: WallTime = WallTime::from_millis(1);
const RECOVERED_BYTES: usize = 16 << 20;

/// A folder that goes with the benchmark.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 64 << 20, ..LogConfig::default() })
}

fn partition() -> TopicPartition {
    TopicPartition::parse("bench-0").unwrap()
}

fn create(parent: &Path) -> PartitionLog<FsStorage> {
    let storage = Arc::new(FsStorage::default());
    PartitionLog::create(storage, parent, partition(), None, Offset(0), config(), NOW).unwrap()
}

fn fill(log: &mut PartitionLog<FsStorage>, batch: &Bytes, bytes: usize) {
    let prepared = config().prepare(batch.clone(), AppendOrigin::Client, NOW).unwrap();
    for _ in 0..bytes / batch.len() {
        log.append(&prepared, LeaderEpoch(0), NOW).unwrap();
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log append");
    for (name, records, value) in [("16 x 1 KiB", 16, 1024), ("160 x 100 B", 160, 100)] {
        let batch = batch(records, value);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        let config = config();
        group.bench_function(format!("check {name}"), |bencher| {
            bencher.iter(|| config.prepare(batch.clone(), AppendOrigin::Client, NOW).unwrap());
        });
        let prepared = config.prepare(batch.clone(), AppendOrigin::Client, NOW).unwrap();
        group.bench_function(format!("write {name}"), |bencher| {
            let folder = Folder::new("append");
            let mut log = create(&folder.0);
            bencher.iter(|| {
                let appended = log.append(&prepared, LeaderEpoch(0), NOW).unwrap();
                // The disk is not to fill up.
                if appended.base_offset.0 > LOG_RECORDS_MAX {
                    log.truncate_to(Offset(0)).unwrap();
                }
            });
        });
    }
    group.finish();
}

const LOG_RECORDS_MAX: u64 = 500_000;

fn read(criterion: &mut Criterion) {
    let folder = Folder::new("read");
    let mut log = create(&folder.0);
    fill(&mut log, &batch(16, 1024), 48 << 20);
    let end = log.end_offset();
    let mut group = criterion.benchmark_group("log read");
    group.bench_function("the next 1 MiB", |bencher| {
        let mut from = Offset(0);
        bencher.iter(|| {
            let slice = log.read(from, 1 << 20, end, true).unwrap();
            from = if slice.next_offset < end { slice.next_offset } else { Offset(0) };
        });
    });
    group.bench_function("1 MiB anywhere", |bencher| {
        let mut from = 1;
        bencher.iter(|| {
            // A step that visits every part of the log, in no order that a cursor could follow.
            from = (from + 7_919) % end.0;
            black_box(log.read(Offset(from), 1 << 20, end, true).unwrap());
        });
    });
    group.finish();
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log recovery");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(RECOVERED_BYTES as u64));
    for (name, value) in [("1 KiB records", 1024), ("100 B records", 100)] {
        let folder = Folder::new("recovery");
        let mut log = create(&folder.0);
        fill(&mut log, &batch_of(16 << 10, value), RECOVERED_BYTES);
        let (dir, end) = (log.dir().to_path_buf(), log.end_offset());
        drop(log);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || open(&dir),
                |unrecovered| {
                    let (log, _) = unrecovered.recover().unwrap();
                    assert_eq!(log.end_offset(), end);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A log that was not closed, with nothing known to be on disk: all of it is checked.
fn open(dir: &Path) -> UnrecoveredLog<FsStorage> {
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean: false,
        recovery_point: Offset(0),
        log_start: Offset(0),
        config: config(),
        accept_damage: false,
        now: NOW,
    };
    UnrecoveredLog::open(Arc::new(FsStorage::default()), dir.to_path_buf(), info).unwrap()
}

criterion_group!(benches, append, read, recovery);
criterion_main!(benches);
