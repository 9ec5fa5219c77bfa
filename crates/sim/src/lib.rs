//! Deterministic simulation of the metadata quorum and its controller.
//!
//! A [`World`] is a cluster in one thread: real [`ottla_quorum::Quorum`]s on a simulated network
//! and simulated disks, with one clock and one seed. [`run_seed`] makes things go wrong and checks
//! [`invariants`] after every step; the same seed gives the same run, line by line. What
//! stands above the quorum is a [`Machine`]: [`Chain`], or the controller itself ([`Controlled`]).
#![allow(
    clippy::indexing_slicing,
    reason = "nodes are numbered by the simulation; nothing here comes from outside"
)]

mod chaos;
mod clients;
mod controlled;
mod disk;
mod event;
pub mod invariants;
mod kafka;
mod machine;
mod main_with;
mod network;
mod node;
mod trace;
mod world;

pub use chaos::{adoption_plan, controller_plan, plan, run_seed};
pub use controlled::Controlled;
pub use disk::SimDisk;
pub use event::{Answer, Ask, BatchId, DiskId, Event, Said, View};
pub use machine::{Chain, Machine, MakeMachine};
pub use main_with::main_with;
pub use network::{Network, Weather};
pub use trace::{Detail, Trace};
pub use world::{Plan, Violation, Voters, World};
