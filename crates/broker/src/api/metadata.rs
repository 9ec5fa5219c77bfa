//! Metadata (3): brokers, topics and partitions as one listener's clients see them.
//!
//! A topic that does not exist may be created on the way; the client is told to ask again, as
//! Kafka does.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::{ClusterImage, PartitionView, ReplicaProblem, TopicImage};
use ottla_protocol::metadata_request::{MetadataRequest, MetadataRequestTopic};
use ottla_protocol::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, PartitionIndex, TopicId, TopicName};

use crate::dispatch::{Reply, RequestContext};
use crate::shared::{Shared, is_internal};

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: MetadataRequest,
) -> Reply<MetadataResponse> {
    let image = shared.image.load_full();
    let all = match &request.topics {
        None => true,
        Some(topics) => ctx.version == 0 && topics.is_empty(),
    };
    let topics = if all {
        let topics = image.topic_ids().values().filter_map(|id| image.topic_by_id(*id));
        topics.map(|topic| found(&image, topic, ctx)).collect()
    } else {
        let mut asked = request.topics.unwrap_or_default();
        let named_by_id =
            asked.iter().any(|topic| !topic.topic_id.is_zero() || topic.name.is_none());
        if named_by_id && ctx.version < 12 {
            return Reply::Now(ids_too_early(&asked));
        }
        ask_once(&mut asked);
        let mut missing = Vec::new();
        let answers = asked
            .iter()
            .map(|topic| match &topic.name {
                Some(name) => by_name(&image, name, ctx, &mut missing),
                None => by_id(&image, TopicId(topic.topic_id), ctx),
            })
            .collect();
        let auto_create = shared.config.load().topics.auto_create
            && (ctx.version < 4 || request.allow_auto_topic_creation);
        if auto_create && let Some(forwarder) = shared.forwarder.get() {
            forwarder.create_missing(missing);
        }
        answers
    };
    let mut topics: Vec<MetadataResponseTopic> = topics;
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    let mut response = MetadataResponse {
        brokers: brokers(&image, &ctx.listener),
        cluster_id: Some(Str::from(shared.cluster_id())),
        controller_id: NodeId::option_to_wire(some_alive_broker(shared, &image)),
        topics,
        ..Default::default()
    };
    if (8..=10).contains(&ctx.version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    Reply::Now(response)
}

/// What is asked twice is answered once; beside an id, names are not looked at.
fn ask_once(asked: &mut Vec<MetadataRequestTopic>) {
    let by_id = asked.iter().any(|topic| !topic.topic_id.is_zero());
    let mut seen = HashSet::new();
    asked.retain_mut(|topic| {
        if by_id {
            topic.name = None;
        }
        (!by_id || !topic.topic_id.is_zero()) && seen.insert((topic.topic_id, topic.name.clone()))
    });
}

/// Versions 10 and 11 carry topic ids but cannot ask by them: every topic gets the error.
fn ids_too_early(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.as_ref().map(Str::detached).unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    MetadataResponse { topics: asked.iter().map(refused).collect(), ..Default::default() }
}

/// Everything that can be done to a topic, as bits of Kafka's operation codes: no authorizer
/// forbids anything.
pub(crate) const TOPIC_OPERATIONS: i32 = 0x0df8;

/// Everything that can be done to the cluster.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0x1fa0;

/// A broker that can take requests for the controller: this one if it is alive.
pub(crate) fn some_alive_broker(shared: &Shared, image: &ClusterImage) -> Option<NodeId> {
    let alive = |id: &NodeId| image.broker(*id).is_some_and(|broker| !broker.fenced);
    Some(shared.node_id()).filter(alive).or_else(|| image.brokers().keys().copied().find(alive))
}

fn brokers(image: &ClusterImage, listener: &str) -> Vec<MetadataResponseBroker> {
    image
        .alive_brokers(listener)
        .map(|(broker, endpoint)| MetadataResponseBroker {
            node_id: broker.id.to_wire(),
            host: Str::from(endpoint.host.as_str()),
            port: endpoint.port.into(),
            rack: broker.rack.as_deref().map(Str::from),
        })
        .collect()
}

fn by_name(
    image: &ClusterImage,
    name: &Str,
    ctx: &RequestContext,
    missing: &mut Vec<TopicName>,
) -> MetadataResponseTopic {
    if let Some(topic) = image.topic(name) {
        return found(image, topic, ctx);
    }
    let (code, internal) = match TopicName::parse(name) {
        Ok(valid) => {
            let internal = is_internal(&valid);
            missing.push(valid);
            (ErrorCode::UnknownTopicOrPartition, internal)
        }
        Err(_) => (ErrorCode::InvalidTopicException, false),
    };
    MetadataResponseTopic {
        error_code: code.code(),
        name: Some(name.detached()),
        is_internal: internal,
        ..Default::default()
    }
}

fn by_id(image: &ClusterImage, id: TopicId, ctx: &RequestContext) -> MetadataResponseTopic {
    match image.topic_by_id(id) {
        Some(topic) => found(image, topic, ctx),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            name: None,
            topic_id: id.0,
            ..Default::default()
        },
    }
}

fn found(image: &ClusterImage, topic: &TopicImage, ctx: &RequestContext) -> MetadataResponseTopic {
    let partitions = topic
        .partitions
        .iter()
        .map(|(index, state)| {
            partition(image.partition_view(*index, state, &ctx.listener), ctx.version)
        })
        .collect();
    MetadataResponseTopic {
        name: Some(Str::from(topic.name.as_str())),
        topic_id: topic.id.0,
        is_internal: is_internal(&topic.name),
        partitions,
        ..Default::default()
    }
}

fn partition(view: PartitionView, version: i16) -> MetadataResponsePartition {
    MetadataResponsePartition {
        error_code: view.leader.err().map_or(0, |problem| problem_code(problem, version).code()),
        partition_index: PartitionIndex::to_wire(view.partition),
        leader_id: NodeId::option_to_wire(view.leader.ok()),
        leader_epoch: LeaderEpoch::to_wire(view.leader_epoch),
        replica_nodes: ids(&view.replicas),
        isr_nodes: ids(&view.isr),
        offline_replicas: ids(&view.offline),
    }
}

fn problem_code(problem: ReplicaProblem, version: i16) -> ErrorCode {
    match problem {
        ReplicaProblem::NoListener if version >= 6 => ErrorCode::ListenerNotFound,
        ReplicaProblem::NoListener | ReplicaProblem::NoLeader => ErrorCode::LeaderNotAvailable,
    }
}

/// Node ids as a response carries them.
pub(crate) fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.to_wire()).collect()
}
