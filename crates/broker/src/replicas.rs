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
    Checkpoint, CleanShutdown, DeletedFiles, DirectoryError, FsStorage, LogDirectory, Offsets,
    PartitionDirKind, PartitionLog,
};
use ottla_types::{
    BrokerEpoch, DirectoryId, MonoTime, Offset, PartitionIndex, TopicId, TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::shared::Shared;

mod assignments;
mod directory;
mod failures;
mod follow;
mod moves;
mod open_files;
mod recovery;
mod upkeep;

pub(crate) use assignments::Assignment;
pub(crate) use directory::{Directory, is_full};
pub(crate) use moves::{MoveError, MoveView, Step};
pub(crate) use upkeep::Schedule;

/// A log on the real disk.
pub(crate) type FsLog = PartitionLog<FsStorage>;
type FsSegmentCheck = ottla_log::SegmentCheck<FsStorage>;

/// Directory name of the metadata log, which the quorum's driver owns.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";

/// A locked log directory, and what its clean mark said before it was taken away.
#[derive(Debug)]
pub(crate) struct OpenedDirectory {
    pub(crate) log: LogDirectory<FsStorage>,
    pub(crate) mark: Option<CleanShutdown>,
}

/// A configured log directory: opened, or the reason why it cannot be.
pub(crate) type Found = (String, Result<OpenedDirectory, io::Error>);

/// One log directory.
struct DataDir {
    path: String,
    /// None if it could not be used at the start.
    log: Option<LogDirectory<FsStorage>>,
    id: Option<DirectoryId>,
    handle: Arc<Directory>,
    cordoned: AtomicBool,
    /// What the clean mark said, if there was one.
    previous_epoch: Option<BrokerEpoch>,
    /// Set until the first image: what the last shutdown left.
    left: Mutex<Option<Left>>,
    /// The checkpoints as they are on disk.
    written: Mutex<Vec<(Checkpoint, Offsets)>>,
    /// The last checkpoint could not be written; said once.
    unwritable: AtomicBool,
}

/// What a directory held at the start.
#[derive(Default)]
struct Left {
    clean: bool,
    partitions: BTreeMap<TopicPartition, PathBuf>,
    /// Logs that were being filled from another directory.
    futures: BTreeMap<TopicPartition, PathBuf>,
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_starts: BTreeMap<TopicPartition, Offset>,
    cleaned: BTreeMap<TopicPartition, Offset>,
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

/// All log directories of the broker.
pub(crate) struct Replicas {
    dirs: Vec<DataDir>,
    /// Partitions that could not be opened, with the reason.
    offline: DashMap<(TopicId, PartitionIndex), String>,
    trash: Mutex<Vec<(MonoTime, Trash)>>,
    assignments: assignments::Assignments,
    moves: moves::Moves,
    /// Rung when a directory fails.
    alarm: Arc<Notify>,
    /// Rung when the controller must hear of directories before the next heartbeat is due.
    pub(crate) beat_soon: Notify,
    /// How many failed directories have been dealt with.
    handled: Mutex<Vec<bool>>,
    /// Much metadata was taken in, which leaves much memory free.
    metadata_loaded: AtomicBool,
}

impl Replicas {
    /// From now on the times of syncs are noted here.
    pub(crate) fn measure_syncs(&self, times: &Arc<ottla_metrics::Histogram>) {
        self.dirs.iter().for_each(|dir| dir.handle.measure_syncs(times.clone()));
    }

    /// Takes over opened directories; each gets its flusher.
    ///
    /// # Errors
    /// A checkpoint is malformed, or the system starts no thread.
    pub(crate) fn open(dirs: Vec<Found>, cordoned: &[String]) -> Result<Self, DirectoryError> {
        let alarm = Arc::new(Notify::new());
        let most_open = most_open(dirs.len());
        let mut opened = Vec::new();
        for (place, (path, found)) in dirs.into_iter().enumerate() {
            let is_cordoned = cordoned.contains(&path);
            opened.push(DataDir::new(place, path, found, (alarm.clone(), most_open), is_cordoned)?);
        }
        let handled = Mutex::new(opened.iter().map(|dir| dir.handle.is_failed()).collect());
        Ok(Self {
            dirs: opened,
            offline: DashMap::new(),
            trash: Mutex::default(),
            assignments: assignments::Assignments::default(),
            moves: moves::Moves::default(),
            alarm,
            beat_soon: Notify::new(),
            handled,
            metadata_loaded: AtomicBool::new(false),
        })
    }

    /// Ids of the directories that are in service.
    pub(crate) fn online_directories(&self) -> Vec<DirectoryId> {
        self.dirs.iter().filter(|dir| !dir.is_offline()).filter_map(|dir| dir.id).collect()
    }

    /// Ids of the directories that have failed, as far as they are known.
    pub(crate) fn offline_directories(&self) -> Vec<DirectoryId> {
        self.dirs.iter().filter(|dir| dir.is_offline()).filter_map(|dir| dir.id).collect()
    }

    /// How many directories have failed.
    pub(crate) fn offline_directory_count(&self) -> usize {
        self.dirs.iter().filter(|dir| dir.is_offline()).count()
    }

    /// Paths of all directories, in configured order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.dirs.iter().map(|dir| dir.path.as_str())
    }

    /// Whether the directory at this path has failed.
    pub(crate) fn is_path_offline(&self, path: &str) -> bool {
        self.dirs.iter().any(|dir| dir.path == path && dir.is_offline())
    }

    /// Ids of the directories that get no new partitions.
    pub(crate) fn cordoned_directories(&self) -> Vec<DirectoryId> {
        self.dirs.iter().filter(|dir| dir.is_cordoned()).filter_map(|dir| dir.id).collect()
    }

    /// Takes over `cordoned.log.dirs`.
    pub(crate) fn set_cordoned(&self, cordoned: &[String]) {
        let mut changed = false;
        for dir in &self.dirs {
            let wanted = cordoned.contains(&dir.path);
            changed |= dir.cordoned.swap(wanted, Ordering::AcqRel) != wanted;
        }
        if changed {
            self.beat_soon.notify_one();
        }
    }

    /// Whether a partition is here but cannot be served.
    pub(crate) fn is_offline(&self, topic: TopicId, partition: PartitionIndex) -> bool {
        self.offline.contains_key(&(topic, partition))
    }

    /// Partitions that are here but cannot be served.
    pub(crate) fn offline_count(&self) -> usize {
        self.offline.len()
    }

    /// The directories for tools, in configured order.
    pub(crate) fn views(&self) -> Vec<DirectoryView> {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.dirs
            .iter()
            .map(|dir| {
                let space = dir.online().and_then(|log| ottla_sys::disk_space(log.path()).ok());
                DirectoryView {
                    path: dir.path.clone(),
                    offline: dir.is_offline(),
                    cordoned: dir.is_cordoned() && !dir.is_offline(),
                    total_bytes: space.map_or(-1, |space| bytes(space.total)),
                    usable_bytes: space.map_or(-1, |space| bytes(space.usable)),
                }
            })
            .collect()
    }

    /// Epoch of the last run, if every directory was closed cleanly by it.
    pub(crate) fn previous_epoch(&self) -> Option<BrokerEpoch> {
        let first = self.dirs.first()?.previous_epoch?;
        self.dirs.iter().all(|dir| dir.previous_epoch == Some(first)).then_some(first)
    }

    /// Closes every partition and leaves the clean mark in directories where all went well.
    pub(crate) fn shut_down(&self, shared: &Shared, epoch: Option<BrokerEpoch>) {
        let futures_closed = self.close_moves();
        for dir in &self.dirs {
            dir.handle.close();
        }
        let mut clean: Vec<bool> = self.dirs.iter().map(|dir| !dir.is_offline()).collect();
        for (place, closed) in futures_closed {
            if let Some(clean) = clean.get_mut(place) {
                *clean &= closed;
            }
        }
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
            let Some(log) = dir.online().filter(|_| dir.left.lock().is_none()) else { continue };
            if let Err(error) = log.write_clean_mark(CleanShutdown { broker_epoch: epoch }) {
                tracing::error!(dir = dir.path, %error, "cannot leave the clean mark");
            }
        }
    }
}

