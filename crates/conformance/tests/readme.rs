//! The README's first five minutes, taken from the README and typed into a shell.
//!
//! What a newcomer would see is in `readme/*.txt`; `UPDATE_EXPECT=1` writes it again. Words that differ from
//! run to run (ids, times, free space) have names there. Only the ports are not those of the README.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{ensure_java, tool_class};
use ottla_testkit::{Folder, Java, Kind, Node, NodeOptions, ottla_binary, run_bounded};

const README: &str = include_str!("../../../README.md");
const TOUR: &str = "## The first five minutes";
const LIMIT: Duration = Duration::from_secs(90);

/// The shell blocks of the tour, in their order.
struct Tour {
    ottla: Vec<&'static str>,
    kafka: Vec<&'static str>,
    /// Once the node has stopped.
    files: Vec<&'static str>,
}

#[test]
fn the_tour_with_ottlas_commands() -> Result<()> {
    let tour = tour()?;
    let mut shell = Shell::start()?;
    shell.types(&tour.ottla)?;
    shell.node.stop()?;
    shell.types(tour.files.iter().copied().filter(|c| !is_kafkas(c)))?;
    shell.agrees_with("ottla.txt")
}

#[test]
fn the_tour_with_kafkas_tools() -> Result<()> {
    ensure_java!();
    let tour = tour()?;
    let mut shell = Shell::start()?;
    // What they show was made before.
    shell.types(&tour.ottla)?;
    shell.seen.clear();
    shell.types(&tour.kafka)?;
    shell.node.stop()?;
    shell.types(tour.files.iter().copied().filter(|c| is_kafkas(c)))?;
    shell.agrees_with("kafka.txt")
}

fn tour() -> Result<Tour> {
    let (_, tour) = README.split_once(TOUR).context("the README has a tour")?;
    let tour = tour.split("\n## ").next().unwrap_or_default();
    let blocks: Vec<Vec<&str>> = tour
        .split("```sh\n")
        .skip(1)
        .filter_map(|b| b.split("```").next())
        .map(|b| b.lines().collect())
        .collect();
    let [ottla, kafka, files] = <[Vec<&str>; 3]>::try_from(blocks)
        .ok()
        .context("Ottla's commands, Kafka's tools, and both on the files")?;
    ensure!(kafka.iter().all(|c| is_kafkas(c)) && !ottla.iter().any(|c| is_kafkas(c)));
    Ok(Tour { ottla, kafka, files })
}

fn is_kafkas(command: &str) -> bool {
    command.contains("kafka-")
}

/// A shell beside a running node, with `ottla` and Kafka's scripts on its path.
struct Shell {
    node: Node,
    programs: Folder,
    seen: String,
}

impl Shell {
    fn start() -> Result<Self> {
        let node = Node::start(Kind::Ottla, NodeOptions::default())?;
        let programs = Folder::new("programs")?;
        std::os::unix::fs::symlink(ottla_binary()?, programs.path().join("ottla"))?;
        Ok(Self { node, programs, seen: String::new() })
    }

    /// Executes commands, which must succeed, and notes what a person would see.
    fn types(&mut self, commands: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        for command in commands {
            let command = command.as_ref();
            for word in command.split_whitespace().filter(|w| w.ends_with(".sh")) {
                self.provide(word)?;
            }
            let path = std::env::var("PATH").unwrap_or_default();
            let mut shell = Command::new("sh");
            shell.args(["-c", &command.replace("localhost:9092", self.node.bootstrap())]);
            shell.current_dir(self.node.folder());
            shell.env("PATH", format!("{}:{path}", self.programs.path().display()));
            shell.env("OTTLA_BROKERS", self.node.bootstrap());
            let ran = run_bounded(&mut shell, "", LIMIT)?;
            ensure!(
                ran.code == Some(0),
                "{command}\nended with {:?}\n{}{}\n{}",
                ran.code,
                ran.stdout,
                ran.stderr,
                self.node.tail()
            );
            // Kafka's tools log to stderr.
            let complaints = if is_kafkas(command) { "" } else { &ran.stderr };
            self.note(command, &format!("{}{complaints}", ran.stdout));
        }
        Ok(())
    }

    /// One of Kafka's scripts: its main class on the jars that are there.
    fn provide(&self, script: &str) -> Result<()> {
        let class = tool_class(script.trim_end_matches(".sh"))?;
        let jars = Java::find()?.class_path(&[]);
        let text =
            format!("#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -cp '{jars}' {class} \"$@\"\n");
        let path = self.programs.path().join(script);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn note(&mut self, command: &str, output: &str) {
        let output = output
            .replace(self.node.bootstrap(), "localhost:9092")
            .replace(&self.node.folder().display().to_string(), "FOLDER");
        let mut lines: Vec<String> = output.lines().map(steady).collect();
        if command.contains("consume") && !command.contains("consumer-groups") {
            // Which partition comes first is nobody's promise.
            lines.sort();
        }
        self.seen.push_str(&format!("$ {command}\n"));
        for line in lines {
            self.seen.push_str(line.trim_end());
            self.seen.push('\n');
        }
        self.seen.push('\n');
    }

    fn agrees_with(&self, file: &str) -> Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readme").join(file);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().context("folder")?)?;
            std::fs::write(&path, &self.seen)?;
        }
        let expected = std::fs::read_to_string(&path).context(
            "UPDATE_EXPECT=1 cargo test -p ottla-conformance --test readme writes what is seen",
        )?;
        assert_eq!(self.seen, expected, "UPDATE_EXPECT=1 writes it again");
        Ok(())
    }
}

/// A line without what differs from run to run.
fn steady(line: &str) -> String {
    let words: Vec<&str> = line.split_inclusive([' ', '\t', ',']).collect();
    let mut steady = String::new();
    for (at, word) in words.iter().enumerate() {
        let bare = word.trim_end_matches([' ', '\t', ',']);
        let number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let unit = words.get(at + 1).is_some_and(|next| next.starts_with("GiB"));
        let before = ["crc: ", "offers ", "process ", "(ottla): ", "NUMBER of "];
        let counted = unit || before.iter().any(|before| steady.ends_with(before));
        let name = match bare {
            _ if number && bare.len() == 13 => "TIME",
            _ if number && counted => "NUMBER",
            _ if is_id(bare) => "ID",
            _ => bare,
        };
        steady.push_str(name);
        steady.push_str(&word[bare.len()..]);
    }
    steady
}

/// A random uuid as Kafka writes it.
fn is_id(word: &str) -> bool {
    word.len() == 22
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase())
        && word != "b3R0bGEtdGVzdC1jbHVzdA"
}

#[test]
fn what_differs_from_run_to_run_has_a_name() {
    for (line, expected) in [
        ("id  ninytPyqTAexef4quf1I_g", "id  ID"),
        ("TopicId: ninytPyqTAexef4quf1I_g\tPartitionCount: 3", "TopicId: ID\tPartitionCount: 3"),
        ("CreateTime: 1795413795474 size: 73", "CreateTime: TIME size: 73"),
        ("broker 1 ./data: 56.7 GiB free", "broker 1 ./data: NUMBER GiB free"),
        ("process 4711 (ottla): 19 of 20000", "process NUMBER (ottla): NUMBER of NUMBER"),
        ("environment KAFKA_OTTLA_DURABILITY", "environment KAFKA_OTTLA_DURABILITY"),
        ("count: 1 crc: 1294664420 isvalid: true", "count: 1 crc: NUMBER isvalid: true"),
    ] {
        assert_eq!(steady(line), expected);
    }
}
