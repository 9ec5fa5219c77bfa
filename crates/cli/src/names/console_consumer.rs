//! `kafka-console-consumer`.
//!
//! Without `--group` it reads its partitions itself, where Kafka's makes up a group; with `--include`
//! it reads the topics that are there when it begins.

use std::time::Duration;

use ottla_client::{
    Client, ConsumedRecord, Consumer, ConsumerOptions, GroupConsumer, GroupOptions, OffsetSpec,
};
use ottla_types::{Offset, PartitionIndex};
use regex::Regex;
use tokio::time::Instant;

use super::formatter::Formatter;
use super::options::{Known, Options, flag, with};
use super::session::{Properties, client};
use super::stop::{Run, Stop};
use super::{complain, help_or_version, say, say_part};
use crate::signals::Signals;

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("topic", "String: topic", "The topic."),
    with("include", "String: Java regex", "The topics, by a regular expression."),
    with("partition", "Integer: partition", "Only this partition, from its end or --offset on."),
    with("offset", "String: consume offset", "From where: a number, earliest or latest."),
    with("consumer-property", "String: consumer_prop", "(Deprecated) as --command-property."),
    with("command-property", "String: consumer_prop", "A setting of the consumer."),
    with("consumer.config", "String: config file", "(Deprecated) as --command-config."),
    with("command-config", "String: config file", "A file with settings of the consumer."),
    with("formatter", "String: class", "The class that prints; only Kafka's own."),
    with("property", "String: prop", "(Deprecated) as --formatter-property."),
    with(
        "formatter-property",
        "String: prop",
        "A setting of the formatter, such as print.key=true or key.separator=:",
    ),
    with("formatter-config", "String: config file", "A file with settings of the formatter."),
    flag("from-beginning", "Begin with the first record where no offset is committed."),
    with("max-messages", "Integer: num_messages", "End after so many records."),
    with("timeout-ms", "Long: timeout_ms", "End when no record has come for so long."),
    flag("skip-message-on-error", "Go on with the next if a record cannot be printed."),
    with("bootstrap-server", "String: server to connect to", "REQUIRED: where the cluster is."),
    with("key-deserializer", "String: deserializer for key", "The class that reads keys."),
    with("value-deserializer", "String: deserializer for values", "The class that reads values."),
    flag("enable-systest-events", "Say when it ends, for Kafka's system tests."),
    with("isolation-level", "String", "read_committed or read_uncommitted."),
    with("group", "String: consumer group id", "The group to read in."),
];

const KIP_848: &str = "The consumer rebalance protocol (KIP-848) is production-ready! Set \
    group.protocol=consumer to try it out. See \
    https://kafka.apache.org/documentation/#consumer_rebalance_protocol";

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments).map_err(Stop::Usage)?;
    help_or_version(
        &options,
        "This tool helps to read data from Kafka topics and outputs it to standard output.",
    )?;
    let setup = Setup::new(&options)?;
    if setup.partition.is_none() {
        complain(KIP_848);
    }
    let mut count = 0;
    let done = consume(&setup, &mut count).await;
    complain(&format!("Processed a total of {count} messages"));
    if options.has("enable-systest-events") {
        say("shutdown_complete");
    }
    done.map_err(|stop| {
        stop.caught(|_, full| Stop::err(format!("Unknown error when running consumer: {full}")))
    })
}

/// Where to begin in a partition that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Spec(OffsetSpec),
    At(Offset),
}

struct Setup {
    bootstrap: String,
    topic: Option<String>,
    include: Option<String>,
    partition: Option<PartitionIndex>,
    begin: Begin,
    reset: Option<OffsetSpec>,
    group: Option<String>,
    max: Option<u64>,
    timeout: Option<Duration>,
    skip: bool,
    committed: bool,
    properties: Properties,
    formatter: Formatter,
}

impl Setup {
    fn new(options: &Options) -> Run<Self> {
        let partition: Option<i32> = required(options)?;
        let properties = properties(options)?;
        let group = group(options, &properties, partition.is_some())?;
        let reset = reset(options, &properties)?;
        if properties.get("group.protocol").is_some_and(|it| !it.eq_ignore_ascii_case("classic")) {
            return Err(Stop::err("group.protocol: this tool's consumer speaks classic only"));
        }
        let begin = begin(options)?;
        let timeout: Option<i64> = options.number("timeout-ms")?;
        let max: Option<i32> = options.number("max-messages")?;
        let level = options.one("isolation-level")?.or_else(|| properties.get("isolation.level"));
        let committed = level == Some("read_committed");
        let text =
            |name: &str| -> Run<Option<String>> { Ok(options.one(name)?.map(str::to_owned)) };
        Ok(Self {
            bootstrap: text("bootstrap-server")?.unwrap_or_default(),
            topic: text("topic")?,
            include: text("include")?,
            partition: partition
                .map(|index| PartitionIndex::from_wire(index).unwrap_or(PartitionIndex(0))),
            begin,
            reset,
            group,
            max: max.and_then(|max| u64::try_from(max).ok()),
            timeout: timeout.and_then(|it| u64::try_from(it).ok()).map(Duration::from_millis),
            skip: options.has("skip-message-on-error"),
            committed,
            properties,
            formatter: formatter(options)?,
        })
    }
}

