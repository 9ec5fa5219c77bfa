//! What controllers say to each other: raft's messages, as our own types, decoded within limits.
//!
//! Peers' bytes become a [`PeerMessage`] first and raft's types only then, so that raft's
//! protobuf library never sees bytes from the network (RUSTSEC-2024-0437 is about its recursion
//! on input). Whether a message makes sense is decided by the quorum when it arrives; this file
//! only looks at its form.

use bytes::{Buf, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use raft::eraftpb::{ConfState, Message, MessageType, Snapshot};

use ottla_types::{DirectoryId, LeaderEpoch, NodeId, Offset, Uuid};

use crate::entry::{EntryKind, kind_of, raft_entry};
use crate::ids::{IdTable, RaftId, ReplicaKey};
use crate::snapshot::SnapshotId;

/// Largest message that is decoded, in bytes.
pub const MAX_PEER_MESSAGE: usize = 16 << 20;
// Each element costs more in memory than on the wire, so their number has a limit of its own.
const MAX_ELEMENTS: usize = 100_000;
const ENTRIES_TAG: u32 = 14;
// What raft puts into a vote request that a leader asked for.
const TRANSFER: &[u8] = b"CampaignTransfer";

/// One message between controllers; fields have raft's names and meaning.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerMessage {
    /// Cluster of the sender.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    /// Raft id of the sender.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// Node id of the sender.
    #[prost(uint32, tag = "3")]
    pub from_node: u32,
    /// Directory id of the sender.
    #[prost(bytes = "bytes", tag = "4")]
    pub from_directory: Bytes,
    /// Raft id of the receiver.
    #[prost(uint64, tag = "5")]
    pub to: u64,
    /// Raft's `MessageType`.
    #[prost(uint32, tag = "6")]
    pub kind: u32,
    /// Term of the sender.
    #[prost(uint64, tag = "7")]
    pub term: u64,
    /// Term of the entry at `index`.
    #[prost(uint64, tag = "8")]
    pub log_term: u64,
    /// An entry's index.
    #[prost(uint64, tag = "9")]
    pub index: u64,
    /// Index of the sender's last committed entry.
    #[prost(uint64, tag = "10")]
    pub commit: u64,
    /// Its term.
    #[prost(uint64, tag = "11")]
    pub commit_term: u64,
    /// Whether the answer is no.
    #[prost(bool, tag = "12")]
    pub reject: bool,
    /// Where the sender of the answer would like to go on.
    #[prost(uint64, tag = "13")]
    pub reject_hint: u64,
    /// Entries behind `index`.
    #[prost(message, repeated, tag = "14")]
    pub entries: Vec<PeerEntry>,
    /// Names a snapshot; the receiver reads it by FetchSnapshot.
    #[prost(message, optional, tag = "15")]
    pub snapshot: Option<PeerSnapshot>,
    /// Whether the vote is asked for on the leader's behalf.
    #[prost(bool, tag = "16")]
    pub transfer: bool,
}

/// One entry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerEntry {
    /// Raft index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Raft term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The voter that is added, if one is.
    #[prost(uint64, tag = "3")]
    pub added: u64,
    /// The voter that is removed, if one is.
    #[prost(uint64, tag = "4")]
    pub removed: u64,
    /// The batch in Kafka's format.
    #[prost(bytes = "bytes", tag = "5")]
    pub batch: Bytes,
}

/// The name of a snapshot, and what the receiver needs besides its records.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerSnapshot {
    /// Raft index of the last entry that it covers.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// End offset.
    #[prost(uint64, tag = "3")]
    pub end: u64,
    /// Epoch of the last batch.
    #[prost(uint32, tag = "4")]
    pub epoch: u32,
    /// Raft ids of the voters as of the snapshot.
    #[prost(uint64, repeated, tag = "5")]
    pub voters: Vec<u64>,
    /// Raft ids of all replicas.
    #[prost(message, repeated, tag = "6")]
    pub ids: Vec<PeerId>,
}

/// A replica and its number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerId {
    /// Raft id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Node id.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// Directory id; empty if there is none.
    #[prost(bytes = "bytes", tag = "3")]
    pub directory: Bytes,
}

