//! Indexes over partitions: which broker leads, is in sync or eligible where.
//!
//! Derived from the topics and kept in step with them, so that fencing a broker costs what it
//! touches and not the size of the cluster. No part of equality or snapshots.

use imbl::{OrdMap, OrdSet};
use ottla_types::{NodeId, PartitionIndex, TopicId, TopicName};

use super::topic::PartitionState;

type Held = OrdSet<(NodeId, TopicId, PartitionIndex)>;

/// The indexes.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionIndexes {
    leader: Held,
    isr: Held,
    elr: Held,
    leaderless: OrdSet<(TopicId, PartitionIndex)>,
    imbalanced: OrdSet<(TopicId, PartitionIndex)>,
    /// Names that a metric would confuse, by the name with underscores.
    colliding: OrdMap<String, OrdSet<TopicName>>,
}

impl PartitionIndexes {
    /// Notes that a partition went from `old` to `new`; `None` is "not there".
    pub(super) fn update(
        &mut self,
        topic: TopicId,
        partition: PartitionIndex,
        old: Option<&PartitionState>,
        new: Option<&PartitionState>,
    ) {
        if let Some(old) = old {
            for node in &old.isr {
                self.isr.remove(&(*node, topic, partition));
            }
            for node in &old.elr {
                self.elr.remove(&(*node, topic, partition));
            }
            if let Some(leader) = old.leader {
                self.leader.remove(&(leader, topic, partition));
            }
            self.leaderless.remove(&(topic, partition));
            self.imbalanced.remove(&(topic, partition));
        }
        let Some(new) = new else { return };
        self.isr.extend(new.isr.iter().map(|node| (*node, topic, partition)));
        self.elr.extend(new.elr.iter().map(|node| (*node, topic, partition)));
        match new.leader {
            Some(leader) => {
                self.leader.insert((leader, topic, partition));
            }
            None => {
                self.leaderless.insert((topic, partition));
            }
        }
        if !new.has_preferred_leader() {
            self.imbalanced.insert((topic, partition));
        }
    }

    /// Notes a new topic name.
    pub(super) fn name_added(&mut self, name: &TopicName) {
        if let Some(unified) = unified(name) {
            self.colliding.entry(unified).or_default().insert(name.clone());
        }
    }

    /// Notes that a topic name is gone.
    pub(super) fn name_removed(&mut self, name: &TopicName) {
        let Some(unified) = unified(name) else { return };
        let Some(names) = self.colliding.get_mut(&unified) else { return };
        names.remove(name);
        if names.is_empty() {
            self.colliding.remove(&unified);
        }
    }

    /// A topic whose name differs only in full stops and underscores (or not at all).
    pub(crate) fn collision(&self, name: &str) -> Option<&TopicName> {
        self.colliding.get(&unified(name)?)?.get_min()
    }

    /// Partitions in whose ISR the broker is.
    pub(crate) fn in_isr(&self, broker: NodeId) -> Vec<(TopicId, PartitionIndex)> {
        of_broker(&self.isr, broker)
    }

    /// Partitions in whose ELR the broker is.
    pub(crate) fn in_elr(&self, broker: NodeId) -> Vec<(TopicId, PartitionIndex)> {
        of_broker(&self.elr, broker)
    }

    /// Whether the broker leads any partition.
    pub(crate) fn leads(&self, broker: NodeId) -> bool {
        range(&self.leader, broker).next().is_some()
    }

    /// Partitions without a leader.
    pub(crate) fn leaderless(&self) -> &OrdSet<(TopicId, PartitionIndex)> {
        &self.leaderless
    }

    /// Partitions whose leader is not the preferred replica.
    pub(crate) fn imbalanced(&self) -> &OrdSet<(TopicId, PartitionIndex)> {
        &self.imbalanced
    }
}

fn of_broker(set: &Held, broker: NodeId) -> Vec<(TopicId, PartitionIndex)> {
    range(set, broker).map(|(_, topic, partition)| (*topic, *partition)).collect()
}

fn range(set: &Held, broker: NodeId) -> impl Iterator<Item = &(NodeId, TopicId, PartitionIndex)> {
    let first = (broker, TopicId::default(), PartitionIndex(0));
    set.range(first..).take_while(move |(node, _, _)| *node == broker)
}

/// The name with underscores for full stops, if it has either.
fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}
