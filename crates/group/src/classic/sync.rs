//! SyncGroup and Heartbeat: the leader's assignment is stored, then handed out.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_types::Generation;

use super::ClassicGroup;
use crate::api::{GroupError, Heartbeat, Response, SyncGroup, SyncGroupResponse};
use crate::effects::Effects;
use crate::journal::Done;
use crate::names::{InstanceId, MemberId, Now, Token};
use crate::records;
use crate::state::State;
use crate::timers::TimerKey;

impl ClassicGroup {
    /// Handles a sync. The answer comes when the leader's assignment is stored.
    pub(crate) fn sync(&mut self, fx: &mut Effects, request: SyncGroup, token: Token) {
        if let Err(error) = self.check_sync(&request) {
            fx.refuse_sync(token, error);
            return;
        }
        match self.state {
            State::CompletingRebalance => {
                self.park_sync(fx, &request.member, token);
                if self.leader.as_ref() == Some(&request.member) {
                    self.store_assignment(fx, request);
                }
            }
            State::Stable => {
                self.synced(fx, &request.member);
                let response = self.assignment_of(&request.member);
                fx.reply(token, Response::SyncGroup(response));
            }
            State::PreparingRebalance(_) => fx.refuse_sync(token, GroupError::RebalanceInProgress),
            State::Empty | State::Dead => fx.refuse_sync(token, GroupError::UnknownMemberId),
        }
    }

    fn check_sync(&self, request: &SyncGroup) -> Result<(), GroupError> {
        self.check_generation(&request.member, request.instance.as_ref(), request.generation)?;
        let other_type = differ(request.protocol_type.as_ref(), self.protocol_type.as_ref());
        if other_type || differ(request.protocol_name.as_ref(), self.protocol_name.as_ref()) {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Refuses whoever is not in this generation.
    pub(crate) fn check_generation(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
        generation: Option<Generation>,
    ) -> Result<(), GroupError> {
        if matches!(self.state, State::Dead) {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.check_member(member, instance)?;
        if generation == Some(self.generation) {
            Ok(())
        } else {
            Err(GroupError::IllegalGeneration)
        }
    }

    fn park_sync(&mut self, fx: &mut Effects, id: &MemberId, token: Token) {
        let member = self.members.get_mut(id).expect("checked by the caller");
        if let Some(earlier) = member.awaiting_sync.replace(token) {
            // The client tried again; the earlier request must not be left without an answer.
            fx.refuse_sync(earlier, GroupError::RebalanceInProgress);
        }
        self.synced(fx, id);
    }

    fn synced(&mut self, fx: &mut Effects, id: &MemberId) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            fx.timers.cancel(&TimerKey::Sync(self.id.clone()));
        }
    }

    fn store_assignment(&self, fx: &mut Effects, request: SyncGroup) {
        let mut assignments: BTreeMap<MemberId, Bytes> =
            self.members.keys().map(|id| (id.clone(), Bytes::new())).collect();
        for (id, assignment) in request.assignments {
            if let Some(slot) = assignments.get_mut(&id) {
                *slot = Bytes::copy_from_slice(&assignment);
            }
        }
        let record = records::group_metadata(self, &assignments);
        let group = self.id.clone();
        let done = Done::Assigned { group, generation: self.generation, assignments };
        fx.append(vec![record], Vec::new(), vec![done]);
    }

    /// The assignment is stored, or is known not to be.
    pub(crate) fn assigned(
        &mut self,
        fx: &mut Effects,
        now: Now,
        generation: Generation,
        mut assignments: BTreeMap<MemberId, Bytes>,
        result: Result<(), GroupError>,
    ) {
        // The group may have gone on to another rebalance meanwhile.
        if !matches!(self.state, State::CompletingRebalance) || generation != self.generation {
            return;
        }
        if let Err(error) = result {
            self.drop_assignments(fx, now, error);
            self.prepare_rebalance(fx, now);
            return;
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        self.hand_out(fx, now, None);
        self.go_to(State::Stable, now.wall);
        fx.counters.completed_rebalances += 1;
    }

    /// Answers parked syncs with the assignments, or with an error. Sessions begin anew: one that
    /// ended while its member's sync was parked did not count.
    pub(super) fn hand_out(&mut self, fx: &mut Effects, now: Now, error: Option<GroupError>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let response = match error {
                None => self.assignment_of(&id),
                Some(error) => SyncGroupResponse { error: Some(error), ..Default::default() },
            };
            if self.answer_sync(fx, &id, response) {
                let timeout = self.members.get(&id).map(|member| member.session_timeout);
                fx.start_session(now, &self.id, &id, timeout.unwrap_or_default());
            }
        }
    }

    fn assignment_of(&self, id: &MemberId) -> SyncGroupResponse {
        SyncGroupResponse {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }

    /// Handles a heartbeat.
    ///
    /// # Errors
    /// If the member is not in this generation, or is to join again.
    pub(crate) fn heartbeat(
        &mut self,
        fx: &mut Effects,
        now: Now,
        request: &Heartbeat,
    ) -> Result<(), GroupError> {
        let Heartbeat { member, instance, generation, .. } = request;
        self.check_generation(member, instance.as_ref(), *generation)?;
        self.touch(fx, now, member);
        match self.state {
            State::CompletingRebalance | State::Stable => Ok(()),
            State::PreparingRebalance(_) => Err(GroupError::RebalanceInProgress),
            State::Empty | State::Dead => Err(GroupError::UnknownMemberId),
        }
    }

    /// Restarts the session of a member.
    pub(crate) fn touch(&self, fx: &mut Effects, now: Now, id: &MemberId) {
        if let Some(member) = self.members.get(id) {
            fx.start_session(now, &self.id, id, member.session_timeout);
        }
    }
}

/// Whether both are known and not the same.
fn differ<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.is_some() && other.is_some() && one != other
}
