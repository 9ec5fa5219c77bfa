//! `ottla produce`: one record for each line of stdin or a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ottla_client::{Acks, Delivery, OutgoingRecord, Producer, ProducerOptions};
use ottla_record::Compression;
use ottla_types::PartitionIndex;
use serde::Serialize;

use crate::args::{ConnectionArgs, key_value};
use crate::connect::client;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::suggest::{is_missing, with_topic};
use crate::terminal::Terminal;

/// Arguments of `ottla produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The topic
    topic: String,
    /// Reads this file instead of stdin
    #[arg(short = 'P', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Sends the whole input as one record instead of one a line
    #[arg(long, conflicts_with = "key_separator")]
    whole: bool,
    /// Text between key and value of a line; without it lines have no key
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Key of every record
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// Sets a header of every record; may be given several times
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Sends to this partition; by key, else spread, if left out
    #[arg(short, long, value_name = "N")]
    partition: Option<u32>,
    /// Sends an empty value as null (a tombstone)
    #[arg(short = 'Z', long)]
    null: bool,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t)]
    compression: Codec,
    /// What a record must have survived: 0 nothing, 1 the leader has it, all replicas in sync
    #[arg(long, value_enum, default_value_t)]
    acks: AcksArg,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum AcksArg {
    #[value(name = "0")]
    Zero,
    #[value(name = "1")]
    One,
    #[default]
    All,
}

#[derive(Serialize)]
struct Produced {
    topic: String,
    records: u64,
    bytes: u64,
}

impl Render for Produced {
    fn text(&self, _: &mut Text) {}
}

