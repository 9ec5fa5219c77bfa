//! Registration and heartbeats of brokers and controllers, and what belongs to a broker's life:
//! AssignReplicasToDirs (73), AllocateProducerIds (67), UnregisterBroker (64).

use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::controller::{
    AssignReplicasToDirs, Heartbeat, RegisterBroker, RegisterController, Request, Response,
};
use ottla_metadata::features::VersionRange;
use ottla_metadata::{Endpoint, SecurityProtocol};
use ottla_protocol::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use ottla_protocol::*;
use ottla_types::{
    BrokerEpoch, DirectoryId, ErrorCode, IncarnationId, NodeId, Offset, PartitionIndex, TopicId,
};

use super::{ask, mismatched, told};
use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles BrokerRegistration.
pub(crate) fn register_broker(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: BrokerRegistrationRequest,
) -> Reply<BrokerRegistrationResponse> {
    let refused = |code: ErrorCode| BrokerRegistrationResponse {
        error_code: code.code(),
        ..Default::default()
    };
    let listeners = request
        .listeners
        .iter()
        .map(|l| endpoint(&l.name, &l.host, l.port, l.security_protocol))
        .collect::<Option<Vec<_>>>();
    let (Some(node), Some(listeners)) = (NodeId::from_wire(request.broker_id), listeners) else {
        return Reply::Now(refused(ErrorCode::InvalidRequest));
    };
    let decision = Request::RegisterBroker(RegisterBroker {
        node,
        cluster_id: request.cluster_id.to_string(),
        incarnation: IncarnationId(request.incarnation_id),
        listeners,
        features: request
            .features
            .iter()
            .map(|f| {
                let (min, max) = (f.min_supported_version, f.max_supported_version);
                (f.name.to_string(), VersionRange { min, max })
            })
            .collect(),
        rack: request.rack.map(|rack| rack.to_string()),
        migrating_zk: request.is_migrating_zk_broker,
        log_dirs: request.log_dirs.iter().map(|id| DirectoryId(*id)).collect(),
        previous_epoch: BrokerEpoch::from_wire(request.previous_broker_epoch),
        knows_clean_shutdown: ctx.version >= 3,
    });
    ask(shared, decision, move |answer| match answer {
        Ok(Response::BrokerRegistered(epoch)) => {
            BrokerRegistrationResponse { broker_epoch: epoch.to_wire(), ..Default::default() }
        }
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => {
            tracing::info!(%node, %error, "a broker's registration was refused");
            refused(error.code)
        }
    })
}

fn endpoint(name: &str, host: &str, port: u16, protocol: i16) -> Option<Endpoint> {
    let protocol = SecurityProtocol::from_code(protocol)?;
    Some(Endpoint { name: name.to_owned(), host: host.to_owned(), port, protocol })
}

/// Handles BrokerHeartbeat.
pub(crate) fn heartbeat(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: BrokerHeartbeatRequest,
) -> Reply<BrokerHeartbeatResponse> {
    let refused =
        |code: ErrorCode| BrokerHeartbeatResponse { error_code: code.code(), ..Default::default() };
    let node = NodeId::from_wire(request.broker_id);
    let epoch = BrokerEpoch::from_wire(request.broker_epoch);
    let (Some(node), Some(epoch)) = (node, epoch) else {
        return Reply::Now(refused(ErrorCode::StaleBrokerEpoch));
    };
    let dirs = |ids: &[ottla_types::Uuid]| ids.iter().map(|id| DirectoryId(*id)).collect();
    let cordoned = request.cordoned_log_dirs.as_deref().filter(|_| ctx.version >= 2);
    let decision = Request::Heartbeat(Heartbeat {
        node,
        epoch,
        metadata_offset: Offset::from_wire(request.current_metadata_offset),
        want_fence: request.want_fence,
        want_shut_down: request.want_shut_down,
        offline_dirs: dirs(&request.offline_log_dirs),
        cordoned_dirs: cordoned.map(dirs),
    });
    ask(shared, decision, move |answer| match answer {
        Ok(Response::Heartbeat(reply)) => BrokerHeartbeatResponse {
            is_caught_up: reply.caught_up,
            is_fenced: reply.fenced,
            should_shut_down: reply.should_shut_down,
            ..Default::default()
        },
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => refused(error.code),
    })
}

