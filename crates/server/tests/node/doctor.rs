//! `ottla doctor`: what it finds on real sockets, files and processes, and that it ends with code 10 then.
//!
//! A full disk is in `full_disk.rs`, an advertised listener that cannot be reached in `listeners.rs`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, SystemTime};

use ottla_testkit::{DevNode, Folder, NodeOptions, Process, wait_for};
use serde_json::Value;

use crate::support::{binary, formatted, ottla, properties, running};

/// Runs the doctor and checks its exit code and what it says.
fn check(situation: &str, arguments: &[&str], code: i32, says: &[&str]) {
    let ran = ottla(&[&["doctor"], arguments].concat()).unwrap();
    assert_eq!(ran.code, Some(code), "{situation}: {}{}", ran.stdout, ran.stderr);
    for text in says {
        assert!(ran.stdout.contains(text), "{situation} does not say {text:?}: {}", ran.stdout);
    }
    assert_eq!(ran.stdout.ends_with("\nhealthy\n"), code == 0, "{situation}: {}", ran.stdout);
}

#[test]
fn a_healthy_node_is_healthy_from_outside_and_by_its_configuration() {
    let node = running(NodeOptions::default()).unwrap();
    let says = ["clock                 this machine's and that of node 1 agree", "can be reached"];
    check("by its address", &["-b", node.bootstrap()], 0, &says);
    let file = properties(&node);
    let ran = ottla(&["doctor", "--config", &file, "-o", "json"]).unwrap();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["healthy"], &report["brokers"]), (&true.into(), &node.bootstrap().into()));
    let findings = report["findings"].as_array().unwrap();
    let of = |check: &str| findings.iter().filter(|one| one["check"] == check).collect::<Vec<_>>();
    assert_eq!(of("configuration")[0]["verdict"], "ok", "{report}");
    assert_eq!(of("log directories").len(), 2, "as the broker and as the disk say: {report}");
    assert!(of("open files")[0]["detail"].as_str().unwrap().contains("(ottla)"), "{report}");
}

