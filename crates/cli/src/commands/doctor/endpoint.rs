//! What is behind an address that does not answer as a Kafka broker: who, and of which kind.
//!
//! The probes send a greeting of TLS and one of HTTP to a service that has just failed to be Kafka;
//! neither asks for anything.

use std::net::SocketAddr;
use std::time::Duration;

use ottla_client::HostPort;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Report, Verdict};

/// How long one probe waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Adds what listens at an address, if anything does.
pub(super) async fn examine(address: &HostPort, report: &mut Report) {
    let Some(stream) = connect(address).await else {
        if is_loopback(address) {
            let detail = format!("nothing listens on port {} of this machine", address.port);
            let advice = "`ottla server FILE` starts a node, `ottla dev` a throw-away one; \
                          `listeners` of its configuration says which port is its own.";
            report.advise("port", Verdict::Failed, detail, advice);
        }
        return;
    };
    let local = is_local(&stream);
    drop(stream);
    let (what, advice) = identify(address).await.describe();
    let who = if local { format!("{} ", who_listens(address.port)) } else { String::new() };
    report.advise("port", Verdict::Failed, format!("{address} {what}"), format!("{who}{advice}"));
}

/// A sentence that names the process which listens on a port of this machine.
pub fn who_listens(port: u16) -> String {
    let Ok(Some(holder)) = ottla_sys::port_holder(port) else {
        return format!("Another process has port {port}.");
    };
    match holder.process {
        Some((pid, name)) => format!("Process {pid} ({name}) listens on port {port}."),
        None => format!(
            "A process of user {} listens on port {port}; `ss -ltnp` as that user or root names it.",
            holder.user
        ),
    }
}

/// Whether an address leads to this machine, as far as its own addresses tell.
pub(super) async fn leads_here(address: &HostPort) -> bool {
    connect(address).await.is_some_and(|stream| is_local(&stream))
}

/// A connection to an address of this machine begins at that address.
fn is_local(stream: &TcpStream) -> bool {
    let ip = |address: std::io::Result<SocketAddr>| address.ok().map(|address| address.ip());
    let peer = ip(stream.peer_addr());
    peer.is_some() && ip(stream.local_addr()) == peer
}

fn is_loopback(address: &HostPort) -> bool {
    let ip = address.host.parse::<std::net::IpAddr>();
    address.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

async fn connect(address: &HostPort) -> Option<TcpStream> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    timeout(PATIENCE, connecting).await.ok()?.ok()
}

/// What a service turns out to be.
#[derive(Debug, PartialEq, Eq)]
enum Service {
    Tls,
    Http,
    /// It says something; this is how it begins.
    Other(String),
    /// It closes the connection.
    Closes,
    /// It accepts the connection and says nothing.
    Silent,
}

impl Service {
    fn describe(&self) -> (String, &'static str) {
        match self {
            Self::Tls => (
                "speaks TLS".to_owned(),
                "Name a listener without TLS: these commands do not speak it.",
            ),
            Self::Http => (
                "is an HTTP server, not a Kafka broker".to_owned(),
                "Name the broker's port, or stop that process and start the broker.",
            ),
            Self::Other(begins) => (
                format!("is something else than a Kafka broker; it says {begins:?}"),
                "Name the broker's port, or stop that process and start the broker.",
            ),
            Self::Closes => (
                "accepts connections and closes them".to_owned(),
                "A TLS listener, a limit on connections or a proxy without its broker does that; \
                 the broker's log says more.",
            ),
            Self::Silent => (
                "accepts connections and says nothing".to_owned(),
                "The process hangs or is stopped, or is not a Kafka broker; its log says more.",
            ),
        }
    }
}

/// Finds out what listens there: by its answer to a greeting of TLS, else to one of HTTP.
async fn identify(address: &HostPort) -> Service {
    let first = probe(address, &client_hello()).await;
    match classify(&first) {
        known @ (Service::Tls | Service::Http | Service::Other(_)) => known,
        unknown => {
            let second = probe(address, b"GET / HTTP/1.0\r\n\r\n").await;
            match (classify(&second), unknown) {
                (Service::Closes | Service::Silent, Service::Silent) => Service::Silent,
                (known, _) => known,
            }
        }
    }
}

/// The first bytes of an answer; `None` if there was none in time.
async fn probe(address: &HostPort, greeting: &[u8]) -> Option<Vec<u8>> {
    let mut stream = connect(address).await?;
    let mut answer = vec![0; 64];
    let asking = async {
        // A service that closes at once is known by what is read.
        let _ = stream.write_all(greeting).await;
        stream.read(&mut answer).await.unwrap_or(0)
    };
    let len = timeout(PATIENCE, asking).await.ok()?;
    answer.truncate(len);
    Some(answer)
}

fn classify(answer: &Option<Vec<u8>>) -> Service {
    match answer.as_deref() {
        None => Service::Silent,
        Some([]) => Service::Closes,
        // A record of a handshake or an alert, of any version.
        Some([0x15 | 0x16, 0x03, ..]) => Service::Tls,
        Some(text) if text.starts_with(b"HTTP/") => Service::Http,
        Some(other) => {
            let line = other.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            Service::Other(String::from_utf8_lossy(line).into_owned())
        }
    }
}

/// The shortest greeting that a TLS server answers, if only with an alert (RFC 5246, 7.4.1.2). It
/// is no attempt to connect, so its random part is nought.
fn client_hello() -> Vec<u8> {
    const RANDOM: [u8; 32] = [0; 32];
    let mut hello = vec![0x03, 0x03];
    hello.extend(RANDOM);
    // No session; ECDHE-RSA and RSA with AES-128-GCM; no compression.
    hello.extend([0x00, 0x00, 0x04, 0xc0, 0x2f, 0x00, 0x9c, 0x01, 0x00]);
    let len = u8::try_from(hello.len()).unwrap_or(u8::MAX);
    let mut record = vec![0x16, 0x03, 0x01, 0x00, len + 4, 0x01, 0x00, 0x00, len];
    record.extend(hello);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_by_how_they_answer() {
        for (answer, service) in [
            (None, Service::Silent),
            (Some(&b""[..]), Service::Closes),
            (Some(b"\x15\x03\x03\x00\x02\x02\x28"), Service::Tls),
            (Some(b"\x16\x03\x03\x00\x40"), Service::Tls),
            (Some(b"HTTP/1.1 400 Bad Request\r\n"), Service::Http),
            (Some(b"SSH-2.0-OpenSSH_9.2\r\n"), Service::Other("SSH-2.0-OpenSSH_9.2".to_owned())),
        ] {
            assert_eq!(classify(&answer.map(<[u8]>::to_vec)), service);
        }
    }

    #[test]
    fn the_greeting_of_tls_has_consistent_lengths() {
        let hello = client_hello();
        assert_eq!(hello.len(), 5 + usize::from(hello[4]));
        assert_eq!(hello.len(), 9 + usize::from(hello[8]));
    }
}
