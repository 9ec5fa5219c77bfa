//! `ottla log repair`, `index rebuild` and `compact`: what a broker does by itself, to a partition of one that is stopped.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use ottla_log::{
    Checkpoint, CompactionError, FsStorage, LogConfig, LogError, MapSettings, PartitionLog,
    Problem, RecoveryReport, Remedy, Verified, verify,
};
use ottla_types::Offset;
use serde::Serialize;

use super::offline::{Offline, now, progress};
use super::verify::{Report, segment_bytes};
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, bytes};
use crate::terminal::Terminal;

/// Arguments of `ottla log repair`.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The directory of a partition
    dir: PathBuf,
    /// Says what is wrong and what would be done, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// Cuts off damaged records and all behind them as well; their bytes are kept
    #[arg(long)]
    accept_damage: bool,
}

/// Arguments of `ottla log index rebuild`.
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// The directory of a partition
    dir: PathBuf,
}

/// Arguments of `ottla log compact`.
#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// The directory of a partition
    dir: PathBuf,
    /// The topic's delete.retention.ms: how long tombstones stay
    #[arg(long, value_name = "MS", default_value_t = 86_400_000)]
    delete_retention: u64,
    /// The topic's segment.bytes: small segments are merged up to this size
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    segment_bytes: u64,
    /// Memory for the map of keys, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 128 << 20)]
    memory: usize,
}

pub(super) fn repair(args: &RepairArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let offline = Offline::open(&args.dir)?;
    if args.dry_run {
        let verified = look(&offline, terminal)?;
        terminal.print(&Report::new(&offline.dir, &verified))?;
        return match lost(&verified, offline.recovery_point()) && !args.accept_damage {
            true => Err(refusal(&offline)),
            false => Ok(Exit::Ok),
        };
    }
    let config = LogConfig::default();
    let (mut log, report) =
        offline.recover(offline.recovery_point(), args.accept_damage, config)?;
    let end = offline.close(&mut log)?;
    terminal.print(&Repaired::new(&offline, end, &report))?;
    Ok(Exit::Ok)
}

pub(super) fn rebuild(args: &RebuildArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let offline = Offline::open(&args.dir)?;
    let verified = look(&offline, terminal)?;
    let derived = |problem: &Problem| problem.remedy() == Remedy::Rebuild;
    if !verified.findings.iter().all(|finding| derived(&finding.problem)) {
        terminal.print(&Report::new(&offline.dir, &verified))?;
        let message = format!("{} is damaged: its indexes stay as they are", offline.partition);
        return Err(Failure::new(Exit::Unhealthy, message)
            .with_hint("`ottla log repair` first mends what can be mended."));
    }
    // Nothing is known to be right but the batches.
    let (mut log, report) = offline.recover(Offset::ZERO, false, LogConfig::default())?;
    let end = offline.close(&mut log)?;
    terminal.print(&Repaired::new(&offline, end, &report))?;
    Ok(Exit::Ok)
}

pub(super) fn compact(args: &CompactArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let offline = Offline::open(&args.dir)?;
    let config = LogConfig {
        segment_bytes: args.segment_bytes,
        delete_retention: std::time::Duration::from_millis(args.delete_retention),
        ..LogConfig::default()
    };
    let (mut log, _) = offline.recover(offline.recovery_point(), false, config)?;
    log.flush().map_err(failed)?;
    let before = log.size_bytes();
    // A record that is not committed may still change.
    let committed = match offline.checkpoint(Checkpoint::HighWatermarks)? {
        Some(high_watermark) => high_watermark.min(log.end_offset()),
        None => log.end_offset(),
    };
    let from = offline.checkpoint(Checkpoint::CleanerOffsets)?;
    let cleaned = passes(&mut log, from, committed, (args.memory, terminal));
    // What is in place already stays, whatever came after it.
    let end = offline.close(&mut log)?;
    let (cleaned_to, invalid_records) = cleaned?;
    if let Some(cleaned_to) = cleaned_to {
        offline.note(Checkpoint::CleanerOffsets, cleaned_to)?;
    }
    terminal.print(&Compacted {
        partition: offline.partition.to_string(),
        end_offset: end.0,
        cleaned_to: cleaned_to.map(|offset| offset.0),
        bytes_before: before as u64,
        bytes_after: log.size_bytes() as u64,
        records_without_key: invalid_records,
    })?;
    Ok(Exit::Ok)
}

