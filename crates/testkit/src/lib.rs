//! Helpers for tests: seeds that replay, bounded waits, and the real programs as child processes.
//!
//! Nothing here ships. Tests of any crate may use it; it knows no other crate of ours, so it speaks to the
//! binary `ottla` and to Apache Kafka only as a user does: files, arguments, signals and sockets.
#![allow(clippy::print_stderr, reason = "says which seed failed and which peer is missing")]
#![allow(clippy::indexing_slicing, reason = "reads what the kernel and our own programs print")]

mod binary;
pub mod codec;
mod dev;
mod folder;
mod java;
mod memory;
mod node;
mod peer;
mod ports;
mod power;
mod probe;
mod process;
pub mod schema;
mod seed;
mod shell;
mod system_calls;
mod usage;
mod wait;
pub mod wire;

pub use binary::{ottla_binary, use_binary};
pub use dev::DevNode;
pub use folder::Folder;
pub use java::{Java, Ran, run_bounded};
pub use memory::{Memory, Taken};
pub use node::{Kind, Node, NodeOptions};
pub use peer::{is_ci, note_skip, peers_folder, use_peers};
pub use ports::free_port;
pub use power::CutDisk;
pub use probe::answers_api_versions;
pub use process::Process;
pub use rustix::process::Signal;
pub use seed::{Random, Replay, cases, seed};
pub use shell::Shell;
pub use system_calls::{SystemCalls, system_calls};
pub use usage::Usage;
pub use wait::{wait_for, wait_until};
