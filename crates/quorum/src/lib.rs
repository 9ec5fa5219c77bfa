//! The Raft metadata quorum as a pure state machine over crate raft.
