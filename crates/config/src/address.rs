//! Addresses in values: `host:port`, `id@host:port`, `NAME://host:port`.
//!
//! Names are not resolved here.

use std::fmt;

use ottla_types::NodeId;

use crate::error::ConfigError;

/// A host name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A member of a fixed quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its node id.
    pub id: NodeId,
    /// Where its controller listener is.
    pub address: HostPort,
}

/// Security protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    /// Neither encryption nor authentication.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without encryption.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// All of them, in the order of their wire ids.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Number in broker registrations.
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// Reads Kafka's name of it, in upper or lower case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// A listener, or the address under which it is advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in upper case.
    pub name: String,
    /// Its security protocol.
    pub protocol: SecurityProtocol,
    /// Host to bind or to advertise; `None` is every interface.
    pub host: Option<String>,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("");
        if host.contains(':') {
            write!(f, "{}://[{host}]:{}", self.name, self.port)
        } else {
            write!(f, "{}://{host}:{}", self.name, self.port)
        }
    }
}

/// Reads `host:port` or `[v6]:port`; `None` when it is neither.
pub fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => host,
    };
    if host.is_empty() || !host.chars().all(is_host_char) {
        return None;
    }
    Some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
}

/// Parts of `NAME://host:port`: name, host if any, port.
pub(crate) fn endpoint(text: &str) -> Option<(&str, Option<String>, u16)> {
    let (name, address) = text.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    if name.is_empty() || !host.chars().all(is_host_char) {
        return None;
    }
    let host = (!host.is_empty()).then(|| host.to_owned());
    Some((name, host, port.parse().ok()?))
}

/// Reads `controller.quorum.voters`.
pub(crate) fn voters(entries: &[String]) -> Result<Vec<Voter>, ConfigError> {
    let name = "controller.quorum.voters";
    let form = "Each entry should be in the form `{id}@{host}:{port}`.";
    let mut voters: Vec<Voter> = Vec::with_capacity(entries.len());
    for entry in entries {
        let voter = entry.split_once('@').and_then(|(id, address)| {
            let id = NodeId::from_wire(id.parse().ok()?)?;
            Some(Voter { id, address: host_port(address)? })
        });
        match voter {
            Some(voter) if voters.iter().any(|other| other.id == voter.id) => {
                let reason = format!("node id {} appears twice", voter.id);
                return Err(ConfigError::value(name, entry, reason));
            }
            Some(voter) => voters.push(voter),
            None => return Err(ConfigError::value(name, entry, form)),
        }
    }
    Ok(voters)
}

/// Reads a list of `host:port`.
pub(crate) fn bootstrap_servers(
    name: &str,
    entries: &[String],
) -> Result<Vec<HostPort>, ConfigError> {
    let form = "Each entry should be in the form \"{host}:{port}\"";
    let read =
        |entry: &String| host_port(entry).ok_or_else(|| ConfigError::value(name, entry, form));
    entries.iter().map(read).collect()
}

fn is_host_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '%' | '.' | '_' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_kafka_reads_them() {
        let got: Vec<String> =
            ["localhost:9092", "[::1]:9092", "::1:9092", "a:b", ":1", "h:70000", "ho st:1", "h"]
                .iter()
                .map(|text| {
                    host_port(text).map_or_else(|| "-".to_owned(), |address| address.to_string())
                })
                .collect();
        assert_eq!(got, ["localhost:9092", "[::1]:9092", "[::1]:9092", "-", "-", "-", "-", "-"]);
    }

    #[test]
    fn endpoints_may_leave_the_host_out() {
        assert_eq!(endpoint("A://:1"), Some(("A", None, 1)));
        assert_eq!(endpoint("A://[::]:1"), Some(("A", Some("::".to_owned()), 1)));
        assert_eq!(endpoint("://h:1"), None);
        assert_eq!(endpoint("A:h:1"), None);
    }

    #[test]
    fn voters_have_an_id_a_host_and_a_port() {
        let entries = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(voters(&entries("1@a:1,2@b:2")).unwrap().len(), 2);
        for wrong in ["1@a:1,1@b:1", "x@a:1", "1@a", "-1@a:1"] {
            assert!(voters(&entries(wrong)).is_err(), "{wrong}");
        }
    }
}
