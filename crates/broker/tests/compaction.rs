//! A node in this process whose topics are compacted: they shrink, nobody misses a newest value,
//! and a log that cannot be compacted does not keep the others from it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a panic is how it fails, and it looks at the files itself"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_broker::{Node, StartOptions};
use ottla_client::{Connection, ConnectionOptions, HostPort};
use ottla_codec::{RecordData, Str};
use ottla_config::{Input, NoLookup, load};
use ottla_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::delete_topics_request::DeleteTopicState;
use ottla_protocol::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla_protocol::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::*;
use ottla_record::{BatchBuilder, Batches, Compression, DecompressLimits};
use ottla_testkit::Folder;
use ottla_types::{ErrorCode, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PATIENCE: Duration = Duration::from_secs(20);
const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "2000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("file.delete.delay.ms", "0"),
];

struct Bench {
    node: Node,
    client: Connection,
}

impl Bench {
    async fn start(folder: &Path, extra: &[(&str, &str)]) -> Self {
        let data = folder.join("data").display().to_string();
        let overrides = [
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
            ("log.dirs", &data),
            ("ottla.http.listener", "127.0.0.1:0"),
            ("log.initial.task.delay.ms", "0"),
            ("log.cleaner.backoff.ms", "0"),
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.replication.factor", "1"),
        ];
        let overrides = overrides.iter().chain(extra);
        let overrides = overrides.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let loaded = load(&Input { overrides, ..Input::default() }, &NoLookup).unwrap();
        let mut options = StartOptions::new(loaded);
        options.format = true;
        let node = Node::start(options).await.unwrap();
        tokio::time::timeout(PATIENCE, node.ready()).await.unwrap();
        let address = node.bootstrap_addresses()[0];
        let address = HostPort::new(address.ip().to_string(), address.port());
        let client = Connection::open(address, &ConnectionOptions::default()).await.unwrap();
        Self { node, client }
    }

    async fn stop(self) {
        self.node.shutdown(PATIENCE).await;
    }

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
    }

    async fn delete(&self, topic: &str) {
        let topics = vec![DeleteTopicState { name: Some(Str::from(topic)), ..Default::default() }];
        let request = DeleteTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
        let response = self.client.send(&request).await.unwrap();
        assert_eq!(response.responses[0].error_code, 0);
    }

    /// Writes a batch of keys with one value, once the topic can be written to.
    async fn produce(&self, topic: &str, keys: &[String], value: &str) {
        let mut batch = BatchBuilder::new(Compression::None);
        for key in keys {
            batch.push_pair(Timestamp(1), Some(key.as_bytes()), Some(value.as_bytes()));
        }
        let records = batch.build().unwrap();
        let request = ProduceRequest {
            acks: -1,
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
        let write = async {
            loop {
                let response = self.client.send_capped(&request, 12, PATIENCE).await.unwrap();
                let code = response.responses[0].partition_responses[0].error_code;
                if code == 0 {
                    return;
                }
                let known = ErrorCode::from_code(code).unwrap();
                assert_eq!(known, ErrorCode::UnknownTopicOrPartition);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, write).await.unwrap();
    }

    /// Twenty rounds over ten keys, the last with the value `19`.
    async fn fill(&self, topic: &str) {
        let keys: Vec<_> = (0..10).map(|key| format!("k{key}")).collect();
        for round in 0..20 {
            self.produce(topic, &keys, &format!("{round}{}", " ".repeat(30))).await;
        }
    }

    /// Every record that a consumer gets: offset, key and value.
    async fn consume(&self, topic: &str) -> Vec<(u64, String, String)> {
        let mut from = 0;
        let mut records = Vec::new();
        loop {
            let partition = FetchPartition {
                fetch_offset: from,
                partition_max_bytes: 5000,
                ..Default::default()
            };
            let request = FetchRequest {
                max_wait_ms: 0,
                max_bytes: 1 << 20,
                topics: [FetchTopic {
                    topic: Str::from(topic),
                    partitions: [partition].into(),
                    ..Default::default()
                }]
                .into(),
                ..Default::default()
            };
            let response = self.client.send_capped(&request, 12, PATIENCE).await.unwrap();
            let answer = &response.responses[0].partitions[0];
            if answer.error_code == ErrorCode::NotLeaderOrFollower.code() {
                // After a start a broker may still be on its way to lead.
                tokio::task::yield_now().await;
                continue;
            }
            assert_eq!(answer.error_code, 0);
            let bytes = answer.records.as_ref().and_then(RecordData::as_bytes).cloned();
            let mut end = from;
            for batch in Batches::new(bytes.unwrap_or_default()) {
                let batch = batch.unwrap();
                end = batch.header().next_offset().to_wire();
                for record in batch.records(&DecompressLimits::default()).unwrap() {
                    let record = record.unwrap();
                    let text = |bytes: Option<bytes::Bytes>| {
                        String::from_utf8_lossy(&bytes.unwrap_or_default()).trim().to_owned()
                    };
                    records.push((record.offset.0, text(record.key), text(record.value)));
                }
            }
            if end == from {
                return records;
            }
            from = end;
        }
    }

    async fn metric(&self, line: &str) -> f64 {
        let mut socket =
            tokio::net::TcpStream::connect(self.node.http_address().unwrap()).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let found = answer.lines().find_map(|shown| shown.strip_prefix(line));
        found.unwrap_or_else(|| panic!("{line}: {answer}")).trim().parse().unwrap()
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
    }

    /// Waits until there is at most one record of a key but for those in the newest segments.
    async fn until_compacted(&self, topic: &str) -> Vec<(u64, String, String)> {
        self.until("compacted", async || self.consume(topic).await.len() < 60).await;
        self.consume(topic).await
    }
}

fn newest(records: &[(u64, String, String)]) -> BTreeMap<&str, &str> {
    records.iter().map(|(_, key, value)| (key.as_str(), value.as_str())).collect()
}

fn checkpoint(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("data/cleaner-offset-checkpoint")).unwrap_or_default()
}

