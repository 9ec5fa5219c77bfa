//! A topic's configs in effect, as typed values.
//!
//! A topic config that is not overridden comes from the broker's keys: the first of its synonyms
//! that is set, converted to its unit, else its own default.

use std::time::Duration;

use crate::{
    error::ConfigError,
    key::{Convert, Key},
    settings::Texts,
    table,
    value::Value,
};

/// Configs of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// What happens to old segments.
    pub cleanup: CleanupPolicy,
    /// Codec in which batches are stored.
    pub compression: Compression,
    /// When a write counts as kept.
    pub durability: Durability,
    /// Largest segment.
    pub segment_bytes: u64,
    /// Age after which a segment is rolled.
    pub segment_age: Duration,
    /// Random time taken off that age.
    pub segment_jitter: Duration,
    /// Largest index file.
    pub index_bytes: u64,
    /// Bytes of records between two index entries.
    pub index_interval_bytes: u64,
    /// Records after which a partition is synced; `None` never.
    pub flush_messages: Option<u64>,
    /// Age of unsynced records after which a partition is synced; `None` never.
    pub flush_age: Option<Duration>,
    /// Age after which segments are deleted; `None` never.
    pub retention_age: Option<Duration>,
    /// Size above which segments are deleted; `None` never.
    pub retention_bytes: Option<u64>,
    /// How long a deleted segment stays on disk.
    pub file_delete_delay: Duration,
    /// Largest batch.
    pub message_bytes_max: u64,
    /// Whose time a record carries.
    pub timestamp_type: TimestampType,
    /// How far in the past a timestamp may lie; `None` any.
    pub timestamp_before_max: Option<Duration>,
    /// How far in the future a timestamp may lie; `None` any.
    pub timestamp_after_max: Option<Duration>,
    /// In-sync replicas that acks=all needs.
    pub min_insync_replicas: u32,
    /// Whether a replica that is not in sync may lead.
    pub unclean_leader_election: bool,
    /// How long tombstones are kept.
    pub tombstone_retention: Duration,
    /// Age below which records are not compacted.
    pub compaction_lag_min: Duration,
    /// Age after which a log must be compacted; `None` never.
    pub compaction_lag_max: Option<Duration>,
    /// Share of uncompacted bytes worth compacting.
    pub cleanable_ratio_min: f64,
}

/// What happens to old segments; both may hold, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// They are deleted by age and size.
    pub delete: bool,
    /// Only the newest record of each key is kept.
    pub compact: bool,
}

/// Codec in which batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip at this level, -1 being the library's own.
    Gzip(i32),
    /// snappy.
    Snappy,
    /// lz4 at this level.
    Lz4(i32),
    /// zstd at this level.
    Zstd(i32),
}

/// When a write counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on disk.
    Fsync,
    /// Once the operating system has it.
    Os,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

impl TopicConfig {
    /// Configs in effect for a topic with these overrides on a broker with these texts.
    ///
    /// Never fails, because a stored config must not stop a broker: an unreadable override is
    /// left out and returned.
    pub fn resolve(broker: &Texts, overrides: &Texts) -> (Self, Vec<ConfigError>) {
        let mut left_out = Vec::new();
        let mut value = |name: &str| {
            let Some(key) = table::topic_key(name) else {
                unreachable!("{name} is not in the table");
            };
            match overrides.get(name).map(|text| key.parse(text)) {
                Some(Ok(value)) => return value,
                Some(Err(error)) => left_out.push(error),
                None => {}
            }
            let inherited = inherited(key, broker).and_then(|text| key.parse(&text).ok());
            inherited.unwrap_or_else(|| key.default_value())
        };
        let config = Self::build(&mut Fields { value: &mut value });
        (config, left_out)
    }

