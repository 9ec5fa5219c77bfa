//! What the members do: join, beat, sync and leave in the protocol that they speak, and go by the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_group::{
    Beat, ConsumerGroupHeartbeat, Epoch, GroupError, Heartbeat, JoinGroup, JoinGroupResponse,
    LeaveGroup, LeavingMember, MemberId, MigrationPolicy, Request, Response, SyncGroup,
};
use ottla_types::{Generation, PartitionIndex, Uuid};

use super::wire::{assignment, given, owned_of, subscription};
use super::{Client, Owned, SESSION_MILLIS, Speech, TOPIC, World};
use crate::consumer::id;

impl World {
    pub(super) fn start(&mut self, number: usize, speech: Speech) {
        self.members += 1;
        let member = format!("m{}", self.members);
        let client = &mut self.clients[number];
        // A process that starts again has nothing, and a dynamic one is somebody else.
        let consumes = speech == Speech::Consumer;
        let member = if consumes { member.as_str().into() } else { MemberId::default() };
        let (instance, heard_at) = (client.instance.clone(), self.now);
        let (owned, told) = (Owned::new(), Owned::new());
        *client = Client {
            alive: true,
            speech,
            member,
            instance,
            epoch: None,
            waits: None,
            owned,
            told,
            heard_at,
            told_at: 0,
            unsure: false,
            stale: false,
        };
        self.beat(number);
    }

    pub(super) fn beat(&mut self, number: usize) {
        let client = &mut self.clients[number];
        // What was taken away is given up before the next request says so.
        client.owned = client.owned.intersection(&client.told).copied().collect();
        match (client.speech, client.epoch) {
            (Speech::Consumer, _) => self.consumer_beat(number),
            (_, Some(generation)) if !client.stale => {
                let request = Heartbeat {
                    group: "g".into(),
                    generation: Generation::from_wire(generation),
                    member: client.member.clone(),
                    instance: client.instance.as_deref().map(Into::into),
                };
                self.ask(number, Request::Heartbeat(request));
            }
            _ => self.join(number),
        }
    }

    fn consumer_beat(&mut self, number: usize) {
        let client = &self.clients[number];
        let joining = client.epoch.is_none();
        let whole = joining || client.unsure;
        let owned: Vec<PartitionIndex> = match joining {
            true => Vec::new(),
            false => client.owned.iter().map(|index| PartitionIndex(*index)).collect(),
        };
        let owned = if owned.is_empty() { Vec::new() } else { vec![(id(1), owned)] };
        let beat = ConsumerGroupHeartbeat {
            rebalance_timeout: whole.then_some(Duration::from_secs(60)),
            topics: whole.then(|| vec![TOPIC.into()]),
            owned: Some(owned),
            ..self.empty_beat(number, client.epoch.map_or(Beat::Join, |e| Beat::Stay(Epoch(e))))
        };
        self.ask(number, Request::ConsumerGroupHeartbeat(Box::new(beat)));
    }

    fn empty_beat(&self, number: usize, beat: Beat) -> ConsumerGroupHeartbeat {
        let client = &self.clients[number];
        ConsumerGroupHeartbeat {
            group: "g".into(),
            member: client.member.clone(),
            beat,
            instance: client.instance.as_deref().map(Into::into),
            rack: None,
            rebalance_timeout: None,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            client_id: "c".into(),
            client_host: "/h".into(),
        }
    }

    fn join(&mut self, number: usize) {
        let client = &mut self.clients[number];
        (client.epoch, client.stale) = (None, false);
        if client.speech == Speech::Eager {
            client.owned.clear();
            client.told.clear();
        }
        let metadata = subscription(&client.owned);
        let request = JoinGroup {
            group: "g".into(),
            member: client.member.clone(),
            instance: client.instance.as_deref().map(Into::into),
            client_id: "c".into(),
            client_host: "/h".into(),
            session_timeout: Duration::from_millis(SESSION_MILLIS),
            rebalance_timeout: Duration::from_millis(SESSION_MILLIS),
            protocol_type: "consumer".into(),
            protocols: vec![("p".into(), metadata)],
            random: Uuid::from_parts(1, self.tokens),
            member_id_required: true,
            skip_assignment: true,
        };
        self.ask(number, Request::JoinGroup(request));
    }

    fn sync(&mut self, number: usize, joined: &JoinGroupResponse) {
        let leads = joined.leader == joined.member && !joined.skip_assignment;
        let assignments = if leads { self.assign(joined) } else { Vec::new() };
        let client = &self.clients[number];
        let request = SyncGroup {
            group: "g".into(),
            generation: joined.generation,
            member: client.member.clone(),
            instance: client.instance.as_deref().map(Into::into),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("p".into()),
            assignments,
        };
        self.ask(number, Request::SyncGroup(request));
    }

