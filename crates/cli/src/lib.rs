//! The commands of ottla, on top of its client.
//!
//! [`Cli`] is the command line, [`run`] carries a command out and yields its exit code. Commands
//! that are a node or write a node's files (`server`, `dev`, `storage format` and `storage info`)
//! are parsed here and carried out by the binary, which has the broker: see [`Cli::local`].
//!
//! Conventions: results on stdout as text, JSON or YAML, everything else on stderr; colour and
//! progress only on a terminal; destructive commands ask on a terminal and need `--yes` without
//! one; exit codes are those of [`Exit`].
//!
//! What this crate is not: of a broker it knows nothing that it does not tell any other client.
//! It writes no file of a node.

#![doc = include_str!("../README.md")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what commands are for; where it happens is in `terminal`"
)]

mod args;
mod commands;
mod connect;
mod debug_json;
mod exit;
mod format;
mod names;
mod output;
mod run;
mod settings;
mod signals;
mod suggest;
mod table;
mod terminal;

pub use args::{
    Cli, Color, ConnectionArgs, DevArgs, DevFormat, LogFormat, OutputFormat, ServerArgs,
    StorageCommand, StorageFormatArgs, StorageInfoArgs,
};
pub use commands::doctor::who_listens;
pub use exit::{Exit, Failure};
pub use names::{Disk, FormatOrder, OrderedVoters, Tool};
pub use output::{Render, Text};
pub use run::{Local, run};
pub use settings::read_settings;
pub use table::Table;
pub use terminal::Terminal;
