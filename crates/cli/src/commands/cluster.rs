//! `ottla cluster`: brokers, features, API versions, log directories.

use clap::Subcommand;
use ottla_client::{Admin, FeatureUpgrade};
use ottla_protocol::ApiKey;
use ottla_types::NodeId;
use serde::Serialize;

use crate::args::{ConnectionArgs, feature_level};
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, bytes, maybe};
use crate::table::Table;
use crate::terminal::Terminal;

/// Commands of `ottla cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Shows the cluster's id and its brokers
    Info,
    /// Prints the cluster's id
    Id,
    /// Shows features and their levels
    Features {
        /// Raises a feature to a level; may be given several times
        #[arg(long, value_name = "NAME=LEVEL")]
        upgrade: Vec<String>,
        /// Only checks whether it would succeed
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows the APIs that the bootstrap broker offers
    ApiVersions,
    /// Shows log directories and what is in them
    LogDirs {
        /// Only this broker
        #[arg(long, value_name = "ID")]
        broker: Option<u32>,
    },
}

pub(crate) async fn run(
    command: ClusterCommand,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let admin = admin(connection)?;
    match command {
        ClusterCommand::Info => info(&admin, terminal).await?,
        ClusterCommand::Id => {
            let id = admin.describe_cluster().await?.id;
            terminal.print(&ClusterId { cluster_id: id })?;
        }
        ClusterCommand::Features { upgrade, dry_run } => {
            features(&admin, &upgrade, dry_run, terminal).await?;
        }
        ClusterCommand::ApiVersions => api_versions(&admin, terminal).await?,
        ClusterCommand::LogDirs { broker } => log_dirs(&admin, broker, terminal).await?,
    }
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct ClusterId {
    cluster_id: String,
}

impl Render for ClusterId {
    fn text(&self, text: &mut Text) {
        text.line(&self.cluster_id);
    }
}

#[derive(Serialize)]
struct Info {
    cluster_id: String,
    controller: Option<u32>,
    brokers: Vec<Broker>,
}

#[derive(Serialize)]
struct Broker {
    id: u32,
    address: String,
    rack: Option<String>,
    fenced: bool,
}

impl Render for Info {
    fn text(&self, text: &mut Text) {
        text.field("cluster id", &self.cluster_id);
        text.field("controller", maybe(self.controller));
        text.gap();
        let mut table = Table::new(&["broker", "address", "rack", "state"]);
        for broker in &self.brokers {
            let state = if broker.fenced { "fenced" } else { "live" };
            table.row([
                broker.id.to_string(),
                broker.address.clone(),
                maybe(broker.rack.clone()),
                state.to_owned(),
            ]);
        }
        text.table(&table);
    }
}

async fn info(admin: &Admin, terminal: Terminal) -> Result<(), Failure> {
    let cluster = admin.describe_cluster().await?;
    let broker = |node: ottla_client::Node| Broker {
        id: node.id.0,
        address: node.address.to_string(),
        rack: node.rack,
        fenced: node.fenced,
    };
    terminal.print(&Info {
        cluster_id: cluster.id,
        controller: cluster.controller.map(|id| id.0),
        brokers: cluster.brokers.into_iter().map(broker).collect(),
    })
}

#[derive(Serialize)]
struct FeatureRow {
    feature: String,
    level: Option<i16>,
    supported_min: Option<i16>,
    supported_max: Option<i16>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct FeatureRows(Vec<FeatureRow>);

impl Render for FeatureRows {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["feature", "level", "supported"]);
        for row in &self.0 {
            let range = row.supported_min.zip(row.supported_max);
            let range = range.map(|(low, high)| format!("{low}-{high}"));
            table.row([row.feature.clone(), maybe(row.level), maybe(range)]);
        }
        text.table(&table);
    }
}

