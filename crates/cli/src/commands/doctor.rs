//! `ottla doctor`: can clients use this cluster from here, and if not, why.

use ottla_client::{Admin, ClientError};
use serde::Serialize;

use super::counted;
use crate::args::ConnectionArgs;
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, bytes};
use crate::terminal::Terminal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    advice: Option<String>,
}

#[derive(Serialize)]
struct Report {
    brokers: String,
    healthy: bool,
    findings: Vec<Finding>,
}

impl Render for Report {
    fn text(&self, text: &mut Text) {
        for finding in &self.findings {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok      ",
                Verdict::Warning => "warning ",
                Verdict::Failed => "FAILED  ",
            };
            text.line(format!("{verdict}{:<22}{}", finding.check, finding.detail));
            if let Some(advice) = &finding.advice {
                text.line(format!("{:30}{advice}", ""));
            }
        }
        text.line(if self.healthy { "healthy" } else { "not healthy" });
    }
}

impl Report {
    fn add(&mut self, check: &'static str, verdict: Verdict, detail: impl Into<String>) {
        self.findings.push(Finding { check, verdict, detail: detail.into(), advice: None });
    }

    fn fail(&mut self, check: &'static str, error: &ClientError) {
        let (detail, advice) = (error.to_string(), error.hint());
        self.findings.push(Finding { check, verdict: Verdict::Failed, detail, advice });
    }
}

pub(crate) async fn run(connection: &ConnectionArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let admin = admin(connection)?;
    let mut report =
        Report { brokers: connection.brokers.clone(), healthy: false, findings: Vec::new() };
    examine(&admin, &mut report).await;
    report.healthy = report.findings.iter().all(|one| one.verdict != Verdict::Failed);
    terminal.print(&report)?;
    Ok(if report.healthy { Exit::Ok } else { Exit::Unhealthy })
}

/// Each check is worth doing only if those before it found what it needs.
async fn examine(admin: &Admin, report: &mut Report) {
    let connection = match admin.client().bootstrap().await {
        Ok(connection) => connection,
        Err(error) => return report.fail("bootstrap", &error),
    };
    let apis = connection.offered().api_keys.len();
    report.add("bootstrap", Verdict::Ok, format!("{} offers {apis} APIs", connection.address()));
    let metadata = match admin.client().metadata(None, false).await {
        Ok(metadata) => metadata,
        Err(error) => return report.fail("metadata", &error),
    };
    if metadata.brokers.is_empty() {
        report.add("metadata", Verdict::Failed, "no broker is registered and unfenced");
        return;
    }
    let id = metadata.cluster_id.as_deref().unwrap_or("unknown").to_owned();
    let count = (metadata.brokers.len(), metadata.topics.len());
    report.add(
        "metadata",
        Verdict::Ok,
        format!("cluster {id}, {}, {}", counted(count.0, "broker"), counted(count.1, "topic")),
    );
    advertised(admin, &metadata, report).await;
    partitions(&metadata, report);
    quorum(admin, report).await;
    log_dirs(admin, &metadata, report).await;
}

/// The commonest trap of all: the bootstrap address works, the advertised ones do not.
async fn advertised(admin: &Admin, metadata: &ottla_client::ClusterMetadata, report: &mut Report) {
    for node in &metadata.brokers {
        match admin.client().node(node.id).await {
            Ok(_) => {
                let detail = format!("broker {} at {} can be reached", node.id, node.address);
                report.add("advertised listener", Verdict::Ok, detail);
            }
            Err(error) => report.fail("advertised listener", &error),
        }
        if ["0.0.0.0", "::"].contains(&node.address.host.as_str()) {
            let detail = format!("broker {} advertises {}", node.id, node.address);
            report.findings.push(Finding {
                check: "advertised listener",
                verdict: Verdict::Failed,
                detail,
                advice: Some(
                    "That means every interface and is no address to connect to; set \
                     advertised.listeners."
                        .to_owned(),
                ),
            });
        }
    }
}

fn partitions(metadata: &ottla_client::ClusterMetadata, report: &mut Report) {
    let (mut all, mut leaderless, mut under, mut offline) = (0_usize, 0_usize, 0_usize, 0_usize);
    for partition in metadata.topics.iter().flat_map(|topic| &topic.partitions) {
        all += 1;
        leaderless += usize::from(partition.leader.is_none());
        under += usize::from(partition.isr.len() < partition.replicas.len());
        offline += usize::from(!partition.offline.is_empty());
    }
    let verdict = match (leaderless, under + offline) {
        (0, 0) => Verdict::Ok,
        (0, _) => Verdict::Warning,
        _ => Verdict::Failed,
    };
    let detail = format!(
        "{all} in all, {leaderless} without a leader, {under} not fully in sync, {offline} with \
         offline replicas"
    );
    report.add("partitions", verdict, detail);
}

async fn quorum(admin: &Admin, report: &mut Report) {
    match admin.describe_quorum().await {
        Ok(quorum) => match quorum.leader {
            Some(leader) => {
                let (voters, observers) = (quorum.voters.len(), quorum.observers.len());
                let detail = format!(
                    "node {leader} leads {}, {}",
                    counted(voters, "voter"),
                    counted(observers, "observer")
                );
                report.add("metadata quorum", Verdict::Ok, detail);
            }
            None => report.add("metadata quorum", Verdict::Failed, "no leader"),
        },
        Err(error) => report.fail("metadata quorum", &error),
    }
}

async fn log_dirs(admin: &Admin, metadata: &ottla_client::ClusterMetadata, report: &mut Report) {
    for node in &metadata.brokers {
        let dirs = match admin.describe_log_dirs(node.id).await {
            Ok(dirs) => dirs,
            // Already reported as an address that cannot be reached.
            Err(ClientError::Advertised { .. }) => continue,
            Err(error) => {
                report.fail("log directories", &error);
                continue;
            }
        };
        for dir in dirs {
            if let Some(error) = dir.error {
                report.add("log directories", Verdict::Failed, format!("{}: {error}", dir.path));
                continue;
            }
            let nearly_full = dir.usable_bytes.zip(dir.total_bytes);
            let nearly_full = nearly_full.is_some_and(|(free, all)| free < all / 20);
            let verdict = if nearly_full { Verdict::Warning } else { Verdict::Ok };
            let free = dir.usable_bytes.map_or_else(|| "unknown".to_owned(), bytes);
            let detail = format!("broker {} {}: {free} free", node.id, dir.path);
            report.add("log directories", verdict, detail);
        }
    }
}
