//! `ottla config`: configs of running things, and the keys there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use ottla_client::{Admin, AlterOp, ConfigAlteration, ConfigEntry, ConfigResource, ResourceType};
use ottla_config::load;
use serde::Serialize;

use super::counted;
use super::topic::existing;
use crate::args::{ConnectionArgs, key_value};
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text};
use crate::settings::{System, input};
use crate::table::Table;
use crate::terminal::Terminal;

/// Commands of `ottla config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows the configs of a topic, broker or group
    Describe(DescribeArgs),
    /// Sets and removes configs of a topic, broker or group
    Alter(AlterArgs),
    /// Shows which things have configs that were set at run time
    List {
        /// Only this kind
        #[arg(value_enum)]
        kind: Option<Kind>,
    },
    /// Explains a key: meaning, default, allowed values, whether it can be changed
    Explain {
        /// The key
        key: String,
        /// Shows also what this server.properties sets it to, and where
        #[arg(short = 'c', long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Lists the keys there are
    Keys {
        /// Only keys that contain this
        pattern: Option<String>,
    },
    /// Checks a server.properties; unknown keys are errors
    Check {
        /// The file
        file: PathBuf,
        /// Sets a key over what the file says; may be given several times
        #[arg(long = "override", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Only warns of unknown keys, as the server does
        #[arg(long)]
        lenient: bool,
    },
}

/// What has configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A topic
    Topic,
    /// A broker, by id
    Broker,
    /// The log levels of a broker
    BrokerLogger,
    /// A client metrics subscription
    ClientMetrics,
    /// A group
    Group,
}

/// Arguments of `ottla config describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its name or id; for broker, left out, the default of all brokers
    name: Option<String>,
    /// Shows also configs that have their default
    #[arg(short, long)]
    all: bool,
    /// Shows what each key means
    #[arg(long)]
    docs: bool,
}

/// Arguments of `ottla config alter`.
#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// Its name or id; for broker, left out, the default of all brokers
    name: Option<String>,
    /// Sets a config; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Removes a config, so that the default holds; may be given several times
    #[arg(short, long, value_name = "KEY")]
    delete: Vec<String>,
    /// Adds to a config that is a list; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    append: Vec<(String, String)>,
    /// Takes out of a config that is a list; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    subtract: Vec<(String, String)>,
    /// Only checks whether it would succeed
    #[arg(long)]
    dry_run: bool,
}

impl Kind {
    fn resource(self) -> ResourceType {
        match self {
            Self::Topic => ResourceType::Topic,
            Self::Broker => ResourceType::Broker,
            Self::BrokerLogger => ResourceType::BrokerLogger,
            Self::ClientMetrics => ResourceType::ClientMetrics,
            Self::Group => ResourceType::Group,
        }
    }
}

pub(crate) async fn run(
    command: ConfigCommand,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Describe(args) => describe(&admin(connection)?, &args, terminal).await,
        ConfigCommand::Alter(args) => alter(&admin(connection)?, &args, terminal).await,
        ConfigCommand::List { kind } => list(&admin(connection)?, kind, terminal).await,
        ConfigCommand::Explain { key, config } => explain(&key, config.as_deref(), terminal),
        ConfigCommand::Keys { pattern } => keys(pattern.as_deref(), terminal),
        ConfigCommand::Check { file, overrides, lenient } => {
            check(&file, &overrides, !lenient, terminal)
        }
    }
}

async fn resource(
    admin: &Admin,
    kind: Kind,
    name: Option<&str>,
) -> Result<ConfigResource, Failure> {
    let name = match (kind, name) {
        (_, Some(name)) => name,
        (Kind::Broker, None) => "",
        (kind, None) => {
            let kind = kind.resource().name();
            return Err(Failure::usage(format!("which {kind}? Give its name")));
        }
    };
    if kind == Kind::Topic {
        existing(admin, name).await?;
    }
    Ok(ConfigResource::new(kind.resource(), name))
}

