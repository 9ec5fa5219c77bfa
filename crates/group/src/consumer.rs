//! A consumer group (KIP-848): its members, what they are meant to have and what they have.
//!
//! The state is the sum of its records: every change goes through [`ConsumerGroup::apply`], when a
//! request makes it and when the log is read, and can be undone as long as its record is not
//! committed. What members do is in the modules below.

pub(crate) mod assignor;
mod classic;
mod current;
mod describe;
mod heartbeat;
pub(crate) mod member;
pub(crate) mod partitions;
pub(crate) mod records;
pub(crate) mod regex;
mod resolve;
mod target;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ottla_types::{MonoTime, TopicId};

use crate::names::{Epoch, GroupId, InstanceId, MemberId, Topic};
use member::{Current, Member, Partitions, Subscription};
use partitions::PartitionMap;

pub(crate) use classic::{Converted, convert, session_of};
pub use heartbeat::Refused;
pub(crate) use heartbeat::{Edit, check_beat};

/// Topics that a regular expression stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved {
    pub(crate) topics: BTreeSet<Topic>,
    /// Version of the metadata that was looked at.
    pub(crate) version: i64,
    /// When, in milliseconds of the wall clock.
    pub(crate) at: i64,
}

/// One change, as one record makes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// Epoch of the group, and the hash of the topics it is for.
    Epoch(Epoch, i64),
    /// What a member said of itself, or its end.
    Subscription(MemberId, Option<Subscription>),
    /// Epoch of the target assignment, and when it was made; `None` with the group's end.
    TargetEpoch(Option<(Epoch, i64)>),
    /// What a member is meant to have.
    Target(MemberId, Option<Partitions>),
    /// What a member has.
    Current(MemberId, Option<Current>),
    /// What a regular expression stands for.
    Regex(Arc<str>, Option<Resolved>),
    /// The topics' metadata, as Kafka before 4.1 kept it; only its end is written.
    OldMetadata(bool),
    /// The group is gone.
    End,
}

/// What a change has replaced.
#[derive(Debug)]
pub(crate) enum Undo {
    Epoch(Epoch, i64),
    Member(MemberId, Option<Member>),
    TargetEpoch(Epoch, i64),
    Target(MemberId, Option<Arc<Partitions>>),
    Regex(Arc<str>, Option<Resolved>),
    OldMetadata(bool),
}

/// Who asks for a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    by_name: usize,
    /// Regular expressions that stand for it.
    by_regex: usize,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: GroupId,
    pub(crate) epoch: Epoch,
    hash: i64,
    target_epoch: Epoch,
    /// When the target was made, in milliseconds of the wall clock; 0 if never.
    target_at: i64,
    members: BTreeMap<MemberId, Member>,
    targets: BTreeMap<MemberId, Arc<Partitions>>,
    statics: BTreeMap<InstanceId, MemberId>,
    wanted: BTreeMap<Topic, Wanted>,
    /// How many members have each regular expression.
    regexes: BTreeMap<Arc<str>, usize>,
    resolved: BTreeMap<Arc<str>, Resolved>,
    /// How many members prefer each assignor.
    assignors: BTreeMap<String, usize>,
    /// Epoch of the member that has a partition, or still gives it back.
    held: HashMap<TopicId, PartitionMap<Epoch>>,
    old_metadata: bool,
    /// Until when, and from which epoch on, the topics need no new look.
    fresh: Option<(MonoTime, Epoch)>,
    /// Regular expressions that are being resolved.
    resolving: BTreeSet<Arc<str>>,
}

impl ConsumerGroup {
    /// A group without anything.
    pub(crate) fn new(id: GroupId) -> Self {
        Self {
            id,
            epoch: Epoch(1),
            hash: 0,
            target_epoch: Epoch(1),
            target_at: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            statics: BTreeMap::new(),
            wanted: BTreeMap::new(),
            regexes: BTreeMap::new(),
            resolved: BTreeMap::new(),
            assignors: BTreeMap::new(),
            held: HashMap::new(),
            old_metadata: false,
            fresh: None,
            resolving: BTreeSet::new(),
        }
    }

