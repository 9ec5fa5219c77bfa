//! `kafka-storage`.
//!
//! What a directory gets is written by the binary, which has the broker: see [`Disk`].

use std::collections::BTreeMap;
use std::fs;

use ottla_config::{BrokerConfig, Input, load};
use ottla_metadata::features::{METADATA_VERSION, MetadataVersion};
use ottla_metadata::{Bootstrap, BootstrapError};

use super::arguments::{Argument, Grammar, Level, Refused, Words, flag, required, text};
use super::directories::{self, Found};
use super::levels::{self, Unknown};
use super::say;
use super::session::Properties;
use super::stop::{Run, Stop, uncaught};
use crate::settings::System;

/// What of a node's directories only the binary can do.
pub trait Disk {
    /// Whether `--initial-controllers` can be read.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_voters(&self, text: &str, config: &BrokerConfig) -> Result<(), String>;

    /// Formats one directory.
    ///
    /// # Errors
    /// Why it failed.
    fn format(&self, directory: &str, order: &FormatOrder) -> Result<(), String>;
}

/// What to format directories with.
#[derive(Clone, Debug)]
pub struct FormatOrder {
    /// The node's configuration.
    pub config: BrokerConfig,
    /// Id of the cluster.
    pub cluster_id: String,
    /// Levels of a new cluster.
    pub bootstrap: Bootstrap,
    /// Who votes first.
    pub voters: OrderedVoters,
}

/// Who votes first in a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderedVoters {
    /// Those of `controller.quorum.voters`.
    Static,
    /// This node alone.
    Standalone,
    /// These, as on the command line.
    Initial(String),
    /// Others.
    None,
}

const CONFIG: Argument = required(text(&["--config", "-c"], "The configuration of the node."));
const RELEASE: Argument = text(&["--release-version", "-r"], "The levels of this release.");
const FEATURE: Argument = text(&["--feature", "-f"], "A level, feature=level; repeatable.");

const fn command(
    name: &'static str,
    about: &'static str,
    arguments: &'static [Argument],
    exclusive: &'static [&'static str],
) -> Level {
    Level { name, about, arguments, exclusive, one_required: false }
}

const GRAMMAR: Grammar = Grammar {
    tool: command("kafka-storage", "The Kafka storage tool.", &[], &[]),
    commands: &[
        command("info", "Shows how directories are formatted.", &[CONFIG], &[]),
        command(
            "format",
            "Formats the directories of a node.",
            &[
                CONFIG,
                required(text(&["--cluster-id", "-t"], "Id of the cluster.")),
                text(&["--add-scram", "-S"], "Not available: there is no SASL."),
                flag(&["--ignore-formatted", "-g"], "Leave alone what is formatted."),
                RELEASE,
                FEATURE,
                flag(&["--standalone", "-s"], "This node is the only controller."),
                flag(&["--no-initial-controllers", "-N"], "The first voters are others."),
                text(&["--initial-controllers", "-I"], "id@host:port:directory-id, ..."),
            ],
            &["standalone", "no-initial-controllers", "initial-controllers"],
        ),
        command("version-mapping", "Shows the levels of a release.", &[RELEASE], &[]),
        command("feature-dependencies", "Shows what levels need.", &[required(FEATURE)], &[]),
        command("random-uuid", "Draws an id.", &[], &[]),
    ],
};

/// Runs the tool.
pub(super) fn run(arguments: &[String], disk: &dyn Disk) -> Run<()> {
    let read = expanded(arguments).and_then(|words| GRAMMAR.parse(&words));
    let words = read.map_err(|refused| match refused {
        Refused::Help(text) => Stop::done(text.trim_end()),
        Refused::Wrong { usage, message } => {
            Stop::err(format!("{usage}\nkafka-storage: error: {message}"))
        }
    })?;
    match words.command {
        "info" => directories::info(&directories::of(&configuration(&words)?)),
        "format" => format(&words, disk),
        "version-mapping" => {
            say(&levels::mapping(words.one("release-version")).map_err(Stop::err)?);
            Ok(())
        }
        "feature-dependencies" => dependencies(&words),
        _ => {
            let drawn = crate::commands::storage::random_uuid();
            say(&drawn.map_err(|error| uncaught(RUNTIME, &error.to_string()))?.to_string());
            Ok(())
        }
    }
}

