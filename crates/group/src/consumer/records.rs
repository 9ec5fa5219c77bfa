//! Records of consumer groups: ids 3 to 8 and 16, as Kafka 4.3 writes them.

use std::sync::Arc;

use bytes::Bytes;
use ottla_codec::{DecodeError, Message, Reader, Str};
use ottla_types::{PartitionIndex, TopicId};

use super::member::{ClassicPart, Current, Held, Partitions, Progress, Subscription};
use super::partitions::{PartitionMap, PartitionSet};
use super::{Change, Resolved};
use crate::api::Record;
use crate::generated::consumer_group_current_member_assignment_value::TopicPartitions;
use crate::generated::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use crate::generated::consumer_group_target_assignment_member_value::TopicPartition;
use crate::generated::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use crate::names::{Epoch, GroupId, InstanceId, MemberId, Topic};
use crate::records::{read_versioned, text, versioned};

const METADATA: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// Whether a record id is one of these.
pub(crate) fn is_known(id: i16) -> bool {
    matches!(id, METADATA..=CURRENT | REGEX)
}

/// The record of a change.
pub(crate) fn write(group: &GroupId, change: &Change) -> Record {
    let group_id = text(group);
    let (key, value) = match change {
        Change::Epoch(epoch, hash) => {
            let value = ConsumerGroupMetadataValue { epoch: epoch.0, metadata_hash: *hash };
            (
                versioned(METADATA, &ConsumerGroupMetadataKey { group_id }),
                Some(versioned(0, &value)),
            )
        }
        Change::End => (versioned(METADATA, &ConsumerGroupMetadataKey { group_id }), None),
        Change::OldMetadata(_) => {
            (versioned(PARTITION_METADATA, &ConsumerGroupPartitionMetadataKey { group_id }), None)
        }
        Change::Subscription(member, subscription) => {
            let key = ConsumerGroupMemberMetadataKey { group_id, member_id: text(member) };
            let value = subscription.as_ref().map(|value| versioned(0, &write_member(value)));
            (versioned(MEMBER, &key), value)
        }
        Change::TargetEpoch(made) => {
            let key = ConsumerGroupTargetAssignmentMetadataKey { group_id };
            let value = made.map(|(epoch, at)| ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: epoch.0,
                assignment_timestamp: at,
            });
            (versioned(TARGET_EPOCH, &key), value.map(|value| versioned(0, &value)))
        }
        Change::Target(member, target) => {
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: text(member) };
            let value = target.as_ref().map(|target| ConsumerGroupTargetAssignmentMemberValue {
                topic_partitions: target.iter().map(write_target).collect(),
            });
            (versioned(TARGET, &key), value.map(|value| versioned(0, &value)))
        }
        Change::Current(member, current) => {
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: text(member) };
            let value = current.as_ref().map(|value| versioned(0, &write_current(value)));
            (versioned(CURRENT, &key), value)
        }
        Change::Regex(regex, resolved) => {
            let regular_expression = Str::from(&**regex);
            let key = ConsumerGroupRegularExpressionKey { group_id, regular_expression };
            let value = resolved.as_ref().map(|resolved| ConsumerGroupRegularExpressionValue {
                topics: resolved.topics.iter().map(|topic| text(topic)).collect(),
                version: resolved.version,
                timestamp: resolved.at,
            });
            (versioned(REGEX, &key), value.map(|value| versioned(0, &value)))
        }
    };
    Record { key, value }
}

fn write_member(subscription: &Subscription) -> ConsumerGroupMemberMetadataValue {
    let Subscription { instance, rack, client_id, client_host, topics, regex, assignor, .. } =
        subscription;
    let classic = subscription.classic.as_ref().map(|classic| ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic
            .protocols
            .iter()
            .map(|(name, metadata)| ClassicProtocol {
                name: text(name),
                metadata: metadata.clone(),
            })
            .collect(),
    });
    ConsumerGroupMemberMetadataValue {
        instance_id: instance.as_deref().map(text),
        rack_id: rack.as_deref().map(text),
        client_id: text(client_id),
        client_host: text(client_host),
        subscribed_topic_names: topics.iter().map(|topic| text(topic)).collect(),
        subscribed_topic_regex: regex.as_deref().map(text),
        rebalance_timeout_ms: subscription.rebalance_timeout_ms,
        server_assignor: assignor.as_deref().map(text),
        classic_member_metadata: classic,
    }
}

fn write_target((topic, partitions): (&TopicId, &PartitionSet)) -> TopicPartition {
    let partitions = partitions.iter().map(|index| index.to_wire()).collect();
    TopicPartition { topic_id: topic.0, partitions }
}

fn write_current(current: &Current) -> ConsumerGroupCurrentMemberAssignmentValue {
    let held = |held: &Held| {
        let topic = |(topic, partitions): (&TopicId, &PartitionMap<Epoch>)| TopicPartitions {
            topic_id: topic.0,
            partitions: partitions.keys().map(|index| index.to_wire()).collect(),
            assignment_epochs: Some(partitions.iter().map(|(_, epoch)| epoch.0).collect()),
        };
        held.iter().map(topic).collect()
    };
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.epoch.0,
        previous_member_epoch: current.previous.0,
        state: current.progress.to_wire(),
        assigned_partitions: held(&current.assigned),
        partitions_pending_revocation: held(&current.revoking),
    }
}

