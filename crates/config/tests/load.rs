//! Whole configurations: what is accepted, what is refused, what is merely worth knowing.

use ottla_config::{Input, NoLookup, Scope, load, table};

/// Loads a file followed by `env NAME=VALUE` and `override KEY=VALUE` lines after `---`.
fn input(script: &str) -> Input {
    let (file, rest) = script.split_once("---\n").unwrap_or((script, ""));
    let mut input = Input::default();
    if !file.is_empty() {
        input.file = Some(("f".to_owned(), file.to_owned()));
    }
    for line in rest.lines() {
        let (kind, pair) = line.split_once(' ').unwrap_or((line, ""));
        let pair = pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        match kind {
            "env" => input.env.extend(pair),
            "override" => input.overrides.extend(pair),
            "strict" => input.strict = true,
            other => panic!("{other}"),
        }
    }
    input
}

/// What loading says: `listen ..`, `advertise ..`, notices and problems.
fn check(script: &str) -> String {
    let mut out = String::new();
    match load(&input(script), &NoLookup) {
        Ok(loaded) => {
            let listeners = &loaded.config.listeners;
            for listener in &listeners.all {
                out.push_str(&format!("listen {listener}\n"));
            }
            let advertised = listeners.advertised.iter().chain(&listeners.advertised_controller);
            for listener in advertised {
                out.push_str(&format!("advertise {listener}\n"));
            }
            for notice in &loaded.notices {
                out.push_str(&format!("note {notice}\n"));
            }
        }
        Err(rejected) => {
            for problem in &rejected.problems {
                out.push_str(&format!("! {problem}\n"));
            }
        }
    }
    out
}

const COMBINED: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@localhost:9093
";

const STOCK: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn the_table_knows_every_key_of_kafka_4_3() {
    let own = |name: &str| name.starts_with("ottla.");
    let keys: Vec<_> = table::broker_keys().filter(|key| !own(key.name)).collect();
    assert_eq!(keys.iter().filter(|key| !key.internal).count(), 340);
    assert_eq!(keys.iter().filter(|key| key.internal).count(), 20);
    let mut names: Vec<_> = table::broker_keys().map(|key| key.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 365);
    assert_eq!(table::TOPIC.iter().filter(|key| !own(key.name) && !key.internal).count(), 33);
    assert_eq!(table::GROUP.len(), 17);
    for keys in [table::TOPIC, table::GROUP, table::CLIENT_METRICS] {
        assert!(keys.is_sorted_by_key(|key| key.name));
    }
    for key in table::TOPIC.iter().chain(table::GROUP) {
        for synonym in key.synonyms {
            let broker = table::broker_key(synonym.name);
            assert!(broker.is_some(), "{} -> {}", key.name, synonym.name);
        }
        // KIP-226: the first broker key of a topic config can be changed while running.
        if let Some(first) = key.synonyms.first().filter(|_| table::topic_key(key.name).is_some()) {
            let scope = table::broker_key(first.name).map(|key| key.scope);
            assert_eq!(scope, Some(Scope::ClusterWide), "{}", first.name);
        }
    }
    assert!(table::broker_keys().all(|key| key.doc.ends_with('.') && key.doc.len() < 130));
}

#[test]
fn without_anything_it_is_a_combined_node_on_loopback() {
    assert_eq!(
        check(""),
        "\
listen PLAINTEXT://127.0.0.1:9092
listen CONTROLLER://127.0.0.1:9093
advertise PLAINTEXT://127.0.0.1:9092
advertise CONTROLLER://127.0.0.1:9093
note no configuration file: broker and controller on loopback, internal topics with one replica
"
    );
    let config = load(&input(""), &NoLookup).unwrap().config;
    assert_eq!(config.groups.offsets_topic.replication_factor, 1);
    assert_eq!(config.quorum.bootstrap_servers[0].to_string(), "127.0.0.1:9093");
    assert_eq!(config.dirs.log_dirs, ["data"]);
    assert_eq!(config.http_listener.unwrap().to_string(), "127.0.0.1:9404");
    assert_eq!(config.network.listen_backlog, None);
}

#[test]
fn the_command_line_changes_the_built_in_node() {
    let script = "---\noverride listeners=PLAINTEXT://:1,CONTROLLER://:2\noverride log.dir=x\n";
    let config = load(&input(script), &NoLookup).unwrap().config;
    assert_eq!(config.quorum.bootstrap_servers[0].to_string(), "127.0.0.1:2");
    assert_eq!(config.dirs.log_dirs, ["x"]);
    let script = "---\noverride socket.listen.backlog.size=50\n";
    let config = load(&input(script), &NoLookup).unwrap().config;
    assert_eq!(config.network.listen_backlog, Some(50), "as it is shown, if somebody wants it");
}

