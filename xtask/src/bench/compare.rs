//! `cargo xtask bench compare`: Ottla beside Apache Kafka, on this machine, in turns.
//!
//! One contestant runs at a time, each in a fresh directory; the tools are Kafka's own. A round lets every
//! contestant do every workload, so that a slow spell of the machine hits all of them. Broker CPU is the
//! kernel's accounting of the broker process alone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ottla_testkit::{Java, Kind, Node, NodeOptions};
use serde_json::json;

use super::report::{self, Measured};
use crate::workspace::{self, Workspace};
use crate::{peers, process};

/// How much to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Thousands of records of 1 KiB; four times as many of 100 bytes.
    #[arg(long, default_value_t = 1000)]
    thousands: u64,
    /// Only contestants with this in their name.
    #[arg(long)]
    only: Option<String>,
}

/// A broker with the settings that make the difference.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    properties: &'static [(&'static str, &'static str)],
}

/// The first is what the others are compared with.
pub(crate) const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "kafka", kind: Kind::Kafka, properties: &[] },
    Contestant { name: "ottla os", kind: Kind::Ottla, properties: &[("ottla.durability", "os")] },
    Contestant {
        name: "ottla fsync",
        kind: Kind::Ottla,
        properties: &[("ottla.durability", "fsync")],
    },
    Contestant {
        name: "kafka flush 1",
        kind: Kind::Kafka,
        properties: &[("log.flush.interval.messages", "1")],
    },
];

const KIB: &str = "produce 1 KiB";
const SMALL: &str = "produce 100 B";
const CONSUME: &str = "consume 1 KiB";

/// The longest one tool may run.
const TOOL_LIMIT: Duration = Duration::from_secs(900);

/// Runs all rounds, writes the raw data and prints the table.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    use_release_binary(workspace)?;
    let java = Java::find().context("`cargo xtask peers java` fetches Kafka")?;
    // The flags of Kafka's own scripts for tools.
    let java = java.with_flags(&["-Xmx512M"]);
    let chosen = chosen(arguments.only.as_deref())?;
    let mut runs = Vec::new();
    for round in 1..=arguments.rounds {
        for contestant in &chosen {
            eprintln!("round {round} of {}: {}", arguments.rounds, contestant.name);
            runs.extend(measure(&java, contestant, round, arguments.thousands * 1000)?);
        }
    }
    let table = report::table(&runs);
    println!("{table}");
    save(workspace, "compare", runs.iter().map(Measured::json).collect(), &table).map(|_| ())
}

/// The contestants with this in their name.
pub(crate) fn chosen(only: Option<&str>) -> Result<Vec<&'static Contestant>> {
    let fits = |c: &&Contestant| only.is_none_or(|only| c.name.contains(only));
    let chosen: Vec<_> = CONTESTANTS.iter().filter(fits).collect();
    if chosen.is_empty() {
        bail!("no such contestant");
    }
    Ok(chosen)
}

/// The flags of Kafka's own start script, with its default heap.
pub(crate) const KAFKA_FLAGS: &str = "-Xmx1G -Xms1G -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent";

/// Starts a contestant in a fresh directory.
pub(crate) fn start(contestant: &Contestant) -> Result<Node> {
    start_with(contestant, &[])
}

/// As [`start`], with more properties.
pub(crate) fn start_with(contestant: &Contestant, more: &[(&str, &str)]) -> Result<Node> {
    let mut options = NodeOptions::default();
    for (name, value) in contestant.properties.iter().chain(more) {
        options = options.with(name, value);
    }
    options.jvm = KAFKA_FLAGS.split(' ').map(String::from).collect();
    Node::start(contestant.kind, options)
}

/// Makes the test helpers start the release binary, built now unless `OTTLA_BIN` names one, and find Kafka's jars.
pub(crate) fn use_release_binary(workspace: &Workspace) -> Result<()> {
    // A binary that is there already may be named, for example one of an older commit.
    if std::env::var_os("OTTLA_BIN").is_none() {
        let build = ["build", "--release", "--package", "ottla-server"];
        process::run(&mut process::cargo(&workspace.root, &build))?;
        ottla_testkit::use_binary(workspace.target.join("release/ottla"));
    }
    ottla_testkit::use_peers(workspace::peers_folder(workspace));
    let found = peers::prepare_all(workspace);
    eprintln!("{}", peers::table(&found));
    Ok(())
}

