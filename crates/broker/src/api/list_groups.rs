//! ListGroups (16): the groups that this broker coordinates.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{GroupError, ListGroups, ListedGroup as Listed, Request, Response};
use ottla_protocol::list_groups_request::ListGroupsRequest;
use ottla_protocol::list_groups_response::{ListGroupsResponse, ListedGroup};
use ottla_types::ErrorCode;

use crate::dispatch::{Reply, RequestContext};
use crate::driver::group::reply_all;
use crate::error_code::group_code;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: ListGroupsRequest,
) -> Reply<ListGroupsResponse> {
    let Some(groups) = shared.groups.get() else {
        let error_code = ErrorCode::CoordinatorNotAvailable.code();
        return Reply::Now(ListGroupsResponse { error_code, ..Default::default() });
    };
    let texts = |names: &[Str]| names.iter().map(|name| name.as_str().to_owned()).collect();
    let filter =
        ListGroups { states: texts(&request.states_filter), kinds: texts(&request.types_filter) };
    reply_all(groups.ask_all(&Request::ListGroups(filter)), answer)
}

/// Joins the lists of all shards; one that is not served here any more has nothing to say.
fn answer(responses: Vec<Response>) -> ListGroupsResponse {
    let mut groups = Vec::new();
    for response in responses {
        let Response::ListGroups(listed) = response else { unreachable!("ListGroups was asked") };
        match listed {
            Ok(listed) => groups.extend(listed.into_iter().map(wire)),
            Err(GroupError::NotCoordinator) => {}
            Err(error) => {
                let error_code = group_code(Some(error));
                return ListGroupsResponse { error_code, ..Default::default() };
            }
        }
    }
    ListGroupsResponse { groups, ..Default::default() }
}

fn wire(group: Listed) -> ListedGroup {
    ListedGroup {
        group_id: Str::from(group.group.as_str()),
        protocol_type: Str::from(group.protocol_type.as_str()),
        group_state: Str::from_static(group.state),
        group_type: Str::from_static(group.kind.name()),
    }
}

#[cfg(test)]
mod tests {
    use ottla_group::GroupKind;

    use super::*;

    #[test]
    fn a_shard_that_moved_is_left_out_and_one_that_loads_is_waited_for() {
        let listed = Listed {
            group: "g".into(),
            protocol_type: "consumer".into(),
            state: "Stable",
            kind: GroupKind::Classic,
        };
        let one = Response::ListGroups(Ok(vec![listed]));
        let moved = Response::ListGroups(Err(GroupError::NotCoordinator));
        let loading = Response::ListGroups(Err(GroupError::CoordinatorLoadInProgress));
        let answered = answer(vec![one.clone(), moved]);
        assert_eq!((answered.error_code, answered.groups.len()), (0, 1));
        assert_eq!(&*answered.groups[0].group_type, "classic");
        let answered = answer(vec![one, loading]);
        assert_eq!((answered.error_code, answered.groups.len()), (14, 0));
    }
}
