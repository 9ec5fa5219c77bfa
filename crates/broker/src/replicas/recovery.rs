//! Opening at the start what an earlier run left: several partitions of a directory at a time, and several
//! segments of a partition.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::{OpenError, OpenInfo, SegmentCheck, UnrecoveredLog};
use ottla_metadata::{ClusterImage, ImageDelta};
use ottla_types::TopicPartition;
use parking_lot::Mutex;

use super::follow::{no_directory, tell_of_damage};
use super::{DataDir, FsLog, FsSegmentCheck, Left, Replicas};
use crate::dynamic_config::PartitionConfigs;
use crate::partition::PartitionConfig;
use crate::shared::Shared;

/// A partition's directory that was found, and what is known of it.
struct Found {
    path: PathBuf,
    info: OpenInfo,
    config: Arc<PartitionConfig>,
}

/// What became of one.
pub(super) struct Opened {
    /// Place of its log directory.
    pub(super) place: usize,
    /// The config that it was opened with.
    pub(super) config: Arc<PartitionConfig>,
    pub(super) log: Result<FsLog, OpenError>,
}

impl Replicas {
    /// Opens the partitions of the image that earlier runs left. Only the first image finds any.
    pub(super) fn open_left(
        &self,
        shared: &Shared,
        delta: &ImageDelta,
        image: &ClusterImage,
        configs: &mut PartitionConfigs,
    ) -> HashMap<TopicPartition, Opened> {
        let queues = self.find_left(shared, delta, image, configs);
        let threads = shared.config.load().logs.recovery_threads;
        let opened = Mutex::new(HashMap::new());
        let work = |place: usize, queue: &Mutex<VecDeque<Found>>| {
            let Some(dir) = self.dirs.get(place) else { return };
            loop {
                // The lock is not held while a log is opened.
                let next = queue.lock().pop_front();
                let Some(Found { path, info, config }) = next else { return };
                let name = info.partition.clone();
                let log = dir.recover(path, info, threads);
                opened.lock().insert(name, Opened { place, config, log });
            }
        };
        let work = &work;
        std::thread::scope(|scope| {
            for (place, queue) in queues.iter().enumerate() {
                let most = queue.lock().len().saturating_sub(1);
                for _ in (0..threads).take(most) {
                    let name = format!("recovery-{place}");
                    let helper = std::thread::Builder::new().name(name);
                    // Without helpers this thread does it alone.
                    let _ = helper.spawn_scoped(scope, move || work(place, queue));
                }
            }
            queues.iter().enumerate().for_each(|(place, queue)| work(place, queue));
        });
        opened.into_inner()
    }

    fn find_left(
        &self,
        shared: &Shared,
        delta: &ImageDelta,
        image: &ClusterImage,
        configs: &mut PartitionConfigs,
    ) -> Vec<Mutex<VecDeque<Found>>> {
        let node = shared.node_id();
        let mut queues: Vec<VecDeque<Found>> = self.dirs.iter().map(|_| VecDeque::new()).collect();
        for changed in &delta.partitions {
            let new = changed.state.new.as_ref();
            if new.is_none_or(|new| !new.replicas.contains(&node)) {
                continue;
            }
            let name = TopicPartition::new(changed.topic.name.clone(), changed.partition);
            // A move that a failing disk ended may leave two: the one that the controller knows has everything.
            let assigned = new.and_then(|new| new.directory(node));
            let known = self.dirs.iter().position(|dir| dir.id.is_some() && dir.id == assigned);
            let others = (0..self.dirs.len()).filter(|place| Some(*place) != known);
            for place in known.into_iter().chain(others) {
                let (Some(dir), Some(queue)) = (self.dirs.get(place), queues.get_mut(place)) else {
                    continue;
                };
                let mut left = dir.left.lock();
                let Some(left) = left.as_mut() else { continue };
                let Some(path) = left.partitions.remove(&name) else { continue };
                let config = configs.of(shared, image, &changed.topic.name);
                let info = left.info(shared, name, changed.topic.id, &config);
                queue.push_back(Found { path, info, config });
                break;
            }
        }
        queues.into_iter().map(Mutex::new).collect()
    }
}

impl Left {
    /// What the checkpoints know of a partition.
    pub(super) fn info(
        &self,
        shared: &Shared,
        partition: TopicPartition,
        topic_id: ottla_types::TopicId,
        config: &PartitionConfig,
    ) -> OpenInfo {
        let offset = |known: Option<&ottla_types::Offset>| known.copied().unwrap_or_default();
        OpenInfo {
            recovery_point: offset(self.recovery_points.get(&partition)),
            log_start: offset(self.log_starts.get(&partition)),
            partition,
            topic_id: Some(topic_id),
            clean: self.clean,
            config: config.log.clone(),
            accept_damage: false,
            now: shared.clock.wall(),
        }
    }
}

impl DataDir {
    /// Opens a partition, with so many threads for its segments.
    pub(super) fn recover(
        &self,
        path: PathBuf,
        info: OpenInfo,
        threads: u32,
    ) -> Result<FsLog, OpenError> {
        let storage = self.online().ok_or_else(no_directory)?.storage().clone();
        let recovered = UnrecoveredLog::open(storage, path, info)
            .and_then(|log| log.recover_with(|checks| check(checks, threads)));
        let (log, report) = recovered.inspect_err(|error| {
            if let OpenError::Disk { source, .. } = error {
                self.handle.report(source);
            }
        })?;
        tell_of_damage(&log, &report);
        Ok(log)
    }
}

/// Checks segments on several threads; nearly always there is one.
fn check(checks: &mut [FsSegmentCheck], threads: u32) {
    let helpers = (1..threads).take(checks.len().saturating_sub(1));
    let queue = Mutex::new(checks.iter_mut());
    let work = || {
        loop {
            let next = queue.lock().next();
            let Some(next) = next else { return };
            SegmentCheck::run(next);
        }
    };
    std::thread::scope(|scope| {
        for _ in helpers {
            // Without helpers this thread does it alone.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}
