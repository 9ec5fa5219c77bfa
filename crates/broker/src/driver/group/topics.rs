//! The cluster's image as consumer groups see it: topics, racks, and times of a group's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ottla_config::{Bounded, ConsumerGroups};
use ottla_group::{ConsumerTimes, GroupId, Topic, TopicInfo, Topics};
use ottla_metadata::{ClusterImage, ConfigKind, ImageDelta};
use ottla_types::{PartitionIndex, TopicId};

use crate::driver::quorum::SharedImage;

/// The topics of an image.
pub(super) struct ImageTopics(pub(super) SharedImage);

impl fmt::Debug for ImageTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topics at {}", self.0.end())
    }
}

impl Topics for ImageTopics {
    fn version(&self) -> u64 {
        // Kafka names an image by the last offset that is in it.
        self.0.end().0.saturating_sub(1)
    }

    fn find(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.0.topic(name)?;
        let partitions = u32::try_from(topic.partitions.len()).ok()?;
        Some(TopicInfo { id: topic.id, partitions })
    }

    fn name_of(&self, id: TopicId) -> Option<Topic> {
        self.0.topic_by_id(id).map(|topic| topic.name.as_str().into())
    }

    fn racks(&self, id: TopicId, partition: PartitionIndex) -> Vec<String> {
        let topic = self.0.topic_by_id(id);
        let state = topic.and_then(|topic| topic.partitions.get(&partition));
        let replicas = state.into_iter().flat_map(|state| &state.replicas);
        let brokers = replicas.filter_map(|id| self.0.broker(*id));
        brokers.filter_map(|broker| broker.rack.clone()).collect()
    }

    fn names(&self) -> Vec<Topic> {
        self.0.topic_ids().keys().map(|name| name.as_str().into()).collect()
    }
}

/// Topics that are not as they were, and whether any is new.
pub(super) fn changed(delta: &ImageDelta) -> (Vec<Topic>, bool) {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let whole = delta.topics_created.iter().chain(&delta.topics_deleted);
    names.extend(whole.map(|topic| topic.name.as_str()));
    names.extend(delta.partitions.iter().map(|changed| changed.topic.name.as_str()));
    (names.into_iter().map(Topic::from).collect(), !delta.topics_created.is_empty())
}

/// Times of the groups that have their own, within the broker's bounds.
pub(super) fn own_times(
    image: &ClusterImage,
    broker: &ConsumerGroups,
) -> BTreeMap<GroupId, ConsumerTimes> {
    let groups = image.configs().iter().filter(|(resource, _)| resource.kind == ConfigKind::Group);
    let times = groups.map(|(resource, configs)| {
        let own = |key: &str, bounded: &Bounded| {
            let millis = configs.get(key).and_then(|text| text.trim().parse().ok());
            let own = millis.map(|millis| bounded.within(Duration::from_millis(millis)));
            own.unwrap_or(bounded.value)
        };
        let times = ConsumerTimes {
            session_timeout: own("consumer.session.timeout.ms", &broker.session_timeout),
            heartbeat_interval: own("consumer.heartbeat.interval.ms", &broker.heartbeat_interval),
            assignment_interval: own(
                "consumer.assignment.interval.ms",
                &broker.assignment_interval,
            ),
        };
        (GroupId::from(resource.name.as_str()), times)
    });
    times.collect()
}
