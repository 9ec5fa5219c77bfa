//! Appends and reads back on a real disk, and says what each step costs.
//!
//! `cargo run -p ottla-log --release --example append -- [DIRECTORY] [BATCH_BYTES]`

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it reads a clock for the core"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_log::{
    AppendOrigin, FsStorage, LogConfig, OpenInfo, PartitionLog, Storage, UnrecoveredLog,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, Uuid, WallTime};

const TOTAL_BYTES: usize = 256 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let batch_bytes = arguments.next().map_or(Ok(16 << 10), |text| text.parse::<usize>())?;
    let mut builder = BatchBuilder::new(Compression::None);
    let value = vec![b'x'; 1000.min(batch_bytes)];
    while builder.uncompressed_len() < batch_bytes {
        builder.push_pair(Timestamp(1), None, Some(&value));
    }
    let batch = builder.build()?;
    let rounds = TOTAL_BYTES / batch.len();

    let storage = Arc::new(FsStorage::default());
    let config = Arc::new(LogConfig { segment_bytes: 64 << 20, ..LogConfig::default() });
    let now = WallTime::from_millis(1);
    let partition = TopicPartition::parse("example-0").ok_or("a partition")?;
    let mut log = PartitionLog::create(
        Arc::clone(&storage),
        &parent,
        partition,
        None,
        Offset(0),
        Arc::clone(&config),
        now,
    )?;

    let (mut preparing, mut appending) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let start = Instant::now();
        let prepared = config.prepare(batch.clone(), AppendOrigin::Client, now)?;
        preparing += start.elapsed();
        let start = Instant::now();
        log.append(&prepared, LeaderEpoch(0), now)?;
        appending += start.elapsed();
    }
    let start = Instant::now();
    log.flush()?;
    let flushing = start.elapsed();

    let start = Instant::now();
    let (mut from, mut reads) = (Offset(0), 0);
    while from < log.end_offset() {
        from = log.read(from, 1 << 20, log.end_offset(), true)?.next_offset;
        reads += 1;
    }
    let reading = start.elapsed();
    let each = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!("{rounds} batches of {} bytes, {} segments", batch.len(), log.segment_count());
    println!(
        "prepare {:.2} us, append {:.2} us a batch",
        each(preparing, rounds),
        each(appending, rounds)
    );
    println!(
        "flush {:.1} ms; {reads} reads of 1 MiB planned in {:.2} us each",
        flushing.as_secs_f64() * 1e3,
        each(reading, reads)
    );
    let log = recover(&storage, log, config)?;
    let gone = log.delete(Uuid([0; 16]))?;
    storage.remove_dir_all(&gone)?;
    Ok(())
}

/// Opens the log as after a crash.
fn recover(
    storage: &Arc<FsStorage>,
    log: PartitionLog<FsStorage>,
    config: Arc<LogConfig>,
) -> Result<PartitionLog<FsStorage>, Box<dyn std::error::Error>> {
    let info = OpenInfo {
        partition: log.topic_partition().clone(),
        topic_id: None,
        clean: false,
        recovery_point: Offset(0),
        log_start: Offset(0),
        config,
        accept_damage: false,
        now: WallTime::from_millis(1),
    };
    let dir = log.dir().to_path_buf();
    drop(log);
    let start = Instant::now();
    let (log, report) = UnrecoveredLog::open(Arc::clone(storage), dir, info)?.recover()?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = report.checked_bytes as f64 / seconds / 1e9;
    println!("recovery checked {rate:.2} GB/s, {seconds:.3} s");
    Ok(log)
}
