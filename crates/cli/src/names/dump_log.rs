//! `kafka-dump-log`: which files, and what is in indexes and snapshots. Batches and records are in
//! [`dump_records`](super::dump_records).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf, absolute};

use bytes::Bytes;
use ottla_codec::Reader;
use serde_json::Value;

use super::dump_records::{self, Wanted};
use super::java::hash_order;
use super::options::{Known, Options, Takes, flag, with};
use super::stop::{Run, Stop, option_exception, uncaught};
use super::{complain, help_or_version, say, schema};
use crate::commands::log::{Entry, FileKind, entries};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    flag("cluster-metadata-decoder", "The records are the cluster's metadata."),
    flag("deep-iteration", "Shows records too; so do --print-data-log and the decoders."),
    with("files", "file1, file2, ...", "REQUIRED: files of logs and indexes, comma between them."),
    flag("index-sanity-check", "Only checks indexes as a start of the broker does."),
    Known {
        name: "key-decoder-class",
        takes: Takes::Maybe("String"),
        about: "How keys are shown: one of Kafka's own decoders, without a class strings.",
    },
    with("max-bytes", "Integer: size", "How much of a file is looked at."),
    with("max-message-size", "Integer: size", "How long the longest batch is."),
    flag("offsets-decoder", "The records are those of __consumer_offsets."),
    flag("print-data-log", "Shows keys and values too; so do the decoders."),
    flag("remote-log-metadata-decoder", "Not available: there is no tiered storage."),
    flag("share-group-state-decoder", "Not available: there are no share groups."),
    flag("skip-record-metadata", "Shows of records only keys and values."),
    flag("transaction-log-decoder", "Not available: there are no transactions."),
    Known {
        name: "value-decoder-class",
        takes: Takes::Maybe("String"),
        about: "How values are shown, as --key-decoder-class.",
    },
    flag("verify-index-only", "Checks indexes without showing them."),
];

const ABOUT: &str = "This tool helps to parse a log file and dump its contents to the console, \
                     useful for debugging a seemingly corrupt log segment.";

/// Runs the tool.
pub(super) fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments).map_err(|text| option_exception(&text))?;
    help_or_version(&options, ABOUT)?;
    options.require(&["files"]).map_err(Stop::Usage)?;
    let absent =
        ["transaction-log-decoder", "share-group-state-decoder", "remote-log-metadata-decoder"];
    if let Some(name) = options.any_of(&absent) {
        return Err(Stop::err(format!(
            "--{name} is not available: a log of this broker has no such records"
        )));
    }
    let files = options.one("files").map_err(|text| option_exception(&text))?;
    let mut wrong = Wrong::default();
    for name in files.unwrap_or_default().split(',') {
        say(&format!("Dumping {name}"));
        one(Path::new(name), &options, &mut wrong)?;
    }
    wrong.tell();
    Ok(())
}

fn one(path: &Path, options: &Options, wrong: &mut Wrong) -> Run<()> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("log" | "checkpoint") => {
            let wanted = Wanted::of(options)?;
            dump_records::dump(path, &wanted, &mut wrong.gaps)
        }
        Some("index") => index(path, options, wrong),
        Some("timeindex") => time_index(path, options, wrong),
        Some("snapshot") => snapshot(path),
        Some("txnindex") => aborted(path),
        _ => {
            complain(&format!("Ignoring unknown file {}", path.display()));
            Ok(())
        }
    }
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Run<Bytes> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let name = path.display().to_string();
            Err(uncaught("java.nio.file.NoSuchFileException", &name))
        }
        Err(error) => Err(uncaught("java.io.IOException", &format!("{}: {error}", path.display()))),
    }
}

/// The offset that a file's name begins with.
pub(super) fn first_offset(path: &Path) -> Run<i64> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let first = name.split('.').next().unwrap_or_default();
    let wrong =
        |_| uncaught("java.lang.NumberFormatException", &format!("For input string: \"{first}\""));
    first.parse().map_err(wrong)
}

