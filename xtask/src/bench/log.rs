//! `cargo xtask bench log`: the log crate alone, beside raw file calls, two embeddable stores and Kafka's cleaner.
//!
//! The measurements are `benches/benches/log_alone`; this runs them, has a Kafka clean the same records as
//! [`cleaner`] says, compares the medians with the goals, and writes raw data, table and plots to benches/runs.

mod cleaner;
mod plot;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::compare;
use super::tails::median;
use crate::process;
use crate::workspace::Workspace;

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// A folder on the disk to measure; without it, one in the target folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Only measurements with this in their name: append, commit, read, recovery, compaction, opening.
    #[arg(long, default_value = "")]
    only: String,
    /// A thirty-second of the bytes, without Kafka and without writing a report: to see it work.
    #[arg(long)]
    short: bool,
}

/// What one figure should be.
struct Goal {
    workload: &'static str,
    contestant: &'static str,
    /// Whose figure it is a part or a multiple of.
    beside: Option<&'static str>,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    Below(f64),
}

const GOALS: [Goal; 10] = [
    Goal::beside("append 16 KiB", "ottla, checked", "pwrite", 0.7),
    Goal::beside("append 64 KiB", "ottla, checked", "pwrite", 0.7),
    Goal::beside("append 1 MiB", "ottla, checked", "pwrite", 0.85),
    Goal::beside("commit, 16 threads", "ottla", "pwrite, fdatasync", 0.6),
    Goal::alone("index lookup", Bound::Below(100.0)),
    Goal::alone("read plan, reading on", Bound::Below(300.0)),
    Goal::beside("recovery", "ottla", "pread, CRC-32C", 0.7),
    Goal::alone("compaction", Bound::AtLeast(800.0)),
    Goal::beside("compaction", "ottla", cleaner::NAME, 6.0),
    Goal::alone("opening 10,000 partitions", Bound::Below(200.0)),
];

impl Goal {
    const fn beside(
        workload: &'static str,
        contestant: &'static str,
        other: &'static str,
        ratio: f64,
    ) -> Self {
        Self { workload, contestant, beside: Some(other), bound: Bound::AtLeast(ratio) }
    }

    const fn alone(workload: &'static str, bound: Bound) -> Self {
        Self { workload, contestant: "ottla", beside: None, bound }
    }
}

/// Measures, prints the table and writes the report.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let folder = arguments.folder.clone().unwrap_or_else(|| workspace.target.join("bench-log"));
    std::fs::create_dir_all(&folder)?;
    let measure = |more: &[&str]| {
        let bench = ["bench", "--quiet", "--package", "ottla-benches", "--bench", "log_alone"];
        let mut command = process::cargo(&workspace.root, &bench);
        command.args(["--", "--folder"]).arg(&folder).args(more);
        if arguments.short {
            command.arg("--short");
        }
        process::output(&mut command)
    };
    let mut runs = Vec::new();
    // First, because it needs the most of what may be missing.
    if !arguments.short && "compaction".contains(&arguments.only) {
        let keyed = folder.join("keyed");
        measure(&["--keyed", keyed.to_str().context("path")?])?;
        let cleaned = cleaner::run(workspace, &keyed.join("bench-0"));
        std::fs::remove_dir_all(&keyed)?;
        runs.push(cleaned?);
    }
    let rounds = if arguments.short { 1 } else { arguments.rounds };
    let told = measure(&["--rounds", &rounds.to_string(), "--only", &arguments.only])?;
    for line in told.lines() {
        runs.push(serde_json::from_str(line).with_context(|| line.to_string())?);
    }
    ensure!(!runs.is_empty(), "no measurement has `{}` in its name", arguments.only);
    let rows = rows(&runs);
    let table = format!("{}\n{}", table(&rows), goals(&rows));
    println!("{table}");
    if arguments.short {
        return Ok(());
    }
    let stem = compare::save(workspace, "log", runs, &table)?;
    plot::draw(&stem.with_extension("svg"), &rows)?;
    println!("plots: {}", stem.with_extension("svg").display());
    Ok(())
}

/// The median of one contestant's figures of one workload.
struct Row {
    workload: String,
    contestant: String,
    value: f64,
    unit: String,
}

fn rows(runs: &[Value]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for run in runs {
        let text = |key: &str| run[key].as_str().unwrap_or_default().to_string();
        let (workload, contestant) = (text("workload"), text("contestant"));
        if rows.iter().any(|r| r.workload == workload && r.contestant == contestant) {
            continue;
        }
        let value = median(runs, &workload, &contestant, &["value"]).unwrap_or(f64::NAN);
        rows.push(Row { workload, contestant, value, unit: text("unit") });
    }
    // Contestants of a workload stand together, the workloads in the order in which they ran.
    let order: Vec<String> = rows.iter().map(|r| r.workload.clone()).collect();
    rows.sort_by_key(|row| order.iter().position(|workload| *workload == row.workload));
    rows
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { workload, contestant, value, unit } in rows {
        text.push_str(&format!("{workload:<30}{contestant:<22}{value:>12.0} {unit}\n"));
    }
    text
}

fn goals(rows: &[Row]) -> String {
    let figure = |workload: &str, contestant: &str| {
        rows.iter().find(|r| r.workload == workload && r.contestant == contestant)
    };
    let mut text = String::new();
    for Goal { workload, contestant, beside, bound } in &GOALS {
        let Some(own) = figure(workload, contestant) else { continue };
        let (value, of) = match beside {
            None => (own.value, own.unit.clone()),
            Some(other) => match figure(workload, other) {
                Some(other) => (own.value / other.value, format!("of {}", other.contestant)),
                None => continue,
            },
        };
        let (words, bound, held) = match *bound {
            Bound::AtLeast(bound) => ("at least", bound, value >= bound),
            Bound::Below(bound) => ("below", bound, value < bound),
        };
        let verdict = if held { "held" } else { "MISSED" };
        text.push_str(&format!(
            "{workload:<30}{value:>8.2} {of:<22} goal {words} {bound:<6} {verdict}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn goals_are_compared_with_medians() {
        let run = |workload: &str, contestant: &str, value: f64| json!({"workload": workload, "contestant": contestant, "value": value, "unit": "MB/s"});
        let rows = rows(&[
            run("recovery", "pread, CRC-32C", 1000.0),
            run("compaction", "ottla", 900.0),
            run("recovery", "ottla", 100.0),
            run("recovery", "ottla", 800.0),
            run("recovery", "ottla", 9000.0),
            run("compaction", cleaner::NAME, 200.0),
        ]);
        assert_eq!(table(&rows).lines().count(), 4);
        let text = goals(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("0.80 of pread") && lines[0].ends_with("held"), "{text}");
        assert!(lines[1].contains("900.00 MB/s") && lines[1].ends_with("held"), "{text}");
        assert!(lines[2].contains("4.50 of Kafka") && lines[2].ends_with("MISSED"), "{text}");
        assert_eq!(lines.len(), 3);
    }
}
