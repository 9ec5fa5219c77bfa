//! DescribeGroups (15): classic groups in detail.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{DescribedGroup as Described, GroupError, GroupId, Request, Response};
use ottla_protocol::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::describe_groups_response::{
    DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::dispatch::{Reply, RequestContext};
use crate::driver::group::reply_all;
use crate::error_code::group_code;
use crate::shared::Shared;

/// First version that can tell which operations are allowed.
const OPERATIONS: i16 = 3;
/// First version that says that a group does not exist (KIP-1043).
const NOT_FOUND: i16 = 6;

/// Everything that can be done to a group, as bits of Kafka's operation codes: read, delete,
/// describe, describe its configs, alter them. No authorizer forbids anything.
pub(super) const GROUP_OPERATIONS: i32 = 0x0d48;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: DescribeGroupsRequest,
) -> Reply<DescribeGroupsResponse> {
    let version = ctx.version;
    let operations = version >= OPERATIONS && request.include_authorized_operations;
    let ask = |group: &Str| {
        let group = GroupId::from(&**group);
        shared.ask_group(&group, Request::DescribeGroups(vec![group.clone()]))
    };
    reply_all(request.groups.iter().map(ask).collect(), move |responses| DescribeGroupsResponse {
        groups: responses
            .into_iter()
            .flat_map(described)
            .map(|group| wire(group, version, operations))
            .collect(),
        ..Default::default()
    })
}

fn described(response: Response) -> Vec<Described> {
    let Response::DescribeGroups(groups) = response else {
        unreachable!("DescribeGroups was asked")
    };
    groups
}

fn wire(group: Described, version: i16, operations: bool) -> DescribedGroup {
    // Before version 6 a group that does not exist is one that is dead.
    let hidden = version < NOT_FOUND && group.error == Some(GroupError::GroupIdNotFound);
    let error = group.error.filter(|_| !hidden);
    let message = group.error_message.filter(|_| version >= NOT_FOUND);
    let members = group.members.into_iter().map(|member| DescribedGroupMember {
        member_id: Str::from(member.member.as_str()),
        group_instance_id: member.instance.as_deref().map(Str::from),
        client_id: Str::from(member.client_id),
        client_host: Str::from(member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    let mut wire = DescribedGroup {
        error_code: group_code(error),
        error_message: message.map(Str::from),
        group_id: Str::from(group.group.as_str()),
        group_state: Str::from_static(group.state),
        protocol_type: Str::from(group.protocol_type.as_str()),
        protocol_data: Str::from(group.protocol_name.as_str()),
        members: members.collect(),
        ..Default::default()
    };
    if operations && error.is_none() {
        wire.authorized_operations = GROUP_OPERATIONS;
    }
    wire
}

#[cfg(test)]
mod tests {
    use ottla_codec::encode_to_bytes;

    use super::*;

    fn missing() -> Described {
        Described {
            group: "g".into(),
            error: Some(GroupError::GroupIdNotFound),
            error_message: Some("Group g not found.".to_owned()),
            state: "Dead",
            protocol_type: "".into(),
            protocol_name: "".into(),
            members: Vec::new(),
        }
    }

    #[test]
    fn a_missing_group_is_dead_before_version_6() {
        let old = wire(missing(), 5, true);
        assert_eq!((old.error_code, &*old.group_state), (0, "Dead"));
        assert_eq!((old.error_message, old.authorized_operations), (None, 3400));
        let new = wire(missing(), 6, true);
        assert_eq!((new.error_code, &*new.group_state), (69, "Dead"));
        assert_eq!(new.error_message.as_deref(), Some("Group g not found."));
        assert_eq!(new.authorized_operations, i32::MIN);
        for version in 0..=6 {
            let groups = vec![wire(missing(), version, version >= OPERATIONS)];
            let response = DescribeGroupsResponse { groups, ..Default::default() };
            encode_to_bytes(&response, version).unwrap();
        }
    }
}
