//! `cargo xtask bench`: measurements, one command each.
//!
//! Without an argument the criterion benchmarks of single layers; `footprint` measures an idle node;
//! `compare` puts Ottla and Apache Kafka side by side. Raw data of comparisons goes to benches/runs.

mod compare;
mod footprint;
mod report;

use anyhow::Result;

use crate::{process, workspace};

/// Which measurement.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Ready time, resident memory and idle CPU of an empty node.
    Footprint,
    /// Ottla beside Apache Kafka, interleaved, both durability modes.
    Compare(compare::Arguments),
}

/// Runs the chosen measurement.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    match &arguments.what {
        None => process::run(&mut process::cargo(
            &workspace.root,
            &["bench", "--package", "ottla-benches"],
        )),
        Some(What::Footprint) => footprint::run(&workspace),
        Some(What::Compare(arguments)) => compare::run(&workspace, arguments),
    }
}
