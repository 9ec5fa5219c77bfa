//! ConsumerGroupHeartbeat: a member joins, stays, or leaves.
//!
//! [`check_beat`] says all that can be refused, so that a beat that is carried out has no way back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{PartitionIndex, TopicId};

use super::classic::session_of;
use super::current::Step;
use super::member::{Current, Held, Member, Progress, Subscription};
use super::{Change, ConsumerGroup, records, regex};
use crate::api::{
    Beat, ConsumerGroupHeartbeat, ConsumerGroupHeartbeatResponse, GroupError, Record,
};
use crate::config::GroupConfig;
use crate::effects::Effects;
use crate::journal::Op;
use crate::names::{Epoch, InstanceId, MemberId, Now};
use crate::timers::{Timer, TimerKey};
use crate::topics::KnownTopics;

/// How long a look at the topics holds if nothing is heard of them: Kafka's largest number.
const FRESH_FOR: Duration = Duration::from_millis(2_147_483_647);

/// Why a request was refused, with the text that its sender sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The error.
    pub error: GroupError,
    /// The text; where Kafka sends none, there is none.
    pub message: Option<String>,
}

impl Refused {
    pub(crate) fn new(error: GroupError, message: impl Into<String>) -> Self {
        Self { error, message: Some(message.into()) }
    }
}

impl From<GroupError> for Refused {
    fn from(error: GroupError) -> Self {
        Self { error, message: None }
    }
}

/// Whether a beat is fine for the group as it is; a group that is not there is empty.
pub(crate) fn check_beat(
    group: &ConsumerGroup,
    config: &GroupConfig,
    beat: &ConsumerGroupHeartbeat,
) -> Result<(), Refused> {
    match beat.beat {
        Beat::Leave | Beat::LeaveForNow => return check_leave(group, beat),
        Beat::Join | Beat::Stay(_) => {}
    }
    check_room(group, config, &beat.member, beat.instance.as_ref())?;
    let member = check_member(group, beat)?;
    let unknown = member.is_some_and(|member| member.current.progress == Progress::Unknown);
    if unknown && beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
        let text = "The consumer group member is in a unknown state. The member must abandon all \
                    its partitions and rejoin.";
        return Err(Refused::new(GroupError::FencedMemberEpoch, text));
    }
    let before = member.and_then(|member| member.subscription.regex.as_deref()).unwrap_or("");
    match beat.regex.as_deref() {
        Some(new) if new != before && !new.is_empty() && !group.regexes.contains_key(new) => {
            regex::compile(new).map(drop).map_err(|why| {
                let text = format!(
                    "SubscribedTopicRegex `{new}` is not a valid regular expression: {why}."
                );
                Refused::new(GroupError::InvalidRegularExpression, text)
            })
        }
        _ => Ok(()),
    }
}

/// Refuses who is new to a full group.
pub(super) fn check_room(
    group: &ConsumerGroup,
    config: &GroupConfig,
    id: &MemberId,
    instance: Option<&InstanceId>,
) -> Result<(), Refused> {
    let known_instance = instance.is_some_and(|instance| group.holder(instance).is_some());
    let is_full = config.consumer_group_size_max <= group.members().len();
    if is_full && !known_instance && group.member(id).is_none() {
        let text = format!(
            "The consumer group has reached its maximum capacity of {} members.",
            config.consumer_group_size_max
        );
        return Err(Refused::new(GroupError::GroupMaxSizeReached, text));
    }
    Ok(())
}

/// Finds the member that a beat goes on with.
fn check_member<'a>(
    group: &'a ConsumerGroup,
    beat: &ConsumerGroupHeartbeat,
) -> Result<Option<&'a Member>, Refused> {
    let id = &beat.member;
    match (&beat.instance, beat.beat) {
        (None, Beat::Join) => Ok(group.member(id)),
        (None, Beat::Stay(epoch)) => {
            let member = group.member(id).ok_or_else(|| no_member(group, id))?;
            check_epoch(&member.current, epoch, beat)?;
            Ok(Some(member))
        }
        (Some(instance), Beat::Join) => match group.holder(instance) {
            None => Ok(group.member(id)),
            Some((holder, member)) => {
                let classic = member.subscription.classic.is_some();
                if member.current.epoch != Epoch::AWAY && !classic {
                    let text = format!(
                        "Static member {id} with instance id {instance} cannot join the group \
                         because the instance id is owned by {holder} member."
                    );
                    return Err(Refused::new(GroupError::UnreleasedInstanceId, text));
                }
                Ok(Some(member))
            }
        },
        (Some(instance), Beat::Stay(epoch)) => {
            let member = check_instance(group, instance, id)?;
            check_epoch(&member.current, epoch, beat)?;
            Ok(Some(member))
        }
        (_, Beat::Leave | Beat::LeaveForNow) => Ok(group.member(id)),
    }
}

