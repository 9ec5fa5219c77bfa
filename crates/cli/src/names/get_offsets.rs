//! `kafka-get-offsets`.

use std::collections::BTreeMap;

use ottla_codec::Str;
use ottla_protocol::{ListOffsetsRequest, list_offsets_request};
use ottla_types::PartitionIndex;

use super::java::{IncludeList, is_internal};
use super::options::{Known, Options, flag, with};
use super::session::{Properties, client, validate_bootstrap};
use super::stop::{Run, Stop, refuse};
use super::{complain, help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: where the cluster is."),
    with(
        "topic-partitions",
        "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
        "Topics, by regular expressions, and their partitions: a number, or a range without its end.",
    ),
    with("topic", "topic", "The topics, by a regular expression."),
    with("partitions", "partition ids", "The partitions, comma between them."),
    with(
        "time",
        "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local \
         / -5 or latest-tiered / -6 or earliest-pending-upload",
        "Which offset; by default the latest.",
    ),
    with("command-config", "config file", "A file with settings of the client."),
    flag("exclude-internal-topics", "Leave out internal topics."),
];

const ABOUT: &str = "An interactive shell for getting topic-partition offsets.";

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    match fetch(arguments).await {
        // An exception around another prints that one's class too.
        Err(stop) => Err(stop.caught(|message, _| Stop::err(format!("Error occurred: {message}")))),
        done => done,
    }
}

async fn fetch(arguments: &[String]) -> Run<()> {
    if arguments.is_empty() {
        return Err(Stop::Usage(ABOUT.to_owned()));
    }
    let options = Options::parse(KNOWN, arguments)?;
    help_or_version(&options, ABOUT)?;
    options.require(&["bootstrap-server"]).map_err(Stop::Usage)?;
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    validate_bootstrap(bootstrap).map_err(Stop::Usage)?;
    if options.has("topic-partitions") && 0 < options.count(&["topic", "partitions"]) {
        return Err(Stop::illegal(
            "--topic-partitions cannot be used with --topic or --partitions",
        ));
    }
    let time = time(options.one("time")?.unwrap_or("latest"))?;
    let rules = match options.one("topic-partitions")? {
        Some(text) => text.split(',').map(rule).collect::<Run<Vec<_>>>()?,
        None => {
            let topics = IncludeList::new(options.one("topic")?.unwrap_or(".*"))?;
            vec![Rule { topics, partitions: partitions(options.one("partitions")?)? }]
        }
    };
    let properties = Properties::of_file(options.one("command-config")?)?;
    let client = client(bootstrap, &properties, "GetOffsetShell")?;
    let mut found: BTreeMap<String, (String, i64)> = BTreeMap::new();
    let mut matched = false;
    for topic in client.metadata(None, false).await?.topics {
        let name = topic.name.as_str();
        if options.has("exclude-internal-topics") && is_internal(name) {
            continue;
        }
        for partition in &topic.partitions {
            if !rules.iter().any(|rule| rule.allows(name, partition.index)) {
                continue;
            }
            matched = true;
            match offset(&client, name, partition.index, time).await {
                Ok(Some(offset)) => {
                    let line = format!("{name}:{}:{offset}", partition.index);
                    found.insert(format!("{name}-{}", partition.index), (line, offset));
                }
                Ok(None) => {}
                Err(stop) => {
                    let skipped = |_, full| {
                        let what = format!("{name}-{}", partition.index);
                        Stop::err(format!(
                            "Skip getting offsets for topic-partition {what} due to error: {full}"
                        ))
                    };
                    if let Stop::End { err, .. } = stop.caught(skipped) {
                        complain(&err);
                    }
                }
            }
        }
    }
    if !matched {
        return Err(Stop::illegal(
            "Could not match any topic-partitions with the specified filters",
        ));
    }
    for (line, _) in found.values() {
        say(line);
    }
    Ok(())
}

async fn offset(
    client: &ottla_client::Client,
    topic: &str,
    index: PartitionIndex,
    time: i64,
) -> Run<Option<i64>> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: Str::from(topic),
            partitions: vec![list_offsets_request::ListOffsetsPartition {
                partition_index: index.to_wire(),
                timestamp: time,
                ..Default::default()
            }],
        }],
        timeout_ms: 30_000,
        ..ListOffsetsRequest::default()
    };
    let response = client.leader(topic, index).await?.send(&request).await?;
    let answer = response.topics.iter().flat_map(|topic| &topic.partitions).next();
    let Some(answer) = answer else { return Ok(None) };
    refuse(answer.error_code, None)?;
    Ok(Some(answer.offset).filter(|offset| 0 <= *offset))
}

fn time(text: &str) -> Run<i64> {
    let named = [
        ("latest", -1),
        ("earliest", -2),
        ("max-timestamp", -3),
        ("earliest-local", -4),
        ("latest-tiered", -5),
        ("earliest-pending-upload", -6),
    ];
    let number = named.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    number.or_else(|| text.parse().ok()).ok_or_else(|| {
        Stop::illegal(format!(
            "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or \
             max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or \
             earliest-pending-upload, or a specified long format timestamp"
        ))
    })
}

fn partitions(text: Option<&str>) -> Run<Partitions> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(Partitions::Range(0, i64::MAX));
    };
    let numbers: Option<Vec<i64>> = text.split(',').map(|word| word.parse().ok()).collect();
    numbers.map(Partitions::These).ok_or_else(|| {
        Stop::illegal(format!(
            "--partitions expects a comma separated list of numeric partition ids, but received: \
             {text}"
        ))
    })
}

struct Rule {
    topics: IncludeList,
    partitions: Partitions,
}

enum Partitions {
    These(Vec<i64>),
    /// From the first to before the second.
    Range(i64, i64),
}

impl Rule {
    fn allows(&self, topic: &str, index: PartitionIndex) -> bool {
        let index = i64::from(index.to_wire());
        self.topics.allows(topic)
            && match &self.partitions {
                Partitions::These(these) => these.contains(&index),
                Partitions::Range(from, to) => *from <= index && index < *to,
            }
    }
}

fn rule(text: &str) -> Run<Rule> {
    let (topics, range) = match text.split_once(':') {
        None => (text, None),
        Some((topics, range)) => (topics, Some(range)),
    };
    let number = |text: &str, empty: i64| {
        if text.is_empty() { Some(empty) } else { text.parse().ok() }
    };
    let partitions = match range.map(|range| range.split_once('-').ok_or(range)) {
        None | Some(Err("")) => Some(Partitions::Range(0, i64::MAX)),
        Some(Err(one)) => one.parse().ok().map(|one| Partitions::These(vec![one])),
        Some(Ok((from, to))) => {
            number(from, 0).zip(number(to, i64::MAX)).map(|(from, to)| Partitions::Range(from, to))
        }
    };
    let partitions = partitions.ok_or_else(|| Stop::Thrown {
        class: "java.lang.RuntimeException".to_owned(),
        message: format!(
            "org.apache.kafka.tools.TerseException: Invalid rule specification: {text}"
        ),
    })?;
    let topics = if topics.is_empty() { ".*" } else { topics };
    Ok(Rule { topics: IncludeList::new(topics)?, partitions })
}
