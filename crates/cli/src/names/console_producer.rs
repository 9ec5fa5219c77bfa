//! `kafka-console-producer`.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use ottla_client::{Acks, ClientError, Delivery, OutgoingRecord, Producer, ProducerOptions};
use ottla_record::Compression;

use super::lines::{Reader, stdin};
use super::options::{Known, Options, Takes, flag, with};
use super::session::{Properties, client, validate_bootstrap};
use super::stop::{Run, Stop};
use super::{complain, help_or_version, say};
use crate::signals::Signals;

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("topic", "topic", "REQUIRED: the topic."),
    with("bootstrap-server", "server to connect to", "REQUIRED: where the cluster is."),
    flag("sync", "Wait for each record's answer before the next is read."),
    Known {
        name: "compression-codec",
        takes: Takes::Maybe("String: compression-codec"),
        about: "How batches are compressed: none, gzip, snappy, lz4 or zstd; gzip if not said.",
    },
    with("batch-size", "Integer: size", "Bytes of a batch (batch.size)."),
    with("message-send-max-retries", "Integer", "How often a batch is sent again (retries)."),
    with("retry-backoff-ms", "Long", "How long to wait before that (retry.backoff.ms)."),
    with("timeout", "Long: timeout_ms", "How long a batch waits for more (linger.ms)."),
    with("request-required-acks", "String: request required acks", "0, 1 or all (acks)."),
    with("request-timeout-ms", "Integer", "How long an answer may take (request.timeout.ms)."),
    with("metadata-expiry-ms", "Long", "How long metadata is good (metadata.max.age.ms)."),
    with("max-block-ms", "Long", "How long to wait for the cluster (max.block.ms)."),
    with("max-memory-bytes", "Long", "Bytes of all records that wait (buffer.memory)."),
    with("max-partition-memory-bytes", "Integer", "(Deprecated) as --batch-size."),
    with("line-reader", "String: reader_class", "The class that reads; only Kafka's own."),
    with("socket-buffer-size", "Integer: size", "Bytes of the socket's buffer."),
    with("property", "String: prop", "(Deprecated) as --reader-property."),
    with("reader-property", "String: prop", "A setting of the reader, such as parse.key=true."),
    with("reader-config", "String: config file", "A file with settings of the reader."),
    with("producer-property", "String: producer_prop", "(Deprecated) as --command-property."),
    with("command-property", "String: producer_prop", "A setting of the producer."),
    with("producer.config", "String: config file", "(Deprecated) as --command-config."),
    with("command-config", "String: config file", "A file with settings of the producer."),
];

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments).map_err(Stop::Usage)?;
    help_or_version(
        &options,
        "This tool helps to read data from standard input and publish it to Kafka.",
    )?;
    let setup = Setup::new(&options)?;
    // What is thrown from here on is printed with its class, above its stack.
    produce(setup).await.map_err(|stop| stop.caught(|_, full| Stop::err(full)))
}

struct Setup {
    topic: String,
    sync: bool,
    bootstrap: String,
    producer: Properties,
    reader: Properties,
}

impl Setup {
    fn new(options: &Options) -> Run<Self> {
        options.require(&["topic"]).map_err(Stop::Usage)?;
        let pairs = [
            ("command-config", "producer.config"),
            ("command-property", "producer-property"),
            ("reader-property", "property"),
        ];
        if let Some((new, old)) =
            pairs.iter().find(|(new, old)| options.has(new) && options.has(old))
        {
            return Err(Stop::Usage(format!(
                "Options --{new} and --{old} cannot be specified together."
            )));
        }
        for (new, old) in [pairs[1], pairs[0], pairs[2]] {
            if options.has(old) {
                say(&format!(
                    "Warning: --{old} is deprecated and will be removed in a future version. Use \
                     --{new} instead."
                ));
            }
        }
        if options.has("max-partition-memory-bytes") {
            say(
                "Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache \
                 Kafka 5.0. Use --batch-size instead.",
            );
        }
        let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
        validate_bootstrap(bootstrap).map_err(Stop::Usage)?;
        let of = |name: &str, old: &str| -> Run<Option<String>> {
            Ok(options.one(name)?.or(options.one(old)?).map(str::to_owned))
        };
        let mut producer =
            Properties::of_file(of("command-config", "producer.config")?.as_deref())?;
        producer.extend(&options.all("command-property"));
        producer.extend(&options.all("producer-property"));
        merge(options, &mut producer)?;
        let mut reader = Properties::of_file(options.one("reader-config")?)?;
        reader.extend(&options.all("reader-property"));
        reader.extend(&options.all("property"));
        let class = options.one("line-reader")?.unwrap_or(LINE_READER);
        if class != LINE_READER {
            return Err(Stop::err(format!("java.lang.ClassNotFoundException: {class}")));
        }
        Ok(Self {
            topic: options.one("topic")?.unwrap_or_default().to_owned(),
            sync: options.has("sync"),
            bootstrap: bootstrap.to_owned(),
            producer,
            reader,
        })
    }
}

