//! Where a key's value comes from: file, then the KAFKA_ environment of Kafka's container image, then `--override`.

use std::time::Duration;

use ottla_testkit::{NodeOptions, Process, wait_until};

use crate::support::{command, formatted, json, properties, succeeds};

/// Partitions of a new topic on a node that is started so.
fn partitions(variables: &[(&str, &str)], overrides: &[&str]) -> u64 {
    let node = formatted(NodeOptions::default().with("num.partitions", "2")).unwrap();
    let file = properties(&node);
    let mut command = command(&["server", &file]);
    for text in overrides {
        command.args(["--override", text]);
    }
    command.envs(variables.iter().copied());
    let process = Process::start(&mut command, &node.folder().join("own.log")).unwrap();
    let limit = Duration::from_secs(30);
    wait_until("it to be ready", limit, || process.output().contains(" ready")).unwrap();
    succeeds(&["-b", node.bootstrap(), "topic", "create", "t"], "").unwrap();
    let topic = json(&["-b", node.bootstrap(), "topic", "describe", "t"]).unwrap();
    topic[0]["partitions"].as_array().unwrap().len() as u64
}

#[test]
fn later_sources_win() {
    assert_eq!(partitions(&[], &[]), 2);
    assert_eq!(partitions(&[("KAFKA_NUM_PARTITIONS", "3")], &[]), 3);
    let overrides = ["num.partitions=7", "num.partitions=4"];
    assert_eq!(partitions(&[("KAFKA_NUM_PARTITIONS", "3")], &overrides), 4);
}

#[test]
fn values_may_come_from_the_environment_by_a_provider() {
    let overrides = [
        "config.providers=env",
        "config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider",
        "num.partitions=${env:HOW_MANY}",
    ];
    assert_eq!(partitions(&[("HOW_MANY", "5")], &overrides), 5);
}
