//! Voter sets: who votes, and where voters listen.
//!
//! A set comes from `controller.quorum.voters` (static, kraft.version 0) or from the newest
//! KRaftVoters record in the snapshot or the log (dynamic, kraft.version 1, KIP-853). It holds a
//! node id once, so the disk of a voter is replaced by removing and then adding it.

use std::collections::BTreeMap;

use ottla_codec::Str;
use ottla_record::generated::VotersRecord;
use ottla_record::generated::voters_record as wire;
use ottla_types::{DirectoryId, NodeId, Uuid};

use crate::ids::ReplicaKey;

/// Level of the feature `kraft.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KRaftVersion {
    /// Voters are a static list, without directory ids.
    #[default]
    Static,
    /// Voters are in the log and can change (KIP-853).
    Dynamic,
}

impl KRaftVersion {
    /// The feature level.
    pub fn level(self) -> i16 {
        match self {
            Self::Static => 0,
            Self::Dynamic => 1,
        }
    }

    /// The version with this level.
    pub fn from_level(level: i16) -> Option<Self> {
        match level {
            0 => Some(Self::Static),
            1 => Some(Self::Dynamic),
            _ => None,
        }
    }
}

/// Where a voter listens, under one listener name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Node and directory.
    pub key: ReplicaKey,
    /// Controller listeners, the first of which other controllers use.
    pub endpoints: Vec<Endpoint>,
    /// Lowest and highest level of `kraft.version` that the voter supports.
    pub kraft_versions: (i16, i16),
}

impl Voter {
    /// A voter of this software.
    pub fn new(key: ReplicaKey, endpoints: Vec<Endpoint>) -> Self {
        Self { key, endpoints, kraft_versions: (0, 1) }
    }
}

/// The voters of one moment, by node id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<NodeId, Voter>,
}

impl VoterSet {
    /// A set of these voters; of several with one node id the last counts.
    pub fn new(voters: impl IntoIterator<Item = Voter>) -> Self {
        Self { voters: voters.into_iter().map(|voter| (voter.key.node, voter)).collect() }
    }

    /// Every voter, by node id.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    /// Every voter's key, by node id.
    pub fn keys(&self) -> impl Iterator<Item = ReplicaKey> + '_ {
        self.voters.values().map(|voter| voter.key)
    }

    /// Number of voters.
    pub fn len(&self) -> usize {
        self.voters.len()
    }

    /// Whether there is no voter.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// The voter with this node id.
    pub fn get(&self, node: NodeId) -> Option<&Voter> {
        self.voters.get(&node)
    }

    /// Whether the replica votes; a set without directory ids looks at the node id alone.
    pub fn is_voter(&self, key: ReplicaKey) -> bool {
        self.get(key.node).is_some_and(|voter| voter.key.matches(key))
    }

    /// Whether the replica is the only voter.
    pub fn is_only_voter(&self, key: ReplicaKey) -> bool {
        self.len() == 1 && self.is_voter(key)
    }

    /// The set with one more voter; `None` if the node id is taken.
    pub fn with(&self, voter: Voter) -> Option<Self> {
        let mut voters = self.voters.clone();
        voters.insert(voter.key.node, voter).is_none().then_some(Self { voters })
    }

    /// The set without a voter; `None` if it does not vote.
    pub fn without(&self, key: ReplicaKey) -> Option<Self> {
        let mut voters = self.voters.clone();
        self.is_voter(key).then(|| voters.remove(&key.node))?;
        Some(Self { voters })
    }

    /// The set with a voter's endpoints and versions replaced; `None` if it does not vote.
    pub fn updated(&self, voter: Voter) -> Option<Self> {
        let mut voters = self.voters.clone();
        self.is_voter(voter.key).then(|| voters.insert(voter.key.node, voter))?;
        Some(Self { voters })
    }

    /// As a control record.
    pub fn to_record(&self) -> VotersRecord {
        let voters = self.iter().map(|voter| wire::Voter {
            voter_id: voter.key.node.to_wire(),
            voter_directory_id: voter.key.directory.map_or(Uuid::ZERO, |directory| directory.0),
            endpoints: voter.endpoints.iter().map(endpoint_to_wire).collect(),
            kraft_version_feature: wire::KRaftVersionFeature {
                min_supported_version: voter.kraft_versions.0,
                max_supported_version: voter.kraft_versions.1,
            },
        });
        VotersRecord { version: 0, voters: voters.collect() }
    }

    /// From a control record; `None` if a node id is negative or stands twice.
    pub fn from_record(record: &VotersRecord) -> Option<Self> {
        let mut voters = BTreeMap::new();
        for voter in &record.voters {
            let node = NodeId::from_wire(voter.voter_id)?;
            let directory = Some(DirectoryId(voter.voter_directory_id));
            let directory = directory.filter(|directory| !directory.0.is_zero());
            let key = ReplicaKey { node, directory };
            let endpoints = voter.endpoints.iter().map(endpoint_from_wire).collect();
            let feature = &voter.kraft_version_feature;
            let kraft_versions = (feature.min_supported_version, feature.max_supported_version);
            let previous = voters.insert(node, Voter { key, endpoints, kraft_versions });
            if previous.is_some() {
                return None;
            }
        }
        Some(Self { voters })
    }
}

fn endpoint_to_wire(endpoint: &Endpoint) -> wire::Endpoint {
    let Endpoint { name, host, port } = endpoint;
    wire::Endpoint { name: Str::from(name.clone()), host: Str::from(host.clone()), port: *port }
}

fn endpoint_from_wire(endpoint: &wire::Endpoint) -> Endpoint {
    let wire::Endpoint { name, host, port, .. } = endpoint;
    Endpoint { name: name.to_string(), host: host.to_string(), port: *port }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(node: u32, directory: u64) -> Voter {
        let key = ReplicaKey::new(NodeId(node), DirectoryId(Uuid::from_parts(1, directory)));
        let (name, host) = ("CONTROLLER".to_owned(), "localhost".to_owned());
        Voter::new(key, vec![Endpoint { name, host, port: 9093 }])
    }

    #[test]
    fn a_node_id_votes_once() {
        let set = VoterSet::new([voter(1, 1), voter(2, 2)]);
        assert_eq!(set.with(voter(2, 3)), None);
        let without = set.without(voter(2, 2).key).unwrap();
        assert!(without.with(voter(2, 3)).unwrap().is_voter(voter(2, 3).key));
        assert_eq!(set.without(voter(2, 3).key), None);
        assert!(without.is_only_voter(voter(1, 1).key));
    }

    #[test]
    fn a_record_brings_the_set_back() {
        let set = VoterSet::new([voter(1, 1), voter(2, 2)]);
        let mut record = set.to_record();
        assert_eq!(VoterSet::from_record(&record), Some(set));
        record.voters.push(record.voters[0].clone());
        assert_eq!(VoterSet::from_record(&record), None);
    }
}
