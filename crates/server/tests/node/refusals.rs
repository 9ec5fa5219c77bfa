//! Configurations and directories that a node refuses: what it says, and how it ends.

use ottla_testkit::{Kind, Node, NodeOptions};

use crate::support::{binary, check_failure, formatted, ottla, properties};

/// Properties that end the start: what the error says about them, always with exit code 2.
const REFUSED: &[(&str, &str)] = &[
    ("num.network.threads=abc", "Invalid value abc for configuration num.network.threads"),
    ("log.segment.bytes=1", "log.segment.bytes"),
    ("ottla.durability=maybe", "must be one of: fsync, os"),
    ("process.roles=broker,captain", "process.roles"),
    ("node.id=2", "must be included in the set of voters"),
    ("node.id=-3", "node.id"),
    ("authorizer.class.name=org.example.Authorizer", "authorization, which does not exist"),
    ("sasl.enabled.mechanisms=PLAIN", "SASL, which does not exist"),
    ("ssl.keystore.location=/etc/key.p12", "TLS, which does not exist"),
    ("create.topic.policy.class.name=org.example.Policy", "create.topic.policy.class.name"),
    ("listener.security.protocol.map=PLAINTEXT:SSL,CONTROLLER:PLAINTEXT", "uses SSL"),
    ("listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT", "uses SASL"),
    ("listener.security.protocol.map=PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT", "uses SASL_SSL"),
    ("listener.security.protocol.map=CONTROLLER:PLAINTEXT", "No security protocol defined"),
    ("nonsense", "expected KEY=VALUE"),
];

#[test]
fn what_cannot_be_obeyed_ends_the_start() {
    let node = formatted(NodeOptions::default()).unwrap();
    for (property, says) in REFUSED {
        let ran = ottla(&["server", &properties(&node), "--override", property]).unwrap();
        check_failure(property, &ran, 2, &[says]).unwrap();
    }
    // Nothing was begun.
    assert!(!node.data().join("ottla-quorum.wal").exists());
}

#[test]
fn an_error_names_the_file_and_the_line() {
    let options = NodeOptions::default().with("num.io.threads", "many");
    let node = Node::prepare(options).unwrap();
    let file = properties(&node);
    let text = std::fs::read_to_string(&file).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("num.io.threads")).unwrap();
    for arguments in [vec!["server", &file], vec!["config", "check", &file]] {
        let ran = ottla(&arguments).unwrap();
        assert!(matches!(ran.code, Some(1 | 2)), "{arguments:?}: {ran:?}");
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(said.contains(&format!("{file}:{line}: Invalid value many")), "{said}");
    }
}

#[test]
fn an_unknown_key_is_a_warning_and_with_strict_an_error() {
    let node = formatted(NodeOptions::default().with("log.retention.hour", "3")).unwrap();
    let file = properties(&node);
    let ran = ottla(&["server", &file, "--strict"]).unwrap();
    let says = ["unknown key log.retention.hour; did you mean log.retention.hours?"];
    check_failure("--strict", &ran, 2, &says).unwrap();
    let mut node = node;
    node.start_as(Kind::Ottla).unwrap();
    let output = node.process().unwrap().output();
    let line = output.lines().find(|line| line.contains(says[0]));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{output}");
    node.stop().unwrap();
}

#[test]
fn a_key_without_effect_is_one_line() {
    let options = NodeOptions::default().with("zookeeper.connect", "here:2181");
    let mut node = formatted(options).unwrap();
    node.start_as(Kind::Ottla).unwrap();
    let output = node.process().unwrap().output();
    let lines = output.lines().filter(|line| line.contains("zookeeper.connect has no effect"));
    assert_eq!(lines.count(), 1, "{output}");
}

#[test]
fn a_file_that_is_not_there() {
    let ran = ottla(&["server", "/nowhere/server.properties"]).unwrap();
    check_failure("no file", &ran, 6, &["/nowhere/server.properties cannot be read"]).unwrap();
}

#[test]
fn directories_that_are_not_ours() {
    binary();
    let node = Node::prepare(NodeOptions::default()).unwrap();
    let (file, data) = (properties(&node), node.data());
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("somebody"), "else's").unwrap();
    let ran = ottla(&["server", &file]).unwrap();
    let says = ["is not formatted", "`ottla storage format "];
    check_failure("no format", &ran, 1, &says).unwrap();

    node.format(Kind::Ottla).unwrap();
    let meta = data.join("meta.properties");
    let good = std::fs::read_to_string(&meta).unwrap();
    std::fs::write(&meta, good.replace("node.id=1", "node.id=4")).unwrap();
    let ran = ottla(&["server", &file]).unwrap();
    check_failure("another node's", &ran, 7, &["belongs to node 4, not 1", "node.id"]).unwrap();

    std::fs::write(&meta, "no properties at all").unwrap();
    let ran = ottla(&["server", &file]).unwrap();
    check_failure("nonsense", &ran, 1, &["meta.properties"]).unwrap();
    std::fs::write(&meta, &good).unwrap();

    let other = node.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    let cluster = good.lines().find(|line| line.starts_with("cluster.id=")).unwrap();
    let foreign = good.replace(cluster, "cluster.id=AAAAAAAAQACAAAAAAAAAAw");
    std::fs::write(other.join("meta.properties"), foreign).unwrap();
    let both = format!("log.dirs={},{}", data.display(), other.display());
    let ran = ottla(&["server", &file, "--override", &both]).unwrap();
    let says = ["belongs to cluster AAAAAAAAQACAAAAAAAAAAw, not", "log.dirs"];
    check_failure("another cluster's", &ran, 7, &says).unwrap();
    assert_eq!(std::fs::read_to_string(data.join("somebody")).unwrap(), "else's");
}

#[test]
fn what_needs_a_cluster_says_that_there_is_none_yet() {
    let node = formatted(NodeOptions::default()).unwrap();
    let voters = format!("controller.quorum.voters=1@{},2@127.0.0.1:9", node.controller());
    let ran = ottla(&["server", &properties(&node), "--override", &voters]).unwrap();
    check_failure("two voters", &ran, 1, &["more than one voter are not supported yet"]).unwrap();
}
