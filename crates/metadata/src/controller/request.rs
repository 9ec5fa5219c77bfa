//! What a controller can be asked, and what it answers.
//!
//! Own types: a request handler turns the wire's messages into these and back. Duplicates within a
//! request and mistakes of form are the controller's to answer; authorization is the handler's.

use std::collections::BTreeMap;

use ottla_types::{
    BrokerEpoch, DirectoryId, ErrorCode, IncarnationId, LeaderEpoch, NodeId, Offset,
    PartitionEpoch, PartitionIndex, ProducerId, TopicId,
};

use crate::features::VersionRange;
use crate::image::{ConfigKind, ConfigResource, Endpoint, LeaderRecovery, QuotaEntity};

/// An error as Kafka answers it: a code and, mostly, a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {}", code.name(), message.as_deref().unwrap_or(""))]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// The text; `None` is null on the wire, where a client shows the code's own text.
    pub message: Option<String>,
}

impl ApiError {
    /// A code with a text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

/// Outcome of one part of a request.
pub type Outcome = Result<(), ApiError>;

/// Names a request until its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// BrokerRegistration.
    RegisterBroker(RegisterBroker),
    /// BrokerHeartbeat.
    Heartbeat(Heartbeat),
    /// UnregisterBroker.
    UnregisterBroker(NodeId),
    /// ControllerRegistration.
    RegisterController(RegisterController),
    /// CreateTopics.
    CreateTopics(CreateTopics),
    /// DeleteTopics.
    DeleteTopics(Vec<TopicSelector>),
    /// CreatePartitions.
    CreatePartitions(CreatePartitions),
    /// AlterPartition.
    AlterPartition(AlterPartition),
    /// ElectLeaders.
    ElectLeaders(ElectLeaders),
    /// AssignReplicasToDirs.
    AssignReplicasToDirs(AssignReplicasToDirs),
    /// IncrementalAlterConfigs.
    AlterConfigs(AlterConfigs),
    /// AlterConfigs, which replaces everything that a resource has.
    ReplaceConfigs(ReplaceConfigs),
    /// AlterClientQuotas.
    AlterQuotas(AlterQuotas),
    /// UpdateFeatures.
    UpdateFeatures(UpdateFeatures),
    /// AllocateProducerIds.
    AllocateProducerIds {
        /// The broker that asks.
        broker: NodeId,
        /// Its epoch.
        epoch: BrokerEpoch,
    },
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The whole request was refused; nothing was changed.
    Refused(ApiError),
    /// The broker's epoch.
    BrokerRegistered(BrokerEpoch),
    /// How the broker stands.
    Heartbeat(HeartbeatReply),
    /// UnregisterBroker and RegisterController have nothing to say but that it is done.
    Done,
    /// Each topic, in the order of the request.
    TopicsCreated(Vec<CreatedTopic>),
    /// Each topic.
    TopicsDeleted(Vec<DeletedTopic>),
    /// Each topic by name.
    PartitionsCreated(Vec<(String, Outcome)>),
    /// Each partition.
    PartitionsAltered(Vec<(TopicId, PartitionIndex, Result<AlteredPartition, ErrorCode>)>),
    /// Each topic with its partitions.
    LeadersElected(Vec<(String, Vec<(PartitionIndex, Outcome)>)>),
    /// Each directory, topic and partition.
    ReplicasAssigned(Vec<(DirectoryId, TopicId, PartitionIndex, ErrorCode)>),
    /// Each resource.
    ConfigsAltered(Vec<(ConfigResource, Outcome)>),
    /// Each entity.
    QuotasAltered(Vec<(QuotaEntity, Outcome)>),
    /// All features or none.
    FeaturesUpdated(Outcome),
    /// First id of a block.
    ProducerIds {
        /// First id.
        first: ProducerId,
        /// Number of ids.
        len: u32,
    },
}

