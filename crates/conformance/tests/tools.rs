//! Kafka's own command line tools, on a running node and on its files.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use anyhow::{Context, Result, ensure};
use ottla_conformance::{Setup, ensure_java, run_tool};
use ottla_testkit::{Kind, Node, NodeOptions, wait_until};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn kafka_topics() -> Result<()> {
    ensure_java!();
    let setup = Setup::start()?;
    let out = setup.online(
        "kafka-topics",
        &["--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=60000"],
    )?;
    assert_eq!(out.trim(), "Created topic orders.");
    assert_eq!(setup.online("kafka-topics", &["--list"])?.trim(), "orders");
    let out = setup.online("kafka-topics", &["--describe", "--topic", "orders"])?;
    let words: Vec<&str> = out.split_whitespace().collect();
    ensure!(out.starts_with("Topic: orders"), "{out}");
    for expected in ["PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=60000"] {
        ensure!(words.join(" ").contains(expected), "{out}");
    }
    ensure!(words.join(" ").contains("Partition: 2 Leader: 1 Replicas: 1 Isr: 1"), "{out}");
    setup.online("kafka-topics", &["--alter", "--topic", "orders", "--partitions", "4"])?;
    let out = setup.online("kafka-topics", &["--describe", "--topic", "orders"])?;
    assert_eq!(out.lines().count(), 5, "{out}");
    setup.online("kafka-topics", &["--delete", "--topic", "orders"])?;
    assert_eq!(setup.online("kafka-topics", &["--list"])?.trim(), "");
    Ok(())
}

#[test]
fn kafka_configs() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    let topic = ["--entity-type", "topics", "--entity-name", "t"];
    let with = |more: &[&'static str]| [topic.as_slice(), more].concat();
    let out = setup.online(
        "kafka-configs",
        &with(&["--alter", "--add-config", "retention.ms=70000,cleanup.policy=[delete,compact]"]),
    )?;
    assert_eq!(out.trim(), "Completed updating config for topic t.");
    let out = setup.online("kafka-configs", &with(&["--describe"]))?;
    ensure!(
        out.contains("retention.ms=70000") && out.contains("cleanup.policy=delete,compact"),
        "{out}"
    );
    setup.online("kafka-configs", &with(&["--alter", "--delete-config", "retention.ms"]))?;
    let out = setup.online("kafka-configs", &with(&["--describe"]))?;
    ensure!(!out.contains("retention.ms=70000"), "{out}");
    let out = setup.online(
        "kafka-configs",
        &["--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"],
    )?;
    ensure!(out.contains("node.id=1") && out.contains("num.partitions="), "{out}");
    setup.online(
        "kafka-configs",
        &[
            "--entity-type",
            "brokers",
            "--entity-default",
            "--alter",
            "--add-config",
            "log.retention.ms=90000",
        ],
    )?;
    wait_until("the default", Duration::from_secs(20), || {
        let out = setup.online(
            "kafka-configs",
            &["--entity-type", "brokers", "--entity-default", "--describe"],
        );
        out.is_ok_and(|o| o.contains("log.retention.ms=90000"))
    })?;
    let quota = ["--entity-type", "clients", "--entity-name", "c"];
    setup.online(
        "kafka-configs",
        &[quota.as_slice(), &["--alter", "--add-config", "producer_byte_rate=1024"]].concat(),
    )?;
    let out = setup.online("kafka-configs", &[quota.as_slice(), &["--describe"]].concat())?;
    ensure!(out.contains("producer_byte_rate=1024"), "{out}");
    Ok(())
}

/// Credentials that Kafka's own tool put into the directory; each owner describes them.
#[test]
fn kafka_configs_describes_scram_users() -> Result<()> {
    ensure_java!();
    let scram = "SCRAM-SHA-256=[name=ada,iterations=8192,password=secret]";
    let format_arguments = vec!["--add-scram".to_string(), scram.to_string()];
    let options = NodeOptions { format_arguments, ..NodeOptions::default() };
    let mut node = Node::prepare(options)?;
    node.format(Kind::Kafka)?;
    for owner in [Kind::target(), Kind::Kafka, Kind::target()] {
        node.start_as(owner)?;
        let describe = |more: &[&str]| -> Result<String> {
            let who = ["--bootstrap-server", node.bootstrap(), "--entity-type", "users"];
            let ran =
                run_tool("kafka-configs", &[who.as_slice(), more, &["--describe"]].concat(), "")?;
            ensure!(ran.code == Some(0), "{}{}\n{}", ran.stdout, ran.stderr, node.tail());
            Ok(ran.stdout)
        };
        let ada =
            "SCRAM credential configs for user-principal 'ada' are SCRAM-SHA-256=iterations=8192";
        let all = describe(&[])?;
        ensure!(all.contains(ada), "{owner:?}: {all}");
        let one = describe(&["--entity-name", "ada"])?;
        ensure!(one.contains(ada), "{owner:?}: {one}");
        assert_eq!(describe(&["--entity-name", "nobody"])?.trim(), "");
        node.stop()?;
    }
    Ok(())
}

