//! What goes into the quorum and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, MonoTime, NodeId, Offset, WallTime};

use crate::control::ControlState;
use crate::ids::ReplicaKey;
use crate::logger::RaftLogger;
use crate::snapshot::SnapshotId;
use crate::voters::{Endpoint, KRaftVersion, Voter, VoterSet};

/// A moment on both clocks: one to wait by, one to stamp records with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For waiting.
    pub mono: MonoTime,
    /// For timestamps.
    pub wall: WallTime,
}

/// Where randomness starts; the same seed gives the same behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub u64);

impl From<u64> for Seed {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

/// How a quorum node behaves.
#[derive(Clone)]
pub struct QuorumConfig {
    /// `cluster.id`; messages of other clusters are refused.
    pub cluster_id: String,
    /// This node and the directory of its metadata log.
    pub own: ReplicaKey,
    /// This node's controller listeners, as they go into KRaftVoters.
    pub endpoints: Vec<Endpoint>,
    /// `controller.quorum.voters`; empty for a dynamic quorum.
    pub static_voters: VoterSet,
    /// `controller.quorum.fetch.timeout.ms`: how long a follower waits for its leader, and a
    /// leader for a majority.
    pub fetch_timeout: Duration,
    /// `controller.quorum.election.timeout.ms`: how long a candidate waits for votes.
    pub election_timeout: Duration,
    /// `controller.quorum.election.backoff.max.ms`: upper bound of the random part of both.
    pub election_backoff_max: Duration,
    /// Where the random part comes from.
    pub seed: Seed,
    /// Bytes of the write-ahead log from which it is trimmed.
    pub trim_from: usize,
    /// Bytes that are kept for peers that lag; a peer that needs more gets a snapshot.
    pub keep_for_peers: usize,
    /// Bytes of proposals that may wait for commitment.
    pub uncommitted_max: usize,
    /// Takes raft's log lines, if anyone does.
    pub logger: Option<Arc<dyn RaftLogger>>,
}

impl QuorumConfig {
    /// Kafka's timeouts, and our limits.
    pub fn new(
        cluster_id: &str,
        own: ReplicaKey,
        static_voters: VoterSet,
        seed: impl Into<Seed>,
    ) -> Self {
        Self {
            cluster_id: cluster_id.to_owned(),
            own,
            endpoints: Vec::new(),
            static_voters,
            fetch_timeout: Duration::from_secs(2),
            election_timeout: Duration::from_secs(1),
            election_backoff_max: Duration::from_secs(1),
            seed: seed.into(),
            trim_from: 4 << 20,
            keep_for_peers: 64 << 20,
            uncommitted_max: 64 << 20,
            logger: None,
        }
    }
}

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A message of a peer, as it came from the network; the error, if any, is for the log.
    Message(Bytes),
    /// All writes of [`Persist`] with this number are on disk.
    Persisted(PersistNumber),
    /// The metadata log is synced up to this offset ([`Output::SyncLog`]).
    LogSynced(Offset),
    /// A complete snapshot was written here.
    SnapshotWritten(SnapshotId),
    /// The snapshot of [`Output::FetchSnapshot`] is complete, checked, synced and has its name.
    SnapshotFetched {
        /// Which one.
        id: SnapshotId,
        /// Its control records ([`crate::Snapshot::control`]).
        control: ControlState,
    },
    /// The snapshot could not be fetched; the leader will name one again.
    SnapshotFailed(SnapshotId),
}

