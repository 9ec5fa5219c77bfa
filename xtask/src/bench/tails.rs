//! `cargo xtask bench tails`: how long records and requests take at a load that both brokers can carry, and
//! what an idle connection costs.
//!
//! The client is `crates/conformance/src/bin/tails.rs`; its load is open, so stalls are not left out.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_testkit::Node;
use serde_json::{Value, json};

use super::compare::{self, Contestant};
use crate::process;
use crate::workspace::Workspace;

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each workload.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// Only contestants with this in their name.
    #[arg(long)]
    only: Option<String>,
}

const WORKLOADS: [&str; 2] = ["steady", "requests"];
/// A program that answers requests without doing anything: what the client and the machine take for themselves.
const FLOOR: &str = "no broker";
const FIGURES: [&str; 4] = ["p50", "p99", "p999", "max"];

/// Runs all rounds, writes the raw data and prints the table.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    compare::use_release_binary(workspace)?;
    let build = ["build", "--release", "--package", "ottla-conformance", "--bin", "tails"];
    process::run(&mut process::cargo(&workspace.root, &build))?;
    let client = Client { program: workspace.target.join("release/tails") };
    let chosen = compare::chosen(arguments.only.as_deref())?;
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        for contestant in &chosen {
            eprintln!("round {round} of {}: {}", arguments.rounds, contestant.name);
            runs.extend(client.measure(contestant, round, arguments)?);
        }
        runs.push(client.measure_floor(round, arguments)?);
    }
    let table = table(&runs);
    println!("{table}");
    compare::save(workspace, "tails", runs, &table).map(|_| ())
}

struct Client {
    program: PathBuf,
}

impl Client {
    fn measure(
        &self,
        contestant: &Contestant,
        round: u32,
        arguments: &Arguments,
    ) -> Result<Vec<Value>> {
        let mut node = compare::start(contestant)?;
        let bootstrap = node.bootstrap().to_owned();
        for (topic, partitions) in [("steady", "1"), ("requests", "10")] {
            create(&bootstrap, topic, partitions)?;
        }
        // A virtual machine compiles its hot paths first; both get the same warm-up.
        for workload in WORKLOADS {
            self.ask(&bootstrap, workload, 10)?;
        }
        let mut runs = Vec::new();
        for workload in WORKLOADS {
            let before = node.usage()?;
            let figures = self.ask(&bootstrap, workload, arguments.seconds)?;
            let cpu = (node.usage()?.cpu - before.cpu).as_secs_f64();
            eprintln!("  {workload}: {figures} microseconds, {cpu:.2} s of broker CPU");
            runs.push(json!({
                "round": round,
                "contestant": contestant.name,
                "workload": workload,
                "seconds": arguments.seconds,
                "broker_cpu_seconds": cpu,
                "microseconds": figures,
            }));
        }
        let bytes = self.idle_connections(&node, arguments.connections)?;
        eprintln!("  idle connections: {bytes} bytes each");
        runs.push(json!({
            "round": round,
            "contestant": contestant.name,
            "workload": "idle connections",
            "connections": arguments.connections,
            "bytes_each": bytes,
        }));
        node.stop()?;
        Ok(runs)
    }

    fn measure_floor(&self, round: u32, arguments: &Arguments) -> Result<Value> {
        eprintln!("round {round} of {}: {FLOOR}", arguments.rounds);
        let mut answerer = self.started(&["answer"])?;
        let bootstrap = first_line(&mut answerer)?;
        let figures = self.ask(bootstrap.trim(), "requests", arguments.seconds)?;
        eprintln!("  requests: {figures} microseconds");
        drop(answerer.stdin.take());
        ensure!(answerer.wait()?.success(), "it failed");
        Ok(json!({
            "round": round,
            "contestant": FLOOR,
            "workload": "requests",
            "seconds": arguments.seconds,
            "microseconds": figures,
        }))
    }

