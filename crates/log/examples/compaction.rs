//! A table in a log: each key's newest value stays, whatever was written before goes.
//!
//! `cargo run -p ottla-log --example compaction`

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(clippy::disallowed_methods, reason = "it removes its own folder")]

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use ottla_log::{AppendOrigin, FsStorage, LogConfig, MapSettings, PartitionLog};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

const NOW: WallTime = WallTime::from_millis(0);

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::temp_dir().join(format!("ottla-compaction-{}", std::process::id()));
    let partition = TopicPartition::parse("table-0").ok_or("a partition")?;
    let config = LogConfig { compact: true, delete: false, ..LogConfig::default() };
    let storage = Arc::new(FsStorage::default());
    let (start, config) = (Offset(0), Arc::new(config));
    let mut log = PartitionLog::create(storage, &parent, partition, None, start, config, NOW)?;
    for round in 0..100 {
        let mut batch = BatchBuilder::new(Compression::None);
        for key in 0..10 {
            let (key, value) = (format!("key {key}"), format!("value {round}"));
            batch.push_pair(Timestamp(0), Some(key.as_bytes()), Some(value.as_bytes()));
        }
        let prepared = log.config().prepare(batch.build()?, AppendOrigin::Client, NOW)?;
        log.append(&prepared, LeaderEpoch(0), NOW)?;
    }
    // Only what is in closed segments and on the disk is compacted.
    log.roll(NOW)?;
    log.flush()?;
    let before = log.size_bytes();
    let end = log.end_offset();
    let cleanable = log.cleanable(None, end, NOW)?;
    let mut job = log.prepare_compaction(cleanable, NOW)?.ok_or("something to compact")?;
    // A real one waits here so that it reads and writes no faster than it should.
    let mut pace = |_bytes| ControlFlow::Continue(());
    let mut map = job.offset_map(MapSettings { memory: 1 << 20, load: 0.9, seed: 0 });
    job.index(&mut map, &mut pace)?;
    while let Some(cleaned) = job.clean_next(&map, &mut pace)? {
        log.complete_compaction(cleaned)?.remove()?;
    }
    println!("{before} bytes before, {} after", log.size_bytes());
    assert_eq!(job.stats().written_records, 10);
    assert!(log.size_bytes() < before / 50 && log.end_offset() == end);
    std::fs::remove_dir_all(parent)?;
    Ok(())
}
