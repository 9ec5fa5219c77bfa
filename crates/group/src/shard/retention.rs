//! Offsets and groups that nobody needs any more go (`offsets.retention.minutes`, KIP-211).

use ottla_types::{Timestamp, WallTime};

use super::GroupShard;
use crate::api::OffsetValue;
use crate::classic::ClassicGroup;
use crate::names::{GroupId, Now};
use crate::registry::Group;
use crate::state::State;
use crate::timers::Timer;

/// When the retention of an offset began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    /// With the commit.
    AtCommit,
    /// When the group became empty.
    AtEmpty(WallTime),
}

impl GroupShard {
    /// Sets the next look for expired offsets.
    pub(super) fn schedule_retention(&mut self, now: Now) {
        let at = self.after(now, self.fx.config.offsets_retention_check_interval);
        self.fx.timers.schedule(at, Timer::Retention);
    }

    pub(super) fn expire_offsets(&mut self, now: Now) {
        let mut ids: Vec<GroupId> = self.groups.all().map(|(id, _)| id.clone()).collect();
        ids.sort();
        for id in ids {
            self.expire_offsets_of(&id, now);
        }
        self.schedule_retention(now);
    }

    fn expire_offsets_of(&mut self, id: &GroupId, now: Now) {
        let Some(group) = self.groups.get(id) else { return };
        let mut expired = Vec::new();
        let mut all = !self.offsets.has_open(id);
        if let Some(topics) = self.offsets.newest_of(id) {
            let Some(began) = began(group) else { return };
            for (topic, partitions) in topics {
                let subscribed = is_subscribed(group, topic);
                for (partition, entry) in partitions {
                    let open = || self.offsets.is_open(id, topic, *partition);
                    if !subscribed && self.is_expired(&entry.value, began, now.wall) && !open() {
                        expired.push((topic.clone(), *partition));
                    } else {
                        all = false;
                    }
                }
            }
        }
        // A member that was sent back for an id is on its way to this group.
        let unused = match group {
            Group::Classic(group) => {
                matches!(group.state(), State::Empty) && !group.has_pending_joins()
            }
            Group::Consumer(group) => group.is_empty(),
            Group::Foreign(group) => group.is_empty(),
        };
        let (mut records, mut ops) = (Vec::new(), Vec::new());
        for (topic, partition) in expired {
            self.remove_offset(id, &topic, partition, &mut records, &mut ops);
            self.fx.counters.offset_expirations += 1;
        }
        if all && unused {
            self.remove_group(id, &mut records, &mut ops);
        }
        if !records.is_empty() {
            self.fx.append(records, ops, Vec::new());
        }
    }

    fn is_expired(&self, value: &OffsetValue, began: Began, now: WallTime) -> bool {
        if let Some(Timestamp(at)) = value.expires_at {
            return at <= now.as_millis();
        }
        let began = match began {
            Began::AtCommit => WallTime::from_millis(value.committed_at.0),
            Began::AtEmpty(at) => at,
        };
        began.plus(self.fx.config.offsets_retention) <= now
    }
}

/// When retention began; `None` if nothing may expire.
fn began(group: &Group) -> Option<Began> {
    let group: &ClassicGroup = match group {
        Group::Classic(group) => group,
        Group::Consumer(_) => return Some(Began::AtCommit),
        // Its subscriptions are not known, so what its members use cannot be told.
        Group::Foreign(group) => return group.is_empty().then_some(Began::AtCommit),
    };
    if group.protocol_type.is_none() {
        return Some(Began::AtCommit);
    }
    match group.state() {
        // Old records do not say when it became empty.
        State::Empty => Some(group.state_since.map_or(Began::AtCommit, Began::AtEmpty)),
        State::Stable if group.is_of_consumers() && group.knows_subscription() => {
            Some(Began::AtCommit)
        }
        _ => None,
    }
}

fn is_subscribed(group: &Group, topic: &str) -> bool {
    match group {
        Group::Classic(group) => group.is_subscribed_to(topic),
        Group::Consumer(group) => group.is_subscribed_to(topic),
        Group::Foreign(group) => !group.is_empty(),
    }
}
