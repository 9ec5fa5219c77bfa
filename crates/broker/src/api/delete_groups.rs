//! DeleteGroups (42): empty groups and their offsets are removed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{GroupError, GroupId, Request, Response};
use ottla_protocol::delete_groups_request::DeleteGroupsRequest;
use ottla_protocol::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use ottla_types::PartitionIndex;

use crate::dispatch::{Reply, RequestContext};
use crate::driver::group::{partition_of, reply_all};
use crate::error_code::group_code;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DeleteGroupsRequest,
) -> Reply<DeleteGroupsResponse> {
    // Groups of one shard go together, into one append.
    let mut by_partition: BTreeMap<PartitionIndex, Vec<GroupId>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for name in &request.groups_names {
        if seen.insert(&**name) {
            let group = GroupId::from(&**name);
            by_partition.entry(partition_of(shared, &group)).or_default().push(group);
        }
    }
    let Some(coordinator) = shared.groups.get() else {
        let groups = by_partition.into_values().flatten().collect();
        let refused = Request::DeleteGroups(groups).refuse(GroupError::CoordinatorNotAvailable);
        return Reply::Now(answer(vec![refused]));
    };
    let asked = by_partition
        .into_iter()
        .map(|(index, groups)| coordinator.ask_partition(index, Request::DeleteGroups(groups)));
    reply_all(asked.collect(), answer)
}

fn answer(responses: Vec<Response>) -> DeleteGroupsResponse {
    let mut results = Vec::new();
    for response in responses {
        let Response::DeleteGroups(groups) = response else {
            unreachable!("DeleteGroups was asked")
        };
        results.extend(groups.into_iter().map(|(group, result)| DeletableGroupResult {
            group_id: Str::from(group.as_str()),
            error_code: group_code(result.err()),
            ..Default::default()
        }));
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
