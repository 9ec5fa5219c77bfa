//! What DescribeConfigs answers for each kind of resource.
//!
//! A value, where it comes from, and the synonyms that were looked at, in Kafka's order and with
//! its quirks: the list begins with the key's own name or is empty, so `retention.ms` shows none
//! while only `log.retention.hours` has a default.

use crate::{
    broker::{effective_topic_texts, inherited},
    dynamic::Layers,
    key::{Key, Kind, Scope},
    settings::{Texts, is_sensitive},
    table,
};

/// Where a value comes from; the discriminant is the code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Override of the topic.
    Topic = 1,
    /// Dynamic config of this broker.
    DynamicBroker = 2,
    /// Dynamic config of all brokers.
    DynamicDefaultBroker = 3,
    /// File, environment or command line.
    StaticBroker = 4,
    /// The key's default.
    Default = 5,
    /// Level of a logger.
    DynamicBrokerLogger = 6,
    /// Client metrics subscription.
    ClientMetrics = 7,
    /// Config of the group.
    Group = 8,
}

impl Source {
    /// Code on the wire.
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// One config of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it has none or must not be shown.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Whether the value must not be shown.
    pub sensitive: bool,
    /// Whether it cannot be changed while the server runs.
    pub read_only: bool,
    /// Type code; 0 when the name is not known.
    pub kind: i8,
    /// What it does, if the name is known.
    pub doc: Option<&'static str>,
    /// Everything that could have provided the value, the provider first.
    pub synonyms: Vec<Provided>,
}

/// A synonym that has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it must not be shown.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
}

impl Layers {
    /// Configs of a topic with these overrides.
    pub fn describe_topic(&self, overrides: &Texts) -> Vec<Described> {
        let effective = effective_topic_texts(self.texts(), overrides);
        let shown = |key: &&Key| !key.internal || overrides.contains_key(key.name);
        let describe = |key: &'static Key| {
            let value = effective.get(key.name).map(|text| canonical(key, text));
            let mut synonyms = Vec::new();
            if overrides.contains_key(key.name) {
                let (name, value) = (key.name.to_owned(), value.clone());
                synonyms.push(Provided { name, value, source: Source::Topic });
            }
            if let Some(first) = key.synonyms.first() {
                synonyms.extend(self.provided(first.name));
            }
            entry(key, value, false, synonyms)
        };
        table::TOPIC.iter().filter(shown).map(describe).collect()
    }

    /// Configs of a group with these configs of its own.
    pub fn describe_group(&self, configs: &Texts) -> Vec<Described> {
        let describe = |key: &'static Key| {
            let own = configs.get(key.name).cloned();
            let text = own.clone().or_else(|| inherited(key, self.texts()));
            let text = text.or_else(|| key.default_text().map(str::to_owned));
            let value = text.map(|text| canonical(key, &text));
            let name = key.name.to_owned();
            let mut synonyms = Vec::new();
            if own.is_some() {
                let (name, value) = (name.clone(), value.clone());
                synonyms.push(Provided { name, value, source: Source::Group });
            }
            match (key.synonyms.first(), key.default_text()) {
                (Some(first), _) => synonyms.extend(self.provided(first.name)),
                (None, Some(text)) => {
                    let value = Some(text.to_owned());
                    synonyms.push(Provided { name, value, source: Source::Default });
                }
                (None, None) => {}
            }
            entry(key, value, false, synonyms)
        };
        table::GROUP.iter().map(describe).collect()
    }

    /// Configs of this broker: every key, and what is set that nobody knows.
    pub fn describe_broker(&self) -> Vec<Described> {
        let known = table::broker_keys().chain(table::BROKER_DYNAMIC_ONLY);
        let is_set = |name: &str| self.texts().contains_key(name);
        let dynamic_only =
            |key: &Key| table::BROKER_DYNAMIC_ONLY.iter().any(|k| k.name == key.name);
        let shown = |key: &&'static Key| is_set(key.name) || !(key.internal || dynamic_only(key));
        let mut all: Vec<Described> = known
            .filter(shown)
            .map(|key| {
                let text = self.effective(key);
                let value = text.map(|text| canonical(key, &text));
                entry(key, value, key.scope == Scope::ReadOnly, self.provided(key.name))
            })
            .collect();
        for (name, text) in self.texts() {
            if table::broker_key(name).is_none() {
                all.push(self.foreign(name, text));
            }
        }
        all
    }

    /// Dynamic configs of all brokers.
    pub fn describe_cluster_default(&self) -> Vec<Described> {
        let describe = |(name, text): (&String, &String)| {
            let mut described = match table::broker_key(name) {
                Some(key) => {
                    let value = Some(canonical(key, text));
                    entry(key, value, key.scope == Scope::ReadOnly, self.provided(name))
                }
                None => self.foreign(name, text),
            };
            described.synonyms.retain(|one| one.source == Source::DynamicDefaultBroker);
            described.source = source(&described.synonyms);
            described
        };
        self.cluster.iter().map(describe).collect()
    }

    /// Text of a broker key in effect.
    fn effective(&self, key: &Key) -> Option<String> {
        let set = self.texts().get(key.name);
        set.cloned().or_else(|| key.default_text().map(str::to_owned))
    }

    fn foreign(&self, name: &str, text: &str) -> Described {
        let base = table::listener_base(name).and_then(table::broker_key);
        let sensitive = is_sensitive(name);
        let synonyms = self.provided(name);
        Described {
            name: name.to_owned(),
            value: (!sensitive).then(|| text.to_owned()),
            source: source(&synonyms),
            sensitive,
            read_only: true,
            kind: base.map_or(0, |key| key.kind.code()),
            doc: base.map(|key| key.doc),
            synonyms,
        }
    }

    /// Every layer's value of a broker key and its synonyms, beginning with the key's own name.
    fn provided(&self, name: &str) -> Vec<Provided> {
        let names = table::broker_synonyms(name);
        let layers = [
            (&self.broker, Source::DynamicBroker),
            (&self.cluster, Source::DynamicDefaultBroker),
            (&self.fixed, Source::StaticBroker),
        ];
        let mut all = Vec::new();
        let mut push = |name: &str, text: &str, source| {
            let value = (!is_sensitive(name)).then(|| text.to_owned());
            all.push(Provided { name: name.to_owned(), value, source });
        };
        for (texts, source) in layers {
            for name in &names {
                if let Some(text) = texts.get(name) {
                    push(name, text, source);
                }
            }
        }
        for name in &names {
            if let Some(text) =
                table::broker_keys().find(|key| key.name == name).and_then(Key::default_text)
            {
                push(name, text, Source::Default);
            }
        }
        all.into_iter().skip_while(|one| one.name != name).collect()
    }
}