    /// The client, which ends with its input.
    fn started(&self, words: &[&str]) -> Result<Child> {
        let mut command = Command::new(&self.program);
        Ok(command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
    }

    fn ask(&self, bootstrap: &str, workload: &str, seconds: u32) -> Result<Value> {
        let seconds = seconds.to_string();
        let mut command = Command::new(&self.program);
        let out = process::output(command.args([bootstrap, workload, &seconds]))?;
        serde_json::from_str(&out).with_context(|| out.clone())
    }

    /// Resident bytes of the broker for each connection that does nothing.
    fn idle_connections(&self, node: &Node, number: u32) -> Result<u64> {
        let before = node.usage()?.resident;
        let mut holder = self.started(&[node.bootstrap(), "hold", &number.to_string()])?;
        let line = first_line(&mut holder)?;
        std::thread::sleep(Duration::from_secs(1));
        let after = node.usage()?.resident;
        drop(holder.stdin.take());
        ensure!(holder.wait()?.success() && !line.is_empty(), "connections could not be held");
        Ok(after.saturating_sub(before) / u64::from(number.max(1)))
    }
}

fn first_line(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    Ok(line)
}

/// Creates a topic with Ottla's own tool, which starts at once.
pub(crate) fn create(bootstrap: &str, topic: &str, partitions: &str) -> Result<()> {
    let mut command = Command::new(ottla_testkit::ottla_binary()?);
    let arguments = ["topic", "create", topic, "--partitions", partitions];
    command.args(arguments).args(["--brokers", bootstrap, "--timeout", "60"]);
    process::output(&mut command).map(|_| ())
}

/// Medians over the rounds, in microseconds, each beside the first contestant's.
fn table(runs: &[Value]) -> String {
    let mut text = format!("{:<18}{:<16}", "workload", "contestant");
    FIGURES.iter().for_each(|figure| text.push_str(&format!("{figure:>10} us{:>8}", "")));
    text.push('\n');
    let contestants = compare::CONTESTANTS.iter().map(|c| c.name);
    let names: Vec<&str> = contestants.chain([FLOOR]).collect();
    for workload in WORKLOADS {
        let mut base: Option<Vec<f64>> = None;
        for name in &names {
            let median = |figure: &str| median(runs, workload, name, &["microseconds", figure]);
            let Some(own) = FIGURES.iter().map(|figure| median(figure)).collect::<Option<Vec<_>>>()
            else {
                continue;
            };
            text.push_str(&format!("{workload:<18}{name:<16}"));
            for (value, base) in own.iter().zip(base.get_or_insert_with(|| own.clone())) {
                text.push_str(&format!("{value:>10.0}{:>11}", format!("1/{:.1}", *base / value)));
            }
            text.push('\n');
        }
    }
    for name in &names {
        if let Some(bytes) = median(runs, "idle connections", name, &["bytes_each"]) {
            text.push_str(&format!(
                "{:<18}{name:<16}{bytes:>10.0} bytes each\n",
                "idle connections"
            ));
        }
    }
    text
}

/// The median over the rounds of a figure of one contestant and workload.
pub(crate) fn median(
    runs: &[Value],
    workload: &str,
    contestant: &str,
    path: &[&str],
) -> Option<f64> {
    let of_this = |run: &&Value| run["workload"] == workload && run["contestant"] == contestant;
    let figure = |run: &Value| path.iter().fold(run, |value, key| &value[*key]).as_f64();
    let mut values: Vec<f64> = runs.iter().filter(of_this).filter_map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_compares_medians_with_the_first() {
        let run = |contestant: &str, p50: u64| {
            let figures = json!({"p50": p50, "p99": 2 * p50, "p999": 3 * p50, "max": 4 * p50});
            json!({"workload": "steady", "contestant": contestant, "microseconds": figures})
        };
        let text =
            table(&[run("kafka", 900), run("ottla os", 100), run("kafka", 800), run("kafka", 10)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("800") && lines[1].contains("1/1.0"), "{text}");
        assert!(lines[2].contains("200") && lines[2].contains("1/8.0"), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }
}
