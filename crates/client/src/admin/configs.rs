//! Configs of topics, brokers, groups and the cluster: describe, list, alter.

use ottla_codec::Str;
use ottla_protocol::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    describe_configs_request, describe_configs_response, incremental_alter_configs_request,
};
use ottla_types::NodeId;

use super::Admin;
use super::topics::no_answer;
use crate::connection::Connection;
use crate::error::{ClientError, Refusal};

/// What a config belongs to; the numbers are Kafka's `ConfigResource.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ResourceType {
    /// A topic, by name.
    Topic,
    /// A broker, by id; the empty name is the default of all brokers.
    Broker,
    /// The log levels of a broker, by id.
    BrokerLogger,
    /// A client metrics subscription, by name.
    ClientMetrics,
    /// A group, by id.
    Group,
}

impl ResourceType {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];

    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    /// The kind with this number.
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Its name in commands and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::BrokerLogger => "broker-logger",
            Self::ClientMetrics => "client-metrics",
            Self::Group => "group",
        }
    }
}

/// A thing that has configs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    /// What it is.
    pub kind: ResourceType,
    /// Its name or id.
    pub name: String,
}

impl ConfigResource {
    /// A thing that has configs.
    pub fn new(kind: ResourceType, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind, self.name.as_str()) {
            (ResourceType::Broker, "") => f.write_str("the default of all brokers"),
            (kind, name) => write!(f, "{} {name}", kind.name()),
        }
    }
}

/// Where a value comes from; the numbers are Kafka's `DescribeConfigsResponse.ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker at run time.
    DynamicBroker,
    /// Set on all brokers at run time.
    DynamicDefaultBroker,
    /// From the broker's file, environment or arguments.
    StaticBroker,
    /// The default.
    Default,
    /// A log level that was set at run time.
    DynamicBrokerLogger,
    /// Set on a client metrics subscription.
    ClientMetrics,
    /// Set on the group.
    Group,
    /// A number that Kafka has not assigned, or none.
    Unknown,
}

impl ConfigSource {
    fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            _ => Self::Unknown,
        }
    }

    /// Kafka's name, as its tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether somebody set it at run time, so that it can be removed.
    pub const fn is_dynamic(self) -> bool {
        !matches!(self, Self::StaticBroker | Self::Default | Self::Unknown)
    }
}

/// A config and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Its key.
    pub name: String,
    /// Its value; `None` where it has none or is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed at run time.
    pub read_only: bool,
    /// Whether the value is secret.
    pub sensitive: bool,
    /// Values that would hold if this one were removed, best first.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it does, if asked for.
    pub documentation: Option<String>,
}

/// A value that stands behind another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSynonym {
    /// Key under which it is set.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// How a config is changed; the numbers are Kafka's `AlterConfigOp.OpType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    /// Sets the value.
    Set,
    /// Removes it, so that the default holds.
    Delete,
    /// Adds to a list.
    Append,
    /// Takes out of a list.
    Subtract,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAlteration {
    /// Key.
    pub name: String,
    /// What to do.
    pub op: AlterOp,
    /// With what; `None` for [`AlterOp::Delete`].
    pub value: Option<String>,
}

impl Admin {
    /// Describes the configs of one thing; `keys` limits them.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        keys: Option<&[&str]>,
        documentation: bool,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = DescribeConfigsRequest {
            resources: vec![describe_configs_request::DescribeConfigsResource {
                resource_type: resource.kind.code(),
                resource_name: Str::from(resource.name.as_str()),
                configuration_keys: keys
                    .map(|keys| keys.iter().map(|key| Str::from(*key)).collect()),
            }],
            include_synonyms: true,
            include_documentation: documentation,
        };
        let connection = self.responsible(resource, false).await?;
        let response = connection.send(&request).await?;
        let what = || format!("configs of {resource}");
        let result = response.results.into_iter().next().ok_or_else(|| no_answer(what()))?;
        Refusal::check(result.error_code, result.error_message.as_deref(), what)?;
        let mut entries: Vec<_> = result.configs.into_iter().map(ConfigEntry::from_wire).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Changes the configs of one thing, or only checks.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigAlteration],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let change =
            |change: &ConfigAlteration| incremental_alter_configs_request::AlterableConfig {
                name: Str::from(change.name.as_str()),
                config_operation: match change.op {
                    AlterOp::Set => 0,
                    AlterOp::Delete => 1,
                    AlterOp::Append => 2,
                    AlterOp::Subtract => 3,
                },
                value: change.value.as_deref().map(Str::from),
            };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![incremental_alter_configs_request::AlterConfigsResource {
                resource_type: resource.kind.code(),
                resource_name: Str::from(resource.name.as_str()),
                configs: changes.iter().map(change).collect(),
            }],
            validate_only,
        };
        let connection = self.responsible(resource, true).await?;
        let response = connection.send(&request).await?;
        let what = || format!("configs of {resource}");
        let result = response.responses.first().ok_or_else(|| no_answer(what()))?;
        Ok(Refusal::check(result.error_code, result.error_message.as_deref(), what)?)
    }

    /// Things of a kind that have configs set at run time.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn list_config_resources(
        &self,
        kind: ResourceType,
    ) -> Result<Vec<ConfigResource>, ClientError> {
        let request = ListConfigResourcesRequest { resource_types: vec![kind.code()] };
        let response = self.client.any(&request).await?;
        let what = || format!("list of {} configs", kind.name());
        Refusal::check(response.error_code, None, what)?;
        let of_kind = response.config_resources.iter().filter_map(|found| {
            let kind = ResourceType::from_code(found.resource_type)?;
            Some(ConfigResource::new(kind, found.resource_name.as_str()))
        });
        Ok(of_kind.collect())
    }

    /// A node answers for its own configs and loggers, any broker for the rest. Where controllers are asked, the active one
    /// answers for the rest, and changes configs of brokers too, since those may be down (KIP-919).
    async fn responsible(
        &self,
        resource: &ConfigResource,
        alters: bool,
    ) -> Result<Connection, ClientError> {
        let of_controllers = self.client.options().controllers;
        let by_node = match resource.kind {
            ResourceType::Broker if alters && of_controllers => false,
            ResourceType::Broker => !resource.name.is_empty(),
            ResourceType::BrokerLogger => true,
            _ => false,
        };
        let active =
            if of_controllers { self.describe_controllers().await?.controller } else { None };
        let id = if by_node {
            let id = resource.name.parse().ok().map(NodeId);
            Some(id.ok_or_else(|| {
                ClientError::Invalid(format!(
                    "{:?} is no broker id; ids are numbers",
                    resource.name
                ))
            })?)
        } else {
            active
        };
        match id {
            Some(id) => self.client.node(id).await,
            None => self.client.bootstrap().await,
        }
    }
}

impl ConfigEntry {
    fn from_wire(entry: describe_configs_response::DescribeConfigsResourceResult) -> Self {
        let text = |text: Option<Str>| text.map(|text| text.as_str().to_owned());
        let synonyms = entry.synonyms.into_iter().map(|synonym| ConfigSynonym {
            name: synonym.name.as_str().to_owned(),
            value: text(synonym.value),
            source: ConfigSource::from_code(synonym.source),
        });
        Self {
            name: entry.name.as_str().to_owned(),
            value: text(entry.value),
            source: ConfigSource::from_code(entry.config_source),
            read_only: entry.read_only,
            sensitive: entry.is_sensitive,
            synonyms: synonyms.collect(),
            documentation: text(entry.documentation),
        }
    }
}
