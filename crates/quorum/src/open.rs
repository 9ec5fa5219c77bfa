//! What a node does with the files it finds: go on, begin, or adopt the directory.
//!
//! * **Go on**: our state file is the newest; raft resumes behind what the metadata log holds.
//! * **Begin**: there is nothing yet.
//! * **Adopt**: `quorum-state` or the metadata log is newer than our state file, so Kafka in Java
//!   has written here since. Our write-ahead log is void then and starts empty behind the
//!   metadata log's end, in the highest term that anything names. Only a single voter may, because
//!   other voters of ours would hold another log.
//!
//! This file decides; it reads nothing and writes nothing.

use bytes::Bytes;
use ottla_types::{LeaderEpoch, Offset};

use crate::control::ControlState;
use crate::entry::LogEntry;
use crate::ids::{IdTable, RaftId, ReplicaKey};
use crate::quorum_state::{QuorumState, QuorumStateError};
use crate::snapshot::SnapshotId;
use crate::state_file::{LogPoint, StateFile, StateFileError};
use crate::voters::VoterSet;
use crate::wal::{WalContents, WalError, read_wal};

/// What the shell found in the metadata directory.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// `ottla-quorum.state`, if it exists.
    pub state: Option<Bytes>,
    /// `ottla-quorum.wal`, if it exists.
    pub wal: Option<Bytes>,
    /// `quorum-state`, if it exists.
    pub quorum_state: Option<Bytes>,
    /// Ends of the recovered metadata log.
    pub log: LogEnds,
    /// The newest complete snapshot that does not end beyond the log, if there is one; `0-0`
    /// counts. State above the quorum is loaded from it and from the log behind it.
    pub snapshot: Option<SnapshotId>,
    /// What the control records in that snapshot and in the log behind it add up to.
    pub control: ControlState,
    /// Complete snapshots that end beyond the log, with their own control records. A crash leaves
    /// one if it took unsynced batches that the snapshot covers, or came while a leader's snapshot
    /// was being installed; [`crate::Output::InstallSnapshot`] follows then. Others come from a
    /// fetch that was not followed by an installation, and are left alone. A shell that only ever
    /// has its own snapshots may put the newest into `snapshot` and `control` in any case.
    pub ahead: Vec<(SnapshotId, ControlState)>,
}

impl Disk {
    // Newest first.
    fn ahead(&self) -> Vec<(SnapshotId, &ControlState)> {
        let own = self.snapshot.map(|id| (id, &self.control));
        let ahead = self.ahead.iter().map(|(id, control)| (*id, control));
        let ahead = ahead.chain(own).filter(|(id, _)| id.end > self.log.end);
        let mut ahead: Vec<_> = ahead.collect();
        ahead.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        ahead
    }
}

/// Splits complete snapshots into the newest that does not end beyond the log, from which state
/// is loaded, and those that do ([`Disk::ahead`]).
pub fn choose_snapshots(
    complete: impl IntoIterator<Item = SnapshotId>,
    log_end: Offset,
) -> (Option<SnapshotId>, Vec<SnapshotId>) {
    let (behind, ahead): (Vec<_>, Vec<_>) = complete.into_iter().partition(|id| id.end <= log_end);
    (behind.into_iter().max(), ahead)
}

/// Ends of the metadata log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogEnds {
    /// Offset after the last batch.
    pub end: Offset,
    /// Epoch of the last batch; `None` if the log has no batch.
    pub last_epoch: Option<LeaderEpoch>,
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Our state file is damaged.
    #[error(transparent)]
    State(#[from] StateFileError),
    /// Our write-ahead log is damaged.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Kafka's `quorum-state` is damaged.
    #[error(transparent)]
    QuorumState(#[from] QuorumStateError),
    /// There is a write-ahead log but no state file that goes with it, so this node no longer
    /// knows how it voted.
    #[error("ottla-quorum.wal exists without its ottla-quorum.state")]
    StateMissing,
    /// The write-ahead log does not follow what the state file says was trimmed.
    #[error("ottla-quorum.wal begins with entry {first}, but entry {expected} is needed")]
    WalStart {
        /// First entry that is there.
        first: u64,
        /// First entry that should be.
        expected: u64,
    },
    /// The metadata log lost records that were synced.
    #[error("the metadata log ends at offset {end}, but had been synced up to {synced}")]
    LogBehind {
        /// Where it ends.
        end: Offset,
        /// Where it should at least.
        synced: Offset,
    },
    /// Another implementation has written here, and this node is not the only voter.
    #[error(
        "the metadata log was written by another implementation since ({evidence}), and only a \
         quorum of one voter can be taken over"
    )]
    Adopt {
        /// What tells so.
        evidence: String,
    },
}

