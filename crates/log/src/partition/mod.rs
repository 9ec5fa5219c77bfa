//! The log of one partition.
//!
//! One value behind the caller's lock: it appends, reads, rolls, truncates and forgets, and tells
//! what to sync. It keeps no thread, no timer and, while nobody uses it, no open file. The high
//! watermark belongs to replication and is passed in where it matters.

mod append;
mod compact;
mod flush;
mod read;
mod relocate;
mod retention;
mod scrub;
mod time;
mod truncate;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use ottla_types::{LeaderEpoch, Offset, TopicId, TopicPartition, Uuid, WallTime};

use crate::checkpoint::render_topic_id;
use crate::compact::Running;
use crate::config::LogConfig;
use crate::epochs::{EpochEnd, LeaderEpochs};
use crate::error::{LogError, OpenError};
use crate::format::{DELETE_DIR_SUFFIX, EPOCHS_FILE, PARTITION_METADATA_FILE};
use crate::producer::{ProducerView, Producers};
use crate::segment::{Home, Segment};
use crate::storage::{Storage, StorageFile as _};

pub use append::AppendInfo;
pub(crate) use append::read_marker;
pub use flush::FlushJob;
pub(crate) use flush::sync_if_there;
use read::Cursors;
pub use read::FetchSlice;
pub use relocate::{CopyJob, RelocateError, Relocation, future_dir_name};
pub use retention::{DeletedFiles, Expired, ExpiryReason};
pub use scrub::ScrubJob;
pub use time::TimestampedOffset;

/// The log of one partition, recovered and ready.
///
/// Invariant: `log_start <= end`, `flushed <= end`, the segments' base offsets ascend, and the
/// last of them is the one that grows.
#[derive(Debug)]
pub struct PartitionLog<S: Storage> {
    home: Home<S>,
    partition: TopicPartition,
    topic_id: Option<TopicId>,
    config: Arc<LogConfig>,
    segments: Vec<Segment<S::File>>,
    log_start: Offset,
    end: Offset,
    flushed: Offset,
    epochs: LeaderEpochs,
    producers: Producers,
    /// Offsets of the snapshot files, ascending.
    snapshots: Vec<Offset>,
    /// Names were created or removed since the directory was synced.
    names_unsynced: bool,
    /// The directory's own name, and the topic id in it, were never synced.
    new: bool,
    /// End of the log when a stop or a clean start found its files complete.
    closed_at: Option<Offset>,
    /// The end is what a clean stop said, and no batch has been looked at.
    end_unproven: bool,
    /// Counts truncations, so that a flush that began before one knows nothing.
    truncations: u64,
    cursors: Cursors,
    /// The pass of compaction that is under way.
    compaction: Weak<Running>,
    failed: bool,
}

/// What recovery found, ready to become a [`PartitionLog`].
#[derive(Debug)]
pub(crate) struct Parts<S: Storage> {
    pub(crate) home: Home<S>,
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: Option<TopicId>,
    pub(crate) config: Arc<LogConfig>,
    pub(crate) segments: Vec<Segment<S::File>>,
    pub(crate) log_start: Offset,
    pub(crate) end: Offset,
    pub(crate) flushed: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: Producers,
    pub(crate) snapshots: Vec<Offset>,
    pub(crate) names_unsynced: bool,
    pub(crate) new: bool,
    pub(crate) closed_at: Option<Offset>,
    pub(crate) end_unproven: bool,
}

impl<S: Storage> PartitionLog<S> {
    pub(crate) fn assemble(parts: Parts<S>) -> Self {
        let log = Self {
            home: parts.home,
            partition: parts.partition,
            topic_id: parts.topic_id,
            config: parts.config,
            segments: parts.segments,
            log_start: parts.log_start,
            end: parts.end,
            flushed: parts.flushed,
            epochs: parts.epochs,
            producers: parts.producers,
            snapshots: parts.snapshots,
            names_unsynced: parts.names_unsynced,
            new: parts.new,
            closed_at: parts.closed_at,
            end_unproven: parts.end_unproven,
            truncations: 0,
            cursors: Cursors::default(),
            compaction: Weak::new(),
            failed: false,
        };
        log.check();
        log
    }

    /// Creates an empty log, whose first record will have the offset `start`, in a new directory
    /// below `parent`. Nothing is synced: the first flush makes the directory and all that is in
    /// it durable, and until then nothing in it has been reported as durable.
    ///
    /// # Errors
    /// The disk failed.
    pub fn create(
        storage: Arc<S>,
        parent: &Path,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        start: Offset,
        config: Arc<LogConfig>,
        now: WallTime,
    ) -> Result<Self, OpenError> {
        let dir = parent.join(partition.to_string());
        Self::create_in(storage, dir, partition, topic_id, start, config, now)
    }

