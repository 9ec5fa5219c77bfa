//! DescribeTopicPartitions (75): topics page by page, with eligible leader replicas (KIP-966).

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::{ClusterImage, TopicImage};
use ottla_protocol::describe_topic_partitions_request::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla_protocol::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use ottla_types::{ErrorCode, NodeId, PartitionIndex, TopicName};

use super::metadata::{TOPIC_OPERATIONS, ids};
use crate::dispatch::{Reply, RequestContext};
use crate::shared::{Shared, is_internal};

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Reply<DescribeTopicPartitionsResponse> {
    let image = shared.image.load_full();
    let names: BTreeSet<String> = if request.topics.is_empty() {
        image.topic_ids().keys().map(|name| name.to_string()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.to_string()).collect()
    };
    let from = request.cursor.as_ref().map(|c| (c.topic_name.to_string(), c.partition_index));
    // A cursor points at one of the topics that are asked for.
    let unasked = |topic: &String| !request.topics.is_empty() && !names.contains(topic);
    if from.as_ref().is_some_and(|(topic, partition)| *partition < 0 || unasked(topic)) {
        return Reply::Now(refused(&request.topics));
    }
    let most = shared.config.load().fetch.describe_partitions_max;
    let mut left = usize::try_from(request.response_partition_limit.max(1))
        .unwrap_or(1)
        .min(usize::try_from(most).unwrap_or(usize::MAX));
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        let first = match &from {
            Some((topic, _)) if name < *topic => continue,
            Some((topic, partition)) if name == *topic => *partition,
            _ => 0,
        };
        if left == 0 {
            response.next_cursor = Some(cursor(&name, 0));
            break;
        }
        let Some(topic) = image.topic(&name) else {
            response.topics.push(unknown(&name));
            continue;
        };
        let (answer, next) = describe(&image, topic, &ctx.listener, first, left);
        left -= answer.partitions.len();
        response.topics.push(answer);
        if let Some(next) = next {
            response.next_cursor = Some(cursor(&name, next));
            break;
        }
    }
    Reply::Now(response)
}

fn cursor(topic: &str, partition_index: i32) -> Cursor {
    Cursor { topic_name: Str::from(topic), partition_index }
}

/// The answer to a cursor that cannot be: every topic asked for gets the error.
fn refused(topics: &[TopicRequest]) -> DescribeTopicPartitionsResponse {
    let refused = |topic: &TopicRequest| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.detached()),
        ..Default::default()
    };
    DescribeTopicPartitionsResponse {
        topics: topics.iter().map(refused).collect(),
        ..Default::default()
    }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match TopicName::parse(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(Str::from(name)),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..Default::default()
    }
}

/// Describes up to `most` partitions from `first` on, and says where the rest begins.
fn describe(
    image: &ClusterImage,
    topic: &TopicImage,
    listener: &str,
    first: i32,
    most: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let first = PartitionIndex::from_wire(first).unwrap_or_default();
    let mut rest = topic.partitions.range(first..);
    let partitions = rest
        .by_ref()
        .take(most)
        .map(|(index, state)| {
            let view = image.partition_view(*index, state, listener);
            let error_code = match view.leader {
                Ok(_) => 0,
                Err(_) => ErrorCode::LeaderNotAvailable.code(),
            };
            DescribeTopicPartitionsResponsePartition {
                error_code,
                partition_index: index.to_wire(),
                leader_id: NodeId::option_to_wire(view.leader.ok()),
                leader_epoch: view.leader_epoch.to_wire(),
                replica_nodes: ids(&view.replicas),
                isr_nodes: ids(&view.isr),
                eligible_leader_replicas: Some(ids(&view.elr)),
                last_known_elr: Some(ids(&view.last_known_elr)),
                offline_replicas: ids(&view.offline),
            }
        })
        .collect();
    let answer = DescribeTopicPartitionsResponseTopic {
        name: Some(Str::from(topic.name.as_str())),
        topic_id: topic.id.0,
        is_internal: is_internal(&topic.name),
        partitions,
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..Default::default()
    };
    (answer, rest.next().map(|(index, _)| index.to_wire()))
}