fn required(options: &Options) -> Run<Option<i32>> {
    if options.count(&["topic", "include"]) != 1 {
        return Err(Stop::Usage(
            "Exactly one of the following arguments is required: [topic], [include]".to_owned(),
        ));
    }
    let partition = options.number("partition")?;
    let complaint = match partition {
        Some(_) if !options.has("topic") => "The topic is required when partition is specified.",
        Some(_) if options.has("from-beginning") && options.has("offset") => {
            "Options from-beginning and offset cannot be specified together."
        }
        None if options.has("offset") => "The partition is required when offset is specified.",
        _ => "",
    };
    if !complaint.is_empty() {
        return Err(Stop::Usage(complaint.to_owned()));
    }
    options.require(&["bootstrap-server"]).map_err(Stop::Usage)?;
    Ok(partition)
}

fn properties(options: &Options) -> Run<Properties> {
    let pairs = [("consumer-property", "command-property"), ("consumer.config", "command-config")];
    if let Some((old, new)) = pairs.iter().find(|(old, new)| options.has(old) && options.has(new)) {
        return Err(Stop::Usage(format!(
            "Options --{old} and --{new} cannot be specified together."
        )));
    }
    for (old, new) in pairs.iter().filter(|(old, _)| options.has(old)) {
        say(&deprecated(old, new));
    }
    let file = options.one("command-config")?.or(options.one("consumer.config")?);
    let mut properties = Properties::of_file(file)?;
    properties.extend(&options.all("command-property"));
    properties.extend(&options.all("consumer-property"));
    Ok(properties)
}

fn deprecated(old: &str, new: &str) -> String {
    format!(
        "Option --{old} is deprecated and will be removed in a future version. Use --{new} instead."
    )
}

fn group(options: &Options, properties: &Properties, partition: bool) -> Run<Option<String>> {
    let given = options.one("group")?;
    let set = properties.get("group.id");
    let differing = given.zip(set).filter(|(given, set)| given != set);
    if let Some((given, set)) = differing {
        return Err(Stop::Usage(format!(
            "The group ids provided in different places (directly using '--group', via \
             '--consumer-property', or via '--consumer.config') do not match. Detected group ids: \
             '{given}', '{set}'"
        )));
    }
    let group = given.or(set);
    if group.is_some() && partition {
        return Err(Stop::Usage(
            "Options group and partition cannot be specified together.".to_owned(),
        ));
    }
    Ok(group.map(str::to_owned))
}

fn reset(options: &Options, properties: &Properties) -> Run<Option<OffsetSpec>> {
    let beginning = options.has("from-beginning");
    match properties.get("auto.offset.reset") {
        Some(set) if beginning && set != "earliest" => Err(Stop::err(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={set}', please \
             remove one option"
        ))),
        Some("earliest") => Ok(Some(OffsetSpec::Earliest)),
        Some("latest") => Ok(Some(OffsetSpec::Latest)),
        Some("none") => Ok(None),
        Some(other) => Err(Stop::err(format!(
            "Unknown error when running consumer: org.apache.kafka.common.config.ConfigException: \
             Invalid value {other} for configuration auto.offset.reset"
        ))),
        None if beginning => Ok(Some(OffsetSpec::Earliest)),
        None => Ok(Some(OffsetSpec::Latest)),
    }
}

fn begin(options: &Options) -> Run<Begin> {
    let Some(text) = options.one("offset")? else {
        let beginning = options.has("from-beginning");
        return Ok(Begin::Spec(if beginning { OffsetSpec::Earliest } else { OffsetSpec::Latest }));
    };
    match text.to_lowercase().as_str() {
        "earliest" => Ok(Begin::Spec(OffsetSpec::Earliest)),
        "latest" => Ok(Begin::Spec(OffsetSpec::Latest)),
        _ => {
            let offset = text.parse::<i64>().ok().and_then(Offset::from_wire);
            offset.map(Begin::At).ok_or_else(|| {
                Stop::Usage(format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', \
                     'latest', or a non-negative long."
                ))
            })
        }
    }
}

fn formatter(options: &Options) -> Run<Formatter> {
    let class = options
        .one("formatter")?
        .unwrap_or("org.apache.kafka.tools.consumer.DefaultMessageFormatter");
    if options.has("formatter-property") && options.has("property") {
        return Err(Stop::Usage(
            "Options --property and --formatter-property cannot be specified together.".to_owned(),
        ));
    }
    if options.has("property") {
        say(&deprecated("property", "formatter-property"));
    }
    let mut properties = Properties::of_file(options.one("formatter-config")?)?;
    for part in ["key", "value"] {
        let class = options.one(&format!("{part}-deserializer"))?;
        if let Some(class) = class.filter(|class| !class.is_empty()) {
            properties.set(&format!("{part}.deserializer"), class);
        }
    }
    properties.extend(&options.all("formatter-property"));
    properties.extend(&options.all("property"));
    Formatter::new(class, &properties)
}

