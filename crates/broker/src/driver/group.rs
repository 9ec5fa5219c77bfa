//! Drives the group coordinator: one shard for each partition of `__consumer_offsets` that this
//! broker leads.
//!
//! Requests are handled on the connection's own task, behind a shard's short lock; there is one
//! task for the timers of all shards, and a shard has a task of its own only while it is loaded
//! or waits for the high watermark. [`shard`] applies events to a core and executes what it says,
//! [`load`] reads a partition back, [`append`] writes records.

mod append;
mod figures;
mod load;
mod shard;
mod timers;
mod topics;

#[cfg(test)]
mod driven;

use std::sync::Arc;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use ottla_config::BrokerConfig;
use ottla_group::{
    Assignor, ConsumerTimes, DeletedTopic, GroupConfig, GroupError, GroupId, MigrationPolicy, Now,
    Request, Response, Topics,
};
use ottla_metadata::ImageDelta;
use ottla_metrics::Recent;
use ottla_record::Compression;
use ottla_types::{MonoTime, PartitionIndex, TopicId, java_string_hash};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::dispatch::Reply;
use crate::driver::quorum::SharedImage;
use crate::partition::Partition;
use crate::shared::Shared;
pub(crate) use figures::GroupFigures;
use shard::Shard;
use timers::Timers;

/// The topic that groups and their offsets live in.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The group coordinator of this broker. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GroupHandle(Arc<Inner>);

struct Inner {
    shards: DashMap<PartitionIndex, Arc<Shard>>,
    /// What shards that are gone have counted.
    retired: Mutex<GroupFigures>,
    env: Arc<Env>,
    timers: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.timers.abort();
    }
}

/// What every shard needs from outside.
struct Env {
    clock: Clock,
    runtime: Handle,
    settings: ArcSwap<Settings>,
    timers: Timers,
    /// How long it took of late to load a partition, in milliseconds.
    loads: Recent,
    /// What consumer groups know of topics.
    topics: ArcSwap<Arc<dyn Topics>>,
}

impl Env {
    fn now(&self) -> Now {
        Now { mono: self.clock.now(), wall: self.clock.wall() }
    }
}

/// The share of the broker's configuration that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    core: GroupConfig,
    compression: Compression,
    load_bytes: usize,
}

