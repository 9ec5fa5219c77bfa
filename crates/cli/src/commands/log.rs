//! `ottla log`: the files of partitions, without a broker. Here `dump`, which prints what is in them.

mod offline;
mod repair;
mod verify;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use ottla_record::{Batch, BatchHeader, ControlType, DecompressLimits, Record, TimestampType};
use serde::Serialize;
use serde_json::Value;

use super::partly;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::terminal::Terminal;

/// Commands of `ottla log`.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Prints batches of .log files, entries of .index, .timeindex and .txnindex files, and checks them
    Dump(DumpArgs),
    /// Checks every batch of partitions, and the files beside the log against them; changes nothing
    Verify(verify::VerifyArgs),
    /// Does what the next start would do to a partition after a crash, of a node that is stopped
    ///
    /// A torn tail is cut off and its bytes are kept in a .quarantine file; indexes and producer snapshots are
    /// built anew. Damage with records behind it stays as it is: another replica may have them.
    Repair(repair::RepairArgs),
    /// The indexes of a partition
    #[command(subcommand)]
    Index(IndexCommand),
    /// Compacts a partition of a node that is stopped: of the records with one key only the newest stays
    Compact(repair::CompactArgs),
}

/// Commands of `ottla log index`.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Builds all indexes anew from the batches, of a node that is stopped
    Rebuild(repair::RebuildArgs),
}

/// Arguments of `ottla log dump`.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The files, or directories of partitions
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Prints the records of each batch too
    #[arg(short, long)]
    records: bool,
}

pub(crate) fn run(command: LogCommand, terminal: Terminal) -> Result<Exit, Failure> {
    match command {
        LogCommand::Dump(args) => dump_all(&args, terminal),
        LogCommand::Verify(args) => verify::run(&args, terminal),
        LogCommand::Repair(args) => repair::repair(&args, terminal),
        LogCommand::Index(IndexCommand::Rebuild(args)) => repair::rebuild(&args, terminal),
        LogCommand::Compact(args) => repair::compact(&args, terminal),
    }
}

