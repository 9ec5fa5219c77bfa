//! What differs between two images, for publishers that turn it into actions.
//!
//! Shared parts of the maps are skipped, so the cost is that of the change.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use ottla_types::{NodeId, PartitionIndex};

use super::broker::{BrokerRegistration, ControllerRegistration};
use super::resource::{ConfigResource, QuotaEntity};
use super::topic::{PartitionState, TopicImage};
use super::{ClusterImage, KeptKey};

/// A value before and after; `None` is "not there". At least one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// Before.
    pub old: Option<T>,
    /// After.
    pub new: Option<T>,
}

/// A partition that is new, changed, or gone with its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDelta {
    /// The topic as it is now, or was before it was deleted.
    pub topic: Arc<TopicImage>,
    /// Which partition.
    pub partition: PartitionIndex,
    /// Its state before and after.
    pub state: Changed<Arc<PartitionState>>,
}

/// The difference of two images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageDelta {
    /// Features by name, with their levels.
    pub features: Vec<(String, Changed<i16>)>,
    /// Brokers that registered, changed or left.
    pub brokers: Vec<(NodeId, Changed<Arc<BrokerRegistration>>)>,
    /// Controllers that registered, changed or left.
    pub controllers: Vec<(NodeId, Changed<Arc<ControllerRegistration>>)>,
    /// Topics that are new.
    pub topics_created: Vec<Arc<TopicImage>>,
    /// Topics that are gone; one that was made again under its name is in both lists.
    pub topics_deleted: Vec<Arc<TopicImage>>,
    /// Partitions that are new, changed, or gone; those of new and deleted topics included.
    pub partitions: Vec<PartitionDelta>,
    /// Resources whose dynamic configs differ.
    pub configs: Vec<ConfigResource>,
    /// Entities whose client quotas differ.
    pub quotas: Vec<QuotaEntity>,
    /// Whether a block of producer ids was handed out.
    pub producer_ids: bool,
    /// ACLs, credentials and tokens that differ.
    pub kept: Vec<KeptKey>,
}

impl ImageDelta {
    /// Compares two images.
    pub fn between(old: &ClusterImage, new: &ClusterImage) -> Self {
        let mut delta = Self {
            features: changes(old.features.diff(&new.features)),
            brokers: changes(old.brokers.diff(&new.brokers)),
            controllers: changes(old.controllers.diff(&new.controllers)),
            configs: keys(old.configs.diff(&new.configs)),
            quotas: keys(old.quotas.diff(&new.quotas)),
            producer_ids: old.next_producer_id != new.next_producer_id,
            kept: keys(old.kept.diff(&new.kept)),
            ..Self::default()
        };
        for item in old.topics.diff(&new.topics) {
            match item {
                DiffItem::Add(_, topic) => {
                    delta.topics_created.push(Arc::clone(topic));
                    delta.whole_topic(topic, |state| Changed { old: None, new: Some(state) });
                }
                DiffItem::Remove(_, topic) => {
                    delta.topics_deleted.push(Arc::clone(topic));
                    delta.whole_topic(topic, |state| Changed { old: Some(state), new: None });
                }
                DiffItem::Update { old: (_, before), new: (_, after) } => {
                    let partitions = changes(before.partitions.diff(&after.partitions));
                    delta.partitions.extend(partitions.into_iter().map(|(partition, state)| {
                        PartitionDelta { topic: Arc::clone(after), partition, state }
                    }));
                }
            }
        }
        delta
    }

    /// Whether the images say the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn whole_topic(
        &mut self,
        topic: &Arc<TopicImage>,
        changed: impl Fn(Arc<PartitionState>) -> Changed<Arc<PartitionState>>,
    ) {
        self.partitions.extend(topic.partitions.iter().map(|(partition, state)| PartitionDelta {
            topic: Arc::clone(topic),
            partition: *partition,
            state: changed(Arc::clone(state)),
        }));
    }
}

fn changes<'a, K: Clone + 'a, V: Clone + 'a>(
    diff: impl Iterator<Item = DiffItem<'a, 'a, K, V>>,
) -> Vec<(K, Changed<V>)> {
    diff.map(|item| match item {
        DiffItem::Add(key, new) => (key.clone(), Changed { old: None, new: Some(new.clone()) }),
        DiffItem::Remove(key, old) => (key.clone(), Changed { old: Some(old.clone()), new: None }),
        DiffItem::Update { old: (key, old), new: (_, new) } => {
            (key.clone(), Changed { old: Some(old.clone()), new: Some(new.clone()) })
        }
    })
    .collect()
}

fn keys<'a, K: Clone + 'a, V: Clone + 'a>(
    diff: impl Iterator<Item = DiffItem<'a, 'a, K, V>>,
) -> Vec<K> {
    changes(diff).into_iter().map(|(key, _)| key).collect()
}
