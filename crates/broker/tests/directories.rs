//! A node in this process with several log directories: replicas move between them while clients
//! go on, moves are given up and resumed, and a directory that fails takes away only what is in it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is how it fails"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_broker::{Node, StartError, StartOptions};
use ottla_client::{Connection, ConnectionOptions, HostPort};
use ottla_codec::{RecordData, Str};
use ottla_config::{Input, NoLookup, load};
use ottla_protocol::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use ottla_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::delete_topics_request::DeleteTopicState;
use ottla_protocol::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::*;
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::Folder;
use ottla_types::{ErrorCode, Timestamp};

const PATIENCE: Duration = Duration::from_secs(20);
const THROTTLE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";

struct Bench {
    node: Node,
    client: Connection,
}

fn options(folder: &Path, dirs: &[&str]) -> StartOptions {
    let paths: Vec<String> = dirs.iter().map(|dir| path(folder, dir)).collect();
    let overrides = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("log.dirs", &paths.join(",")),
        ("ottla.http.listener", "none"),
        ("log.initial.task.delay.ms", "0"),
        ("log.segment.bytes", "1048576"),
    ];
    let overrides = overrides.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let loaded = load(&Input { overrides, ..Input::default() }, &NoLookup).unwrap();
    let mut options = StartOptions::new(loaded);
    options.format = true;
    options
}

fn path(folder: &Path, dir: &str) -> String {
    folder.join(dir).display().to_string()
}

/// Directories of a topic's first partition in a log directory.
fn found(folder: &Path, dir: &str, topic: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(dir)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(topic)).collect();
    names.sort();
    names
}

impl Bench {
    async fn start(folder: &Path, dirs: &[&str]) -> Self {
        let node = Node::start(options(folder, dirs)).await.unwrap();
        tokio::time::timeout(PATIENCE, node.ready()).await.unwrap();
        let address = node.bootstrap_addresses()[0];
        let address = HostPort::new(address.ip().to_string(), address.port());
        let client = Connection::open(address, &ConnectionOptions::default()).await.unwrap();
        Self { node, client }
    }

    async fn stop(self) {
        self.node.shutdown(PATIENCE).await;
    }

