//! IncrementalAlterConfigs (44) and AlterConfigs (33) on a broker listener: passed on to the
//! controller, except log levels, which are this broker's own.

use std::sync::Arc;

use ottla_protocol::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles IncrementalAlterConfigs.
pub(crate) fn incremental(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Reply<IncrementalAlterConfigsResponse> {
    match shared.forwarder.get() {
        Some(forwarder) => forwarder.forward(ctx, &request),
        None => Reply::Close("this node cannot reach a controller".into()),
    }
}

/// Handles AlterConfigs.
pub(crate) fn replace(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: AlterConfigsRequest,
) -> Reply<AlterConfigsResponse> {
    match shared.forwarder.get() {
        Some(forwarder) => forwarder.forward(ctx, &request),
        None => Reply::Close("this node cannot reach a controller".into()),
    }
}
