//! Replicas on their way to another directory (KIP-113, KIP-858): who moves where, and each step.
//!
//! The order is Kafka's: a future log is filled while producers go on; once it has caught up the
//! controller is told of the new directory; once the controller has agreed the logs change places.
//! [`Replicas::step_move`] does one bounded step; when steps are made is up to the driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use ottla_log::{
    FsStorage, LogError, OpenInfo, RelocateError, Relocation, UnrecoveredLog, future_dir_name,
};
use ottla_types::{DirectoryId, ErrorCode, Offset, TopicPartition, Uuid};
use parking_lot::{Condvar, Mutex};

use super::{Assignment, DataDir, Replicas, is_full};
use crate::partition::{Partition, PartitionConfig};
use crate::shared::Shared;

/// Why a replica is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveError {
    /// The directory is none of this broker's.
    NoSuchDirectory,
    /// The directory, or one that may hold another future log, is offline.
    Offline,
    /// The directory takes no replicas.
    Cordoned,
    /// The name of the future log would be too long.
    NameTooLong,
}

impl MoveError {
    /// What a client is told.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::NoSuchDirectory => ErrorCode::LogDirNotFound,
            Self::Offline => ErrorCode::KafkaStorageError,
            Self::Cordoned => ErrorCode::InvalidReplicaAssignment,
            Self::NameTooLong => ErrorCode::InvalidTopicException,
        }
    }
}

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Records are copied.
    Copying,
    /// It has caught up, and the controller has not answered yet.
    Announced,
    /// The controller knows the new directory.
    Agreed,
}

/// One replica on its way.
pub(crate) struct Move {
    partition: Arc<Partition>,
    target: usize,
    state: Mutex<State>,
    /// Copies of the future log's figures, for tools.
    end: AtomicU64,
    bytes: AtomicU64,
}

struct State {
    /// None once the move is over.
    relocation: Option<Relocation<FsStorage>>,
    stage: Stage,
    full: bool,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It copied so many bytes.
    Copied(usize),
    /// There was nothing to do.
    Waits,
    /// The move is over.
    Over,
}

/// A move for tools.
#[derive(Clone, Debug)]
pub(crate) struct MoveView {
    pub(crate) partition: Arc<Partition>,
    pub(crate) target: usize,
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
}

/// All moves.
#[derive(Default)]
pub(super) struct Moves {
    active: DashMap<TopicPartition, Arc<Move>>,
    /// Held while a move is begun or given up, so that there is one for each replica.
    changing: Mutex<()>,
    /// Where replicas will be made that do not exist yet.
    preferred: Mutex<BTreeMap<TopicPartition, usize>>,
    bell: Bell,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

/// Most replicas whose future place is remembered.
const PREFERRED_MAX: usize = 100_000;
/// Longest name of a directory.
const NAME_MAX: usize = 255;

/// Waits on behalf of the driver.
pub(crate) struct Mover<'a>(&'a Moves);

impl Mover<'_> {
    /// Sleeps until something may have changed, at most for `pause`; without a pause until then.
    pub(crate) fn wait(&self, pause: Option<std::time::Duration>) {
        let mut rung = self.0.bell.rung.lock();
        while !*rung {
            match pause {
                Some(pause) if self.0.bell.heard.wait_for(&mut rung, pause).timed_out() => break,
                Some(_) => {}
                None => self.0.bell.heard.wait(&mut rung),
            }
        }
        *rung = false;
    }

    /// Wakes the driver.
    pub(crate) fn wake(&self) {
        *self.0.bell.rung.lock() = true;
        self.0.bell.heard.notify_one();
    }
}

