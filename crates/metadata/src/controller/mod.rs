//! The active controller's decisions: requests in, records to propose and answers out.
//!
//! [`Controller`] is a pure state machine. It decides on a speculative image that runs ahead of
//! what is committed, hands out all waiting decisions as one batch, and releases an answer once
//! the quorum has committed what it rests on. Losing leadership throws the speculation away. Time,
//! chance and commits are handed in; it opens nothing and knows no request of the wire.

mod brokers;
mod change;
mod configs;
mod core;
mod features;
mod op;
mod partitions;
mod placement;
mod quotas;
mod request;
mod rng;
mod session;
mod snapshots;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_types::NodeId;

pub use self::core::{Activation, Controller, Output, Proposal, Stats};
pub use request::{
    AlterConfigs, AlterPartition, AlterQuotas, AlteredPartition, ApiError, AssignReplicasToDirs,
    ConfigOp, ConfigRules, ConfigSource, CreatePartitions, CreateTopics, CreatedTopic,
    DeletedTopic, EffectiveConfig, ElectLeaders, Heartbeat, HeartbeatReply, IsrChange,
    MorePartitions, NameValues, NewTopic, NewTopicInfo, Outcome, QuotaChange, RegisterBroker,
    RegisterController, ReplaceConfigs, Request, Response, Token, TopicLayers, TopicSelector,
    UpdateFeatures,
};
pub use snapshots::{ByteCount, SnapshotTrigger};

use crate::features::{VersionRange, supported_features};

/// Where a controller's chance comes from; draw it from the system's randomness, because topic ids
/// must not repeat.
pub type Seed = [u64; 4];

/// What a controller is told once.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// Its node id.
    pub node_id: NodeId,
    /// The cluster that brokers must name.
    pub cluster_id: String,
    /// `broker.session.timeout.ms`: silence after which a broker is fenced.
    pub session_timeout: Duration,
    /// `metadata.max.idle.interval.ms`: how long nothing is written at most; `None` is for ever.
    pub idle_interval: Option<Duration>,
    /// `leader.imbalance.check.interval.seconds`, if `auto.leader.rebalance.enable` is on.
    pub balance_interval: Option<Duration>,
    /// `unclean.leader.election.interval.ms`.
    pub unclean_interval: Duration,
    /// `num.partitions`.
    pub default_partitions: u32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`.
    pub delete_topics_enabled: bool,
    /// Features that this controller supports.
    pub features: BTreeMap<String, VersionRange>,
    /// Where its chance comes from: topic ids and placement.
    pub seed: Seed,
}

impl ControllerConfig {
    /// Kafka's defaults for a node of this cluster.
    pub fn new(node_id: NodeId, cluster_id: impl Into<String>, seed: Seed) -> Self {
        Self {
            node_id,
            cluster_id: cluster_id.into(),
            session_timeout: Duration::from_millis(9_000),
            idle_interval: Some(Duration::from_millis(500)),
            balance_interval: Some(Duration::from_secs(300)),
            unclean_interval: Duration::from_secs(300),
            default_partitions: 1,
            default_replication_factor: 1,
            delete_topics_enabled: true,
            features: supported_features(),
            seed,
        }
    }
}
