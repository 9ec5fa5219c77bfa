//! A node: everything assembled, started in order, and stopped in the opposite order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ottla_config::{BrokerConfig, Layers, Loaded};
use ottla_log::{FsStorage, LogDirectory};
use ottla_metadata::Bootstrap;
use ottla_net::{BindError, Server};
use ottla_types::{IncarnationId, NodeId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::driver::lifecycle::{self, Lifecycle, Phase};
use crate::driver::mover::MoverThread;
use crate::driver::publisher::{Publisher, PublisherThread};
use crate::driver::quorum::{self, MetadataDiskError, QuorumThread};
use crate::forward::Forwarder;
use crate::http::{BoundHttp, HttpServer};
use crate::log_levels::LogLevels;
use crate::shared::{Identity, Shared};
use crate::storage::{self, FirstVoters, FormatOptions, FoundDirectories, StorageError};
use crate::upkeep::Upkeep;

mod assemble;

pub(crate) use assemble::apply_connection_limits;

/// How a node is started.
#[non_exhaustive]
pub struct StartOptions {
    /// Configuration, as [`ottla_config::load`] read it.
    pub loaded: Loaded,
    /// Format the directories if all are empty and this node is the sole voter.
    pub format: bool,
    /// A taken port of the HTTP listener is a warning only.
    pub http_optional: bool,
    /// Levels of this process's loggers, for the resource BROKER_LOGGER; without them it is empty.
    pub log_levels: Option<Arc<dyn LogLevels>>,
}

impl std::fmt::Debug for StartOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartOptions")
            .field("loaded", &self.loaded)
            .field("format", &self.format)
            .field("http_optional", &self.http_optional)
            .finish_non_exhaustive()
    }
}

