//! Kafka's tools by their names: the same command lines through our links and through Kafka's own classes,
//! against the same broker, must print the same and end the same.
//!
//! The command lines are data, in `names/*.txt`; a line `!what: reason` before a command is an allowed
//! difference. `{bs}` is the broker, `{bc}` the controller, `{x}` a word that differs between the two sides and
//! is made equal again in what they print, `{dir}` the test's folder, `{data}` the broker's.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

#[path = "names/files.rs"]
mod files;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ottla_conformance::{Dialogue, ensure_java, tool_class};
use ottla_testkit::{
    Folder, Java, Kind, Node, NodeOptions, Process, Ran, ottla_binary, peers_folder, run_bounded,
    wait_until,
};
use serde_json::json;

const CASES: &[(&str, &str)] = &[
    ("topics", include_str!("names/topics.txt")),
    ("offsets", include_str!("names/offsets.txt")),
    ("console", include_str!("names/console.txt")),
    ("groups", include_str!("names/groups.txt")),
    ("consumer groups", include_str!("names/consumer_groups.txt")),
    ("delete records", include_str!("names/delete_records.txt")),
    ("brokers", include_str!("names/brokers.txt")),
    ("configs", include_str!("names/configs.txt")),
    ("cluster", include_str!("names/cluster.txt")),
    ("features", include_str!("names/features.txt")),
    ("storage", include_str!("names/storage.txt")),
    ("dump", include_str!("names/dump.txt")),
];