    fn build(f: &mut Fields<'_>) -> Self {
        let internal_bytes = f.optional("internal.segment.bytes");
        Self {
            cleanup: f.cleanup(),
            compression: f.compression(),
            durability: if f.is("ottla.durability", "os") {
                Durability::Os
            } else {
                Durability::Fsync
            },
            segment_bytes: internal_bytes.unwrap_or_else(|| f.amount("segment.bytes")),
            segment_age: f.millis("segment.ms"),
            segment_jitter: f.millis("segment.jitter.ms"),
            index_bytes: f.amount("segment.index.bytes"),
            index_interval_bytes: f.amount("index.interval.bytes"),
            flush_messages: f.unless_never("flush.messages"),
            flush_age: f.unless_never("flush.ms").map(Duration::from_millis),
            retention_age: f.optional("retention.ms").map(Duration::from_millis),
            retention_bytes: f.optional("retention.bytes"),
            file_delete_delay: f.millis("file.delete.delay.ms"),
            message_bytes_max: f.amount("max.message.bytes"),
            timestamp_type: if f.is("message.timestamp.type", "LogAppendTime") {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            timestamp_before_max: f
                .unless_never("message.timestamp.before.max.ms")
                .map(Duration::from_millis),
            timestamp_after_max: f
                .unless_never("message.timestamp.after.max.ms")
                .map(Duration::from_millis),
            min_insync_replicas: u32::try_from(f.amount("min.insync.replicas")).unwrap_or(1),
            unclean_leader_election: f.flag("unclean.leader.election.enable"),
            tombstone_retention: f.millis("delete.retention.ms"),
            compaction_lag_min: f.millis("min.compaction.lag.ms"),
            compaction_lag_max: f.unless_never("max.compaction.lag.ms").map(Duration::from_millis),
            cleanable_ratio_min: f.ratio("min.cleanable.dirty.ratio"),
        }
    }

    /// Age after which a segment is rolled, with the compaction lag taken into account.
    pub fn roll_age(&self) -> Duration {
        match self.compaction_lag_max {
            Some(lag) if self.cleanup.compact && !lag.is_zero() => lag.min(self.segment_age),
            _ => self.segment_age,
        }
    }
}

/// Text of every topic config in effect, internal ones only when they are set.
pub fn effective_topic_texts(broker: &Texts, overrides: &Texts) -> Texts {
    let mut texts = Texts::new();
    for key in table::TOPIC {
        let text = overrides.get(key.name).cloned().or_else(|| inherited(key, broker));
        if let Some(text) = text.or_else(|| key.default_text().map(str::to_owned)) {
            texts.insert(key.name.to_owned(), text);
        }
    }
    texts
}

/// Text that a topic or group config takes from the broker's keys, in its own unit.
pub(crate) fn inherited(key: &Key, broker: &Texts) -> Option<String> {
    let set = |synonym: &crate::key::Synonym| Some((broker.get(synonym.name)?, synonym.convert));
    let (text, convert) = key.synonyms.iter().find_map(set)?;
    let unit = match convert {
        Convert::Same => return Some(at_least_unlimited(key.name, text)),
        Convert::Hours => 3_600_000,
        Convert::Minutes => 60_000,
    };
    let number: i64 = text.trim().parse().ok()?;
    let millis = if number < 0 { -1 } else { number.saturating_mul(unit) };
    Some(millis.to_string())
}

/// Any negative `log.retention.ms` means for ever, but `retention.ms` only knows -1.
fn at_least_unlimited(name: &str, text: &str) -> String {
    match text.trim().parse::<i64>() {
        Ok(number) if number < 0 && name == "retention.ms" => "-1".to_owned(),
        _ => text.to_owned(),
    }
}

struct Fields<'a> {
    value: &'a mut dyn FnMut(&str) -> Value,
}

