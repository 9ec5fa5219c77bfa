//! `ottla storage format` and `ottla storage info`: a node's directories, without a node.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_broker::storage::{self, FirstVoters, FormatOptions};
use ottla_cli::{
    Disk, Exit, Failure, FormatOrder, OrderedVoters, Render, StorageFormatArgs, StorageInfoArgs,
    Terminal, Text, read_settings,
};
use ottla_config::BrokerConfig;
use ottla_log::{FsStorage, LogDirectory};
use ottla_metadata::{Bootstrap, features::MetadataVersion};
use ottla_types::{Uuid, WallTime};
use serde::Serialize;

use crate::refusal::{of_storage, whole};

/// Formats directories.
pub(crate) fn format(args: &StorageFormatArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let config = read(&args.config)?;
    if args.cluster_id.parse::<Uuid>().is_err() {
        let text =
            format!("Cluster ID string {} does not appear to be a valid UUID", args.cluster_id);
        return Err(Failure::usage(text).with_hint("`ottla storage random-uuid` makes one."));
    }
    let voters = first_voters(args, &config)?;
    let release = match &args.release_version {
        None => None,
        Some(text) => Some(MetadataVersion::parse(text).ok_or_else(|| {
            Failure::usage(format!("{text:?} is no release that this version knows"))
        })?),
    };
    let levels: BTreeMap<String, i16> = args.feature_levels()?.into_iter().collect();
    let dynamic = voters != FirstVoters::Static;
    let bootstrap = Bootstrap::new(release, &levels, dynamic)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let version = bootstrap.metadata_version().name();
    let mut options = FormatOptions::new(args.cluster_id.clone(), voters, bootstrap);
    options.ignore_formatted = args.ignore_formatted;
    let mut directories = storage::open_directories(&config).map_err(|e| of_storage(&e))?;
    let done = storage::format(&config, &mut directories, &options, wall_time())
        .map_err(|e| of_storage(&e))?;
    let formatted = done.iter().map(|path| path.display().to_string()).collect();
    terminal.print(&Formatted { formatted, metadata_version: version })?;
    Ok(Exit::Ok)
}

fn first_voters(args: &StorageFormatArgs, config: &BrokerConfig) -> Result<FirstVoters, Failure> {
    let is_static = !config.quorum.voters.is_empty();
    let chosen =
        args.standalone || args.initial_controllers.is_some() || args.no_initial_controllers;
    if is_static && chosen {
        return Err(Failure::usage(
            "controller.quorum.voters is set, so --standalone, --initial-controllers and \
             --no-initial-controllers cannot be used",
        ));
    }
    if args.standalone {
        return Ok(FirstVoters::Standalone);
    }
    if let Some(text) = &args.initial_controllers {
        let voters = storage::parse_voters(text, config).map_err(Failure::usage)?;
        return Ok(FirstVoters::Initial(voters));
    }
    if args.no_initial_controllers || !config.roles.controller {
        return Ok(FirstVoters::None);
    }
    if is_static {
        return Ok(FirstVoters::Static);
    }
    Err(Failure::usage("controller.quorum.voters is not set, and nothing says who votes")
        .with_hint(
            "--standalone makes this node the only controller, as in a cluster of one; \
         --initial-controllers names several, and --no-initial-controllers leaves it to others.",
        ))
}

/// What `kafka-storage` does to directories.
pub(crate) struct Directories;

impl Disk for Directories {
    fn check_voters(&self, text: &str, config: &BrokerConfig) -> Result<(), String> {
        storage::parse_voters(text, config).map(|_| ())
    }

    fn format(&self, directory: &str, order: &FormatOrder) -> Result<(), String> {
        let config = &order.config;
        let voters = match &order.voters {
            OrderedVoters::Static => FirstVoters::Static,
            OrderedVoters::Standalone => FirstVoters::Standalone,
            OrderedVoters::Initial(text) => {
                FirstVoters::Initial(storage::parse_voters(text, config)?)
            }
            OrderedVoters::None => FirstVoters::None,
        };
        let options = FormatOptions::new(&order.cluster_id, voters, order.bootstrap.clone());
        let opened = LogDirectory::open(Arc::new(FsStorage::default()), Path::new(directory));
        let done = opened
            .map_err(Into::into)
            .and_then(|opened| storage::format(config, &mut [opened], &options, wall_time()));
        done.map(|_| ()).map_err(|error| whole(&error))
    }
}

fn wall_time() -> WallTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    WallTime::from_millis(0).plus(now.unwrap_or_default())
}

/// Shows how directories are formatted.
pub(crate) fn info(args: &StorageInfoArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let config = read(args)?;
    let directories: Vec<Directory> = storage::look(&config)
        .into_iter()
        .map(|(path, found)| match found {
            Ok(Some(meta)) => Directory {
                path,
                state: "formatted",
                cluster_id: Some(meta.cluster_id),
                node_id: Some(meta.node_id.to_wire()),
                directory_id: meta.directory_id.map(|id| id.to_string()),
                problem: None,
            },
            Ok(None) => Directory { path, state: "not formatted", ..Default::default() },
            Err(problem) => {
                Directory { path, state: "unusable", problem: Some(problem), ..Default::default() }
            }
        })
        .collect();
    let healthy = directories.iter().all(|directory| directory.state == "formatted");
    terminal.print(&Info { directories })?;
    Ok(if healthy { Exit::Ok } else { Exit::Failed })
}

fn read(args: &StorageInfoArgs) -> Result<BrokerConfig, Failure> {
    Ok(read_settings(Some(&args.config), &args.overrides, false)?.config)
}

#[derive(Serialize)]
struct Formatted {
    formatted: Vec<String>,
    metadata_version: &'static str,
}

impl Render for Formatted {
    fn text(&self, text: &mut Text) {
        if self.formatted.is_empty() {
            text.line("All of the log directories are already formatted.");
        }
        for path in &self.formatted {
            let version = self.metadata_version;
            text.line(format!(
                "Formatting metadata directory {path} with metadata.version {version}."
            ));
        }
    }
}

#[derive(Default, Serialize)]
struct Directory {
    path: String,
    state: &'static str,
    cluster_id: Option<String>,
    node_id: Option<i32>,
    directory_id: Option<String>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Info {
    directories: Vec<Directory>,
}

impl Render for Info {
    fn text(&self, text: &mut Text) {
        for directory in &self.directories {
            text.line(format!("{}: {}", directory.path, directory.state));
            if let (Some(cluster), Some(node)) = (&directory.cluster_id, directory.node_id) {
                let id = directory.directory_id.as_deref().unwrap_or("none");
                text.line(format!("  cluster.id={cluster} node.id={node} directory.id={id}"));
            }
            if let Some(problem) = &directory.problem {
                text.line(format!("  {problem}"));
            }
        }
    }
}
