//! `ottla log verify`: every batch of partitions, and the files beside the log against them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ottla_log::{DirectoryError, Finding, FsStorage, LogDirectory, Remedy, Verified, verify};
use serde::Serialize;

use super::offline::progress;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, bytes};
use crate::terminal::Terminal;

/// Arguments of `ottla log verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Directories of partitions, or log directories that hold them
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
}

/// Prints a line for each partition, and what is wrong with it.
pub(super) fn run(args: &VerifyArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let mut partitions = Vec::new();
    for dir in &args.dirs {
        partitions.extend(partitions_of(dir, terminal)?);
    }
    let total = partitions.iter().map(|(_, bytes)| bytes).sum();
    let bar = progress(terminal, total);
    let (mut damaged, mut reports) = (0, Vec::new());
    for (dir, _) in &partitions {
        let mut pace = |read| {
            bar.inc(read as u64);
            ControlFlow::Continue(())
        };
        let verified = verify(&FsStorage::default(), dir, &mut pace).map_err(|e| cannot(dir, e))?;
        damaged += usize::from(!verified.findings.is_empty());
        reports.push(Report::new(dir, &verified));
    }
    bar.finish_and_clear();
    terminal.print(&Reports(reports))?;
    if damaged == 0 {
        return Ok(Exit::Ok);
    }
    let message = format!("{damaged} of {} partitions are not whole", partitions.len());
    Err(Failure::new(Exit::Unhealthy, message)
        .with_hint("`ottla log repair --dry-run DIR` says what can be mended here."))
}

/// The partitions at a path, with the bytes of their segments.
fn partitions_of(dir: &Path, terminal: Terminal) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let own = segment_bytes(dir).map_err(|error| cannot(dir, error))?;
    warn_if_used(if own.is_some() { dir.parent() } else { Some(dir) }, terminal);
    if let Some(bytes) = own {
        return Ok(vec![(dir.to_path_buf(), bytes)]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir()
            && let Some(bytes) = segment_bytes(&path)?
        {
            found.push((path, bytes));
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(Failure::new(Exit::NotFound, format!("{} holds no partition", dir.display()))
            .with_hint(
                "Name the directory of a partition, as `data/orders-0`, or a log directory.",
            )),
        false => Ok(found),
    }
}

/// Bytes of a directory's `.log` files; `None` if it has none.
pub(super) fn segment_bytes(dir: &Path) -> std::io::Result<Option<u64>> {
    let mut sum = None;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|suffix| suffix == "log") {
            *sum.get_or_insert(0) += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

fn warn_if_used(parent: Option<&Path>, terminal: Terminal) {
    let Some(parent) = parent.filter(|parent| parent.join(ottla_log::format::LOCK_FILE).exists())
    else {
        return;
    };
    let locked = LogDirectory::open(Arc::new(FsStorage::default()), parent);
    if let Err(DirectoryError::Locked(_)) = locked {
        terminal.warn("A node uses this directory: where it is writing, the end may look torn.");
    }
}

fn cannot(dir: &Path, error: std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::NotFound,
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("{}: {error}", dir.display()))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Reports(Vec<Report>);

impl Render for Reports {
    fn text(&self, text: &mut Text) {
        self.0.iter().for_each(|report| report.text(text));
    }
}

/// What was found in one partition.
#[derive(Serialize)]
pub(super) struct Report {
    partition: String,
    segments: u64,
    batches: u64,
    bytes: u64,
    findings: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    file: String,
    position: u64,
    problem: String,
    remedy: &'static str,
}

impl Report {
    pub(super) fn new(dir: &Path, verified: &Verified) -> Self {
        let Verified { segments, batches, bytes, findings, .. } = verified;
        Self {
            partition: name(dir),
            segments: *segments,
            batches: *batches,
            bytes: *bytes,
            findings: findings.iter().map(Line::new).collect(),
        }
    }
}

impl Line {
    fn new(finding: &Finding) -> Self {
        Self {
            file: name(&finding.path),
            position: finding.position,
            problem: finding.problem.to_string(),
            remedy: match finding.problem.remedy() {
                Remedy::CutOff => "the next start cuts it off and keeps the bytes",
                Remedy::Rebuild => "it is built anew from the batches",
                Remedy::Replica => "the records are gone here; another replica may have them",
            },
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Render for Report {
    fn text(&self, text: &mut Text) {
        let Self { partition, segments, batches, .. } = self;
        let verdict = if self.findings.is_empty() { "whole" } else { "NOT WHOLE" };
        let size = bytes(self.bytes);
        text.line(format!(
            "{partition}: {segments} segments, {batches} batches, {size}: {verdict}"
        ));
        for Line { file, position, problem, remedy } in &self.findings {
            text.line(format!("  {file}, at byte {position}: {problem} ({remedy})"));
        }
    }
}
