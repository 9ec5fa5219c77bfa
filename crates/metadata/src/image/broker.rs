//! Brokers and controllers as they registered.
//!
//! What is here is what the log says; whether a broker's session is alive only the active
//! controller knows.

use std::collections::BTreeMap;

use ottla_types::{BrokerEpoch, DirectoryId, IncarnationId, NodeId};

use super::error::ApplyError;
use crate::features::{MetadataVersion, VersionRange};
use crate::generated::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord,
    register_broker_record, register_controller_record,
};
use crate::record::Record;

/// How a listener's connections are protected; the discriminant is the code in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext = 0,
    /// TLS.
    Ssl = 1,
    /// Authenticated by SASL, not encrypted.
    SaslPlaintext = 2,
    /// Authenticated by SASL over TLS.
    SaslSsl = 3,
}

impl SecurityProtocol {
    /// The protocol with this code.
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Plaintext),
            1 => Some(Self::Ssl),
            2 => Some(Self::SaslPlaintext),
            3 => Some(Self::SaslSsl),
            _ => None,
        }
    }

    /// Code in records and requests.
    pub fn code(self) -> i16 {
        self as i16
    }
}

/// Where a node listens under one listener name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, such as `PLAINTEXT`.
    pub name: String,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
    /// Protection of its connections.
    pub protocol: SecurityProtocol,
}

impl Endpoint {
    /// An endpoint as a record names it; `None` if there is no such security protocol.
    fn read(name: &str, host: &str, port: u16, protocol: i16) -> Option<Self> {
        let protocol = SecurityProtocol::from_code(protocol)?;
        Some(Self { name: name.to_owned(), host: host.to_owned(), port, protocol })
    }
}

/// A registered broker. Source: Kafka's `BrokerRegistration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Node id.
    pub id: NodeId,
    /// First offset of the controller operation that registered this incarnation.
    pub epoch: BrokerEpoch,
    /// The process; another one after every start.
    pub incarnation: IncarnationId,
    /// Listeners by name order of registration.
    pub listeners: Vec<Endpoint>,
    /// Feature levels that it supports, by name.
    pub features: BTreeMap<String, VersionRange>,
    /// Rack, if it named one.
    pub rack: Option<String>,
    /// Whether it may lead and be in sync.
    pub fenced: bool,
    /// Whether it is leaving; it gets no new leaderships and joins no ISR.
    pub in_controlled_shutdown: bool,
    /// Whether it came from ZooKeeper mode; only in old logs.
    pub migrating_zk: bool,
    /// Log directories that are online, sorted; empty before directories were assigned.
    pub directories: Vec<DirectoryId>,
    /// Directories that get no new replicas; `None` when it never said (before 4.3).
    pub cordoned: Option<Vec<DirectoryId>>,
}

