//! The one place in these tests that knows how logs are made, opened and read.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod compacted;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::storage::SimStorage;
use ottla_log::{
    AppendOrigin, LogConfig, OpenError, OpenInfo, PartitionLog, PreparedAppend, RecoveryReport,
    Storage, UnrecoveredLog,
};
use ottla_record::{BatchBuilder, Batches, Compression, DecompressLimits, Record};
use ottla_types::{Offset, Timestamp, TopicId, TopicPartition, WallTime};

pub(crate) const PARENT: &str = "data";
pub(crate) const DIR: &str = "data/t-0";

pub(crate) type Log = PartitionLog<SimStorage>;

pub(crate) fn at(millis: i64) -> WallTime {
    WallTime::from_millis(millis)
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::parse("t-0").expect("a partition")
}

pub(crate) fn config() -> LogConfig {
    LogConfig { retention: None, ..LogConfig::default() }
}

pub(crate) fn create(config: LogConfig) -> (Arc<SimStorage>, Log) {
    let storage = Arc::new(SimStorage::new());
    let log = try_create(&storage, &Arc::new(config)).expect("created");
    (storage, log)
}

pub(crate) fn try_create(
    storage: &Arc<SimStorage>,
    config: &Arc<LogConfig>,
) -> Result<Log, OpenError> {
    let (storage, config) = (Arc::clone(storage), Arc::clone(config));
    PartitionLog::create(storage, Path::new(PARENT), partition(), None, Offset(0), config, at(0))
}

pub(crate) fn open_as(
    storage: &SimStorage,
    config: &Arc<LogConfig>,
    topic_id: Option<TopicId>,
) -> Result<UnrecoveredLog<SimStorage>, OpenError> {
    let info = OpenInfo {
        partition: partition(),
        topic_id,
        clean: true,
        recovery_point: Offset(0),
        log_start: Offset(0),
        config: Arc::clone(config),
        accept_damage: false,
        now: at(0),
    };
    UnrecoveredLog::open(Arc::new(storage.clone()), PathBuf::from(DIR), info)
}

pub(crate) fn try_open(
    storage: &SimStorage,
    config: &Arc<LogConfig>,
    clean: bool,
    recovery_point: u64,
    accept_damage: bool,
) -> Result<(Log, RecoveryReport), OpenError> {
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean,
        recovery_point: Offset(recovery_point),
        log_start: Offset(0),
        config: Arc::clone(config),
        accept_damage,
        now: at(0),
    };
    UnrecoveredLog::open(Arc::new(storage.clone()), PathBuf::from(DIR), info)?.recover()
}

pub(crate) fn reopen(
    storage: &SimStorage,
    config: &Arc<LogConfig>,
    clean: bool,
    recovery_point: u64,
) -> (Log, RecoveryReport) {
    try_open(storage, config, clean, recovery_point, false).expect("opens")
}

/// A client's batch with these values and timestamp 1.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push_pair(Timestamp(1), None, Some(value.as_bytes()));
    }
    builder.build().expect("builds")
}

pub(crate) fn client(log: &Log, values: &[&str]) -> PreparedAppend {
    log.config().prepare(batch(values), AppendOrigin::Client, at(5)).expect("acceptable")
}

pub(crate) fn stamped(log: &Log, millis: i64) -> PreparedAppend {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push_pair(Timestamp(millis), None, Some(b"x"));
    let bytes = builder.build().expect("builds");
    log.config().prepare(bytes, AppendOrigin::Client, at(millis)).expect("acceptable")
}

/// All records of the log, read a few batches at a time.
pub(crate) fn records(log: &mut Log) -> Vec<Record> {
    let mut records = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.end_offset() {
        let slice = log.read(from, 200, log.end_offset(), true).expect("reads");
        let bytes = match slice.records {
            Some(ottla_codec::Part::Bytes(bytes)) => bytes,
            other => panic!("memory lends no files: {other:?}"),
        };
        assert_eq!(bytes.len(), slice.len);
        for batch in Batches::new(bytes) {
            let batch = batch.expect("a batch");
            ottla_record::check_crc(batch.bytes()).expect("undamaged");
            let walk = batch.records(&DecompressLimits::default()).expect("records");
            records.extend(walk.map(|record| record.expect("a record")));
        }
        assert!(from < slice.next_offset, "a read makes progress");
        from = slice.next_offset;
    }
    records.retain(|record| record.offset >= log.log_start_offset());
    records
}

pub(crate) fn values(log: &mut Log) -> Vec<String> {
    let text =
        |record: Record| String::from_utf8_lossy(&record.value.expect("a value")).into_owned();
    records(log).into_iter().map(text).collect()
}

pub(crate) fn offsets(log: &mut Log) -> Vec<u64> {
    records(log).into_iter().map(|record| record.offset.0).collect()
}

/// Names of the files in the partition's directory.
pub(crate) fn names(storage: &SimStorage) -> Vec<String> {
    let mut names: Vec<_> =
        storage.list(Path::new(DIR)).expect("lists").into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}
