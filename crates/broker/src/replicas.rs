//! Log directories and the replicas in them: what metadata says becomes partitions on disk.
//!
//! [`Replicas::apply`] follows the image: it opens what it found at the start, creates what is
//! new, changes roles, and takes away what is gone. Absence in metadata is no order to delete: a
//! directory that no metadata knows at the start is renamed `-stray` and kept.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use ottla_log::{
    Checkpoint, CleanShutdown, DeletedFiles, DirectoryError, FsStorage, LogDirectory, OpenError,
    OpenInfo, PartitionDirKind, PartitionLog, UnrecoveredLog,
};
use ottla_metadata::{ClusterImage, ImageDelta, PartitionDelta, PartitionState, TopicImage};
use ottla_types::{
    BrokerEpoch, DirectoryId, MonoTime, NodeId, Offset, PartitionIndex, TopicId, TopicPartition,
    Uuid,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::dynamic_config::partition_config;
use crate::flusher::Flusher;
use crate::partition::{Partition, Role};
use crate::shared::Shared;

mod upkeep;

pub(crate) use upkeep::Schedule;

/// A log on the real disk.
pub(crate) type FsLog = PartitionLog<FsStorage>;

/// Directory name of the metadata log, which the quorum's driver owns.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

/// A locked log directory, and what its clean mark said before it was taken away.
#[derive(Debug)]
pub(crate) struct OpenedDirectory {
    pub(crate) log: LogDirectory<FsStorage>,
    pub(crate) mark: Option<CleanShutdown>,
}

/// One log directory in service.
struct DataDir {
    log: LogDirectory<FsStorage>,
    path: String,
    id: DirectoryId,
    flusher: Arc<Flusher>,
    offline: AtomicBool,
    cordoned: bool,
    /// What the clean mark said, if there was one.
    previous_epoch: Option<BrokerEpoch>,
    /// Set until the first image: what the last shutdown left.
    left: Mutex<Option<Left>>,
}

/// What a directory held at the start.
#[derive(Default)]
struct Left {
    clean: bool,
    partitions: BTreeMap<TopicPartition, PathBuf>,
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_starts: BTreeMap<TopicPartition, Offset>,
}

/// Something that is renamed and waits to be removed.
enum Trash {
    Segments(DeletedFiles<FsStorage>),
    Directory { storage: Arc<FsStorage>, path: PathBuf },
}

/// A log directory for tools.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryView {
    pub(crate) path: String,
    pub(crate) offline: bool,
    pub(crate) cordoned: bool,
    pub(crate) total_bytes: i64,
    pub(crate) usable_bytes: i64,
}

/// A replica whose directory the controller does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) directory: DirectoryId,
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
}

/// All log directories of the broker.
pub(crate) struct Replicas {
    dirs: Vec<DataDir>,
    /// Partitions that could not be opened, with the reason.
    offline: DashMap<(TopicId, PartitionIndex), String>,
    trash: Mutex<Vec<(MonoTime, Trash)>>,
    assignments: Mutex<Vec<Assignment>>,
    /// Rung when there are assignments to tell.
    pub(crate) assignments_ready: Notify,
}

impl Replicas {
    /// Takes over opened directories; each gets its flusher.
    ///
    /// # Errors
    /// A directory cannot be read, or the system starts no thread.
    pub(crate) fn open(
        dirs: Vec<OpenedDirectory>,
        cordoned: &[String],
    ) -> Result<Self, DirectoryError> {
        let mut opened = Vec::new();
        for (place, OpenedDirectory { log, mark }) in dirs.into_iter().enumerate() {
            let path = log.path().display().to_string();
            let flusher = Flusher::start(&place.to_string())
                .map_err(|source| DirectoryError::Disk { path: log.path().into(), source })?;
            let left = read_left(&log, mark.is_some())?;
            opened.push(DataDir {
                previous_epoch: mark.and_then(|mark| mark.broker_epoch),
                id: log.meta().and_then(|meta| meta.directory_id).unwrap_or_default(),
                cordoned: cordoned.iter().any(|name| *name == path || name == "*"),
                log,
                path,
                flusher: Arc::new(flusher),
                offline: AtomicBool::new(false),
                left: Mutex::new(Some(left)),
            });
        }
        Ok(Self {
            dirs: opened,
            offline: DashMap::new(),
            trash: Mutex::default(),
            assignments: Mutex::default(),
            assignments_ready: Notify::new(),
        })
    }

    /// Ids of the directories that are in service.
    pub(crate) fn online_directories(&self) -> Vec<DirectoryId> {
        self.dirs.iter().filter(|dir| !dir.is_offline()).map(|dir| dir.id).collect()
    }

    /// Ids of the directories that have failed.
    pub(crate) fn offline_directories(&self) -> Vec<DirectoryId> {
        self.dirs.iter().filter(|dir| dir.is_offline()).map(|dir| dir.id).collect()
    }

