//! The cluster itself: brokers, metadata quorum, features, log directories.

use std::collections::BTreeMap;

use ottla_codec::Str;
use ottla_protocol::{
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest, UnregisterBrokerRequest,
    UpdateFeaturesRequest, describe_log_dirs_response, describe_quorum_request,
    describe_quorum_response, update_features_request,
};
use ottla_types::{LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, Uuid};

use super::Admin;
use super::topics::no_answer;
use crate::address::HostPort;
use crate::error::{ClientError, Refusal};
use crate::metadata::Node;

/// A cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterDescription {
    /// Its id.
    pub id: String,
    /// The broker or controller that takes controller requests.
    pub controller: Option<NodeId>,
    /// Its brokers, by id.
    pub brokers: Vec<Node>,
}

/// The metadata quorum.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuorumDescription {
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Epoch of the leader.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Records before this offset are committed.
    pub high_watermark: Option<Offset>,
    /// Controllers that vote.
    pub voters: Vec<QuorumReplica>,
    /// Nodes that only follow.
    pub observers: Vec<QuorumReplica>,
    /// Addresses of the controllers, by id and listener.
    pub endpoints: Vec<(NodeId, String, HostPort)>,
}

/// A node that keeps the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumReplica {
    /// Its id.
    pub id: NodeId,
    /// Id of the directory that it keeps the log in.
    pub directory: Uuid,
    /// Where its log ends.
    pub log_end: Option<Offset>,
    /// When it last fetched.
    pub last_fetch: Option<Timestamp>,
    /// When it last had everything.
    pub last_caught_up: Option<Timestamp>,
}

/// A feature of the cluster (KIP-584).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feature {
    /// Its name, such as `metadata.version`.
    pub name: String,
    /// Lowest and highest level that the broker supports.
    pub supported: Option<(i16, i16)>,
    /// Level that holds in the cluster.
    pub finalized: Option<i16>,
}

/// How a feature's level may change (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureUpgrade {
    /// Only up.
    Upgrade,
    /// Down, if nothing is lost.
    SafeDowngrade,
    /// Down, even if metadata is lost.
    UnsafeDowngrade,
}

/// A log directory of a broker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogDir {
    /// Its path.
    pub path: String,
    /// Why it is not usable.
    pub error: Option<Refusal>,
    /// Size of its file system, in bytes.
    pub total_bytes: Option<u64>,
    /// What is left of it.
    pub usable_bytes: Option<u64>,
    /// Replicas in it.
    pub replicas: Vec<LogDirReplica>,
}

/// A replica in a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDirReplica {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Size of its segments, in bytes.
    pub size_bytes: u64,
    /// Records that it lacks.
    pub offset_lag: u64,
    /// Whether it is on its way into this directory.
    pub is_future: bool,
}

