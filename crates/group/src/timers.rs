//! Every deadline of a shard, in one structure: at most one entry for each key, so its size is
//! bounded by the groups and members there are. It decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ottla_types::{Generation, MonoTime};

use crate::names::{Epoch, GroupId, MemberId};

/// What a deadline belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimerKey {
    /// End of a join phase.
    Join(GroupId),
    /// End of a sync phase.
    Sync(GroupId),
    /// Session of a member, or of a pending member.
    Session(GroupId, MemberId),
    /// End of what a member of a consumer group may take to give up partitions.
    Rebalance(GroupId, MemberId),
    /// A classic member of a consumer group is to join again.
    MemberJoin(GroupId, MemberId),
    /// A classic member of a consumer group is to fetch its assignment.
    MemberSync(GroupId, MemberId),
    /// Regular expressions of a consumer group are to be resolved.
    Resolve(GroupId),
    /// Next look for expired offsets.
    Retention,
    /// The oldest answer that waits for a commit.
    Commit,
}

/// What to do at a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Go on with the members that have joined.
    CompleteJoin(GroupId),
    /// The first members of an empty group are in; wait on while new ones arrive.
    InitialJoin { group: GroupId, delay: Duration, remaining: Duration },
    /// Remove the members that have not fetched the assignment of this generation.
    PendingSync(GroupId, Generation),
    /// Remove a silent member.
    Session(GroupId, MemberId),
    /// Remove a member that is still in this epoch.
    Rebalance(GroupId, MemberId, Epoch),
    /// Remove a classic member that has not joined again.
    MemberJoin(GroupId, MemberId),
    /// Remove a classic member that has not fetched its assignment.
    MemberSync(GroupId, MemberId),
    /// Resolve the regular expressions of a group.
    Resolve(GroupId),
    /// Look for expired offsets.
    Retention,
    /// Give up on answers that wait too long for a commit.
    Commit,
}

impl Timer {
    fn key(&self) -> TimerKey {
        match self {
            Self::CompleteJoin(group) | Self::InitialJoin { group, .. } => {
                TimerKey::Join(group.clone())
            }
            Self::PendingSync(group, _) => TimerKey::Sync(group.clone()),
            Self::Session(group, member) => TimerKey::Session(group.clone(), member.clone()),
            Self::Rebalance(group, member, _) => TimerKey::Rebalance(group.clone(), member.clone()),
            Self::MemberJoin(group, member) => TimerKey::MemberJoin(group.clone(), member.clone()),
            Self::MemberSync(group, member) => TimerKey::MemberSync(group.clone(), member.clone()),
            Self::Resolve(group) => TimerKey::Resolve(group.clone()),
            Self::Retention => TimerKey::Retention,
            Self::Commit => TimerKey::Commit,
        }
    }
}

/// The deadlines. Two at the same moment fire in the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_key: HashMap<TimerKey, (MonoTime, u64)>,
    by_time: BTreeMap<(MonoTime, u64), Timer>,
    set: u64,
}

impl Timers {
    /// Sets a deadline; an earlier one for the same key is forgotten.
    pub(crate) fn schedule(&mut self, at: MonoTime, timer: Timer) {
        self.set += 1;
        let key = timer.key();
        let place = (at, self.set);
        if let Some(old) = self.by_key.insert(key, place) {
            self.by_time.remove(&old);
        }
        self.by_time.insert(place, timer);
        assert!(self.by_key.len() == self.by_time.len(), "one place for each timer");
    }

    /// Forgets a deadline, if there is one.
    pub(crate) fn cancel(&mut self, key: &TimerKey) {
        if let Some(place) = self.by_key.remove(key) {
            let timer = self.by_time.remove(&place);
            assert!(timer.is_some(), "a timer has a place");
        }
    }

    /// Whether a deadline is set.
    pub(crate) fn is_set(&self, key: &TimerKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// The next deadline.
    pub(crate) fn next_at(&self) -> Option<MonoTime> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next timer that is due.
    pub(crate) fn pop_due(&mut self, now: MonoTime) -> Option<Timer> {
        let first = self.by_time.first_entry()?;
        if now < first.key().0 {
            return None;
        }
        let timer = first.remove();
        let place = self.by_key.remove(&timer.key());
        assert!(place.is_some(), "a due timer has a key");
        Some(timer)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }

    /// Deadlines that are set.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_ties_keep_their_order() {
        let at = MonoTime::from_millis;
        let mut timers = Timers::default();
        timers.schedule(at(10), Timer::CompleteJoin("a".into()));
        timers.schedule(at(5), Timer::CompleteJoin("b".into()));
        timers.schedule(at(5), Timer::CompleteJoin("a".into()));
        timers.schedule(at(7), Timer::Retention);
        timers.cancel(&TimerKey::Retention);
        assert_eq!(timers.len(), 2);
        assert_eq!(timers.next_at(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(5)), Some(Timer::CompleteJoin("b".into())));
        assert_eq!(timers.pop_due(at(5)), Some(Timer::CompleteJoin("a".into())));
        assert_eq!(timers.pop_due(at(100)), None);
    }
}
