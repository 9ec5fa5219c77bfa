//! Loading: the records of the partition, in order, make the state.

use bytes::Bytes;
use ottla_types::{Offset, ProducerId};

use super::{GroupShard, Phase};
use crate::classic::ClassicGroup;
use crate::foreign::{ForeignGroup, ForeignRecord};
use crate::names::{GroupId, Now};
use crate::records::{self, Replayed};
use crate::registry::Group;

/// A record of the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Set if it is part of a transaction.
    pub transaction_of: Option<ProducerId>,
    /// Its key; a record without one is skipped.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl GroupShard {
    /// Takes a record from the log. Records that are not understood (damaged, or of a newer
    /// Kafka) are counted and left where they are.
    ///
    /// # Panics
    /// If the shard is not loading.
    pub fn replay(&mut self, record: &LoggedRecord) {
        assert!(self.phase == Phase::Loading, "records are replayed before the shard serves");
        let read = record.key.as_ref().map(|key| records::read(key, record.value.as_ref()));
        match read {
            Some(Ok(Some(replayed))) => self.apply(record, replayed),
            _ => self.fx.counters.skipped_records += 1,
        }
    }

    fn apply(&mut self, record: &LoggedRecord, replayed: Replayed) {
        match replayed {
            Replayed::Offset { group, topic, partition, value } => {
                if value.is_some() {
                    self.ensure_group(&group);
                }
                let producer = record.transaction_of;
                self.offsets.replay(&group, &topic, partition, value, record.offset, producer);
            }
            Replayed::Group(group) => {
                self.groups.replay_set(group.id.clone(), Group::Classic(group));
            }
            Replayed::GroupEnd(group) => {
                if let Some(Group::Classic(_)) = self.groups.get(&group) {
                    self.groups.replay_remove(&group);
                }
            }
            Replayed::Consumer { group, change } => self.apply_consumer(&group, change),
            Replayed::Foreign { group, record: id } => {
                self.fx.counters.skipped_records += 1;
                if let Some(key) = &record.key {
                    self.apply_foreign(group, id, key, record.value.is_some());
                }
            }
        }
    }

    /// Offsets of a group without management are all there is of it.
    pub(super) fn ensure_group(&mut self, id: &GroupId) {
        if self.groups.get(id).is_none() {
            let group = ClassicGroup::loaded(id.clone(), None);
            self.groups.replay_set(id.clone(), Group::Classic(Box::new(group)));
        }
    }

    fn apply_foreign(&mut self, id: GroupId, record: ForeignRecord, key: &Bytes, live: bool) {
        let same = match self.groups.get_mut(&id) {
            Some(Group::Foreign(group)) if group.kind == record.kind => Some(group),
            // Offsets may come first in a compacted log.
            Some(Group::Classic(group)) if !group.is_simple() => return,
            Some(Group::Consumer(_)) => return,
            _ if !live => return,
            _ => None,
        };
        match same {
            Some(group) => {
                group.replay(record, key, live);
                if group.is_gone() {
                    self.groups.replay_remove(&id);
                    if self.offsets.newest_of(&id).is_some() {
                        self.ensure_group(&id);
                    }
                }
            }
            None => {
                let mut group = ForeignGroup::new(record.kind);
                group.replay(record, key, live);
                self.groups.replay_set(id, Group::Foreign(group));
            }
        }
    }

    /// Takes the marker that ends a producer's transaction from the log.
    ///
    /// # Panics
    /// If the shard is not loading.
    pub fn replay_marker(&mut self, producer: ProducerId, committed: bool) {
        assert!(self.phase == Phase::Loading, "records are replayed before the shard serves");
        for group in self.offsets.replay_marker(producer, committed) {
            self.ensure_group(&group);
        }
    }

    /// Everything up to `end` was replayed, and is committed: the shard serves from now on.
    /// Sessions of all members begin anew.
    ///
    /// # Panics
    /// If the shard is not loading.
    pub fn loaded(&mut self, now: Now, end: Offset) {
        assert!(self.phase == Phase::Loading, "a shard is loaded once");
        self.phase = Phase::Active;
        self.high_watermark = end;
        let Self { groups, fx, .. } = self;
        for group in groups.classic_groups() {
            group.start_all_sessions(fx, now);
            // The limit may be lower than it was: the last ones to join again are to go.
            if fx.config.group_size_max < group.members().len() {
                group.prepare_rebalance(fx, now);
            }
        }
        self.consumers_loaded(now);
        self.schedule_retention(now);
    }
}
