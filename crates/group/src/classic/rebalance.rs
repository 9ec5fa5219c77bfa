//! The phases of a rebalance: gathering members, completing the join, and what happens when time
//! is up.

use std::time::Duration;

use bytes::Bytes;
use ottla_types::Generation;

use super::ClassicGroup;
use crate::api::GroupError;
use crate::effects::Effects;
use crate::names::{MemberId, Now};
use crate::records;
use crate::state::{Gathering, State};
use crate::timers::{Timer, TimerKey};

impl ClassicGroup {
    /// A member came, changed or went: rebalance, or go on with the rebalance there is.
    pub(super) fn rebalance_or_complete(&mut self, fx: &mut Effects, now: Now) {
        match self.state {
            State::Empty | State::Stable | State::CompletingRebalance => {
                self.prepare_rebalance(fx, now);
            }
            State::PreparingRebalance(_) => self.complete_if_all_joined(fx, now),
            State::Dead => {}
        }
    }

    /// Ends the join phase early if everyone is there; the first phase of a group is never ended
    /// early.
    pub(super) fn complete_if_all_joined(&mut self, fx: &mut Effects, now: Now) {
        let again = matches!(self.state, State::PreparingRebalance(Gathering::Again));
        if again && self.all_joined() {
            self.complete_join(fx, now);
        }
    }

    /// Begins a rebalance: members learn of it by their heartbeats and join.
    pub(crate) fn prepare_rebalance(&mut self, fx: &mut Effects, now: Now) {
        if matches!(self.state, State::CompletingRebalance) {
            self.drop_assignments(fx, now, GroupError::RebalanceInProgress);
        }
        self.pending_sync.clear();
        fx.timers.cancel(&TimerKey::Sync(self.id.clone()));
        if matches!(self.state, State::Empty) {
            let delay = fx.config.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            self.go_to(State::PreparingRebalance(Gathering::First { new_member: false }), now.wall);
            self.wait_for_first_members(fx, now, delay, remaining);
            return;
        }
        self.go_to(State::PreparingRebalance(Gathering::Again), now.wall);
        if self.all_joined() {
            self.complete_join(fx, now);
        } else {
            self.wait_for_members(fx, now);
        }
    }

    /// The wait for the first members is over: wait on if new ones came, else complete.
    pub(crate) fn first_members_timeout(
        &mut self,
        fx: &mut Effects,
        now: Now,
        delay: Duration,
        remaining: Duration,
    ) {
        let State::PreparingRebalance(Gathering::First { new_member }) = &mut self.state else {
            return;
        };
        if *new_member && !remaining.is_zero() {
            *new_member = false;
            let next = fx.config.initial_rebalance_delay.min(remaining);
            self.wait_for_first_members(fx, now, next, remaining.saturating_sub(delay));
        } else {
            self.complete_join(fx, now);
        }
    }

    /// The wait for members to come back is over.
    pub(crate) fn join_timeout(&mut self, fx: &mut Effects, now: Now) {
        if matches!(self.state, State::PreparingRebalance(_)) {
            self.complete_join(fx, now);
        }
    }

