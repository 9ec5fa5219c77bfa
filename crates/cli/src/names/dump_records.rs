//! Batches and records as `kafka-dump-log` shows them, with its decoders.
//!
//! Framing and checks are `ottla log dump`'s; what a coordinator or the metadata say is read by
//! [`schema`].

use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use ottla_codec::{DecodeError, Reader};
use ottla_record::{Batch, ControlType, DecompressLimits, Record, TimestampType};
use serde_json::{Value, json};

use super::dump_log::{first_offset, read, whole};
use super::options::Options;
use super::stop::{Run, Stop, option_exception, uncaught};
use super::{say, say_part, schema};
use crate::commands::log::walk_bytes;

/// What of a log is shown.
#[derive(Debug)]
pub(super) struct Wanted {
    records: bool,
    contents: bool,
    metadata: bool,
    max_bytes: Option<usize>,
    parser: Parser,
}

#[derive(Clone, Copy, Debug)]
enum Parser {
    Decoders { key: Decoder, value: Decoder },
    Offsets,
    Metadata,
}

#[derive(Clone, Copy, Debug)]
enum Decoder {
    Text,
    Long,
    Integer,
    Bytes,
}

impl Wanted {
    /// What the options ask for.
    pub(super) fn of(options: &Options) -> Run<Self> {
        let decoders = ["key-decoder-class", "value-decoder-class"];
        let special = ["offsets-decoder", "cluster-metadata-decoder"];
        let contents = options.has("print-data-log")
            || options.any_of(&decoders).or_else(|| options.any_of(&special)).is_some();
        let parser = match options.any_of(&special) {
            Some("offsets-decoder") => Parser::Offsets,
            Some(_) => Parser::Metadata,
            None => {
                let decoder = |name| {
                    let class = options.one(name).map_err(|text| option_exception(&text))?;
                    Decoder::of_class(class)
                };
                let value = decoder("value-decoder-class")?;
                Parser::Decoders { key: decoder("key-decoder-class")?, value }
            }
        };
        let max = options.number::<i32>("max-bytes").map_err(|text| option_exception(&text))?;
        Ok(Self {
            records: contents || options.has("deep-iteration"),
            contents,
            metadata: !options.has("skip-record-metadata"),
            max_bytes: max.filter(|max| *max != i32::MAX).and_then(|max| usize::try_from(max).ok()),
            parser,
        })
    }
}

impl Decoder {
    fn of_class(class: Option<&str>) -> Run<Self> {
        match class.map_or("StringDecoder", |name| {
            name.strip_prefix("org.apache.kafka.tools.api.").unwrap_or("")
        }) {
            "StringDecoder" => Ok(Self::Text),
            "LongDecoder" => Ok(Self::Long),
            "IntegerDecoder" => Ok(Self::Integer),
            "DefaultDecoder" => Ok(Self::Bytes),
            _ => Err(uncaught("java.lang.RuntimeException", "Failed to load decoder class")),
        }
    }

    fn show(self, bytes: &[u8]) -> Run<String> {
        let short = || Stop::err("Exception in thread \"main\" java.nio.BufferUnderflowException");
        Ok(match self {
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(short)?).to_string(),
            Self::Integer => {
                i32::from_be_bytes(*bytes.first_chunk().ok_or_else(short)?).to_string()
            }
            // Java shows where an array is, not what is in it.
            Self::Bytes => "[B@0".to_owned(),
        })
    }
}

