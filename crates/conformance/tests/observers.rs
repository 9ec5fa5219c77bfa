//! A broker of Apache Kafka under our controller: it follows the metadata log from its start or from
//! a snapshot, registers, is unfenced, and serves its clients what the controller decided.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Driver, Setup, ensure_java, run_tool};
use ottla_testkit::{Kind, Node, NodeOptions, ottla_binary, run_bounded, wait_until};
use serde_json::{Value, json};

/// The longest that a broker may take to see what the controller did, and the other way round.
const SEEN_LIMIT: Duration = Duration::from_secs(60);

fn second_broker(of: &Node) -> Result<Node> {
    // More than one fetch for a snapshot.
    let options = NodeOptions::default()
        .with("node.id", "2")
        .with("controller.quorum.fetch.snapshot.max.bytes", "4096")
        .with("replica.lag.time.max.ms", "2000");
    let started = Node::start_broker(Kind::Kafka, of, options);
    started.with_context(|| of.tail())
}

fn create(driver: &mut Driver, topic: &str, assignment: Value) -> Result<Value> {
    driver.call(&json!({"do": "createTopics", "topic": topic, "assignment": assignment}))
}

/// Waits until a client of this node sees all of these topics.
fn sees(driver: &mut Driver, topics: &[&str]) -> Result<()> {
    let mut seen = Value::Null;
    wait_until("the topics", SEEN_LIMIT, || {
        seen = driver.call(&json!({"do": "listTopics"})).unwrap_or_default();
        let names: Vec<&str> =
            seen.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        topics.iter().all(|topic| names.contains(topic))
    })
    .with_context(|| seen.to_string())
}

