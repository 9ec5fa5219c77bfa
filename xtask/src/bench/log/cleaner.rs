//! A real Kafka compacts the log that the log crate compacts: its own log says how fast.
//!
//! The segments are put in the place of a topic's partitions while the node is down; it recovers them and cleans one
//! after the other, on one thread and without a limit. The fastest counts, so that none of what a virtual machine
//! does at first is in the figure.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_testkit::{Java, Kind, Node, NodeOptions, wait_until};
use serde_json::{Value, json};

use crate::peers;
use crate::workspace::{self, Workspace};

/// Its name in the report.
pub(super) const NAME: &str = "Kafka's cleaner";

const PARTITIONS: usize = 4;
const LIMIT: Duration = Duration::from_secs(300);

/// Cleans copies of the log in this folder; one figure for the fastest.
pub(super) fn run(workspace: &Workspace, log: &Path) -> Result<Value> {
    ottla_testkit::use_peers(workspace::peers_folder(workspace));
    eprintln!("{}", peers::table(&peers::prepare_all(workspace)));
    let java = Java::find().context("`cargo xtask peers java` fetches Kafka")?;
    let mut options = NodeOptions::default()
        .with("log.cleaner.threads", "1")
        .with("log.cleaner.backoff.ms", "100")
        .with("log.cleaner.enable", "true");
    options.jvm = super::compare::KAFKA_FLAGS.split(' ').map(String::from).collect();
    let mut node = Node::prepare(options)?;
    node.format(Kind::Kafka)?;
    node.start_as(Kind::Kafka)?;
    let partitions = PARTITIONS.to_string();
    let create = ["--create", "--topic", "keyed", "--bootstrap-server", node.bootstrap()];
    let configs = ["cleanup.policy=compact", "segment.bytes=67108864", "retention.ms=-1"];
    let mut arguments = [&create[..], &["--partitions", &partitions]].concat();
    configs.iter().for_each(|config| arguments.extend(["--config", config]));
    let ran = java.run("org.apache.kafka.tools.TopicCommand", &arguments, "", LIMIT)?;
    ensure!(ran.code == Some(0), "creating a topic failed:\n{}{}", ran.stdout, ran.stderr);
    node.stop()?;
    put_in_place(log, &node.data())?;

    let settings = node.folder().join("log4j2.properties");
    let quiet = std::fs::read_to_string(&settings)?;
    std::fs::write(settings, format!("{quiet}{CLEANER_TELLS}"))?;
    node.start_as(Kind::Kafka)?;
    let told = node.folder().join("log");
    let mut rates = Vec::new();
    wait_until("Kafka's cleaner", LIMIT, || {
        rates = std::fs::read_to_string(&told).map(|text| rates_in(&text)).unwrap_or_default();
        rates.len() >= PARTITIONS
    })
    .with_context(|| node.tail())?;
    node.stop()?;
    eprintln!("  Kafka's cleaner, MB/s of each pass: {rates:?}");
    let value = rates.into_iter().fold(0.0, f64::max);
    Ok(json!({"round": 1, "workload": "compaction", "contestant": NAME, "value": value,
        "unit": "MB/s"}))
}

const CLEANER_TELLS: &str = "\
logger.cleaner.name=org.apache.kafka.storage.internals.log
logger.cleaner.level=info
logger.threads.name=kafka.log
logger.threads.level=info
";

fn put_in_place(log: &Path, data: &Path) -> Result<()> {
    for partition in 0..PARTITIONS {
        let dir = data.join(format!("keyed-{partition}"));
        for from in [dir.as_path(), log] {
            for entry in std::fs::read_dir(from)? {
                let path = entry?.path();
                let name = path.file_name().context("a name")?;
                if path.extension().is_some_and(|suffix| suffix == "log") {
                    match from == log {
                        true => std::fs::copy(&path, dir.join(name)).map(|_| ())?,
                        false => std::fs::remove_file(&path)?,
                    }
                } else if from != log && name != "partition.metadata" {
                    std::fs::remove_file(&path)?;
                }
            }
        }
    }
    // Without it all is recovered, and the indexes are made.
    std::fs::remove_file(data.join(".kafka_cleanshutdown"))?;
    Ok(())
}

/// MB/s, of a million bytes, of each pass that read a sizeable log.
fn rates_in(text: &str) -> Vec<f64> {
    // "	488.3 MB of log processed in 3.1 seconds (157.5 MB/sec)."
    let rate = |line: &str| {
        let (size, rest) = line.trim().split_once(" MB of log processed in ")?;
        let rate = rest.split_once('(')?.1.split_once(' ')?.0;
        let number = |text: &str| text.replace(',', "").parse::<f64>().ok();
        number(size).filter(|size| *size > 100.0)?;
        Some(number(rate)? * 1.048_576)
    };
    text.lines().filter_map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_words_are_read() {
        let text = "\tLog cleaner thread 0 cleaned log keyed-1 (dirty section = [0, 499600])\n\
            \t1,488.3 MB of log processed in 3.1 seconds (1,000.0 MB/sec).\n\
            \t0.1 MB of log processed in 0.0 seconds (5.0 MB/sec).\n";
        assert_eq!(rates_in(text), [1048.576]);
    }
}