/// Shows a log or a snapshot of the metadata; notes offsets that are not followed by the next.
pub(super) fn dump(path: &Path, wanted: &Wanted, gaps: &mut Vec<(String, Vec<String>)>) -> Run<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".log") {
        say(&format!("Log starting offset: {}", first_offset(path)?));
    } else if name == "bootstrap.checkpoint" {
        say("KRaft bootstrap snapshot");
    } else {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let (offset, epoch) = (number(name.get(..20)), number(name.get(21..31)));
        let (Some(offset), Some(epoch)) = (offset, epoch) else {
            return Err(uncaught("java.lang.RuntimeException", "this is no name of a snapshot"));
        };
        say(&format!("Snapshot end offset: {offset}, epoch: {epoch}"));
    }
    let data = read(path)?;
    let data = data.slice(..wanted.max_bytes.map_or(data.len(), |max| max.min(data.len())));
    let mut shown = Shown { wanted, last: -1, gaps: Vec::new(), valid: 0, ended: Ok(()) };
    walk_bytes(data.clone(), |position, batch, valid| {
        if shown.ended.is_ok() {
            shown.ended = shown.batch(position, batch, valid);
        }
    });
    let Shown { gaps: found, valid, ended, .. } = shown;
    ended?;
    let rest = data.get(valid..).unwrap_or_default();
    if let Some(size) =
        rest.get(8..12).and_then(|size| size.first_chunk()).filter(|_| 17 <= rest.len())
    {
        let size = i32::from_be_bytes(*size);
        if size < RECORD_OVERHEAD {
            return Err(uncaught(
                "org.apache.kafka.common.errors.CorruptRecordException",
                &format!(
                    "Found record size {size} smaller than minimum record overhead \
                     ({RECORD_OVERHEAD}) in file {}.",
                    path.display()
                ),
            ));
        }
    }
    if !rest.is_empty() && wanted.max_bytes.is_none() {
        say(&format!("Found {} invalid bytes at the end of {name}", rest.len()));
    }
    if !found.is_empty() {
        gaps.push((whole(path).display().to_string(), found));
    }
    Ok(())
}

/// The least that Kafka takes for a batch.
const RECORD_OVERHEAD: i32 = 14;

struct Shown<'a> {
    wanted: &'a Wanted,
    last: i64,
    gaps: Vec<String>,
    /// Where the batches that could be read end.
    valid: usize,
    ended: Run<()>,
}

impl Shown<'_> {
    fn batch(&mut self, position: u64, batch: &Batch, valid: bool) -> Run<()> {
        let mut text = batch_line(position, batch, valid);
        self.valid = usize::try_from(position).unwrap_or(usize::MAX) + batch.header().total_len();
        let done = if self.wanted.records { self.records(batch, &mut text) } else { Ok(()) };
        say_part(text.as_bytes());
        done
    }

    fn records(&mut self, batch: &Batch, text: &mut String) -> Run<()> {
        let unreadable = |error: ottla_record::BatchError| {
            uncaught("org.apache.kafka.common.KafkaException", &error.to_string())
        };
        let control = batch.header().attributes.is_control();
        for record in batch.records(&DecompressLimits::default()).map_err(unreadable)? {
            let record = record.map_err(unreadable)?;
            let offset = i64::try_from(record.offset.0).unwrap_or(i64::MAX);
            if offset != self.last + 1 {
                self.gaps.push(format!("  {} is followed by {offset}", self.last));
            }
            self.last = offset;
            if self.wanted.metadata {
                record_line(batch, &record, text);
                if control {
                    text.push_str(&control_record(&record));
                }
            }
            if self.wanted.contents && !control {
                let mut prefix = if self.wanted.metadata { " " } else { "| " };
                let (key, value) = self.wanted.parser.parse(&record)?;
                for (name, part) in [("key", key), ("payload", value)] {
                    if let Some(part) = part {
                        let _ = write!(text, "{prefix}{name}: {part}");
                        prefix = " ";
                    }
                }
            }
            text.push('\n');
        }
        Ok(())
    }
}

fn time_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_line(position: u64, batch: &Batch, valid: bool) -> String {
    let header = batch.header();
    let flags = header.attributes;
    let or_none = |number: Option<u64>| number.map_or(-1, |one| i64::try_from(one).unwrap_or(-1));
    let sequence = or_none(header.base_sequence.map(|one| u64::from(one.0)));
    let last_sequence = or_none(header.last_sequence().map(|one| u64::from(one.0)));
    let horizon = if flags.has_delete_horizon() {
        format!("OptionalLong[{}]", header.base_timestamp.0)
    } else {
        "OptionalLong.empty".to_owned()
    };
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {sequence} lastSequence: \
         {last_sequence} producerId: {} producerEpoch: {} partitionLeaderEpoch: {} \
         isTransactional: {} isControl: {} deleteHorizonMs: {horizon} position: {position} {}: {} \
         size: {} magic: 2 compresscodec: {} crc: {} isvalid: {valid}\n",
        header.base_offset.0,
        header.last_offset().0,
        header.record_count,
        or_none(header.producer_id.map(|id| id.0)),
        or_none(header.producer_epoch.map(|epoch| u64::from(epoch.0))),
        or_none(header.leader_epoch.map(|epoch| u64::from(epoch.0))),
        flags.is_transactional(),
        flags.is_control(),
        time_name(flags.timestamp_type()),
        header.max_timestamp.0,
        header.total_len(),
        header.compression().map_or("unknown", |codec| codec.name()),
        header.crc,
    )
}