/// The whole path; Kafka names files so at the end.
pub(super) fn whole(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The file of the same segment with another ending.
fn sibling(path: &Path, ending: &str) -> PathBuf {
    whole(path).with_extension(ending)
}

fn index(path: &Path, options: &Options, wrong: &mut Wrong) -> Run<()> {
    let base = first_offset(path)?;
    let max = options.number::<i32>("max-message-size").map_err(|text| option_exception(&text))?;
    let max = usize::try_from(max.unwrap_or(5 * 1024 * 1024)).unwrap_or(0);
    let log = read(&sibling(path, "log"))?;
    let entries = entries(&read(path)?, FileKind::Index);
    let name = path.display();
    if entries.is_empty() {
        say(&format!("{name} is empty."));
        return Ok(());
    }
    if options.has("index-sanity-check") {
        say(&format!("{name} passed sanity check."));
        return Ok(());
    }
    let mut found = Vec::new();
    for (at, entry) in entries.into_iter().enumerate() {
        let Entry::Offset { relative_offset, position } = entry else { continue };
        // Behind the first entry this is room that is not used.
        if 0 < at && relative_offset == 0 {
            break;
        }
        let offset = base + i64::from(relative_offset);
        let at = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = log.get(at..).unwrap_or_default();
        let batch = rest.get(..max.min(rest.len())).unwrap_or_default();
        let Some((_, last)) = batches(&Bytes::copy_from_slice(batch), true).into_iter().next()
        else {
            return Err(uncaught("java.util.NoSuchElementException", "no batch is there"));
        };
        if last != offset {
            found.push(format!("  Index offset: {offset}, log offset: {last}"));
        }
        if !options.has("verify-index-only") {
            say(&format!("offset: {offset} position: {position}"));
        }
    }
    found.reverse();
    wrong.note("Mismatches in :", path, found);
    Ok(())
}

/// The largest timestamp and the last offset of each batch, or of the first only.
fn batches(log: &Bytes, first: bool) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let _ = crate::commands::log::walk_bytes(log.clone(), |_, batch, _| {
        if first && !found.is_empty() {
            return;
        }
        let header = batch.header();
        let last = i64::try_from(header.last_offset().0).unwrap_or(i64::MAX);
        found.push((header.max_timestamp.0, last));
    });
    found
}

