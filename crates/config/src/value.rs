//! A value: from text to its type, checked against its key, and back to text.
//!
//! Texts are trimmed and lists split as Kafka does it, so that the same file means the same here.

use std::collections::BTreeSet;
use std::fmt;

use crate::{
    address,
    error::ConfigError,
    key::{Check, Fallback, Key, Kind},
};

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The key has no value.
    Null,
    /// Of [`Kind::Boolean`].
    Bool(bool),
    /// Of [`Kind::Short`], [`Kind::Int`] and [`Kind::Long`].
    Number(i64),
    /// Of [`Kind::Double`].
    Double(f64),
    /// Of [`Kind::String`] and [`Kind::Class`].
    Text(String),
    /// Of [`Kind::List`].
    List(Vec<String>),
    /// Of [`Kind::Password`].
    Secret(Secret),
}

/// Text that is never shown: its `Debug` and `Display` say `[hidden]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What is shown in place of a sensitive value.
pub const HIDDEN: &str = "[hidden]";

impl Key {
    /// Reads a value of this key and checks it.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = parse_kind(self, text.trim(), text)?;
        check(self, &value)?;
        Ok(value)
    }

    /// The value when nobody sets it; [`Value::Null`] also for a required key.
    pub fn default_value(&self) -> Value {
        match self.default {
            Fallback::Null | Fallback::Required => Value::Null,
            // A test reads every default, so the table holds no unreadable one.
            Fallback::Text(text) => parse_kind(self, text, text).unwrap_or(Value::Null),
        }
    }
}

impl fmt::Display for Value {
    /// The text that Kafka shows in DescribeConfigs; secrets stay hidden, null is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&java_double(*value)),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => f.write_str(&values.join(",")),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

/// Splits a list value as Kafka does: at commas, without the white space around them.
pub fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|entry| entry.trim().to_owned()).collect()
}

fn parse_kind(key: &Key, text: &str, given: &str) -> Result<Value, ConfigError> {
    let number = |min: i64, max: i64| match text.parse::<i64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
        _ => Err(ConfigError::value(key.name, given, not_a_number(key.kind))),
    };
    match key.kind {
        Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Kind::Boolean => {
            let reason = "Expected value to be either true or false";
            Err(ConfigError::value(key.name, given, reason))
        }
        Kind::Short => number(i64::from(i16::MIN), i64::from(i16::MAX)),
        Kind::Int => number(i64::from(i32::MIN), i64::from(i32::MAX)),
        Kind::Long => number(i64::MIN, i64::MAX),
        Kind::Double => match text.parse::<f64>() {
            Ok(number) => Ok(Value::Double(number)),
            Err(_) => Err(ConfigError::value(key.name, given, not_a_number(key.kind))),
        },
        Kind::String | Kind::Class => Ok(Value::Text(text.to_owned())),
        Kind::List => Ok(Value::List(entries(key, text))),
        Kind::Password => Ok(Value::Secret(Secret::new(text))),
    }
}

/// As in Kafka, an entry that stands twice counts once, where the entries are a set.
fn entries(key: &Key, text: &str) -> Vec<String> {
    let mut entries = split_list(text);
    if matches!(key.check, Check::List { .. }) {
        let mut seen = BTreeSet::new();
        entries.retain(|entry| seen.insert(entry.clone()));
    }
    entries
}

fn not_a_number(kind: Kind) -> String {
    format!("Not a number of type {}", kind.name())
}

