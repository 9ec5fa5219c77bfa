//! AlterPartition (56) and ElectLeaders (43).

use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::LeaderRecovery;
use ottla_metadata::controller::{
    AlterPartition, AlteredPartition, ElectLeaders, IsrChange, Request, Response,
};
use ottla_protocol::alter_partition_response::{PartitionData, TopicData};
use ottla_protocol::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use ottla_protocol::*;
use ottla_types::{BrokerEpoch, ErrorCode, NodeId, PartitionIndex, TopicId};

use super::{ask, outcome};
use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles AlterPartition.
pub(crate) fn alter(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: AlterPartitionRequest,
) -> Reply<AlterPartitionResponse> {
    let refused =
        |code: ErrorCode| AlterPartitionResponse { error_code: code.code(), ..Default::default() };
    if request.topics.is_empty() {
        // As in Kafka, nobody looks at who asks for nothing.
        return Reply::Now(AlterPartitionResponse::default());
    }
    let broker = NodeId::from_wire(request.broker_id);
    let epoch = BrokerEpoch::from_wire(request.broker_epoch);
    let (Some(broker), Some(epoch)) = (broker, epoch) else {
        return Reply::Now(refused(ErrorCode::StaleBrokerEpoch));
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let isr = if ctx.version >= 3 {
                let with_epochs = partition.new_isr_with_epochs.iter();
                with_epochs.map(|s| (s.broker_id, BrokerEpoch::from_wire(s.broker_epoch))).collect()
            } else {
                partition.new_isr.iter().map(|id| (*id, None)).collect()
            };
            let recovery = LeaderRecovery::from_code(partition.leader_recovery_state);
            let Some(recovery) = recovery else {
                return Reply::Now(refused(ErrorCode::InvalidRequest));
            };
            let change = IsrChange {
                partition: partition.partition_index,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                isr,
                recovery,
            };
            partitions.push((TopicId(topic.topic_id), change));
        }
    }
    let decision = Request::AlterPartition(AlterPartition { broker, epoch, partitions });
    ask(shared, decision, move |answer| match answer {
        Ok(Response::PartitionsAltered(altered)) => altered_response(altered),
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => refused(error.code),
    })
}

type Altered = (TopicId, PartitionIndex, Result<AlteredPartition, ErrorCode>);

fn altered_response(altered: Vec<Altered>) -> AlterPartitionResponse {
    let mut response = AlterPartitionResponse::default();
    for (topic, partition, result) in altered {
        let mut data = PartitionData { partition_index: partition.to_wire(), ..Default::default() };
        match result {
            Ok(state) => {
                data.leader_id = NodeId::option_to_wire(state.leader);
                data.leader_epoch = state.leader_epoch.to_wire();
                data.isr = state.isr.iter().map(|node| node.to_wire()).collect();
                data.leader_recovery_state = state.recovery.code();
                data.partition_epoch = state.partition_epoch.to_wire();
            }
            Err(code) => data.error_code = code.code(),
        }
        match response.topics.last_mut().filter(|last| last.topic_id == topic.0) {
            Some(last) => last.partitions.push(data),
            None => {
                response.topics.push(TopicData { topic_id: topic.0, partitions: vec![data] });
            }
        }
    }
    response
}

/// Handles ElectLeaders.
pub(crate) fn elect(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: ElectLeadersRequest,
) -> Reply<ElectLeadersResponse> {
    // Version 0 knew preferred elections only.
    let kind = if ctx.version == 0 { 0 } else { request.election_type };
    if !(0..=1).contains(&kind) {
        return Reply::Now(unknown_election(kind, request));
    }
    let all = request.topic_partitions.is_none();
    let partitions = request
        .topic_partitions
        .map(|topics| topics.iter().map(|t| (t.topic.to_string(), t.partitions.clone())).collect());
    ask(shared, Request::ElectLeaders(ElectLeaders { kind, partitions }), move |answer| {
        let elected = match answer {
            Ok(Response::LeadersElected(elected)) => elected,
            Ok(_) => Vec::new(),
            Err(error) => {
                let error_code = error.code.code();
                return ElectLeadersResponse { error_code, ..Default::default() };
            }
        };
        let not_needed = ErrorCode::ElectionNotNeeded.code();
        let replica_election_results = elected
            .into_iter()
            .map(|(topic, partitions)| ReplicaElectionResult {
                topic: Str::from(topic),
                partition_result: partitions
                    .into_iter()
                    .map(|(partition, result)| {
                        let (error_code, error_message) = outcome(&result);
                        let partition_id = partition.to_wire();
                        PartitionResult { partition_id, error_code, error_message }
                    })
                    // Whoever asked for all does not want to hear what was fine already.
                    .filter(|result| !(all && result.error_code == not_needed))
                    .collect(),
            })
            .filter(|topic| !topic.partition_result.is_empty())
            .collect();
        ElectLeadersResponse { replica_election_results, ..Default::default() }
    })
}

/// Every partition is told that there is no such kind of election.
fn unknown_election(kind: i8, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let error_code = ErrorCode::InvalidRequest.code();
    let refused = |partition_id| PartitionResult {
        partition_id,
        error_code,
        error_message: Some(Str::from(format!("Unknown election type {kind}"))),
    };
    let topics = request.topic_partitions.unwrap_or_default();
    let replica_election_results = topics
        .iter()
        .map(|topic| ReplicaElectionResult {
            topic: topic.topic.detached(),
            partition_result: topic.partitions.iter().copied().map(refused).collect(),
        })
        .collect();
    ElectLeadersResponse { error_code, replica_election_results, ..Default::default() }
}
