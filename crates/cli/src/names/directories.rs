//! Log directories as `kafka-storage` sees them: which are formatted, and what is wrong.
//!
//! Files are only read, and without the lock of a node that runs on them.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ottla_config::BrokerConfig;
use ottla_types::Uuid;

use super::java::hash_order;
use super::say;
use super::stop::{Run, Stop};

/// The directories of a node, sorted.
pub(super) fn of(config: &BrokerConfig) -> Vec<String> {
    let mut all: BTreeSet<String> = config.dirs.log_dirs.iter().cloned().collect();
    all.insert(config.dirs.metadata_log_dir.clone());
    all.into_iter().collect()
}

/// A `meta.properties`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    version: i32,
    cluster_id: Option<String>,
    node_id: Option<i32>,
    directory_id: Option<String>,
}

impl Meta {
    fn parse(text: &str) -> Result<Self, String> {
        let entries = ottla_config::properties::parse(text).map_err(|error| error.to_string())?;
        let get = |key: &str| {
            entries.iter().rev().find(|entry| entry.key == key).map(|entry| entry.value.clone())
        };
        let version = get("version").unwrap_or_else(|| "0".to_owned());
        let version = match version.trim().parse() {
            Ok(version @ (0 | 1)) => version,
            Ok(other) => return Err(format!("Unknown meta.properties version number {other}")),
            Err(_) => return Err(format!("Invalid meta.properties version string '{version}'")),
        };
        let key = if version == 0 { "broker.id" } else { "node.id" };
        let node_id = get(key).map(|value| {
            let wrong = |_| format!("Unable to read {key} as a base-10 number.");
            value.trim().parse::<i32>().map_err(wrong)
        });
        let node_id = node_id.transpose()?;
        if version == 1 && node_id.is_none() {
            return Err(format!("Failed to find {key}"));
        }
        let (cluster_id, directory_id) = (get("cluster.id"), get("directory.id"));
        if let Some(id) = directory_id.as_ref().filter(|id| id.parse::<Uuid>().is_err()) {
            return Err(format!("Unable to read directory.id as a Uuid: {id}"));
        }
        if version == 1 && cluster_id.is_none() {
            return Err("cluster.id was not found.".to_owned());
        }
        Ok(Self { version, cluster_id, node_id, directory_id })
    }

