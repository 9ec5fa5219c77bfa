//! One thread appends, another reads on as soon as there is more: a log as a queue.
//!
//! `cargo run -p ottla-log --example tailing`

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(clippy::disallowed_methods, reason = "it has threads of its own; the crate has none")]

use std::error::Error;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use ottla_log::{AppendOrigin, FsStorage, LogConfig, PartitionLog};
use ottla_record::{BatchBuilder, Batches, Compression, DecompressLimits};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

const RECORDS: u64 = 5;

/// A log that several threads use, and a signal that it has grown.
struct Shared {
    log: Mutex<PartitionLog<FsStorage>>,
    grown: Condvar,
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::temp_dir().join(format!("ottla-tailing-{}", std::process::id()));
    let partition = TopicPartition::parse("queue-0").ok_or("a partition")?;
    let storage = Arc::new(FsStorage::default());
    let config = Arc::new(LogConfig::default());
    let now = WallTime::from_millis(0);
    let log = PartitionLog::create(storage, &parent, partition, None, Offset(0), config, now)?;
    let shared = Shared { log: Mutex::new(log), grown: Condvar::new() };
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| tail(&shared).map_err(|error| error.to_string()));
        append(&shared)?;
        let read = reader.join().map_err(|_| "the reader panicked")??;
        Ok::<_, Box<dyn Error>>(read)
    })?;
    assert_eq!(read, ["record 0", "record 1", "record 2", "record 3", "record 4"]);
    std::fs::remove_dir_all(parent)?;
    Ok(())
}

fn append(shared: &Shared) -> Result<(), Box<dyn Error>> {
    for number in 0..RECORDS {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push_pair(Timestamp(0), None, Some(format!("record {number}").as_bytes()));
        let now = WallTime::from_millis(0);
        let mut log = shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = log.config().prepare(batch.build()?, AppendOrigin::Client, now)?;
        log.append(&prepared, LeaderEpoch(0), now)?;
        shared.grown.notify_all();
    }
    Ok(())
}

fn tail(shared: &Shared) -> Result<Vec<String>, Box<dyn Error>> {
    let mut values = Vec::new();
    let mut from = Offset(0);
    while from < Offset(RECORDS) {
        let mut log = shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        while log.end_offset() == from {
            log = shared.grown.wait(log).unwrap_or_else(PoisonError::into_inner);
        }
        let end = log.end_offset();
        let bytes = log.read_bytes(from, 1 << 20, end)?;
        // Decoding needs no lock.
        drop(log);
        for batch in Batches::new(bytes) {
            let batch = batch?;
            from = batch.header().next_offset();
            for record in batch.records(&DecompressLimits::default())? {
                let value = record?.value.unwrap_or_default();
                let value = String::from_utf8_lossy(&value).into_owned();
                println!("{value}");
                values.push(value);
            }
        }
    }
    Ok(values)
}
