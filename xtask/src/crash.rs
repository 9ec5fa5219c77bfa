//! `cargo xtask crash`: the segment log's crash test on more disks than the tests look at.

use anyhow::Result;

use crate::process;
use crate::workspace;

/// How much to try.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Disks to start from after a power cut; a workload is tried at all its steps.
    #[arg(long, default_value_t = 2_000_000)]
    images: u64,
    /// Seed of the first workload; those after it follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs random workloads with a power cut at every step; a failed one says how to be there again.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    let test = "power_may_go_at_every_step_of_random_workloads";
    let cargo = ["test", "--release", "--package", "ottla-log", "--test", "crash"];
    let mut command = process::cargo(&workspace.root, &cargo);
    command.args(["--", "--exact", test, "--nocapture"]);
    command.env("OTTLA_CASES", arguments.images.to_string());
    command.env("OTTLA_SEED", arguments.seed.to_string());
    process::run(&mut command)
}
