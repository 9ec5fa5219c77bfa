//! Requests of the classic protocol to a consumer group, and groups that change from one protocol
//! to the other while they have members (KIP-848).

use std::collections::BTreeSet;

use ottla_types::Generation;

use super::GroupShard;
use super::consumer::watch;
use crate::api::{
    GroupError, JoinGroup, JoinGroupResponse, LeavingMember, LeftMember, Record, Response,
    SyncGroup, SyncGroupResponse,
};
use crate::classic::{ClassicGroup, own_protocols};
use crate::config::MigrationPolicy;
use crate::consumer::{ConsumerGroup, Edit};
use crate::journal::{Done, Op};
use crate::names::{GroupId, MemberId, Now, Token};
use crate::records;
use crate::registry::Group;

impl GroupShard {
    /// A classic member joins a consumer group that has members.
    pub(super) fn join_consumer(
        &mut self,
        now: Now,
        mut request: JoinGroup,
        token: Token,
    ) -> Result<(), GroupError> {
        let Self { groups, fx, topics, .. } = self;
        let group = groups.consumer_mut(&request.group).ok_or(GroupError::UnknownMemberId)?;
        if fx.config.consumer_migration == MigrationPolicy::Disabled {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        own_protocols(&mut request.protocols);
        let member = match request.member.is_empty() {
            true => MemberId::from(request.random.to_string()),
            false => request.member.clone(),
        };
        group.check_classic_newcomer(&fx.config, &request, &member)?;
        let is_new = request.member.is_empty() && request.instance.is_none();
        if is_new && request.member_id_required {
            fx.refuse_join(token, &member, GroupError::MemberIdRequired);
            return Ok(());
        }
        let join = group.check_classic_join(&fx.config, &*topics.now, &request, &member)?;
        let downgrades = join.downgrades;
        let mut edit = Edit::new(group);
        let epoch = edit.join_classic(fx, topics, now, join);
        let Edit { records, ops, .. } = edit;
        let stale = group.is_stale();
        let name = request.protocols.first().map(|(name, _)| name.clone());
        let response = Response::JoinGroup(JoinGroupResponse {
            member,
            generation: Generation::from_wire(epoch.0),
            protocol_type: Some(request.protocol_type),
            protocol_name: name,
            ..JoinGroupResponse::default()
        });
        let downgraded = downgrades.then(|| self.as_classic(&request.group, &BTreeSet::new(), now));
        match downgraded.flatten() {
            Some(classic) => {
                let done = vec![Done::Reply { token, response }];
                self.downgrade(now, classic, (records, ops, done), stale);
            }
            None => self.append_then_reply(records, ops, token, response),
        }
        Ok(())
    }

    /// A classic member fetches its assignment.
    pub(super) fn sync_consumer(&mut self, now: Now, request: &SyncGroup, token: Token) {
        let Self { groups, fx, topics, .. } = self;
        let Some(group) = groups.consumer_mut(&request.group) else { return };
        match group.classic_sync(fx, &*topics.now, now, request) {
            Err(error) => fx.refuse_sync(token, error),
            Ok(assignment) => {
                let response = Response::SyncGroup(SyncGroupResponse {
                    error: None,
                    protocol_type: request.protocol_type.clone(),
                    protocol_name: request.protocol_name.clone(),
                    assignment,
                });
                self.reply_after_all(token, response);
            }
        }
    }

    /// Members leave, or are removed by an administrator; all in one epoch.
    pub(super) fn leave_consumer(
        &mut self,
        now: Now,
        id: &GroupId,
        leaving: Vec<LeavingMember>,
    ) -> Vec<LeftMember> {
        let Some(group) = self.groups.consumer_mut(id) else { return Vec::new() };
        let mut gone = BTreeSet::new();
        let leave = |LeavingMember { member, instance, .. }: LeavingMember| {
            let asked = LeavingMember { member, instance, reason: None };
            let found = leaver(group, &asked);
            let error = found.as_ref().err().copied();
            gone.extend(found);
            LeftMember { member: asked.member, instance: asked.instance, error }
        };
        let left = leaving.into_iter().map(leave).collect();
        self.fence_consumers(now, id, &gone, None);
        left
    }

    /// Removes members for good. If those that stay all speak the classic protocol, the group
    /// becomes a classic one.
    pub(super) fn fence_consumers(
        &mut self,
        now: Now,
        id: &GroupId,
        gone: &BTreeSet<MemberId>,
        reply: Option<(Token, Response)>,
    ) {
        let Some(Group::Consumer(group)) = self.groups.get(id) else { return };
        if gone.iter().all(|member| group.member(member).is_none()) {
            return;
        }
        let done: Vec<Done> =
            reply.map(|(token, response)| Done::Reply { token, response }).into_iter().collect();
        if group.may_be_classic(&self.fx.config, gone)
            && let Some(classic) = self.as_classic(id, gone, now)
        {
            self.downgrade(now, classic, (Vec::new(), Vec::new(), done), true);
            return;
        }
        let Self { groups, fx, topics, .. } = self;
        let Some(group) = groups.consumer_mut(id) else { return };
        let mut edit = Edit::new(group);
        edit.fence(fx, topics, gone);
        let Edit { records, ops, .. } = edit;
        self.fx.append(records, ops, done);
    }

    fn as_classic(
        &self,
        id: &GroupId,
        gone: &BTreeSet<MemberId>,
        now: Now,
    ) -> Option<ClassicGroup> {
        let Some(Group::Consumer(group)) = self.groups.get(id) else { return None };
        ClassicGroup::from_consumer(group, gone, &*self.topics.now, now)
    }

    /// Puts a classic group in the place of the consumer group that it was.
    fn downgrade(
        &mut self,
        now: Now,
        classic: ClassicGroup,
        (mut records, mut ops, done): (Vec<Record>, Vec<Op>, Vec<Done>),
        rebalance: bool,
    ) {
        let id = classic.id.clone();
        self.remove_group(&id, &mut records, &mut ops);
        records.push(records::group_metadata(&classic, &classic.assignments()));
        ops.push(Op::Created(id.clone()));
        self.groups.create(id.clone(), Group::Classic(Box::new(classic)));
        self.fx.append(records, ops, done);
        let Self { groups, fx, .. } = self;
        if let Some(group) = groups.classic_mut(&id) {
            group.start_all_sessions(fx, now);
            if rebalance {
                group.prepare_rebalance(fx, now);
            }
        }
    }

    /// A group was to be removed, and that did not get into the log.
    pub(super) fn resume(&mut self, now: Now, id: &GroupId) {
        let Self { groups, fx, .. } = self;
        match groups.get_mut(id) {
            Some(Group::Classic(group)) => group.resume(fx, now),
            Some(Group::Consumer(group)) => {
                let members: Vec<MemberId> = group.members().map(|(id, _)| id.clone()).collect();
                for member in members {
                    watch(fx, now, group, &member);
                }
            }
            Some(Group::Foreign(_)) | None => {}
        }
    }
}

/// Who it is that leaves: a member, or whoever has the static id.
fn leaver(group: &ConsumerGroup, leaving: &LeavingMember) -> Result<MemberId, GroupError> {
    let Some(instance) = &leaving.instance else {
        let member = group.member(&leaving.member);
        return member.map(|_| leaving.member.clone()).ok_or(GroupError::UnknownMemberId);
    };
    let (holder, _) = group.holder(instance).ok_or(GroupError::UnknownMemberId)?;
    if !leaving.member.is_empty() && *holder != leaving.member {
        return Err(GroupError::FencedInstanceId);
    }
    Ok(holder.clone())
}
