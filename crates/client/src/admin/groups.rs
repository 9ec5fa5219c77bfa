//! Groups: list, describe, their offsets, reset, delete.

use std::collections::{BTreeMap, HashMap};

use ottla_codec::{Message, Reader, Str};
use ottla_protocol::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest,
    DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, consumer_group_describe_response, describe_groups_response,
    offset_commit_request, offset_delete_request, offset_fetch_request,
};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};

use super::topics::no_answer;
use super::{Admin, Node};
use crate::error::{ClientError, Refusal};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its id.
    pub id: String,
    /// `consumer`, `connect`, `sr` or what its members call it; empty if it only has offsets.
    pub protocol_type: String,
    /// Kafka's name of its state, such as `Stable`.
    pub state: String,
    /// `classic`, `consumer`, `share` or `streams`; empty from older brokers.
    pub kind: String,
}

/// A group in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// Kafka's name of its state; `Dead` if it does not exist.
    pub state: String,
    /// As in [`GroupListing`].
    pub protocol_type: String,
    /// The assignor that its members have agreed on.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: Node,
    /// Epoch of the group and of its target assignment, in the consumer protocol.
    pub epochs: Option<(i32, i32)>,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// Its id, given by the coordinator.
    pub id: String,
    /// Its `group.instance.id`, for static members.
    pub instance_id: Option<String>,
    /// Its `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// Partitions that it is assigned; empty where the assignment is no consumer's.
    pub assigned: BTreeMap<String, Vec<PartitionIndex>>,
    /// What it has beyond that in the consumer protocol.
    pub consumer: Option<ConsumerMember>,
}

/// What a member of the consumer protocol has beyond one of the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerMember {
    /// Its epoch.
    pub epoch: i32,
    /// Partitions that it shall have.
    pub target: BTreeMap<String, Vec<PartitionIndex>>,
    /// Whether it speaks the consumer protocol itself; `None` from older brokers.
    pub upgraded: Option<bool>,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOffset {
    /// The next record to read.
    pub offset: Offset,
    /// Epoch of the leader that the last record came from.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The committer's own note.
    pub metadata: String,
}