/// A message that is not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Not a message.
    #[error("not a quorum message")]
    Form(#[from] prost::DecodeError),
    /// A limit is exceeded.
    #[error("quorum message of {len} bytes or {elements} entries is too large")]
    TooLarge {
        /// Bytes.
        len: usize,
        /// Entries.
        elements: usize,
    },
    /// A value that no field of this kind has.
    #[error("quorum message with an impossible {0}")]
    Field(&'static str),
    /// The sender is of another cluster.
    #[error("quorum message from cluster {0:?}")]
    Cluster(String),
    /// The message is for another disk, as after this node's disk was replaced.
    #[error("quorum message for {0}, which this disk is not")]
    Receiver(String),
    /// Peers do not say this: raft followers forward proposals, but only the leader may propose,
    /// because base offsets are inside the batches.
    #[error("quorum messages of type {0} are not accepted from peers")]
    Kind(String),
    /// It contradicts what is known.
    #[error("quorum message contradicts this log: {0}")]
    Contradiction(String),
}

impl PeerMessage {
    /// Reads a message, within limits.
    ///
    /// # Errors
    /// The form is wrong, or a limit exceeded.
    pub fn parse(bytes: Bytes) -> Result<Self, PeerError> {
        let len = bytes.len();
        if len > MAX_PEER_MESSAGE {
            return Err(PeerError::TooLarge { len, elements: 0 });
        }
        let elements = count_entries(bytes.clone())?;
        if elements > MAX_ELEMENTS {
            return Err(PeerError::TooLarge { len, elements });
        }
        Ok(Self::decode(bytes)?)
    }

    /// The replica that sent it.
    pub(crate) fn sender(&self) -> Result<ReplicaKey, PeerError> {
        replica(self.from_node, &self.from_directory)
    }

    /// As raft's type, entries and all.
    pub(crate) fn to_raft(&self) -> Result<Message, PeerError> {
        let mut message = Message {
            from: self.from,
            to: self.to,
            term: self.term,
            log_term: self.log_term,
            index: self.index,
            commit: self.commit,
            commit_term: self.commit_term,
            reject: self.reject,
            reject_hint: self.reject_hint,
            ..Message::default()
        };
        message.set_msg_type(accepted(self.kind)?);
        if self.transfer {
            message.context = Bytes::from_static(TRANSFER);
        }
        let entries = self
            .entries
            .iter()
            .map(|e| Ok(raft_entry((e.index, e.term), e.entry_kind()?, &e.batch)));
        message.set_entries(entries.collect::<Result<Vec<_>, PeerError>>()?.into());
        if let Some(named) = &self.snapshot {
            let mut snapshot = Snapshot::default();
            let metadata = snapshot.mut_metadata();
            metadata.index = named.index;
            metadata.term = named.term;
            let own = (!named.voters.contains(&self.to)).then_some(self.to);
            let learners: Vec<u64> = own.into_iter().collect();
            metadata.set_conf_state(ConfState::from((named.voters.clone(), learners)));
            message.set_snapshot(snapshot);
        }
        Ok(message)
    }

    /// From raft's type. `snapshot` goes with a message that names one.
    pub(crate) fn from_raft(
        message: &Message,
        cluster_id: &str,
        own: ReplicaKey,
        snapshot: Option<PeerSnapshot>,
    ) -> Self {
        let entries = message.entries.iter().map(|entry| {
            let (kind, batch) = kind_of(entry).expect("our own entries have known types");
            let (added, removed) = match kind {
                EntryKind::Empty | EntryKind::Batch => (0, 0),
                EntryKind::AddVoter(id) => (id.to_wire(), 0),
                EntryKind::RemoveVoter(id) => (0, id.to_wire()),
            };
            PeerEntry { index: entry.index, term: entry.term, added, removed, batch }
        });
        Self {
            cluster_id: cluster_id.to_owned(),
            from: message.from,
            from_node: own.node.0,
            from_directory: directory_bytes(own),
            to: message.to,
            kind: kind_number(message.get_msg_type()),
            term: message.term,
            log_term: message.log_term,
            index: message.index,
            commit: message.commit,
            commit_term: message.commit_term,
            reject: message.reject,
            reject_hint: message.reject_hint,
            entries: entries.collect(),
            snapshot,
            transfer: &message.context[..] == TRANSFER,
        }
    }
}

impl PeerEntry {
    pub(crate) fn entry_kind(&self) -> Result<EntryKind, PeerError> {
        match (
            RaftId::from_wire(self.added),
            RaftId::from_wire(self.removed),
            self.batch.is_empty(),
        ) {
            (None, None, true) => Ok(EntryKind::Empty),
            (None, None, false) => Ok(EntryKind::Batch),
            (Some(id), None, false) => Ok(EntryKind::AddVoter(id)),
            (None, Some(id), false) => Ok(EntryKind::RemoveVoter(id)),
            _ => Err(PeerError::Field("entry")),
        }
    }
}

impl PeerSnapshot {
    pub(crate) fn id(&self) -> Result<SnapshotId, PeerError> {
        let end = i64::try_from(self.end).ok().and_then(Offset::from_wire);
        let epoch = i32::try_from(self.epoch).ok().and_then(LeaderEpoch::from_wire);
        let id = end.zip(epoch).map(|(end, epoch)| SnapshotId { end, epoch });
        id.filter(|_| self.index > 0).ok_or(PeerError::Field("snapshot"))
    }

    pub(crate) fn table(&self) -> Result<IdTable, PeerError> {
        let pairs = self.ids.iter().map(|pair| {
            let id = RaftId::from_wire(pair.id).ok_or(PeerError::Field("raft id"))?;
            Ok((id, replica(pair.node, &pair.directory)?))
        });
        Ok(IdTable::from_pairs(pairs.collect::<Result<Vec<_>, PeerError>>()?))
    }
}

impl PeerId {
    pub(crate) fn new((id, key): (RaftId, ReplicaKey)) -> Self {
        Self { id: id.to_wire(), node: key.node.0, directory: directory_bytes(key) }
    }
}

fn replica(node: u32, directory: &Bytes) -> Result<ReplicaKey, PeerError> {
    let node = i32::try_from(node).ok().and_then(NodeId::from_wire);
    let node = node.ok_or(PeerError::Field("node id"))?;
    if directory.is_empty() {
        return Ok(ReplicaKey::of_node(node));
    }
    let bytes = directory[..].try_into().map_err(|_| PeerError::Field("directory id"))?;
    Ok(ReplicaKey::new(node, DirectoryId(Uuid(bytes))))
}

fn directory_bytes(key: ReplicaKey) -> Bytes {
    key.directory.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id.0.bytes()))
}

