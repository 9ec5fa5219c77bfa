//! Groups of the consumer protocol (KIP-848) as kafka-clients form them: rebalances under load, static members,
//! subscriptions by pattern, topics that change, kills of the broker, what the tools print.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::Duration;

use anyhow::{Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{NodeOptions, ottla_binary, wait_until};
use serde_json::{Value, json};

const SETTLE: Duration = Duration::from_secs(60);

/// A node whose members are heard often, and missed after this time.
fn start(session_ms: &str) -> Result<Setup> {
    let times = [
        ("group.consumer.heartbeat.interval.ms", "300"),
        ("group.consumer.min.heartbeat.interval.ms", "300"),
        ("group.consumer.session.timeout.ms", session_ms),
        ("group.consumer.min.session.timeout.ms", "3000"),
        ("group.consumer.assignment.interval.ms", "0"),
    ];
    let options = times.into_iter().fold(NodeOptions::default(), |all, (k, v)| all.with(k, v));
    Setup::with(options)
}

/// Starts a member of group `g`; `wishes` are its topics, or one pattern.
fn join(setup: &mut Setup, member: &str, wishes: &Value, config: &Value) -> Result<()> {
    let mut all = json!({"group.protocol": "consumer", "retry.backoff.ms": "50", "reconnect.backoff.max.ms": "200"});
    for (name, value) in config.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    let mut command = json!({"do": "member.start", "member": member, "group": "g", "config": all});
    let key = if wishes.is_array() { "topics" } else { "pattern" };
    command[key] = wishes.clone();
    setup.call(command)?;
    Ok(())
}

fn group(setup: &mut Setup) -> Result<Value> {
    let groups = setup.call(json!({"do": "describeConsumerGroups", "groups": ["g"]}))?;
    Ok(groups["g"].clone())
}

fn wait_for_state(setup: &mut Setup, state: &str) -> Result<Value> {
    wait_until("a state", SETTLE, || group(setup).is_ok_and(|g| g["state"] == json!(state)))
        .map_err(|e| e.context(format!("{state}: {:?}", group(setup))))?;
    group(setup)
}

fn seen(setup: &mut Setup) -> Result<i64> {
    let seen = setup.call(json!({"do": "group.seen", "group": "g"}))?;
    Ok(seen["records"].as_i64().unwrap_or(-1))
}

fn stop(setup: &mut Setup, member: &str) -> Result<()> {
    let state = setup.call(json!({"do": "member.stop", "member": member}))?;
    ensure!(state["error"] == Value::Null, "{member}: {state}");
    Ok(())
}

/// Members come and go, and the broker is killed in between; every acknowledged record is delivered.
#[test]
fn members_rebalance_under_load_and_over_kills() -> Result<()> {
    ensure_java!();
    for assignor in ["uniform", "range"] {
        let mut setup = start("40000")?;
        setup.topic("load", 6)?;
        let quick =
            json!({"linger.ms": "5", "retry.backoff.ms": "10", "reconnect.backoff.max.ms": "50"});
        setup.call(json!({"do": "load.start", "load": "l", "topic": "load", "partitions": 6, "per_second": 1000, "config": quick}))?;
        let (topic, config) = (json!(["load"]), json!({"group.remote.assignor": assignor}));
        join(&mut setup, "a", &topic, &config)?;
        setup.wait_for_balance(&["a"], 6)?;
        join(&mut setup, "b", &topic, &config)?;
        setup.node.kill9()?;
        setup.node.restart()?;
        setup.wait_for_balance(&["a", "b"], 6)?;
        join(&mut setup, "c", &topic, &config)?;
        setup.wait_for_balance(&["a", "b", "c"], 6)?;
        let before = wait_for_state(&mut setup, "Stable")?;
        assert_eq!((&before["assignor"], &before["type"]), (&json!(assignor), &json!("Consumer")));
        // Nobody has to join again after a kill: epochs and assignments are what they were.
        setup.node.kill9()?;
        setup.node.restart()?;
        assert_eq!(group(&mut setup)?, before);
        stop(&mut setup, "a")?;
        setup.wait_for_balance(&["b", "c"], 6)?;
        let load = setup.call(json!({"do": "load.stop", "load": "l"}))?;
        assert_eq!(load["failures"], json!({}));
        let written = setup.call(json!({"do": "load.verify", "load": "l"}))?;
        let all = written["found"].as_i64().unwrap_or(-1);
        ensure!(all > 1000, "{written}");
        wait_until("every record", SETTLE, || seen(&mut setup).is_ok_and(|seen| seen == all))
            .map_err(|e| e.context(format!("{:?} of {all}", seen(&mut setup))))?;
        stop(&mut setup, "b")?;
        stop(&mut setup, "c")?;
        assert_eq!(group(&mut setup)?["state"], json!("Empty"));
        setup.node.stop()?;
        setup.node.restart()?;
        assert_eq!(group(&mut setup)?["state"], json!("Empty"));
        setup.call(json!({"do": "deleteConsumerGroups", "groups": ["g"]}))?;
        assert_eq!(setup.call(json!({"do": "listGroups"}))?, json!({}));
    }
    Ok(())
}

#[test]
fn a_static_member_comes_back_to_what_it_had() -> Result<()> {
    ensure_java!();
    let mut setup = start("6000")?;
    setup.topic("static", 4)?;
    let topic = json!(["static"]);
    join(&mut setup, "a", &topic, &json!({"group.instance.id": "one"}))?;
    join(&mut setup, "b", &topic, &json!({"group.instance.id": "two"}))?;
    setup.wait_for_balance(&["a", "b"], 4)?;
    let before = wait_for_state(&mut setup, "Stable")?;
    let kept = setup.assigned("b");
    stop(&mut setup, "b")?;
    // It is away, not gone.
    let away = group(&mut setup)?;
    let epochs = |group: &Value| {
        let members = group["members"].as_array().cloned().unwrap_or_default();
        let mut all: Vec<(String, i64)> = members
            .iter()
            .map(|m| (m["instance"].to_string(), m["epoch"].as_i64().unwrap_or(-9)))
            .collect();
        all.sort();
        all
    };
    assert_eq!(epochs(&away)[1], ("\"two\"".to_owned(), -2));
    join(&mut setup, "b2", &topic, &json!({"group.instance.id": "two"}))?;
    wait_until("the old assignment", SETTLE, || setup.assigned("b2") == kept)?;
    let after = wait_for_state(&mut setup, "Stable")?;
    assert_eq!((&before["epoch"], epochs(&before)), (&after["epoch"], epochs(&after)));
    // Somebody else with the same name is turned away while it is there.
    let config = json!({"group.protocol": "consumer", "group.instance.id": "two"});
    setup.call(json!({"do": "member.start", "member": "x", "group": "g", "topics": ["static"], "config": config}))?;
    wait_until("a refusal", SETTLE, || {
        let state = setup.call(json!({"do": "member.state", "member": "x"})).unwrap_or_default();
        state["error"].as_str().is_some_and(|e| e.starts_with("UnreleasedInstanceIdException"))
    })?;
    // One that does not come back loses what it had after its session.
    stop(&mut setup, "b2")?;
    setup.wait_for_balance(&["a"], 4)
}

#[test]
fn a_dead_member_loses_its_partitions_after_its_session() -> Result<()> {
    ensure_java!();
    let mut setup = start("6000")?;
    setup.topic("dead", 2)?;
    let own = json!([["SET", "consumer.session.timeout.ms", "3000"]]);
    setup
        .call(json!({"do": "incrementalAlterConfigs", "type": "GROUP", "name": "g", "ops": own}))?;
    let mut other = ottla_conformance::Driver::start(setup.node.bootstrap())?;
    let config = json!({"group.protocol": "consumer"});
    other.call(&json!({"do": "member.start", "member": "x", "group": "g", "topics": ["dead"], "config": config}))?;
    wait_until("the first member", SETTLE, || {
        let state = other.call(&json!({"do": "member.state", "member": "x"})).unwrap_or_default();
        state["assigned"].as_array().is_some_and(|a| a.len() == 2)
    })?;
    join(&mut setup, "a", &json!(["dead"]), &json!({}))?;
    wait_until("a share", SETTLE, || setup.assigned("a").len() == 1)?;
    // Dropped without a word: its whole virtual machine is killed.
    drop(other);
    setup.wait_for_balance(&["a"], 2)
}

/// Topics come, grow and go while members ask for them by pattern and by name.
#[test]
fn topics_that_change_are_assigned_anew() -> Result<()> {
    ensure_java!();
    let mut setup = start("6000")?;
    setup.topic("logs-a", 2)?;
    setup.topic("other", 1)?;
    // A client that commits on its own tries for long to commit offsets of the topic that goes.
    let config = json!({"enable.auto.commit": "false"});
    join(&mut setup, "a", &json!("logs-[a-c]+"), &config)?;
    setup.wait_for_balance(&["a"], 2)?;
    setup.topic("logs-b", 3)?;
    setup.wait_for_balance(&["a"], 5)?;
    setup.topic("logs-z", 3)?;
    setup.call(json!({"do": "createPartitions", "topic": "logs-a", "count": 4}))?;
    setup.wait_for_balance(&["a"], 7)?;
    join(&mut setup, "b", &json!(["logs-a", "other"]), &config)?;
    setup.wait_for_balance(&["a", "b"], 8)?;
    setup.node.kill9()?;
    setup.node.restart()?;
    setup.call(json!({"do": "deleteTopics", "topics": ["logs-b"]}))?;
    setup.wait_for_balance(&["a", "b"], 5)?;
    let bad = json!({"group.protocol": "consumer"});
    setup.call(
        json!({"do": "member.start", "member": "x", "group": "g", "pattern": "a(b", "config": bad}),
    )?;
    wait_until("a refusal", SETTLE, || {
        let state = setup.call(json!({"do": "member.state", "member": "x"})).unwrap_or_default();
        state["error"].as_str().is_some_and(|e| e.starts_with("InvalidRegularExpression"))
    })
}

#[test]
fn the_tools_show_the_group() -> Result<()> {
    ensure_java!();
    let mut setup = start("6000")?;
    setup.topic("shown", 2)?;
    setup.call(json!({"do": "produce", "topic": "shown", "generate": {"count": 20, "size": 10, "partitions": 2}}))?;
    join(&mut setup, "a", &json!(["shown"]), &json!({"client.id": "someone"}))?;
    wait_until("all records", SETTLE, || seen(&mut setup).is_ok_and(|seen| seen == 20))?;
    let described = wait_for_state(&mut setup, "Stable")?;
    let member = &described["members"][0];
    assert_eq!(
        (&member["client_id"], &member["host"], &member["upgraded"]),
        (&json!("someone"), &json!("/127.0.0.1"), &json!(true))
    );
    assert_eq!(member["assigned"], json!(["shown-0", "shown-1"]));
    let listed = json!({"type": "Consumer", "protocol": "consumer", "state": "Stable"});
    assert_eq!(setup.call(json!({"do": "listGroups"}))?["g"], listed);
    let rows = |setup: &Setup, more: &[&str]| -> Result<Vec<Vec<String>>> {
        let all = [&["--describe", "--group", "g"], more].concat();
        let out = setup.online("kafka-consumer-groups", &all)?;
        let lines = out.lines().skip(1).filter(|line| line.starts_with('g'));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Ok(lines.map(words).collect())
    };
    let state = rows(&setup, &["--state", "--verbose"])?;
    let (epoch, target) = (described["epoch"].to_string(), described["target_epoch"].to_string());
    ensure!(
        state[0].ends_with(&["uniform".into(), "Stable".into(), epoch, target, "1".into()]),
        "{state:?}"
    );
    let members = rows(&setup, &["--members", "--verbose"])?;
    ensure!(members[0].iter().any(|w| w == "shown:0,1" || w == "shown(0,1)"), "{members:?}");
    let offsets = rows(&setup, &[])?;
    ensure!(
        offsets.len() == 2 && offsets.iter().all(|r| r[3..6] == ["10", "10", "0"]),
        "{offsets:?}"
    );
    let ours = ottla_describes(&setup)?;
    assert_eq!(
        (&ours["state"], &ours["assignor"]),
        (&json!("Stable"), &json!("uniform")),
        "{ours}"
    );
    assert_eq!(ours["members"][0]["client_id"], json!("someone"), "{ours}");
    let busy = setup.driver.refused(&json!({"do": "deleteConsumerGroups", "groups": ["g"]}))?;
    assert_eq!(busy.error, "GroupNotEmptyException");
    stop(&mut setup, "a")?;
    assert_eq!(ottla_describes(&setup)?["state"], json!("Empty"));
    setup.call(json!({"do": "deleteConsumerGroups", "groups": ["g"]}))?;
    assert_eq!(setup.call(json!({"do": "listGroups"}))?, json!({}));
    Ok(())
}

/// What `ottla group describe` says of group `g`.
fn ottla_describes(setup: &Setup) -> Result<Value> {
    let out = std::process::Command::new(ottla_binary()?)
        .args(["group", "describe", "g", "--output", "json", "--brokers", setup.node.bootstrap()])
        .output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(serde_json::from_slice::<Value>(&out.stdout)?[0].clone())
}

/// Consumers of both protocols share a group that goes from one protocol to the other and back, under load.
#[test]
fn a_group_changes_its_protocol_and_back() -> Result<()> {
    ensure_java!();
    let classics = [
        "org.apache.kafka.clients.consumer.RangeAssignor",
        "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
    ];
    for assignor in classics {
        let mut setup = start("40000")?;
        setup.topic("load", 6)?;
        setup.call(json!({"do": "load.start", "load": "l", "topic": "load", "partitions": 6, "per_second": 500, "config": {"linger.ms": "5"}}))?;
        let topic = json!(["load"]);
        let classic = json!({
            "group.protocol": "classic", "partition.assignment.strategy": assignor,
            "heartbeat.interval.ms": "300", "session.timeout.ms": "20000",
        });
        join(&mut setup, "a", &topic, &classic)?;
        join(&mut setup, "b", &topic, &classic)?;
        setup.wait_for_balance(&["a", "b"], 6)?;
        assert_eq!(group(&mut setup)?["type"], json!("Classic"));
        join(&mut setup, "new", &topic, &json!({}))?;
        setup.wait_for_balance(&["a", "b", "new"], 6)?;
        assert_eq!(wait_for_state(&mut setup, "Stable")?["type"], json!("Consumer"));
        setup.node.kill9()?;
        setup.node.restart()?;
        join(&mut setup, "c", &topic, &classic)?;
        stop(&mut setup, "b")?;
        setup.wait_for_balance(&["a", "c", "new"], 6)?;
        let mixed = wait_for_state(&mut setup, "Stable")?;
        let mut upgraded: Vec<String> = mixed["members"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|member| member["upgraded"].to_string())
            .collect();
        upgraded.sort();
        assert_eq!(upgraded, ["false", "false", "true"]);
        stop(&mut setup, "new")?;
        setup.wait_for_balance(&["a", "c"], 6)?;
        assert_eq!(wait_for_state(&mut setup, "Stable")?["type"], json!("Classic"));
        let load = setup.call(json!({"do": "load.stop", "load": "l"}))?;
        assert_eq!(load["failures"], json!({}));
        let written = setup.call(json!({"do": "load.verify", "load": "l"}))?;
        let all = written["found"].as_i64().unwrap_or(-1);
        wait_until("every record", SETTLE, || seen(&mut setup).is_ok_and(|seen| seen == all))
            .map_err(|e| e.context(format!("{:?} of {all}", seen(&mut setup))))?;
        stop(&mut setup, "a")?;
        stop(&mut setup, "c")?;
    }
    Ok(())
}
