//! Groups, as programs use them that are no consumers: opaque bytes, many members at once, names of any kind.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use ottla_conformance::script::Side;
use ottla_conformance::{ensure_java, run_tool};
use ottla_testkit::NodeOptions;
use serde_json::{Value as Json, json};

use crate::{World, ask};

/// Waits for the coordinator, as clients do: its topic is made when somebody looks for it.
fn coordinator(world: &mut World) -> Result<()> {
    world.ask("FindCoordinator 3 {\"keyType\": 0, \"key\": \"g\"}\n  until errorCode = 0").map(drop)
}

/// A member that joins and syncs on a connection of its own.
struct Member {
    side: Side,
    group: String,
    kind: &'static str,
    id: String,
}

impl Member {
    fn new(world: &World, group: &str, kind: &'static str) -> Result<Self> {
        let side = Side::connect(&world.node)?;
        Ok(Self { side, group: group.into(), kind, id: String::new() })
    }

    /// With the round trip for its id (KIP-394).
    fn join(&mut self, metadata: &str) -> Result<Json> {
        for _ in 0..1000 {
            let (group, kind, id) = (json!(self.group), self.kind, &self.id);
            let answer = ask(
                &mut self.side,
                &format!(
                    r#"JoinGroup 5 {{"groupId": {group}, "sessionTimeoutMs": 30000, "rebalanceTimeoutMs": 30000, "memberId": "{id}", "protocolType": "{kind}", "protocols": [{{"name": "v0", "metadata": "{metadata}"}}]}}"#
                ),
            )?;
            self.id = answer["memberId"].as_str().unwrap_or_default().into();
            match answer["errorCode"].as_i64() {
                Some(0) => return Ok(answer),
                // MEMBER_ID_REQUIRED, and the coordinator may not be there yet.
                Some(79 | 14 | 15 | 16) => {}
                _ => anyhow::bail!("{answer}"),
            }
        }
        anyhow::bail!("{} is never let in", self.group)
    }

    /// `given` are pairs of member and bytes.
    fn sync(&mut self, generation: &Json, given: &[(String, &str)]) -> Result<Json> {
        let given: Vec<Json> =
            given.iter().map(|(id, bytes)| json!({"memberId": id, "assignment": bytes})).collect();
        let request = json!({"groupId": self.group, "generationId": generation, "memberId": self.id, "assignments": given});
        ask(&mut self.side, &format!("SyncGroup 3 {request}"))
    }
}

/// Members of `connect`, `sr` and others say in their metadata what only they understand, and so do their
/// leaders in assignments: nothing is read, and each gets its own, also if that is empty.
#[test]
fn what_members_say_is_opaque_and_each_gets_its_own() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    coordinator(&mut world)?;
    for kind in ["sr", "connect", "stream", "consumer"] {
        let group = format!("g-{kind}");
        let mut leader = Member::new(&world, &group, kind)?;
        let first = leader.join("ffff00fe")?;
        let mut other = Member::new(&world, &group, kind)?;
        // It waits for the first one, which joins again when it is told to.
        let waiter = std::thread::spawn(move || (other.join("00"), other));
        let beat =
            json!({"groupId": group, "generationId": first["generationId"], "memberId": leader.id});
        let told = format!("Heartbeat 3 {beat}\n  until errorCode = 27");
        leader.sync(&first["generationId"], &[])?;
        ask(&mut leader.side, &told)?;
        let joined = leader.join("ffff00fe")?;
        let (second, mut other) = waiter.join().ok().context("it panicked")?;
        second?;
        let said: BTreeSet<&str> = joined["members"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|m| m["metadata"].as_str())
            .collect();
        ensure!(said == BTreeSet::from(["00", "ffff00fe"]), "{kind}: {joined}");
        let generation = joined["generationId"].clone();
        let pairs = [(leader.id.clone(), "deadbeef"), (other.id.clone(), "")];
        let own = leader.sync(&generation, &pairs)?;
        ensure!(
            (&own["errorCode"], &own["assignment"]) == (&json!(0), &json!("deadbeef")),
            "{own}"
        );
        let empty = other.sync(&generation, &[])?;
        ensure!((&empty["errorCode"], &empty["assignment"]) == (&json!(0), &json!("")), "{empty}");
    }
    Ok(())
}

