//! `cargo xtask power-cuts`: the segment log on a real file system that loses its power, many times.

use anyhow::Result;

use crate::process;
use crate::workspace;

/// How much to try.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Cuts, each with a check of everything that was acknowledged.
    #[arg(long, default_value_t = 1000)]
    cuts: u64,
    /// Seed of when they come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Needs root, loop devices and `mkfs.ext4`; what is missing is named, and is an error.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    let cargo = ["test", "--release", "--package", "ottla-log", "--test", "power_cuts"];
    let mut command = process::cargo(&workspace.root, &cargo);
    command.args(["--", "--nocapture"]);
    command.env("OTTLA_POWER_CUTS", arguments.cuts.to_string());
    command.env("OTTLA_SEED", arguments.seed.to_string());
    process::run(&mut command)
}
