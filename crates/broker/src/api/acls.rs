//! DescribeAcls (29), CreateAcls (30), DeleteAcls (31) without an authorizer: as in Kafka they say so
//! (SECURITY_DISABLED), for each entry where the answer has entries.
//!
//! Access control itself is not here; `authorizer.class.name` is refused at the start.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::create_acls_request::CreateAclsRequest;
use ottla_protocol::create_acls_response::{AclCreationResult, CreateAclsResponse};
use ottla_protocol::delete_acls_request::DeleteAclsRequest;
use ottla_protocol::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsResponse};
use ottla_protocol::describe_acls_request::DescribeAclsRequest;
use ottla_protocol::describe_acls_response::DescribeAclsResponse;
use ottla_types::ErrorCode;

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// What no resource, pattern, operation or permission is: Kafka closes the connection.
const UNKNOWN: i8 = 0;

/// Handles DescribeAcls.
pub(crate) fn describe(
    _shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeAclsRequest,
) -> Reply<DescribeAclsResponse> {
    let types = [
        request.resource_type_filter,
        request.pattern_type_filter,
        request.operation,
        request.permission_type,
    ];
    if types.contains(&UNKNOWN) {
        return unknown();
    }
    Reply::Now(DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Str::from_static("No Authorizer is configured on the broker")),
        ..Default::default()
    })
}

/// Handles CreateAcls.
pub(crate) fn create(
    _shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: CreateAclsRequest,
) -> Reply<CreateAclsResponse> {
    let types = request.creations.iter().flat_map(|creation| {
        [
            creation.resource_type,
            creation.resource_pattern_type,
            creation.operation,
            creation.permission_type,
        ]
    });
    if types.into_iter().any(|one| one == UNKNOWN) {
        return unknown();
    }
    let refused = |_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Str::from_static(NO_AUTHORIZER)),
    };
    let results = request.creations.iter().map(refused).collect();
    Reply::Now(CreateAclsResponse { results, ..Default::default() })
}

/// Handles DeleteAcls.
pub(crate) fn delete(
    _shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DeleteAclsRequest,
) -> Reply<DeleteAclsResponse> {
    let types = request.filters.iter().flat_map(|filter| {
        [
            filter.resource_type_filter,
            filter.pattern_type_filter,
            filter.operation,
            filter.permission_type,
        ]
    });
    if types.into_iter().any(|one| one == UNKNOWN) {
        return unknown();
    }
    let refused = |_| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Str::from_static(NO_AUTHORIZER)),
        ..Default::default()
    };
    let filter_results = request.filters.iter().map(refused).collect();
    Reply::Now(DeleteAclsResponse { filter_results, ..Default::default() })
}

const NO_AUTHORIZER: &str = "No Authorizer is configured.";

fn unknown<R>() -> Reply<R> {
    Reply::Close("an ACL of an unknown type".into())
}
