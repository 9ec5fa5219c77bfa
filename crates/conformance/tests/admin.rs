//! kafka-clients' admin calls: topics, configs, quotas, directories, the quorum.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use anyhow::{Result, ensure};
use ottla_conformance::{Setup, ensure_java};
use ottla_testkit::{NodeOptions, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(30);

#[test]
fn topics_are_created_described_grown_and_deleted() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::with(NodeOptions::default().with("num.partitions", "3"))?;
    let created = setup.call(json!({"do": "createTopics", "topic": "defaults"}))?;
    assert_eq!((&created["partitions"], &created["factor"]), (&json!(3), &json!(1)));
    ensure!(created["configs"].as_i64() > Some(20), "every config comes back: {created}");
    setup.call(
        json!({"do": "createTopics", "topic": "assigned", "assignment": {"0": [1], "1": [1]}}),
    )?;
    setup.call(json!({"do": "createTopics", "topic": "only-checked", "partitions": 2, "validate_only": true}))?;
    let names = setup.call(json!({"do": "listTopics"}))?;
    let mut names: Vec<String> = names
        .as_array()
        .into_iter()
        .flatten()
        .map(|n| n.as_str().unwrap_or_default().into())
        .collect();
    names.sort();
    assert_eq!(names, ["assigned", "defaults"]);
    let described = setup.call(json!({"do": "describeTopics", "topics": ["assigned"]}))?;
    let partition = &described["assigned"]["partitions"][1];
    assert_eq!(
        *partition,
        json!({"partition": 1, "leader": 1, "replicas": [1], "isr": [1], "elr": 0})
    );
    setup.call(json!({"do": "createPartitions", "topic": "assigned", "count": 5}))?;
    let described = setup.call(json!({"do": "describeTopics", "topics": ["assigned"]}))?;
    assert_eq!(described["assigned"]["partitions"].as_array().map(Vec::len), Some(5));
    setup.call(json!({"do": "deleteTopics", "topics": ["assigned"]}))?;
    wait_until("the topic to go", SETTLE, || {
        setup.driver.refused(&json!({"do": "describeTopics", "topics": ["assigned"]})).is_ok()
    })?;
    wait_until("its folders to go", Duration::from_secs(90), || {
        !setup.node.data().join("assigned-0").exists()
    })
}

#[test]
fn wrong_requests_get_kafkas_errors() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("there", 2)?;
    for (command, error) in [
        (json!({"do": "createTopics", "topic": "there"}), "TopicExistsException"),
        (json!({"do": "createTopics", "topic": "bad name"}), "InvalidTopicException"),
        (
            json!({"do": "createTopics", "topic": "x", "partitions": 0}),
            "InvalidPartitionsException",
        ),
        (
            json!({"do": "createTopics", "topic": "x", "partitions": 1, "factor": 3}),
            "InvalidReplicationFactorException",
        ),
        (
            json!({"do": "createTopics", "topic": "x", "assignment": {"0": [9]}}),
            "InvalidReplicaAssignmentException",
        ),
        (
            json!({"do": "createTopics", "topic": "x", "configs": {"retention.ms": "soon"}}),
            "InvalidConfigurationException",
        ),
        (
            json!({"do": "createTopics", "topic": "x", "configs": {"no.such.key": "1"}}),
            "InvalidConfigurationException",
        ),
        (
            json!({"do": "createPartitions", "topic": "there", "count": 1}),
            "InvalidPartitionsException",
        ),
        (
            json!({"do": "createPartitions", "topic": "gone", "count": 4}),
            "UnknownTopicOrPartitionException",
        ),
        (json!({"do": "deleteTopics", "topics": ["gone"]}), "UnknownTopicOrPartitionException"),
        (json!({"do": "describeTopics", "topics": ["gone"]}), "UnknownTopicOrPartitionException"),
        (
            json!({"do": "deleteRecords", "topic": "there", "partition": 0, "before": 5}),
            "OffsetOutOfRangeException",
        ),
        (
            json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "there", "ops": [["SET", "retention.ms", "x"]]}),
            "InvalidConfigurationException",
        ),
        (
            json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "gone", "ops": [["SET", "retention.ms", "1"]]}),
            "UnknownTopicOrPartitionException",
        ),
        (
            json!({"do": "describeConfigs", "type": "TOPIC", "name": "gone"}),
            "UnknownTopicOrPartitionException",
        ),
        (json!({"do": "unregisterBroker", "broker": 77}), "BrokerIdNotRegisteredException"),
    ] {
        let refused = setup.driver.refused(&command)?;
        assert_eq!(refused.error, error, "{command}: {}", refused.message);
    }
    Ok(())
}

