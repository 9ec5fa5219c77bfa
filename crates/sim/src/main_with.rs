//! The command `sim`: runs seeds and prints what went wrong, or the log of one run.
#![allow(clippy::print_stdout, reason = "printing is what the command is for")]

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, bail};
use clap::Parser;

use crate::chaos::{adoption_plan, controller_plan, plan, run_seed};
use crate::trace::Detail;
use crate::world::World;

/// Simulate the metadata quorum from a seed.
#[derive(Debug, Parser)]
#[command(name = "sim")]
struct Arguments {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Stop at this step, and print the log up to there.
    #[arg(long)]
    until: Option<u64>,
    /// Simulated milliseconds in which things go wrong.
    #[arg(long, default_value_t = 60_000)]
    chaos_ms: u64,
    /// Put the real controller on top, on one voter or on three.
    #[arg(long)]
    controller: bool,
    /// A sole voter whose directory Kafka takes over at times.
    #[arg(long, conflicts_with = "controller")]
    adoption: bool,
    /// Print the log of every run.
    #[arg(long)]
    log: bool,
    /// Print messages too.
    #[arg(long)]
    messages: bool,
}

/// Runs the command.
///
/// # Errors
/// Bad arguments, or a seed that violates an invariant.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let mut failed = Vec::new();
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        if !run_one(&arguments, seed) {
            failed.push(seed);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed seeds: {failed:?}") }
}

fn run_one(arguments: &Arguments, seed: u64) -> bool {
    let plan = match (arguments.controller, arguments.adoption) {
        (true, _) => controller_plan(seed),
        (_, true) => adoption_plan(seed),
        _ => plan(seed),
    };
    let mut world = World::new(seed, plan);
    let shows = arguments.log || arguments.until.is_some();
    world.trace.detail = match (shows, arguments.messages) {
        (true, true) => Detail::Messages,
        (true, false) => Detail::Lines,
        (false, _) => Detail::Last,
    };
    let run = || run_seed(&mut world, arguments.chaos_ms, arguments.until);
    let result = catch_unwind(AssertUnwindSafe(run));
    let problem = match result {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation.to_string()),
        Err(_) => {
            let step = world.steps();
            let again =
                format!("cargo xtask sim -- --seed {seed} --until {step}{}", plan.arguments);
            Some(format!("a panic at step {step}; again: {again}"))
        }
    };
    if shows || problem.is_some() {
        print!("{}", world.trace.text());
    }
    let (steps, acks) = (world.steps(), world.acknowledgements());
    let digest = world.trace.digest();
    match &problem {
        None => println!("seed {seed}: {steps} steps, {acks} acknowledged, log {digest:016x}"),
        Some(problem) => println!("seed {seed}: {problem}"),
    }
    problem.is_none()
}
