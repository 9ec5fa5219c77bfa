//! The parts of a node, each made from the configuration.

use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_client::HostPort;
use ottla_config::{BrokerConfig, Layers, Listener};
use ottla_log::{FsStorage, LogConfig, LogDirectory, ReadBuffers};
use ottla_metadata::controller::{Controller, ControllerConfig, SnapshotTrigger};
use ottla_metadata::{Bootstrap, ClusterImage};
use ottla_net::{
    BindError, BoundListener, ConnectionLimits, ListenerOptions, MemoryBudget, Server,
    ServerOptions,
};
use ottla_quorum::{Now, Quorum, QuorumConfig, ReplicaKey, Voter, VoterSet};
use ottla_types::{DirectoryId, Offset};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::StartError;
use crate::clock::Clock;
use crate::config_rules::NodeRules;
use crate::dispatch::Dispatcher;
use crate::driver::alter_partition::{self, Recovering};
use crate::driver::cleaner::Cleaner;
use crate::driver::controller_registration;
use crate::driver::lifecycle::Advertised;
use crate::driver::producer_ids::ProducerIds;
use crate::driver::quorum::{MetadataDisk, Retention};
use crate::driver::scrub::Scrub;
use crate::fetch_session::FetchSessionCache;
use crate::forward::Forwarder;
use crate::partitions::Partitions;
use crate::replicas::{Found, OpenedDirectory, Replicas};
use crate::shared::{Identity, Shared};
use crate::storage::{self, StorageError};
use crate::telemetry::Telemetry;

// Of 32 KiB each. Answers hold them until they are sent; when all are held, files are sent.
const READ_BUFFERS: usize = 64;

/// Kafka's `min.incremental.fetch.session.eviction.ms`, which is not configurable there.
const SESSION_EVICTION: Duration = Duration::from_secs(120);
/// Connections that may wait to be accepted if `socket.listen.backlog.size` is not set: when a node
/// comes back its clients come all at once, and one that finds no room tries again after a second.
const BACKLOG: u32 = 1024;
/// Memory for requests of all connections when `queued.max.request.bytes` sets no limit; a part of
/// what there is, if that is less.
const REQUEST_MEMORY: u64 = 512 << 20;
const REQUEST_MEMORY_PART: u64 = 4;

/// The quorum and what goes with it.
pub(super) struct OpenedQuorum {
    pub(super) quorum: Quorum,
    pub(super) controller: Option<Controller>,
    pub(super) disk: MetadataDisk,
    pub(super) bootstrap: Option<Bootstrap>,
}

/// Takes the clean marks away: from here on a crash is a crash.
pub(super) fn take_marks(
    directories: Vec<LogDirectory<FsStorage>>,
) -> Result<Vec<OpenedDirectory>, StorageError> {
    directories
        .into_iter()
        .map(|log| {
            let mark = log.take_clean_mark()?;
            Ok(OpenedDirectory { log, mark })
        })
        .collect()
}

/// Reads the metadata directory and resumes the quorum.
pub(super) fn open_quorum(
    config: &BrokerConfig,
    bound: &[BoundListener],
    directories: &[OpenedDirectory],
    cluster_id: &str,
    layers: &Layers,
    clock: Clock,
) -> Result<OpenedQuorum, StartError> {
    let root = Path::new(&config.dirs.metadata_log_dir);
    let directory = directories.iter().find(|directory| directory.log.path() == root);
    let clean = directory.is_some_and(|directory| directory.mark.is_some());
    let id = directory.and_then(|directory| directory.log.meta()?.directory_id);
    let now = Now { mono: clock.now(), wall: clock.wall() };
    let log = LogConfig {
        segment_bytes: config.controller.segment_bytes.into(),
        segment_age_max: config.controller.segment_age,
        retention: None,
        retention_bytes: None,
        max_message_bytes: u32::MAX,
        ..LogConfig::default()
    };
    let snapshots = &config.controller;
    let trigger =
        SnapshotTrigger::new(snapshots.snapshot_bytes, snapshots.snapshot_interval, now.mono);
    let storage = Arc::new(FsStorage::default());
    let retention = Retention { bytes: snapshots.retention_bytes, age: snapshots.retention_age };
    let (files, disk) = MetadataDisk::open(storage, root, clean, log, now, trigger, retention)?;
    let quorum = Quorum::open(quorum_config(config, bound, cluster_id, id), &disk, now)?;
    if quorum.adopted() {
        tracing::info!("the metadata directory was written by another implementation: taken over");
    }
    let controller = config.roles.controller.then(|| {
        let rules = Box::new(NodeRules::new(layers.clone()));
        Controller::new(controller_config(config, cluster_id), rules)
    });
    let bootstrap = match storage::read_bootstrap(root)? {
        Some(bootstrap) => Some(bootstrap),
        // A directory formatted by a newer Kafka has its first records in the log already.
        None => Bootstrap::new(None, &Default::default(), config.quorum.voters.is_empty())
            .map_err(StorageError::from)
            .map(Some)?,
    };
    Ok(OpenedQuorum { quorum, controller, disk: files, bootstrap })
}

