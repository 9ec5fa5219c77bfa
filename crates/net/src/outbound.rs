//! One connection to a peer: requests out, responses back in order, matched by correlation id.
//!
//! Several requests may be in flight. Cancelling a call is safe: its answer is read and dropped.
//! What this is not: it encodes nothing, negotiates nothing, and does not reconnect.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::Parts;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::budget::MemoryBudget;
use crate::buffer::BufferPool;
use crate::frame::{FrameReader, Step};
use crate::output::Output;

/// Limits of an outbound connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutboundOptions {
    /// How long connecting may take, over all addresses of the host.
    pub connect_timeout: Duration,
    /// Largest response that is read, in bytes.
    pub response_size_max: usize,
    /// Requests that may wait to be written.
    pub queued_max: usize,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            response_size_max: 256 << 20,
            queued_max: 256,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host name has no address.
    #[error("{host}:{port} cannot be resolved")]
    Unresolved {
        /// Host as asked for.
        host: String,
        /// Port as asked for.
        port: u16,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address of the host accepts connections.
    #[error("{address} refuses the connection")]
    Refused {
        /// The address tried last.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("{host}:{port} did not answer within {} ms", timeout.as_millis())]
    TimedOut {
        /// Host as asked for.
        host: String,
        /// Port as asked for.
        port: u16,
        /// How long was waited.
        timeout: Duration,
    },
}

/// Why a call has no response. After any of these but `Encode` the connection is unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request could not be encoded; nothing was sent.
    #[error("the request cannot be encoded: {0}")]
    Encode(String),
    /// The peer closed the connection, or it was closed after an earlier failure.
    #[error("{peer} closed the connection")]
    Closed {
        /// The peer.
        peer: SocketAddr,
    },
    /// The socket failed.
    #[error("connection to {peer} failed: {message}")]
    Io {
        /// The peer.
        peer: SocketAddr,
        /// What the system said.
        message: String,
    },
    /// The peer sent something that is not Kafka's protocol.
    #[error("{peer} does not speak Kafka's protocol here: {reason}")]
    Protocol {
        /// The peer.
        peer: SocketAddr,
        /// What was wrong.
        reason: String,
    },
    /// No answer came in time. Kafka's clients close the connection then, and so does this one.
    #[error("{peer} did not answer within {} ms", timeout.as_millis())]
    TimedOut {
        /// The peer.
        peer: SocketAddr,
        /// How long was waited.
        timeout: Duration,
    },
}

/// A connection to one peer. Cheap to clone; closed when the last clone is dropped.
#[derive(Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
}

struct Inner {
    peer: SocketAddr,
    correlation: AtomicI32,
    sender: mpsc::Sender<Request>,
    state: Arc<State>,
    tasks: [JoinHandle<()>; 2],
}

/// What the two tasks and the callers share.
#[derive(Debug, Default)]
struct State {
    pending: Mutex<VecDeque<Pending>>,
    closed: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

#[derive(Clone, Debug)]
enum Failure {
    Closed,
    Io(String),
    Protocol(String),
}

#[derive(Debug)]
struct Pending {
    correlation: i32,
    answer: oneshot::Sender<Bytes>,
}

struct Request {
    correlation: i32,
    parts: Parts,
    answer: Option<oneshot::Sender<Bytes>>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("peer", &self.inner.peer).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Outbound {
    /// Connects to the first address of `host` that accepts.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        host: &str,
        port: u16,
        options: &OutboundOptions,
    ) -> Result<Self, ConnectError> {
        let timeout = options.connect_timeout;
        match tokio::time::timeout(timeout, connect_any(host, port)).await {
            Ok(stream) => Ok(Self::from_stream(stream?, options)),
            Err(_) => Err(ConnectError::TimedOut { host: host.to_owned(), port, timeout }),
        }
    }

    /// Takes over a connected stream. Must be called inside a tokio runtime.
    pub fn from_stream(stream: TcpStream, options: &OutboundOptions) -> Self {
        let peer = stream.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        // Small requests must not wait for the answers to earlier ones; without the option they
        // are only slower.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let (sender, receiver) = mpsc::channel(options.queued_max.max(1));
        let state = Arc::new(State::default());
        let tasks = [
            tokio::spawn(write_requests(writer, receiver, Arc::clone(&state))),
            tokio::spawn(read_responses(reader, options.response_size_max, Arc::clone(&state))),
        ];
        let correlation = AtomicI32::new(0);
        Self { inner: Arc::new(Inner { peer, correlation, sender, state, tasks }) }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.inner.peer
    }

    /// Whether the connection is known to be unusable.
    pub fn is_closed(&self) -> bool {
        self.inner.state.closed.load(Relaxed)
    }

