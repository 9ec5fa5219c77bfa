//! Dynamic configs of topics, brokers, all brokers, groups and client metrics subscriptions.
//!
//! Source: Kafka's `ConfigurationControlManager` and `ControllerConfigurationValidator`. What a
//! value may be is the table's to say ([`super::ConfigRules`]).

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{ErrorCode, NodeId, TopicName};

use super::op::Op;
use super::request::{AlterConfigs, ApiError, ConfigOp, Outcome, ReplaceConfigs, Response};
use crate::generated::{ClearElrRecord, ConfigRecord, MetadataRecord};
use crate::image::{ConfigKind, ConfigResource};
use crate::record::Record;

const MIN_ISR: &str = "min.insync.replicas";
const CORDONED: &str = "cordoned.log.dirs";
const VALUE_LEN_MAX: usize = 32_767;

impl Op<'_> {
    /// IncrementalAlterConfigs.
    pub(super) fn alter_configs(&mut self, request: &AlterConfigs) -> Result<Response, ApiError> {
        let names = request.resources.iter().map(|(resource, _)| resource);
        let duplicates = repeated(names);
        let mut results: Vec<(ConfigResource, Outcome)> = Vec::new();
        let mut all = Vec::new();
        for (resource, ops) in &request.resources {
            if duplicates.contains(resource) {
                duplicate(resource, &mut results);
                continue;
            }
            let records = self.altered_config(resource, ops, false, request.forwarded);
            let records = records.map(|records| all.extend(records));
            results.push((resource.clone(), records));
        }
        self.push_configs(all, request.validate_only);
        Ok(Response::ConfigsAltered(results))
    }

    /// AlterConfigs: what is not named is removed.
    pub(super) fn replace_configs(
        &mut self,
        request: &ReplaceConfigs,
    ) -> Result<Response, ApiError> {
        let names = request.resources.iter().map(|(resource, _)| resource);
        let duplicates = repeated(names);
        let mut results: Vec<(ConfigResource, Outcome)> = Vec::new();
        let mut all = Vec::new();
        for (resource, configs) in &request.resources {
            if duplicates.contains(resource) {
                duplicate(resource, &mut results);
                continue;
            }
            let current = self.image.config(resource).cloned().unwrap_or_default();
            let kept: BTreeSet<&String> = configs.iter().map(|(name, _)| name).collect();
            let mut changes: Vec<(String, Option<String>)> = configs
                .iter()
                .filter(|(name, value)| {
                    resource.kind == ConfigKind::Broker || current.get(name) != value.as_ref()
                })
                .cloned()
                .collect();
            let removed = current.keys().filter(|name| !kept.contains(name));
            changes.extend(removed.map(|name| (name.clone(), None)));
            let checked = self.check_config(resource, &changes, false, request.forwarded);
            let checked = checked.map(|()| all.extend(config_records(resource, &changes)));
            results.push((resource.clone(), checked));
        }
        self.push_configs(all, request.validate_only);
        Ok(Response::ConfigsAltered(results))
    }

    fn push_configs(&mut self, records: Vec<Record>, validate_only: bool) {
        if validate_only {
            return;
        }
        let cleared = self.cleared_elrs(&records);
        for record in records.into_iter().chain(cleared) {
            self.push(record);
        }
    }

    /// A new min.insync.replicas gives ELR another meaning, so it starts anew (KIP-966).
    fn cleared_elrs(&self, records: &[Record]) -> Vec<Record> {
        if !self.image.elr_enabled() {
            return Vec::new();
        }
        let changes = records.iter().filter_map(|record| match record.message() {
            MetadataRecord::Config(config) if config.name == MIN_ISR => Some(config),
            _ => None,
        });
        changes
            .map(|config| {
                let of_topic = config.resource_type == ConfigKind::Topic.code();
                let topic_name =
                    if of_topic { config.resource_name.clone() } else { Default::default() };
                Record::new(ClearElrRecord { topic_name })
            })
            .collect()
    }

    /// Records that change the configs of one resource; `created` if it does not exist yet.
    pub(super) fn altered_config(
        &self,
        resource: &ConfigResource,
        ops: &[(String, ConfigOp)],
        created: bool,
        forwarded: bool,
    ) -> Result<Vec<Record>, ApiError> {
        let current = self.image.config(resource).cloned().unwrap_or_default();
        let mut changes = Vec::new();
        // The last operation on a name counts, as in Kafka, where they form a map.
        let ops: BTreeMap<&String, &ConfigOp> = ops.iter().map(|(name, op)| (name, op)).collect();
        for (name, op) in ops {
            let old = current.get(name).cloned();
            let new = match op {
                ConfigOp::Set(value) => value.clone(),
                ConfigOp::Delete => None,
                ConfigOp::Append(value) | ConfigOp::Subtract(value) => {
                    let appends = matches!(op, ConfigOp::Append(_));
                    let value = value.as_deref().unwrap_or_default();
                    Some(self.changed_list(resource, name, old.as_deref(), value, appends)?)
                }
            };
            if old != new || resource.kind == ConfigKind::Broker {
                changes.push((name.clone(), new));
            }
        }
        self.check_config(resource, &changes, created, forwarded)?;
        let mut records = config_records(resource, &changes);
        if created {
            records.extend(self.cleared_elrs(&records));
        }
        Ok(records)
    }

    fn changed_list(
        &self,
        resource: &ConfigResource,
        name: &str,
        old: Option<&str>,
        value: &str,
        appends: bool,
    ) -> Result<String, ApiError> {
        if !self.rules.is_list(resource.kind, name) {
            let op = if appends { "APPEND" } else { "SUBTRACT" };
            let text = format!("Can't {op} to key {name} because its type is not LIST.");
            return Err(ApiError::new(ErrorCode::InvalidConfig, text));
        }
        let old = old.map(ToOwned::to_owned);
        let old = old.or_else(|| self.rules.default_value(resource.kind, name));
        let old = old.unwrap_or_default();
        let mut parts: Vec<&str> = old.split(',').filter(|part| !part.is_empty()).collect();
        for part in value.split(',') {
            let at = parts.iter().position(|known| *known == part);
            match (at, appends) {
                (None, true) => parts.push(part),
                (Some(at), false) => {
                    parts.remove(at);
                }
                _ => {}
            }
        }
        Ok(parts.join(","))
    }

    fn check_config(
        &self,
        resource: &ConfigResource,
        changes: &[(String, Option<String>)],
        created: bool,
        forwarded: bool,
    ) -> Outcome {
        let invalid = |text: String| ApiError::new(ErrorCode::InvalidConfig, text);
        // A broker's values are checked by the broker in Kafka, with another error (KAFKA-13609).
        let unusable = |error: ApiError| match resource.kind {
            ConfigKind::Broker => ApiError { code: ErrorCode::InvalidRequest, ..error },
            _ => error,
        };
        let old = self.image.config(resource).cloned().unwrap_or_default();
        let mut all: BTreeMap<String, String> = (*old).clone();
        for (name, value) in changes {
            if let Some(text) = self.forbidden(resource, name, value.as_deref(), &old, forwarded) {
                return Err(invalid(text));
            }
            match value {
                None => {
                    all.remove(name);
                }
                Some(value) if value.encode_utf16().count() > VALUE_LEN_MAX => {
                    return Err(invalid(format!(
                        "The configuration value cannot be added because it exceeds the maximum \
                         value size of {VALUE_LEN_MAX} bytes."
                    )));
                }
                Some(value) => {
                    all.insert(name.clone(), value.clone());
                }
            }
        }
        check_name(resource)?;
        self.rules.validate(resource, &all, &old).map_err(unusable)?;
        if created { Ok(()) } else { self.check_exists(resource) }
    }

    /// Configs that eligible leader replicas and cordoned directories rely on.
    fn forbidden(
        &self,
        resource: &ConfigResource,
        name: &str,
        value: Option<&str>,
        old: &BTreeMap<String, String>,
        forwarded: bool,
    ) -> Option<String> {
        if resource.kind != ConfigKind::Broker {
            return None;
        }
        let elr = self.image.elr_enabled();
        if name == MIN_ISR && elr && !resource.name.is_empty() {
            return Some(format!("Broker-level {MIN_ISR} cannot be altered while ELR is enabled."));
        }
        if name == MIN_ISR && elr && value.is_none() {
            let text = format!("Cluster-level {MIN_ISR} cannot be removed while ELR is enabled.");
            return Some(text);
        }
        if name != CORDONED {
            return None;
        }
        if !self.version.cordoned_directories() {
            return Some(format!(
                "The {CORDONED} configuration value cannot be set because it requires \
                 metadata.version >= 4.3-IV0"
            ));
        }
        let wanted = value.map(str::trim).filter(|value| !value.is_empty() && !forwarded)?;
        let current = old.get(CORDONED).map_or("", String::as_str).trim();
        let current: Vec<&str> = current.split(',').map(str::trim).collect();
        let subset = wanted.split(',').all(|dir| current.contains(&dir.trim()));
        (!subset).then(|| {
            format!(
                "When updating {CORDONED} via controllers,  the new value must be a subset of the \
                 current configuration value."
            )
        })
    }

    fn check_exists(&self, resource: &ConfigResource) -> Outcome {
        match resource.kind {
            ConfigKind::Topic if self.image.topic(&resource.name).is_none() => {
                let text = format!("The topic '{}' does not exist.", resource.name);
                Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text))
            }
            ConfigKind::Broker if !resource.name.is_empty() => {
                let id = resource.name.parse().ok().and_then(NodeId::from_wire);
                let known = id.is_some_and(|id| {
                    self.image.broker(id).is_some() || self.image.controllers().contains_key(&id)
                });
                if known || id == Some(self.config.node_id) {
                    return Ok(());
                }
                let text = format!("No node with id {} found.", resource.name);
                Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, text))
            }
            _ => Ok(()),
        }
    }

    /// Configs without which eligible leader replicas cannot be switched on: the default of all
    /// brokers has a min.insync.replicas, and no broker has one of its own.
    pub(super) fn prepare_elr(&mut self) {
        let set = |name: &str, value: Option<String>| {
            Record::new(ConfigRecord {
                resource_type: ConfigKind::Broker.code(),
                resource_name: name.into(),
                name: MIN_ISR.into(),
                value: value.map(Into::into),
            })
        };
        let every = self.image.config(&ConfigResource::every_broker());
        if !every.is_some_and(|configs| configs.contains_key(MIN_ISR)) {
            self.push(set("", Some(self.static_min_isr())));
        }
        let with_own: Vec<String> = self
            .image
            .configs()
            .iter()
            .filter(|(resource, configs)| {
                resource.kind == ConfigKind::Broker
                    && !resource.name.is_empty()
                    && configs.contains_key(MIN_ISR)
            })
            .map(|(resource, _)| resource.name.clone())
            .collect();
        for name in with_own {
            self.push(set(&name, None));
        }
    }

    /// `min.insync.replicas` of this node's file, or the table's default.
    pub(super) fn static_min_isr(&self) -> String {
        let none = BTreeMap::new();
        let layers = super::TopicLayers { topic: &none, broker: &none, every_broker: &none };
        self.rules.topic_config(MIN_ISR, layers).unwrap_or_else(|| "1".to_owned())
    }
}

