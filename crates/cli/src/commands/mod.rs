//! The commands, one file each: arguments, what is done, and the result's form.

pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod doctor;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod metadata;
pub(crate) mod produce;
pub(crate) mod quorum;
pub(crate) mod storage;
pub(crate) mod topic;
pub(crate) mod version;

use crate::exit::{Exit, Failure};
use crate::terminal::Terminal;

/// A number and what it counts: `1 config`, `2 configs`.
pub(crate) fn counted(count: impl std::fmt::Display, what: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {what}{ending}")
}

/// Reports the failures of several things, and what that makes of the whole.
pub(crate) fn partly(terminal: Terminal, asked: usize, failures: Vec<Failure>) -> Exit {
    for failure in &failures {
        terminal.fail(failure);
    }
    match failures.first() {
        None => Exit::Ok,
        Some(first) if failures.len() == asked => first.exit,
        Some(_) => Exit::Partly,
    }
}
