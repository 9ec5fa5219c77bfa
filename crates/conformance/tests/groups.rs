//! Consumer groups as kafka-clients form them: rebalances under load, static members, offsets, protocols.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::wait_until;
use serde_json::{Value, json};

const SETTLE: Duration = Duration::from_secs(60);

fn start_member(
    setup: &mut Setup,
    member: &str,
    group: &str,
    topic: &str,
    config: &Value,
) -> Result<()> {
    let mut all = json!({"group.protocol": "classic", "session.timeout.ms": "10000", "heartbeat.interval.ms": "1000"});
    for (name, value) in config.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    setup.call(json!({"do": "member.start", "member": member, "group": group, "topics": [topic], "config": all}))?;
    Ok(())
}

fn seen(setup: &mut Setup, group: &str) -> Result<(i64, i64)> {
    let seen = setup.call(json!({"do": "group.seen", "group": group}))?;
    Ok((seen["records"].as_i64().unwrap_or(-1), seen["deliveries"].as_i64().unwrap_or(-1)))
}

/// Members come and go while records flow; every acknowledged record is delivered, at least once.
fn rebalance_under_load(assignor: &str) -> Result<()> {
    let mut setup = Setup::start()?;
    setup.topic("load", 6)?;
    setup.call(json!({"do": "load.start", "load": "l", "topic": "load", "partitions": 6, "per_second": 2000, "config": {"linger.ms": "5"}}))?;
    let config = json!({"partition.assignment.strategy": assignor});
    start_member(&mut setup, "a", "g", "load", &config)?;
    setup.wait_for_balance(&["a"], 6)?;
    start_member(&mut setup, "b", "g", "load", &config)?;
    setup.wait_for_balance(&["a", "b"], 6)?;
    start_member(&mut setup, "c", "g", "load", &config)?;
    setup.wait_for_balance(&["a", "b", "c"], 6)?;
    setup.call(json!({"do": "member.stop", "member": "a"}))?;
    setup.wait_for_balance(&["b", "c"], 6)?;
    let load = setup.call(json!({"do": "load.stop", "load": "l"}))?;
    assert_eq!(load["failures"], json!({}));
    let acknowledged = load["acknowledged"].as_i64().unwrap_or(-1);
    ensure!(acknowledged > 1000, "{load}");
    let waited = wait_until("every record", SETTLE, || {
        seen(&mut setup, "g").is_ok_and(|s| s.0 == acknowledged)
    });
    waited.map_err(|e| e.context(format!("{:?} of {acknowledged}", seen(&mut setup, "g"))))?;
    for member in ["b", "c"] {
        let state = setup.call(json!({"do": "member.stop", "member": member}))?;
        assert_eq!(state["error"], Value::Null);
    }
    let groups = setup.call(json!({"do": "describeConsumerGroups", "groups": ["g"]}))?;
    assert_eq!(groups["g"]["state"], json!("Empty"));
    Ok(())
}

#[test]
fn eager_members_rebalance_under_load() -> Result<()> {
    ensure_java!();
    rebalance_under_load("org.apache.kafka.clients.consumer.RangeAssignor")
}

#[test]
fn cooperative_members_rebalance_under_load() -> Result<()> {
    ensure_java!();
    rebalance_under_load("org.apache.kafka.clients.consumer.CooperativeStickyAssignor")
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("static", 4)?;
    let config =
        |instance: &str| json!({"group.instance.id": instance, "session.timeout.ms": "45000"});
    start_member(&mut setup, "a", "g", "static", &config("one"))?;
    start_member(&mut setup, "b", "g", "static", &config("two"))?;
    setup.wait_for_balance(&["a", "b"], 4)?;
    let before = setup.call(json!({"do": "member.state", "member": "a"}))?;
    let kept = setup.assigned("b");
    setup.call(json!({"do": "member.stop", "member": "b"}))?;
    start_member(&mut setup, "b2", "g", "static", &config("two"))?;
    wait_until("the old assignment", SETTLE, || setup.assigned("b2") == kept)?;
    let after = setup.call(json!({"do": "member.state", "member": "a"}))?;
    assert_eq!(before["assignments"], after["assignments"], "the other member was not disturbed");
    let groups = setup.call(json!({"do": "describeConsumerGroups", "groups": ["g"]}))?;
    let members = groups["g"]["members"].as_array().cloned().unwrap_or_default();
    let mut instances: Vec<_> = members.iter().map(|m| m["instance"].clone()).collect();
    instances.sort_by_key(ToString::to_string);
    assert_eq!(instances, [json!("one"), json!("two")]);
    setup.call(
        json!({"do": "removeMembersFromConsumerGroup", "group": "g", "instances": ["two"]}),
    )?;
    setup.wait_for_balance(&["a"], 4)
}

