//! `ottla consume`: prints records, alone or as a member of a group.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use ottla_client::{
    Admin, ClientError, ConsumedRecord, Consumer, ConsumerOptions, Ends, GroupConsumer,
    GroupOptions, OffsetSpec,
};
use ottla_types::{Offset, PartitionIndex, Timestamp};
use serde::Serialize;

use super::topic::existing;
use crate::args::{ConnectionArgs, OutputFormat};
use crate::connect::client;
use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Arguments of `ottla consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Begins with the oldest record; a group begins there only where it has committed nothing
    #[arg(long)]
    from_beginning: bool,
    /// Where to begin: beginning, end, an offset, +N records after the beginning, -N before the
    /// end, or @MILLISECONDS
    #[arg(
        long,
        value_name = "WHERE",
        conflicts_with_all = ["from_beginning", "group"],
        allow_hyphen_values = true
    )]
    offset: Option<String>,
    /// Only these partitions; may be given several times
    #[arg(short, long = "partition", value_name = "N", conflicts_with = "group")]
    partitions: Vec<u32>,
    /// Reads as a member of this group and commits offsets
    #[arg(short, long, value_name = "GROUP")]
    group: Option<String>,
    /// How a record is printed: %t topic, %p partition, %o offset, %k key, %v value, %h headers,
    /// %T timestamp, \n \t
    #[arg(short, long, default_value = "%v\\n", value_name = "FORMAT")]
    format: String,
    /// Ends after this many records
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,
    /// Ends when every record that there is has been printed, or when no broker can be reached for
    /// `--timeout` seconds; without it an outage is waited out
    #[arg(short, long)]
    exit_at_end: bool,
    /// Hides records of open and aborted transactions
    #[arg(long)]
    read_committed: bool,
}

/// A record as JSON or YAML.
#[derive(Serialize)]
struct Shown<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    timestamp_ms: i64,
    #[serde(flatten)]
    key: KeyField,
    #[serde(flatten)]
    value: ValueField,
    headers: Vec<(String, Option<String>)>,
}

/// Text as text, other bytes in base64 under another name, so that nobody takes one for the other.
#[derive(Serialize)]
#[serde(untagged)]
enum KeyField {
    Text { key: Option<String> },
    Base64 { key_base64: String },
}

#[derive(Serialize)]
#[serde(untagged)]
enum ValueField {
    Text { value: Option<String> },
    Base64 { value_base64: String },
}

enum Source {
    Alone(Box<Consumer>),
    Member(Box<GroupConsumer>),
}

pub(crate) async fn run(
    args: ConsumeArgs,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let format = Format::parse(&args.format)?;
    let admin = Admin::new(client(connection)?);
    for topic in &args.topics {
        existing(&admin, topic).await?;
    }
    let mut options = ConsumerOptions::default();
    options.read_committed = args.read_committed;
    options.reset =
        Some(if args.from_beginning { OffsetSpec::Earliest } else { OffsetSpec::Latest });
    let mut source = match &args.group {
        Some(group) => Source::Member(Box::new(GroupConsumer::new(
            admin.client().clone(),
            group.as_str(),
            args.topics.clone(),
            options,
            GroupOptions::default(),
        ))),
        None => Source::Alone(Box::new(assigned(&admin, &args, options).await?)),
    };
    // Whoever waits for an end shall get one.
    let patience = args.exit_at_end.then(|| Duration::from_secs(connection.timeout.max(1)));
    let outage = Outage { patience, ..Outage::default() };
    let ended = print_all(&mut source, &args, &format, outage, terminal).await;
    if let Source::Member(member) = source {
        let left = member.leave().await;
        if ended.is_ok() {
            left?;
        }
    }
    ended
}

async fn print_all(
    source: &mut Source,
    args: &ConsumeArgs,
    format: &Format,
    mut outage: Outage,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut out = Vec::new();
    let mut ends = None;
    while 0 < left {
        let polled = tokio::select! {
            polled = next(source, &mut outage, terminal) => polled?,
            _ = signals.next() => return Ok(Exit::Interrupted),
        };
        for record in polled.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            write(record, format, terminal.format(), &mut out)?;
            left -= 1;
        }
        if !out.is_empty() {
            terminal.raw(&out)?;
            out.clear();
        }
        if args.exit_at_end && source.has_ended(&mut ends).await? {
            break;
        }
    }
    Ok(Exit::Ok)
}

/// What the next poll brings. While no broker can be reached it is nothing, after a pause.
async fn next(
    source: &mut Source,
    outage: &mut Outage,
    terminal: Terminal,
) -> Result<Vec<ConsumedRecord>, Failure> {
    match source.poll().await {
        Ok(records) => {
            if outage.ended() {
                terminal.warn("connected again");
            }
            Ok(records)
        }
        Err(error) if error.is_connection() && error.is_retriable() => {
            if outage.since.is_none() {
                terminal.warn(format!("{error}; trying again"));
            }
            let Some(pause) = outage.pause(Instant::now()) else { return Err(error.into()) };
            tokio::time::sleep(pause).await;
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

/// How long no broker has been reached, and when that is too long.
#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    last: Duration,
    /// `None` is without end: a broker that restarts is not the end of what is printed.
    patience: Option<Duration>,
}

impl Outage {
    /// The pause before the next try, longer each time; `None` when it has lasted too long.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        self.last = (self.last * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let lasted = now.saturating_duration_since(since);
        self.patience.is_none_or(|patience| lasted < patience).then_some(self.last)
    }

    /// Whether there was one until now.
    fn ended(&mut self) -> bool {
        self.last = Duration::ZERO;
        self.since.take().is_some()
    }
}

impl Source {
    async fn poll(&mut self) -> Result<Vec<ConsumedRecord>, ClientError> {
        match self {
            Self::Alone(consumer) => consumer.poll(PATIENCE).await,
            Self::Member(member) => member.poll(PATIENCE).await,
        }
    }

    /// Whether every record has been returned that was there when nothing seemed left first: an
    /// acknowledged record is not shown before its sync.
    async fn has_ended(&self, ends: &mut Option<Ends>) -> Result<bool, ClientError> {
        let at_end = match self {
            Self::Alone(consumer) => consumer.is_at_end(),
            Self::Member(member) => member.is_at_end(),
        };
        if !at_end {
            return Ok(false);
        }
        let ends = match ends {
            Some(ends) => ends,
            None => {
                let asked = match self {
                    Self::Alone(consumer) => consumer.ends().await,
                    Self::Member(member) => member.ends().await,
                };
                match asked {
                    // The next poll tells of it.
                    Err(error) if error.is_connection() && error.is_retriable() => {
                        return Ok(false);
                    }
                    asked => ends.insert(asked?),
                }
            }
        };
        Ok(match self {
            Self::Alone(consumer) => consumer.is_past(ends),
            Self::Member(member) => member.is_past(ends),
        })
    }
}

/// Where to begin in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Spec(OffsetSpec),
    Offset(u64),
    AfterStart(u64),
    BeforeEnd(u64),
}

impl Begin {
    fn parse(text: &str) -> Result<Self, Failure> {
        let number = |text: &str| text.parse::<u64>().ok();
        let parsed = match text {
            "beginning" | "start" | "earliest" => Some(Self::Spec(OffsetSpec::Earliest)),
            "end" | "latest" => Some(Self::Spec(OffsetSpec::Latest)),
            _ => match text.split_at_checked(1) {
                Some(("+", count)) => number(count).map(Self::AfterStart),
                Some(("-", count)) => number(count).map(Self::BeforeEnd),
                Some(("@", millis)) => {
                    let millis = millis.parse().ok();
                    millis.map(|millis| Self::Spec(OffsetSpec::At(Timestamp(millis))))
                }
                _ => number(text).map(Self::Offset),
            },
        };
        parsed.ok_or_else(|| {
            Failure::usage(format!("{text:?} is no place to begin"))
                .with_hint("Places: beginning, end, 42, +10, -10, @1700000000000.")
        })
    }
}

async fn assigned(
    admin: &Admin,
    args: &ConsumeArgs,
    options: ConsumerOptions,
) -> Result<Consumer, Failure> {
    let begin = match &args.offset {
        Some(text) => Begin::parse(text)?,
        None if args.from_beginning => Begin::Spec(OffsetSpec::Earliest),
        None => Begin::Spec(OffsetSpec::Latest),
    };
    let mut consumer = Consumer::new(admin.client().clone(), options);
    for topic in &args.topics {
        let known = admin.client().topic(topic, false).await?;
        let all: Vec<PartitionIndex> = known.partitions.iter().map(|one| one.index).collect();
        let chosen: Vec<PartitionIndex> = if args.partitions.is_empty() {
            all
        } else {
            args.partitions.iter().copied().map(PartitionIndex).collect()
        };
        for index in chosen {
            match begin {
                Begin::Spec(spec) => {
                    consumer.assign_at(topic, index, spec).await?;
                }
                Begin::Offset(offset) => consumer.assign(topic, index, Offset(offset)),
                Begin::AfterStart(count) => {
                    let start = consumer.assign_at(topic, index, OffsetSpec::Earliest).await?;
                    consumer.assign(topic, index, start.plus(count));
                }
                Begin::BeforeEnd(count) => {
                    let start = consumer.assign_at(topic, index, OffsetSpec::Earliest).await?;
                    let end = consumer.assign_at(topic, index, OffsetSpec::Latest).await?;
                    let begin = end.0.saturating_sub(count).max(start.0);
                    consumer.assign(topic, index, Offset(begin));
                }
            }
        }
    }
    Ok(consumer)
}

fn write(
    record: &ConsumedRecord,
    format: &Format,
    output: OutputFormat,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let failed = |error: String| Failure::new(Exit::Failed, error);
    match output {
        OutputFormat::Text => format.write(record, out),
        // One object a line, so that it can be read as it comes.
        OutputFormat::Json => {
            let line = serde_json::to_vec(&shown(record)).map_err(|e| failed(e.to_string()))?;
            out.extend(line);
            out.push(b'\n');
        }
        OutputFormat::Yaml => {
            let document =
                serde_norway::to_string(&shown(record)).map_err(|e| failed(e.to_string()))?;
            out.extend_from_slice(b"---\n");
            out.extend(document.into_bytes());
        }
    }
    Ok(())
}

fn shown(record: &ConsumedRecord) -> Shown<'_> {
    let key = match record.key.as_deref().map(std::str::from_utf8) {
        None => KeyField::Text { key: None },
        Some(Ok(text)) => KeyField::Text { key: Some(text.to_owned()) },
        Some(Err(_)) => {
            KeyField::Base64 { key_base64: base64(record.key.as_deref().unwrap_or_default()) }
        }
    };
    let value = match record.value.as_deref().map(std::str::from_utf8) {
        None => ValueField::Text { value: None },
        Some(Ok(text)) => ValueField::Text { value: Some(text.to_owned()) },
        Some(Err(_)) => {
            ValueField::Base64 { value_base64: base64(record.value.as_deref().unwrap_or_default()) }
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = record.headers.iter().map(|(key, value)| (text(key), value.as_deref().map(text)));
    Shown {
        topic: &record.topic,
        partition: record.partition.0,
        offset: record.offset.0,
        timestamp_ms: record.timestamp.0,
        key,
        value,
        headers: headers.collect(),
    }
}

/// With padding, as JSON users expect it.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// How long one poll waits; Ctrl-C does not wait for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pauses between two tries to reach a broker (`reconnect.backoff.ms` and its maximum).
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn places_to_begin() {
        let parse = |text| Begin::parse(text).unwrap();
        assert_eq!(parse("beginning"), Begin::Spec(OffsetSpec::Earliest));
        assert_eq!(parse("end"), Begin::Spec(OffsetSpec::Latest));
        assert_eq!(parse("42"), Begin::Offset(42));
        assert_eq!(parse("+3"), Begin::AfterStart(3));
        assert_eq!(parse("-3"), Begin::BeforeEnd(3));
        assert_eq!(parse("@17"), Begin::Spec(OffsetSpec::At(Timestamp(17))));
        for bad in ["", "x", "-", "@", "+x", "é"] {
            assert!(Begin::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pauses_of_an_outage_grow_to_a_second_and_end_with_the_patience() {
        let start = Instant::now();
        let pauses = |patience: Option<u64>| {
            let patience = patience.map(Duration::from_secs);
            let mut outage = Outage { patience, ..Outage::default() };
            let at = |second| outage.pause(start + Duration::from_secs(second));
            let pauses: Vec<_> = (0..8).map_while(at).map(|pause| pause.as_millis()).collect();
            (pauses, outage.ended(), outage.ended())
        };
        let all = vec![50, 100, 200, 400, 800, 1000, 1000, 1000];
        assert_eq!(pauses(None), (all, true, false));
        assert_eq!(pauses(Some(3)), (vec![50, 100, 200], true, false));
    }

    #[test]
    fn json_tells_text_from_bytes() {
        let mut record = ConsumedRecord::new("t", PartitionIndex(1), Offset(2));
        record.timestamp = Timestamp(3);
        record.value = Some(Bytes::from_static(b"\xff"));
        record.headers = vec![(Bytes::from_static(b"h"), None)];
        let mut out = Vec::new();
        let format = Format::parse("%v").unwrap();
        write(&record, &format, OutputFormat::Json, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"topic\":\"t\",\"partition\":1,\"offset\":2,\"timestamp_ms\":3,\"key\":null,\
             \"value_base64\":\"/w==\",\"headers\":[[\"h\",null]]}\n"
        );
    }
}
