//! ListConfigResources (74): which resources have configs (KIP-1142).

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::ConfigKind;
use ottla_protocol::list_config_resources_request::ListConfigResourcesRequest;
use ottla_protocol::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};
use ottla_types::ErrorCode;

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Kinds that are listed when nothing is said.
const ALL: [ConfigKind; 5] = [
    ConfigKind::Topic,
    ConfigKind::Broker,
    ConfigKind::BrokerLogger,
    ConfigKind::ClientMetrics,
    ConfigKind::Group,
];

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: ListConfigResourcesRequest,
) -> Reply<ListConfigResourcesResponse> {
    let kinds: Option<BTreeSet<i8>> = match (ctx.version, request.resource_types.as_slice()) {
        // Version 0 listed client metrics subscriptions only.
        (0, _) => Some(BTreeSet::from([ConfigKind::ClientMetrics.code()])),
        (_, []) => Some(ALL.iter().map(|kind| kind.code()).collect()),
        (_, types) => {
            types.iter().map(|code| ConfigKind::from_code(*code).map(ConfigKind::code)).collect()
        }
    };
    let Some(kinds) = kinds else {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return Reply::Now(ListConfigResourcesResponse { error_code, ..Default::default() });
    };
    let image = shared.image.load();
    let mut found: BTreeSet<(i8, String)> = BTreeSet::new();
    for kind in ALL.iter().filter(|kind| kinds.contains(&kind.code())) {
        let code = kind.code();
        match kind {
            ConfigKind::Topic => {
                found.extend(image.topic_ids().keys().map(|name| (code, name.to_string())));
            }
            ConfigKind::Broker | ConfigKind::BrokerLogger => {
                found.extend(image.brokers().keys().map(|id| (code, id.to_string())));
            }
            ConfigKind::ClientMetrics | ConfigKind::Group => {
                let stored = image.configs().keys().filter(|resource| resource.kind == *kind);
                found.extend(stored.map(|resource| (code, resource.name.clone())));
            }
        }
    }
    let config_resources = found
        .into_iter()
        .map(|(resource_type, name)| ConfigResource {
            resource_name: Str::from(name),
            resource_type,
        })
        .collect();
    Reply::Now(ListConfigResourcesResponse { config_resources, ..Default::default() })
}
