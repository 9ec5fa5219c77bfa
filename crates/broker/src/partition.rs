//! One partition on this broker: its log, who leads it, how far it is committed, who waits.
//!
//! Everything changes under one short lock, never held across a sync or an await. While this
//! broker is the only in-sync replica the high watermark is what this broker has made durable:
//! with `ottla.durability=fsync` what was synced, with `os` what was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_codec::Few;
use ottla_log::{AppendError, AppendInfo, AppendOrigin, LogConfig, PreparedAppend};
use ottla_record::Compression;
use ottla_types::{
    ErrorCode, LeaderEpoch, MonoTime, Offset, Timestamp, TopicId, TopicName, TopicPartition,
    WallTime,
};
use parking_lot::{Mutex, MutexGuard};

use crate::error_code;
use crate::purgatory::{Wait, Waiting};
use crate::refusal::Refusal;
use crate::replicas::{Directory, FsLog};

mod compaction;
mod moves;
mod offsets;
mod read;
mod upkeep;

pub(crate) use compaction::Claimed;
pub(crate) use offsets::{Position, Seek};
pub(crate) use read::{Reach, ReadOutcome, ReadSpec};
pub(crate) use upkeep::PartitionFigures;

/// What a producer wants to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Nothing, not even an answer.
    None,
    /// The leader's write.
    Leader,
    /// Every in-sync replica.
    All,
}

impl Acks {
    /// Reads 0, 1 and -1.
    pub(crate) fn from_wire(raw: i16) -> Option<Self> {
        match raw {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// When a replica counts for the high watermark (`ottla.durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// When the data is synced to disk.
    Fsync,
    /// When the data is written to the page cache, as in Kafka.
    Os,
}

/// What a partition needs to know of its topic's configuration.
#[derive(Clone, Debug)]
pub(crate) struct PartitionConfig {
    /// The log's share.
    pub(crate) log: Arc<LogConfig>,
    /// When data counts as durable.
    pub(crate) durability: Durability,
    /// `min.insync.replicas`.
    pub(crate) min_insync_replicas: usize,
    /// `file.delete.delay.ms`.
    pub(crate) file_delete_delay: Duration,
    /// `flush.messages`: so many unsynced records are synced; `None` never.
    pub(crate) flush_messages: Option<u64>,
    /// `flush.ms`: records that are unsynced for so long are synced; `None` never.
    pub(crate) flush_age: Option<Duration>,
}

impl PartitionConfig {
    /// Up to where a replica with this log counts for the high watermark.
    fn committed(&self, log: &FsLog) -> Offset {
        let (flushed, end) = (log.flushed_to(), log.end_offset());
        match self.durability {
            Durability::Fsync => flushed,
            Durability::Os if self.must_flush(log) => flushed,
            Durability::Os => end,
        }
    }

    /// Whether `flush.messages` asks for a sync now.
    fn must_flush(&self, log: &FsLog) -> bool {
        let unsynced = log.end_offset().since(log.flushed_to());
        self.flush_messages.is_some_and(|most| most <= unsynced)
    }
}

/// Who leads, as the newest metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// This broker, in this epoch, with so many of so many replicas in sync.
    Leader { epoch: LeaderEpoch, isr: usize, replicas: usize },
    /// Another broker or nobody.
    Follower { epoch: LeaderEpoch },
}

/// What a client sent for one partition.
#[derive(Debug)]
pub(crate) struct FromClient {
    /// The batch.
    pub(crate) records: Bytes,
    /// Version of the Produce request.
    pub(crate) version: i16,
    /// What the producer waits for.
    pub(crate) acks: Acks,
}

/// Answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record.
    pub(crate) base_offset: Offset,
    /// Offset of the last record.
    pub(crate) last_offset: Offset,
    /// Timestamp that the log set, or none.
    pub(crate) log_append_time: Timestamp,
    /// First offset of the log.
    pub(crate) log_start_offset: Offset,
    /// Bytes written.
    pub(crate) bytes: usize,
    /// Whether the batch was there already (idempotent retry).
    pub(crate) duplicate: bool,
}

