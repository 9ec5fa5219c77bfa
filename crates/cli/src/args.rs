//! The command line: what all commands share, and the commands that are a node.
//!
//! The arguments of the other commands stand beside what they do, in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    cluster::ClusterCommand, config::ConfigCommand, consume::ConsumeArgs, doctor::DoctorArgs,
    group::GroupCommand, log::LogCommand, metadata::MetadataCommand, produce::ProduceArgs,
    quorum::QuorumCommand, topic::TopicCommand,
};
use crate::exit::EXIT_CODES;
use crate::names::LinkArgs;

/// An Apache-Kafka-compatible broker, and the tools for it.
///
/// Without a command it runs the server: `ottla` is `ottla server`.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// What to do; `server` if nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Form of the result
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: OutputFormat,

    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,

    /// Leaves out the header of tables
    #[arg(long, global = true)]
    pub(crate) no_header: bool,

    /// Says only results, warnings and failures
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// How brokers are reached.
#[derive(Clone, Debug, Args)]
pub struct ConnectionArgs {
    /// Brokers to begin with, as host:port[,host:port...]
    #[arg(
        short,
        long,
        global = true,
        env = "OTTLA_BROKERS",
        default_value = "localhost:9092",
        value_name = "HOST:PORT",
        visible_alias = "bootstrap-server"
    )]
    pub brokers: String,

    /// Whether somebody named them.
    #[arg(skip)]
    pub(crate) brokers_given: bool,

    /// Seconds that an operation may take
    #[arg(long, global = true, default_value_t = 30, value_name = "SECONDS")]
    pub timeout: u64,

    /// Name of this client in the broker's logs and quotas
    #[arg(long, global = true, default_value = "ottla", value_name = "NAME", hide = true)]
    pub client_id: String,
}

/// Form of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal; NO_COLOR, CLICOLOR_FORCE and TERM are obeyed
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a node: broker, controller or both
    Server(ServerArgs),
    /// Runs a throw-away node for development
    Dev(DevArgs),
    /// Formats and inspects a node's directories, as kafka-storage does
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Topics: list, describe, create, alter, delete, trim
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Sends records from stdin or a file, one a line
    Produce(ProduceArgs),
    /// Prints records
    Consume(ConsumeArgs),
    /// Consumer groups: list, describe, reset-offsets, delete
    #[command(subcommand)]
    Group(GroupCommand),
    /// Configs of topics, brokers and groups, and the keys there are
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The cluster: brokers, features, API versions, log directories
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// The metadata quorum
    #[command(subcommand)]
    Quorum(QuorumCommand),
    /// Reads, checks and mends the files of partitions, without a broker
    #[command(subcommand)]
    Log(LogCommand),
    /// Reads the metadata log and its snapshots, without a broker
    #[command(subcommand)]
    Metadata(MetadataCommand),
    /// Checks whether clients can use the cluster from here, and says what to do if not
    ///
    /// It looks at what answers at the address, the addresses that brokers advertise, partitions,
    /// internal topics, the metadata quorum, clocks, disks and, on the broker's machine, its limit
    /// on open files; with --config also at a node of this machine: configuration, directories,
    /// ports. It changes nothing. The clock that it compares is that of the quorum's leader; it
    /// does not ask whether NTP runs.
    Doctor(DoctorArgs),
    /// Makes links with the names of Kafka's tools, such as kafka-topics.sh
    LinkTools(LinkArgs),
    /// Prints the version
    Version,
    /// Prints a completion script for a shell
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Arguments of `ottla server`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArgs {
    /// Kafka's server.properties; without it a combined node on loopback, data in ./data
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Sets a key over what the file and the environment say; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// Refuses to start on an unknown key
    #[arg(long)]
    pub strict: bool,

    /// Form of the log
    #[arg(long, value_enum, default_value_t, value_name = "FORM", env = "OTTLA_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// Form of a node's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Arguments of `ottla dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// Port for clients; any free one by default
    #[arg(long, default_value_t = 0, value_name = "PORT", hide_default_value = true)]
    pub port: u16,

    /// Folder for its data, kept afterwards; a temporary one by default, removed at the end
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// How it says that it is ready
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: DevFormat,

    /// Sets a key of the configuration; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// How `ottla dev` says that it is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DevFormat {
    /// A few lines for people
    #[default]
    Text,
    /// One line of JSON with the bootstrap address
    Json,
}

/// Commands of `ottla storage`.
#[derive(Clone, Debug, Subcommand)]
pub enum StorageCommand {
    /// Formats a node's directories for a cluster
    Format(StorageFormatArgs),
    /// Shows how a node's directories are formatted
    Info(StorageInfoArgs),
    /// Prints a fresh id for a cluster or directory
    RandomUuid,
    /// Shows the features that belong to a release
    VersionMapping {
        /// Release or metadata version, such as 4.3 or 4.3-IV0; the newest by default
        #[arg(short, long, value_name = "VERSION")]
        release_version: Option<String>,
    },
    /// Shows what a feature's level needs of other features
    FeatureDependencies {
        /// The feature and its level; may be given several times
        #[arg(short, long = "feature", value_name = "NAME=LEVEL", required = true)]
        features: Vec<String>,
    },
}

/// Arguments of `ottla storage format`; those of Kafka's tool.
#[derive(Clone, Debug, Args)]
pub struct StorageFormatArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "flattened")]
    pub config: StorageInfoArgs,

    /// Id of the cluster; `ottla storage random-uuid` makes one
    #[arg(short = 't', long, value_name = "ID")]
    pub cluster_id: String,

    /// Leaves directories alone that are formatted already
    #[arg(short = 'g', long)]
    pub ignore_formatted: bool,

    /// Release whose features the cluster begins with
    #[arg(short, long, value_name = "VERSION")]
    pub release_version: Option<String>,

    /// Begins with this level of a feature; may be given several times
    #[arg(short, long = "feature", value_name = "NAME=LEVEL")]
    pub features: Vec<String>,

    /// Makes this controller the only voter of a dynamic quorum
    #[arg(short, long, conflicts_with_all = ["initial_controllers", "no_initial_controllers"])]
    pub standalone: bool,

    /// Voters that a dynamic quorum begins with, as id@host:port:directory-id,...
    #[arg(short = 'I', long, value_name = "VOTERS", conflicts_with = "no_initial_controllers")]
    pub initial_controllers: Option<String>,

    /// Leaves the voters to controllers that are formatted elsewhere
    #[arg(short = 'N', long)]
    pub no_initial_controllers: bool,
}

/// Which configuration a storage command is about.
#[derive(Clone, Debug, Args)]
pub struct StorageInfoArgs {
    /// The node's server.properties
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub config: PathBuf,

    /// Sets a key over what the file says; may be given several times
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

impl StorageFormatArgs {
    /// The features that were asked for, by name.
    ///
    /// # Errors
    /// When one of them is not `name=level`.
    pub fn feature_levels(&self) -> Result<Vec<(String, i16)>, crate::Failure> {
        self.features.iter().map(|text| feature_level(text)).collect()
    }
}

pub(crate) fn feature_level(text: &str) -> Result<(String, i16), crate::Failure> {
    let parsed = text.split_once('=').and_then(|(name, level)| {
        Some((name.trim().to_owned(), level.trim().parse().ok().filter(|level| *level >= 0)?))
    });
    parsed.ok_or_else(|| {
        crate::Failure::usage(format!("{text:?} is not NAME=LEVEL, such as metadata.version=30"))
    })
}

/// `key=value`, as configs are given.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write key=value".to_owned()),
    }
}
