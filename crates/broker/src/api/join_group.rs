//! JoinGroup (11): a member enters a classic group, or stays in it through a rebalance.

use std::sync::Arc;
use std::time::Duration;

use ottla_codec::Str;
use ottla_group::{GroupId, JoinGroup, Request, Response};
use ottla_protocol::join_group_request::JoinGroupRequest;
use ottla_protocol::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use ottla_types::{Generation, Uuid};

use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::shared::Shared;

/// First version whose new members are sent back for their id (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;
/// First version in which no protocol is null, not empty.
const NULL_PROTOCOL: i16 = 7;
/// First version that can say that no assignment is needed (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: JoinGroupRequest,
) -> Reply<JoinGroupResponse> {
    let group = GroupId::from(&*request.group_id);
    let version = ctx.version;
    let request = join(ctx, &group, request, random_uuid());
    shared
        .ask_group(&group, Request::JoinGroup(request))
        .reply(move |response| answer(response, version))
}

fn join(
    ctx: &RequestContext,
    group: &GroupId,
    request: JoinGroupRequest,
    random: Uuid,
) -> JoinGroup {
    let rebalance_timeout = match ctx.version {
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    JoinGroup {
        group: group.clone(),
        member: request.member_id.as_str().into(),
        instance: request.group_instance_id.map(|id| id.as_str().into()),
        client_id: ctx.client().to_owned(),
        // As Java prints an address without a host name.
        client_host: format!("/{}", ctx.peer.ip()),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(rebalance_timeout),
        protocol_type: request.protocol_type.as_str().into(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.as_str().into(), protocol.metadata))
            .collect(),
        random,
        member_id_required: ctx.version >= MEMBER_ID_REQUIRED,
        skip_assignment: ctx.version >= SKIP_ASSIGNMENT,
    }
}

/// A random UUID as Java makes them: with version 4 and the variant of RFC 9562 in their places.
pub(super) fn random_uuid() -> Uuid {
    let mut bytes: [u8; 16] = ottla_sys::random_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes)
}

/// A time that a client sent; what is negative is as good as none at all.
fn millis(raw: i32) -> Duration {
    Duration::from_millis(u64::try_from(raw).unwrap_or_default())
}

fn answer(response: Response, version: i16) -> JoinGroupResponse {
    let Response::JoinGroup(joined) = response else { unreachable!("JoinGroup was asked") };
    let protocol = joined.protocol_name.as_deref().filter(|name| !name.is_empty());
    let protocol_name = match protocol {
        None if version < NULL_PROTOCOL => Some(Str::default()),
        name => name.map(Str::from),
    };
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: Str::from(member.member.as_str()),
        group_instance_id: member.instance.as_deref().map(Str::from),
        metadata: member.metadata,
    });
    JoinGroupResponse {
        error_code: group_code(joined.error),
        generation_id: Generation::option_to_wire(joined.generation),
        protocol_type: joined.protocol_type.as_deref().map(Str::from),
        protocol_name,
        leader: Str::from(joined.leader.as_str()),
        skip_assignment: joined.skip_assignment,
        member_id: Str::from(joined.member.as_str()),
        members: members.collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_codec::{Message, encode_to_bytes};
    use ottla_group::{GroupError, JoinGroupResponse as Joined, JoinedMember};

    use super::*;

    #[test]
    fn every_version_can_carry_every_answer() {
        let refused = Joined {
            error: Some(GroupError::MemberIdRequired),
            member: "m".into(),
            ..Joined::default()
        };
        let joined = Joined {
            generation: Some(Generation(3)),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            leader: "m".into(),
            member: "m".into(),
            members: vec![JoinedMember {
                member: "m".into(),
                instance: Some("i".into()),
                metadata: bytes::Bytes::from_static(b"x"),
            }],
            ..Joined::default()
        };
        for version in JoinGroupResponse::VERSIONS.0..=JoinGroupResponse::VERSIONS.1 {
            for response in [&refused, &joined] {
                let answer = answer(Response::JoinGroup(response.clone()), version);
                encode_to_bytes(&answer, version).unwrap();
            }
        }
        let refused = Response::JoinGroup(refused);
        assert_eq!(answer(refused.clone(), 6).protocol_name, Some(Str::default()));
        assert_eq!(answer(refused.clone(), 7).protocol_name, None);
        assert_eq!(answer(refused, 7).generation_id, -1);
    }
}
