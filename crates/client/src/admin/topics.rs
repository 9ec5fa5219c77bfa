//! Topics: create, delete, add partitions.

use ottla_codec::Str;
use ottla_protocol::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, create_partitions_request,
    create_topics_request, delete_topics_request,
};
use ottla_types::{NodeId, Uuid};

use super::Admin;
use crate::error::{ClientError, Refusal};

/// A topic to create.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` takes the broker's `num.partitions` (KIP-464).
    pub partitions: Option<u32>,
    /// How many replicas; `None` takes the broker's `default.replication.factor`.
    pub replication_factor: Option<u16>,
    /// Brokers of each partition, instead of the two numbers.
    pub assignment: Vec<Vec<NodeId>>,
    /// Configs that differ from the defaults.
    pub configs: Vec<(String, String)>,
}

/// A topic that was created, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// Its id; zero if it was only checked.
    pub id: Uuid,
    /// How many partitions it has, if the broker told.
    pub partitions: Option<u32>,
    /// How many replicas, if the broker told.
    pub replication_factor: Option<u16>,
}

impl Admin {
    /// Creates topics, or only checks whether that would succeed.
    ///
    /// # Errors
    /// When no broker answers; the inner results are for each topic, in the order asked.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<Result<CreatedTopic, Refusal>>, ClientError> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let response = self.client.any(&request).await?;
        let answer = |topic: &NewTopic| {
            let what = || format!("topic {}", topic.name);
            let found = response.topics.iter().find(|result| *result.name == *topic.name);
            let found = found.ok_or_else(|| no_answer(what()))?;
            Refusal::check(found.error_code, found.error_message.as_deref(), what)?;
            Ok(CreatedTopic {
                id: found.topic_id,
                partitions: u32::try_from(found.num_partitions).ok(),
                replication_factor: u16::try_from(found.replication_factor).ok(),
            })
        };
        Ok(topics.iter().map(answer).collect())
    }

    /// Deletes topics by name.
    ///
    /// # Errors
    /// As [`Self::create_topics`].
    pub async fn delete_topics(
        &self,
        names: &[&str],
    ) -> Result<Vec<Result<(), Refusal>>, ClientError> {
        let connection = self.client.bootstrap().await?;
        let by_state = connection.version_of::<DeleteTopicsRequest>(i16::MAX)? >= 6;
        let mut request =
            DeleteTopicsRequest { timeout_ms: self.timeout_ms(), ..Default::default() };
        if by_state {
            let state = |name: &&str| delete_topics_request::DeleteTopicState {
                name: Some(Str::from(*name)),
                ..Default::default()
            };
            request.topics = names.iter().map(state).collect();
        } else {
            request.topic_names = names.iter().map(|name| Str::from(*name)).collect();
        }
        let response = connection.send(&request).await?;
        let answer = |name: &&str| {
            let what = || format!("topic {name}");
            let found = response.responses.iter().find(|one| one.name.as_deref() == Some(*name));
            let found = found.ok_or_else(|| no_answer(what()))?;
            self.client.forget_topic(name);
            Refusal::check(found.error_code, found.error_message.as_deref(), what)
        };
        Ok(names.iter().map(answer).collect())
    }

    /// Raises the number of partitions of a topic to `count`, or only checks.
    ///
    /// # Errors
    /// When no broker answers or the change is refused.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: u32,
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let count = i32::try_from(count)
            .map_err(|_| ClientError::Invalid(format!("{count} partitions are too many")))?;
        let request = CreatePartitionsRequest {
            topics: vec![create_partitions_request::CreatePartitionsTopic {
                name: Str::from(topic),
                count,
                assignments: None,
            }],
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let response = self.client.any(&request).await?;
        let what = || format!("topic {topic}");
        let found = response.results.first().ok_or_else(|| no_answer(what()))?;
        self.client.forget_topic(topic);
        Ok(Refusal::check(found.error_code, found.error_message.as_deref(), what)?)
    }
}

fn creatable(topic: &NewTopic) -> create_topics_request::CreatableTopic {
    let assignments = topic.assignment.iter().zip(0_i32..).map(|(brokers, partition_index)| {
        let broker_ids = brokers.iter().map(|id| id.to_wire()).collect();
        create_topics_request::CreatableReplicaAssignment { partition_index, broker_ids }
    });
    let configs = topic.configs.iter().map(|(name, value)| {
        let (name, value) = (Str::from(name.as_str()), Some(Str::from(value.as_str())));
        create_topics_request::CreatableTopicConfig { name, value }
    });
    let wire = |count: Option<u32>| count.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    let factor = topic.replication_factor.map_or(-1, |n| i16::try_from(n).unwrap_or(i16::MAX));
    create_topics_request::CreatableTopic {
        name: Str::from(topic.name.as_str()),
        num_partitions: wire(topic.partitions),
        replication_factor: factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

/// A response that leaves out what was asked for.
pub(super) fn no_answer(what: String) -> Refusal {
    Refusal {
        what,
        code: ottla_types::ErrorCode::UnknownServerError,
        message: Some("the broker did not answer for it".to_owned()),
    }
}