/// Something to be done outside, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write files, then answer with [`Input::Persisted`].
    Persist(Persist),
    /// Append a committed batch to the metadata log. It needs no sync of its own.
    Append(Committed),
    /// Send a message to a peer; it may be lost.
    Send {
        /// Receiver.
        to: ReplicaKey,
        /// Encoded message.
        message: Bytes,
    },
    /// The epoch or its leader changed.
    LeaderChanged {
        /// Current epoch.
        epoch: LeaderEpoch,
        /// Its leader, if it is known.
        leader: Option<NodeId>,
    },
    /// This node leads and may propose: the start of its epoch is committed and appended.
    BecameLeader {
        /// Its epoch.
        epoch: LeaderEpoch,
    },
    /// This node no longer leads; proposals that are not committed may be lost or not.
    LostLeadership {
        /// The epoch that it led.
        epoch: LeaderEpoch,
    },
    /// The committed voters or `kraft.version` changed.
    VotersChanged {
        /// Who votes.
        voters: VoterSet,
        /// How voters are kept.
        kraft_version: KRaftVersion,
    },
    /// The change that was asked for is done, or not.
    VoterChangeDone(Result<(), VoterChangeError>),
    /// Sync the metadata log up to this offset, then answer with [`Input::LogSynced`].
    SyncLog(Offset),
    /// A peer needs a snapshot: write one of the applied state, then answer with
    /// [`Input::SnapshotWritten`].
    SnapshotNeeded,
    /// Fetch a snapshot by FetchSnapshot, then answer with [`Input::SnapshotFetched`].
    FetchSnapshot {
        /// The leader that names it.
        from: ReplicaKey,
        /// Which one.
        id: SnapshotId,
    },
    /// Throw the metadata log away and start it empty at the snapshot's end; the image comes
    /// from the snapshot.
    InstallSnapshot(SnapshotId),
}

/// Names one set of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersistNumber(pub(crate) u64);

impl std::fmt::Display for PersistNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes that must be on disk, in this order, before they are acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Names the writes in [`Input::Persisted`].
    pub number: PersistNumber,
    /// At least one.
    pub writes: Vec<FileWrite>,
}

/// One durable write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileWrite {
    /// Replace `ottla-quorum.state` (temporary name, sync, rename, sync of the directory).
    State(Bytes),
    /// Replace `__cluster_metadata-0/quorum-state` in the same way.
    QuorumState(Bytes),
    /// Replace `ottla-quorum.wal` in the same way.
    NewWal(Bytes),
    /// Append to `ottla-quorum.wal` and sync it.
    Wal(Bytes),
}

/// A committed batch on its way to the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Offset of its first record: where the metadata log must end.
    pub base: Offset,
    /// Offset after its last record.
    pub end: Offset,
    /// Epoch of the leader that proposed it; it is in the batch as well.
    pub epoch: LeaderEpoch,
    /// Whether its records are control records.
    pub control: bool,
    /// The batch, in Kafka's format.
    pub batch: Bytes,
}

/// Why a batch was not proposed; its offsets are free again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This node does not lead in that epoch, or its epoch has not begun.
    #[error("not the leader of epoch {epoch}")]
    NotLeader {
        /// The epoch of the proposal.
        epoch: LeaderEpoch,
    },
    /// The batch was built for other offsets.
    #[error("the next offset is {expected}, the batch was built for {got}")]
    Offset {
        /// Where the batch would go.
        expected: Offset,
        /// Where it was built for.
        got: Offset,
    },
    /// Not a batch that may stand in the metadata log.
    #[error("not a batch for the metadata log: {0}")]
    Batch(String),
    /// Too many bytes wait for commitment.
    #[error("too many proposals wait")]
    Full,
}

/// Why voters were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoterChangeError {
    /// This node does not lead.
    #[error("not the leader")]
    NotLeader,
    /// Voters are static (kraft.version 0).
    #[error("voters are static at kraft.version 0")]
    Static,
    /// Another change is on its way; there is one at a time.
    #[error("another change of voters is on its way")]
    Busy,
    /// The node id votes already.
    #[error("voter {0} exists")]
    Duplicate(NodeId),
    /// The replica does not vote.
    #[error("voter {0} does not exist")]
    NotFound(ReplicaKey),
    /// It is the last one.
    #[error("the last voter stays")]
    LastVoter,
    /// It does not support the finalized `kraft.version`.
    #[error("voter {0} does not support the finalized kraft.version")]
    Unsupported(NodeId),
    /// The joiner did not catch up in time.
    #[error("voter {0} did not catch up in time")]
    Timeout(NodeId),
}

/// A change of voters that the leader is asked for; one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoterChange {
    /// One voter more, once it has caught up.
    Add(Voter),
    /// One voter less. A leader that removes itself steps down when that is committed.
    Remove(ReplicaKey),
    /// Other endpoints or versions of a voter.
    Update(Voter),
    /// From static voters to these, which must be the same nodes, at kraft.version 1.
    Upgrade(VoterSet),
}