#[test]
fn a_dead_member_loses_its_partitions_after_its_session() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("dead", 2)?;
    let mut other = ottla_conformance::Driver::start(setup.node.bootstrap())?;
    let config = json!({"group.protocol": "classic", "session.timeout.ms": "6000", "heartbeat.interval.ms": "500"});
    other.call(&json!({"do": "member.start", "member": "x", "group": "g", "topics": ["dead"], "config": config}))?;
    wait_until("the first member", SETTLE, || {
        let state = other.call(&json!({"do": "member.state", "member": "x"})).unwrap_or_default();
        state["assigned"].as_array().is_some_and(|a| a.len() == 2)
    })?;
    start_member(&mut setup, "a", "g", "dead", &config)?;
    wait_until("a share", SETTLE, || setup.assigned("a").len() == 1)?;
    // Dropped without a word: its whole virtual machine is killed.
    drop(other);
    setup.wait_for_balance(&["a"], 2)
}

#[test]
fn offsets_are_committed_read_changed_and_deleted() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("offsets", 2)?;
    setup.call(json!({"do": "produce", "topic": "offsets", "generate": {"count": 20, "size": 10, "partitions": 2}}))?;
    start_member(&mut setup, "a", "g", "offsets", &json!({}))?;
    wait_until("all records", SETTLE, || seen(&mut setup, "g").is_ok_and(|s| s.0 == 20))?;
    setup.call(json!({"do": "member.stop", "member": "a"}))?;
    let offsets = setup.call(json!({"do": "listConsumerGroupOffsets", "group": "g"}))?;
    assert_eq!(
        (&offsets["offsets-0"]["offset"], &offsets["offsets-1"]["offset"]),
        (&json!(10), &json!(10))
    );
    let change = json!([{"topic": "offsets", "partition": 0, "offset": 4, "metadata": "note"}]);
    setup.call(json!({"do": "alterConsumerGroupOffsets", "group": "g", "offsets": change}))?;
    let offsets = setup.call(json!({"do": "listConsumerGroupOffsets", "group": "g"}))?;
    assert_eq!(
        (&offsets["offsets-0"]["offset"], &offsets["offsets-0"]["metadata"]),
        (&json!(4), &json!("note"))
    );
    // A node that has been killed has forgotten nothing of it.
    setup.node.kill9()?;
    setup.node.restart()?;
    let offsets = setup.call(json!({"do": "listConsumerGroupOffsets", "group": "g"}))?;
    assert_eq!(
        (&offsets["offsets-0"]["offset"], &offsets["offsets-1"]["offset"]),
        (&json!(4), &json!(10))
    );
    start_member(&mut setup, "b", "g", "offsets", &json!({}))?;
    wait_until("six deliveries more", SETTLE, || {
        seen(&mut setup, "g").is_ok_and(|s| s == (20, 26))
    })?;
    let refused = setup.driver.refused(&json!({"do": "deleteConsumerGroups", "groups": ["g"]}))?;
    assert_eq!(refused.error, "GroupNotEmptyException");
    setup.call(json!({"do": "member.stop", "member": "b"}))?;
    setup.call(json!({"do": "deleteConsumerGroupOffsets", "group": "g", "partitions": [{"topic": "offsets", "partition": 1}]}))?;
    let offsets = setup.call(json!({"do": "listConsumerGroupOffsets", "group": "g"}))?;
    assert_eq!(
        (&offsets["offsets-0"]["offset"], &offsets["offsets-1"]),
        (&json!(10), &Value::Null)
    );
    setup.call(json!({"do": "deleteConsumerGroups", "groups": ["g"]}))?;
    let groups = setup.call(json!({"do": "listGroups"}))?;
    assert_eq!(groups, json!({}));
    Ok(())
}