    /// Of a directory; nothing if it is not formatted.
    fn of(directory: &str) -> Result<Option<Self>, String> {
        match fs::read_to_string(file(directory)) {
            Ok(text) => Self::parse(&text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// As Java prints a sorted map.
    fn shown(&self) -> String {
        let node = if self.version == 0 { "broker.id" } else { "node.id" };
        let mut parts = vec![("version", self.version.to_string())];
        parts.extend(self.cluster_id.clone().map(|id| ("cluster.id", id)));
        parts.extend(self.directory_id.clone().map(|id| ("directory.id", id)));
        parts.extend(self.node_id.map(|id| (node, id.to_string())));
        parts.sort();
        let parts: Vec<_> = parts.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn file(directory: &str) -> String {
    format!("{}/meta.properties", directory.trim_end_matches('/'))
}

/// What `kafka-storage info` prints.
pub(super) fn info(directories: &[String]) -> Run<()> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let mut first: Option<Meta> = None;
    for directory in directories {
        let path = Path::new(directory);
        if !path.is_dir() {
            let what = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{directory} {what}"));
            continue;
        }
        found.push(directory.as_str());
        match (Meta::of(directory), &first) {
            (Err(why), _) => problems.push(format!("Error loading {}: {why}", file(directory))),
            (Ok(None), _) => problems.push(format!("{directory} is not formatted.")),
            (Ok(Some(meta)), None) => first = Some(meta),
            (Ok(Some(meta)), Some(first)) if meta.cluster_id != first.cluster_id => {
                problems.push("Mismatched cluster IDs between storage directories.".to_owned());
            }
            (Ok(Some(meta)), Some(first)) if meta.node_id != first.node_id => {
                problems.push("Mismatched node IDs between storage directories.".to_owned());
            }
            (Ok(Some(_)), Some(_)) => {}
        }
    }
    if first.as_ref().is_some_and(|meta| meta.version == 0) {
        problems.push(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the \
             directories are formatted for legacy mode."
                .to_owned(),
        );
    }
    let part = |title: &str, lines: &[&str]| {
        if !lines.is_empty() {
            say(title);
            lines.iter().for_each(|line| say(&format!("  {line}")));
            say("");
        }
    };
    let one = found.len() == 1;
    part(if one { "Found log directory:" } else { "Found log directories:" }, &found);
    if let Some(meta) = first {
        say(&format!("Found metadata: {}\n", meta.shown()));
    }
    let lines: Vec<&str> = problems.iter().map(String::as_str).collect();
    part(if lines.len() == 1 { "Found problem:" } else { "Found problems:" }, &lines);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Stop::End { out: String::new(), err: String::new(), code: 1 })
}

/// A directory that is formatted.
#[derive(Clone, Debug)]
pub(super) struct Formatted {
    /// The directory.
    pub path: String,
    meta: Meta,
}

/// What `kafka-storage format` finds; each list in the order of a Java map.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Directories that are formatted.
    pub formatted: Vec<Formatted>,
    /// Those that are not, or are not there.
    pub empty: Vec<String>,
    /// Those that cannot be read.
    pub unreadable: Vec<String>,
}

impl Found {
    /// Looks at directories.
    pub(super) fn look(directories: &[String]) -> Self {
        let mut found = Self::default();
        for path in directories.iter().cloned() {
            match Meta::of(&path) {
                Ok(Some(meta)) => found.formatted.push(Formatted { path, meta }),
                Ok(None) => found.empty.push(path),
                Err(_) => found.unreadable.push(path),
            }
        }
        hash_order(&mut found.formatted, 16, |one| &one.path);
        hash_order(&mut found.empty, 16, |path| path);
        hash_order(&mut found.unreadable, 16, |path| path);
        found
    }

    /// Whether all that is formatted belongs to this cluster and node.
    pub(super) fn verify(&self, cluster_id: &str, node_id: i32) -> Result<(), String> {
        for Formatted { path, meta } in &self.formatted {
            let file = file(path);
            if let Some(found) = meta.cluster_id.as_ref().filter(|found| *found != cluster_id) {
                return Err(format!(
                    "Invalid cluster.id in: {file}. Expected {cluster_id}, but read {found}"
                ));
            }
            if let Some(found) = meta.node_id.filter(|found| *found != node_id) {
                return Err(format!(
                    "Stored node id {found} doesn't match previous node id {node_id} in {file}. If \
                     you moved your data, make sure your configured node id matches. If you \
                     intend to create a new node, you should remove all data in your data \
                     directories."
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_kafka_reads_them() {
        let check = |text: &str, expected: &str| {
            let found = Meta::parse(text).map_or_else(|error| error, |meta| meta.shown());
            assert_eq!(found, expected, "{text:?}");
        };
        let directory = "ZLlRlUU4g7FGVMl2JyFeYg";
        check(
            &format!("version=1\nnode.id=1\ncluster.id=c\ndirectory.id={directory}\n"),
            &format!("{{cluster.id=c, directory.id={directory}, node.id=1, version=1}}"),
        );
        check("garbage", "{version=0}");
        check("broker.id=3", "{broker.id=3, version=0}");
        check("version=2", "Unknown meta.properties version number 2");
        check("version=x", "Invalid meta.properties version string 'x'");
        check("version=1\ncluster.id=c", "Failed to find node.id");
        check("version=1\nnode.id=x", "Unable to read node.id as a base-10 number.");
        check("version=1\nnode.id=1", "cluster.id was not found.");
    }
}
