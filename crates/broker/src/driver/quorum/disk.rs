//! The quorum's files: the metadata log, its snapshots, the write-ahead log and the state files.
//!
//! It keeps the image of what is committed, because every batch passes here on its way to disk.
//! Decides nothing; what is written when is said by `ottla_quorum`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{
    AppendError, FsStorage, LogConfig, LogError, OpenError, OpenInfo, PartitionLog, ReadError,
    Storage, StorageFile, UnrecoveredLog,
};
use ottla_metadata::controller::SnapshotTrigger;
use ottla_metadata::{ApplyError, ClusterImage, Record};
use ottla_quorum::{
    Committed, ControlError, ControlState, Disk, FileWrite, LogEnds, Now, Persist, SnapshotBuilder,
    SnapshotError, SnapshotId,
};
use ottla_record::{Batch, BatchError, Batches, DecompressLimits};
use ottla_types::{
    MonoTime, Offset, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition, WallTime,
};
use parking_lot::Mutex;

use crate::replicas::{FsLog, METADATA_TOPIC};

mod retention;
mod snapshot;

pub(crate) use retention::Retention;

const WAL_FILE: &str = "ottla-quorum.wal";
const STATE_FILE: &str = "ottla-quorum.state";
const QUORUM_STATE_FILE: &str = "quorum-state";
/// Bytes of the log that are replayed at a time.
const REPLAY_BYTES: usize = 4 << 20;

