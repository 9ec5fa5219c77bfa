//! Before and beside requests: versions, addresses, families, idle time.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_codec::decode_exact;
use ottla_conformance::script::Side;
use ottla_conformance::{RawClient, frame};
use ottla_protocol::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use ottla_testkit::{Kind, Node, NodeOptions, note_skip};
use serde_json::{Value as Json, json};

use crate::{World, ask};

/// What kafka-clients newer than the broker ask first: the answer has the shape of version 0, says
/// UNSUPPORTED_VERSION and which versions there are, and the connection goes on.
#[test]
fn api_versions_answers_any_version() -> Result<()> {
    let world = World::start()?;
    let mut client = RawClient::connect(world.node.bootstrap())?;
    for version in [6, 99, i16::MAX] {
        let body = client.exchange(ApiKey::ApiVersions, version, b"\x01\x02\x03")?;
        let answer: ApiVersionsResponse = decode_exact(body, 0)?;
        ensure!(answer.error_code == 35, "version {version}: {answer:?}");
        let own = answer.api_keys.iter().find(|api| api.api_key == 18).context("its own range")?;
        ensure!((own.min_version, own.max_version >= 4) == (0, true), "{own:?}");
    }
    let request = ApiVersionsRequest {
        client_software_name: "habits".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    // Its header has no tags though its body has: old clients must be able to read it.
    let answer: ApiVersionsResponse = client.call(ApiKey::ApiVersions, 3, &request)?;
    ensure!(answer.error_code == 0 && answer.api_keys.len() > 30, "{answer:?}");
    Ok(())
}

fn offered(world: &mut World) -> Result<Vec<Json>> {
    let answer = world.ask("ApiVersions 0")?;
    answer["apiKeys"].as_array().cloned().context("keys")
}

fn range(keys: &[Json], key: i64) -> Option<(i64, i64)> {
    let found = keys.iter().find(|api| api["apiKey"] == json!(key))?;
    Some((found["minVersion"].as_i64()?, found["maxVersion"].as_i64()?))
}

/// librdkafka before 2.11.1 takes it for a sign that the broker can compress (KAFKA-18659).
#[test]
fn produce_is_listed_from_version_0() -> Result<()> {
    let mut world = World::start()?;
    let keys = offered(&mut world)?;
    ensure!(range(&keys, 0) == Some((0, 13)), "{:?}", range(&keys, 0));
    // Everything else that KIP-896 took away is not listed.
    ensure!(range(&keys, 1).is_some_and(|(low, _)| low == 4), "{:?}", range(&keys, 1));
    Ok(())
}

/// Clients that go by a configured version of Kafka (sarama, kafka-go) ask at once, and in old versions.
#[test]
fn a_client_that_does_not_negotiate_is_served() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    // What sarama sends for Kafka 2.1, each as the first request of a connection.
    let requests = [
        r#"Metadata 5 {"topics": [{"name": "t"}]}"#,
        r#"Produce 7 {"acks": -1, "timeoutMs": 20000, "topicData": [{"name": "t", "partitionData": [{"index": 0, "records": "batch:count=2"}]}]}"#,
        r#"Fetch 10 {"maxWaitMs": 0, "minBytes": 1, "maxBytes": 1000, "topics": [{"topic": "t", "partitions": [{"partition": 0, "fetchOffset": 0, "partitionMaxBytes": 1000}]}]}"#,
        r#"ListOffsets 1 {"replicaId": -1, "topics": [{"name": "t", "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]}"#,
        r#"FindCoordinator 1 {"key": "g", "keyType": 0}"#,
        r#"InitProducerId 1 {"transactionalId": null, "transactionTimeoutMs": 60000}"#,
        r#"DescribeConfigs 1 {"resources": [{"resourceType": 2, "resourceName": "t"}]}"#,
        r#"ListGroups 1 {}"#,
    ];
    for request in requests {
        ask(&mut Side::connect(&world.node)?, request).with_context(|| request.to_string())?;
    }
    Ok(())
}