#[test]
fn configs_have_values_sources_and_synonyms() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::with(NodeOptions::default().with("log.retention.hours", "48"))?;
    setup.topic("t", 1)?;
    let describe = json!({"do": "describeConfigs", "type": "TOPIC", "name": "t"});
    let configs = setup.call(describe.clone())?;
    let retention = &configs["retention.ms"];
    assert_eq!((&retention["value"], &retention["type"]), (&json!("172800000"), &json!("LONG")));
    assert_eq!(retention["documented"], json!(true));
    assert_eq!(configs["cleanup.policy"]["source"], json!("DEFAULT_CONFIG"));
    let ops = json!([["SET", "retention.ms", "1000000"], ["APPEND", "cleanup.policy", "compact"]]);
    setup
        .call(json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "t", "ops": ops}))?;
    let configs = setup.call(describe.clone())?;
    let retention = &configs["retention.ms"];
    assert_eq!(
        (&retention["value"], &retention["source"]),
        (&json!("1000000"), &json!("DYNAMIC_TOPIC_CONFIG"))
    );
    assert_eq!(configs["cleanup.policy"]["value"], json!("delete,compact"));
    let ops = json!([["DELETE", "retention.ms"], ["SUBTRACT", "cleanup.policy", "compact"]]);
    setup
        .call(json!({"do": "incrementalAlterConfigs", "type": "TOPIC", "name": "t", "ops": ops}))?;
    let configs = setup.call(describe)?;
    assert_eq!(configs["retention.ms"]["value"], json!("172800000"));
    assert_eq!(configs["cleanup.policy"]["value"], json!("delete"));
    Ok(())
}

#[test]
fn broker_configs_change_without_a_restart() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let describe = |name: &str| json!({"do": "describeConfigs", "type": "BROKER", "name": name});
    let configs = setup.call(describe("1"))?;
    assert_eq!(configs["node.id"]["source"], json!("STATIC_BROKER_CONFIG"));
    assert_eq!(configs["node.id"]["read_only"], json!(true));
    for key in [
        "num.partitions",
        "default.replication.factor",
        "delete.topic.enable",
        "log.retention.ms",
        "log.dirs",
    ] {
        ensure!(configs.get(key).is_some(), "{key} is missing");
    }
    // Cluster-wide default, then the broker's own value above it.
    setup.call(json!({"do": "incrementalAlterConfigs", "type": "BROKER", "name": "", "ops": [["SET", "log.retention.ms", "500000"]]}))?;
    setup.topic("t", 1)?;
    wait_until("the cluster's default", SETTLE, || {
        let configs = setup
            .call(json!({"do": "describeConfigs", "type": "TOPIC", "name": "t"}))
            .unwrap_or_default();
        configs["retention.ms"]["value"] == json!("500000")
            && configs["retention.ms"]["source"] == json!("DYNAMIC_DEFAULT_BROKER_CONFIG")
    })?;
    setup.call(json!({"do": "incrementalAlterConfigs", "type": "BROKER", "name": "1", "ops": [["SET", "log.retention.ms", "600000"]]}))?;
    wait_until("the broker's own", SETTLE, || {
        let configs = setup.call(describe("1")).unwrap_or_default();
        configs["log.retention.ms"]["value"] == json!("600000")
    })?;
    let configs = setup.call(describe("1"))?;
    let synonyms = configs["log.retention.ms"]["synonyms"].to_string();
    ensure!(
        synonyms.contains("600000 DYNAMIC_BROKER_CONFIG")
            && synonyms.contains("500000 DYNAMIC_DEFAULT_BROKER_CONFIG"),
        "{synonyms}"
    );
    let refused = setup.driver.refused(&json!({"do": "incrementalAlterConfigs", "type": "BROKER", "name": "1", "ops": [["SET", "node.id", "9"]]}))?;
    assert_eq!(refused.error, "InvalidRequestException", "{}", refused.message);
    let loggers =
        setup.call(json!({"do": "describeConfigs", "type": "BROKER_LOGGER", "name": "1"}))?;
    ensure!(loggers.as_object().is_some_and(|l| !l.is_empty()), "{loggers}");
    Ok(())
}

