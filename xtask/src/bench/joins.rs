//! `cargo xtask bench joins`: how long ten new members take to share 900 partitions, in both group protocols.
//!
//! The client is `crates/conformance/src/bin/joins.rs`. Pauses that both brokers make by definition are set to 0 for
//! both: a new classic group waits three seconds for more members, a group of KIP-848 a second between two
//! assignments.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::compare;
use super::tails::create;
use crate::process;
use crate::workspace::Workspace;

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; the table shows medians of their medians.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Groups of each protocol in a round.
    #[arg(long, default_value_t = 20)]
    groups: u32,
    /// Only contestants with this in their name.
    #[arg(long)]
    only: Option<String>,
}

const NO_PAUSES: [(&str, &str); 2] =
    [("group.initial.rebalance.delay.ms", "0"), ("group.consumer.assignment.interval.ms", "0")];
const PROTOCOLS: [&str; 2] = ["classic", "consumer"];

/// Measures, writes the raw data and prints the table.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    compare::use_release_binary(workspace)?;
    let build = ["build", "--release", "--package", "ottla-conformance", "--bin", "joins"];
    process::run(&mut process::cargo(&workspace.root, &build))?;
    let program = workspace.target.join("release/joins");
    let ask = |bootstrap: &str, protocol: &str, times: u32| -> Result<Value> {
        let mut command = Command::new(&program);
        let out = process::output(command.args([bootstrap, protocol, &times.to_string()]))?;
        serde_json::from_str(&out).context(out)
    };
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        for contestant in compare::chosen(arguments.only.as_deref())? {
            eprintln!("round {round} of {}: {}", arguments.rounds, contestant.name);
            let mut node = compare::start_with(contestant, &NO_PAUSES)?;
            create(node.bootstrap(), "joins", "900")?;
            for protocol in PROTOCOLS {
                // A virtual machine compiles its hot paths first; both get the same warm-up.
                ask(node.bootstrap(), protocol, arguments.groups)?;
                let times = ask(node.bootstrap(), protocol, arguments.groups)?;
                eprintln!("  {protocol}: {times} microseconds");
                runs.push(json!({
                    "round": round,
                    "contestant": contestant.name,
                    "workload": protocol,
                    "microseconds": times,
                }));
            }
            node.stop()?;
        }
    }
    let table = table(&runs);
    println!("{table}");
    compare::save(workspace, "joins", runs, &table).map(|_| ())
}

fn table(runs: &[Value]) -> String {
    let mut text = format!(
        "{:<12}{:<16}{:>12}{:>8}{:>12}\n",
        "protocol", "contestant", "median ms", "", "longest ms"
    );
    for protocol in PROTOCOLS {
        let mut base = None;
        for contestant in compare::CONTESTANTS {
            let figure =
                |key| super::tails::median(runs, protocol, contestant.name, &["microseconds", key]);
            let Some((median, longest)) = figure("p50").zip(figure("max")) else { continue };
            let base = *base.get_or_insert(median);
            let part = format!("1/{:.1}", base / median);
            text.push_str(&format!(
                "{protocol:<12}{:<16}{:>12.1}{part:>8}{:>12.1}\n",
                contestant.name,
                median / 1000.0,
                longest / 1000.0
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_compares_with_the_first() {
        let run = |contestant: &str, p50: u64| {
            let times = json!({"p50": p50, "max": 2 * p50});
            json!({"workload": "consumer", "contestant": contestant, "microseconds": times})
        };
        let text = table(&[run("kafka", 90_000), run("ottla os", 9_000)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("90.0") && lines[1].contains("1/1.0"), "{text}");
        assert!(lines[2].contains("18.0") && lines[2].contains("1/10.0"), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }
}
