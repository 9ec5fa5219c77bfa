//! The simulated cluster: seeds, determinism, and the places where raft and Kafka differ.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod seeds;
mod traps;