const KINDS: [(u32, MessageType); 10] = [
    (3, MessageType::MsgAppend),
    (4, MessageType::MsgAppendResponse),
    (5, MessageType::MsgRequestVote),
    (6, MessageType::MsgRequestVoteResponse),
    (7, MessageType::MsgSnapshot),
    (8, MessageType::MsgHeartbeat),
    (9, MessageType::MsgHeartbeatResponse),
    (14, MessageType::MsgTimeoutNow),
    (17, MessageType::MsgRequestPreVote),
    (18, MessageType::MsgRequestPreVoteResponse),
];

fn accepted(kind: u32) -> Result<MessageType, PeerError> {
    let found = KINDS.iter().find(|(number, _)| *number == kind);
    found.map(|(_, kind)| *kind).ok_or_else(|| PeerError::Kind(kind.to_string()))
}

fn kind_number(kind: MessageType) -> u32 {
    let found = KINDS.iter().find(|(_, known)| *known == kind);
    found.map_or(0, |(number, _)| *number)
}

// Counts entries before anything is allocated for them.
fn count_entries(mut bytes: Bytes) -> Result<usize, prost::DecodeError> {
    let mut entries = 0;
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        entries += usize::from(tag == ENTRIES_TAG);
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn append() -> PeerMessage {
        let batch = Bytes::from_static(b"batch");
        let plain = PeerEntry { index: 4, term: 2, batch: batch.clone(), ..PeerEntry::default() };
        let empty = PeerEntry { index: 5, term: 2, ..PeerEntry::default() };
        let voter = PeerEntry { index: 6, term: 2, added: 1 << 63, batch, ..PeerEntry::default() };
        PeerMessage {
            cluster_id: "cluster".to_owned(),
            from: 1,
            from_node: 0,
            to: 2,
            kind: 3,
            term: 2,
            entries: vec![plain, empty, voter],
            ..PeerMessage::default()
        }
    }

    #[test]
    fn raft_and_the_wire_say_the_same() {
        let sent = append();
        let got = PeerMessage::parse(sent.encode_to_vec().into()).unwrap();
        let own = ReplicaKey::of_node(NodeId(0));
        let back = PeerMessage::from_raft(&got.to_raft().unwrap(), "cluster", own, None);
        assert_eq!(back, sent);
    }

    #[test]
    fn proposals_of_peers_are_refused() {
        // Raft followers forward proposals (2), transfers (13) and reads (15) to the leader.
        for kind in [0, 1, 2, 10, 11, 12, 13, 15, 16, 99] {
            let message = PeerMessage { kind, ..append() };
            let refused = message.to_raft().unwrap_err().to_string();
            let expected = format!("quorum messages of type {kind} are not accepted from peers");
            assert_eq!(refused, expected);
        }
    }

    #[test]
    fn many_small_entries_are_counted_before_they_are_decoded() {
        let entry = [14 << 3 | 2, 0];
        let bytes = Bytes::from(entry.repeat(MAX_ELEMENTS + 1));
        assert!(matches!(PeerMessage::parse(bytes), Err(PeerError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn mutated_messages_never_panic(at in 0..200_usize, byte: u8, cut in 0..200_usize) {
            let mut bytes = append().encode_to_vec();
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            bytes.truncate(cut.max(1));
            if let Ok(message) = PeerMessage::parse(bytes.into()) {
                let _ = message.to_raft();
                let _ = message.sender();
            }
        }
    }
}
