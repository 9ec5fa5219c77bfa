//! Kafka client: connections, admin calls, producer and consumer.
//!
//! [`Client`] knows a cluster from one bootstrap address and keeps one [`Connection`] to each
//! broker; versions are negotiated for every connection. [`Admin`] is the administrative calls,
//! [`Producer`] and [`Consumer`] move records, [`GroupConsumer`] does so as a member of a group.
//!
//! Errors say what was asked, what is true, and what to do; see [`ClientError`].
//!
//! What this crate is not: a replacement for the client library of your language. It does what
//! Ottla's tools and brokers need: no transactions, no share groups, no plug-ins.

#![doc = include_str!("../README.md")]

mod address;
mod admin;
mod api;
mod client;
mod connection;
mod consumer;
mod error;
mod group;
mod metadata;
mod partitioner;
mod producer;

pub use address::{HostPort, InvalidAddress};
pub use admin::{
    Admin, AlterOp, ClientQuotas, ClusterDescription, ConfigAlteration, ConfigEntry,
    ConfigResource, ConfigSource, ConfigSynonym, ConsumerMember, CreatedTopic, Feature,
    FeatureUpgrade, GroupDescription, GroupListing, GroupMember, GroupOffset, LogDir,
    LogDirReplica, NewTopic, Node, OffsetAt, OffsetSpec, QuorumDescription, QuorumReplica,
    QuotaMatch, QuotaType, ResourceType, ScramAlteration, ScramCredential, ScramMechanism,
};
pub use api::Request;
pub use client::{Client, ClientOptions};
pub use connection::{Connection, ConnectionOptions};
pub use consumer::{ConsumedRecord, Consumer, ConsumerOptions, Ends};
pub use error::{ClientError, Refusal, hint};
pub use group::{GroupConsumer, GroupOptions};
pub use metadata::{ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use partitioner::{partition_for_key, to_positive};
pub use producer::{Acknowledged, Acks, Delivery, OutgoingRecord, Producer, ProducerOptions};
