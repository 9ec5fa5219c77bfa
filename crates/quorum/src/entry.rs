//! Entries of the raft log, and the offsets that their batches take.
//!
//! Raft counts entries, Kafka counts records: an [`LogEntry`] carries both. An entry is empty (a
//! new leader's first one), one batch of records, or a batch of voters that changes who votes.

use bytes::Bytes;
use ottla_record::{Batch, BatchError};
use ottla_types::{LeaderEpoch, Offset};
use prost::Message as _;
use raft::eraftpb::{Entry, EntryType};

use crate::ids::RaftId;

/// What an entry does besides carrying a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing; it has no batch and takes no offset.
    Empty,
    /// It appends its batch.
    Batch,
    /// It appends a KRaftVoters batch, and one voter more counts.
    AddVoter(RaftId),
    /// It appends a KRaftVoters batch, and one voter less counts.
    RemoveVoter(RaftId),
}

/// One entry with its place in both logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Place in raft's log.
    pub index: u64,
    /// Raft's term: the epoch of the leader that proposed the entry.
    pub term: u64,
    /// Offset of the first record, or where the log ends if there is none.
    pub base: Offset,
    /// Offset after the last record.
    pub end: Offset,
    /// What it does.
    pub kind: EntryKind,
    /// The batch, in Kafka's format; empty if the entry is.
    pub batch: Bytes,
}

/// An entry that no leader of ours can have proposed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The batch is damaged.
    #[error("entry {index}")]
    Batch {
        /// Raft index.
        index: u64,
        /// What is wrong.
        #[source]
        source: BatchError,
    },
    /// The batch does not continue the log.
    #[error("entry {index} begins at offset {got}, the log ends at {expected}")]
    Offset {
        /// Raft index.
        index: u64,
        /// Where the batch begins.
        got: Offset,
        /// Where it should.
        expected: Offset,
    },
    /// The batch was appended in another epoch than the entry.
    #[error("entry {index} of term {term} holds a batch of another epoch")]
    Epoch {
        /// Raft index.
        index: u64,
        /// Raft term.
        term: u64,
    },
    /// An entry of a type that is never proposed.
    #[error("entry {index} has an unknown type")]
    Kind {
        /// Raft index.
        index: u64,
    },
}

impl LogEntry {
    /// Checks a batch and places it behind `base`.
    ///
    /// # Errors
    /// The batch is damaged, or belongs elsewhere.
    pub(crate) fn place(
        (index, term): (u64, u64),
        base: Offset,
        kind: EntryKind,
        batch: Bytes,
    ) -> Result<Self, EntryError> {
        if kind == EntryKind::Empty {
            return Ok(Self { index, term, base, end: base, kind, batch: Bytes::new() });
        }
        let parsed = Batch::parse_checked(batch);
        let parsed = parsed.map_err(|source| EntryError::Batch { index, source })?;
        let header = *parsed.header();
        if header.base_offset != base {
            return Err(EntryError::Offset { index, got: header.base_offset, expected: base });
        }
        if header.leader_epoch.map(|epoch| u64::from(epoch.0)) != Some(term) {
            return Err(EntryError::Epoch { index, term });
        }
        Ok(Self { index, term, base, end: header.next_offset(), kind, batch: parsed.into_bytes() })
    }

    /// Places an entry that came out of raft.
    pub(crate) fn from_raft(entry: &Entry, base: Offset) -> Result<Self, EntryError> {
        let (kind, batch) = kind_of(entry).ok_or(EntryError::Kind { index: entry.index })?;
        Self::place((entry.index, entry.term), base, kind, batch)
    }

    /// As raft's type.
    pub(crate) fn to_raft(&self) -> Entry {
        raft_entry((self.index, self.term), self.kind, &self.batch)
    }

    /// The epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        epoch_of(self.term)
    }
}

/// Raft's term as Kafka's epoch. Terms from outside are checked before they reach raft.
pub(crate) fn epoch_of(term: u64) -> LeaderEpoch {
    LeaderEpoch(u32::try_from(term).expect("a term is an epoch"))
}

/// An entry as raft's type.
pub(crate) fn raft_entry((index, term): (u64, u64), kind: EntryKind, batch: &Bytes) -> Entry {
    let mut entry = Entry { index, term, ..Entry::default() };
    match kind {
        EntryKind::Empty => {}
        EntryKind::Batch => entry.data = batch.clone(),
        EntryKind::AddVoter(id) => change(&mut entry, ADD_NODE, id, batch),
        EntryKind::RemoveVoter(id) => change(&mut entry, REMOVE_NODE, id, batch),
    }
    entry
}

const ADD_NODE: i32 = 0;
const REMOVE_NODE: i32 = 1;

// The fields of raft's `ConfChange` that we use. Raft parses what we write here; we parse it with
// our own type, so that its protobuf library only ever sees bytes of ours.
#[derive(Clone, PartialEq, prost::Message)]
struct ConfChange {
    #[prost(int32, tag = "2")]
    change_type: i32,
    #[prost(uint64, tag = "3")]
    node_id: u64,
}

fn change(entry: &mut Entry, change_type: i32, id: RaftId, batch: &Bytes) {
    entry.set_entry_type(EntryType::EntryConfChange);
    entry.data = ConfChange { change_type, node_id: id.to_wire() }.encode_to_vec().into();
    entry.context = batch.clone();
}

/// What an entry does, and its batch; `None` if nothing of ours.
pub(crate) fn kind_of(entry: &Entry) -> Option<(EntryKind, Bytes)> {
    match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Some((EntryKind::Empty, Bytes::new())),
        EntryType::EntryNormal => Some((EntryKind::Batch, entry.data.clone())),
        EntryType::EntryConfChange => {
            let change = ConfChange::decode(entry.data.clone()).ok()?;
            let id = RaftId::from_wire(change.node_id)?;
            let kind = match change.change_type {
                ADD_NODE => EntryKind::AddVoter(id),
                REMOVE_NODE => EntryKind::RemoveVoter(id),
                _ => return None,
            };
            Some((kind, entry.context.clone()))
        }
        EntryType::EntryConfChangeV2 => None,
    }
}
