//! A node in this process, looked at and changed as an operator does: configs of every kind of
//! resource, levels of loggers, dynamic configs that take effect, `/metrics` and its neighbours.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is how it fails"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla_broker::{LogLevel, LogLevels, Node, ROOT_LOGGER, StartOptions};
use ottla_client::{Connection, ConnectionOptions, HostPort};
use ottla_codec::{RecordData, Str};
use ottla_config::{Input, NoLookup, load};
use ottla_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use ottla_protocol::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_protocol::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::*;
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::Folder;
use ottla_types::{ErrorCode, Timestamp, Uuid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// Name, operation and value of each change.
type Changes<'a> = &'a [(&'a str, i8, Option<&'a str>)];

/// Loggers of a process that logs nothing.
#[derive(Default)]
struct Loggers(Mutex<BTreeMap<String, LogLevel>>);

impl LogLevels for Loggers {
    fn levels(&self) -> BTreeMap<String, LogLevel> {
        let mut all: BTreeMap<String, LogLevel> =
            [ROOT_LOGGER, "ottla_log"].map(|logger| (logger.to_owned(), LogLevel::Info)).into();
        all.extend(self.0.lock().unwrap().clone());
        all
    }

    fn set(&self, logger: &str, level: Option<LogLevel>) {
        let mut changed = self.0.lock().unwrap();
        match level {
            Some(level) => changed.insert(logger.to_owned(), level),
            None => changed.remove(logger),
        };
    }
}

struct Bench {
    node: Node,
    client: Connection,
    _folder: Folder,
}

impl Bench {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(extra: &[(&str, &str)]) -> Self {
        let folder = Folder::new("operation").unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let overrides = [
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
            ("log.dirs", data.to_str().unwrap()),
            ("log.retention.ms", "3600000"),
            ("ottla.http.listener", "127.0.0.1:0"),
        ];
        let overrides = overrides.iter().chain(extra);
        let overrides = overrides.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let loaded = load(&Input { overrides, ..Input::default() }, &NoLookup).unwrap();
        let mut options = StartOptions::new(loaded);
        options.format = true;
        options.log_levels = Some(Arc::new(Loggers::default()));
        let node = Node::start(options).await.unwrap();
        tokio::time::timeout(PATIENCE, node.ready()).await.unwrap();
        let address = node.bootstrap_addresses()[0];
        let address = HostPort::new(address.ip().to_string(), address.port());
        let client = Connection::open(address, &ConnectionOptions::default()).await.unwrap();
        Self { node, client, _folder: folder }
    }

    async fn stop(self) {
        self.node.shutdown(PATIENCE).await;
    }

    async fn create(&self, topic: &str, configs: &[(&str, &str)]) {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: Str::from(*name),
                value: Some(Str::from(*value)),
            })
            .collect();
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(topic),
                num_partitions: 1,
                replication_factor: 1,
                configs,
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let response = self.client.send(&request).await.unwrap();
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
        // A broker hears of a topic after the controller has answered.
        let known = async {
            while self.describe(TOPIC, topic, &["retention.ms"]).await == UNKNOWN {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.unwrap();
    }

    /// Error, or `name=value source [synonyms] doc?` of each config asked for.
    async fn describe(&self, kind: i8, name: &str, keys: &[&str]) -> String {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: kind,
                resource_name: Str::from(name),
                configuration_keys: Some(keys.iter().map(|key| Str::from(*key)).collect()),
            }],
            include_synonyms: true,
            include_documentation: true,
        };
        let response = self.client.send(&request).await.unwrap();
        let result = &response.results[0];
        if result.error_code != 0 {
            let code = ErrorCode::from_code(result.error_code).unwrap();
            return format!("{code:?} {}", result.error_message.as_deref().unwrap_or("-"));
        }
        let text = |value: &Option<Str>| value.as_deref().unwrap_or("null").to_owned();
        let configs = result.configs.iter().map(|config| {
            let synonyms = config.synonyms.iter().map(|synonym| {
                format!(" {}={}:{}", synonym.name, text(&synonym.value), synonym.source)
            });
            let synonyms: String = synonyms.collect();
            let value = text(&config.value);
            format!("{}={value}:{}{synonyms}", config.name, config.config_source)
        });
        configs.collect::<Vec<_>>().join("\n")
    }

    /// Error and message of each resource.
    async fn alter(&self, changes: &[(i8, &str, Changes<'_>)]) -> String {
        let resources = changes.iter().map(|(kind, name, configs)| AlterConfigsResource {
            resource_type: *kind,
            resource_name: Str::from(*name),
            configs: configs
                .iter()
                .map(|(name, op, value)| AlterableConfig {
                    name: Str::from(*name),
                    config_operation: *op,
                    value: value.map(Str::from),
                })
                .collect(),
        });
        let request =
            IncrementalAlterConfigsRequest { resources: resources.collect(), validate_only: false };
        let response = self.client.send(&request).await.unwrap();
        let told = response.responses.iter().map(|one| {
            let code = ErrorCode::from_code(one.error_code).unwrap();
            format!("{code:?}:{}", one.error_message.as_deref().unwrap_or("-"))
        });
        told.collect::<Vec<_>>().join(" | ")
    }

    /// Asks until the answer is as expected: a change takes effect after it was committed.
    async fn until(&self, kind: i8, name: &str, key: &str, expected: &str) {
        let wait = async {
            while self.describe(kind, name, &[key]).await != expected {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{}", self.describe(kind, name, &[key]).await);
    }

    async fn produce(&self, topic: &str, records: usize) -> ErrorCode {
        self.produce_with(-1, topic, records).await
    }

    async fn produce_with(&self, acks: i16, topic: &str, records: usize) -> ErrorCode {
        let mut batch = BatchBuilder::new(Compression::None);
        for _ in 0..records {
            batch.push_pair(Timestamp(1), None, Some(&[7; 100]));
        }
        let records = batch.build().unwrap();
        let request = ProduceRequest {
            acks,
            timeout_ms: 30_000,
            topic_data: [TopicProduceData {
                name: Str::from(topic),
                partition_data: [PartitionProduceData {
                    index: 0,
                    records: Some(RecordData::from(records)),
                }]
                .into(),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        };
        // Version 12 names topics.
        let response = self.client.send_capped(&request, 12, PATIENCE).await.unwrap();
        let code = response.responses[0].partition_responses[0].error_code;
        ErrorCode::from_code(code).unwrap()
    }

    /// How far an observer of the metadata log has come.
    async fn observed(&self, id: i32) -> Option<i64> {
        let partitions = vec![describe_quorum_request::PartitionData::default()];
        let topic_name = Str::from("__cluster_metadata");
        let topics = vec![describe_quorum_request::TopicData { topic_name, partitions }];
        let request = DescribeQuorumRequest { topics };
        let answer = self.client.send(&request).await.unwrap();
        let observers = &answer.topics[0].partitions[0].observers;
        observers.iter().find(|o| o.replica_id == id).map(|o| o.log_end_offset)
    }

    async fn latest_offset(&self, topic: &str) -> i64 {
        let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: Str::from(topic), partitions: [partition].into() };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: [topic].into(), ..Default::default() };
        let response = self.client.send(&request).await.unwrap();
        response.topics[0].partitions[0].offset
    }
}

const UNKNOWN: &str = "UnknownTopicOrPartition -";
const PATIENCE: Duration = Duration::from_secs(20);

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn configs_say_where_they_come_from_and_change() {
    let bench = Bench::start().await;
    bench.create("orders", &[("retention.bytes", "5")]).await;
    assert_eq!(
        bench.describe(TOPIC, "orders", &["retention.bytes", "retention.ms"]).await,
        "retention.bytes=5:1 retention.bytes=5:1 log.retention.bytes=-1:5\n\
         retention.ms=3600000:4 log.retention.ms=3600000:4 log.retention.hours=168:5"
    );
    let cases = [
        (TOPIC, "nobody", UNKNOWN),
        (
            BROKER,
            "2",
            "InvalidRequest Unexpected broker id, expected 1 or empty string, but received 2",
        ),
        (BROKER, "x", "InvalidRequest Broker id must be an integer, but it is: x"),
        // ELR keeps min.insync.replicas at the level of the cluster (KIP-966).
        (BROKER, "", "min.insync.replicas=1:3 min.insync.replicas=1:3"),
        (BROKER_LOGGER, "", "InvalidRequest Broker id must not be empty"),
        (BROKER_LOGGER, "2", "InvalidRequest Unexpected broker id, expected 1, but received 2"),
        (16, "", "InvalidRequest Client metrics subscription name must not be empty"),
        (32, "", "InvalidRequest Group name must not be empty"),
        (99, "x", "InvalidRequest Unexpected resource type for resource x"),
    ];
    for (kind, name, expected) in cases {
        assert_eq!(bench.describe(kind, name, &[]).await, expected);
    }
    // A default of all brokers reaches the topic, and one of this broker goes before it.
    let told = bench.alter(&[(BROKER, "", &[("log.retention.ms", 0, Some("7000"))])]).await;
    assert_eq!(told, "None:-");
    let expected = "retention.ms=7000:3 log.retention.ms=7000:3 log.retention.ms=3600000:4 \
                    log.retention.hours=168:5";
    bench.until(TOPIC, "orders", "retention.ms", expected).await;
    bench.alter(&[(BROKER, "1", &[("log.retention.ms", 0, Some("9000"))])]).await;
    let expected = "log.retention.ms=9000:2 log.retention.ms=9000:2 log.retention.ms=7000:3 \
                    log.retention.ms=3600000:4 \
                    log.retention.hours=168:5";
    bench.until(BROKER, "1", "log.retention.ms", expected).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_those_who_follow_the_metadata() {
    // Nothing is written by an idle controller, so a fetch at the end of the log waits.
    let bench = Bench::start_with(&[("metadata.max.idle.interval.ms", "0")]).await;
    let addresses = bench.node.addresses();
    let (_, controller) = addresses.iter().find(|(name, _)| name == "CONTROLLER").unwrap();
    let address = HostPort::new(controller.ip().to_string(), controller.port());
    let observer = Connection::open(address, &ConnectionOptions::default()).await.unwrap();
    let mut asked = FetchPartition { fetch_offset: 0, ..Default::default() };
    let fetch = |asked: &FetchPartition, max_wait_ms| FetchRequest {
        max_wait_ms,
        max_bytes: 1 << 20,
        replica_state: ReplicaState { replica_id: 70, replica_epoch: -1 },
        topics: [FetchTopic {
            topic_id: Uuid::ONE,
            partitions: [asked.clone()].into(),
            ..Default::default()
        }]
        .into(),
        ..Default::default()
    };
    // Epoch and end of the log as the first answers tell them.
    for _ in 0..2 {
        let answer = observer.send(&fetch(&asked, 0)).await.unwrap();
        let told = &answer.responses[0].partitions[0];
        asked.current_leader_epoch =
            told.current_leader.leader_epoch.max(asked.current_leader_epoch);
        asked.last_fetched_epoch = asked.current_leader_epoch;
        asked.fetch_offset = told.high_watermark.max(0);
    }
    asked.high_watermark = asked.fetch_offset;
    let (request, end) = (fetch(&asked, 600_000), asked.fetch_offset);
    let parked = tokio::spawn(async move {
        observer.send_capped(&request, i16::MAX, PATIENCE * 30).await.unwrap().responses.len()
    });
    let arrived = async { while bench.observed(70).await != Some(end) {} };
    tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    let began = std::time::Instant::now();
    bench.stop().await;
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    assert_eq!(parked.await.unwrap(), 1);
}

#[tokio::test]
async fn alterations_are_refused_in_kafkas_order() {
    let bench = Bench::start().await;
    bench.create("orders", &[]).await;
    let cases: &[(i8, &str, Changes<'_>, &str)] = &[
        (
            BROKER,
            "1",
            &[("node.id", 0, Some("2"))],
            "InvalidRequest:Cannot update these configs dynamically: [node.id]",
        ),
        (
            BROKER,
            "2",
            &[("log.retention.ms", 0, Some("2"))],
            "InvalidRequest:Unexpected broker id, expected 1, but received 2",
        ),
        (
            BROKER,
            "1",
            &[("log.retention.ms", 2, Some("2"))],
            "InvalidConfig:Config value append is not allowed for config key: log.retention.ms",
        ),
        (
            TOPIC,
            "orders",
            &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)],
            "InvalidRequest:Error due to duplicate config keys",
        ),
        (
            TOPIC,
            "orders",
            &[("retention.ms", 0, None)],
            "InvalidRequest:Null value not supported for : retention.ms",
        ),
        (99, "orders", &[], "InvalidRequest:Unknown resource type 99"),
    ];
    for (kind, name, configs, expected) in cases {
        assert_eq!(bench.alter(&[(*kind, name, configs)]).await, *expected);
    }
    let twice: Changes<'_> = &[("retention.ms", 0, Some("1"))];
    let told = bench.alter(&[(TOPIC, "orders", twice), (TOPIC, "orders", twice)]).await;
    let once = "InvalidRequest:Each resource must appear at most once.";
    assert_eq!(told, format!("{once} | {once}"));
    bench.stop().await;
}

#[tokio::test]
async fn levels_of_loggers_change_beside_what_is_stored() {
    let bench = Bench::start().await;
    bench.create("orders", &[]).await;
    assert_eq!(bench.describe(BROKER_LOGGER, "1", &[]).await, "ottla_log=INFO:6\nroot=INFO:6");
    // One request for the logger, which stays here, and for the topic, which is passed on.
    let told = bench
        .alter(&[
            (BROKER_LOGGER, "1", &[("ottla_log", 0, Some("DEBUG"))]),
            (TOPIC, "orders", &[("retention.ms", 0, Some("5"))]),
            (BROKER_LOGGER, "2", &[("ottla_log", 0, Some("DEBUG"))]),
        ])
        .await;
    let id = "InvalidRequest:Unexpected broker id, expected 1, but received 2";
    assert_eq!(told, format!("None:- | None:- | {id}"));
    assert_eq!(bench.describe(BROKER_LOGGER, "1", &["ottla_log"]).await, "ottla_log=DEBUG:6");
    let expected = "retention.ms=5:1 retention.ms=5:1 log.retention.ms=3600000:4 \
                    log.retention.hours=168:5";
    bench.until(TOPIC, "orders", "retention.ms", expected).await;
    let told = bench.alter(&[(BROKER_LOGGER, "1", &[("nobody", 0, Some("DEBUG"))])]).await;
    assert_eq!(told, "InvalidConfig:Logger nobody does not exist!");
    bench.stop().await;
}

#[tokio::test]
async fn dynamic_configs_take_effect_on_open_partitions() {
    let bench = Bench::start().await;
    bench.create("orders", &[]).await;
    assert_eq!(bench.produce("orders", 3).await, ErrorCode::None);
    // By the broker's default, then by the topic's own config, which goes before it.
    bench.alter(&[(BROKER, "", &[("message.max.bytes", 0, Some("200"))])]).await;
    let refused = async {
        while bench.produce("orders", 3).await != ErrorCode::MessageTooLarge {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    bench.alter(&[(TOPIC, "orders", &[("max.message.bytes", 0, Some("100000"))])]).await;
    let taken = async {
        while bench.produce("orders", 3).await != ErrorCode::None {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap();
    bench.stop().await;
}

/// Syncs are put off while nobody waits for one; whoever asks for the end waits.
#[tokio::test]
async fn a_producer_that_was_answered_finds_its_records_counted() {
    let bench = Bench::start().await;
    bench.create("orders", &[]).await;
    for produced in 1..=100 {
        assert_eq!(bench.produce_with(1, "orders", 1).await, ErrorCode::None);
        assert_eq!(bench.latest_offset("orders").await, produced);
    }
    bench.stop().await;
}

#[tokio::test]
async fn metrics_show_what_was_done() {
    let bench = Bench::start().await;
    let http = bench.node.http_address().unwrap();
    bench.create("orders", &[]).await;
    assert_eq!(bench.produce("orders", 3).await, ErrorCode::None);
    assert_eq!(get(http, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(http, "/readyz").await, (200, "ready\n".to_owned()));
    assert_eq!(get(http, "/elsewhere").await.0, 404);
    let (status, text) = get(http, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 3",
        "kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"12\"} 1",
        "kafka_server_replicamanager_partitioncount 1",
        "kafka_server_replicamanager_leadercount 1",
        "kafka_server_replicamanager_underreplicatedpartitions 0",
        "kafka_server_replicamanager_underminisrpartitioncount 0",
        "kafka_server_replicamanager_atminisrpartitioncount 1",
        "kafka_log_log_logendoffset{topic=\"orders\",partition=\"0\"} 3",
        "kafka_controller_kafkacontroller_activecontrollercount 1",
        "kafka_controller_kafkacontroller_fencedbrokercount 0",
        "kafka_controller_kafkacontroller_globaltopiccount 1",
        "kafka_server_kafkaserver_brokerstate 3",
        "kafka_server_raftmetrics_current_leader 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    bench.stop().await;
}
