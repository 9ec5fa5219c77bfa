//! OffsetDelete (47): an administrator removes offsets of a group.

use std::sync::Arc;

use ottla_codec::Str;
use ottla_group::{GroupId, OffsetDelete, Request, Response, Topic};
use ottla_protocol::offset_delete_request::OffsetDeleteRequest;
use ottla_protocol::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_types::{ErrorCode, PartitionIndex};

use crate::api::by_topic::ByTopic;
use crate::dispatch::{Reply, RequestContext};
use crate::error_code::group_code;
use crate::shared::Shared;

type Answers = ByTopic<String, OffsetDeleteResponseTopic>;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: OffsetDeleteRequest,
) -> Reply<OffsetDeleteResponse> {
    let group = GroupId::from(&*request.group_id);
    let image = shared.image.load_full();
    let (mut topics, mut refused) = (Vec::new(), Answers::new());
    for topic in request.topics {
        let known = image.topic(&topic.name);
        let mut wanted = Vec::new();
        for partition in topic.partitions {
            let raw = partition.partition_index;
            let index = PartitionIndex::from_wire(raw)
                .filter(|index| known.is_some_and(|topic| topic.partitions.contains_key(index)));
            match index {
                Some(index) => wanted.push(index),
                None => {
                    let error_code = ErrorCode::UnknownTopicOrPartition.code();
                    add(&mut refused, &topic.name, raw, error_code);
                }
            }
        }
        if !wanted.is_empty() {
            topics.push((Topic::from(&*topic.name), wanted));
        }
    }
    let request = OffsetDelete { group: group.clone(), topics };
    shared
        .ask_group(&group, Request::OffsetDelete(request))
        .reply(move |response| answer(response, refused))
}

fn answer(response: Response, refused: Answers) -> OffsetDeleteResponse {
    let Response::OffsetDelete(result) = response else { unreachable!("OffsetDelete was asked") };
    let deleted = match result {
        Ok(deleted) => deleted,
        Err(error) => {
            let error_code = group_code(Some(error));
            return OffsetDeleteResponse { error_code, ..Default::default() };
        }
    };
    let mut topics = refused;
    for topic in deleted {
        for (index, result) in topic.partitions {
            add(&mut topics, &topic.topic, index.to_wire(), group_code(result.err()));
        }
    }
    OffsetDeleteResponse { topics: topics.into_topics(), ..Default::default() }
}

/// Adds a partition to its topic.
fn add(topics: &mut Answers, name: &str, partition_index: i32, error_code: i16) {
    let make = || OffsetDeleteResponseTopic { name: Str::from(name), ..Default::default() };
    if let Some(topic) = topics.topic(name.to_owned(), make) {
        topic.partitions.push(OffsetDeleteResponsePartition { partition_index, error_code });
    }
}
