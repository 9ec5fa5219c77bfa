//! Members of the classic protocol in a consumer group, and the change of a whole classic group
//! into a consumer group (KIP-848, online migration).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{PartitionIndex, TopicId};

use super::heartbeat::{Aim, Edit, Refused, check_instance, check_room};
use super::member::{ClassicPart, Current, Held, Member, Partitions, Progress, Subscription};
use super::partitions::Walk;
use super::{Change, ConsumerGroup};
use crate::api::{GroupError, JoinGroup, SyncGroup};
use crate::classic::ClassicGroup;
use crate::config::GroupConfig;
use crate::effects::Effects;
use crate::embedded::{self, ConsumerSubscription, TopicPartitions};
use crate::names::{Epoch, GroupId, InstanceId, MemberId, Now};
use crate::state::State;
use crate::subscription::CONSUMER;
use crate::timers::{Timer, TimerKey};
use crate::topics::{KnownTopics, Topics};

/// A join that was let in.
#[derive(Debug)]
pub(crate) struct ClassicJoin {
    pub(crate) member: MemberId,
    pub(crate) wishes: Subscription,
    pub(crate) owned: Vec<(TopicId, Vec<PartitionIndex>)>,
    /// It takes over a static id.
    pub(crate) replaces: bool,
    /// With it, nobody speaks the consumer protocol any more.
    pub(crate) downgrades: bool,
}

impl ConsumerGroup {
    /// Whether everybody but these speaks the classic protocol, and the group may be one of it.
    pub(crate) fn may_be_classic(&self, config: &GroupConfig, gone: &BTreeSet<MemberId>) -> bool {
        let mut rest = self.members.iter().filter(|(id, _)| !gone.contains(*id));
        let left = self.members.len() - gone.iter().filter(|id| self.member(id).is_some()).count();
        config.consumer_migration.downgrades()
            && 0 < left
            && left <= config.group_size_max
            && rest.all(|(_, member)| member.subscription.classic.is_some())
    }

    /// Whether a classic member may join.
    ///
    /// # Errors
    /// Why it may not, in Kafka's order.
    pub(crate) fn check_classic_join(
        &self,
        config: &GroupConfig,
        topics: &dyn Topics,
        request: &JoinGroup,
        id: &MemberId,
    ) -> Result<ClassicJoin, GroupError> {
        let instance = request.instance.as_ref();
        let holder = instance.and_then(|instance| self.holder(instance));
        if let Some(instance) = instance.filter(|_| !request.member.is_empty()) {
            check_instance(self, instance, id).map_err(|refused| refused.error)?;
        }
        let (_, metadata) =
            request.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
        // As Kafka 4.3 answers what is malformed; a later one says that protocols are inconsistent.
        let said = embedded::subscription(metadata).ok_or(GroupError::UnknownServerError)?;
        let before = holder.map(|(_, member)| member).or_else(|| self.member(id));
        let speaks_consumer = |member: &Member| member.subscription.classic.is_none();
        let downgrades = holder.is_some_and(|(holder, member)| {
            let replaced = BTreeSet::from([holder.clone()]);
            let fits = self.members.len() <= config.group_size_max;
            speaks_consumer(member) && fits && self.others_are_classic(config, &replaced)
        });
        Ok(ClassicJoin {
            member: id.clone(),
            wishes: wishes(before.map(|member| &*member.subscription), request, &said),
            owned: ids(&said.owned, topics),
            replaces: request.member.is_empty() && holder.is_some(),
            downgrades,
        })
    }

    fn others_are_classic(&self, config: &GroupConfig, replaced: &BTreeSet<MemberId>) -> bool {
        let mut rest = self.members.iter().filter(|(id, _)| !replaced.contains(*id));
        config.consumer_migration.downgrades()
            && rest.all(|(_, member)| member.subscription.classic.is_some())
    }