fn record_line(batch: &Batch, record: &Record, text: &mut String) {
    let size = |part: &Option<Bytes>| {
        part.as_ref().map_or(-1, |part| i64::try_from(part.len()).unwrap_or(-1))
    };
    let keys = record.headers.iter().map(|header| String::from_utf8_lossy(&header.key));
    let _ = write!(
        text,
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
        record.offset.0,
        time_name(batch.header().attributes.timestamp_type()),
        record.timestamp.0,
        size(&record.key),
        size(&record.value),
        record.sequence.map_or(-1, |sequence| i64::from(sequence.0)),
        keys.collect::<Vec<_>>().join(",")
    );
}

fn control_record(record: &Record) -> String {
    let kind = ControlType::of(record);
    let (title, name) = match kind {
        Ok(ControlType::LeaderChange) => (" LeaderChange: ", "LeaderChangeMessage"),
        Ok(ControlType::SnapshotHeader) => (" SnapshotHeader ", "SnapshotHeaderRecord"),
        Ok(ControlType::SnapshotFooter) => (" SnapshotFooter ", "SnapshotFooterRecord"),
        Ok(ControlType::KraftVersion) => (" KRaftVersion ", "KRaftVersionRecord"),
        Ok(ControlType::KraftVoters) => (" KRaftVoters ", "VotersRecord"),
        Ok(ControlType::Abort | ControlType::Commit) => {
            let marker = if kind == Ok(ControlType::Commit) { "COMMIT" } else { "ABORT" };
            let value = record.value.clone().unwrap_or_default();
            let epoch = value.get(2..).and_then(|epoch| epoch.first_chunk());
            let epoch = epoch.map_or(-1, |epoch| i32::from_be_bytes(*epoch));
            return format!(" endTxnMarker: {marker} coordinatorEpoch: {epoch}");
        }
        Ok(ControlType::Unknown(id)) => return format!(" controlType: UNKNOWN({id})"),
        Err(error) => return format!(" controlType: {error}"),
    };
    let value = record.value.clone().unwrap_or_default();
    let version = Reader::new(value.clone()).i16("version").unwrap_or_default();
    let read = schema::by_name(ottla_record::SCHEMA, name)
        .map(|message| message.read(version, &mut Reader::new(value)));
    match read {
        Some(Ok(read)) => format!("{title}{read}"),
        Some(Err(error)) => format!("{title}{error}"),
        None => title.to_owned(),
    }
}

type Parsed = (Option<String>, Option<String>);

impl Parser {
    fn parse(self, record: &Record) -> Run<Parsed> {
        match self {
            Self::Decoders { key, value } => {
                let show = |decoder: Decoder, part: &Option<Bytes>| {
                    part.as_deref().map(|bytes| decoder.show(bytes)).transpose()
                };
                Ok((show(key, &record.key)?, show(value, &record.value)?))
            }
            Self::Metadata => {
                let value = record.value.clone().unwrap_or_default();
                let text = metadata(value).unwrap_or_else(|error| {
                    format!("Error at {}, skipping. {error}", record.offset.0)
                });
                Ok((None, Some(text)))
            }
            Self::Offsets => {
                let Some(key) = record.key.clone() else {
                    let text = format!(
                        "Failed to decode message at offset {} using the specified decoder \
                         (message had a missing key)",
                        record.offset.0
                    );
                    return Err(uncaught("java.lang.RuntimeException", &text));
                };
                let offset = record.offset.0;
                Ok(match coordinator(key, record.value.clone()) {
                    Ok(Some((key, value))) => (Some(key), Some(value)),
                    Ok(None) => {
                        let key = record.key.as_deref().and_then(|key| key.first_chunk());
                        let kind = key.map_or(-1, |kind| i16::from_be_bytes(*kind));
                        let text =
                            format!("Unknown record type {kind} at offset {offset}, skipping.");
                        (Some(text), None)
                    }
                    Err(error) => {
                        (Some(format!("Error at offset {offset}, skipping. {error}")), None)
                    }
                })
            }
        }
    }
}

