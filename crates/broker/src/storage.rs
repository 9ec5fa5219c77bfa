//! Formatting a node's directories, as `kafka-storage format` does, and looking at them.
//!
//! Formatting writes `meta.properties` and `bootstrap.checkpoint` into every log directory, and
//! for a dynamic quorum the `0-0` checkpoint that names the first voters. A server formats by
//! itself only where nothing can be lost: every directory empty, and no other voter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_config::BrokerConfig;
use ottla_log::{DirectoryError, FsStorage, LogDirectory, MetaProperties, Storage as _};
use ottla_metadata::{Bootstrap, BootstrapError, Record};
use ottla_quorum::{
    ControlState, Endpoint, KRaftVersion, ReplicaKey, Snapshot, SnapshotBuilder, SnapshotError,
    SnapshotId, Voter, VoterSet,
};
use ottla_record::DecompressLimits;
use ottla_types::{DirectoryId, NodeId, Timestamp, Uuid, WallTime};

use crate::replicas::METADATA_TOPIC;

/// File with the records that a new cluster begins with.
pub(crate) const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";

/// How the first voters are known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstVoters {
    /// `controller.quorum.voters` names them.
    Static,
    /// This node alone (`--standalone`).
    Standalone,
    /// These (`--initial-controllers`).
    Initial(VoterSet),
    /// Somebody else's: this node joins (`--no-initial-controllers`, or a broker).
    None,
}

impl FirstVoters {
    /// The id that the metadata directory of this node must get, if the voters say so.
    fn directory_of(&self, node: NodeId) -> Option<DirectoryId> {
        let Self::Initial(voters) = self else { return None };
        voters.get(node)?.key.directory
    }
}

/// What to format with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FormatOptions {
    /// Id of the cluster.
    pub cluster_id: String,
    /// The first voters.
    pub voters: FirstVoters,
    /// Records of a new cluster.
    pub bootstrap: Bootstrap,
    /// Leave directories alone that are formatted already.
    pub ignore_formatted: bool,
}

impl FormatOptions {
    /// Formats for this cluster with these first voters and records.
    pub fn new(cluster_id: impl Into<String>, voters: FirstVoters, bootstrap: Bootstrap) -> Self {
        Self { cluster_id: cluster_id.into(), voters, bootstrap, ignore_formatted: false }
    }
}

/// Directories cannot be formatted or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A directory is formatted already.
    #[error("log directory {} is already formatted", .0.display())]
    Formatted(PathBuf),
    /// A directory is not formatted.
    #[error("log directory {} is not formatted", .0.display())]
    NotFormatted(PathBuf),
    /// A directory belongs to another node or cluster.
    #[error("log directory {} belongs to {what} {found}, not {expected}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What does not fit: `cluster` or `node`.
        what: &'static str,
        /// What the directory says.
        found: String,
        /// What the configuration says.
        expected: String,
    },
    /// The disk failed.
    #[error("{}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The levels do not go together.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// A checkpoint is damaged.
    #[error("{} is damaged", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SnapshotError,
    },
    /// A record cannot be read or written.
    #[error("a record of {} cannot be used: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Opens and locks every log directory of the configuration.
///
/// # Errors
/// One of them cannot be used.
pub fn open_directories(
    config: &BrokerConfig,
) -> Result<Vec<LogDirectory<FsStorage>>, StorageError> {
    let mut paths: Vec<&String> = config.dirs.log_dirs.iter().collect();
    if !paths.contains(&&config.dirs.metadata_log_dir) {
        paths.push(&config.dirs.metadata_log_dir);
    }
    let storage = Arc::new(FsStorage::default());
    paths
        .into_iter()
        .map(|path| Ok(LogDirectory::open(storage.clone(), Path::new(path))?))
        .collect()
}

/// The log directories of a node that starts.
pub(crate) struct FoundDirectories {
    pub(crate) usable: Vec<LogDirectory<FsStorage>>,
    /// Those whose disk does not work, which a node can do without.
    pub(crate) failed: Vec<(String, std::io::Error)>,
}