    /// Ids of the directories that get no new partitions.
    pub(crate) fn cordoned_directories(&self) -> Vec<DirectoryId> {
        self.dirs.iter().filter(|dir| dir.cordoned).map(|dir| dir.id).collect()
    }

    /// Whether a partition is here but cannot be served.
    pub(crate) fn is_offline(&self, topic: TopicId, partition: PartitionIndex) -> bool {
        self.offline.contains_key(&(topic, partition))
    }

    /// Partitions that are here but cannot be served.
    pub(crate) fn offline_count(&self) -> usize {
        self.offline.len()
    }

    /// Place of the directory with this path.
    pub(crate) fn directory_at(&self, path: &str) -> Option<usize> {
        self.dirs.iter().position(|dir| dir.path == path && !dir.is_offline())
    }

    /// The directories for tools, in configured order.
    pub(crate) fn views(&self) -> Vec<DirectoryView> {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.dirs
            .iter()
            .map(|dir| {
                let space = ottla_sys::disk_space(dir.log.path()).ok();
                DirectoryView {
                    path: dir.path.clone(),
                    offline: dir.is_offline(),
                    cordoned: dir.cordoned,
                    total_bytes: space.map_or(-1, |space| bytes(space.total)),
                    usable_bytes: space.map_or(-1, |space| bytes(space.usable)),
                }
            })
            .collect()
    }

    /// Takes the assignments that the controller must be told.
    pub(crate) fn take_assignments(&self) -> Vec<Assignment> {
        std::mem::take(&mut self.assignments.lock())
    }

    /// Gives assignments back that the controller did not take; they are told again later.
    pub(crate) fn return_assignments(&self, assignments: Vec<Assignment>) {
        self.assignments.lock().extend(assignments);
        self.assignments_ready.notify_one();
    }

    /// Epoch of the last run, if every directory was closed cleanly by it.
    pub(crate) fn previous_epoch(&self) -> Option<BrokerEpoch> {
        let first = self.dirs.first()?.previous_epoch?;
        self.dirs.iter().all(|dir| dir.previous_epoch == Some(first)).then_some(first)
    }

