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
    /// The newest complete snapshot, if there is one; `0-0` counts.
    pub snapshot: Option<SnapshotId>,
    /// What the control records in that snapshot and in the log behind it add up to.
    pub control: ControlState,
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
        "the metadata log was written by another implementation since, and only a quorum of one \
         voter can be taken over"
    )]
    Adopt,
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
    let quorum_state =
        disk.quorum_state.as_ref().map(|text| QuorumState::parse(text)).transpose()?;
    let voters = disk.control.voters.clone().unwrap_or_else(|| static_voters.clone());
    let state = disk.state.as_ref().map(StateFile::decode).transpose()?;
    let wal = disk.wal.as_ref().filter(|wal| !wal.is_empty()).map(read_wal).transpose()?;
    let mut opened = match state {
        None if wal.is_some() => return Err(OpenError::StateMissing),
        Some(state) if wal.as_ref().is_some_and(|wal| wal.generation > state.generation) => {
            return Err(OpenError::StateMissing);
        }
        None => begin(disk, quorum_state.as_ref(), own, voters)?,
        Some(state) => {
            let epoch = quorum_state.as_ref().map(|state| state.epoch);
            match resume(state.clone(), wal, disk, epoch)? {
                Some(opened) => Opened { voters, ..opened },
                None => adopt(state, disk, quorum_state.as_ref(), own, voters)?,
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

/// Raft's number for this node: what it was, or what its key gets.
pub(crate) fn own_id(state: &StateFile, own: ReplicaKey) -> RaftId {
    let id = state.ids.number_for(own);
    id.expect("a node knows its own directory id")
}

fn begin(
    disk: &Disk,
    quorum_state: Option<&QuorumState>,
    own: ReplicaKey,
    voters: VoterSet,
) -> Result<Opened, OpenError> {
    let covered = disk.snapshot.is_some_and(|id| id.end > Offset::ZERO);
    if quorum_state.is_some() || disk.log.end > Offset::ZERO || covered {
        return adopt(StateFile::default(), disk, quorum_state, own, voters);
    }
    let state = StateFile { generation: 1, ..StateFile::default() };
    Ok(start(state, Vec::new(), LogPoint::default(), voters, disk))
}

fn start(
    state: StateFile,
    entries: Vec<LogEntry>,
    applied: LogPoint,
    voters: VoterSet,
    disk: &Disk,
) -> Opened {
    Opened {
        state,
        entries,
        applied,
        last_write: 0,
        voters,
        control: disk.control.clone(),
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
    voters: VoterSet,
) -> Result<Opened, OpenError> {
    if !voters.is_only_voter(own) {
        return Err(OpenError::Adopt);
    }
    let snapshot = disk.snapshot.filter(|id| id.end >= disk.log.end);
    let end = snapshot.map_or(disk.log.end, |id| id.end);
    let epoch = disk.log.last_epoch.max(snapshot.map(|id| id.epoch));
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
    let install = snapshot.filter(|id| disk.log.end < id.end && id.end > Offset::ZERO);
    let opened = start(state, Vec::new(), trimmed, voters, disk);
    Ok(Opened { install, adopted: true, ..opened })
}

// `None`: somebody else has written since.
fn resume(
    state: StateFile,
    wal: Option<WalContents>,
    disk: &Disk,
    quorum_epoch: Option<LeaderEpoch>,
) -> Result<Option<Opened>, OpenError> {
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
    if newest.is_some_and(|epoch| u64::from(epoch.0) > state.term) {
        return Ok(None);
    }
    let log = disk.log;
    let interrupted = disk.snapshot.filter(|id| log.end < trimmed.end && id.end == trimmed.end);
    if log.end < trimmed.end && interrupted.is_none() {
        return Err(OpenError::LogBehind { end: log.end, synced: trimmed.end });
    }
    let applied = if log.end <= trimmed.end {
        let same = log.end < trimmed.end || log.last_epoch.is_none_or(|e| Some(e) == trimmed.epoch);
        same.then_some(trimmed)
    } else {
        let last = entries.iter().find(|e| e.end == log.end && !e.batch.is_empty());
        let same = last.filter(|entry| Some(entry.epoch()) == log.last_epoch);
        same.map(|e| LogPoint { index: e.index, term: e.term, end: e.end, epoch: Some(e.epoch()) })
    };
    let Some(applied) = applied else { return Ok(None) };
    let opened = start(state, entries, applied, VoterSet::default(), disk);
    Ok(Some(Opened {
        last_write,
        write_state: false,
        write_wal: torn || missing,
        install: interrupted,
        ..opened
    }))
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
