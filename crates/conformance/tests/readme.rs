//! What documents tell a newcomer to type, taken from them and typed into a shell: the README's tour, and
//! `docs/five-minutes.md` with what it says comes back.
//!
//! What the README's tour shows is in `readme/*.txt`; `UPDATE_EXPECT=1` writes it and the page again. Words that differ
//! from run to run (ids, times, free space) have names there. Only the ports are not those of the documents.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{ensure_java, tool_class};
use ottla_testkit::{
    Folder, Java, Kind, Node, NodeOptions, Shell, answers_api_versions, free_port, note_skip,
    ottla_binary, wait_until,
};

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
    let mut desk = Desk::beside_a_node()?;
    let mut seen = desk.shows(&tour.ottla)?;
    desk.stop_node()?;
    seen += &desk.shows(tour.files.iter().copied().filter(|c| !is_kafkas(c)))?;
    agrees_with(&seen, "tests/readme/ottla.txt")
}

#[test]
fn the_tour_with_kafkas_tools() -> Result<()> {
    ensure_java!();
    let tour = tour()?;
    let mut desk = Desk::beside_a_node()?;
    // What they show was made before.
    desk.shows(&tour.ottla)?;
    let mut seen = desk.shows(&tour.kafka)?;
    desk.stop_node()?;
    seen += &desk.shows(tour.files.iter().copied().filter(|c| is_kafkas(c)))?;
    agrees_with(&seen, "tests/readme/kafka.txt")
}

#[test]
fn the_page_of_five_minutes_is_what_a_newcomer_sees() -> Result<()> {
    const PAGE: &str = "../../docs/five-minutes.md";
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE))?;
    if let Err(why) = Command::new("curl").arg("--version").output() {
        note_skip("the page of five minutes", "curl", &why.to_string());
        return Ok(());
    }
    let mut desk = Desk::empty()?;
    let mut seen = String::new();
    let mut block = None;
    let mut properties = String::new();
    for line in page.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some(kind),
            (Some(kind), Some(_)) => {
                if kind == "properties" {
                    std::fs::write(desk.place.join("server.properties"), desk.real(&properties))?;
                }
                block = None;
            }
            (Some("console"), None) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    seen += &format!("{line}\n{}", desk.types(command)?);
                }
                continue;
            }
            (Some("properties"), None) => properties += &format!("{line}\n"),
            (_, None) => {}
        }
        seen += &format!("{line}\n");
    }
    agrees_with(&seen, PAGE)
}

/// What was seen is what is committed; `UPDATE_EXPECT=1` makes it so.
fn agrees_with(seen: &str, file: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, seen)?;
    }
    let expected = std::fs::read_to_string(&path).context(
        "UPDATE_EXPECT=1 cargo test -p ottla-conformance --test readme writes what is seen",
    )?;
    assert_eq!(seen, expected, "UPDATE_EXPECT=1 writes {file} again");
    Ok(())
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

/// A shell in a folder, with `ottla` and Kafka's scripts on its path.
struct Desk {
    shell: Shell,
    /// Where is typed.
    place: PathBuf,
    /// Ports as they are written, and those that are meant here.
    ports: Vec<(u16, u16)>,
    programs: Folder,
    node: Option<Node>,
    _folder: Option<Folder>,
}

impl Desk {
    /// In the folder of a node that runs.
    fn beside_a_node() -> Result<Self> {
        let node = Node::start(Kind::Ottla, NodeOptions::default())?;
        let port = node.bootstrap().rsplit(':').next().context("port")?.parse()?;
        let mut desk = Self::start(node.folder().to_owned(), vec![(9092, port)])?;
        desk.node = Some(node);
        Ok(desk)
    }

    /// In an empty folder, with nothing that runs.
    fn empty() -> Result<Self> {
        let folder = Folder::new("desk")?;
        let ports = [9092, 9093, 9404].map(|port| free_port().map(|real| (port, real)));
        let ports = ports.into_iter().collect::<Result<_>>()?;
        let mut desk = Self::start(folder.path().to_owned(), ports)?;
        desk._folder = Some(folder);
        Ok(desk)
    }

