//! `ottla.http.listener`: metrics and health, turned off, taken, and elsewhere.

use ottla_testkit::{DevNode, NodeOptions, free_port};

use crate::support::{
    binary, check_failure, formatted, http_get, ottla, properties, running, succeeds,
};

#[test]
fn metrics_and_health_are_served() {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let node = running(NodeOptions::default().with("ottla.http.listener", &address)).unwrap();
    let bootstrap = node.bootstrap();
    succeeds(&["-b", bootstrap, "topic", "create", "counted"], "").unwrap();
    succeeds(&["-b", bootstrap, "produce", "counted"], "one\ntwo\n").unwrap();
    let consume = ["-b", bootstrap, "consume", "counted", "--from-beginning", "--exit-at-end"];
    assert_eq!(succeeds(&consume, "").unwrap(), "one\ntwo\n");
    assert_eq!(http_get(&address, "/livez").unwrap(), (200, "ok\n".to_owned()));
    assert_eq!(http_get(&address, "/readyz").unwrap(), (200, "ready\n".to_owned()));
    assert_eq!(http_get(&address, "/admin").unwrap().0, 404);
    let (status, text) = http_get(&address, "/metrics").unwrap();
    assert_eq!(status, 200);
    for line in [
        "kafka_log_log_logendoffset{topic=\"counted\",partition=\"0\"} 2\n",
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"counted\"} 2\n",
        "kafka_controller_kafkacontroller_activecontrollercount 1\n",
        "kafka_controller_kafkacontroller_activebrokercount 1\n",
        "kafka_server_replicamanager_leadercount ",
        "kafka_network_requestmetrics_requests_total{request=\"Produce\"",
        "# TYPE kafka_server_brokertopicmetrics_messagesin_total counter\n",
    ] {
        let near: Vec<_> = text.lines().filter(|found| found.contains(&line[..20])).collect();
        assert!(text.contains(line), "{line:?} is missing; similar: {near:#?}");
    }
}

#[test]
fn every_metric_of_the_table_is_fed() {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let node = running(NodeOptions::default().with("ottla.http.listener", &address)).unwrap();
    let bootstrap = node.bootstrap();
    succeeds(&["-b", bootstrap, "topic", "create", "t"], "").unwrap();
    succeeds(&["-b", bootstrap, "produce", "t"], "one\n").unwrap();
    let consume = ["-b", bootstrap, "consume", "t", "--from-beginning", "-e", "--group", "g"];
    assert_eq!(succeeds(&consume, "").unwrap(), "one\n");
    let (_, text) = http_get(&address, "/metrics").unwrap();
    let areas = ottla_metrics::table::ALL.iter();
    let names = areas.flat_map(|area| area.metrics).map(|metric| metric.prometheus_name());
    let missing: Vec<_> = names.filter(|name| !text.contains(&format!("# TYPE {name} "))).collect();
    assert!(missing.is_empty(), "nothing shows {missing:#?}");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    assert_eq!(value("kafka_server_replicamanager_produceridcount"), 1.0);
    let lag = value("kafka_server_brokermetadatametrics_last_applied_record_lag_ms");
    assert!((0.0..60_000.0).contains(&lag), "{lag}");
    let idle = value("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent");
    assert!((0.0..=1.0).contains(&idle), "{idle}");
}

#[test]
fn none_opens_no_port() {
    let mut node = running(NodeOptions::default().with("ottla.http.listener", "none")).unwrap();
    let pid = node.process().unwrap().pid();
    assert_eq!(listening(pid), 2, "one for clients, one for controllers");
}

/// How many sockets of this process listen.
fn listening(pid: u32) -> usize {
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|to| Some(to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let listens = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A")
            && fields.get(9).is_some_and(|inode| own.iter().any(|own| own == inode))
    };
    table.lines().filter(listens).count()
}

#[test]
fn a_taken_port_stops_a_server_and_not_a_throw_away_node() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("ottla.http.listener={}", holder.local_addr().unwrap());
    let node = formatted(NodeOptions::default()).unwrap();
    let ran = ottla(&["server", &properties(&node), "--override", &taken]).unwrap();
    let says = ["ottla.http.listener", "set another port", "`none`"];
    check_failure("a taken port", &ran, 7, &says).unwrap();

    binary();
    let dev = DevNode::start(&["--override", &taken]).unwrap();
    assert!(dev.ready["http"].is_null(), "{}", dev.ready);
    let output = dev.process.output();
    assert!(output.contains("WARN") && output.contains("the port cannot be had"), "{output}");
}
