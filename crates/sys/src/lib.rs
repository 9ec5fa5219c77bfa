//! What Ottla needs from Linux and the standard library does not offer, as safe functions.
//!
//! Everything that only one operating system has passes through here, each with a plain fallback,
//! so that no other crate has a `cfg`. Rustix wraps each system call; what is unsafe stands in `memory.rs`
//! and `map.rs`, each call with its argument.
//!
//! What this crate is not: it decides nothing, and keeps no state but the addresses of mapped files.

#![doc = include_str!("../README.md")]

mod file;
mod map;
mod memory;
mod port;
mod process;
mod random;
mod space;

pub use file::{is_resident, is_writable, lock_exclusive, sendfile, write_all_at};
pub use map::MappedFile;
pub use memory::{memory_max, release_free_memory};
pub use port::{PortHolder, port_holder};
pub use process::{
    OpenFiles, ProcessUsage, open_files, open_files_max, process_usage, raise_open_files_max,
};
pub use random::random_bytes;
pub use space::{DiskSpace, disk_space};
