//! Static settings with dynamic broker configs on top (KIP-226).
//!
//! Precedence: broker, cluster default, static, default. A dynamic value removes the static
//! values of keys that mean the same in another unit, so a dynamic `log.retention.hours` wins
//! over a static `log.retention.ms`.

use std::sync::Arc;

use crate::broker::with_node_id;
use crate::{
    broker::{BrokerConfig, TopicConfig},
    error::ConfigError,
    key::{Scope, Status},
    settings::Texts,
    table,
};

/// For which brokers a dynamic config is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one: the resource name is its id.
    Broker,
    /// All: the resource name is empty.
    ClusterDefault,
}

/// Static settings and dynamic configs of one broker.
#[derive(Clone)]
pub struct Layers {
    pub(crate) fixed: Arc<Texts>,
    pub(crate) cluster: Arc<Texts>,
    pub(crate) broker: Arc<Texts>,
    merged: Arc<Texts>,
}

impl std::fmt::Debug for Layers {
    /// Names only: the texts may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layers")
            .field("fixed", &self.fixed.keys())
            .field("cluster", &self.cluster.keys())
            .field("broker", &self.broker.keys())
            .finish()
    }
}

impl Layers {
    /// Static settings alone.
    pub fn new(fixed: Texts) -> Self {
        let fixed = Arc::new(with_node_id(&fixed));
        let none = Arc::new(Texts::new());
        Self { merged: fixed.clone(), fixed, cluster: none.clone(), broker: none }
    }

    /// The same static settings with these dynamic configs, as the metadata log has them.
    ///
    /// Never fails, because stored configs must not stop a broker: those that are unreadable or
    /// not dynamic are left out and returned. A combination that breaks a rule leaves out the
    /// whole target, cluster default before broker.
    pub fn with_dynamic(&self, cluster: &Texts, broker: &Texts) -> (Self, Vec<ConfigError>) {
        let mut left_out = Vec::new();
        let cluster = usable(cluster, Target::ClusterDefault, &mut left_out);
        let broker = usable(broker, Target::Broker, &mut left_out);
        let none = Texts::new();
        for (cluster, broker) in [(&cluster, &broker), (&none, &broker), (&cluster, &none)] {
            let layers = self.combined(cluster, broker);
            match BrokerConfig::read(&layers.merged) {
                Ok(_) => return (layers, left_out),
                Err(problems) => left_out.extend(problems),
            }
        }
        (self.combined(&none, &none), left_out)
    }

    fn combined(&self, cluster: &Texts, broker: &Texts) -> Self {
        let mut merged = (*self.fixed).clone();
        overlay(&mut merged, cluster);
        overlay(&mut merged, broker);
        for name in CLAMPED {
            clamp(&mut merged, name);
        }
        Self {
            fixed: self.fixed.clone(),
            cluster: Arc::new(cluster.clone()),
            broker: Arc::new(broker.clone()),
            merged: Arc::new(merged),
        }
    }

    /// Texts in effect: what is set in any layer. Sensitive texts are in it.
    pub fn texts(&self) -> &Texts {
        &self.merged
    }

    /// What the node runs with now.
    ///
    /// # Errors
    /// The static settings themselves are wrong.
    pub fn config(&self) -> Result<BrokerConfig, Vec<ConfigError>> {
        BrokerConfig::read(&self.merged)
    }

    /// Configs in effect of a topic with these overrides, and overrides that were left out.
    pub fn topic_config(&self, overrides: &Texts) -> (TopicConfig, Vec<ConfigError>) {
        TopicConfig::resolve(&self.merged, overrides)
    }

    /// Checks that these may become the dynamic configs of a target, before the controller is
    /// asked to store them.
    ///
    /// # Errors
    /// A key is not dynamic or not for this target, a value does not fit, or the outcome breaks a
    /// rule.
    pub fn validate_change(&self, target: Target, configs: &Texts) -> Result<(), ConfigError> {
        validate_names(target, configs)?;
        let layers = match target {
            Target::ClusterDefault => self.combined(configs, &self.broker),
            Target::Broker => self.combined(&self.cluster, configs),
        };
        let first = |problems: Vec<ConfigError>| problems.into_iter().next();
        if let Some(problem) = BrokerConfig::read(&layers.merged).err().and_then(first) {
            return Err(problem);
        }
        self.thread_counts(&layers)
    }

