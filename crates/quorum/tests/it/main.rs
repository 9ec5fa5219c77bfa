//! The quorum from outside: a script goes in, outputs come out as text.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
#![allow(clippy::indexing_slicing, reason = "a failed step is a failed test")]

mod golden;
mod handover;
mod node;
mod one_voter;
mod peers;