/// Reads a record whose id [`is_known`]; the reader stands behind the id.
///
/// # Errors
/// If it is damaged or of an unknown version.
pub(crate) fn read(
    id: i16,
    reader: &mut Reader,
    value: Option<&Bytes>,
) -> Result<(GroupId, Change), DecodeError> {
    Ok(match id {
        PARTITION_METADATA => {
            let key = ConsumerGroupPartitionMetadataKey::decode(reader, 0)?;
            value.map(read_versioned::<ConsumerGroupPartitionMetadataValue>).transpose()?;
            (group(&key.group_id), Change::OldMetadata(value.is_some()))
        }
        MEMBER => {
            let key = ConsumerGroupMemberMetadataKey::decode(reader, 0)?;
            let value =
                value.map(read_versioned::<ConsumerGroupMemberMetadataValue>).transpose()?;
            let change = Change::Subscription(member(&key.member_id), value.map(read_member));
            (group(&key.group_id), change)
        }
        TARGET_EPOCH => {
            let key = ConsumerGroupTargetAssignmentMetadataKey::decode(reader, 0)?;
            let value = value
                .map(read_versioned::<ConsumerGroupTargetAssignmentMetadataValue>)
                .transpose()?;
            let made =
                value.map(|value| (Epoch(value.assignment_epoch), value.assignment_timestamp));
            (group(&key.group_id), Change::TargetEpoch(made))
        }
        TARGET => {
            let key = ConsumerGroupTargetAssignmentMemberKey::decode(reader, 0)?;
            let value = value
                .map(read_versioned::<ConsumerGroupTargetAssignmentMemberValue>)
                .transpose()?;
            let change = Change::Target(member(&key.member_id), value.map(read_target));
            (group(&key.group_id), change)
        }
        CURRENT => {
            let key = ConsumerGroupCurrentMemberAssignmentKey::decode(reader, 0)?;
            let value = value
                .map(read_versioned::<ConsumerGroupCurrentMemberAssignmentValue>)
                .transpose()?;
            let change = Change::Current(member(&key.member_id), value.map(read_current));
            (group(&key.group_id), change)
        }
        REGEX => {
            let key = ConsumerGroupRegularExpressionKey::decode(reader, 0)?;
            let value =
                value.map(read_versioned::<ConsumerGroupRegularExpressionValue>).transpose()?;
            let resolved = value.map(|value| Resolved {
                topics: value.topics.iter().map(|topic| Topic::from(&**topic)).collect(),
                version: value.version,
                at: value.timestamp,
            });
            (group(&key.group_id), Change::Regex(Arc::from(&*key.regular_expression), resolved))
        }
        _ => {
            let key = ConsumerGroupMetadataKey::decode(reader, 0)?;
            let value = value.map(read_versioned::<ConsumerGroupMetadataValue>).transpose()?;
            let change = value.map_or(Change::End, |value| {
                Change::Epoch(Epoch(value.epoch), value.metadata_hash)
            });
            (group(&key.group_id), change)
        }
    })
}

fn group(name: &str) -> GroupId {
    GroupId::from(name)
}

fn member(name: &str) -> MemberId {
    MemberId::from(name)
}

fn read_member(value: ConsumerGroupMemberMetadataValue) -> Subscription {
    let own = |text: Str| text.to_string();
    let classic = value.classic_member_metadata.map(|classic| ClassicPart {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic
            .supported_protocols
            .iter()
            .map(|protocol| (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
    });
    Subscription {
        instance: value.instance_id.as_deref().map(InstanceId::from),
        rack: value.rack_id.map(own),
        client_id: own(value.client_id),
        client_host: own(value.client_host),
        topics: value.subscribed_topic_names.iter().map(|topic| Topic::from(&**topic)).collect(),
        regex: value.subscribed_topic_regex.as_deref().map(Arc::from),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.map(own),
        classic,
    }
}

fn read_target(value: ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    let mut target = Partitions::new();
    for topic in value.topic_partitions {
        let partitions: PartitionSet =
            topic.partitions.into_iter().filter_map(PartitionIndex::from_wire).collect();
        if !partitions.is_empty() {
            target.entry(TopicId(topic.topic_id)).or_default().extend(partitions.iter());
        }
    }
    target
}

fn read_current(value: ConsumerGroupCurrentMemberAssignmentValue) -> Current {
    // Records before 4.2 do not say when a partition was given.
    let default = Epoch(value.member_epoch.max(0));
    let held = |topics: Vec<TopicPartitions>| {
        let mut held = Held::new();
        for topic in topics {
            let epochs = topic.assignment_epochs.unwrap_or_default();
            let all_known = epochs.len() == topic.partitions.len();
            for (at, raw) in topic.partitions.iter().enumerate() {
                let Some(index) = PartitionIndex::from_wire(*raw) else { continue };
                let known = epochs.get(at).filter(|_| all_known);
                let since = known.map_or(default, |epoch| Epoch(*epoch));
                held.entry(TopicId(topic.topic_id)).or_default().insert(index, since);
            }
        }
        held
    };
    Current {
        epoch: Epoch(value.member_epoch),
        previous: Epoch(value.previous_member_epoch),
        progress: Progress::from_wire(value.state),
        assigned: held(value.assigned_partitions),
        revoking: held(value.partitions_pending_revocation),
    }
}
