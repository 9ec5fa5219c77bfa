//! The next state of one partition: its leader, ISR and eligible leader replicas.
//!
//! Source: Kafka's `PartitionChangeBuilder` and KIP-966. Order of election: the leader if it may
//! go on, the first replica in sync that may lead, with an empty ISR an eligible one, with both
//! empty the last known leader, and only if it is allowed any replica that is alive.

use std::collections::BTreeSet;

use ottla_types::{DirectoryId, NodeId, PartitionIndex, TopicId};

use super::op::Op;
use crate::generated::PartitionChangeRecord;
use crate::image::topic::{NO_LEADER, NO_LEADER_CHANGE, raw_nodes};
use crate::image::{LeaderRecovery, PartitionState};
use crate::record::Record;

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica.
    Preferred,
    /// Any that is in sync or eligible.
    #[default]
    Online,
    /// If there is none, any that is alive.
    Unclean,
}

/// A wanted change of one partition.
pub(super) struct Change<'a> {
    state: &'a PartitionState,
    topic: TopicId,
    partition: PartitionIndex,
    pub(super) election: Election,
    pub(super) isr: Vec<NodeId>,
    pub(super) recovery: LeaderRecovery,
    /// Brokers whose disks may have lost what they had not flushed.
    pub(super) unclean: Option<NodeId>,
    /// A replica that was put into a directory.
    pub(super) directory: Option<(NodeId, DirectoryId)>,
    replicas: Vec<NodeId>,
    removing: Vec<NodeId>,
    adding: Vec<NodeId>,
    elr: Vec<NodeId>,
}

/// Who may lead, as one change sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acceptable {
    /// Never this one: it is being fenced or is shutting down.
    pub(super) not: Option<NodeId>,
    /// Nor this one: it lost its unflushed data.
    pub(super) nor: Option<NodeId>,
    /// This one although it still counts as fenced: it is being unfenced.
    pub(super) also: Option<NodeId>,
}

impl<'a> Change<'a> {
    /// No change yet.
    pub(super) fn new(
        state: &'a PartitionState,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Self {
        Self {
            state,
            topic,
            partition,
            election: Election::Online,
            isr: state.isr.clone(),
            recovery: state.recovery,
            unclean: None,
            directory: None,
            replicas: state.replicas.clone(),
            removing: state.removing.clone(),
            adding: state.adding.clone(),
            elr: state.elr.clone(),
        }
    }

    /// The record that makes the change, `None` if nothing changes.
    pub(super) fn build(mut self, op: &Op<'_>, acceptable: Acceptable) -> Option<Record> {
        let elr_enabled = op.image.elr_enabled();
        let mut record = PartitionChangeRecord {
            topic_id: self.topic.0,
            partition_id: self.partition.to_wire(),
            ..Default::default()
        };
        self.complete_reassignment();
        if elr_enabled {
            self.fill_elr(op.min_isr(self.topic));
        }
        let may_lead = |node: NodeId| {
            Some(node) != acceptable.not
                && Some(node) != acceptable.nor
                && (Some(node) == acceptable.also || op.image.is_active(node))
                && op.image.broker(node).is_some_and(|broker| {
                    let dir = self.state.directory(node).unwrap_or(DirectoryId::UNASSIGNED);
                    broker.has_online_dir(dir)
                })
        };
        let elected = self.elect(elr_enabled, &may_lead);
        self.record_election(&mut record, elected);
        let lost_replica = self.state.replicas.iter().any(|node| !self.replicas.contains(node));
        if record.leader == NO_LEADER_CHANGE && lost_replica {
            record.leader = NodeId::option_to_wire(self.state.leader);
        }
        self.record_isr(op, &mut record, elr_enabled);
        self.record_assignment(op, &mut record);
        if self.recovery != self.state.recovery {
            record.leader_recovery_state = self.recovery.code();
        }
        let nothing = PartitionChangeRecord {
            topic_id: record.topic_id,
            partition_id: record.partition_id,
            ..Default::default()
        };
        (record != nothing).then(|| Record::versioned(record, op.version.partition_record()))
    }

    /// Ends a reassignment whose new replicas are in sync.
    fn complete_reassignment(&mut self) {
        if !self.state.is_reassigning() {
            return;
        }
        let stays = |node: &&NodeId| !self.removing.contains(node);
        let isr: Vec<NodeId> = self.isr.iter().filter(stays).copied().collect();
        let replicas: Vec<NodeId> = self.replicas.iter().filter(stays).copied().collect();
        if isr.is_empty() || replicas.is_empty() {
            return;
        }
        if !self.adding.iter().all(|node| isr.contains(node)) {
            return;
        }
        // While replicas become fewer, all that stay must be in sync.
        let shrinks = self.adding.len() < self.removing.len();
        if shrinks && !replicas.iter().all(|node| isr.contains(node)) {
            return;
        }
        (self.isr, self.replicas) = (isr, replicas);
        self.removing.clear();
        self.adding.clear();
    }

