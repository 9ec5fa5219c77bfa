//! A classic group: its members, their votes, its state.
//!
//! What it does at a request is in the modules below, one for each; this file holds the state and
//! the changes to it that keep its parts together.

mod convert;
mod join;
mod leave;
mod rebalance;
mod replace;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_types::{Generation, WallTime};

pub(crate) use join::own_protocols;
pub(crate) use replace::StaticReplacement;

use crate::api::{GroupError, JoinGroupResponse, JoinedMember, Response, SyncGroupResponse};
use crate::effects::Effects;
use crate::names::{GroupId, InstanceId, MemberId, Now, ProtocolName, ProtocolType, Token, Topic};
use crate::state::State;
use crate::subscription;

/// A member of a classic group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) session_timeout: Duration,
    /// In order of preference, each name once.
    pub(crate) protocols: Vec<(ProtocolName, Bytes)>,
    pub(crate) assignment: Bytes,
    /// Has not yet been told its id, so cannot send heartbeats.
    pub(crate) is_new: bool,
    awaiting_join: Option<Token>,
    pub(crate) awaiting_sync: Option<Token>,
}

impl Member {
    /// Metadata for a protocol; empty for one the member does not have.
    pub(crate) fn metadata(&self, protocol: Option<&ProtocolName>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// A member as a record describes it: name and address of its client, session and rebalance
    /// timeout.
    pub(crate) fn loaded(
        id: MemberId,
        instance: Option<InstanceId>,
        (client_id, client_host): (String, String),
        (session_timeout, rebalance_timeout): (Duration, Duration),
        protocols: Vec<(ProtocolName, Bytes)>,
        assignment: Bytes,
    ) -> Self {
        Self {
            id,
            instance,
            client_id,
            client_host,
            rebalance_timeout,
            session_timeout,
            protocols,
            assignment,
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
        }
    }

    /// Whether silence is allowed: a parked request is a sign of life, but not of a member that
    /// could not send anything else.
    fn may_be_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// A classic group.
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: GroupId,
    state: State,
    /// When the state began; old records do not say.
    pub(crate) state_since: Option<WallTime>,
    pub(crate) generation: Generation,
    pub(crate) protocol_type: Option<ProtocolType>,
    pub(crate) protocol_name: Option<ProtocolName>,
    pub(crate) leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    /// Which member holds a static id.
    static_members: BTreeMap<InstanceId, MemberId>,
    /// Were given an id and have not come back with it.
    pending_join: BTreeSet<MemberId>,
    /// Have not fetched the assignment of this generation.
    pending_sync: BTreeSet<MemberId>,
    /// How many members have each protocol; no zeros.
    supported: BTreeMap<ProtocolName, usize>,
    /// Members with a parked join.
    awaiting_join: usize,
    /// Of a group of consumers, if it could be told.
    subscribed: Option<BTreeSet<Topic>>,
}

impl ClassicGroup {
    /// An empty group.
    pub(crate) fn new(id: GroupId, now: WallTime) -> Self {
        Self::loaded(id, Some(now))
    }