#[test]
fn a_container_is_configured_by_its_environment_alone() {
    let got = check(
        "---
env KAFKA_PROCESS_ROLES=broker,controller
env KAFKA_NODE_ID=1
env KAFKA_LISTENERS=PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094
env KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://host:32768,BROKER://abc:9093
env KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
env KAFKA_INTER_BROKER_LISTENER_NAME=BROKER
env KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER
env KAFKA_CONTROLLER_QUORUM_VOTERS=1@abc:9094
env KAFKA_HEAP_OPTS=-Xmx1g
",
    );
    assert_eq!(
        got,
        "\
listen PLAINTEXT://:9092
listen BROKER://:9093
listen CONTROLLER://:9094
advertise PLAINTEXT://host:32768
advertise BROKER://abc:9093
advertise CONTROLLER://abc:9094
"
    );
}

#[test]
fn kafkas_own_file_is_accepted() {
    let got = check(STOCK);
    assert!(got.starts_with("listen PLAINTEXT://:9092\nlisten CONTROLLER://:9093\n"), "{got}");
    assert!(got.contains("note f:9: num.network.threads has no effect: each connection is a task"));
    assert_eq!(got.matches("has no effect").count(), 6, "{got}");
    assert!(!got.contains("unknown"), "{got}");
}

#[test]
fn a_file_without_listeners_stays_on_loopback() {
    assert_eq!(
        check(COMBINED),
        "\
listen PLAINTEXT://127.0.0.1:9092
listen CONTROLLER://127.0.0.1:9093
advertise PLAINTEXT://127.0.0.1:9092
advertise CONTROLLER://127.0.0.1:9093
note listeners is not set: listening on PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093 \
only; set listeners to be reached from other machines
"
    );
}

#[test]
fn later_sources_win() {
    let script = format!(
        "{COMBINED}num.partitions=2\nnum.partitions=3\n---\nenv KAFKA_NUM_PARTITIONS=4\n\
         override num.partitions=5\n"
    );
    let loaded = load(&input(&script), &NoLookup).unwrap();
    assert_eq!(loaded.config.topics.partitions, 5);
    assert_eq!(
        format!("{:?}", loaded.settings.get("num.partitions").unwrap()),
        "\"5\" (--override)"
    );
    assert!(check(&script).contains("note f:6: num.partitions is set again; the last line counts"));
}

#[test]
fn unknown_and_former_keys() {
    let script = format!(
        "{COMBINED}listeners=PLAINTEXT://a:1,CONTROLLER://a:2\nnum.partitons=1\nzookeeper.connect=x\n"
    );
    let got = check(&script);
    assert!(
        got.contains("note f:6: unknown key num.partitons; did you mean num.partitions?"),
        "{got}"
    );
    assert!(got.contains("note f:7: zookeeper.connect has no effect: ZooKeeper mode"), "{got}");
    assert_eq!(
        check(&format!("{script}---\nstrict\n")),
        "! f:6: unknown key num.partitons; did you mean num.partitions?\n"
    );
}

#[test]
fn a_protection_that_does_not_exist_refuses_the_start() {
    for (line, what) in [
        (
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "authorization",
        ),
        ("super.users=User:admin", "authorization"),
        ("listener.name.plaintext.ssl.client.auth=required", "security of listeners"),
        ("ssl.keystore.password=secret", "TLS"),
        ("sasl.enabled.mechanisms=PLAIN", "SASL"),
        ("create.topic.policy.class.name=com.acme.Policy", "policy plug-ins"),
        ("delegation.token.secret.key=secret", "delegation tokens"),
        ("security.inter.broker.protocol=SSL", "TLS and SASL"),
    ] {
        let got = check(&format!("{COMBINED}{line}\n"));
        assert!(got.contains("! f:5:") && got.contains(what), "{line}: {got}");
        assert!(!got.contains("secret;") && !got.contains("=secret"), "{got}");
    }
    let tls = format!(
        "{COMBINED}listeners=SSL://:1,CONTROLLER://:2\nlistener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT\n"
    );
    assert!(check(&tls).contains("listener SSL uses SSL, which does not exist here yet"));
    for harmless in ["authorizer.class.name=", "ssl.client.auth=none", "ssl.protocol=TLSv1.3"] {
        let got = check(&format!("{COMBINED}{harmless}\n"));
        assert!(!got.contains('!'), "{harmless}: {got}");
    }
}

