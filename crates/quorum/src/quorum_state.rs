//! The file `quorum-state`: Kafka's note of the last election, kept for its tools and for a Java
//! node that opens the directory.
//!
//! One line of JSON, as Kafka's `FileQuorumStateStore` writes it. Our own state is elsewhere
//! ([`crate::StateFile`]); this file is written after it and before the first append of an epoch,
//! because a Java node that did not know of our epoch would lead it a second time. A file with a
//! newer epoch than ours tells that Java has written since.

use ottla_types::{DirectoryId, LeaderEpoch, NodeId};
use serde_json::Value;

use crate::ids::ReplicaKey;
use crate::voters::KRaftVersion;

/// Content of `quorum-state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    /// Current epoch.
    pub epoch: LeaderEpoch,
    /// Leader of the epoch, if it is known.
    pub leader: Option<NodeId>,
    /// Who got this node's vote in the epoch, while no leader is known.
    pub voted: Option<ReplicaKey>,
    /// Voters' node ids; only version 0 of the file has them.
    pub voters: Vec<NodeId>,
}

/// The file is not what Kafka writes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumStateError {
    /// Not one JSON object.
    #[error("quorum-state is not JSON")]
    Json(#[from] serde_json::Error),
    /// A version that Kafka 4.3 does not know either.
    #[error("quorum-state has data_version {0}, known are 0 and 1")]
    Version(i64),
    /// A field is missing or has another type.
    #[error("quorum-state lacks a valid {0}")]
    Field(&'static str),
}

impl QuorumState {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not what Kafka writes.
    pub fn parse(text: &[u8]) -> Result<Self, QuorumStateError> {
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let json: Value = serde_json::from_slice(line)?;
        let version = number(&json, "data_version")?;
        if !(0..=1).contains(&version) {
            return Err(QuorumStateError::Version(version));
        }
        let epoch = LeaderEpoch::from_wire(int(&json, "leaderEpoch")?).unwrap_or_default();
        let leader = NodeId::from_wire(int(&json, "leaderId")?);
        let voted = NodeId::from_wire(int(&json, "votedId")?);
        let directory = match version {
            0 => None,
            _ => Some(directory(&json)?),
        };
        let voted = voted.map(|node| ReplicaKey { node, directory: directory.flatten() });
        let voters = match version {
            0 => voters(&json)?,
            _ => Vec::new(),
        };
        Ok(Self { epoch, leader, voted, voters })
    }

    /// The file in the version that goes with `kraft.version`, without a line end, as Kafka
    /// writes it.
    pub fn render(&self, version: KRaftVersion) -> String {
        let leader = NodeId::option_to_wire(self.leader);
        let epoch = self.epoch.to_wire();
        let voted = NodeId::option_to_wire(self.voted.map(|key| key.node));
        match version {
            KRaftVersion::Static => {
                let voters = self.voters.iter().map(|node| format!("{{\"voterId\":{node}}}"));
                let voters = voters.collect::<Vec<_>>().join(",");
                format!(
                    "{{\"clusterId\":\"\",\"leaderId\":{leader},\"leaderEpoch\":{epoch},\
                     \"votedId\":{voted},\"appliedOffset\":0,\"currentVoters\":[{voters}],\
                     \"data_version\":0}}"
                )
            }
            KRaftVersion::Dynamic => {
                let directory = self.voted.and_then(|key| key.directory).unwrap_or_default();
                format!(
                    "{{\"leaderId\":{leader},\"leaderEpoch\":{epoch},\"votedId\":{voted},\
                     \"votedDirectoryId\":\"{directory}\",\"data_version\":1}}"
                )
            }
        }
    }
}

fn number(json: &Value, field: &'static str) -> Result<i64, QuorumStateError> {
    json.get(field).and_then(Value::as_i64).ok_or(QuorumStateError::Field(field))
}

fn int(json: &Value, field: &'static str) -> Result<i32, QuorumStateError> {
    i32::try_from(number(json, field)?).map_err(|_| QuorumStateError::Field(field))
}

fn directory(json: &Value) -> Result<Option<DirectoryId>, QuorumStateError> {
    const FIELD: &str = "votedDirectoryId";
    let text = json.get(FIELD).and_then(Value::as_str).ok_or(QuorumStateError::Field(FIELD))?;
    let uuid = text.parse().map_err(|_| QuorumStateError::Field(FIELD))?;
    Ok(Some(DirectoryId(uuid)).filter(|directory| !directory.0.is_zero()))
}

fn voters(json: &Value) -> Result<Vec<NodeId>, QuorumStateError> {
    const FIELD: &str = "currentVoters";
    let list = json.get(FIELD).ok_or(QuorumStateError::Field(FIELD))?;
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let node =
        |voter| NodeId::from_wire(int(voter, "voterId")?).ok_or(QuorumStateError::Field("voterId"));
    list.iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by Apache Kafka 4.3.1.
    const STATIC: &str = r#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
    const DYNAMIC: &str = r#"{"leaderId":-1,"leaderEpoch":2,"votedId":1,"votedDirectoryId":"J8aAPcfLQt2bqs1JT_rMgQ","data_version":1}"#;

    #[test]
    fn kafkas_files_come_back_to_the_byte() {
        for (text, version) in [(STATIC, KRaftVersion::Static), (DYNAMIC, KRaftVersion::Dynamic)] {
            let state = QuorumState::parse(text.as_bytes()).unwrap();
            assert_eq!(state.render(version), text);
        }
        let state = QuorumState::parse(STATIC.as_bytes()).unwrap();
        assert_eq!((state.leader, state.voters), (Some(NodeId(1)), vec![NodeId(1)]));
        let state = QuorumState::parse(DYNAMIC.as_bytes()).unwrap();
        assert_eq!((state.leader, state.voted.unwrap().node), (None, NodeId(1)));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        let refused = |text: &str| QuorumState::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused("{"), "quorum-state is not JSON");
        assert_eq!(refused("{}"), "quorum-state lacks a valid data_version");
        let later = STATIC.replace("\"data_version\":0", "\"data_version\":2");
        assert_eq!(refused(&later), "quorum-state has data_version 2, known are 0 and 1");
        let odd = STATIC.replace("\"leaderEpoch\":1", "\"leaderEpoch\":\"1\"");
        assert_eq!(refused(&odd), "quorum-state lacks a valid leaderEpoch");
    }
}