/// Configs of a client metrics subscription with these configs of its own (KIP-714).
pub fn describe_client_metrics(configs: &Texts) -> Vec<Described> {
    let describe = |key: &'static Key| {
        let own = configs.get(key.name);
        let text = own.map(String::as_str).or_else(|| key.default_text());
        let value = text.map(|text| canonical(key, text));
        let synonym = |_| Provided {
            name: key.name.to_owned(),
            value: value.clone(),
            source: Source::ClientMetrics,
        };
        let synonyms = own.map(synonym).into_iter().collect();
        entry(key, value, false, synonyms)
    };
    table::CLIENT_METRICS.iter().map(describe).collect()
}

fn entry(
    key: &'static Key,
    value: Option<String>,
    read_only: bool,
    synonyms: Vec<Provided>,
) -> Described {
    let sensitive = key.is_sensitive();
    Described {
        name: key.name.to_owned(),
        value: value.filter(|_| !sensitive),
        source: source(&synonyms),
        sensitive,
        read_only,
        kind: key.kind.code(),
        doc: Some(key.doc),
        synonyms,
    }
}

fn source(synonyms: &[Provided]) -> Source {
    synonyms.first().map_or(Source::Default, |first| first.source)
}

/// The text as its type writes it, so that ` a, b` shows as `a,b`.
fn canonical(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::Password => text.to_owned(),
        _ => key.parse(text).map_or_else(|_| text.to_owned(), |value| value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Texts {
        let pair = |part: &str| part.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        script.split(';').filter_map(pair).collect()
    }

    fn layers() -> Layers {
        let fixed = Layers::new(texts(
            "process.roles=broker,controller;node.id=1;controller.listener.names=CONTROLLER;\
             listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093;\
             controller.quorum.bootstrap.servers=127.0.0.1:9093;my.secret=hush;\
             log.cleanup.policy= compact, delete;log.segment.bytes=2097152",
        ));
        let cluster = texts("log.segment.bytes=3145728;max.connections=5");
        let (layers, left_out) = fixed.with_dynamic(&cluster, &texts("log.retention.ms=7"));
        assert!(left_out.is_empty());
        layers
    }

    fn check(all: &[Described], name: &str) -> String {
        let Some(one) = all.iter().find(|one| one.name == name) else {
            return "absent".to_owned();
        };
        let shown = |value: &Option<String>| value.as_deref().unwrap_or("-").to_owned();
        let mut out = format!("{} {:?}", shown(&one.value), one.source);
        if one.sensitive {
            out.push_str(" sensitive");
        }
        if one.read_only {
            out.push_str(" read-only");
        }
        for synonym in &one.synonyms {
            let (name, value) = (&synonym.name, shown(&synonym.value));
            out.push_str(&format!(" {name}={value}:{:?}", synonym.source));
        }
        out
    }

    #[test]
    fn topics_show_where_a_value_comes_from() {
        let all = layers().describe_topic(&texts("flush.messages=1"));
        assert_eq!(
            check(&all, "segment.bytes"),
            "3145728 DynamicDefaultBroker log.segment.bytes=3145728:DynamicDefaultBroker \
             log.segment.bytes=2097152:StaticBroker log.segment.bytes=1073741824:Default"
        );
        assert_eq!(
            check(&all, "flush.messages"),
            "1 Topic flush.messages=1:Topic log.flush.interval.messages=9223372036854775807:Default"
        );
        assert_eq!(
            check(&all, "retention.ms"),
            "7 DynamicBroker log.retention.ms=7:DynamicBroker log.retention.hours=168:Default"
        );
        assert_eq!(check(&all, "segment.ms"), "604800000 Default");
        assert_eq!(check(&all, "leader.replication.throttled.replicas"), " Default");
        assert_eq!(
            check(&all, "cleanup.policy"),
            "compact,delete StaticBroker log.cleanup.policy= compact, delete:StaticBroker \
             log.cleanup.policy=delete:Default"
        );
        assert_eq!(check(&all, "internal.segment.bytes"), "absent");
        assert_eq!(all.len(), 34);
    }

    #[test]
    fn brokers_show_every_key_and_hide_secrets() {
        let all = layers().describe_broker();
        assert_eq!(
            check(&all, "my.secret"),
            "- StaticBroker sensitive read-only my.secret=-:StaticBroker"
        );
        assert_eq!(check(&all, "ssl.key.password"), "- Default sensitive");
        assert_eq!(
            check(&all, "broker.id"),
            "1 StaticBroker read-only broker.id=1:StaticBroker broker.id=-1:Default"
        );
        assert_eq!(
            check(&all, "max.connections"),
            "5 DynamicDefaultBroker max.connections=5:DynamicDefaultBroker \
             max.connections=2147483647:Default"
        );
        assert_eq!(check(&all, "leader.replication.throttled.rate"), "absent");
        assert_eq!(check(&all, "unstable.api.versions.enable"), "absent");
    }

    #[test]
    fn the_cluster_default_shows_what_is_set_there() {
        let all = layers().describe_cluster_default();
        assert_eq!(all.len(), 2);
        assert_eq!(
            check(&all, "max.connections"),
            "5 DynamicDefaultBroker max.connections=5:DynamicDefaultBroker"
        );
    }

    #[test]
    fn groups_and_client_metrics() {
        let all = layers().describe_group(&texts("share.isolation.level=read_committed"));
        assert_eq!(
            check(&all, "share.isolation.level"),
            "read_committed Group share.isolation.level=read_committed:Group \
             share.isolation.level=read_uncommitted:Default"
        );
        assert_eq!(
            check(&all, "consumer.session.timeout.ms"),
            "45000 Default group.consumer.session.timeout.ms=45000:Default"
        );
        let all = describe_client_metrics(&texts("interval.ms=100"));
        assert_eq!(check(&all, "interval.ms"), "100 ClientMetrics interval.ms=100:ClientMetrics");
        assert_eq!(check(&all, "match"), " Default");
    }
}
