//! The client against a broker that is scripted in this process: negotiation, the advertised
//! listener trap, retries, producer identity. What real brokers do is tested elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is how it fails"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_client::{
    Admin, Client, ClientError, ClientOptions, Consumer, ConsumerOptions, HostPort, OffsetSpec,
    OutgoingRecord, Producer, ProducerOptions,
};
use ottla_codec::{Message, Part, Reader, RecordData, Str, Writer};
use ottla_net::{
    Answer, BoundListener, ConnectionContext, Handled, ListenerOptions, Server, ServerOptions,
    Service,
};
use ottla_protocol::*;
use ottla_record::{BatchBuilder, Batches, Compression};
use ottla_types::{ErrorCode, NodeId, Offset, PartitionIndex, Timestamp};

/// What the broker does with one request: its own API, version and body are in the frame.
type Reply = Box<dyn FnMut(ApiKey, i16, Bytes) -> Option<Bytes> + Send>;

struct Fake {
    reply: Mutex<Reply>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Service for Fake {
    type Session = ();

    fn open(&self, _: &Arc<ConnectionContext>) {}

    fn call(&self, (): &mut (), _: &Arc<ConnectionContext>, frame: Bytes) -> Handled {
        let api = ApiKey::from_key(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        self.seen.lock().unwrap().push(format!("{} v{version}", api.name()));
        let mut reader = Reader::new(frame);
        let header =
            RequestHeader::decode(&mut reader, api.request_header_version(version)).unwrap();
        let Some(body) = (self.reply.lock().unwrap())(api, version, reader.rest()) else {
            return Answer::Close("told to".into()).into();
        };
        let mut writer = Writer::default();
        let header = ResponseHeader { correlation_id: header.correlation_id };
        header.encode(api.response_header_version(version), &mut writer).unwrap();
        Answer::Send(vec![Part::Bytes(writer.into_bytes()), Part::Bytes(body)].into()).into()
    }
}

struct World {
    _server: Server,
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

fn world(reply: impl FnMut(ApiKey, i16, Bytes) -> Option<Bytes> + Send + 'static) -> World {
    let listener = BoundListener::bind(ListenerOptions::new("FAKE", "127.0.0.1", 0)).unwrap();
    let port = listener.address().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let fake = Fake { reply: Mutex::new(Box::new(reply)), seen: Arc::clone(&seen) };
    let server = Server::start(vec![listener], Arc::new(fake), ServerOptions::default());
    World { _server: server, port, seen }
}

impl World {
    fn client(&self) -> Client {
        let mut options = ClientOptions::new(vec![HostPort::new("127.0.0.1", self.port)]);
        options.connection.outbound.connect_timeout = Duration::from_secs(2);
        options.api_timeout = Duration::from_secs(10);
        Client::new(options)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn encode<M: Message>(message: &M, version: i16) -> Option<Bytes> {
    Some(ottla_codec::encode_to_bytes(message, version).unwrap())
}

/// Offers every API of the list in the versions given.
fn versions(version: i16, offered: &[(ApiKey, i16, i16)]) -> Option<Bytes> {
    let api = |(api, min, max): &(ApiKey, i16, i16)| api_versions_response::ApiVersion {
        api_key: api.key(),
        min_version: *min,
        max_version: *max,
    };
    let api_keys = offered.iter().map(api).collect();
    encode(&ApiVersionsResponse { api_keys, ..Default::default() }, version)
}

fn metadata(version: i16, host: &str, port: u16, topic: Option<(&str, i32)>) -> Option<Bytes> {
    let broker = metadata_response::MetadataResponseBroker {
        node_id: 1,
        host: Str::from(host),
        port: i32::from(port),
        ..Default::default()
    };
    let topics = topic.map(|(name, partitions)| metadata_response::MetadataResponseTopic {
        name: Some(Str::from(name)),
        partitions: (0..partitions)
            .map(|partition_index| metadata_response::MetadataResponsePartition {
                partition_index,
                leader_id: 1,
                replica_nodes: vec![1],
                isr_nodes: vec![1],
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    let topics = topics.into_iter().collect();
    encode(&MetadataResponse { brokers: vec![broker], topics, ..Default::default() }, version)
}

#[tokio::test]
async fn an_older_broker_is_asked_again_in_its_own_version() {
    let world = world(|api, version, _| match (api, version) {
        (ApiKey::ApiVersions, 3..) => {
            let own =
                api_versions_response::ApiVersion { api_key: 18, min_version: 0, max_version: 2 };
            let error_code = ErrorCode::UnsupportedVersion.code();
            let refusal =
                ApiVersionsResponse { error_code, api_keys: vec![own], ..Default::default() };
            // Whatever was asked, this answer is in version 0.
            encode(&refusal, 0)
        }
        (ApiKey::ApiVersions, _) => {
            versions(version, &[(ApiKey::Metadata, 0, 5), (ApiKey::ApiVersions, 0, 2)])
        }
        _ => metadata(version, "127.0.0.1", 1, None),
    });
    world.client().metadata(None, false).await.unwrap();
    assert_eq!(world.seen(), ["ApiVersions v4", "ApiVersions v2", "Metadata v5"]);
}

#[tokio::test]
async fn an_api_that_is_not_offered_is_an_error_before_anything_is_sent() {
    let world = world(|_, version, _| versions(version, &[(ApiKey::Metadata, 0, 1)]));
    let admin = Admin::new(world.client());
    let error = admin.describe_cluster().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "127.0.0.1:{} does not offer DescribeCluster, which this client speaks in versions \
             0 to 2",
            world.port
        )
    );
    assert_eq!(world.seen(), ["ApiVersions v4"]);
}

#[tokio::test]
async fn controllers_are_asked_for_themselves_and_brokers_are_unregistered() {
    let world = world(|api, version, body| match api {
        ApiKey::ApiVersions => {
            versions(version, &[(ApiKey::DescribeCluster, 0, 2), (ApiKey::UnregisterBroker, 0, 0)])
        }
        ApiKey::DescribeCluster => {
            let request = DescribeClusterRequest::decode(&mut Reader::new(body), version).unwrap();
            let node = describe_cluster_response::DescribeClusterBroker {
                broker_id: 3000,
                host: Str::from_static("c"),
                port: 9093,
                ..Default::default()
            };
            let brokers = if request.endpoint_type == 2 { vec![node] } else { Vec::new() };
            encode(&DescribeClusterResponse { brokers, ..Default::default() }, version)
        }
        _ => {
            let request = UnregisterBrokerRequest::decode(&mut Reader::new(body), version).unwrap();
            let error_code = match request.broker_id {
                7 => 0,
                _ => ErrorCode::BrokerIdNotRegistered.code(),
            };
            encode(&UnregisterBrokerResponse { error_code, ..Default::default() }, version)
        }
    });
    let admin = Admin::new(world.client());
    assert!(admin.describe_cluster().await.unwrap().brokers.is_empty());
    let controllers = admin.describe_controllers().await.unwrap().brokers;
    assert_eq!(controllers[0].id, NodeId(3000));
    admin.unregister_broker(NodeId(7)).await.unwrap();
    let refused = admin.unregister_broker(NodeId(8)).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::BrokerIdNotRegistered));
}

#[tokio::test]
async fn a_wrong_advertised_address_is_told_from_a_broker_that_is_down() {
    // A port that nothing listens on any more.
    let free = BoundListener::bind(ListenerOptions::new("X", "127.0.0.1", 0)).unwrap();
    let dead = free.address().port();
    drop(free);
    let world = world(move |api, version, _| match api {
        ApiKey::ApiVersions => versions(version, &[(ApiKey::Metadata, 0, 13)]),
        _ => metadata(version, "127.0.0.1", dead, None),
    });
    let error = world.client().node(NodeId(1)).await.unwrap_err();
    let ClientError::Advertised { advertised, bootstrap, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((advertised.port, bootstrap.port), (dead, world.port));
    assert!(error.hint().unwrap().contains("advertised.listeners"));

    let nobody = Client::new(ClientOptions::new(vec![HostPort::new("127.0.0.1", dead)]));
    let error = nobody.metadata(None, false).await.unwrap_err();
    assert!(matches!(error, ClientError::NoBroker { .. }), "{error}");
}

#[tokio::test]
async fn something_that_is_no_broker_is_told_so() {
    let world = world(|_, _, _| None);
    let error = world.client().bootstrap().await.unwrap_err();
    assert!(error.hint().unwrap().contains("Kafka listener"), "{error}");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_sequence() {
    let mut tries = 0;
    let sequences = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sequences);
    let port = Arc::new(Mutex::new(0));
    let own_port = Arc::clone(&port);
    let world = world(move |api, version, body| match api {
        ApiKey::ApiVersions => versions(
            version,
            &[(ApiKey::Metadata, 0, 13), (ApiKey::InitProducerId, 0, 5), (ApiKey::Produce, 3, 13)],
        ),
        ApiKey::Metadata => {
            metadata(version, "127.0.0.1", *own_port.lock().unwrap(), Some(("t", 1)))
        }
        ApiKey::InitProducerId => {
            let response = InitProducerIdResponse { producer_id: 7, ..Default::default() };
            encode(&response, version)
        }
        _ => {
            let request = ProduceRequest::decode(&mut Reader::new(body), version).unwrap();
            let Some(RecordData::Bytes(records)) =
                request.topic_data[0].partition_data[0].records.clone()
            else {
                panic!("no records");
            };
            let header = *Batches::new(records).next().unwrap().unwrap().header();
            noted.lock().unwrap().push((header.base_sequence.unwrap().0, header.record_count));
            tries += 1;
            let error_code = match tries {
                1 => return None,
                2 => ErrorCode::NotLeaderOrFollower.code(),
                _ => 0,
            };
            let partition = produce_response::PartitionProduceResponse {
                error_code,
                base_offset: 40 + i64::from(tries),
                ..Default::default()
            };
            let topic = produce_response::TopicProduceResponse {
                name: Str::from_static("t"),
                partition_responses: [partition].into(),
                ..Default::default()
            };
            encode(&ProduceResponse { responses: [topic].into(), ..Default::default() }, version)
        }
    });
    *port.lock().unwrap() = world.port;
    let mut producer = Producer::new(world.client(), ProducerOptions::default());
    let record =
        |value| OutgoingRecord { value: Some(Bytes::from_static(value)), ..Default::default() };
    let first = producer.send("t", record(b"a")).await.unwrap().await.unwrap().unwrap();
    assert_eq!(first.offset, Some(Offset(43)));
    let second = producer.send("t", record(b"b")).await.unwrap().await.unwrap().unwrap();
    assert_eq!((second.partition, second.offset), (PartitionIndex(0), Some(Offset(44))));
    producer.close().await;
    assert_eq!(*sequences.lock().unwrap(), [(0, 1), (0, 1), (0, 1), (1, 1)]);
}

#[tokio::test]
async fn records_before_the_asked_offset_and_control_batches_are_not_shown() {
    let mut data = BatchBuilder::new(Compression::Lz4).base_offset(Offset(10));
    for value in [b"a", b"b", b"c"] {
        data.push_pair(Timestamp(1), None, Some(value));
    }
    let mut control = BatchBuilder::new(Compression::None).base_offset(Offset(13)).control();
    control.push_pair(Timestamp(2), Some(b"\0\0\0\0"), Some(b""));
    let records = [data.build().unwrap(), control.build().unwrap()].concat();
    // The last batch is cut, as a broker may do.
    let whole = Bytes::from([records.clone(), records[..30].to_vec()].concat());
    let port = Arc::new(Mutex::new(0));
    let own_port = Arc::clone(&port);
    let world = world(move |api, version, body| match api {
        ApiKey::ApiVersions => versions(
            version,
            &[(ApiKey::Metadata, 0, 13), (ApiKey::Fetch, 4, 17), (ApiKey::ListOffsets, 1, 9)],
        ),
        ApiKey::Metadata => {
            metadata(version, "127.0.0.1", *own_port.lock().unwrap(), Some(("t", 1)))
        }
        ApiKey::ListOffsets => latest(version, 11),
        _ => {
            let request = FetchRequest::decode(&mut Reader::new(body), version).unwrap();
            // The first fetch is out of range, so that the reset is seen too.
            let offset = request.topics[0].partitions[0].fetch_offset;
            let out_of_range = ErrorCode::OffsetOutOfRange.code();
            let code = if offset == 5 { out_of_range } else { 0 };
            fetched(version, code, 14, (offset == 11).then(|| RecordData::Bytes(whole.clone())))
        }
    });
    *port.lock().unwrap() = world.port;
    let options = ConsumerOptions::default();
    assert_eq!(options.reset, Some(OffsetSpec::Latest));
    let mut consumer = Consumer::new(world.client(), options);
    consumer.assign("t", PartitionIndex(0), Offset(5));
    let mut seen = Vec::new();
    let bounded = async {
        while !consumer.is_at_end() {
            seen.extend(consumer.poll(Duration::from_secs(5)).await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), bounded).await.unwrap();
    let seen: Vec<_> = seen.iter().map(|r| (r.offset.0, r.value.as_deref().unwrap())).collect();
    assert_eq!(seen, [(11, &b"b"[..]), (12, b"c")]);
    assert_eq!(consumer.positions().collect::<Vec<_>>(), [("t", PartitionIndex(0), Offset(14))]);
}

#[tokio::test]
async fn an_acknowledged_record_that_is_not_shown_yet_is_before_the_end() {
    let mut data = BatchBuilder::new(Compression::None).base_offset(Offset(5));
    data.push_pair(Timestamp(1), None, Some(b"a"));
    let batch = data.build().unwrap();
    let port = Arc::new(Mutex::new(0));
    let own_port = Arc::clone(&port);
    let mut asked = false;
    let world = world(move |api, version, body| match api {
        ApiKey::ApiVersions => versions(
            version,
            &[(ApiKey::Metadata, 0, 13), (ApiKey::Fetch, 4, 17), (ApiKey::ListOffsets, 1, 9)],
        ),
        ApiKey::Metadata => {
            metadata(version, "127.0.0.1", *own_port.lock().unwrap(), Some(("t", 1)))
        }
        ApiKey::ListOffsets => {
            asked = true;
            latest(version, 6)
        }
        _ => {
            let request = FetchRequest::decode(&mut Reader::new(body), version).unwrap();
            let offset = request.topics[0].partitions[0].fetch_offset;
            let shown = (asked && offset == 5).then(|| RecordData::Bytes(batch.clone()));
            fetched(version, 0, if asked { 6 } else { 5 }, shown)
        }
    });
    *port.lock().unwrap() = world.port;
    let mut consumer = Consumer::new(world.client(), ConsumerOptions::default());
    consumer.assign("t", PartitionIndex(0), Offset(5));
    let bounded = async {
        while !consumer.is_at_end() {
            assert_eq!(consumer.poll(Duration::from_secs(5)).await.unwrap().len(), 0);
        }
        let ends = consumer.ends().await.unwrap();
        assert!(!consumer.is_past(&ends));
        let mut seen = Vec::new();
        while !consumer.is_past(&ends) {
            seen.extend(consumer.poll(Duration::from_secs(5)).await.unwrap());
        }
        assert_eq!(seen.len(), 1);
    };
    tokio::time::timeout(Duration::from_secs(20), bounded).await.unwrap();
}

fn latest(version: i16, offset: i64) -> Option<Bytes> {
    let partition =
        list_offsets_response::ListOffsetsPartitionResponse { offset, ..Default::default() };
    let topic = list_offsets_response::ListOffsetsTopicResponse {
        name: Str::from_static("t"),
        partitions: [partition].into(),
    };
    encode(&ListOffsetsResponse { topics: [topic].into(), ..Default::default() }, version)
}

fn fetched(
    version: i16,
    error_code: i16,
    high_watermark: i64,
    records: Option<RecordData>,
) -> Option<Bytes> {
    let partition =
        fetch_response::PartitionData { error_code, high_watermark, records, ..Default::default() };
    let topic = fetch_response::FetchableTopicResponse {
        topic: Str::from_static("t"),
        partitions: [partition].into(),
        ..Default::default()
    };
    encode(&FetchResponse { responses: [topic].into(), ..Default::default() }, version)
}
