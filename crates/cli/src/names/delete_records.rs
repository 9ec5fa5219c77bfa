//! `kafka-delete-records`.

use std::collections::BTreeMap;

use ottla_types::{Offset, PartitionIndex};
use serde_json::Value;

use super::java::{hash, hash_order_by};
use super::options::{Known, Options, with};
use super::session::{Properties, admin};
use super::stop::{Run, Stop};
use super::{help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with(
        "bootstrap-server",
        "server(s) to use for bootstrapping",
        "REQUIRED: where the cluster is.",
    ),
    with(
        "offset-json-file",
        "Offset json file path",
        "REQUIRED: a file such as {\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \
         \"offset\": 1}], \"version\": 1}; the records before each offset go.",
    ),
    with(
        "command-config",
        "command config property file path",
        "A file with settings of the client.",
    ),
];

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    delete(arguments).await.map_err(|stop| stop.caught(|message, _| Stop::err(message)))
}

async fn delete(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments)?;
    help_or_version(
        &options,
        "This tool helps to delete records of the given partitions down to the specified offset.",
    )?;
    options.require(&["bootstrap-server", "offset-json-file"]).map_err(Stop::Usage)?;
    let properties = Properties::of_file(options.one("command-config")?)?;
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    let admin = admin(bootstrap, &properties, "adminclient-1")?;
    let path = options.one("offset-json-file")?.unwrap_or_default();
    let text =
        std::fs::read_to_string(path).map_err(|_| failed(format!("Unable to read file {path}")))?;
    let wanted = wanted(&text)?;
    say("Executing records delete operation");
    let mut results = Vec::new();
    for (topic, before) in wanted {
        let indexes: Vec<_> = before.keys().copied().collect();
        let line = |index: PartitionIndex, result: Result<Offset, Stop>| match result {
            Ok(offset) => format!("partition: {topic}-{index}\tlow_watermark: {offset}"),
            Err(stop) => {
                let full = stop.caught(|_, full| Stop::err(full)).text();
                format!("partition: {topic}-{index}\terror: {full}")
            }
        };
        let mut left = BTreeMap::new();
        for index in indexes {
            // One at a time: a partition that does not exist is no reason to leave out others.
            let one = BTreeMap::from([(index, before.get(&index).copied().flatten())]);
            let done = match admin.delete_records(&topic, &one).await {
                Ok(mut done) => done.remove(&index).map(|result| result.map_err(Stop::from)),
                Err(error) => Some(Err(Stop::from(error))),
            };
            left.extend(done.map(|done| (index, done)));
        }
        for (index, done) in left {
            results.push((topic.clone(), index, line(index, done)));
        }
    }
    hash_order_by(&mut results, 16, |(topic, index, _)| {
        (31 + index.0).wrapping_mul(31).wrapping_add(hash(topic))
    });
    say("Records delete operation completed:");
    results.iter().for_each(|(_, _, line)| say(line));
    Ok(())
}

fn failed(message: impl Into<String>) -> Stop {
    Stop::Thrown { class: "java.lang.Exception".to_owned(), message: message.into() }
}

type Wanted = BTreeMap<String, BTreeMap<PartitionIndex, Option<Offset>>>;

/// What a file asks for; an offset of -1 means all records.
fn wanted(text: &str) -> Run<Wanted> {
    let value: Value =
        serde_json::from_str(text).map_err(|_| failed("The input string is not a valid JSON"))?;
    let field = |value: &Value, name: &str| {
        value.get(name).cloned().ok_or_else(|| failed(format!("No such field exists: `{name}`")))
    };
    let number = |value: &Value, kind: &str| {
        value.as_i64().ok_or_else(|| failed(format!("Expected `{kind}` value, received {value}")))
    };
    match value.get("version").map(|version| number(version, "Integer")).transpose()? {
        None | Some(1) => {}
        Some(other) => return Err(failed(format!("Not supported version field value {other}"))),
    }
    let partitions = value.get("partitions").ok_or_else(|| failed("Missing partitions field"))?;
    let partitions = partitions
        .as_array()
        .ok_or_else(|| failed(format!("Expected JSON array, received {partitions}")))?;
    let mut wanted = Wanted::new();
    let mut twice = Vec::new();
    for one in partitions {
        let topic = field(one, "topic")?;
        let topic = topic
            .as_str()
            .ok_or_else(|| failed(format!("Expected `String` value, received {topic}")))?;
        let index = number(&field(one, "partition")?, "Integer")?;
        let index = i32::try_from(index).ok().and_then(PartitionIndex::from_wire);
        let index = index.ok_or_else(|| failed("a partition has a number from 0 on"))?;
        let offset = number(&field(one, "offset")?, "Long")?;
        let all = wanted.entry(topic.to_owned()).or_default();
        if all.insert(index, Offset::from_wire(offset)).is_some() {
            twice.push(format!("{topic}-{index}"));
        }
    }
    if !twice.is_empty() {
        let twice = twice.join(",");
        return Err(failed(format!(
            "Offset json file contains duplicate topic partitions: {twice}"
        )));
    }
    Ok(wanted)
}
