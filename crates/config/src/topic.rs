//! Checks of topic, group and client metrics configs before the controller stores them.
//!
//! Wording and order are Kafka's, because clients show the texts.

use crate::{
    broker::effective_topic_texts, error::ConfigError, key::Key, settings::Texts, table,
    value::Value,
};

/// Checks one topic config.
///
/// # Errors
/// The name is unknown or the value does not fit it.
pub fn validate_topic_config(name: &str, value: &str) -> Result<(), ConfigError> {
    known(table::topic_key(name), "topic", name)?.parse(value).map(drop)
}

/// Checks all overrides of a topic together with what it inherits from the broker's keys.
///
/// # Errors
/// A name is unknown, a value does not fit, or values do not go together.
pub fn validate_topic_configs(overrides: &Texts, broker: &Texts) -> Result<(), ConfigError> {
    for name in overrides.keys() {
        known(table::topic_key(name), "topic", name)?;
    }
    for (name, value) in overrides {
        validate_topic_config(name, value)?;
    }
    let texts = effective_topic_texts(broker, overrides);
    let number = |name: &str| texts.get(name).and_then(|text| text.trim().parse::<i64>().ok());
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if let (Some(min), Some(max)) = (min, max)
        && max < min
    {
        return Err(ConfigError::rule(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > \
             max.compaction.lag.ms ({max})"
        )));
    }
    let remote = texts.get("remote.storage.enable");
    if remote.is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
        return Err(ConfigError::rule(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage.",
        ));
    }
    Ok(())
}

