//! Requests of the classic protocol to a consumer group (KIP-848).

use std::collections::BTreeSet;

use super::GroupShard;
use crate::api::{GroupError, LeavingMember, LeftMember};
use crate::consumer::ConsumerGroup;
use crate::names::{GroupId, MemberId};

impl GroupShard {
    /// Members leave, or are removed by an administrator; all in one epoch.
    pub(super) fn leave_consumer(
        &mut self,
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
        self.edit_consumer(id, |edit, fx, topics| edit.fence(fx, topics, &gone));
        left
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
