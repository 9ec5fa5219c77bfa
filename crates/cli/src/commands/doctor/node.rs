//! A node of this machine, by its configuration: what it would need to run, running or not.
//!
//! It reads files and asks the system; it opens no log and takes no lock, so a running node does not
//! notice.

use std::path::Path;
use std::time::{Duration, SystemTime};

use ottla_client::HostPort;
use ottla_config::{BrokerConfig, Input, load, properties};

use super::{Report, Verdict, who_listens};
use crate::exit::Failure;
use crate::settings::{System, advice, input};

/// A node that a configuration describes.
pub(super) struct LocalNode {
    config: BrokerConfig,
    /// As a person would type it.
    file: String,
    /// The cluster that its directories belong to.
    pub(super) cluster_id: Option<String>,
}

/// Adds what is to be said about a node's configuration and directories.
///
/// # Errors
/// The file cannot be read, or an override is no `key=value`.
pub(super) fn examine(
    file: &Path,
    overrides: &[String],
    report: &mut Report,
) -> Result<Option<LocalNode>, Failure> {
    let input = input(Some(file), overrides, false)?;
    let Some(config) = configuration(&input, report) else { return Ok(None) };
    let mut node = LocalNode { config, file: file.display().to_string(), cluster_id: None };
    let mut paths: Vec<&String> = node.config.dirs.log_dirs.iter().collect();
    if !paths.contains(&&node.config.dirs.metadata_log_dir) {
        paths.push(&node.config.dirs.metadata_log_dir);
    }
    let mut clusters: Vec<(String, String)> = Vec::new();
    for path in paths {
        if let Some(cluster) = directory(path, &node, report) {
            clusters.push((path.clone(), cluster));
        }
    }
    if let Some((first, cluster)) = clusters.first()
        && let Some((other, foreign)) = clusters.iter().find(|(_, other)| other != cluster)
    {
        report.advise(
            "log directories",
            Verdict::Failed,
            format!("{first} belongs to cluster {cluster}, {other} to cluster {foreign}"),
            "Take the directory that is not this node's out of log.dirs.",
        );
    }
    node.cluster_id = clusters.into_iter().next().map(|(_, cluster)| cluster);
    Ok(Some(node))
}

fn configuration(input: &Input, report: &mut Report) -> Option<BrokerConfig> {
    let name = input.file.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
    match load(input, &System) {
        Ok(loaded) => {
            report.add("configuration", Verdict::Ok, format!("a node can start with {name}"));
            for notice in loaded.notices {
                report.add("configuration", Verdict::Warning, notice.to_string());
            }
            Some(loaded.config)
        }
        Err(rejected) => {
            for problem in &rejected.problems {
                report.add("configuration", Verdict::Failed, problem.to_string());
            }
            if let Some(last) = report.findings.last_mut() {
                last.advice = Some(advice(&rejected).to_owned());
            }
            None
        }
    }
}

/// Adds what is to be said about one directory; answers whose cluster it belongs to.
fn directory(path: &str, node: &LocalNode, report: &mut Report) -> Option<String> {
    const CHECK: &str = "log directories";
    let folder = Path::new(path);
    if !folder.exists() {
        let detail = format!("{path} does not exist");
        report.advise(CHECK, Verdict::Failed, detail, format_advice(&node.file));
        return None;
    }
    if !folder.is_dir() {
        let advice = "A file has that name: correct log.dirs.";
        report.advise(CHECK, Verdict::Failed, format!("{path} is no directory"), advice);
        return None;
    }
    if !ottla_sys::is_writable(folder) {
        // The node may run as somebody else; whether it does well is asked elsewhere.
        report.advise(
            CHECK,
            Verdict::Warning,
            format!("{path} is not writable for this user"),
            "If the node shall run as this user, give it the directory (chown), or set log.dirs \
             to one that it may write; else run the doctor as the node's user.",
        );
    }
    match ottla_sys::disk_space(folder) {
        Ok(space) => report.space(path.to_owned(), space.usable, space.total),
        Err(error) => report.add(CHECK, Verdict::Skipped, format!("space of {path}: {error}")),
    }
    times(folder, SystemTime::now(), report);
    owner(folder, node, report)
}