/// `@file` stands for the lines of a file.
fn expanded(arguments: &[String]) -> Result<Vec<String>, Refused> {
    let mut words = Vec::new();
    for word in arguments {
        let Some(path) = word.strip_prefix('@') else {
            words.push(word.clone());
            continue;
        };
        let text = fs::read_to_string(path)
            .map_err(|_| GRAMMAR.refuse(format!("Could not read arguments from file '{path}'")))?;
        words.extend(text.lines().map(str::to_owned));
    }
    Ok(words)
}

const RUNTIME: &str = "java.lang.RuntimeException";
const ILLEGAL: &str = "java.lang.IllegalArgumentException";

fn configuration(words: &Words) -> Run<BrokerConfig> {
    let path = words.one("config").unwrap_or_default();
    // As the other tools say that a file cannot be read.
    let unread = |stop: Stop| {
        stop.caught(|_, full| Stop::err(format!("Exception in thread \"main\" {full}")))
    };
    Properties::load(path).map_err(unread)?;
    let text = fs::read_to_string(path).unwrap_or_default();
    let input = Input { file: Some((path.to_owned(), text)), ..Input::default() };
    let loaded = load(&input, &System).map_err(|rejected| {
        let problem = rejected.problems.first().map(|problem| problem.error.to_string());
        let class = "org.apache.kafka.common.config.ConfigException";
        uncaught(class, &problem.unwrap_or_default())
    })?;
    Ok(loaded.config)
}

fn dependencies(words: &Words) -> Run<()> {
    for text in words.all("feature") {
        let (name, level) = text.split_once('=').ok_or_else(|| {
            Stop::err(format!(
                "Invalid feature format: {text}. Expected format: 'feature=version' (e.g. \
                 'group.version=1')"
            ))
        })?;
        let (name, level) = (name.trim(), level.trim());
        let level: i16 = level.parse().map_err(|_| {
            Stop::err(format!("Invalid version format: {level} for feature {name}"))
        })?;
        let text = levels::needs(name, level).map_err(|unknown| {
            Stop::err(match unknown {
                Unknown::Version => format!("Unknown metadata.version {level}"),
                Unknown::Feature => format!("Unknown feature: {name}"),
                Unknown::Level => {
                    format!("Feature level {level} is not supported for feature {name}")
                }
            })
        })?;
        say(&text);
    }
    Ok(())
}

fn format(words: &Words, disk: &dyn Disk) -> Run<()> {
    let config = configuration(words)?;
    let release = words.one("release-version").map(|text| levels::release(text, false));
    let release = release.transpose().map_err(Stop::err)?;
    let chosen = chosen_levels(words)?;
    let dynamic = config.quorum.voters.is_empty();
    let voters = voters(words, &config, disk)?;
    if words.has("add-scram") {
        return Err(Stop::err("--add-scram is not available: there is no SASL to use it for."));
    }
    let bootstrap = Bootstrap::new(release, &chosen, dynamic).map_err(|error| {
        let text = error.to_string();
        match error {
            BootstrapError::Feature(_) | BootstrapError::NoSuchVersion(_) => {
                uncaught(ILLEGAL, &text)
            }
            _ => Stop::err(text),
        }
    })?;
    let cluster_id = words.one("cluster-id").unwrap_or_default().to_owned();
    let found = Found::look(&directories::of(&config));
    found.verify(&cluster_id, config.node_id.to_wire()).map_err(|text| uncaught(RUNTIME, &text))?;
    if let Some(first) = found.formatted.first().filter(|_| !words.has("ignore-formatted")) {
        return Err(Stop::err(format!(
            "Log directory {} is already formatted. Use --ignore-formatted to ignore this \
             directory and format the others.",
            first.path
        )));
    }
    for path in &found.unreadable {
        say(&format!("I/O error trying to read log directory {path}. Ignoring..."));
    }
    if !found.unreadable.is_empty() && found.empty.is_empty() && found.formatted.is_empty() {
        return Err(Stop::err("No available log directories to format."));
    }
    if found.empty.is_empty() {
        say("All of the log directories are already formatted.");
        return Ok(());
    }
    say(&shown(&bootstrap));
    let order = FormatOrder { config, cluster_id, bootstrap, voters };
    for path in &found.empty {
        let version = order.bootstrap.metadata_version();
        say(&format!(
            "Formatting {} {path} with {METADATA_VERSION} {version}.",
            kind(path, &order)
        ));
        disk.format(path, &order).map_err(|error| {
            Stop::err(format!("Error while writing meta.properties file {path}: {error}"))
        })?;
    }
    Ok(())
}