#[test]
fn console_producer_consumer_groups_and_offsets() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("lines", 1)?;
    let property = [
        "--topic",
        "lines",
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=:",
    ];
    setup.online_with("kafka-console-producer", &property, "k1:one\nk2:two\nk3:three\n")?;
    let read = [
        "--topic",
        "lines",
        "--from-beginning",
        "--max-messages",
        "3",
        "--group",
        "readers",
        "--formatter-property",
        "print.key=true",
    ];
    let out = setup.online("kafka-console-consumer", &read)?;
    assert_eq!(out, "k1\tone\nk2\ttwo\nk3\tthree\n");
    assert_eq!(setup.online("kafka-get-offsets", &["--topic", "lines"])?.trim(), "lines:0:3");
    assert_eq!(
        setup.online("kafka-get-offsets", &["--topic", "lines", "--time", "earliest"])?.trim(),
        "lines:0:0"
    );
    assert_eq!(setup.online("kafka-consumer-groups", &["--list"])?.trim(), "readers");
    let out = setup.online("kafka-consumer-groups", &["--describe", "--group", "readers"])?;
    let row: Vec<&str> =
        out.lines().find(|l| l.starts_with("readers")).context("row")?.split_whitespace().collect();
    assert_eq!(row.get(..6), Some(["readers", "lines", "0", "3", "3", "0"].as_slice()), "{out}");
    let reset = [
        "--group",
        "readers",
        "--topic",
        "lines",
        "--reset-offsets",
        "--to-offset",
        "1",
        "--execute",
    ];
    setup.online("kafka-consumer-groups", &reset)?;
    let read = ["--topic", "lines", "--max-messages", "2", "--group", "readers"];
    assert_eq!(setup.online("kafka-console-consumer", &read)?, "two\nthree\n");
    setup.online("kafka-consumer-groups", &["--delete", "--group", "readers"])?;
    assert_eq!(setup.online("kafka-consumer-groups", &["--list"])?.trim(), "");
    Ok(())
}

#[test]
fn the_rest_of_the_online_tools() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    setup.call(json!({"do": "produce", "topic": "t", "generate": {"count": 10, "size": 10}}))?;
    let out = setup.online("kafka-broker-api-versions", &[])?;
    ensure!(out.contains("Produce(0): 0 to 13") && out.contains("ApiVersions(18): 0 to"), "{out}");
    let out = setup.online("kafka-metadata-quorum", &["describe", "--status"])?;
    ensure!(out.contains("LeaderId:") && out.contains("HighWatermark:"), "{out}");
    let out = setup.online("kafka-log-dirs", &["--describe", "--topic-list", "t"])?;
    let line = out.lines().find(|l| l.starts_with('{')).context("JSON")?;
    let described: serde_json::Value = serde_json::from_str(line)?;
    assert_eq!(
        described["brokers"][0]["logDirs"][0]["partitions"][0]["partition"],
        json!("t-0"),
        "{line}"
    );
    let out = setup.online("kafka-features", &["describe"])?;
    ensure!(
        out.contains("Feature: metadata.version") && out.contains("FinalizedVersionLevel: 4.3-IV0"),
        "{out}"
    );
    let file = setup.node.folder().join("delete.json");
    std::fs::write(
        &file,
        r#"{"partitions":[{"topic":"t","partition":0,"offset":4}],"version":1}"#,
    )?;
    let out = setup
        .online("kafka-delete-records", &["--offset-json-file", &file.display().to_string()])?;
    ensure!(out.contains("partition: t-0\tlow_watermark: 4"), "{out}");
    let out = setup.online(
        "kafka-leader-election",
        &["--election-type", "preferred", "--all-topic-partitions"],
    )?;
    ensure!(!out.contains("Error"), "{out}");
    let cluster = ["cluster-id", "--bootstrap-server", setup.node.bootstrap()];
    let ran = setup.tool("kafka-cluster", &cluster, "")?;
    ensure!(ran.stdout.contains("b3R0bGEtdGVzdC1jbHVzdA"), "{}{}", ran.stdout, ran.stderr);
    Ok(())
}

