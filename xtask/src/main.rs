//! `cargo xtask`: build, check, test and compare Ottla.
//!
//! Every development command of the repository is here, so that a clone needs nothing but cargo. Progress
//! goes to stderr, results to stdout. Nothing here is part of the product.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is a command-line tool's job"
)]
#![allow(clippy::indexing_slicing, reason = "reads our own sources and tables, no foreign bytes")]

mod bench;
mod codegen;
mod codestat;
mod conformance;
mod crash;
mod dag;
mod dist;
mod embed;
mod mutants;
mod peers;
mod power_cuts;
mod process;
mod run;
mod source;
mod summary;
mod test;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Build, check, test and compare Ottla.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build in release mode and run a combined node with its data in ./data.
    Run(run::Arguments),
    /// Run every check: format, lints, layers, house rules, unit tests, foreign clients, embedding.
    Test(test::Arguments),
    /// Fetch foreign clients and a real Kafka by name, with locked versions.
    Peers(peers::Arguments),
    /// Generate Rust from the schema tables; with --check only say whether it is current.
    Codegen {
        /// Change nothing; fail if a generated file is stale.
        #[arg(long)]
        check: bool,
    },
    /// Check which crate may depend on which.
    Dag,
    /// Check the house rules that a text search can check.
    Tidy(tidy::Arguments),
    /// Build and run a throw-away crate outside the workspace that uses one of our crates alone.
    Embed(embed::Arguments),
    /// Run foreign clients and tools against the real binary.
    Conformance(conformance::Arguments),
    /// Simulate the quorum and the controller from a seed; arguments go to the simulator.
    Sim {
        /// For the simulator: `cargo xtask sim -- --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure: criterion benchmarks, footprint, or Ottla and Kafka side by side.
    Bench(bench::Arguments),
    /// Mutate inputs of every decoder, or whole frames over a socket, for longer than the tests do.
    Fuzz(conformance::FuzzArguments),
    /// Cut the power of the segment log at every step of random workloads, for longer than the tests do.
    Crash(crash::Arguments),
    /// Puts bugs into the segment log, one at a time: its tests must notice each.
    Mutants(mutants::Arguments),
    /// Cuts the power of a real file system under the segment log.
    PowerCuts(power_cuts::Arguments),
    /// Build the stripped release binary, static where the target allows.
    Dist,
    /// Measure the shape of the sources: lengths, comment share, asserts, tests.
    Codestat(codestat::Arguments),
}

fn main() -> std::process::ExitCode {
    match execute(Arguments::parse().command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Peers(arguments) => peers::run(&arguments),
        Command::Codegen { check } => codegen::run(check),
        Command::Dag => dag::run(),
        Command::Tidy(arguments) => tidy::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Sim { arguments } => run::sim(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fuzz(arguments) => conformance::fuzz(&arguments),
        Command::Crash(arguments) => crash::run(&arguments),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::PowerCuts(arguments) => power_cuts::run(&arguments),
        Command::Dist => dist::run(),
        Command::Codestat(arguments) => codestat::run(&arguments),
    }
}
