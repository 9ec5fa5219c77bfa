//! ConsumerGroupDescribe (69): consumer groups (KIP-848) in detail.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{
    ConsumerAssignment, ConsumerMember, DescribedConsumerGroup, GroupId, Refused, Request, Response,
};
use ottla_protocol::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use ottla_protocol::consumer_group_describe_response::{
    Assignment, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};
use ottla_types::{ErrorCode, PartitionIndex};

use super::consumer_group_heartbeat::is_enabled;
use super::describe_groups::GROUP_OPERATIONS;
use crate::dispatch::{Reply, RequestContext};
use crate::driver::group::reply_all;
use crate::error_code::group_code;
use crate::shared::Shared;

/// Member types, which version 1 tells.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> Reply<ConsumerGroupDescribeResponse> {
    if !is_enabled(shared) {
        let code = ErrorCode::UnsupportedVersion.code();
        let groups = request.group_ids.iter().map(|id| failed(id, code, None)).collect();
        return Reply::Now(ConsumerGroupDescribeResponse { groups, ..Default::default() });
    }
    let operations = request.include_authorized_operations;
    let ask = |group: &Str| {
        let group = GroupId::from(&**group);
        shared.ask_group(&group, Request::ConsumerGroupDescribe(vec![group.clone()]))
    };
    let asked = request.group_ids.iter().map(ask).collect();
    reply_all(asked, move |responses| {
        let groups = responses.into_iter().flat_map(described).map(|(id, group)| match group {
            Ok(group) => wire(group, operations),
            Err(Refused { error, message }) => failed(&id, group_code(Some(error)), message),
        });
        ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() }
    })
}

fn described(response: Response) -> Vec<(GroupId, Result<DescribedConsumerGroup, Refused>)> {
    let Response::ConsumerGroupDescribe(groups) = response else {
        unreachable!("ConsumerGroupDescribe was asked")
    };
    groups
}

fn failed(id: &str, error_code: i16, message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        error_code,
        error_message: message.map(Str::from),
        group_id: Str::from(id),
        ..Default::default()
    }
}

fn wire(group: DescribedConsumerGroup, operations: bool) -> DescribedGroup {
    let mut wire = DescribedGroup {
        group_id: Str::from(group.group.as_str()),
        group_state: Str::from_static(group.state),
        group_epoch: group.epoch.0,
        assignment_epoch: group.assignment_epoch.0,
        assignor_name: Str::from(group.assignor),
        members: group.members.into_iter().map(member).collect(),
        ..Default::default()
    };
    if operations {
        wire.authorized_operations = GROUP_OPERATIONS;
    }
    wire
}

fn member(member: ConsumerMember) -> Member {
    Member {
        member_id: Str::from(member.member.as_str()),
        instance_id: member.instance.as_deref().map(Str::from),
        rack_id: member.rack.map(Str::from),
        member_epoch: member.epoch.0,
        client_id: Str::from(member.client_id),
        client_host: Str::from(member.client_host),
        subscribed_topic_names: member.topics.iter().map(|topic| Str::from(&**topic)).collect(),
        subscribed_topic_regex: member.regex.map(Str::from),
        assignment: assignment(member.assignment),
        target_assignment: assignment(member.target),
        member_type: if member.is_classic { CLASSIC } else { CONSUMER },
    }
}

fn assignment(topics: Vec<ConsumerAssignment>) -> Assignment {
    let topic = |topic: ConsumerAssignment| TopicPartitions {
        topic_id: topic.topic_id.0,
        topic_name: Str::from(&*topic.topic),
        partitions: topic.partitions.into_iter().map(PartitionIndex::to_wire).collect(),
    };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}