fn check(key: &Key, value: &Value) -> Result<(), ConfigError> {
    let refuse = |reason: String| Err(ConfigError::value(key.name, &value.to_string(), reason));
    match (key.check, value) {
        (Check::AtLeast(min), Value::Number(number)) if *number < min => {
            refuse(format!("Value must be at least {min}"))
        }
        (Check::Between(min, _), Value::Number(number)) if *number < min => {
            refuse(format!("Value must be at least {min}"))
        }
        (Check::Between(_, max), Value::Number(number)) if max < *number => {
            refuse(format!("Value must be no more than {max}"))
        }
        (Check::BetweenF(min, _), Value::Double(number)) if *number < min => {
            refuse(format!("Value must be at least {min}"))
        }
        (Check::BetweenF(min, max), Value::Double(number)) if !(min..=max).contains(number) => {
            refuse(format!("Value must be no more than {max}"))
        }
        (Check::GzipLevel, Value::Number(number)) if *number != -1 && !(1..=9).contains(number) => {
            refuse("Value must be between 1 and 9 or equal to -1".to_owned())
        }
        (Check::OneOf(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
            refuse(format!("String must be one of: {}", words.join(", ")))
        }
        (Check::OneOfAnyCase(words), Value::Text(text))
            if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) =>
        {
            refuse(format!("String must be one of (case insensitive): {}", words.join(", ")))
        }
        (Check::NonEmpty, Value::Text(text)) if text.is_empty() => {
            refuse("String must be non-empty".to_owned())
        }
        (Check::List { of, empty }, Value::List(entries)) => check_list(key, of, empty, entries),
        (Check::ThrottledReplicas, Value::List(entries)) if !throttled_replicas(entries) => {
            let reason = "must be the literal '*' or a list of entries [partition]:[broker]";
            refuse(reason.to_owned())
        }
        (Check::Voters, Value::List(entries)) => address::voters(entries).map(drop),
        (Check::HostPorts, Value::List(entries)) => {
            address::bootstrap_servers(key.name, entries).map(drop)
        }
        (Check::ShareOffsetReset, Value::Text(text)) if !share_offset_reset(text) => {
            refuse("must be earliest, latest or by_duration: with an ISO 8601 duration".to_owned())
        }
        (Check::HttpListener, Value::Text(text))
            if text != "none" && address::host_port(text).is_none() =>
        {
            refuse("must be none or host:port".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_list(key: &Key, of: &[&str], empty: bool, entries: &[String]) -> Result<(), ConfigError> {
    if entries.is_empty() && !empty {
        let valid = match of {
            [] => "any non-empty value".to_owned(),
            words => format!("[{}]", words.join(", ")),
        };
        let reason = format!("must not be empty. Valid values include: {valid}");
        return Err(ConfigError::list(key.name, reason));
    }
    for entry in entries {
        if entry.is_empty() {
            return Err(ConfigError::list(key.name, "values must not be empty."));
        }
        if !of.is_empty() && !of.contains(&entry.as_str()) {
            let reason = format!("String must be one of: {}", of.join(", "));
            return Err(ConfigError::value(key.name, entry, reason));
        }
    }
    Ok(())
}

fn throttled_replicas(entries: &[String]) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match entries {
        [one] if one == "*" => true,
        entries => entries.iter().all(|entry| {
            entry.split_once(':').is_some_and(|(left, right)| number(left) && number(right))
        }),
    }
}

fn share_offset_reset(text: &str) -> bool {
    match text.strip_prefix("by_duration:") {
        Some(duration) => iso_duration(duration),
        None => text == "earliest" || text == "latest",
    }
}

/// Whether this is a non-negative ISO 8601 duration of days, hours, minutes and seconds, as
/// Java's `Duration.parse` reads it.
fn iso_duration(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let Some(rest) = upper.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return false,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let days_fine = days.is_empty() || days.strip_suffix('D').is_some_and(digits);
    let some = !days.is_empty() || !time.is_empty();
    some && days_fine && time_part(time)
}

fn time_part(mut text: &str) -> bool {
    for unit in ['H', 'M'] {
        if let Some((number, rest)) = text.split_once(unit) {
            if !digits(number) {
                return false;
            }
            text = rest;
        }
    }
    match text.strip_suffix('S') {
        Some(seconds) => match seconds.split_once('.') {
            Some((whole, part)) => digits(whole) && digits(part) && part.len() <= 9,
            None => digits(seconds),
        },
        None => text.is_empty(),
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Text of a number as Java's `Double.toString` writes it.
fn java_double(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&size) || !number.is_finite() {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, power)) if !digits.contains('.') => format!("{digits}.0E{power}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn check(keys: &mut dyn Iterator<Item = &'static Key>, script: &str) -> String {
        let keys: Vec<_> = keys.collect();
        let mut out = String::new();
        for line in script.lines() {
            let (name, text) = line.split_once('=').unwrap();
            let key = keys.iter().find(|key| key.name == name).unwrap();
            let got = match key.parse(text) {
                Ok(value) => format!("{value}"),
                Err(error) => format!("! {error}"),
            };
            out.push_str(&format!("{line} -> {got}\n"));
        }
        out
    }

    #[test]
    fn every_default_is_readable_and_allowed() {
        for key in table::broker_keys()
            .chain(table::BROKER_DYNAMIC_ONLY)
            .chain(table::TOPIC)
            .chain(table::GROUP)
            .chain(table::CLIENT_METRICS)
        {
            if let Some(text) = key.default_text() {
                key.parse(text).unwrap_or_else(|error| panic!("{}: {error}", key.name));
                assert_eq!(key.default_value().to_string(), text, "{}", key.name);
            }
        }
    }

    #[test]
    fn values_are_read_and_refused_in_kafkas_words() {
        let got = check(
            &mut table::TOPIC.iter(),
            "\
retention.ms= -1 
retention.ms=-2
retention.ms=soon
segment.bytes=99999999999
min.cleanable.dirty.ratio=.25
min.cleanable.dirty.ratio=1.5
min.cleanable.dirty.ratio=NaN
cleanup.policy=compact, delete
cleanup.policy=
cleanup.policy=compact,compact
cleanup.policy=compact,
cleanup.policy=shred
compression.type=Zstd
compression.gzip.level=0
compression.zstd.level=23
preallocate=TRUE
preallocate=yes
leader.replication.throttled.replicas=*
leader.replication.throttled.replicas=0:1, 1:2
leader.replication.throttled.replicas=0-1",
        );
        assert_eq!(
            got,
            "\
retention.ms= -1  -> -1
retention.ms=-2 -> ! Invalid value -2 for configuration retention.ms: Value must be at least -1
retention.ms=soon -> ! Invalid value soon for configuration retention.ms: Not a number of type LONG
segment.bytes=99999999999 -> ! Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT
min.cleanable.dirty.ratio=.25 -> 0.25
min.cleanable.dirty.ratio=1.5 -> ! Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1
min.cleanable.dirty.ratio=NaN -> ! Invalid value NaN for configuration min.cleanable.dirty.ratio: Value must be no more than 1
cleanup.policy=compact, delete -> compact,delete
cleanup.policy= -> \n\
cleanup.policy=compact,compact -> compact
cleanup.policy=compact, -> ! Configuration 'cleanup.policy' values must not be empty.
cleanup.policy=shred -> ! Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete
compression.type=Zstd -> ! Invalid value Zstd for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer
compression.gzip.level=0 -> ! Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1
compression.zstd.level=23 -> ! Invalid value 23 for configuration compression.zstd.level: Value must be no more than 22
preallocate=TRUE -> true
preallocate=yes -> ! Invalid value yes for configuration preallocate: Expected value to be either true or false
leader.replication.throttled.replicas=* -> *
leader.replication.throttled.replicas=0:1, 1:2 -> 0:1,1:2
leader.replication.throttled.replicas=0-1 -> ! Invalid value 0-1 for configuration leader.replication.throttled.replicas: must be the literal '*' or a list of entries [partition]:[broker]
"
        );
    }

    #[test]
    fn share_offset_reset_takes_iso_durations() {
        let got = check(
            &mut table::GROUP.iter(),
            "\
share.auto.offset.reset=earliest
share.auto.offset.reset=by_duration:PT1H30M
share.auto.offset.reset=by_duration:P1DT0.5S
share.auto.offset.reset=by_duration:PT",
        );
        assert_eq!(got.matches("-> !").count(), 1, "{got}");
        assert!(got.ends_with("with an ISO 8601 duration\n"), "{got}");
    }

    #[test]
    fn secrets_are_hidden() {
        let key = table::broker_key("ssl.key.password").unwrap();
        let value = key.parse("hunter2").unwrap();
        assert!(!format!("{value:?} {value}").contains("hunter2"));
        let Value::Secret(secret) = value else { panic!("not a secret") };
        assert_eq!(secret.reveal(), "hunter2");
    }
}