    /// Sends a request and waits for its response (header and body). `encode` is given the
    /// correlation id and returns the frame without its size.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<E: fmt::Display>(
        &self,
        timeout: Duration,
        encode: impl FnOnce(i32) -> Result<Parts, E>,
    ) -> Result<Bytes, CallError> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.send(encode, Some(answer)).await?;
            answered.await.map_err(|_| self.failure())
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(done) => done,
            Err(_) => {
                self.close();
                Err(CallError::TimedOut { peer: self.inner.peer, timeout })
            }
        }
    }

    /// Sends a request that has no response (Produce with acks=0).
    ///
    /// # Errors
    /// See [`CallError`]; success only means that the request is on its way.
    pub async fn send_only<E: fmt::Display>(
        &self,
        encode: impl FnOnce(i32) -> Result<Parts, E>,
    ) -> Result<(), CallError> {
        self.send(encode, None).await
    }

    /// Closes the connection; calls that wait fail.
    pub fn close(&self) {
        self.inner.tasks.iter().for_each(JoinHandle::abort);
        self.inner.state.fail(Failure::Closed);
    }

    async fn send<E: fmt::Display>(
        &self,
        encode: impl FnOnce(i32) -> Result<Parts, E>,
        answer: Option<oneshot::Sender<Bytes>>,
    ) -> Result<(), CallError> {
        if self.is_closed() {
            return Err(self.failure());
        }
        // Wraps around at i32::MAX; Kafka's clients keep to non-negative ids and so do we.
        let correlation = self.inner.correlation.fetch_add(1, Relaxed) & i32::MAX;
        let parts = encode(correlation).map_err(|error| CallError::Encode(error.to_string()))?;
        let request = Request { correlation, parts, answer };
        self.inner.sender.send(request).await.map_err(|_| self.failure())
    }

    fn failure(&self) -> CallError {
        let peer = self.inner.peer;
        match self.inner.state.failure.lock().clone() {
            None | Some(Failure::Closed) => CallError::Closed { peer },
            Some(Failure::Io(message)) => CallError::Io { peer, message },
            Some(Failure::Protocol(reason)) => CallError::Protocol { peer, reason },
        }
    }
}

impl State {
    /// Notes the first failure and wakes every call that waits.
    fn fail(&self, failure: Failure) {
        self.failure.lock().get_or_insert(failure);
        self.closed.store(true, Relaxed);
        self.pending.lock().clear();
    }
}

async fn connect_any(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let unresolved = |source| ConnectError::Unresolved { host: host.to_owned(), port, source };
    let host_only = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host_only, port)).await.map_err(unresolved)?;
    let mut last = None;
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(source) => last = Some(ConnectError::Refused { address, source }),
        }
    }
    let none = || unresolved(io::Error::new(io::ErrorKind::NotFound, "no address"));
    Err(last.unwrap_or_else(none))
}

async fn write_requests(
    writer: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Request>,
    state: Arc<State>,
) {
    let mut output = Output::default();
    while let Some(request) = requests.recv().await {
        let mut next = Some(request);
        // What has queued up meanwhile leaves in the same write.
        while let Some(Request { correlation, parts, answer }) = next {
            if let Some(answer) = answer {
                state.pending.lock().push_back(Pending { correlation, answer });
            }
            if let Err(error) = output.push_frame(parts) {
                return state.fail(Failure::Io(error.to_string()));
            }
            next = requests.try_recv().ok();
        }
        let stream: &TcpStream = writer.as_ref();
        let mut written = 0;
        let flushed = std::future::poll_fn(|cx| output.poll_flush(cx, stream, &mut written)).await;
        if let Err(error) = flushed {
            return state.fail(Failure::Io(error.to_string()));
        }
        if state.closed.load(Relaxed) {
            // The reader gave up between our push and now; nobody would answer.
            return state.fail(Failure::Closed);
        }
    }
}

async fn read_responses(mut stream: OwnedReadHalf, size_max: usize, state: Arc<State>) {
    let mut reader = FrameReader::new(Arc::new(BufferPool::default()));
    // One connection's responses are bounded by what was asked for, so the budget never waits.
    let budget = MemoryBudget::new(usize::MAX);
    loop {
        match reader.next(size_max, &budget) {
            Err(error) => return state.fail(Failure::Protocol(error.to_string())),
            Ok(Step::Frame(frame, _)) => {
                if let Err(reason) = deliver(&state, frame) {
                    return state.fail(Failure::Protocol(reason));
                }
            }
            Ok(Step::NeedBudget(bytes)) => reader.grant(budget.clone().acquire(bytes).await),
            Ok(Step::NeedBytes) => {
                let filled =
                    std::future::poll_fn(|cx| reader.poll_fill(cx, &mut stream, &budget)).await;
                match filled {
                    Ok(0) => return state.fail(Failure::Closed),
                    Ok(_) => {}
                    Err(error) => return state.fail(Failure::Io(error.to_string())),
                }
            }
        }
    }
}

/// Kafka answers in request order, so the response belongs to the oldest request.
fn deliver(state: &State, frame: Bytes) -> Result<(), String> {
    let correlation = frame.first_chunk().map(|id| i32::from_be_bytes(*id));
    let Some(correlation) = correlation else {
        return Err("a response without correlation id".to_owned());
    };
    let Some(oldest) = state.pending.lock().pop_front() else {
        return Err(format!("response {correlation} that was not asked for"));
    };
    if oldest.correlation != correlation {
        let expected = oldest.correlation;
        return Err(format!("response {correlation} instead of {expected}"));
    }
    // Whoever asked may have stopped waiting.
    let _ = oldest.answer.send(frame);
    Ok(())
}