/// The metadata directory cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataDiskError {
    #[error("{}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the metadata log cannot be opened")]
    Open(#[from] OpenError),
    #[error("the metadata log cannot be read")]
    Read(#[from] ReadError),
    #[error("the metadata log cannot be appended to")]
    Append(#[from] AppendError),
    #[error("the metadata log cannot be changed")]
    Log(#[from] LogError),
    #[error("a batch of the metadata log at offset {at} is damaged")]
    Batch {
        at: Offset,
        #[source]
        source: BatchError,
    },
    #[error("a control batch of the metadata log means nothing")]
    Control(#[from] ControlError),
    #[error("snapshot {id} is damaged")]
    Snapshot {
        id: SnapshotId,
        #[source]
        source: SnapshotError,
    },
    #[error("a metadata record at offset {at} cannot be read")]
    Record {
        at: Offset,
        #[source]
        source: ottla_codec::DecodeError,
    },
    #[error("a metadata record does not fit what came before it")]
    Apply(#[from] ApplyError),
    #[error("a snapshot cannot be written")]
    Build(#[from] ottla_record::BuildError),
    #[error("a metadata record cannot be written")]
    Encode(#[from] ottla_codec::EncodeError),
    #[error("the metadata log ends at {end}, the committed batch begins at {base}")]
    Gap { end: Offset, base: Offset },
}

/// Files of the quorum, and the image of what they say.
pub(crate) struct MetadataDisk {
    storage: Arc<FsStorage>,
    /// The metadata log directory, where the write-ahead log is.
    root: PathBuf,
    /// Directory of the partition.
    pub(crate) directory: PathBuf,
    pub(crate) log: Arc<Mutex<FsLog>>,
    /// What is committed.
    pub(crate) image: ClusterImage,
    snapshot: Option<SnapshotId>,
    oldest_snapshot: Option<SnapshotId>,
    trigger: SnapshotTrigger,
    retention: Retention,
    wal: Option<(<FsStorage as Storage>::File, u64)>,
    last_timestamp: Timestamp,
}

impl MetadataDisk {
    /// Reads everything; the second value is what the quorum wants to know.
    ///
    /// # Errors
    /// A file is damaged, or the disk failed.
    pub(crate) fn open(
        storage: Arc<FsStorage>,
        root: &Path,
        clean: bool,
        config: LogConfig,
        now: Now,
        trigger: SnapshotTrigger,
        retention: Retention,
    ) -> Result<(Self, Disk), MetadataDiskError> {
        let directory = root.join(format!("{METADATA_TOPIC}-0"));
        let mut disk = Disk {
            state: small(&storage, &root.join(STATE_FILE))?,
            wal: small(&storage, &root.join(WAL_FILE))?,
            quorum_state: small(&storage, &directory.join(QUORUM_STATE_FILE))?,
            ..Default::default()
        };
        snapshot::delete_unfinished(&storage, &directory)?;
        let all = snapshot::list(&storage, &directory)?;
        let newest = all.last().map(|(id, _)| *id);
        let mut image = ClusterImage::new();
        let mut last_timestamp = Timestamp::NONE;
        if let Some(id) = newest {
            let loaded = snapshot::load(&storage, &directory, id)?;
            disk.control = loaded.control;
            last_timestamp = loaded.last_timestamp;
            image = loaded.image;
        }
        let start = newest.map_or(Offset::ZERO, |id| id.end);
        let mut log = open_log(&storage, root, &directory, clean, start, config, now.wall)?;
        if log.end_offset() < start {
            // A snapshot that was fetched, and the crash came before the log began there.
            log.truncate_fully(start, now.wall)?;
        }
        replay(&mut log, &mut image, &mut disk.control, &mut last_timestamp)?;
        disk.log = LogEnds { end: log.end_offset(), last_epoch: log.latest_epoch() };
        disk.snapshot = newest;
        let wal = match disk.wal {
            None => None,
            Some(_) => Some(open_wal(&storage, &root.join(WAL_FILE))?),
        };
        let files = Self {
            storage,
            root: root.to_owned(),
            directory,
            log: Arc::new(Mutex::new(log)),
            image,
            snapshot: newest,
            oldest_snapshot: all.first().map(|(id, _)| *id),
            trigger,
            retention,
            wal,
            last_timestamp,
        };
        Ok((files, disk))
    }

    /// When the last record that is applied was written.
    pub(super) fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// The newest complete snapshot.
    pub(crate) fn newest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshot
    }

    /// The oldest complete snapshot that is kept.
    pub(crate) fn oldest_snapshot(&self) -> Option<SnapshotId> {
        self.oldest_snapshot
    }

    /// Writes and syncs what must be on disk.
    pub(super) fn persist(&mut self, persist: &Persist) -> Result<(), MetadataDiskError> {
        for write in &persist.writes {
            match write {
                FileWrite::State(bytes) => self.replace(&self.root.join(STATE_FILE), bytes)?,
                FileWrite::QuorumState(bytes) => {
                    self.replace(&self.directory.join(QUORUM_STATE_FILE), bytes)?;
                }
                FileWrite::NewWal(bytes) => {
                    let path = self.root.join(WAL_FILE);
                    self.wal = None;
                    self.replace(&path, bytes)?;
                    self.wal = Some(open_wal(&self.storage, &path)?);
                }
                FileWrite::Wal(bytes) => self.append_wal(bytes)?,
            }
        }
        Ok(())
    }

    fn replace(&self, path: &Path, bytes: &Bytes) -> Result<(), MetadataDiskError> {
        self.storage.replace_small(path, bytes).map_err(|source| io_error(path, source))
    }

    fn append_wal(&mut self, bytes: &Bytes) -> Result<(), MetadataDiskError> {
        let path = self.root.join(WAL_FILE);
        if self.wal.is_none() {
            self.wal = Some(open_wal(&self.storage, &path)?);
        }
        let Some((file, end)) = &mut self.wal else { return Ok(()) };
        file.write_at(&[bytes], *end)
            .and_then(|()| file.sync())
            .map_err(|source| io_error(&path, source))?;
        *end += u64::try_from(bytes.len()).unwrap_or_default();
        Ok(())
    }

    /// Appends a committed batch and applies it to the image.
    pub(super) fn append(
        &mut self,
        committed: &Committed,
        now: WallTime,
    ) -> Result<(), MetadataDiskError> {
        let mut log = self.log.lock();
        let end = log.end_offset();
        if end != committed.base {
            return Err(MetadataDiskError::Gap { end, base: committed.base });
        }
        log.append_given(committed.batch.clone(), now)?;
        drop(log);
        let batch = parse(committed.batch.clone(), committed.base)?;
        apply_batch(&mut self.image, &batch)?;
        self.last_timestamp = batch.header().max_timestamp;
        let bytes = u64::try_from(committed.batch.len()).unwrap_or_default();
        self.trigger.applied(bytes);
        Ok(())
    }

    /// Syncs the metadata log.
    pub(super) fn sync_log(&mut self) -> Result<(), MetadataDiskError> {
        self.log.lock().flush()?;
        Ok(())
    }

    /// Whether it is time for a snapshot.
    pub(super) fn snapshot_due(&self, now: MonoTime) -> bool {
        self.trigger.is_due(now) && !self.image.in_transaction()
    }

    /// Writes a snapshot of what is committed; none if there is nothing new or a metadata
    /// transaction is open.
    pub(super) fn write_snapshot(
        &mut self,
        now: Now,
        control: &ControlState,
    ) -> Result<Option<SnapshotId>, MetadataDiskError> {
        let id = SnapshotId { end: self.image.end(), epoch: self.image.epoch() };
        if self.image.in_transaction() || self.snapshot.is_some_and(|newest| id <= newest) {
            return Ok(None);
        }
        let builder = SnapshotBuilder::new(id, now.wall, self.last_timestamp, control);
        // After a crash a snapshot must not know more than the log.
        self.sync_log()?;
        snapshot::write(&self.storage, &self.directory, id, builder, &self.image)?;
        self.snapshot = Some(id);
        self.oldest_snapshot.get_or_insert(id);
        self.trigger.written(now.mono);
        Ok(Some(id))
    }

    /// Starts the metadata log anew behind a snapshot.
    pub(super) fn install(&mut self, id: SnapshotId) -> Result<(), MetadataDiskError> {
        let loaded = snapshot::load(&self.storage, &self.directory, id)?;
        self.log.lock().truncate_fully(id.end, WallTime::default())?;
        self.image = loaded.image;
        self.snapshot = Some(id);
        self.oldest_snapshot.get_or_insert(id);
        self.last_timestamp = loaded.last_timestamp;
        Ok(())
    }

    /// Syncs everything before a clean shutdown.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.log.lock().close() {
            tracing::error!(%error, "the metadata log cannot be closed");
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> MetadataDiskError {
    MetadataDiskError::Io { path: path.to_owned(), source }
}

fn small(storage: &FsStorage, path: &Path) -> Result<Option<Bytes>, MetadataDiskError> {
    let content = storage.read_small(path).map_err(|source| io_error(path, source))?;
    Ok(content.map(Bytes::from))
}

fn open_wal(
    storage: &FsStorage,
    path: &Path,
) -> Result<(<FsStorage as Storage>::File, u64), MetadataDiskError> {
    let file = storage.open(path).map_err(|source| io_error(path, source))?;
    let len = StorageFile::len(&file).map_err(|source| io_error(path, source))?;
    Ok((file, len))
}

fn open_log(
    storage: &Arc<FsStorage>,
    root: &Path,
    directory: &Path,
    clean: bool,
    start: Offset,
    config: LogConfig,
    now: WallTime,
) -> Result<FsLog, MetadataDiskError> {
    let topic = TopicName::parse(METADATA_TOPIC).unwrap_or_else(|_| unreachable!("a valid name"));
    let partition = TopicPartition::new(topic, PartitionIndex::ZERO);
    let config = Arc::new(config);
    let has_segment = match storage.list(directory) {
        Ok(entries) => entries.iter().any(|entry| entry.name.ends_with(".log")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(source) => return Err(io_error(directory, source)),
    };
    if !has_segment {
        let id = Some(TopicId::METADATA);
        let storage = storage.clone();
        return Ok(PartitionLog::create(storage, root, partition, id, start, config, now)?);
    }
    let info = OpenInfo {
        partition,
        topic_id: Some(TopicId::METADATA),
        clean,
        recovery_point: Offset::ZERO,
        log_start: Offset::ZERO,
        config,
        accept_damage: false,
        now,
    };
    let (log, report) =
        UnrecoveredLog::open(storage.clone(), directory.to_owned(), info)?.recover()?;
    if report.truncated_bytes > 0 {
        let bytes = report.truncated_bytes;
        tracing::warn!(bytes, "a torn tail of the metadata log was cut off");
    }
    Ok(log)
}

/// Applies what the log holds behind the image.
fn replay(
    log: &mut FsLog,
    image: &mut ClusterImage,
    control: &mut ControlState,
    last_timestamp: &mut Timestamp,
) -> Result<(), MetadataDiskError> {
    let end = log.end_offset();
    let mut from = image.end().max(log.log_start_offset());
    while from < end {
        let bytes = log.read_bytes(from, REPLAY_BYTES, end)?;
        for batch in Batches::new(bytes) {
            let batch = batch.map_err(|source| MetadataDiskError::Batch { at: from, source })?;
            from = batch.header().next_offset();
            control.observe(&batch)?;
            if batch.header().base_offset >= image.end() {
                apply_batch(image, &batch)?;
            }
            *last_timestamp = batch.header().max_timestamp;
        }
    }
    Ok(())
}

fn parse(bytes: Bytes, at: Offset) -> Result<Batch, MetadataDiskError> {
    Batch::parse(bytes).map_err(|source| MetadataDiskError::Batch { at, source })
}

fn apply_batch(image: &mut ClusterImage, batch: &Batch) -> Result<(), MetadataDiskError> {
    let header = batch.header();
    let epoch = header.leader_epoch.unwrap_or_default();
    if header.attributes.is_control() {
        image.advance(header.next_offset(), epoch);
        return Ok(());
    }
    let records = batch_records(batch)?;
    Ok(image.apply_batch(header.base_offset, epoch, &records)?)
}

fn batch_records(batch: &Batch) -> Result<Vec<Record>, MetadataDiskError> {
    let at = batch.header().base_offset;
    let records = batch
        .records(&DecompressLimits::default())
        .map_err(|source| MetadataDiskError::Batch { at, source })?;
    records
        .map(|record| {
            let record = record.map_err(|source| MetadataDiskError::Batch { at, source })?;
            Record::decode(record.value.unwrap_or_default())
                .map_err(|source| MetadataDiskError::Record { at: record.offset, source })
        })
        .collect()
}

/// A part of a snapshot's file, and the size of the whole; `None` if nothing is there.
pub(crate) fn read_snapshot_part(
    directory: &Path,
    id: SnapshotId,
    position: u64,
    most: usize,
) -> io::Result<Option<(u64, Bytes)>> {
    let file = match FsStorage::default().open(&directory.join(id.file_name())) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = StorageFile::len(&file)?;
    let left = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX);
    let part = snapshot::read_exact(&file, position, left.min(most))?;
    Ok(Some((size, Bytes::from(part))))
}
