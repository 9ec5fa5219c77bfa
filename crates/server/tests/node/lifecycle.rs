//! Start, stop by one and by two signals, kill -9 and recovery.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ottla_testkit::{Folder, Kind, NodeOptions, Process, wait_until};

use crate::support::{
    check_failure, command, formatted, http_get, json, ottla, properties, running, succeeds,
};

/// The longest that an idle node takes to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(30);

fn two_directories(folder: &Folder) -> (NodeOptions, [std::path::PathBuf; 2]) {
    let directories = ["one", "two"].map(|name| folder.path().join(name));
    let [one, two] = directories.each_ref().map(|path| path.display().to_string());
    (NodeOptions::default().with("log.dirs", &format!("{one},{two}")), directories)
}

#[test]
fn sigterm_stops_an_idle_node_with_every_directory_marked_clean() {
    let folder = Folder::new("directories").unwrap();
    let (options, directories) = two_directories(&folder);
    let mut node = running(options).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "spread", "--partitions", "8"], "").unwrap();
    let marks = || directories.each_ref().map(|path| path.join(".kafka_cleanshutdown").exists());
    assert_eq!(marks(), [false, false], "a running node is not cleanly stopped");
    let took = node.stop().unwrap();
    assert!(took < STOP_LIMIT, "{took:?}");
    assert_eq!(marks(), [true, true]);
    let partitions = |path: &std::path::PathBuf| {
        let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("spread-")).count()
    };
    assert_eq!(directories.each_ref().map(partitions), [4, 4], "directories share partitions");
    node.restart().unwrap();
    assert_eq!(marks(), [false, false]);
    let replicas = json(&["-b", &bootstrap, "topic", "describe", "spread"]).unwrap();
    assert_eq!(replicas[0]["partitions"].as_array().unwrap().len(), 8);
}

#[test]
fn sigint_stops_too() {
    let node = formatted(NodeOptions::default()).unwrap();
    let log = node.folder().join("own.log");
    let mut process = Process::start(&mut command(&["server", &properties(&node)]), &log).unwrap();
    wait_until("it to be ready", LIMIT, || process.output().contains(" ready")).unwrap();
    let pid = process.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(process.wait(STOP_LIMIT).unwrap().code(), Some(0));
}

/// A signal to a process and one to its group, as `timeout` sends them, are one wish to stop.
#[test]
fn a_signal_that_comes_twice_stops_cleanly() {
    let mut node = running(NodeOptions::default()).unwrap();
    let process = node.process().unwrap();
    process.terminate().unwrap();
    process.terminate().unwrap();
    let status = process.wait(STOP_LIMIT).unwrap();
    assert_eq!(status.code(), Some(0), "{}", process.tail());
    assert!(node.data().join(".kafka_cleanshutdown").exists());
}

/// A consumer that is told nothing new until the node stops.
#[test]
fn a_stop_answers_consumers_that_wait_for_data() {
    let http = format!("127.0.0.1:{}", ottla_testkit::free_port().unwrap());
    let options = NodeOptions::default().with("ottla.http.listener", &http);
    let mut node = running(options).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "quiet"], "").unwrap();
    let mut consumer = TcpStream::connect(&bootstrap).unwrap();
    consumer.set_read_timeout(Some(LIMIT)).unwrap();
    let patience = 600_000_i32.to_be_bytes();
    let parts: [&[u8]; 10] = [
        // Fetch, version 4, of nobody's replica.
        &[0, 1, 0, 4, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &patience,
        &1_i32.to_be_bytes(),
        &(1_i32 << 20).to_be_bytes(),
        // Read uncommitted; one topic.
        &[0, 0, 0, 0, 1, 0, 5],
        b"quiet",
        // One partition, the first, from its start.
        &[0, 0, 0, 1],
        &[0; 4],
        &[0; 8],
        &(1_i32 << 20).to_be_bytes(),
    ];
    let request = parts.concat();
    consumer.write_all(&i32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    consumer.write_all(&request).unwrap();
    wait_until("the consumer to wait", LIMIT, || {
        let (_, metrics) = http_get(&http, "/metrics").unwrap();
        metrics.lines().any(|line| {
            line.ends_with(" 1") && line.contains("\"Fetch\"") && line.contains("purgatorysize")
        })
    })
    .unwrap();
    let took = node.stop().unwrap();
    assert!(took < STOP_LIMIT, "{took:?}");
    let mut answer = [0; 8];
    consumer.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [0, 0, 0, 9], "its correlation id");
}

/// Whether a process has a handler for this signal.
fn catches(pid: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[test]
fn sigterm_during_the_start_is_a_clean_stop() {
    const SIGTERM: u32 = 15;
    let mut node = running(NodeOptions::default()).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "many", "--partitions", "50"], "").unwrap();
    // There is something to recover.
    node.kill9().unwrap();
    let log = node.folder().join("second.log");
    let mut process = Process::start(&mut command(&["server", &properties(&node)]), &log).unwrap();
    wait_until("its signal handler", LIMIT, || catches(process.pid(), SIGTERM)).unwrap();
    process.terminate().unwrap();
    assert_eq!(process.wait(LIMIT).unwrap().code(), Some(0), "{}", process.tail());
    assert!(process.output().contains("stopped"), "{}", process.tail());
    assert!(node.data().join(".kafka_cleanshutdown").exists(), "{}", process.tail());
}