/// A partition that has a replica here.
#[derive(Debug)]
pub(crate) struct Partition {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    /// Where the log is; another one after a move.
    directory: ArcSwap<Directory>,
    flush_queued: AtomicBool,
    config: ArcSwap<PartitionConfig>,
    cleaning: compaction::Cleaning,
    /// Copy of the state's high watermark for readers without the lock.
    high_watermark: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None once the partition is deleted.
    log: Option<FsLog>,
    role: Role,
    /// This broker led alone, and the sync of its last records is still to come.
    sync_commits: bool,
    high_watermark: Offset,
    waiting: Waiting,
    /// Counts moves to another directory, so that a sync that began before one knows nothing.
    moves: u64,
    /// The last append found no room.
    full: bool,
    /// When the flusher was last seen to have nothing to do here.
    clean_at: MonoTime,
    files: Files,
}

/// Whether the log keeps a file open, as its directory counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    Closed,
    /// Nothing was appended since somebody looked.
    Idle,
    Used,
}

impl Partition {
    /// Takes over a recovered log; everything in it counts as committed, because it is on disk
    /// and this is the only replica.
    pub(crate) fn new(
        log: FsLog,
        directory: Arc<Directory>,
        config: Arc<PartitionConfig>,
        role: Role,
    ) -> Self {
        let high_watermark = config.committed(&log);
        Self {
            topic_partition: log.topic_partition().clone(),
            topic_id: log.topic_id().unwrap_or_default(),
            directory: ArcSwap::new(directory),
            flush_queued: AtomicBool::new(false),
            config: ArcSwap::new(config),
            cleaning: compaction::Cleaning::default(),
            high_watermark: AtomicU64::new(high_watermark.0),
            state: Mutex::new(State {
                log: Some(log),
                role,
                sync_commits: false,
                high_watermark,
                waiting: Waiting::default(),
                moves: 0,
                full: false,
                clean_at: MonoTime::ZERO,
                files: Files::Closed,
            }),
        }
    }

    /// Topic and number.
    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &TopicName {
        &self.topic_partition.topic
    }

    /// The topic's id.
    pub(crate) fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Place of the log directory in the broker's list.
    pub(crate) fn directory(&self) -> usize {
        self.directory.load().place()
    }

    /// First offset that is not committed yet.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Appends what a client sent, one result each; what follows each other is written at once.
    ///
    /// The expensive checks (CRC, batch header) run before the lock is taken.
    pub(crate) fn append_from_client(
        self: &Arc<Self>,
        run: impl Iterator<Item = FromClient>,
        now: WallTime,
    ) -> Few<Result<Appended, Refusal>> {
        let config = self.config.load();
        let prepared = run.map(|FromClient { records, version, acks }| {
            let prepared = config
                .log
                .prepare(records, AppendOrigin::Client, now)
                .map_err(|error| self.refusal(&error))?;
            if version < 7 && prepared.header().compression() == Ok(Compression::Zstd) {
                let text = "zstd needs Produce version 7";
                return Err(Refusal::with_text(ErrorCode::UnsupportedCompressionType, text));
            }
            Ok((prepared, acks))
        });
        self.append(prepared.collect(), now, &config)
    }

    /// Appends what a coordinator of this broker wrote.
    pub(crate) fn append_from_coordinator(
        self: &Arc<Self>,
        records: Bytes,
        now: WallTime,
    ) -> Result<Appended, Refusal> {
        let config = self.config.load();
        let prepared = config
            .log
            .prepare(records, AppendOrigin::Coordinator, now)
            .map_err(|error| error_code::append_refusal(&error))?;
        let mut results = self.append(Few::from_buf([Ok((prepared, Acks::All))]), now, &config);
        results.pop().unwrap_or_else(|| Err(ErrorCode::UnknownServerError.into()))
    }