/// Opens and locks what can be used. A node goes on without a directory whose disk fails, as long
/// as it is neither the last one nor the one with the metadata.
pub(crate) fn find_directories(config: &BrokerConfig) -> Result<FoundDirectories, StorageError> {
    let mut paths: Vec<&String> = config.dirs.log_dirs.iter().collect();
    if !paths.contains(&&config.dirs.metadata_log_dir) {
        paths.push(&config.dirs.metadata_log_dir);
    }
    let storage = Arc::new(FsStorage::default());
    let mut found = FoundDirectories { usable: Vec::new(), failed: Vec::new() };
    for path in paths {
        match LogDirectory::open(storage.clone(), Path::new(path)) {
            Ok(directory) => found.usable.push(directory),
            Err(DirectoryError::Disk { source, .. }) if *path != config.dirs.metadata_log_dir => {
                found.failed.push((path.clone(), source));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let is_data = |directory: &LogDirectory<FsStorage>| {
        config.dirs.log_dirs.iter().any(|path| Path::new(path) == directory.path())
    };
    match found.failed.pop() {
        Some((path, source)) if !found.usable.iter().any(is_data) => {
            Err(DirectoryError::Disk { path: path.into(), source }.into())
        }
        last => {
            found.failed.extend(last);
            Ok(found)
        }
    }
}

/// Formats opened directories. Returns those that were formatted now.
///
/// # Errors
/// A directory is formatted already, for this cluster and node or for others, or the disk failed.
pub fn format(
    config: &BrokerConfig,
    directories: &mut [LogDirectory<FsStorage>],
    options: &FormatOptions,
    now: WallTime,
) -> Result<Vec<PathBuf>, StorageError> {
    for directory in directories.iter() {
        check_owner(config, directory, &options.cluster_id)?;
    }
    if !options.ignore_formatted
        && let Some(formatted) = directories.iter().find(|dir| dir.meta().is_some())
    {
        return Err(StorageError::Formatted(formatted.path().to_owned()));
    }
    let records = options.bootstrap.records();
    let checkpoint =
        checkpoint(&records, &ControlState::default(), now, Path::new(BOOTSTRAP_FILE))?;
    let mut done = Vec::new();
    for directory in directories.iter_mut().filter(|dir| dir.meta().is_none()) {
        let path = directory.path().to_owned();
        let metadata = path == Path::new(&config.dirs.metadata_log_dir);
        let id = match options.voters.directory_of(config.node_id) {
            Some(id) if metadata => id,
            _ => DirectoryId(random_uuid()),
        };
        replace(&path.join(BOOTSTRAP_FILE), &checkpoint)?;
        if metadata {
            write_first_voters(config, options, &path, id, now)?;
        }
        // Last, because it says that all of the above is there.
        directory.write_meta(MetaProperties {
            cluster_id: options.cluster_id.clone(),
            node_id: config.node_id,
            directory_id: Some(id),
            other: BTreeMap::new(),
        })?;
        done.push(path);
    }
    Ok(done)
}

fn write_first_voters(
    config: &BrokerConfig,
    options: &FormatOptions,
    path: &Path,
    id: DirectoryId,
    now: WallTime,
) -> Result<(), StorageError> {
    let voters = match &options.voters {
        FirstVoters::Static | FirstVoters::None => return Ok(()),
        FirstVoters::Standalone => {
            let key = ReplicaKey::new(config.node_id, id);
            VoterSet::new([Voter::new(key, controller_endpoints(config))])
        }
        FirstVoters::Initial(voters) => voters.clone(),
    };
    let control =
        ControlState { kraft_version: KRaftVersion::Dynamic, voters: Some(voters), in_log: false };
    let directory = path.join(format!("{METADATA_TOPIC}-0"));
    let disk = |source| StorageError::Disk { path: directory.clone(), source };
    FsStorage::default().create_dir(&directory).map_err(disk)?;
    let file = directory.join(SnapshotId::BOOTSTRAP.file_name());
    replace(&file, &checkpoint(&[], &control, now, &file)?)
}

/// Where other controllers reach this node, as voters record it.
pub(crate) fn controller_endpoints(config: &BrokerConfig) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = config
        .listeners
        .advertised_controller
        .iter()
        .map(|listener| Endpoint {
            name: listener.name.clone(),
            host: listener.host.clone().unwrap_or_else(|| "localhost".to_owned()),
            port: listener.port,
        })
        .collect();
    // The first one is what other nodes use; Kafka keeps the configured order.
    let order = |name: &str| config.listeners.controller_names.iter().position(|n| n == name);
    endpoints.sort_by_key(|endpoint| order(&endpoint.name));
    endpoints
}

fn checkpoint(
    records: &[Record],
    control: &ControlState,
    now: WallTime,
    path: &Path,
) -> Result<Bytes, StorageError> {
    let unusable = |reason: String| StorageError::Record { path: path.to_owned(), reason };
    let mut builder = SnapshotBuilder::new(SnapshotId::BOOTSTRAP, now, Timestamp(0), control);
    let values: Vec<Bytes> = records
        .iter()
        .map(|record| record.encode().map_err(|error| unusable(error.to_string())))
        .collect::<Result<_, _>>()?;
    if !values.is_empty() {
        let values = values.iter().map(AsRef::as_ref);
        builder.push(values).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(builder.finish())
}

fn replace(path: &Path, bytes: &Bytes) -> Result<(), StorageError> {
    FsStorage::default()
        .replace_small(path, bytes)
        .map_err(|source| StorageError::Disk { path: path.to_owned(), source })
}

/// Reads the records that formatting left, if it did.
pub(crate) fn read_bootstrap(directory: &Path) -> Result<Option<Bootstrap>, StorageError> {
    let path = directory.join(BOOTSTRAP_FILE);
    let disk = |source| StorageError::Disk { path: path.clone(), source };
    let Some(bytes) = FsStorage::default().read_small(&path).map_err(disk)? else {
        return Ok(None);
    };
    let unusable = |reason: String| StorageError::Record { path: path.clone(), reason };
    let damaged = |source| StorageError::Checkpoint { path: path.clone(), source };
    let snapshot = Snapshot::read(SnapshotId::BOOTSTRAP, Bytes::from(bytes)).map_err(damaged)?;
    let mut records = Vec::new();
    for batch in &snapshot.batches {
        let batch = batch.records(&DecompressLimits::default());
        for record in batch.map_err(|error| unusable(error.to_string()))? {
            let record = record.map_err(|error| unusable(error.to_string()))?;
            let value = record.value.unwrap_or_default();
            records.push(Record::decode(value).map_err(|error| unusable(error.to_string()))?);
        }
    }
    Ok(Some(Bootstrap::from_records(records)?))
}

/// Whether this node may format by itself: it is the only voter there can be.
pub(crate) fn may_format_itself(config: &BrokerConfig) -> bool {
    let alone = |id: &NodeId| *id == config.node_id;
    let voters = &config.quorum.voters;
    let bootstrap = &config.quorum.bootstrap_servers;
    config.roles.controller
        && voters.iter().all(|voter| alone(&voter.id))
        && (!voters.is_empty() || bootstrap.len() <= 1)
}

/// Checks that opened directories belong together and to this node; answers the cluster's id.
pub(crate) fn check(
    config: &BrokerConfig,
    directories: &[LogDirectory<FsStorage>],
) -> Result<String, StorageError> {
    let mut cluster: Option<&str> = None;
    for directory in directories {
        let path = directory.path().to_owned();
        let Some(meta) = directory.meta() else { return Err(StorageError::NotFormatted(path)) };
        check_owner(config, directory, cluster.get_or_insert(&meta.cluster_id))?;
    }
    Ok(cluster.unwrap_or_default().to_owned())
}

/// A directory that is formatted belongs to this cluster and node.
fn check_owner(
    config: &BrokerConfig,
    directory: &LogDirectory<FsStorage>,
    cluster_id: &str,
) -> Result<(), StorageError> {
    let Some(meta) = directory.meta() else { return Ok(()) };
    let path = directory.path().to_owned();
    if meta.cluster_id != cluster_id {
        let (found, expected) = (meta.cluster_id.clone(), cluster_id.to_owned());
        return Err(StorageError::Foreign { path, what: "cluster", found, expected });
    }
    if meta.node_id != config.node_id {
        let (found, expected) = (meta.node_id.to_string(), config.node_id.to_string());
        return Err(StorageError::Foreign { path, what: "node", found, expected });
    }
    Ok(())
}

/// A random id that Kafka would accept.
pub fn random_uuid() -> Uuid {
    loop {
        if let Some(uuid) = Uuid::from_random(ottla_sys::random_bytes()) {
            return uuid;
        }
    }
}

/// Reads `--initial-controllers`: `id@host:port:directory-id,...`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_voters(text: &str, config: &BrokerConfig) -> Result<VoterSet, String> {
    let listener = config.listeners.controller_names.first().cloned().unwrap_or_default();
    let voters = text.split(',').map(|entry| {
        let wrong = || format!("{entry:?} is not id@host:port:directory-id");
        let (id, rest) = entry.trim().split_once('@').ok_or_else(wrong)?;
        let (address, directory) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let address = ottla_config::host_port(address).ok_or_else(wrong)?;
        let id = id.parse().ok().and_then(NodeId::from_wire).ok_or_else(wrong)?;
        let directory: Uuid = directory.parse().map_err(|_| wrong())?;
        let endpoint = Endpoint { name: listener.clone(), host: address.host, port: address.port };
        Ok(Voter::new(ReplicaKey::new(id, DirectoryId(directory)), vec![endpoint]))
    });
    Ok(VoterSet::new(voters.collect::<Result<Vec<_>, String>>()?))
}

/// Looks at every log directory; a running node's cannot be opened, and says so.
pub fn look(config: &BrokerConfig) -> Vec<(String, Result<Option<MetaProperties>, String>)> {
    let storage = Arc::new(FsStorage::default());
    config
        .dirs
        .log_dirs
        .iter()
        .map(|path| {
            let found = match Path::new(path).exists() {
                false => Err("does not exist".to_owned()),
                true => LogDirectory::open(storage.clone(), Path::new(path))
                    .map(|directory| directory.meta().cloned())
                    .map_err(|error| error.to_string()),
            };
            (path.clone(), found)
        })
        .collect()
}