/// What one side calls its own things; as long as the other's, for the columns.
const SIDES: [&str; 2] = ["sidej", "sideo"];
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn as_kafkas_own() -> Result<()> {
    ensure_java!();
    let node = Node::start(Kind::target(), NodeOptions::default())?;
    let links = Folder::new("links")?;
    let ran =
        run_bounded(Command::new(ottla_binary()?).arg("link-tools").arg(links.path()), "", LIMIT)?;
    ensure!(ran.code == Some(0), "{}{}", ran.stdout, ran.stderr);
    files::write(links.path(), &SIDES)?;
    let mut tools = Tools::start(links.path())?;
    let _members = members(&node, links.path())?;
    plans(links.path())?;
    let only = std::env::var("OTTLA_NAMES").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (file, text) in CASES.iter().filter(|(file, _)| only.is_empty() || only == *file) {
        for case in cases(text)? {
            count += 1;
            let replaced = |side: &str| case.replaced(&node, side, links.path());
            let (java, ours) = (replaced(SIDES[0]), replaced(SIDES[1]));
            let theirs = plain(&tools.run(&java)?);
            let ours = plain(&run_link(links.path(), &ours)?);
            wrong.extend(case.differences(&theirs, &ours).map(|text| format!("{file}: {text}")));
        }
    }
    ensure!(wrong.is_empty(), "{} of {count} differ\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Files for `kafka-delete-records`.
fn plans(folder: &Path) -> Result<()> {
    let write = |name: &str, text: &str| std::fs::write(folder.join(format!("{name}.json")), text);
    write("nothing", "{")?;
    write("version", r#"{"partitions": [], "version": 2}"#)?;
    write("no-topic", r#"{"partitions": [{"partition": 0, "offset": 1}]}"#)?;
    write("no-number", r#"{"partitions": [{"topic": "t", "partition": "x", "offset": 1}]}"#)?;
    write("no-list", r#"{"partitions": {}}"#)?;
    let one = r#"{"topic": "t", "partition": 0, "offset": 1}"#;
    write("twice", &format!(r#"{{"partitions": [{one}, {one}], "version": 1}}"#))?;
    for side in SIDES {
        for (name, offset) in [("records", 2), ("beyond", 99), ("all", -1)] {
            let one =
                format!(r#"{{"topic": "records-{side}", "partition": 0, "offset": {offset}}}"#);
            write(
                &format!("{name}-{side}"),
                &format!(r#"{{"partitions": [{one}], "version": 1}}"#),
            )?;
        }
    }
    Ok(())
}

/// A member of each protocol, who has a partition of its own topic all the time.
fn members(node: &Node, links: &Path) -> Result<[Process; 2]> {
    let log = |name: &str| links.join(format!("{name}.log"));
    let ottla = |arguments: &[&str]| -> Result<Ran> {
        let mut command = Command::new(ottla_binary()?);
        run_bounded(command.args(["-b", node.bootstrap()]).args(arguments), "", LIMIT)
    };
    let of = |topic: &'static str| {
        ["--bootstrap-server", node.bootstrap(), "--topic", topic, "--group", topic]
            .map(str::to_owned)
    };
    for topic in ["busy", "modern"] {
        let made = ottla(&["topic", "create", topic, "--partitions", "2"])?;
        ensure!(made.code == Some(0), "{}", made.stderr);
        // They commit no more, since each tool is to find what the other found.
        let reset = ["group", "reset-offsets", topic, "-t", topic, "--to-earliest", "--yes"];
        let commit = || ottla(&reset);
        wait_until("a commit", LIMIT, || commit().is_ok_and(|ran| ran.code == Some(0)))
            .with_context(|| format!("{:?}", commit()))?;
    }
    let no_commits = ["--command-property", "enable.auto.commit=false"];
    let mut classic = Command::new(links.join("kafka-console-consumer.sh"));
    let classic = Process::start(classic.args(of("busy")).args(no_commits), &log("busy"))?;
    let class = tool_class("kafka-console-consumer")?;
    let java = Java::find()?.with_flags(&["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    let mut modern = java.command(&[], class);
    modern.args(of("modern")).args(no_commits);
    modern.args(["--command-property", "group.protocol=consumer"]);
    let modern = Process::start(&mut modern, &log("modern"))?;
    for group in ["busy", "modern"] {
        let settled = || {
            let described = ottla(&["group", "describe", group]).map(|ran| ran.stdout);
            described.is_ok_and(|text| {
                text.contains("Stable") && text.matches("          0    0    0").count() == 2
            })
        };
        wait_until("a member", LIMIT, settled)
            .with_context(|| format!("{:?}", ottla(&["group", "describe", group])))?;
    }
    Ok([classic, modern])
}

#[test]
fn links_are_made_once_and_never_over_other_files() -> Result<()> {
    let folder = Folder::new("links")?;
    let link = |more: &[&str]| {
        let mut command = Command::new(ottla_binary()?);
        run_bounded(command.arg("link-tools").arg(folder.path().join("bin")).args(more), "", LIMIT)
    };
    let first = folder.path().join("bin/kafka-topics.sh");
    let dry = link(&["--dry-run"])?;
    ensure!(dry.code == Some(0) && dry.stdout.contains("would make") && !first.exists());
    let made = link(&[])?;
    ensure!(made.code == Some(0) && first.is_symlink(), "{}{}", made.stdout, made.stderr);
    let again = link(&[])?;
    ensure!(again.code == Some(0) && again.stdout.contains("is there"), "{}", again.stdout);
    std::fs::remove_file(&first)?;
    std::fs::write(&first, "mine")?;
    let refused = link(&[])?;
    ensure!(refused.code == Some(7), "{:?}", refused.code);
    ensure!(std::fs::read_to_string(&first)? == "mine");
    Ok(())
}

/// A command line, and what may differ.
#[derive(Clone, Debug, Default)]
struct Case {
    tool: String,
    words: Vec<String>,
    stdin: String,
    /// `stdout`, `stderr`, `code`, `usage`, or `order`, that of the lines of stdout.
    allowed: Vec<String>,
}

fn cases(text: &str) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut allowed = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(difference) = line.strip_prefix('!') {
            let (what, reason) = difference.split_once(": ").context("a reason")?;
            ensure!(!reason.is_empty(), "{line}");
            allowed.extend(what.split(',').map(str::to_string));
            continue;
        }
        let (line, stdin) = line.split_once(" <<< ").unwrap_or((line, ""));
        let mut words = words(line).into_iter();
        cases.push(Case {
            tool: words.next().context("a tool")?,
            words: words.collect(),
            stdin: stdin.replace("\\n", "\n").replace("\\t", "\t"),
            allowed: std::mem::take(&mut allowed),
        });
    }
    Ok(cases)
}

/// Words of a line; apostrophes keep spaces, and an empty word, together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_string());
        } else {
            words.extend(part.split_whitespace().map(str::to_string));
        }
    }
    words
}

impl Case {
    fn replaced(&self, node: &Node, side: &str, folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let (bootstrap, controller) = (node.bootstrap(), node.controller());
        let data = node.data().display().to_string();
        let replace = |text: &String| {
            text.replace("{bs}", bootstrap)
                .replace("{bc}", controller)
                .replace("{x}", side)
                .replace("{dir}", &folder)
                .replace("{data}", &data)
        };
        let words = self.words.iter().map(replace).collect();
        Self { words, stdin: replace(&self.stdin), ..self.clone() }
    }

    fn differences(&self, theirs: &Plain, ours: &Plain) -> Option<String> {
        let mut text = String::new();
        let mut compare = |what: &str, theirs: &str, ours: &str| {
            if theirs != ours && !self.allowed.iter().any(|a| a == what) {
                text.push_str(&format!("  {what}\n    Kafka {theirs:?}\n    ours  {ours:?}\n"));
            }
        };
        compare("code", &format!("{:?}", theirs.code), &format!("{:?}", ours.code));
        let ordered = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        if self.allowed.iter().any(|a| a == "order") {
            compare("stdout", &ordered(&theirs.stdout), &ordered(&ours.stdout));
        } else {
            compare("stdout", &theirs.stdout, &ours.stdout);
        }
        compare("stderr", &theirs.stderr, &ours.stderr);
        compare("usage", &theirs.usage.join(" "), &ours.usage.join(" "));
        let line = format!("{} {}", self.tool, self.words.join(" "));
        (!text.is_empty()).then(|| format!("{line}\n{text}"))
    }
}

/// What a tool printed, without what never is the same.
#[derive(Debug)]
struct Plain {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// The options that a usage names; its words are our own.
    usage: Vec<String>,
}

fn plain(ran: &Ran) -> Plain {
    // Lists show what both have made.
    let neutral = |text: &str| text.replace(SIDES[0], "{side}").replace(SIDES[1], "{side}");
    if let Some(plain) = plain_of_argparse(ran) {
        return plain;
    }
    let mut usage = Vec::new();
    let mut stderr = Vec::new();
    let mut in_usage = false;
    for line in ran.stderr.lines() {
        in_usage |= line.starts_with("Option ") && line.trim_end().ends_with("Description");
        if in_usage {
            // joptsimple marks what is required.
            let line = line.strip_prefix("* ").unwrap_or(line);
            let is_option = |word: &&str| line.starts_with("--") && !word.ends_with('-');
            let option = line.split_whitespace().next().filter(is_option);
            usage.extend(option.map(neutral));
        } else if !is_stack(line) {
            stderr.push(neutral(line));
        }
    }
    usage.sort();
    let stdout: Vec<String> = ran.stdout.lines().map(|line| without_ids(&neutral(line))).collect();
    let text = |lines: Vec<String>| lines.join("\n").trim_end().to_string();
    Plain { code: ran.code, stdout: text(stdout), stderr: text(stderr), usage }
}

/// What argparse4j prints: `usage:` with arguments and commands, help, the line of an error. It spreads and
/// breaks lines so that both sides of the text are even.
fn plain_of_argparse(ran: &Ran) -> Option<Plain> {
    let of_stderr = ran.stderr.starts_with("usage: ");
    let text = if of_stderr { &ran.stderr } else { &ran.stdout };
    let tool = text.strip_prefix("usage: ")?.split_whitespace().next()?;
    let (usage, error) = text.split_once(&format!("\n{tool}:")).unwrap_or((text, ""));
    let words = usage.split(|letter: char| letter.is_whitespace() || "[](){},|`".contains(letter));
    let mut options: Vec<String> = words
        .filter(|word| word.starts_with("--") && !word.ends_with('-'))
        .map(|word| word.trim_end_matches('.').to_string())
        .collect();
    let commands = usage.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    options.extend(commands.map(|(commands, _)| commands.to_string()));
    options.sort();
    options.dedup();
    let error = error.split_whitespace().collect();
    let (stdout, stderr) =
        if of_stderr { (ran.stdout.clone(), error) } else { (error, ran.stderr.clone()) };
    Some(Plain { code: ran.code, stdout, stderr, usage: options })
}

/// A line of a Java stack.
fn is_stack(line: &str) -> bool {
    let head = line.split([':', ' ']).next().unwrap_or_default();
    let is_class = head.contains('.') && (head.ends_with("Exception") || head.ends_with("Error"));
    line.starts_with("\tat ")
        || line.starts_with("\t... ")
        || line.starts_with("Caused by: ")
        || is_class
}

/// Ids of topics and directories are drawn when they are made; the epoch of features is an offset of the metadata, which grow
/// by themselves.
fn without_ids(line: &str) -> String {
    if let Some((feature, _)) = line.split_once("  Epoch: ") {
        return feature.to_string();
    }
    if let Some((before, id)) = line.split_once("directory.id=") {
        let behind = id.find([',', '}']).map_or("", |end| &id[end..]);
        return format!("{before}directory.id={{id}}{behind}");
    }
    let fields = line.split('\t').map(|field| match field.split_once(": ") {
        Some(("TopicId", _)) => "TopicId: {id}",
        _ => field,
    });
    fields.collect::<Vec<_>>().join("\t")
}

fn run_link(folder: &Path, case: &Case) -> Result<Ran> {
    let link = folder.join(format!("{}.sh", case.tool));
    run_bounded(Command::new(link).args(&case.words), &case.stdin, LIMIT)
}

/// Kafka's tools in one virtual machine.
struct Tools(Dialogue);

impl Tools {
    fn start(folder: &Path) -> Result<Self> {
        let java = Java::find()?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/tools");
        let classes: PathBuf = peers_folder().join("java/tools");
        java.compile(&sources, &classes)?;
        let java = java.with_flags(&[
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xmx1g",
            "-Djava.security.manager=allow",
            // What is logged is no output of a tool.
            "-Dorg.apache.logging.log4j.level=OFF",
        ]);
        let mut command = java.command(&[&classes], "Tools");
        Dialogue::start(command.current_dir(folder)).map(Self)
    }

    fn run(&mut self, case: &Case) -> Result<Ran> {
        let class = tool_class(&case.tool)?;
        let command = json!({"class": class, "arguments": case.words, "stdin": case.stdin});
        let answer = self.0.ask(&command, LIMIT)?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_string();
        let Some(code) = answer["code"].as_i64() else { bail!("no code in {answer}") };
        let code = i32::try_from(code).ok();
        Ok(Ran { code, stdout: text("stdout"), stderr: text("stderr") })
    }
}