/// How a node starts.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) state: StateFile,
    /// Entries behind the trimmed point.
    pub(crate) entries: Vec<LogEntry>,
    /// The last entry that the metadata log holds.
    pub(crate) applied: LogPoint,
    pub(crate) last_write: u64,
    pub(crate) voters: VoterSet,
    pub(crate) control: ControlState,
    /// The state file must be written.
    pub(crate) write_state: bool,
    /// The write-ahead log must be written anew.
    pub(crate) write_wal: bool,
    /// Installing this snapshot was interrupted: the metadata log must be started behind it.
    pub(crate) install: Option<SnapshotId>,
    pub(crate) adopted: bool,
}

/// Decides how to start.
pub(crate) fn open(
    own: ReplicaKey,
    static_voters: &VoterSet,
    disk: &Disk,
) -> Result<Opened, OpenError> {
    let disk = &known_epoch(disk);
    let quorum_state =
        disk.quorum_state.as_ref().map(|text| QuorumState::parse(text)).transpose()?;
    let named =
        |control: &ControlState| control.voters.clone().unwrap_or_else(|| static_voters.clone());
    let state = disk.state.as_ref().map(StateFile::decode).transpose()?;
    let wal = disk.wal.as_ref().filter(|wal| !wal.is_empty()).map(read_wal).transpose()?;
    let mut opened = match state {
        None if wal.is_some() => return Err(OpenError::StateMissing),
        Some(state) if wal.as_ref().is_some_and(|wal| wal.generation > state.generation) => {
            return Err(OpenError::StateMissing);
        }
        None => begin(disk, quorum_state.as_ref(), own, &named)?,
        Some(state) => {
            let epoch = quorum_state.as_ref().map(|state| state.epoch);
            match resume(state.clone(), wal, disk, epoch)? {
                Ok(opened) => Opened { voters: named(&opened.control), ..opened },
                Err(evidence) => adopt(state, disk, quorum_state.as_ref(), own, &named, evidence)?,
            }
        }
    };
    if opened.state.ids.is_empty() {
        opened.state.ids = IdTable::initial(opened.voters.keys());
        opened.write_state = true;
    }
    learn_voters(&mut opened);
    Ok(opened)
}

// A log that was cut as far as a snapshot covers it may be empty; the snapshot knows its epoch.
fn known_epoch(disk: &Disk) -> Disk {
    let mut disk = disk.clone();
    let covers = disk.snapshot.filter(|id| id.end > Offset::ZERO && id.end == disk.log.end);
    disk.log.last_epoch = disk.log.last_epoch.or_else(|| covers.map(|id| id.epoch));
    disk
}

/// Raft's number for this node: what it was, or what its key gets.
pub(crate) fn own_id(state: &StateFile, own: ReplicaKey) -> RaftId {
    let id = state.ids.number_for(own);
    id.expect("a node knows its own directory id")
}

fn begin(
    disk: &Disk,
    quorum_state: Option<&QuorumState>,
    own: ReplicaKey,
    named: &dyn Fn(&ControlState) -> VoterSet,
) -> Result<Opened, OpenError> {
    let covered = !disk.ahead().is_empty();
    if quorum_state.is_some() || disk.log.end > Offset::ZERO || covered {
        let evidence = "there is no ottla-quorum.state".to_owned();
        return adopt(StateFile::default(), disk, quorum_state, own, named, evidence);
    }
    let state = StateFile { generation: 1, ..StateFile::default() };
    Ok(start(state, Vec::new(), LogPoint::default(), named(&disk.control), &disk.control))
}

fn start(
    state: StateFile,
    entries: Vec<LogEntry>,
    applied: LogPoint,
    voters: VoterSet,
    control: &ControlState,
) -> Opened {
    Opened {
        state,
        entries,
        applied,
        last_write: 0,
        voters,
        control: control.clone(),
        write_state: true,
        write_wal: true,
        install: None,
        adopted: false,
    }
}

fn adopt(
    old: StateFile,
    disk: &Disk,
    quorum_state: Option<&QuorumState>,
    own: ReplicaKey,
    named: &dyn Fn(&ControlState) -> VoterSet,
    evidence: String,
) -> Result<Opened, OpenError> {
    let ahead = disk.ahead().first().copied();
    let control = ahead.map_or(&disk.control, |(_, control)| control);
    let voters = named(control);
    if !voters.is_only_voter(own) {
        return Err(OpenError::Adopt { evidence });
    }
    let install = ahead.map(|(id, _)| id);
    let end = install.map_or(disk.log.end, |id| id.end);
    let epoch = disk.log.last_epoch.max(install.map(|id| id.epoch));
    let voted = quorum_state.map(|state| state.epoch);
    let newest = epoch.max(voted).map_or(0, |epoch| u64::from(epoch.0));
    let last_term = epoch.map_or(0, |epoch| u64::from(epoch.0));
    // An index above those of the void log, so that none is used twice.
    let index = old.trimmed.index.max(end.0);
    let trimmed = LogPoint { index, term: last_term, end, epoch };
    let state = StateFile {
        generation: old.generation + 1,
        term: newest.max(old.term),
        vote: None,
        trimmed,
        ..old
    };
    let opened = start(state, Vec::new(), trimmed, voters, control);
    Ok(Opened { install, adopted: true, ..opened })
}

