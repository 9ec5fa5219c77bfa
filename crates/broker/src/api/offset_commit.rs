//! OffsetCommit (8): offsets of a group are stored.
//!
//! Offsets of topics and partitions that do not exist are refused here; the rest goes to the
//! group's coordinator. Since version 10 topics are named by id.

use std::sync::Arc;
use std::time::Duration;

use ottla_codec::Str;
use ottla_group::{
    CommittedOffset, GroupId, OffsetCommit, OffsetCommitPartition, OffsetCommitTopic, Request,
    Response,
};
use ottla_metadata::{ClusterImage, TopicImage};
use ottla_protocol::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_types::{ErrorCode, Generation, LeaderEpoch, PartitionIndex, TopicId};

use crate::api::by_topic::ByTopic;
use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::shared::Shared;

/// First version that names topics by id (KIP-848).
const TOPIC_IDS: i16 = 10;
/// First version in which a group without members may be unknown.
const GROUP_ID_NOT_FOUND: i16 = 9;
/// Last version with a retention time.
const RETENTION_TO: i16 = 4;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: OffsetCommitRequest,
) -> Reply<OffsetCommitResponse> {
    let image = shared.image.load_full();
    let by_id = ctx.version >= TOPIC_IDS;
    let mut answers = Answers { by_id, topics: ByTopic::new() };
    let mut topics = Vec::new();
    for topic in request.topics {
        topics.extend(resolve(&image, by_id, topic, &mut answers));
    }
    if topics.is_empty() {
        return Reply::Now(answers.done());
    }
    let group = GroupId::from(&*request.group_id);
    let retention = request.retention_time_ms;
    let request = OffsetCommit {
        group: group.clone(),
        generation: Generation::from_wire(request.generation_id_or_member_epoch),
        member: request.member_id.as_str().into(),
        instance: request.group_instance_id.map(|id| id.as_str().into()),
        retention: (ctx.version <= RETENTION_TO && retention != -1)
            .then(|| Duration::from_millis(u64::try_from(retention).unwrap_or_default())),
        knows_group_id_not_found: ctx.version >= GROUP_ID_NOT_FOUND,
        topics,
    };
    shared
        .ask_group(&group, Request::OffsetCommit(request))
        .reply(move |response| answer(response, answers))
}

/// Finds the topic and the partitions that exist; the others are answered.
fn resolve(
    image: &ClusterImage,
    by_id: bool,
    topic: OffsetCommitRequestTopic,
    answers: &mut Answers,
) -> Option<OffsetCommitTopic> {
    let id = TopicId(topic.topic_id);
    let found: Option<&Arc<TopicImage>> =
        if by_id { image.topic_by_id(id) } else { image.topic(&topic.name) };
    let Some(found) = found else {
        let code =
            if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        for partition in &topic.partitions {
            answers.add(&topic.name, id, partition.partition_index, code.code());
        }
        return None;
    };
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in topic.partitions {
        let index = PartitionIndex::from_wire(partition.partition_index)
            .filter(|index| found.partitions.contains_key(index));
        match index {
            Some(index) => partitions.push(wanted(index, partition)),
            None => {
                let code = ErrorCode::UnknownTopicOrPartition.code();
                answers.add(&topic.name, id, partition.partition_index, code);
            }
        }
    }
    let topic = found.name.as_str().into();
    (!partitions.is_empty()).then_some(OffsetCommitTopic { topic, topic_id: found.id, partitions })
}

fn wanted(index: PartitionIndex, partition: OffsetCommitRequestPartition) -> OffsetCommitPartition {
    OffsetCommitPartition {
        partition: index,
        offset: CommittedOffset(partition.committed_offset),
        leader_epoch: LeaderEpoch::from_wire(partition.committed_leader_epoch),
        metadata: partition
            .committed_metadata
            .map(|text| text.as_str().to_owned())
            .unwrap_or_default(),
    }
}

fn answer(response: Response, mut answers: Answers) -> OffsetCommitResponse {
    let Response::OffsetCommit(topics) = response else { unreachable!("OffsetCommit was asked") };
    for topic in topics {
        for (index, result) in topic.partitions {
            let code = group_code(result.err());
            answers.add(&topic.topic, topic.topic_id, index.to_wire(), code);
        }
    }
    answers.done()
}

/// The answer as it grows: first what was refused here, then what the coordinator said.
struct Answers {
    by_id: bool,
    topics: ByTopic<(TopicId, String), OffsetCommitResponseTopic>,
}

impl Answers {
    fn add(&mut self, name: &str, id: TopicId, partition_index: i32, error_code: i16) {
        // Only what the version carries tells topics apart.
        let (id, name) = if self.by_id { (id, "") } else { (TopicId::default(), name) };
        let topic = self.topics.topic((id, name.to_owned()), || OffsetCommitResponseTopic {
            name: Str::from(name),
            topic_id: id.0,
            ..Default::default()
        });
        if let Some(topic) = topic {
            topic.partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
        }
    }

    fn done(self) -> OffsetCommitResponse {
        OffsetCommitResponse { topics: self.topics.into_topics(), ..Default::default() }
    }
}