/// A broker that starts.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterBroker {
    /// Its node id.
    pub node: NodeId,
    /// The cluster that it thinks it is in.
    pub cluster_id: String,
    /// The process.
    pub incarnation: IncarnationId,
    /// Where it listens.
    pub listeners: Vec<Endpoint>,
    /// Feature levels that it supports, by name.
    pub features: BTreeMap<String, VersionRange>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it comes from ZooKeeper mode, which is refused.
    pub migrating_zk: bool,
    /// Its online log directories.
    pub log_dirs: Vec<DirectoryId>,
    /// Epoch that its clean-shutdown marker names; `None` after an unclean stop.
    pub previous_epoch: Option<BrokerEpoch>,
    /// Whether it can say that it stopped cleanly (request version 3 and up, KIP-966).
    pub knows_clean_shutdown: bool,
}

/// A broker that says it is alive.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Its node id.
    pub node: NodeId,
    /// The epoch that its registration got.
    pub epoch: BrokerEpoch,
    /// Last offset of the metadata log that it has applied.
    pub metadata_offset: Option<Offset>,
    /// It wants to be fenced.
    pub want_fence: bool,
    /// It wants to stop.
    pub want_shut_down: bool,
    /// Directories that failed.
    pub offline_dirs: Vec<DirectoryId>,
    /// Directories that shall get no new replicas; `None` when it cannot say.
    pub cordoned_dirs: Option<Vec<DirectoryId>>,
}

/// How a broker stands after its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// It has applied its own registration.
    pub caught_up: bool,
    /// It is fenced.
    pub fenced: bool,
    /// It is in controlled shutdown; not on the wire.
    pub in_controlled_shutdown: bool,
    /// It may stop now.
    pub should_shut_down: bool,
}

/// A controller that starts (KIP-919).
#[derive(Clone, Debug, PartialEq)]
pub struct RegisterController {
    /// Its node id.
    pub node: NodeId,
    /// The process.
    pub incarnation: IncarnationId,
    /// Where it listens.
    pub listeners: Vec<Endpoint>,
    /// Feature levels that it supports, by name.
    pub features: BTreeMap<String, VersionRange>,
}

/// Topics to make.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// A topic to make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTopic {
    /// Name, not yet checked.
    pub name: String,
    /// Number of partitions as on the wire: -1 is the default (KIP-464).
    pub partitions: i32,
    /// Replicas of each partition as on the wire: -1 is the default.
    pub replication_factor: i16,
    /// Brokers of each partition, if the caller chose.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Configs; null values are an error that the controller answers.
    pub configs: Vec<(String, Option<String>)>,
}

/// What became of a topic to make.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    /// Name.
    pub name: String,
    /// The topic, or why not.
    pub result: Result<NewTopicInfo, ApiError>,
}

/// A topic that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTopicInfo {
    /// Id.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: u32,
    /// Replicas of the first partition.
    pub replication_factor: u32,
    /// Configs in effect, by name.
    pub configs: Vec<EffectiveConfig>,
}

/// A config in effect and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveConfig {
    /// Name.
    pub name: String,
    /// Value; null has none.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether the value must not be shown.
    pub sensitive: bool,
}

/// Where a config in effect comes from; the discriminant is the code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConfigSource {
    /// The topic's own config.
    Topic = 1,
    /// Dynamic config of the broker.
    Broker = 2,
    /// Dynamic default of all brokers.
    EveryBroker = 3,
    /// The broker's file.
    Static = 4,
    /// The table's default.
    Default = 5,
    /// The group's own config.
    Group = 8,
    /// The client metrics subscription's own config.
    ClientMetrics = 7,
}

/// How DeleteTopics names a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSelector {
    /// Name, unless it is named by id.
    pub name: Option<String>,
    /// Id, zero unless it is named by id.
    pub id: TopicId,
}

/// What became of a topic to delete.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedTopic {
    /// Name, if it is known.
    pub name: Option<String>,
    /// Id, if it is known, or zero.
    pub id: TopicId,
    /// Whether it is gone.
    pub result: Outcome,
}

/// Partitions to add.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatePartitions {
    /// The topics.
    pub topics: Vec<MorePartitions>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// Partitions to add to one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct MorePartitions {
    /// Topic.
    pub name: String,
    /// New number of partitions, as on the wire.
    pub count: i32,
    /// Brokers of each new partition, if the caller chose.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// ISR changes by leaders.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterPartition {
    /// The leader.
    pub broker: NodeId,
    /// Its epoch.
    pub epoch: BrokerEpoch,
    /// The changes.
    pub partitions: Vec<(TopicId, IsrChange)>,
}