impl BrokerRegistration {
    /// Reads a record.
    pub fn from_record(record: &RegisterBrokerRecord) -> Result<Self, ApplyError> {
        let bad = |field| ApplyError::BadField { record: "RegisterBroker", field };
        let listeners = record.end_points.iter().map(|point| {
            Endpoint::read(&point.name, &point.host, point.port, point.security_protocol)
                .ok_or_else(|| bad("SecurityProtocol"))
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let features = record.features.iter().map(|feature| {
            let (min, max) = (feature.min_supported_version, feature.max_supported_version);
            (feature.name.to_string(), VersionRange { min, max })
        });
        let mut directories = directory_ids(&record.log_dirs);
        directories.sort_unstable();
        Ok(Self {
            id: NodeId::from_wire(record.broker_id).ok_or_else(|| bad("BrokerId"))?,
            epoch: BrokerEpoch::from_wire(record.broker_epoch).ok_or_else(|| bad("BrokerEpoch"))?,
            incarnation: IncarnationId(record.incarnation_id),
            listeners,
            features: features.collect(),
            rack: record.rack.as_ref().map(ToString::to_string),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            migrating_zk: record.is_migrating_zk_broker,
            directories,
            cordoned: record.cordoned_log_dirs.as_deref().map(directory_ids),
        })
    }

    /// Writes the record that a snapshot holds; what the metadata version cannot carry is lost.
    pub fn to_record(&self, version: MetadataVersion) -> Record {
        let with_directories = version.directories();
        let with_cordoned = version.cordoned_directories();
        let record = RegisterBrokerRecord {
            broker_id: self.id.to_wire(),
            is_migrating_zk_broker: self.migrating_zk,
            incarnation_id: self.incarnation.0,
            broker_epoch: self.epoch.to_wire(),
            end_points: self
                .listeners
                .iter()
                .map(|point| register_broker_record::BrokerEndpoint {
                    name: point.name.as_str().into(),
                    host: point.host.as_str().into(),
                    port: point.port,
                    security_protocol: point.protocol.code(),
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| register_broker_record::BrokerFeature {
                    name: name.as_str().into(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
            rack: self.rack.as_deref().map(Into::into),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: if with_directories {
                self.directories.iter().map(|dir| dir.0).collect()
            } else {
                Vec::new()
            },
            cordoned_log_dirs: self
                .cordoned
                .as_ref()
                .filter(|_| with_cordoned)
                .map(|dirs| dirs.iter().map(|dir| dir.0).collect()),
        };
        Record::versioned(record, version.register_broker_record())
    }

    /// The endpoint under a listener name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|point| point.name == listener)
    }

    /// Whether a replica there can be served: unassigned directories count as online, lost ones
    /// do not (KIP-858).
    pub fn has_online_dir(&self, dir: DirectoryId) -> bool {
        match dir {
            DirectoryId::UNASSIGNED | DirectoryId::MIGRATING => true,
            DirectoryId::LOST => false,
            dir => self.directories.is_empty() || self.directories.binary_search(&dir).is_ok(),
        }
    }

    /// Whether it may get new replicas (KIP-1066).
    pub fn has_uncordoned_dirs(&self) -> bool {
        let Some(cordoned) = &self.cordoned else { return true };
        self.directories.is_empty() || self.directories.iter().any(|dir| !cordoned.contains(dir))
    }

    /// The directory that a new replica gets before the broker has said where it put it.
    pub fn default_dir(&self) -> DirectoryId {
        match self.directories.as_slice() {
            [] => DirectoryId::MIGRATING,
            [only] => *only,
            _ => DirectoryId::UNASSIGNED,
        }
    }

    /// Whether it may lead and be in sync.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub(super) fn changed(
        &self,
        record: &BrokerRegistrationChangeRecord,
    ) -> Result<Self, ApplyError> {
        let bad = |field| ApplyError::BadField { record: "BrokerRegistrationChange", field };
        let mut next = self.clone();
        match record.fenced {
            1 => next.fenced = true,
            -1 => next.fenced = false,
            0 => {}
            _ => return Err(bad("Fenced")),
        }
        match record.in_controlled_shutdown {
            1 => next.in_controlled_shutdown = true,
            0 => {}
            _ => return Err(bad("InControlledShutdown")),
        }
        if !record.log_dirs.is_empty() {
            next.directories = directory_ids(&record.log_dirs);
            next.directories.sort_unstable();
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            next.cordoned = Some(directory_ids(cordoned));
        }
        Ok(next)
    }
}

/// A registered controller (KIP-919). Source: Kafka's `ControllerRegistration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRegistration {
    /// Node id.
    pub id: NodeId,
    /// The process; another one after every start.
    pub incarnation: IncarnationId,
    /// Whether it was ready to migrate from ZooKeeper; only in old logs.
    pub zk_migration_ready: bool,
    /// Listeners in the order of registration.
    pub listeners: Vec<Endpoint>,
    /// Feature levels that it supports, by name.
    pub features: BTreeMap<String, VersionRange>,
}

impl ControllerRegistration {
    /// Reads a record.
    pub fn from_record(record: &RegisterControllerRecord) -> Result<Self, ApplyError> {
        let bad = |field| ApplyError::BadField { record: "RegisterController", field };
        let listeners = record.end_points.iter().map(|point| {
            Endpoint::read(&point.name, &point.host, point.port, point.security_protocol)
                .ok_or_else(|| bad("SecurityProtocol"))
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let features = record.features.iter().map(|feature| {
            let (min, max) = (feature.min_supported_version, feature.max_supported_version);
            (feature.name.to_string(), VersionRange { min, max })
        });
        Ok(Self {
            id: NodeId::from_wire(record.controller_id).ok_or_else(|| bad("ControllerId"))?,
            incarnation: IncarnationId(record.incarnation_id),
            zk_migration_ready: record.zk_migration_ready,
            listeners,
            features: features.collect(),
        })
    }

    /// Writes the record.
    pub fn to_record(&self) -> Record {
        Record::new(RegisterControllerRecord {
            controller_id: self.id.to_wire(),
            incarnation_id: self.incarnation.0,
            zk_migration_ready: self.zk_migration_ready,
            end_points: self
                .listeners
                .iter()
                .map(|point| register_controller_record::ControllerEndpoint {
                    name: point.name.as_str().into(),
                    host: point.host.as_str().into(),
                    port: point.port,
                    security_protocol: point.protocol.code(),
                })
                .collect(),
            features: self
                .features
                .iter()
                .map(|(name, range)| register_controller_record::ControllerFeature {
                    name: name.as_str().into(),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
        })
    }
}

fn directory_ids(raw: &[ottla_types::Uuid]) -> Vec<DirectoryId> {
    raw.iter().copied().map(DirectoryId).collect()
}
