//! Who a voter is, to raft and to Kafka.
//!
//! Raft knows a number, Kafka a node id and (since KIP-853) the id of the directory that holds
//! the log. [`IdTable`] maps one to the other. It only ever grows: a number is never reused and
//! never renumbered, because raft remembers votes by number. What this file does not do is decide
//! who votes; that is [`crate::VoterSet`].

use std::collections::BTreeMap;
use std::fmt;

use ottla_types::{DirectoryId, NodeId};

/// Raft's number for one voter's disk; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(u64);

impl RaftId {
    /// A number from outside; 0 means "nobody" to raft and is none.
    pub fn from_wire(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Self(raw))
    }

    /// The number.
    pub fn to_wire(self) -> u64 {
        self.0
    }

    // The first voters of a quorum: every node can work these out for itself.
    fn initial(node: NodeId) -> Self {
        Self(u64::from(node.0) + 1)
    }

    // Voters that join later. The top bit keeps them apart from the initial ones, and the
    // directory in the hash gives a replaced disk another number (FNV-1a, 64 bits).
    fn joined(node: NodeId, directory: DirectoryId) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in node.0.to_be_bytes().into_iter().chain(directory.0.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(hash | 1 << 63)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{self}")
    }
}

/// A node and the directory that holds its log (Kafka's `ReplicaKey`).
///
/// Static quorums (kraft.version 0) know no directory ids, so a wiped disk looks like the old one
/// there; only dynamic quorums can refuse it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaKey {
    /// `node.id`.
    pub node: NodeId,
    /// `directory.id` of the metadata log directory, if it is known.
    pub directory: Option<DirectoryId>,
}

impl ReplicaKey {
    /// A replica whose directory is not known.
    pub fn of_node(node: NodeId) -> Self {
        Self { node, directory: None }
    }

    /// A replica in a directory.
    pub fn new(node: NodeId, directory: DirectoryId) -> Self {
        Self { node, directory: Some(directory) }
    }

    /// Whether both may be the same replica: a directory that is not known matches any.
    pub fn matches(self, other: Self) -> bool {
        let directories = self.directory.zip(other.directory);
        self.node == other.node && directories.is_none_or(|(a, b)| a == b)
    }
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.directory {
            Some(directory) => write!(f, "{}-{directory}", self.node),
            None => write!(f, "{}", self.node),
        }
    }
}

impl fmt::Debug for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Raft's numbers of every replica that ever voted, as far as this node knows.
///
/// The first voters get `node id + 1`; a voter that joins later gets a hash of its node id and
/// directory id. A quorum that becomes dynamic keeps its numbers ([`IdTable::learn`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdTable {
    keys: BTreeMap<RaftId, ReplicaKey>,
}

impl IdTable {
    /// The table of a quorum that starts with these voters.
    pub fn initial(voters: impl IntoIterator<Item = ReplicaKey>) -> Self {
        let keys = voters.into_iter().map(|key| (RaftId::initial(key.node), key));
        Self { keys: keys.collect() }
    }

    /// A table read from disk or from a peer.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (RaftId, ReplicaKey)>) -> Self {
        Self { keys: pairs.into_iter().collect() }
    }

    /// Every pair, by number.
    pub fn pairs(&self) -> impl Iterator<Item = (RaftId, ReplicaKey)> + '_ {
        self.keys.iter().map(|(id, key)| (*id, *key))
    }

    /// Whether nobody is in the table.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The replica with this number.
    pub fn key(&self, id: RaftId) -> Option<ReplicaKey> {
        self.keys.get(&id).copied()
    }

    /// The number of a replica: the exact key if it is there, else one that may be the same.
    pub fn find(&self, key: ReplicaKey) -> Option<RaftId> {
        let exact = self.keys.iter().find(|(_, known)| **known == key);
        let found = exact.or_else(|| self.keys.iter().find(|(_, known)| known.matches(key)));
        found.map(|(id, _)| *id)
    }

    /// The number that a replica has, or would get if it joined now.
    ///
    /// A joiner without a directory id cannot be told from its predecessor, so it has none.
    pub fn number_for(&self, key: ReplicaKey) -> Option<RaftId> {
        self.find(key).or_else(|| key.directory.map(|dir| RaftId::joined(key.node, dir)))
    }

    /// The number of a voter that was there from the start, as its node id gives it.
    pub(crate) fn initial_number(node: NodeId) -> RaftId {
        RaftId::initial(node)
    }

    /// Notes that `id` is `key`; returns whether the table changed.
    ///
    /// # Panics
    /// If the number already belongs to a replica that cannot be this one.
    pub fn learn(&mut self, id: RaftId, key: ReplicaKey) -> bool {
        match self.keys.get_mut(&id) {
            Some(known) => {
                assert!(known.matches(key), "{id:?} is {known}, not {key}: numbers are not reused");
                if known.directory.is_some() || key.directory.is_none() {
                    return false;
                }
                *known = key;
            }
            None => {
                self.keys.insert(id, key);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use ottla_types::Uuid;

    use super::*;

    fn directory(n: u64) -> DirectoryId {
        DirectoryId(Uuid::from_parts(7, n))
    }

    #[test]
    fn a_static_quorum_that_becomes_dynamic_keeps_its_numbers() {
        let nodes = [NodeId(0), NodeId(1)].map(ReplicaKey::of_node);
        let mut table = IdTable::initial(nodes);
        let id = table.find(ReplicaKey::new(NodeId(0), directory(9))).unwrap();
        assert_eq!(id.to_wire(), 1);
        assert!(table.learn(id, ReplicaKey::new(NodeId(0), directory(9))));
        assert!(!table.learn(id, ReplicaKey::new(NodeId(0), directory(9))));
        assert_eq!(table.find(ReplicaKey::new(NodeId(0), directory(9))), Some(id));
        // Another disk of node 0 is somebody else now.
        let other = ReplicaKey::new(NodeId(0), directory(10));
        assert_eq!(table.find(other), None);
        assert!(table.number_for(other).unwrap().to_wire() >= 1 << 63);
    }

    #[test]
    fn nobody_is_not_a_number() {
        assert_eq!(RaftId::from_wire(0), None);
        assert_eq!(IdTable::default().number_for(ReplicaKey::of_node(NodeId(3))), None);
    }
}