fn check_leave(group: &ConsumerGroup, beat: &ConsumerGroupHeartbeat) -> Result<(), Refused> {
    match &beat.instance {
        Some(instance) => check_instance(group, instance, &beat.member).map(drop),
        None if group.member(&beat.member).is_some() => Ok(()),
        None => Err(no_member(group, &beat.member)),
    }
}

pub(super) fn check_instance<'a>(
    group: &'a ConsumerGroup,
    instance: &InstanceId,
    id: &MemberId,
) -> Result<&'a Member, Refused> {
    let Some((holder, member)) = group.holder(instance) else {
        let text = format!("Instance id {instance} is unknown.");
        return Err(Refused::new(GroupError::UnknownMemberId, text));
    };
    if holder != id {
        let text = format!(
            "Static member {id} with instance id {instance} was fenced by member {holder}."
        );
        return Err(Refused::new(GroupError::FencedInstanceId, text));
    }
    Ok(member)
}

fn no_member(group: &ConsumerGroup, id: &MemberId) -> Refused {
    let text = format!("Member {id} is not a member of group {}.", group.id);
    Refused::new(GroupError::UnknownMemberId, text)
}

/// A member may be one epoch behind if it cannot have seen the answer that took it on: it then
/// says that it has nothing that it was not given before.
fn check_epoch(
    current: &Current,
    epoch: Epoch,
    beat: &ConsumerGroupHeartbeat,
) -> Result<(), Refused> {
    let known = current.epoch;
    let word = match epoch.cmp(&known) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "greater",
        std::cmp::Ordering::Less => {
            let owned = beat.owned.as_ref();
            let subset = owned.is_some_and(|owned| is_subset(owned, &current.assigned));
            if epoch == current.previous && subset {
                return Ok(());
            }
            "smaller"
        }
    };
    let text = format!(
        "The consumer group member has a {word} member epoch ({epoch}) than the one known by the \
         group coordinator ({known}). The member must abandon all its partitions and rejoin."
    );
    Err(Refused::new(GroupError::FencedMemberEpoch, text))
}

fn is_subset(owned: &[(TopicId, Vec<PartitionIndex>)], held: &Held) -> bool {
    owned.iter().all(|(topic, partitions)| {
        let held = held.get(topic);
        held.is_some_and(|held| partitions.iter().all(|index| held.contains(*index)))
    })
}

/// What becomes of the target when a member has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// It is made anew if there is need.
    Renew,
    /// It stays: the group is about to become a classic one.
    Keep,
}

/// A group while it is changed: the records that come of it, and how to take them back.
pub(crate) struct Edit<'a> {
    pub(crate) group: &'a mut ConsumerGroup,
    pub(crate) records: Vec<Record>,
    pub(crate) ops: Vec<Op>,
}

impl<'a> Edit<'a> {
    pub(crate) fn new(group: &'a mut ConsumerGroup) -> Self {
        Self { group, records: Vec::new(), ops: Vec::new() }
    }

    /// Makes a change and its record.
    pub(super) fn apply(&mut self, change: Change) {
        self.records.push(records::write(&self.group.id, &change));
        if let Some(undo) = self.group.apply(change) {
            self.ops.push(Op::Consumer { group: self.group.id.clone(), undo });
        }
    }

    /// Carries out a beat that [`check_beat`] has let pass.
    pub(crate) fn beat(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        beat: &ConsumerGroupHeartbeat,
    ) -> ConsumerGroupHeartbeatResponse {
        let left = |epoch| ConsumerGroupHeartbeatResponse {
            member: beat.member.clone(),
            epoch,
            interval: None,
            assignment: None,
        };
        match beat.beat {
            // The shard removes it: with that, the group may become a classic one.
            Beat::Leave => left(Epoch::LEFT),
            Beat::LeaveForNow => {
                if let Some(member) = self.group.member(&beat.member) {
                    let away = member.current.away();
                    self.apply(Change::Current(beat.member.clone(), Some(away)));
                }
                left(Epoch::AWAY)
            }
            Beat::Join | Beat::Stay(_) => self.stay(fx, topics, now, beat),
        }
    }

