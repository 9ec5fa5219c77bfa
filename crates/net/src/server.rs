//! The server: accepts on its listeners within the connection limits, runs one task for each
//! connection, and drains them when it stops.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::budget::MemoryBudget;
use crate::buffer::BufferPool;
use crate::connection::{Activity, Connection, Limits, Shared};
use crate::listener::{BoundListener, tune};
use crate::quota::{ConnectionLimits, Entry, Gate, Quota};
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
    /// Limits on connections at the start.
    pub connections: ConnectionLimits,
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
            connections: ConnectionLimits::default(),
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
        let gates = listeners.iter().map(|listener| Gate {
            name: listener.options.name.clone(),
            group: listener.options.group,
            protected: listener.options.protected,
        });
        let open = Arc::new(OpenConnections::new(options.connections, gates.collect()));
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
        let ids = Arc::new(AtomicU64::new(0));
        let acceptors = listeners.into_iter().enumerate().map(|(index, listener)| {
            let acceptor = Acceptor {
                listener,
                index,
                shared: Arc::clone(&shared),
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

    /// Changes the limits on connections.
    pub fn limits(&self) -> LimitsHandle {
        LimitsHandle(Arc::clone(&self.open))
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

/// Changes the limits of a running server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LimitsHandle(Arc<OpenConnections>);

impl LimitsHandle {
    /// From now on these limits hold. Connections beyond a smaller `total_max` are closed, those
    /// that were quiet the longest first, as in Kafka.
    pub fn set(&self, limits: ConnectionLimits) {
        let mut table = self.0.table.lock();
        table.quota.set_limits(limits);
        for (group, excess) in table.quota.excess() {
            table.close_quiet(group, excess);
        }
        drop(table);
        self.0.changed.notify_waiters();
    }
}

/// Open connections and their limits.
#[derive(Debug)]
struct OpenConnections {
    table: Mutex<Table>,
    changed: Notify,
    /// Where the times of the quota count from.
    began: Instant,
}

#[derive(Debug)]
struct Table {
    quota: Quota,
    open: HashMap<u64, Open>,
}

/// One open connection.
#[derive(Debug)]
struct Open {
    task: Option<JoinHandle<()>>,
    activity: Arc<Activity>,
}

impl Table {
    /// Closes connections of the group, those that were quiet the longest first.
    fn close_quiet(&mut self, group: u8, count: usize) {
        let started = self.open.iter().filter(|(_, open)| open.task.is_some());
        let mut all: Vec<_> = started.map(|(id, open)| (open.activity.last(), *id)).collect();
        all.retain(|(_, id)| self.quota.may_go(*id, group));
        all.sort_unstable();
        for (_, id) in all.into_iter().take(count) {
            // Counted out here: its task may take a moment to end.
            self.quota.leave(id);
            if let Some(task) = self.open.get(&id).and_then(|open| open.task.as_ref()) {
                tracing::debug!(connection = id, "closed for others: max.connections");
                task.abort();
            }
        }
    }
}

impl OpenConnections {
    fn new(limits: ConnectionLimits, gates: Vec<Gate>) -> Self {
        let table = Table { quota: Quota::new(limits, gates), open: HashMap::new() };
        Self { table: Mutex::new(table), changed: Notify::new(), began: Instant::now() }
    }

    /// Counts a connection in once there is a place for it; not at all, if its address has its
    /// share already.
    async fn admit(
        self: &Arc<Self>,
        id: u64,
        gate: usize,
        group: u8,
        ip: IpAddr,
    ) -> Option<Admission> {
        let pause = self.table.lock().quota.arrived(gate, self.began.elapsed());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut table = self.table.lock();
                match table.quota.enter(id, gate, ip) {
                    Entry::Refused => return None,
                    Entry::Full => {}
                    Entry::Open { excess } => {
                        table.close_quiet(group, excess);
                        let activity = Arc::new(Activity::new(self.began));
                        let open = Open { task: None, activity: Arc::clone(&activity) };
                        table.open.insert(id, open);
                        return Some(Admission { open: Arc::clone(self), id, activity });
                    }
                }
            }
            changed.await;
        }
    }

    fn attach(&self, id: u64, task: JoinHandle<()>) {
        // A task that has ended already has taken its entry out.
        if let Some(open) = self.table.lock().open.get_mut(&id) {
            open.task = Some(task);
        }
    }

    async fn none_left(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.table.lock().open.is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn cut_all(&self) -> usize {
        let mut table = self.table.lock();
        let tasks: Vec<_> = table.open.values_mut().filter_map(|open| open.task.take()).collect();
        drop(table);
        tasks.iter().for_each(JoinHandle::abort);
        tasks.len()
    }
}

/// A place among the open connections; dropping gives it back.
struct Admission {
    open: Arc<OpenConnections>,
    id: u64,
    activity: Arc<Activity>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut table = self.open.table.lock();
        let gone = table.open.remove(&self.id);
        table.quota.leave(self.id);
        drop(table);
        drop(gone);
        self.open.changed.notify_waiters();
    }
}

struct Acceptor<S: Service> {
    listener: BoundListener,
    index: usize,
    shared: Arc<Shared<S>>,
    open: Arc<OpenConnections>,
    ids: Arc<AtomicU64>,
    drained: watch::Receiver<bool>,
}

impl<S: Service> Acceptor<S> {
    async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => self.accepted(stream, peer).await,
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

    /// Serves a connection once the limits let it in. As in Kafka the next ones of this listener
    /// wait behind it, in the backlog.
    async fn accepted(&self, stream: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        let id = self.ids.fetch_add(1, Relaxed);
        let group = self.listener.options.group;
        let Some(admission) = self.open.admit(id, self.index, group, ip).await else {
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
        let activity = Arc::clone(&admission.activity);
        let task = tokio::spawn(async move {
            // Counted out when the task ends, also when it is aborted or panics.
            let _admission = admission;
            let _closed = CountClosed(Arc::clone(&shared.stats));
            Connection::new(shared, context, stream, activity, drain).run().await;
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
