//! What one request costs, counted: allocations of the whole node, in its steady state.
//!
//! The client is a thread that allocates nothing; what a node does besides, it does for thousands of
//! requests together.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is how it fails"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ottla_broker::{Node, StartOptions};
use ottla_client::{Admin, Client, ClientOptions, HostPort, NewTopic};
use ottla_codec::{Message, RecordData, encode_to_bytes};
use ottla_config::{Input, NoLookup, load};
use ottla_protocol::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::{ApiKey, FetchRequest, ProduceRequest, RequestHeader};
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::{Folder, Memory};
use ottla_types::{Timestamp, Uuid};

#[global_allocator]
static MEMORY: Memory = Memory;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "counted";
const WARM: u64 = 500;
const COUNTED: u64 = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_allocates_little() {
    let folder = Folder::new("counts").unwrap();
    let node = start(&folder).await;
    let address = node.bootstrap_addresses()[0];
    let topic_id = create(address).await;
    for (what, request, most) in [
        // The answer.
        ("produce", produce(13, topic_id), 1.0),
        // And the topic's name in it.
        ("produce by name", produce(12, topic_id), 2.0),
        // The answer, and what holds the records that it shares.
        ("fetch", fetch(17, topic_id), 2.0),
        ("fetch by name", fetch(12, topic_id), 2.0),
    ] {
        let counting = tokio::task::spawn_blocking(move || count(address, &request));
        let (each, bytes) = counting.await.unwrap();
        // What the node does besides takes a few in all.
        assert!(each <= most + 0.1, "{what}: {each:.2} allocations a request, not {most}");
        // Nowhere is room made for a copy of the records.
        assert!(bytes < 2048.0, "{what}: {bytes:.0} bytes allocated a request");
    }
    node.shutdown(PATIENCE).await;
}

/// Allocations and their bytes a request, when it is asked again and again on one connection.
fn count(address: SocketAddr, request: &[u8]) -> (f64, f64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = vec![0; 1 << 20];
    let mut ask = || {
        stream.write_all(request).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
        stream.read_exact(&mut answer[..length]).unwrap();
    };
    (0..WARM).for_each(|_| ask());
    let before = Memory::allocations();
    (0..COUNTED).for_each(|_| ask());
    let after = Memory::allocations();
    let each = |before, after| (after - before) as f64 / COUNTED as f64;
    (each(before.0, after.0), each(before.1, after.1))
}

async fn start(folder: &Folder) -> Node {
    let overrides = [
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0".to_owned()),
        ("log.dirs", folder.path().display().to_string()),
        ("ottla.http.listener", "none".to_owned()),
        ("ottla.durability", "os".to_owned()),
    ];
    let overrides = overrides.map(|(name, value)| (name.to_owned(), value)).into();
    let loaded = load(&Input { overrides, ..Input::default() }, &NoLookup).unwrap();
    let mut options = StartOptions::new(loaded);
    options.format = true;
    let node = Node::start(options).await.unwrap();
    tokio::time::timeout(PATIENCE, node.ready()).await.unwrap();
    node
}

async fn create(address: SocketAddr) -> Uuid {
    let server = HostPort::new(address.ip().to_string(), address.port());
    let admin = Admin::new(Client::new(ClientOptions::new(vec![server])));
    let topic = NewTopic { name: TOPIC.to_owned(), ..NewTopic::default() };
    admin.create_topics(&[topic], false).await.unwrap().pop().unwrap().unwrap();
    admin.client().refreshed_topic(TOPIC, false).await.unwrap().id
}

/// One batch of 16 KiB, acks=1.
fn produce(version: i16, topic_id: Uuid) -> Vec<u8> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..16 {
        builder.push_pair(Timestamp(i64::try_from(now).unwrap()), None, Some(&[7; 1000]));
    }
    let records = RecordData::from(builder.build().unwrap());
    let partition = PartitionProduceData { index: 0, records: Some(records) };
    let topic =
        TopicProduceData { name: TOPIC.into(), topic_id, partition_data: [partition].into() };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: [topic].into(),
        ..Default::default()
    };
    frame(ApiKey::Produce, version, &request)
}

/// The first batch.
fn fetch(version: i16, topic_id: Uuid) -> Vec<u8> {
    let partition = FetchPartition { partition_max_bytes: 16 << 10, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.into(), topic_id, partitions: [partition].into() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 16 << 10,
        session_epoch: -1,
        topics: [topic].into(),
        ..Default::default()
    };
    frame(ApiKey::Fetch, version, &request)
}

fn frame(api: ApiKey, version: i16, request: &impl Message) -> Vec<u8> {
    let header = RequestHeader {
        request_api_key: api.key(),
        request_api_version: version,
        correlation_id: 1,
        client_id: Some("counts".into()),
    };
    let header = encode_to_bytes(&header, api.request_header_version(version)).unwrap();
    let body = encode_to_bytes(request, version).unwrap();
    let length = u32::try_from(header.len() + body.len()).unwrap();
    [&length.to_be_bytes()[..], &header, &body].concat()
}