/// Clients push metrics to whoever lists these (KIP-714); without a receiver Kafka does not list them.
#[test]
fn telemetry_is_listed_only_with_a_receiver() -> Result<()> {
    let mut world = World::start()?;
    let keys = offered(&mut world)?;
    ensure!(range(&keys, 71).is_none() && range(&keys, 72).is_none(), "{keys:?}");
    Ok(())
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() -> Result<()> {
    let world = World::with(NodeOptions::default().with("connections.max.idle.ms", "3000"))?;
    let mut idle = TcpStream::connect(world.node.bootstrap())?;
    idle.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut busy = Side::connect(&world.node)?;
    let closed = ottla_testkit::wait_until("the end of the idle one", crate::SETTLE, || {
        assert!(ask(&mut busy, "ApiVersions 0").is_ok(), "{}", world.node.tail());
        matches!(idle.read(&mut [0; 1]), Ok(0))
    });
    closed.with_context(|| world.node.tail())
}

/// What clients are sent to is what is advertised, not where the broker listens.
#[test]
fn clients_are_sent_to_the_advertised_address() -> Result<()> {
    let advertised = "PLAINTEXT://kafka.example:12345";
    let mut world = World::with(NodeOptions::default().with("advertised.listeners", advertised))?;
    let expected = json!(["kafka.example", 12345]);
    let metadata = world.ask("Metadata 12 {}")?;
    let place = |broker: &Json| json!([broker["host"], broker["port"]]);
    ensure!(place(&metadata["brokers"][0]) == expected, "{metadata}");
    let cluster = world.ask("DescribeCluster 1 {}")?;
    ensure!(place(&cluster["brokers"][0]) == expected, "{cluster}");
    let found = world.ask(
        "FindCoordinator 4 {\"keyType\": 0, \"coordinatorKeys\": [\"g\"]}\n  until coordinators[0].errorCode = 0",
    )?;
    ensure!(place(&found["coordinators"][0]) == expected, "{found}");
    Ok(())
}

/// librdkafka tries ::1 first for `localhost`.
#[test]
fn localhost_is_served_over_both_families() -> Result<()> {
    // Java binds the one address that the name has first.
    if Kind::target() == Kind::Ottla { both_families("localhost") } else { Ok(()) }
}

#[test]
fn a_wildcard_is_served_over_both_families() -> Result<()> {
    both_families("")?;
    both_families("[::]")
}

fn both_families(host: &str) -> Result<()> {
    if TcpListener::bind("[::1]:0").is_err() {
        note_skip("both_families", "IPv6", "this machine has no ::1");
        return Ok(());
    }
    let mut node = Node::prepare(NodeOptions::default())?;
    let file = node.properties_file();
    let usual = std::fs::read_to_string(&file)?;
    let other = usual
        .replace("\nlisteners=PLAINTEXT://127.0.0.1:", &format!("\nlisteners=PLAINTEXT://{host}:"));
    ensure!(usual != other, "{usual}");
    std::fs::write(&file, other)?;
    node.format(Kind::target())?;
    node.start_as(Kind::target())?;
    let port = node.bootstrap().rsplit(':').next().context("port")?.to_string();
    for address in ["127.0.0.1", "[::1]"] {
        let mut client = RawClient::connect(&format!("{address}:{port}"))?;
        let body = client.exchange(ApiKey::ApiVersions, 0, b"");
        body.with_context(|| format!("{host} at {address}"))?;
    }
    Ok(())
}

/// Requests that come in one packet are answered one after the other, in order.
#[test]
fn answers_come_in_the_order_of_requests() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let mut stream = TcpStream::connect(world.node.bootstrap())?;
    stream.set_read_timeout(Some(crate::SETTLE))?;
    let mut all = Vec::new();
    for id in 1..=50 {
        all.extend(frame(ApiKey::ApiVersions, 0, id, b"")?);
    }
    std::io::Write::write_all(&mut stream, &all)?;
    for id in 1..=50_i32 {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let length = u64::from(u32::from_be_bytes(head[..4].try_into()?));
        ensure!(head[4..] == id.to_be_bytes(), "answer {id}: {head:?}");
        std::io::copy(&mut (&stream).take(length - 4), &mut std::io::sink())?;
    }
    Ok(())
}
