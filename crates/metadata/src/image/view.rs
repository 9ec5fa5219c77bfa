//! What request handlers ask of an image: nodes by listener, partitions as clients see them.
//!
//! Own types, no protocol types: a handler turns a view into its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{LeaderEpoch, NodeId, PartitionIndex};

use super::ClusterImage;
use super::broker::{BrokerRegistration, Endpoint};
use super::resource::ConfigResource;
use super::topic::PartitionState;

/// What keeps a client from its partition, seen from one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaProblem {
    /// There is no leader, or its broker is not registered: LEADER_NOT_AVAILABLE.
    NoLeader,
    /// The leader's broker does not listen there: LISTENER_NOT_FOUND (LEADER_NOT_AVAILABLE for
    /// Metadata below version 6).
    NoListener,
}

/// A partition as Metadata and DescribeTopicPartitions show it to one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// Which partition.
    pub partition: PartitionIndex,
    /// The leader, if the client can reach it.
    pub leader: Result<NodeId, ReplicaProblem>,
    /// Leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// Every replica.
    pub replicas: Vec<NodeId>,
    /// Replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas that the client cannot reach, or whose directory is offline.
    pub offline: Vec<NodeId>,
    /// Eligible leader replicas.
    pub elr: Vec<NodeId>,
    /// Last known leader, while there is none.
    pub last_known_elr: Vec<NodeId>,
}

impl ClusterImage {
    /// Brokers that are not fenced and listen under this name, by id.
    pub fn alive_brokers<'a>(
        &'a self,
        listener: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<BrokerRegistration>, &'a Endpoint)> {
        let alive = self.brokers().values().filter(|broker| !broker.fenced);
        alive.filter_map(move |broker| Some((broker, broker.endpoint(listener)?)))
    }

    /// Where a broker listens under this name, fenced or not.
    pub fn endpoint(&self, node: NodeId, listener: &str) -> Option<&Endpoint> {
        self.broker(node)?.endpoint(listener)
    }

    /// Whether a client of this listener can reach the broker.
    pub fn is_reachable(&self, node: NodeId, listener: &str) -> bool {
        self.broker(node).is_some_and(|b| !b.fenced && b.endpoint(listener).is_some())
    }

    /// A partition as a client of this listener sees it.
    pub fn partition_view(
        &self,
        partition: PartitionIndex,
        state: &PartitionState,
        listener: &str,
    ) -> PartitionView {
        let offline = state.replicas.iter().zip(&state.directories).filter(|(node, dir)| {
            let online_dir = self.broker(**node).is_some_and(|b| b.has_online_dir(**dir));
            !self.is_reachable(**node, listener) || !online_dir
        });
        let leader = match state.leader.map(|leader| (leader, self.broker(leader))) {
            None | Some((_, None)) => Err(ReplicaProblem::NoLeader),
            Some((leader, Some(broker))) => {
                broker.endpoint(listener).map(|_| leader).ok_or(ReplicaProblem::NoListener)
            }
        };
        PartitionView {
            partition,
            leader,
            leader_epoch: state.leader_epoch,
            offline: offline.map(|(node, _)| *node).collect(),
            replicas: state.replicas.clone(),
            isr: state.isr.clone(),
            elr: state.elr.clone(),
            last_known_elr: state.last_known_elr.clone(),
        }
    }

    /// Dynamic configs that apply to a broker: its own and the default of all brokers, in that
    /// order of precedence.
    pub fn broker_config_layers(&self, node: NodeId) -> [Arc<BTreeMap<String, String>>; 2] {
        let layer = |resource| self.config(&resource).cloned().unwrap_or_default();
        [layer(ConfigResource::broker(node)), layer(ConfigResource::every_broker())]
    }
}