/// Handles ControllerRegistration (KIP-919).
pub(crate) fn register_controller(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: ControllerRegistrationRequest,
) -> Reply<ControllerRegistrationResponse> {
    let listeners = request
        .listeners
        .iter()
        .map(|l| endpoint(&l.name, &l.host, l.port, l.security_protocol))
        .collect::<Option<Vec<_>>>();
    let (Some(node), Some(listeners)) = (NodeId::from_wire(request.controller_id), listeners)
    else {
        let error_code = ErrorCode::InvalidRequest.code();
        return Reply::Now(ControllerRegistrationResponse { error_code, ..Default::default() });
    };
    let decision = Request::RegisterController(RegisterController {
        node,
        incarnation: IncarnationId(request.incarnation_id),
        listeners,
        features: request
            .features
            .iter()
            .map(|f| {
                let (min, max) = (f.min_supported_version, f.max_supported_version);
                (f.name.to_string(), VersionRange { min, max })
            })
            .collect(),
    });
    ask(shared, decision, |answer| {
        let (error_code, error_message) = answer.map_or_else(|e| told(&e), |_| (0, None));
        ControllerRegistrationResponse { error_code, error_message, ..Default::default() }
    })
}

/// Handles UnregisterBroker.
pub(crate) fn unregister_broker(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: UnregisterBrokerRequest,
) -> Reply<UnregisterBrokerResponse> {
    let Some(node) = NodeId::from_wire(request.broker_id) else {
        let text = format!("Broker ID {} is not currently registered", request.broker_id);
        return Reply::Now(UnregisterBrokerResponse {
            error_code: ErrorCode::BrokerIdNotRegistered.code(),
            error_message: Some(Str::from(text)),
            ..Default::default()
        });
    };
    ask(shared, Request::UnregisterBroker(node), |answer| {
        let (error_code, error_message) = answer.map_or_else(|e| told(&e), |_| (0, None));
        UnregisterBrokerResponse { error_code, error_message, ..Default::default() }
    })
}

/// Handles AllocateProducerIds.
pub(crate) fn allocate_producer_ids(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: AllocateProducerIdsRequest,
) -> Reply<AllocateProducerIdsResponse> {
    let refused = |code: ErrorCode| AllocateProducerIdsResponse {
        error_code: code.code(),
        ..Default::default()
    };
    let broker = NodeId::from_wire(request.broker_id);
    let epoch = BrokerEpoch::from_wire(request.broker_epoch);
    let (Some(broker), Some(epoch)) = (broker, epoch) else {
        return Reply::Now(refused(ErrorCode::StaleBrokerEpoch));
    };
    ask(shared, Request::AllocateProducerIds { broker, epoch }, move |answer| match answer {
        Ok(Response::ProducerIds { first, len }) => AllocateProducerIdsResponse {
            producer_id_start: first.to_wire(),
            producer_id_len: i32::try_from(len).unwrap_or(i32::MAX),
            ..Default::default()
        },
        Ok(_) => refused(ErrorCode::UnknownServerError),
        Err(error) => refused(error.code),
    })
}

/// Handles AssignReplicasToDirs (KIP-858).
pub(crate) fn assign_replicas(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: AssignReplicasToDirsRequest,
) -> Reply<AssignReplicasToDirsResponse> {
    let refused = |code: ErrorCode| AssignReplicasToDirsResponse {
        error_code: code.code(),
        ..Default::default()
    };
    let broker = NodeId::from_wire(request.broker_id);
    let epoch = BrokerEpoch::from_wire(request.broker_epoch);
    let (Some(broker), Some(epoch)) = (broker, epoch) else {
        return Reply::Now(refused(ErrorCode::StaleBrokerEpoch));
    };
    let mut replicas = Vec::new();
    for directory in &request.directories {
        for topic in &directory.topics {
            for partition in &topic.partitions {
                let Some(index) = PartitionIndex::from_wire(partition.partition_index) else {
                    return Reply::Now(refused(ErrorCode::InvalidRequest));
                };
                replicas.push((DirectoryId(directory.id), TopicId(topic.topic_id), index));
            }
        }
    }
    let decision = Request::AssignReplicasToDirs(AssignReplicasToDirs { broker, epoch, replicas });
    ask(shared, decision, move |answer| match answer {
        Ok(Response::ReplicasAssigned(assigned)) => assigned_response(&assigned),
        Ok(_) => refused(mismatched().code),
        Err(error) => refused(error.code),
    })
}

fn assigned_response(
    assigned: &[(DirectoryId, TopicId, PartitionIndex, ErrorCode)],
) -> AssignReplicasToDirsResponse {
    let mut response = AssignReplicasToDirsResponse::default();
    for (directory, topic, partition, code) in assigned {
        let result =
            PartitionData { partition_index: partition.to_wire(), error_code: code.code() };
        let same_directory = response.directories.last().is_some_and(|d| d.id == directory.0);
        if !same_directory {
            response.directories.push(DirectoryData { id: directory.0, topics: Vec::new() });
        }
        let Some(directory) = response.directories.last_mut() else { continue };
        match directory.topics.last_mut().filter(|last| last.topic_id == topic.0) {
            Some(topic) => topic.partitions.push(result),
            None => {
                directory.topics.push(TopicData { topic_id: topic.0, partitions: vec![result] });
            }
        }
    }
    response
}
