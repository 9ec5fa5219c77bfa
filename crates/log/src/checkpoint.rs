//! Kafka's small text files: checkpoints, identities, the mark of a clean shutdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ottla_types::{BrokerEpoch, DirectoryId, NodeId, Offset, TopicId, TopicPartition, Uuid};

/// The lines of a checkpoint: a version, which must be 0, a count, and that many lines.
///
/// Kafka creates a checkpoint empty and writes it later, so an empty file has no entries.
pub(crate) fn counted_lines(text: &str) -> Result<Vec<&str>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        other => return Err(format!("version is {other:?}, not 0")),
    }
    let count: usize = lines
        .next()
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| "no number of entries".to_owned())?;
    let entries: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if entries.len() == count {
        Ok(entries)
    } else {
        Err(format!("{} entries, but {count} are announced", entries.len()))
    }
}

/// Offsets of partitions, as the per-directory checkpoints hold them.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

pub(crate) fn parse_offsets(text: &str) -> Result<Offsets, String> {
    let mut offsets = Offsets::new();
    for line in counted_lines(text)? {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let entry = match fields.as_slice() {
            [topic, partition, offset] => TopicPartition::parse(&format!("{topic}-{partition}"))
                .zip(offset.parse().ok().and_then(Offset::from_wire)),
            _ => None,
        };
        let (partition, offset) = entry.ok_or_else(|| format!("malformed line {line:?}"))?;
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

pub(crate) fn render_offsets(offsets: &Offsets) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    text
}

/// `partition.metadata`: which topic a directory belongs to.
pub(crate) fn parse_topic_id(text: &str) -> Result<TopicId, String> {
    let mut lines = text.lines();
    match lines.next() {
        Some("version: 0") => {}
        other => return Err(format!("version line is {other:?}")),
    }
    let id = lines.next().and_then(|line| line.strip_prefix("topic_id: "));
    let id = id.ok_or_else(|| "no topic_id".to_owned())?;
    id.parse().map(TopicId).map_err(|_| format!("malformed topic_id {id:?}"))
}

pub(crate) fn render_topic_id(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// `.kafka_cleanshutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// Epoch that the broker was registered with.
    pub broker_epoch: Option<BrokerEpoch>,
}

impl CleanShutdown {
    pub(crate) fn render(self) -> String {
        let epoch = BrokerEpoch::option_to_wire(self.broker_epoch);
        format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}")
    }

    // Older versions left the file empty: it was its presence that counted.
    pub(crate) fn parse(text: &str) -> Self {
        let number = text.split_once("\"brokerEpoch\"").and_then(|(_, rest)| {
            let rest = rest.trim_start().strip_prefix(':')?.trim_start();
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(rest.len());
            rest.get(..end)?.parse().ok()
        });
        Self { broker_epoch: number.and_then(BrokerEpoch::from_wire) }
    }
}

/// `meta.properties`: whose a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// Id of the cluster.
    pub cluster_id: String,
    /// Number of the node.
    pub node_id: NodeId,
    /// Identity of this directory; absent before Kafka 3.7.
    pub directory_id: Option<DirectoryId>,
    /// Other properties, kept as they are.
    pub other: BTreeMap<String, String>,
}

impl MetaProperties {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut properties = BTreeMap::new();
        for line in text.lines().map(str::trim_start) {
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) = line.split_once(['=', ':']).ok_or("line without '='")?;
            // Java escapes what could be mistaken for a separator.
            properties.insert(key.trim().to_owned(), value.trim().replace('\\', ""));
        }
        let mut take = |key: &str| properties.remove(key);
        match take("version").as_deref() {
            Some("1") => {}
            other => return Err(format!("version is {other:?}, not 1")),
        }
        let cluster_id = take("cluster.id").ok_or("no cluster.id")?;
        let node_id = take("node.id").ok_or("no node.id")?;
        let node_id = node_id.parse().ok().and_then(NodeId::from_wire).ok_or("bad node.id")?;
        let directory_id = take("directory.id").map(|id| id.parse::<Uuid>()).transpose();
        let directory_id = directory_id.map_err(|_| "bad directory.id")?.map(DirectoryId);
        Ok(Self { cluster_id, node_id, directory_id, other: properties })
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::from("#\n");
        let _ = writeln!(text, "cluster.id={}", self.cluster_id);
        if let Some(id) = self.directory_id {
            let _ = writeln!(text, "directory.id={id}");
        }
        let _ = writeln!(text, "node.id={}", self.node_id);
        for (key, value) in &self.other {
            let _ = writeln!(text, "{key}={value}");
        }
        text.push_str("version=1\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_come_back() {
        let text = "0\n2\n__consumer_offsets 3 7\na.b-c 0 12\n";
        assert_eq!(render_offsets(&parse_offsets(text).unwrap()), text);
        assert!(parse_offsets("").unwrap().is_empty());
        for bad in ["0\n", "2\n0\n", "0\n1\n", "0\n1\nt 0\n", "0\n1\nt 0 -1\n", "0\n1\nt x 1\n"] {
            assert!(parse_offsets(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identities_come_back() {
        let text = "#\n#Mon Jan 05 10:00:00 UTC 2026\nnode.id=3\ndirectory.id=\
                    8ZzOTAnSTcyI8vnUR8wpbg\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n";
        let meta = MetaProperties::parse(text).unwrap();
        assert_eq!(meta.node_id, NodeId(3));
        assert_eq!(meta.cluster_id, "4L6g3nShT-eMCtK--X86sw");
        assert_eq!(MetaProperties::parse(&meta.render()).unwrap(), meta);
        for bad in ["", "version=0\n", "version=1\ncluster.id=x\n", "version=1\nnode.id=1\n"] {
            assert!(MetaProperties::parse(bad).is_err(), "{bad:?}");
        }
        let id = TopicId("8ZzOTAnSTcyI8vnUR8wpbg".parse().unwrap());
        assert_eq!(parse_topic_id(&render_topic_id(id)), Ok(id));
        assert!(parse_topic_id("version: 1\ntopic_id: x").is_err());
    }

    #[test]
    fn a_clean_shutdown_names_the_broker_epoch() {
        let clean = CleanShutdown { broker_epoch: Some(BrokerEpoch(12)) };
        assert_eq!(clean.render(), "{\"version\":0,\"brokerEpoch\":12}");
        assert_eq!(CleanShutdown::parse(&clean.render()), clean);
        for none in ["", "{\"version\":0,\"brokerEpoch\":-1}", "{\"brokerEpoch\":"] {
            assert_eq!(CleanShutdown::parse(none), CleanShutdown { broker_epoch: None });
        }
    }
}
