//! Topics and their partitions as the log describes them.
//!
//! Values only: how a partition's state may change is decided in the controller.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_types::{
    DirectoryId, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId, TopicName, Uuid,
};

use super::error::ApplyError;
use crate::features::MetadataVersion;
use crate::generated::{PartitionChangeRecord, PartitionRecord, TopicRecord};
use crate::record::Record;

/// Leader field of a change record that leaves the leader as it is.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;
/// Leader field that says that there is none.
pub(crate) const NO_LEADER: i32 = -1;

/// Whether the leader may have lost committed records (KIP-704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum LeaderRecovery {
    /// The leader was in sync when it was elected, or has recovered.
    #[default]
    Recovered = 0,
    /// The leader was elected although it was not known to be in sync.
    Recovering = 1,
}

impl LeaderRecovery {
    /// The state with this code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }

    /// Code in records and requests.
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// State of one partition. Source: Kafka's `PartitionRegistration`.
///
/// Invariants of a state that this controller writes: `isr` is part of `replicas`, `elr` does not
/// meet `isr`, the leader is in `isr`, and `directories` is as long as `replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Brokers that hold a replica; the first one is the preferred leader.
    pub replicas: Vec<NodeId>,
    /// Log directory of each replica, in the same order.
    pub directories: Vec<DirectoryId>,
    /// Replicas that are in sync.
    pub isr: Vec<NodeId>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// Replicas outside the ISR that hold every committed record (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last leader, while there is none.
    pub last_known_elr: Vec<NodeId>,
    /// The leader.
    pub leader: Option<NodeId>,
    /// Whether the leader may have lost records.
    pub recovery: LeaderRecovery,
    /// Raised with every new leader.
    pub leader_epoch: LeaderEpoch,
    /// Raised with every change.
    pub partition_epoch: PartitionEpoch,
}

impl PartitionState {
    /// Reads a record.
    pub fn from_record(record: &PartitionRecord) -> Result<Self, ApplyError> {
        let bad = |field| ApplyError::BadField { record: "Partition", field };
        let node_ids = |field, raw: &[i32]| nodes(raw).ok_or_else(|| bad(field));
        let replicas = node_ids("Replicas", &record.replicas)?;
        let directories =
            directories(&record.directories, replicas.len()).ok_or_else(|| bad("Directories"))?;
        Ok(Self {
            directories,
            replicas,
            isr: node_ids("Isr", &record.isr)?,
            removing: node_ids("RemovingReplicas", &record.removing_replicas)?,
            adding: node_ids("AddingReplicas", &record.adding_replicas)?,
            elr: match &record.eligible_leader_replicas {
                Some(raw) => node_ids("EligibleLeaderReplicas", raw)?,
                None => Vec::new(),
            },
            last_known_elr: match &record.last_known_elr {
                Some(raw) => node_ids("LastKnownElr", raw)?,
                None => Vec::new(),
            },
            leader: NodeId::from_wire(record.leader),
            recovery: LeaderRecovery::from_code(record.leader_recovery_state)
                .ok_or_else(|| bad("LeaderRecoveryState"))?,
            leader_epoch: LeaderEpoch::from_wire(record.leader_epoch)
                .ok_or_else(|| bad("LeaderEpoch"))?,
            partition_epoch: PartitionEpoch::from_wire(record.partition_epoch)
                .ok_or_else(|| bad("PartitionEpoch"))?,
        })
    }

