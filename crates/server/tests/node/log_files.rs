//! `ottla log verify`, `repair`, `index rebuild` and `compact` on the directory of a node that ran.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use ottla_testkit::{Node, NodeOptions, wait_until};
use serde_json::json;

use crate::support::{check_failure, http_get, json, ottla, running, succeeds};

const LIMIT: Duration = Duration::from_secs(30);

/// A node with a topic of keyed records, some keys several times.
fn node_with_records(options: NodeOptions) -> Result<Node> {
    let node = running(options)?;
    let bootstrap = ["-b", node.bootstrap()];
    let create = ["topic", "create", "t", "--config", "cleanup.policy=compact", "--config"];
    succeeds(&[&bootstrap[..], &create, &["segment.bytes=1048576"]].concat(), "")?;
    let records: String =
        (0..40_000).map(|n| format!("key-{}:value {n} {}\n", n % 100, "x".repeat(60))).collect();
    succeeds(&[&bootstrap[..], &["produce", "t", "--key-separator", ":"]].concat(), &records)?;
    Ok(node)
}

fn consumed(node: &Node) -> Result<Vec<String>> {
    let text = succeeds(
        &["-b", node.bootstrap(), "consume", "t", "--from-beginning", "--exit-at-end"],
        "",
    )?;
    Ok(text.lines().map(String::from).collect())
}

fn dir(node: &Node) -> (PathBuf, String) {
    let dir = node.data().join("t-0");
    let text = dir.display().to_string();
    (dir, text)
}

fn last(node: &Node, suffix: &str) -> Result<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(node.data().join("t-0"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|s| s == suffix));
    files.sort();
    Ok(files.pop().unwrap())
}

#[test]
fn files_are_verified_beside_a_node_and_changed_only_without_it() -> Result<()> {
    let mut node = node_with_records(NodeOptions::default())?;
    let (_, text) = dir(&node);
    let ran = ottla(&["log", "verify", &text])?;
    ensure!(ran.stdout.contains("t-0: ") && ran.stderr.contains("A node uses"), "{ran:?}");
    for command in [&["repair"][..], &["compact"], &["index", "rebuild"]] {
        let ran = ottla(&[&["log"], command, &[text.as_str()]].concat())?;
        check_failure("in use", &ran, 7, &["a node uses", "Stop it first"])?;
    }
    node.stop()?;
    let whole = json(&["log", "verify", &node.data().display().to_string()])?;
    let found = whole.as_array().is_some_and(|partitions| {
        partitions.iter().any(|p| p["partition"] == "t-0" && p["findings"] == json!([]))
    });
    ensure!(found, "{whole}");
    let ran = ottla(&["log", "verify", &node.folder().join("nothing").display().to_string()])?;
    check_failure("nothing there", &ran, 6, &["No such file"])?;
    let ran = ottla(&["log", "repair", &node.data().display().to_string()])?;
    check_failure("no partition", &ran, 2, &["is not the directory of a partition"])
}

#[test]
fn a_torn_tail_is_repaired_and_damage_is_not() -> Result<()> {
    let mut node = node_with_records(NodeOptions::default())?;
    let before = consumed(&node)?;
    node.stop()?;
    let (_, text) = dir(&node);
    let active = last(&node, "log")?;
    let len = active.metadata()?.len();
    OpenOptions::new().append(true).open(&active)?.write_all(&[0x5a; 100])?;
    let ran = ottla(&["log", "verify", &text])?;
    check_failure("torn", &ran, 10, &["1 of 1 partitions are not whole"])?;
    ensure!(ran.stdout.contains("a torn tail of 100 bytes"), "{ran:?}");
    let ran = ottla(&["log", "repair", "--dry-run", &text])?;
    ensure!(ran.code == Some(0) && ran.stdout.contains("cuts it off"), "{ran:?}");
    ensure!(active.metadata()?.len() == len + 100, "a dry run changed the file");
    let repaired = json(&["log", "repair", &text])?;
    ensure!(repaired["cut_off_bytes"] == 100 && repaired["end_offset"] == 40_000, "{repaired}");
    let kept = PathBuf::from(repaired["kept_in"][0].as_str().unwrap());
    ensure!(std::fs::read(kept)? == [0x5a; 100]);
    node.restart()?;
    ensure!(consumed(&node)? == before);
    node.stop()?;

    // A byte in the middle: the records there are gone, and nobody cuts off what follows them.
    let mut content = std::fs::read(&active)?;
    content[200] ^= 1;
    std::fs::write(&active, content)?;
    for arguments in [&["log", "repair", "--dry-run", &text], &["log", "index", "rebuild", &text]] {
        check_failure("damage", &ottla(arguments)?, 10, &[])?;
    }
    let accepted = json(&["log", "repair", "--accept-damage", &text])?;
    ensure!(accepted["cut_off_bytes"].as_u64() > Some(100), "{accepted}");
    node.restart()?;
    let after = consumed(&node)?;
    ensure!(before.starts_with(&after) && after.len() < before.len(), "{}", after.len());
    Ok(())
}

