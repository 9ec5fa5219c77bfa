//! One log directory (an entry of `log.dirs`): its lock, its identity, its checkpoints, and the
//! partitions in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::{TopicPartition, Uuid};

use crate::checkpoint::{CleanShutdown, MetaProperties, Offsets, parse_offsets, render_offsets};
use crate::format::{
    CLEAN_SHUTDOWN_FILE, CLEANER_OFFSETS_FILE, DELETE_DIR_SUFFIX, FUTURE_DIR_SUFFIX,
    HIGH_WATERMARKS_FILE, LOCK_FILE, LOG_STARTS_FILE, META_PROPERTIES_FILE, RECOVERY_POINTS_FILE,
    STRAY_DIR_SUFFIX,
};
use crate::partition::capped_dir_name;
use crate::storage::Storage;

/// A log directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process uses it.
    #[error("{} is locked by another process", .0.display())]
    Locked(PathBuf),
    /// A file in it is not readable as what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("{} cannot be used", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// One of the per-directory checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Up to where each partition is known to be on disk.
    RecoveryPoints,
    /// First offset of each partition that consumers may read.
    LogStarts,
    /// High watermarks: a hint, never a reason to truncate.
    HighWatermarks,
    /// Up to where compaction has come; kept for Kafka.
    CleanerOffsets,
}

impl Checkpoint {
    fn file(self) -> &'static str {
        match self {
            Self::RecoveryPoints => RECOVERY_POINTS_FILE,
            Self::LogStarts => LOG_STARTS_FILE,
            Self::HighWatermarks => HIGH_WATERMARKS_FILE,
            Self::CleanerOffsets => CLEANER_OFFSETS_FILE,
        }
    }
}

/// A partition's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: PartitionDirKind,
}

/// What a directory below a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionDirKind {
    /// A partition.
    Live(TopicPartition),
    /// A deleted partition that waits for its removal.
    Deleted,
    /// A partition that is being filled from another directory.
    Future(TopicPartition),
    /// A partition that no metadata knew; kept for an operator.
    Stray,
}

/// A locked log directory.
#[derive(Debug)]
pub struct LogDirectory<S: Storage> {
    storage: Arc<S>,
    path: PathBuf,
    meta: Option<MetaProperties>,
    _lock: S::Lock,
}

impl<S: Storage> LogDirectory<S> {
    /// Creates the directory if need be, locks it and reads whose it is.
    ///
    /// # Errors
    /// Another process holds the lock, `meta.properties` is malformed, or the disk failed.
    pub fn open(storage: Arc<S>, path: &Path) -> Result<Self, DirectoryError> {
        create_durably(&*storage, path).map_err(|e| disk(path, e))?;
        let lock = storage.lock(&path.join(LOCK_FILE)).map_err(|e| disk(path, e))?;
        let lock = lock.ok_or_else(|| DirectoryError::Locked(path.to_path_buf()))?;
        let mut directory = Self { storage, path: path.to_path_buf(), meta: None, _lock: lock };
        let text = directory.read_text(META_PROPERTIES_FILE)?;
        directory.meta = match text {
            None => None,
            Some(text) => Some(
                MetaProperties::parse(&text)
                    .map_err(|reason| directory.malformed(META_PROPERTIES_FILE, reason))?,
            ),
        };
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The storage it is on.
    pub fn storage(&self) -> &Arc<S> {
        &self.storage
    }

    /// Whose it is; `None` if it was never formatted.
    pub fn meta(&self) -> Option<&MetaProperties> {
        self.meta.as_ref()
    }

    /// Writes `meta.properties`.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_meta(&mut self, meta: MetaProperties) -> Result<(), DirectoryError> {
        self.replace(META_PROPERTIES_FILE, &meta.render())?;
        self.meta = Some(meta);
        Ok(())
    }

    /// Whether there is nothing in it but the lock.
    ///
    /// # Errors
    /// The disk failed.
    pub fn is_empty(&self) -> Result<bool, DirectoryError> {
        let entries = self.storage.list(&self.path).map_err(|e| disk(&self.path, e))?;
        Ok(entries.iter().all(|entry| entry.name == LOCK_FILE || entry.name == "lost+found"))
    }

    /// Takes the mark of a clean shutdown away and returns it: from here on the directory counts
    /// as unclean, whatever happens.
    ///
    /// # Errors
    /// The disk failed.
    pub fn take_clean_mark(&self) -> Result<Option<CleanShutdown>, DirectoryError> {
        let Some(text) = self.read_text(CLEAN_SHUTDOWN_FILE)? else { return Ok(None) };
        let path = self.path.join(CLEAN_SHUTDOWN_FILE);
        self.storage
            .remove_file(&path)
            .and_then(|()| self.storage.sync_dir(&self.path))
            .map_err(|e| disk(&path, e))?;
        Ok(Some(CleanShutdown::parse(&text)))
    }