fn quorum_config(
    config: &BrokerConfig,
    bound: &[BoundListener],
    cluster_id: &str,
    directory: Option<DirectoryId>,
) -> QuorumConfig {
    let own = ReplicaKey::new(config.node_id, directory.unwrap_or_default());
    let voters = VoterSet::new(
        config
            .quorum
            .voters
            .iter()
            .map(|voter| Voter::new(ReplicaKey::of_node(voter.id), Vec::new())),
    );
    let seed = u64::from_be_bytes(ottla_sys::random_bytes());
    let mut quorum = QuorumConfig::new(cluster_id, own, voters, seed);
    quorum.endpoints = storage::controller_endpoints(config);
    for endpoint in &mut quorum.endpoints {
        let real = bound.iter().find(|bound| bound.name() == endpoint.name);
        if let (0, Some(real)) = (endpoint.port, real) {
            endpoint.port = real.address().port();
        }
    }
    quorum.fetch_timeout = config.quorum.fetch_timeout;
    quorum.election_timeout = config.quorum.election_timeout;
    quorum
}

fn controller_config(config: &BrokerConfig, cluster_id: &str) -> ControllerConfig {
    let seed = [(); 4].map(|()| u64::from_be_bytes(ottla_sys::random_bytes()));
    let mut controller = ControllerConfig::new(config.node_id, cluster_id, seed);
    controller.session_timeout = config.lifecycle.session_timeout;
    controller.idle_interval = config.controller.idle_interval;
    controller.balance_interval = config.controller.leader_rebalance_interval;
    controller.unclean_interval = config.controller.unclean_election_interval;
    controller.default_partitions = config.topics.partitions;
    controller.default_replication_factor =
        i16::try_from(config.topics.replication_factor).unwrap_or(i16::MAX);
    controller.delete_topics_enabled = config.topics.delete_enabled;
    controller
}

/// Opens every listener.
pub(super) fn bind(config: &BrokerConfig) -> Result<Vec<BoundListener>, BindError> {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let all = &config.listeners.all;
    let brokers = all.iter().filter(|it| !config.listeners.is_controller(&it.name)).count();
    all.iter()
        .map(|listener| {
            let host = listener.host.clone().unwrap_or_default();
            let mut options = ListenerOptions::new(listener.name.clone(), host, listener.port);
            options.backlog = config.network.listen_backlog.unwrap_or(BACKLOG);
            options.receive_buffer = config.network.receive_buffer_bytes.map(size);
            options.send_buffer = config.network.send_buffer_bytes.map(size);
            // A controller counts its connections apart; brokers among themselves get through
            // when clients have a listener of their own and have used up the limit.
            let controller = config.listeners.is_controller(&listener.name);
            options.group = u8::from(controller);
            options.protected = 1 < brokers && config.listeners.inter_broker == listener.name;
            BoundListener::bind(options)
        })
        .collect()
}

/// Addresses for clients, each with the port that the system gave it where it was left open.
pub(super) fn advertised(config: &BrokerConfig, bound: &[BoundListener]) -> Vec<Advertised> {
    with_real_ports(&config.listeners.advertised, bound)
}

fn with_real_ports(listeners: &[Listener], bound: &[BoundListener]) -> Vec<Advertised> {
    listeners
        .iter()
        .map(|listener| {
            let real = bound.iter().find(|bound| bound.name() == listener.name);
            let port = match (listener.port, real) {
                (0, Some(real)) => real.address().port(),
                (port, _) => port,
            };
            let host = listener.host.clone().unwrap_or_else(|| "localhost".to_owned());
            Advertised { name: listener.name.clone(), host, port, protocol: listener.protocol }
        })
        .collect()
}

/// Starts the tasks that tell the controller about this node, beside the broker's own life.
pub(super) fn start_reports(
    shared: &Arc<Shared>,
    config: &BrokerConfig,
    bound: &[BoundListener],
    forwarder: &Forwarder,
    published: &watch::Receiver<Offset>,
) -> Vec<JoinHandle<()>> {
    let registration = config.roles.controller.then(|| {
        controller_registration::start(controller_registration::Start {
            shared: shared.clone(),
            forwarder: forwarder.clone(),
            listeners: with_real_ports(&config.listeners.advertised_controller, bound),
            published: published.clone(),
        })
    });
    let recoveries = config.roles.broker.then(|| alter_partition::start(shared, forwarder));
    registration.into_iter().chain(recoveries).collect()
}

/// Where this node's broker part reaches its own controller part.
pub(super) fn own_controller(config: &BrokerConfig, bound: &[BoundListener]) -> Option<HostPort> {
    let name = config.listeners.controller_names.first()?;
    let listener = bound.iter().find(|bound| bound.name() == name)?;
    let address = listener.address();
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    Some(HostPort::new(host, address.port()))
}

