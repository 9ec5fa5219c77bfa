//! `ottla metadata dump`: the records of the metadata log and its snapshots, read without a node.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ottla_metadata::Record;
use ottla_record::{Batch, ControlType, DecompressLimits};
use serde::Serialize;
use serde_json::Value;

use super::log::{files_of, walk};
use super::partly;
use crate::debug_json::to_json;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::terminal::Terminal;

/// Commands of `ottla metadata`.
#[derive(Debug, Subcommand)]
pub(crate) enum MetadataCommand {
    /// Prints the metadata records of .log and .checkpoint files
    Dump(DumpArgs),
}

/// Arguments of `ottla metadata dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The files, the directory __cluster_metadata-0, or the log directory that has it
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only records whose type contains this, in any case
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

#[derive(Serialize)]
struct Row {
    offset: u64,
    epoch: Option<u32>,
    #[serde(rename = "type")]
    kind: String,
    version: Option<i16>,
    data: Value,
}

#[derive(Serialize)]
struct Dumped {
    file: String,
    records: Vec<Row>,
    damage: Option<String>,
}

impl Render for Dumped {
    fn text(&self, text: &mut Text) {
        text.line(format!("{}:", self.file));
        for row in &self.records {
            let data = if row.data.is_null() { String::new() } else { format!(" {}", row.data) };
            let version = row.version.map(|version| format!(" v{version}")).unwrap_or_default();
            text.line(format!("  {:>6} {}{version}{data}", row.offset, row.kind));
        }
        if let Some(damage) = &self.damage {
            text.line(format!("  DAMAGED: {damage}"));
        }
    }
}

pub(crate) fn run(command: MetadataCommand, terminal: Terminal) -> Result<Exit, Failure> {
    let MetadataCommand::Dump(args) = command;
    let mut files = Vec::new();
    for path in &args.files {
        let mut found = files_of(path)?;
        let inner = path.join("__cluster_metadata-0");
        if inner.is_dir() {
            found.extend(files_of(&inner)?);
        }
        let of_metadata = |path: &PathBuf| {
            path.extension().is_some_and(|end| end == "log" || end == "checkpoint")
        };
        files.extend(found.into_iter().filter(of_metadata));
    }
    if files.is_empty() {
        return Err(Failure::new(Exit::NotFound, "there is no .log and no .checkpoint file"));
    }
    let mut failures = Vec::new();
    let only = args.only.map(|text| text.to_lowercase());
    for path in &files {
        let mut dumped =
            Dumped { file: path.display().to_string(), records: Vec::new(), damage: None };
        let walked = walk(path, |_, batch, valid| {
            if valid {
                rows(batch, &mut dumped.records);
            }
        });
        match walked {
            Ok(damage) => dumped.damage = damage,
            Err(failure) => {
                failures.push(failure);
                continue;
            }
        }
        if let Some(only) = &only {
            dumped.records.retain(|row| row.kind.to_lowercase().contains(only));
        }
        terminal.print(&dumped)?;
        if let Some(damage) = &dumped.damage {
            let message = format!("{}: {damage}", path.display());
            failures.push(Failure::new(Exit::Unhealthy, message));
        }
    }
    Ok(partly(terminal, files.len(), failures))
}

fn rows(batch: &Batch, rows: &mut Vec<Row>) {
    let epoch = batch.header().leader_epoch.map(|epoch| epoch.0);
    let unreadable = |offset: u64, error: String| Row {
        offset,
        epoch,
        kind: "unreadable".to_owned(),
        version: None,
        data: Value::String(error),
    };
    let base = batch.header().base_offset.0;
    let records = match batch.records(&DecompressLimits::default()) {
        Ok(records) => records,
        Err(error) => return rows.push(unreadable(base, error.to_string())),
    };
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => return rows.push(unreadable(base, error.to_string())),
        };
        let offset = record.offset.0;
        if batch.header().attributes.is_control() {
            let kind = ControlType::of(&record);
            let kind = kind.map_or_else(|error| error.to_string(), |kind| format!("{kind:?}"));
            rows.push(Row { offset, epoch, kind, version: None, data: Value::Null });
            continue;
        }
        match Record::decode(record.value.unwrap_or_default()) {
            Ok(decoded) => rows.push(Row {
                offset,
                epoch,
                kind: type_name(&format!("{:?}", decoded.message())),
                version: Some(decoded.version()),
                data: to_json(decoded.message()),
            }),
            Err(error) => rows.push(unreadable(offset, error.to_string())),
        }
    }
}

/// `Topic(TopicRecord { .. })` is a `Topic`.
fn type_name(debug: &str) -> String {
    debug.split(['(', ' ', '{']).next().unwrap_or(debug).to_owned()
}