impl DataDir {
    fn new(
        place: usize,
        path: String,
        found: Result<OpenedDirectory, io::Error>,
        (alarm, most_open): (Arc<Notify>, usize),
        cordoned: bool,
    ) -> Result<Self, DirectoryError> {
        let thread = |source| DirectoryError::Disk { path: PathBuf::from(&path), source };
        let handle = Directory::start(place, path.clone(), alarm, most_open).map_err(thread)?;
        let read =
            found.map_err(|source| DirectoryError::Disk { path: path.clone().into(), source });
        let read = read.and_then(|opened| {
            let left = read_left(&opened.log, opened.mark.is_some())?;
            Ok((opened, left))
        });
        let (opened, left) = match read {
            Ok((opened, left)) => (Some(opened), Some(left)),
            Err(DirectoryError::Disk { source, .. }) => {
                handle.report(&source);
                (None, None)
            }
            Err(other) => return Err(other),
        };
        let mark = opened.as_ref().and_then(|opened| opened.mark);
        let log = opened.map(|opened| opened.log);
        Ok(Self {
            path,
            id: log.as_ref().and_then(|log| log.meta()?.directory_id),
            log,
            handle: Arc::new(handle),
            cordoned: AtomicBool::new(cordoned),
            previous_epoch: mark.and_then(|mark| mark.broker_epoch),
            left: Mutex::new(left),
            written: Mutex::default(),
            unwritable: AtomicBool::new(false),
        })
    }