impl Admin {
    /// Lists the groups of every broker, in the order in which the brokers name them.
    ///
    /// # Errors
    /// When a broker does not answer or refuses.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let brokers = self.client.metadata(Some(&[]), false).await?.brokers;
        let (mut groups, mut places) = (Vec::<GroupListing>::new(), HashMap::new());
        for broker in brokers {
            let connection = self.client.node(broker.id).await?;
            let response = connection.send(&ListGroupsRequest::default()).await?;
            Refusal::check(response.error_code, None, || {
                format!("groups of broker {}", broker.id)
            })?;
            for group in response.groups {
                let listing = GroupListing {
                    id: group.group_id.as_str().to_owned(),
                    protocol_type: group.protocol_type.as_str().to_owned(),
                    state: group.group_state.as_str().to_owned(),
                    kind: group.group_type.as_str().to_owned(),
                };
                // A group that moves meanwhile is named twice: its later coordinator knows best.
                let place = *places.entry(listing.id.clone()).or_insert(groups.len());
                match groups.get_mut(place) {
                    Some(known) => *known = listing,
                    None => groups.push(listing),
                }
            }
        }
        Ok(groups)
    }

    /// Describes a group of the consumer protocol (KIP-848), or else of the classic one.
    ///
    /// # Errors
    /// When its coordinator does not answer or refuses, or the group does not exist.
    pub async fn describe_group(&self, id: &str) -> Result<GroupDescription, ClientError> {
        let ask = || async {
            let (node, connection) = self.client.coordinator_node(id).await?;
            let coordinator =
                Node { id: node, address: connection.address().clone(), rack: None, fenced: false };
            if connection.range(ApiKey::ConsumerGroupDescribe).is_some() {
                let group_ids = vec![Str::from(id)];
                let request = ConsumerGroupDescribeRequest { group_ids, ..Default::default() };
                let response = connection.send(&request).await?;
                let group = response.groups.into_iter().next();
                let group = group.ok_or_else(|| no_answer(format!("group {id}")))?;
                let other = [ErrorCode::GroupIdNotFound, ErrorCode::UnsupportedVersion];
                if !other.iter().any(|code| code.code() == group.error_code) {
                    let what = || format!("group {id}");
                    Refusal::check(group.error_code, group.error_message.as_deref(), what)?;
                    return Ok(consumer_group(&group, coordinator));
                }
            }
            let request =
                DescribeGroupsRequest { groups: vec![Str::from(id)], ..Default::default() };
            let response = connection.send(&request).await?;
            let what = || format!("group {id}");
            let group = response.groups.into_iter().next().ok_or_else(|| no_answer(what()))?;
            Refusal::check(group.error_code, group.error_message.as_deref(), what)?;
            Ok(GroupDescription {
                id: id.to_owned(),
                state: group.group_state.as_str().to_owned(),
                protocol_type: group.protocol_type.as_str().to_owned(),
                assignor: group.protocol_data.as_str().to_owned(),
                coordinator,
                epochs: None,
                members: group.members.iter().map(member).collect(),
            })
        };
        self.client.retry(&format!("describing group {id}"), true, ask).await
    }

    /// Committed offsets of a group, by topic and partition.
    ///
    /// # Errors
    /// When its coordinator does not answer or refuses.
    pub async fn group_offsets(
        &self,
        id: &str,
    ) -> Result<BTreeMap<(String, PartitionIndex), GroupOffset>, ClientError> {
        let ask = || async {
            let connection = self.client.coordinator(id).await?;
            // From version 8 on, a request is for several groups (KIP-709).
            let many = connection.version_of::<OffsetFetchRequest>(OFFSETS_BY_NAME_MAX)? >= 8;
            let mut request = OffsetFetchRequest::default();
            if many {
                request.groups = vec![offset_fetch_request::OffsetFetchRequestGroup {
                    group_id: Str::from(id),
                    topics: None,
                    ..Default::default()
                }];
            } else {
                request.group_id = Str::from(id);
                request.topics = None;
            }
            let timeout = self.client.options().connection.request_timeout;
            let response = connection.send_capped(&request, OFFSETS_BY_NAME_MAX, timeout).await?;
            let what = || format!("offsets of group {id}");
            Refusal::check(response.error_code, None, what)?;
            let mut offsets = BTreeMap::new();
            let mut put = |topic: &Str, index: i32, offset: i64, epoch: i32, note: Option<&Str>| {
                if let (Some(index), Some(offset)) =
                    (PartitionIndex::from_wire(index), Offset::from_wire(offset))
                {
                    let leader_epoch = LeaderEpoch::from_wire(epoch);
                    let metadata = note.map(|note| note.as_str().to_owned()).unwrap_or_default();
                    let value = GroupOffset { offset, leader_epoch, metadata };
                    offsets.insert((topic.as_str().to_owned(), index), value);
                }
            };
            for group in &response.groups {
                Refusal::check(group.error_code, None, what)?;
                for topic in &group.topics {
                    for p in &topic.partitions {
                        let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                        put(&topic.name, p.partition_index, offset, epoch, p.metadata.as_ref());
                    }
                }
            }
            for topic in &response.topics {
                for p in &topic.partitions {
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    put(&topic.name, p.partition_index, offset, epoch, p.metadata.as_ref());
                }
            }
            Ok(offsets)
        };
        self.client.retry(&format!("offsets of group {id}"), true, ask).await
    }

    /// Commits offsets for a group without members, so that its next members begin there.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses one of them.
    pub async fn alter_group_offsets(
        &self,
        id: &str,
        offsets: &BTreeMap<(String, PartitionIndex), Offset>,
    ) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for ((topic, index), offset) in offsets {
            topics.entry(topic).or_default().push(
                offset_commit_request::OffsetCommitRequestPartition {
                    partition_index: index.to_wire(),
                    committed_offset: offset.to_wire(),
                    committed_metadata: Some(Str::default()),
                    ..Default::default()
                },
            );
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            offset_commit_request::OffsetCommitRequestTopic {
                name: Str::from(name),
                partitions,
                ..Default::default()
            }
        });
        let request = OffsetCommitRequest {
            group_id: Str::from(id),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let connection = self.client.coordinator(id).await?;
        let timeout = self.client.options().connection.request_timeout;
        let response = connection.send_capped(&request, OFFSETS_BY_NAME_MAX, timeout).await?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                let what = || {
                    format!("offset of group {id} in {}-{}", topic.name, partition.partition_index)
                };
                Refusal::check(partition.error_code, None, what)?;
            }
        }
        Ok(())
    }

    /// Removes a group's offsets in one topic.
    ///
    /// # Errors
    /// When the coordinator does not answer, or refuses one of them.
    pub async fn delete_group_offsets(
        &self,
        id: &str,
        topic: &str,
        partitions: &[PartitionIndex],
    ) -> Result<(), ClientError> {
        let partition = |index: &PartitionIndex| {
            let partition_index = index.to_wire();
            offset_delete_request::OffsetDeleteRequestPartition { partition_index }
        };
        let request = OffsetDeleteRequest {
            group_id: Str::from(id),
            topics: vec![offset_delete_request::OffsetDeleteRequestTopic {
                name: Str::from(topic),
                partitions: partitions.iter().map(partition).collect(),
            }],
        };
        let response = self.client.coordinator(id).await?.send(&request).await?;
        Refusal::check(response.error_code, None, || format!("offsets of group {id}"))?;
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let index = partition.partition_index;
            let what = || format!("offset of group {id} in {topic}-{index}");
            Refusal::check(partition.error_code, None, what)?;
        }
        Ok(())
    }

    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// When its coordinator does not answer or refuses.
    pub async fn delete_group(&self, id: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(id)] };
        let ask = || async {
            let response = self.client.coordinator(id).await?.send(&request).await?;
            let what = || format!("group {id}");
            let result = response.results.first().ok_or_else(|| no_answer(what()))?;
            Ok(Refusal::check(result.error_code, result.error_message.as_deref(), what)?)
        };
        self.client.retry(&format!("deleting group {id}"), true, ask).await
    }
}