/// A service that is no broker: it answers every connection by `answer`, given what it was sent.
fn service(answer: fn(&[u8]) -> Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            std::thread::spawn(move || serve(stream, answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: fn(&[u8]) -> Option<&'static [u8]>) {
    let mut sent = [0; 256];
    let len = stream.read(&mut sent).unwrap_or(0);
    match answer(&sent[..len]) {
        Some(text) => drop(stream.write_all(text)),
        // Until the other side has gone.
        None => while stream.read(&mut sent).is_ok_and(|len| 0 < len) {},
    }
}

#[test]
fn what_is_no_broker_is_named() {
    let own = format!("Process {} (", std::process::id());
    let http = |sent: &[u8]| {
        let answer = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        // One that waits for the end of a line, as many do.
        sent.starts_with(b"GET ").then_some(&answer[..])
    };
    let tls = |sent: &[u8]| match sent {
        [0x16, 0x03, ..] => Some(&b"\x15\x03\x03\x00\x02\x02\x28"[..]),
        _ => Some(&b""[..]),
    };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (situation, address, says) in [
        ("HTTP", service(http), "is an HTTP server, not a Kafka broker"),
        ("TLS", service(tls), "speaks TLS"),
        ("SSH", service(|_| Some(b"SSH-2.0-test\r\n")), "it says \"SSH-2.0-test\""),
        ("a door that closes", service(|_| Some(b"")), "accepts connections and closes them"),
        ("silence", silent.local_addr().unwrap().to_string(), "and says nothing"),
    ] {
        check(situation, &["-b", &address, "--timeout", "1"], 10, &[says, &own]);
    }
    let free = format!("127.0.0.1:{}", ottla_testkit::free_port().unwrap());
    check("nothing", &["-b", &free], 10, &["nothing listens on port", "`ottla server FILE`"]);
}

#[test]
fn an_advertised_address_of_another_cluster_is_found() {
    let dev = |arguments: &[&str]| {
        binary();
        DevNode::start(&[&["--override", "ottla.http.listener=none"], arguments].concat()).unwrap()
    };
    let other = dev(&[]);
    let advertised = format!("advertised.listeners=PLAINTEXT://{}", other.bootstrap());
    let node = dev(&["--override", &advertised]);
    let says = ["where from here a broker of cluster", "Set advertised.listeners"];
    check("another cluster's", &["-b", node.bootstrap()], 10, &says);
}

#[test]
fn a_low_limit_on_open_files_is_found() {
    let folder = Folder::new("files").unwrap();
    let mut shell = Command::new("sh");
    let dev = "ulimit -n 200; exec \"$0\" dev --override ottla.http.listener=none --format json";
    shell.args(["-c", dev]).arg(binary());
    let process = Process::start(&mut shell, &folder.path().join("log")).unwrap();
    let ready = wait_for("the node", Duration::from_secs(20), || {
        let output = process.output();
        output.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())
    });
    let ready = ready.unwrap();
    let bootstrap = ready["bootstrap"].as_str().unwrap();
    check("200 files", &["-b", bootstrap], 10, &["of 200\n", "ulimit -n"]);
    assert!(process.output().contains("few files may be open"), "{}", process.output());
    // Killed at the end, it leaves its temporary folder.
    let data = ready["data"].as_str().unwrap().to_owned();
    drop(process);
    std::fs::remove_dir_all(data).unwrap();
}

#[test]
fn groups_that_can_never_work_are_found() {
    let three = NodeOptions::default().with("offsets.topic.replication.factor", "3");
    let node = running(three).unwrap();
    let says = ["with 3 replicas on 1 broker", "set offsets.topic.replication.factor to 1"];
    check("three replicas", &["-b", node.bootstrap()], 10, &says);
}

#[test]
fn what_keeps_a_node_from_running_is_found() {
    let node = formatted(NodeOptions::default()).unwrap();
    let file = properties(&node);
    let doctor = |situation: &str, more: &[&str], says: &[&str]| {
        check(situation, &[&["--config", file.as_str()], more].concat(), 10, says);
    };
    let not_running =
        ["nothing listens on port", "listener PLAINTEXT is free", "`ottla server FILE`"];
    doctor("it does not run", &[], &not_running);
    let says = ["num.partitions", "Not a number", "`ottla config explain KEY`"];
    doctor("a bad value", &["--override", "num.partitions=many"], &says);
    let says = ["belongs to node 1, not 4", "Correct node.id or log.dirs"];
    let voters = "controller.quorum.voters=4@127.0.0.1:9093";
    doctor("another node's", &["--override", "node.id=4", "--override", voters], &says);
    let says = ["/nowhere/at/all does not exist", "ottla storage format"];
    doctor("no directory", &["--override", "log.dirs=/nowhere/at/all"], &says);
    let folder = Folder::new("doctor").unwrap();
    let bare = format!("log.dirs={}", folder.path().display());
    doctor("not formatted", &["--override", &bare], &["is not formatted", "ottla storage format"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = format!("ottla.http.listener={}", taken.local_addr().unwrap());
    let own = format!("Process {} (", std::process::id());
    doctor("a taken port", &["--override", &http], &["for ottla.http.listener is taken", &own]);

    let hour = SystemTime::now() + Duration::from_secs(3600);
    let meta = node.data().join("meta.properties");
    std::fs::File::options().write(true).open(&meta).unwrap().set_modified(hour).unwrap();
    doctor("a clock that was set back", &[], &["s in the future", "NTP"]);
}

#[test]
fn another_cluster_on_ones_own_port_is_found() {
    let node = running(NodeOptions::default()).unwrap();
    let mine = Folder::new("mine").unwrap();
    let data = mine.path();
    let meta = "version=1\ncluster.id=AAAAAAAAQACAAAAAAAAAAw\nnode.id=1\n";
    std::fs::write(data.join("meta.properties"), meta).unwrap();
    let dirs = format!("log.dirs={}", data.display());
    let file = properties(&node);
    let says = ["the directories are of AAAAAAAAQACAAAAAAAAAAw", "(ottla) listens on port"];
    check("another cluster", &["--config", &file, "--override", &dirs], 10, &says);
}