// The inner error is what tells that somebody else has written since.
fn resume(
    state: StateFile,
    wal: Option<WalContents>,
    disk: &Disk,
    quorum_epoch: Option<LeaderEpoch>,
) -> Result<Result<Opened, String>, OpenError> {
    let trimmed = state.trimmed;
    // A void or missing log comes from a crash between writing the state file and the log.
    let valid = wal.filter(|wal| wal.generation == state.generation);
    let missing = valid.is_none();
    let WalContents { mut entries, last_write, torn, .. } = valid.unwrap_or_default();
    entries.retain(|entry| entry.index > trimmed.index);
    if let Some(first) = entries
        .first()
        .filter(|first| first.index != trimmed.index + 1 || first.base != trimmed.end)
    {
        return Err(OpenError::WalStart { first: first.index, expected: trimmed.index + 1 });
    }
    let newest = disk.log.last_epoch.max(quorum_epoch);
    if let Some(newer) = newest.filter(|epoch| u64::from(epoch.0) > state.term) {
        return Ok(Err(format!("epoch {newer} is newer than {}", state.term)));
    }
    let log = disk.log;
    if let Some((id, control, point)) = install_again(disk, trimmed, &entries) {
        let opened = start(state, entries, point, VoterSet::default(), control);
        let write_wal = torn || missing;
        return Ok(Ok(Opened {
            last_write,
            write_state: false,
            write_wal,
            install: Some(id),
            ..opened
        }));
    }
    if log.end < trimmed.end {
        return Err(OpenError::LogBehind { end: log.end, synced: trimmed.end });
    }
    let applied = if log.end == trimmed.end {
        log.last_epoch.is_none_or(|e| Some(e) == trimmed.epoch).then_some(trimmed)
    } else {
        let last = entries.iter().find(|e| e.end == log.end && !e.batch.is_empty());
        let same = last.filter(|entry| Some(entry.epoch()) == log.last_epoch);
        same.map(|e| LogPoint { index: e.index, term: e.term, end: e.end, epoch: Some(e.epoch()) })
    };
    let Some(applied) = applied else {
        let (end, epoch) = (log.end, log.last_epoch);
        return Ok(Err(format!("the log ends at {end} in {epoch:?}, where no entry does")));
    };
    let opened = start(state, entries, applied, VoterSet::default(), &disk.control);
    Ok(Ok(Opened { last_write, write_state: false, write_wal: torn || missing, ..opened }))
}

// A snapshot beyond the log whose place among the entries is known: the one behind which the
// write-ahead log was started, or one that was taken here of batches that the log then lost.
fn install_again<'a>(
    disk: &'a Disk,
    trimmed: LogPoint,
    entries: &[LogEntry],
) -> Option<(SnapshotId, &'a ControlState, LogPoint)> {
    let place = |(id, control): (SnapshotId, &'a ControlState)| {
        let (end, epoch) = (id.end, Some(id.epoch));
        if end == trimmed.end && epoch == trimmed.epoch {
            return Some((id, control, trimmed));
        }
        let entry = entries.iter().find(|entry| entry.end == end && !entry.batch.is_empty());
        let entry = entry.filter(|entry| Some(entry.epoch()) == epoch)?;
        Some((id, control, LogPoint { index: entry.index, term: entry.term, end, epoch }))
    };
    disk.ahead().into_iter().find_map(place)
}

// Voter changes that are in the metadata log but were not yet in the state file.
fn learn_voters(opened: &mut Opened) {
    use crate::entry::EntryKind;
    let applied = opened.applied.index;
    for entry in opened.entries.iter().filter(|entry| entry.index <= applied) {
        let EntryKind::AddVoter(id) = entry.kind else { continue };
        if opened.state.ids.key(id).is_some() {
            continue;
        }
        let known: Vec<ReplicaKey> = opened.state.ids.pairs().map(|(_, key)| key).collect();
        let batch = ottla_record::Batch::parse(entry.batch.clone());
        let mut control = ControlState::default();
        let read = batch.ok().and_then(|batch| control.observe(&batch).ok());
        let voters = read.and(control.voters).unwrap_or_default();
        for key in voters.keys().filter(|key| !known.contains(key)) {
            if opened.state.ids.number_for(key) == Some(id) {
                opened.state.ids.learn(id, key);
                opened.write_state = true;
            }
        }
    }
    for key in opened.voters.keys() {
        if let Some(id) = opened.state.ids.find(key) {
            opened.write_state |= opened.state.ids.learn(id, key);
        }
    }
}
