//! Every command of `ottla` once, against a real node: what it prints for people, what as JSON, how it ends.
//!
//! What a command does to a broker in every corner is tested beside it, in crate `cli`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what is not as expected ends the test"
)]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ottla_testkit::{DevNode, Ran, run_bounded, use_binary};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// A throw-away node and commands that go to it.
struct Bench {
    dev: DevNode,
}

impl Bench {
    fn start() -> Result<Self> {
        use_binary(PathBuf::from(env!("CARGO_BIN_EXE_ottla")));
        let dev = DevNode::start(&["--override", "ottla.http.listener=none"])?;
        Ok(Self { dev })
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(arguments).env("OTTLA_BROKERS", self.dev.bootstrap());
        run_bounded(&mut command, stdin, LIMIT).unwrap()
    }

    /// Standard output of a command that must succeed.
    fn text(&self, arguments: &[&str]) -> String {
        self.input(arguments, "")
    }

    fn input(&self, arguments: &[&str], stdin: &str) -> String {
        let ran = self.run(arguments, stdin);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// What a command that must succeed says on standard error.
    fn said(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments, "");
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stderr
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&text).with_context(|| text).unwrap()
    }

    /// Standard error of a command that must end with this code.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments, "");
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        ran.stderr
    }

    fn data(&self, path: &str) -> String {
        format!("{}/{path}", self.dev.ready["data"].as_str().unwrap_or_default())
    }
}

#[test]
fn topics() {
    let node = Bench::start().unwrap();
    let dry = ["topic", "create", "orders", "-p", "3", "--dry-run"];
    assert_eq!(node.text(&dry), "orders would be created, 3 partitions, 1 replica\n");
    assert_eq!(node.json(&["topic", "list"]), json!([]));
    let create = ["topic", "create", "orders", "-p", "3", "-c", "retention.ms=60000"];
    assert_eq!(node.text(&create), "orders created, 3 partitions, 1 replica\n");
    assert!(node.fails(7, &create).contains("already exists"));
    let again = ["topic", "create", "orders", "--if-not-exists"];
    assert_eq!(node.text(&again), "orders exists already\n");
    assert!(node.fails(1, &["topic", "create", "or ders"]).contains("or ders"));
    let listed = "NAME    PARTITIONS  REPLICAS\norders           3         1\n";
    assert_eq!(node.text(&["topic", "list"]), listed);
    assert_eq!(node.text(&["topic", "list", "-o", "yaml"]).lines().next(), Some("- name: orders"));
    let described = node.json(&["topic", "describe", "orders"]);
    assert_eq!(described[0]["configs"]["retention.ms"], "60000");
    assert_eq!(described[0]["partitions"][2]["leader"], 1);
    let text = node.text(&["topic", "describe", "orders", "--offsets"]);
    assert!(text.contains("retention.ms=60000") && text.contains("RECORDS"), "{text}");
    let alter = ["topic", "alter", "orders", "-p", "4", "-d", "retention.ms"];
    let said = node.said(&alter);
    assert_eq!(said, "orders: raised to 4 partitions\norders: 1 config changed\n");
    node.fails(1, &["topic", "alter", "orders", "-p", "2"]);
    node.input(&["produce", "orders", "-p", "0"], "a\nb\nc\n");
    let trim = ["topic", "trim", "orders", "--before", "2", "-p", "0"];
    assert!(node.fails(2, &trim).contains("--yes"));
    assert!(node.said(&[&trim[..], &["-y"]].concat()).contains("orders-0 begins at 2"));
    assert_eq!(node.text(&["consume", "orders", "--from-beginning", "-e"]), "c\n");
    assert!(node.said(&["topic", "delete", "orders", "--dry-run"]).contains("orders"));
    assert!(node.fails(2, &["topic", "delete", "orders"]).contains("--yes"));
    node.said(&["topic", "delete", "orders", "-y"]);
    let gone = node.fails(6, &["topic", "describe", "orders"]);
    assert!(gone.contains("does not exist") && gone.contains("ottla topic list"), "{gone}");
    node.fails(6, &["topic", "delete", "orders", "-y"]);
    node.said(&["topic", "delete", "orders", "-y", "--if-exists"]);
}