    /// Ends the join phase with the members that are there. Dynamic members that are not lose
    /// their place; static ones keep it until their session ends.
    fn complete_join(&mut self, fx: &mut Effects, now: Now) {
        assert!(matches!(self.state, State::PreparingRebalance(_)), "a join phase ends once");
        fx.timers.cancel(&TimerKey::Join(self.id.clone()));
        let missing = self
            .members
            .values()
            .filter(|member| member.awaiting_join.is_none() && member.instance.is_none());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.evict(fx, &id, GroupError::UnknownMemberId);
        }
        if self.members.is_empty() {
            self.become_empty(fx, now);
        } else if self.elect_leader() {
            self.begin_generation(fx, now);
        } else {
            // Only static members are left and none is here: wait until their sessions end.
            self.wait_for_members(fx, now);
        }
    }

    fn become_empty(&mut self, fx: &mut Effects, now: Now) {
        self.generation = self.generation.next();
        self.protocol_name = None;
        self.pending_sync.clear();
        self.go_to(State::Empty, now.wall);
        self.read_subscription();
        // If this cannot be written, the generation before becomes active again after a restart
        // and its members time out: nothing is lost.
        let record = records::group_metadata(self, &self.assignments());
        fx.append(vec![record], Vec::new(), Vec::new());
    }

    fn begin_generation(&mut self, fx: &mut Effects, now: Now) {
        self.generation = self.generation.next();
        self.protocol_name = self.select_protocol();
        assert!(self.protocol_name.is_some(), "members were let in for a common protocol");
        self.pending_sync.clear();
        self.go_to(State::CompletingRebalance, now.wall);
        self.read_subscription();
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let response = self.joined(&id);
            self.answer_join(fx, &id, || response);
            let member = self.members.get_mut(&id).expect("a member is a member");
            member.is_new = false;
            fx.start_session(now, &self.id, &id, member.session_timeout);
            self.pending_sync.insert(id);
        }
        assert!(self.awaiting_join == 0, "every parked join is answered");
        let at = now.mono.after(self.rebalance_timeout());
        fx.timers.schedule(at, Timer::PendingSync(self.id.clone(), self.generation));
    }

    /// Members that did not fetch their assignment in time are removed.
    pub(crate) fn sync_timeout(&mut self, fx: &mut Effects, now: Now, generation: Generation) {
        let in_time = matches!(self.state, State::CompletingRebalance | State::Stable);
        if generation != self.generation || !in_time || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            self.evict(fx, &id, GroupError::UnknownMemberId);
        }
        self.prepare_rebalance(fx, now);
    }

    /// A member, or one that was given an id, has been silent for its session.
    pub(crate) fn session_timeout(&mut self, fx: &mut Effects, now: Now, id: &MemberId) {
        if self.pending_join.contains(id) {
            self.remove(id);
            if matches!(self.state, State::PreparingRebalance(_)) && self.all_joined() {
                self.complete_join(fx, now);
            }
        } else if self.members.get(id).is_some_and(|member| !member.may_be_silent()) {
            self.remove_and_rebalance(fx, now, id);
        }
    }

    /// Removes a member and lets the others rebalance.
    pub(crate) fn remove_and_rebalance(&mut self, fx: &mut Effects, now: Now, id: &MemberId) {
        self.evict(fx, id, GroupError::UnknownMemberId);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(fx, now),
            State::PreparingRebalance(_) if self.all_joined() => self.complete_join(fx, now),
            _ => {}
        }
    }

    /// Removes a member, with an answer to whatever it has parked.
    pub(super) fn evict(&mut self, fx: &mut Effects, id: &MemberId, error: GroupError) {
        if self.members.contains_key(id) {
            self.refuse_parked(fx, id, error);
        }
        fx.end_session(&self.id, id);
        self.remove(id);
    }

    /// Answers parked syncs with an error, and forgets assignments.
    pub(super) fn drop_assignments(&mut self, fx: &mut Effects, now: Now, error: GroupError) {
        assert!(matches!(self.state, State::CompletingRebalance), "there is none to drop");
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        self.hand_out(fx, now, Some(error));
    }

    fn wait_for_first_members(
        &self,
        fx: &mut Effects,
        now: Now,
        delay: Duration,
        remaining: Duration,
    ) {
        let timer = Timer::InitialJoin { group: self.id.clone(), delay, remaining };
        fx.timers.schedule(now.mono.after(delay), timer);
    }

    pub(super) fn wait_for_members(&self, fx: &mut Effects, now: Now) {
        let at = now.mono.after(self.rebalance_timeout());
        fx.timers.schedule(at, Timer::CompleteJoin(self.id.clone()));
    }

    fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// Makes sure that a member which has joined leads; false if none has.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(|leader| leader.awaiting_join.is_some()) {
            return true;
        }
        let mut joined = self.members.values().filter(|member| member.awaiting_join.is_some());
        let Some(next) = joined.next() else { return false };
        self.leader = Some(next.id.clone());
        true
    }
}
