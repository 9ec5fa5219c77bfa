//! Following the image: partitions are opened, created, given roles and taken away.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_log::{OpenError, PartitionLog, RecoveryReport};
use ottla_metadata::{ClusterImage, ImageDelta, PartitionDelta, PartitionState, TopicImage};
use ottla_types::{DirectoryId, NodeId, Offset, PartitionIndex, TopicId, TopicPartition, Uuid};

use super::recovery::Opened;
use super::{Assignment, DataDir, FsLog, Replicas, Trash};
use crate::dynamic_config::PartitionConfigs;
use crate::partition::{Partition, PartitionConfig, Role};
use crate::shared::Shared;

/// A change of more partitions than this is worth some tidying up.
const MANY: usize = 500;

/// What is being opened.
struct Wanted<'a> {
    name: TopicPartition,
    topic_id: TopicId,
    named: Option<DirectoryId>,
    config: &'a PartitionConfig,
}

impl Replicas {
    /// Makes partitions what the new image says. Called for each image, in order.
    pub(crate) fn apply(&self, shared: &Arc<Shared>, delta: &ImageDelta, image: &ClusterImage) {
        for topic in &delta.topics_deleted {
            for index in topic.partitions.keys() {
                self.delete(shared, topic, *index);
            }
        }
        let mut configs = PartitionConfigs::default();
        let mut opened = self.open_left(shared, delta, image, &mut configs);
        for changed in &delta.partitions {
            let name = TopicPartition::new(changed.topic.name.clone(), changed.partition);
            self.apply_partition(shared, changed, image, &mut configs, opened.remove(&name));
        }
        if delta.partitions.len() > MANY {
            self.metadata_loaded.store(true, Ordering::Release);
        }
        // After the first image nothing found on disk is unknown any more.
        for dir in &self.dirs {
            let Some(left) = dir.left.lock().take() else { continue };
            let Some(log) = dir.online() else { continue };
            for (partition, path) in left.partitions.into_iter().chain(left.futures) {
                tracing::warn!(%partition, dir = dir.path, "unknown to the metadata, kept as -stray");
                let unique = Uuid(ottla_sys::random_bytes());
                if let Err(error) = log.set_stray(&partition, &path, unique) {
                    tracing::error!(%partition, %error, "cannot be renamed");
                }
            }
        }
    }

    fn apply_partition(
        &self,
        shared: &Arc<Shared>,
        changed: &PartitionDelta,
        image: &ClusterImage,
        configs: &mut PartitionConfigs,
        opened: Option<Opened>,
    ) {
        let node = shared.node_id();
        let Some(state) = changed.state.new.as_ref().filter(|new| new.replicas.contains(&node))
        else {
            return self.delete(shared, &changed.topic, changed.partition);
        };
        let role = role_of(state, node);
        let hosted = shared.partitions.find(Some(changed.topic.id), &changed.topic.name);
        if let Some(partition) = hosted.and_then(|topic| topic.partition(changed.partition)) {
            partition.set_role(role);
            return;
        }
        let key = (changed.topic.id, changed.partition);
        let config = match &opened {
            Some(opened) => opened.config.clone(),
            None => configs.of(shared, image, &changed.topic.name),
        };
        let opened = opened.map(|opened| opened.log.map(|log| (opened.place, log))).transpose();
        let made =
            opened.and_then(|opened| self.make(shared, changed, (state, role), config, opened));
        match made {
            Ok(partition) => {
                self.offline.remove(&key);
                self.note_assignment(&partition, state, node, key);
                partition.sync_soon();
                partition.watch_age();
                shared.partitions.insert(partition);
            }
            Err(error) => {
                let partition = TopicPartition::new(changed.topic.name.clone(), changed.partition);
                let source = std::error::Error::source(&error);
                tracing::error!(%partition, %error, ?source, "the partition is offline");
                self.offline.insert(key, error.to_string());
            }
        }
    }

    fn note_assignment(
        &self,
        partition: &Partition,
        state: &PartitionState,
        node: NodeId,
        (topic, index): (TopicId, PartitionIndex),
    ) {
        let Some(id) = self.dirs.get(partition.directory()).and_then(|dir| dir.id) else { return };
        if state.directory(node) != Some(id) {
            self.assign(Assignment { directory: id, topic, partition: index });
        }
    }

    /// Opens the partition where it was found, or creates it.
    fn make(
        &self,
        shared: &Arc<Shared>,
        changed: &PartitionDelta,
        (state, role): (&PartitionState, Role),
        config: Arc<PartitionConfig>,
        opened: Option<(usize, FsLog)>,
    ) -> Result<Arc<Partition>, OpenError> {
        let name = TopicPartition::new(changed.topic.name.clone(), changed.partition);
        let named = state.directory(shared.node_id()).filter(|id| id.is_real());
        let wanted = Wanted { name, topic_id: changed.topic.id, named, config: &config };
        let opened = match opened {
            Some(opened) => Some(opened),
            None => self.open_future(shared, &wanted)?,
        };
        let (place, mut log) = match opened {
            Some(opened) => opened,
            None => self.create(shared, &wanted)?,
        };
        if let Role::Leader { epoch, .. } = role {
            log.start_epoch(epoch);
        }
        let dir = self.dirs.get(place).ok_or_else(no_directory)?;
        let partition = Arc::new(Partition::new(log, dir.handle.clone(), config.clone(), role));
        let left = dir.left.lock();
        if let Some(offset) = left.as_ref().and_then(|left| left.cleaned.get(&wanted.name)) {
            partition.set_cleaned_to(*offset);
        }
        drop(left);
        self.resume_move(shared, &partition, &config);
        Ok(partition)
    }

