//! Groups of the other protocols, found in the log of a cluster that has them. They are kept as
//! they are, listed, and not served; that their records are all known by key is enough to delete
//! them.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::api::GroupKind;
use crate::names::ProtocolType;

/// A group whose protocol is not spoken here.
#[derive(Clone, Debug)]
pub(crate) struct ForeignGroup {
    pub(crate) kind: GroupKind,
    /// Keys of its records that are not tombstoned.
    keys: BTreeSet<Bytes>,
    /// Those of them that describe members.
    members: BTreeSet<Bytes>,
}

impl ForeignGroup {
    pub(crate) fn new(kind: GroupKind) -> Self {
        Self { kind, keys: BTreeSet::new(), members: BTreeSet::new() }
    }

    /// Takes a record from the log.
    pub(crate) fn replay(&mut self, id: ForeignRecord, key: &Bytes, live: bool) {
        if live {
            self.keys.insert(key.clone());
            if id.describes_member {
                self.members.insert(key.clone());
            }
        } else {
            self.keys.remove(key);
            self.members.remove(key);
        }
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Keys of all its records.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.iter()
    }

    /// What ListGroups calls its protocol.
    pub(crate) fn protocol_type(&self) -> ProtocolType {
        ProtocolType::from(match self.kind {
            GroupKind::Classic | GroupKind::Consumer => "consumer",
            GroupKind::Share => "share",
            GroupKind::Streams => "streams",
        })
    }

    /// Its state, as far as it can be told.
    pub(crate) fn state(&self) -> &'static str {
        if self.is_empty() { "Empty" } else { "Stable" }
    }
}

/// What the id in a record's key says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignRecord {
    pub(crate) kind: GroupKind,
    describes_member: bool,
}

impl ForeignRecord {
    /// Record ids of Kafka's `CoordinatorRecordType`; `None` for those of this crate's protocol
    /// and for unknown ones.
    pub(crate) fn from_id(id: i16) -> Option<Self> {
        let (kind, member_id) = match id {
            10..=15 => (GroupKind::Share, 10),
            17 | 19..=23 => (GroupKind::Streams, 19),
            _ => return None,
        };
        Some(Self { kind, describes_member: id == member_id })
    }
}
