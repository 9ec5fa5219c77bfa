//! Reads typed values out of texts and collects what is wrong, so that all of it is told at once.

use std::time::Duration;

use crate::{error::ConfigError, key::Fallback, settings::Texts, table, value::Value};

/// Reads broker keys. Every key is checked when the reader is made, so the getters can fall back
/// to a default for a value that has already been complained about.
pub(crate) struct Reader<'a> {
    texts: &'a Texts,
    pub(crate) problems: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    /// Checks every known key of `texts`.
    pub(crate) fn new(texts: &'a Texts) -> Self {
        let mut problems = Vec::new();
        for key in table::broker_keys() {
            match texts.get(key.name) {
                Some(text) => problems.extend(key.parse(text).err()),
                None if key.default == Fallback::Required => {
                    problems.push(ConfigError::Missing { name: key.name.to_owned() });
                }
                None => {}
            }
        }
        for (name, text) in texts {
            let base = table::listener_base(name).and_then(table::broker_key);
            problems.extend(base.and_then(|key| key.parse(text).err()));
        }
        Self { texts, problems }
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.texts.contains_key(name)
    }

    /// Notes a broken rule that involves several keys.
    pub(crate) fn require(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(ConfigError::Rule(text()));
        }
    }

    pub(crate) fn value(&self, name: &str) -> Value {
        let Some(key) = table::broker_key(name) else {
            unreachable!("{name} is not in the table");
        };
        let set = self.texts.get(name).and_then(|text| key.parse(text).ok());
        set.unwrap_or_else(|| key.default_value())
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.number_or_null(name).unwrap_or(0)
    }

    pub(crate) fn number_or_null(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A count; a negative number is taken as zero.
    pub(crate) fn count(&self, name: &str) -> u32 {
        u32::try_from(self.number(name).max(0)).unwrap_or(u32::MAX)
    }

    /// A number of bytes; a negative number is taken as zero.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        u64::try_from(self.number(name)).unwrap_or(0)
    }

    /// A number of bytes where a negative number means no limit.
    pub(crate) fn bytes_or_unlimited(&self, name: &str) -> Option<u64> {
        u64::try_from(self.number(name)).ok()
    }

    /// A time in milliseconds; a negative number is taken as zero.
    pub(crate) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.bytes(name))
    }

    /// A time in milliseconds where a negative number means for ever.
    pub(crate) fn millis_or_forever(&self, name: &str) -> Option<Duration> {
        self.bytes_or_unlimited(name).map(Duration::from_millis)
    }

    pub(crate) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.bytes(name))
    }

    pub(crate) fn double(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Double(number) => number,
            _ => 0.0,
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Bool(true))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.value(name) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(entries) => entries,
            _ => Vec::new(),
        }
    }
}

impl Reader<'_> {
    /// Security keys that are not in the table by their own name: those with a listener prefix,
    /// and those of Kafka's authorizer.
    pub(crate) fn foreign_security_keys(&self) -> Vec<String> {
        let security = |name: &&String| {
            let base = table::listener_base(name).and_then(table::broker_key);
            base.is_some_and(|key| matches!(key.status, crate::key::Status::Refused(_)))
                || AUTHORIZER_KEYS.contains(&name.as_str())
        };
        self.texts.keys().filter(security).cloned().collect()
    }
}

/// Keys of Kafka's own authorizer, which reads them from the same file.
pub(crate) const AUTHORIZER_KEYS: &[&str] = &["super.users", "allow.everyone.if.no.acl.found"];