    fn start(place: PathBuf, ports: Vec<(u16, u16)>) -> Result<Self> {
        let programs = Folder::new("programs")?;
        std::os::unix::fs::symlink(ottla_binary()?, programs.path().join("ottla"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut sh = Command::new("sh");
        sh.current_dir(&place).env("PATH", format!("{}:{path}", programs.path().display()));
        let mut desk =
            Self { shell: Shell::start(sh)?, place, ports, programs, node: None, _folder: None };
        // What is the default where nothing else uses the ports.
        for (variable, value) in [
            ("OTTLA_BROKERS", "localhost:9092"),
            ("KAFKA_LISTENERS", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
            ("KAFKA_OTTLA_HTTP_LISTENER", "127.0.0.1:9404"),
        ] {
            let export = format!("export {variable}={}", desk.real(value));
            desk.shell.types(&export, LIMIT)?;
        }
        Ok(desk)
    }

    fn stop_node(&mut self) -> Result<()> {
        self.node.as_mut().context("a node")?.stop()?;
        Ok(())
    }

    /// Types commands, and answers what a person would see of them.
    fn shows(&mut self, commands: impl IntoIterator<Item = impl AsRef<str>>) -> Result<String> {
        let mut seen = String::new();
        for command in commands {
            let command = command.as_ref();
            seen += &format!("$ {command}\n{}\n", self.types(command)?);
        }
        Ok(seen)
    }

    /// Types a command, which must succeed, and answers what a person would see.
    fn types(&mut self, command: &str) -> Result<String> {
        for word in command.split_whitespace().filter(|w| w.ends_with(".sh")) {
            self.provide(word)?;
        }
        let mut line = self.real(command);
        if command.contains("--config") {
            // Where the ports are the usual ones nobody sets it, and the configuration says.
            line = line.replace("ottla doctor", "env -u OTTLA_BROKERS ottla doctor");
        }
        let ran = self.shell.types(&line, LIMIT)?;
        ensure!(
            ran.code == Some(0),
            "{command}\nended with {:?}\n{}{}\n{}",
            ran.code,
            ran.stdout,
            ran.stderr,
            self.node.as_ref().map(Node::tail).unwrap_or_default()
        );
        self.gives_time(command)?;
        // Kafka's tools log to stderr.
        let complaints = if is_kafkas(command) { "" } else { &ran.stderr };
        let output = self.written(&format!("{}{complaints}", ran.stdout));
        let mut lines = with_room(output.lines().map(steady));
        if command.contains("consume") && !command.contains("consumer-groups") {
            // Which partition comes first is nobody's promise.
            lines.sort();
        }
        Ok(lines.iter().map(|line| format!("{}\n", line.trim_end())).collect())
    }

    /// A person is slower than a program that starts or ends.
    fn gives_time(&mut self, command: &str) -> Result<()> {
        if command.ends_with('&') {
            let port = self.ports.first().context("port")?.1;
            let answers = || answers_api_versions(&format!("127.0.0.1:{port}"), LIMIT);
            wait_until("the node to answer", LIMIT, answers)?;
        }
        if let Some(how) = command.strip_prefix("kill ") {
            let ended = self.shell.types("wait $!", LIMIT)?;
            let expected = if how.starts_with("-9") { 137 } else { 0 };
            ensure!(ended.code == Some(expected), "{command}: it ended with {:?}", ended.code);
        }
        Ok(())
    }

    /// A text with the ports that are meant here.
    fn real(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (written, real)| {
            text.replace(&format!(":{written}"), &format!(":{real}"))
        })
    }

    /// A text as documents have it.
    fn written(&self, text: &str) -> String {
        let text = self.ports.iter().fold(text.to_owned(), |text, (written, real)| {
            text.replace(&format!(":{real}"), &format!(":{written}"))
        });
        text.replace(&self.place.display().to_string(), "FOLDER")
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
}

/// What the doctor says where the disk has room: documents do not tell how full the disk is on which they are tried.
fn with_room(lines: impl Iterator<Item = String>) -> Vec<String> {
    const LITTLE: &str = "warning log directories ";
    let mut kept = Vec::new();
    let mut advice_follows = false;
    for line in lines {
        if !std::mem::replace(&mut advice_follows, line.starts_with(LITTLE)) {
            kept.push(line.replacen(LITTLE, "ok      log directories ", 1));
        } else {
            assert!(line.trim_start().starts_with("A full disk refuses records"), "{line}");
        }
    }
    kept
}

#[test]
fn a_disk_with_little_room_reads_like_one_with_room() {
    let lines = |text: &str| with_room(text.lines().map(str::to_owned));
    let roomy = "ok      clock a\nok      log directories       d: NUMBER GiB free\nhealthy";
    let little = "ok      clock a\nwarning log directories       d: NUMBER GiB free\n  \
                  A full disk refuses records: free space\nhealthy";
    assert_eq!(lines(little), lines(roomy));
    assert_eq!(lines(roomy).join("\n"), roomy);
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