    /// With fewer than `min_isr` in sync nothing new is committed, so whoever leaves the ISR then
    /// still holds all that is.
    fn fill_elr(&mut self, min_isr: usize) {
        if self.isr.len() >= min_isr {
            self.elr.clear();
            return;
        }
        let candidates: BTreeSet<NodeId> =
            self.elr.iter().chain(&self.state.isr).copied().collect();
        self.elr = candidates
            .into_iter()
            .filter(|node| !self.isr.contains(node) && Some(*node) != self.unclean)
            .collect();
    }

    /// The leader, and whether it may have lost committed records.
    fn elect(
        &self,
        elr_enabled: bool,
        may_lead: &dyn Fn(NodeId) -> bool,
    ) -> (Option<NodeId>, bool) {
        let in_sync = |node: &NodeId| {
            let known = self.isr.contains(node);
            (known || (self.isr.is_empty() && self.elr.contains(node))) && may_lead(*node)
        };
        let current = self.state.leader.filter(in_sync);
        let first = self.replicas.iter().copied().find(in_sync);
        let preferred = self.replicas.first().copied().filter(in_sync);
        let clean = match self.election {
            Election::Preferred => preferred.or(current).or(first),
            Election::Online | Election::Unclean => current.or(first),
        };
        if clean.is_some() {
            return (clean, false);
        }
        if elr_enabled
            && self.elr.is_empty()
            && self.isr.is_empty()
            && let [last] = self.state.last_known_elr.as_slice()
            && may_lead(*last)
        {
            return (Some(*last), true);
        }
        if self.election == Election::Unclean {
            let alive = self.replicas.iter().copied().find(|node| may_lead(*node));
            return (alive, alive.is_some());
        }
        (None, false)
    }

    fn record_election(
        &mut self,
        record: &mut PartitionChangeRecord,
        (leader, unclean): (Option<NodeId>, bool),
    ) {
        if leader == self.state.leader {
            return;
        }
        record.leader = NodeId::option_to_wire(leader);
        let Some(leader) = leader else { return };
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|node| *node != leader);
        }
        if unclean {
            record.isr = Some(vec![leader.to_wire()]);
            if self.state.recovery != LeaderRecovery::Recovering {
                record.leader_recovery_state = LeaderRecovery::Recovering.code();
            }
        }
    }

    fn record_isr(&mut self, op: &Op<'_>, record: &mut PartitionChangeRecord, elr_enabled: bool) {
        let unclean = record.isr.is_some();
        if unclean || !elr_enabled {
            self.elr.clear();
        }
        if self.elr != self.state.elr {
            record.eligible_leader_replicas = Some(raw_nodes(&self.elr));
        }
        let may_be_empty = elr_enabled;
        if !unclean && (may_be_empty || !self.isr.is_empty()) && self.isr != self.state.isr {
            record.isr = Some(raw_nodes(&self.isr));
        }
        if let Some(isr) = &record.isr {
            let shrinks = self.state.isr.iter().any(|node| !isr.contains(&node.to_wire()));
            let needs_epoch = !op.version.keeps_epoch_on_isr_shrink();
            if needs_epoch && shrinks && record.leader == NO_LEADER_CHANGE {
                record.leader = NodeId::option_to_wire(self.state.leader);
            }
        }
        if elr_enabled {
            let last_known = &self.state.last_known_elr;
            match (record.leader, self.state.leader) {
                (NO_LEADER, Some(leader)) if last_known.is_empty() => {
                    record.last_known_elr = Some(vec![leader.to_wire()]);
                }
                (leader, _) if leader >= 0 && !last_known.is_empty() => {
                    record.last_known_elr = Some(Vec::new());
                }
                _ => {}
            }
        }
    }

    fn record_assignment(&self, op: &Op<'_>, record: &mut PartitionChangeRecord) {
        if op.version.directories() {
            let default_dir = |node: NodeId| {
                op.image.broker(node).map_or(DirectoryId::UNASSIGNED, |b| b.default_dir())
            };
            let directory = |node: NodeId| match self.directory {
                Some((put, dir)) if put == node => dir,
                _ => self.state.directory(node).unwrap_or_else(|| default_dir(node)),
            };
            let directories: Vec<DirectoryId> =
                self.replicas.iter().copied().map(directory).collect();
            if directories != self.state.directories {
                record.directories = Some(directories.into_iter().map(|dir| dir.0).collect());
            }
        }
        let lists = [
            (&self.replicas, &self.state.replicas, &mut record.replicas),
            (&self.removing, &self.state.removing, &mut record.removing_replicas),
            (&self.adding, &self.state.adding, &mut record.adding_replicas),
        ];
        for (new, old, field) in lists {
            if new != old {
                *field = Some(raw_nodes(new));
            }
        }
    }
}