    /// What is refused before a client without an id is given one.
    ///
    /// # Errors
    /// If the group is full, or the classic members have no assignor in common with this one.
    pub(crate) fn check_classic_newcomer(
        &self,
        config: &GroupConfig,
        request: &JoinGroup,
        id: &MemberId,
    ) -> Result<(), GroupError> {
        check_room(self, config, id, request.instance.as_ref()).map_err(|refused| refused.error)?;
        let classic: Vec<&ClassicPart> = self
            .members
            .values()
            .filter_map(|member| member.subscription.classic.as_ref())
            .collect();
        let has =
            |part: &ClassicPart, name: &str| part.protocols.iter().any(|(own, _)| own == name);
        let mut names = request.protocols.iter().map(|(name, _)| name);
        let common = names.any(|name| classic.iter().all(|part| has(part, name)));
        if &*request.protocol_type == CONSUMER && common {
            Ok(())
        } else {
            Err(GroupError::InconsistentGroupProtocol)
        }
    }

    /// The classic member that a request is from.
    fn classic_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
        generation: Option<ottla_types::Generation>,
    ) -> Result<(&Member, &ClassicPart), GroupError> {
        if let Some(instance) = instance {
            check_instance(self, instance, id).map_err(|refused| refused.error)?;
        }
        let member = self.member(id).ok_or(GroupError::UnknownMemberId)?;
        let part = member.subscription.classic.as_ref().ok_or(GroupError::UnknownMemberId)?;
        if generation.map(ottla_types::Generation::to_wire) != Some(member.current.epoch.0) {
            return Err(GroupError::IllegalGeneration);
        }
        Ok((member, part))
    }

    /// A classic member is alive.
    ///
    /// # Errors
    /// If it is none, or is to join again.
    pub(crate) fn classic_heartbeat(
        &self,
        fx: &mut Effects,
        now: Now,
        request: &crate::api::Heartbeat,
    ) -> Result<(), GroupError> {
        let id = &request.member;
        let (member, part) =
            self.classic_member(id, request.instance.as_ref(), request.generation)?;
        fx.start_session(now, &self.id, id, millis(part.session_timeout_ms));
        let current = &member.current;
        // Kafka goes by the target alone. Where everybody speaks the classic protocol nobody would
        // ask for a new one: what a member had that is gone would be with nobody.
        let all_are_classic = || self.members().all(|(_, m)| m.subscription.classic.is_some());
        let rejoin = current.epoch < self.target_epoch
            || current.epoch < self.epoch && all_are_classic()
            || current.progress == Progress::Unrevoked
            || current.progress == Progress::Unreleased && !self.waits_for_others(id, current);
        if rejoin {
            self.expect_join(fx, now, id, member);
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// A classic member fetches its assignment.
    ///
    /// # Errors
    /// If it is none, or is to join again.
    pub(crate) fn classic_sync(
        &self,
        fx: &mut Effects,
        topics: &dyn Topics,
        now: Now,
        request: &SyncGroup,
    ) -> Result<bytes::Bytes, GroupError> {
        let id = &request.member;
        let (member, part) =
            self.classic_member(id, request.instance.as_ref(), request.generation)?;
        let chosen = part.protocols.first();
        let other_type = request.protocol_type.as_ref().is_some_and(|own| &**own != CONSUMER);
        let other_name = request
            .protocol_name
            .as_ref()
            .is_some_and(|own| chosen.is_none_or(|(name, _)| **name != **own));
        if other_type || other_name {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let current = &member.current;
        if current.epoch < self.target_epoch && current.progress != Progress::Unrevoked {
            self.expect_join(fx, now, id, member);
            return Err(GroupError::RebalanceInProgress);
        }
        fx.timers.cancel(&TimerKey::MemberSync(self.id.clone(), id.clone()));
        fx.start_session(now, &self.id, id, millis(part.session_timeout_ms));
        let metadata = chosen.map(|(_, metadata)| metadata.clone()).unwrap_or_default();
        let has = current.assigned.iter().map(|(topic, held)| (*topic, held.keys()));
        Ok(embedded::write_assignment(&named(has, topics), &metadata))
    }

    fn waits_for_others(&self, id: &MemberId, current: &Current) -> bool {
        let target = self.targets.get(id);
        target.iter().flat_map(|target| target.iter()).any(|(topic, partitions)| {
            let mut own = Walk::over(current.assigned.get(topic));
            let mut held = Walk::over(self.held.get(topic));
            partitions.iter().any(|index| !own.comes_to(index) && held.comes_to(index))
        })
    }

    /// The member is to join again, in time.
    fn expect_join(&self, fx: &mut Effects, now: Now, id: &MemberId, member: &Member) {
        if !fx.timers.is_set(&TimerKey::MemberJoin(self.id.clone(), id.clone())) {
            let at = now.mono.after(millis(member.subscription.rebalance_timeout_ms));
            fx.timers.schedule(at, Timer::MemberJoin(self.id.clone(), id.clone()));
        }
    }

    /// The target of a member, as a classic member is told.
    pub(crate) fn classic_target(
        &self,
        id: &MemberId,
        topics: &dyn Topics,
    ) -> Vec<TopicPartitions> {
        let target = self.targets.get(id);
        let all = target.iter().flat_map(|target| target.iter());
        named(all.map(|(topic, partitions)| (*topic, partitions.iter())), topics)
    }
}

impl Edit<'_> {
    /// Carries out a join that was let in; gives back the member's epoch.
    pub(crate) fn join_classic(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        join: ClassicJoin,
    ) -> Epoch {
        let id = &join.member;
        if let Some(instance) = join.wishes.instance.clone().filter(|_| join.replaces) {
            self.replace_static(fx, &instance, id);
        }
        let rebalance_timeout = millis(join.wishes.rebalance_timeout_ms);
        let aim = if join.downgrades { Aim::Keep } else { Aim::Renew };
        let (_, next) = self.settle(fx, topics, now, id, (join.wishes, aim), Some(&join.owned));
        fx.timers.cancel(&TimerKey::MemberJoin(self.group.id.clone(), id.clone()));
        let at = now.mono.after(rebalance_timeout);
        fx.timers.schedule(at, Timer::MemberSync(self.group.id.clone(), id.clone()));
        next.epoch
    }

    /// Takes over the members of a classic group, with what they have.
    pub(crate) fn take_over(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        classic: &Converted,
    ) {
        let Converted { epoch, members, .. } = classic;
        for member in members {
            self.apply(member.subscription());
        }
        let hash = topics.group_hash(self.group.wanted.keys());
        self.apply(Change::Epoch(*epoch, hash));
        for member in members {
            self.apply(Change::Target(member.id.clone(), Some(member.has.clone())));
        }
        self.apply(Change::TargetEpoch(Some((*epoch, 0))));
        for member in members {
            self.apply(member.current(*epoch));
            let known = self.group.member(&member.id);
            let timeout = known.map(|member| session_of(fx, self.group, member));
            fx.start_session(now, &self.group.id, &member.id, timeout.unwrap_or_default());
        }
    }

    /// What a classic group had begun and not finished goes on: a new target for everybody. Whoever
    /// joined has caused that already, unless it is a static member that wants what it wanted before;
    /// Kafka then leaves the partitions of those that are gone with nobody.
    pub(crate) fn go_on(
        &mut self,
        fx: &mut Effects,
        topics: &mut KnownTopics,
        now: Now,
        classic: &Converted,
    ) {
        if classic.rebalancing && self.group.epoch == classic.epoch {
            self.look_at_topics(fx, topics, now, true);
        }
    }
}

/// The members of a classic group, as a consumer group takes them over.
#[derive(Debug)]
pub(crate) struct Converted {
    epoch: Epoch,
    /// Somebody has come or gone, and the members' partitions do not tell.
    rebalancing: bool,
    members: Vec<Convert>,
}

impl Converted {
    /// The group that it is going to be, as far as who asks to join it can see.
    pub(crate) fn rehearsed(&self, id: &GroupId) -> ConsumerGroup {
        let mut group = ConsumerGroup::new(id.clone());
        for member in &self.members {
            group.apply(member.subscription());
            group.apply(member.current(self.epoch));
        }
        group
    }
}

#[derive(Debug)]
struct Convert {
    id: MemberId,
    wishes: Subscription,
    has: Partitions,
}

impl Convert {
    fn subscription(&self) -> Change {
        Change::Subscription(self.id.clone(), Some(self.wishes.clone()))
    }

    fn current(&self, epoch: Epoch) -> Change {
        let mut assigned = Held::new();
        for (topic, partitions) in &self.has {
            assigned.insert(*topic, partitions.iter().map(|index| (index, epoch)).collect());
        }
        let (progress, revoking) = (Progress::Stable, Held::new());
        let current = Current { epoch, previous: epoch, progress, assigned, revoking };
        Change::Current(self.id.clone(), Some(current))
    }
}

/// Reads the members of a classic group.
///
/// # Errors
/// Why it cannot become a consumer group.
pub(crate) fn convert(
    classic: &ClassicGroup,
    config: &GroupConfig,
    topics: &dyn Topics,
) -> Result<Converted, Refused> {
    let cannot = |why: &str| {
        let text =
            format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.id);
        Refused::new(GroupError::GroupIdNotFound, text)
    };
    if !config.consumer_migration.upgrades() {
        return Err(cannot("online upgrade is disabled"));
    }
    if !classic.is_of_consumers() {
        return Err(cannot("the group does not use the consumer embedded protocol"));
    }
    if config.consumer_group_size_max < classic.members().len() {
        return Err(cannot("the group size exceeds the consumer group maximum size"));
    }
    let malformed = || cannot("the embedded consumer protocol is malformed");
    let mut all = Vec::with_capacity(classic.members().len());
    for member in classic.members() {
        // Members that have never synced have nothing.
        let given = match member.assignment.is_empty() {
            true => embedded::ConsumerAssignment::default(),
            false => embedded::assignment(&member.assignment).ok_or_else(malformed)?,
        };
        if given.has_user_data {
            let why = "an unsupported custom assignor is in use. Please refer to the documentation \
                       or switch to a default assignor before re-attempting the upgrade";
            return Err(cannot(why));
        }
        let metadata = match &classic.protocol_name {
            Some(name) => member.metadata(Some(name)),
            // The group is still at its first rebalance: nothing was chosen.
            None => member.protocols.first().map(|(_, m)| m.clone()).unwrap_or_default(),
        };
        let said = embedded::subscription(&metadata).ok_or_else(malformed)?;
        let mut has = Partitions::new();
        for (topic, partitions) in ids(&given.partitions, topics) {
            has.entry(topic).or_default().extend(partitions);
        }
        let protocols = member.protocols.iter().map(|(name, m)| (name.to_string(), m.clone()));
        let wishes = Subscription {
            instance: member.instance.clone(),
            rack: said.rack,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: said.topics.into_iter().collect(),
            rebalance_timeout_ms: to_millis(member.rebalance_timeout),
            classic: Some(ClassicPart {
                session_timeout_ms: to_millis(member.session_timeout),
                protocols: protocols.collect(),
            }),
            ..Subscription::default()
        };
        has.retain(|_, partitions| !partitions.is_empty());
        all.push(Convert { id: member.id.clone(), wishes, has });
    }
    let epoch = Epoch(classic.generation.to_wire());
    Ok(Converted { epoch, rebalancing: !matches!(classic.state(), State::Stable), members: all })
}