    fn stay(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        beat: &ConsumerGroupHeartbeat,
    ) -> ConsumerGroupHeartbeatResponse {
        let id = &beat.member;
        let joining = beat.beat == Beat::Join;
        if joining && let Some(instance) = &beat.instance {
            self.replace_static(fx, instance, id);
        }
        let before = self.group.member(id).cloned().unwrap_or_default();
        let wishes = updated(&before.subscription, beat);
        let (before, next) =
            self.settle(fx, topics, now, id, (wishes, Aim::Renew), beat.owned.as_deref());
        let full = beat.rebalance_timeout.is_some()
            && (beat.topics.is_some() || beat.regex.is_some())
            && beat.owned.is_some();
        let tell = joining || full || next.assigned != before.current.assigned;
        ConsumerGroupHeartbeatResponse {
            member: id.clone(),
            epoch: next.epoch,
            interval: Some(fx.config.consumer_heartbeat_interval(&self.group.id)),
            assignment: tell.then(|| told(&next.assigned)),
        }
    }

    /// Takes in what a member says of itself, and takes it a step on to its target. Gives back the
    /// member as it was, and what it has now.
    pub(super) fn settle(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        id: &MemberId,
        (wishes, aim): (Subscription, Aim),
        owned: Option<&[(TopicId, Vec<PartitionIndex>)]>,
    ) -> (Member, Arc<Current>) {
        let before = self.group.member(id).cloned().unwrap_or_default();
        let names_changed = wishes.topics != before.subscription.topics;
        let (old, new) = (before.subscription.regex().cloned(), wishes.regex().cloned());
        let regex_changed = wishes.regex.as_deref().unwrap_or("")
            != before.subscription.regex.as_deref().unwrap_or("");
        let others = |regex: &Arc<str>| self.group.regexes.get(regex).copied().unwrap_or(0);
        let last_of_old = old.as_ref().is_some_and(|old| others(old) == 1);
        let new_to_group = new.as_ref().is_some_and(|new| others(new) == 0);
        if wishes != *before.subscription || self.group.member(id).is_none() {
            self.apply(Change::Subscription(id.clone(), Some(wishes)));
        }
        let mut resolved = false;
        if regex_changed {
            if let Some(old) = old.clone().filter(|_| last_of_old) {
                self.apply(Change::Regex(old, None));
            }
            resolved = match &new {
                Some(new) => !new_to_group && self.group.resolved.contains_key(new),
                None => old.is_some(),
            };
        }
        self.schedule_resolve(fx, topics, now, regex_changed && new_to_group);
        let bump = names_changed || resolved;
        if bump || self.group.needs_look(now) {
            self.look_at_topics(fx, topics, now, bump);
        }
        if aim == Aim::Renew {
            self.renew_target(fx, topics, now);
        }
        let changed = names_changed || regex_changed;
        let next = self.reconcile(fx, topics, now, id, changed, owned);
        let timeout = self.group.member(id).map(|member| session_of(fx, self.group, member));
        fx.start_session(now, &self.group.id, id, timeout.unwrap_or_default());
        (before, next)
    }

    /// A static member is back under another id, and goes on with what it had.
    pub(super) fn replace_static(
        &mut self,
        fx: &mut Effects,
        instance: &InstanceId,
        id: &MemberId,
    ) {
        let Some((holder, member)) = self.group.holder(instance) else { return };
        let (holder, member) = (holder.clone(), member.clone());
        let target = self.group.targets.get(&holder).cloned().unwrap_or_default();
        self.remove_member(&holder);
        forget_timers(fx, self.group, &holder);
        let current = Current { epoch: Epoch(0), previous: Epoch(0), ..(*member.current).clone() };
        self.apply(Change::Subscription(id.clone(), Some((*member.subscription).clone())));
        self.apply(Change::Target(id.clone(), Some((*target).clone())));
        self.apply(Change::Current(id.clone(), Some(current)));
    }

    fn remove_member(&mut self, id: &MemberId) {
        self.apply(Change::Current(id.clone(), None));
        self.apply(Change::Target(id.clone(), None));
        self.apply(Change::Subscription(id.clone(), None));
    }

    /// Removes members for good; the others get what they had.
    pub(crate) fn fence(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        ids: &BTreeSet<MemberId>,
    ) {
        let mut regexes = BTreeSet::new();
        for id in ids {
            let Some(member) = self.group.member(id) else { continue };
            regexes.extend(member.subscription.regex().cloned());
            self.remove_member(id);
            forget_timers(fx, self.group, id);
        }
        for regex in regexes {
            if !self.group.regexes.contains_key(&regex) {
                self.apply(Change::Regex(regex, None));
            }
        }
        if !self.records.is_empty() {
            let hash = topics.group_hash(self.group.wanted.keys());
            self.apply(Change::Epoch(self.group.epoch.next(), hash));
        }
    }