/// Nobody becomes unknown because others join meanwhile.
#[test]
fn members_that_join_at_once_are_in_one_generation() -> Result<()> {
    let options = NodeOptions::default().with("group.initial.rebalance.delay.ms", "3000");
    let mut world = World::with(options)?;
    world.topic("t", 1, "")?;
    coordinator(&mut world)?;
    let join = |_| -> Result<_> {
        let mut member = Member::new(&world, "g", "consumer")?;
        Ok(std::thread::spawn(move || member.join("00").map(|joined| (member, joined))))
    };
    let threads: Vec<_> = (0..8).map(join).collect::<Result<_>>()?;
    let mut members = Vec::new();
    for thread in threads {
        members.push(thread.join().ok().context("it panicked")??);
    }
    let generations: BTreeSet<String> =
        members.iter().map(|(_, joined)| joined["generationId"].to_string()).collect();
    ensure!(generations.len() == 1, "{generations:?}");
    let leads = |(member, joined): &&(Member, Json)| joined["leader"] == json!(member.id);
    let leaders: Vec<_> = members.iter().filter(leads).collect();
    ensure!(leaders.len() == 1, "{} leaders", leaders.len());
    ensure!(leaders[0].1["members"].as_array().map(Vec::len) == Some(8), "{}", leaders[0].1);
    let generation = members[0].1["generationId"].clone();
    for (member, _) in &mut members {
        let beat = json!({"groupId": "g", "generationId": generation, "memberId": member.id});
        let alive = ask(&mut member.side, &format!("Heartbeat 3 {beat}"))?;
        ensure!(alive["errorCode"] == 0, "{alive}");
    }
    Ok(())
}