/// A client that asks and never reads: the shutdown waits for it, until the second signal.
#[test]
fn a_second_signal_stops_at_once() {
    let mut node = running(NodeOptions::default()).unwrap();
    let mut client = TcpStream::connect(node.bootstrap()).unwrap();
    fill(&mut client).unwrap();
    let process = node.process().unwrap();
    process.terminate().unwrap();
    wait_until("the stop to begin", LIMIT, || process.output().contains("stopping")).unwrap();
    // The very same moment is an echo of the first one, as `timeout` sends it.
    process.terminate().unwrap();
    assert!(process.ended().is_none(), "{}", process.tail());
    wait_until("the stop at once", LIMIT, || {
        process.terminate().is_err() || process.ended().is_some()
    })
    .unwrap();
    let status = process.wait(STOP_LIMIT).unwrap();
    assert_eq!(status.code(), Some(130), "{}", process.tail());
    assert!(!node.data().join(".kafka_cleanshutdown").exists());
}

/// Sends requests until the broker, which cannot get rid of its answers, takes no more.
fn fill(client: &mut TcpStream) -> Result<()> {
    // ApiVersions, version 0, without a client id.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    client.set_write_timeout(Some(Duration::from_millis(500)))?;
    let requests = REQUEST.repeat(1000);
    for _ in 0..10_000 {
        if client.write_all(&requests).is_err() {
            return Ok(());
        }
    }
    anyhow::bail!("the broker reads without end")
}

#[test]
fn after_kill_9_everything_acknowledged_is_there_and_the_node_is_soon_writable() {
    let mut node = running(NodeOptions::default()).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "kept"], "").unwrap();
    let mut expected = String::new();
    let mut fastest = Duration::MAX;
    for round in 0..3 {
        let lines: String = (0..200).map(|line| format!("{round}-{line}\n")).collect();
        succeeds(&["-b", &bootstrap, "produce", "kept"], &lines).unwrap();
        expected.push_str(&lines);
        node.kill9().unwrap();
        let begun = Instant::now();
        node.restart().unwrap();
        let more = format!("again {round}\n");
        succeeds(&["-b", &bootstrap, "produce", "kept"], &more).unwrap();
        fastest = fastest.min(begun.elapsed());
        expected.push_str(&more);
    }
    let consume = ["-b", &bootstrap, "consume", "kept", "--from-beginning", "--exit-at-end"];
    assert_eq!(succeeds(&consume, "").unwrap(), expected);
    // Of three, because this machine may be busy with something else.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[test]
fn a_port_in_use_is_a_conflict_and_changes_nothing() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let node = formatted(NodeOptions::default()).unwrap();
    let listeners = format!("listeners=PLAINTEXT://{address},CONTROLLER://{}", node.controller());
    let arguments = ["server", &properties(&node), "--override", &listeners];
    let ran = ottla(&arguments).unwrap();
    let says = ["listener PLAINTEXT", &address.to_string(), "in use"];
    check_failure("a taken port", &ran, 7, &says).unwrap();
    assert!(!node.data().join("__cluster_metadata-0").exists());
}

#[test]
fn a_directory_in_use_is_a_conflict() {
    let node = running(NodeOptions::default()).unwrap();
    let ran = ottla(&["server", &properties(&node)]).unwrap();
    let data = node.data().display().to_string();
    let says = [&data, "locked by another process", "stop it, or give this one other log.dirs"];
    check_failure("a second node", &ran, 7, &says).unwrap();
    // The first one was not disturbed.
    let topics = json(&["-b", node.bootstrap(), "topic", "list"]).unwrap();
    assert_eq!(topics, serde_json::json!([]));
    assert_eq!(node.kind(), Kind::Ottla);
}

#[test]
fn the_log_is_json_if_asked() {
    let check = || -> Result<()> {
        let node = formatted(NodeOptions::default())?;
        let arguments = ["server", &properties(&node), "--log-format", "json"];
        let mut process = Process::start(&mut command(&arguments), &node.folder().join("json"))?;
        wait_until("it to be ready", LIMIT, || process.output().contains("\"ready\""))?;
        process.terminate()?;
        process.wait(STOP_LIMIT)?;
        for line in process.output().lines() {
            let value: serde_json::Value = serde_json::from_str(line)?;
            ensure!(value["level"].is_string() && value["message"].is_string(), "{line}");
        }
        Ok(())
    };
    check().unwrap();
}

#[test]
fn a_broker_that_is_not_registered_in_time_gives_up() {
    let node = formatted(NodeOptions::default()).unwrap();
    let limit = "initial.broker.registration.timeout.ms=1";
    let ran = ottla(&["server", &properties(&node), "--override", limit]).unwrap();
    check_failure("too late", &ran, 1, &["registration within 1 ms", "initial.broker."]).unwrap();
}

#[test]
fn a_stop_asks_the_controller_unless_it_is_told_not_to() {
    for (wanted, asks) in [("true", true), ("false", false)] {
        let options = NodeOptions::default().with("controlled.shutdown.enable", wanted);
        let mut node = running(options).unwrap();
        node.stop().unwrap();
        let log = std::fs::read_to_string(node.folder().join("log")).unwrap();
        assert_eq!(log.contains("the broker may stop"), asks, "{log}");
        assert!(node.data().join(".kafka_cleanshutdown").exists());
    }
}
