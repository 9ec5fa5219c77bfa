//! Opening many partitions that were closed.

use std::sync::Arc;

use ottla_log::{
    Checkpoint, FsStorage, LogConfig, LogDirectory, Offsets, PartitionDir, PartitionDirKind,
};

use crate::runs::{Runs, timed};
use crate::written::{batch, config, create, fill, open};

const PARTITIONS: usize = 10_000;

pub(crate) fn run(runs: &mut Runs) {
    let folder = runs.folder();
    let count = runs.scale.of(PARTITIONS);
    let config = config(1 << 30);
    let batch = batch(4 << 10);
    let storage = Arc::new(FsStorage::default());
    let mut ends = Offsets::new();
    for number in 0..count {
        let mut log = create(folder.path(), number, &config);
        fill(&mut log, &batch, 2 * batch.len());
        // What a clean stop leaves, without its syncs: 10,000 of them say nothing about opening.
        log.close().unwrap();
        ends.insert(log.topic_partition().clone(), log.end_offset());
    }
    let directory = LogDirectory::open(Arc::clone(&storage), folder.path()).unwrap();
    directory.write_checkpoint(Checkpoint::RecoveryPoints, &ends).unwrap();
    drop(directory);
    for (contestant, threads) in [("ottla", 1), ("ottla, two threads", 2)] {
        let (time, opened) = timed(|| {
            let directory = LogDirectory::open(Arc::clone(&storage), folder.path()).unwrap();
            let ends = directory.read_checkpoint(Checkpoint::RecoveryPoints).unwrap();
            let dirs = directory.partitions().unwrap();
            let parts = dirs.chunks(dirs.len().div_ceil(threads));
            std::thread::scope(|scope| {
                let open_all = |dirs| open_all(&storage, dirs, &ends, &config);
                let running: Vec<_> =
                    parts.map(|part| scope.spawn(move || open_all(part))).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
            })
        });
        assert_eq!(opened, count);
        runs.note("opening 10,000 partitions", contestant, time.as_secs_f64() * 1e3, "ms");
    }
}

fn open_all(
    storage: &Arc<FsStorage>,
    dirs: &[PartitionDir],
    ends: &Offsets,
    config: &Arc<LogConfig>,
) -> usize {
    let mut logs = Vec::with_capacity(dirs.len());
    for dir in dirs {
        let PartitionDirKind::Live(partition) = &dir.kind else { continue };
        let number = usize::try_from(partition.partition.0).unwrap();
        let end = ends.get(partition).copied();
        logs.push(open(storage, &dir.path, number, config, end).recover().unwrap().0);
    }
    logs.len()
}
