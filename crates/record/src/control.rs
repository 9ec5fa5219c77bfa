//! Control records: what the log tells itself, such as the end of a transaction or a new leader.
//!
//! A control record's key is a version and a type, each `int16`; its value begins with its own
//! version. Source: Kafka's `ControlRecordType` and `ControlRecordUtils` (KIP-98, KIP-595,
//! KIP-630, KIP-853).

use bytes::Bytes;
use ottla_codec::{Reader, Sink, Writer};

use crate::error::BatchError;
use crate::record::Record;

/// Kind of a control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort,
    /// A transaction was committed.
    Commit,
    /// A leader of the metadata quorum begins its epoch.
    LeaderChange,
    /// First record of a snapshot.
    SnapshotHeader,
    /// Last record of a snapshot.
    SnapshotFooter,
    /// Finalized level of `kraft.version`.
    KraftVersion,
    /// Voters of the metadata quorum.
    KraftVoters,
    /// A kind that this version does not know.
    Unknown(i16),
}

// Key versions up to this one have the same layout.
const KEY_VERSION: i16 = 0;

impl ControlType {
    /// Number in the key.
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// Kind with this number.
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            id => Self::Unknown(id),
        }
    }

    /// The record key.
    pub fn key(self) -> Bytes {
        let mut key = Writer::with_capacity(4);
        key.put_i16(KEY_VERSION);
        key.put_i16(self.id());
        key.into_bytes()
    }

    /// Kind of a record in a control batch.
    ///
    /// # Errors
    /// No key, or one that is too short.
    pub fn of(record: &Record) -> Result<Self, BatchError> {
        let mut key = Reader::new(record.key.clone().unwrap_or_default());
        // Later versions may append fields, so what follows is left alone.
        key.i16("control record key version").map_err(BatchError::Control)?;
        let id = key.i16("control record type").map_err(BatchError::Control)?;
        Ok(Self::from_id(id))
    }
}
