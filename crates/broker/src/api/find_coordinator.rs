//! FindCoordinator (10): which broker coordinates a group.
//!
//! The topic that groups live in is created on first use. Transactions and share groups have no
//! coordinators yet: their keys get an error that no client tries again, with a message.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::find_coordinator_request::FindCoordinatorRequest;
use ottla_protocol::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use ottla_types::{ErrorCode, TopicName};

use crate::dispatch::{Reply, RequestContext};
use crate::driver::group::{OFFSETS_TOPIC, partition_of};
use crate::refusal::Refusal;
use crate::shared::{Node, Shared};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// First version that asks for several keys.
const BATCHED: i16 = 4;
/// First version that may ask for share coordinators.
const SHARE_FROM: i16 = 6;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: FindCoordinatorRequest,
) -> Reply<FindCoordinatorResponse> {
    let find = |key: &str| coordinator(shared, ctx, request.key_type, key);
    if ctx.version < BATCHED {
        return Reply::Now(single(find(&request.key)));
    }
    let coordinators = request.coordinator_keys.iter().map(|key| batched(key, find(key)));
    Reply::Now(FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..Default::default()
    })
}

fn single(found: Result<Node, Refusal>) -> FindCoordinatorResponse {
    match found {
        Ok(node) => FindCoordinatorResponse {
            // Kafka names even this error.
            error_message: Some(Str::from_static("NONE")),
            node_id: node.id,
            host: node.host,
            port: node.port,
            ..Default::default()
        },
        Err(refusal) => FindCoordinatorResponse {
            error_code: refusal.code.code(),
            error_message: Some(Str::from(
                refusal.text().unwrap_or_else(|| refusal.code.message()),
            )),
            node_id: -1,
            port: -1,
            ..Default::default()
        },
    }
}

fn batched(key: &Str, found: Result<Node, Refusal>) -> Coordinator {
    let key = key.detached();
    match found {
        Ok(node) => Coordinator {
            key,
            node_id: node.id,
            host: node.host,
            port: node.port,
            ..Default::default()
        },
        Err(refusal) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: refusal.code.code(),
            error_message: Some(refusal.text().map(Str::from).unwrap_or_default()),
            ..Default::default()
        },
    }
}

fn coordinator(
    shared: &Shared,
    ctx: &RequestContext,
    key_type: i8,
    key: &str,
) -> Result<Node, Refusal> {
    match key_type {
        GROUP => group_coordinator(shared, ctx, key),
        TRANSACTION => Err(NO_TRANSACTIONS),
        SHARE if ctx.version >= SHARE_FROM => Err(NO_SHARE_GROUPS),
        _ => Err(ErrorCode::InvalidRequest.into()),
    }
}

const NO_TRANSACTIONS: Refusal =
    Refusal::with_text(ErrorCode::UnsupportedVersion, "this broker has no transactions yet");
const NO_SHARE_GROUPS: Refusal =
    Refusal::with_text(ErrorCode::UnsupportedVersion, "this broker has no share groups yet");

fn group_coordinator(shared: &Shared, ctx: &RequestContext, group: &str) -> Result<Node, Refusal> {
    let image = shared.image.load();
    let Some(topic) = image.topic(OFFSETS_TOPIC) else {
        if let (Some(forwarder), Ok(topic)) =
            (shared.forwarder.get(), TopicName::parse(OFFSETS_TOPIC))
        {
            forwarder.create_missing(vec![topic]);
        }
        return Err(ErrorCode::CoordinatorNotAvailable.into());
    };
    let leader = topic.partitions.get(&partition_of(shared, group)).and_then(|state| state.leader);
    let leader = leader.filter(|leader| image.is_active(*leader));
    leader
        .and_then(|leader| shared.endpoints_of(&[leader.to_wire()], &ctx.listener).pop())
        .ok_or_else(|| ErrorCode::CoordinatorNotAvailable.into())
}