    /// Creates a topic and waits until it can be written to.
    async fn create(&self, topic: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: Str::from(*name),
            value: Some(Str::from(*value)),
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic),
                num_partitions: 1,
                replication_factor: 1,
                configs: configs.collect(),
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let response = self.client.send(&request).await.unwrap();
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
        self.until_produced(topic, ErrorCode::None).await;
    }

    async fn produce(&self, topic: &str, bytes: usize) -> ErrorCode {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push_pair(Timestamp(-1), None, Some(&vec![7; bytes]));
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: [TopicProduceData {
                name: Str::from(topic),
                partition_data: [PartitionProduceData {
                    index: 0,
                    records: Some(RecordData::from(batch.build().unwrap())),
                }]
                .into(),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        };
        let response = self.client.send_capped(&request, 12, PATIENCE).await.unwrap();
        let code = response.responses[0].partition_responses[0].error_code;
        ErrorCode::from_code(code).unwrap()
    }

    async fn until_produced(&self, topic: &str, expected: ErrorCode) {
        let mut last = ErrorCode::None;
        let wait = async {
            loop {
                last = self.produce(topic, 10).await;
                if last == expected {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{last:?} instead of {expected:?}");
    }

    /// The last offset of a topic's first partition.
    async fn end(&self, topic: &str) -> i64 {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Str::from(topic),
                partitions: vec![ListOffsetsPartition {
                    partition_index: 0,
                    timestamp: -1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        // After a start a broker may still be on its way to lead.
        let ask = async {
            loop {
                let response = self.client.send_capped(&request, 9, PATIENCE).await.unwrap();
                let answer = &response.topics[0].partitions[0];
                if answer.error_code == 0 {
                    return answer.offset;
                }
                assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower.code());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ask).await.unwrap()
    }

    async fn alter(&self, topic: &str, partition: i32, dir: &str) -> ErrorCode {
        let request = AlterReplicaLogDirsRequest {
            dirs: vec![AlterReplicaLogDir {
                path: Str::from(dir),
                topics: vec![AlterReplicaLogDirTopic {
                    name: Str::from(topic),
                    partitions: [partition].into(),
                }],
            }],
        };
        let response = self.client.send(&request).await.unwrap();
        let result = &response.results[0];
        assert_eq!((&*result.topic_name, result.partitions[0].partition_index), (topic, partition));
        ErrorCode::from_code(result.partitions[0].error_code).unwrap()
    }

    /// Directories with a replica of the topic: name, `>` if it is on its way, `!` if it failed.
    async fn describe(&self, topic: &str) -> Vec<String> {
        let request = DescribeLogDirsRequest { topics: None };
        let response = self.client.send(&request).await.unwrap();
        let mut seen = Vec::new();
        for result in &response.results {
            let name = PathBuf::from(&*result.log_dir);
            let name = name.file_name().unwrap().to_string_lossy().into_owned();
            if result.error_code != 0 {
                let code = ErrorCode::from_code(result.error_code);
                assert_eq!(code, Some(ErrorCode::KafkaStorageError));
                assert!(result.topics.is_empty() && result.total_bytes == -1);
                seen.push(format!("{name}!"));
            }
            for described in result.topics.iter().filter(|one| &*one.name == topic) {
                let partition = &described.partitions[0];
                assert!(partition.is_future_key || partition.offset_lag == 0);
                seen.push(if partition.is_future_key { format!("{name}>") } else { name.clone() });
            }
        }
        seen
    }

    async fn until_described(&self, topic: &str, expected: &[&str]) {
        let wait = async {
            while self.describe(topic).await != expected {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{:?} instead of {expected:?}", self.describe(topic).await);
    }

    async fn set_config(&self, kind: i8, resource: &str, name: &str, value: &str) {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: kind,
                resource_name: Str::from(resource),
                configs: vec![AlterableConfig {
                    name: Str::from(name),
                    config_operation: 0,
                    value: Some(Str::from(value)),
                }],
            }],
            validate_only: false,
        };
        let response = self.client.send(&request).await.unwrap();
        assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0]);
    }

    async fn throttle(&self, bytes: u64) {
        self.set_config(4, "", THROTTLE, &bytes.to_string()).await;
    }
}

fn other(dirs: &[String]) -> &'static str {
    if dirs == ["a"] { "b" } else { "a" }
}

#[tokio::test]
async fn a_replica_moves_while_producers_go_on() {
    let folder = Folder::new("directories").unwrap();
    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    bench.create("orders", &[]).await;
    for _ in 0..40 {
        assert_eq!(bench.produce("orders", 100_000).await, ErrorCode::None);
    }
    let from = bench.describe("orders").await;
    let to = other(&from);
    bench.throttle(1).await;
    let target = path(folder.path(), to);
    assert_eq!(bench.alter("orders", 0, &target).await, ErrorCode::None);
    let mut both = vec![from[0].clone(), format!("{to}>")];
    both.sort();
    assert_eq!(bench.describe("orders").await, both);
    // Again is fine, and so is to think better of it.
    assert_eq!(bench.alter("orders", 0, &target).await, ErrorCode::None);
    let back = path(folder.path(), &from[0]);
    assert_eq!(bench.alter("orders", 0, &back).await, ErrorCode::None);
    assert_eq!(bench.describe("orders").await, from);
    let left = found(folder.path(), to, "orders");
    assert!(left.len() == 1 && left[0].ends_with("-delete"), "{left:?}");

    assert_eq!(bench.alter("orders", 0, &target).await, ErrorCode::None);
    bench.throttle(1 << 30).await;
    let mut sent = bench.end("orders").await;
    while bench.describe("orders").await != [to] {
        assert_eq!(bench.produce("orders", 50_000).await, ErrorCode::None);
        sent += 1;
        assert!(sent < 100_000, "the move comes to its end");
    }
    assert_eq!(bench.end("orders").await, sent);
    assert_eq!(bench.produce("orders", 1_000).await, ErrorCode::None);
    assert_eq!(found(folder.path(), to, "orders").iter().filter(|n| *n == "orders-0").count(), 1);
    assert!(!found(folder.path(), &from[0], "orders").contains(&"orders-0".to_owned()));
    bench.stop().await;

    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    assert_eq!(bench.describe("orders").await, [to]);
    assert_eq!(bench.end("orders").await, sent + 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_move_goes_on_after_a_restart_and_ends_with_its_topic() {
    let folder = Folder::new("directories").unwrap();
    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    bench.throttle(1).await;
    for topic in ["orders", "gone"] {
        bench.create(topic, &[]).await;
        assert_eq!(bench.produce(topic, 500_000).await, ErrorCode::None);
        let to = other(&bench.describe(topic).await);
        assert_eq!(bench.alter(topic, 0, &path(folder.path(), to)).await, ErrorCode::None);
    }
    let (orders, gone) = (bench.describe("orders").await, bench.describe("gone").await);
    assert!(orders.len() == 2 && gone.len() == 2, "{orders:?} {gone:?}");
    let name = Some(Str::from("gone"));
    let delete = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name, ..Default::default() }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response = bench.client.send(&delete).await.unwrap();
    assert_eq!(response.responses[0].error_code, 0);
    bench.until_described("gone", &[]).await;
    for dir in ["a", "b"] {
        let left = found(folder.path(), dir, "gone");
        assert!(left.iter().all(|name| name.ends_with("-delete")), "{left:?}");
    }
    let end = bench.end("orders").await;
    bench.stop().await;

    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    assert_eq!(bench.describe("orders").await, orders);
    bench.throttle(1 << 30).await;
    let to = orders.iter().find_map(|dir| dir.strip_suffix('>')).unwrap().to_owned();
    bench.until_described("orders", &[&to]).await;
    assert_eq!(bench.end("orders").await, end);
    bench.stop().await;
}

#[tokio::test]
async fn wrong_moves_are_refused_in_kafkas_order() {
    let folder = Folder::new("directories").unwrap();
    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    bench.create("orders", &[]).await;
    let to = path(folder.path(), "b");
    let long = "x".repeat(249);
    for (topic, partition, dir, expected) in [
        (&*long, 0, "/nowhere", ErrorCode::InvalidTopicException),
        ("orders", 0, "/nowhere", ErrorCode::LogDirNotFound),
        ("gone", 0, "/nowhere", ErrorCode::LogDirNotFound),
        ("gone", 0, &to, ErrorCode::UnknownTopicOrPartition),
        ("orders", 7, &to, ErrorCode::UnknownTopicOrPartition),
    ] {
        assert_eq!(bench.alter(topic, partition, dir).await, expected, "{topic} {dir}");
    }
    // A topic that comes later goes where it was to go.
    for topic in ["later", "much-later"] {
        assert_eq!(bench.alter(topic, 0, &to).await, ErrorCode::UnknownTopicOrPartition);
        bench.create(topic, &[]).await;
        bench.until_described(topic, &["b"]).await;
    }
    // Cordoned directories take nothing; that can change while the broker runs.
    bench.set_config(4, "1", "cordoned.log.dirs", &to).await;
    let mut last = ErrorCode::None;
    let cordoned = async {
        while last != ErrorCode::InvalidReplicaAssignment {
            last = bench.alter("orders", 0, &to).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cordoned).await.unwrap();
    for topic in ["c1", "c2", "c3"] {
        bench.create(topic, &[]).await;
        assert_eq!(bench.describe(topic).await, ["a"]);
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_failed_directory_takes_away_only_what_is_in_it() {
    let folder = Folder::new("directories").unwrap();
    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    for (topic, dir) in [("safe", "a"), ("lost", "b")] {
        bench.alter(topic, 0, &path(folder.path(), dir)).await;
        bench.create(topic, &[]).await;
    }
    bench.until_described("lost", &["b"]).await;
    let end = bench.end("lost").await;
    // The disk is pulled out: the next segment cannot be made.
    let (there, away) = (folder.path().join("b"), folder.path().join("b.away"));
    std::fs::rename(&there, &away).unwrap();
    let mut failed = ErrorCode::None;
    for _ in 0..30 {
        failed = bench.produce("lost", 100_000).await;
        if failed != ErrorCode::None {
            break;
        }
    }
    assert_eq!(failed, ErrorCode::KafkaStorageError);
    bench.until_described("lost", &["b!"]).await;
    bench.until_produced("safe", ErrorCode::None).await;
    let to = path(folder.path(), "b");
    assert_eq!(bench.alter("safe", 0, &to).await, ErrorCode::KafkaStorageError);
    // Nobody leads it: the controller has heard.
    let leader = async {
        loop {
            let request = MetadataRequest {
                topics: Some(vec![metadata_request::MetadataRequestTopic {
                    name: Some(Str::from("lost")),
                    ..Default::default()
                }]),
                ..Default::default()
            };
            let response = bench.client.send(&request).await.unwrap();
            let partition = &response.topics[0].partitions[0];
            if partition.leader_id == -1 {
                return (partition.error_code, partition.offline_replicas.clone());
            }
            tokio::task::yield_now().await;
        }
    };
    let (code, offline) = tokio::time::timeout(PATIENCE, leader).await.unwrap();
    assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::LeaderNotAvailable));
    assert_eq!(offline, [1]);
    bench.create("new", &[]).await;
    assert_eq!(bench.describe("new").await, ["a", "b!"]);
    bench.stop().await;

    // At the next start it is still away; in its place lies a file.
    std::fs::write(&there, "no directory").unwrap();
    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    assert_eq!(bench.describe("lost").await, ["b!"]);
    bench.until_produced("safe", ErrorCode::None).await;
    let refused = bench.produce("lost", 10).await;
    assert!(
        [ErrorCode::KafkaStorageError, ErrorCode::NotLeaderOrFollower].contains(&refused),
        "{refused:?}"
    );
    bench.stop().await;

    // And back again, with all that was acknowledged.
    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    let bench = Bench::start(folder.path(), &["a", "b"]).await;
    bench.until_produced("lost", ErrorCode::None).await;
    assert_eq!(bench.describe("lost").await, ["b"]);
    assert!(end <= bench.end("lost").await);
    bench.stop().await;
}

#[tokio::test]
async fn without_any_directory_a_node_ends() {
    let folder = Folder::new("directories").unwrap();
    let bench = Bench::start(folder.path(), &["a"]).await;
    bench.create("orders", &[]).await;
    let (there, away) = (folder.path().join("a/orders-0"), folder.path().join("away"));
    std::fs::rename(&there, &away).unwrap();
    for _ in 0..30 {
        if bench.produce("orders", 100_000).await != ErrorCode::None {
            break;
        }
    }
    let reason = tokio::time::timeout(PATIENCE, bench.node.failed()).await.unwrap();
    assert!(reason.contains("metadata log directory"), "{reason}");
    bench.stop().await;

    std::fs::remove_dir_all(folder.path().join("a")).unwrap();
    std::fs::write(folder.path().join("a"), "no directory").unwrap();
    let refused = Node::start(options(folder.path(), &["a"])).await.unwrap_err();
    assert!(matches!(refused, StartError::Storage(_)), "{refused}");
}