fn log_files(folder: &Path, topic: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("data").join(format!("{topic}-0"))).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_shrinks_and_keeps_every_keys_newest_value() {
    let folder = Folder::new("compaction").unwrap();
    let bench = Bench::start(folder.path(), &[]).await;
    bench.create("c", COMPACTED).await;
    bench.create("d", &[("internal.segment.bytes", "2000"), ("retention.ms", "-1")]).await;
    bench.fill("c").await;
    bench.fill("d").await;
    let records = bench.until_compacted("c").await;
    assert_eq!(newest(&records).len(), 10);
    assert!(newest(&records).values().all(|value| *value == "19"), "{records:?}");
    assert!(records.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(bench.consume("d").await.len(), 200, "the other one is as it was");
    bench.until("a checkpoint", async || checkpoint(folder.path()).contains("\nc 0 ")).await;
    assert!(!checkpoint(folder.path()).contains("\nd 0 "));
    bench
        .until("metrics", async || {
            bench.metric("kafka_log_logcleaner_cleaner_recopy_percent ").await > 0.0
                && bench.metric("kafka_log_logcleaner_max_buffer_utilization_percent ").await >= 0.0
        })
        .await;
    assert_eq!(bench.metric("kafka_log_logcleaner_deadthreadcount ").await, 0.0);
    bench.stop().await;
    // It goes on where it was.
    let before = checkpoint(folder.path());
    let bench = Bench::start(folder.path(), &[]).await;
    let again = bench.consume("c").await;
    assert_eq!(newest(&again), newest(&records));
    bench.fill("c").await;
    let records = bench.until_compacted("c").await;
    assert!(records.first().unwrap().0 > 100 && newest(&records).len() == 10, "{records:?}");
    bench.until("another checkpoint", async || checkpoint(folder.path()) != before).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_offsets_do_not_pile_up() {
    let folder = Folder::new("compaction").unwrap();
    let extra = [
        ("offsets.topic.segment.bytes", "1048576"),
        ("log.cleaner.min.cleanable.ratio", "0.01"),
        ("log.segment.delete.delay.ms", "0"),
    ];
    let bench = Bench::start(folder.path(), &extra).await;
    bench.create("t", &[]).await;
    bench.produce("t", &["k".to_owned()], "v").await;
    let commit = |offset| OffsetCommitRequest {
        group_id: Str::from("g"),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from("t"),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                // A segment is full after 260 of these.
                committed_metadata: Some(Str::from("m".repeat(4000))),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    // The first question for a coordinator makes its topic.
    let question =
        FindCoordinatorRequest { coordinator_keys: vec![Str::from("g")], ..Default::default() };
    bench
        .until("a coordinator", async || {
            let answer = bench.client.send(&question).await.unwrap();
            answer.coordinators[0].error_code == 0
        })
        .await;
    for offset in 0..600 {
        let committed = async || {
            let response = bench.client.send_capped(&commit(offset), 9, PATIENCE).await.unwrap();
            response.topics[0].partitions[0].error_code == 0
        };
        bench.until("a commit", committed).await;
    }
    let records = async || bench.consume("__consumer_offsets").await.len();
    bench.until("shrunk", async || records().await < 300).await;
    bench.stop().await;
    let bench = Bench::start(folder.path(), &extra).await;
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: Str::from("g"),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: Str::from("t"),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    bench
        .until("the last commit", async || {
            let response = bench.client.send_capped(&fetch, 9, PATIENCE).await.unwrap();
            let group = &response.groups[0];
            group.error_code == 0 && group.topics[0].partitions[0].committed_offset == 599
        })
        .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_keeps_no_other_from_being_compacted() {
    let folder = Folder::new("compaction").unwrap();
    // First nothing is dirty enough.
    let bench = Bench::start(folder.path(), &[("log.cleaner.enable", "false")]).await;
    bench.create("bad", COMPACTED).await;
    bench.create("good", COMPACTED).await;
    bench.fill("bad").await;
    bench.fill("good").await;
    bench.stop().await;
    let damaged = log_files(folder.path(), "bad").remove(0);
    let mut content = std::fs::read(&damaged).unwrap();
    content[80] ^= 1;
    std::fs::write(&damaged, &content).unwrap();
    let bench = Bench::start(folder.path(), &[]).await;
    bench.until_compacted("good").await;
    let data = folder.path().join("data").display().to_string();
    let labels = format!("{{logDirectory=\"{data}\"}} ");
    let count = format!("kafka_log_logcleanermanager_uncleanable_partitions_count{labels}");
    bench.until("uncleanable", async || bench.metric(&count).await == 1.0).await;
    let bytes = format!("kafka_log_logcleanermanager_uncleanable_bytes{labels}");
    assert!(bench.metric(&bytes).await > 5000.0);
    assert_eq!(std::fs::read(&damaged).unwrap(), content, "nothing was touched");
    // It goes on growing.
    bench.produce("bad", &["k".to_owned()], "v").await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_pass_holds_up_nobody() {
    let folder = Folder::new("compaction").unwrap();
    let slow = [("log.cleaner.io.max.bytes.per.second", "1"), ("log.cleaner.io.buffer.size", "2")];
    let bench = Bench::start(folder.path(), &slow).await;
    bench.create("c", COMPACTED).await;
    bench.fill("c").await;
    // A pass is under way: the log was looked at, and is busy since.
    bench
        .until("looked at", async || {
            bench.metric("kafka_log_logcleanermanager_max_dirty_percent ").await > 0.0
        })
        .await;
    bench.fill("c").await;
    assert_eq!(bench.consume("c").await.len(), 400);
    bench.delete("c").await;
    let gone = |entry: &std::io::Result<std::fs::DirEntry>| {
        entry.as_ref().unwrap().file_name().to_string_lossy() == "c-0"
    };
    let is_there = || std::fs::read_dir(folder.path().join("data")).unwrap().any(|e| gone(&e));
    bench.until("deleted", async || !is_there()).await;
    bench.create("c", COMPACTED).await;
    bench.fill("c").await;
    assert_eq!(bench.consume("c").await.len(), 200);
    let began = std::time::Instant::now();
    bench.stop().await;
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
}
