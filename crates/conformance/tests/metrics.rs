//! Metrics say what happened: a load of known counts, and what each series gained by it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use ottla_conformance::Honest;
use ottla_protocol::{
    ApiKey, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest, HeartbeatResponse,
    MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic,
};
use ottla_testkit::{Kind, Node, NodeOptions, free_port};

/// All series with their values, as they are now.
fn series(address: &str) -> Result<BTreeMap<String, f64>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(lines.filter_map(pair).collect())
}

const TURNS: i64 = 7;

fn load(honest: &mut Honest) -> Result<()> {
    for turn in 0..TURNS {
        honest.work(turn)?;
    }
    let client = &mut honest.client;
    let groups = ["one", "two", "three"].map(Into::into).to_vec();
    let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
    let described: DescribeGroupsResponse = client.call(ApiKey::DescribeGroups, 5, &request)?;
    ensure!(described.groups.len() == 3, "{described:?}");
    for _ in 0..2 {
        let request = HeartbeatRequest { group_id: "one".into(), ..HeartbeatRequest::default() };
        let answer: HeartbeatResponse = client.call(ApiKey::Heartbeat, 3, &request)?;
        ensure!(answer.error_code != 0, "nobody coordinates that group");
    }
    let topic = |name: &str| MetadataRequestTopic {
        name: Some(name.into()),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic("honest"), topic("missing"), topic("absent")]),
        ..MetadataRequest::default()
    };
    let answer: MetadataResponse = client.call(ApiKey::Metadata, 8, &request)?;
    ensure!(answer.topics.len() == 3, "{answer:?}");
    Ok(())
}

#[test]
fn a_load_of_known_counts_is_counted() -> Result<()> {
    if Kind::target() == Kind::Kafka {
        // Its metrics are read over JMX.
        return Ok(());
    }
    let address = format!("127.0.0.1:{}", free_port()?);
    let options = NodeOptions::default().with("ottla.http.listener", &address);
    let mut node = Node::start(Kind::Ottla, options)?;
    let mut honest = Honest::start(&node)?;
    let before = series(&address)?;
    load(&mut honest)?;
    let after = series(&address)?;
    let gained = |name: &str| {
        after.get(name).copied().unwrap_or_default() - before.get(name).copied().unwrap_or_default()
    };
    let turns = f64::from(i32::try_from(TURNS)?);
    let requests = "kafka_network_requestmetrics_requests_total";
    let errors = "kafka_network_requestmetrics_errors_total";
    let topics = "kafka_server_brokertopicmetrics";
    let expected = [
        (format!("{requests}{{request=\"Produce\",version=\"8\"}}"), turns),
        (format!("{requests}{{request=\"FetchConsumer\",version=\"11\"}}"), turns),
        (format!("{requests}{{request=\"DescribeGroups\",version=\"5\"}}"), 1.0),
        (format!("{requests}{{request=\"Heartbeat\",version=\"3\"}}"), 2.0),
        (format!("{errors}{{request=\"Produce\",error=\"NONE\"}}"), turns),
        // Of the whole answer and of its partition, as Kafka counts.
        (format!("{errors}{{request=\"FetchConsumer\",error=\"NONE\"}}"), 2.0 * turns),
        (format!("{errors}{{request=\"DescribeGroups\",error=\"NOT_COORDINATOR\"}}"), 3.0),
        (format!("{errors}{{request=\"Heartbeat\",error=\"NOT_COORDINATOR\"}}"), 2.0),
        (format!("{errors}{{request=\"Metadata\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}}"), 2.0),
        (format!("{topics}_messagesin_total{{topic=\"honest\"}}"), turns),
        (format!("{topics}_totalproducerequests_total{{topic=\"honest\"}}"), turns),
        (format!("{topics}_totalfetchrequests_total{{topic=\"honest\"}}"), turns),
        (format!("{topics}_failedproducerequests_total"), 0.0),
        ("kafka_log_log_logendoffset{topic=\"honest\",partition=\"0\"}".to_owned(), turns),
        ("kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"}".to_owned(), turns),
    ];
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(name, wanted)| gained(name) != *wanted)
        .map(|(name, wanted)| format!("{name} gained {}, not {wanted}", gained(name)))
        .collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let value = |name: &str| after.get(name).copied().with_context(|| name.to_owned());
    // Each acknowledged write waited for a sync; what they took is a part of the total.
    let syncs = gained("kafka_log_logflushstats_logflushrateandtimems_count");
    ensure!(turns <= syncs, "{syncs} syncs");
    let phase = |name: &str| {
        value(&format!("kafka_network_requestmetrics_{name}_sum{{request=\"Produce\"}}"))
    };
    let parts = phase("requestqueuetimems")? + phase("localtimems")? + phase("remotetimems")?;
    let total = phase("totaltimems")?;
    ensure!((total - parts).abs() <= 0.01 * total + 1.0, "{parts} of {total}");
    for name in ["commit_latency_avg", "commit_latency_max", "election_latency_max"] {
        let milliseconds = value(&format!("kafka_server_raftmetrics_{name}"))?;
        ensure!((0.0..60_000.0).contains(&milliseconds), "{name}: {milliseconds}");
    }
    node.stop().map(drop)
}