#[test]
fn rules_between_keys() {
    let base = "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=C\n";
    for (lines, expected) in [
        ("", "either controller.quorum.bootstrap.servers must contain"),
        ("controller.quorum.voters=2@h:1", "the node id 1 must be included in the set of voters"),
        ("controller.quorum.voters=1", "should be in the form `{id}@{host}:{port}`"),
        ("broker.id=2", "You must set `node.id` to the same value as `broker.id`."),
        ("listeners=PLAINTEXT://:1", "must only contain values appearing in the 'listeners'"),
        ("listeners=PLAINTEXT://:1,C://:1", "Each listener must have a different port"),
        ("listeners=PLAINTEXT://:1,C://:2,C://:3", "Each listener must have a different name"),
        ("listeners=A://:1,C://:2", "No security protocol defined for listener A"),
        ("listeners=C://:2", "There must be at least one broker advertised listener."),
        ("listeners=nonsense", "expected NAME://host:port"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:1", "nonroutable meta-address 0.0.0.0"),
        (
            "advertised.listeners=SSL://h:1",
            "must be a listener name defined in advertised.listeners",
        ),
        ("inter.broker.listener.name=X", "not found in listener.security.protocol.map."),
        (
            "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT",
            "Only one of inter.broker.listener.name and",
        ),
        ("listener.security.protocol.map=A:B", "Invalid security protocol `B`"),
        ("log.retention.ms=0", "log.retention.ms must be unlimited (-1) or"),
        ("replica.fetch.wait.max.ms=40000", "replica.socket.timeout.ms should always be at least"),
        ("queued.max.request.bytes=5", "queued.max.request.bytes must be larger or equal"),
        ("max.connections.per.ip=0", "can be set to zero only if"),
        ("max.connections.per.ip.overrides=a", "each entry should be in the form host:count"),
        ("connections.max.idle.ms=50", "to prevent failed authentication responses"),
        ("cordoned.log.dirs=/x", "All entries in cordoned.log.dirs must be present"),
        ("group.consumer.session.timeout.ms=1", "must be greater than or equal to"),
        ("group.coordinator.rebalance.protocols=consumer", "Disabling the 'classic' protocol"),
        ("offsets.topic.compression.codec=9", "Unknown compression type id: 9"),
        ("num.partitions=many", "! f:4: Invalid value many for configuration num.partitions"),
        ("ottla.durability=maybe", "String must be one of: fsync, os"),
        ("ottla.http.listener=nowhere", "must be none or host:port"),
        ("broker.rack=${env:NOPE}", "environment variable NOPE is not set"),
        ("broker.rack=\\u12", "! f:4: line 4: a \\u escape"),
    ] {
        let got = check(&format!("{base}{lines}\n"));
        assert!(got.contains(expected) && got.starts_with('!'), "{lines}: {got}");
    }
}

#[test]
fn roles_apart() {
    let broker = "process.roles=broker\nnode.id=2\ncontroller.listener.names=C\n\
                  controller.quorum.voters=1@h:1\nlisteners=PLAINTEXT://b:1\n";
    assert_eq!(check(broker), "listen PLAINTEXT://b:1\nadvertise PLAINTEXT://b:1\n");
    let controller = "process.roles=controller\nnode.id=1\ncontroller.listener.names=C\n\
                      controller.quorum.voters=1@h:1\nlisteners=C://:1\n";
    assert_eq!(check(controller), "listen C://:1\nadvertise C://h:1\n");
    for (lines, expected) in [
        (format!("{broker}node.id=1\n"), "must not be included in the set of voters"),
        (
            format!("{broker}listeners=PLAINTEXT://b:1,C://:2\n"),
            "must not contain a value appearing",
        ),
        (format!("{broker}controller.quorum.auto.join.enable=true\n"), "is only supported when"),
        (format!("{controller}listeners=C://:1,PLAINTEXT://:2\n"), "must only contain KRaft"),
        ("node.id=1\n".to_owned(), "Missing required configuration \"process.roles\""),
        ("process.roles=observer\n".to_owned(), "String must be one of: broker, controller"),
    ] {
        assert!(check(&lines).contains(expected), "{lines}: {}", check(&lines));
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let got =
        check(&format!("{COMBINED}num.partitions=0\nlog.segment.bytes=x\nlog.retention.ms=0\n"));
    assert_eq!(got.lines().filter(|line| line.starts_with('!')).count(), 3, "{got}");
}

#[test]
fn without_a_file_the_controller_needs_no_listener_of_its_own() {
    for (listeners, servers) in [
        ("PLAINTEXT://:9092", "127.0.0.1:9093"),
        (
            "A://h:1,PLAINTEXT://:2\noverride listener.security.protocol.map=A:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "127.0.0.1:9093",
        ),
        ("PLAINTEXT://:9092,controller://h:7", "h:7"),
    ] {
        let script = format!("---\noverride listeners={listeners}\n");
        let config = load(&input(&script), &NoLookup).unwrap().config;
        assert_eq!(config.quorum.bootstrap_servers[0].to_string(), servers, "{script}");
        assert_eq!(config.listeners.controller().count(), 1, "{script}");
    }
    // A file says all of it.
    let got = check(
        "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@h:1\n",
    );
    assert!(got.contains("must contain at least one value appearing in the 'listeners'"), "{got}");
}