#[test]
fn records() {
    let node = Bench::start().unwrap();
    node.text(&["topic", "create", "mixed", "-p", "1"]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produce = ["produce", "mixed", "-z", codec, "-K", ":", "-H", "codec=x"];
        node.input(&produce, &format!("{codec}:eins\n{codec}:zwei\n"));
    }
    let consume = ["consume", "mixed", "--from-beginning", "--exit-at-end"];
    let format = ["--format", "%t %p %o %k %v %h\\n"];
    let text = node.text(&[&consume[..], &format].concat());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 10);
    assert_eq!(lines.first(), Some(&"mixed 0 0 none eins codec=x"));
    assert_eq!(lines.last(), Some(&"mixed 0 9 zstd zwei codec=x"));
    let text = node.text(&["consume", "mixed", "--offset", "-1", "-c", "1", "-o", "json"]);
    let record: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&record["offset"], &record["key"]), (&json!(9), &json!("zstd")));
    assert_eq!(record["headers"].as_array().unwrap().len(), 1, "{record}");
    node.input(&["produce", "mixed", "-k", "gone", "-Z"], "\n");
    node.input(&["produce", "mixed", "--whole", "--acks", "1"], "two\nlines");
    // With acks=1 a record is answered before it is synced, and read only after.
    let tail = node.text(&["consume", "mixed", "--offset", "10", "-c", "2", "-f", "[%k=%v]"]);
    assert_eq!(tail, "[gone=][=two\nlines]");
    // Created by the first record, as `auto.create.topics.enable` says.
    node.input(&["produce", "by-itself"], "x\n");
    assert_eq!(node.text(&["consume", "by-itself", "--from-beginning", "-e"]), "x\n");
    node.fails(6, &["consume", "nowhere", "--from-beginning", "-e"]);
    let text = node.fails(6, &["produce", "mixed", "-P", "/nowhere"]);
    assert!(text.contains("/nowhere") && !text.contains("mean"), "{text}");
}

#[test]
fn groups() {
    let node = Bench::start().unwrap();
    node.text(&["topic", "create", "orders", "-p", "2"]);
    node.input(&["produce", "orders", "-p", "0"], "a\nb\n");
    node.input(&["produce", "orders", "-p", "1"], "c\n");
    assert_eq!(node.json(&["group", "list"]), json!([]));
    let read = ["consume", "orders", "--group", "readers", "--from-beginning", "-e"];
    let mut lines: Vec<_> = node.text(&read).lines().map(String::from).collect();
    lines.sort();
    assert_eq!(lines, ["a", "b", "c"]);
    assert_eq!(node.text(&read), "", "all of it is committed");
    assert_eq!(node.json(&["group", "list"])[0]["group"], "readers");
    assert!(node.text(&["group", "list"]).starts_with("GROUP"));
    let described = node.json(&["group", "describe", "readers"]);
    assert_eq!((&described[0]["state"], &described[0]["total_lag"]), (&json!("Empty"), &json!(0)));
    let reset = ["group", "reset-offsets", "readers", "--to-earliest", "-t", "orders:0"];
    let dry = node.text(&[&reset[..], &["--dry-run"]].concat());
    assert!(dry.contains("orders") && dry.lines().count() == 2, "{dry}");
    assert_eq!(node.json(&["group", "describe", "readers"])[0]["total_lag"], 0);
    node.text(&[&reset[..], &["-y"]].concat());
    assert_eq!(node.json(&["group", "describe", "readers"])[0]["total_lag"], 2);
    assert_eq!(node.text(&read), "a\nb\n");
    let said = node.said(&["group", "delete-offsets", "readers", "orders", "-y"]);
    assert_eq!(said, "readers: 2 offsets in orders deleted\n");
    assert_eq!(node.said(&["group", "delete", "readers", "-y"]), "readers deleted\n");
    let gone = node.fails(6, &["group", "describe", "readers"]);
    assert!(gone.contains("readers"), "{gone}");
    node.fails(6, &["group", "delete", "readers", "-y"]);
}

#[test]
fn configs() {
    let node = Bench::start().unwrap();
    node.text(&["topic", "create", "t"]);
    let set = ["config", "alter", "topic", "t", "-s", "cleanup.policy=delete"];
    assert_eq!(
        node.said(&[&set[..], &["--dry-run"]].concat()),
        "topic t: 1 config would be changed\n"
    );
    assert_eq!(node.said(&set), "topic t: 1 config changed\n");
    node.said(&["config", "alter", "topic", "t", "-s", "retention.ms=77"]);
    let row = |rows: &Value, key: &str| {
        rows.as_array().unwrap().iter().find(|row| row["key"] == key || row["name"] == key).cloned()
    };
    let rows = node.json(&["config", "describe", "topic", "t"]);
    assert_eq!(row(&rows, "retention.ms").unwrap()["value"], "77", "{rows}");
    let all = node.json(&["config", "describe", "topic", "t", "--all"]);
    assert!(rows.as_array().unwrap().len() < all.as_array().unwrap().len());
    node.said(&["config", "alter", "topic", "t", "-d", "retention.ms"]);
    assert_eq!(row(&node.json(&["config", "describe", "topic", "t"]), "retention.ms"), None);
    let wrong = node.fails(1, &["config", "alter", "topic", "t", "-s", "retention.mss=1"]);
    assert!(wrong.contains("Did you mean retention.ms?"), "{wrong}");
    node.said(&["config", "alter", "broker", "1", "-s", "log.retention.ms=1000000"]);
    node.said(&["config", "alter", "broker", "-s", "message.max.bytes=2000"]);
    let rows = node.json(&["config", "describe", "broker", "1"]);
    assert_eq!(row(&rows, "log.retention.ms").unwrap()["value"], "1000000", "{rows}");
    assert_eq!(row(&rows, "message.max.bytes").unwrap()["value"], "2000", "{rows}");
    let large = "x".repeat(3000);
    let ran = node.run(&["produce", "t"], &large);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    node.said(&["config", "alter", "broker", "-d", "message.max.bytes"]);
    node.input(&["produce", "t"], &large);
    node.said(&["config", "alter", "group", "g", "-s", "consumer.session.timeout.ms=50000"]);
    assert!(node.text(&["config", "list"]).contains("group"));
    assert!(node.text(&["config", "explain", "retention.ms"]).contains("default     604800000"));
    assert_eq!(node.json(&["config", "explain", "retention.ms"])["key"], "retention.ms");
    assert!(
        node.text(&["config", "keys", "linger"]).contains("group.coordinator.append.linger.ms")
    );
    assert!(node.fails(6, &["config", "explain", "retention.mss"]).contains("retention.ms"));
}

