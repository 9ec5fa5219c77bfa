//! Power cuts on a real file system: what was acknowledged is there, and the log is whole, each time.
//!
//! `cargo xtask power-cuts` asks for them; without it nothing is mounted, and this says so.
#![allow(clippy::disallowed_methods, reason = "it has a thread of its own, and reads the clock")]
#![allow(clippy::print_stderr, reason = "says what was done")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use ottla_log::{
    AppendOrigin, FsStorage, LogConfig, OpenInfo, PartitionLog, Problem, UnrecoveredLog, verify,
};
use ottla_record::{BatchBuilder, Batches, Compression, DecompressLimits};
use ottla_testkit::{CutDisk, Random};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

type Log = PartitionLog<FsStorage>;

const NOW: WallTime = WallTime::from_millis(1);
const DISK_MEBIBYTES: u32 = 64;
/// A log is begun anew after so many cuts, long before the disk is full.
const CUTS_OF_A_LOG: u64 = 20;

/// What happened.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: u64,
    torn: u64,
    lost_unacknowledged: u64,
}

#[test]
fn what_was_acknowledged_survives_real_power_cuts() {
    let asked = std::env::var("OTTLA_POWER_CUTS").unwrap_or_default();
    let Ok(cuts) = asked.parse::<u64>() else {
        eprintln!("skipped: no power is cut unless `cargo xtask power-cuts` asks for it");
        return;
    };
    let seed = std::env::var("OTTLA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let disk = CutDisk::create(DISK_MEBIBYTES).expect("loop devices, mkfs.ext4, and to be root");
    let mut random = Random::new(seed);
    let mut seen = Seen::default();
    for cut in 0..cuts {
        let dir = disk.path().join(format!("log-{}", cut / CUTS_OF_A_LOG));
        if cut % CUTS_OF_A_LOG == 0 && cut > 0 {
            let old = disk.path().join(format!("log-{}", cut / CUTS_OF_A_LOG - 1));
            std::fs::remove_dir_all(old).expect("removes");
        }
        let ends = run_until_cut(&disk, &dir, &mut random);
        disk.restore().expect("mounts");
        check(&dir, ends, &mut seen);
        if (cut + 1) % 100 == 0 {
            eprintln!("{} of {cuts} cuts, seed {seed}: {seen:?}", cut + 1);
        }
    }
    assert!(cuts < 100 || seen.acknowledged > cuts && seen.lost_unacknowledged > 0, "{seen:?}");
}

/// Appends, with a sync here and there, until the power goes; returns where the acknowledged records end, and all.
fn run_until_cut(disk: &CutDisk, dir: &Path, random: &mut Random) -> [Offset; 2] {
    let ends = [AtomicU64::new(0), AtomicU64::new(0)];
    let lifetime = Duration::from_micros(200 + random.below(12_000));
    let settings = random.below(1 << 30);
    std::thread::scope(|scope| {
        let (begun, opened) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let appender = scope.spawn(|| {
            append_until_it_fails(dir, settings, &ends, begun);
            drop(end);
        });
        opened.recv().expect("the log is open");
        // The power goes while it writes, wherever it is.
        let early = ended.recv_timeout(lifetime);
        assert!(matches!(early, Err(mpsc::RecvTimeoutError::Timeout)), "it ended by itself");
        // What is acknowledged while the power goes nobody has heard of.
        let heard = ends[0].load(Ordering::Acquire);
        disk.cut().expect("cuts");
        appender.join().expect("no panic");
        [heard, ends[1].load(Ordering::Acquire)].map(Offset)
    })
}

fn append_until_it_fails(
    dir: &Path,
    settings: u64,
    [acknowledged, appended]: &[AtomicU64; 2],
    begun: mpsc::Sender<()>,
) {
    let mut random = Random::new(settings);
    let mut log = open(dir);
    acknowledged.store(log.flush().expect("the disk is whole").0, Ordering::Release);
    begun.send(()).expect("somebody waits");
    loop {
        for _ in 0..=random.below(4) {
            let mut batch = BatchBuilder::new(Compression::None);
            let number = log.end_offset().0;
            let value = format!(
                "record {number} {}",
                "x".repeat(usize::try_from(random.below(3000)).expect("small"))
            );
            batch.push_pair(Timestamp(1), None, Some(value.as_bytes()));
            let batch = batch.build().expect("builds");
            let prepared = log.config().prepare(batch, AppendOrigin::Client, NOW).expect("good");
            if log.append(&prepared, LeaderEpoch(1), NOW).is_err() {
                return;
            }
            appended.store(log.end_offset().0, Ordering::Release);
        }
        match log.flush() {
            Ok(durable) => acknowledged.store(durable.0, Ordering::Release),
            Err(_) => return,
        }
    }
}

fn open(dir: &Path) -> Log {
    let config = Arc::new(LogConfig { segment_bytes: 60_000, ..LogConfig::default() });
    let storage = Arc::new(FsStorage::default());
    let partition = TopicPartition::parse("t-0").expect("a partition");
    if !dir.join("t-0").exists() {
        return PartitionLog::create(storage, dir, partition, None, Offset(0), config, NOW)
            .expect("creates");
    }
    let info = OpenInfo {
        partition,
        topic_id: None,
        clean: false,
        recovery_point: Offset(0),
        log_start: Offset(0),
        config,
        accept_damage: false,
        now: NOW,
    };
    UnrecoveredLog::open(storage, dir.join("t-0"), info)
        .expect("opens")
        .recover()
        .expect("recovers")
        .0
}

fn check(dir: &Path, [acknowledged, appended]: [Offset; 2], seen: &mut Seen) {
    let partition = dir.join("t-0");
    if partition.exists() {
        let mut pace = |_| ControlFlow::Continue(());
        let verified = verify(&FsStorage::default(), &partition, &mut pace).expect("reads");
        let torn = |problem: &Problem| matches!(problem, Problem::TornTail { .. });
        seen.torn += u64::from(verified.findings.iter().any(|f| torn(&f.problem)));
    } else {
        assert_eq!(acknowledged, Offset(0), "the directory is gone");
    }
    let mut log = open(dir);
    assert!(acknowledged <= log.end_offset(), "{acknowledged} was there: {}", log.end_offset());
    let mut next = log.log_start_offset();
    while next < log.end_offset() {
        let bytes = log.read_bytes(next, 1 << 20, log.end_offset()).expect("reads");
        for batch in Batches::new(bytes) {
            let batch = batch.expect("a batch");
            ottla_record::check_crc(batch.bytes()).expect("undamaged");
            for record in batch.records(&DecompressLimits::default()).expect("records") {
                let record = record.expect("a record");
                let value = record.value.unwrap_or_default();
                assert_eq!(record.offset, next);
                assert!(value.starts_with(format!("record {next} ").as_bytes()), "{next}");
                next = next.next();
            }
        }
    }
    log.close().expect("closes");
    seen.acknowledged += acknowledged.0;
    seen.lost_unacknowledged += appended.0.saturating_sub(log.end_offset().0);
}
