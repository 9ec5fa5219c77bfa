//! Bootstrap addresses: `host:port`, several of them separated by commas.

use std::fmt;
use std::str::FromStr;

/// Host and port of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A text that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address; write host:port, for instance localhost:9092")]
pub struct InvalidAddress {
    /// The text.
    pub text: String,
}

impl HostPort {
    /// An address.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads a comma-separated list; spaces around an address do not matter.
    ///
    /// # Errors
    /// When one of them is no address, or there is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidAddress> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let all = parts.map(str::parse).collect::<Result<Vec<Self>, _>>()?;
        if all.is_empty() {
            return Err(InvalidAddress { text: text.to_owned() });
        }
        Ok(all)
    }
}

impl FromStr for HostPort {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        // A listener may be pasted as it is configured: PLAINTEXT://host:port.
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, port) = match bare.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(invalid)?,
            None => bare.rsplit_once(':').ok_or_else(invalid)?,
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
        let host_is_sane = !host.is_empty() && !host.contains(['/', ' ', '[', ']']);
        let is_bare_ipv6 = host.contains(':') && !bare.starts_with('[');
        if !host_is_sane || is_bare_ipv6 {
            return Err(invalid());
        }
        Ok(Self::new(host, port))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, host, port, shown) in [
            ("localhost:9092", "localhost", 9092, "localhost:9092"),
            ("[::1]:9092", "::1", 9092, "[::1]:9092"),
            ("PLAINTEXT://10.0.0.1:19092", "10.0.0.1", 19092, "10.0.0.1:19092"),
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(parsed, HostPort::new(host, port));
            assert_eq!(parsed.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", "localhost", ":9092", "a b:1", "host:0", "host:70000", "::1:9092", "[::1]"]
        {
            let error = text.parse::<HostPort>().unwrap_err();
            assert_eq!(error.text, text);
        }
        assert_eq!(
            HostPort::parse_list("a:1, b").unwrap_err().to_string(),
            "\"b\" is not an address; write host:port, for instance localhost:9092"
        );
        assert!(HostPort::parse_list(" , ").is_err());
        assert_eq!(HostPort::parse_list("a:1, b:2,").unwrap().len(), 2);
    }
}