    fn append(
        self: &Arc<Self>,
        run: Few<Result<(PreparedAppend, Acks), Refusal>>,
        now: WallTime,
        config: &PartitionConfig,
    ) -> Few<Result<Appended, Refusal>> {
        let mut state = self.state.lock();
        let role = state.role;
        let Some(log) = &mut state.log else {
            return refuse_all(run, ErrorCode::UnknownTopicOrPartition);
        };
        let Role::Leader { epoch, isr, replicas } = role else {
            return refuse_all(run, ErrorCode::NotLeaderOrFollower);
        };
        let (mut admitted, mut awaited) = (Few::with_capacity(run.len()), false);
        let verdicts: Few<Result<(), Refusal>> = run
            .into_iter()
            .map(|one| {
                let (prepared, acks) = one?;
                if acks == Acks::All {
                    // More than there are cannot be in sync.
                    self.check_isr(isr, config.min_insync_replicas.min(replicas))?;
                    awaited = true;
                }
                admitted.push(prepared);
                Ok(())
            })
            .collect();
        let mut outcomes = log.append_run(&admitted, epoch, now).into_iter();
        let log_start = log.log_start_offset();
        let committed = config.committed(log);
        let flush = config.durability == Durability::Fsync || config.must_flush(log);
        let mut fresh = false;
        let results = verdicts.into_iter().map(|verdict| {
            verdict?;
            match outcomes.next().unwrap_or(Err(AppendError::Failed)) {
                Ok(info) => {
                    fresh |= !info.duplicate;
                    Ok(appended(&info))
                }
                Err(error) => {
                    let mut refusal = error_code::append_refusal(&error);
                    if error_code::tells_log_start(&error) {
                        refusal.log_start_offset = Some(log_start);
                    }
                    self.note_failed_append(&mut state, &error);
                    Err(refusal)
                }
            }
        });
        let results = results.collect();
        if fresh {
            self.note_room(&mut state);
            self.raise_high_watermark(&mut state, committed);
        }
        let awaited = awaited || state.waiting.anybody();
        let opened = fresh && std::mem::replace(&mut state.files, Files::Used) == Files::Closed;
        drop(state);
        if opened {
            self.directory.load().open_files().add(self);
        }
        if fresh && flush {
            self.request_flush();
            if awaited {
                self.directory.load().hurry();
            }
        }
        results
    }

    fn check_isr(&self, isr: usize, min: usize) -> Result<(), Refusal> {
        if min <= isr {
            return Ok(());
        }
        let (topic, partition) = (&self.topic_partition.topic, self.topic_partition.partition);
        let text = format!(
            "{isr} replicas of {topic}-{partition} are in sync, min.insync.replicas is {min}"
        );
        Err(Refusal::with_string(ErrorCode::NotEnoughReplicas, text))
    }

    /// Why a batch was refused before the log saw it.
    fn refusal(&self, error: &AppendError) -> Refusal {
        let mut refusal = error_code::append_refusal(error);
        if error_code::tells_log_start(error) {
            refusal.log_start_offset = self.state.lock().log.as_ref().map(FsLog::log_start_offset);
        }
        refusal
    }

    /// Queues the partition with its directory's flusher, once.
    fn request_flush(self: &Arc<Self>) {
        if !self.flush_queued.swap(true, Ordering::AcqRel) {
            self.directory.load().request_flush(self.clone());
        }
    }

    /// Syncs what was appended so far and raises the high watermark; called by the flusher.
    pub(crate) fn flush(&self) {
        // Cleared before the end is read: an append after this queues the partition again.
        self.flush_queued.store(false, Ordering::Release);
        let (job, moves) = {
            let mut state = self.state.lock();
            (state.log.as_mut().and_then(FsLog::prepare_flush), state.moves)
        };
        let Some(job) = job else { return };
        let begun = Instant::now();
        let result = job.run();
        self.directory.load().sync_took(begun.elapsed());
        let mut state = self.state.lock();
        if state.moves != moves {
            return;
        }
        let Some(log) = &mut state.log else { return };
        match log.complete_flush(job, result) {
            Ok(_) => {
                let committed = self.config.load().committed(log);
                self.raise_high_watermark(&mut state, committed);
            }
            Err(error) => {
                state.waiting.abandon();
                drop(state);
                self.note_failure(&error);
            }
        }
    }

    fn raise_high_watermark(&self, state: &mut MutexGuard<'_, State>, to: Offset) {
        // Nobody has confirmed what others in the ISR are said to have.
        let shared = matches!(state.role, Role::Leader { isr, .. } if isr > 1);
        // A sync that began before a truncation may end after it and cover less.
        if shared || to <= state.high_watermark {
            return;
        }
        let end = state.log.as_ref().map_or(to, FsLog::end_offset);
        assert!(to <= end, "high watermark {to} passed the log end {end}");
        state.high_watermark = to;
        self.high_watermark.store(to.0, Ordering::Release);
        state.waiting.high_watermark_moved(to);
    }