fn dump_all(args: &DumpArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        files.extend(files_of(path)?);
    }
    let mut failures = Vec::new();
    for path in &files {
        match dump(path, args.records) {
            Ok(file) => {
                let damage = file.damage.clone();
                terminal.print(&file)?;
                if let Some(damage) = damage {
                    let message = format!("{}: {damage}", path.display());
                    failures.push(Failure::new(Exit::Unhealthy, message));
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    Ok(partly(terminal, files.len(), failures))
}

/// A file itself, or what a directory holds that can be dumped.
pub(super) fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if kind(&file).is_some() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
}

fn kind(path: &Path) -> Option<FileKind> {
    match path.extension()?.to_str()? {
        // Snapshots of the metadata log are batches too.
        "log" | "checkpoint" => Some(FileKind::Log),
        "index" => Some(FileKind::Index),
        "timeindex" => Some(FileKind::TimeIndex),
        "txnindex" => Some(FileKind::TxnIndex),
        _ => None,
    }
}

#[derive(Serialize)]
struct DumpedFile {
    file: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    batches: Vec<DumpedBatch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
    damage: Option<String>,
}

#[derive(Serialize)]
struct DumpedBatch {
    position: u64,
    size: usize,
    base_offset: u64,
    last_offset: u64,
    count: u32,
    leader_epoch: Option<u32>,
    max_timestamp_ms: i64,
    timestamp_type: &'static str,
    compression: &'static str,
    transactional: bool,
    control: bool,
    producer_id: Option<u64>,
    producer_epoch: Option<u16>,
    base_sequence: Option<u32>,
    crc: u32,
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Entry {
    Offset { relative_offset: i32, position: i32 },
    Time { timestamp_ms: i64, relative_offset: i32 },
    Aborted { producer_id: i64, first_offset: i64, last_offset: i64, last_stable_offset: i64 },
}

impl Render for DumpedFile {
    fn text(&self, text: &mut Text) {
        text.line(format!("{}:", self.file));
        for batch in &self.batches {
            text.line(batch.line());
            for record in &batch.records {
                text.line(format!("    {record}"));
            }
        }
        for entry in &self.entries {
            text.line(match entry {
                Entry::Offset { relative_offset, position } => {
                    format!("  +{relative_offset} at {position}")
                }
                Entry::Time { timestamp_ms, relative_offset } => {
                    format!("  {timestamp_ms} ms is +{relative_offset}")
                }
                Entry::Aborted { producer_id, first_offset, last_offset, last_stable_offset } => {
                    format!(
                        "  {first_offset}-{last_offset} aborted by producer {producer_id}, stable up \
                         to {last_stable_offset}"
                    )
                }
            });
        }
        if let Some(damage) = &self.damage {
            text.line(format!("  DAMAGED: {damage}"));
        }
    }
}

impl DumpedBatch {
    fn new(position: u64, header: &BatchHeader, valid: bool, records: Vec<Value>) -> Self {
        Self {
            position,
            size: header.total_len(),
            base_offset: header.base_offset.0,
            last_offset: header.last_offset().0,
            count: header.record_count,
            leader_epoch: header.leader_epoch.map(|epoch| epoch.0),
            max_timestamp_ms: header.max_timestamp.0,
            timestamp_type: match header.attributes.timestamp_type() {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            },
            compression: header.compression().map_or("unknown", |codec| codec.name()),
            transactional: header.attributes.is_transactional(),
            control: header.attributes.is_control(),
            producer_id: header.producer_id.map(|id| id.0),
            producer_epoch: header.producer_epoch.map(|epoch| epoch.0),
            base_sequence: header.base_sequence.map(|sequence| sequence.0),
            crc: header.crc,
            valid,
            records,
        }
    }

    fn line(&self) -> String {
        let mut line = format!(
            "  {}-{} count {} at {} size {} epoch {} {} {} {}",
            self.base_offset,
            self.last_offset,
            self.count,
            self.position,
            self.size,
            crate::output::maybe(self.leader_epoch),
            self.timestamp_type,
            self.max_timestamp_ms,
            self.compression,
        );
        if let (Some(id), Some(epoch)) = (self.producer_id, self.producer_epoch) {
            let sequence = crate::output::maybe(self.base_sequence);
            line.push_str(&format!(" producer {id}/{epoch} sequence {sequence}"));
        }
        for (set, word) in [
            (self.transactional, " transactional"),
            (self.control, " control"),
            (!self.valid, " BAD CHECKSUM"),
        ] {
            if set {
                line.push_str(word);
            }
        }
        line
    }
}

fn dump(path: &Path, records: bool) -> Result<DumpedFile, Failure> {
    let mut file = DumpedFile {
        file: path.display().to_string(),
        batches: Vec::new(),
        entries: Vec::new(),
        damage: None,
    };
    match kind(path) {
        Some(FileKind::Log) => {
            let print = |batch: &Batch| if records { shown_records(batch) } else { Vec::new() };
            file.damage = walk(path, |position, batch, valid| {
                let records = if valid { print(batch) } else { Vec::new() };
                file.batches.push(DumpedBatch::new(position, batch.header(), valid, records));
            })?;
        }
        Some(kind) => file.entries = entries(&read(path)?, kind),
        None => {
            let message = format!("{} is no .log, .index, .timeindex or .txnindex", path.display());
            return Err(Failure::usage(message));
        }
    }
    Ok(file)
}

/// Calls `each` with every batch of a file, its position and whether its checksum is right; says
/// what is wrong where the walk had to end.
pub(super) fn walk(
    path: &Path,
    each: impl FnMut(u64, &Batch, bool),
) -> Result<Option<String>, Failure> {
    Ok(walk_bytes(read(path)?, each))
}

/// As [`walk`], with what is in a file.
pub(crate) fn walk_bytes(data: Bytes, mut each: impl FnMut(u64, &Batch, bool)) -> Option<String> {
    let len = data.len();
    let mut walk = ottla_record::Batches::new(data);
    let mut damage = None;
    loop {
        let position = (len - walk.rest().len()) as u64;
        match walk.next() {
            None => break,
            // Zeros are room that was reserved and not used.
            Some(Err(_)) if walk.rest().iter().all(|byte| *byte == 0) => return damage,
            Some(Err(error)) => return Some(format!("at {position}: {error}")),
            Some(Ok(batch)) => {
                let checked = ottla_record::check_crc(batch.bytes());
                each(position, &batch, checked.is_ok());
                if let Err(error) = checked {
                    damage.get_or_insert_with(|| format!("at {position}: {error}"));
                }
            }
        }
    }
    // What is left is a batch that was cut off.
    let rest = walk.rest();
    if damage.is_none() && rest.iter().any(|byte| *byte != 0) {
        let position = len - rest.len();
        damage = Some(format!("at {position}: {} bytes that are no whole batch", rest.len()));
    }
    damage
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    let cannot = |error: std::io::Error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, format!("{}: {error}", path.display()))
    };
    let mut data = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut data)).map_err(cannot)?;
    Ok(Bytes::from(data))
}