impl Replicas {
    /// What the driver waits on.
    pub(crate) fn mover(&self) -> Mover<'_> {
        Mover(&self.moves)
    }

    /// Moves that are under way.
    pub(crate) fn active_moves(&self) -> Vec<Arc<Move>> {
        self.moves.active.iter().map(|entry| entry.value().clone()).collect()
    }

    /// The same for tools.
    pub(crate) fn move_views(&self) -> Vec<MoveView> {
        let view = |entry: Arc<Move>| MoveView {
            partition: entry.partition.clone(),
            target: entry.target,
            end: Offset(entry.end.load(Ordering::Acquire)),
            bytes: entry.bytes.load(Ordering::Acquire),
        };
        self.active_moves().into_iter().map(view).collect()
    }

    /// Checks a directory that a client named, in Kafka's order.
    pub(crate) fn check_target(
        &self,
        path: &str,
        partition: &TopicPartition,
    ) -> Result<usize, MoveError> {
        if future_dir_name(partition, Uuid::default()).len() > NAME_MAX {
            return Err(MoveError::NameTooLong);
        }
        let place = self.dirs.iter().position(|dir| dir.path == path);
        let place = place.ok_or(MoveError::NoSuchDirectory)?;
        match self.dirs.get(place) {
            Some(dir) if dir.is_offline() => Err(MoveError::Offline),
            Some(dir) if dir.is_cordoned() => Err(MoveError::Cordoned),
            _ => Ok(place),
        }
    }

    /// Remembers where a replica shall be made that does not exist yet.
    pub(crate) fn prefer(&self, partition: TopicPartition, place: usize) {
        let mut preferred = self.moves.preferred.lock();
        if preferred.len() < PREFERRED_MAX || preferred.contains_key(&partition) {
            preferred.insert(partition, place);
        }
    }

    /// Takes a directory that was named before the replica existed, if it is in service.
    pub(super) fn take_preferred(&self, partition: &TopicPartition) -> Option<usize> {
        let place = self.moves.preferred.lock().remove(partition)?;
        self.dirs.get(place).is_some_and(|dir| !dir.is_offline()).then_some(place)
    }

    /// Begins to move a replica; a move to somewhere else is given up, and naming the directory
    /// where the replica is ends any.
    pub(crate) fn begin_move(
        &self,
        shared: &Arc<Shared>,
        partition: &Arc<Partition>,
        target: usize,
    ) -> Result<(), MoveError> {
        let _changing = self.moves.changing.lock();
        let name = partition.topic_partition();
        let under_way = self.moves.active.get(name).map(|entry| entry.value().clone());
        if let Some(earlier) = under_way.filter(|earlier| earlier.target != target) {
            self.give_up(shared, &earlier, true);
        }
        if partition.directory() == target || self.moves.active.contains_key(name) {
            return Ok(());
        }
        // A future log of the same replica may be in a directory that cannot be looked at.
        if self.dirs.iter().any(DataDir::is_offline) {
            return Err(MoveError::Offline);
        }
        let dir = self.dirs.get(target).ok_or(MoveError::NoSuchDirectory)?;
        let log = dir.online().ok_or(MoveError::Offline)?;
        let (unique, now) = (Uuid(ottla_sys::random_bytes()), shared.clock.wall());
        let storage = log.storage().clone();
        let begun = partition
            .with_log(|source| Relocation::begin(source, storage, log.path(), unique, now));
        match begun {
            // Deleted a moment ago.
            None => Ok(()),
            Some(Ok(relocation)) => {
                tracing::info!(partition = %name, from = self.path_of(partition.directory()),
                    to = dir.path, "a replica moves");
                self.register_move(partition, target, relocation);
                Ok(())
            }
            Some(Err(error)) => {
                self.note_move_error(partition, target, &error);
                Err(MoveError::Offline)
            }
        }
    }

    fn register_move(
        &self,
        partition: &Arc<Partition>,
        target: usize,
        relocation: Relocation<FsStorage>,
    ) {
        let entry = Move {
            partition: partition.clone(),
            target,
            end: AtomicU64::new(relocation.future().end_offset().0),
            bytes: AtomicU64::new(relocation.future().size_bytes() as u64),
            state: Mutex::new(State {
                relocation: Some(relocation),
                stage: Stage::Copying,
                full: false,
            }),
        };
        self.moves.active.insert(partition.topic_partition().clone(), Arc::new(entry));
        self.mover().wake();
    }

    /// Goes on with a move that an earlier run began. A future log that cannot be used is removed
    /// and filled anew.
    pub(super) fn resume_move(
        &self,
        shared: &Arc<Shared>,
        partition: &Arc<Partition>,
        config: &PartitionConfig,
    ) {
        let name = partition.topic_partition();
        for (target, dir) in self.dirs.iter().enumerate() {
            let mut left = dir.left.lock();
            let Some(left) = left.as_mut() else { continue };
            let Some(path) = left.futures.remove(name) else { continue };
            let Some(log) = dir.online() else { continue };
            let info = OpenInfo {
                recovery_point: left.recovery_points.get(name).copied().unwrap_or_default(),
                log_start: left.log_starts.get(name).copied().unwrap_or_default(),
                partition: name.clone(),
                topic_id: Some(partition.topic_id()),
                clean: left.clean,
                config: config.log.clone(),
                accept_damage: false,
                now: shared.clock.wall(),
            };
            let opened = UnrecoveredLog::open(log.storage().clone(), path.clone(), info)
                .and_then(UnrecoveredLog::recover)
                .map_err(|error| error.to_string());
            let resumed = opened.and_then(|(future, _)| {
                let resumed = partition.with_log(|source| Relocation::resume(future, source));
                resumed.transpose().map_err(|error| error.to_string())
            });
            match resumed {
                Ok(Some(relocation)) if !self.moves.active.contains_key(name) => {
                    tracing::info!(partition = %name, to = dir.path, "a replica goes on moving");
                    self.register_move(partition, target, relocation);
                }
                Ok(_) => self.discard(shared, target, path),
                Err(error) => {
                    tracing::warn!(partition = %name, %error, "a future log is filled anew");
                    self.discard_now(dir, &path);
                    if let Err(error) = self.begin_move(shared, partition, target) {
                        tracing::error!(partition = %name, ?error, "the move is given up");
                    }
                }
            }
        }
    }

    fn discard_now(&self, dir: &DataDir, path: &std::path::Path) {
        let Some(log) = dir.online() else { return };
        if let Err(error) = ottla_log::Storage::remove_dir_all(&**log.storage(), path) {
            tracing::warn!(path = %path.display(), %error, "cannot be removed");
        }
    }

    /// Does one step of a move, of at most `max_bytes`.
    pub(crate) fn step_move(
        &self,
        shared: &Arc<Shared>,
        entry: &Arc<Move>,
        max_bytes: usize,
    ) -> Step {
        let mut state = entry.state.lock();
        let stepped = self.copy(shared, entry, &mut state, max_bytes);
        if let Some(relocation) = &state.relocation {
            entry.end.store(relocation.future().end_offset().0, Ordering::Release);
            let bytes = relocation.future().size_bytes() as u64;
            entry.bytes.store(bytes, Ordering::Release);
        }
        match stepped {
            Ok(step) => step,
            Err(error) => self.step_failed(entry, &mut state, &error),
        }
    }

    fn copy(
        &self,
        shared: &Arc<Shared>,
        entry: &Arc<Move>,
        state: &mut State,
        max_bytes: usize,
    ) -> Result<Step, RelocateError> {
        let now = shared.clock.wall();
        let Some(relocation) = &mut state.relocation else { return Ok(Step::Over) };
        let job = entry.partition.with_log(|log| relocation.plan(log, max_bytes, now));
        // Deleted: whoever does that takes the move away too.
        let Some(job) = job else { return Ok(Step::Waits) };
        let job = job?;
        if !job.is_empty() {
            let failed = |error: ottla_log::ReadError| RelocateError::Source(error.into());
            let records = job.read().map_err(failed)?;
            relocation.append(&job, records, now)?;
            state.full = false;
        }
        // What producers add meanwhile is little.
        match state.stage {
            _ if !job.reaches_end() => {}
            Stage::Copying => {
                relocation.flush()?;
                state.stage = self.announce(entry);
            }
            Stage::Announced => {}
            Stage::Agreed => {
                relocation.flush()?;
                return self.exchange(shared, entry, state);
            }
        }
        Ok(if job.is_empty() { Step::Waits } else { Step::Copied(job.len()) })
    }

    /// Tells the controller where the replica is about to lie. Always, because an older answer
    /// may still be on its way.
    fn announce(&self, entry: &Move) -> Stage {
        match self.dirs.get(entry.target).and_then(|dir| dir.id) {
            Some(id) => {
                self.assign(assignment(&entry.partition, id));
                Stage::Announced
            }
            None => Stage::Agreed,
        }
    }

    fn exchange(
        &self,
        shared: &Arc<Shared>,
        entry: &Arc<Move>,
        state: &mut State,
    ) -> Result<Step, RelocateError> {
        let Some(relocation) = state.relocation.take() else { return Ok(Step::Over) };
        let Some(dir) = self.dirs.get(entry.target) else { return Ok(Step::Over) };
        let (unique, now) = (Uuid(ottla_sys::random_bytes()), shared.clock.wall());
        let before = entry.partition.directory();
        match entry.partition.relocate(relocation, &dir.handle, unique, now) {
            Ok(deleted) => {
                self.discard(shared, before, deleted);
                self.moves.active.remove(entry.partition.topic_partition());
                let partition = entry.partition.topic_partition();
                tracing::info!(%partition, to = dir.path, "a replica has moved");
                Ok(Step::Over)
            }
            Err((relocation, error)) => {
                state.relocation = Some(relocation);
                error.map_or(Ok(Step::Waits), Err)
            }
        }
    }

    /// A full disk lets a move wait; any other failure ends it, and the next start goes on.
    fn step_failed(&self, entry: &Arc<Move>, state: &mut State, error: &RelocateError) -> Step {
        if disk_error(error).is_some_and(is_full) {
            if !std::mem::replace(&mut state.full, true) {
                let partition = entry.partition.topic_partition();
                tracing::error!(%partition, "no room: the move waits");
            }
            return Step::Waits;
        }
        state.relocation = None;
        self.moves.active.remove(entry.partition.topic_partition());
        self.note_move_error(&entry.partition, entry.target, error);
        Step::Over
    }

    fn note_move_error(&self, partition: &Partition, target: usize, error: &RelocateError) {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(partition = %partition.topic_partition(), %error, source, "a move failed");
        let place = match error {
            RelocateError::Source(_) => partition.directory(),
            _ => target,
        };
        if let (Some(error), Some(dir)) = (disk_error(error), self.dirs.get(place)) {
            dir.handle.report(error);
        }
    }

    /// Takes note of an assignment that the controller has accepted.
    pub(crate) fn assigned(&self, accepted: &[Assignment]) {
        for assignment in accepted {
            let agreed = self.active_moves().into_iter().find(|entry| {
                let partition = &entry.partition;
                let target = self.dirs.get(entry.target).and_then(|dir| dir.id);
                partition.topic_id() == assignment.topic
                    && partition.topic_partition().partition == assignment.partition
                    && target == Some(assignment.directory)
            });
            if let Some(entry) = agreed {
                entry.state.lock().stage = Stage::Agreed;
                self.mover().wake();
            }
        }
    }

    /// Ends a move whose replica is deleted.
    pub(super) fn delete_move(&self, shared: &Shared, partition: &Partition) {
        let _changing = self.moves.changing.lock();
        let entry = self.moves.active.get(partition.topic_partition()).map(|e| e.value().clone());
        if let Some(entry) = entry {
            self.give_up(shared, &entry, false);
        }
    }

    /// Ends a move and removes what was copied. A controller that was told otherwise already is
    /// told again where the replica is.
    fn give_up(&self, shared: &Shared, entry: &Arc<Move>, tell: bool) {
        let mut state = entry.state.lock();
        self.moves.active.remove(entry.partition.topic_partition());
        // It may have come to its end just now.
        let Some(relocation) = state.relocation.take() else { return };
        let partition = entry.partition.topic_partition();
        tracing::info!(%partition, to = self.path_of(entry.target), "a move is given up");
        match relocation.into_future().delete(Uuid(ottla_sys::random_bytes())) {
            Ok(path) => self.discard(shared, entry.target, path),
            Err(error) => {
                if let Some(dir) = self.dirs.get(entry.target) {
                    dir.handle.report(&error);
                }
            }
        }
        let here = self.dirs.get(entry.partition.directory()).and_then(|dir| dir.id);
        if let (true, Some(id)) = (tell && state.stage != Stage::Copying, here) {
            self.assign(assignment(&entry.partition, id));
        }
    }

    /// Ends the moves from and to a directory that has failed.
    pub(super) fn abandon_moves(&self, place: usize) {
        for entry in self.active_moves() {
            if entry.target == place || entry.partition.directory() == place {
                entry.state.lock().relocation = None;
                self.moves.active.remove(entry.partition.topic_partition());
            }
        }
    }

    /// Leaves every future log as a clean shutdown must; answers how that went by directory.
    pub(super) fn close_moves(&self) -> Vec<(usize, bool)> {
        let mut closed = Vec::new();
        for entry in self.active_moves() {
            let mut state = entry.state.lock();
            let Some(relocation) = state.relocation.take() else { continue };
            closed.push((entry.target, relocation.into_future().close().is_ok()));
        }
        closed
    }

    /// Up to where future logs are durable, by directory.
    pub(super) fn move_recovery_points(&self) -> Vec<(usize, TopicPartition, Offset)> {
        let point = |entry: Arc<Move>| {
            let state = entry.state.lock();
            let flushed = state.relocation.as_ref()?.future().flushed_to();
            Some((entry.target, entry.partition.topic_partition().clone(), flushed))
        };
        self.active_moves().into_iter().filter_map(point).collect()
    }

    fn path_of(&self, place: usize) -> &str {
        self.dirs.get(place).map_or("", |dir| dir.path.as_str())
    }
}

fn assignment(partition: &Partition, directory: DirectoryId) -> Assignment {
    let index = partition.topic_partition().partition;
    Assignment { directory, topic: partition.topic_id(), partition: index }
}

fn disk_error(error: &RelocateError) -> Option<&std::io::Error> {
    match error {
        RelocateError::Source(LogError::Disk(error))
        | RelocateError::Target(LogError::Disk(error)) => Some(error),
        _ => None,
    }
}