pub(crate) async fn run(
    args: ProduceArgs,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let client = client(connection)?;
    let mut options = ProducerOptions::default();
    options.acks = match args.acks {
        AcksArg::Zero => Acks::None,
        AcksArg::One => Acks::Leader,
        AcksArg::All => Acks::All,
    };
    options.compression = match args.compression {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    options.delivery_timeout = Duration::from_secs(connection.timeout.max(1));
    let mut sending = Sending {
        producer: Producer::new(client.clone(), options),
        waiting: std::collections::VecDeque::new(),
        done: Produced { topic: args.topic.clone(), records: 0, bytes: 0 },
    };
    match sending.all(&args, terminal).await {
        Ok(()) => {}
        Err(failure) => {
            // A file that is missing is no topic that is missing.
            let missing = failure.exit == Exit::NotFound
                && args.file.as_ref().is_none_or(|path| path.exists());
            return Err(if missing {
                with_topic(&client, &args.topic, failure).await
            } else {
                failure
            });
        }
    }
    if !matches!(terminal.format(), crate::args::OutputFormat::Text) {
        terminal.print(&sending.done)?;
    } else if terminal.shows_progress() {
        terminal.say(format!("{} records sent to {}", sending.done.records, args.topic));
    }
    Ok(Exit::Ok)
}

struct Sending {
    producer: Producer,
    waiting: std::collections::VecDeque<Delivery>,
    done: Produced,
}

impl Sending {
    async fn all(&mut self, args: &ProduceArgs, terminal: Terminal) -> Result<(), Failure> {
        let (mut lines, bar) = open(args, terminal)?;
        while let Some(line) = lines.recv().await {
            let line = line.map_err(Failure::from)?;
            let bytes = line.len() as u64;
            let record = record(args, line)?;
            let delivery = self.producer.send(&args.topic, record).await?;
            self.waiting.push_back(delivery);
            self.done.bytes += bytes;
            bar.inc(bytes);
            while WAITING_MAX < self.waiting.len() {
                self.settle_oldest().await?;
            }
        }
        while !self.waiting.is_empty() {
            self.settle_oldest().await?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn settle_oldest(&mut self) -> Result<(), Failure> {
        let Some(oldest) = self.waiting.pop_front() else { return Ok(()) };
        match oldest.await {
            Ok(Ok(_)) => {
                self.done.records += 1;
                Ok(())
            }
            Ok(Err(error)) => {
                let sent = self.done.records;
                let missing = is_missing(error.code());
                let exit = if missing { Exit::NotFound } else { Exit::Failed };
                let exit = if error.is_connection() { Exit::Connection } else { exit };
                let mut failure =
                    Failure::new(exit, format!("after {sent} acknowledged records: {error}"));
                failure.hint = error.hint();
                Err(failure)
            }
            Err(_) => Err(Failure::new(Exit::Failed, "the producer ended early")),
        }
    }
}

type Lines = tokio::sync::mpsc::Receiver<std::io::Result<Vec<u8>>>;

/// Reads on a thread of its own: a terminal blocks for as long as a person thinks.
fn open(args: &ProduceArgs, terminal: Terminal) -> Result<(Lines, ProgressBar), Failure> {
    let mut bar = ProgressBar::hidden();
    let input: Box<dyn Read + Send> = match &args.file {
        None => Box::new(std::io::stdin()),
        Some(path) => {
            let cannot =
                |error| Failure::new(Exit::NotFound, format!("{}: {error}", path.display()));
            let file = File::open(path).map_err(cannot)?;
            let len = file.metadata().map_or(0, |meta| meta.len());
            if terminal.shows_progress() {
                let style = ProgressStyle::with_template("{bytes}/{total_bytes} {wide_bar} {eta}");
                bar = ProgressBar::new(len)
                    .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            }
            Box::new(file)
        }
    };
    let (sender, lines) = tokio::sync::mpsc::channel(1024);
    let whole = args.whole;
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(64 << 10, input);
        loop {
            let mut line = Vec::new();
            let read = if whole {
                input.read_to_end(&mut line)
            } else {
                input.read_until(b'\n', &mut line)
            };
            let item = match read {
                Ok(0) => return,
                Ok(_) => Ok(trimmed(line, whole)),
                Err(error) => Err(error),
            };
            if sender.blocking_send(item).is_err() {
                return;
            }
        }
    });
    Ok((lines, bar))
}

fn trimmed(mut line: Vec<u8>, whole: bool) -> Vec<u8> {
    if !whole && line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}

fn record(args: &ProduceArgs, line: Vec<u8>) -> Result<OutgoingRecord, Failure> {
    let line = Bytes::from(line);
    let (key, value) = match &args.key_separator {
        None => (args.key.clone().map(Bytes::from), line),
        Some(separator) => {
            let Some(at) = find(&line, separator.as_bytes()) else {
                let text = String::from_utf8_lossy(&line).into_owned();
                let message = format!("no key separator {separator:?} in the line {text:?}");
                return Err(Failure::usage(message));
            };
            (Some(line.slice(..at)), line.slice(at + separator.len()..))
        }
    };
    let header = |(key, value): &(String, String)| {
        (Bytes::from(key.clone()), Some(Bytes::from(value.clone())))
    };
    Ok(OutgoingRecord {
        key,
        value: Some(value).filter(|value| !(args.null && value.is_empty())),
        headers: args.headers.iter().map(header).collect(),
        partition: args.partition.map(PartitionIndex),
        timestamp: None,
    })
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    if separator.is_empty() {
        return Some(0);
    }
    line.windows(separator.len()).position(|window| window == separator)
}

/// Records whose acknowledgement may be outstanding.
const WAITING_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: ProduceArgs,
    }

    fn args(line: &str) -> ProduceArgs {
        Only::try_parse_from(line.split(' ')).unwrap().args
    }

    fn shown(arguments: &str, line: &str) -> String {
        let text = |bytes: Option<Bytes>| {
            bytes.map_or_else(|| "null".to_owned(), |b| String::from_utf8(b.to_vec()).unwrap())
        };
        match record(&args(arguments), trimmed(line.as_bytes().to_vec(), false)) {
            Ok(record) => format!("{} {}", text(record.key), text(record.value)),
            Err(failure) => failure.message,
        }
    }

    #[test]
    fn lines_become_records() {
        assert_eq!(shown("x t", "hello\n"), "null hello");
        assert_eq!(shown("x t", "hello\r\n"), "null hello");
        assert_eq!(shown("x t --key a", "v"), "a v");
        assert_eq!(shown("x t -K :", "k:v:w"), "k v:w");
        assert_eq!(shown("x t -K =>", "k=>v"), "k v");
        assert_eq!(shown("x t -K : -Z", "k:"), "k null");
        assert_eq!(shown("x t -K :", "k:"), "k ");
        assert_eq!(shown("x t -K :", "kv"), "no key separator \":\" in the line \"kv\"");
    }

    #[test]
    fn headers_and_partition_are_taken_over() {
        let record = record(&args("x t -H a=1 -H b= -p 3"), b"v".to_vec()).unwrap();
        assert_eq!(record.partition, Some(PartitionIndex(3)));
        assert_eq!(record.headers.len(), 2);
        assert_eq!(record.headers[1], (Bytes::from("b"), Some(Bytes::new())));
    }
}
