//! OffsetFetch (9): offsets that groups have stored.
//!
//! Since version 8 a request asks for several groups; the older form is one group, and the oldest
//! has no place for a group's error but its partitions. Since version 10 topics are named by id.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{
    Epoch, GroupError, GroupId, MemberId, OffsetFetch, OffsetFetchTopic, OffsetFetchTopicResult,
    OffsetValue, Request, Response,
};
use ottla_metadata::ClusterImage;
use ottla_protocol::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla_protocol::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_types::{ErrorCode, LeaderEpoch, PartitionIndex, TopicId, Uuid};

use crate::dispatch::{Reply, RequestContext};
use crate::driver::group::reply_all;
use crate::error_code::{group_code, group_error};
use crate::shared::Shared;

/// First version whose errors of a group stand beside its topics.
const GROUP_ERROR: i16 = 2;
/// First version with several groups (KIP-709).
const BATCHED: i16 = 8;
/// First version that names topics by id (KIP-848).
const TOPIC_IDS: i16 = 10;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: OffsetFetchRequest,
) -> Reply<OffsetFetchResponse> {
    let version = ctx.version;
    let image = shared.image.load_full();
    let require_stable = request.require_stable;
    let plans: Vec<Plan> =
        groups(request, version).into_iter().map(|group| plan(&image, group, version)).collect();
    let asked = plans.iter().map(|plan| {
        let group = plan.group.clone();
        let topics = plan.asked.clone();
        let (member, member_epoch) = (plan.member.clone(), plan.member_epoch);
        let request =
            OffsetFetch { group: group.clone(), member, member_epoch, topics, require_stable };
        shared.ask_group(&group, Request::OffsetFetch(request))
    });
    reply_all(asked.collect(), move |responses| {
        let groups = plans.into_iter().zip(responses);
        let groups = groups.map(|(plan, response)| group(&image, plan, response, version));
        wire(groups.collect(), version)
    })
}

/// The groups of a request, whatever its form.
fn groups(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= BATCHED {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            })
            .collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

/// What is asked of a coordinator, and what is answered without it.
struct Plan {
    group: GroupId,
    member: Option<MemberId>,
    member_epoch: Option<Epoch>,
    /// For the coordinator; `None` is everything.
    asked: Option<Vec<OffsetFetchTopic>>,
    /// What the client asked for, topics that the coordinator is asked for first.
    wanted: Vec<(Str, Uuid, Vec<i32>)>,
    /// Topics whose id is unknown.
    unknown: Vec<OffsetFetchResponseTopics>,
}

fn plan(image: &ClusterImage, group: OffsetFetchRequestGroup, version: i16) -> Plan {
    let mut plan = Plan {
        group: group.group_id.as_str().into(),
        member: group.member_id.as_ref().map(|id| id.as_str().into()),
        member_epoch: Some(Epoch(group.member_epoch)).filter(|epoch| Epoch(0) <= *epoch),
        asked: None,
        wanted: Vec::new(),
        unknown: Vec::new(),
    };
    let Some(topics) = group.topics else { return plan };
    let mut asked = Vec::with_capacity(topics.len());
    for topic in topics {
        let id = TopicId(topic.topic_id);
        let name = if version >= TOPIC_IDS {
            image.topic_by_id(id).map(|topic| Str::from(topic.name.as_str()))
        } else {
            Some(topic.name.detached())
        };
        let Some(name) = name else {
            let code = ErrorCode::UnknownTopicId.code();
            let failed = topic.partition_indexes.iter().map(|index| no_offset(*index, code));
            plan.unknown.push(OffsetFetchResponseTopics {
                topic_id: topic.topic_id,
                partitions: failed.collect(),
                ..Default::default()
            });
            continue;
        };
        let indexes = topic.partition_indexes.iter();
        asked.push(OffsetFetchTopic {
            topic: (&*name).into(),
            topic_id: id,
            // Of a negative partition nothing can be stored; it is answered without asking.
            partitions: indexes.filter_map(|index| PartitionIndex::from_wire(*index)).collect(),
        });
        plan.wanted.push((name, topic.topic_id, topic.partition_indexes));
    }
    plan.asked = Some(asked);
    plan
}

fn group(
    image: &ClusterImage,
    plan: Plan,
    response: Response,
    version: i16,
) -> OffsetFetchResponseGroup {
    let Response::OffsetFetch(result) = response else { unreachable!("OffsetFetch was asked") };
    let group_id = Str::from(plan.group.as_str());
    let topics = match (result, plan.asked) {
        (Err(error), _) if version >= GROUP_ERROR => {
            let error_code = group_code(Some(error));
            return OffsetFetchResponseGroup { group_id, error_code, ..Default::default() };
        }
        (Err(error), _) => refused(plan.wanted, error),
        (Ok(found), None) => {
            found.into_iter().filter_map(|topic| any(image, topic, version)).collect()
        }
        (Ok(found), Some(_)) => {
            let answered = plan.wanted.into_iter().zip(found);
            let answered = answered.map(|((name, topic_id, indexes), found)| {
                let partitions = partitions(&indexes, found);
                OffsetFetchResponseTopics { name, topic_id, partitions }
            });
            answered.chain(plan.unknown).collect()
        }
    };
    OffsetFetchResponseGroup { group_id, topics, error_code: 0 }
}

/// A group's error in the oldest form: at every partition.
fn refused(
    wanted: Vec<(Str, Uuid, Vec<i32>)>,
    error: GroupError,
) -> Vec<OffsetFetchResponseTopics> {
    let code = group_error(error).code();
    let topic = |(name, topic_id, indexes): (Str, Uuid, Vec<i32>)| OffsetFetchResponseTopics {
        name,
        topic_id,
        partitions: indexes.into_iter().map(|index| no_offset(index, code)).collect(),
    };
    wanted.into_iter().map(topic).collect()
}

