//! The cluster image: what the metadata log says, as persistent maps.
//!
//! A copy is cheap, so the controller decides on a copy of its own, a publisher compares two, and
//! a broker swaps its image whole. An image changes by [`ClusterImage::apply`] alone. It knows
//! nothing of sessions, requests or files.

mod apply;
mod broker;
mod delta;
mod error;
mod hash;
pub(crate) mod index;
mod resource;
mod snapshot;
pub(crate) mod topic;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TopicId, TopicName, Uuid,
};

pub use broker::{BrokerRegistration, ControllerRegistration, Endpoint, SecurityProtocol};
pub use delta::{Changed, ImageDelta, PartitionDelta};
pub use error::ApplyError;
pub use hash::ImageHash;
pub use resource::{ConfigKind, ConfigResource, QuotaEntity};
pub use snapshot::SnapshotLoader;
pub use topic::{LeaderRecovery, PartitionState, TopicImage};
pub use view::{PartitionView, ReplicaProblem};

use crate::features::{Feature, METADATA_VERSION, MetadataVersion};
use crate::generated::MetadataRecord;
use index::PartitionIndexes;

/// Key of a record that is kept as it came, because what it configures is not served yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeptKey {
    /// An ACL, by its id.
    Acl(Uuid),
    /// A SCRAM credential, by mechanism code and user name.
    Scram(i8, String),
    /// A delegation token, by its id.
    Token(String),
}

/// Everything that the metadata log says. See the module's description.
#[derive(Clone, Debug, Default)]
pub struct ClusterImage {
    features: OrdMap<String, i16>,
    brokers: OrdMap<NodeId, Arc<BrokerRegistration>>,
    controllers: OrdMap<NodeId, Arc<ControllerRegistration>>,
    topics: OrdMap<TopicId, Arc<TopicImage>>,
    topic_ids: OrdMap<TopicName, TopicId>,
    configs: OrdMap<ConfigResource, Arc<BTreeMap<String, String>>>,
    quotas: OrdMap<QuotaEntity, Arc<BTreeMap<String, f64>>>,
    next_producer_id: Option<ProducerId>,
    kept: OrdMap<KeptKey, Arc<MetadataRecord>>,
    indexes: PartitionIndexes,
    /// Offset of the record that registered each broker; a heartbeat proves catching up with it.
    registered_at: OrdMap<NodeId, Offset>,
    /// The image before the metadata transaction that is open (KIP-868).
    before_transaction: Option<Arc<Self>>,
    /// Offset after the last record that was applied.
    end: Offset,
    /// Leader epoch of the last batch that was applied.
    epoch: LeaderEpoch,
}

impl PartialEq for ClusterImage {
    /// Whether both say the same; how they came to it, and their place in the log, is left out.
    fn eq(&self, other: &Self) -> bool {
        self.features == other.features
            && self.brokers == other.brokers
            && self.controllers == other.controllers
            && self.topics == other.topics
            && self.configs == other.configs
            && self.quotas == other.quotas
            && self.next_producer_id == other.next_producer_id
            && self.kept == other.kept
    }
}

impl ClusterImage {
    /// An image of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offset after the last record that was applied.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Leader epoch of the last batch that was applied.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Whether no record has said anything yet.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The image without the metadata transaction that is open: what may be published.
    pub fn stable(&self) -> &Self {
        self.before_transaction.as_deref().unwrap_or(self)
    }

    /// Whether a metadata transaction has begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// Finalized `metadata.version`; `None` before the bootstrap records.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.features.get(METADATA_VERSION).and_then(|level| MetadataVersion::from_level(*level))
    }

    /// Finalized level of a feature; 0 when it is off.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Finalized features above 0 by name, `metadata.version` included; `kraft.version` is known
    /// to the quorum and not here.
    pub fn features(&self) -> &OrdMap<String, i16> {
        &self.features
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn elr_enabled(&self) -> bool {
        self.feature(Feature::EligibleLeaderReplicas.name()) >= 1
    }

    /// Registered brokers, fenced ones too.
    pub fn brokers(&self) -> &OrdMap<NodeId, Arc<BrokerRegistration>> {
        &self.brokers
    }

    /// A registered broker.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// Whether the broker is registered, not fenced and not shutting down.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.is_active())
    }

    /// Offset of the record that registered the broker.
    pub fn registered_at(&self, id: NodeId) -> Option<Offset> {
        self.registered_at.get(&id).copied()
    }

    /// Registered controllers.
    pub fn controllers(&self) -> &OrdMap<NodeId, Arc<ControllerRegistration>> {
        &self.controllers
    }

    /// Topics by id.
    pub fn topics(&self) -> &OrdMap<TopicId, Arc<TopicImage>> {
        &self.topics
    }

    /// Ids of topics by name, in order of the names.
    pub fn topic_ids(&self) -> &OrdMap<TopicName, TopicId> {
        &self.topic_ids
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    /// A partition by topic name.
    pub fn partition(
        &self,
        topic: &str,
        partition: PartitionIndex,
    ) -> Option<&Arc<PartitionState>> {
        self.topic(topic)?.partitions.get(&partition)
    }

    /// Dynamic configs of every resource that has any.
    pub fn configs(&self) -> &OrdMap<ConfigResource, Arc<BTreeMap<String, String>>> {
        &self.configs
    }

    /// Dynamic configs of one resource, `None` when it has none.
    pub fn config(&self, resource: &ConfigResource) -> Option<&Arc<BTreeMap<String, String>>> {
        self.configs.get(resource)
    }

    /// Client quotas of every entity that has any.
    pub fn quotas(&self) -> &OrdMap<QuotaEntity, Arc<BTreeMap<String, f64>>> {
        &self.quotas
    }

    /// First producer id that no block has taken; `None` while no block was handed out.
    pub fn next_producer_id(&self) -> Option<ProducerId> {
        self.next_producer_id
    }

    /// Records that are kept as they came: ACLs, SCRAM credentials, delegation tokens.
    pub fn kept(&self) -> &OrdMap<KeptKey, Arc<MetadataRecord>> {
        &self.kept
    }

    pub(crate) fn indexes(&self) -> &PartitionIndexes {
        &self.indexes
    }
}
