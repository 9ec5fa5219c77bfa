//! `group.consumer.migration.policy` with kafka-clients: who may join whose group, what is refused and how, and
//! what the group is afterwards. The same with random members is in crates/group/tests/it/migration.rs.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::Duration;

use anyhow::{Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{Kind, NodeOptions, wait_until};
use serde_json::{Value, json};

const SETTLE: Duration = Duration::from_secs(60);

/// What a policy allows.
struct Policy {
    name: &'static str,
    /// A consumer may join a classic group.
    upgrades: bool,
    /// A classic member may join a consumer group.
    mixes: bool,
    /// The group is a classic one again when its last consumer has left.
    downgrades: bool,
}

#[test]
fn bidirectional() -> Result<()> {
    check(&Policy { name: "bidirectional", upgrades: true, mixes: true, downgrades: true })
}

#[test]
fn upgrade() -> Result<()> {
    check(&Policy { name: "upgrade", upgrades: true, mixes: true, downgrades: false })
}

#[test]
fn downgrade() -> Result<()> {
    check(&Policy { name: "downgrade", upgrades: false, mixes: true, downgrades: true })
}

#[test]
fn disabled() -> Result<()> {
    check(&Policy { name: "disabled", upgrades: false, mixes: false, downgrades: false })
}

fn check(policy: &Policy) -> Result<()> {
    ensure_java!();
    let options = NodeOptions::default()
        .with("group.consumer.migration.policy", policy.name)
        .with("group.consumer.heartbeat.interval.ms", "300")
        .with("group.consumer.min.heartbeat.interval.ms", "300")
        .with("group.consumer.assignment.interval.ms", "0")
        .with("group.initial.rebalance.delay.ms", "100");
    let mut setup = Setup::with(options)?;
    setup.topic("t", 4)?;
    consumer_joins_classic_group(&mut setup, policy)?;
    classic_member_joins_consumer_group(&mut setup, policy)
}

fn consumer_joins_classic_group(setup: &mut Setup, policy: &Policy) -> Result<()> {
    join(setup, "old", "was-classic", "classic")?;
    setup.wait_for_balance(&["old"], 4)?;
    is_of_type(setup, "was-classic", "Classic")?;
    join(setup, "new", "was-classic", "consumer")?;
    if policy.upgrades {
        setup.wait_for_balance(&["old", "new"], 4)?;
        is_of_type(setup, "was-classic", "Consumer")?;
        stop(setup, "new")?;
        is_of_type(setup, "was-classic", if policy.downgrades { "Classic" } else { "Consumer" })?;
        if policy.downgrades || Kind::target() == Kind::Ottla {
            // Kafka leaves what the last consumer had with nobody if the group may not be downgraded.
            setup.wait_for_balance(&["old"], 4)?;
        }
    } else {
        setup.wait_for_refusal("new", "GroupIdNotFoundException")?;
        is_of_type(setup, "was-classic", "Classic")?;
        setup.wait_for_balance(&["old"], 4)?;
    }
    stop(setup, "old")
}

fn classic_member_joins_consumer_group(setup: &mut Setup, policy: &Policy) -> Result<()> {
    join(setup, "first", "was-consumer", "consumer")?;
    setup.wait_for_balance(&["first"], 4)?;
    is_of_type(setup, "was-consumer", "Consumer")?;
    join(setup, "second", "was-consumer", "classic")?;
    if !policy.mixes {
        setup.wait_for_refusal("second", "InconsistentGroupProtocolException")?;
        is_of_type(setup, "was-consumer", "Consumer")?;
        return setup.wait_for_balance(&["first"], 4);
    }
    setup.wait_for_balance(&["first", "second"], 4)?;
    is_of_type(setup, "was-consumer", "Consumer")?;
    stop(setup, "first")?;
    is_of_type(setup, "was-consumer", if policy.downgrades { "Classic" } else { "Consumer" })?;
    if policy.downgrades || Kind::target() == Kind::Ottla {
        setup.wait_for_balance(&["second"], 4)?;
    }
    // Without members it is nobody's: either protocol may have it, whatever the policy says.
    stop(setup, "second")?;
    join(setup, "static", "was-consumer", "classic")?;
    setup.wait_for_balance(&["static"], 4)?;
    is_of_type(setup, "was-consumer", "Classic")?;
    stop(setup, "static")
}

/// The member called `static` has a name of its own.
fn join(setup: &mut Setup, member: &str, group: &str, protocol: &str) -> Result<()> {
    let mut config = json!({"group.protocol": protocol, "retry.backoff.ms": "50"});
    if protocol == "classic" {
        config["heartbeat.interval.ms"] = json!("300");
        config["session.timeout.ms"] = json!("20000");
    }
    if member == "static" {
        config["group.instance.id"] = json!("static");
    }
    let start = json!({"do": "member.start", "member": member, "group": group, "topics": ["t"], "config": config});
    setup.call(start).map(drop)
}

fn stop(setup: &mut Setup, member: &str) -> Result<()> {
    let state = setup.call(json!({"do": "member.stop", "member": member}))?;
    ensure!(state["error"] == Value::Null, "{member}: {state}");
    Ok(())
}

fn is_of_type(setup: &mut Setup, group: &str, wanted: &str) -> Result<()> {
    let mut last = Value::Null;
    let found = wait_until("the type of the group", SETTLE, || {
        let groups = setup.call(json!({"do": "listGroups"})).unwrap_or_default();
        last = groups[group].clone();
        last["type"] == json!(wanted)
    });
    found.map_err(|e| e.context(format!("{group} {wanted}: {last}")))
}
