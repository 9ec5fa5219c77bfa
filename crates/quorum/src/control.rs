//! Control batches of the metadata log: reading them, and building the start of an epoch.
//!
//! Control records tell who leads ([`Control::LeaderChange`]), who votes ([`Control::Voters`])
//! and how voters are kept ([`Control::KRaftVersion`]). [`ControlState`] is what they add up to.
//! Source: Kafka's `LeaderState.appendStartOfEpochControlRecords`, KIP-595, KIP-853.

use bytes::Bytes;
use ottla_codec::{DecodeError, Message, decode_exact, encode_to_bytes};
use ottla_record::generated::leader_change_message as leader_change;
use ottla_record::generated::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use ottla_record::{
    Batch, BatchBuilder, BatchError, Compression, ControlType, DecompressLimits, Record,
};
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp, Uuid, WallTime};

use crate::voters::{KRaftVersion, VoterSet};

/// One control record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A leader begins its epoch.
    LeaderChange {
        /// Who leads.
        leader: NodeId,
    },
    /// `kraft.version` is finalized.
    KRaftVersion(KRaftVersion),
    /// The voters are these.
    Voters(VoterSet),
    /// A snapshot begins.
    SnapshotHeader {
        /// Append time of the newest record that the snapshot covers.
        last_timestamp: Timestamp,
    },
    /// A snapshot is complete.
    SnapshotFooter,
    /// Something that the quorum does not care about.
    Other,
}

/// A control batch that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Not a batch, or a damaged one.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A record's value is not what its type says.
    #[error(transparent)]
    Value(#[from] DecodeError),
    /// A record's value contradicts itself.
    #[error("{0}")]
    Meaning(&'static str),
}

/// Reads a control batch; a batch of another kind has no control records.
///
/// # Errors
/// The batch is damaged, or means nothing.
pub fn read_control(batch: &Batch) -> Result<Vec<(Offset, Control)>, ControlError> {
    if !batch.header().attributes.is_control() {
        return Ok(Vec::new());
    }
    let records = batch.records(&DecompressLimits::default())?;
    records
        .map(|record| record.map_err(Into::into).and_then(|r| Ok((r.offset, meaning(&r)?))))
        .collect()
}

fn meaning(record: &Record) -> Result<Control, ControlError> {
    let kind = ControlType::of(record)?;
    let value = record.value.clone().unwrap_or_default();
    Ok(match kind {
        ControlType::LeaderChange => {
            let message: LeaderChangeMessage = versioned(value)?;
            let leader = NodeId::from_wire(message.leader_id);
            Control::LeaderChange { leader: leader.ok_or(ControlError::Meaning("leader id"))? }
        }
        ControlType::KraftVersion => {
            let message: KRaftVersionRecord = versioned(value)?;
            let version = KRaftVersion::from_level(message.kraft_version);
            Control::KRaftVersion(version.ok_or(ControlError::Meaning("unknown kraft.version"))?)
        }
        ControlType::KraftVoters => {
            let message: VotersRecord = versioned(value)?;
            let voters = VoterSet::from_record(&message);
            let voters = voters.filter(|voters| !voters.is_empty());
            Control::Voters(voters.ok_or(ControlError::Meaning("voters"))?)
        }
        ControlType::SnapshotHeader => {
            let message: SnapshotHeaderRecord = versioned(value)?;
            let last_timestamp = Timestamp(message.last_contained_log_timestamp);
            Control::SnapshotHeader { last_timestamp }
        }
        ControlType::SnapshotFooter => Control::SnapshotFooter,
        _ => Control::Other,
    })
}

// A control record's value says its own version first. Kafka reads every one in the version it
// knows; the fields of later ones are tagged.
fn versioned<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let version = value.first_chunk().map_or(0, |raw| i16::from_be_bytes(*raw));
    decode_exact(value, version.clamp(M::VERSIONS.0, M::VERSIONS.1))
}