    fn is_offline(&self) -> bool {
        self.log.is_none() || self.handle.is_failed()
    }

    /// The directory, unless it has failed.
    fn online(&self) -> Option<&LogDirectory<FsStorage>> {
        self.log.as_ref().filter(|_| !self.handle.is_failed())
    }

    fn is_cordoned(&self) -> bool {
        self.cordoned.load(Ordering::Acquire)
    }
}

/// How many partitions of each of so many directories may keep a file open. The other half of what
/// the system allows is for connections, and for files that are read.
fn most_open(dirs: usize) -> usize {
    let all = ottla_sys::open_files_max().map_or(MOST_OPEN, |limit| limit.min(MOST_OPEN));
    usize::try_from(all / 2).unwrap_or(usize::MAX) / dirs.max(1)
}

/// More open files than this gain nothing: opening one again costs microseconds.
const MOST_OPEN: u64 = 20_000;

/// Where compaction has come. A file that says nothing costs another pass and no record.
fn read_cleaned(log: &LogDirectory<FsStorage>) -> Result<Offsets, DirectoryError> {
    match log.read_checkpoint(Checkpoint::CleanerOffsets) {
        Err(error @ DirectoryError::Malformed { .. }) => {
            tracing::warn!(%error, "compaction starts over");
            Ok(Offsets::new())
        }
        read => read,
    }
}

fn read_left(log: &LogDirectory<FsStorage>, clean: bool) -> Result<Left, DirectoryError> {
    let mut left = Left {
        clean,
        recovery_points: log.read_checkpoint(Checkpoint::RecoveryPoints)?,
        log_starts: log.read_checkpoint(Checkpoint::LogStarts)?,
        cleaned: read_cleaned(log)?,
        ..Left::default()
    };
    for dir in log.partitions()? {
        match dir.kind {
            PartitionDirKind::Live(partition) if &*partition.topic != METADATA_TOPIC => {
                left.partitions.insert(partition, dir.path);
            }
            PartitionDirKind::Future(partition) => {
                left.futures.insert(partition, dir.path);
            }
            PartitionDirKind::Deleted => {
                if let Err(error) = ottla_log::Storage::remove_dir_all(&**log.storage(), &dir.path)
                {
                    tracing::warn!(path = %dir.path.display(), %error, "cannot be removed");
                }
            }
            PartitionDirKind::Live(_) | PartitionDirKind::Stray => {}
        }
    }
    Ok(left)
}
