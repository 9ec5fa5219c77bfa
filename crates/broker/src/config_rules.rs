//! The controller's questions about configs, answered from the table of crate `config`.

use std::collections::BTreeMap;

use ottla_config::{
    ConfigError, Layers, Target, is_list, table, validate_client_metrics_configs,
    validate_group_configs, validate_topic_configs,
};
use ottla_metadata::controller::{
    ApiError, ConfigRules, ConfigSource, EffectiveConfig, Outcome, TopicLayers,
};
use ottla_metadata::{ConfigKind, ConfigResource};
use ottla_types::ErrorCode;

/// Rules of this node: its static settings are the ground that topics stand on.
pub(crate) struct NodeRules {
    layers: Layers,
}

impl NodeRules {
    /// Rules on top of these static settings.
    pub(crate) fn new(layers: Layers) -> Self {
        Self { layers }
    }

    fn with(&self, layers: TopicLayers<'_>) -> Layers {
        self.layers.with_dynamic(layers.every_broker, layers.broker).0
    }
}

impl ConfigRules for NodeRules {
    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<String, String>,
        _old: &BTreeMap<String, String>,
    ) -> Outcome {
        let broker = self.layers.texts();
        let outcome = match resource.kind {
            ConfigKind::Topic => validate_topic_configs(configs, broker),
            ConfigKind::Group => validate_group_configs(configs, broker),
            ConfigKind::ClientMetrics => validate_client_metrics_configs(configs),
            ConfigKind::Broker if resource.name.is_empty() => {
                self.layers.validate_change(Target::ClusterDefault, configs)
            }
            ConfigKind::Broker => self.layers.validate_change(Target::Broker, configs),
            ConfigKind::BrokerLogger => {
                let text = "log levels are not stored";
                return Err(ApiError::new(ErrorCode::InvalidConfig, text));
            }
        };
        outcome.map_err(|error| {
            let code = match error {
                ConfigError::Request(_) => ErrorCode::InvalidRequest,
                _ => ErrorCode::InvalidConfig,
            };
            ApiError::new(code, error.to_string())
        })
    }

    fn is_list(&self, kind: ConfigKind, name: &str) -> bool {
        is_list(kind.code(), name)
    }

    fn default_value(&self, kind: ConfigKind, name: &str) -> Option<String> {
        let key = match kind {
            ConfigKind::Topic => table::topic_key(name),
            ConfigKind::Broker => table::broker_key(name),
            ConfigKind::Group => table::group_key(name),
            ConfigKind::ClientMetrics => table::client_metrics_key(name),
            ConfigKind::BrokerLogger => None,
        };
        key?.default_text().map(str::to_owned)
    }

    fn topic_config(&self, name: &str, layers: TopicLayers<'_>) -> Option<String> {
        let described = self.with(layers).describe_topic(layers.topic);
        described.into_iter().find(|config| config.name == name)?.value
    }

    fn topic_configs(&self, layers: TopicLayers<'_>) -> Vec<EffectiveConfig> {
        let described = self.with(layers).describe_topic(layers.topic);
        described
            .into_iter()
            .map(|config| EffectiveConfig {
                name: config.name.to_owned(),
                value: config.value,
                source: source(config.source.code()),
                sensitive: config.sensitive,
            })
            .collect()
    }
}

fn source(code: i8) -> ConfigSource {
    match code {
        1 => ConfigSource::Topic,
        2 => ConfigSource::Broker,
        3 => ConfigSource::EveryBroker,
        4 => ConfigSource::Static,
        _ => ConfigSource::Default,
    }
}