/// What the control records of a snapshot and a log add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlState {
    /// Finalized `kraft.version`.
    pub kraft_version: KRaftVersion,
    /// Newest voters, if any were recorded.
    pub voters: Option<VoterSet>,
    /// Whether those voters stand in the log, or in a snapshot of it. The bootstrap checkpoint
    /// (`0-0`) is never served to observers, so voters that stand only there must be written
    /// again by the first leader.
    pub in_log: bool,
}

impl ControlState {
    /// Takes a batch of the log into account, and returns its control records.
    ///
    /// # Errors
    /// As [`read_control`].
    pub fn observe(&mut self, batch: &Batch) -> Result<Vec<(Offset, Control)>, ControlError> {
        let controls = read_control(batch)?;
        for (_, control) in &controls {
            match control {
                Control::KRaftVersion(version) => self.kraft_version = *version,
                Control::Voters(voters) => {
                    self.voters = Some(voters.clone());
                    self.in_log = true;
                }
                _ => {}
            }
        }
        Ok(controls)
    }
}

/// The leader's first batch.
pub(crate) struct EpochStart<'a> {
    pub(crate) at: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) now: WallTime,
    pub(crate) leader: NodeId,
    pub(crate) voters: &'a VoterSet,
    pub(crate) granting: &'a [NodeId],
    /// Written too when the log lacks them or the leader's own entry changed.
    pub(crate) rewritten: Option<(KRaftVersion, &'a VoterSet)>,
}

impl EpochStart<'_> {
    pub(crate) fn build(&self) -> Bytes {
        // Kafka 4.3 writes version 0, which has no directory ids, for dynamic quorums as well.
        let voter = |node: NodeId| leader_change::Voter {
            voter_id: node.to_wire(),
            voter_directory_id: Uuid::ZERO,
        };
        let change = LeaderChangeMessage {
            version: 0,
            leader_id: self.leader.to_wire(),
            voters: self.voters.keys().map(|key| voter(key.node)).collect(),
            granting_voters: self.granting.iter().copied().map(voter).collect(),
        };
        let mut batch = ControlBatch::new(self.at, self.epoch, self.now);
        batch.push(ControlType::LeaderChange, &change);
        if let Some((version, voters)) = self.rewritten {
            batch.push_voters(version, voters);
        }
        batch.build()
    }
}

/// Builds one batch of control records.
pub(crate) struct ControlBatch {
    builder: BatchBuilder,
    timestamp: Timestamp,
}

impl ControlBatch {
    pub(crate) fn new(at: Offset, epoch: LeaderEpoch, now: WallTime) -> Self {
        let builder = BatchBuilder::new(Compression::None);
        let builder = builder.base_offset(at).leader_epoch(epoch).control();
        Self { builder, timestamp: now.timestamp() }
    }

    pub(crate) fn push<M: Message>(&mut self, kind: ControlType, message: &M) {
        let value = encode_to_bytes(message, M::VERSIONS.0).expect("control records are small");
        self.builder.push_pair(self.timestamp, Some(&kind.key()), Some(&value));
    }

    pub(crate) fn push_voters(&mut self, version: KRaftVersion, voters: &VoterSet) {
        let record = KRaftVersionRecord { version: 0, kraft_version: version.level() };
        self.push(ControlType::KraftVersion, &record);
        self.push(ControlType::KraftVoters, &voters.to_record());
    }

    pub(crate) fn push_snapshot_header(&mut self, last_timestamp: Timestamp) {
        let header =
            SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last_timestamp.0 };
        self.push(ControlType::SnapshotHeader, &header);
    }

    pub(crate) fn push_snapshot_footer(&mut self) {
        self.push(ControlType::SnapshotFooter, &SnapshotFooterRecord { version: 0 });
    }

    pub(crate) fn build(self) -> Bytes {
        self.builder.build().expect("control batches are small")
    }
}
