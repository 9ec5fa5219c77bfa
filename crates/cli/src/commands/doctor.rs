//! `ottla doctor`: can clients use this cluster from here, can this node run here, and if not, why.
//!
//! It changes nothing and takes no lock. What it cannot look at it says it skipped.

mod cluster;
mod endpoint;
mod node;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ottla_client::{ClientError, HostPort};
use serde::Serialize;

use self::node::LocalNode;
use crate::args::ConnectionArgs;
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, bytes};
use crate::terminal::Terminal;

pub use endpoint::who_listens;

/// Arguments of `ottla doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Examines also the node of this server.properties: its directories and ports on this machine
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets a key over what the file says; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It could not be looked at.
    Skipped,
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
                Verdict::Skipped => "skipped ",
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

    /// Adds a finding with what to do about it.
    fn advise(
        &mut self,
        check: &'static str,
        verdict: Verdict,
        detail: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (detail, advice) = (detail.into(), Some(advice.into()));
        self.findings.push(Finding { check, verdict, detail, advice });
    }

    fn fail(&mut self, check: &'static str, error: &ClientError) {
        let (detail, advice) = (error.to_string(), error.hint());
        self.findings.push(Finding { check, verdict: Verdict::Failed, detail, advice });
    }

    /// Adds a finding about the room that a log directory has.
    fn space(&mut self, what: String, usable: u64, total: u64) {
        let detail = format!("{what}: {} free", bytes(usable));
        let verdict = match usable {
            _ if usable < SPACE_FAILED => Verdict::Failed,
            _ if usable < total / SPACE_WARNED => Verdict::Warning,
            _ => return self.add("log directories", Verdict::Ok, detail),
        };
        self.advise(
            "log directories",
            verdict,
            detail,
            "A full disk refuses records: free space, keep less (`ottla config alter topic NAME \
             --set retention.bytes=BYTES`), or add a directory to log.dirs.",
        );
    }
}

/// With less room than this a node can hardly begin another segment.
const SPACE_FAILED: u64 = 64 << 20;

/// Less than this part of a disk, a twentieth, is little.
const SPACE_WARNED: u64 = 20;

/// What does not answer in this time, one question at a time, is not well.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    args: DoctorArgs,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let mut connection = connection.clone();
    connection.timeout = connection.timeout.min(PATIENCE.as_secs());
    let mut report = Report { brokers: String::new(), healthy: false, findings: Vec::new() };
    let mut node = None;
    if let Some(file) = &args.config {
        node = node::examine(file, &args.overrides, &mut report)?;
        let address = node.as_ref().and_then(LocalNode::client_address);
        match address {
            Some(address) if !connection.brokers_given => connection.brokers = address.to_string(),
            _ => {}
        }
    }
    // A controller alone has nothing for clients, nor is it known where a wrong configuration listens.
    let nowhere =
        args.config.is_some() && node.as_ref().and_then(LocalNode::client_address).is_none();
    if connection.brokers_given || !nowhere {
        report.brokers.clone_from(&connection.brokers);
        let bootstrap = HostPort::parse_list(&connection.brokers).unwrap_or_default();
        let reached = cluster::examine(&admin(&connection)?, node.as_ref(), &mut report).await;
        if !reached {
            for address in &bootstrap {
                endpoint::examine(address, &mut report).await;
            }
            if let Some(node) = &node {
                node.ports(&mut report);
            }
        }
    }
    report.healthy = report.findings.iter().all(|one| one.verdict != Verdict::Failed);
    terminal.print(&report)?;
    Ok(if report.healthy { Exit::Ok } else { Exit::Unhealthy })
}