fn consumer_group(
    group: &consumer_group_describe_response::DescribedGroup,
    coordinator: Node,
) -> GroupDescription {
    let text = |text: &Str| text.as_str().to_owned();
    let partitions = |assignment: &consumer_group_describe_response::Assignment| {
        let topics = assignment.topic_partitions.iter().map(|topic| {
            let indexes = topic.partitions.iter().filter_map(|raw| PartitionIndex::from_wire(*raw));
            (text(&topic.topic_name), indexes.collect())
        });
        topics.collect()
    };
    let member = |member: &consumer_group_describe_response::Member| GroupMember {
        id: text(&member.member_id),
        instance_id: member.instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        host: text(&member.client_host),
        assigned: partitions(&member.assignment),
        consumer: Some(ConsumerMember {
            epoch: member.member_epoch,
            target: partitions(&member.target_assignment),
            upgraded: (member.member_type >= 0).then_some(member.member_type == 1),
        }),
    };
    GroupDescription {
        id: text(&group.group_id),
        state: text(&group.group_state),
        protocol_type: "consumer".to_owned(),
        assignor: text(&group.assignor_name),
        coordinator,
        epochs: Some((group.group_epoch, group.assignment_epoch)),
        members: group.members.iter().map(member).collect(),
    }
}

fn member(member: &describe_groups_response::DescribedGroupMember) -> GroupMember {
    let text = |text: &Str| text.as_str().to_owned();
    GroupMember {
        id: text(&member.member_id),
        instance_id: member.group_instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        host: text(&member.client_host),
        assigned: assigned(&member.member_assignment).unwrap_or_default(),
        consumer: None,
    }
}

/// Reads a consumer's assignment: its version, then the blob.
pub(crate) fn assigned(blob: &bytes::Bytes) -> Option<BTreeMap<String, Vec<PartitionIndex>>> {
    let mut reader = Reader::new(blob.clone());
    let version = reader.i16("version").ok()?;
    let highest = ConsumerProtocolAssignment::VERSIONS.1;
    let assignment = ConsumerProtocolAssignment::decode(&mut reader, version.min(highest)).ok()?;
    let topics = assignment.assigned_partitions.iter().map(|topic| {
        let partitions = topic.partitions.iter().copied().filter_map(PartitionIndex::from_wire);
        (topic.topic.as_str().to_owned(), partitions.collect())
    });
    Some(topics.collect())
}

/// Highest versions of OffsetCommit and OffsetFetch that name topics instead of giving their ids.
pub(crate) const OFFSETS_BY_NAME_MAX: i16 = 9;