fn chosen_levels(words: &Words) -> Run<BTreeMap<String, i16>> {
    let mut chosen = BTreeMap::new();
    for text in words.all("feature") {
        let wrong = |why: &str| {
            uncaught(RUNTIME, &format!("Can't parse feature=level string {text}: {why}"))
        };
        let (name, level) = text.split_once('=').ok_or_else(|| wrong("equals sign not found."))?;
        let level = level.trim();
        let number = level.parse();
        let number = number.map_err(|_| wrong(&format!("unable to parse {level} as a short.")))?;
        chosen.insert(name.trim().to_owned(), number);
    }
    Ok(chosen)
}

fn voters(words: &Words, config: &BrokerConfig, disk: &dyn Disk) -> Run<OrderedVoters> {
    let initial = words.one("initial-controllers");
    let standalone = words.has("standalone");
    if !config.quorum.voters.is_empty() {
        if initial.is_some() || standalone {
            return Err(Stop::err(
                "You cannot specify controller.quorum.voters and format the node with \
                 --initial-controllers or --standalone. If you want to use dynamic quorum, please \
                 remove controller.quorum.voters and specify controller.quorum.bootstrap.servers \
                 instead.",
            ));
        }
        return Ok(OrderedVoters::Static);
    }
    if let Some(text) = initial {
        disk.check_voters(text, config).map_err(|text| uncaught(ILLEGAL, &text))?;
        return Ok(OrderedVoters::Initial(text.to_owned()));
    }
    match (standalone, config.roles.controller) {
        (true, true) => Ok(OrderedVoters::Standalone),
        (true, false) => Err(Stop::err("You can only use --standalone on a controller.")),
        (false, true) if !words.has("no-initial-controllers") => Err(Stop::err(
            "Because controller.quorum.voters is not set on this controller, you must specify one \
             of the following: --standalone, --initial-controllers, or --no-initial-controllers.",
        )),
        (false, _) => Ok(OrderedVoters::None),
    }
}

fn shown(bootstrap: &Bootstrap) -> String {
    let record = |name: &str, level: i16| {
        format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at \
             version 0)"
        )
    };
    let version = MetadataVersion::level(bootstrap.metadata_version());
    let mut records = vec![record(METADATA_VERSION, version)];
    let others = bootstrap.levels().iter().filter(|(name, level)| {
        // The version of the quorum is no metadata record.
        0 < **level && ![METADATA_VERSION, "kraft.version"].contains(&name.as_str())
    });
    records.extend(others.map(|(name, level)| record(name, *level)));
    format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={version}, \
         source=format command)",
        records.join(", ")
    )
}

fn kind(path: &str, order: &FormatOrder) -> &'static str {
    if path != order.config.dirs.metadata_log_dir {
        return "data directory";
    }
    let own = order.config.node_id.to_string();
    match &order.voters {
        OrderedVoters::Static | OrderedVoters::None => "metadata directory",
        OrderedVoters::Standalone => "dynamic metadata voter directory",
        OrderedVoters::Initial(text) => {
            let mut ids = text.split(',').filter_map(|entry| entry.split('@').next());
            if ids.any(|id| id.trim() == own) {
                "dynamic metadata voter directory"
            } else {
                "dynamic metadata directory"
            }
        }
    }
}