async fn features(
    admin: &Admin,
    upgrade: &[String],
    dry_run: bool,
    terminal: Terminal,
) -> Result<(), Failure> {
    if upgrade.is_empty() {
        let features = admin.describe_features().await?;
        let rows = features.into_iter().map(|feature| FeatureRow {
            feature: feature.name,
            level: feature.finalized,
            supported_min: feature.supported.map(|(low, _)| low),
            supported_max: feature.supported.map(|(_, high)| high),
        });
        return terminal.print(&FeatureRows(rows.collect()));
    }
    let levels = upgrade.iter().map(|text| feature_level(text)).collect::<Result<Vec<_>, _>>()?;
    let levels: Vec<(&str, i16)> = levels.iter().map(|(name, to)| (name.as_str(), *to)).collect();
    admin.update_features(&levels, FeatureUpgrade::Upgrade, dry_run).await?;
    let would = if dry_run { "would be " } else { "" };
    for (name, level) in levels {
        terminal.say(format!("{name} {would}raised to {level}"));
    }
    Ok(())
}

#[derive(Serialize)]
struct Api {
    key: i16,
    name: String,
    min_version: i16,
    max_version: i16,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Apis(Vec<Api>);

impl Render for Apis {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["key", "api", "versions"]);
        for api in &self.0 {
            let versions = format!("{}-{}", api.min_version, api.max_version);
            table.row([api.key.to_string(), api.name.clone(), versions]);
        }
        text.table(&table);
    }
}

async fn api_versions(admin: &Admin, terminal: Terminal) -> Result<(), Failure> {
    let connection = admin.client().bootstrap().await?;
    let name = |key: i16| match ApiKey::from_key(key) {
        Some(api) => api.name().to_owned(),
        None => format!("key {key}"),
    };
    let mut apis: Vec<Api> = connection
        .offered()
        .api_keys
        .iter()
        .map(|api| Api {
            key: api.api_key,
            name: name(api.api_key),
            min_version: api.min_version,
            max_version: api.max_version,
        })
        .collect();
    apis.sort_by_key(|api| api.key);
    terminal.print(&Apis(apis))
}

#[derive(Serialize)]
struct Dir {
    broker: u32,
    path: String,
    error: Option<String>,
    total_bytes: Option<u64>,
    usable_bytes: Option<u64>,
    replicas: Vec<Replica>,
}

#[derive(Serialize)]
struct Replica {
    topic: String,
    partition: u32,
    size_bytes: u64,
    offset_lag: u64,
    future: bool,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Dirs(Vec<Dir>);

impl Render for Dirs {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["broker", "directory", "replicas", "used", "free", "state"]);
        for dir in &self.0 {
            let used: u64 = dir.replicas.iter().map(|replica| replica.size_bytes).sum();
            table.row([
                dir.broker.to_string(),
                dir.path.clone(),
                dir.replicas.len().to_string(),
                bytes(used),
                maybe(dir.usable_bytes.map(bytes)),
                dir.error.clone().unwrap_or_else(|| "ok".to_owned()),
            ]);
        }
        text.table(&table);
    }
}

async fn log_dirs(admin: &Admin, broker: Option<u32>, terminal: Terminal) -> Result<(), Failure> {
    let brokers = match broker {
        Some(id) => vec![NodeId(id)],
        None => admin.describe_cluster().await?.brokers.into_iter().map(|node| node.id).collect(),
    };
    let mut rows = Vec::new();
    for id in brokers {
        for dir in admin.describe_log_dirs(id).await? {
            let replica = |replica: ottla_client::LogDirReplica| Replica {
                topic: replica.topic,
                partition: replica.partition.0,
                size_bytes: replica.size_bytes,
                offset_lag: replica.offset_lag,
                future: replica.is_future,
            };
            rows.push(Dir {
                broker: id.0,
                path: dir.path,
                error: dir.error.map(|error| error.to_string()),
                total_bytes: dir.total_bytes,
                usable_bytes: dir.usable_bytes,
                replicas: dir.replicas.into_iter().map(replica).collect(),
            });
        }
    }
    terminal.print(&Dirs(rows))
}