fn check_name(resource: &ConfigResource) -> Outcome {
    let invalid = |text: &str| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    match resource.kind {
        ConfigKind::Topic if resource.name.is_empty() => {
            invalid("Default topic resources are not allowed.")
        }
        ConfigKind::Topic => TopicName::parse(&resource.name).map(drop).map_err(|why| {
            ApiError::new(ErrorCode::InvalidTopicException, why.message(&resource.name))
        }),
        ConfigKind::Broker if resource.name.is_empty() => Ok(()),
        ConfigKind::Broker => match resource.name.parse::<i32>() {
            Err(_) => invalid("Unable to parse broker name as a base 10 number."),
            Ok(id) if id < 0 => invalid("Invalid negative broker ID."),
            Ok(_) => Ok(()),
        },
        ConfigKind::Group if resource.name.is_empty() => {
            invalid("Default group resources are not allowed.")
        }
        ConfigKind::ClientMetrics if resource.name.is_empty() => {
            invalid("Subscription name can't be empty")
        }
        ConfigKind::Group | ConfigKind::ClientMetrics => Ok(()),
        ConfigKind::BrokerLogger => invalid("Unknown resource type BROKER_LOGGER"),
    }
}

fn config_records(resource: &ConfigResource, changes: &[(String, Option<String>)]) -> Vec<Record> {
    let record = |(name, value): &(String, Option<String>)| {
        Record::new(ConfigRecord {
            resource_type: resource.kind.code(),
            resource_name: resource.name.as_str().into(),
            name: name.as_str().into(),
            value: value.as_deref().map(Into::into),
        })
    };
    changes.iter().map(record).collect()
}

/// What stands more than once.
fn repeated<'a>(items: impl Iterator<Item = &'a ConfigResource>) -> BTreeSet<&'a ConfigResource> {
    let mut seen = BTreeSet::new();
    items.filter(|item| !seen.insert(*item)).collect()
}

/// Answers a resource that stands more than once, once.
fn duplicate(resource: &ConfigResource, results: &mut Vec<(ConfigResource, Outcome)>) {
    if results.iter().all(|(answered, _)| answered != resource) {
        let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate resource.");
        results.push((resource.clone(), Err(error)));
    }
}