fn measure(
    java: &Java,
    contestant: &Contestant,
    round: u32,
    records: u64,
) -> Result<Vec<Measured>> {
    let mut node = start(contestant)?;
    let bench = Bench { java, contestant: contestant.name, round };
    for topic in ["warm", "kib", "small"] {
        let create = ["--create", "--topic", topic, "--bootstrap-server", node.bootstrap()];
        let ran = java.run("org.apache.kafka.tools.TopicCommand", &create, "", TOOL_LIMIT)?;
        if ran.code != Some(0) {
            bail!("cannot create {topic}: {}{}", ran.stdout, ran.stderr);
        }
    }
    // A virtual machine compiles its hot paths first; both get the same warm-up, and neither is charged.
    bench.produce(&node, "warm", "warm-up", records / 5, 1024)?;
    bench.consume(&node, "warm", records / 5)?;
    let runs = vec![
        bench.produce(&node, "kib", KIB, records, 1024)?,
        bench.consume(&node, "kib", records)?,
        bench.produce(&node, "small", SMALL, records * 4, 100)?,
    ];
    node.stop()?;
    Ok(runs)
}

struct Bench<'a> {
    java: &'a Java,
    contestant: &'static str,
    round: u32,
}

impl Bench<'_> {
    fn produce(
        &self,
        node: &Node,
        topic: &str,
        workload: &'static str,
        records: u64,
        bytes: u64,
    ) -> Result<Measured> {
        let (number, size) = (records.to_string(), bytes.to_string());
        let bootstrap = format!("bootstrap.servers={}", node.bootstrap());
        let arguments = [
            "--topic",
            topic,
            "--num-records",
            &number,
            "--record-size",
            &size,
            "--throughput",
            "-1",
            "--command-property",
            &bootstrap,
            "acks=1",
        ];
        let before = node.usage()?;
        let ran = self.java.run(
            "org.apache.kafka.tools.ProducerPerformance",
            &arguments,
            "",
            TOOL_LIMIT,
        )?;
        let after = node.usage()?;
        let (rate, line) = report::producer_rate(&ran.stdout)
            .with_context(|| format!("{}{}", ran.stdout, ran.stderr))?;
        eprintln!("  {workload}: {line}");
        Ok(self.measured(
            workload,
            records,
            bytes,
            rate,
            line,
            after.cpu - before.cpu,
            after.resident,
        ))
    }

    fn consume(&self, node: &Node, topic: &str, records: u64) -> Result<Measured> {
        let number = records.to_string();
        let arguments =
            ["--bootstrap-server", node.bootstrap(), "--topic", topic, "--num-records", &number];
        let before = node.usage()?;
        let ran = self.java.run(
            "org.apache.kafka.tools.ConsumerPerformance",
            &arguments,
            "",
            TOOL_LIMIT,
        )?;
        let after = node.usage()?;
        let (seen, rate, line) = report::consumer_rate(&ran.stdout)
            .with_context(|| format!("{}{}", ran.stdout, ran.stderr))?;
        if seen < records {
            bail!("{records} records were produced and {seen} consumed");
        }
        eprintln!("  {CONSUME}: {line}");
        Ok(self.measured(CONSUME, seen, 1024, rate, line, after.cpu - before.cpu, after.resident))
    }

    #[allow(clippy::too_many_arguments, reason = "one value for each column")]
    fn measured(
        &self,
        workload: &'static str,
        records: u64,
        bytes: u64,
        rate: f64,
        line: String,
        cpu: Duration,
        resident: u64,
    ) -> Measured {
        Measured {
            round: self.round,
            contestant: self.contestant.to_string(),
            workload,
            records,
            record_bytes: bytes,
            records_per_second: rate,
            broker_cpu: cpu,
            broker_resident: resident,
            tool_line: line,
        }
    }
}

/// Raw data and table, named by the time and the commit.
pub(crate) fn save(
    workspace: &Workspace,
    name: &str,
    runs: Vec<serde_json::Value>,
    table: &str,
) -> Result<PathBuf> {
    let tell = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        process::output(command.args(arguments).current_dir(&workspace.root))
            .unwrap_or_default()
            .trim()
            .to_string()
    };
    let time = tell("date", &["-u", "+%Y-%m-%dT%H%MZ"]);
    let commit = tell("git", &["rev-parse", "--short", "HEAD"]);
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processor.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1));
    let raw = json!({
        "time": time,
        "commit": commit,
        "machine": {
            "processor": model,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "kernel": tell("uname", &["-sr"]),
            "java": tell("java", &["--version"]).lines().next(),
        },
        "kafka": "4.3.1",
        "runs": runs,
    });
    let folder: PathBuf = workspace.root.join("benches/runs");
    std::fs::create_dir_all(&folder)?;
    let stem = format!("{name}-{time}-{commit}");
    std::fs::write(folder.join(format!("{stem}.json")), format!("{raw:#}\n"))?;
    std::fs::write(folder.join(format!("{stem}.txt")), table)?;
    println!("raw data: benches/runs/{stem}.json");
    Ok(folder.join(stem))
}