impl StartOptions {
    /// Starts from formatted directories only.
    pub fn new(loaded: Loaded) -> Self {
        Self { loaded, format: false, http_optional: false, log_levels: None }
    }
}

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A log directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The metadata directory cannot be used.
    #[error("the metadata directory cannot be used: {0}")]
    Metadata(String),
    /// The quorum cannot be resumed.
    #[error("the metadata quorum cannot be resumed")]
    Quorum(#[from] ottla_quorum::OpenError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP listener cannot be opened.
    #[error("ottla.http.listener {address} cannot be opened")]
    Http {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no thread.
    #[error("a thread cannot be started")]
    Thread(#[from] std::io::Error),
    /// The configuration needs something that does not exist yet.
    #[error("{0}")]
    NotYet(&'static str),
}

impl From<MetadataDiskError> for StartError {
    fn from(error: MetadataDiskError) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        Self::Metadata(format!("{error}{}", source.unwrap_or_default()))
    }
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    server: Server,
    lifecycle: Option<Lifecycle>,
    publisher: PublisherThread,
    quorum: QuorumThread,
    upkeep: Upkeep,
    mover: MoverThread,
    http: Option<HttpServer>,
    /// Tasks that tell the controller about this node.
    reports: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node; it listens when this returns, and serves clients once it is
    /// [ready](Node::ready). Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Nothing is left running.
    pub async fn start(options: StartOptions) -> Result<Self, StartError> {
        let clock = Clock::start();
        let Loaded { settings, config, .. } = options.loaded;
        check_supported(&config)?;
        let FoundDirectories { mut usable, failed } = storage::find_directories(&config)?;
        // Ports are taken before anything is written, so that a second node fails early.
        let listeners = assemble::bind(&config)?;
        let http = BoundHttp::bind(&config, options.http_optional).await?;
        if options.format && failed.is_empty() {
            format_if_new(&config, &mut usable, clock)?;
        }
        let cluster_id = storage::check(&config, &usable)?;
        let layers = Layers::new(settings.texts());
        let directories = assemble::take_marks(usable)?;
        let quorum =
            assemble::open_quorum(&config, &listeners, &directories, &cluster_id, &layers, clock)?;
        let publisher = Publisher::new();
        let identity = Identity {
            cluster_id,
            node_id: config.node_id,
            incarnation: IncarnationId(storage::random_uuid()),
        };
        let shared = assemble::share(clock, identity, layers, &config, directories, failed)?;
        let shared = Arc::new(shared);
        if let Some(levels) = options.log_levels {
            let _ = shared.log_levels.set(levels);
        }
        let start = quorum::Start {
            quorum: quorum.quorum,
            controller: quorum.controller,
            disk: quorum.disk,
            bootstrap: quorum.bootstrap,
            dead: vec![config.node_id],
            publisher: publisher.clone(),
            clock,
        };
        let (quorum_handle, controller, quorum) = quorum::start(start)?;
        let _ = shared.quorum.set(quorum_handle);
        if config.roles.controller {
            let _ = shared.controller.set(controller);
        }
        let forwarder = Forwarder::new(&shared, assemble::own_controller(&config, &listeners));
        let _ = shared.forwarder.set(forwarder.clone());
        if config.roles.broker {
            let groups = crate::driver::GroupHandle::start(&shared);
            let _ = shared.groups.set(groups);
        }
        let published = publisher.published();
        let _ = shared.published.set(published.clone());
        let publisher = publisher.start(&shared)?;
        let advertised = assemble::advertised(&config, &listeners);
        let reports = assemble::start_reports(&shared, &config, &listeners, &forwarder, &published);
        let lifecycle = config.roles.broker.then(|| {
            Lifecycle::start(lifecycle::Start {
                shared: shared.clone(),
                forwarder,
                listeners: advertised,
                previous_epoch: shared.replicas.previous_epoch(),
                published,
            })
        });
        if let Some(lifecycle) = &lifecycle {
            let _ = shared.lifecycle.set((lifecycle.phase(), lifecycle.epoch_cell()));
        }
        let server = assemble::serve(&shared, &config, listeners);
        shared.telemetry.listens(server.stats(), server.budget());
        let http = http.map(|bound| HttpServer::start(&shared, bound));
        let upkeep = Upkeep::start(&shared);
        let mover = MoverThread::start(&shared)?;
        Ok(Self { shared, server, lifecycle, publisher, quorum, upkeep, mover, http, reports })
    }

    /// Names of the listeners and the addresses that are listened on.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.server.addresses().iter().map(|(name, at)| (name.to_string(), *at)).collect()
    }

    /// Addresses of the listeners for clients.
    pub fn bootstrap_addresses(&self) -> Vec<SocketAddr> {
        let config = self.shared.config.load();
        let broker = |name: &str| !config.listeners.is_controller(name);
        self.server.addresses().iter().filter(|(name, _)| broker(name)).map(|(_, at)| *at).collect()
    }

    /// Address of the HTTP listener, if there is one.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// Id of the cluster.
    pub fn cluster_id(&self) -> &str {
        self.shared.cluster_id()
    }

    /// Completes when clients may come: the broker is unfenced, or, on a node that is a
    /// controller only, the quorum has a leader.
    pub async fn ready(&self) {
        match &self.lifecycle {
            Some(lifecycle) => {
                let mut phase = lifecycle.phase();
                // The task lives as long as this handle.
                let _ = phase.wait_for(|phase| *phase >= Phase::Running).await;
            }
            None => {
                let mut high_watermark = self.high_watermark();
                let _ = high_watermark.wait_for(|end| end.0 > 0).await;
            }
        }
    }

    /// Completes when the node cannot go on, with the reason: its last log directory, or the one
    /// with the metadata, has failed. What was acknowledged is on disk, so the process ends at
    /// once, without a [`shutdown`](Node::shutdown).
    pub async fn failed(&self) -> String {
        let mut fatal = self.shared.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    fn high_watermark(&self) -> watch::Receiver<ottla_types::Offset> {
        match self.shared.quorum.get() {
            Some(quorum) => quorum.high_watermark(),
            None => watch::channel(ottla_types::Offset::ZERO).1,
        }
    }

    /// Stops: says goodbye to the controller, finishes what is answered, flushes, and leaves the
    /// clean mark.
    pub async fn shutdown(self, patience: Duration) {
        let epoch = self.lifecycle.as_ref().and_then(Lifecycle::epoch);
        if let Some(lifecycle) = self.lifecycle {
            let asks = self.shared.config.load().lifecycle.controlled_shutdown;
            lifecycle.shut_down(asks.then_some(patience / 2)).await;
        }
        for task in self.reports {
            task.abort();
        }
        if let Some(http) = self.http {
            http.stop().await;
        }
        // Members that wait for a rebalance would keep their connections busy.
        if let Some(groups) = self.shared.groups.get() {
            groups.close();
        }
        // And so would consumers that wait for data.
        self.shared.stop_waiting();
        let report = self.server.shutdown(patience / 2).await;
        if report.cut > 0 {
            tracing::warn!(connections = report.cut, "connections were cut");
        }
        self.upkeep.stop().await;
        let shared = self.shared.clone();
        let (publisher, quorum, mover) = (self.publisher, self.quorum, self.mover);
        let closed = tokio::task::spawn_blocking(move || {
            mover.stop();
            shared.cleaner.stop();
            shared.scrub.stop();
            publisher.stop();
            if let Some(quorum) = shared.quorum.get() {
                quorum.stop();
            }
            quorum.join();
            shared.replicas.shut_down(&shared, epoch);
        });
        if closed.await.is_err() {
            tracing::error!("the shutdown did not end cleanly");
        }
    }
}

fn check_supported(config: &BrokerConfig) -> Result<(), StartError> {
    let alone = |id: NodeId| id == config.node_id;
    if config.quorum.voters.iter().any(|voter| !alone(voter.id)) {
        return Err(StartError::NotYet(
            "quorums of more than one voter are not supported yet: name only this node in \
             controller.quorum.voters",
        ));
    }
    if !config.roles.controller {
        return Err(StartError::NotYet(
            "a broker without a controller role is not supported yet: set process.roles to \
             broker,controller",
        ));
    }
    Ok(())
}

fn format_if_new(
    config: &BrokerConfig,
    directories: &mut [LogDirectory<FsStorage>],
    clock: Clock,
) -> Result<(), StartError> {
    for directory in directories.iter() {
        if directory.meta().is_some() || !directory.is_empty().map_err(StorageError::from)? {
            return Ok(());
        }
    }
    if !storage::may_format_itself(config) {
        return Ok(());
    }
    let dynamic = config.quorum.voters.is_empty();
    let voters = if dynamic { FirstVoters::Standalone } else { FirstVoters::Static };
    let bootstrap =
        Bootstrap::new(None, &Default::default(), dynamic).map_err(StorageError::from)?;
    let cluster_id = storage::random_uuid().to_string();
    tracing::info!(cluster_id, "formatting empty log directories");
    let options = FormatOptions::new(cluster_id, voters, bootstrap);
    storage::format(config, directories, &options, clock.wall())?;
    Ok(())
}
