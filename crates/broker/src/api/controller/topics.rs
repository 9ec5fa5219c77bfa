//! CreateTopics (19), DeleteTopics (20) and CreatePartitions (37).

use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::controller::{
    ApiError, CreatePartitions, CreateTopics, CreatedTopic, MorePartitions, NewTopic, NewTopicInfo,
    Request, Response, TopicSelector,
};
use ottla_protocol::create_partitions_response::CreatePartitionsTopicResult;
use ottla_protocol::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use ottla_protocol::delete_topics_response::DeletableTopicResult;
use ottla_protocol::*;
use ottla_types::{ErrorCode, TopicId};

use super::{ask, mismatched, outcome, told};
use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles CreateTopics.
pub(crate) fn create(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: CreateTopicsRequest,
) -> Reply<CreateTopicsResponse> {
    let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.detached()).collect();
    let topics = request
        .topics
        .iter()
        .map(|topic| NewTopic {
            name: topic.name.to_string(),
            partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: topic
                .assignments
                .iter()
                .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()))
                .collect(),
            configs: topic
                .configs
                .iter()
                .map(|c| (c.name.to_string(), c.value.as_ref().map(ToString::to_string)))
                .collect(),
        })
        .collect();
    let validate_only = request.validate_only;
    let details = ctx.version >= 5;
    let decision = Request::CreateTopics(CreateTopics { topics, validate_only });
    ask(shared, decision, move |answer| {
        let topics = match answer {
            Ok(Response::TopicsCreated(created)) => {
                created.into_iter().map(|topic| created_result(topic, details)).collect()
            }
            Ok(_) => names.into_iter().map(|name| refused(name, &mismatched())).collect(),
            Err(error) => names.into_iter().map(|name| refused(name, &error)).collect(),
        };
        CreateTopicsResponse { topics, ..Default::default() }
    })
}

fn refused(name: Str, error: &ApiError) -> CreatableTopicResult {
    let (error_code, error_message) = told(error);
    CreatableTopicResult { name, error_code, error_message, ..Default::default() }
}

fn created_result(topic: CreatedTopic, details: bool) -> CreatableTopicResult {
    let name = Str::from(topic.name);
    match topic.result {
        Err(error) => refused(name, &error),
        Ok(info) => {
            let mut result = CreatableTopicResult {
                name,
                topic_id: info.id.0,
                error_message: None,
                ..Default::default()
            };
            if details {
                fill_details(&mut result, info);
            }
            result
        }
    }
}

fn fill_details(result: &mut CreatableTopicResult, info: NewTopicInfo) {
    result.num_partitions = i32::try_from(info.partitions).unwrap_or(i32::MAX);
    result.replication_factor = i16::try_from(info.replication_factor).unwrap_or(i16::MAX);
    let configs = info.configs.into_iter().map(|config| CreatableTopicConfigs {
        name: Str::from(config.name),
        value: config.value.map(Str::from),
        read_only: false,
        config_source: config.source as i8,
        is_sensitive: config.sensitive,
    });
    result.configs = Some(configs.collect());
}

/// Handles DeleteTopics.
pub(crate) fn delete(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: DeleteTopicsRequest,
) -> Reply<DeleteTopicsResponse> {
    let selectors: Vec<TopicSelector> = if ctx.version >= 6 {
        request
            .topics
            .iter()
            .map(|topic| TopicSelector {
                name: topic.name.as_ref().map(ToString::to_string),
                id: TopicId(topic.topic_id),
            })
            .collect()
    } else {
        let named =
            |name: &Str| TopicSelector { name: Some(name.to_string()), id: TopicId::default() };
        request.topic_names.iter().map(named).collect()
    };
    let asked = selectors.clone();
    let old = ctx.version < 3;
    ask(shared, Request::DeleteTopics(selectors), move |answer| {
        // Older versions do not know the error's code.
        let answer = answer.map_err(|error| match error.code {
            ErrorCode::TopicDeletionDisabled if old => {
                let text = "This version does not support topic deletion.";
                ApiError::new(ErrorCode::InvalidRequest, text)
            }
            _ => error,
        });
        let responses = match answer {
            Ok(Response::TopicsDeleted(deleted)) => deleted
                .into_iter()
                .map(|topic| {
                    let (error_code, error_message) = outcome(&topic.result);
                    DeletableTopicResult {
                        name: topic.name.map(Str::from),
                        topic_id: topic.id.0,
                        error_code,
                        error_message,
                    }
                })
                .collect(),
            other => {
                let error = other.err().unwrap_or_else(mismatched);
                let (error_code, error_message) = told(&error);
                asked
                    .into_iter()
                    .map(|topic| DeletableTopicResult {
                        name: topic.name.map(Str::from),
                        topic_id: topic.id.0,
                        error_code,
                        error_message: error_message.clone(),
                    })
                    .collect()
            }
        };
        DeleteTopicsResponse { responses, ..Default::default() }
    })
}

/// Handles CreatePartitions.
pub(crate) fn create_partitions(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: CreatePartitionsRequest,
) -> Reply<CreatePartitionsResponse> {
    let names: Vec<Str> = request.topics.iter().map(|topic| topic.name.detached()).collect();
    let topics = request
        .topics
        .iter()
        .map(|topic| MorePartitions {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic
                .assignments
                .as_ref()
                .map(|all| all.iter().map(|one| one.broker_ids.clone()).collect()),
        })
        .collect();
    let validate_only = request.validate_only;
    let decision = Request::CreatePartitions(CreatePartitions { topics, validate_only });
    ask(shared, decision, move |answer| {
        let results = match answer {
            Ok(Response::PartitionsCreated(results)) => results
                .into_iter()
                .map(|(name, result)| {
                    let (error_code, error_message) = outcome(&result);
                    CreatePartitionsTopicResult { name: Str::from(name), error_code, error_message }
                })
                .collect(),
            other => {
                let (error_code, error_message) = told(&other.err().unwrap_or_else(mismatched));
                names
                    .into_iter()
                    .map(|name| CreatePartitionsTopicResult {
                        name,
                        error_code,
                        error_message: error_message.clone(),
                    })
                    .collect()
            }
        };
        CreatePartitionsResponse { results, ..Default::default() }
    })
}
