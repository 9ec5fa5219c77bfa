//! What others may know of a consumer group, and whether its members may commit.

use std::collections::BTreeMap;

use ottla_types::{PartitionIndex, TopicId};

use super::ConsumerGroup;
use super::assignor::Assignor;
use super::member::{Member, Partitions};
use crate::api::{
    ConsumerAssignment, ConsumerMember, DescribedConsumerGroup, GroupError, OffsetCommit,
};
use crate::names::{Epoch, MemberId};
use crate::topics::Topics;

impl ConsumerGroup {
    pub(crate) fn describe(
        &self,
        default: Assignor,
        topics: &dyn Topics,
    ) -> DescribedConsumerGroup {
        let assignor = self.preferred_assignor().unwrap_or_else(|| default.name()).to_owned();
        DescribedConsumerGroup {
            group: self.id.clone(),
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor,
            members: self
                .members()
                .map(|(id, member)| self.member_of(id, member, topics))
                .collect(),
        }
    }

    fn member_of(&self, id: &MemberId, member: &Member, topics: &dyn Topics) -> ConsumerMember {
        // It still answers for what it gives back.
        let mut has = Partitions::new();
        for (topic, held) in member.current.assigned.iter().chain(&member.current.revoking) {
            has.entry(*topic).or_default().extend(held.keys());
        }
        let subscription = &member.subscription;
        ConsumerMember {
            member: id.clone(),
            instance: subscription.instance.clone(),
            rack: subscription.rack.clone(),
            epoch: member.current.epoch,
            client_id: subscription.client_id.clone(),
            client_host: subscription.client_host.clone(),
            topics: subscription.topics.iter().cloned().collect(),
            regex: subscription.regex.as_deref().map(str::to_owned),
            assignment: named(&has, topics),
            target: self.targets.get(id).map(|target| named(target, topics)).unwrap_or_default(),
            is_classic: subscription.classic.is_some(),
        }
    }

    /// Whether a member may commit these offsets. One refused partition refuses all.
    pub(crate) fn check_commit(&self, commit: &OffsetCommit) -> Result<(), GroupError> {
        let epoch = commit.generation.map_or(Epoch(-1), |epoch| Epoch(epoch.to_wire()));
        if epoch < Epoch(0) && self.is_empty() {
            return Ok(());
        }
        let member = self.member(&commit.member).ok_or(GroupError::UnknownMemberId)?;
        let classic = member.subscription.classic.is_some();
        if !classic && !commit.knows_group_id_not_found {
            return Err(GroupError::UnsupportedVersion);
        }
        let stale =
            if classic { GroupError::IllegalGeneration } else { GroupError::StaleMemberEpoch };
        match epoch.cmp(&member.current.epoch) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(stale),
            // An older epoch is fine for what the member has had since then.
            std::cmp::Ordering::Less => {
                let since = |topic: TopicId, index: PartitionIndex| {
                    member.current.held_since(topic, index).filter(|since| *since <= epoch)
                };
                let fine = commit.topics.iter().all(|topic| {
                    let all = &topic.partitions;
                    all.iter().all(|part| since(topic.topic_id, part.partition).is_some())
                });
                if fine { Ok(()) } else { Err(stale) }
            }
        }
    }

    /// Whether a member may read offsets; without a member id anybody may.
    pub(crate) fn check_fetch(
        &self,
        member: Option<&MemberId>,
        epoch: Option<Epoch>,
    ) -> Result<(), GroupError> {
        let Some(id) = member else {
            return if epoch.is_none() { Ok(()) } else { Err(GroupError::UnknownMemberId) };
        };
        let member = self.member(id).ok_or(GroupError::UnknownMemberId)?;
        match epoch == Some(member.current.epoch) {
            true => Ok(()),
            false if member.subscription.classic.is_some() => Err(GroupError::IllegalGeneration),
            false => Err(GroupError::StaleMemberEpoch),
        }
    }
}

fn named(partitions: &Partitions, topics: &dyn Topics) -> Vec<ConsumerAssignment> {
    let mut all = BTreeMap::new();
    for (id, partitions) in partitions {
        if let Some(topic) = topics.name_of(*id) {
            all.insert(*id, (topic, partitions.iter().collect()));
        }
    }
    all.into_iter()
        .map(|(topic_id, (topic, partitions))| ConsumerAssignment { topic_id, topic, partitions })
        .collect()
}