/// A topic of an answer to "everything"; where topics have ids, one that is gone is left out.
fn any(
    image: &ClusterImage,
    found: OffsetFetchTopicResult,
    version: i16,
) -> Option<OffsetFetchResponseTopics> {
    let mut topic_id = found.topic_id;
    if version >= TOPIC_IDS && topic_id.0.is_zero() {
        topic_id = image.topic(&found.topic)?.id;
    }
    let partitions = found.partitions.into_iter();
    Some(OffsetFetchResponseTopics {
        name: Str::from(found.topic.as_str()),
        topic_id: topic_id.0,
        partitions: partitions.map(|(index, result)| partition(index.to_wire(), result)).collect(),
    })
}

/// Partitions in the client's order; the coordinator's answers come in the same order.
fn partitions(wanted: &[i32], found: OffsetFetchTopicResult) -> Vec<OffsetFetchResponsePartitions> {
    let mut found = found.partitions.into_iter();
    let answer = |index: &i32| match PartitionIndex::from_wire(*index) {
        None => no_offset(*index, 0),
        Some(_) => partition(*index, found.next().map_or(Ok(None), |(_, result)| result)),
    };
    wanted.iter().map(answer).collect()
}

fn partition(
    index: i32,
    result: Result<Option<OffsetValue>, GroupError>,
) -> OffsetFetchResponsePartitions {
    match result {
        Ok(None) => no_offset(index, 0),
        Err(error) => no_offset(index, group_code(Some(error))),
        Ok(Some(value)) => OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: value.offset.0,
            committed_leader_epoch: LeaderEpoch::option_to_wire(value.leader_epoch),
            metadata: Some(Str::from(&*value.metadata)),
            error_code: 0,
        },
    }
}

fn no_offset(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code,
    }
}

/// The response in the form of its version.
fn wire(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let Some(group) = groups.pop() else { return OffsetFetchResponse::default() };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_codec::{Message, encode_to_bytes};
    use ottla_group::CommittedOffset;
    use ottla_protocol::offset_fetch_request::OffsetFetchRequestTopic;
    use ottla_types::Timestamp;

    use super::*;

    fn request(version: i16) -> OffsetFetchRequest {
        let partition_indexes = vec![-1, 2];
        let name = Str::from("t");
        if version >= BATCHED {
            let topic = OffsetFetchRequestTopics { name, partition_indexes, ..Default::default() };
            let group = OffsetFetchRequestGroup {
                group_id: Str::from("g"),
                topics: Some(vec![topic]),
                ..Default::default()
            };
            return OffsetFetchRequest { groups: vec![group], ..Default::default() };
        }
        OffsetFetchRequest {
            group_id: Str::from("g"),
            topics: Some(vec![OffsetFetchRequestTopic { name, partition_indexes }]),
            ..Default::default()
        }
    }

    fn run(version: i16, result: Result<(), GroupError>) -> String {
        let image = ClusterImage::new();
        let group_request = groups(request(version), version).remove(0);
        let plan = plan(&image, group_request, version);
        let asked = plan.asked.clone().unwrap();
        let value = OffsetValue {
            offset: CommittedOffset(7),
            leader_epoch: None,
            metadata: "m".into(),
            committed_at: Timestamp(1),
            expires_at: None,
            topic_id: TopicId::default(),
        };
        let found = asked.into_iter().map(|topic| OffsetFetchTopicResult {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .into_iter()
                .map(|p| (p, Ok(Some(value.clone()))))
                .collect(),
        });
        let result = result.map(|()| found.collect());
        let group = group(&image, plan, Response::OffsetFetch(result), version);
        let response = wire(vec![group], version);
        let bytes = encode_to_bytes(&response, version).unwrap();
        let response: OffsetFetchResponse = ottla_codec::decode_exact(bytes, version).unwrap();
        let mut out = format!("top {}", response.error_code);
        for topic in &response.topics {
            for p in &topic.partitions {
                let (offset, code) = (p.committed_offset, p.error_code);
                out += &format!(" {}-{}:{offset}/{code}", topic.name, p.partition_index);
            }
        }
        for group in &response.groups {
            out += &format!(" group {} {}", group.group_id, group.error_code);
            for topic in &group.topics {
                for p in &topic.partitions {
                    let (offset, code) = (p.committed_offset, p.error_code);
                    out += &format!(" {}-{}:{offset}/{code}", topic.name, p.partition_index);
                }
            }
        }
        out
    }

    #[test]
    fn each_version_has_its_form() {
        let (low, high) = OffsetFetchResponse::VERSIONS;
        assert_eq!((low, high), (1, 10));
        for version in low..BATCHED {
            assert_eq!(run(version, Ok(())), "top 0 t--1:-1/0 t-2:7/0");
        }
        for version in BATCHED..TOPIC_IDS {
            assert_eq!(run(version, Ok(())), "top 0 group g 0 t--1:-1/0 t-2:7/0");
        }
        // By id, and nobody knows this one.
        assert_eq!(run(10, Ok(())), "top 0 group g 0 --1:-1/100 -2:-1/100");
    }

    #[test]
    fn a_groups_error_stands_where_the_version_has_a_place_for_it() {
        let error = Err(GroupError::NotCoordinator);
        assert_eq!(run(1, error), "top 0 t--1:-1/16 t-2:-1/16");
        assert_eq!(run(2, error), "top 16");
        assert_eq!(run(7, error), "top 16");
        assert_eq!(run(8, error), "top 0 group g 16");
    }
}