#[test]
fn group_configs_and_resources_are_listed() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    setup.call(json!({"do": "incrementalAlterConfigs", "type": "GROUP", "name": "g", "ops": [["SET", "consumer.session.timeout.ms", "50000"]]}))?;
    let configs = setup.call(json!({"do": "describeConfigs", "type": "GROUP", "name": "g"}))?;
    assert_eq!(configs["consumer.session.timeout.ms"]["value"], json!("50000"));
    let listed = setup.call(json!({"do": "listConfigResources", "types": ["GROUP", "TOPIC"]}))?;
    assert_eq!(listed, json!(["GROUP g", "TOPIC t"]));
    Ok(())
}

#[test]
fn quotas_are_stored() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let entity = json!({"client-id": "someone"});
    setup.call(
        json!({"do": "alterClientQuotas", "entity": entity, "ops": {"producer_byte_rate": 1024.0}}),
    )?;
    setup.call(json!({"do": "alterClientQuotas", "entity": {"client-id": null}, "ops": {"consumer_byte_rate": 2048.0}}))?;
    let mut stored = Value::Null;
    wait_until("the quotas", SETTLE, || {
        stored = setup.call(json!({"do": "describeClientQuotas"})).unwrap_or_default();
        stored.as_object().is_some_and(|s| s.len() == 2)
    })?;
    assert_eq!(stored["{client-id=someone}"], json!({"producer_byte_rate": 1024.0}));
    assert_eq!(stored["{client-id=null}"], json!({"consumer_byte_rate": 2048.0}));
    setup.call(
        json!({"do": "alterClientQuotas", "entity": entity, "ops": {"producer_byte_rate": null}}),
    )?;
    wait_until("one less", SETTLE, || {
        let stored = setup.call(json!({"do": "describeClientQuotas"})).unwrap_or_default();
        stored.as_object().is_some_and(|s| s.len() == 1)
    })?;
    let refused = setup.driver.refused(
        &json!({"do": "alterClientQuotas", "entity": entity, "ops": {"no_such_quota": 1.0}}),
    )?;
    assert_eq!(refused.error, "InvalidRequestException");
    Ok(())
}

#[test]
fn offsets_are_found_by_time_and_by_name() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    let records = json!([{"value": "a", "timestamp": 1000}, {"value": "b", "timestamp": 5000}, {"value": "c", "timestamp": 3000}]);
    setup.call(
        json!({"do": "produce", "topic": "t", "records": records, "config": {"linger.ms": "100"}}),
    )?;
    for (spec, offset, timestamp) in [
        (json!("earliest"), 0, -1),
        (json!("latest"), 3, -1),
        (json!("max_timestamp"), 1, 5000),
        (json!("earliest_local"), 0, -1),
        (json!(0), 0, 1000),
        (json!(1001), 1, 5000),
        (json!(5001), -1, -1),
    ] {
        let found =
            setup.call(json!({"do": "listOffsets", "topic": "t", "partition": 0, "spec": spec}))?;
        assert_eq!(
            (&found["offset"], &found["timestamp"]),
            (&json!(offset), &json!(timestamp)),
            "{spec}"
        );
    }
    let low =
        setup.call(json!({"do": "deleteRecords", "topic": "t", "partition": 0, "before": 2}))?;
    assert_eq!(low["low_watermark"], json!(2));
    let found = setup
        .call(json!({"do": "listOffsets", "topic": "t", "partition": 0, "spec": "earliest"}))?;
    assert_eq!(found["offset"], json!(2));
    let all =
        setup.call(json!({"do": "deleteRecords", "topic": "t", "partition": 0, "before": -1}))?;
    assert_eq!(all["low_watermark"], json!(3));
    Ok(())
}

