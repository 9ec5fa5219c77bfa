//! Several listeners: an answer carries the endpoint of the listener it came by.

use ottla_testkit::{NodeOptions, free_port};

use crate::support::{check_failure, json, ottla, running};

#[test]
fn an_answer_carries_the_endpoint_of_its_own_listener() {
    let ports = [(); 4].map(|()| free_port().unwrap());
    let [inner, outer, behind, controller] = ports;
    let listeners = format!(
        "INNER://127.0.0.1:{inner},OUTER://127.0.0.1:{outer},HIDDEN://127.0.0.1:{behind},\
         CONTROLLER://127.0.0.1:{controller}"
    );
    let advertised =
        format!("INNER://127.0.0.1:{inner},OUTER://localhost:{outer},HIDDEN://kafka.example:19092");
    let map = "INNER:PLAINTEXT,OUTER:PLAINTEXT,HIDDEN:PLAINTEXT,CONTROLLER:PLAINTEXT";
    let options = NodeOptions::default()
        .with("listeners", &listeners)
        .with("advertised.listeners", &advertised)
        .with("listener.security.protocol.map", map)
        .with("inter.broker.listener.name", "INNER")
        .with("controller.quorum.voters", &format!("1@127.0.0.1:{controller}"));
    // The harness looks for a node at its usual address, so this one is started by hand.
    let node = crate::support::formatted(options).unwrap();
    let arguments = ["server", &crate::support::properties(&node)];
    let mut command = crate::support::command(&arguments);
    let log = node.folder().join("own.log");
    let process = ottla_testkit::Process::start(&mut command, &log).unwrap();
    let limit = std::time::Duration::from_secs(30);
    ottla_testkit::wait_until("it to be ready", limit, || process.output().contains(" ready"))
        .unwrap();
    let cases = [
        (inner, format!("127.0.0.1:{inner}")),
        (outer, format!("localhost:{outer}")),
        (behind, "kafka.example:19092".to_owned()),
    ];
    for (port, expected) in cases {
        let at = format!("127.0.0.1:{port}");
        let info = json(&["-b", &at, "cluster", "info"]).unwrap();
        assert_eq!(info["brokers"][0]["address"], expected, "{info}");
    }
    // The commonest trap of all is found and explained.
    let at = format!("127.0.0.1:{behind}");
    let ran = ottla(&["-b", &at, "--timeout", "5", "doctor"]).unwrap();
    assert_eq!(ran.code, Some(10), "{}{}", ran.stdout, ran.stderr);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        said.contains("kafka.example:19092") && said.contains("advertised.listeners"),
        "{said}"
    );
    // A client that runs into it is told the same.
    let ran = ottla(&["-b", &at, "--timeout", "5", "produce", "t", "-P", "/dev/null"]).unwrap();
    if ran.code != Some(0) {
        check_failure("produce", &ran, 4, &["advertised.listeners"]).unwrap();
    }
}

#[test]
fn the_controllers_listener_is_not_for_clients() {
    let node = running(NodeOptions::default()).unwrap();
    let ran = ottla(&["-b", node.controller(), "--timeout", "5", "topic", "list"]).unwrap();
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
}

#[test]
fn a_start_on_a_taken_port_formats_nothing() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    for (clients, http) in
        [(taken.to_string(), "none".to_owned()), ("127.0.0.1:0".to_owned(), taken.to_string())]
    {
        let folder = ottla_testkit::Folder::new("taken").unwrap();
        let data = folder.path().join("data");
        let properties = [
            format!("listeners=PLAINTEXT://{clients},CONTROLLER://127.0.0.1:0"),
            format!("ottla.http.listener={http}"),
            format!("log.dirs={}", data.display()),
        ];
        let mut arguments = vec!["server"];
        arguments.extend(properties.iter().flat_map(|property| ["--override", property.as_str()]));
        let ran = ottla(&arguments).unwrap();
        check_failure(&properties[0], &ran, 7, &[&taken.to_string()]).unwrap();
        assert!(!data.join("meta.properties").exists(), "{properties:?}");
    }
}