impl Settings {
    fn of(config: &BrokerConfig) -> Self {
        let groups = &config.groups;
        let mut core = GroupConfig::default();
        core.session_timeout_min = groups.session_timeout_min;
        core.session_timeout_max = groups.session_timeout_max;
        core.initial_rebalance_delay = groups.initial_rebalance_delay;
        core.group_size_max = size(groups.members_max);
        core.consumer_group_size_max = size(groups.consumer.members_max);
        core.consumer = ConsumerTimes {
            session_timeout: groups.consumer.session_timeout.value,
            heartbeat_interval: groups.consumer.heartbeat_interval.value,
            assignment_interval: groups.consumer.assignment_interval.value,
        };
        let preferred = groups.consumer.assignors.first();
        core.consumer_assignor =
            preferred.and_then(|name| Assignor::named(name)).unwrap_or(Assignor::Uniform);
        if let Some(policy) = MigrationPolicy::named(&groups.consumer.migration_policy) {
            core.consumer_migration = policy;
        }
        core.consumer_regex_refresh_interval = groups.consumer.regex_refresh_interval;
        core.offset_metadata_max = size(groups.offset_metadata_bytes_max);
        core.offsets_retention = groups.offsets_retention;
        core.offsets_retention_check_interval = groups.offsets_retention_check_interval;
        core.commit_timeout = groups.commit_timeout;
        let codec = Compression::from_id(groups.offsets_topic.compression_codec.into());
        Self {
            core,
            compression: codec.unwrap_or(Compression::None),
            load_bytes: usize::try_from(groups.load_buffer_bytes).unwrap_or(usize::MAX),
        }
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Answers to one request.
pub(crate) enum Asked {
    /// The answer is there.
    Now(Response),
    /// It comes later.
    Later(oneshot::Receiver<Response>),
}

impl Asked {
    /// Makes the reply of a handler from the answer.
    pub(crate) fn reply<R>(self, answer: impl FnOnce(Response) -> R + Send + 'static) -> Reply<R>
    where
        R: Send + 'static,
    {
        match self {
            Self::Now(response) => Reply::Now(answer(response)),
            Self::Later(wait) => Reply::Later(Box::pin(async move {
                match wait.await {
                    Ok(response) => Reply::Now(answer(response)),
                    Err(_) => Reply::Close("the group coordinator stopped".into()),
                }
            })),
        }
    }
}

/// Makes the reply of a handler from the answers to several requests, in their order.
pub(crate) fn reply_all<R>(
    asked: Vec<Asked>,
    answer: impl FnOnce(Vec<Response>) -> R + Send + 'static,
) -> Reply<R>
where
    R: Send + 'static,
{
    let mut ready = Vec::with_capacity(asked.len());
    let mut asked = asked.into_iter();
    while let Some(next) = asked.next() {
        let wait = match next {
            Asked::Now(response) => {
                ready.push(response);
                continue;
            }
            Asked::Later(wait) => wait,
        };
        return Reply::Later(Box::pin(async move {
            for next in std::iter::once(Asked::Later(wait)).chain(asked) {
                match next {
                    Asked::Now(response) => ready.push(response),
                    Asked::Later(wait) => match wait.await {
                        Ok(response) => ready.push(response),
                        Err(_) => return Reply::Close("the group coordinator stopped".into()),
                    },
                }
            }
            Reply::Now(answer(ready))
        }));
    }
    Reply::Now(answer(ready))
}

impl GroupHandle {
    /// A coordinator without shards. Must be called inside a tokio runtime.
    pub(crate) fn start(shared: &Shared) -> Self {
        Self::with(shared.clock, Settings::of(&shared.config.load()))
    }

    fn with(clock: Clock, settings: Settings) -> Self {
        let env = Arc::new(Env {
            clock,
            runtime: Handle::current(),
            settings: ArcSwap::from_pointee(settings),
            timers: Timers::default(),
            loads: Recent::default(),
            topics: ArcSwap::from_pointee(Arc::new(ottla_group::NoTopics)),
        });
        Self(Arc::new_cyclic(|inner| Inner {
            shards: DashMap::new(),
            retired: Mutex::default(),
            timers: env.runtime.spawn(timers::run(inner.clone(), env.clone())),
            env,
        }))
    }

    /// Follows the published metadata: takes over partitions that this broker leads now, lets go
    /// of the others, forgets the offsets of deleted topics.
    pub(crate) fn apply(&self, shared: &Shared, delta: &ImageDelta, image: &SharedImage) {
        self.reconfigure(shared, image);
        self.show_topics(delta, image);
        let node = Some(shared.node_id());
        let (mut lost, mut led) = (Vec::new(), Vec::new());
        for changed in
            delta.partitions.iter().filter(|changed| &*changed.topic.name == OFFSETS_TOPIC)
        {
            let (topic, index) = (changed.topic.id, changed.partition);
            match &changed.state.new {
                Some(state) if state.leader == node => led.push((topic, index)),
                _ => lost.push((topic, index)),
            }
        }
        // A topic that was made again is in both lists.
        for (topic, index) in lost {
            self.partition_lost(topic, index);
        }
        for (topic, index) in led {
            let hosted = shared.partitions.find(Some(topic), OFFSETS_TOPIC);
            match hosted.and_then(|topic| topic.partition(index)) {
                Some(partition) => self.partition_led(partition),
                // The replica is offline, which is logged already.
                None => self.partition_lost(topic, index),
            }
        }
        let deleted: Vec<_> = delta
            .topics_deleted
            .iter()
            .map(|topic| DeletedTopic { topic: topic.name.as_str().into(), topic_id: topic.id })
            .collect();
        if !deleted.is_empty() {
            self.shards().iter().for_each(|shard| shard.topics_deleted(&deleted));
        }
    }

    /// Tells the shards what topics there are now.
    fn show_topics(&self, delta: &ImageDelta, image: &SharedImage) {
        let topics: Arc<dyn Topics> = Arc::new(topics::ImageTopics(image.clone()));
        self.0.env.topics.store(Arc::new(topics.clone()));
        let (changed, created) = topics::changed(delta);
        for shard in self.shards() {
            shard.topics_changed(&topics, &changed, created);
        }
    }

    fn reconfigure(&self, shared: &Shared, image: &SharedImage) {
        let config = shared.config.load();
        let mut settings = Settings::of(&config);
        settings.core.consumer_of_group =
            Arc::new(topics::own_times(image, &config.groups.consumer));
        if **self.0.env.settings.load() != settings {
            self.0.env.settings.store(Arc::new(settings.clone()));
            self.shards().iter().for_each(|shard| shard.reconfigure(&settings.core));
        }
    }

    /// This broker leads the partition: its groups are loaded, unless that was done before.
    pub(crate) fn partition_led(&self, partition: Arc<Partition>) {
        let index = partition.topic_partition().partition;
        if let Some(known) = self.shard(index) {
            // A shard that could not be loaded is closed, and gets another chance here.
            if known.topic_id() == partition.topic_id() && !known.is_closed() {
                return;
            }
            self.partition_lost(known.topic_id(), index);
        }
        let shard = Shard::new(partition, self.0.env.clone());
        self.0.shards.insert(index, shard.clone());
        self.0.env.runtime.spawn(load::run(shard));
    }

    /// Another broker leads the partition, or it is gone: whoever waits is sent away.
    pub(crate) fn partition_lost(&self, topic: TopicId, index: PartitionIndex) {
        let lost = self.0.shards.remove_if(&index, |_, shard| shard.topic_id() == topic);
        if let Some((_, shard)) = lost {
            shard.close();
            self.0.retired.lock().count(&shard.figures().1.counters);
        }
    }

    /// The node stops: whoever waits is sent away, and nothing is appended any more.
    pub(crate) fn close(&self) {
        self.shards().iter().for_each(|shard| shard.close());
    }

    /// Asks the shard of a group; without one this broker is not the group's coordinator.
    pub(crate) fn ask(&self, shared: &Shared, group: &GroupId, request: Request) -> Asked {
        self.ask_partition(partition_of(shared, group), request)
    }

    /// Asks the shard of a partition.
    pub(crate) fn ask_partition(&self, partition: PartitionIndex, request: Request) -> Asked {
        match self.shard(partition) {
            Some(shard) => shard.ask(request),
            None => Asked::Now(request.refuse(GroupError::NotCoordinator)),
        }
    }

    /// Asks every shard of this broker.
    pub(crate) fn ask_all(&self, request: &Request) -> Vec<Asked> {
        self.shards().iter().map(|shard| shard.ask(request.clone())).collect()
    }

    /// Mean and longest time that loading a partition took of late, in milliseconds.
    pub(crate) fn load_times(&self) -> Option<(f64, f64)> {
        self.0.env.loads.read(self.0.env.clock.now().since(MonoTime::ZERO))
    }

    /// Figures of all shards.
    pub(crate) fn figures(&self) -> GroupFigures {
        let mut sum = *self.0.retired.lock();
        for shard in self.shards() {
            let (phase, stats) = shard.figures();
            sum.add(phase, &stats);
        }
        sum
    }

    fn shard(&self, index: PartitionIndex) -> Option<Arc<Shard>> {
        self.0.shards.get(&index).map(|shard| shard.clone())
    }

    /// All shards, in order of their partitions.
    fn shards(&self) -> Vec<Arc<Shard>> {
        let mut shards: Vec<_> = self.0.shards.iter().map(|entry| entry.value().clone()).collect();
        shards.sort_by_key(|shard| shard.index());
        shards
    }
}

impl Shared {
    /// Asks the coordinator of a group.
    pub(crate) fn ask_group(&self, group: &GroupId, request: Request) -> Asked {
        match self.groups.get() {
            Some(groups) => groups.ask(self, group, request),
            None => Asked::Now(request.refuse(GroupError::CoordinatorNotAvailable)),
        }
    }
}

/// The partition of `__consumer_offsets` that a group belongs to.
pub(crate) fn partition_of(shared: &Shared, group: &str) -> PartitionIndex {
    let image = shared.image.load();
    let partitions = image.topic(OFFSETS_TOPIC).map(|topic| topic.partitions.len());
    let partitions = partitions.and_then(|count| u32::try_from(count).ok());
    let partitions = partitions.unwrap_or(shared.config.load().groups.offsets_topic.partitions);
    partition_among(group, partitions)
}

/// Kafka's rule: the absolute value of Java's hash, with 0 for the one that has none.
fn partition_among(key: &str, partitions: u32) -> PartitionIndex {
    let hash = java_string_hash(key).checked_abs().map_or(0, i32::unsigned_abs);
    PartitionIndex(hash % partitions.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_go_to_the_partition_that_kafka_chooses() {
        // Hashes 101574 and 3556498, then a negative one, and the smallest.
        assert_eq!(partition_among("foo", 50), PartitionIndex(24));
        assert_eq!(partition_among("test", 50), PartitionIndex(48));
        assert_eq!(java_string_hash("my-group"), -1_906_497_762);
        assert_eq!(partition_among("my-group", 50), PartitionIndex(12));
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_among("polygenelubricants", 50), PartitionIndex(0));
        assert_eq!(partition_among("", 50), PartitionIndex(0));
    }
}
