//! Topic names and partitions.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::PartitionIndex;

/// Longest topic name, in bytes; a directory is named after it.
pub const MAX_TOPIC_NAME_LEN: usize = 249;

/// Name of a topic that obeys Kafka's rule: 1 to 249 characters of `a-z A-Z 0-9 . _ -`, and
/// neither `.` nor `..`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTopicName {
    /// The empty text.
    #[error("topic name is empty")]
    Empty,
    /// `.` and `..` mean directories.
    #[error("topic name is '.' or '..'")]
    Dots,
    /// Longer than [`MAX_TOPIC_NAME_LEN`].
    #[error("topic name has {0} characters, {max} are allowed", max = MAX_TOPIC_NAME_LEN)]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("topic name has a character other than ASCII alphanumerics, '.', '_' and '-'")]
    BadCharacter,
}

impl InvalidTopicName {
    /// What Kafka's brokers and tools say of this name.
    pub fn message(&self, name: &str) -> String {
        let why = match self {
            Self::Empty => "the empty string is not allowed".to_owned(),
            Self::Dots => format!("'{name}' is not allowed"),
            Self::TooLong(_) => format!(
                "the length of '{name}' is longer than the max allowed length {MAX_TOPIC_NAME_LEN}"
            ),
            Self::BadCharacter => format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
                 and '-'"
            ),
        };
        format!("Topic name is invalid: {why}")
    }
}

impl TopicName {
    /// Checks Kafka's rule and copies the name.
    pub fn parse(name: &str) -> Result<Self, InvalidTopicName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        match name {
            "" => Err(InvalidTopicName::Empty),
            "." | ".." => Err(InvalidTopicName::Dots),
            _ if name.len() > MAX_TOPIC_NAME_LEN => Err(InvalidTopicName::TooLong(name.len())),
            _ if !name.bytes().all(allowed) => Err(InvalidTopicName::BadCharacter),
            _ => Ok(Self(Arc::from(name))),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether two names would share a metric name: Kafka treats `.` and `_` as equal there and
    /// refuses the second topic.
    pub fn collides_with(&self, other: &str) -> bool {
        let same = |byte: u8| if byte == b'.' { b'_' } else { byte };
        self.0.bytes().map(same).eq(other.bytes().map(same))
    }
}

impl Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One partition of a topic; displays as Kafka names its directory, `topic-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Joins topic and partition.
    pub fn new(topic: TopicName, partition: PartitionIndex) -> Self {
        Self { topic, partition }
    }

    /// Reads a directory name, `topic-0`.
    pub fn parse(name: &str) -> Option<Self> {
        let (topic, partition) = name.rsplit_once('-')?;
        if partition.is_empty() || !partition.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let partition = PartitionIndex::from_wire(partition.parse().ok()?)?;
        Some(Self { topic: TopicName::parse(topic).ok()?, partition })
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_obey_kafkas_rule() {
        for good in ["a", "orders.v1", "__consumer_offsets", &"x".repeat(249), "..."] {
            assert!(TopicName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(250)] {
            assert!(TopicName::parse(bad).is_err(), "{bad}");
        }
        let name = TopicName::parse("a.b").unwrap();
        assert!(name.collides_with("a_b") && !name.collides_with("a-b"));
    }

    #[test]
    fn directory_names_come_back() {
        let partition = TopicPartition::parse("my-topic-12").unwrap();
        assert_eq!((&*partition.topic, partition.partition.0), ("my-topic", 12));
        assert_eq!(partition.to_string(), "my-topic-12");
        for bad in ["topic", "topic-", "topic-x", "topic-+1", "-1", "a-99999999999"] {
            assert_eq!(TopicPartition::parse(bad), None, "{bad}");
        }
    }
}