fn shown_records(batch: &Batch) -> Vec<Value> {
    let is_control = batch.header().attributes.is_control();
    match batch.records(&DecompressLimits::default()) {
        Ok(records) => records
            .map(|record| match record {
                Ok(record) => shown_record(&record, is_control),
                Err(error) => Value::String(format!("unreadable: {error}")),
            })
            .collect(),
        Err(error) => vec![Value::String(format!("unreadable: {error}"))],
    }
}

fn shown_record(record: &Record, is_control: bool) -> Value {
    let mut shown = serde_json::Map::new();
    shown.insert("offset".to_owned(), Value::from(record.offset.0));
    shown.insert("timestamp_ms".to_owned(), Value::from(record.timestamp.0));
    if is_control {
        let kind =
            ControlType::of(record).map_or_else(|_| "unknown".to_owned(), |k| format!("{k:?}"));
        shown.insert("control".to_owned(), Value::String(kind));
        return Value::Object(shown);
    }
    for (name, part) in [("key", &record.key), ("value", &record.value)] {
        match part.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => shown.insert(name.to_owned(), Value::Null),
            Some((_, Ok(text))) => shown.insert(name.to_owned(), Value::from(text)),
            Some((bytes, Err(_))) => {
                let encoded = super::consume::base64(bytes);
                shown.insert(format!("{name}_base64"), Value::String(encoded))
            }
        };
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|header| {
            Value::from(vec![
                Value::from(text(&header.key)),
                header.value.as_deref().map_or(Value::Null, |value| Value::from(text(value))),
            ])
        })
        .collect();
    if !headers.is_empty() {
        shown.insert("headers".to_owned(), Value::Array(headers));
    }
    Value::Object(shown)
}

/// Entries of an index; zeros are the room of a preallocated file, since no entry is for the first
/// batch of a segment.
pub(crate) fn entries(data: &[u8], kind: FileKind) -> Vec<Entry> {
    let offset = |entry: &[u8; 8]| {
        let (offset, position) = entry.split_at(4);
        let (relative_offset, position) = (int(offset), int(position));
        ((relative_offset, position) != (0, 0))
            .then_some(Entry::Offset { relative_offset, position })
    };
    let time = |entry: &[u8; 12]| {
        let (time, offset) = entry.split_at(8);
        let (timestamp_ms, relative_offset) = (long(time), int(offset));
        ((timestamp_ms, relative_offset) != (0, 0))
            .then_some(Entry::Time { timestamp_ms, relative_offset })
    };
    // Behind a version, which is 0.
    let aborted = |entry: &[u8; 34]| {
        let numbers: Vec<i64> = entry.get(2..)?.chunks_exact(8).map(long).collect();
        let [producer_id, first_offset, last_offset, last_stable_offset] = numbers[..] else {
            return None;
        };
        Some(Entry::Aborted { producer_id, first_offset, last_offset, last_stable_offset })
    };
    match kind {
        FileKind::Log => Vec::new(),
        FileKind::Index => data.as_chunks().0.iter().filter_map(offset).collect(),
        FileKind::TimeIndex => data.as_chunks().0.iter().filter_map(time).collect(),
        FileKind::TxnIndex => data.as_chunks().0.iter().filter_map(aborted).collect(),
    }
}

