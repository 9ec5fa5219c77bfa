//! DescribeCluster (60): the nodes of one kind, and who is in charge.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use ottla_types::{ErrorCode, NodeId};

use super::metadata::{CLUSTER_OPERATIONS, some_alive_broker};
use crate::dispatch::{ListenerKind, Reply, RequestContext};
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: DescribeClusterRequest,
) -> Reply<DescribeClusterResponse> {
    let (kind, name) = match ctx.kind {
        ListenerKind::Broker => (BROKERS, "BROKER"),
        ListenerKind::Controller => (CONTROLLERS, "CONTROLLER"),
    };
    if request.endpoint_type != kind {
        let wrong_kind = |wanted: &str| {
            let text = "The request was sent to an endpoint of type";
            format!("{text} {name}, but we wanted an endpoint of type {wanted}")
        };
        let (code, text) = match request.endpoint_type {
            BROKERS => (ErrorCode::MismatchedEndpointType, wrong_kind("BROKER")),
            CONTROLLERS => (ErrorCode::MismatchedEndpointType, wrong_kind("CONTROLLER")),
            other => {
                (ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))
            }
        };
        // Version 0 cannot say which kind it means.
        let code = if ctx.version == 0 { ErrorCode::InvalidRequest } else { code };
        return Reply::Now(DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(Str::from(text)),
            // What the endpoint is not said beside an error, as in Kafka: the field has its default.
            ..Default::default()
        });
    }
    let (controller, brokers) = match ctx.kind {
        ListenerKind::Broker => brokers(shared, ctx, request.include_fenced_brokers),
        ListenerKind::Controller => controllers(shared, ctx),
    };
    let authorized =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { i32::MIN };
    Reply::Now(DescribeClusterResponse {
        endpoint_type: kind,
        cluster_id: Str::from(shared.cluster_id()),
        controller_id: NodeId::option_to_wire(controller),
        brokers,
        cluster_authorized_operations: authorized,
        ..Default::default()
    })
}

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

type Nodes = (Option<NodeId>, Vec<DescribeClusterBroker>);

fn brokers(shared: &Shared, ctx: &RequestContext, with_fenced: bool) -> Nodes {
    let image = shared.image.load();
    let brokers = image
        .brokers()
        .values()
        .filter(|broker| with_fenced || !broker.fenced)
        .filter_map(|broker| {
            let endpoint = broker.endpoint(&ctx.listener)?;
            Some(DescribeClusterBroker {
                broker_id: broker.id.to_wire(),
                host: Str::from(endpoint.host.as_str()),
                port: endpoint.port.into(),
                rack: broker.rack.as_deref().map(Str::from),
                is_fenced: broker.fenced && ctx.version >= 2,
            })
        })
        .collect();
    (some_alive_broker(shared, &image), brokers)
}

fn controllers(shared: &Shared, ctx: &RequestContext) -> Nodes {
    let image = shared.image.load();
    let nodes = image
        .controllers()
        .values()
        .filter_map(|controller| {
            let endpoint = controller.listeners.iter().find(|e| e.name == *ctx.listener)?;
            Some(DescribeClusterBroker {
                broker_id: controller.id.to_wire(),
                host: Str::from(endpoint.host.as_str()),
                port: endpoint.port.into(),
                ..Default::default()
            })
        })
        .collect();
    (shared.quorum.get().and_then(|quorum| quorum.leader()), nodes)
}
