//! Membership requests: finding or making the group, then the group decides.

use super::GroupShard;
use crate::api::{
    GroupError, Heartbeat, JoinGroup, LeaveGroup, LeaveGroupResponse, LeftMember, Response,
    SyncGroup,
};
use crate::classic::ClassicGroup;
use crate::journal::{Done, Op};
use crate::names::{GroupId, MemberId, Now, Token};
use crate::records;
use crate::registry::Group;
use crate::timers::TimerKey;

impl GroupShard {
    pub(super) fn join_group(&mut self, now: Now, request: JoinGroup, token: Token) {
        let member = request.member.clone();
        if let Err((member, error)) = self.try_join(now, request, token, member) {
            self.fx.refuse_join(token, &member, error);
        }
    }

    fn try_join(
        &mut self,
        now: Now,
        request: JoinGroup,
        token: Token,
        member: MemberId,
    ) -> Result<(), (MemberId, GroupError)> {
        let config = &self.fx.config;
        if request.group.is_empty() {
            return Err((member, GroupError::InvalidGroupId));
        }
        let allowed = config.session_timeout_min..=config.session_timeout_max;
        if !allowed.contains(&request.session_timeout) {
            return Err((member, GroupError::InvalidSessionTimeout));
        }
        let id = request.group.clone();
        match self.groups.get_mut(&id) {
            Some(Group::Classic(group)) => return group.join(&mut self.fx, now, request, token),
            Some(Group::Consumer(group)) if !group.is_empty() => {
                let joined = self.join_consumer(now, request, token);
                return joined.map_err(|error| (MemberId::default(), error));
            }
            Some(Group::Foreign(group)) if !group.is_empty() => {
                return Err((MemberId::default(), GroupError::InconsistentGroupProtocol));
            }
            _ if !member.is_empty() => return Err((member, GroupError::UnknownMemberId)),
            Some(Group::Consumer(_) | Group::Foreign(_)) | None => {}
        }
        self.join_new_group(now, request, token)
    }

    /// The group is stored at once, so that it is known after a restart and its first member,
    /// which may be waiting for its id only, can come back to it. As in Kafka, a first member that
    /// the group refuses leaves it behind, empty.
    fn join_new_group(
        &mut self,
        now: Now,
        request: JoinGroup,
        token: Token,
    ) -> Result<(), (MemberId, GroupError)> {
        let id = request.group.clone();
        if !self.has_room_for_group(&id) {
            return Err((request.member, GroupError::CoordinatorNotAvailable));
        }
        let (mut records, mut ops) = (Vec::new(), Vec::new());
        // An empty group of another kind gives way, with its timers, before the new one sets any.
        self.remove_group(&id, &mut records, &mut ops);
        let mut group = ClassicGroup::new(id.clone(), now.wall);
        let joined = group.join(&mut self.fx, now, request, token);
        records.push(records::new_group(&group));
        ops.push(Op::Created(id.clone()));
        self.groups.create(id.clone(), Group::Classic(Box::new(group)));
        self.fx.append(records, ops, vec![Done::GroupCreated { group: id, token }]);
        joined
    }

    /// Whether the limit allows one more group.
    pub(super) fn has_room_for_group(&self, id: &GroupId) -> bool {
        self.groups.get(id).is_some() || self.groups.len() < self.fx.config.groups_max
    }

    /// Removes a group in whose place another comes: tombstones for all its records.
    pub(super) fn remove_group(
        &mut self,
        id: &GroupId,
        records: &mut Vec<crate::api::Record>,
        ops: &mut Vec<Op>,
    ) {
        let watched = match self.groups.get_mut(id) {
            None => return,
            Some(Group::Classic(group)) => {
                records.push(records::group_tombstone(id));
                group.refuse_all_parked(&mut self.fx, GroupError::RebalanceInProgress);
                let watched = group.watched();
                group.forget_pending();
                watched
            }
            Some(Group::Consumer(group)) => {
                records.extend(group.tombstones());
                group.members().map(|(id, _)| id.clone()).collect()
            }
            Some(Group::Foreign(group)) => {
                let tombstone =
                    |key: &bytes::Bytes| crate::api::Record { key: key.clone(), value: None };
                records.extend(group.keys().map(tombstone));
                Vec::new()
            }
        };
        self.forget_timers(id, watched);
        self.groups.remove(id);
        ops.push(Op::Removed(id.clone()));
    }

    /// Forgets what was to happen to a group.
    pub(super) fn forget_timers(&mut self, id: &GroupId, members: Vec<MemberId>) {
        self.fx.timers.cancel(&TimerKey::Join(id.clone()));
        self.fx.timers.cancel(&TimerKey::Sync(id.clone()));
        self.fx.timers.cancel(&TimerKey::Resolve(id.clone()));
        for member in members {
            self.fx.end_session(id, &member);
            self.fx.timers.cancel(&TimerKey::Rebalance(id.clone(), member.clone()));
            self.fx.timers.cancel(&TimerKey::MemberJoin(id.clone(), member.clone()));
            self.fx.timers.cancel(&TimerKey::MemberSync(id.clone(), member));
        }
    }

    pub(super) fn sync_group(&mut self, now: Now, request: SyncGroup, token: Token) {
        if request.group.is_empty() {
            self.fx.refuse_sync(token, GroupError::InvalidGroupId);
            return;
        }
        match self.groups.get_mut(&request.group) {
            Some(Group::Classic(group)) => group.sync(&mut self.fx, request, token),
            Some(Group::Consumer(_)) => self.sync_consumer(now, &request, token),
            Some(Group::Foreign(_)) | None => {
                self.fx.refuse_sync(token, GroupError::UnknownMemberId)
            }
        }
    }

    pub(super) fn heartbeat(&mut self, now: Now, request: &Heartbeat, token: Token) {
        if let Some(group) = self.groups.consumer_mut(&request.group) {
            let result = group.classic_heartbeat(&mut self.fx, now, request);
            self.reply_after_all(token, Response::Heartbeat(result));
            return;
        }
        let result = if request.group.is_empty() {
            Err(GroupError::InvalidGroupId)
        } else {
            match self.groups.classic_mut(&request.group) {
                Some(group) => group.heartbeat(&mut self.fx, now, request),
                None => Err(GroupError::UnknownMemberId),
            }
        };
        self.fx.reply(token, Response::Heartbeat(result));
    }

    pub(super) fn leave_group(&mut self, now: Now, request: LeaveGroup, token: Token) {
        let mut response = LeaveGroupResponse::default();
        let pushed = self.fx.journal.pushed();
        if request.group.is_empty() {
            response.error = Some(GroupError::InvalidGroupId);
        } else if let Some(group) = self.groups.classic_mut(&request.group) {
            response.members = group.leave(&mut self.fx, now, request.members);
        } else if self.groups.consumer_mut(&request.group).is_some() {
            response.members = self.leave_consumer(now, &request.group, request.members);
        } else {
            let unknown = request.members.into_iter().map(|leaving| LeftMember {
                member: leaving.member,
                instance: leaving.instance,
                error: Some(GroupError::UnknownMemberId),
            });
            response.members = unknown.collect();
        }
        let response = Response::LeaveGroup(response);
        if pushed == self.fx.journal.pushed() {
            self.fx.reply(token, response);
        } else {
            self.reply_after_all(token, response);
        }
    }

    /// Answers when everything that is on its way is committed.
    pub(super) fn reply_after_all(&mut self, token: Token, response: Response) {
        if let Some(Done::Reply { token, response }) =
            self.fx.journal.after_all(Done::Reply { token, response })
        {
            self.fx.reply(token, response);
        }
    }
}