/// The state that everything shares.
pub(super) fn share(
    clock: Clock,
    identity: Identity,
    layers: Layers,
    config: &BrokerConfig,
    mut directories: Vec<OpenedDirectory>,
    mut failed: Vec<(String, std::io::Error)>,
) -> Result<Shared, StartError> {
    let mut data: Vec<Found> = Vec::new();
    for path in &config.dirs.log_dirs {
        let is_here = |opened: &OpenedDirectory| opened.log.path() == Path::new(path);
        if let Some(at) = directories.iter().position(is_here) {
            data.push((path.clone(), Ok(directories.swap_remove(at))));
        } else if let Some(at) = failed.iter().position(|(other, _)| other == path) {
            data.push((path.clone(), Err(failed.swap_remove(at).1)));
        }
    }
    let replicas =
        Replicas::open(data, &config.dirs.cordoned_log_dirs).map_err(StorageError::from)?;
    let slots = usize::try_from(config.fetch.session_slots).unwrap_or(usize::MAX);
    Ok(Shared {
        clock,
        identity,
        layers: ArcSwap::from_pointee(layers),
        config: ArcSwap::from_pointee(config.clone()),
        image: ArcSwap::from_pointee(ClusterImage::new()),
        partitions: Partitions::default(),
        fatal: watch::channel(None).0,
        replicas,
        cleaner: Cleaner::default(),
        scrub: Scrub::default(),
        read_buffers: Arc::new(ReadBuffers::new(READ_BUFFERS)),
        sessions: Mutex::new(FetchSessionCache::new(slots, SESSION_EVICTION)),
        telemetry: Telemetry::new(ottla_metrics::Registry::default()),
        log_levels: OnceLock::new(),
        quorum: OnceLock::new(),
        controller: OnceLock::new(),
        groups: OnceLock::new(),
        forwarder: OnceLock::new(),
        recovering: Recovering::default(),
        producer_ids: ProducerIds::default(),
        published: OnceLock::new(),
        lifecycle: OnceLock::new(),
        stopping: AtomicBool::new(false),
        stop: tokio::sync::Notify::new(),
        connections: OnceLock::new(),
        metadata_directory: directories.pop(),
    })
}

/// Limits on connections, as net wants them.
fn connection_limits(config: &BrokerConfig) -> ConnectionLimits {
    let network = &config.network;
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let mut limits = ConnectionLimits::default();
    limits.total_max = count(network.connections_max);
    limits.per_ip_max = count(network.connections_per_ip_max);
    limits.rate_max = network.connection_rate_max;
    for (host, max) in &network.connections_per_ip_overrides {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match (host, 0).to_socket_addrs() {
            Ok(found) => {
                let found = found.map(|address| (address.ip().to_canonical(), count(*max)));
                limits.per_ip_overrides.extend(found);
            }
            Err(error) => {
                tracing::warn!(host, %error, "max.connections.per.ip.overrides: no such host");
            }
        }
    }
    // Names of listeners in keys are written in any case.
    let named = |name: &str| {
        let mut all = config.listeners.all.iter().map(|listener| listener.name.as_str());
        all.find(|listener| listener.eq_ignore_ascii_case(name)).unwrap_or(name).to_owned()
    };
    for (name, max) in &network.listener_connections_max {
        limits.listeners.entry(named(name)).or_default().connections_max = count(*max);
    }
    for (name, max) in &network.listener_connection_rate_max {
        limits.listeners.entry(named(name)).or_default().rate_max = *max;
    }
    limits
}

/// Makes the limits on connections effective that the configuration has now.
pub(crate) fn apply_connection_limits(shared: &Shared) {
    if let Some(limits) = shared.connections.get() {
        limits.set(connection_limits(&shared.config.load()));
    }
}

/// Starts serving.
pub(super) fn serve(
    shared: &Arc<Shared>,
    config: &BrokerConfig,
    listeners: Vec<BoundListener>,
) -> Server {
    let network = &config.network;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut options = ServerOptions::default();
    options.frame_size_max = size(network.request_bytes_max);
    options.connections = connection_limits(config);
    options.idle_max = network.idle_max.unwrap_or(Duration::MAX);
    let chosen = || {
        let there_is = ottla_sys::memory_max().unwrap_or(u64::MAX);
        REQUEST_MEMORY.min(there_is / REQUEST_MEMORY_PART)
    };
    options.budget = MemoryBudget::new(size(network.queued_bytes_max.unwrap_or_else(chosen)));
    let server = Server::start(listeners, Arc::new(Dispatcher::new(shared.clone())), options);
    let _ = shared.connections.set(server.limits());
    // Metadata may have changed them meanwhile.
    apply_connection_limits(shared);
    server
}