    /// A thread count may at most double or halve in one step.
    fn thread_counts(&self, new: &Self) -> Result<(), ConfigError> {
        for name in THREAD_COUNTS {
            let (Some(before), Some(after)) = (self.number(name), new.number(name)) else {
                continue;
            };
            let what = format!("Dynamic thread count update validation failed for {name}={after}");
            if after < before / 2 {
                return Err(ConfigError::rule(format!(
                    "{what}, value should be at least half the current value {before}"
                )));
            }
            if before * 2 < after {
                return Err(ConfigError::rule(format!(
                    "{what}, value should not be greater than double the current value {before}"
                )));
            }
        }
        self.cleaner_threads(new)
    }

    /// The same for the cleaner, in Kafka's words for it.
    fn cleaner_threads(&self, new: &Self) -> Result<(), ConfigError> {
        let name = "log.cleaner.threads";
        let (Some(before), Some(after)) = (self.number(name), new.number(name)) else {
            return Ok(());
        };
        let problem = if before == after {
            return Ok(());
        } else if after < 1 {
            "should be at least 1".to_owned()
        } else if after < before / 2 {
            format!("cannot be reduced to less than half the current value {before}")
        } else if before * 2 < after {
            format!("cannot be increased to more than double the current value {before}")
        } else {
            return Ok(());
        };
        Err(ConfigError::rule(format!("Log cleaner threads {problem}")))
    }

    fn number(&self, name: &str) -> Option<i64> {
        let text = self.merged.get(name).map(String::as_str);
        text.or_else(|| table::broker_key(name)?.default_text())?.trim().parse().ok()
    }
}

/// Whether values of this key are lists, which IncrementalAlterConfigs may append to. `resource`
/// is Kafka's number of the resource type.
pub fn is_list(resource: i8, name: &str) -> bool {
    let key = match resource {
        2 => table::topic_key(name),
        4 => table::broker_key(name),
        // As in Kafka's schema, which does not know those of groups and subscriptions.
        _ => None,
    };
    key.is_some_and(|key| key.kind == crate::key::Kind::List)
}

fn validate_names(target: Target, configs: &Texts) -> Result<(), ConfigError> {
    let select = |wanted: &dyn Fn(&str) -> bool| -> Vec<&str> {
        configs.keys().map(String::as_str).filter(|name| wanted(name)).collect()
    };
    let refuse = |text: &str, names: Vec<&str>| match names.as_slice() {
        [] => Ok(()),
        names => Err(ConfigError::rule(format!("{text}: [{}]", names.join(", ")))),
    };
    let scope = |name: &str| table::broker_key(name).map(|key| key.scope);
    refuse(
        "Cannot update these configs dynamically",
        select(&|name| scope(name) == Some(Scope::ReadOnly)),
    )?;
    refuse(
        "These security configs can be dynamically updated only per-listener using the listener \
         prefix",
        select(&|name| STORES.contains(&name)),
    )?;
    for (name, text) in configs {
        let key = table::broker_key(table::listener_base(name).unwrap_or(name));
        if let Some(key) = key {
            key.parse(text)?;
        }
    }
    if target == Target::ClusterDefault {
        refuse(
            "Cannot update these configs at default cluster level, broker id must be specified",
            select(&|name| match table::listener_base(name) {
                Some(base) => !CLUSTER_LEVEL_LISTENER_KEYS.contains(&base),
                None => scope(name) == Some(Scope::PerBroker),
            }),
        )?;
    }
    refuse(
        "These configs ask for a protection that does not exist here yet",
        select(&|name| {
            let key = table::broker_key(table::listener_base(name).unwrap_or(name));
            key.is_some_and(|key| matches!(key.status, Status::Refused(_)))
        }),
    )?;
    refuse(
        "Listeners cannot be changed while this broker runs; change them in its file",
        select(&|name| name == "listeners" || name == "listener.security.protocol.map"),
    )
}

/// The stored configs of a target that can be used.
fn usable(configs: &Texts, target: Target, left_out: &mut Vec<ConfigError>) -> Texts {
    let mut usable = Texts::new();
    for (name, text) in configs {
        let one = Texts::from([(name.clone(), text.clone())]);
        match validate_names(target, &one) {
            Ok(()) => usable.extend(one),
            Err(error) => left_out.push(error),
        }
    }
    usable
}

fn overlay(texts: &mut Texts, over: &Texts) {
    for (name, text) in over {
        for synonym in table::broker_synonyms(name) {
            if !name.starts_with("listener.name.") {
                texts.remove(&synonym);
            }
        }
        texts.insert(name.clone(), text.clone());
    }
}

/// Keeps a dynamic time within the bounds that the static settings give it.
fn clamp(texts: &mut Texts, name: &str) {
    let number = |name: &str| -> Option<i64> {
        let text = texts.get(name).map(String::as_str);
        text.or_else(|| table::broker_key(name)?.default_text())?.trim().parse().ok()
    };
    let bound = |which: &str| number(&name.replace(".assignment", &format!(".{which}.assignment")));
    let (Some(value), Some(min), Some(max)) = (number(name), bound("min"), bound("max")) else {
        return;
    };
    let within = value.min(max).max(min);
    if within != value && texts.contains_key(name) {
        texts.insert(name.to_owned(), within.to_string());
    }
}