    /// Makes partitions what the new image says. Called for each image, in order.
    pub(crate) fn apply(&self, shared: &Arc<Shared>, delta: &ImageDelta, image: &ClusterImage) {
        for topic in &delta.topics_deleted {
            for index in topic.partitions.keys() {
                self.delete(shared, topic, *index);
            }
        }
        for changed in &delta.partitions {
            self.apply_partition(shared, changed, image);
        }
        // After the first image nothing found on disk is unknown any more.
        for dir in &self.dirs {
            let left = dir.left.lock().take();
            for partition in left.into_iter().flat_map(|left| left.partitions.into_keys()) {
                tracing::warn!(%partition, dir = dir.path, "unknown to the metadata, kept as -stray");
                if let Err(error) = dir.log.set_stray(&partition) {
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
        match self.make(shared, changed, state, image, role) {
            Ok(partition) => {
                self.offline.remove(&key);
                self.note_assignment(&partition, state, node, key);
                partition.sync_soon();
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
        let Some(dir) = self.dirs.get(partition.directory()) else { return };
        if state.directory(node) != Some(dir.id) {
            let assignment = Assignment { directory: dir.id, topic, partition: index };
            self.assignments.lock().push(assignment);
            self.assignments_ready.notify_one();
        }
    }

    /// Opens the partition where it was found, or creates it.
    fn make(
        &self,
        shared: &Arc<Shared>,
        changed: &PartitionDelta,
        state: &PartitionState,
        image: &ClusterImage,
        role: Role,
    ) -> Result<Arc<Partition>, OpenError> {
        let name = TopicPartition::new(changed.topic.name.clone(), changed.partition);
        let config = partition_config(shared, image, &changed.topic.name);
        let now = shared.clock.wall();
        for (place, dir) in self.dirs.iter().enumerate() {
            let mut left = dir.left.lock();
            let Some(left) = left.as_mut() else { continue };
            let Some(path) = left.partitions.remove(&name) else { continue };
            let info = OpenInfo {
                recovery_point: left.recovery_points.get(&name).copied().unwrap_or_default(),
                log_start: left.log_starts.get(&name).copied().unwrap_or_default(),
                partition: name,
                topic_id: Some(changed.topic.id),
                clean: left.clean,
                config: config.log.clone(),
                accept_damage: false,
                now,
            };
            let storage = dir.log.storage().clone();
            let (log, report) = UnrecoveredLog::open(storage, path, info)?.recover()?;
            if report.truncated_bytes > 0 {
                let partition = log.topic_partition();
                let (bytes, kept) = (report.truncated_bytes, &report.quarantined);
                tracing::warn!(%partition, bytes, ?kept, "a torn tail was cut off");
            }
            return Ok(self.finish(log, place, dir, config, role));
        }
        let place = self.place_for(state.directory(shared.node_id()), shared);
        let dir = self.dirs.get(place).ok_or_else(|| OpenError::Disk {
            path: PathBuf::new(),
            source: io::Error::other("every log directory is offline"),
        })?;
        let storage = dir.log.storage().clone();
        let id = Some(changed.topic.id);
        let (parent, start, log) = (dir.log.path(), Offset::ZERO, config.log.clone());
        let log = PartitionLog::create(storage, parent, name, id, start, log, now)?;
        Ok(self.finish(log, place, dir, config, role))
    }

    fn finish(
        &self,
        mut log: FsLog,
        place: usize,
        dir: &DataDir,
        config: crate::partition::PartitionConfig,
        role: Role,
    ) -> Arc<Partition> {
        if let Role::Leader { epoch, .. } = role {
            log.start_epoch(epoch);
        }
        Arc::new(Partition::new(log, place, dir.flusher.clone(), config, role))
    }

    /// The directory the controller named, else the one with the fewest partitions.
    fn place_for(&self, named: Option<DirectoryId>, shared: &Shared) -> usize {
        let named = named.filter(|id| id.is_real());
        let by_name = self.dirs.iter().position(|dir| Some(dir.id) == named && !dir.is_offline());
        by_name.unwrap_or_else(|| {
            let mut counts = vec![0_usize; self.dirs.len()];
            for partition in shared.partitions.all() {
                if let Some(count) = counts.get_mut(partition.directory()) {
                    *count += 1;
                }
            }
            let usable = |place: &usize| {
                self.dirs.get(*place).is_some_and(|dir| !dir.is_offline() && !dir.cordoned)
            };
            (0..self.dirs.len())
                .filter(usable)
                .min_by_key(|place| counts.get(*place).copied())
                .unwrap_or(usize::MAX)
        })
    }

    fn delete(&self, shared: &Shared, topic: &TopicImage, index: PartitionIndex) {
        self.offline.remove(&(topic.id, index));
        let name = TopicPartition::new(topic.name.clone(), index);
        let here = shared.partitions.get(&name).filter(|found| found.topic_id() == topic.id);
        let Some(partition) = here else { return };
        shared.partitions.remove(&name);
        shared.telemetry.topic_deleted(&topic.name);
        let Some(path) = partition.delete(Uuid(ottla_sys::random_bytes())) else { return };
        let Some(dir) = self.dirs.get(partition.directory()) else { return };
        let storage = dir.log.storage().clone();
        let delay = shared.config.load().topic_defaults.file_delete_delay;
        let due = shared.clock.now().after(delay);
        self.trash.lock().push((due, Trash::Directory { storage, path }));
    }

    /// Closes every partition and leaves the clean mark in directories where all went well.
    pub(crate) fn shut_down(&self, shared: &Shared, epoch: Option<BrokerEpoch>) {
        for dir in &self.dirs {
            dir.flusher.close();
        }
        let mut clean: Vec<bool> = self.dirs.iter().map(|dir| !dir.is_offline()).collect();
        for partition in shared.partitions.all() {
            if !partition.close()
                && let Some(clean) = clean.get_mut(partition.directory())
            {
                *clean = false;
            }
        }
        self.write_checkpoints(shared);
        for (dir, _) in self.dirs.iter().zip(clean).filter(|(_, clean)| *clean) {
            // Directories that never saw an image still hold what they held: unclean stays so.
            if dir.left.lock().is_some() {
                continue;
            }
            if let Err(error) = dir.log.write_clean_mark(CleanShutdown { broker_epoch: epoch }) {
                tracing::error!(dir = dir.path, %error, "cannot leave the clean mark");
            }
        }
    }
}

impl DataDir {
    fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire)
    }
}

fn role_of(state: &PartitionState, node: NodeId) -> Role {
    let epoch = state.leader_epoch;
    if state.leader == Some(node) {
        Role::Leader { epoch, isr: state.isr.len() }
    } else {
        Role::Follower { epoch }
    }
}

fn read_left(log: &LogDirectory<FsStorage>, clean: bool) -> Result<Left, DirectoryError> {
    let mut left = Left {
        clean,
        recovery_points: log.read_checkpoint(Checkpoint::RecoveryPoints)?,
        log_starts: log.read_checkpoint(Checkpoint::LogStarts)?,
        partitions: BTreeMap::new(),
    };
    for dir in log.partitions()? {
        match dir.kind {
            PartitionDirKind::Live(partition) if &*partition.topic != METADATA_TOPIC => {
                left.partitions.insert(partition, dir.path);
            }
            PartitionDirKind::Deleted => {
                if let Err(error) = ottla_log::Storage::remove_dir_all(&**log.storage(), &dir.path)
                {
                    tracing::warn!(path = %dir.path.display(), %error, "cannot be removed");
                }
            }
            PartitionDirKind::Live(_) | PartitionDirKind::Future(_) | PartitionDirKind::Stray => {}
        }
    }
    Ok(left)
}