impl Fields<'_> {
    /// A number; `None` when it is negative or null.
    fn optional(&mut self, name: &str) -> Option<u64> {
        match (self.value)(name) {
            Value::Number(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    fn amount(&mut self, name: &str) -> u64 {
        self.optional(name).unwrap_or(0)
    }

    fn millis(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.amount(name))
    }

    /// A number; `None` when it is Kafka's "never", the largest number there is.
    fn unless_never(&mut self, name: &str) -> Option<u64> {
        self.optional(name).filter(|number| *number < i64::MAX.unsigned_abs())
    }

    fn flag(&mut self, name: &str) -> bool {
        matches!((self.value)(name), Value::Bool(true))
    }

    fn is(&mut self, name: &str, word: &str) -> bool {
        matches!((self.value)(name), Value::Text(text) if text == word)
    }

    fn ratio(&mut self, name: &str) -> f64 {
        match (self.value)(name) {
            Value::Double(ratio) => ratio,
            _ => 0.0,
        }
    }

    fn level(&mut self, name: &str) -> i32 {
        match (self.value)(name) {
            Value::Number(level) => i32::try_from(level).unwrap_or(0),
            _ => 0,
        }
    }

    fn cleanup(&mut self) -> CleanupPolicy {
        let Value::List(policies) = (self.value)("cleanup.policy") else {
            return CleanupPolicy { delete: true, compact: false };
        };
        let has = |word: &str| policies.iter().any(|policy| policy == word);
        CleanupPolicy { delete: has("delete"), compact: has("compact") }
    }

    fn compression(&mut self) -> Compression {
        let Value::Text(codec) = (self.value)("compression.type") else {
            return Compression::Producer;
        };
        match codec.as_str() {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip(self.level("compression.gzip.level")),
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4(self.level("compression.lz4.level")),
            "zstd" => Compression::Zstd(self.level("compression.zstd.level")),
            _ => Compression::Producer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Texts {
        let pair = |line: &str| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        script.lines().filter_map(pair).collect()
    }

    fn check(broker: &str, topic: &str, name: &str) -> String {
        effective_topic_texts(&texts(broker), &texts(topic)).remove(name).unwrap_or_default()
    }

    #[test]
    fn the_first_synonym_that_is_set_counts() {
        assert_eq!(check("", "", "retention.ms"), "604800000");
        assert_eq!(check("log.retention.hours=1", "", "retention.ms"), "3600000");
        let two = "log.retention.hours=1\nlog.retention.minutes=2";
        assert_eq!(check(two, "", "retention.ms"), "120000");
        assert_eq!(check("log.retention.ms=-5", "", "retention.ms"), "-1");
        assert_eq!(check("log.retention.hours=-1", "", "retention.ms"), "-1");
        assert_eq!(check("log.retention.hours=1", "retention.ms=9", "retention.ms"), "9");
        assert_eq!(check("log.flush.scheduler.interval.ms=7", "", "flush.ms"), "7");
        assert_eq!(check("message.max.bytes=10", "", "max.message.bytes"), "10");
        assert_eq!(check("log.roll.hours=2", "", "segment.ms"), "7200000");
    }

    #[test]
    fn no_limit_is_none() {
        let (config, _) = TopicConfig::resolve(&Texts::new(), &Texts::new());
        assert_eq!(config.flush_messages, None);
        assert_eq!(config.flush_age, None);
        assert_eq!(config.retention_bytes, None);
        assert_eq!(config.retention_age, Some(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(config.compaction_lag_max, None);
        assert_eq!(config.durability, Durability::Fsync);
        assert_eq!(config.compression, Compression::Producer);
        assert_eq!(config.segment_bytes, 1 << 30);
    }

    #[test]
    fn an_unreadable_override_is_left_out() {
        let overrides =
            texts("retention.ms=soon\ncompression.type=zstd\ninternal.segment.bytes=99");
        let (config, left_out) = TopicConfig::resolve(&Texts::new(), &overrides);
        assert_eq!(left_out.len(), 1);
        assert_eq!(config.retention_age, Some(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(config.compression, Compression::Zstd(3));
        assert_eq!(config.segment_bytes, 99);
    }
}
