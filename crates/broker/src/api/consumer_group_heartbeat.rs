//! ConsumerGroupHeartbeat (68): a member of a consumer group (KIP-848) joins, stays, or leaves.

use std::sync::Arc;
use std::time::Duration;

use ottla_codec::Str;
use ottla_group::{
    Assignor, Beat, ConsumerGroupHeartbeat, Epoch, GroupId, Refused, Request, Response,
};
use ottla_protocol::consumer_group_heartbeat_request::{self, ConsumerGroupHeartbeatRequest};
use ottla_protocol::consumer_group_heartbeat_response::{
    Assignment, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use ottla_types::{ErrorCode, PartitionIndex, TopicId};

use super::join_group::random_uuid;
use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::refusal::Refusal;
use crate::shared::Shared;

/// First version whose members make their ids themselves.
const OWN_MEMBER_ID: i16 = 1;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: ConsumerGroupHeartbeatRequest,
) -> Reply<ConsumerGroupHeartbeatResponse> {
    if !is_enabled(shared) {
        return Reply::Now(refused(ErrorCode::UnsupportedVersion.code(), None));
    }
    let config = shared.config.load();
    if let Err(refusal) = check(&request, ctx.version, &config.groups.consumer.assignors) {
        let text = refusal.text().map(str::to_owned);
        return Reply::Now(refused(refusal.code.code(), text));
    }
    let group = GroupId::from(&*request.group_id);
    let beat = Request::ConsumerGroupHeartbeat(Box::new(beat(ctx, &group, request)));
    shared.ask_group(&group, beat).reply(answer)
}

/// Whether the cluster's features turn the protocol on.
pub(crate) fn is_enabled(shared: &Shared) -> bool {
    1 <= shared.image.load().feature("group.version")
}

/// What can be refused without the group, in Kafka's order.
fn check(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    assignors: &[String],
) -> Result<(), Refusal> {
    let invalid = |text| Err(Refusal::with_text(ErrorCode::InvalidRequest, text));
    let epoch = request.member_epoch;
    let is_blank = |text: &str| text.trim().is_empty();
    let blank = |text: &Option<Str>| text.as_ref().is_some_and(|text| is_blank(text));
    let needs_id = OWN_MEMBER_ID <= version || 0 < epoch || epoch == -1;
    if needs_id && is_blank(&request.member_id) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(&request.group_id) {
        return invalid("GroupId can't be empty.");
    }
    if blank(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if blank(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                 (re-)joining.",
            );
        }
    } else if epoch == -2 && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < -2 {
        return invalid("MemberEpoch is invalid.");
    }
    let known = |name: &str| assignors.iter().any(|known| known == name);
    match &request.server_assignor {
        Some(name) if !known(name) => {
            // In the order of the hash set in which Kafka keeps them.
            let all: Vec<&str> = ["uniform", "range"].into_iter().filter(|n| known(n)).collect();
            let (name, all) = (&**name, all.join(", "));
            let text =
                format!("ServerAssignor {name} is not supported. Supported assignors: {all}.");
            Err(Refusal::with_string(ErrorCode::UnsupportedAssignor, text))
        }
        _ => Ok(()),
    }
}

fn beat(
    ctx: &RequestContext,
    group: &GroupId,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeat {
    let member = match request.member_id.as_str() {
        "" => random_uuid().to_string(),
        id => id.to_owned(),
    };
    let timeout = u64::try_from(request.rebalance_timeout_ms).unwrap_or_default();
    let topic = |topic: consumer_group_heartbeat_request::TopicPartitions| {
        let all = topic.partitions.into_iter().filter_map(PartitionIndex::from_wire);
        (TopicId(topic.topic_id), all.collect())
    };
    ConsumerGroupHeartbeat {
        group: group.clone(),
        member: member.into(),
        beat: match request.member_epoch {
            0 => Beat::Join,
            -1 => Beat::Leave,
            -2 => Beat::LeaveForNow,
            epoch => Beat::Stay(Epoch(epoch)),
        },
        instance: request.instance_id.map(|id| id.as_str().into()),
        rack: request.rack_id.map(|rack| rack.to_string()),
        rebalance_timeout: (request.rebalance_timeout_ms != -1)
            .then(|| Duration::from_millis(timeout)),
        topics: request
            .subscribed_topic_names
            .map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        regex: request.subscribed_topic_regex.map(|regex| regex.to_string()),
        assignor: request.server_assignor.as_deref().and_then(Assignor::named),
        owned: request.topic_partitions.map(|topics| topics.into_iter().map(topic).collect()),
        client_id: ctx.client().to_owned(),
        client_host: format!("/{}", ctx.peer.ip()),
    }
}

fn answer(response: Response) -> ConsumerGroupHeartbeatResponse {
    let Response::ConsumerGroupHeartbeat(result) = response else {
        unreachable!("ConsumerGroupHeartbeat was asked")
    };
    let beat = match result {
        Err(Refused { error, message }) => return refused(group_code(Some(error)), message),
        Ok(beat) => beat,
    };
    let topic = |(topic, partitions): (TopicId, Vec<PartitionIndex>)| TopicPartitions {
        topic_id: topic.0,
        partitions: partitions.into_iter().map(PartitionIndex::to_wire).collect(),
    };
    let interval = beat.interval.map_or(0, |interval| interval.as_millis());
    ConsumerGroupHeartbeatResponse {
        member_id: Some(Str::from(beat.member.as_str())),
        member_epoch: beat.epoch.0,
        heartbeat_interval_ms: i32::try_from(interval).unwrap_or(i32::MAX),
        assignment: beat
            .assignment
            .map(|topics| Assignment { topic_partitions: topics.into_iter().map(topic).collect() }),
        ..Default::default()
    }
}

fn refused(error_code: i16, message: Option<String>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code,
        error_message: message.map(Str::from),
        ..Default::default()
    }
}