/// Whoever reads.
enum Source {
    Alone(Box<Consumer>),
    Member(Box<GroupConsumer>),
}

impl Source {
    async fn open(setup: &Setup) -> Run<Self> {
        let mut options = ConsumerOptions::default();
        options.reset = setup.reset;
        options.read_committed = setup.committed;
        let client = client(&setup.bootstrap, &setup.properties, "console-consumer")?;
        let topics = topics(setup, &client).await?;
        let Some(group) = &setup.group else {
            return Self::alone(setup, client, &topics, options).await;
        };
        let mut membership = GroupOptions::default();
        if setup.properties.get("enable.auto.commit").is_some_and(|it| it.trim() == "false") {
            membership.commit_interval = None;
        }
        let member = GroupConsumer::new(client, group.as_str(), topics, options, membership);
        Ok(Self::Member(Box::new(member)))
    }

    async fn alone(
        setup: &Setup,
        client: Client,
        topics: &[String],
        options: ConsumerOptions,
    ) -> Run<Self> {
        let mut consumer = Consumer::new(client.clone(), options);
        for topic in topics {
            let known = client.topic(topic, true).await?;
            let all = known.partitions.iter().map(|one| one.index);
            let chosen: Vec<_> = setup.partition.map_or_else(|| all.collect(), |one| vec![one]);
            let begin = match setup.partition {
                Some(_) => setup.begin,
                None => Begin::Spec(setup.reset.unwrap_or(OffsetSpec::Latest)),
            };
            for index in chosen {
                match begin {
                    Begin::At(offset) => consumer.assign(topic, index, offset),
                    Begin::Spec(spec) => {
                        consumer.assign_at(topic, index, spec).await?;
                    }
                }
            }
        }
        Ok(Self::Alone(Box::new(consumer)))
    }

    async fn poll(&mut self, patience: Duration) -> Run<Vec<ConsumedRecord>> {
        let polled = match self {
            Self::Alone(consumer) => consumer.poll(patience).await,
            Self::Member(member) => member.poll(patience).await,
        };
        Ok(polled?)
    }

    /// Ends, with offsets of what was printed and no more.
    async fn close(self, unread: &[ConsumedRecord]) -> Run<()> {
        let Self::Member(mut member) = self else { return Ok(()) };
        for record in unread.iter().rev() {
            member.rewind(&record.topic, record.partition, record.offset);
        }
        Ok(member.leave().await?)
    }
}

async fn topics(setup: &Setup, client: &Client) -> Run<Vec<String>> {
    if let Some(topic) = &setup.topic {
        if setup.group.is_some() {
            client.topic(topic, true).await?;
        }
        return Ok(vec![topic.clone()]);
    }
    let include = setup.include.as_deref().unwrap_or_default();
    let regex = Regex::new(&format!("^(?:{include})$"))
        .map_err(|_| Stop::illegal(format!("{include} is an invalid regex.")))?;
    let topics = client.metadata(None, false).await?.topics.into_iter();
    let hidden = |internal: bool| {
        internal && setup.properties.get("exclude.internal.topics") != Some("false")
    };
    Ok(topics
        .filter(|topic| regex.is_match(&topic.name) && !hidden(topic.internal))
        .map(|topic| topic.name)
        .collect())
}

async fn consume(setup: &Setup, count: &mut u64) -> Run<()> {
    let mut source = Source::open(setup).await?;
    let mut signals = Signals::new()?;
    let mut ended = Ok(());
    let mut deadline = setup.timeout.map(|timeout| Instant::now() + timeout);
    let mut unread = Vec::new();
    while setup.max.is_none_or(|max| *count < max) {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let polled = tokio::select! {
            polled = source.poll(left.unwrap_or(PATIENCE).min(PATIENCE)) => polled?,
            code = signals.next() => {
                ended = Err(Stop::signal(code));
                break;
            }
        };
        if polled.is_empty() {
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            continue;
        }
        deadline = setup.timeout.map(|timeout| Instant::now() + timeout);
        let room = setup.max.map_or(u64::MAX, |max| max - *count);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(polled.len());
        let (now, later) = polled.split_at(room);
        unread = later.to_vec();
        if !print(setup, now, count)? {
            complain("Unable to write to standard out, closing consumer.");
            break;
        }
    }
    source.close(&unread).await?;
    ended
}

/// Prints records; false when nobody reads them.
fn print(setup: &Setup, records: &[ConsumedRecord], count: &mut u64) -> Run<bool> {
    let mut out = Vec::new();
    for record in records {
        *count += 1;
        match setup.formatter.write(record, &mut out) {
            Err(_) if setup.skip => {}
            Err(stop) => {
                say_part(&out);
                return Err(stop);
            }
            Ok(()) => {}
        }
    }
    Ok(say_part(&out))
}

/// How long one poll waits; Ctrl-C does not wait for it.
const PATIENCE: Duration = Duration::from_secs(1);
