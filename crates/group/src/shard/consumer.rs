//! Consumer groups at the shard's door: finding or making the group, its timers, and its records
//! on the way into the log and out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::GroupShard;
use crate::api::{
    Beat, ConsumerGroupHeartbeat, DescribedConsumerGroup, GroupError, Record, Refused, Response,
};
use crate::consumer::member::Progress;
use crate::consumer::{
    Change, ConsumerGroup, Converted, Edit, Undo, check_beat, convert, session_of,
};
use crate::journal::{Done, Op};
use crate::names::{Epoch, GroupId, MemberId, Now, Token, Topic};
use crate::registry::Group;
use crate::timers::Timer;
use crate::topics::Topics;

impl GroupShard {
    pub(super) fn consumer_beat(&mut self, now: Now, beat: &ConsumerGroupHeartbeat, token: Token) {
        let (mut records, mut ops) = (Vec::new(), Vec::new());
        let mut converted = None;
        match self.admit(beat) {
            Err(refused) => {
                self.fx.reply(token, Response::ConsumerGroupHeartbeat(Err(refused)));
                return;
            }
            Ok(Admitted::Known) => {}
            Ok(Admitted::New(members)) => {
                converted = members;
                // A classic group gives way.
                self.remove_group(&beat.group, &mut records, &mut ops);
                let group = ConsumerGroup::new(beat.group.clone());
                self.groups.create(beat.group.clone(), Group::Consumer(Box::new(group)));
                ops.push(Op::Created(beat.group.clone()));
            }
        }
        let Self { groups, fx, topics, .. } = self;
        let group = groups.consumer_mut(&beat.group).expect("a group that was let in is there");
        let mut edit = Edit::new(group);
        if let Some(converted) = &converted {
            edit.take_over(fx, topics, now, converted);
        }
        let response = edit.beat(fx, topics, now, beat);
        if let Some(converted) = &converted {
            edit.go_on(fx, topics, now, converted);
        }
        let Edit { records: more, ops: changed, .. } = edit;
        records.extend(more);
        ops.extend(changed);
        let response = Response::ConsumerGroupHeartbeat(Ok(response));
        if beat.beat == Beat::Leave {
            let gone = BTreeSet::from([beat.member.clone()]);
            self.fence_consumers(now, &beat.group, &gone, Some((token, response)));
        } else {
            self.append_then_reply(records, ops, token, response);
        }
    }

    /// Answers when the records are committed, or what is on its way if there are none: what a
    /// client is told must be in the log, whoever wrote it.
    pub(super) fn append_then_reply(
        &mut self,
        records: Vec<Record>,
        ops: Vec<Op>,
        token: Token,
        response: Response,
    ) {
        if records.is_empty() {
            self.reply_after_all(token, response);
        } else {
            self.fx.append(records, ops, vec![Done::Reply { token, response }]);
        }
    }

    fn admit(&self, beat: &ConsumerGroupHeartbeat) -> Result<Admitted, Refused> {
        let id = &beat.group;
        let not_found = |text: String| Refused::new(GroupError::GroupIdNotFound, text);
        let joining = beat.beat == Beat::Join;
        let (group, members) = match self.groups.get(id) {
            Some(Group::Consumer(group)) => {
                return check_beat(group, &self.fx.config, beat).map(|()| Admitted::Known);
            }
            None if joining => (ConsumerGroup::new(id.clone()), None),
            None if matches!(beat.beat, Beat::Stay(_)) => {
                return Err(not_found(format!("Consumer group {id} not found.")));
            }
            None => return Err(not_found(format!("Group {id} not found."))),
            Some(Group::Classic(group)) if joining && group.is_vacant() => {
                (ConsumerGroup::new(id.clone()), None)
            }
            Some(Group::Classic(group)) if joining => {
                let converted = convert(group, &self.fx.config, &*self.topics.now)?;
                (converted.rehearsed(id), Some(converted))
            }
            Some(Group::Classic(_) | Group::Foreign(_)) => {
                return Err(not_found(format!("Group {id} is not a consumer group.")));
            }
        };
        if !self.has_room_for_group(id) {
            return Err(GroupError::CoordinatorNotAvailable.into());
        }
        check_beat(&group, &self.fx.config, beat).map(|()| Admitted::New(members))
    }

    pub(super) fn describe_consumers(&mut self, groups: Vec<GroupId>, token: Token) {
        let describe = |id: GroupId| {
            let described = self.describe_consumer(&id);
            (id, described)
        };
        let described = groups.into_iter().map(describe).collect();
        // It shows the newest state, so it waits until that is committed.
        self.reply_after_all(token, Response::ConsumerGroupDescribe(described));
    }

    fn describe_consumer(&self, id: &GroupId) -> Result<DescribedConsumerGroup, Refused> {
        if id.is_empty() {
            return Err(GroupError::InvalidGroupId.into());
        }
        let text = match self.groups.get(id) {
            Some(Group::Consumer(group)) => {
                return Ok(group.describe(self.fx.config.consumer_assignor, &*self.topics.now));
            }
            Some(_) => format!("Group {id} is not a consumer group."),
            None => format!("Group {id} not found."),
        };
        Err(Refused::new(GroupError::GroupIdNotFound, text))
    }

