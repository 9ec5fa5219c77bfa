//! The real binary from its start to its last signal, as an operator meets it: files, signals, exit codes and
//! what is printed. What clients see of a running node is the matter of crate `conformance`.

#![allow(clippy::print_stderr, reason = "says what was skipped")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::or_fun_call,
    reason = "helpers of tests fail as tests do"
)]

mod dev;
mod directories;
mod doctor;
mod environment;
mod format;
mod full_disk;
mod http;
mod lifecycle;
mod listeners;
mod log_files;
mod newcomer;
mod outage;
mod recompression;
mod refusals;
mod support;
mod tools;