    /// An empty group as a record describes it; members are added.
    pub(crate) fn loaded(id: GroupId, state_since: Option<WallTime>) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since,
            generation: Generation::ZERO,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            supported: BTreeMap::new(),
            awaiting_join: 0,
            subscribed: None,
        }
    }

    /// Whether a client was told that it may come back to this group, or is in it.
    pub(crate) fn has_answered(&self) -> bool {
        !self.pending_join.is_empty() || Generation::ZERO < self.generation
    }

    /// The state.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Goes to another state; the table is at [`State`].
    pub(crate) fn go_to(&mut self, state: State, now: WallTime) {
        assert!(self.state.may_become(&state), "{} is {:?}, not {state:?}", self.id, self.state);
        self.state = state;
        self.state_since = Some(now);
    }

    /// A group that was loaded with members is stable.
    pub(crate) fn loaded_stable(&mut self) {
        assert!(!self.members.is_empty(), "a stable group has members");
        self.state = State::Stable;
    }

    /// All members, by id.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub(crate) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// A group without management: only its offsets make it known.
    pub(crate) fn is_simple(&self) -> bool {
        self.protocol_type.is_none()
            && matches!(self.state, State::Empty)
            && self.pending_join.is_empty()
    }

    /// Whether it has no members, so that a group of another kind may take its place.
    pub(crate) fn is_vacant(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// Whether members may come back with an id they were given.
    pub(crate) fn has_pending_joins(&self) -> bool {
        !self.pending_join.is_empty()
    }

    /// Whether a member holds this static id.
    pub(crate) fn has_instance(&self, instance: &InstanceId) -> bool {
        self.static_members.contains_key(instance)
    }

    /// Everyone whose silence is watched.
    pub(crate) fn watched(&self) -> Vec<MemberId> {
        self.members.keys().chain(&self.pending_join).cloned().collect()
    }

    /// Forgets who was sent back for an id.
    pub(crate) fn forget_pending(&mut self) {
        self.pending_join.clear();
    }

    /// Starts the sessions of all members, after loading.
    pub(crate) fn start_all_sessions(&self, fx: &mut Effects, now: Now) {
        for member in self.members.values() {
            fx.start_session(now, &self.id, &member.id, member.session_timeout);
        }
    }

    /// Members are consumers, whose subscriptions can be read.
    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(subscription::CONSUMER)
    }

    /// Whether members consume the topic. A group of consumers that cannot be read counts as
    /// subscribed to everything.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// Whether [`Self::is_subscribed_to`] rests on what the members say.
    pub(crate) fn knows_subscription(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Longest rebalance timeout of a member.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Refuses an unknown member, and one whose static id another has taken over.
    pub(crate) fn check_member(
        &self,
        member: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(GroupError::UnknownMemberId),
                Some(holder) if holder != member => return Err(GroupError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    /// Adds a member; the first one leads.
    pub(crate) fn add(&mut self, member: Member, protocol_type: &ProtocolType) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        assert!(self.protocol_type.as_ref() == Some(protocol_type), "one protocol type");
        if let Some(instance) = &member.instance {
            let before = self.static_members.insert(instance.clone(), member.id.clone());
            assert!(before.is_none(), "a static id has one holder");
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_join.remove(&member.id);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.count_protocols(&member.protocols, true);
        let before = self.members.insert(member.id.clone(), member);
        assert!(before.is_none(), "a member joins once");
    }

    /// Removes a member or a pending member. Its parked requests must have been answered.
    pub(crate) fn remove(&mut self, id: &MemberId) {
        if let Some(member) = self.members.remove(id) {
            assert!(member.awaiting_join.is_none(), "a parked join is answered first");
            assert!(member.awaiting_sync.is_none(), "a parked sync is answered first");
            self.count_protocols(&member.protocols, false);
            if let Some(instance) = &member.instance {
                self.static_members.remove(instance);
            }
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        self.check();
    }

    /// Parks a join. An earlier one of the same member (a client that tried again) is answered.
    fn park_join(&mut self, fx: &mut Effects, id: &MemberId, token: Token) {
        let member = self.members.get_mut(id).expect("a member parks its join");
        match member.awaiting_join.replace(token) {
            Some(earlier) => fx.refuse_join(earlier, id, GroupError::RebalanceInProgress),
            None => self.awaiting_join += 1,
        }
        self.check();
    }

    /// Answers a parked join, if there is one.
    fn answer_join(
        &mut self,
        fx: &mut Effects,
        id: &MemberId,
        response: impl FnOnce() -> JoinGroupResponse,
    ) {
        let member = self.members.get_mut(id).expect("a member has joined");
        if let Some(token) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            fx.reply(token, Response::JoinGroup(response()));
        }
    }

    /// Answers a parked sync, if there is one; tells whether.
    fn answer_sync(
        &mut self,
        fx: &mut Effects,
        id: &MemberId,
        response: SyncGroupResponse,
    ) -> bool {
        let member = self.members.get_mut(id).expect("a member has joined");
        let token = member.awaiting_sync.take();
        if let Some(token) = token {
            fx.reply(token, Response::SyncGroup(response));
        }
        token.is_some()
    }

    /// Refuses whatever a member has parked.
    pub(crate) fn refuse_parked(&mut self, fx: &mut Effects, id: &MemberId, error: GroupError) {
        self.answer_join(fx, id, || JoinGroupResponse {
            error: Some(error),
            ..JoinGroupResponse::default()
        });
        let refused = SyncGroupResponse { error: Some(error), ..SyncGroupResponse::default() };
        self.answer_sync(fx, id, refused);
    }

    /// Refuses whatever anyone has parked: the group is going.
    pub(crate) fn refuse_all_parked(&mut self, fx: &mut Effects, error: GroupError) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.refuse_parked(fx, &id, error);
        }
        assert!(self.awaiting_join == 0, "no join is parked any more");
    }

    /// The member that parked this join, if one did.
    pub(crate) fn joined_by(&self, token: Token) -> Option<MemberId> {
        let mut members = self.members.values();
        members.find(|member| member.awaiting_join == Some(token)).map(|member| member.id.clone())
    }

    /// The protocol with most votes among those that all members have; the leader's preference
    /// decides a tie. (Kafka's tie depends on the order of a hash table.)
    fn select_protocol(&self) -> Option<ProtocolName> {
        let everyone = self.members.len();
        let candidate = |name: &ProtocolName| self.supported.get(name) == Some(&everyone);
        let mut votes: BTreeMap<&ProtocolName, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|name| candidate(name));
            *votes.entry(vote?).or_default() += 1;
        }
        let leader = self.members.get(self.leader.as_ref()?)?;
        let mut chosen: Option<(&ProtocolName, usize)> = None;
        for (name, _) in &leader.protocols {
            let count = votes.get(name).copied().unwrap_or(0);
            if chosen.is_none_or(|(_, most)| most < count) && 0 < count {
                chosen = Some((name, count));
            }
        }
        chosen.map(|(name, _)| name.clone())
    }

    /// Whether a member with these protocols can be in the group.
    fn supports(&self, protocol_type: &str, protocols: &[(ProtocolName, Bytes)]) -> bool {
        if matches!(self.state, State::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let everyone = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|(name, _)| self.supported.get(name).copied().unwrap_or(0) == everyone)
    }

    fn count_protocols(&mut self, protocols: &[(ProtocolName, Bytes)], more: bool) {
        for (name, _) in protocols {
            let count = self.supported.entry(name.clone()).or_default();
            if more {
                *count += 1;
            } else {
                assert!(0 < *count, "a protocol was counted");
                *count -= 1;
            }
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    /// Reads the topics of a group of consumers out of its members' metadata.
    pub(crate) fn read_subscription(&mut self) {
        self.subscribed = None;
        if !self.is_of_consumers() {
            return;
        }
        let mut topics = BTreeSet::new();
        if !self.members.is_empty() {
            let Some(protocol) = &self.protocol_name else { return };
            for member in self.members.values() {
                let metadata = member.metadata(Some(protocol));
                let Some(names) = subscription::topics(&metadata) else { return };
                topics.extend(names);
            }
        }
        self.subscribed = Some(topics);
    }

    /// Everyone, as the leader is told.
    fn roster(&self) -> Vec<JoinedMember> {
        let member = |member: &Member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol_name.as_ref()),
        };
        self.members.values().map(member).collect()
    }

    /// Assignments of all members.
    pub(crate) fn assignments(&self) -> BTreeMap<MemberId, Bytes> {
        let member = |member: &Member| (member.id.clone(), member.assignment.clone());
        self.members.values().map(member).collect()
    }

    /// Parts that must agree.
    fn check(&self) {
        assert!(self.awaiting_join <= self.members.len(), "only members park joins");
        assert!(self.static_members.len() <= self.members.len(), "a static id has a member");
        assert!(self.pending_sync.len() <= self.members.len(), "only members sync");
        assert!(
            self.leader.is_some() || self.members.is_empty(),
            "a group with members has a leader"
        );
    }
}
