//! What a broker says about the cluster: brokers, topics, leaders.

use ottla_codec::Str;
use ottla_protocol::{MetadataResponse, metadata_response};
use ottla_types::{LeaderEpoch, NodeId, PartitionIndex, Uuid};

use crate::address::HostPort;
use crate::error::Refusal;

/// One answer to Metadata.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterMetadata {
    /// Id of the cluster.
    pub cluster_id: Option<String>,
    /// The broker that takes controller requests. With KRaft it may be any broker.
    pub controller: Option<NodeId>,
    /// Live brokers, with the addresses of the listener that was asked.
    pub brokers: Vec<Node>,
    /// Topics that were asked for, in the broker's order.
    pub topics: Vec<TopicMetadata>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where its clients shall connect.
    pub address: HostPort,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it is fenced; only DescribeCluster tells.
    pub fenced: bool,
}

/// A topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id; zero from brokers older than 2.8.
    pub id: Uuid,
    /// Why nothing is known about it.
    pub error: Option<Refusal>,
    /// Whether the brokers use it for themselves.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Its number.
    pub index: PartitionIndex,
    /// The broker that leads it.
    pub leader: Option<NodeId>,
    /// Epoch of that leader.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Brokers that hold it; the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    /// Replicas that are in sync.
    pub isr: Vec<NodeId>,
    /// Replicas on a broker or disk that is down.
    pub offline: Vec<NodeId>,
}

impl ClusterMetadata {
    pub(crate) fn from_wire(response: MetadataResponse) -> Self {
        let brokers = response.brokers.iter().filter_map(|broker| {
            let id = NodeId::from_wire(broker.node_id)?;
            Node::from_wire(id, &broker.host, broker.port, broker.rack.as_ref())
        });
        Self {
            cluster_id: response.cluster_id.as_deref().map(str::to_owned),
            controller: NodeId::from_wire(response.controller_id),
            brokers: brokers.collect(),
            topics: response.topics.into_iter().map(TopicMetadata::from_wire).collect(),
        }
    }

    /// The broker with this id.
    pub fn broker(&self, id: NodeId) -> Option<&Node> {
        self.brokers.iter().find(|node| node.id == id)
    }

    /// The topic with this name, if it was asked for.
    pub fn topic(&self, name: &str) -> Option<&TopicMetadata> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

impl Node {
    pub(crate) fn from_wire(id: NodeId, host: &Str, port: i32, rack: Option<&Str>) -> Option<Self> {
        let address = HostPort::new(host.as_str(), u16::try_from(port).ok()?);
        let rack = rack.map(|rack| rack.as_str().to_owned());
        Some(Self { id, address, rack, fenced: false })
    }
}

impl TopicMetadata {
    fn from_wire(topic: metadata_response::MetadataResponseTopic) -> Self {
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        let what = || format!("topic {name}");
        let error = Refusal::check(topic.error_code, None, what).err();
        let mut partitions: Vec<_> =
            topic.partitions.iter().filter_map(PartitionMetadata::from_wire).collect();
        partitions.sort_by_key(|partition| partition.index);
        Self { id: topic.topic_id, error, internal: topic.is_internal, partitions, name }
    }
}

impl PartitionMetadata {
    fn from_wire(partition: &metadata_response::MetadataResponsePartition) -> Option<Self> {
        Some(Self {
            index: PartitionIndex::from_wire(partition.partition_index)?,
            leader: NodeId::from_wire(partition.leader_id),
            leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
            replicas: node_ids(&partition.replica_nodes),
            isr: node_ids(&partition.isr_nodes),
            offline: node_ids(&partition.offline_replicas),
        })
    }
}

pub(crate) fn node_ids(raw: &[i32]) -> Vec<NodeId> {
    raw.iter().copied().filter_map(NodeId::from_wire).collect()
}
