//! JoinGroup: who may enter a group, and whether it must rebalance for it.

use bytes::Bytes;
use ottla_types::Uuid;

use super::{ClassicGroup, Member};
use crate::api::{GroupError, JoinGroup, JoinGroupResponse, Response};
use crate::effects::Effects;
use crate::names::{InstanceId, MemberId, Now, ProtocolName, Token};
use crate::state::{Gathering, State};

impl ClassicGroup {
    /// Handles a join. The answer comes now, or when the rebalance it takes part in is over.
    ///
    /// # Errors
    /// If the client was refused; then nothing has changed and nothing was answered.
    pub(crate) fn join(
        &mut self,
        fx: &mut Effects,
        now: Now,
        mut request: JoinGroup,
        token: Token,
    ) -> Result<(), (MemberId, GroupError)> {
        own_protocols(&mut request.protocols);
        if matches!(self.state, State::Dead) {
            return Err((request.member, GroupError::CoordinatorNotAvailable));
        }
        if !self.has_room_for(fx, &request.member) {
            self.evict(fx, &request.member, GroupError::GroupMaxSizeReached);
            return Err((MemberId::default(), GroupError::GroupMaxSizeReached));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err((request.member, GroupError::InconsistentGroupProtocol));
        }
        if request.member.is_empty() {
            self.join_new(fx, now, request, token)
        } else {
            self.join_known(fx, now, request, token)
        }
    }

    /// Whether the size limit lets the member in. While members gather, those that wait count:
    /// the group may have more from a time when the limit was higher, and the last ones to come
    /// back are to go.
    fn has_room_for(&self, fx: &Effects, id: &MemberId) -> bool {
        let member = self.members.get(id);
        match self.state {
            State::Empty | State::Dead => true,
            State::PreparingRebalance(_) => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join < fx.config.group_size_max
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < fx.config.group_size_max
            }
        }
    }

    fn join_new(
        &mut self,
        fx: &mut Effects,
        now: Now,
        request: JoinGroup,
        token: Token,
    ) -> Result<(), (MemberId, GroupError)> {
        let id = new_member_id(request.instance.as_ref(), &request.client_id, request.random);
        if let Some(instance) = &request.instance {
            if let Some(old) = self.static_members.get(instance).cloned() {
                self.replace_static(fx, now, request, &old, id, token);
            } else {
                self.enter(fx, now, request, id, token);
            }
            return Ok(());
        }
        if !request.member_id_required {
            self.enter(fx, now, request, id, token);
            return Ok(());
        }
        // The client must show that it got an id before it takes part in a rebalance, so that
        // clients that try again and again do not leave dead members behind (KIP-394).
        if fx.config.pending_members_max <= self.pending_join.len() {
            return Err((MemberId::default(), GroupError::GroupMaxSizeReached));
        }
        self.pending_join.insert(id.clone());
        fx.start_session(now, &self.id, &id, request.session_timeout);
        fx.refuse_join(token, &id, GroupError::MemberIdRequired);
        Ok(())
    }

    fn join_known(
        &mut self,
        fx: &mut Effects,
        now: Now,
        request: JoinGroup,
        token: Token,
    ) -> Result<(), (MemberId, GroupError)> {
        let id = request.member.clone();
        if self.pending_join.contains(&id) {
            if request.instance.is_some() {
                // Only dynamic members are sent back for an id.
                return Err((id, GroupError::UnknownServerError));
            }
            self.enter(fx, now, request, id, token);
            return Ok(());
        }
        if let Err(error) = self.check_member(&id, request.instance.as_ref()) {
            return Err((id, error));
        }
        let member = self.members.get(&id).expect("checked above");
        let same = member.protocols == request.protocols;
        match self.state {
            State::PreparingRebalance(_) => self.rejoin(fx, now, request, token),
            // It may have missed the answer to its join.
            State::CompletingRebalance if same => {
                fx.reply(token, Response::JoinGroup(self.joined(&id)));
            }
            // A leader that joins wants a rebalance, though nothing about it has changed: its
            // topics may have.
            State::Stable if same && self.leader.as_ref() != Some(&id) => {
                fx.reply(token, Response::JoinGroup(self.joined(&id)));
            }
            State::CompletingRebalance | State::Stable => self.rejoin(fx, now, request, token),
            State::Empty | State::Dead => return Err((id, GroupError::UnknownMemberId)),
        }
        Ok(())
    }

    /// Takes a new member in and rebalances.
    fn enter(
        &mut self,
        fx: &mut Effects,
        now: Now,
        request: JoinGroup,
        id: MemberId,
        token: Token,
    ) {
        if let State::PreparingRebalance(Gathering::First { new_member }) = &mut self.state {
            *new_member = true;
        }
        let member = Member {
            id: id.clone(),
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout: request.rebalance_timeout,
            session_timeout: request.session_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: None,
            awaiting_sync: None,
        };
        self.add(member, &request.protocol_type);
        self.park_join(fx, &id, token);
        // It cannot send heartbeats while its join is parked, and whether it is still there
        // cannot be seen, so its first session is a long one instead of none.
        fx.start_session(now, &self.id, &id, fx.config.new_member_join_timeout);
        self.rebalance_or_complete(fx, now);
    }

    fn rejoin(&mut self, fx: &mut Effects, now: Now, request: JoinGroup, token: Token) {
        let id = request.member.clone();
        self.update(fx, &id, request, token);
        self.rebalance_or_complete(fx, now);
    }

    /// Sets what a member says about itself, and parks its join.
    pub(super) fn update(
        &mut self,
        fx: &mut Effects,
        id: &MemberId,
        request: JoinGroup,
        token: Token,
    ) {
        self.count_protocols(&request.protocols, true);
        let member = self.members.get_mut(id).expect("a member is updated");
        member.rebalance_timeout = request.rebalance_timeout;
        member.session_timeout = request.session_timeout;
        let before = std::mem::replace(&mut member.protocols, request.protocols);
        self.count_protocols(&before, false);
        self.park_join(fx, id, token);
    }

    /// What a member that is in is told.
    pub(super) fn joined(&self, id: &MemberId) -> JoinGroupResponse {
        let leads = self.leader.as_ref() == Some(id);
        JoinGroupResponse {
            error: None,
            generation: Some(self.generation),
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member: id.clone(),
            members: if leads { self.roster() } else { Vec::new() },
        }
    }
}

