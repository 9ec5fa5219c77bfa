//! Records of `__consumer_offsets`: what is written, and what is read back. The table of them is
//! in `docs/formats/group.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_codec::{DecodeError, Message, Reader, Str, encode_to_bytes};
use ottla_types::{Generation, LeaderEpoch, PartitionIndex, Timestamp, TopicId, WallTime};

use crate::api::{CommittedOffset, OffsetValue, Record};
use crate::classic::{ClassicGroup, Member};
use crate::consumer::{Change, records as consumer};
use crate::foreign::ForeignRecord;
use crate::generated::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, LegacyOffsetCommitValue,
    OffsetCommitKey, OffsetCommitValue, group_metadata_value::MemberMetadata,
};
use crate::names::{GroupId, InstanceId, MemberId, ProtocolName, ProtocolType, Topic};

/// Ids in the first two bytes of a key. They were versions once, hence the gap in meaning.
const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

/// Value versions that Kafka writes at metadata level 30 (4.3-IV0).
const GROUP_METADATA_VERSION: i16 = 3;
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The only version with an expiry time of its own.
const OFFSET_COMMIT_EXPIRING_VERSION: i16 = 1;

/// The record of a group after a rebalance, with assignments that are not yet its members'.
pub(crate) fn group_metadata(
    group: &ClassicGroup,
    assignments: &BTreeMap<MemberId, Bytes>,
) -> Record {
    let member = |member: &Member| MemberMetadata {
        member_id: text(&member.id),
        group_instance_id: member.instance.as_ref().map(|id| text(id)),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        rebalance_timeout: millis(member.rebalance_timeout),
        session_timeout: millis(member.session_timeout),
        subscription: member.metadata(group.protocol_name.as_ref()),
        assignment: assignments.get(&member.id).cloned().unwrap_or_default(),
    };
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.as_deref().map(text).unwrap_or_default(),
        generation: group.generation.to_wire(),
        protocol: group.protocol_name.as_deref().map(text),
        leader: group.leader.as_deref().map(text),
        current_state_timestamp: group.state_since.map_or(-1, WallTime::as_millis),
        members: group.members().map(member).collect(),
    };
    let value = Some(versioned(GROUP_METADATA_VERSION, &value));
    Record { key: group_key(&group.id), value }
}

/// The record of a group that has just come to be, whatever it does meanwhile.
pub(crate) fn new_group(group: &ClassicGroup) -> Record {
    let since = group.state_since.map_or(-1, WallTime::as_millis);
    let value = GroupMetadataValue {
        current_state_timestamp: since,
        protocol: None,
        leader: None,
        ..GroupMetadataValue::default()
    };
    let value = Some(versioned(GROUP_METADATA_VERSION, &value));
    Record { key: group_key(&group.id), value }
}

/// The end of a group.
pub(crate) fn group_tombstone(group: &GroupId) -> Record {
    Record { key: group_key(group), value: None }
}

/// A stored offset.
pub(crate) fn offset_commit(
    group: &GroupId,
    topic: &Topic,
    partition: PartitionIndex,
    value: &OffsetValue,
) -> Record {
    let message = OffsetCommitValue {
        offset: value.offset.0,
        leader_epoch: LeaderEpoch::option_to_wire(value.leader_epoch),
        metadata: text(&value.metadata),
        commit_timestamp: value.committed_at.0,
        expire_timestamp: value.expires_at.unwrap_or_default().0,
        topic_id: value.topic_id.0,
    };
    let version = match value.expires_at {
        Some(_) => OFFSET_COMMIT_EXPIRING_VERSION,
        None => OFFSET_COMMIT_VERSION,
    };
    let key = offset_key(group, topic, partition);
    Record { key, value: Some(versioned(version, &message)) }
}

/// The end of a stored offset.
pub(crate) fn offset_tombstone(
    group: &GroupId,
    topic: &Topic,
    partition: PartitionIndex,
) -> Record {
    Record { key: offset_key(group, topic, partition), value: None }
}

fn group_key(group: &GroupId) -> Bytes {
    versioned(GROUP_METADATA, &GroupMetadataKey { group: text(group) })
}

fn offset_key(group: &GroupId, topic: &Topic, partition: PartitionIndex) -> Bytes {
    let (group, topic, partition) = (text(group), text(topic), partition.to_wire());
    versioned(OFFSET_COMMIT, &OffsetCommitKey { group, topic, partition })
}

/// A number of two bytes, then the message: a key is led by its record id and always version 0,
/// a value by its version.
pub(crate) fn versioned<M: Message>(lead: i16, message: &M) -> Bytes {
    let version = if M::NAME.ends_with("Key") { 0 } else { lead };
    let body = encode_to_bytes(message, version).expect("names fit their length fields");
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(lead);
    bytes.put_slice(&body);
    bytes.freeze()
}

