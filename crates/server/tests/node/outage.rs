//! A broker that is killed and started again under `ottla consume` and `ottla produce`: both go on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ottla_testkit::{Node, NodeOptions, Process, wait_for, wait_until};

use crate::support::{command, running, succeeds};

const LIMIT: Duration = Duration::from_secs(60);

/// A node with the topic `t` of one partition.
fn with_topic() -> Result<Node> {
    let node = running(NodeOptions::default())?;
    succeeds(&["-b", node.bootstrap(), "topic", "create", "t", "-p", "1"], "")?;
    Ok(node)
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "record {number}");
        text
    })
}

/// What a consumer has printed, without what it says.
fn records(consumer: &Process) -> String {
    let output = consumer.output();
    let records = output.lines().filter(|line| line.starts_with("record "));
    records.map(|line| format!("{line}\n")).collect()
}

fn check_consumer(group: &[&str]) -> Result<()> {
    let mut node = with_topic()?;
    let at = node.bootstrap().to_owned();
    let arguments = [&["-b", &at, "consume", "t", "--from-beginning"], group].concat();
    let log = node.folder().join("consumer.log");
    let mut consumer = Process::start(&mut command(&arguments), &log)?;
    for round in 0..2_u32 {
        succeeds(&["-b", &at, "produce", "t"], &lines(round * 10..round * 10 + 10))?;
        let all = lines(0..round * 10 + 10);
        let came = || {
            // A member that lost its place begins where it committed: it may read twice.
            let seen = records(&consumer);
            if group.is_empty() { seen == all } else { seen.ends_with(&all) }
        };
        wait_until("all records", LIMIT, came).with_context(|| consumer.tail())?;
        if round == 0 {
            node.kill9()?;
            let noticed = || consumer.output().contains("trying again");
            wait_until("the outage to be noticed", LIMIT, noticed)?;
            node.restart()?;
        }
    }
    ensure!(consumer.ended().is_none(), "it ended: {}", consumer.tail());
    let said = consumer.output().matches("trying again").count();
    ensure!(said == 1, "an outage is told once: {}", consumer.tail());
    Ok(())
}

#[test]
fn a_consumer_goes_on_where_it_was() {
    check_consumer(&[]).unwrap();
}

#[test]
fn a_member_of_a_group_goes_on() {
    check_consumer(&["--group", "g"]).unwrap();
}

/// `ottla produce` whose input is given bit by bit.
struct Producing(Child);

impl Producing {
    fn start(at: &str) -> Result<Self> {
        let mut command = command(&["-b", at, "--timeout", "60", "produce", "t"]);
        Ok(Self(command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let stdin = self.0.stdin.as_mut().context("its input is closed")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let ended = || self.0.try_wait().ok().flatten();
        let status = wait_for("the producer to end", LIMIT, ended)?;
        let mut said = String::new();
        if let Some(stderr) = &mut self.0.stderr {
            std::io::Read::read_to_string(stderr, &mut said)?;
        }
        ensure!(status.success(), "{status}: {said}");
        Ok(())
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_producer_sends_again_what_was_not_acknowledged() {
    let mut node = with_topic().unwrap();
    let at = node.bootstrap().to_owned();
    let consume = ["-b", &at, "consume", "t", "--from-beginning", "-e"];
    let mut producer = Producing::start(&at).unwrap();
    producer.send(&lines(0..100)).unwrap();
    let written = || succeeds(&consume, "").is_ok_and(|seen| seen == lines(0..100));
    wait_until("the first records", LIMIT, written).unwrap();
    node.kill9().unwrap();
    // Paced, so that most of them come after the first try has failed.
    for number in 100..300 {
        producer.send(&lines(number..number + 1)).unwrap();
        std::thread::park_timeout(Duration::from_millis(5));
    }
    node.restart().unwrap();
    producer.end().unwrap();
    assert_eq!(succeeds(&consume, "").unwrap(), lines(0..300));
}