    /// Makes a change.
    pub(crate) fn apply(&mut self, change: Change) -> Option<Undo> {
        Some(match change {
            Change::Epoch(epoch, hash) => {
                let before = Undo::Epoch(self.epoch, self.hash);
                (self.epoch, self.hash) = (epoch, hash);
                before
            }
            Change::Subscription(id, subscription) => {
                let before = self.members.get(&id).cloned();
                let after = subscription.map(|subscription| Member {
                    subscription: Arc::new(subscription),
                    ..before.clone().unwrap_or_default()
                });
                self.set_member(&id, after);
                Undo::Member(id, before)
            }
            Change::TargetEpoch(made) => {
                let before = Undo::TargetEpoch(self.target_epoch, self.target_at);
                (self.target_epoch, self.target_at) = made.unwrap_or((Epoch(-1), 0));
                before
            }
            Change::Target(id, target) => {
                let before = match target {
                    Some(target) => self.targets.insert(id.clone(), Arc::new(target)),
                    None => self.targets.remove(&id),
                };
                Undo::Target(id, before)
            }
            Change::Current(id, current) => {
                let before = self.members.get(&id).cloned();
                if before.is_none() && current.is_none() {
                    return None;
                }
                let current = Arc::new(current.unwrap_or_else(Current::left));
                let member = Member { current, ..before.clone().unwrap_or_default() };
                self.set_member(&id, Some(member));
                Undo::Member(id, before)
            }
            Change::Regex(regex, resolved) => {
                let before = self.set_resolved(&regex, resolved);
                Undo::Regex(regex, before)
            }
            Change::OldMetadata(there) => {
                Undo::OldMetadata(std::mem::replace(&mut self.old_metadata, there))
            }
            Change::End => return None,
        })
    }