/// Options win over properties, properties over what the options say when they are not there.
fn merge(options: &Options, properties: &mut Properties) -> Run<()> {
    let codec = match options.has("compression-codec") {
        true => options.one("compression-codec")?.unwrap_or("gzip"),
        false => "none",
    };
    properties.set("compression.type", codec);
    let settings = [
        ("timeout", "linger.ms", "1000"),
        ("request-required-acks", "acks", "-1"),
        ("request-timeout-ms", "request.timeout.ms", "1500"),
        ("max-block-ms", "max.block.ms", "60000"),
        ("batch-size", "batch.size", "16384"),
        ("max-partition-memory-bytes", "batch.size", "16384"),
    ];
    let numbers = ["message-send-max-retries", "retry-backoff-ms", "metadata-expiry-ms"];
    for option in numbers.into_iter().chain(["max-memory-bytes", "socket-buffer-size"]) {
        options.number::<i64>(option)?;
    }
    for (option, key, default) in settings {
        if option != "request-required-acks" {
            options.number::<i64>(option)?;
        }
        if let Some(value) = options.one(option)? {
            properties.set(key, value);
        } else if properties.get(key).is_none() {
            properties.set(key, default);
        }
    }
    Ok(())
}

fn settings(properties: &Properties) -> Run<ProducerOptions> {
    if let Some(id) = properties.get("transactional.id") {
        return Err(Stop::illegal(format!(
            "transactional.id={id} is not available: this tool's producer has no transactions"
        )));
    }
    let mut options = ProducerOptions::default();
    options.acks = match properties.get("acks").unwrap_or("-1") {
        "0" => Acks::None,
        "1" => Acks::Leader,
        "all" | "-1" => Acks::All,
        other => return Err(invalid("acks", other, "String must be one of: all, -1, 0, 1")),
    };
    let codec = properties.get("compression.type").unwrap_or("none");
    options.compression = match codec {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        other => {
            return Err(invalid(
                "compression.type",
                other,
                "String must be one of: none, gzip, snappy, lz4, zstd",
            ));
        }
    };
    let idempotent = properties.get("enable.idempotence");
    options.idempotent = idempotent.is_none_or(|value| value.trim() == "true");
    if let Some(linger) = properties.millis("linger.ms")? {
        options.linger = linger;
    }
    if let Some(timeout) = properties.millis("delivery.timeout.ms")? {
        options.delivery_timeout = timeout;
    }
    let bytes = properties.get("batch.size").and_then(|text| text.trim().parse().ok());
    options.batch_bytes = bytes.unwrap_or(16384).max(1);
    Ok(options)
}

fn invalid(key: &str, value: &str, why: &str) -> Stop {
    Stop::Thrown {
        class: "org.apache.kafka.common.config.ConfigException".to_owned(),
        message: format!("Invalid value {value} for configuration {key}: {why}"),
    }
}

async fn produce(setup: Setup) -> Run<()> {
    let mut reader = Reader::new(&setup.reader)?;
    let options = settings(&setup.producer)?;
    let client = client(&setup.bootstrap, &setup.producer, "console-producer")?;
    let mut producer = Producer::new(client, options);
    let prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut lines = stdin(prompt);
    let mut waiting = VecDeque::new();
    let mut ended = Ok(());
    let mut signals = Signals::new()?;
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            code = signals.next() => {
                ended = Err(Stop::signal(code));
                break;
            }
        };
        let Some(line) = line else { break };
        let sent = match reader.record(&line) {
            Ok(record) => send(&mut producer, &setup, record, &mut waiting).await,
            Err(stop) => Err(stop),
        };
        if sent.is_err() {
            ended = sent;
            break;
        }
        // In the order in which they were sent, most are answered in it.
        while waiting.front_mut().is_some_and(Waiting::is_over) {
            waiting.pop_front();
        }
    }
    // Also what was read before the failure or the signal is sent.
    producer.close().await;
    for mut one in waiting {
        one.is_over();
    }
    ended
}

async fn send(
    producer: &mut Producer,
    setup: &Setup,
    record: OutgoingRecord,
    waiting: &mut VecDeque<Waiting>,
) -> Run<()> {
    let size = |part: &Option<bytes::Bytes>| {
        part.as_ref().map_or_else(|| "null".to_owned(), |part| format!("{} bytes", part.len()))
    };
    let what = format!(
        "Error when sending message to topic {} with key: {}, value: {} with error:",
        setup.topic,
        size(&record.key),
        size(&record.value)
    );
    match producer.send(&setup.topic, record).await {
        Ok(delivery) if setup.sync => match tokio::time::timeout(LONGEST, delivery).await {
            Ok(Ok(Err(error))) => {
                Err(Stop::err(format!("java.util.concurrent.ExecutionException: {error}")))
            }
            _ => Ok(()),
        },
        Ok(delivery) => {
            waiting.push_back(Waiting { what, delivery });
            Ok(())
        }
        // As the callback of a failed send: said, and on with the next.
        Err(error) if !setup.sync && !matches!(error, ClientError::NoBroker { .. }) => {
            complain(&format!("ERROR {what} {error}"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A record whose answer is not there yet.
struct Waiting {
    what: String,
    delivery: Delivery,
}

impl Waiting {
    /// Whether the answer is there; a failure is said.
    fn is_over(&mut self) -> bool {
        match self.delivery.try_recv() {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                complain(&format!("ERROR {} {error}", self.what));
                true
            }
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => false,
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => true,
        }
    }
}

/// Longer than any delivery timeout that somebody waits for.
const LONGEST: Duration = Duration::from_secs(3600);

const LINE_READER: &str = "org.apache.kafka.tools.LineMessageReader";