/// The ISR that a leader wants. Epochs are as on the wire, because a wrong one is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct IsrChange {
    /// Which partition.
    pub partition: i32,
    /// Leader epoch that the leader knows.
    pub leader_epoch: i32,
    /// Partition epoch that the leader knows.
    pub partition_epoch: i32,
    /// In-sync replicas, each with its broker's epoch, if the leader said.
    pub isr: Vec<(i32, Option<BrokerEpoch>)>,
    /// Whether the leader has recovered.
    pub recovery: LeaderRecovery,
}

/// A partition after its ISR changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredPartition {
    /// Leader.
    pub leader: Option<NodeId>,
    /// Leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// ISR.
    pub isr: Vec<NodeId>,
    /// Recovery state.
    pub recovery: LeaderRecovery,
    /// Partition epoch.
    pub partition_epoch: PartitionEpoch,
}

/// Elections that a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ElectLeaders {
    /// Kind as on the wire: 0 preferred, 1 unclean.
    pub kind: i8,
    /// The partitions; `None` is every partition.
    pub partitions: Option<Vec<(String, Vec<i32>)>>,
}

/// Where a broker put its replicas (KIP-858).
#[derive(Clone, Debug, PartialEq)]
pub struct AssignReplicasToDirs {
    /// The broker.
    pub broker: NodeId,
    /// Its epoch.
    pub epoch: BrokerEpoch,
    /// Each replica and its directory.
    pub replicas: Vec<(DirectoryId, TopicId, PartitionIndex)>,
}

/// How a config changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// Sets it.
    Set(Option<String>),
    /// Goes back to what is below.
    Delete,
    /// Adds to a list.
    Append(Option<String>),
    /// Takes from a list.
    Subtract(Option<String>),
}

/// Config changes.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterConfigs {
    /// Changes of each resource.
    pub resources: Vec<(ConfigResource, Vec<(String, ConfigOp)>)>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// Whether a broker passed it on, and has checked what only it can check.
    pub forwarded: bool,
}

/// Names with values that may be null.
pub type NameValues = Vec<(String, Option<String>)>;

/// Configs that replace all that a resource has.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplaceConfigs {
    /// New configs of each resource.
    pub resources: Vec<(ConfigResource, NameValues)>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// Whether a broker passed it on, and has checked what only it can check.
    pub forwarded: bool,
}

/// Client quota changes.
#[derive(Clone, Debug, PartialEq)]
pub struct AlterQuotas {
    /// The entities.
    pub entries: Vec<QuotaChange>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// Client quota changes of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaChange {
    /// The entity as its types and names; a null name is the default of that type.
    pub entity: NameValues,
    /// New values by key; a key without a value is removed.
    pub ops: Vec<(String, Option<f64>)>,
}

/// Feature changes; all or none happen.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateFeatures {
    /// Feature name, level, and upgrade type as on the wire (1 upgrade, 2 safe, 3 unsafe downgrade).
    pub updates: Vec<(String, i16, i8)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// What the controller must know of configs, which the table of configs answers.
pub trait ConfigRules: Send {
    /// Whether these are valid as all configs of a resource. Code and text go to the client; a
    /// broker's are refused with INVALID_REQUEST in any case.
    fn validate(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<String, String>,
        old: &BTreeMap<String, String>,
    ) -> Outcome;

    /// Whether the config is a list, so that values can be added and taken away.
    fn is_list(&self, kind: ConfigKind, name: &str) -> bool;

    /// The table's default.
    fn default_value(&self, kind: ConfigKind, name: &str) -> Option<String>;

    /// A topic config in effect.
    fn topic_config(&self, name: &str, layers: TopicLayers<'_>) -> Option<String>;

    /// Every topic config in effect, by name.
    fn topic_configs(&self, layers: TopicLayers<'_>) -> Vec<EffectiveConfig>;
}

/// Dynamic configs below which the broker's file and the table's defaults lie.
#[derive(Clone, Copy, Debug)]
pub struct TopicLayers<'a> {
    /// The topic's own.
    pub topic: &'a BTreeMap<String, String>,
    /// Those of the node that decides.
    pub broker: &'a BTreeMap<String, String>,
    /// The default of all brokers.
    pub every_broker: &'a BTreeMap<String, String>,
}
