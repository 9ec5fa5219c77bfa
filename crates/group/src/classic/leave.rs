//! LeaveGroup: members go at once, static ones also by order of an administrator (KIP-345).

use super::ClassicGroup;
use crate::api::{GroupError, LeavingMember, LeftMember};
use crate::effects::Effects;
use crate::names::Now;
use crate::state::State;

impl ClassicGroup {
    /// Removes those that leave, then rebalances once for all of them.
    pub(crate) fn leave(
        &mut self,
        fx: &mut Effects,
        now: Now,
        leaving: Vec<LeavingMember>,
    ) -> Vec<LeftMember> {
        let mut left = Vec::with_capacity(leaving.len());
        for LeavingMember { member, instance, .. } in leaving {
            let leaver = LeavingMember { member, instance, reason: None };
            let error = self.leave_one(fx, &leaver).err();
            left.push(LeftMember { member: leaver.member, instance: leaver.instance, error });
        }
        if left.iter().any(|member| member.error.is_none()) {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(fx, now),
                State::PreparingRebalance(_) => self.complete_if_all_joined(fx, now),
                State::Empty | State::Dead => {}
            }
        }
        left
    }

    fn leave_one(&mut self, fx: &mut Effects, leaving: &LeavingMember) -> Result<(), GroupError> {
        let id = if leaving.member.is_empty() {
            let instance = leaving.instance.as_ref().ok_or(GroupError::UnknownMemberId)?;
            self.static_members.get(instance).cloned().ok_or(GroupError::UnknownMemberId)?
        } else {
            if !self.pending_join.contains(&leaving.member) {
                self.check_member(&leaving.member, leaving.instance.as_ref())?;
            }
            leaving.member.clone()
        };
        self.evict(fx, &id, GroupError::UnknownMemberId);
        Ok(())
    }
}
