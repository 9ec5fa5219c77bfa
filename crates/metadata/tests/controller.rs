//! What requests lead to: scripts in, records and answers out, compared with golden files.

#![allow(clippy::unwrap_used, reason = "a script that cannot be read is a broken test")]
#![allow(clippy::disallowed_methods, reason = "golden files are read and written")]

mod script;

use std::collections::BTreeMap;

use script::World;

#[test]
fn bootstrap_writes_what_a_fresh_kafka_writes() {
    assert_eq!(
        run("activate 1"),
        "\
activate 1
  1 BeginTransaction
  2 FeatureLevel metadata.version=30
  3 FeatureLevel eligible.leader.replicas.version=1
  4 FeatureLevel group.version=1
  5 FeatureLevel share.version=1
  6 FeatureLevel streams.version=1
  7 FeatureLevel transaction.version=2
  8 Config 4: min.insync.replicas=1
  9 EndTransaction
"
    );
}

#[test]
fn broker_life() {
    check("broker_life", &run(include_str!("testdata/broker_life.script")));
}

#[test]
fn topics() {
    check("topics", &run(include_str!("testdata/topics.script")));
}

#[test]
fn elections_with_elr() {
    check("elections_with_elr", &run(include_str!("testdata/elections_with_elr.script")));
}

#[test]
fn elections_without_elr() {
    let levels = BTreeMap::from([("eligible.leader.replicas.version".to_owned(), 0)]);
    let script = include_str!("testdata/elections_without_elr.script");
    check("elections_without_elr", &run_with(script, &levels));
}

#[test]
fn configs_quotas_features_and_ids() {
    check("configs", &run(include_str!("testdata/configs.script")));
}

#[test]
fn leadership_and_commits() {
    check("leadership", &run(include_str!("testdata/leadership.script")));
}

/// Runs a script and returns it with what each line led to.
fn run(script: &str) -> String {
    run_with(script, &BTreeMap::new())
}

/// The same with other feature levels than the default.
fn run_with(script: &str, levels: &BTreeMap<String, i16>) -> String {
    let mut world = World::new(levels);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        world.line(line);
    }
    world.text
}

/// Compares with a golden file; `UPDATE_EXPECT=1` writes it.
fn check(name: &str, got: &str) {
    let path = format!("{}/tests/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, got).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == got, "{path} differs; got:\n{got}");
}
