//! Reconciliation: the next step of a member from what it has to what it is meant to have.
//!
//! A partition is given only when nobody else has it, and taken away only when its holder has
//! said that it is gone.

use std::collections::{BTreeSet, HashMap};

use ottla_types::{PartitionIndex, TopicId};

use super::member::{Current, Held, Partitions, Progress};
use super::partitions::{PartitionMap, PartitionSet, Walk};
use crate::names::Epoch;

/// What the step depends on.
pub(super) struct Step<'a> {
    pub(super) current: &'a Current,
    pub(super) target_epoch: Epoch,
    pub(super) target: &'a Partitions,
    /// The member asks for other topics than before.
    pub(super) subscription_changed: bool,
    /// Topics that it asks for, as far as they exist.
    pub(super) subscribed: BTreeSet<TopicId>,
    /// Partitions that members have, this one or others.
    pub(super) taken: &'a HashMap<TopicId, PartitionMap<Epoch>>,
    /// What the member says it has; `None` if it does not say.
    pub(super) owned: Option<&'a [(TopicId, Vec<PartitionIndex>)]>,
}

impl Step<'_> {
    /// The next state.
    pub(super) fn next(&self) -> Current {
        let current = self.current;
        match current.progress {
            Progress::Stable if current.epoch != self.target_epoch => self.advance(current.epoch),
            Progress::Stable if self.subscription_changed => self.drop_unsubscribed(),
            Progress::Stable => current.clone(),
            Progress::Unrevoked if self.owns_any(&current.revoking) => {
                if self.subscription_changed { self.drop_unsubscribed() } else { current.clone() }
            }
            Progress::Unrevoked | Progress::Unreleased => self.advance(current.epoch),
            // It comes with nothing, or it would have been sent away.
            Progress::Unknown => self.advance(self.target_epoch),
        }
    }

    /// Whether the member has any of these; one that does not say may have them all.
    fn owns_any(&self, held: &Held) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(topic, partitions)| {
            let held = held.get(topic);
            held.is_some_and(|held| partitions.iter().any(|index| held.contains(*index)))
        })
    }

    /// Takes away what the member does not ask for any more, without waiting for a new target.
    fn drop_unsubscribed(&self) -> Current {
        let mut next = self.current.clone();
        for (topic, partitions) in &self.current.assigned {
            if !self.subscribed.contains(topic) {
                next.assigned.remove(topic);
                next.revoking.entry(*topic).or_default().merge(partitions, |_, later| later);
            }
        }
        if next.assigned.len() == self.current.assigned.len() {
            return next;
        }
        next.previous = next.epoch;
        if self.owns_any(&next.revoking) {
            next.progress = Progress::Unrevoked;
        } else {
            next.revoking = self.current.revoking.clone();
        }
        next
    }

    fn advance(&self, epoch: Epoch) -> Current {
        let current = self.current;
        let (mut kept, mut revoked, mut given) = (Held::new(), Held::new(), Held::new());
        let mut unreleased = false;
        for (topic, held) in &current.assigned {
            let target = self.target.get(topic).filter(|_| self.subscribed.contains(topic));
            let mut target = Walk::over(target.map(PartitionSet::as_map));
            let (stay, go): (Vec<_>, Vec<_>) =
                held.iter().partition(|(index, _)| target.comes_to(*index));
            put(&mut kept, *topic, stay);
            put(&mut revoked, *topic, go);
        }
        for (topic, target) in self.target {
            if !self.subscribed.contains(topic) {
                continue;
            }
            let mut held = Walk::over(current.assigned.get(topic));
            let mut going = Walk::over(current.revoking.get(topic));
            let mut taken = Walk::over(self.taken.get(topic));
            let mut free = Vec::new();
            for index in target.iter().filter(|index| !held.comes_to(*index)) {
                // What this member itself gives back, it may have again.
                if taken.comes_to(index) && !going.comes_to(index) {
                    unreleased = true;
                } else {
                    free.push((index, self.target_epoch));
                }
            }
            put(&mut given, *topic, free);
        }
        let next = |progress, epoch, assigned, revoking| Current {
            epoch,
            previous: current.epoch,
            progress,
            assigned,
            revoking,
        };
        if !revoked.is_empty() && self.owns_any(&revoked) {
            return next(Progress::Unrevoked, epoch, kept, revoked);
        }
        for (topic, partitions) in given {
            kept.entry(topic).or_default().merge(&partitions, |_, later| later);
        }
        let progress = if unreleased { Progress::Unreleased } else { Progress::Stable };
        next(progress, self.target_epoch, kept, Held::new())
    }
}

fn put(all: &mut Held, topic: TopicId, partitions: Vec<(PartitionIndex, Epoch)>) {
    if !partitions.is_empty() {
        all.insert(topic, partitions.into_iter().collect());
    }
}
