//! Heartbeat (12): a member of a classic group is alive.

use std::sync::Arc;

use ottla_group::{GroupId, Heartbeat, Request, Response};
use ottla_protocol::heartbeat_request::HeartbeatRequest;
use ottla_protocol::heartbeat_response::HeartbeatResponse;
use ottla_types::Generation;

use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: HeartbeatRequest,
) -> Reply<HeartbeatResponse> {
    let group = GroupId::from(&*request.group_id);
    let request = Heartbeat {
        group: group.clone(),
        generation: Generation::from_wire(request.generation_id),
        member: request.member_id.as_str().into(),
        instance: request.group_instance_id.map(|id| id.as_str().into()),
    };
    shared.ask_group(&group, Request::Heartbeat(request)).reply(answer)
}

fn answer(response: Response) -> HeartbeatResponse {
    let Response::Heartbeat(result) = response else { unreachable!("Heartbeat was asked") };
    HeartbeatResponse { error_code: group_code(result.err()), ..Default::default() }
}
