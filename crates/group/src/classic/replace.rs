//! A static member that comes back without its id takes its former place over (KIP-345), without
//! a rebalance if the group can go on as it is (KIP-814).

use std::time::Duration;

use bytes::Bytes;

use super::ClassicGroup;
use crate::api::{GroupError, JoinGroup, JoinGroupResponse, SyncGroupResponse};
use crate::effects::Effects;
use crate::journal::Done;
use crate::names::{InstanceId, MemberId, Now, ProtocolName, Token};
use crate::records;
use crate::state::State;

/// A replacement that waits for its record, with what is needed to take it back.
#[derive(Debug)]
pub(crate) struct StaticReplacement {
    instance: InstanceId,
    old: MemberId,
    new: MemberId,
    old_protocols: Vec<(ProtocolName, Bytes)>,
    old_rebalance_timeout: Duration,
    old_session_timeout: Duration,
    old_leader: Option<MemberId>,
    skip_assignment: bool,
    token: Token,
}

impl ClassicGroup {
    pub(super) fn replace_static(
        &mut self,
        fx: &mut Effects,
        now: Now,
        request: JoinGroup,
        old: &MemberId,
        new: MemberId,
        token: Token,
    ) {
        // Whoever waits under the old id is fenced.
        let fenced = GroupError::FencedInstanceId;
        self.answer_join(fx, old, || JoinGroupResponse {
            error: Some(fenced),
            member: old.clone(),
            ..Default::default()
        });
        let refused = SyncGroupResponse { error: Some(fenced), ..Default::default() };
        self.answer_sync(fx, old, refused);
        let old_leader = self.leader.clone();
        let instance = request.instance.clone().expect("a static member has a static id");
        self.rename(fx, now, &instance, old, &new);
        let member = self.members.get(&new).expect("just renamed");
        let replacement = StaticReplacement {
            instance,
            old: old.clone(),
            new: new.clone(),
            old_protocols: member.protocols.clone(),
            old_rebalance_timeout: member.rebalance_timeout,
            old_session_timeout: member.session_timeout,
            old_leader,
            skip_assignment: request.skip_assignment,
            token,
        };
        self.update(fx, &new, request, token);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol_name => {
                let record = records::group_metadata(self, &self.assignments());
                let group = self.id.clone();
                let done = Done::StaticReplaced { group, replacement: Box::new(replacement) };
                fx.append(vec![record], Vec::new(), vec![done]);
            }
            // In the sync phase the leader may be computing an assignment for the old id.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(fx, now),
            State::PreparingRebalance(_) => self.complete_if_all_joined(fx, now),
            State::Empty | State::Dead => unreachable!("such a group has no static member"),
        }
    }

    /// The new id is stored, or is known not to be.
    pub(crate) fn replaced(
        &mut self,
        fx: &mut Effects,
        now: Now,
        replacement: StaticReplacement,
        result: Result<(), GroupError>,
    ) {
        let StaticReplacement { new, token, .. } = &replacement;
        // If a rebalance has begun since, the join is part of it.
        let parked = self.joined_by(*token).as_ref() == Some(new);
        if !matches!(self.state, State::Stable) || !parked {
            return;
        }
        if let Err(error) = result {
            self.take_back(fx, now, replacement, error);
            return;
        }
        let mut response = self.joined(new);
        if replacement.skip_assignment {
            // A leader learns who is there, and that all of them have assignments.
            response.skip_assignment = self.leader.as_ref() == Some(new);
        } else {
            // An older client that sees itself lead would compute an assignment.
            response.leader = replacement.old_leader.clone().unwrap_or_default();
            response.members = Vec::new();
        }
        self.answer_join(fx, new, || response);
    }

    fn take_back(
        &mut self,
        fx: &mut Effects,
        now: Now,
        replacement: StaticReplacement,
        error: GroupError,
    ) {
        let leader = replacement.old_leader.clone().unwrap_or_default();
        let response = JoinGroupResponse {
            error: Some(error),
            member: MemberId::default(),
            members: Vec::new(),
            leader,
            ..self.joined(&replacement.new)
        };
        self.answer_join(fx, &replacement.new, || response);
        self.rename(fx, now, &replacement.instance, &replacement.new, &replacement.old);
        self.count_protocols(&replacement.old_protocols, true);
        let member = self.members.get_mut(&replacement.old).expect("just renamed");
        member.rebalance_timeout = replacement.old_rebalance_timeout;
        member.session_timeout = replacement.old_session_timeout;
        let before = std::mem::replace(&mut member.protocols, replacement.old_protocols);
        self.count_protocols(&before, false);
        self.touch(fx, now, &replacement.old);
    }

    fn rename(
        &mut self,
        fx: &mut Effects,
        now: Now,
        instance: &InstanceId,
        from: &MemberId,
        to: &MemberId,
    ) {
        let mut member = self.members.remove(from).expect("a static id has a member");
        assert!(member.instance.as_ref() == Some(instance), "the holder of the static id");
        member.id = to.clone();
        member.is_new = false;
        fx.end_session(&self.id, from);
        fx.start_session(now, &self.id, to, member.session_timeout);
        self.members.insert(to.clone(), member);
        self.static_members.insert(instance.clone(), to.clone());
        if self.leader.as_ref() == Some(from) {
            self.leader = Some(to.clone());
        }
        if self.pending_sync.remove(from) {
            self.pending_sync.insert(to.clone());
        }
    }
}