    /// Compares the topics with what the group's epoch stands for.
    pub(super) fn look_at_topics(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        bump: bool,
    ) {
        let hash = topics.group_hash(self.group.wanted.keys());
        if bump || hash != self.group.hash {
            self.bump(fx, hash);
        }
        self.group.note_look(now);
        if self.group.old_metadata {
            self.apply(Change::OldMetadata(false));
        }
    }

    pub(super) fn bump(&mut self, fx: &mut Effects, hash: i64) {
        self.apply(Change::Epoch(self.group.epoch.next(), hash));
        fx.counters.consumer_rebalances += 1;
    }

    fn reconcile(
        &mut self,
        fx: &mut Effects,
        topics: &KnownTopics,
        now: Now,
        id: &MemberId,
        changed: bool,
        owned: Option<&[(TopicId, Vec<PartitionIndex>)]>,
    ) -> Arc<Current> {
        let group = &*self.group;
        let Some(member) = group.member(id) else { return Arc::default() };
        let current = member.current.clone();
        if !changed && current.is_reconciled_to(group.target_epoch) {
            return current;
        }
        let nothing = Arc::default();
        let step = Step {
            current: &current,
            target_epoch: group.target_epoch,
            target: group.targets.get(id).unwrap_or(&nothing),
            subscription_changed: changed,
            subscribed: group.subscribed_ids(&member.subscription, topics),
            taken: &group.held,
            owned,
        };
        let next = step.next();
        if next == *current {
            return current;
        }
        let timeout = member.subscription.rebalance_timeout_ms;
        let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
        let is_classic = member.subscription.classic.is_some();
        if is_classic {
            // Its joins and syncs are waited for instead.
        } else if next.progress == Progress::Unrevoked {
            let timer = Timer::Rebalance(group.id.clone(), id.clone(), next.epoch);
            fx.timers.schedule(now.mono.after(timeout), timer);
        } else {
            fx.timers.cancel(&TimerKey::Rebalance(group.id.clone(), id.clone()));
        }
        self.apply(Change::Current(id.clone(), Some(next.clone())));
        Arc::new(next)
    }
}

impl ConsumerGroup {
    /// The topics were looked at, for the epoch that the group has now.
    pub(super) fn note_look(&mut self, now: Now) {
        self.fresh = Some((now.mono.after(FRESH_FOR), self.epoch));
    }

    fn needs_look(&self, now: Now) -> bool {
        self.fresh.is_none_or(|(until, epoch)| until <= now.mono || self.epoch < epoch)
    }
}

/// Forgets what was to happen to a member.
pub(crate) fn forget_timers(fx: &mut Effects, group: &ConsumerGroup, member: &MemberId) {
    fx.end_session(&group.id, member);
    fx.timers.cancel(&TimerKey::Rebalance(group.id.clone(), member.clone()));
    fx.timers.cancel(&TimerKey::MemberJoin(group.id.clone(), member.clone()));
    fx.timers.cancel(&TimerKey::MemberSync(group.id.clone(), member.clone()));
}

/// What a member says of itself, where it does not repeat everything.
fn updated(before: &Subscription, beat: &ConsumerGroupHeartbeat) -> Subscription {
    let mut wishes = before.clone();
    let millis = |timeout: Duration| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    if let Some(instance) = &beat.instance {
        wishes.instance = Some(instance.clone());
    }
    if let Some(rack) = &beat.rack {
        wishes.rack = Some(rack.clone());
    }
    if let Some(timeout) = beat.rebalance_timeout {
        wishes.rebalance_timeout_ms = millis(timeout);
    }
    if let Some(assignor) = beat.assignor {
        wishes.assignor = Some(assignor.name().to_owned());
    }
    if let Some(topics) = &beat.topics {
        wishes.topics = topics.iter().cloned().collect();
    }
    if let Some(regex) = &beat.regex {
        wishes.regex = Some(regex.as_str().into());
    }
    wishes.client_id.clone_from(&beat.client_id);
    wishes.client_host.clone_from(&beat.client_host);
    wishes.classic = None;
    wishes
}

fn told(held: &Held) -> Vec<(TopicId, Vec<PartitionIndex>)> {
    held.iter().map(|(topic, partitions)| (*topic, partitions.keys().collect())).collect()
}
