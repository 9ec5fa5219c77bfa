//! A partition whose node is stopped: locked, recovered, and left as a clean stop leaves it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use ottla_log::{
    Checkpoint, DirectoryError, FsStorage, LogConfig, LogDirectory, Offsets, OpenError, OpenInfo,
    PartitionLog, RecoveryReport, UnrecoveredLog,
};
use ottla_types::{Offset, TopicPartition, WallTime};

use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

pub(super) struct Offline {
    pub(super) partition: TopicPartition,
    pub(super) dir: PathBuf,
    directory: LogDirectory<FsStorage>,
    points: Offsets,
}

impl Offline {
    /// Locks the log directory of a partition's directory.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        let cannot = |error| Failure::new(Exit::NotFound, format!("{}: {error}", dir.display()));
        let dir = dir.canonicalize().map_err(cannot)?;
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let Some(partition) = TopicPartition::parse(&name) else {
            let message = format!("{} is not the directory of a partition", dir.display());
            return Err(Failure::usage(message).with_hint(
                "Name one as `data/orders-0`; `ottla log verify` takes whole log directories too.",
            ));
        };
        let parent = dir.parent().unwrap_or(&dir);
        let directory = LogDirectory::open(Arc::new(FsStorage::default()), parent)?;
        let points = directory.read_checkpoint(Checkpoint::RecoveryPoints)?;
        Ok(Self { partition, dir, directory, points })
    }

    /// Up to where records are known to be on disk.
    pub(super) fn recovery_point(&self) -> Offset {
        self.points.get(&self.partition).copied().unwrap_or_default()
    }

    /// Checks what lies behind an offset, and mends it.
    pub(super) fn recover(
        &self,
        recovery_point: Offset,
        accept_damage: bool,
        config: LogConfig,
    ) -> Result<(PartitionLog<FsStorage>, RecoveryReport), Failure> {
        let starts = self.directory.read_checkpoint(Checkpoint::LogStarts)?;
        let info = OpenInfo {
            partition: self.partition.clone(),
            topic_id: None,
            clean: false,
            recovery_point,
            log_start: starts.get(&self.partition).copied().unwrap_or_default(),
            // Whether it is compacted nobody says here; then offsets may be missing.
            config: Arc::new(LogConfig { compact: true, ..config }),
            accept_damage,
            now: now(),
        };
        let storage = Arc::clone(self.directory.storage());
        Ok(UnrecoveredLog::open(storage, self.dir.clone(), info)?.recover()?)
    }

    /// What one of the directory's checkpoints says of the partition.
    pub(super) fn checkpoint(&self, which: Checkpoint) -> Result<Option<Offset>, Failure> {
        Ok(self.directory.read_checkpoint(which)?.get(&self.partition).copied())
    }

    /// Takes note of an offset of the partition in one of the directory's checkpoints.
    pub(super) fn note(&self, which: Checkpoint, offset: Offset) -> Result<(), Failure> {
        let mut offsets = self.directory.read_checkpoint(which)?;
        offsets.insert(self.partition.clone(), offset);
        Ok(self.directory.write_checkpoint(which, &offsets)?)
    }

    /// Syncs everything; the next start, clean or not, finds what is here now.
    pub(super) fn close(&self, log: &mut PartitionLog<FsStorage>) -> Result<Offset, Failure> {
        let cannot = |error| {
            Failure::new(Exit::Failed, format!("{} was not closed: {error}", self.dir.display()))
        };
        let end = log.end_offset();
        // Never ahead of the log, whatever happens in between.
        if end < self.recovery_point() {
            self.note(Checkpoint::RecoveryPoints, end)?;
        }
        log.close().map_err(cannot)?;
        self.note(Checkpoint::RecoveryPoints, end)?;
        Ok(end)
    }
}

pub(super) fn now() -> WallTime {
    WallTime::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Bytes of `total`, on a terminal that shows progress.
pub(super) fn progress(terminal: Terminal, total: u64) -> ProgressBar {
    if !terminal.shows_progress() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Locked(path) => {
                Self::new(Exit::Conflict, format!("a node uses {}", path.display()))
                    .with_hint("Stop it first. `ottla log verify` and `dump` work beside it.")
            }
            error => Self::new(Exit::Failed, chain(&error)),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt { .. } => Self::new(Exit::Unhealthy, chain(&error)).with_hint(
                "Nothing was changed. Restore the partition from another replica or a backup; \
                 `ottla log repair --accept-damage` cuts off the damaged records and all behind \
                 them, and keeps their bytes in .quarantine files.",
            ),
            error => Self::new(Exit::Failed, chain(&error)),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}