    /// The state after a change record.
    pub fn merge(&self, record: &PartitionChangeRecord) -> Result<Self, ApplyError> {
        let bad = |field| ApplyError::BadField { record: "PartitionChange", field };
        let mut next = self.clone();
        let lists = [
            ("Replicas", &record.replicas, &mut next.replicas),
            ("Isr", &record.isr, &mut next.isr),
            ("RemovingReplicas", &record.removing_replicas, &mut next.removing),
            ("AddingReplicas", &record.adding_replicas, &mut next.adding),
            ("EligibleLeaderReplicas", &record.eligible_leader_replicas, &mut next.elr),
            ("LastKnownElr", &record.last_known_elr, &mut next.last_known_elr),
        ];
        for (field, new, list) in lists {
            if let Some(raw) = new {
                *list = nodes(raw).ok_or_else(|| bad(field))?;
            }
        }
        let old: Vec<Uuid> = self.directories.iter().map(|dir| dir.0).collect();
        next.directories =
            directories(record.directories.as_deref().unwrap_or(&old), next.replicas.len())
                .ok_or_else(|| bad("Directories"))?;
        if record.leader != NO_LEADER_CHANGE {
            next.leader = NodeId::from_wire(record.leader);
            next.leader_epoch = self.leader_epoch.next();
        }
        if record.leader_recovery_state != -1 {
            next.recovery = LeaderRecovery::from_code(record.leader_recovery_state)
                .ok_or_else(|| bad("LeaderRecoveryState"))?;
        }
        next.partition_epoch = self.partition_epoch.next();
        Ok(next)
    }

    /// Writes the record that a snapshot and a new topic hold. ELR fields are written only while
    /// that feature is on; directories only if the metadata version has them.
    pub fn to_record(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        version: MetadataVersion,
        elr_enabled: bool,
    ) -> Record {
        let unless_empty =
            |list: &[NodeId]| (elr_enabled && !list.is_empty()).then(|| raw_nodes(list));
        let record = PartitionRecord {
            partition_id: partition.to_wire(),
            topic_id: topic.0,
            replicas: raw_nodes(&self.replicas),
            isr: raw_nodes(&self.isr),
            removing_replicas: raw_nodes(&self.removing),
            adding_replicas: raw_nodes(&self.adding),
            leader: NodeId::option_to_wire(self.leader),
            leader_recovery_state: self.recovery.code(),
            leader_epoch: self.leader_epoch.to_wire(),
            partition_epoch: self.partition_epoch.to_wire(),
            directories: if version.directories() {
                self.directories.iter().map(|dir| dir.0).collect()
            } else {
                Vec::new()
            },
            eligible_leader_replicas: unless_empty(&self.elr),
            last_known_elr: unless_empty(&self.last_known_elr),
        };
        Record::versioned(record, version.partition_record())
    }

    /// The replica that leads when all is well.
    pub fn preferred(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }

    /// Whether the preferred replica leads.
    pub fn has_preferred_leader(&self) -> bool {
        self.leader == self.preferred()
    }

    /// Directory of a replica, `None` when the broker holds none.
    pub fn directory(&self, replica: NodeId) -> Option<DirectoryId> {
        let at = self.replicas.iter().position(|node| *node == replica)?;
        self.directories.get(at).copied()
    }

    /// Whether a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.removing.is_empty() || !self.adding.is_empty()
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Name.
    pub name: TopicName,
    /// Id; another one when a topic is deleted and made again.
    pub id: TopicId,
    /// Partitions by index.
    pub partitions: OrdMap<PartitionIndex, Arc<PartitionState>>,
}

impl TopicImage {
    /// The record that names it.
    pub fn to_record(&self) -> Record {
        Record::new(TopicRecord { name: self.name.as_str().into(), topic_id: self.id.0 })
    }
}

/// Node ids of a record, `None` if one is negative.
pub(crate) fn nodes(raw: &[i32]) -> Option<Vec<NodeId>> {
    raw.iter().map(|id| NodeId::from_wire(*id)).collect()
}

/// Node ids for a record.
pub(crate) fn raw_nodes(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|id| id.to_wire()).collect()
}

/// Directories for `replicas` replicas; none, or only zeros, means that they are not known yet.
fn directories(raw: &[Uuid], replicas: usize) -> Option<Vec<DirectoryId>> {
    if raw.iter().all(|dir| dir.is_zero()) {
        return Some(vec![DirectoryId::MIGRATING; replicas]);
    }
    (raw.len() == replicas).then(|| raw.iter().copied().map(DirectoryId).collect())
}
