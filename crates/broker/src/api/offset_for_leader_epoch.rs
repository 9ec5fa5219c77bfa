//! OffsetForLeaderEpoch (23): where an epoch ended, so that a client notices truncation (KIP-320).

use std::sync::Arc;

use ottla_protocol::offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
use ottla_protocol::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use ottla_types::{LeaderEpoch, Offset};

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Reply<OffsetForLeaderEpochResponse> {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let hosted = shared.partitions.find(None, &topic.topic);
            let partitions = topic.partitions.iter().map(|asked| {
                let found = shared
                    .leader(hosted.as_ref(), None, &topic.topic, asked.partition)
                    .map_err(|refusal| refusal.code)
                    .and_then(|leader| {
                        leader.end_of_epoch(asked.leader_epoch, asked.current_leader_epoch)
                    });
                let mut answer =
                    EpochEndOffset { partition: asked.partition, ..Default::default() };
                match found {
                    Ok(found) => {
                        let (epoch, end) = found.unzip();
                        answer.leader_epoch = LeaderEpoch::option_to_wire(epoch);
                        answer.end_offset = Offset::option_to_wire(end);
                    }
                    Err(code) => answer.error_code = code.code(),
                }
                answer
            });
            OffsetForLeaderTopicResult {
                topic: topic.topic.detached(),
                partitions: partitions.collect(),
            }
        })
        .collect();
    Reply::Now(OffsetForLeaderEpochResponse { topics, ..Default::default() })
}