/// Waits until a client of this node sees both brokers alive.
fn sees_both_brokers(driver: &mut Driver) -> Result<()> {
    let mut seen = Value::Null;
    wait_until("both brokers", SEEN_LIMIT, || {
        seen = driver.call(&json!({"do": "describeCluster"})).unwrap_or_default();
        seen["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2)
    })
    .with_context(|| seen.to_string())
}

fn tool(name: &str, arguments: &[&str]) -> Result<String> {
    let ran = run_tool(name, arguments, "")?;
    ensure!(ran.code == Some(0), "{name} {arguments:?}\n{}{}", ran.stdout, ran.stderr);
    Ok(ran.stdout)
}

/// What kafka-metadata-quorum and our own command say of who follows, asked at this node.
fn is_listed_as_observer(asked: &[&str]) -> Result<()> {
    let mut out = String::new();
    wait_until("the observer in the list", SEEN_LIMIT, || {
        let all = [asked, &["describe", "--replication"]].concat();
        out = tool("kafka-metadata-quorum", &all).unwrap_or_else(|error| format!("{error:#}"));
        let row = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row =
            row.into_iter().find(|row| row.first() == Some(&"2") && row.contains(&"Observer"));
        // Node, directory, end of its log, lag.
        row.is_some_and(|row| {
            row.get(3).and_then(|lag| lag.parse().ok()).is_some_and(|lag: u64| lag < 5)
        })
    })
    .with_context(|| out.clone())?;
    let status = tool("kafka-metadata-quorum", &[asked, &["describe", "--status"]].concat())?;
    let observers = status.lines().find(|line| line.starts_with("CurrentObservers:"));
    ensure!(observers.is_some_and(|line| line.contains("\"id\": 2")), "{status}");
    Ok(())
}

fn ours_lists_the_observer(node: &Node) -> Result<()> {
    let mut command = std::process::Command::new(ottla_binary()?);
    command.args(["quorum", "describe", "-o", "json", "--bootstrap-server", node.bootstrap()]);
    let ran = run_bounded(&mut command, "", SEEN_LIMIT)?;
    let said: Value = serde_json::from_str(&ran.stdout)
        .with_context(|| format!("{}{}", ran.stdout, ran.stderr))?;
    let replicas = said["replicas"].as_array().context("replicas")?;
    let second = replicas.iter().find(|replica| replica["id"] == json!(2)).context("node 2")?;
    assert_eq!(second["role"], json!("observer"), "{said}");
    Ok(())
}

/// Neither broker follows the other's partitions as a replica yet, and the ISR says so.
fn replicas_are_in_sync_nowhere_else(driver: &mut Driver) -> Result<()> {
    for (topic, replicas) in [("ours-first", json!([1, 2])), ("theirs-first", json!([2, 1]))] {
        create(driver, topic, json!({"0": replicas}))?;
        let generate = json!({"count": 100, "size": 100});
        driver.call(&json!({"do": "produce", "topic": topic, "generate": generate}))?;
        let mut seen = Value::Null;
        wait_until("an ISR of one", SEEN_LIMIT, || {
            let asked = json!({"do": "describeTopics", "topics": [topic]});
            seen = driver.call(&asked).unwrap_or_default()[topic]["partitions"][0].take();
            seen["isr"] == json!([replicas[0]])
        })
        .with_context(|| seen.to_string())?;
        assert_eq!(seen["leader"], replicas[0], "{seen}");
        let seen =
            driver.call(&json!({"do": "consume", "topic": topic, "count": 100, "brief": true}))?;
        assert_eq!(seen["count"], json!(100), "{topic}");
        // From two on, acks=all is too much to ask for, and acks=1 is not.
        let ops = json!([["SET", "min.insync.replicas", "2"]]);
        driver.call(
            &json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": topic, "ops": ops}),
        )?;
        let one = |config: Value| json!({"do": "produce", "topic": topic, "records": [{"value": "x"}], "config": config});
        let all = one(json!({"retries": "0", "enable.idempotence": "false"}));
        let mut last = None;
        wait_until("too few replicas", SEEN_LIMIT, || {
            last = driver.attempt(&all).ok().and_then(Result::err).map(|refused| refused.error);
            last.as_deref() == Some("NotEnoughReplicasException")
        })
        .with_context(|| format!("{topic}: {last:?}"))?;
        driver.call(&one(json!({"acks": "1", "enable.idempotence": "false"})))?;
    }
    Ok(())
}

/// Everything that a broker under a controller does, on both nodes.
fn works_together(ours: &mut Setup, theirs: &mut Driver, kafka: &Node) -> Result<()> {
    sees_both_brokers(theirs)?;
    sees_both_brokers(&mut ours.driver)?;
    sees(theirs, &["before"])?;
    // Both ways: decided after it came, asked for at either.
    create(&mut ours.driver, "on-two", json!({"0": [2]}))?;
    create(theirs, "on-one", json!({"0": [1]}))?;
    sees(theirs, &["on-two", "on-one"])?;
    sees(&mut ours.driver, &["on-two", "on-one"])?;
    for topic in ["on-one", "on-two"] {
        let generate = json!({"count": 100, "size": 100});
        theirs.call(&json!({"do": "produce", "topic": topic, "generate": generate}))?;
        let seen = ours
            .driver
            .call(&json!({"do": "consume", "topic": topic, "count": 100, "brief": true}))?;
        assert_eq!(seen["count"], json!(100), "{topic}");
    }
    let config = json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "on-two", "ops": [["SET", "retention.ms", "70000"]]});
    theirs.call(&config)?;
    let described = json!({"do": "describeConfigs", "type": "TOPIC", "name": "on-two"});
    wait_until("the config on both", SEEN_LIMIT, || {
        [&mut ours.driver, theirs].into_iter().all(|driver| {
            let configs = driver.call(&described).unwrap_or_default();
            configs["retention.ms"]["value"] == json!("70000")
        })
    })?;
    replicas_are_in_sync_nowhere_else(theirs)?;
    is_listed_as_observer(&["--bootstrap-server", ours.node.bootstrap()])?;
    is_listed_as_observer(&["--bootstrap-server", kafka.bootstrap()])?;
    is_listed_as_observer(&["--bootstrap-controller", ours.node.controller()])?;
    ours_lists_the_observer(&ours.node)
}

