//! What user interfaces, Connect, Streams and others ask before they do anything.

use anyhow::{Context, Result, ensure};
use ottla_conformance::{ensure_java, run_tool};
use ottla_testkit::NodeOptions;
use serde_json::{Value as Json, json};

use crate::World;

/// Materialize, Debezium, Kafbat and others look these up on a broker.
#[test]
fn broker_configs_have_what_programs_look_up() -> Result<()> {
    let mut world = World::with(NodeOptions::default().with("num.partitions", "3"))?;
    let answer = world.ask(r#"DescribeConfigs 4 {"resources": [{"resourceType": 4, "resourceName": "1"}], "includeSynonyms": true, "includeDocumentation": true}"#)?;
    let configs = answer["results"][0]["configs"].as_array().cloned().context("configs")?;
    let value = |name: &str| {
        let found = configs.iter().find(|config| config["name"] == json!(name));
        found.map(|config| config["value"].clone())
    };
    let expected = [
        ("num.partitions", "3"),
        ("default.replication.factor", "1"),
        ("delete.topic.enable", "true"),
        ("auto.create.topics.enable", "true"),
        ("log.retention.hours", "168"),
        ("log.retention.bytes", "-1"),
        ("log.cleanup.policy", "delete"),
        ("message.max.bytes", "1048588"),
        ("min.insync.replicas", "1"),
        ("compression.type", "producer"),
    ];
    for (name, wanted) in expected {
        ensure!(value(name) == Some(json!(wanted)), "{name}: {:?}", value(name));
    }
    // Kafka does not know what these are.
    let of_kafka =
        |config: &&Json| !config["name"].as_str().is_some_and(|n| n.starts_with("ottla."));
    for config in configs.iter().filter(of_kafka) {
        let kinds = [&config["configSource"], &config["configType"], &config["isSensitive"]];
        ensure!(kinds.iter().all(|kind| !kind.is_null()), "{config}");
        ensure!(config["configType"] != 0, "a type that is unknown: {config}");
    }
    Ok(())
}

#[test]
fn every_config_of_a_topic_is_described() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, r#"{"name": "retention.ms", "value": "777"}"#)?;
    let answer = world.ask(r#"DescribeConfigs 4 {"resources": [{"resourceType": 2, "resourceName": "t"}], "includeSynonyms": true, "includeDocumentation": true}"#)?;
    let configs = answer["results"][0]["configs"].as_array().cloned().context("configs")?;
    ensure!(configs.len() >= 30, "{}", configs.len());
    for config in &configs {
        let own = config["name"] == "retention.ms";
        // DYNAMIC_TOPIC_CONFIG, or a default.
        ensure!((config["configSource"] == 1) == own, "{config}");
        ensure!(config["documentation"].as_str().is_some_and(|text| !text.is_empty()), "{config}");
        ensure!(!own || config["value"] == "777", "{config}");
    }
    Ok(())
}

/// KIP-464: -1 asks for the broker's own numbers. Nothing is made by `validateOnly`, and what is made is there.
#[test]
fn topics_take_the_brokers_defaults() -> Result<()> {
    let mut world = World::with(NodeOptions::default().with("num.partitions", "4"))?;
    let request = |name: &str, validate: bool| {
        format!(
            r#"CreateTopics 7 {{"topics": [{{"name": "{name}", "numPartitions": -1, "replicationFactor": -1}}], "timeoutMs": 20000, "validateOnly": {validate}}}"#
        )
    };
    let numbers = |answer: &Json| {
        let topic = &answer["topics"][0];
        json!([topic["errorCode"], topic["numPartitions"], topic["replicationFactor"]])
    };
    let tried = world.ask(&request("t", true))?;
    ensure!(numbers(&tried) == json!([0, 4, 1]), "{tried}");
    let made = world.ask(&request("t", false))?;
    ensure!(numbers(&made) == json!([0, 4, 1]), "{made}");
    ensure!(made["topics"][0]["configs"].as_array().is_some_and(|c| c.len() >= 30), "{made}");
    let metadata = world
        .ask("Metadata 12 {\"topics\": [{\"name\": \"t\"}]}\n  until topics[0].errorCode = 0")?;
    ensure!(metadata["topics"][0]["partitions"].as_array().map(Vec::len) == Some(4), "{metadata}");
    let again = world.ask(&request("t", false))?;
    let why = again["topics"][0]["errorMessage"].as_str().unwrap_or_default();
    ensure!(again["topics"][0]["errorCode"] == 36 && why.contains('t'), "{again}");
    let many = world.ask(r#"CreateTopics 7 {"topics": [{"name": "many", "numPartitions": 1, "replicationFactor": 5}, {"name": "fine", "numPartitions": 1, "replicationFactor": 1}], "timeoutMs": 20000}"#)?;
    let code = |name: &str| {
        let topics = many["topics"].as_array().into_iter().flatten();
        topics.clone().find(|t| t["name"] == json!(name)).map(|t| t["errorCode"].clone())
    };
    ensure!((code("many"), code("fine")) == (Some(json!(38)), Some(json!(0))), "{many}");
    Ok(())
}

#[test]
fn configs_are_appended_to_and_subtracted_from() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let change = |world: &mut World, operation: u8, value: &str| -> Result<Json> {
        let answer = world.ask(&format!(r#"IncrementalAlterConfigs 1 {{"resources": [{{"resourceType": 2, "resourceName": "t", "configs": [{{"name": "cleanup.policy", "configOperation": {operation}, "value": "{value}"}}]}}]}}"#))?;
        Ok(answer["responses"][0]["errorCode"].clone())
    };
    let is = |world: &mut World, wanted: &str| {
        world.ask(&format!("DescribeConfigs 4 {{\"resources\": [{{\"resourceType\": 2, \"resourceName\": \"t\", \"configurationKeys\": [\"cleanup.policy\"]}}]}}\n  until results[0].configs[0].value = \"{wanted}\""))
    };
    assert_eq!(change(&mut world, 2, "compact")?, 0);
    is(&mut world, "delete,compact")?;
    assert_eq!(change(&mut world, 2, "compact")?, 0, "a second time");
    is(&mut world, "delete,compact")?;
    assert_eq!(change(&mut world, 3, "delete")?, 0);
    is(&mut world, "compact")?;
    assert_eq!(change(&mut world, 3, "delete")?, 0, "what is not in it");
    is(&mut world, "compact")?;
    Ok(())
}

#[test]
fn topic_names_have_up_to_249_characters() -> Result<()> {
    let mut world = World::start()?;
    let longest = "n".repeat(249);
    world.topic(&longest, 1, "")?;
    ensure!(world.produce(&longest, "batch:")?["errorCode"] == 0);
    for bad in [&format!("{longest}n") as &str, "", ".", "..", "a b", "\u{fc}", "a/b", "a\u{0}"] {
        let topic = json!({"topics": [{"name": bad, "numPartitions": 1, "replicationFactor": 1}], "timeoutMs": 20000});
        let refused = world.ask(&format!("CreateTopics 7 {topic}"))?;
        ensure!(refused["topics"][0]["errorCode"] == 17, "{bad:?}: {refused}");
        // Nor is it made because somebody asks for it.
        let asked = json!({"topics": [{"name": bad}], "allowAutoTopicCreation": true});
        let metadata = world.ask(&format!("Metadata 9 {asked}"))?;
        ensure!(metadata["topics"][0]["errorCode"] == 17, "{bad:?}: {metadata}");
    }
    Ok(())
}

/// Whole pages of AKHQ, Kpow and others fail if one broker does not answer.
#[test]
fn log_dirs_are_described_in_every_version() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 2, "")?;
    world.produce("t", "batch:size=5000")?;
    for version in 1..=4 {
        let answer = world.ask(&format!(r#"DescribeLogDirs {version} {{"topics": null}}"#))?;
        let dirs = answer["results"].as_array().cloned().context("directories")?;
        ensure!(dirs.len() == 1 && dirs[0]["errorCode"] == 0, "{answer}");
        let topics = dirs[0]["topics"].as_array().cloned().unwrap_or_default();
        let own = topics.iter().find(|t| t["name"] == "t").context("the topic")?;
        let size = |index: i64| {
            let partitions = own["partitions"].as_array().into_iter().flatten();
            let mut found = partitions.filter(|p| p["partitionIndex"] == json!(index));
            found.next().and_then(|p| p["partitionSize"].as_i64())
        };
        ensure!(size(0).is_some_and(|size| size > 5000) && size(1) == Some(0), "{answer}");
        if version == 4 {
            let bytes = |name: &str| dirs[0][name].as_i64().unwrap_or(-1);
            ensure!(bytes("totalBytes") >= bytes("usableBytes"), "{answer}");
            ensure!(bytes("usableBytes") > 0, "{answer}");
        }
        let missing = format!(
            r#"DescribeLogDirs {version} {{"topics": [{{"topic": "missing", "partitions": [0]}}]}}"#
        );
        let answer = world.ask(&missing)?;
        ensure!(answer["results"][0]["errorCode"] == 0, "{answer}");
        ensure!(answer["results"][0]["topics"] == json!([]), "{answer}");
    }
    Ok(())
}

/// Not an empty list, and not a closed connection: interfaces ask this to learn whether there are ACLs.
#[test]
fn acls_without_an_authorizer_are_disabled() -> Result<()> {
    ensure_java!();
    let mut world = World::start()?;
    let any = r#""resourceTypeFilter": 1, "resourceNameFilter": null, "patternTypeFilter": 1, "principalFilter": null, "hostFilter": null, "operation": 1, "permissionType": 1"#;
    let described = world.ask(&format!("DescribeAcls 3 {{{any}}}"))?;
    ensure!(described["errorCode"] == 54 && described["resources"] == json!([]), "{described}");
    let deleted = world.ask(&format!("DeleteAcls 3 {{\"filters\": [{{{any}}}, {{{any}}}]}}"))?;
    let each = |answer: &Json, list: &str| {
        let all = answer[list].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["errorCode"].clone()).collect::<Json>()
    };
    ensure!(each(&deleted, "filterResults") == json!([54, 54]), "{deleted}");
    let created = world.ask(r#"CreateAcls 3 {"creations": [{"resourceType": 2, "resourceName": "t", "resourcePatternType": 3, "principal": "User:u", "host": "*", "operation": 3, "permissionType": 3}]}"#)?;
    ensure!(each(&created, "results") == json!([54]), "{created}");
    let tool =
        run_tool("kafka-acls", &["--bootstrap-server", world.node.bootstrap(), "--list"], "")?;
    let said = format!("{}{}", tool.stdout, tool.stderr);
    ensure!(said.contains("SecurityDisabledException: No Authorizer is configured"), "{said}");
    Ok(())
}

#[test]
fn the_cluster_names_its_controller_and_its_version() -> Result<()> {
    let mut world = World::start()?;
    let cluster = world.ask(r#"DescribeCluster 1 {"includeClusterAuthorizedOperations": true}"#)?;
    ensure!(cluster["controllerId"] == 1 && cluster["brokers"][0]["brokerId"] == 1, "{cluster}");
    // Without an authorizer everything is allowed; -2147483648 would say that nobody asked.
    ensure!(
        cluster["clusterAuthorizedOperations"].as_i64().is_some_and(|bits| bits > 0),
        "{cluster}"
    );
    let id = cluster["clusterId"].as_str().unwrap_or_default().to_string();
    ensure!(id.len() == 22, "{cluster}");
    for version in 1..=12 {
        let metadata = world.ask(&format!("Metadata {version} {{\"topics\": []}}"))?;
        ensure!(metadata["controllerId"] == 1, "{metadata}");
        ensure!(version < 2 || metadata["clusterId"] == json!(id), "{metadata}");
    }
    let versions = world
        .ask(r#"ApiVersions 3 {"clientSoftwareName": "habits", "clientSoftwareVersion": "1"}"#)?;
    let features = versions["finalizedFeatures"].as_array().cloned().unwrap_or_default();
    let metadata = features.iter().find(|feature| feature["name"] == "metadata.version");
    ensure!(metadata.is_some_and(|f| f["maxVersionLevel"].as_i64() >= Some(25)), "{versions}");
    Ok(())
}

/// What Kafbat, Console, Cruise Control and rpk ask beside; what is not offered yet is not listed either.
#[test]
fn calls_of_user_interfaces_are_answered() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let requests = [
        (
            r#"ElectLeaders 2 {"electionType": 0, "topicPartitions": null, "timeoutMs": 20000}"#,
            "errorCode",
        ),
        (
            r#"DescribeQuorum 2 {"topics": [{"topicName": "__cluster_metadata", "partitions": [{"partitionIndex": 0}]}]}"#,
            "errorCode",
        ),
        (r#"DescribeClientQuotas 1 {"components": [], "strict": false}"#, "errorCode"),
        ("DescribeUserScramCredentials 0 {}", "errorCode"),
        ("ListGroups 5 {}\n  until errorCode = 0", "errorCode"),
        ("ListConfigResources 1 {}", "errorCode"),
    ];
    for (request, field) in requests {
        let answer = world.ask(request)?;
        ensure!(answer[field] == 0, "{request}: {answer}");
    }
    let producers =
        world.ask(r#"DescribeProducers 0 {"topics": [{"name": "t", "partitionIndexes": [0]}]}"#)?;
    ensure!(producers["topics"][0]["partitions"][0]["errorCode"] == 0, "{producers}");
    let described = world.ask(
        r#"DescribeTopicPartitions 0 {"topics": [{"name": "t"}], "responsePartitionLimit": 10}"#,
    )?;
    ensure!(described["topics"][0]["errorCode"] == 0, "{described}");
    Ok(())
}