#[derive(Serialize)]
struct Entry {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
    synonyms: Vec<BTreeMap<&'static str, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Entries(Vec<Entry>);

impl Render for Entries {
    fn text(&self, text: &mut Text) {
        if self.0.iter().any(|entry| entry.documentation.is_some()) {
            for entry in &self.0 {
                text.gap();
                text.line(format!("{}={} ({})", entry.name, entry.shown(), entry.source));
                text.line(format!("  {}", entry.documentation.as_deref().unwrap_or("-")));
            }
            return;
        }
        let mut table = Table::new(&["key", "value", "source"]);
        for entry in &self.0 {
            table.row([entry.name.clone(), entry.shown(), entry.source.to_owned()]);
        }
        text.table(&table);
    }
}

impl Entry {
    fn from_client(entry: ConfigEntry) -> Self {
        let synonym = |synonym: ottla_client::ConfigSynonym| {
            BTreeMap::from([
                ("name", Some(synonym.name)),
                ("value", synonym.value),
                ("source", Some(synonym.source.name().to_owned())),
            ])
        };
        Self {
            name: entry.name,
            value: entry.value,
            source: entry.source.name(),
            read_only: entry.read_only,
            sensitive: entry.sensitive,
            synonyms: entry.synonyms.into_iter().map(synonym).collect(),
            documentation: entry.documentation,
        }
    }

    fn shown(&self) -> String {
        match &self.value {
            _ if self.sensitive => ottla_config::HIDDEN.to_owned(),
            Some(value) => value.clone(),
            None => "-".to_owned(),
        }
    }
}

async fn describe(admin: &Admin, args: &DescribeArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let resource = resource(admin, args.kind, args.name.as_deref()).await?;
    let entries = admin.describe_configs(&resource, None, args.docs).await?;
    let wanted = |entry: &ConfigEntry| {
        args.all
            || args.kind == Kind::BrokerLogger
            || entry.source.is_dynamic()
            || entry.source == ottla_client::ConfigSource::StaticBroker
    };
    let entries = entries.into_iter().filter(wanted).map(Entry::from_client).collect();
    terminal.print(&Entries(entries))?;
    if !args.all {
        terminal.say("Defaults are left out; --all shows them.");
    }
    Ok(Exit::Ok)
}

async fn alter(admin: &Admin, args: &AlterArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let change = |op, name: &str, value: Option<&str>| ConfigAlteration {
        name: name.to_owned(),
        op,
        value: value.map(str::to_owned),
    };
    let mut changes = Vec::new();
    let pairs = [
        (AlterOp::Set, &args.set),
        (AlterOp::Append, &args.append),
        (AlterOp::Subtract, &args.subtract),
    ];
    for (op, pairs) in pairs {
        changes.extend(pairs.iter().map(|(name, value)| change(op, name, Some(value))));
    }
    changes.extend(args.delete.iter().map(|name| change(AlterOp::Delete, name, None)));
    if changes.is_empty() {
        return Err(Failure::usage(
            "nothing to alter; say --set, --delete, --append or --subtract",
        ));
    }
    let resource = resource(admin, args.kind, args.name.as_deref()).await?;
    admin.alter_configs(&resource, &changes, args.dry_run).await.map_err(|error| {
        let failure = Failure::from(error);
        near_key(args.kind, &changes, failure)
    })?;
    let would = if args.dry_run { "would be " } else { "" };
    terminal.say(format!("{resource}: {} {would}changed", counted(changes.len(), "config")));
    Ok(Exit::Ok)
}

/// Names the nearest key, if the failure is about one that does not exist.
fn near_key(kind: Kind, changes: &[ConfigAlteration], failure: Failure) -> Failure {
    use ottla_config::table;
    let names: Vec<&str> = match kind {
        Kind::Topic => table::TOPIC.iter().map(|key| key.name).collect(),
        Kind::Broker => table::broker_keys().map(|key| key.name).collect(),
        Kind::Group => table::GROUP.iter().map(|key| key.name).collect(),
        Kind::BrokerLogger | Kind::ClientMetrics => Vec::new(),
    };
    let unknown = changes.iter().find(|change| !names.contains(&change.name.as_str()));
    match unknown {
        Some(change) if !names.is_empty() => {
            crate::suggest::with_name(&change.name, names.into_iter(), failure)
        }
        _ => failure,
    }
}

#[derive(Serialize)]
struct Listed {
    kind: &'static str,
    name: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Listing(Vec<Listed>);

impl Render for Listing {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["kind", "name"]);
        for row in &self.0 {
            table.row([row.kind.to_owned(), row.name.clone()]);
        }
        text.table(&table);
    }
}