impl Admin {
    /// Describes the cluster; with fenced brokers where the broker can tell of them.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        self.describe_endpoints(BROKERS).await
    }

    /// Describes the controllers in the place of the brokers; the bootstrap addresses are those of
    /// controllers (KIP-919).
    ///
    /// # Errors
    /// When no controller answers or it refuses; a broker refuses with
    /// [`MismatchedEndpointType`](ottla_types::ErrorCode::MismatchedEndpointType).
    pub async fn describe_controllers(&self) -> Result<ClusterDescription, ClientError> {
        self.describe_endpoints(CONTROLLERS).await
    }

    async fn describe_endpoints(&self, kind: i8) -> Result<ClusterDescription, ClientError> {
        let connection = self.client.bootstrap().await?;
        let version = connection.version_of::<DescribeClusterRequest>(i16::MAX)?;
        let request = DescribeClusterRequest {
            include_fenced_brokers: version >= 2,
            endpoint_type: kind,
            ..DescribeClusterRequest::default()
        };
        let response = connection.send(&request).await?;
        let message = response.error_message.as_deref();
        Refusal::check(response.error_code, message, || "cluster".to_owned())?;
        let mut brokers: Vec<_> = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let id = NodeId::from_wire(broker.broker_id)?;
                let node = Node::from_wire(id, &broker.host, broker.port, broker.rack.as_ref())?;
                Some(Node { fenced: broker.is_fenced, ..node })
            })
            .collect();
        brokers.sort_by_key(|node| node.id);
        if kind == CONTROLLERS {
            self.client.remember(&brokers);
        }
        Ok(ClusterDescription {
            id: response.cluster_id.as_str().to_owned(),
            controller: NodeId::from_wire(response.controller_id),
            brokers,
        })
    }

    /// Describes the metadata quorum.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        let request = DescribeQuorumRequest {
            topics: vec![describe_quorum_request::TopicData {
                topic_name: Str::from_static("__cluster_metadata"),
                partitions: vec![describe_quorum_request::PartitionData { partition_index: 0 }],
            }],
        };
        let response = self.client.any(&request).await?;
        let what = || "metadata quorum".to_owned();
        Refusal::check(response.error_code, response.error_message.as_deref(), what)?;
        let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        let partition = partitions.next().ok_or_else(|| no_answer(what()))?;
        Refusal::check(partition.error_code, partition.error_message.as_deref(), what)?;
        let endpoints = response.nodes.iter().flat_map(|node| {
            node.listeners.iter().filter_map(|listener| {
                let address = HostPort::new(listener.host.as_str(), listener.port);
                Some((NodeId::from_wire(node.node_id)?, listener.name.as_str().to_owned(), address))
            })
        });
        Ok(QuorumDescription {
            leader: NodeId::from_wire(partition.leader_id),
            leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
            high_watermark: Offset::from_wire(partition.high_watermark),
            voters: partition.current_voters.iter().filter_map(replica).collect(),
            observers: partition.observers.iter().filter_map(replica).collect(),
            endpoints: endpoints.collect(),
        })
    }

    /// Features that the bootstrap broker supports and that are finalized, by name.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn describe_features(&self) -> Result<Vec<Feature>, ClientError> {
        let connection = self.client.bootstrap().await?;
        let offered = connection.offered();
        let mut features: BTreeMap<&str, Feature> = BTreeMap::new();
        let empty =
            |name: &str| Feature { name: name.to_owned(), supported: None, finalized: None };
        for feature in &offered.supported_features {
            let entry = features.entry(&feature.name).or_insert_with(|| empty(&feature.name));
            entry.supported = Some((feature.min_version, feature.max_version));
        }
        for feature in &offered.finalized_features {
            let entry = features.entry(&feature.name).or_insert_with(|| empty(&feature.name));
            entry.finalized = Some(feature.max_version_level);
        }
        Ok(features.into_values().collect())
    }

    /// Changes levels of features, or only checks.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn update_features(
        &self,
        levels: &[(&str, i16)],
        how: FeatureUpgrade,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let update = |(name, level): &(&str, i16)| update_features_request::FeatureUpdateKey {
            feature: Str::from(*name),
            max_version_level: *level,
            upgrade_type: match how {
                FeatureUpgrade::Upgrade => 1,
                FeatureUpgrade::SafeDowngrade => 2,
                FeatureUpgrade::UnsafeDowngrade => 3,
            },
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            timeout_ms: self.timeout_ms(),
            feature_updates: levels.iter().map(update).collect(),
            validate_only,
        };
        let response = self.client.any(&request).await?;
        for result in &response.results {
            let what = || format!("feature {}", result.feature);
            Refusal::check(result.error_code, result.error_message.as_deref(), what)?;
        }
        let message = response.error_message.as_deref();
        Ok(Refusal::check(response.error_code, message, || "features".to_owned())?)
    }

    /// Takes a broker that is down out of the cluster.
    ///
    /// # Errors
    /// When no broker answers or it refuses.
    pub async fn unregister_broker(&self, broker: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: broker.to_wire() };
        let response = self.client.any(&request).await?;
        let message = response.error_message.as_deref();
        Ok(Refusal::check(response.error_code, message, || format!("broker {broker}"))?)
    }

    /// Log directories of a broker.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn describe_log_dirs(&self, broker: NodeId) -> Result<Vec<LogDir>, ClientError> {
        let request = DescribeLogDirsRequest { topics: None };
        let response = self.client.node(broker).await?.send(&request).await?;
        let what = || format!("log directories of broker {broker}");
        Refusal::check(response.error_code, None, what)?;
        Ok(response.results.iter().map(log_dir).collect())
    }
}

/// Kinds of endpoints in DescribeCluster.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

fn replica(state: &describe_quorum_response::ReplicaState) -> Option<QuorumReplica> {
    let time = |millis: i64| (millis >= 0).then_some(Timestamp(millis));
    Some(QuorumReplica {
        id: NodeId::from_wire(state.replica_id)?,
        directory: state.replica_directory_id,
        log_end: Offset::from_wire(state.log_end_offset),
        last_fetch: time(state.last_fetch_timestamp),
        last_caught_up: time(state.last_caught_up_timestamp),
    })
}

fn log_dir(dir: &describe_log_dirs_response::DescribeLogDirsResult) -> LogDir {
    let path = dir.log_dir.as_str().to_owned();
    let replicas = dir.topics.iter().flat_map(|topic| {
        topic.partitions.iter().filter_map(|partition| {
            Some(LogDirReplica {
                topic: topic.name.as_str().to_owned(),
                partition: PartitionIndex::from_wire(partition.partition_index)?,
                size_bytes: u64::try_from(partition.partition_size).unwrap_or(0),
                offset_lag: u64::try_from(partition.offset_lag).unwrap_or(0),
                is_future: partition.is_future_key,
            })
        })
    });
    LogDir {
        error: Refusal::check(dir.error_code, None, || format!("log directory {path}")).err(),
        total_bytes: u64::try_from(dir.total_bytes).ok(),
        usable_bytes: u64::try_from(dir.usable_bytes).ok(),
        replicas: replicas.collect(),
        path,
    }
}
