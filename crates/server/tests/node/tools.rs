//! Kafka's tools by their names, ended by signals: what was read is sent, what was printed is committed.
//!
//! Their command lines are compared with Kafka's own in crate `conformance`.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use ottla_testkit::{Folder, NodeOptions, Process, Signal, run_bounded, wait_until};

use crate::support::{binary, running, succeeds};

const LIMIT: Duration = Duration::from_secs(30);

fn tool(folder: &Folder, name: &str) -> Result<Command> {
    let link = folder.path().join(name);
    std::os::unix::fs::symlink(binary(), &link)?;
    Ok(Command::new(link))
}

#[test]
fn a_producer_that_is_told_to_end_sends_what_it_has_read() -> Result<()> {
    let node = running(NodeOptions::default())?;
    let folder = Folder::new("tools")?;
    let mut command = tool(&folder, "kafka-console-producer.sh")?;
    // Without the signal it would wait for a minute.
    command.args([
        "--bootstrap-server",
        node.bootstrap(),
        "--topic",
        "typed",
        "--timeout",
        "60000",
    ]);
    let (mut process, mut input) = Process::start_fed(&mut command, &folder.path().join("log"))?;
    input.write_all(b"one\n")?;
    // The first record asks for its topic, which is made then.
    let list = ["-b", node.bootstrap(), "topic", "list"];
    let made = || succeeds(&list, "").is_ok_and(|topics| topics.contains("typed"));
    wait_until("the topic", LIMIT, made)?;
    process.terminate()?;
    let ended = process.wait(LIMIT)?;
    ensure!(ended.code() == Some(143), "{ended:?} {}", process.output());
    let consume = ["-b", node.bootstrap(), "consume", "typed", "--from-beginning", "--exit-at-end"];
    ensure!(succeeds(&consume, "")? == "one\n");
    Ok(())
}

#[test]
fn a_member_that_is_told_to_end_leaves_its_group_with_its_offsets() -> Result<()> {
    let node = running(NodeOptions::default())?;
    succeeds(&["-b", node.bootstrap(), "produce", "read"], "one\ntwo\n")?;
    for (group, signal, code) in [("a", Signal::INT, 130), ("b", Signal::TERM, 143)] {
        let folder = Folder::new("tools")?;
        let mut command = tool(&folder, "kafka-console-consumer.sh")?;
        let topic = ["--bootstrap-server", node.bootstrap(), "--topic", "read"];
        command.args(topic).args(["--group", group, "--from-beginning"]);
        let mut process = Process::start(&mut command, &folder.path().join("log"))?;
        wait_until("the records", LIMIT, || process.output().contains("two"))?;
        process.signal(signal)?;
        let ended = process.wait(LIMIT)?;
        let output = process.output();
        ensure!(ended.code() == Some(code), "{ended:?} {output}");
        ensure!(output.contains("Processed a total of 2 messages"), "{output}");
        let described = succeeds(&["-b", node.bootstrap(), "group", "describe", group], "")?;
        ensure!(
            described.contains("Empty") && described.contains("lag             0"),
            "{described}"
        );
    }
    Ok(())
}

#[test]
fn a_script_that_is_not_there_is_told_from_ottlas_own_commands() -> Result<()> {
    let folder = Folder::new("tools")?;
    for (name, says) in [
        ("kafka-metadata-quorum.sh", "`ottla quorum` does what it is for"),
        ("kafka-reassign-partitions", "Apache Kafka's own works"),
    ] {
        let mut command = tool(&folder, name)?;
        command.args(["--bootstrap-server", "127.0.0.1:1", "--describe"]);
        let ran = run_bounded(&mut command, "", LIMIT)?;
        ensure!(ran.code == Some(1) && ran.stdout.is_empty(), "{name}: {:?}", ran.code);
        ensure!(ran.stderr.contains(says), "{name}: {}", ran.stderr);
    }
    Ok(())
}