    /// What a leader assigns: to each its share, but nothing that another one still has.
    fn assign(&self, joined: &JoinGroupResponse) -> Vec<(MemberId, Bytes)> {
        let had: BTreeMap<u32, &MemberId> = joined
            .members
            .iter()
            .flat_map(|one| owned_of(&one.metadata).into_iter().map(|index| (index, &one.member)))
            .collect();
        let share = |at: usize, member: &MemberId| -> Owned {
            (0..self.cluster.topics[0].2)
                .filter(|index| usize::try_from(*index).unwrap() % joined.members.len() == at)
                .filter(|index| had.get(index).is_none_or(|owner| *owner == member))
                .collect()
        };
        let members = joined.members.iter().enumerate();
        members.map(|(at, one)| (one.member.clone(), assignment(&share(at, &one.member)))).collect()
    }

    pub(super) fn answered(&mut self, number: usize, response: Response) {
        let lost = !self.quiet && self.draw(20) == 0;
        let now = self.now;
        let client = &mut self.clients[number];
        if !client.alive {
            return;
        }
        match response {
            _ if lost => {
                client.unsure = true;
                if client.speech != Speech::Consumer {
                    client.epoch = None;
                }
            }
            Response::ConsumerGroupHeartbeat(Ok(fine)) => {
                (client.heard_at, client.unsure) = (now, false);
                client.epoch = Some(fine.epoch.0);
                if let Some(topics) = fine.assignment {
                    let all = topics.into_iter().flat_map(|(_, all)| all);
                    client.told = all.map(|index| index.0).collect();
                    client.owned.extend(&client.told);
                    self.check();
                }
            }
            Response::ConsumerGroupHeartbeat(Err(refused)) => self.refused(number, refused.error),
            Response::JoinGroup(joined) => match joined.error {
                None => {
                    client.member = joined.member.clone();
                    client.epoch = joined.generation.map(Generation::to_wire);
                    // It was not asked to assign, so it must look whether it has to.
                    client.stale = joined.skip_assignment;
                    self.sync(number, &joined);
                }
                Some(GroupError::MemberIdRequired) => {
                    client.member = joined.member;
                    self.join(number);
                }
                Some(error) => self.refused(number, error),
            },
            Response::SyncGroup(synced) => match synced.error {
                None => self.synced(number, &synced.assignment),
                Some(error) => self.refused(number, error),
            },
            Response::Heartbeat(Ok(())) => client.heard_at = now,
            Response::Heartbeat(Err(error)) => self.refused(number, error),
            Response::LeaveGroup(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn synced(&mut self, number: usize, bytes: &Bytes) {
        let client = &mut self.clients[number];
        client.told_at = self.steps;
        client.told = given(bytes);
        let revoked = client.owned.difference(&client.told).next().is_some();
        client.owned = client.told.clone();
        self.check();
        if revoked {
            self.join(number);
        }
    }

    fn refused(&mut self, number: usize, error: GroupError) {
        let client = &mut self.clients[number];
        let consumes = client.speech == Speech::Consumer;
        match error {
            GroupError::CoordinatorNotAvailable => {
                client.unsure = true;
                if !consumes {
                    client.epoch = None;
                }
            }
            GroupError::RebalanceInProgress if !consumes => self.join(number),
            GroupError::FencedMemberEpoch
            | GroupError::UnknownMemberId
            | GroupError::IllegalGeneration => {
                client.owned.clear();
                client.told.clear();
                client.epoch = None;
                if !consumes {
                    client.member = MemberId::default();
                }
            }
            // Another process has its static id, or the one before it has not expired.
            GroupError::UnreleasedInstanceId | GroupError::FencedInstanceId => self.stop(number),
            GroupError::GroupIdNotFound if consumes => {
                let upgrades = [MigrationPolicy::Upgrade, MigrationPolicy::Bidirectional];
                assert!(!upgrades.contains(&self.policy) || client.epoch.is_some());
                self.seen.consumers_refused += 1;
                self.stop(number);
            }
            GroupError::InconsistentGroupProtocol if !consumes => {
                assert_eq!(self.policy, MigrationPolicy::Disabled);
                self.seen.classics_refused += 1;
                self.stop(number);
            }
            other => panic!("{other:?} for {:?}", self.clients[number]),
        }
    }

    fn stop(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.alive = false;
        client.owned.clear();
        client.waits = None;
    }

    /// Goes in order: a static classic member says nothing.
    pub(super) fn leave(&mut self, number: usize) {
        self.stop(number);
        let client = self.clients[number].clone();
        let request = match client.speech {
            Speech::Consumer => {
                let beat = if client.instance.is_some() { Beat::LeaveForNow } else { Beat::Leave };
                Request::ConsumerGroupHeartbeat(Box::new(self.empty_beat(number, beat)))
            }
            Speech::Eager | Speech::Cooperative if client.instance.is_some() => return,
            Speech::Eager | Speech::Cooperative => {
                let leaving = LeavingMember { member: client.member, instance: None, reason: None };
                Request::LeaveGroup(LeaveGroup { group: "g".into(), members: vec![leaving] })
            }
        };
        self.ask(number, request);
        self.clients[number].waits = None;
    }
}
