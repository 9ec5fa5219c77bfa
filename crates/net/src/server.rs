//! The server: accepts on its listeners within the connection limits, runs one task for each
//! connection, and drains them when it stops.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::budget::MemoryBudget;
use crate::buffer::BufferPool;
use crate::connection::{Connection, Limits, Shared};
use crate::listener::{BoundListener, tune};
use crate::service::{ConnectionContext, Service};
use crate::stats::NetStats;

/// Limits of a server. The defaults are Kafka's where a client can notice them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// `socket.request.max.bytes`: largest frame.
    pub frame_size_max: usize,
    /// Requests of one connection that may be in flight; further ones are not read.
    pub in_flight_max: usize,
    /// `max.connections`: further ones wait in the backlog.
    pub connections_max: usize,
    /// `max.connections.per.ip`: further ones are closed at once.
    pub connections_per_ip_max: usize,
    /// `max.connections.per.ip.overrides`.
    pub connections_per_ip_overrides: HashMap<IpAddr, usize>,
    /// `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// How long a frame that has begun and holds memory may make no progress.
    pub stall_max: Duration,
    /// Memory for requests of all connections; may be shared by several servers.
    pub budget: MemoryBudget,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            frame_size_max: 104_857_600,
            in_flight_max: 64,
            connections_max: usize::MAX,
            connections_per_ip_max: usize::MAX,
            connections_per_ip_overrides: HashMap::new(),
            idle_max: Duration::from_secs(600),
            stall_max: Duration::from_secs(30),
            budget: MemoryBudget::new(512 << 20),
        }
    }
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were cut because they were not done at the deadline.
    pub cut: usize,
}

/// A running server. Dropping it cuts its connections; [`Server::shutdown`] drains them.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(Arc<str>, SocketAddr)>,
    stats: Arc<NetStats>,
    budget: MemoryBudget,
    draining: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
    open: Arc<OpenConnections>,
}

impl Server {
    /// Serves `listeners`. Must be called inside a tokio runtime.
    pub fn start<S: Service>(
        listeners: Vec<BoundListener>,
        service: Arc<S>,
        options: ServerOptions,
    ) -> Self {
        let stats = Arc::new(NetStats::default());
        let (draining, drained) = watch::channel(false);
        let open = Arc::new(OpenConnections::default());
        let budget = options.budget.clone();
        let addresses = listeners.iter().map(|l| (Arc::clone(&l.name), l.address)).collect();
        let shared = Arc::new(Shared {
            service,
            budget: options.budget.clone(),
            pool: Arc::new(BufferPool::default()),
            stats: Arc::clone(&stats),
            limits: Limits {
                frame_size_max: options.frame_size_max,
                in_flight_max: options.in_flight_max.max(1),
                idle_max: options.idle_max,
                stall_max: options.stall_max,
            },
        });
        let options = Arc::new(options);
        let ids = Arc::new(AtomicU64::new(0));
        let acceptors = listeners.into_iter().enumerate().map(|(index, listener)| {
            let acceptor = Acceptor {
                listener,
                index,
                shared: Arc::clone(&shared),
                options: Arc::clone(&options),
                open: Arc::clone(&open),
                ids: Arc::clone(&ids),
                drained: drained.clone(),
            };
            tokio::spawn(acceptor.run())
        });
        let acceptors = acceptors.collect();
        Self { addresses, stats, budget, draining, acceptors, open }
    }

    /// Names of the listeners and the addresses that are listened on.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Counters of all connections.
    pub fn stats(&self) -> &Arc<NetStats> {
        &self.stats
    }

    /// The memory budget of the requests.
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Stops accepting and reading, lets requests in flight finish and their answers leave, and
    /// cuts what is not done after `patience`.
    pub async fn shutdown(mut self, patience: Duration) -> DrainReport {
        self.draining.send_replace(true);
        for acceptor in std::mem::take(&mut self.acceptors) {
            acceptor.abort();
            // A listening socket is closed when its task is gone, and the port is free then.
            let _ = acceptor.await;
        }
        let _ = tokio::time::timeout(patience, self.open.none_left()).await;
        DrainReport { cut: self.open.cut_all() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        self.open.cut_all();
    }
}

/// Tasks of open connections, by connection id, and how many each address has.
#[derive(Debug, Default)]
struct OpenConnections {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    tasks: HashMap<u64, Option<JoinHandle<()>>>,
    per_ip: HashMap<IpAddr, usize>,
}

impl OpenConnections {
    fn count(&self) -> usize {
        self.table.lock().tasks.len()
    }

