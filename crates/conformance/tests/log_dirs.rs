//! Replicas move between log directories under load, as Kafka's admin client and tools see it, and
//! a broker that is killed in the middle goes on with the move and loses nothing.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{Folder, NodeOptions, wait_until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);

/// Where the replica of the first partition is, where it goes, and how far that is behind.
fn replica(setup: &mut Setup) -> Result<Value> {
    setup.call(json!({"do": "describeReplicaLogDirs", "topic": "crash", "partition": 0}))
}

fn throttle(setup: &mut Setup, bytes: &str) -> Result<()> {
    let op = json!(["SET", "replica.alter.log.dirs.io.max.bytes.per.second", bytes]);
    // An empty name: for all brokers.
    let command =
        json!({"do": "incrementalAlterConfigs", "type": "BROKER", "name": "", "ops": [op]});
    setup.call(command)?;
    Ok(())
}

fn acknowledged(setup: &mut Setup) -> u64 {
    let state = setup.driver.call(&json!({"do": "load.state", "load": "l"}));
    state.unwrap_or(Value::Null)["acknowledged"].as_u64().unwrap_or(0)
}

fn wait_for_more(setup: &mut Setup, more: u64) -> Result<()> {
    let goal = acknowledged(setup) + more;
    wait_until("acknowledged records", PATIENCE, || acknowledged(setup) >= goal)
        .with_context(|| setup.node.tail())
}

#[test]
fn a_move_survives_a_kill_and_loses_nothing() -> Result<()> {
    ensure_java!();
    let folder = Folder::new("dirs")?;
    let dirs = ["one", "two"].map(|dir| folder.path().join(dir).display().to_string());
    let mut setup = Setup::with(NodeOptions::default().with("log.dirs", &dirs.join(",")))?;
    setup.topic("crash", 1)?;
    let config = json!({
        "acks": "all",
        "linger.ms": "2",
        "reconnect.backoff.ms": "10",
        "reconnect.backoff.max.ms": "50",
        "retry.backoff.ms": "10",
        "retry.backoff.max.ms": "50",
    });
    setup.call(json!({"do": "load.start", "load": "l", "topic": "crash", "partitions": 1, "per_second": 2000, "config": config}))?;
    wait_for_more(&mut setup, 2000)?;
    throttle(&mut setup, "10000")?;
    let from = replica(&mut setup)?;
    ensure!(from["future"].is_null(), "{from}");
    let to = if from["current"] == json!(dirs[0]) { &dirs[1] } else { &dirs[0] };
    let alter = json!({"do": "alterReplicaLogDirs", "topic": "crash", "partition": 0, "path": to});
    setup.call(alter)?;
    let moving = replica(&mut setup)?;
    assert_eq!((&moving["current"], &moving["future"]), (&from["current"], &json!(to)));
    ensure!(moving["futureLag"].as_i64() > Some(0) && moving["lag"] == json!(0), "{moving}");
    let out = setup.online("kafka-log-dirs", &["--describe", "--topic-list", "crash"])?;
    ensure!(out.contains("\"isFuture\":true") && out.contains("\"isFuture\":false"), "{out}");
    setup.node.kill9()?;
    setup.node.restart()?;
    wait_for_more(&mut setup, 500)?;
    let moving = replica(&mut setup)?;
    assert_eq!((&moving["current"], &moving["future"]), (&from["current"], &json!(to)));
    throttle(&mut setup, "1000000000")?;
    wait_until("the replica to have moved", PATIENCE, || {
        replica(&mut setup).is_ok_and(|now| now["current"] == json!(to) && now["future"].is_null())
    })?;
    wait_for_more(&mut setup, 500)?;
    setup.node.kill9()?;
    setup.node.restart()?;
    wait_for_more(&mut setup, 500)?;
    assert_eq!(replica(&mut setup)?["current"], json!(to));
    setup.call(json!({"do": "load.stop", "load": "l"}))?;
    let verdict = setup.call(json!({"do": "load.verify", "load": "l"}))?;
    for sin in ["lost", "duplicated", "reordered", "misplaced"] {
        assert_eq!(verdict[sin], json!(0), "{sin} of {verdict}");
    }
    assert_eq!(verdict["found"], verdict["acknowledged"], "{verdict}");
    Ok(())
}
