//! A directory that Kafka 4.3.1 wrote (`golden/kafka-4.3.1`): read, and written again byte by byte.
//!
//! Made with its console producer, an idempotent one for each codec, on a topic with
//! `internal.segment.bytes=1500` and `index.interval.bytes=100`, and a clean stop.
#![allow(clippy::disallowed_methods, reason = "a test looks at the files itself")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::storage::SimStorage;
use ottla_log::{
    AppendOrigin, Checkpoint, FsStorage, LogConfig, LogDirectory, OpenInfo, PartitionLog, Storage,
    StorageFile, UnrecoveredLog,
};
use ottla_record::{BatchBuilder, Batches, Compression, DecompressLimits};
use ottla_types::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicPartition, WallTime,
};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/kafka-4.3.1");

fn files() -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(Path::new(FILES).join("t-0")).expect("golden files");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let content = std::fs::read(entry.path()).expect("reads");
            (entry.file_name().to_string_lossy().into_owned(), content)
        })
        .collect()
}

/// Kafka's directory on a simulated disk.
fn kafkas_disk() -> Arc<SimStorage> {
    let storage = Arc::new(SimStorage::new());
    storage.create_dir(Path::new("t-0")).expect("creates");
    for (name, content) in files() {
        let file = storage.create(&Path::new("t-0").join(name)).expect("creates");
        file.write_at(&[&content], 0).expect("writes");
    }
    storage
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 100,
        retention: None,
        ..LogConfig::default()
    })
}

fn partition() -> TopicPartition {
    TopicPartition::parse("t-0").expect("a partition")
}

fn open(storage: &Arc<SimStorage>, clean: bool) -> PartitionLog<SimStorage> {
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean,
        recovery_point: Offset(0),
        log_start: Offset(0),
        config: config(),
        accept_damage: false,
        now: WallTime::from_millis(0),
    };
    let log = UnrecoveredLog::open(Arc::clone(storage), PathBuf::from("t-0"), info);
    let (log, report) = log.expect("opens").recover().expect("recovers");
    assert_eq!(report.truncated_bytes, 0);
    log
}

#[test]
fn kafkas_records_and_producers_are_read() {
    for clean in [true, false] {
        let mut log = open(&kafkas_disk(), clean);
        assert_eq!((log.end_offset(), log.segment_count()), (Offset(35), 2));
        assert!(log.topic_id().is_some());
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
        assert_eq!(log.producer_count(), 7);
        let mut from = Offset(0);
        let mut texts = Vec::new();
        while from < log.end_offset() {
            let bytes = log.read_bytes(from, 100, log.end_offset()).unwrap();
            for batch in Batches::new(bytes) {
                let batch = batch.unwrap();
                ottla_record::check_crc(batch.bytes()).unwrap();
                from = batch.header().next_offset();
                for record in batch.records(&DecompressLimits::default()).unwrap() {
                    texts.push(record.unwrap().value.unwrap());
                }
            }
        }
        assert_eq!(texts.len(), 35);
        assert!(texts[12].starts_with(b"hello from snappy number 3 "));
        assert!(texts[22].starts_with(b"hello from zstd number 3 "));
    }
}

#[test]
fn the_same_batches_make_the_same_files() {
    let mut kafkas = open(&kafkas_disk(), true);
    let storage = Arc::new(SimStorage::new());
    let mut ours = PartitionLog::create(
        Arc::clone(&storage),
        Path::new(""),
        partition(),
        kafkas.topic_id(),
        Offset(0),
        config(),
        WallTime::from_millis(0),
    )
    .unwrap();
    let mut from = Offset(0);
    while from < kafkas.end_offset() {
        let batch = kafkas.read_bytes(from, 1, kafkas.end_offset()).unwrap();
        let now = WallTime::from_millis(0);
        from = ours.append_given(batch, now).unwrap().unwrap().last_offset.next();
    }
    ours.close().unwrap();
    let written: BTreeMap<_, _> = storage
        .list(Path::new("t-0"))
        .unwrap()
        .into_iter()
        .map(|entry| (entry.name, storage.read_small(&entry.path).unwrap().unwrap()))
        .collect();
    let expected = files();
    assert_eq!(written.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, content) in &expected {
        assert_eq!(written.get(name), Some(content), "{name}");
    }
}

#[test]
fn kafkas_producers_go_on_where_they_were() {
    let mut log = open(&kafkas_disk(), true);
    let last = log.describe_producers().last().copied().unwrap();
    let mut send = |first: u32| {
        let mut builder = BatchBuilder::new(Compression::None).producer(
            last.producer_id,
            last.epoch.unwrap_or(ProducerEpoch(0)),
            Sequence(first),
        );
        builder.push_pair(Timestamp(1), None, Some(b"x"));
        let now = WallTime::from_millis(1);
        let prepared = config().prepare(builder.build().unwrap(), AppendOrigin::Client, now);
        log.append(&prepared.unwrap(), LeaderEpoch(1), now)
    };
    assert!(matches!(last.producer_id, ProducerId(_)));
    assert!(send(99).is_err());
    assert_eq!(send(last.last_sequence.unwrap().plus(1).0).unwrap().base_offset, Offset(35));
}

#[test]
fn kafkas_directory_files_are_read() {
    // The golden folder itself is only read: the lock file goes into a copy.
    let copy = std::env::temp_dir().join(format!("ottla-log-golden-{}", std::process::id()));
    std::fs::create_dir_all(copy.join("t-0")).unwrap();
    for entry in std::fs::read_dir(FILES).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let directory = LogDirectory::open(Arc::new(FsStorage::default()), &copy).unwrap();
    let meta = directory.meta().unwrap();
    assert_eq!((meta.node_id.0, meta.directory_id.is_some()), (1, true));
    assert!(directory.take_clean_mark().unwrap().unwrap().broker_epoch.is_some());
    let points = directory.read_checkpoint(Checkpoint::RecoveryPoints).unwrap();
    assert_eq!(points.get(&partition()), Some(&Offset(35)));
    let marks = directory.read_checkpoint(Checkpoint::HighWatermarks).unwrap();
    assert_eq!(marks.get(&partition()), Some(&Offset(35)));
    assert!(directory.read_checkpoint(Checkpoint::LogStarts).unwrap().is_empty());
    assert!(directory.read_checkpoint(Checkpoint::CleanerOffsets).unwrap().is_empty());
    assert_eq!(directory.partitions().unwrap().len(), 1);
    drop(directory);
    std::fs::remove_dir_all(&copy).unwrap();
}
