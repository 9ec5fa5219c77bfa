//! LeaveGroup (13): members leave a classic group, or an administrator removes them.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{GroupId, LeaveGroup, LeavingMember, Request, Response};
use ottla_protocol::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use ottla_protocol::leave_group_response::{LeaveGroupResponse, MemberResponse};

use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::shared::Shared;

/// First version with several members (KIP-345).
const BATCHED: i16 = 3;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: LeaveGroupRequest,
) -> Reply<LeaveGroupResponse> {
    let group = GroupId::from(&*request.group_id);
    let version = ctx.version;
    let members = if version < BATCHED {
        vec![MemberIdentity { member_id: request.member_id, ..Default::default() }]
    } else {
        request.members
    };
    let members = members.into_iter().map(|member| LeavingMember {
        member: member.member_id.as_str().into(),
        instance: member.group_instance_id.map(|id| id.as_str().into()),
        reason: member.reason.map(|reason| reason.as_str().to_owned()),
    });
    let request = LeaveGroup { group: group.clone(), members: members.collect() };
    shared
        .ask_group(&group, Request::LeaveGroup(request))
        .reply(move |response| answer(response, version))
}

fn answer(response: Response, version: i16) -> LeaveGroupResponse {
    let Response::LeaveGroup(left) = response else { unreachable!("LeaveGroup was asked") };
    if version < BATCHED {
        // The only member's error stands for the whole.
        let error = left.error.or_else(|| left.members.first().and_then(|member| member.error));
        return LeaveGroupResponse { error_code: group_code(error), ..Default::default() };
    }
    let members = left.members.into_iter().map(|member| MemberResponse {
        member_id: Str::from(member.member.as_str()),
        group_instance_id: member.instance.as_deref().map(Str::from),
        error_code: group_code(member.error),
    });
    LeaveGroupResponse {
        error_code: group_code(left.error),
        members: members.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_group::{GroupError, LeaveGroupResponse as Left, LeftMember};

    use super::*;

    #[test]
    fn old_versions_carry_the_members_error_at_the_top() {
        let left = Response::LeaveGroup(Left {
            error: None,
            members: vec![LeftMember {
                member: "m".into(),
                instance: None,
                error: Some(GroupError::UnknownMemberId),
            }],
        });
        let old = answer(left.clone(), 2);
        assert_eq!((old.error_code, old.members.len()), (25, 0));
        let new = answer(left, 3);
        assert_eq!((new.error_code, new.members[0].error_code), (0, 25));
    }
}
