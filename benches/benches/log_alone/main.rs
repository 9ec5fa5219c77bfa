//! The log crate alone, beside raw file calls and two embeddable stores, in one interleaved run.
//!
//! `cargo xtask bench log` runs this, compares with Kafka's cleaner, and writes the report. Here each
//! measurement becomes one line of JSON on standard output; what is going on is told on standard error.
//! It measures rates and times over whole runs; criterion's benchmarks of single calls are in `log.rs`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark reads clocks, touches files and has threads"
)]
#![allow(clippy::cast_precision_loss, reason = "figures of a measurement")]

mod appends;
mod commits;
mod compaction;
mod opening;
mod reading;
mod recovery;
mod runs;
mod stores;
mod written;

use std::path::PathBuf;

use runs::Runs;

type Workload = fn(&mut Runs);

fn main() {
    // As a test it is to be seen working, no more.
    let mut short = !std::env::args().any(|argument| argument == "--bench");
    let mut rounds = if short { 1 } else { 5 };
    let mut folder = std::env::temp_dir();
    let mut only = String::new();
    let mut keyed = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument.as_str() {
            "--rounds" => rounds = value().parse().unwrap(),
            "--folder" => folder = PathBuf::from(value()),
            "--only" => only = value(),
            "--keyed" => keyed = Some(PathBuf::from(value())),
            "--short" => short = true,
            // Cargo says it to every benchmark.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    if let Some(parent) = keyed {
        compaction::write(&parent, runs::Scale::new(short));
        return;
    }
    let workloads: [(&str, Workload); 6] = [
        ("append", appends::run),
        ("commit", commits::run),
        ("read", reading::run),
        ("recovery", recovery::run),
        ("compaction", compaction::run),
        ("opening", opening::run),
    ];
    for round in 1..=rounds {
        let mut runs = Runs::new(round, short, folder.clone());
        for (name, workload) in workloads.iter().filter(|(name, _)| name.contains(&only)) {
            eprintln!("round {round} of {rounds}: {name}");
            workload(&mut runs);
        }
    }
}
