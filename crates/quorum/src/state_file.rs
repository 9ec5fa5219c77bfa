//! The file `ottla-quorum.state`: raft's hard state, and where the write-ahead log begins.
//!
//! Small, and replaced whole: written to a temporary name, synced, renamed, directory synced.
//! The layout is drawn in `docs/formats/quorum.md`. This file does no IO.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_codec::{DecodeError, Reader};
use ottla_types::{DirectoryId, LeaderEpoch, NodeId, Offset, Uuid};

use crate::ids::{IdTable, RaftId, ReplicaKey};

const MAGIC: &[u8; 8] = b"ottlaqst";
const FORMAT: u32 = 1;
const CRC_LEN: usize = 4;
const MAX_REPLICAS: u32 = 100_000;

/// A committed point of both logs: the last entry that is gone from the write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPoint {
    /// Raft index of the entry; 0 if there never was one.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Where the metadata log ends behind it.
    pub end: Offset,
    /// Epoch of the last batch up to there; `None` if there is none.
    pub epoch: Option<LeaderEpoch>,
}

/// Content of `ottla-quorum.state`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateFile {
    /// Which write-ahead log is valid: an older one is void.
    pub generation: u64,
    /// Raft's current term.
    pub term: u64,
    /// Who got this node's vote in it.
    pub vote: Option<RaftId>,
    /// This node's own number.
    pub own: Option<RaftId>,
    /// What the write-ahead log follows.
    pub trimmed: LogPoint,
    /// Numbers of all replicas.
    pub ids: IdTable,
}

/// The file is damaged, or of a later format.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// The checksum is wrong.
    #[error("ottla-quorum.state is damaged")]
    Damaged,
    /// Magic or format number are not ours.
    #[error("ottla-quorum.state has an unknown format")]
    Format,
    /// A field cannot be read.
    #[error("ottla-quorum.state")]
    Field(#[from] DecodeError),
}

impl StateFile {
    /// The file's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128);
        out.put_slice(MAGIC);
        out.put_u32(FORMAT);
        out.put_u64(self.generation);
        out.put_u64(self.term);
        out.put_u64(self.vote.map_or(0, RaftId::to_wire));
        out.put_u64(self.own.map_or(0, RaftId::to_wire));
        out.put_u64(self.trimmed.index);
        out.put_u64(self.trimmed.term);
        out.put_u64(self.trimmed.end.0);
        out.put_i32(LeaderEpoch::option_to_wire(self.trimmed.epoch));
        let pairs: Vec<_> = self.ids.pairs().collect();
        out.put_u32(u32::try_from(pairs.len()).expect("few voters"));
        for (id, key) in pairs {
            out.put_u64(id.to_wire());
            out.put_i32(key.node.to_wire());
            out.put_slice(&key.directory.unwrap_or_default().0.bytes());
        }
        out.put_u32(crc_fast::crc32_iscsi(&out));
        out.freeze()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is damaged, or of a later format.
    pub fn decode(bytes: &Bytes) -> Result<Self, StateFileError> {
        let split = bytes.len().checked_sub(CRC_LEN).ok_or(StateFileError::Damaged)?;
        let (body, crc) = (bytes.slice(..split), bytes.slice(split..));
        if crc != crc_fast::crc32_iscsi(&body).to_be_bytes()[..] {
            return Err(StateFileError::Damaged);
        }
        let mut reader = Reader::new(body);
        let magic = reader.bytes_exact("magic", MAGIC.len())?;
        if &magic[..] != MAGIC || reader.u32("format")? != FORMAT {
            return Err(StateFileError::Format);
        }
        let mut state = Self {
            generation: number(&mut reader, "generation")?,
            term: number(&mut reader, "term")?,
            vote: RaftId::from_wire(number(&mut reader, "vote")?),
            own: RaftId::from_wire(number(&mut reader, "own raft id")?),
            trimmed: LogPoint {
                index: number(&mut reader, "trimmed index")?,
                term: number(&mut reader, "trimmed term")?,
                end: Offset(number(&mut reader, "trimmed end offset")?),
                epoch: LeaderEpoch::from_wire(reader.i32("trimmed epoch")?),
            },
            ids: IdTable::default(),
        };
        let replicas = reader.u32("replicas")?;
        let mut pairs = Vec::new();
        for _ in 0..replicas.min(MAX_REPLICAS) {
            let id = RaftId::from_wire(number(&mut reader, "raft id")?);
            let node = NodeId::from_wire(reader.i32("node id")?);
            let directory = Uuid(reader.array16("directory id")?);
            let directory = Some(DirectoryId(directory)).filter(|id| !id.0.is_zero());
            pairs.extend(id.zip(node).map(|(id, node)| (id, ReplicaKey { node, directory })));
        }
        state.ids = IdTable::from_pairs(pairs);
        Ok(state)
    }
}

fn number(reader: &mut Reader, field: &'static str) -> Result<u64, DecodeError> {
    Ok(reader.i64(field)?.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StateFile {
        let directory = DirectoryId(Uuid::from_parts(3, 4));
        let keys = [ReplicaKey::of_node(NodeId(0)), ReplicaKey::new(NodeId(7), directory)];
        StateFile {
            generation: 2,
            term: 9,
            vote: RaftId::from_wire(8),
            own: RaftId::from_wire(1),
            trimmed: LogPoint { index: 40, term: 8, end: Offset(77), epoch: Some(LeaderEpoch(6)) },
            ids: IdTable::initial(keys),
        }
    }

    #[test]
    fn what_was_written_comes_back() {
        for state in [state(), StateFile::default()] {
            assert_eq!(StateFile::decode(&state.encode()).unwrap(), state);
        }
    }

    #[test]
    fn every_flip_and_cut_is_noticed() {
        let whole = state().encode();
        for at in 0..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1;
            assert!(StateFile::decode(&flipped.into()).is_err(), "flip at {at}");
            assert!(StateFile::decode(&whole.slice(..at)).is_err(), "cut at {at}");
        }
    }
}
