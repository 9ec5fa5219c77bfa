//! `ottla topic`: list, describe, create, alter, delete, trim.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use ottla_client::{
    Admin, AlterOp, ConfigAlteration, ConfigResource, NewTopic, OffsetSpec, ResourceType,
    TopicMetadata,
};
use ottla_types::{ErrorCode, Offset, PartitionIndex};
use serde::Serialize;

use super::{counted, partly};
use crate::args::{ConnectionArgs, key_value};
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, list, maybe};
use crate::suggest::{is_missing, with_topic};
use crate::table::Table;
use crate::terminal::Terminal;

/// Commands of `ottla topic`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Lists topics
    List {
        /// Shows the brokers' own topics too
        #[arg(long)]
        internal: bool,
    },
    /// Shows partitions, replicas and configs of topics
    Describe {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// Shows where each partition begins and ends
        #[arg(long)]
        offsets: bool,
    },
    /// Creates topics
    Create(CreateArgs),
    /// Adds partitions, sets and removes configs
    Alter(AlterArgs),
    /// Deletes topics with all their records
    Delete(DeleteArgs),
    /// Deletes the oldest records of a topic
    Trim(TrimArgs),
}

/// Arguments of `ottla topic create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// How many partitions; the brokers' default if left out
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// How many replicas; the brokers' default if left out
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    replication_factor: Option<u16>,
    /// Sets a config; may be given several times
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Is content with topics that exist already
    #[arg(long)]
    if_not_exists: bool,
    /// Only checks whether it would succeed
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `ottla topic alter`.
#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// The topic
    topic: String,
    /// How many partitions it shall have
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Sets a config; may be given several times
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// Removes a config, so that the default holds; may be given several times
    #[arg(short, long = "delete-config", value_name = "KEY")]
    deletes: Vec<String>,
    /// Only checks whether it would succeed
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `ottla topic delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Is content with topics that do not exist
    #[arg(long)]
    if_exists: bool,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
    /// Only shows what would be deleted
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `ottla topic trim`.
#[derive(Debug, Args)]
pub(crate) struct TrimArgs {
    /// The topic
    topic: String,
    /// Deletes what is before this offset: a number, or `end` for everything
    #[arg(long, value_name = "OFFSET")]
    before: String,
    /// Only in this partition; may be given several times
    #[arg(short, long = "partition", value_name = "N")]
    partitions: Vec<u32>,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
    /// Only shows what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(
    command: TopicCommand,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let admin = admin(connection)?;
    match command {
        TopicCommand::List { internal } => list_topics(&admin, internal, terminal).await,
        TopicCommand::Describe { topics, offsets } => {
            describe(&admin, &topics, offsets, terminal).await
        }
        TopicCommand::Create(args) => create(&admin, &args, terminal).await,
        TopicCommand::Alter(args) => alter(&admin, &args, terminal).await,
        TopicCommand::Delete(args) => delete(&admin, &args, terminal).await,
        TopicCommand::Trim(args) => trim(&admin, &args, terminal).await,
    }
}

#[derive(Serialize)]
struct Listed {
    name: String,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct TopicList(Vec<Listed>);

impl Render for TopicList {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["name", "partitions", "replicas"]);
        for topic in &self.0 {
            let numbers = [topic.partitions, topic.replication_factor].map(|n| n.to_string());
            table.row([topic.name.clone()].into_iter().chain(numbers));
        }
        text.table(&table);
    }
}

async fn list_topics(admin: &Admin, internal: bool, terminal: Terminal) -> Result<Exit, Failure> {
    let metadata = admin.client().metadata(None, false).await?;
    let mut topics: Vec<Listed> = metadata
        .topics
        .into_iter()
        .filter(|topic| internal || !topic.internal)
        .map(|topic| Listed {
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replication_factor: topic.partitions.first().map_or(0, |one| one.replicas.len()),
            internal: topic.internal,
            name: topic.name,
        })
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    terminal.print(&TopicList(topics))?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Described {
    name: String,
    id: String,
    internal: bool,
    configs: BTreeMap<String, Option<String>>,
    partitions: Vec<DescribedPartition>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: u32,
    leader: Option<u32>,
    replicas: Vec<u32>,
    isr: Vec<u32>,
    offline: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_offset: Option<u64>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Description(Vec<Described>);

impl Render for Description {
    fn text(&self, text: &mut Text) {
        for topic in &self.0 {
            text.gap();
            text.field("topic", &topic.name);
            text.field("id", &topic.id);
            if topic.internal {
                text.field("internal", "yes");
            }
            for (at, (key, value)) in topic.configs.iter().enumerate() {
                let label = if at == 0 { "configs" } else { "" };
                text.field(label, format!("{key}={}", value.as_deref().unwrap_or("")));
            }
            text.gap();
            text.table(&topic.table());
        }
    }
}

impl Described {
    fn table(&self) -> Table {
        let with_offsets = self.partitions.iter().any(|one| one.end_offset.is_some());
        let mut header = vec!["partition", "leader", "replicas", "isr", "offline"];
        if with_offsets {
            header.extend(["start", "end", "records"]);
        }
        let mut table = Table::new(&header);
        for one in &self.partitions {
            let mut cells = vec![one.partition.to_string(), maybe(one.leader)];
            cells.extend([&one.replicas, &one.isr, &one.offline].map(|ids| list(ids)));
            if with_offsets {
                let count = one.end_offset.zip(one.start_offset);
                let count = count.map(|(end, start)| end.saturating_sub(start));
                cells.extend([one.start_offset, one.end_offset, count].map(maybe));
            }
            table.row(cells);
        }
        table
    }
}

async fn describe(
    admin: &Admin,
    names: &[String],
    offsets: bool,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for name in names {
        match describe_one(admin, name, offsets).await {
            Ok(topic) => found.push(topic),
            Err(failure) => failures.push(failure),
        }
    }
    if !found.is_empty() {
        terminal.print(&Description(found))?;
    }
    Ok(partly(terminal, names.len(), failures))
}

async fn describe_one(admin: &Admin, name: &str, offsets: bool) -> Result<Described, Failure> {
    let topic = existing(admin, name).await?;
    let resource = ConfigResource::new(ResourceType::Topic, name);
    let configs = admin.describe_configs(&resource, None, false).await?;
    let set = configs.into_iter().filter(|entry| entry.source.is_dynamic());
    let set = set
        .filter(|entry| entry.source == ottla_client::ConfigSource::Topic)
        .map(|entry| (entry.name, entry.value));
    let ids = |nodes: &[ottla_types::NodeId]| nodes.iter().map(|id| id.0).collect();
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|one| DescribedPartition {
            partition: one.index.0,
            leader: one.leader.map(|id| id.0),
            replicas: ids(&one.replicas),
            isr: ids(&one.isr),
            offline: ids(&one.offline),
            start_offset: None,
            end_offset: None,
        })
        .collect();
    if offsets {
        let indexes: Vec<_> = topic.partitions.iter().map(|one| one.index).collect();
        let starts = admin.list_offsets(name, &indexes, OffsetSpec::Earliest).await?;
        let ends = admin.list_offsets(name, &indexes, OffsetSpec::Latest).await?;
        for one in &mut partitions {
            let index = PartitionIndex(one.partition);
            let of = |all: &BTreeMap<PartitionIndex, Result<ottla_client::OffsetAt, _>>| {
                all.get(&index).and_then(|found| found.as_ref().ok()?.offset).map(|o: Offset| o.0)
            };
            (one.start_offset, one.end_offset) = (of(&starts), of(&ends));
        }
    }
    Ok(Described {
        name: name.to_owned(),
        id: topic.id.to_string(),
        internal: topic.internal,
        configs: set.collect(),
        partitions,
    })
}

/// The topic, or a failure that names the nearest one.
pub(crate) async fn existing(admin: &Admin, name: &str) -> Result<TopicMetadata, Failure> {
    match admin.client().refreshed_topic(name, false).await {
        Ok(topic) => Ok(topic),
        Err(error) => {
            let missing = is_missing(error.code());
            let mut failure = Failure::from(error);
            if missing {
                failure.message = format!("topic {name} does not exist");
                failure = with_topic(admin.client(), name, failure).await;
            }
            Err(failure)
        }
    }
}

#[derive(Serialize)]
struct Created {
    name: String,
    id: Option<String>,
    partitions: Option<u32>,
    replication_factor: Option<u16>,
    outcome: &'static str,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Creation(Vec<Created>);

impl Render for Creation {
    fn text(&self, text: &mut Text) {
        for topic in &self.0 {
            let size = topic.partitions.map(|count| {
                let replicas = topic.replication_factor.unwrap_or(1);
                format!(", {}, {}", counted(count, "partition"), counted(replicas, "replica"))
            });
            text.line(format!("{} {}{}", topic.name, topic.outcome, size.unwrap_or_default()));
        }
    }
}

async fn create(admin: &Admin, args: &CreateArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let new = |name: &String| NewTopic {
        name: name.clone(),
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        configs: args.configs.clone(),
        ..NewTopic::default()
    };
    let topics: Vec<_> = args.topics.iter().map(new).collect();
    let results = admin.create_topics(&topics, args.dry_run).await?;
    let mut created = Vec::new();
    let mut failures = Vec::new();
    for (topic, result) in topics.iter().zip(results) {
        let known = match result {
            Ok(known) => Some(known),
            Err(refusal) if args.if_not_exists && refusal.code == ErrorCode::TopicAlreadyExists => {
                None
            }
            Err(refusal) => {
                failures.push(Failure::from(refusal));
                continue;
            }
        };
        created.push(Created {
            name: topic.name.clone(),
            id: known.as_ref().filter(|_| !args.dry_run).map(|known| known.id.to_string()),
            partitions: known.as_ref().and_then(|known| known.partitions),
            replication_factor: known.as_ref().and_then(|known| known.replication_factor),
            outcome: match (&known, args.dry_run) {
                (None, _) => "exists already",
                (Some(_), true) => "would be created",
                (Some(_), false) => "created",
            },
        });
    }
    if !created.is_empty() {
        terminal.print(&Creation(created))?;
    }
    Ok(partly(terminal, topics.len(), failures))
}

async fn alter(admin: &Admin, args: &AlterArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let set = args.configs.iter().map(|(name, value)| ConfigAlteration {
        name: name.clone(),
        op: AlterOp::Set,
        value: Some(value.clone()),
    });
    let delete = args.deletes.iter().map(|name| ConfigAlteration {
        name: name.clone(),
        op: AlterOp::Delete,
        value: None,
    });
    let changes: Vec<_> = set.chain(delete).collect();
    if changes.is_empty() && args.partitions.is_none() {
        return Err(Failure::usage(
            "nothing to alter; say --partitions, --config or --delete-config",
        ));
    }
    existing(admin, &args.topic).await?;
    let would = if args.dry_run { "would be " } else { "" };
    if let Some(count) = args.partitions {
        admin.create_partitions(&args.topic, count, args.dry_run).await?;
        terminal.say(format!("{}: {would}raised to {}", args.topic, counted(count, "partition")));
    }
    if !changes.is_empty() {
        let resource = ConfigResource::new(ResourceType::Topic, args.topic.as_str());
        admin.alter_configs(&resource, &changes, args.dry_run).await?;
        terminal.say(format!(
            "{}: {} {would}changed",
            args.topic,
            counted(changes.len(), "config")
        ));
    }
    Ok(Exit::Ok)
}

async fn delete(admin: &Admin, args: &DeleteArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let mut known = Vec::new();
    let mut failures = Vec::new();
    for name in &args.topics {
        match existing(admin, name).await {
            Ok(_) => known.push(name.as_str()),
            Err(failure) if args.if_exists && failure.exit == Exit::NotFound => {
                terminal.say(format!("{name} does not exist"));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if args.dry_run {
        known.iter().for_each(|name| terminal.say(format!("{name} would be deleted")));
        return Ok(partly(terminal, args.topics.len(), failures));
    }
    if !known.is_empty() {
        let question = format!("Delete {} with all records?", known.join(", "));
        terminal.confirm(args.yes, &question)?;
        for (name, result) in known.iter().zip(admin.delete_topics(&known).await?) {
            match result {
                Ok(()) => terminal.say(format!("{name} deleted")),
                Err(refusal) => failures.push(refusal.into()),
            }
        }
    }
    Ok(partly(terminal, args.topics.len(), failures))
}

async fn trim(admin: &Admin, args: &TrimArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let before = match args.before.as_str() {
        "end" => None,
        text => {
            let invalid = || Failure::usage(format!("{text:?} is neither an offset nor `end`"));
            Some(Offset(text.parse().map_err(|_| invalid())?))
        }
    };
    let topic = existing(admin, &args.topic).await?;
    let chosen =
        |index: PartitionIndex| args.partitions.is_empty() || args.partitions.contains(&index.0);
    let cuts: BTreeMap<_, _> = topic
        .partitions
        .iter()
        .map(|one| one.index)
        .filter(|index| chosen(*index))
        .map(|index| (index, before))
        .collect();
    let what = before.map_or_else(|| "all records".to_owned(), |o| format!("records before {o}"));
    let question =
        format!("Delete {what} in {} of {}?", counted(cuts.len(), "partition"), args.topic);
    if args.dry_run {
        terminal.say(format!(
            "would delete {what} in {} of {}",
            counted(cuts.len(), "partition"),
            args.topic
        ));
        return Ok(Exit::Ok);
    }
    terminal.confirm(args.yes, &question)?;
    let mut failures = Vec::new();
    for (index, result) in admin.delete_records(&args.topic, &cuts).await? {
        match result {
            Ok(start) => terminal.say(format!("{}-{index} begins at {start}", args.topic)),
            Err(refusal) => failures.push(refusal.into()),
        }
    }
    Ok(partly(terminal, cuts.len(), failures))
}