fn format_advice(file: &str) -> String {
    format!(
        "If it should have data, correct log.dirs or mount its disk; a new cluster of one node is \
         made by `ottla storage format --cluster-id $(ottla storage random-uuid) --standalone \
         --config {file}`."
    )
}

/// Whose directory it is, from its `meta.properties`.
fn owner(folder: &Path, node: &LocalNode, report: &mut Report) -> Option<String> {
    const CHECK: &str = "log directories";
    let path = folder.display();
    let Ok(text) = std::fs::read_to_string(folder.join("meta.properties")) else {
        let detail = format!("{path} is not formatted");
        report.advise(CHECK, Verdict::Failed, detail, format_advice(&node.file));
        return None;
    };
    let entries = properties::parse(&text).unwrap_or_default();
    let value = |key: &str| {
        let entry = entries.iter().rev().find(|entry| entry.key == key);
        entry.map(|entry| entry.value.clone())
    };
    let own = node.config.node_id;
    // Kafka called it broker.id before KRaft.
    let found = value("node.id").or_else(|| value("broker.id")).unwrap_or_default();
    if found != own.to_string() {
        report.advise(
            CHECK,
            Verdict::Failed,
            format!("{path} belongs to node {found}, not {own}"),
            "Correct node.id or log.dirs.",
        );
    }
    value("cluster.id")
}

/// A file of a later day than today: the clock was set back, or is wrong now.
fn times(folder: &Path, now: SystemTime, report: &mut Report) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let times = entries.filter_map(|entry| {
        let modified = entry.metadata().ok()?.modified().ok()?;
        Some((modified.duration_since(now).ok()?, entry.path()))
    });
    let Some((ahead, path)) = times.max().filter(|(ahead, _)| FUTURE < *ahead) else { return };
    report.advise(
        "clock",
        Verdict::Failed,
        format!("{} was written {} s in the future", path.display(), ahead.as_secs()),
        "This machine's clock is behind, or was ahead when the node ran: set it, and keep it with \
         NTP (chrony, systemd-timesyncd). Retention goes by records' timestamps.",
    );
}

/// File systems and clocks need not agree to the last moment.
const FUTURE: Duration = Duration::from_secs(10);

impl LocalNode {
    /// Where its clients on this machine connect.
    pub(super) fn client_address(&self) -> Option<HostPort> {
        let listener = self.config.listeners.broker().find(|listener| listener.port != 0)?;
        let host = listener.host.as_deref().filter(|host| !["0.0.0.0", "::"].contains(host));
        Some(HostPort::new(host.unwrap_or("127.0.0.1"), listener.port))
    }

    /// Adds who has the ports that this node needs, which does not answer.
    pub(super) fn ports(&self, report: &mut Report) {
        let listeners = self.config.listeners.all.iter();
        let mut ports: Vec<_> =
            listeners.map(|one| (format!("listener {}", one.name), one.port)).collect();
        let http = self.config.http_listener.as_ref();
        ports.extend(http.map(|http| ("ottla.http.listener".to_owned(), http.port)));
        for (what, port) in ports {
            match ottla_sys::port_holder(port) {
                Ok(None) => report.add("port", Verdict::Ok, format!("{port} for {what} is free")),
                Ok(Some(_)) => {
                    let detail = format!("{port} for {what} is taken");
                    let advice = format!(
                        "{} If that is not this node, stop it or set another port.",
                        who_listens(port)
                    );
                    report.advise("port", Verdict::Failed, detail, advice);
                }
                Err(error) => {
                    report.add("port", Verdict::Skipped, format!("{port} for {what}: {error}"));
                }
            }
        }
    }
}