/// Checks all configs of a group together with what it inherits from the broker's keys.
///
/// # Errors
/// A name is unknown, a value does not fit, or values do not go together or are out of the bounds
/// that the broker sets.
pub fn validate_group_configs(configs: &Texts, broker: &Texts) -> Result<(), ConfigError> {
    for name in configs.keys() {
        known(table::group_key(name), "group", name)?;
    }
    for (name, value) in configs {
        known(table::group_key(name), "group", name)?.parse(value)?;
    }
    let number = |name: &str| group_number(name, configs, broker);
    for key in table::GROUP {
        let optional = key.name.ends_with("assignment.interval.ms");
        if optional && !configs.contains_key(key.name) {
            continue;
        }
        let Some(value) = number(key.name) else { continue };
        let Some((kind, rest)) = key.name.split_once('.') else { continue };
        let min = format!("group.{kind}.min.{rest}");
        let max = match key.name {
            "streams.num.standby.replicas" => "group.streams.max.standby.replicas".to_owned(),
            _ => format!("group.{kind}.max.{rest}"),
        };
        if broker_number(&min, broker).is_some_and(|min| value < min) {
            let text = format!("{} must be greater than or equal to {min}", key.name);
            return Err(ConfigError::rule(text));
        }
        if broker_number(&max, broker).is_some_and(|max| max < value) {
            let text = format!("{} must be less than or equal to {max}", key.name);
            return Err(ConfigError::rule(text));
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let session = format!("{kind}.session.timeout.ms");
        let heartbeat = format!("{kind}.heartbeat.interval.ms");
        if number(&session) <= number(&heartbeat) {
            return Err(ConfigError::rule(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}

/// Checks all configs of a client metrics subscription (KIP-714).
///
/// # Errors
/// A name is unknown or a value does not fit. Patterns of `match` are only checked for their form,
/// `name=pattern`.
pub fn validate_client_metrics_configs(configs: &Texts) -> Result<(), ConfigError> {
    for name in configs.keys() {
        if table::client_metrics_key(name).is_none() {
            let text = format!("Unknown client metrics configuration: {name}");
            return Err(ConfigError::Request(text));
        }
    }
    for (name, text) in configs {
        let Some(key) = table::client_metrics_key(name) else { continue };
        match key.parse(text)? {
            Value::Number(millis) if !(100..=3_600_000).contains(&millis) => {
                return Err(ConfigError::Request(format!(
                    "Invalid value {millis} for interval.ms, interval must be between 100 and \
                     3600000 (1 hour)"
                )));
            }
            Value::List(patterns) if name == "match" => {
                if let Some(wrong) = patterns.iter().find(|pattern| !is_match(pattern)) {
                    let text = format!("Illegal client matching pattern: {wrong}");
                    return Err(ConfigError::rule(text));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn known(
    key: Option<&'static Key>,
    resource: &'static str,
    name: &str,
) -> Result<&'static Key, ConfigError> {
    key.ok_or_else(|| ConfigError::UnknownName { resource, name: name.to_owned() })
}

fn group_number(name: &str, configs: &Texts, broker: &Texts) -> Option<i64> {
    let key = table::group_key(name)?;
    let text = configs.get(name).cloned();
    let text = text.or_else(|| crate::broker::inherited(key, broker));
    match text.and_then(|text| key.parse(&text).ok()).unwrap_or_else(|| key.default_value()) {
        Value::Number(number) => Some(number),
        _ => None,
    }
}

fn broker_number(name: &str, broker: &Texts) -> Option<i64> {
    let key = table::broker_key(name)?;
    let set = broker.get(name).and_then(|text| key.parse(text).ok());
    match set.unwrap_or_else(|| key.default_value()) {
        Value::Number(number) => Some(number),
        _ => None,
    }
}

fn is_match(pattern: &str) -> bool {
    let params = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    // As Kafka splits it: empty parts at the end do not count.
    match pattern.trim_end_matches('=').split_once('=') {
        Some((name, value)) => params.contains(&name.trim()) && !value.contains('='),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Texts {
        let pair = |part: &str| part.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        script.split(';').filter_map(pair).collect()
    }

    fn check(result: Result<(), ConfigError>) -> String {
        result.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn topic_configs() {
        let topic = |script, broker| check(validate_topic_configs(&texts(script), &texts(broker)));
        assert_eq!(topic("retention.ms=1;ottla.durability=os", ""), "fine");
        assert_eq!(topic("no.such=1", ""), "Unknown topic config name: no.such");
        assert_eq!(
            topic("retention.ms=x", ""),
            "Invalid value x for configuration retention.ms: Not a number of type LONG"
        );
        assert_eq!(
            topic("min.compaction.lag.ms=9", "log.cleaner.max.compaction.lag.ms=5"),
            "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (5)"
        );
        assert!(topic("remote.storage.enable=true", "").starts_with("Tiered Storage"));
    }

    #[test]
    fn group_configs() {
        let group = |script, broker| check(validate_group_configs(&texts(script), &texts(broker)));
        assert_eq!(group("consumer.session.timeout.ms=50000", ""), "fine");
        assert_eq!(
            group("consumer.session.timeout.ms=50", ""),
            "consumer.session.timeout.ms must be greater than or equal to \
             group.consumer.min.session.timeout.ms"
        );
        assert_eq!(
            group("streams.num.standby.replicas=3", ""),
            "streams.num.standby.replicas must be less than or equal to \
             group.streams.max.standby.replicas"
        );
        let wide = "group.consumer.max.heartbeat.interval.ms=90000";
        assert_eq!(
            group("consumer.heartbeat.interval.ms=45000", wide),
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
        );
        assert_eq!(group("x=1", ""), "Unknown group config name: x");
    }

    #[test]
    fn client_metrics_configs() {
        let metrics = |script| check(validate_client_metrics_configs(&texts(script)));
        assert_eq!(metrics("interval.ms=100;metrics=*;match=client_id=a.*"), "fine");
        assert!(metrics("interval.ms=99").contains("interval must be between"));
        assert_eq!(metrics("match=client_id=a=,client_software_name=b"), "fine");
        assert!(metrics("match=client_id=").starts_with("Illegal client matching pattern"));
        assert!(metrics("match=client_id=a=b").starts_with("Illegal client matching pattern"));
        assert!(metrics("match=nobody=a").starts_with("Illegal client matching pattern"));
        assert!(metrics("x=1").starts_with("Unknown client metrics configuration"));
    }
}