    /// A crash came between the two renames of a move: the log that was being filled is complete,
    /// and the only one.
    fn open_future(
        &self,
        shared: &Shared,
        wanted: &Wanted<'_>,
    ) -> Result<Option<(usize, FsLog)>, OpenError> {
        for (place, dir) in self.dirs.iter().enumerate() {
            let mut left = dir.left.lock();
            let Some(left) = left.as_mut() else { continue };
            if !left.futures.contains_key(&wanted.name) {
                continue;
            }
            // The log itself may lie in a directory that is offline, and hold more.
            self.check_complete()?;
            let Some(path) = left.futures.remove(&wanted.name) else { continue };
            let partition = &wanted.name;
            let info = left.info(shared, partition.clone(), wanted.topic_id, wanted.config);
            let mut log = dir.recover(path, info, shared.config.load().logs.recovery_threads)?;
            log.promote()
                .map_err(|source| OpenError::Disk { path: log.dir().to_owned(), source })?;
            tracing::info!(%partition, dir = dir.path, "an interrupted move was completed");
            return Ok(Some((place, log)));
        }
        Ok(None)
    }

    fn create(&self, shared: &Shared, wanted: &Wanted<'_>) -> Result<(usize, FsLog), OpenError> {
        let by_id = |id: DirectoryId| {
            self.dirs.iter().position(|dir| dir.id == Some(id) && !dir.is_offline())
        };
        let place = match (wanted.named, wanted.named.and_then(by_id)) {
            (_, Some(place)) => Some(place),
            (Some(_), None) => {
                // The directory that the controller knows may be one that is offline.
                self.check_complete()?;
                None
            }
            (None, None) => None,
        };
        let preferred = self.take_preferred(&wanted.name);
        let place = preferred.or(place).or_else(|| self.emptiest(shared));
        let place = place.ok_or_else(no_directory)?;
        let dir = self.dirs.get(place).ok_or_else(no_directory)?;
        let opened = dir.online().ok_or_else(no_directory)?;
        let (storage, parent) = (opened.storage().clone(), opened.path());
        let (id, config) = (Some(wanted.topic_id), wanted.config.log.clone());
        let (name, now) = (wanted.name.clone(), shared.clock.wall());
        let log = PartitionLog::create(storage, parent, name, id, Offset::ZERO, config, now);
        let log = log.inspect_err(|error| {
            if let OpenError::Disk { source, .. } = error {
                dir.handle.report(source);
            }
        })?;
        Ok((place, log))
    }

    /// Refuses as long as a directory is offline that may hold the partition.
    fn check_complete(&self) -> Result<(), OpenError> {
        let offline = self.dirs.iter().find(|dir| dir.is_offline());
        offline.map_or(Ok(()), |dir| {
            let source =
                io::Error::other("the partition may be in this directory, which is offline");
            Err(OpenError::Disk { path: PathBuf::from(&dir.path), source })
        })
    }

    /// The directory with the fewest partitions.
    fn emptiest(&self, shared: &Shared) -> Option<usize> {
        let mut counts = vec![0_usize; self.dirs.len()];
        for partition in shared.partitions.all() {
            if let Some(count) = counts.get_mut(partition.directory()) {
                *count += 1;
            }
        }
        let usable = |place: &usize| {
            self.dirs.get(*place).is_some_and(|dir| !dir.is_offline() && !dir.is_cordoned())
        };
        (0..self.dirs.len()).filter(usable).min_by_key(|place| counts.get(*place).copied())
    }

    fn delete(&self, shared: &Shared, topic: &TopicImage, index: PartitionIndex) {
        self.offline.remove(&(topic.id, index));
        let name = TopicPartition::new(topic.name.clone(), index);
        let here = shared.partitions.get(&name).filter(|found| found.topic_id() == topic.id);
        let Some(partition) = here else { return };
        shared.partitions.remove(&name);
        shared.telemetry.topic_deleted(&topic.name);
        self.delete_move(shared, &partition);
        let Some(path) = partition.delete(Uuid(ottla_sys::random_bytes())) else { return };
        self.discard(shared, partition.directory(), path);
    }

    /// Removes a renamed directory after `file.delete.delay.ms`.
    pub(super) fn discard(&self, shared: &Shared, place: usize, path: PathBuf) {
        let Some(log) = self.dirs.get(place).and_then(DataDir::online) else { return };
        let storage = log.storage().clone();
        let delay = shared.config.load().topic_defaults.file_delete_delay;
        let due = shared.clock.now().after(delay);
        self.trash.lock().push((due, Trash::Directory { storage, path }));
    }
}

pub(super) fn tell_of_damage(log: &FsLog, report: &RecoveryReport) {
    if report.truncated_bytes > 0 {
        let partition = log.topic_partition();
        let (bytes, kept) = (report.truncated_bytes, &report.quarantined);
        tracing::warn!(%partition, bytes, ?kept, "a torn tail was cut off");
    }
}

pub(super) fn no_directory() -> OpenError {
    let source = io::Error::other("every log directory is offline");
    OpenError::Disk { path: PathBuf::new(), source }
}

fn role_of(state: &PartitionState, node: NodeId) -> Role {
    let epoch = state.leader_epoch;
    if state.leader == Some(node) {
        Role::Leader { epoch, isr: state.isr.len(), replicas: state.replicas.len() }
    } else {
        Role::Follower { epoch }
    }
}