#[test]
fn the_cluster_describes_itself() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    let cluster = setup.call(json!({"do": "describeCluster"}))?;
    assert_eq!(
        (&cluster["cluster_id"], &cluster["controller"]),
        (&json!("b3R0bGEtdGVzdC1jbHVzdA"), &json!(1))
    );
    assert_eq!(
        cluster["nodes"],
        json!([{"id": 1, "address": setup.node.bootstrap(), "fenced": false}])
    );
    let quorum = setup.call(json!({"do": "describeMetadataQuorum"}))?;
    assert_eq!((&quorum["leader"], &quorum["voters"]), (&json!(1), &json!([1])));
    ensure!(
        quorum["high_watermark"].as_i64() > Some(0) && quorum["epoch"].as_i64() > Some(0),
        "{quorum}"
    );
    let features = setup.call(json!({"do": "describeFeatures"}))?;
    let finalized = &features["finalized"];
    assert_eq!(finalized["metadata.version"], json!(30));
    assert_eq!(
        (&finalized["group.version"], &finalized["transaction.version"]),
        (&json!(1), &json!(2))
    );
    let refused = setup
        .driver
        .refused(&json!({"do": "updateFeatures", "feature": "metadata.version", "level": 300}))?;
    assert_eq!(refused.error, "InvalidUpdateVersionException", "{}", refused.message);
    let leaders =
        setup.driver.attempt(&json!({"do": "electLeaders", "topic": "nothing", "partition": 0}))?;
    assert_eq!(
        leaders.map_err(|r| r.error),
        Ok(json!({"nothing-0": "UnknownTopicOrPartitionException"}))
    );
    Ok(())
}

#[test]
fn a_leader_that_is_preferred_needs_no_election() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    for kind in ["PREFERRED", "UNCLEAN"] {
        let elected = setup
            .call(json!({"do": "electLeaders", "topic": "t", "partition": 0, "type": kind}))?;
        assert_eq!(elected, json!({"t-0": "ElectionNotNeededException"}));
    }
    Ok(())
}

#[test]
fn producers_of_a_partition_are_listed() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    for _ in 0..2 {
        setup.call(json!({"do": "produce", "topic": "t", "generate": {"count": 3, "size": 10}}))?;
    }
    let producers = setup.call(json!({"do": "describeProducers", "topic": "t", "partition": 0}))?;
    let list = producers.as_array().cloned().unwrap_or_default();
    assert_eq!(list.len(), 2, "{producers}");
    for producer in &list {
        assert_eq!(
            (&producer["epoch"], &producer["last_sequence"], &producer["transaction_start"]),
            (&json!(0), &json!(2), &json!(-1))
        );
    }
    assert_ne!(list[0]["producer_id"], list[1]["producer_id"]);
    Ok(())
}

#[test]
fn directories_are_described() -> Result<()> {
    ensure_java!();
    let folder = ottla_testkit::Folder::new("dirs")?;
    let dirs = [
        folder.path().join("one").display().to_string(),
        folder.path().join("two").display().to_string(),
    ];
    let mut setup = Setup::with(NodeOptions::default().with("log.dirs", &dirs.join(",")))?;
    setup.topic("t", 1)?;
    setup.call(json!({"do": "produce", "topic": "t", "generate": {"count": 100, "size": 100}}))?;
    let home = |setup: &mut Setup| -> Result<Vec<String>> {
        let described = setup.call(json!({"do": "describeLogDirs"}))?;
        let list = described.as_array().cloned().unwrap_or_default();
        assert_eq!(list.len(), 2);
        let with = list.iter().filter(|d| d["replicas"]["t-0"].as_i64() > Some(0));
        Ok(with.map(|d| d["path"].as_str().unwrap_or_default().to_string()).collect())
    };
    let before = home(&mut setup)?;
    assert_eq!(before.len(), 1);
    // Where it lies already it stays; that is no error.
    let stay = before[0].clone();
    setup.call(json!({"do": "alterReplicaLogDirs", "topic": "t", "partition": 0, "path": stay}))?;
    assert_eq!(home(&mut setup)?, before);
    let seen = setup.call(json!({"do": "consume", "topic": "t", "count": 100, "brief": true}))?;
    assert_eq!(seen["count"], json!(100));
    Ok(())
}
