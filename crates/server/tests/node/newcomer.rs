//! What a newcomer can get wrong, and what is said about it: each situation is a command that fails, its whole
//! standard error and its exit code, in `newcomer.txt`; `UPDATE_EXPECT=1` writes that page anew.
//!
//! Words in capitals stand for what differs from run to run. A message is good if a reader of the page knows what
//! to do next.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ottla_testkit::{Folder, Node, NodeOptions, run_bounded};

use crate::support::{command, formatted, running, succeeds};

/// Situation and command.
const SITUATIONS: &[(&str, &str)] = &[
    (
        "another process has the port",
        "server --override listeners=PLAINTEXT://TAKEN --override log.dirs=FOLDER/a --override ottla.http.listener=none",
    ),
    ("the same, of a throw-away node", "dev --port TAKEN_PORT"),
    (
        "another process has the port of the metrics",
        "server --override ottla.http.listener=TAKEN --override listeners=PLAINTEXT://127.0.0.1:0 --override log.dirs=FOLDER/a",
    ),
    (
        "an address of another machine to listen on",
        "server --override listeners=PLAINTEXT://192.0.2.1:9092 --override log.dirs=FOLDER/a --override ottla.http.listener=none",
    ),
    ("the configuration file is not there", "server FOLDER/nowhere.properties"),
    ("a folder instead of a file", "server FOLDER"),
    (
        "the file for storage format is not there",
        "storage format -t AAAAAAAAQACAAAAAAAAAAw -c FOLDER/nowhere.properties",
    ),
    ("a file without what a node needs", "server FOLDER/empty.properties"),
    ("a bad value", "server RUNNING --override num.partitions=many"),
    ("a value out of range", "server RUNNING --override log.segment.bytes=1"),
    ("a key with a typing error", "server RUNNING --strict --override lsiteners=PLAINTEXT://:9092"),
    ("an override that is none", "server RUNNING --override num.partitions"),
    (
        "an advertised address that nobody can connect to",
        "server RUNNING --override advertised.listeners=PLAINTEXT://0.0.0.0:9092",
    ),
    (
        "a second node on a directory in use",
        "server RUNNING --override listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
    ),
    ("formatting a directory in use", "storage format -t AAAAAAAAQACAAAAAAAAAAw -c RUNNING"),
    ("a directory that nobody formatted", "server NEW"),
    (
        "a directory of another node",
        "server STOPPED --override node.id=4 --override controller.quorum.voters=4@127.0.0.1:9093",
    ),
    (
        "formatting with the id of another cluster",
        "storage format -t AAAAAAAAQACAAAAAAAAAAw -c STOPPED",
    ),
    ("formatting twice", "storage format -t b3R0bGEtdGVzdC1jbHVzdA -c STOPPED"),
    (
        "directories of two clusters",
        "server STOPPED --override log.dirs=STOPPED_DATA,FOLDER/foreign",
    ),
    ("an id that is none", "storage format -t my-cluster -c NEW"),
    (
        "nothing says who votes",
        "storage format -t AAAAAAAAQACAAAAAAAAAAw -c NEW --override controller.quorum.bootstrap.servers=127.0.0.1:9093 --override controller.quorum.voters=",
    ),
    (
        "a file where a directory should be",
        "server STOPPED --override log.dirs=FOLDER/empty.properties",
    ),
    ("nothing listens there", "-b 127.0.0.1:1 topic list"),
    ("an address without a port", "-b localhost topic list"),
    ("an address of the web", "-b http://localhost:9092/ topic list"),
    ("something that does not answer", "-b TAKEN --timeout 1 topic list"),
    ("a controller's listener", "-b CONTROLLER topic list"),
    ("a topic with a typing error", "-b NODE consume ordres --from-beginning --exit-at-end"),
    ("a topic that is not there", "-b NODE topic describe payments"),
    (
        "a topic that is not there and is not made by itself",
        "-b NODE --timeout 2 produce payments --file FOLDER/line",
    ),
    ("a partition that is not there", "-b NODE produce orders --partition 7 --file FOLDER/line"),
    ("a record that is too large", "-b NODE produce orders --whole --file FOLDER/large"),
    ("a file of records that is not there", "-b NODE produce orders --file FOLDER/nowhere"),
    ("a name that no topic can have", "-b NODE topic create my/topic"),
    ("a topic that is there", "-b NODE topic create orders"),
    ("more replicas than brokers", "-b NODE topic create payments --replication-factor 3"),
    ("a config with a typing error", "-b NODE config alter topic orders --set retention.mss=1"),
    ("a config with a bad value", "-b NODE topic create payments --config retention.ms=week"),
    ("a group that is not there", "-b NODE group describe readers"),
    ("a key that is not there", "config explain linger.ms"),
    (
        "a group on one broker with Kafka's default of three replicas",
        "-b THREE --timeout 2 consume orders --group readers --exit-at-end",
    ),
];

