//! Loading a shard: its partition is read from start to end.
//!
//! The records go into a core of their own, without any lock; the shard answers
//! `COORDINATOR_LOAD_IN_PROGRESS` until that core takes its place. A partition that cannot be
//! read makes this broker no coordinator, as in Kafka.

use std::sync::Arc;

use ottla_group::{GroupShard, LoggedRecord};
use ottla_log::ReadError;
use ottla_record::{Batch, BatchError, Batches, ControlType, DecompressLimits};
use ottla_types::{ErrorCode, MonoTime, Offset};

use super::shard::Shard;
use crate::partition::Partition;

/// Why a partition could not be loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("the partition is gone")]
    Gone,
    #[error("the log ends at offset {0} where more was promised")]
    Short(Offset),
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
    #[error("a batch cannot be read")]
    Batch(#[from] BatchError),
    #[error("the partition is not served: {0}")]
    NotServed(ErrorCode),
}

/// Loads the shard, then lets it serve.
pub(super) async fn run(shard: Arc<Shard>) {
    let (env, partition) = (shard.env(), shard.partition().clone());
    let started = env.clock.now();
    let settings = env.settings.load_full();
    let reading = tokio::task::spawn_blocking(move || {
        let mut core = GroupShard::new(settings.core.clone());
        read(&partition, settings.load_bytes, &mut core).map(|end| (core, end))
    });
    let outcome = match reading.await {
        Ok(Ok((core, end))) => match committed(shard.partition(), end).await {
            Ok(()) => {
                shard.loaded(core, end);
                let now = env.clock.now();
                let took = now.since(started);
                env.loads.record(now.since(MonoTime::ZERO), took.as_secs_f64() * 1000.0);
                tracing::debug!(partition = %shard.index(), %end, ?took, "groups loaded");
                return;
            }
            Err(error) => Some(error),
        },
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    if shard.is_closed() {
        return;
    }
    let partition = shard.partition().topic_partition();
    let source = outcome.as_ref().and_then(std::error::Error::source);
    match &outcome {
        Some(error) => tracing::error!(%partition, %error, source, "groups cannot be loaded"),
        None => tracing::error!(%partition, "loading groups panicked"),
    }
    shard.close();
}

/// After a crash the end of the log may not be durable yet; nothing is served before it is.
async fn committed(partition: &Partition, end: Offset) -> Result<(), LoadError> {
    loop {
        match partition.covered(end).await {
            Ok(()) => return Ok(()),
            Err(ErrorCode::RequestTimedOut) => {}
            Err(code) => return Err(LoadError::NotServed(code)),
        }
    }
}

/// Replays the whole log; answers its end.
fn read(partition: &Partition, chunk: usize, core: &mut GroupShard) -> Result<Offset, LoadError> {
    let range = partition.with_log(|log| (log.log_start_offset(), log.end_offset()));
    let (mut next, end) = range.ok_or(LoadError::Gone)?;
    while next < end {
        let bytes = partition.with_log(|log| log.read_bytes(next, chunk, end));
        let bytes = bytes.ok_or(LoadError::Gone)??;
        let before = next;
        for batch in Batches::new(bytes) {
            let batch = batch?;
            // The first batch of a chunk may begin before the offset asked for.
            replay(&batch, core)?;
            next = next.max(batch.header().next_offset());
        }
        if next == before {
            return Err(LoadError::Short(next));
        }
    }
    Ok(end)
}

fn replay(batch: &Batch, core: &mut GroupShard) -> Result<(), LoadError> {
    let header = batch.header();
    let records = batch.records(&DecompressLimits::default())?;
    if header.attributes.is_control() {
        for record in records {
            let kind = ControlType::of(&record?)?;
            if let (Some(producer), ControlType::Commit | ControlType::Abort) =
                (header.producer_id, kind)
            {
                core.replay_marker(producer, kind == ControlType::Commit);
            }
        }
        return Ok(());
    }
    let transaction_of = header.producer_id.filter(|_| header.attributes.is_transactional());
    for record in records {
        let record = record?;
        core.replay(&LoggedRecord {
            offset: record.offset,
            transaction_of,
            key: record.key,
            value: record.value,
        });
    }
    Ok(())
}
