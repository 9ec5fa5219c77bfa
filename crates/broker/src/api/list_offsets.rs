//! ListOffsets (2): the offset of a timestamp, or one of the special positions.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use ottla_protocol::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use ottla_types::{ErrorCode, LeaderEpoch, Offset};

use crate::dispatch::{Reply, RequestContext};
use crate::partition::{Position, Seek};
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: ListOffsetsRequest,
) -> Reply<ListOffsetsResponse> {
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
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let duplicate = twice.contains(&(topic.name.clone(), partition.partition_index));
                let found = if duplicate {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    find(shared, ctx, request.replica_id, &topic.name, partition)
                };
                answer(ctx.version, partition.partition_index, found)
            });
            ListOffsetsTopicResponse {
                name: topic.name.detached(),
                partitions: partitions.collect(),
            }
        })
        .collect();
    Reply::Now(ListOffsetsResponse { topics, ..Default::default() })
}

fn find(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    replica_id: i32,
    topic: &Str,
    partition: &ListOffsetsPartition,
) -> Result<Option<Position>, ErrorCode> {
    let seek = seek(partition.timestamp, ctx.version)?;
    let hosted = shared.partitions.find(None, topic);
    let leader = shared
        .leader(hosted.as_ref(), None, topic, partition.partition_index)
        .map_err(|refusal| refusal.code)?;
    // A consumer is -1; -2 is a debugging consumer, which sees what is not committed yet.
    let committed = replica_id == -1;
    leader.seek(seek, committed, partition.current_leader_epoch)
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