    /// Takes back the newest change that was not taken back yet.
    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Epoch(epoch, hash) => (self.epoch, self.hash) = (epoch, hash),
            Undo::Member(id, member) => self.set_member(&id, member),
            Undo::TargetEpoch(epoch, at) => (self.target_epoch, self.target_at) = (epoch, at),
            Undo::Target(id, Some(target)) => {
                self.targets.insert(id, target);
            }
            Undo::Target(id, None) => {
                self.targets.remove(&id);
            }
            Undo::Regex(regex, resolved) => {
                self.set_resolved(&regex, resolved);
            }
            Undo::OldMetadata(there) => self.old_metadata = there,
        }
    }

    fn set_member(&mut self, id: &MemberId, after: Option<Member>) {
        let before = match after.clone() {
            Some(member) => self.members.insert(id.clone(), member),
            None => self.members.remove(id),
        };
        if let Some(member) = &before {
            self.count_subscription(&member.subscription, false);
            self.release(&member.current);
            if let Some(instance) = &member.subscription.instance
                && self.statics.get(instance) == Some(id)
            {
                self.statics.remove(instance);
            }
        }
        if let Some(member) = &after {
            self.count_subscription(&member.subscription, true);
            self.hold(&member.current);
            if let Some(instance) = &member.subscription.instance {
                self.statics.insert(instance.clone(), id.clone());
            }
        }
        assert!(self.statics.len() <= self.members.len(), "a static id has a member");
    }

    fn count_subscription(&mut self, subscription: &Subscription, more: bool) {
        for topic in &subscription.topics {
            self.count_wanted(topic, more, |wanted| &mut wanted.by_name);
        }
        if let Some(regex) = subscription.regex() {
            count(&mut self.regexes, regex, more);
        }
        if let Some(assignor) = &subscription.assignor {
            count(&mut self.assignors, assignor, more);
        }
    }

    fn count_wanted(&mut self, topic: &Topic, more: bool, part: fn(&mut Wanted) -> &mut usize) {
        let wanted = self.wanted.entry(topic.clone()).or_default();
        let part = part(wanted);
        assert!(more || 0 < *part, "a wish was counted");
        *part = if more { *part + 1 } else { *part - 1 };
        if *wanted == Wanted::default() {
            self.wanted.remove(topic);
        }
    }

    fn set_resolved(&mut self, regex: &Arc<str>, after: Option<Resolved>) -> Option<Resolved> {
        let before = self.resolved.remove(regex);
        for topic in before.iter().flat_map(|resolved| &resolved.topics) {
            self.count_wanted(topic, false, |wanted| &mut wanted.by_regex);
        }
        if let Some(after) = after {
            for topic in &after.topics {
                self.count_wanted(topic, true, |wanted| &mut wanted.by_regex);
            }
            self.resolved.insert(regex.clone(), after);
        }
        before
    }

    fn release(&mut self, current: &Current) {
        for (topic, partitions) in current.assigned.iter().chain(&current.revoking) {
            let Some(held) = self.held.get_mut(topic) else { continue };
            let mut gone = partitions.keys().peekable();
            held.retain(|index, since| {
                while gone.next_if(|gone| *gone < index).is_some() {}
                // Another member may have it in a later epoch: a compacted log shows such states.
                gone.peek() != Some(&index) || since != current.epoch
            });
            if held.is_empty() {
                self.held.remove(topic);
            }
        }
    }

    fn hold(&mut self, current: &Current) {
        for (topic, partitions) in current.assigned.iter().chain(&current.revoking) {
            let held = self.held.entry(*topic).or_default();
            held.merge(partitions.keys().map(|index| (index, current.epoch)), Epoch::max);
        }
    }

    /// After loading: who holds what is told by the members alone.
    pub(crate) fn loaded(&mut self) {
        self.held.clear();
        let all: Vec<Arc<Current>> =
            self.members.values().map(|member| member.current.clone()).collect();
        for current in all {
            self.hold(&current);
        }
    }

    /// Whether it is to have a new target.
    pub(crate) fn is_stale(&self) -> bool {
        self.target_epoch < self.epoch
    }

    /// All members, by id.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (&MemberId, &Member)> {
        self.members.iter()
    }

    /// One member.
    pub(crate) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// Who holds a static id.
    pub(crate) fn holder(&self, instance: &InstanceId) -> Option<(&MemberId, &Member)> {
        let id = self.statics.get(instance)?;
        self.members.get_key_value(id)
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether members consume the topic.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.wanted.contains_key(topic)
    }

    /// The topics must be looked at again.
    pub(crate) fn topics_changed(&mut self) {
        self.fresh = None;
    }

    /// Kafka's name of the state.
    pub(crate) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.target_epoch < self.epoch {
            "Assigning"
        } else if self.members.values().all(|m| m.current.is_reconciled_to(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Records that end the group; the order is Kafka's.
    pub(crate) fn tombstones(&self) -> Vec<crate::api::Record> {
        let mut changes: Vec<Change> = Vec::new();
        let ids = || self.members.keys().cloned();
        changes.extend(ids().map(|id| Change::Current(id, None)));
        changes.extend(ids().map(|id| Change::Target(id, None)));
        changes.push(Change::TargetEpoch(None));
        changes.extend(ids().map(|id| Change::Subscription(id, None)));
        changes.extend(self.resolved.keys().map(|regex| Change::Regex(regex.clone(), None)));
        changes.extend([Change::OldMetadata(false), Change::End]);
        changes.iter().map(|change| records::write(&self.id, change)).collect()
    }
}

fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, key: &K, more: bool) {
    if more {
        *counts.entry(key.clone()).or_default() += 1;
    } else {
        let left = counts.get_mut(key).map(|count| {
            *count -= 1;
            *count
        });
        assert!(left.is_some(), "what is counted down was counted");
        if left == Some(0) {
            counts.remove(key);
        }
    }
}