    /// Counts a connection in, unless its address has its share already.
    fn admit(self: &Arc<Self>, id: u64, ip: IpAddr, per_ip_max: usize) -> Option<Admission> {
        let mut table = self.table.lock();
        let of_ip = table.per_ip.entry(ip).or_insert(0);
        if per_ip_max <= *of_ip {
            return None;
        }
        *of_ip += 1;
        table.tasks.insert(id, None);
        Some(Admission { open: Arc::clone(self), id, ip })
    }

    fn attach(&self, id: u64, task: JoinHandle<()>) {
        // A task that has ended already has taken its entry out.
        if let Some(entry) = self.table.lock().tasks.get_mut(&id) {
            *entry = Some(task);
        }
    }

    async fn none_left(&self) {
        self.wait_until(|count| count == 0).await;
    }

    async fn wait_until(&self, enough: impl Fn(usize) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if enough(self.count()) {
                return;
            }
            changed.await;
        }
    }

    fn cut_all(&self) -> usize {
        let tasks: Vec<_> = self.table.lock().tasks.values_mut().filter_map(Option::take).collect();
        tasks.iter().for_each(JoinHandle::abort);
        tasks.len()
    }
}

/// A place among the open connections; dropping gives it back.
struct Admission {
    open: Arc<OpenConnections>,
    id: u64,
    ip: IpAddr,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut table = self.open.table.lock();
        table.tasks.remove(&self.id);
        if let Some(count) = table.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                table.per_ip.remove(&self.ip);
            }
        }
        drop(table);
        self.open.changed.notify_waiters();
    }
}

struct Acceptor<S: Service> {
    listener: BoundListener,
    index: usize,
    shared: Arc<Shared<S>>,
    options: Arc<ServerOptions>,
    open: Arc<OpenConnections>,
    ids: Arc<AtomicU64>,
    drained: watch::Receiver<bool>,
}

impl<S: Service> Acceptor<S> {
    async fn run(self) {
        loop {
            if !self.listener.options.exempt_from_limits {
                let max = self.options.connections_max;
                self.open.wait_until(|count| count < max).await;
            }
            match self.listener.socket.accept().await {
                Ok((stream, peer)) => self.accepted(stream, peer),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: closing connections will help, spinning not.
                    let listener = &self.listener.name;
                    tracing::error!(%listener, %error, "cannot accept; trying again in a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        let overrides = &self.options.connections_per_ip_overrides;
        let per_ip_max = overrides.get(&ip).unwrap_or(&self.options.connections_per_ip_max);
        let id = self.ids.fetch_add(1, Relaxed);
        let Some(admission) = self.open.admit(id, ip, *per_ip_max) else {
            NetStats::add(&self.shared.stats.refused, 1);
            tracing::debug!(listener = %self.listener.name, %peer, "refused: max.connections.per.ip");
            return;
        };
        let tuned = tune(&stream, &self.listener.options).and_then(|()| stream.local_addr());
        let Ok(local) = tuned else { return };
        let context = Arc::new(ConnectionContext {
            id,
            listener: Arc::clone(&self.listener.name),
            listener_index: self.index,
            local,
            peer,
        });
        NetStats::add(&self.shared.stats.accepted, 1);
        let shared = Arc::clone(&self.shared);
        let mut drained = self.drained.clone();
        let drain = Box::pin(async move {
            let _ = drained.wait_for(|draining| *draining).await;
        });
        let task = tokio::spawn(async move {
            // Counted out when the task ends, also when it is aborted or panics.
            let _admission = admission;
            let _closed = CountClosed(Arc::clone(&shared.stats));
            Connection::new(shared, context, stream, drain).run().await;
        });
        self.open.attach(id, task);
    }
}

struct CountClosed(Arc<NetStats>);

impl Drop for CountClosed {
    fn drop(&mut self) {
        NetStats::add(&self.0.closed, 1);
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Pause after an error of the listening socket itself (Kafka's acceptor retries at once).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
