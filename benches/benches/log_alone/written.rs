//! Logs as the measurements need them.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{
    AppendOrigin, FsStorage, LogConfig, OpenInfo, PartitionLog, PreparedAppend, UnrecoveredLog,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

use crate::runs::Numbers;

pub(crate) type Log = PartitionLog<FsStorage>;

pub(crate) const NOW: WallTime = WallTime::from_millis(1);
pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(0);

/// Length of a value in every measurement; batches have as many as fit.
pub(crate) const VALUE: usize = 1024;

pub(crate) fn config(segment_bytes: u64) -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes, max_message_bytes: 8 << 20, ..LogConfig::default() })
}

pub(crate) fn partition(number: usize) -> TopicPartition {
    TopicPartition::parse(&format!("bench-{number}")).unwrap()
}

pub(crate) fn create(parent: &Path, number: usize, config: &Arc<LogConfig>) -> Log {
    let storage = Arc::new(FsStorage::default());
    let (partition, config) = (partition(number), Arc::clone(config));
    PartitionLog::create(storage, parent, partition, None, Offset(0), config, NOW).unwrap()
}

/// An uncompressed batch of about `bytes` bytes, with values that are not compressible.
pub(crate) fn batch(bytes: usize) -> Bytes {
    let mut numbers = Numbers::new();
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..(bytes / (VALUE + 10)).max(1) {
        builder.push_pair(Timestamp(1), None, Some(&numbers.bytes(VALUE)));
    }
    builder.build().unwrap()
}

pub(crate) fn prepare(config: &LogConfig, batch: &Bytes) -> PreparedAppend {
    config.prepare(batch.clone(), AppendOrigin::Client, NOW).unwrap()
}

/// Appends the batch until there are `bytes` bytes; returns how many batches that were.
pub(crate) fn fill(log: &mut Log, batch: &Bytes, bytes: usize) -> usize {
    let prepared = prepare(log.config(), batch);
    let count = bytes / batch.len();
    for _ in 0..count {
        log.append(&prepared, EPOCH, NOW).unwrap();
    }
    count
}

pub(crate) fn open(
    storage: &Arc<FsStorage>,
    dir: &Path,
    number: usize,
    config: &Arc<LogConfig>,
    closed_at: Option<Offset>,
) -> UnrecoveredLog<FsStorage> {
    let info = OpenInfo {
        partition: partition(number),
        topic_id: None,
        clean: closed_at.is_some(),
        recovery_point: closed_at.unwrap_or(Offset(0)),
        log_start: Offset(0),
        config: Arc::clone(config),
        accept_damage: false,
        now: NOW,
    };
    UnrecoveredLog::open(Arc::clone(storage), dir.to_path_buf(), info).unwrap()
}
