//! `cargo xtask bench partitions`: what a node with many idle partitions costs, and how soon it is back after
//! kill -9.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ottla_testkit::{Node, Usage};
use serde_json::{Value, json};

use super::compare::{self, Contestant};
use super::tails::create;
use crate::workspace::Workspace;

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Topics of 1,000 partitions each.
    #[arg(long, default_value_t = 10)]
    topics: u32,
    /// Only contestants with this in their name.
    #[arg(long)]
    only: Option<String>,
}

/// The longest a broker may take to make, or find again, all partitions.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measures, writes the raw data and prints the table.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    compare::use_release_binary(workspace)?;
    let mut runs = Vec::new();
    // Durability makes no difference to partitions that nobody writes to.
    for contestant in compare::chosen(arguments.only.as_deref())? {
        if ["kafka", "ottla fsync"].contains(&contestant.name) {
            eprintln!("{}", contestant.name);
            runs.push(measure(contestant, arguments.topics)?);
        }
    }
    let table = table(&runs);
    println!("{table}");
    compare::save(workspace, "partitions", runs, &table).map(|_| ())
}

fn measure(contestant: &Contestant, topics: u32) -> Result<Value> {
    let mut node = compare::start(contestant)?;
    let empty = node.usage()?;
    let begun = Instant::now();
    for number in 0..topics {
        create(node.bootstrap(), &format!("many-{number}"), "1000")?;
    }
    let wanted = usize::try_from(topics)? * 1000;
    while directories(&node)? < wanted {
        ensure!(begun.elapsed() < PATIENCE, "only {} directories", directories(&node)?);
        std::thread::sleep(Duration::from_millis(50));
    }
    let created = begun.elapsed();
    let last = format!("many-{}", topics.saturating_sub(1));
    write(&node, &last)?;
    std::thread::sleep(Duration::from_secs(5));
    let idle = node.usage()?;
    node.kill9()?;
    let begun = Instant::now();
    node.restart()?;
    write(&node, &last)?;
    let back = begun.elapsed();
    std::thread::sleep(Duration::from_secs(5));
    let again = node.usage()?;
    let stopped = node.stop()?;
    let figures = |usage: Usage| json!({"resident_bytes": usage.resident, "files": usage.files});
    Ok(json!({
        "contestant": contestant.name,
        "partitions": wanted,
        "empty": figures(empty),
        "created_seconds": created.as_secs_f64(),
        "idle": figures(idle),
        "writable_after_kill_seconds": back.as_secs_f64(),
        "after_kill": figures(again),
        "stop_seconds": stopped.as_secs_f64(),
    }))
}

/// Partition directories of the topics made here.
fn directories(node: &Node) -> Result<usize> {
    let entries = std::fs::read_dir(node.data())?;
    let ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("many-");
    Ok(entries.filter_map(Result::ok).filter(ours).count())
}

/// Writes one record, retried until it is taken.
fn write(node: &Node, topic: &str) -> Result<()> {
    let file = node.folder().join("record");
    std::fs::write(&file, "x\n")?;
    let begun = Instant::now();
    loop {
        let mut command = Command::new(ottla_testkit::ottla_binary()?);
        command.args(["produce", topic, "--brokers", node.bootstrap(), "--timeout", "2"]);
        let done = command.arg("--file").arg(&file).output()?;
        if done.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&done.stderr);
        ensure!(begun.elapsed() < PATIENCE, "no record was taken: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn table(runs: &[Value]) -> String {
    let columns = [
        ("resident MB", "/idle/resident_bytes", 1e-6),
        ("files", "/idle/files", 1.0),
        ("created s", "/created_seconds", 1.0),
        ("back after kill s", "/writable_after_kill_seconds", 1.0),
        ("then resident MB", "/after_kill/resident_bytes", 1e-6),
        ("stop s", "/stop_seconds", 1.0),
    ];
    let mut text = format!("{:<16}", "contestant");
    columns.iter().for_each(|(name, ..)| text.push_str(&format!("{name:>19}")));
    text.push('\n');
    for run in runs {
        text.push_str(&format!("{:<16}", run["contestant"].as_str().unwrap_or_default()));
        for (_, path, scale) in columns {
            let value = run.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN) * scale;
            text.push_str(&format!("{value:>19.2}"));
        }
        text.push('\n');
    }
    text
}