#[test]
fn the_cluster() {
    let node = Bench::start().unwrap();
    let id = node.dev.ready["cluster_id"].clone();
    assert_eq!(node.json(&["cluster", "info"])["cluster_id"], id);
    assert!(node.text(&["cluster", "info"]).contains(node.dev.bootstrap()));
    assert_eq!(node.text(&["cluster", "id"]).trim(), id);
    assert!(node.text(&["cluster", "features"]).contains("metadata.version"));
    assert!(node.json(&["cluster", "features"]).as_array().is_some());
    assert!(node.text(&["cluster", "api-versions"]).contains("Produce"));
    assert!(node.text(&["cluster", "log-dirs"]).contains(&node.data("")[..8]));
    assert_eq!(node.json(&["cluster", "log-dirs"])[0]["broker"], 1);
    let quorum = node.json(&["quorum", "describe"]);
    assert_eq!((&quorum["leader"], &quorum["replicas"][0]["lag"]), (&json!(1), &json!(0)));
    assert!(node.text(&["quorum", "describe"]).contains("leader"));
    assert!(node.text(&["doctor"]).ends_with("healthy\n"));
    assert_eq!(node.json(&["doctor"])["healthy"], true);
    assert!(node.text(&["version"]).starts_with("ottla "));
    assert!(node.json(&["version"]).is_object());
    for shell in ["bash", "zsh", "fish"] {
        assert!(node.text(&["completion", shell]).contains("reset-offsets"), "{shell}");
    }
    let nobody = node.fails(4, &["-b", "127.0.0.1:1", "--timeout", "2", "topic", "list"]);
    assert!(nobody.contains("Is the broker running"), "{nobody}");
    assert_eq!(node.run(&["topic", "lsit"], "").code, Some(2));
}

#[test]
fn files_are_read_without_a_broker() {
    let mut node = Bench::start().unwrap();
    node.text(&["topic", "create", "dumped", "-p", "1"]);
    node.input(&["produce", "dumped", "-K", ":", "-z", "zstd"], "k:v\nl:w\n");
    let log = node.data("dumped-0/00000000000000000000.log");
    let text = node.text(&["log", "dump", &log, "--records"]);
    assert!(text.contains("zstd") && text.contains('k') && text.contains('w'), "{text}");
    let dump = node.json(&["log", "dump", &log]);
    assert_eq!((&dump["batches"][0]["count"], &dump["damage"]), (&json!(2), &Value::Null));
    let text = node.text(&["metadata", "dump", &node.data(""), "--only", "topic"]);
    assert!(text.contains("Topic v") && text.contains("\"name\":\"dumped\""), "{text}");
    assert!(text.contains("__cluster_metadata-0"), "{text}");
    node.fails(6, &["log", "dump", "/nowhere.log"]);
    node.dev.process.kill9().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let at = 65;
    bytes[at] ^= 1;
    let copy = std::env::temp_dir().join(format!("ottla-damaged-{}", std::process::id()));
    std::fs::create_dir_all(&copy).unwrap();
    let damaged = copy.join("00000000000000000000.log");
    std::fs::write(&damaged, bytes).unwrap();
    let ran = node.run(&["log", "dump", damaged.to_str().unwrap()], "");
    assert_eq!(ran.code, Some(10), "{}{}", ran.stdout, ran.stderr);
    std::fs::remove_dir_all(&copy).unwrap();
    // The data of a killed throw-away node stay; they are this test's.
    std::fs::remove_dir_all(node.data("")).unwrap();
}
