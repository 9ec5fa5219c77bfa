//! DescribeQuorum (55): voters, observers, and how far each of them is.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_quorum::{QuorumView, ReplicaView};
use ottla_types::{ErrorCode, Offset};

use crate::dispatch::{Reply, RequestContext};
use crate::replicas::METADATA_TOPIC;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn describe(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeQuorumRequest,
) -> Reply<DescribeQuorumResponse> {
    let one_partition = match request.topics.as_slice() {
        [topic] => topic.topic_name == METADATA_TOPIC && is_only_partition(&topic.partitions),
        _ => false,
    };
    if !one_partition {
        return Reply::Now(unknown_partitions(&request));
    }
    let Some(quorum) = shared.quorum.get().cloned() else {
        let error_code = ErrorCode::NotLeaderOrFollower.code();
        return Reply::Now(DescribeQuorumResponse { error_code, ..Default::default() });
    };
    let shared = shared.clone();
    Reply::later(async move {
        match quorum.describe().await {
            Some(view) => answer(&shared, &view),
            None => {
                let data = PartitionData {
                    error_code: ErrorCode::NotLeaderOrFollower.code(),
                    ..Default::default()
                };
                DescribeQuorumResponse { topics: vec![topic(data)], ..Default::default() }
            }
        }
    })
}

fn is_only_partition(
    partitions: &[ottla_protocol::describe_quorum_request::PartitionData],
) -> bool {
    matches!(partitions, [partition] if partition.partition_index == 0)
}

fn topic(data: PartitionData) -> TopicData {
    TopicData { topic_name: Str::from_static(METADATA_TOPIC), partitions: vec![data] }
}

fn unknown_partitions(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request
        .topics
        .iter()
        .map(|topic| TopicData {
            topic_name: topic.topic_name.detached(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| PartitionData {
                    partition_index: partition.partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition.code(),
                    ..Default::default()
                })
                .collect(),
        })
        .collect();
    DescribeQuorumResponse { topics, ..Default::default() }
}

fn answer(shared: &Shared, view: &QuorumView) -> DescribeQuorumResponse {
    let data = PartitionData {
        leader_id: view.leader.to_wire(),
        leader_epoch: view.epoch.to_wire(),
        high_watermark: view.high_watermark.to_wire(),
        current_voters: view.voters.iter().map(state).collect(),
        observers: view.observers.iter().map(state).collect(),
        ..Default::default()
    };
    DescribeQuorumResponse { topics: vec![topic(data)], nodes: nodes(shared), ..Default::default() }
}

fn state(view: &ReplicaView) -> ReplicaState {
    ReplicaState {
        replica_id: view.key.node.to_wire(),
        replica_directory_id: view.key.directory.unwrap_or_default().0,
        log_end_offset: Offset::option_to_wire(view.end),
        last_fetch_timestamp: view.last_fetch.map_or(-1, |time| time.as_millis()),
        last_caught_up_timestamp: view.last_caught_up.map_or(-1, |time| time.as_millis()),
    }
}

/// Where voters listen, as the quorum knows it.
fn nodes(shared: &Shared) -> Vec<Node> {
    let Some(quorum) = shared.quorum.get() else { return Vec::new() };
    let status = quorum.status();
    status
        .voters
        .iter()
        .map(|voter| Node {
            node_id: voter.key.node.to_wire(),
            listeners: voter
                .endpoints
                .iter()
                .map(|endpoint| Listener {
                    name: Str::from(endpoint.name.as_str()),
                    host: Str::from(endpoint.host.as_str()),
                    port: endpoint.port,
                })
                .collect(),
        })
        .collect()
}
