//! Which partitions live on this broker, found by topic name or id.
//!
//! Lookups clone an `Arc` out of the map; no guard of the map is kept while anything else is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use ottla_types::{PartitionIndex, TopicId, TopicName, TopicPartition};
use parking_lot::RwLock;

use crate::partition::Partition;

/// The partitions of one topic that live here.
#[derive(Debug)]
pub(crate) struct HostedTopic {
    /// The topic's id; a topic deleted and made again has another one.
    pub(crate) id: TopicId,
    partitions: RwLock<BTreeMap<PartitionIndex, Arc<Partition>>>,
}

impl HostedTopic {
    /// As [`HostedTopic::partition`], by a number from a request.
    pub(crate) fn at(&self, raw: i32) -> Option<Arc<Partition>> {
        self.partition(PartitionIndex::from_wire(raw)?)
    }

    /// The partition with this number, if it lives here.
    pub(crate) fn partition(&self, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.partitions.read().get(&index).cloned()
    }

    /// All of them, in order.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().cloned().collect()
    }
}

/// All partitions that live here.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    by_name: DashMap<TopicName, Arc<HostedTopic>>,
    names: DashMap<TopicId, TopicName>,
}

impl Partitions {
    /// The topic with this id, or without one, with this name.
    pub(crate) fn find(&self, id: Option<TopicId>, name: &str) -> Option<Arc<HostedTopic>> {
        match id {
            None => self.by_name.get(name).map(|topic| topic.clone()),
            Some(id) => {
                let name = self.names.get(&id)?.clone();
                self.by_name.get(&name).map(|topic| topic.clone()).filter(|topic| topic.id == id)
            }
        }
    }

    /// One partition.
    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<Arc<Partition>> {
        self.find(None, &partition.topic)?.partition(partition.partition)
    }

    /// Adds a partition; false if one with this name and number is there already.
    pub(crate) fn insert(&self, partition: Arc<Partition>) -> bool {
        let TopicPartition { topic, partition: index } = partition.topic_partition().clone();
        let id = partition.topic_id();
        let hosted = self
            .by_name
            .entry(topic.clone())
            .or_insert_with(|| Arc::new(HostedTopic { id, partitions: RwLock::default() }))
            .clone();
        assert_eq!(hosted.id, id, "two topics of the name {topic}");
        let fresh = hosted.partitions.write().insert(index, partition).is_none();
        self.names.insert(id, topic);
        fresh
    }

    /// Takes a partition out; the last of a topic takes the topic with it.
    pub(crate) fn remove(&self, partition: &TopicPartition) -> Option<Arc<Partition>> {
        let hosted = self.find(None, &partition.topic)?;
        let removed = hosted.partitions.write().remove(&partition.partition);
        if hosted.partitions.read().is_empty() {
            self.by_name.remove_if(&partition.topic, |_, topic| topic.partitions.read().is_empty());
            self.names.remove(&hosted.id);
        }
        removed
    }

    /// Every partition, topics in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let topics: Vec<_> = self.by_name.iter().map(|entry| entry.value().clone()).collect();
        topics.iter().flat_map(|topic| topic.partitions()).collect()
    }
}