#[test]
fn indexes_are_rebuilt_and_a_partition_is_compacted() -> Result<()> {
    let mut node = node_with_records(NodeOptions::default())?;
    node.stop()?;
    let (dir, text) = dir(&node);
    let index = dir.join("00000000000000000000.index");
    let whole = std::fs::read(&index)?;
    ensure!(whole.len() > 16, "{} bytes", whole.len());
    let mut spoilt = whole.clone();
    spoilt[15] ^= 0x40;
    std::fs::write(&index, spoilt)?;
    check_failure("index", &ottla(&["log", "verify", &text])?, 10, &[])?;
    let rebuilt = json(&["log", "index", "rebuild", &text])?;
    ensure!(rebuilt["end_offset"] == 40_000, "{rebuilt}");
    ensure!(std::fs::read(&index)? == whole, "it is as it was");

    let compacted = json(&["log", "compact", &text])?;
    let (before, after) =
        (compacted["bytes_before"].as_u64().unwrap(), compacted["bytes_after"].as_u64().unwrap());
    ensure!(after < before / 2, "{compacted}");
    let again = json(&["log", "compact", &text])?;
    ensure!(again["cleaned_to"] == json!(null), "{again}");
    ensure!(ottla(&["log", "verify", &text])?.code == Some(0));
    node.restart()?;
    let values = consumed(&node)?;
    for key in 0..100 {
        let newest = format!("value {} ", 39_900 + key);
        ensure!(values.iter().any(|value| value.contains(&newest)), "{newest}");
    }
    Ok(())
}

#[test]
fn a_broker_finds_damage_by_itself_and_serves_what_is_whole() -> Result<()> {
    let http = format!("127.0.0.1:{}", ottla_testkit::free_port()?);
    let options = NodeOptions::default()
        .with("ottla.http.listener", &http)
        .with("log.initial.task.delay.ms", "0")
        // It would write the damaged segment anew, or refuse it.
        .with("log.cleaner.enable", "false")
        .with("ottla.scrub.interval.ms", "50");
    let mut node = node_with_records(options)?;
    let figure = |name: &str| -> Option<f64> {
        let (_, text) = http_get(&http, "/metrics").ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    wait_until("a pass", LIMIT, || figure("ottla_scrub_bytes_total") > Some(1e6))?;
    ensure!(figure("ottla_scrub_damaged_partitions") == Some(0.0));
    node.stop()?;
    let first = node.data().join("t-0/00000000000000000000.log");
    let mut content = std::fs::read(&first)?;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&first, content)?;
    node.restart()?;
    wait_until("the damage", LIMIT, || figure("ottla_scrub_damaged_partitions") == Some(1.0))?;
    wait_until("a line", LIMIT, || node.tail().contains("a log is damaged"))?;
    ensure!(node.tail().contains("00000000000000000000.log"), "{}", node.tail());
    let last = ["-b", node.bootstrap(), "consume", "t", "--offset", "39999", "--exit-at-end"];
    ensure!(succeeds(&last, "")?.contains("value 39999"));
    Ok(())
}