    /// Marks a clean shutdown. Every log in the directory must have been closed, without any
    /// error, and the checkpoints written (KAFKA-13773).
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_clean_mark(&self, mark: CleanShutdown) -> Result<(), DirectoryError> {
        self.replace(CLEAN_SHUTDOWN_FILE, &mark.render())
    }

    /// Reads a checkpoint; empty if there is none.
    ///
    /// # Errors
    /// It is malformed, or the disk failed.
    pub fn read_checkpoint(&self, which: Checkpoint) -> Result<Offsets, DirectoryError> {
        match self.read_text(which.file())? {
            None => Ok(Offsets::new()),
            Some(text) => {
                parse_offsets(&text).map_err(|reason| self.malformed(which.file(), reason))
            }
        }
    }

    /// Replaces a checkpoint.
    ///
    /// # Errors
    /// The disk failed.
    pub fn write_checkpoint(
        &self,
        which: Checkpoint,
        offsets: &Offsets,
    ) -> Result<(), DirectoryError> {
        self.replace(which.file(), &render_offsets(offsets))
    }

    /// The directories of partitions, in order of their names. Others are not listed.
    ///
    /// # Errors
    /// The disk failed.
    pub fn partitions(&self) -> Result<Vec<PartitionDir>, DirectoryError> {
        let mut entries = self.storage.list(&self.path).map_err(|e| disk(&self.path, e))?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let dirs = entries.into_iter().filter(|entry| entry.is_dir);
        Ok(dirs
            .filter_map(|entry| {
                Some(PartitionDir { kind: kind_of(&entry.name)?, path: entry.path })
            })
            .collect())
    }

    /// Where a partition's directory is, or would be.
    pub fn partition_path(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    /// Renames a partition's directory `from` to say that no metadata knows it: absence is not an
    /// order to delete. Returns the new path, with `unique` in it as Kafka has it.
    ///
    /// # Errors
    /// The disk failed.
    pub fn set_stray(
        &self,
        partition: &TopicPartition,
        from: &Path,
        unique: Uuid,
    ) -> Result<PathBuf, DirectoryError> {
        let to = self.path.join(capped_dir_name(partition, unique, STRAY_DIR_SUFFIX));
        self.storage
            .rename(from, &to)
            .and_then(|()| self.storage.sync_dir(&self.path))
            .map_err(|e| disk(from, e))?;
        Ok(to)
    }

    fn read_text(&self, name: &str) -> Result<Option<String>, DirectoryError> {
        let path = self.path.join(name);
        let content = self.storage.read_small(&path).map_err(|e| disk(&path, e))?;
        content
            .map(String::from_utf8)
            .transpose()
            .map_err(|_| self.malformed(name, "not UTF-8".to_owned()))
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), DirectoryError> {
        let path = self.path.join(name);
        self.storage.replace_small(&path, text.as_bytes()).map_err(|e| disk(&path, e))
    }

    fn malformed(&self, name: &str, reason: String) -> DirectoryError {
        DirectoryError::Malformed { path: self.path.join(name), reason }
    }
}

fn kind_of(name: &str) -> Option<PartitionDirKind> {
    if name.ends_with(DELETE_DIR_SUFFIX) {
        return Some(PartitionDirKind::Deleted);
    }
    if name.ends_with(STRAY_DIR_SUFFIX) {
        return Some(PartitionDirKind::Stray);
    }
    if let Some(rest) = name.strip_suffix(FUTURE_DIR_SUFFIX) {
        // "topic-0.unique"
        let partition = rest.rsplit_once('.').map_or(rest, |(partition, _)| partition);
        return TopicPartition::parse(partition).map(PartitionDirKind::Future);
    }
    TopicPartition::parse(name).map(PartitionDirKind::Live)
}

/// Creates a directory if there is none, with its name: whatever is made durable in it must not be
/// lost with that.
fn create_durably<S: Storage>(storage: &S, path: &Path) -> io::Result<()> {
    match storage.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(drop),
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => {
            create_durably(storage, parent)?;
            storage.create_dir(path)?;
            storage.sync_dir(parent)
        }
        None => {
            storage.create_dir(path)?;
            storage.sync_dir(Path::new("."))
        }
    }
}

fn disk(path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Disk { path: path.to_path_buf(), source }
}