/// How long a member may be silent.
pub(crate) fn session_of(fx: &Effects, group: &ConsumerGroup, member: &Member) -> Duration {
    match &member.subscription.classic {
        Some(classic) => millis(classic.session_timeout_ms),
        None => fx.config.consumer_session_timeout(&group.id),
    }
}

fn wishes(
    before: Option<&Subscription>,
    request: &JoinGroup,
    said: &ConsumerSubscription,
) -> Subscription {
    let before = before.cloned().unwrap_or_default();
    let protocols = request.protocols.iter().map(|(name, m)| (name.to_string(), m.clone()));
    Subscription {
        instance: request.instance.clone().or(before.instance),
        rack: said.rack.clone().or(before.rack),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: said.topics.iter().cloned().collect(),
        regex: Some(Arc::from("")),
        rebalance_timeout_ms: to_millis(request.rebalance_timeout),
        assignor: before.assignor,
        classic: Some(ClassicPart {
            session_timeout_ms: to_millis(request.session_timeout),
            protocols: protocols.collect(),
        }),
    }
}

fn ids(all: &[TopicPartitions], topics: &dyn Topics) -> Vec<(TopicId, Vec<PartitionIndex>)> {
    let known = |(topic, partitions): &TopicPartitions| {
        topics.find(topic).map(|info| (info.id, partitions.clone()))
    };
    all.iter().filter_map(known).collect()
}

fn named<P: Iterator<Item = PartitionIndex>>(
    all: impl Iterator<Item = (TopicId, P)>,
    topics: &dyn Topics,
) -> Vec<TopicPartitions> {
    all.filter_map(|(id, partitions)| Some((topics.name_of(id)?, partitions.collect()))).collect()
}

fn millis(raw: i32) -> Duration {
    Duration::from_millis(u64::try_from(raw).unwrap_or(0))
}

fn to_millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
