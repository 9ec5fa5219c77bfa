//! `cargo xtask tidy`: the house rules that a text search can check.
//!
//! Every complaint says what to do instead. Rules about one file are in `rules`, about the repository as
//! a whole in `tree`, and sizes that may only shrink in `ratchet`.

mod ratchet;
mod rules;
mod tree;

use anyhow::{Result, bail};

use crate::source;
use crate::workspace;

pub(crate) use rules::unfinished;

/// How to run.
#[derive(clap::Args, Default)]
pub(crate) struct Arguments {
    /// Write the sizes that have shrunk into the ratchet file (never those that have grown).
    #[arg(long)]
    tighten: bool,
}

/// One broken rule.
pub(crate) struct Complaint {
    /// `path:line`, or a path.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) instead: &'static str,
}

/// Checks the repository; the number of complaints decides.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    let sources = source::sources(&workspace.root)?;
    let mut complaints = Vec::new();
    for source in &sources {
        rules::check(source, &mut complaints);
    }
    tree::check(&workspace, &sources, &mut complaints)?;
    ratchet::check(&workspace.root, &sources, arguments.tighten, &mut complaints)?;
    for complaint in &complaints {
        println!("{}: {}; {}", complaint.place, complaint.what, complaint.instead);
    }
    match complaints.len() {
        0 => {
            eprintln!("tidy: {} sources follow the house rules", sources.len());
            Ok(())
        }
        n => bail!("{n} house rules are broken"),
    }
}
