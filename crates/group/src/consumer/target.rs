//! The target assignment: made anew when the group's epoch is ahead of it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{TopicId, java_string_hash};

use super::assignor::{Assignor, MemberSpec, Spec};
use super::heartbeat::Edit;
use super::member::{Partitions, Subscription};
use super::partitions::PartitionSet;
use super::{Change, ConsumerGroup};
use crate::effects::Effects;
use crate::names::{MemberId, Now};
use crate::topics::KnownTopics;

impl ConsumerGroup {
    /// Topics that a subscription asks for, as far as they exist.
    pub(super) fn subscribed_ids(
        &self,
        subscription: &Subscription,
        topics: &KnownTopics,
    ) -> BTreeSet<TopicId> {
        let resolved = subscription.regex().and_then(|regex| self.resolved.get(regex));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        let names = subscription.topics.iter().chain(by_regex);
        names.filter_map(|name| topics.now.find(name)).map(|info| info.id).collect()
    }

    /// Whether everybody asks for the same.
    fn is_homogeneous(&self) -> bool {
        let members = self.members.len();
        match self.regexes.values().next() {
            None => self.wanted.values().all(|wanted| wanted.by_name == members),
            // One expression for all, and no names beside it.
            Some(count) if *count == members => {
                self.wanted.values().all(|wanted| wanted.by_regex == 1 && wanted.by_name == 0)
            }
            Some(_) => false,
        }
    }

    /// The assignor that most members prefer. A tie goes to the one that comes first in a small
    /// Java hash table, as it does in Kafka.
    pub(super) fn preferred_assignor(&self) -> Option<&str> {
        let bucket = |name: &str| {
            let hash = java_string_hash(name).cast_unsigned();
            (hash ^ (hash >> 16)) & 15
        };
        let mut names: Vec<(&String, &usize)> = self.assignors.iter().collect();
        names.sort_by_key(|(name, _)| bucket(name));
        let mut best: Option<(&String, &usize)> = None;
        for (name, count) in names {
            if best.is_none_or(|(_, most)| most < count) {
                best = Some((name, count));
            }
        }
        best.map(|(name, _)| name.as_str())
    }

    fn spec(&self, topics: &KnownTopics) -> Spec {
        let mut partitions = BTreeMap::new();
        for name in self.wanted.keys() {
            if let Some(info) = topics.now.find(name) {
                partitions.insert(info.id, info.partitions);
            }
        }
        // A damaged log may promise a partition twice, or one that there is not; assignors may rely
        // on that it is not so.
        let mut free: BTreeMap<TopicId, Vec<bool>> = BTreeMap::new();
        for (topic, count) in &partitions {
            free.insert(*topic, vec![true; usize::try_from(*count).unwrap_or(0)]);
        }
        let mut members = BTreeMap::new();
        for (id, member) in &self.members {
            let mut before = Partitions::new();
            for (topic, promised) in self.targets.get(id).into_iter().flat_map(|all| all.iter()) {
                let Some(free) = free.get_mut(topic) else { continue };
                let promised: PartitionSet = promised
                    .iter()
                    .filter(|index| {
                        let place = usize::try_from(index.0).ok().and_then(|at| free.get_mut(at));
                        place.is_some_and(std::mem::take)
                    })
                    .collect();
                if !promised.is_empty() {
                    before.insert(*topic, promised);
                }
            }
            let topics = self.subscribed_ids(&member.subscription, topics);
            let instance = member.subscription.instance.clone();
            members.insert(id.clone(), MemberSpec { instance, topics, before });
        }
        Spec { members, partitions, homogeneous: self.is_homogeneous() }
    }
}

impl Edit<'_> {
    /// Makes a new target if there is need, and time enough has passed since the last one.
    pub(super) fn renew_target(&mut self, fx: &Effects, topics: &KnownTopics, now: Now) {
        let group = &*self.group;
        if group.epoch <= group.target_epoch {
            return;
        }
        let interval = fx.config.consumer_assignment_interval(&group.id).as_millis();
        let due = group.target_at.saturating_add(i64::try_from(interval).unwrap_or(i64::MAX));
        if group.target_at != 0 && interval != 0 && now.wall.as_millis() < due {
            return;
        }
        let preferred = group.preferred_assignor().and_then(Assignor::named);
        let assignor = preferred.unwrap_or(fx.config.consumer_assignor);
        let mut assigned = assignor.assign(&group.spec(topics));
        let mut changes: Vec<(MemberId, Partitions)> = Vec::new();
        for id in group.members.keys() {
            let target = assigned.remove(id).unwrap_or_default();
            if group.targets.get(id).map(|before| &**before) != Some(&target) {
                changes.push((id.clone(), target));
            }
        }
        let epoch = group.epoch;
        for (id, target) in changes {
            self.apply(Change::Target(id, Some(target)));
        }
        self.apply(Change::TargetEpoch(Some((epoch, now.wall.as_millis()))));
    }
}
