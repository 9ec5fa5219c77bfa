//! The metadata quorum: who leads, and which metadata records are committed.
//!
//! [`Quorum`] wraps crate `raft` as a pure state machine. It reads no clock, opens no socket,
//! writes no file and draws no random number; the caller passes in the time and every event, and
//! carries out what [`Quorum::poll_output`] returns. Committed batches come out in Kafka's format,
//! at offsets, with raft's term as leader epoch.
//!
//! # Contract with the embedding shell
//!
//! **Calls.** [`Quorum::open`] with what is on disk; then, in any order, [`Quorum::handle`],
//! [`Quorum::handle_timeout`] (at or after [`Quorum::poll_timeout`]), [`Quorum::propose`],
//! [`Quorum::change_voters`]. After each, or after several, [`Quorum::poll_output`] until it
//! returns `None`. Proposals that are made before outputs are polled share one write and one sync.
//!
//! **Order.** Outputs are carried out in the order they come. [`Output::Persist`] may be done by
//! another thread while later outputs go on, except that an [`Output::Append`] or
//! [`Output::InstallSnapshot`] waits for the writes before it. There is never more than one
//! [`Output::Persist`] on its way.
//!
//! **Durability.** [`Input::Persisted`] promises that every write of that number is on disk, with
//! the directory synced after a rename. A write that fails leaves the file in an unknown state, so
//! the node stops: there is no input for it. The metadata log needs no sync except for
//! [`Output::SyncLog`], because the write-ahead log holds what it may lose.
//!
//! **Time.** [`Now`] carries both clocks. The monotonic one must not go back; a call that comes
//! late counts as one tick, not as many.
//!
//! **Trust.** Messages of peers must come from authenticated controllers. One that contradicts
//! this node's log is refused with an error for the log file, and changes nothing.
//!
//! **Panics.** Broken invariants panic, and the process should end: state in memory and on disk
//! may disagree, and a restart reads the disk.
//!
//! What this crate is not: it knows no metadata record, no request and no listener; snapshots are
//! bytes that others fill.

#![doc = include_str!("../README.md")]

mod control;
mod describe;
mod entry;
mod ids;
mod io;
mod lead;
mod logger;
mod open;
mod peer;
mod quorum;
mod quorum_state;
mod ready;
mod receive;
mod snapshot;
mod state_file;
mod store;
mod voters;
mod wal;

pub use control::{Control, ControlError, ControlState, read_control};
pub use describe::{QuorumView, ReplicaView, Role, Stats};
pub use entry::{EntryError, EntryKind, LogEntry};
pub use ids::{IdTable, RaftId, ReplicaKey};
pub use io::{
    Committed, FileWrite, Input, Now, Output, Persist, PersistNumber, ProposeError, QuorumConfig,
    Seed, VoterChange, VoterChangeError,
};
pub use logger::{LogLevel, RaftLogger};
pub use open::{Disk, LogEnds, OpenError, choose_snapshots};
pub use peer::{MAX_PEER_MESSAGE, PeerEntry, PeerError, PeerId, PeerMessage, PeerSnapshot};
pub use quorum::Quorum;
pub use quorum_state::{QuorumState, QuorumStateError};
pub use snapshot::{Snapshot, SnapshotBuilder, SnapshotError, SnapshotId, SnapshotReader};
pub use state_file::{LogPoint, StateFile, StateFileError};
pub use voters::{Endpoint, KRaftVersion, Voter, VoterSet};
pub use wal::{WAL_HEADER_LEN, WalContents, WalError, read_wal, read_wal_append};
