//! Deterministic simulation of the metadata quorum.
//!
//! A [`World`] is a cluster in one thread: real [`ottla_quorum::Quorum`]s on a simulated network
//! and simulated disks, with one clock and one seed. [`run_seed`] makes things go wrong and checks
//! [`invariants`] after every step; the same seed gives the same run, line by line. A controller
//! joins as a [`Machine`].
#![allow(
    clippy::indexing_slicing,
    reason = "nodes are numbered by the simulation; nothing here comes from outside"
)]

mod chaos;
mod disk;
mod event;
pub mod invariants;
mod machine;
mod main_with;
mod network;
mod node;
mod trace;
mod world;

pub use chaos::{plan, run_seed};
pub use disk::SimDisk;
pub use event::{BatchId, DiskId, Event};
pub use machine::{Chain, Machine, MakeMachine};
pub use main_with::main_with;
pub use network::{Network, Weather};
pub use trace::{Detail, Trace};
pub use world::{Plan, Violation, Voters, World};