    fn create_in(
        storage: Arc<S>,
        dir: PathBuf,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        start: Offset,
        config: Arc<LogConfig>,
        now: WallTime,
    ) -> Result<Self, OpenError> {
        let home = Home { storage, dir };
        let first = || -> io::Result<_> {
            home.storage.create_dir(&home.dir)?;
            if let Some(id) = topic_id {
                let file = home.storage.create(&home.dir.join(PARTITION_METADATA_FILE))?;
                file.write_at(&[render_topic_id(id).as_bytes()], 0)?;
            }
            Segment::create(&home, start, now)
        };
        let segment =
            first().map_err(|source| OpenError::Disk { path: home.dir.clone(), source })?;
        Ok(Self::assemble(Parts {
            home,
            partition,
            topic_id,
            config,
            segments: vec![segment],
            log_start: start,
            end: start,
            flushed: start,
            epochs: LeaderEpochs::default(),
            producers: Producers::default(),
            snapshots: Vec::new(),
            names_unsynced: true,
            new: true,
            closed_at: None,
            end_unproven: false,
        }))
    }

    /// The partition.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Id of its topic, if the directory names one.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// Writes the topic id into a directory that has none.
    ///
    /// # Errors
    /// The disk failed.
    pub fn set_topic_id(&mut self, id: TopicId) -> io::Result<()> {
        let path = self.home.dir.join(PARTITION_METADATA_FILE);
        self.home.storage.replace_small(&path, render_topic_id(id).as_bytes())?;
        self.topic_id = Some(id);
        Ok(())
    }

    /// Directory of the partition.
    pub fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// Settings in force.
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Puts other settings in force.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// First offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// Offset that the next record will get.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything before this offset is on disk: it survives a power cut.
    pub fn flushed_to(&self) -> Offset {
        self.flushed
    }

    /// First offset of the oldest transaction that is open, or was until a marker at or behind the
    /// high watermark. Consumers that read committed records only must not read from here on.
    pub fn first_unstable_offset(&mut self, high_watermark: Offset) -> Option<Offset> {
        self.producers.first_unstable(high_watermark)
    }

    /// Bytes in all segments.
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.size()).unwrap_or(usize::MAX)
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Base offset of the segment that grows.
    pub fn active_segment_base(&self) -> Offset {
        self.segments.last().map_or(self.log_start, Segment::base)
    }

    /// Whether an earlier failure made the log refuse every change.
    pub fn is_failed(&self) -> bool {
        self.failed
    }

    /// Epoch of the leader that wrote the newest records.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// Epoch of the leader that wrote the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_at(offset)
    }

    /// Where the largest epoch up to `epoch` ends; `None` if the log knows nothing about it
    /// (Kafka's OffsetForLeaderEpoch).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_of(epoch, self.end)
    }

    /// Notes that a leader begins its epoch at the end of the log, before it appends anything.
    pub fn start_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.assign(epoch, self.end);
    }

    /// What is remembered of producers.
    pub fn describe_producers(&self) -> Vec<ProducerView> {
        self.producers.views()
    }

    /// Number of producers remembered.
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`; returns how many.
    pub fn expire_producers(&mut self, now: WallTime) -> usize {
        self.producers.expire(now, self.config.producer_expiration)
    }

    /// Refuses every change from here on, and says so to whoever reads: its disk is gone.
    pub fn fail(&mut self) {
        self.abort_compaction();
        self.failed = true;
    }

    /// Renames the directory so that it counts as deleted, whatever happens next; the caller
    /// removes it, with [`Storage::remove_dir_all`], after `file.delete.delay.ms`. Returns the
    /// new path. `unique` keeps it apart from other deletions of the same name.
    ///
    /// # Errors
    /// The disk failed.
    pub fn delete(mut self, unique: Uuid) -> io::Result<PathBuf> {
        self.abort_compaction();
        let name = deleted_dir_name(&self.partition, unique);
        let target = self.home.dir.with_file_name(name);
        let parent = self.home.dir.parent().unwrap_or_else(|| Path::new(".")).to_path_buf();
        self.home.storage.rename(&self.home.dir, &target)?;
        self.home.storage.sync_dir(&parent)?;
        Ok(target)
    }

    fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    fn active(&mut self) -> &mut Segment<S::File> {
        self.segments.last_mut().expect("a log has a segment")
    }

    fn refuse_if_failed(&self) -> Result<(), LogError> {
        if self.failed { Err(LogError::Failed) } else { Ok(()) }
    }

    fn check(&self) {
        assert!(!self.segments.is_empty(), "a log has a segment");
        assert!(self.log_start <= self.end, "the log starts after its end");
        assert!(self.flushed <= self.end, "more is synced than there is");
        assert!(self.active_segment_base() <= self.end, "the last segment starts after the end");
    }

    fn epochs_path(&self) -> PathBuf {
        self.home.dir.join(EPOCHS_FILE)
    }
}

/// Name of a deleted partition's directory.
fn deleted_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    capped_dir_name(partition, unique, DELETE_DIR_SUFFIX)
}

/// Name of a directory that is put aside, cut to what a file system takes, as Kafka does it.
pub(crate) fn capped_dir_name(partition: &TopicPartition, unique: Uuid, ending: &str) -> String {
    const NAME_MAX: usize = 255;
    let suffix = format!("-{}.{}{ending}", partition.partition, hex(unique));
    let topic: &str = &partition.topic;
    let len = topic.len().min(NAME_MAX - suffix.len());
    format!("{}{suffix}", topic.get(..len).unwrap_or(topic))
}

fn hex(unique: Uuid) -> String {
    unique.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