/// The longest that a command of a situation may take.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn what_a_newcomer_gets_wrong_is_explained() {
    let stage = Stage::set().unwrap();
    let mut seen = String::new();
    for (situation, line) in SITUATIONS {
        seen.push_str(&stage.play(situation, line).unwrap());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/newcomer.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &seen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, expected, "UPDATE_EXPECT=1 writes {} anew", path.display());
}

/// Everything that the situations need.
struct Stage {
    /// What the words in capitals stand for, longer words first.
    words: Vec<(&'static str, String)>,
    _folder: Folder,
    _taken: TcpListener,
    _nodes: [Node; 4],
}

impl Stage {
    fn set() -> Result<Self> {
        let folder = Folder::new("newcomer")?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("empty.properties", "# nothing yet\n")?;
        write("line", "one\n")?;
        write("large", &"x".repeat(2_000_000))?;
        let foreign = folder.path().join("foreign");
        std::fs::create_dir(&foreign)?;
        let meta = "version=1\ncluster.id=AAAAAAAAQACAAAAAAAAAAw\nnode.id=1\ndirectory.id=BBBBBBBBQBCBBBBBBBBBBw\n";
        std::fs::write(foreign.join("meta.properties"), meta)?;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let node = running(NodeOptions::default().with("auto.create.topics.enable", "false"))?;
        let three = running(NodeOptions::default().with("offsets.topic.replication.factor", "3"))?;
        for bootstrap in [node.bootstrap(), three.bootstrap()] {
            succeeds(&["-b", bootstrap, "topic", "create", "orders", "-p", "1"], "")?;
        }
        let stopped = formatted(NodeOptions::default())?;
        let new = Node::prepare(NodeOptions::default())?;
        let file = |node: &Node| node.properties_file().display().to_string();
        let words = vec![
            ("STOPPED_DATA", stopped.data().display().to_string()),
            ("TAKEN_PORT", taken.local_addr()?.port().to_string()),
            ("RUNNING_DATA", node.data().display().to_string()),
            ("NEW_DATA", new.data().display().to_string()),
            ("CONTROLLER", node.controller().to_owned()),
            ("RUNNING", file(&node)),
            ("STOPPED", file(&stopped)),
            ("FOLDER", folder.path().display().to_string()),
            ("THREE", three.bootstrap().to_owned()),
            ("TAKEN", taken.local_addr()?.to_string()),
            ("NODE", node.bootstrap().to_owned()),
            ("NEW", file(&new)),
        ];
        let nodes = [node, three, stopped, new];
        Ok(Self { words, _folder: folder, _taken: taken, _nodes: nodes })
    }

    /// Executes a command, which must fail, and writes down what is to be seen.
    fn play(&self, situation: &str, line: &str) -> Result<String> {
        let arguments: Vec<String> = line.split(' ').map(|word| self.spoken(word)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = command(&arguments);
        command.env("OTTLA_LOG", "off").env("NO_COLOR", "1");
        let ran = run_bounded(&mut command, "", LIMIT)?;
        let code = ran.code.with_context(|| format!("{situation}: killed"))?;
        anyhow::ensure!(code != 0, "{situation}: it succeeded: {}{}", ran.stdout, ran.stderr);
        let said = self.written(&format!("{}{}", ran.stdout, ran.stderr));
        Ok(format!("# {situation}\n$ ottla {line}\n{said}exit code {code}\n\n"))
    }

    fn spoken(&self, word: &str) -> String {
        let mut word = word.to_owned();
        // A listener's scheme is a word in capitals too.
        for (name, value) in &self.words {
            if !word.contains(&format!("{name}:")) {
                word = word.replace(name, value);
            }
        }
        word
    }

    fn written(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let mut values: Vec<_> = self.words.iter().collect();
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        for (name, value) in values {
            text = text.replace(value, name);
        }
        // The process that holds the port is this test.
        let (before, after) = text.split_once("Process ").unwrap_or((&text, ""));
        match after.split_once(')') {
            Some((_, after)) => format!("{before}Process PID (NAME){after}"),
            None => text,
        }
    }
}
