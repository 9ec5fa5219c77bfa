//! Which groups there are, in two views: the newest, on which decisions rest, and the committed
//! one, which readers see. A group's inside has one view only, as in Kafka: what members do is
//! not in the log until a rebalance is over.

use std::collections::{HashMap, VecDeque};

use crate::classic::ClassicGroup;
use crate::consumer::ConsumerGroup;
use crate::foreign::ForeignGroup;
use crate::names::GroupId;

/// A group of any kind.
#[derive(Debug)]
pub(crate) enum Group {
    /// Of this crate's protocol.
    Classic(Box<ClassicGroup>),
    /// Of KIP-848.
    Consumer(Box<ConsumerGroup>),
    /// Of another.
    Foreign(ForeignGroup),
}

#[derive(Debug)]
struct Slot {
    group: Group,
    /// Whether the log is known to hold it.
    committed: bool,
}

impl Slot {
    /// Readers see what is committed, and what somebody has been told of already: a client that
    /// was answered must not read afterwards that its group does not exist.
    fn is_shown(&self) -> bool {
        self.committed || matches!(&self.group, Group::Classic(group) if group.has_answered())
    }
}

/// All groups of a shard.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    newest: HashMap<GroupId, Slot>,
    /// Removed, but the tombstone is not committed; oldest first.
    removed: HashMap<GroupId, VecDeque<Slot>>,
}

impl Registry {
    /// Groups in the newest view.
    pub(crate) fn len(&self) -> usize {
        self.newest.len()
    }

    /// The newest group of this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Group> {
        self.newest.get(id).map(|slot| &slot.group)
    }

    /// The newest group of this id.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.newest.get_mut(id).map(|slot| &mut slot.group)
    }

    /// The newest group of this id, if it is a classic one.
    pub(crate) fn classic_mut(&mut self, id: &str) -> Option<&mut ClassicGroup> {
        match self.get_mut(id)? {
            Group::Classic(group) => Some(group),
            Group::Consumer(_) | Group::Foreign(_) => None,
        }
    }

    /// The newest group of this id, if it is a consumer group.
    pub(crate) fn consumer_mut(&mut self, id: &str) -> Option<&mut ConsumerGroup> {
        match self.get_mut(id)? {
            Group::Consumer(group) => Some(group),
            Group::Classic(_) | Group::Foreign(_) => None,
        }
    }

    /// All consumer groups, newest view, by id.
    pub(crate) fn consumer_groups(&mut self) -> Vec<&mut ConsumerGroup> {
        let slots = self.newest.values_mut();
        let mut groups: Vec<&mut ConsumerGroup> = slots
            .filter_map(|slot| match &mut slot.group {
                Group::Consumer(group) => Some(&mut **group),
                Group::Classic(_) | Group::Foreign(_) => None,
            })
            .collect();
        groups.sort_by(|one, other| one.id.cmp(&other.id));
        groups
    }

    /// The committed group of this id.
    pub(crate) fn committed(&self, id: &str) -> Option<&Group> {
        let slot = match self.removed.get(id).and_then(VecDeque::front) {
            Some(slot) => slot,
            None => self.newest.get(id)?,
        };
        slot.committed.then_some(&slot.group)
    }

    /// The group of this id as it is described.
    pub(crate) fn shown(&self, id: &str) -> Option<&Group> {
        let newest = self.newest.get(id).filter(|slot| slot.is_shown());
        let removed = self.removed.get(id).and_then(VecDeque::front).filter(|slot| slot.is_shown());
        newest.or(removed).map(|slot| &slot.group)
    }

    /// All groups, newest view.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.newest.iter().map(|(id, slot)| (id, &slot.group))
    }

    /// All classic groups, newest view, by id: two runs must do the same in the same order.
    pub(crate) fn classic_groups(&mut self) -> Vec<&mut ClassicGroup> {
        let slots = self.newest.values_mut();
        let mut groups: Vec<&mut ClassicGroup> = slots
            .filter_map(|slot| match &mut slot.group {
                Group::Classic(group) => Some(&mut **group),
                Group::Consumer(_) | Group::Foreign(_) => None,
            })
            .collect();
        groups.sort_by(|one, other| one.id.cmp(&other.id));
        groups
    }

    /// All groups as they are described.
    pub(crate) fn all_shown(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        let removed = self.removed.keys().filter(|id| !self.newest.contains_key(*id));
        let ids = self.newest.keys().chain(removed);
        ids.filter_map(|id| Some((id, self.shown(id)?)))
    }

    /// Adds a group, to be committed or undone later.
    pub(crate) fn create(&mut self, id: GroupId, group: Group) {
        let before = self.newest.insert(id, Slot { group, committed: false });
        assert!(before.is_none(), "a group is created once");
    }

    /// Removes a group, to be committed or undone later.
    pub(crate) fn remove(&mut self, id: &GroupId) {
        let slot = self.newest.remove(id).expect("a group that is there is removed");
        self.removed.entry(id.clone()).or_default().push_back(slot);
    }

    /// The oldest uncommitted creation of this id is committed.
    pub(crate) fn commit_create(&mut self, id: &GroupId) {
        // Whatever happened before it is committed, so the oldest slot is the one created.
        let removed = self.removed.get_mut(id).and_then(VecDeque::front_mut);
        let slot = removed.or_else(|| self.newest.get_mut(id)).expect("a created group is there");
        assert!(!slot.committed, "a creation is committed once");
        slot.committed = true;
    }

    /// The oldest uncommitted removal of this id is committed.
    pub(crate) fn commit_remove(&mut self, id: &GroupId) {
        let slots = self.removed.get_mut(id).expect("a removal is committed once");
        let slot = slots.pop_front().expect("a removed group is there");
        assert!(slot.committed, "a group is created before it is removed");
        if slots.is_empty() {
            self.removed.remove(id);
        }
    }

    /// The newest creation of this id did not happen: gives the group back.
    pub(crate) fn undo_create(&mut self, id: &GroupId) -> Group {
        let slot = self.newest.remove(id).expect("a created group is there");
        assert!(!slot.committed, "an undone creation was not committed");
        slot.group
    }

    /// The newest removal of this id did not happen.
    pub(crate) fn undo_remove(&mut self, id: &GroupId) {
        let slots = self.removed.get_mut(id).expect("a removal is undone once");
        let slot = slots.pop_back().expect("a removed group is there");
        if slots.is_empty() {
            self.removed.remove(id);
        }
        let before = self.newest.insert(id.clone(), slot);
        assert!(before.is_none(), "what came after the removal was undone first");
    }

    /// Loading: sets a group as the log has it.
    pub(crate) fn replay_set(&mut self, id: GroupId, group: Group) {
        self.newest.insert(id, Slot { group, committed: true });
    }

    /// Loading: removes a group as the log does.
    pub(crate) fn replay_remove(&mut self, id: &str) {
        self.newest.remove(id);
    }
}
