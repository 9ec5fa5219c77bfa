//! DescribeProducers (61): the idempotent producers a partition remembers (KIP-664).

use std::sync::Arc;

use ottla_codec::Str;
use ottla_log::ProducerView;
use ottla_protocol::describe_producers_request::DescribeProducersRequest;
use ottla_protocol::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use ottla_types::{Offset, Sequence, TopicName};

use crate::dispatch::{Reply, RequestContext};
use crate::refusal::Refusal;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeProducersRequest,
) -> Reply<DescribeProducersResponse> {
    let topics = request
        .topics
        .iter()
        .map(|topic| {
            let hosted = shared.partitions.find(None, &topic.name);
            let partitions = topic.partition_indexes.iter().map(|&partition_index| {
                let mut answer = PartitionResponse { partition_index, ..Default::default() };
                let found = TopicName::parse(&topic.name)
                    .map_err(|why| Refusal::invalid_topic(&topic.name, &why))
                    .and_then(|_| {
                        shared.leader(hosted.as_ref(), None, &topic.name, partition_index)
                    });
                match found {
                    Ok(leader) => {
                        answer.active_producers = leader.producers().iter().map(state).collect();
                    }
                    Err(refusal) => {
                        answer.error_code = refusal.code.code();
                        answer.error_message = Some(Str::from(
                            refusal.text().unwrap_or_else(|| refusal.code.message()),
                        ));
                    }
                }
                answer
            });
            TopicResponse { name: topic.name.detached(), partitions: partitions.collect() }
        })
        .collect();
    Reply::Now(DescribeProducersResponse { topics, ..Default::default() })
}

fn state(view: &ProducerView) -> ProducerState {
    ProducerState {
        producer_id: view.producer_id.to_wire(),
        producer_epoch: view.epoch.map_or(-1, |epoch| epoch.to_wire().into()),
        last_sequence: Sequence::option_to_wire(view.last_sequence),
        last_timestamp: view.last_timestamp.0,
        coordinator_epoch: view
            .coordinator_epoch
            .map_or(-1, |epoch| i32::try_from(epoch).unwrap_or(i32::MAX)),
        current_txn_start_offset: Offset::option_to_wire(view.transaction_start),
    }
}
