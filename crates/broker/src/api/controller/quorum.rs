//! DescribeQuorum (55): voters, observers, and how far each of them is.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::describe_quorum_request::DescribeQuorumRequest;
use ottla_protocol::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};
use ottla_quorum::{QuorumView, ReplicaView};
use ottla_types::{ErrorCode, NodeId, Offset};

use crate::dispatch::{Reply, RequestContext};
use crate::replicas::METADATA_TOPIC;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn describe(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
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
    let (shared, version) = (shared.clone(), ctx.version);
    Reply::later(async move {
        match quorum.describe().await {
            Some(view) => answer(&shared, &view, version),
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

fn answer(shared: &Shared, view: &QuorumView, version: i16) -> DescribeQuorumResponse {
    let data = PartitionData {
        leader_id: view.leader.to_wire(),
        leader_epoch: view.epoch.to_wire(),
        high_watermark: view.high_watermark.to_wire(),
        current_voters: view.voters.iter().map(|view| state(view, version)).collect(),
        observers: view.observers.iter().map(|view| state(view, version)).collect(),
        ..Default::default()
    };
    let nodes = if version >= 2 { nodes(shared) } else { Vec::new() };
    DescribeQuorumResponse { topics: vec![topic(data)], nodes, ..Default::default() }
}

/// Directories are told from version 2 on.
fn state(view: &ReplicaView, version: i16) -> ReplicaState {
    let directory = view.key.directory.filter(|_| version >= 2);
    ReplicaState {
        replica_id: view.key.node.to_wire(),
        replica_directory_id: directory.unwrap_or_default().0,
        log_end_offset: Offset::option_to_wire(view.end),
        last_fetch_timestamp: view.last_fetch.map_or(-1, |time| time.as_millis()),
        last_caught_up_timestamp: view.last_caught_up.map_or(-1, |time| time.as_millis()),
    }
}

/// Where voters listen: as the quorum knows it, or for a static voter as the properties say.
fn nodes(shared: &Shared) -> Vec<Node> {
    let Some(quorum) = shared.quorum.get() else { return Vec::new() };
    let status = quorum.status();
    status
        .voters
        .iter()
        .map(|voter| Node {
            node_id: voter.key.node.to_wire(),
            listeners: match voter.endpoints.is_empty() {
                true => configured(shared, voter.key.node).into_iter().collect(),
                false => voter
                    .endpoints
                    .iter()
                    .map(|endpoint| listener(&endpoint.name, &endpoint.host, endpoint.port))
                    .collect(),
            },
        })
        .collect()
}

fn configured(shared: &Shared, node: NodeId) -> Option<Listener> {
    let config = shared.config.load();
    let voter = config.quorum.voters.iter().find(|voter| voter.id == node)?;
    let name = config.listeners.controller_names.first()?;
    Some(listener(name, &voter.address.host, voter.address.port))
}

fn listener(name: &str, host: &str, port: u16) -> Listener {
    Listener { name: Str::from(name), host: Str::from(host), port }
}