/// Copies metadata out of the request's frame, which is not to live as long as the member, and
/// drops repeated names.
pub(crate) fn own_protocols(protocols: &mut Vec<(ProtocolName, Bytes)>) {
    let mut owned: Vec<(ProtocolName, Bytes)> = Vec::with_capacity(protocols.len());
    for (name, metadata) in protocols.drain(..) {
        if owned.iter().all(|(seen, _)| *seen != name) {
            owned.push((name, Bytes::copy_from_slice(&metadata)));
        }
    }
    *protocols = owned;
}

/// Kafka's form: the instance id or the client id, and a UUID with its usual hyphens.
fn new_member_id(instance: Option<&InstanceId>, client_id: &str, random: Uuid) -> MemberId {
    let mut id = instance.map_or(client_id, InstanceId::as_str).to_owned();
    // Ids are strings of Kafka, which have an end; one that came as long as can be makes room.
    while STRING_MAX < id.len() + UUID_LEN {
        id.pop();
    }
    for (index, byte) in random.bytes().into_iter().enumerate() {
        if matches!(index, 0 | 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id += &format!("{byte:02x}");
    }
    MemberId::from(id)
}

/// Bytes of the longest string that Kafka's formats hold.
const STRING_MAX: usize = 0x7fff;
/// Bytes of a UUID with its hyphens, and the hyphen before it.
const UUID_LEN: usize = 37;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_have_kafkas_form() {
        let random = Uuid::from_parts(0x0123_4567_89ab_4def, 0x8123_4567_89ab_cdef);
        let id = new_member_id(None, "client", random);
        assert_eq!(id.as_str(), "client-01234567-89ab-4def-8123-456789abcdef");
        let id = new_member_id(Some(&"static".into()), "client", random);
        assert_eq!(id.as_str(), "static-01234567-89ab-4def-8123-456789abcdef");
        let id = new_member_id(None, &"\u{fc}".repeat(STRING_MAX / 2), random);
        assert!(id.len() <= STRING_MAX && STRING_MAX - 2 < id.len(), "{}", id.len());
    }
}