    /// The topics of the cluster have changed: these are new, gone, or not as they were. `created`
    /// tells whether any is new.
    pub fn topics_changed(&mut self, topics: Arc<dyn Topics>, changed: &[Topic], created: bool) {
        self.topics.replace(topics, changed, created);
        for group in self.groups.consumer_groups() {
            if changed.iter().any(|topic| group.is_subscribed_to(topic)) {
                group.topics_changed();
            }
        }
    }

    /// A member has taken too long to give up partitions.
    pub(super) fn consumer_late(
        &mut self,
        now: Now,
        group: &GroupId,
        member: &MemberId,
        epoch: Epoch,
    ) {
        let Some(Group::Consumer(known)) = self.groups.get(group) else { return };
        if known.member(member).is_some_and(|member| member.current.epoch == epoch) {
            self.fence_consumers(now, group, &BTreeSet::from([member.clone()]), None);
        }
    }

    pub(super) fn consumer_resolve(&mut self, now: Now, group: &GroupId) {
        self.edit_consumer(group, |edit, fx, topics| edit.resolve(fx, topics, now));
    }

    pub(super) fn edit_consumer(
        &mut self,
        id: &GroupId,
        change: impl FnOnce(
            &mut Edit<'_>,
            &mut crate::effects::Effects,
            &mut crate::topics::KnownTopics,
        ),
    ) {
        let Self { groups, fx, topics, .. } = self;
        let Some(group) = groups.consumer_mut(id) else { return };
        let mut edit = Edit::new(group);
        change(&mut edit, fx, topics);
        let Edit { records, ops, .. } = edit;
        if !records.is_empty() {
            fx.append(records, ops, Vec::new());
        }
    }

    /// A change did not get into the log.
    pub(super) fn undo_consumer(&mut self, now: Now, id: &GroupId, undo: Undo) {
        let Self { groups, fx, .. } = self;
        // Its creation may be undone too, but only after this.
        let group = groups.consumer_mut(id).expect("a changed group is there");
        let member = match &undo {
            Undo::Member(member, Some(_)) => Some(member.clone()),
            _ => None,
        };
        group.undo(undo);
        group.forget_resolving();
        group.topics_changed();
        if let Some(member) = member {
            watch(fx, now, group, &member);
        }
    }

    /// Loading: takes one change from the log.
    pub(super) fn apply_consumer(&mut self, id: &GroupId, change: Change) {
        let live = !matches!(
            change,
            Change::End
                | Change::OldMetadata(false)
                | Change::Subscription(_, None)
                | Change::TargetEpoch(None)
                | Change::Target(_, None)
                | Change::Current(_, None)
                | Change::Regex(_, None)
        );
        let ends = change == Change::End;
        match self.groups.get_mut(id) {
            Some(Group::Consumer(group)) if !ends => {
                group.apply(change);
                return;
            }
            Some(Group::Consumer(_)) => {}
            // Offsets may come first in a compacted log.
            Some(Group::Classic(group)) if group.is_simple() && live => {}
            None if live => {}
            Some(Group::Classic(_)) | None => return,
            Some(Group::Foreign(_)) => {
                self.fx.counters.skipped_records += 1;
                return;
            }
        }
        if ends {
            self.groups.replay_remove(id);
            if self.offsets.newest_of(id).is_some() {
                self.ensure_group(id);
            }
            return;
        }
        let mut group = ConsumerGroup::new(id.clone());
        group.apply(change);
        self.groups.replay_set(id.clone(), Group::Consumer(Box::new(group)));
    }

    /// Everything was read: sessions begin anew.
    pub(super) fn consumers_loaded(&mut self, now: Now) {
        let Self { groups, fx, .. } = self;
        for group in groups.consumer_groups() {
            group.loaded();
            let members: Vec<MemberId> = group.members().map(|(id, _)| id.clone()).collect();
            for member in members {
                watch(fx, now, group, &member);
            }
        }
    }
}

/// What becomes of a beat's group.
enum Admitted {
    Known,
    /// With the members of the classic group that it was.
    New(Option<Converted>),
}

/// (Re)starts what a member's silence or slowness ends.
pub(super) fn watch(
    fx: &mut crate::effects::Effects,
    now: Now,
    group: &ConsumerGroup,
    id: &MemberId,
) {
    let Some(member) = group.member(id) else { return };
    fx.start_session(now, &group.id, id, session_of(fx, group, member));
    if member.subscription.classic.is_some() {
        return;
    }
    if member.current.progress == Progress::Unrevoked {
        let timeout = u64::try_from(member.subscription.rebalance_timeout_ms).unwrap_or(0);
        let at = now.mono.after(std::time::Duration::from_millis(timeout));
        let epoch = member.current.epoch;
        fx.timers.schedule(at, Timer::Rebalance(group.id.clone(), id.clone(), epoch));
    }
}
