//! `cargo xtask bench overload`: three times the load that a node can take, in a small machine's memory, and
//! connections that never get on.
//!
//! The client and its phases are `crates/conformance/src/bin/overload.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_testkit::{Kind, Node, NodeOptions, Usage};
use serde_json::{Value, json};

use super::compare;
use super::tails::create;
use crate::process;
use crate::workspace::Workspace;

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Seconds of overload.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Memory of the node, in MiB.
    #[arg(long, default_value_t = 512)]
    memory: u64,
}

/// Runs it, writes the raw data and prints the table.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    compare::use_release_binary(workspace)?;
    let build = ["build", "--release", "--package", "ottla-conformance", "--bin", "overload"];
    process::run(&mut process::cargo(&workspace.root, &build))?;
    let options = NodeOptions::default().with("log.retention.check.interval.ms", "1000");
    let mut node = Node::prepare(options)?;
    node.format(Kind::Ottla)?;
    // It looks at its limit when it starts, so the group is there before.
    let group = Group::make(arguments.memory << 20);
    match &group {
        Ok(group) => group.take_in(std::process::id())?,
        Err(why) => eprintln!("no limit on memory can be set here ({why}); it is only watched"),
    }
    let started = node.start_as(Kind::Ottla);
    if let Ok(group) = &group {
        group.let_out(std::process::id())?;
    }
    started?;
    for (topic, partitions) in [("small", "8"), ("large", "4"), ("probe", "1")] {
        create(node.bootstrap(), topic, partitions)?;
    }
    keep_little(&node, "large")?;
    let watch = Watch::start(node.process()?.pid());
    let seconds = arguments.seconds.to_string();
    let mut client = Command::new(workspace.target.join("release/overload"));
    let out = process::output(client.args([node.bootstrap(), &seconds]));
    let peak = watch.stop()?;
    let out = out.with_context(|| node.tail())?;
    ensure!(node.process()?.ended().is_none(), "the node has ended\n{}", node.tail());
    node.stop()?;
    let mut run: Value = serde_json::from_str(out.trim())?;
    run["memory_limit_bytes"] = json!(group.is_ok().then_some(arguments.memory << 20));
    run["peak_resident_bytes"] = json!(peak.resident);
    run["peak_files"] = json!(peak.files);
    drop(group);
    let table = table(&run);
    println!("{table}");
    compare::save(workspace, "overload", vec![run], &table).map(|_| ())
}

/// Records that are read back at the end must fit the disk.
fn keep_little(node: &Node, topic: &str) -> Result<()> {
    let mut command = Command::new(ottla_testkit::ottla_binary()?);
    command.args(["config", "alter", "topic", topic, "--brokers", node.bootstrap()]);
    for config in ["retention.bytes=536870912", "segment.bytes=67108864", "file.delete.delay.ms=0"]
    {
        command.args(["--set", config]);
    }
    process::output(&mut command).map(|_| ())
}

/// A control group with a limit on memory, which goes with its value.
struct Group {
    folder: PathBuf,
    around: PathBuf,
}

impl Group {
    fn make(bytes: u64) -> Result<Self> {
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let (around, file) = versions
            .into_iter()
            .find(|(around, _)| Path::new(around).join("cgroup.procs").exists())
            .context("there are no control groups")?;
        let around = PathBuf::from(around);
        let folder = around.join(format!("ottla-bench-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let group = Self { folder, around };
        std::fs::write(group.folder.join(file), bytes.to_string())?;
        Ok(group)
    }

    fn take_in(&self, pid: u32) -> Result<()> {
        Ok(std::fs::write(self.folder.join("cgroup.procs"), pid.to_string())?)
    }

    fn let_out(&self, pid: u32) -> Result<()> {
        Ok(std::fs::write(self.around.join("cgroup.procs"), pid.to_string())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It goes once its processes have.
        std::fs::remove_dir(&self.folder).ok();
    }
}

/// Looks at a process all the time.
struct Watch {
    done: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Peak>,
}

#[derive(Default, Clone, Copy)]
struct Peak {
    resident: u64,
    files: u64,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = Peak::default();
            while !stop.load(Ordering::Acquire) {
                if let Ok(usage) = Usage::of(pid) {
                    peak.resident = peak.resident.max(usage.resident);
                    peak.files = peak.files.max(u64::try_from(usage.files).unwrap_or(u64::MAX));
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            peak
        });
        Self { done, thread }
    }

    fn stop(self) -> Result<Peak> {
        self.done.store(true, Ordering::Release);
        self.thread.join().ok().context("the watch panicked")
    }
}

fn table(run: &Value) -> String {
    let mut text =
        format!("{:<34}{:>12}{:>12}{:>12}{:>12}\n", "microseconds", "p50", "p99", "p99.9", "max");
    for (what, phase) in [
        ("nothing else", "quiet"),
        ("at capacity", "capacity_probe"),
        ("beside 2,000 that never get on", "stalled"),
        ("at three times that", "overload_probe"),
        ("after it", "after"),
    ] {
        text.push_str(&format!("{what:<34}"));
        for figure in ["p50", "p99", "p999", "max"] {
            text.push_str(&format!("{:>12}", run[phase][figure].to_string()));
        }
        text.push('\n');
    }
    let rates = |phase: &str| {
        let rate = |kind: &str| run[phase][kind].as_f64().unwrap_or(f64::NAN);
        format!(
            "{:.0} small and {:.0} large requests a second",
            rate("small_per_second"),
            rate("large_per_second")
        )
    };
    let megabytes = |key: &str| {
        run[key].as_u64().map_or_else(|| "no".to_owned(), |n| format!("{} MB", n / 1_000_000))
    };
    let lines = [
        format!("capacity: {}", rates("capacity")),
        format!(
            "taken of three times that for {} s: {}",
            run["overload_seconds"],
            rates("overload")
        ),
        format!(
            "p99 at most {} us again after {} s",
            run["back_bound_us"], run["back_after_seconds"]
        ),
        format!(
            "memory: {} limit, at most {} resident; at most {} files",
            megabytes("memory_limit_bytes"),
            megabytes("peak_resident_bytes"),
            run["peak_files"]
        ),
        format!("records: {}", run["verified"]),
    ];
    text + &lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_line() {
        let seen = |p50: u64| json!({"p50": p50, "p99": 2, "p999": 3, "max": 4});
        let run = json!({
            "quiet": seen(11), "capacity_probe": seen(12), "stalled": seen(13),
            "overload_probe": seen(14), "after": seen(15),
            "capacity": {"small_per_second": 10.0, "large_per_second": 5.0},
            "overload": {"small_per_second": 9.0, "large_per_second": 4.0},
            "overload_seconds": 600, "back_bound_us": 4, "back_after_seconds": 1,
            "memory_limit_bytes": null, "peak_resident_bytes": 7_000_000, "peak_files": 9,
            "verified": {"lost": 0},
        });
        let table = table(&run);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 11, "{table}");
        for (line, p50) in lines[1..6].iter().zip(11..) {
            let figures = line.split_whitespace().rev().take(4).collect::<Vec<_>>();
            assert_eq!(figures, ["4", "3", "2", p50.to_string().as_str()], "{line}");
        }
        assert!(table.contains("no limit, at most 7 MB resident"), "{table}");
    }
}