    /// Wakes `wait` when the high watermark reaches `offset`, or never can.
    pub(crate) fn wake_at_high_watermark(&self, offset: Offset, wait: &Arc<Wait>) {
        let mut state = self.state.lock();
        if state.high_watermark >= offset || !(is_serving(&state) || state.sync_commits) {
            wait.event();
        } else {
            state.waiting.until_high_watermark(offset, wait);
            drop(state);
            self.directory.load().hurry();
        }
    }

    /// Wakes `wait` when there is something new to read.
    pub(crate) fn wake_at_change(&self, wait: &Arc<Wait>) {
        let mut state = self.state.lock();
        state.waiting.until_change(wait);
        let end = state.log.as_ref().map_or(state.high_watermark, FsLog::end_offset);
        let more = state.high_watermark < end;
        drop(state);
        if more {
            self.directory.load().hurry();
        }
    }

    /// The log's end, if only a sync of this broker is missing for it to be committed.
    pub(crate) fn unsynced_end(&self) -> Option<Offset> {
        let state = self.state.lock();
        let alone = matches!(state.role, Role::Leader { isr: 1, .. });
        let end = state.log.as_ref().filter(|log| alone && !log.is_failed())?.end_offset();
        (state.high_watermark < end).then_some(end)
    }

    /// After a wait: whether the high watermark covers an append that ended at `offset`.
    pub(crate) fn check_covered(&self, offset: Offset) -> Result<(), ErrorCode> {
        let state = self.state.lock();
        match &state.log {
            None => Err(ErrorCode::UnknownTopicOrPartition),
            Some(log) if log.is_failed() => Err(ErrorCode::KafkaStorageError),
            Some(_) if state.high_watermark >= offset => Ok(()),
            Some(_) if matches!(state.role, Role::Follower { .. }) => {
                Err(ErrorCode::NotLeaderOrFollower)
            }
            Some(_) => Err(ErrorCode::RequestTimedOut),
        }
    }

    /// Completes when the high watermark covers an append that ended at `offset`.
    pub(crate) async fn covered(&self, offset: Offset) -> Result<(), ErrorCode> {
        if self.high_watermark() < offset {
            let wait = Wait::new(1);
            self.wake_at_high_watermark(offset, &wait);
            wait.done().await;
        }
        self.check_covered(offset)
    }
}

/// Everything is refused; what was refused already keeps its reason.
fn refuse_all<T>(run: Few<Result<T, Refusal>>, code: ErrorCode) -> Few<Result<Appended, Refusal>> {
    run.into_iter().map(|one| one.and_then(|_| Err(code.into()))).collect()
}

fn appended(info: &AppendInfo) -> Appended {
    Appended {
        base_offset: info.base_offset,
        last_offset: info.last_offset,
        log_append_time: info.log_append_time.unwrap_or_default(),
        log_start_offset: info.log_start_offset,
        bytes: info.bytes,
        duplicate: info.duplicate,
    }
}

fn is_serving(state: &State) -> bool {
    state.log.as_ref().is_some_and(|log| !log.is_failed())
        && matches!(state.role, Role::Leader { .. })
}

/// The epoch in which this broker leads.
fn leader_epoch(state: &State) -> Result<LeaderEpoch, ErrorCode> {
    match (&state.log, state.role) {
        (None, _) => Err(ErrorCode::UnknownTopicOrPartition),
        (Some(log), _) if log.is_failed() => Err(ErrorCode::KafkaStorageError),
        (Some(_), Role::Leader { epoch, .. }) => Ok(epoch),
        (Some(_), Role::Follower { .. }) => Err(ErrorCode::NotLeaderOrFollower),
    }
}

/// Compares the epoch a client believes in with ours (KIP-320); -1 is no belief.
fn check_epoch(ours: LeaderEpoch, theirs: i32) -> Result<(), ErrorCode> {
    match LeaderEpoch::from_wire(theirs) {
        Some(theirs) if theirs < ours => Err(ErrorCode::FencedLeaderEpoch),
        Some(theirs) if theirs > ours => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}