#[test]
fn commits_come_back_with_metadata_and_epoch() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 3, "")?;
    coordinator(&mut world)?;
    let commit = |group: &str, offset: u32| {
        format!(
            "OffsetCommit 8 {{\"groupId\": \"{group}\", \"generationIdOrMemberEpoch\": -1, \"memberId\": \"\", \"topics\": [{{\"name\": \"t\", \"partitions\": [{{\"partitionIndex\": 0, \"committedOffset\": {offset}, \"committedLeaderEpoch\": 7, \"committedMetadata\": \"\u{00fc}ber {group}\"}}, {{\"partitionIndex\": 1, \"committedOffset\": 0, \"committedMetadata\": null}}]}}]}}\n  until topics[0].partitions[0].errorCode = 0"
        )
    };
    for (group, offset) in [("one", 11), ("two", 22)] {
        world.ask(&commit(group, offset))?;
    }
    // Many groups in one request (version 8), one of them unknown.
    let answer = world.ask(r#"OffsetFetch 8 {"requireStable": true, "groups": [{"groupId": "one", "topics": [{"name": "t", "partitionIndexes": [0, 1, 2]}]}, {"groupId": "two", "topics": null}, {"groupId": "nobody", "topics": [{"name": "t", "partitionIndexes": [0]}]}]}"#)?;
    let group = |name: &str| {
        let groups = answer["groups"].as_array().into_iter().flatten();
        groups.clone().find(|group| group["groupId"] == json!(name)).cloned().unwrap_or_default()
    };
    let partition = |name: &str, index: u32| {
        let group = group(name);
        let all = group["topics"][0]["partitions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|p| p["partitionIndex"] == json!(index));
        let p = found.unwrap_or_default();
        json!([p["committedOffset"], p["committedLeaderEpoch"], p["metadata"], p["errorCode"]])
    };
    assert_eq!(partition("one", 0), json!([11, 7, "\u{fc}ber one", 0]));
    assert_eq!(partition("one", 1), json!([0, -1, "", 0]));
    assert_eq!(partition("one", 2), json!([-1, -1, "", 0]), "never committed, and no error");
    assert_eq!(partition("two", 0), json!([22, 7, "\u{fc}ber two", 0]));
    assert_eq!(partition("nobody", 0), json!([-1, -1, "", 0]));
    assert_eq!(group("nobody")["errorCode"], 0);
    Ok(())
}

/// Group and client ids are whatever text; the empty one is refused where members join.
#[test]
fn group_names_may_be_any_text() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    coordinator(&mut world)?;
    let long = "n".repeat(30_000);
    let names =
        ["with space", "a/b\\c", "..", "quote\"s", "line\nbreak", "\u{1F980}\u{0}nul", " ", &long];
    for name in names {
        let request = json!({"groupId": name, "generationIdOrMemberEpoch": -1, "memberId": "", "topics": [{"name": "t", "partitions": [{"partitionIndex": 0, "committedOffset": 1}]}]});
        world.ask(&format!(
            "OffsetCommit 8 {request}\n  until topics[0].partitions[0].errorCode = 0"
        ))?;
        let mut member = Member::new(&world, name, "consumer")?;
        member.join("00").with_context(|| name.chars().take(20).collect::<String>())?;
    }
    let check = |world: &mut World| -> Result<()> {
        let listed = world.ask("ListGroups 4 {}\n  until errorCode = 0")?;
        let listed: BTreeSet<&str> = listed["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|g| g["groupId"].as_str())
            .collect();
        ensure!(names.iter().all(|name| listed.contains(name)), "{listed:?}");
        Ok(())
    };
    check(&mut world)?;
    let empty = ask(
        &mut world.side,
        r#"JoinGroup 5 {"groupId": "", "sessionTimeoutMs": 30000, "rebalanceTimeoutMs": 30000, "memberId": "", "protocolType": "consumer", "protocols": [{"name": "v0", "metadata": "00"}]}"#,
    )?;
    ensure!(empty["errorCode"] == 24, "INVALID_GROUP_ID: {empty}");
    world.node.kill9()?;
    world.node.restart()?;
    world.side = Side::connect(&world.node)?;
    coordinator(&mut world)?;
    check(&mut world)
}

/// Burrow, kminion and others read commits where Kafka keeps them.
#[test]
fn commits_are_records_that_kafkas_formatter_reads() -> Result<()> {
    ensure_java!();
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    coordinator(&mut world)?;
    world.ask("OffsetCommit 8 {\"groupId\": \"g\", \"generationIdOrMemberEpoch\": -1, \"memberId\": \"\", \"topics\": [{\"name\": \"t\", \"partitions\": [{\"partitionIndex\": 0, \"committedOffset\": 5, \"committedLeaderEpoch\": 2, \"committedMetadata\": \"m\"}]}]}\n  until topics[0].partitions[0].errorCode = 0")?;
    let described = world.ask(r#"DescribeConfigs 4 {"resources": [{"resourceType": 2, "resourceName": "__consumer_offsets", "configurationKeys": ["cleanup.policy"]}]}"#)?;
    ensure!(described["results"][0]["configs"][0]["value"] == "compact", "{described}");
    let printed = run_tool(
        "kafka-console-consumer",
        &[
            "--bootstrap-server",
            world.node.bootstrap(),
            "--topic",
            "__consumer_offsets",
            // That of the group; elsewhere is what this consumer's own group writes.
            "--partition",
            "3",
            "--offset",
            "earliest",
            "--max-messages",
            "1",
            "--timeout-ms",
            "40000",
            "--formatter",
            "org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
        ],
        "",
    )?;
    let record: Json = serde_json::from_str(printed.stdout.trim())
        .with_context(|| format!("{}{}", printed.stdout, printed.stderr))?;
    let key = json!({"type": 1, "data": {"group": "g", "topic": "t", "partition": 0}});
    let own = |part: &Json| json!({"type": part.get("type").or_else(|| part.get("version")), "data": part["data"]});
    ensure!(own(&record["key"]) == key, "{record}");
    let version = record["value"]["version"].as_i64();
    ensure!(matches!(version, Some(3 | 4)), "{record}");
    let value = &record["value"]["data"];
    let read = json!([value["offset"], value["leaderEpoch"], value["metadata"]]);
    ensure!(read == json!([5, 2, "m"]), "{record}");
    Ok(())
}
