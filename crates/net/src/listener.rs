//! Listeners: binding an address, with an error that says what to do when it fails.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::Poll;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Where and how to listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerOptions {
    /// Name of the listener (`PLAINTEXT`, `CONTROLLER`, ...); connections carry it.
    pub name: String,
    /// Host name or address; empty means every interface.
    pub host: String,
    /// Port; 0 takes any free one.
    pub port: u16,
    /// `socket.listen.backlog.size`: connections that may wait to be accepted.
    pub backlog: u32,
    /// `socket.receive.buffer.bytes`; `None` leaves it to the system (Kafka's -1).
    pub receive_buffer: Option<usize>,
    /// `socket.send.buffer.bytes`; `None` leaves it to the system (Kafka's -1).
    pub send_buffer: Option<usize>,
    /// Listeners of the same number share the limits on connections.
    pub group: u8,
    /// Whether limits that it shares do not hold up its clients: brokers must get through when
    /// other clients have used them up. One of those is closed instead.
    pub protected: bool,
}

impl ListenerOptions {
    /// A listener with Kafka's default buffers.
    pub fn new(name: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            port,
            backlog: 50,
            receive_buffer: Some(100 << 10),
            send_buffer: Some(100 << 10),
            group: 0,
            protected: false,
        }
    }
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The host has no address.
    #[error("listener {listener}: host {host:?} cannot be resolved")]
    Unresolved {
        /// Name of the listener.
        listener: String,
        /// The host as configured.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("listener {listener}: cannot listen on {address}")]
    Refused {
        /// Name of the listener.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A socket that listens but is not served yet.
#[derive(Debug)]
pub struct BoundListener {
    pub(crate) name: Arc<str>,
    socket: TcpListener,
    /// The same port of the other family.
    also: Option<TcpListener>,
    pub(crate) address: SocketAddr,
    pub(crate) options: ListenerOptions,
}

impl BoundListener {
    /// Binds and listens. Clients may connect from here on; they are served once the listener is
    /// given to [`crate::Server::start`]. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the host is unknown or the address cannot be used; the text says what to do.
    pub fn bind(options: ListenerOptions) -> Result<Self, BindError> {
        let address = resolve(&options)?;
        let opened = open(&options, address).and_then(|socket| {
            let address = socket.local_addr()?;
            Ok((socket, address))
        });
        match opened {
            Ok((socket, address)) => {
                let also = other_family(&options, address)?;
                let name = Arc::from(options.name.as_str());
                Ok(Self { name, socket, also, address, options })
            }
            Err(source) => Err(BindError::Refused { listener: options.name, address, source }),
        }
    }

    /// The next connection, of either family.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(also) = &self.also else { return self.socket.accept().await };
        poll_fn(|cx| match self.socket.poll_accept(cx) {
            Poll::Pending => also.poll_accept(cx),
            accepted @ Poll::Ready(_) => accepted,
        })
        .await
    }

    /// Name of the listener.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that is listened on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn resolve(options: &ListenerOptions) -> Result<SocketAddr, BindError> {
    let host = if options.host.is_empty() { "::" } else { options.host.as_str() };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let unresolved = |source| BindError::Unresolved {
        listener: options.name.clone(),
        host: options.host.clone(),
        source,
    };
    let mut found = (host, options.port).to_socket_addrs().map_err(unresolved)?;
    let none = || unresolved(io::Error::new(io::ErrorKind::NotFound, "no address"));
    // A name such as localhost may have both kinds; IPv4 first, which every client tries.
    let all: Vec<SocketAddr> = found.by_ref().collect();
    all.iter().find(|a| a.is_ipv4()).or_else(|| all.first()).copied().ok_or_else(none)
}

/// `localhost` is 127.0.0.1 and ::1, and clients begin with either; librdkafka with the latter. A
/// machine may lack one; that somebody else answers there is an error, unless any port will do.
fn other_family(
    options: &ListenerOptions,
    address: SocketAddr,
) -> Result<Option<TcpListener>, BindError> {
    let by_name = options.host.eq_ignore_ascii_case("localhost");
    let other = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
    if !by_name || address.is_ipv6() {
        return Ok(None);
    }
    let opened =
        new_socket(options, other, false).and_then(|socket| TcpListener::from_std(socket.into()));
    match opened {
        Err(source) if source.kind() == io::ErrorKind::AddrInUse && options.port != 0 => {
            let listener = options.name.clone();
            Err(BindError::Refused { listener, address: other, source })
        }
        opened => Ok(opened.ok()),
    }
}

fn open(options: &ListenerOptions, address: SocketAddr) -> io::Result<TcpListener> {
    let wildcard = options.host.is_empty();
    let socket = match new_socket(options, address, wildcard) {
        // A machine without IPv6 still has every interface of IPv4.
        Err(_) if wildcard => {
            let any = SocketAddr::from(([0, 0, 0, 0], options.port));
            new_socket(options, any, false)?
        }
        opened => opened?,
    };
    TcpListener::from_std(socket.into())
}

fn new_socket(
    options: &ListenerOptions,
    address: SocketAddr,
    both_families: bool,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if both_families {
        socket.set_only_v6(false)?;
    }
    // A restarted broker must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    // The receive buffer is inherited by accepted sockets, and only in time for the TCP window
    // scale if it is set before listening.
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Sets the options of an accepted socket.
pub(crate) fn tune(stream: &TcpStream, options: &ListenerOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_keepalive(true)?;
    match options.send_buffer {
        Some(bytes) => socket.set_send_buffer_size(bytes),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_backlog_has_room_for_many_who_come_at_once() {
        let mut options = ListenerOptions::new("A", "127.0.0.1", 0);
        options.backlog = 300;
        let listener = BoundListener::bind(options).unwrap();
        // Nobody accepts; who finds no room hears nothing for a second.
        let moment = std::time::Duration::from_millis(900);
        let connect = |_| std::net::TcpStream::connect_timeout(&listener.address(), moment);
        let waiting: Result<Vec<_>, _> = (0..300).map(connect).collect();
        assert_eq!(waiting.unwrap().len(), 300);
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named_with_its_cause() {
        let first = BoundListener::bind(ListenerOptions::new("A", "127.0.0.1", 0)).unwrap();
        let port = first.address().port();
        for (host, port, kind) in [
            ("127.0.0.1", port, io::ErrorKind::AddrInUse),
            ("192.0.2.1", 0, io::ErrorKind::AddrNotAvailable),
        ] {
            let error = BoundListener::bind(ListenerOptions::new("B", host, port)).unwrap_err();
            let text = format!("listener B: cannot listen on {host}:{port}");
            assert_eq!(error.to_string(), text);
            let BindError::Refused { source, .. } = error else { panic!("{error}") };
            assert_eq!(source.kind(), kind, "{text}");
        }
    }

    #[tokio::test]
    async fn localhost_is_refused_if_somebody_else_has_its_other_address() {
        let Ok(other) = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let taken = other.local_addr().unwrap();
        let bind = |port| BoundListener::bind(ListenerOptions::new("A", "localhost", port));
        let error = bind(taken.port()).unwrap_err();
        assert_eq!(error.to_string(), format!("listener A: cannot listen on {taken}"));
        assert!(bind(0).is_ok());
    }

    #[tokio::test]
    async fn an_unknown_host_is_named() {
        let error = BoundListener::bind(ListenerOptions::new("A", "no such host", 1)).unwrap_err();
        assert!(error.to_string().contains("\"no such host\" cannot be resolved"), "{error}");
    }
}
