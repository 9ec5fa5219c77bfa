//! `kafka-log-dirs`.

use std::collections::BTreeSet;

use ottla_client::{LogDir, LogDirReplica};
use ottla_types::NodeId;
use serde_json::{Value, json};

use super::java::{hash, hash_order, hash_order_by};
use super::options::{Known, Options, flag, with};
use super::session::{Properties, admin};
use super::stop::{Run, Stop, class_of};
use super::{help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "server(s)", "REQUIRED: where the cluster is."),
    with("command-config", "file", "A file with settings of the client."),
    flag("describe", "Describe log directories."),
    with("topic-list", "topics", "These topics, comma between them; without it, all."),
    with("broker-list", "ids", "On these brokers, comma between them; without it, all."),
];

const ABOUT: &str = "This tool helps to query log directory usage on the specified brokers.";

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments)?;
    help_or_version(&options, ABOUT)?;
    options.require(&["bootstrap-server", "describe"]).map_err(Stop::Usage)?;
    let properties = Properties::of_file(options.one("command-config")?)?;
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    let admin = admin(bootstrap, &properties, "log-dirs-tool")?;
    let topics = words(options.one("topic-list")?);
    let described = admin.describe_cluster().await?;
    let live = described.brokers.iter().filter(|node| !node.fenced).map(|node| node.id.to_wire());
    let live = int_order(live.collect());
    let asked = brokers(&words(options.one("broker-list")?))?;
    let missing: Vec<i32> = asked.iter().copied().filter(|id| !live.contains(id)).collect();
    if !missing.is_empty() {
        return Err(Stop::err(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent \
             brokers: {}",
            comma(&missing),
            comma(&live)
        )));
    }
    let chosen = if asked.is_empty() { live } else { asked };
    say("Querying brokers for log directories information");
    let mut brokers = Vec::new();
    for id in &chosen {
        let Some(node) = NodeId::from_wire(*id) else { continue };
        let mut directories = admin.describe_log_dirs(node).await?;
        let room = directories.len();
        hash_order(&mut directories, room, |directory| &directory.path);
        let directories: Vec<Value> =
            directories.into_iter().map(|directory| shown(directory, &topics)).collect();
        brokers.push(json!({"broker": id, "logDirs": directories}));
    }
    say(&format!("Received log directory information from brokers {}", comma(&chosen)));
    say(&json!({"brokers": brokers, "version": 1}).to_string());
    Ok(())
}

fn shown(mut directory: LogDir, topics: &BTreeSet<String>) -> Value {
    let order = |replica: &LogDirReplica| {
        let partition = u32::try_from(replica.partition.to_wire()).unwrap_or(0);
        (31 + partition).wrapping_mul(31).wrapping_add(hash(&replica.topic))
    };
    // They go through a map twice: with all replicas, then with those that were asked for.
    let replicas = &mut directory.replicas;
    hash_order_by(replicas, 16, order);
    replicas.retain(|replica| topics.is_empty() || topics.contains(&replica.topic));
    hash_order_by(replicas, 16, order);
    let shown = |replica: &LogDirReplica| {
        json!({
            "partition": format!("{}-{}", replica.topic, replica.partition),
            "size": replica.size_bytes,
            "offsetLag": replica.offset_lag,
            "isFuture": replica.is_future,
        })
    };
    let replicas: Vec<Value> = replicas.iter().map(shown).collect();
    let error = directory.error.map(|refusal| class_of(refusal.code));
    json!({"partitions": replicas, "error": error, "logDir": directory.path})
}

fn words(list: Option<&str>) -> BTreeSet<String> {
    let parts = list.unwrap_or_default().split(',').filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

fn brokers(words: &BTreeSet<String>) -> Run<Vec<i32>> {
    let number = |word: &String| {
        word.parse().map_err(|_| Stop::Thrown {
            class: "java.lang.NumberFormatException".to_owned(),
            message: format!("For input string: \"{word}\""),
        })
    };
    let numbers: BTreeSet<i32> = words.iter().map(number).collect::<Run<_>>()?;
    Ok(int_order(numbers))
}

/// The order of a `HashSet<Integer>`.
fn int_order(numbers: BTreeSet<i32>) -> Vec<i32> {
    let mut numbers: Vec<i32> = numbers.into_iter().collect();
    hash_order_by(&mut numbers, 16, |number| number.cast_unsigned());
    numbers
}

fn comma(numbers: &[i32]) -> String {
    let words: Vec<String> = numbers.iter().map(i32::to_string).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_java_reads_them() {
        let numbers = |text: &str| brokers(&words(Some(text)));
        assert_eq!(comma(&numbers("2,1,,17").unwrap()), "1,17,2");
        assert!(numbers("").unwrap().is_empty());
        let Err(Stop::Thrown { message, .. }) = numbers("1,x") else { panic!("x is no number") };
        assert_eq!(message, "For input string: \"x\"");
    }
}
