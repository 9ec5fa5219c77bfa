//! DescribeConfigs (32): configs of topics, brokers, groups and client metrics subscriptions, with
//! where each value comes from.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_config::{Described, describe_client_metrics};
use ottla_metadata::{ConfigKind, ConfigResource};
use ottla_protocol::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_protocol::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use ottla_types::{ErrorCode, TopicName};

use crate::dispatch::{Reply, RequestContext};
use crate::refusal::Refusal;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeConfigsRequest,
) -> Reply<DescribeConfigsResponse> {
    let with_synonyms = request.include_synonyms;
    let with_documentation = request.include_documentation;
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let mut result = DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.detached(),
                error_message: None,
                ..Default::default()
            };
            match describe(shared, resource) {
                Ok(described) => {
                    let wanted = |config: &Described| match &resource.configuration_keys {
                        None => true,
                        Some(keys) => {
                            keys.is_empty() || keys.iter().any(|key| *key == *config.name)
                        }
                    };
                    result.configs = described
                        .into_iter()
                        .filter(wanted)
                        .map(|config| one(config, with_synonyms, with_documentation))
                        .collect();
                }
                Err(refusal) => {
                    result.error_code = refusal.code.code();
                    let text = refusal.text().unwrap_or(refusal.code.message());
                    result.error_message = Some(Str::from(text));
                }
            }
            result
        })
        .collect();
    Reply::Now(DescribeConfigsResponse { results, ..Default::default() })
}

fn describe(
    shared: &Shared,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, Refusal> {
    let name = resource.resource_name.as_str();
    let image = shared.image.load();
    let layers = shared.layers.load();
    let kind = ConfigKind::from_code(resource.resource_type);
    let own = |kind| image.config(&ConfigResource::new(kind, name)).cloned().unwrap_or_default();
    match kind {
        Some(ConfigKind::Topic) => {
            TopicName::parse(name).map_err(|error| Refusal::invalid_topic(&error))?;
            if image.topic(name).is_none() {
                return Err(ErrorCode::UnknownTopicOrPartition.into());
            }
            Ok(layers.describe_topic(&own(ConfigKind::Topic)))
        }
        Some(ConfigKind::Broker) if name.is_empty() => Ok(layers.describe_cluster_default()),
        Some(ConfigKind::Broker) if name == shared.node_id().to_string() => {
            Ok(layers.describe_broker())
        }
        Some(ConfigKind::Broker | ConfigKind::BrokerLogger) => {
            let text = format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                shared.node_id()
            );
            Err(Refusal::with_string(ErrorCode::InvalidRequest, text))
        }
        Some(ConfigKind::Group) if name.is_empty() => {
            Err(Refusal::with_text(ErrorCode::InvalidRequest, "Group name must not be empty"))
        }
        Some(ConfigKind::Group) => Ok(layers.describe_group(&own(ConfigKind::Group))),
        Some(ConfigKind::ClientMetrics) if name.is_empty() => Err(Refusal::with_text(
            ErrorCode::InvalidRequest,
            "Client metrics subscription name must not be empty",
        )),
        Some(ConfigKind::ClientMetrics) => {
            Ok(describe_client_metrics(&own(ConfigKind::ClientMetrics)))
        }
        None => {
            let text = format!("Unsupported resource type: {}", resource.resource_type);
            Err(Refusal::with_string(ErrorCode::InvalidRequest, text))
        }
    }
}

fn one(config: Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let synonyms = if synonyms { config.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: Str::from(config.name),
        value: config.value.map(Str::from),
        read_only: config.read_only,
        config_source: config.source.code(),
        is_sensitive: config.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: Str::from(synonym.name),
                value: synonym.value.map(Str::from),
                source: synonym.source.code(),
            })
            .collect(),
        config_type: config.kind,
        documentation: config.doc.filter(|_| documentation).map(Str::from_static),
    }
}
