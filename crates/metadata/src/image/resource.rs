//! Names of what has configs, and of what has client quotas.

use std::collections::BTreeMap;
use std::fmt;

/// Kind of a config resource; the discriminant is the code in records and requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConfigKind {
    /// A topic.
    Topic = 2,
    /// A broker, or every broker when the name is empty.
    Broker = 4,
    /// Log levels of a broker; never stored.
    BrokerLogger = 8,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics = 16,
    /// A group (KIP-848).
    Group = 32,
}

impl ConfigKind {
    /// The kind with this code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// Code in records and requests.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// Name as Kafka's messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "TOPIC",
            Self::Broker => "BROKER",
            Self::BrokerLogger => "BROKER_LOGGER",
            Self::ClientMetrics => "CLIENT_METRICS",
            Self::Group => "GROUP",
        }
    }
}

/// What a config belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Kind.
    pub kind: ConfigKind,
    /// Topic name, broker id in decimal, group or subscription name; empty for every broker.
    pub name: String,
}

impl ConfigResource {
    /// Any resource.
    pub fn new(kind: ConfigKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(ConfigKind::Topic, name)
    }

    /// A broker.
    pub fn broker(id: ottla_types::NodeId) -> Self {
        Self::new(ConfigKind::Broker, id.to_string())
    }

    /// The dynamic default of all brokers.
    pub fn every_broker() -> Self {
        Self::new(ConfigKind::Broker, "")
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.name)
    }
}

/// What a client quota applies to: entity type (`user`, `client-id`, `ip`) to name; no name is the
/// default of that type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaEntity(pub BTreeMap<String, Option<String>>);

impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientQuotaEntity(entries={")?;
        for (at, (kind, name)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{kind}={}", name.as_deref().unwrap_or("null"))?;
        }
        f.write_str("})")
    }
}