#[test]
fn a_group_is_described_with_its_members() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("described", 3)?;
    start_member(&mut setup, "a", "g", "described", &json!({"client.id": "someone"}))?;
    setup.wait_for_balance(&["a"], 3)?;
    wait_until("a stable group", SETTLE, || {
        let groups = setup
            .call(json!({"do": "describeConsumerGroups", "groups": ["g"]}))
            .unwrap_or_default();
        groups["g"]["state"] == json!("Stable")
    })?;
    let groups = setup.call(json!({"do": "describeConsumerGroups", "groups": ["g"]}))?;
    let group = &groups["g"];
    assert_eq!((&group["assignor"], &group["coordinator"]), (&json!("range"), &json!(1)));
    let member = &group["members"][0];
    assert_eq!((&member["client_id"], &member["host"]), (&json!("someone"), &json!("/127.0.0.1")));
    assert_eq!(member["assigned"], json!(["described-0", "described-1", "described-2"]));
    let groups = setup.call(json!({"do": "listGroups"}))?;
    assert_eq!(groups["g"], json!({"type": "Classic", "protocol": "consumer", "state": "Stable"}));
    let missing =
        setup.driver.refused(&json!({"do": "describeConsumerGroups", "groups": ["nobody"]}))?;
    assert_eq!(missing.error, "GroupIdNotFoundException");
    Ok(())
}

/// The broker dies twice while members come and go: what was committed holds, and every record is seen.
#[test]
fn a_group_survives_kills_of_the_broker_under_load() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("killed", 6)?;
    let quick = json!({
        "reconnect.backoff.ms": "10", "reconnect.backoff.max.ms": "50",
        "retry.backoff.ms": "10", "retry.backoff.max.ms": "50",
    });
    setup.call(json!({"do": "load.start", "load": "l", "topic": "killed", "partitions": 6, "per_second": 2000, "config": quick}))?;
    let members = ["a", "b", "c"];
    start_member(&mut setup, "a", "g", "killed", &quick)?;
    setup.wait_for_balance(&members[..1], 6)?;
    for present in 2..=members.len() {
        // The new member's rebalance is under way when the broker goes.
        start_member(&mut setup, members[present - 1], "g", "killed", &quick)?;
        let before = committed(&mut setup)?;
        setup.node.kill9()?;
        setup.node.restart()?;
        let after = committed(&mut setup)?;
        ensure!(
            before.iter().all(|(p, o)| after.get(p).is_some_and(|a| a >= o)),
            "{before:?} was committed, {after:?} is left"
        );
        setup.wait_for_balance(&members[..present], 6)?;
        let (records, _) = seen(&mut setup, "g")?;
        wait_until("more records", SETTLE, || {
            seen(&mut setup, "g").is_ok_and(|s| s.0 > records + 500)
        })?;
    }
    let load = setup.call(json!({"do": "load.stop", "load": "l"}))?;
    assert_eq!(load["failures"], json!({}));
    let written = setup.call(json!({"do": "load.verify", "load": "l"}))?;
    for sin in ["lost", "duplicated", "reordered", "misplaced"] {
        assert_eq!(written[sin], json!(0), "{sin} of {written}");
    }
    let all = written["found"].as_i64().unwrap_or(-1);
    wait_until("every record", SETTLE, || seen(&mut setup, "g").is_ok_and(|s| s.0 == all))
        .with_context(|| format!("{:?} of {all}", seen(&mut setup, "g")))?;
    for member in members {
        let state = setup.call(json!({"do": "member.stop", "member": member}))?;
        assert_eq!(state["error"], Value::Null);
    }
    let total: i64 = committed(&mut setup)?.values().sum();
    assert_eq!(total, all, "the commits end where the partitions end");
    Ok(())
}

/// Committed offsets of group `g` by partition.
fn committed(setup: &mut Setup) -> Result<BTreeMap<String, i64>> {
    let offsets = setup.call(json!({"do": "listConsumerGroupOffsets", "group": "g"}))?;
    let offsets = offsets.as_object().cloned().unwrap_or_default();
    Ok(offsets.into_iter().filter_map(|(p, o)| Some((p, o["offset"].as_i64()?))).collect())
}
