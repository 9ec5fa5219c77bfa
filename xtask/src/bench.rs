//! `cargo xtask bench`: measurements, one command each.
//!
//! Without an argument the criterion benchmarks of single layers; `footprint` measures an idle node;
//! `log` measures the segment log alone; `compare`, `tails`, `partitions` and `joins` put Ottla and Apache Kafka side by side; `overload` asks for
//! too much. Raw data goes to benches/runs.

mod compare;
mod footprint;
mod joins;
mod log;
mod overload;
mod partitions;
mod report;
mod tails;

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
    /// Latency percentiles at a moderate load and memory of idle connections, beside Apache Kafka.
    Tails(tails::Arguments),
    /// Memory, open files and restart of a node with many idle partitions, beside Apache Kafka.
    Partitions(partitions::Arguments),
    /// Three times the load that a node can take, in 512 MiB, and connections that never get on.
    Overload(overload::Arguments),
    /// The segment log alone, beside raw file calls, other embeddable stores and Kafka's cleaner.
    Log(log::Arguments),
    /// Ten new members share 900 partitions, in both group protocols, beside Apache Kafka.
    Joins(joins::Arguments),
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
        Some(What::Tails(arguments)) => tails::run(&workspace, arguments),
        Some(What::Partitions(arguments)) => partitions::run(&workspace, arguments),
        Some(What::Overload(arguments)) => overload::run(&workspace, arguments),
        Some(What::Log(arguments)) => log::run(&workspace, arguments),
        Some(What::Joins(arguments)) => joins::run(&workspace, arguments),
    }
}