async fn list(admin: &Admin, kind: Option<Kind>, terminal: Terminal) -> Result<Exit, Failure> {
    let kinds = match kind {
        Some(kind) => vec![kind.resource()],
        None => ResourceType::ALL.to_vec(),
    };
    let mut rows = Vec::new();
    for kind in kinds {
        let found = admin.list_config_resources(kind).await?;
        rows.extend(found.into_iter().map(|one| Listed { kind: one.kind.name(), name: one.name }));
    }
    terminal.print(&Listing(rows))?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Explained {
    key: String,
    text: String,
}

impl Render for Explained {
    fn text(&self, text: &mut Text) {
        text.line(self.text.trim_end());
    }
}

fn explain(key: &str, file: Option<&Path>, terminal: Terminal) -> Result<Exit, Failure> {
    let settings = match file {
        None => None,
        Some(path) => {
            let input = input(Some(path), &[], false)?;
            // A file that cannot be run can still be asked about, if it can be read at all.
            load(&input, &System).ok().map(|loaded| loaded.settings)
        }
    };
    let text = ottla_config::explain(key, settings.as_ref()).map_err(|message| {
        Failure::new(Exit::NotFound, message)
            .with_hint("`ottla config keys TEXT` lists the keys that contain a text.")
    })?;
    terminal.print(&Explained { key: key.to_owned(), text })?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct KeyRow {
    key: &'static str,
    kind: &'static str,
    resource: &'static str,
    doc: &'static str,
}

#[derive(Serialize)]
#[serde(transparent)]
struct KeyRows(Vec<KeyRow>);

impl Render for KeyRows {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["key", "of", "type"]);
        for row in &self.0 {
            table.row([row.key, row.resource, row.kind].map(str::to_owned));
        }
        text.table(&table);
    }
}

fn keys(pattern: Option<&str>, terminal: Terminal) -> Result<Exit, Failure> {
    use ottla_config::table;
    let of = |resource, key: &'static ottla_config::Key| KeyRow {
        key: key.name,
        kind: key.kind.name(),
        resource,
        doc: key.doc,
    };
    let broker = table::broker_keys().map(|key| of("broker", key));
    let topic = table::TOPIC.iter().map(|key| of("topic", key));
    let group = table::GROUP.iter().map(|key| of("group", key));
    let all = broker.chain(topic).chain(group);
    let rows = all.filter(|row| pattern.is_none_or(|part| row.key.contains(part))).collect();
    terminal.print(&KeyRows(rows))?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Checked {
    file: String,
    problems: Vec<String>,
    notices: Vec<String>,
}

impl Render for Checked {
    fn text(&self, text: &mut Text) {
        for problem in &self.problems {
            text.line(format!("error    {problem}"));
        }
        for notice in &self.notices {
            text.line(format!("notice   {notice}"));
        }
        if self.problems.is_empty() {
            text.line(format!("{}: a node can start with this", self.file));
        }
    }
}

fn check(
    file: &Path,
    overrides: &[String],
    strict: bool,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let input = input(Some(file), overrides, strict)?;
    let (problems, notices) = match load(&input, &System) {
        Ok(loaded) => (Vec::new(), loaded.notices),
        Err(rejected) => (rejected.problems, rejected.notices),
    };
    let checked = Checked {
        file: file.display().to_string(),
        problems: problems.iter().map(ToString::to_string).collect(),
        notices: notices.iter().map(ToString::to_string).collect(),
    };
    terminal.print(&checked)?;
    Ok(if problems.is_empty() { Exit::Ok } else { Exit::Failed })
}
