//! What leaders, brokers and people change about existing partitions: ISR, leader, directories.
//!
//! Source: `alterPartition`, `electLeaders` and `handleAssignReplicasToDirs` of Kafka's
//! `ReplicationControlManager`. Reassignment is not offered yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_types::{ErrorCode, NodeId, PartitionIndex, TopicId};

use super::brokers::Cause;
use super::change::{Acceptable, Change, Election};
use super::op::Op;
use super::request::{
    AlterPartition, AlteredPartition, ApiError, AssignReplicasToDirs, ElectLeaders, IsrChange,
    Outcome, Response,
};
use crate::image::{LeaderRecovery, PartitionState, TopicImage};

/// Most elections of one periodic check.
const ELECTIONS_MAX: usize = 1_000;

impl Op<'_> {
    /// AlterPartition.
    pub(super) fn alter_partition(
        &mut self,
        request: &AlterPartition,
    ) -> Result<Response, ApiError> {
        self.check_broker_epoch(request.broker, request.epoch)?;
        let mut results = Vec::with_capacity(request.partitions.len());
        for (id, change) in &request.partitions {
            // A negative index exists nowhere; it is answered as partition 0 would be.
            let partition = PartitionIndex::from_wire(change.partition);
            let result = match self.image.topic_by_id(*id).cloned() {
                None => Err(ErrorCode::UnknownTopicId),
                Some(topic) => self.change_isr(request.broker, &topic, change),
            };
            results.push((*id, partition.unwrap_or_default(), result));
        }
        Ok(Response::PartitionsAltered(results))
    }

    fn change_isr(
        &mut self,
        leader: NodeId,
        topic: &Arc<TopicImage>,
        wanted: &IsrChange,
    ) -> Result<AlteredPartition, ErrorCode> {
        let partition = PartitionIndex::from_wire(wanted.partition);
        let found = partition.and_then(|index| Some((index, topic.partitions.get(&index)?)));
        let (partition, state) = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let isr = self.check_isr(leader, state, wanted)?;
        let mut change = Change::new(state, topic.id, partition);
        change.isr = isr;
        change.recovery = wanted.recovery;
        if self.unclean_election_enabled(&topic.name) {
            change.election = Election::Unclean;
        }
        let Some(record) = change.build(self, Acceptable::default()) else {
            return Ok(altered(state));
        };
        let old_leader = state.leader;
        self.push(record);
        let topic = self.image.topic_by_id(topic.id).expect("a change removes no topic");
        let state = topic.partitions.get(&partition).expect("a change removes no partition");
        let led_on = state.leader == Some(leader) || state.leader == old_leader;
        if led_on { Ok(altered(state)) } else { Err(ErrorCode::NewLeaderElected) }
    }

    /// The ISR that the leader wants, if it may have it.
    fn check_isr(
        &self,
        leader: NodeId,
        state: &PartitionState,
        wanted: &IsrChange,
    ) -> Result<Vec<NodeId>, ErrorCode> {
        let (leader_epoch, epoch) = (state.leader_epoch.to_wire(), state.partition_epoch.to_wire());
        if wanted.leader_epoch > leader_epoch || wanted.partition_epoch > epoch {
            // The leader knows a later state: this controller has been replaced.
            return Err(ErrorCode::NotController);
        }
        if wanted.leader_epoch < leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if state.leader != Some(leader) {
            return Err(ErrorCode::InvalidRequest);
        }
        if wanted.partition_epoch < epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let isr: Option<Vec<NodeId>> =
            wanted.isr.iter().map(|(id, _)| NodeId::from_wire(*id)).collect();
        let isr = isr.ok_or(ErrorCode::InvalidRequest)?;
        let distinct = isr.iter().collect::<BTreeSet<_>>().len() == isr.len();
        if isr.is_empty() || !distinct || !isr.iter().all(|id| state.replicas.contains(id)) {
            return Err(ErrorCode::InvalidRequest);
        }
        if !isr.contains(&leader) {
            return Err(ErrorCode::InvalidRequest);
        }
        if wanted.recovery == LeaderRecovery::Recovering
            && (isr.len() > 1 || state.recovery == LeaderRecovery::Recovered)
        {
            return Err(ErrorCode::InvalidRequest);
        }
        for (id, (_, epoch)) in isr.iter().zip(&wanted.isr) {
            let eligible = self.image.broker(*id).is_some_and(|broker| {
                broker.is_active() && epoch.is_none_or(|epoch| epoch == broker.epoch)
            });
            if !eligible {
                return Err(ErrorCode::IneligibleReplica);
            }
        }
        Ok(isr)
    }

    /// ElectLeaders.
    pub(super) fn elect_leaders(&mut self, request: ElectLeaders) -> Result<Response, ApiError> {
        let election = match request.kind {
            0 => Election::Preferred,
            1 => Election::Unclean,
            kind => {
                let text = format!("Unknown election type {kind}");
                return Err(ApiError::new(ErrorCode::InvalidRequest, text));
            }
        };
        let every = request.partitions.is_none();
        let topics = request.partitions.unwrap_or_else(|| {
            let names = self.image.topic_ids().keys();
            names
                .filter_map(|name| {
                    let partitions = self.image.topic(name)?.partitions.keys();
                    Some((name.to_string(), partitions.map(|p| p.to_wire()).collect()))
                })
                .collect()
        });
        let mut results = Vec::with_capacity(topics.len());
        for (name, partitions) in topics {
            let mut outcomes = Vec::with_capacity(partitions.len());
            for partition in partitions {
                let outcome = self.elect_leader(&name, partition, election);
                let needless = matches!(
                    &outcome,
                    Err(error) if error.code == ErrorCode::ElectionNotNeeded
                );
                if !(every && needless) {
                    let index = PartitionIndex::from_wire(partition).unwrap_or_default();
                    outcomes.push((index, outcome));
                }
            }
            results.push((name, outcomes));
        }
        Ok(Response::LeadersElected(results))
    }

    fn elect_leader(&mut self, name: &str, partition: i32, election: Election) -> Outcome {
        let unknown = |text: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
        let Some(topic) = self.image.topic(name).cloned() else {
            return Err(unknown(format!("No such topic as {name}")));
        };
        let index = PartitionIndex::from_wire(partition);
        let found = index.and_then(|index| Some((index, topic.partitions.get(&index)?)));
        let Some((index, state)) = found else {
            return Err(unknown(format!("No such partition as {name}-{partition}")));
        };
        let needless = match election {
            Election::Preferred => state.has_preferred_leader(),
            Election::Online | Election::Unclean => state.leader.is_some(),
        };
        if needless {
            let text = "Leader election not needed for topic partition.";
            return Err(ApiError::new(ErrorCode::ElectionNotNeeded, text));
        }
        let mut change = Change::new(state, topic.id, index);
        change.election = election;
        match (change.build(self, Acceptable::default()), election) {
            (Some(record), _) => {
                self.push(record);
                Ok(())
            }
            (None, Election::Preferred) => {
                let text = "The preferred leader was not available.";
                Err(ApiError::new(ErrorCode::PreferredLeaderNotAvailable, text))
            }
            (None, _) => {
                let text = "Eligible topic partition leaders are not available.";
                Err(ApiError::new(ErrorCode::EligibleLeadersNotAvailable, text))
            }
        }
    }

    /// Moves leaderships back to preferred replicas; says whether there may be more to do.
    pub(super) fn balance_leaders(&mut self) -> bool {
        let imbalanced: Vec<_> = self.image.indexes().imbalanced().iter().copied().collect();
        for (id, partition) in imbalanced {
            if self.records.len() >= ELECTIONS_MAX {
                return true;
            }
            let Some(topic) = self.image.topic_by_id(id).cloned() else { continue };
            let Some(state) = topic.partitions.get(&partition) else { continue };
            let mut change = Change::new(state, id, partition);
            change.election = Election::Preferred;
            if let Some(record) = change.build(self, Acceptable::default()) {
                self.push(record);
            }
        }
        false
    }

    /// Elects any live replica where that is allowed and there is no leader.
    pub(super) fn elect_unclean_leaders(&mut self) -> bool {
        let leaderless: Vec<_> = self.image.indexes().leaderless().iter().copied().collect();
        for (id, partition) in leaderless {
            if self.records.len() >= ELECTIONS_MAX {
                return true;
            }
            let Some(topic) = self.image.topic_by_id(id).cloned() else { continue };
            if self.unclean_election_enabled(&topic.name) {
                // Nobody alive is no reason to stop; the next check tries again.
                let _ = self.elect_leader(&topic.name, partition.to_wire(), Election::Unclean);
            }
        }
        false
    }

    /// AssignReplicasToDirs.
    pub(super) fn assign_replicas(
        &mut self,
        request: &AssignReplicasToDirs,
    ) -> Result<Response, ApiError> {
        if !self.version.directories() {
            let text = "Directory assignment is not supported yet.";
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        let broker = self.check_broker_epoch(request.broker, request.epoch)?;
        let mut offline: Vec<(TopicId, PartitionIndex)> = Vec::new();
        let mut results = Vec::with_capacity(request.replicas.len());
        for (dir, id, partition) in request.replicas.iter().copied() {
            let code = match self.image.topic_by_id(id).map(|t| t.partitions.get(&partition)) {
                None => ErrorCode::UnknownTopicId,
                Some(None) => ErrorCode::UnknownTopicOrPartition,
                Some(Some(state)) if !state.replicas.contains(&request.broker) => {
                    ErrorCode::NotLeaderOrFollower
                }
                Some(Some(state)) => {
                    let state = Arc::clone(state);
                    let mut change = Change::new(&state, id, partition);
                    change.directory = Some((request.broker, dir));
                    if let Some(record) = change.build(self, Acceptable::default()) {
                        self.push(record);
                    }
                    if !broker.has_online_dir(dir) {
                        offline.push((id, partition));
                    }
                    ErrorCode::None
                }
            };
            results.push((dir, id, partition, code));
        }
        self.update_leaders_and_isrs(Cause::Leaves(request.broker), offline);
        Ok(Response::ReplicasAssigned(results))
    }
}

fn altered(state: &PartitionState) -> AlteredPartition {
    AlteredPartition {
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr: state.isr.clone(),
        recovery: state.recovery,
        partition_epoch: state.partition_epoch,
    }
}