/// Compacts until nothing is dirty any more; a map that is full ends a pass early.
fn passes(
    log: &mut PartitionLog<FsStorage>,
    mut from: Option<Offset>,
    committed: Offset,
    (memory, terminal): (usize, Terminal),
) -> Result<(Option<Offset>, u64), Failure> {
    let (mut done, mut invalid) = (None, 0);
    // Each segment is read for its keys and once more for its records.
    let bar = progress(terminal, 2 * log.size_bytes() as u64);
    let mut pace = |bytes| {
        bar.inc(bytes as u64);
        ControlFlow::Continue(())
    };
    loop {
        let cleanable = log.cleanable(from, committed, now()).map_err(failed)?;
        let Some(mut job) = log.prepare_compaction(cleanable, now()).map_err(failed)? else {
            break;
        };
        let mut map = job.offset_map(MapSettings { memory, load: 0.9, seed: 0 });
        job.index(&mut map, &mut pace).map_err(uncompacted)?;
        while let Some(cleaned) = job.clean_next(&map, &mut pace).map_err(uncompacted)? {
            log.complete_compaction(cleaned).map_err(uncompacted)?.remove()?;
        }
        invalid += job.stats().invalid_records;
        let reached = Some(job.cleaned_to());
        if reached == from {
            break;
        }
        (from, done) = (reached, reached);
    }
    bar.finish_and_clear();
    Ok((done, invalid))
}

fn look(offline: &Offline, terminal: Terminal) -> Result<Verified, Failure> {
    let bar = progress(terminal, segment_bytes(&offline.dir)?.unwrap_or(0));
    let mut pace = |read| {
        bar.inc(read as u64);
        ControlFlow::Continue(())
    };
    let verified = verify(&FsStorage::default(), &offline.dir, &mut pace)?;
    bar.finish_and_clear();
    Ok(verified)
}

/// Whether records are gone that were on disk.
fn lost(verified: &Verified, recovery_point: Offset) -> bool {
    verified.findings.iter().any(|finding| match &finding.problem {
        Problem::TornTail { end, .. } => *end < recovery_point,
        problem => problem.remedy() == Remedy::Replica,
    })
}

fn refusal(offline: &Offline) -> Failure {
    let message = format!("{} has lost records that were on disk", offline.partition);
    Failure::new(Exit::Unhealthy, message).with_hint(
        "Restore it from another replica or a backup; `--accept-damage` cuts off the damaged \
         records and all behind them, and keeps their bytes in .quarantine files.",
    )
}

fn failed(error: LogError) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

fn uncompacted(error: CompactionError) -> Failure {
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    Failure::new(Exit::Failed, format!("{error}{}", source.unwrap_or_default()))
}

#[derive(Serialize)]
struct Repaired {
    partition: String,
    end_offset: u64,
    checked_bytes: u64,
    rebuilt_segments: usize,
    cut_off_bytes: u64,
    kept_in: Vec<String>,
}

impl Repaired {
    fn new(offline: &Offline, end: Offset, report: &RecoveryReport) -> Self {
        Self {
            partition: offline.partition.to_string(),
            end_offset: end.0,
            checked_bytes: report.checked_bytes,
            rebuilt_segments: report.rebuilt_segments,
            cut_off_bytes: report.truncated_bytes,
            kept_in: report.quarantined.iter().map(|path| path.display().to_string()).collect(),
        }
    }
}

impl Render for Repaired {
    fn text(&self, text: &mut Text) {
        let Self { partition, end_offset, checked_bytes, rebuilt_segments, .. } = self;
        let checked = bytes(*checked_bytes);
        text.line(format!(
            "{partition}: {checked} checked, indexes of {rebuilt_segments} segments built anew, \
             ends at offset {end_offset}"
        ));
        if self.cut_off_bytes > 0 {
            text.line(format!("  cut off: {} bytes, kept in", self.cut_off_bytes));
        }
        for path in &self.kept_in {
            text.line(format!("    {path}"));
        }
    }
}

#[derive(Serialize)]
struct Compacted {
    partition: String,
    end_offset: u64,
    /// Where the next pass begins; null if nothing was to be compacted.
    cleaned_to: Option<u64>,
    bytes_before: u64,
    bytes_after: u64,
    records_without_key: u64,
}

impl Render for Compacted {
    fn text(&self, text: &mut Text) {
        let Self { partition, bytes_before, bytes_after, .. } = self;
        let Some(cleaned_to) = self.cleaned_to else {
            text.line(format!("{partition}: nothing to compact; the segment that grows never is"));
            return;
        };
        let (before, after) = (bytes(*bytes_before), bytes(*bytes_after));
        text.line(format!(
            "{partition}: {before} before, {after} after, up to offset {cleaned_to}"
        ));
        if self.records_without_key > 0 {
            text.line(format!(
                "  records without a key, which are gone: {}",
                self.records_without_key
            ));
        }
    }
}