pub(crate) fn text(text: &str) -> Str {
    Str::from(text)
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// A record of the log, read.
#[derive(Debug)]
pub(crate) enum Replayed {
    /// An offset, or its end.
    Offset { group: GroupId, topic: Topic, partition: PartitionIndex, value: Option<OffsetValue> },
    /// A classic group.
    Group(Box<ClassicGroup>),
    /// The end of a classic group.
    GroupEnd(GroupId),
    /// Something of a consumer group.
    Consumer { group: GroupId, change: Change },
    /// Something of a group of another kind, or its end.
    Foreign { group: GroupId, record: ForeignRecord },
}

/// Reads a record. `None` is one of an unknown kind.
///
/// # Errors
/// If a record of a known kind is damaged or of an unknown version.
pub(crate) fn read(key: &Bytes, value: Option<&Bytes>) -> Result<Option<Replayed>, DecodeError> {
    let mut reader = Reader::new(key.clone());
    let id = reader.i16("record id")?;
    let replayed = match id {
        LEGACY_OFFSET_COMMIT => {
            let key = LegacyOffsetCommitKey::decode(&mut reader, 0)?;
            let value = value.map(read_versioned::<LegacyOffsetCommitValue>).transpose()?;
            let value = value.map(|value| OffsetCommitValue {
                offset: value.offset,
                metadata: value.metadata,
                commit_timestamp: value.commit_timestamp,
                ..OffsetCommitValue::default()
            });
            read_offset(&key.group, &key.topic, key.partition, value)
        }
        OFFSET_COMMIT => {
            let key = OffsetCommitKey::decode(&mut reader, 0)?;
            let value = value.map(read_versioned::<OffsetCommitValue>).transpose()?;
            read_offset(&key.group, &key.topic, key.partition, value)
        }
        GROUP_METADATA => {
            let group = GroupId::from(&*GroupMetadataKey::decode(&mut reader, 0)?.group);
            Some(match value.map(read_versioned::<GroupMetadataValue>).transpose()? {
                None => Replayed::GroupEnd(group),
                Some(value) => Replayed::Group(Box::new(read_group(group, value))),
            })
        }
        id if consumer::is_known(id) => {
            let (group, change) = consumer::read(id, &mut reader, value)?;
            Some(Replayed::Consumer { group, change })
        }
        id => match ForeignRecord::from_id(id) {
            None => None,
            // Each of these keys begins with the group.
            Some(record) => {
                let group = GroupId::from(&*reader.string("group")?);
                Some(Replayed::Foreign { group, record })
            }
        },
    };
    Ok(replayed)
}

pub(crate) fn read_versioned<M: Message>(value: &Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(value.clone());
    let version = reader.i16("value version")?;
    M::decode(&mut reader, version)
}

/// `None` if the partition is not a number that a partition can have.
fn read_offset(
    group: &str,
    topic: &str,
    partition: i32,
    value: Option<OffsetCommitValue>,
) -> Option<Replayed> {
    let expires = |value: &OffsetCommitValue| match value.expire_timestamp {
        -1 => None,
        at => Some(Timestamp(at)),
    };
    let value = value.map(|value| OffsetValue {
        offset: CommittedOffset(value.offset),
        leader_epoch: LeaderEpoch::from_wire(value.leader_epoch),
        metadata: Arc::from(&*value.metadata),
        committed_at: Timestamp(value.commit_timestamp),
        expires_at: expires(&value),
        topic_id: TopicId(value.topic_id),
    });
    Some(Replayed::Offset {
        group: group.into(),
        topic: topic.into(),
        partition: PartitionIndex::from_wire(partition)?,
        value,
    })
}

fn read_group(id: GroupId, value: GroupMetadataValue) -> ClassicGroup {
    let since = match value.current_state_timestamp {
        -1 => None,
        at => Some(WallTime::from_millis(at)),
    };
    let mut group = ClassicGroup::loaded(id, since);
    group.generation = Generation::from_wire(value.generation).unwrap_or_default();
    let protocol_type = ProtocolType::from(&*value.protocol_type);
    let protocol = value.protocol.as_deref().map(ProtocolName::from);
    for member in value.members {
        if group.member(&member.member_id).is_none() {
            let mut member = read_member(member, protocol.as_ref());
            // Nothing valid has a static id twice; a damaged record must not stop the load.
            member.instance = member.instance.filter(|id| !group.has_instance(id));
            group.add(member, &protocol_type);
        }
    }
    if 0 < group.members().len() {
        group.loaded_stable();
    }
    group.protocol_type = (!protocol_type.is_empty()).then_some(protocol_type);
    group.protocol_name = protocol;
    // A leader that is not among the members cannot have been written; then the first one leads.
    let leader = value.leader.as_deref().filter(|leader| group.member(leader).is_some());
    if let Some(leader) = leader {
        group.leader = Some(leader.into());
    }
    group.read_subscription();
    group
}

fn read_member(member: MemberMetadata, protocol: Option<&ProtocolName>) -> Member {
    let timeout = |millis: i32| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let session_timeout = timeout(member.session_timeout);
    let protocols = protocol.map(|name| (name.clone(), own(&member.subscription)));
    Member::loaded(
        MemberId::from(&*member.member_id),
        member.group_instance_id.as_deref().map(InstanceId::from),
        (member.client_id.to_string(), member.client_host.to_string()),
        (
            session_timeout,
            // Version 0 had none.
            if member.rebalance_timeout == -1 {
                session_timeout
            } else {
                timeout(member.rebalance_timeout)
            },
        ),
        protocols.into_iter().collect(),
        own(&member.assignment),
    )
}
