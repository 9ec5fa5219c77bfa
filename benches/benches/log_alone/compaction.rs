//! One pass of compaction over a log of keyed records, on one thread.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ottla_log::{AppendOrigin, LogConfig, MapSettings};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::Timestamp;

use crate::runs::{Numbers, Runs, Scale, timed};
use crate::written::{EPOCH, Log, NOW, VALUE, create};

const TOTAL: usize = 512 << 20;
const SEGMENT: u64 = 64 << 20;
const RECORDS_OF_BATCH: usize = 16;
/// A fifth of the records, so that most of the log goes.
const KEYS: u64 = 100_000;

pub(crate) fn run(runs: &mut Runs) {
    let folder = runs.folder();
    let mut log = keyed(folder.path(), runs.scale);
    let cleanable = log.cleanable(None, log.end_offset(), NOW).unwrap();
    let mut job = log.prepare_compaction(cleanable, NOW).unwrap().unwrap();
    let mut pace = |_| ControlFlow::Continue(());
    let (time, ()) = timed(|| {
        let mut map = job.offset_map(MapSettings { memory: 128 << 20, load: 0.9, seed: 0 });
        job.index(&mut map, &mut pace).unwrap();
        while let Some(cleaned) = job.clean_next(&map, &mut pace).unwrap() {
            log.complete_compaction(cleaned).unwrap().remove().unwrap();
        }
    });
    let stats = job.stats();
    assert!(stats.written_bytes < stats.read_bytes);
    runs.rate("compaction", "ottla", usize::try_from(stats.read_bytes).unwrap(), time);
}

/// Leaves the log that is compacted here in a folder, for another cleaner.
pub(crate) fn write(parent: &Path, scale: Scale) {
    keyed(parent, scale).close().unwrap();
}

fn keyed(parent: &Path, scale: Scale) -> Log {
    let config = Arc::new(LogConfig {
        segment_bytes: SEGMENT,
        compact: true,
        delete: false,
        ..LogConfig::default()
    });
    let mut log = create(parent, 0, &config);
    let mut numbers = Numbers::new();
    let values = numbers.bytes(VALUE * RECORDS_OF_BATCH);
    let keys = scale.of(usize::try_from(KEYS).unwrap()) as u64;
    while log.size_bytes() < scale.of(TOTAL) {
        let mut builder = BatchBuilder::new(Compression::None);
        for value in values.chunks_exact(VALUE) {
            let key = format!("key-{:010}", numbers.below(keys));
            builder.push_pair(Timestamp(1), Some(key.as_bytes()), Some(value));
        }
        let batch = builder.build().unwrap();
        let prepared = config.prepare(batch, AppendOrigin::Client, NOW).unwrap();
        log.append(&prepared, EPOCH, NOW).unwrap();
    }
    // The segment that grows is never compacted, nor is what is not on disk.
    log.roll(NOW).unwrap();
    log.flush().unwrap();
    log
}
