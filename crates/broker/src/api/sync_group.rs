//! SyncGroup (14): the leader of a classic group brings the assignment, everybody fetches theirs.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{GroupId, Request, Response, SyncGroup};
use ottla_protocol::sync_group_request::SyncGroupRequest;
use ottla_protocol::sync_group_response::SyncGroupResponse;
use ottla_types::{ErrorCode, Generation};

use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::shared::Shared;

/// First version in which protocol type and name must be there (KIP-559).
const PROTOCOL_MANDATORY: i16 = 5;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: SyncGroupRequest,
) -> Reply<SyncGroupResponse> {
    let complete = request.protocol_type.is_some() && request.protocol_name.is_some();
    if ctx.version >= PROTOCOL_MANDATORY && !complete {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        return Reply::Now(SyncGroupResponse { error_code, ..Default::default() });
    }
    let group = GroupId::from(&*request.group_id);
    let request = SyncGroup {
        group: group.clone(),
        generation: Generation::from_wire(request.generation_id),
        member: request.member_id.as_str().into(),
        instance: request.group_instance_id.map(|id| id.as_str().into()),
        protocol_type: request.protocol_type.map(|name| name.as_str().into()),
        protocol_name: request.protocol_name.map(|name| name.as_str().into()),
        assignments: request
            .assignments
            .into_iter()
            .map(|assignment| (assignment.member_id.as_str().into(), assignment.assignment))
            .collect(),
    };
    shared.ask_group(&group, Request::SyncGroup(request)).reply(answer)
}

fn answer(response: Response) -> SyncGroupResponse {
    let Response::SyncGroup(synced) = response else { unreachable!("SyncGroup was asked") };
    SyncGroupResponse {
        error_code: group_code(synced.error),
        protocol_type: synced.protocol_type.as_deref().map(Str::from),
        protocol_name: synced.protocol_name.as_deref().map(Str::from),
        assignment: synced.assignment,
        ..Default::default()
    }
}
