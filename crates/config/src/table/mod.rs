//! The table of every configuration key.
//!
//! Everything else is made from it: the parser's types and bounds, the documentation, suggestions
//! for misspelt keys, DescribeConfigs, the validation of topic configs and of dynamic changes.
//! It knows the 340 public and 20 internal broker keys of Apache Kafka 4.3 and this server's own.

mod group;
mod log;
mod network;
mod node;
mod own;
mod quota;
mod remote;
mod replication;
mod resource;
mod security;
mod topic;
mod txn;

use crate::key::Key;

/// A part of the table, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Heading.
    pub title: &'static str,
    /// Keys in reading order.
    pub keys: &'static [Key],
}

/// Broker and controller keys by area.
pub const BROKER: &[Area] = &[
    Area { title: "Ottla's own keys", keys: own::KEYS },
    Area { title: "Node, quorum and metadata log", keys: node::KEYS },
    Area { title: "Listeners and connections", keys: network::KEYS },
    Area { title: "Directories, topics and logs", keys: log::KEYS },
    Area { title: "Replication", keys: replication::KEYS },
    Area { title: "Groups and offsets", keys: group::KEYS },
    Area { title: "Transactions", keys: txn::KEYS },
    Area { title: "Tiered storage", keys: remote::KEYS },
    Area { title: "Quotas, metrics and telemetry", keys: quota::KEYS },
    Area { title: "Security", keys: security::KEYS },
];

/// Broker keys that exist in dynamic configs only.
pub const BROKER_DYNAMIC_ONLY: &[Key] = own::DYNAMIC_ONLY;

/// Topic configs, in the order of their names.
pub const TOPIC: &[Key] = topic::KEYS;

/// Group configs, in the order of their names.
pub const GROUP: &[Key] = resource::KEYS;

/// Configs of a client metrics subscription, in the order of their names.
pub const CLIENT_METRICS: &[Key] = resource::CLIENT_METRICS;

/// All broker keys that may stand in a file.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    BROKER.iter().flat_map(|area| area.keys)
}

/// Broker key of this name, dynamic-only keys included.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().chain(BROKER_DYNAMIC_ONLY).find(|key| key.name == name)
}

/// Topic config of this name.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC.iter().find(|key| key.name == name)
}

/// Group config of this name.
pub fn group_key(name: &str) -> Option<&'static Key> {
    GROUP.iter().find(|key| key.name == name)
}

/// Client metrics config of this name.
pub fn client_metrics_key(name: &str) -> Option<&'static Key> {
    CLIENT_METRICS.iter().find(|key| key.name == name)
}

/// Broker keys of which the first that is set counts: `name` and the keys that mean the same in
/// another unit, in the order of precedence. For `listener.name.X.KEY` the plain key is second.
pub fn broker_synonyms(name: &str) -> Vec<String> {
    for family in FAMILIES {
        if family.contains(&name) {
            return family.iter().map(|member| (*member).to_owned()).collect();
        }
    }
    let mut names = vec![name.to_owned()];
    if name == "log.flush.interval.ms" {
        names.push("log.flush.scheduler.interval.ms".to_owned());
    } else if let Some(base) = listener_base(name) {
        names.push(base.to_owned());
    }
    names
}

/// `KEY` of a key written `listener.name.X.KEY`, without the mechanism that SASL keys carry.
pub fn listener_base(name: &str) -> Option<&str> {
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let with_mechanism = PER_MECHANISM.iter().find(|key| rest.ends_with(*key));
    Some(with_mechanism.copied().unwrap_or(rest))
}

pub(crate) const FAMILIES: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

const PER_MECHANISM: &[&str] = &[
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];
