//! DeleteRecords (21): moves the log start offset of a partition up (KIP-107).

use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest};
use ottla_protocol::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use ottla_types::{ErrorCode, Offset};

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DeleteRecordsRequest,
) -> Reply<DeleteRecordsResponse> {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let (low_watermark, error_code) = match delete(shared, &topic.name, asked) {
                    Ok(low_watermark) => (low_watermark.to_wire(), 0),
                    Err(code) => (-1, code.code()),
                };
                let partition_index = asked.partition_index;
                DeleteRecordsPartitionResult { partition_index, low_watermark, error_code }
            });
            DeleteRecordsTopicResult {
                name: topic.name.detached(),
                partitions: partitions.collect(),
            }
        })
        .collect();
    Reply::Now(DeleteRecordsResponse { topics, ..Default::default() })
}

fn delete(
    shared: &Arc<Shared>,
    topic: &Str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    let hosted = shared.partitions.find(None, topic);
    let leader = shared
        .leader(hosted.as_ref(), None, topic, asked.partition_index)
        .map_err(|refusal| refusal.code)?;
    leader.delete_records(asked.offset)
}