const CLAMPED: [&str; 3] = [
    "group.consumer.assignment.interval.ms",
    "group.share.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
];

const THREAD_COUNTS: [&str; 4] = [
    "background.threads",
    "num.io.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

const CLUSTER_LEVEL_LISTENER_KEYS: [&str; 3] =
    ["max.connections", "max.connection.creation.rate", "num.network.threads"];

/// Key and trust stores, which only the listener prefix may change.
const STORES: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Texts {
        let pair = |part: &str| part.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        script.split(';').filter_map(pair).collect()
    }

    fn node() -> Layers {
        Layers::new(texts(
            "process.roles=broker,controller;node.id=1;controller.listener.names=CONTROLLER;\
             listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093;\
             controller.quorum.bootstrap.servers=127.0.0.1:9093;log.retention.ms=5",
        ))
    }

    fn check(target: Target, script: &str) -> String {
        let outcome = node().validate_change(target, &texts(script));
        outcome.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn changes_are_checked_in_kafkas_order() {
        use Target::{Broker, ClusterDefault};
        assert_eq!(check(ClusterDefault, "log.retention.ms=9;my.own=1"), "fine");
        assert_eq!(check(Broker, "max.connections=10;num.io.threads=16"), "fine");
        assert_eq!(
            check(Broker, "node.id=2;num.partitions=3"),
            "Cannot update these configs dynamically: [node.id, num.partitions]"
        );
        assert_eq!(
            check(Broker, "log.segment.bytes=1"),
            "Invalid value 1 for configuration log.segment.bytes: Value must be at least 1048576"
        );
        assert_eq!(
            check(ClusterDefault, "cordoned.log.dirs=/a"),
            "Cannot update these configs at default cluster level, broker id must be specified: \
             [cordoned.log.dirs]"
        );
        assert!(check(Broker, "ssl.keystore.location=/a").contains("per-listener"));
        assert!(check(Broker, "listener.name.x.ssl.keystore.location=/a").contains("protection"));
        assert_eq!(check(Broker, "log.cleaner.threads=2"), "fine");
        assert!(check(Broker, "log.cleaner.threads=0").contains("should be at least 1"));
        assert!(check(Broker, "log.cleaner.threads=3").contains("double the current value 1"));
        assert!(check(Broker, "num.io.threads=17").contains("double the current value 8"));
        assert!(check(Broker, "num.io.threads=3").contains("at least half the current value 8"));
        assert!(check(Broker, "cordoned.log.dirs=/b").contains("must be present in log.dirs"));
        assert!(check(Broker, "listeners=PLAINTEXT://:1").starts_with("Listeners cannot"));
    }

    #[test]
    fn broker_wins_over_cluster_default_over_static() {
        let age = |cluster, broker| {
            let (layers, left_out) = node().with_dynamic(&texts(cluster), &texts(broker));
            assert!(left_out.is_empty(), "{left_out:?}");
            let (topic, _) = layers.topic_config(&Texts::new());
            topic.retention_age.unwrap().as_millis()
        };
        assert_eq!(age("", ""), 5);
        assert_eq!(age("log.retention.ms=6", ""), 6);
        assert_eq!(age("log.retention.ms=6", "log.retention.ms=7"), 7);
    }

    #[test]
    fn stored_configs_that_cannot_be_used_are_left_out() {
        let cluster = texts("node.id=9;log.segment.bytes=x;log.retention.ms=6");
        let (layers, left_out) = node().with_dynamic(&cluster, &Texts::new());
        assert_eq!(left_out.len(), 2);
        assert_eq!(layers.texts().get("log.retention.ms").map(String::as_str), Some("6"));
        assert_eq!(layers.config().unwrap().node_id.0, 1);
        let broken =
            texts("log.cleaner.min.compaction.lag.ms=9;log.cleaner.max.compaction.lag.ms=1");
        let (layers, left_out) = node().with_dynamic(&broken, &texts("log.retention.ms=7"));
        assert!(!left_out.is_empty());
        assert_eq!(layers.texts().get("log.retention.ms").map(String::as_str), Some("7"));
    }

    #[test]
    fn only_lists_can_be_appended_to() {
        assert!(is_list(2, "cleanup.policy"));
        assert!(!is_list(2, "retention.ms"));
        assert!(is_list(4, "metric.reporters"));
        assert!(!is_list(16, "match"));
        assert!(!is_list(8, "cleanup.policy"));
    }
}
