//! Newtypes for the numbers Kafka names, its error codes, and the two clocks.
//!
//! A number that Kafka names has a type here, so that an offset is never mistaken for an epoch.
//! Kafka's negative sentinels become `None` at the edge: `from_wire` reads a raw value and
//! `to_wire` writes it back. Time comes in two kinds that do not mix: [`MonoTime`] for waiting,
//! [`WallTime`] for timestamps.
//!
//! What this crate is not: it knows no message, reads no clock and does no IO.

#![doc = include_str!("../README.md")]

mod error_code;
mod hash;
mod number;
mod time;
mod topic;
mod uuid;

pub use error_code::ErrorCode;
pub use hash::{java_string_hash, murmur2};
pub use number::{
    BrokerEpoch, Generation, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionIndex,
    ProducerEpoch, ProducerId, Sequence,
};
pub use time::{MonoTime, Timestamp, WallTime};
pub use topic::{InvalidTopicName, MAX_TOPIC_NAME_LEN, TopicName, TopicPartition};
pub use uuid::{DirectoryId, IncarnationId, ParseUuidError, TopicId, Uuid};
