//! Topics and partitions: making, deleting, adding, and where replicas lie.
//!
//! Source: the topic part of Kafka's `ReplicationControlManager` and `ControllerApis`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::{
    DirectoryId, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId, TopicName,
};

use super::op::Op;
use super::placement::{UsableBroker, place};
use super::request::{
    ApiError, ConfigOp, CreatePartitions, CreateTopics, CreatedTopic, DeletedTopic, MorePartitions,
    NewTopic, NewTopicInfo, Outcome, Response, TopicSelector,
};
use crate::generated::{RemoveTopicRecord, TopicRecord};
use crate::image::{ConfigResource, LeaderRecovery, PartitionState};

/// Most partitions that one request may make.
const PARTITIONS_MAX: u64 = 10_000;
/// The topic that only the quorum writes.
const METADATA_TOPIC: &str = "__cluster_metadata";

impl Op<'_> {
    /// CreateTopics.
    pub(super) fn create_topics(&mut self, request: CreateTopics) -> Result<Response, ApiError> {
        let duplicates = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
        let mut answered = BTreeSet::new();
        let mut results = Vec::with_capacity(request.topics.len());
        let asked = request.topics.iter().filter(|t| !duplicates.contains(t.name.as_str()));
        self.check_total(asked.filter(|topic| topic.name != METADATA_TOPIC))?;
        let before = self.image.clone();
        for topic in &request.topics {
            let name = topic.name.as_str();
            let result = if duplicates.contains(name) {
                if !answered.insert(name.to_owned()) {
                    continue;
                }
                Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            } else if name == METADATA_TOPIC {
                let text = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
                Err(ApiError::new(ErrorCode::InvalidRequest, text))
            } else {
                check_name(&before, name).and_then(|name| self.create_topic(name, topic))
            };
            results.push(CreatedTopic { name: name.to_owned(), result });
        }
        if request.validate_only {
            self.records.clear();
        }
        Ok(Response::TopicsCreated(results))
    }

    fn check_total<'t>(&self, topics: impl Iterator<Item = &'t NewTopic>) -> Result<(), ApiError> {
        let mut total: u64 = 0;
        for topic in topics {
            total += match (topic.assignments.len() as u64, topic.partitions) {
                (0, -1) => u64::from(self.config.default_partitions),
                (0, count) => u64::try_from(count).unwrap_or(0),
                (assigned, _) => assigned,
            };
            if total > PARTITIONS_MAX {
                let text = "Excessively large number of partitions per request.";
                return Err(ApiError::new(ErrorCode::PolicyViolation, text));
            }
        }
        Ok(())
    }

    fn create_topic(
        &mut self,
        name: TopicName,
        topic: &NewTopic,
    ) -> Result<NewTopicInfo, ApiError> {
        let nulls: Vec<&str> = topic
            .configs
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !nulls.is_empty() {
            let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
            return Err(ApiError::new(ErrorCode::InvalidConfig, text));
        }
        let configs: BTreeMap<String, String> = topic
            .configs
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect();
        let resource = ConfigResource::topic(name.as_str());
        let ops: Vec<(String, ConfigOp)> =
            configs.iter().map(|(n, v)| (n.clone(), ConfigOp::Set(Some(v.clone())))).collect();
        let config_records = self.altered_config(&resource, &ops, true, true)?;
        let states = self.new_partitions(topic)?;
        let id = TopicId(self.rng.uuid());
        let info = NewTopicInfo {
            id,
            partitions: u32::try_from(states.len()).expect("at most 10,000 partitions"),
            replication_factor: states.first().map_or(0, |state| {
                u32::try_from(state.replicas.len()).expect("at most as many as brokers")
            }),
            configs: self.with_layers(&configs, |layers| self.rules.topic_configs(layers)),
        };
        self.add(TopicRecord { name: name.as_str().into(), topic_id: id.0 });
        for record in config_records {
            self.push(record);
        }
        for (at, state) in (0..).zip(&states) {
            self.push_partition(id, PartitionIndex(at), state);
        }
        Ok(info)
    }

    fn push_partition(&mut self, id: TopicId, partition: PartitionIndex, state: &PartitionState) {
        let elr_enabled = self.image.elr_enabled();
        self.push(state.to_record(id, partition, self.version, elr_enabled));
    }

    fn new_partitions(&mut self, topic: &NewTopic) -> Result<Vec<PartitionState>, ApiError> {
        if !topic.assignments.is_empty() {
            return self.assigned_partitions(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let text = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
        }
        if topic.partitions < -1 || topic.partitions == 0 {
            let text = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::new(ErrorCode::InvalidPartitions, text));
        }
        let count = u32::try_from(topic.partitions).unwrap_or(self.config.default_partitions);
        let replicas = match topic.replication_factor {
            -1 => self.config.default_replication_factor,
            factor => factor,
        };
        let cannot = |why: &str| {
            let text = format!("Unable to replicate the partition {replicas} time(s): {why}");
            ApiError::new(ErrorCode::InvalidReplicationFactor, text)
        };
        let placed = self.place(count, replicas).map_err(|why| cannot(&why))?;
        let all_fenced = "All brokers are currently fenced or in controlled shutdown.";
        let states = placed
            .into_iter()
            .map(|replicas| self.new_partition(replicas).ok_or_else(|| cannot(all_fenced)));
        states.collect()
    }

    fn place(&mut self, partitions: u32, replicas: i16) -> Result<Vec<Vec<NodeId>>, String> {
        let usable: Vec<UsableBroker> = self
            .image
            .brokers()
            .values()
            .filter(|b| !self.sessions.is_shutting_down(b.id) && b.has_uncordoned_dirs())
            .map(|b| UsableBroker { id: b.id, rack: b.rack.clone(), fenced: b.fenced })
            .collect();
        let partitions = usize::try_from(partitions).expect("32 bits fit");
        place(&usable, partitions, replicas, self.rng)
    }

    /// A new partition with all active replicas in sync, `None` if none is active.
    fn new_partition(&self, replicas: Vec<NodeId>) -> Option<PartitionState> {
        let isr: Vec<NodeId> =
            replicas.iter().copied().filter(|node| self.image.is_active(*node)).collect();
        let leader = *isr.first()?;
        let default_dir = |node: &NodeId| {
            if !self.version.directories() {
                return DirectoryId::MIGRATING;
            }
            self.image.broker(*node).map_or(DirectoryId::UNASSIGNED, |b| b.default_dir())
        };
        Some(PartitionState {
            directories: replicas.iter().map(default_dir).collect(),
            replicas,
            isr,
            removing: Vec::new(),
            adding: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: Some(leader),
            recovery: LeaderRecovery::Recovered,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        })
    }

    fn assigned_partitions(&self, topic: &NewTopic) -> Result<Vec<PartitionState>, ApiError> {
        let form = |what: &str| {
            let text =
                format!("A manual partition assignment was specified, but {what} set to -1.");
            ApiError::new(ErrorCode::InvalidRequest, text)
        };
        if topic.replication_factor != -1 {
            return Err(form("replication factor was not"));
        }
        if topic.partitions != -1 {
            return Err(form("numPartitions was not"));
        }
        let invalid = |text: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, text);
        let mut states = BTreeMap::new();
        let mut factor = None;
        for (partition, brokers) in &topic.assignments {
            if states.contains_key(partition) {
                return Err(invalid(format!(
                    "Found multiple manual partition assignments for partition {partition}"
                )));
            }
            let replicas = self.check_assignment(brokers, factor)?;
            factor = Some(replicas.len());
            let state = self.new_partition(replicas);
            states.insert(*partition, state.ok_or_else(|| all_fenced(*partition))?);
        }
        if !(0..).zip(states.keys()).all(|(at, partition): (i32, _)| at == *partition) {
            let text = "partitions should be a consecutive 0-based integer sequence";
            return Err(invalid(text.to_owned()));
        }
        Ok(states.into_values().collect())
    }

    /// Brokers of one partition that a person chose.
    pub(super) fn check_assignment(
        &self,
        brokers: &[i32],
        factor: Option<usize>,
    ) -> Result<Vec<NodeId>, ApiError> {
        let invalid = |text: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, text);
        let includes = "The manual partition assignment includes";
        if brokers.is_empty() {
            return Err(invalid(format!("{includes} an empty replica list.")));
        }
        let mut sorted = brokers.to_vec();
        sorted.sort_unstable();
        let mut previous = None;
        for id in sorted {
            let broker = NodeId::from_wire(id).and_then(|node| self.image.broker(node));
            let Some(broker) = broker else {
                return Err(invalid(format!(
                    "{includes} broker {id}, but no such broker is registered."
                )));
            };
            if !broker.has_uncordoned_dirs() {
                return Err(invalid(format!(
                    "{includes} broker {id}, but all its log directories are cordoned."
                )));
            }
            if previous == Some(id) {
                return Err(invalid(format!("{includes} the broker {id} more than once.")));
            }
            previous = Some(id);
        }
        if let Some(factor) = factor.filter(|factor| *factor != brokers.len()) {
            return Err(invalid(format!(
                "{includes} a partition with {} replica(s), but this is not consistent with \
                 previous partitions, which have {factor} replica(s).",
                brokers.len()
            )));
        }
        Ok(brokers.iter().filter_map(|id| NodeId::from_wire(*id)).collect())
    }

    /// DeleteTopics, by name or id.
    pub(super) fn delete_topics(
        &mut self,
        request: &[TopicSelector],
    ) -> Result<Response, ApiError> {
        if !self.config.delete_topics_enabled {
            return Err(ErrorCode::TopicDeletionDisabled.into());
        }
        let names = request.iter().filter(|topic| topic.id.0.is_zero());
        let twice_named = repeated(names.filter_map(|topic| topic.name.as_deref()));
        let ids = request.iter().filter(|topic| topic.name.is_none()).map(|topic| topic.id);
        let twice_by_id = repeated(ids.clone());
        let ids: BTreeSet<TopicId> = ids.filter(|id| !twice_by_id.contains(id)).collect();
        let mut results: Vec<DeletedTopic> = Vec::with_capacity(request.len());
        let mut answered = BTreeSet::new();
        // A topic that is named both ways is answered once, under its name.
        let by_name: BTreeSet<TopicId> = request
            .iter()
            .filter_map(|topic| topic.name.as_deref().filter(|name| !twice_named.contains(name)))
            .filter_map(|name| self.image.topic(name).map(|topic| topic.id))
            .collect();
        for topic in request {
            let twice = match topic.name.as_deref() {
                Some(name) => topic.id.0.is_zero() && twice_named.contains(name),
                None => !topic.id.0.is_zero() && twice_by_id.contains(&topic.id),
            };
            if !twice {
                if topic.name.is_some() || !by_name.contains(&topic.id) {
                    results.push(self.delete_topic(topic, &ids));
                }
            } else if answered.insert((topic.name.clone(), topic.id)) {
                let what = if topic.name.is_some() { "name" } else { "id" };
                let text = format!("Duplicate topic {what}.");
                let result = Err(ApiError::new(ErrorCode::InvalidRequest, text));
                results.push(DeletedTopic { name: topic.name.clone(), id: topic.id, result });
            }
        }
        Ok(Response::TopicsDeleted(results))
    }

    fn delete_topic(&mut self, topic: &TopicSelector, by_id: &BTreeSet<TopicId>) -> DeletedTopic {
        let invalid = |text: &str| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        let answer = |name, id, result: Outcome| DeletedTopic { name, id, result };
        let name = topic.name.clone();
        match (&topic.name, topic.id.0.is_zero()) {
            (None, true) => {
                answer(None, topic.id, invalid("Neither topic name nor id were specified."))
            }
            (Some(_), false) => {
                let text = "You may not specify both topic name and topic id.";
                answer(name, topic.id, invalid(text))
            }
            (None, false) => match self.image.topic_by_id(topic.id).map(|t| t.name.to_string()) {
                None => {
                    let text = "This server does not host this topic ID.";
                    answer(None, topic.id, Err(ApiError::new(ErrorCode::UnknownTopicId, text)))
                }
                Some(known) => {
                    self.add(RemoveTopicRecord { topic_id: topic.id.0 });
                    answer(Some(known), topic.id, Ok(()))
                }
            },
            (Some(wanted), true) => match self.image.topic(wanted).map(|topic| topic.id) {
                None => {
                    let text = "This server does not host this topic-partition.";
                    let error = ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
                    answer(name, topic.id, Err(error))
                }
                Some(id) if by_id.contains(&id) => {
                    let text = "The provided topic name maps to an ID that was already supplied.";
                    answer(name, id, invalid(text))
                }
                Some(id) => {
                    self.add(RemoveTopicRecord { topic_id: id.0 });
                    answer(name, id, Ok(()))
                }
            },
        }
    }

    /// CreatePartitions.
    pub(super) fn create_partitions(
        &mut self,
        request: &CreatePartitions,
    ) -> Result<Response, ApiError> {
        let duplicates = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
        let mut results = Vec::with_capacity(request.topics.len());
        for name in &duplicates {
            let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
            results.push(((*name).to_owned(), Err(error)));
        }
        for topic in &request.topics {
            if !duplicates.contains(topic.name.as_str()) {
                let result = self.add_partitions(topic);
                results.push((topic.name.clone(), result));
            }
        }
        if request.validate_only {
            self.records.clear();
        }
        Ok(Response::PartitionsCreated(results))
    }

    fn add_partitions(&mut self, request: &MorePartitions) -> Outcome {
        let Some(topic) = self.image.topic(&request.name).cloned() else {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        };
        let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let few = |text: String| ApiError::new(ErrorCode::InvalidPartitions, text);
        if request.count == now {
            return Err(few(format!("Topic already has {now} partition(s).")));
        }
        if request.count < now {
            return Err(few(format!(
                "The topic {} currently has {now} partition(s); {} would not be an increase.",
                request.name, request.count
            )));
        }
        let more = u32::try_from(request.count - now).expect("checked to be positive");
        let replicas = topic.partitions.values().next().map_or(1, |state| state.replicas.len());
        let chosen = match &request.assignments {
            Some(chosen) if u32::try_from(chosen.len()) != Ok(more) => {
                let text = format!(
                    "Attempted to add {more} additional partition(s), but only {} assignment(s) \
                     were specified.",
                    chosen.len()
                );
                return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
            }
            None if u64::from(more) > PARTITIONS_MAX => {
                let text = "Unable to perform excessively large batch operation.";
                return Err(ApiError::new(ErrorCode::PolicyViolation, text));
            }
            chosen => chosen.as_ref(),
        };
        let factor = i16::try_from(replicas).unwrap_or(i16::MAX);
        let invalid_factor = |why| ApiError::new(ErrorCode::InvalidReplicationFactor, why);
        let mut states = Vec::new();
        match chosen {
            Some(chosen) => {
                for (at, brokers) in (now..).zip(chosen) {
                    let nodes = self.check_assignment(brokers, Some(replicas))?;
                    states.push(self.new_partition(nodes).ok_or_else(|| all_fenced(at))?);
                }
            }
            None => {
                for nodes in self.place(more, factor).map_err(invalid_factor)? {
                    let text = format!(
                        "Unable to replicate the partition {replicas} time(s): All brokers are \
                         currently fenced or in controlled shutdown."
                    );
                    let state = self.new_partition(nodes);
                    states.push(state.ok_or_else(|| invalid_factor(text))?);
                }
            }
        }
        let first = u32::try_from(now).expect("a length is not negative");
        for (at, state) in (first..).zip(&states) {
            self.push_partition(topic.id, PartitionIndex(at), state);
        }
        Ok(())
    }
}

fn check_name(image: &crate::ClusterImage, name: &str) -> Result<TopicName, ApiError> {
    let invalid = |text: String| ApiError::new(ErrorCode::InvalidTopicException, text);
    let parsed = TopicName::parse(name).map_err(|why| invalid(why.message(name)))?;
    if image.topic(name).is_some() {
        let text = format!("Topic '{name}' already exists.");
        return Err(ApiError::new(ErrorCode::TopicAlreadyExists, text));
    }
    if let Some(other) = image.indexes().collision(name) {
        let text = format!("Topic '{name}' collides with existing topic: {other}");
        return Err(invalid(text));
    }
    Ok(parsed)
}

fn all_fenced(partition: i32) -> ApiError {
    let text = format!(
        "All brokers specified in the manual partition assignment for partition {partition} are \
         fenced or in controlled shutdown."
    );
    ApiError::new(ErrorCode::InvalidReplicaAssignment, text)
}

/// What stands more than once.
fn repeated<T: Ord + Copy>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| !seen.insert(*item)).collect()
}