fn time_index(path: &Path, options: &Options, wrong: &mut Wrong) -> Run<()> {
    let base = first_offset(path)?;
    let log = read(&sibling(path, "log"))?;
    let offsets = fs::read(sibling(path, "index")).unwrap_or_default();
    let offsets = entries(&offsets, FileKind::Index);
    let times = entries(&read(path)?, FileKind::TimeIndex);
    if options.has("index-sanity-check") {
        say(&format!("{} passed sanity check.", path.display()));
        return Ok(());
    }
    let (mut mismatches, mut disorder, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let mut previous = -1;
    for (at, entry) in times.into_iter().enumerate() {
        let Entry::Time { timestamp_ms, relative_offset } = entry else { continue };
        if 0 < at && relative_offset == 0 {
            break;
        }
        let offset = base + i64::from(relative_offset);
        let before = |entry: &Entry| match entry {
            Entry::Offset { relative_offset: of_batch, position } => {
                (*of_batch <= relative_offset).then_some(*position)
            }
            Entry::Time { .. } | Entry::Aborted { .. } => None,
        };
        let from = offsets.iter().filter_map(before).max().unwrap_or(0);
        let at = usize::try_from(from).unwrap_or(usize::MAX).min(log.len());
        let found = batches(&log.slice(at..), false);
        match found.into_iter().find(|(_, last)| offset <= *last) {
            Some((largest, last)) if last == offset => {
                if largest != timestamp_ms {
                    mismatches.push(format!(
                        "  Index timestamp: {timestamp_ms}, log timestamp: {largest}"
                    ));
                }
                if timestamp_ms <= previous {
                    disorder.push(format!(
                        "  Index timestamp: {timestamp_ms}, Previously indexed timestamp: \
                         {previous}"
                    ));
                }
            }
            other => {
                let last = other.map_or(-1, |(_, last)| last);
                missing.push(format!("Indexed offset: {offset}, found log offset: {last}"));
            }
        }
        if !options.has("verify-index-only") {
            say(&format!("timestamp: {timestamp_ms} offset: {offset}"));
        }
        previous = timestamp_ms;
    }
    wrong.note("Found timestamp mismatch in :", path, mismatches);
    wrong.note("Found out of order timestamp in :", path, disorder);
    wrong.note("The following indexed offsets are not found in :", path, missing);
    Ok(())
}

fn snapshot(path: &Path) -> Run<()> {
    let bytes = read(path)?;
    let message = schema::by_name(ottla_log::SCHEMA, "ProducerSnapshot");
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16("version").unwrap_or_default();
    let read = message.and_then(|message| message.read(version, &mut reader).ok());
    let Some(read) = read.filter(|_| version == 1) else {
        complain("Snapshot failed schema validation");
        return Ok(());
    };
    let stored = read.get("crc").and_then(Value::as_i64).unwrap_or_default();
    let computed = i64::from(ottla_record::crc32c(bytes.get(6..).unwrap_or_default()));
    if stored != computed {
        complain(&format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: \
             {computed}"
        ));
        return Ok(());
    }
    for entry in read.get("producerEntries").and_then(Value::as_array).into_iter().flatten() {
        let number = |name: &str| entry.get(name).and_then(Value::as_i64).unwrap_or_default();
        let current = match number("currentTxnFirstOffset") {
            -1 => "OptionalLong.empty".to_owned(),
            offset => format!("OptionalLong[{offset}]"),
        };
        let mut line = format!(
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: \
             {current} lastTimestamp: {}",
            number("producerId"),
            number("epoch"),
            number("coordinatorEpoch"),
            number("timestamp")
        );
        let (last, delta) = (number("lastSequence"), number("offsetDelta"));
        if 0 <= number("lastOffset") {
            // Sequences begin again at 0 behind the largest number.
            let first = (last - delta).rem_euclid(1 << 31);
            line.push_str(&format!(
                " firstSequence: {first} lastSequence: {last} lastOffset: {} offsetDelta: {delta} \
                 timestamp: {}",
                number("lastOffset"),
                number("timestamp")
            ));
        }
        say(&line);
    }
    Ok(())
}

fn aborted(path: &Path) -> Run<()> {
    first_offset(path)?;
    let bytes = fs::read(path).unwrap_or_default();
    let Some(message) = schema::by_name(ottla_log::SCHEMA, "AbortedTxn") else { return Ok(()) };
    let mut reader = Reader::new(bytes.into());
    while !reader.is_empty() {
        let version = reader.i16("version").unwrap_or_default();
        let Ok(read) = message.read(version, &mut reader) else { break };
        let number = |name: &str| read.get(name).and_then(Value::as_i64).unwrap_or_default();
        say(&format!(
            "version: {version} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            number("producerId"),
            number("firstOffset"),
            number("lastOffset"),
            number("lastStableOffset")
        ));
    }
    Ok(())
}

/// What is wrong with files; it is told when all are read.
#[derive(Debug, Default)]
struct Wrong {
    indexes: Vec<(&'static str, String, Vec<String>)>,
    /// Offsets that are not followed by the next, for each file.
    gaps: Vec<(String, Vec<String>)>,
}

impl Wrong {
    fn note(&mut self, what: &'static str, path: &Path, found: Vec<String>) {
        if !found.is_empty() {
            self.indexes.push((what, whole(path).display().to_string(), found));
        }
    }

    fn tell(mut self) {
        for title in [
            "Mismatches in :",
            "Found timestamp mismatch in :",
            "Found out of order timestamp in :",
            "The following indexed offsets are not found in :",
        ] {
            let mut of_kind: Vec<_> =
                self.indexes.iter().filter(|(kind, ..)| *kind == title).collect();
            hash_order(&mut of_kind, 16, |(_, name, _)| name);
            for (_, name, lines) in of_kind {
                complain(&format!("{title}{name}"));
                lines.iter().for_each(|line| complain(line));
            }
        }
        hash_order(&mut self.gaps, 16, |(name, _)| name);
        for (name, lines) in self.gaps {
            complain(&format!("Non-consecutive offsets in {name}"));
            lines.iter().for_each(|line| complain(line));
        }
    }
}