#[test]
fn a_kafka_broker_follows_the_log() -> Result<()> {
    ensure_java!();
    let mut ours = Setup::start()?;
    ours.topic("before", 3)?;
    let mut kafka = second_broker(&ours.node)?;
    let mut theirs = Driver::start(kafka.bootstrap())?;
    works_together(&mut ours, &mut theirs, &kafka).with_context(|| kafka.tail())?;
    // It goes and comes again: fenced, then back with what happened meanwhile.
    kafka.stop()?;
    wait_until("one broker", SEEN_LIMIT, || {
        let seen = ours.driver.call(&json!({"do": "describeCluster"})).unwrap_or_default();
        seen["nodes"].as_array().is_some_and(|nodes| nodes.len() == 1)
    })?;
    create(&mut ours.driver, "meanwhile", json!({"0": [1]}))?;
    kafka.restart()?;
    let mut theirs = Driver::start(kafka.bootstrap())?;
    sees(&mut theirs, &["before", "on-one", "on-two", "meanwhile"])?;
    sees_both_brokers(&mut theirs)?;
    let seen =
        theirs.call(&json!({"do": "consume", "topic": "on-two", "count": 100, "brief": true}))?;
    assert_eq!(seen["count"], json!(100));
    // Our node goes and comes again under it.
    ours.node.kill9()?;
    ours.node.restart()?;
    create(&mut ours.driver, "after", json!({"0": [2]}))?;
    sees(&mut theirs, &["after"]).with_context(|| kafka.tail())
}

fn checkpoints(node: &Node) -> Vec<PathBuf> {
    let folder = node.data().join("__cluster_metadata-0");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let mut found: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "checkpoint")).collect();
    found.sort();
    found
}

/// Segments are short and old metadata goes at once, so the log soon begins behind a snapshot.
fn forgetful() -> NodeOptions {
    NodeOptions::default()
        .with("metadata.log.segment.ms", "200")
        .with("metadata.log.max.record.bytes.between.snapshots", "20000")
        .with("metadata.max.retention.bytes", "20000")
        .with("metadata.max.idle.interval.ms", "100")
}

fn grow_until_the_start_is_gone(driver: &mut Driver, node: &Node) -> Result<()> {
    let first = node.data().join("__cluster_metadata-0/00000000000000000000.log");
    let mut next = 0;
    wait_until("a log that begins behind a snapshot", SEEN_LIMIT, || {
        let topic = format!("many-{next:03}");
        next += 1;
        let made = driver
            .call(&json!({"do": "createTopics", "topic": topic, "partitions": 50, "factor": 1}));
        made.is_ok() && !first.exists()
    })?;
    ensure!(checkpoints(node).iter().any(|path| path.metadata().is_ok_and(|m| m.len() > 10_000)));
    Ok(())
}

#[test]
fn a_kafka_broker_begins_with_a_snapshot() -> Result<()> {
    ensure_java!();
    let dynamic = forgetful().with("controller.quorum.voters", "");
    for options in [forgetful(), dynamic] {
        let mut ours = Setup::with(options)?;
        ours.topic("before", 3)?;
        grow_until_the_start_is_gone(&mut ours.driver, &ours.node)?;
        let kafka = second_broker(&ours.node)?;
        ensure!(!checkpoints(&kafka).is_empty(), "it has fetched no snapshot");
        let mut theirs = Driver::start(kafka.bootstrap())?;
        sees(&mut theirs, &["many-000"])?;
        works_together(&mut ours, &mut theirs, &kafka).with_context(|| kafka.tail())?;
    }
    Ok(())
}

#[test]
fn kafka_brokers_live_under_a_controller_alone() -> Result<()> {
    ensure_java!();
    let options = NodeOptions::default().with("process.roles", "controller");
    let controller = Node::start(Kind::target(), options)?;
    let kafka = second_broker(&controller)?;
    let mut theirs = Driver::start(kafka.bootstrap())?;
    create(&mut theirs, "alone", json!({"0": [2]}))?;
    sees(&mut theirs, &["alone"])?;
    let generate = json!({"count": 100, "size": 100});
    theirs.call(&json!({"do": "produce", "topic": "alone", "generate": generate}))?;
    let seen = theirs.call(
        &json!({"do": "consume", "topic": "alone", "count": 100, "group": "g", "brief": true}),
    )?;
    assert_eq!(seen["count"], json!(100));
    is_listed_as_observer(&["--bootstrap-controller", controller.controller()])?;
    is_listed_as_observer(&["--bootstrap-server", kafka.bootstrap()])
}