fn metadata(value: Bytes) -> Result<String, String> {
    let text = |error: DecodeError| error.to_string();
    let mut reader = Reader::new(value);
    reader.uvarint("frame version").map_err(text)?;
    let key = reader.uvarint("type").map_err(text)?;
    let version = reader.uvarint("version").map_err(text)?;
    let message = i16::try_from(key)
        .ok()
        .and_then(|key| schema::by_key(ottla_metadata::SCHEMA, "metadata", key));
    let message = message.ok_or_else(|| format!("Unknown metadata id {key}"))?;
    let version = i16::try_from(version).ok().filter(|version| message.has(*version));
    let version = version.ok_or("Unknown version of a record")?;
    let data = message.read(version, &mut reader).map_err(text)?;
    Ok(json!({"type": constant(&message.name), "version": version, "data": data}).to_string())
}

/// `TopicRecord` is `TOPIC_RECORD`.
fn constant(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    text
}

/// Key and value of a record of the group coordinator; nothing if its type is unknown.
fn coordinator(key: Bytes, value: Option<Bytes>) -> Result<Option<(String, String)>, DecodeError> {
    let find = |kind: &str, key: i16| schema::by_key(ottla_group::SCHEMA, kind, key);
    let mut reader = Reader::new(key);
    let kind = reader.i16("type")?;
    let (Some(of_key), Some(of_value)) =
        (find("coordinator-key", kind), find("coordinator-value", kind))
    else {
        return Ok(None);
    };
    let key = json!({"type": kind.to_string(), "data": of_key.read(0, &mut reader)?}).to_string();
    let Some(value) = value else { return Ok(Some((key, "<DELETE>".to_owned()))) };
    let mut reader = Reader::new(value);
    let version = reader.i16("version")?;
    let mut data = of_value.read(version, &mut reader)?;
    if of_value.name == "GroupMetadataValue"
        && data.get("protocolType").is_some_and(|kind| kind == "consumer")
    {
        for member in data.get_mut("members").and_then(Value::as_array_mut).into_iter().flatten() {
            embedded(member, "subscription", "ConsumerProtocolSubscription");
            embedded(member, "assignment", "ConsumerProtocolAssignment");
        }
    }
    Ok(Some((key, json!({"version": version.to_string(), "data": data}).to_string())))
}

/// Puts in the place of bytes what a consumer's client has written there, if it can be read.
fn embedded(member: &mut Value, field: &str, name: &str) {
    use base64::Engine;
    let Some(there) = member.get_mut(field) else { return };
    let text = there.as_str().unwrap_or_default();
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else { return };
    let mut reader = Reader::new(bytes.into());
    let Some(message) = schema::by_name(ottla_protocol::DATA_SCHEMA, name) else { return };
    let version = reader.i16("version").ok().filter(|version| message.has(*version));
    if let Some(read) = version.and_then(|version| message.read(version, &mut reader).ok()) {
        *there = read;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records() {
        assert_eq!(constant("FeatureLevelRecord"), "FEATURE_LEVEL_RECORD");
        assert_eq!(constant("NoOpRecord"), "NO_OP_RECORD");
    }

    #[test]
    fn records_that_cannot_be_read_are_said_to_be_so() {
        assert!(metadata(Bytes::from_static(&[1, 12, 0, 0x85])).is_err());
        assert_eq!(metadata(Bytes::from_static(&[1, 99, 0])), Err("Unknown metadata id 99".into()));
        let unknown = coordinator(Bytes::from_static(&[0, 99]), None);
        assert_eq!(unknown.unwrap(), None);
        let no_op = metadata(Bytes::from_static(&[1, 20, 0, 0])).unwrap();
        assert_eq!(no_op, r#"{"type":"NO_OP_RECORD","version":0,"data":{}}"#);
    }
}
