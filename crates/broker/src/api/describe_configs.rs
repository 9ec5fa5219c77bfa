//! DescribeConfigs (32): configs of topics, brokers, loggers, groups and client metrics
//! subscriptions, with where each value comes from. Brokers and controllers answer it alike.

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

use super::broker_loggers;
use crate::dispatch::{Reply, RequestContext};
use crate::refusal::Refusal;
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeConfigsRequest,
) -> Reply<DescribeConfigsResponse> {
    let shown =
        Shown { synonyms: request.include_synonyms, documentation: request.include_documentation };
    // As in Kafka, one unknown type refuses the whole request.
    let strange = |resource: &&DescribeConfigsResource| {
        ConfigKind::from_code(resource.resource_type).is_none()
    };
    let strange = request.resources.iter().find(strange).map(|resource| {
        let text = format!("Unexpected resource type for resource {}", resource.resource_name);
        Refusal::with_string(ErrorCode::InvalidRequest, text)
    });
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
            let described = match &strange {
                Some(refusal) => Err(refusal.clone()),
                None => describe(shared, resource, shown),
            };
            match described {
                Ok(configs) => result.configs = only_wanted(configs, resource),
                Err(refusal) => {
                    result.error_code = refusal.code.code();
                    result.error_message = refusal.text().map(Str::from);
                }
            }
            result
        })
        .collect();
    Reply::Now(DescribeConfigsResponse { results, ..Default::default() })
}

/// What is wanted beside names and values.
#[derive(Clone, Copy)]
struct Shown {
    synonyms: bool,
    documentation: bool,
}

fn only_wanted(
    mut configs: Vec<DescribeConfigsResourceResult>,
    resource: &DescribeConfigsResource,
) -> Vec<DescribeConfigsResourceResult> {
    if let Some(keys) = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty()) {
        configs.retain(|config| keys.contains(&config.name));
    }
    configs
}

fn describe(
    shared: &Shared,
    resource: &DescribeConfigsResource,
    shown: Shown,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = resource.resource_name.as_str();
    let image = shared.image.load();
    let layers = shared.layers.load();
    let kind = ConfigKind::from_code(resource.resource_type);
    let own = |kind| image.config(&ConfigResource::new(kind, name)).cloned().unwrap_or_default();
    let invalid = |text: String| Err(Refusal::with_string(ErrorCode::InvalidRequest, text));
    let described = match kind {
        Some(ConfigKind::Topic) => {
            TopicName::parse(name).map_err(|why| Refusal::invalid_topic(name, &why))?;
            if image.topic(name).is_none() {
                return Err(ErrorCode::UnknownTopicOrPartition.into());
            }
            layers.describe_topic(&own(ConfigKind::Topic))
        }
        Some(ConfigKind::Broker) if name.is_empty() => layers.describe_cluster_default(),
        Some(ConfigKind::Broker) => match name.parse::<i32>() {
            Ok(id) if id == shared.node_id().to_wire() => layers.describe_broker(),
            Ok(_) => {
                return invalid(format!(
                    "Unexpected broker id, expected {} or empty string, but received {name}",
                    shared.node_id()
                ));
            }
            Err(_) => {
                return invalid(format!("Broker id must be an integer, but it is: {name}"));
            }
        },
        Some(ConfigKind::BrokerLogger) => return broker_loggers::describe(shared, name),
        Some(ConfigKind::Group) if name.is_empty() => {
            return invalid("Group name must not be empty".to_owned());
        }
        Some(ConfigKind::Group) => layers.describe_group(&own(ConfigKind::Group)),
        Some(ConfigKind::ClientMetrics) if name.is_empty() => {
            return invalid("Client metrics subscription name must not be empty".to_owned());
        }
        Some(ConfigKind::ClientMetrics) => describe_client_metrics(&own(ConfigKind::ClientMetrics)),
        None => return invalid(format!("Unsupported resource type: {}", resource.resource_type)),
    };
    Ok(described.into_iter().map(|config| one(config, shown)).collect())
}

fn one(config: Described, shown: Shown) -> DescribeConfigsResourceResult {
    let synonyms = if shown.synonyms { config.synonyms } else { Vec::new() };
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
        documentation: config.doc.filter(|_| shown.documentation).map(Str::from_static),
    }
}