#[test]
fn kafka_dump_log_reads_segments_indexes_and_metadata() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("t", 1)?;
    setup.call(json!({"do": "produce", "topic": "t", "generate": {"count": 500, "size": 200}, "config": {"batch.size": "2000"}}))?;
    setup.call(json!({"do": "alterConsumerGroupOffsets", "group": "g", "offsets": [{"topic": "t", "partition": 0, "offset": 5}]}))?;
    setup.node.stop()?;
    let data = setup.node.data();
    let dump = |files: &[PathBuf], more: &[&str]| -> Result<String> {
        let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        let list = files.join(",");
        let ran =
            setup.tool("kafka-dump-log", &[&["--files", list.as_str()], more].concat(), "")?;
        ensure!(
            ran.code == Some(0) && !ran.stdout.contains("mismatch"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        Ok(ran.stdout)
    };
    let segment = data.join("t-0/00000000000000000000.log");
    let out = dump(std::slice::from_ref(&segment), &["--print-data-log", "--deep-iteration"])?;
    ensure!(
        out.contains("payload: record 499 ")
            && out.contains("isvalid: true")
            && !out.contains("isvalid: false"),
        "{out}"
    );
    // The tool reads the log beside each index and names every entry that does not fit.
    let indexes = [
        segment.with_extension("index"),
        segment.with_extension("timeindex"),
        segment.with_extension("snapshot"),
    ];
    let there: Vec<PathBuf> = indexes.into_iter().filter(|f| f.is_file()).collect();
    let out = dump(&there, &[])?;
    ensure!(!out.contains("Found") && !out.contains("Missing"), "{out}");
    let metadata = data.join("__cluster_metadata-0/00000000000000000000.log");
    let out = dump(&[metadata], &["--cluster-metadata-decoder"])?;
    for record in [
        "FEATURE_LEVEL_RECORD",
        "REGISTER_BROKER_RECORD",
        "TOPIC_RECORD",
        "PARTITION_RECORD",
        "LeaderChange",
    ] {
        ensure!(out.contains(record), "no {record} in\n{out}");
    }
    let offsets = (0..5)
        .map(|p| data.join(format!("__consumer_offsets-{p}/00000000000000000000.log")))
        .filter(|f| f.is_file());
    let out = dump(&offsets.collect::<Vec<_>>(), &["--offsets-decoder"])?;
    ensure!(out.contains("\"group\":\"g\"") && out.contains("\"offset\":5"), "{out}");
    Ok(())
}

#[test]
fn kafka_metadata_shell_reads_a_snapshot() -> Result<()> {
    ensure_java!();
    // A snapshot soon: after so many bytes of metadata records.
    let options =
        NodeOptions::default().with("metadata.log.max.record.bytes.between.snapshots", "100");
    let mut setup = Setup::with(options)?;
    setup.topic("in-the-image", 2)?;
    let folder = setup.node.data().join("__cluster_metadata-0");
    let snapshots = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "checkpoint"))
            .collect();
        found.sort();
        found
    };
    wait_until("a snapshot", Duration::from_secs(60), || {
        setup.driver.call(&json!({"do": "createTopics", "topic": format!("more-{}", snapshots().len()), "partitions": 1})).ok();
        let newest = snapshots().pop();
        newest.is_some_and(|s| {
            std::fs::read(s).is_ok_and(|b| b.windows(12).any(|w| w == b"in-the-image"))
        })
    })?;
    // A copy, because the shell locks the folder that it reads.
    let newest = snapshots().pop().context("snapshot")?;
    let copy = setup.node.folder().join(newest.file_name().context("name")?);
    std::fs::copy(&newest, &copy)?;
    let newest = copy.display().to_string();
    let ran = setup.tool(
        "kafka-metadata-shell",
        &["--snapshot", &newest, "cat", "/image/topics/byName/in-the-image/name"],
        "",
    )?;
    ensure!(ran.code == Some(0), "{}{}", ran.stdout, ran.stderr);
    ensure!(ran.stdout.contains("in-the-image"), "{}", ran.stdout);
    let ran = setup.tool("kafka-metadata-shell", &["--snapshot", &newest, "ls", "/image"], "")?;
    for node in ["cluster", "features", "topics", "configs"] {
        ensure!(ran.stdout.contains(node), "{}", ran.stdout);
    }
    Ok(())
}