fn long(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

fn int(bytes: &[u8]) -> i32 {
    bytes.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_record::{BatchBuilder, Compression};
    use ottla_testkit::Folder;
    use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

    fn segment() -> Vec<u8> {
        let mut first = BatchBuilder::new(Compression::Zstd).base_offset(Offset(10)).producer(
            ProducerId(7),
            ProducerEpoch(0),
            Sequence(3),
        );
        first.push_pair(Timestamp(1_000), Some(b"k"), Some(b"v"));
        first.push_pair(Timestamp(1_001), None, Some(b"\xff"));
        let mut second = BatchBuilder::new(Compression::None).base_offset(Offset(12));
        second.push_pair(Timestamp(1_002), None, None);
        [first.build().unwrap(), second.build().unwrap()].concat()
    }

    fn shown(name: &str, data: &[u8]) -> String {
        let folder = Folder::new("dump").unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, data).unwrap();
        let mut text = Text::default();
        dump(&path, true).unwrap().text(&mut text);
        // The folder and the size of compressed data are not what this is about.
        text.into_string().replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn batches_and_records_are_shown() {
        let text = shown("0.log", &segment());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "DIR/0.log:");
        assert!(lines[1].starts_with("  10-11 count 2 at 0 size "), "{text}");
        assert!(lines[1].ends_with(" CreateTime 1001 zstd producer 7/0 sequence 3"), "{text}");
        assert_eq!(
            lines[2..4],
            [
                r#"    {"offset":10,"timestamp_ms":1000,"key":"k","value":"v"}"#,
                r#"    {"offset":11,"timestamp_ms":1001,"key":null,"value_base64":"/w=="}"#
            ]
        );
        assert!(lines[4].starts_with("  12-12 count 1 at "), "{text}");
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn damage_is_found_and_reserved_room_is_none() {
        let whole = segment();
        let with_room = [whole.clone(), vec![0; 100]].concat();
        assert!(!shown("0.log", &with_room).contains("DAMAGED"));
        let cut = shown("0.log", &whole[..whole.len() - 1]);
        assert!(cut.contains("bytes that are no whole batch"), "{cut}");
        let mut flipped = whole;
        flipped[70] ^= 1;
        let flipped = shown("0.log", &flipped);
        assert!(flipped.contains("BAD CHECKSUM") && flipped.contains("DAMAGED: at 0"), "{flipped}");
    }

    #[test]
    fn indexes_are_shown_without_their_empty_room() {
        let entry =
            |offset: i32, position: i32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
        let index = [entry(5, 4_096), entry(9, 8_192), vec![0; 80]].concat();
        assert_eq!(shown("0.index", &index), "DIR/0.index:\n  +5 at 4096\n  +9 at 8192\n");
        let time = [&1_000_i64.to_be_bytes()[..], &3_i32.to_be_bytes()].concat();
        assert_eq!(shown("0.timeindex", &time), "DIR/0.timeindex:\n  1000 ms is +3\n");
        let numbers = [9_i64, 5, 12, 13].map(i64::to_be_bytes).concat();
        let text = "DIR/0.txnindex:\n  5-12 aborted by producer 9, stable up to 13\n";
        assert_eq!(shown("0.txnindex", &[vec![0, 0], numbers].concat()), text);
    }
}
