//! Offsets are stored and removed.

use std::time::Duration;

use ottla_types::{Timestamp, TopicId};

use super::GroupShard;
use crate::api::{
    GroupError, OffsetCommit, OffsetCommitPartition, OffsetCommitTopicResult, OffsetDelete,
    OffsetDeleteTopicResult, OffsetValue, Record, Response,
};
use crate::classic::ClassicGroup;
use crate::journal::{Done, Op};
use crate::names::{GroupId, Now, Token, Topic};
use crate::records;
use crate::registry::Group;
use crate::state::State;

/// A topic that does not exist any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name, which a new topic may have by now.
    pub topic: Topic,
    /// Its id.
    pub topic_id: TopicId,
}

impl GroupShard {
    pub(super) fn commit_offsets(&mut self, now: Now, request: OffsetCommit, token: Token) {
        let create = match self.check_commit(now, &request) {
            Ok(create) => create,
            Err(error) => {
                let request = crate::api::Request::OffsetCommit(request);
                self.fx.reply(token, crate::failed::refuse(request, error));
                return;
            }
        };
        let (mut records, mut ops) = (Vec::new(), Vec::new());
        if create {
            let group = ClassicGroup::new(request.group.clone(), now.wall);
            self.groups.create(request.group.clone(), Group::Classic(Box::new(group)));
            ops.push(Op::Created(request.group.clone()));
        }
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let index = partition.partition;
                // Kafka counts the chars of a Java string.
                let length = partition.metadata.encode_utf16().count();
                if self.fx.config.offset_metadata_max < length {
                    partitions.push((index, Err(GroupError::OffsetMetadataTooLarge)));
                    continue;
                }
                let value = offset_value(partition, topic.topic_id, now, request.retention);
                let (group, topic) = (&request.group, &topic.topic);
                records.push(records::offset_commit(group, topic, index, &value));
                self.offsets.write(group, topic, index, Some(value));
                ops.push(Op::Offset {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: index,
                });
                partitions.push((index, Ok(())));
            }
            let (topic, topic_id) = (topic.topic, topic.topic_id);
            results.push(OffsetCommitTopicResult { topic, topic_id, partitions });
        }
        let response = Response::OffsetCommit(results);
        if records.is_empty() {
            // A group without a record would not be known after a restart.
            if create {
                self.groups.undo_create(&request.group);
            }
            self.fx.reply(token, response);
            return;
        }
        self.fx.counters.offset_commits += u64::try_from(records.len()).unwrap_or(u64::MAX);
        self.fx.append(records, ops, vec![Done::Reply { token, response }]);
    }

    /// Whether the client may commit. `Ok(true)` if the group is to be made: a consumer without
    /// group management, or an administrator, needs no group to exist.
    fn check_commit(&mut self, now: Now, request: &OffsetCommit) -> Result<bool, GroupError> {
        let OffsetCommit { group, generation, member, instance, .. } = request;
        let Self { groups, fx, .. } = self;
        match groups.get_mut(group) {
            None if generation.is_none() => {
                let room = self.has_room_for_group(group);
                if room { Ok(true) } else { Err(GroupError::CoordinatorNotAvailable) }
            }
            None if request.knows_group_id_not_found => Err(GroupError::GroupIdNotFound),
            None => Err(GroupError::IllegalGeneration),
            Some(Group::Consumer(group)) => group.check_commit(request).map(|()| false),
            Some(Group::Foreign(group)) if group.is_empty() && generation.is_none() => Ok(false),
            Some(Group::Foreign(_)) => Err(GroupError::UnknownMemberId),
            Some(Group::Classic(group)) => {
                let unmanaged = generation.is_none() && member.is_empty() && instance.is_none();
                match group.state() {
                    State::Dead => return Err(GroupError::CoordinatorNotAvailable),
                    State::Empty if generation.is_none() => return Ok(false),
                    _ if unmanaged => return Err(GroupError::UnknownMemberId),
                    _ => group.check_generation(member, instance.as_ref(), *generation)?,
                }
                if matches!(group.state(), State::CompletingRebalance) {
                    // The member knows the generation but has no assignment in it.
                    return Err(GroupError::RebalanceInProgress);
                }
                // A commit is a sign of life.
                group.touch(fx, now, member);
                Ok(false)
            }
        }
    }

    pub(super) fn delete_offsets(&mut self, request: OffsetDelete, token: Token) {
        if let Err(error) = self.check_delete_offsets(&request.group) {
            self.fx.reply(token, Response::OffsetDelete(Err(error)));
            return;
        }
        let (mut records, mut ops) = (Vec::new(), Vec::new());
        let mut results = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in request.topics {
            let subscribed = self.is_subscribed(&request.group, &topic);
            let mut result = Vec::with_capacity(partitions.len());
            for partition in partitions {
                if subscribed {
                    result.push((partition, Err(GroupError::GroupSubscribedToTopic)));
                    continue;
                }
                let group = &request.group;
                self.remove_offset(group, &topic, partition, &mut records, &mut ops);
                result.push((partition, Ok(())));
            }
            results.push(OffsetDeleteTopicResult { topic, partitions: result });
        }
        self.fx.counters.offset_deletions += u64::try_from(records.len()).unwrap_or(u64::MAX);
        let response = Response::OffsetDelete(Ok(results));
        if records.is_empty() {
            self.fx.reply(token, response);
        } else {
            self.fx.append(records, ops, vec![Done::Reply { token, response }]);
        }
    }

    fn check_delete_offsets(&self, id: &GroupId) -> Result<(), GroupError> {
        if id.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        match self.groups.get(id) {
            None => Err(GroupError::GroupIdNotFound),
            Some(Group::Consumer(_) | Group::Foreign(_)) => Ok(()),
            Some(Group::Classic(group)) => match group.state() {
                State::Dead => Err(GroupError::GroupIdNotFound),
                State::Empty => Ok(()),
                _ if group.is_of_consumers() => Ok(()),
                _ => Err(GroupError::NonEmptyGroup),
            },
        }
    }

    fn is_subscribed(&self, id: &GroupId, topic: &Topic) -> bool {
        match self.groups.get(id) {
            None => false,
            Some(Group::Classic(group)) => group.is_subscribed_to(topic),
            Some(Group::Consumer(group)) => group.is_subscribed_to(topic),
            // What its members consume is not known, so nothing of it is taken away.
            Some(Group::Foreign(group)) => !group.is_empty(),
        }
    }

    /// Removes an offset, if it is there.
    pub(super) fn remove_offset(
        &mut self,
        group: &GroupId,
        topic: &Topic,
        partition: ottla_types::PartitionIndex,
        records: &mut Vec<Record>,
        ops: &mut Vec<Op>,
    ) {
        let view = crate::offsets::View::Newest;
        let stored = self.offsets.get(view, group, topic, partition).is_some();
        if stored || self.offsets.is_open(group, topic, partition) {
            records.push(records::offset_tombstone(group, topic, partition));
            self.offsets.write(group, topic, partition, None);
            ops.push(Op::Offset { group: group.clone(), topic: topic.clone(), partition });
        }
    }

    /// Topics were deleted: their offsets mean nothing any more. An offset that was stored for
    /// another topic of the same name stays. Nothing happens unless the shard serves.
    pub fn topics_deleted(&mut self, topics: &[DeletedTopic]) {
        if !self.is_active() {
            return;
        }
        let mut gone = Vec::new();
        for (group, offsets) in self.offsets.groups() {
            for deleted in topics {
                for (partition, entry) in offsets.get(&deleted.topic).into_iter().flatten() {
                    let id = entry.value.topic_id;
                    if id.0.is_zero() || id == deleted.topic_id {
                        gone.push((group.clone(), deleted.topic.clone(), *partition));
                    }
                }
            }
        }
        gone.sort();
        for (group, topic, partition) in gone {
            let (mut records, mut ops) = (Vec::new(), Vec::new());
            self.remove_offset(&group, &topic, partition, &mut records, &mut ops);
            if !records.is_empty() {
                self.fx.append(records, ops, Vec::new());
            }
        }
    }
}

fn offset_value(
    partition: OffsetCommitPartition,
    topic_id: TopicId,
    now: Now,
    retention: Option<Duration>,
) -> OffsetValue {
    OffsetValue {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata.into(),
        committed_at: now.wall.timestamp(),
        expires_at: retention.map(|keep| Timestamp(now.wall.plus(keep).as_millis())),
        topic_id,
    }
}
