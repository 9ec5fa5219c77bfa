//! ListOffsets (2): the offset of a timestamp, or one of the special positions.
//!
//! A producer that was answered finds its records counted: while a sync that covers them is still
//! to come, the answer waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_codec::Str;
use ottla_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use ottla_protocol::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

use crate::dispatch::{Reply, RequestContext};
use crate::partition::{Partition, Position, Reach, Seek};
use crate::purgatory::Wait;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: ListOffsetsRequest,
) -> Reply<ListOffsetsResponse> {
    let unsynced = unsynced(shared, &request);
    if unsynced.is_empty() {
        return Reply::Now(look_up(shared, ctx, &request));
    }
    let wait = Wait::new(unsynced.len());
    for (partition, end) in unsynced {
        partition.wake_at_high_watermark(end, &wait);
    }
    let (shared, ctx) = (shared.clone(), ctx.clone());
    Reply::later(async move {
        // When time runs out, the answer is what is committed by then.
        let _ = tokio::time::timeout(SYNC_MAX, wait.done()).await;
        look_up(&shared, &ctx, &request)
    })
}

/// Partitions with records that were answered and are committed by the next sync.
fn unsynced(shared: &Shared, request: &ListOffsetsRequest) -> Vec<(Arc<Partition>, Offset)> {
    let mut found = Vec::new();
    for topic in &request.topics {
        let Some(hosted) = shared.partitions.find(None, &topic.name) else { continue };
        for partition in &topic.partitions {
            let index = PartitionIndex::from_wire(partition.partition_index);
            if let Some(partition) = index.and_then(|index| hosted.partition(index))
                && let Some(end) = partition.unsynced_end()
            {
                found.push((partition, end));
            }
        }
    }
    found
}

/// The longest wait for a sync.
const SYNC_MAX: Duration = Duration::from_secs(1);

fn look_up(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: &ListOffsetsRequest,
) -> ListOffsetsResponse {
    // A consumer is -1; -2 is a debugging consumer, which sees what is not committed yet.
    let is_consumer = request.replica_id == -1;
    let reach = if is_consumer { Reach::of_consumer(request.isolation_level) } else { Reach::End };
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                twice.insert(key);
            }
        }
    }
    // A partition that is named twice is answered once, with an error.
    let mut refused = HashSet::new();
    let topics = request
        .topics
        .iter()
        .filter(|topic| !topic.partitions.is_empty())
        .map(|topic| {
            let partitions = topic.partitions.iter().filter_map(|partition| {
                let key = (topic.name.clone(), partition.partition_index);
                let found = if !twice.contains(&key) {
                    find(shared, ctx, reach, &topic.name, partition)
                } else if refused.insert(key) {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    return None;
                };
                Some(answer(ctx.version, partition.partition_index, found))
            });
            ListOffsetsTopicResponse {
                name: topic.name.detached(),
                partitions: partitions.collect(),
            }
        })
        .collect();
    ListOffsetsResponse { topics, ..Default::default() }
}

fn find(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    reach: Reach,
    topic: &Str,
    partition: &ListOffsetsPartition,
) -> Result<Option<Position>, ErrorCode> {
    let seek = seek(partition.timestamp, ctx.version)?;
    let hosted = shared.partitions.find(None, topic);
    let leader = shared
        .leader(hosted.as_ref(), None, topic, partition.partition_index)
        .map_err(|refusal| refusal.code)?;
    leader.seek(seek, reach, partition.current_leader_epoch)
}

/// Reads the special values, each from the version on that has it.
fn seek(timestamp: i64, version: i16) -> Result<Seek, ErrorCode> {
    let (seek, since) = match timestamp {
        0.. => (Seek::Timestamp(timestamp), 0),
        -1 => (Seek::Latest, 0),
        -2 => (Seek::Earliest, 0),
        -3 => (Seek::MaxTimestamp, 7),
        -4 => (Seek::Earliest, 8),
        // Nothing is tiered here, so there is no such offset.
        -5 => (Seek::Nowhere, 9),
        -6 => (Seek::Nowhere, 11),
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    if version < since { Err(ErrorCode::UnsupportedVersion) } else { Ok(seek) }
}

fn answer(
    version: i16,
    partition_index: i32,
    found: Result<Option<Position>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    match found {
        Ok(Some(position)) => {
            response.timestamp = position.timestamp.0;
            response.offset = Offset::option_to_wire(position.offset);
            if version >= 4 {
                response.leader_epoch = LeaderEpoch::option_to_wire(position.epoch);
            }
        }
        Ok(None) => {}
        Err(code) => response.error_code = code.code(),
    }
    response
}
