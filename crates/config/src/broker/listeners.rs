//! Listeners: where a node listens, under which addresses it is known, and what is allowed.
//!
//! The rules are Kafka's. Protocols other than PLAINTEXT are read here and refused by the rules
//! of [`crate::rules`] until TLS and SASL exist.

use std::{collections::BTreeMap, net::IpAddr};

use ottla_types::NodeId;

use crate::{
    address::{Listener, SecurityProtocol, Voter, endpoint},
    error::ConfigError,
    reader::Reader,
    value::split_list,
};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It serves clients.
    pub broker: bool,
    /// It is part of the metadata quorum.
    pub controller: bool,
}

impl Roles {
    pub(super) fn read(r: &Reader<'_>) -> Self {
        let roles = r.list("process.roles");
        let has = |role: &str| roles.iter().any(|other| other == role);
        Self { broker: has("broker"), controller: has("controller") }
    }

    /// Whether it does both.
    pub fn is_combined(self) -> bool {
        self.broker && self.controller
    }
}

/// Where a node listens and what it tells others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// All listeners of this node.
    pub all: Vec<Listener>,
    /// Addresses of its broker part for clients and brokers.
    pub advertised: Vec<Listener>,
    /// Addresses of its controller part.
    pub advertised_controller: Vec<Listener>,
    /// Names of controller listeners; brokers use the first to reach controllers.
    pub controller_names: Vec<String>,
    /// Listener that brokers use among themselves.
    pub inter_broker: String,
    /// Security protocol of every known listener name.
    pub protocols: BTreeMap<String, SecurityProtocol>,
}

impl Listeners {
    /// Listeners of the broker part.
    pub fn broker(&self) -> impl Iterator<Item = &Listener> {
        self.all.iter().filter(|listener| !self.is_controller(&listener.name))
    }

    /// Listeners of the controller part.
    pub fn controller(&self) -> impl Iterator<Item = &Listener> {
        self.all.iter().filter(|listener| self.is_controller(&listener.name))
    }

    /// Whether controllers use this listener name.
    pub fn is_controller(&self, name: &str) -> bool {
        self.controller_names.iter().any(|other| other == name)
    }

    pub(super) fn read(r: &mut Reader<'_>, roles: Roles, id: NodeId, voters: &[Voter]) -> Self {
        let controller_names: Vec<String> =
            r.list("controller.listener.names").iter().map(|name| name.to_uppercase()).collect();
        let listed = r.list("listeners");
        let protocols = protocols(r, &controller_names, &listed);
        let all = endpoints(r, "listeners", &listed, &protocols);
        distinct_ports(r, &all);
        let given = r.is_set("advertised.listeners").then(|| {
            let listed = r.list("advertised.listeners");
            endpoints(r, "advertised.listeners", &listed, &protocols)
        });
        let is_controller = |name: &str| controller_names.iter().any(|other| other == name);
        let (controller_given, broker_given) = match &given {
            Some(given) => given.iter().cloned().partition(|l| is_controller(&l.name)),
            None => (Vec::new(), all.iter().filter(|l| !is_controller(&l.name)).cloned().collect()),
        };
        let advertised_controller =
            advertised_controller(&controller_names, &controller_given, &all, id, voters);
        let inter_broker = inter_broker(r, roles, &protocols);
        Self {
            all,
            advertised: broker_given,
            advertised_controller,
            controller_names,
            inter_broker,
            protocols,
        }
    }
}

/// The protocol map; when it is not set, every controller listener is PLAINTEXT unless TLS or
/// SASL is in use.
fn protocols(
    r: &mut Reader<'_>,
    controller_names: &[String],
    listed: &[String],
) -> BTreeMap<String, SecurityProtocol> {
    let name = "listener.security.protocol.map";
    let text = r.text(name).unwrap_or_default();
    let mut map = BTreeMap::new();
    for entry in split_list(&text) {
        let (listener, protocol) = entry.rsplit_once(':').unwrap_or((&entry, ""));
        match SecurityProtocol::parse(protocol.trim()) {
            Some(protocol) => drop(map.insert(listener.trim().to_uppercase(), protocol)),
            None => r.problems.push(ConfigError::rule(format!(
                "Invalid security protocol `{}` defined in {name}",
                protocol.trim()
            ))),
        }
    }
    let secure = |name: &str| {
        let protocol = SecurityProtocol::parse(name);
        protocol.is_some_and(|protocol| protocol != SecurityProtocol::Plaintext)
    };
    let listed_secure = listed.iter().any(|entry| entry.split(':').next().is_some_and(secure));
    if !r.is_set(name) && !listed_secure && !controller_names.iter().any(|name| secure(name)) {
        for name in controller_names {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    map
}

fn endpoints(
    r: &mut Reader<'_>,
    key: &str,
    listed: &[String],
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> Vec<Listener> {
    let mut found: Vec<Listener> = Vec::new();
    for entry in listed {
        let Some((name, host, port)) = endpoint(entry) else {
            let reason = "expected NAME://host:port";
            r.problems.push(ConfigError::value(key, entry, reason));
            continue;
        };
        let name = name.to_uppercase();
        let Some(protocol) = protocols.get(&name).copied() else {
            let reason = format!("No security protocol defined for listener {name}");
            r.problems.push(ConfigError::value(key, entry, reason));
            continue;
        };
        r.require(!found.iter().any(|other| other.name == name), || {
            format!("Each listener must have a different name, {key}: {}", listed.join(","))
        });
        found.push(Listener { name, protocol, host, port });
    }
    found
}

/// Two listeners may share a port only when one is bound to an IPv4 and the other to an IPv6
/// address. Port 0 may repeat.
fn distinct_ports(r: &mut Reader<'_>, all: &[Listener]) {
    for (at, listener) in all.iter().enumerate() {
        let same = |other: &&Listener| other.port == listener.port && other.port != 0;
        let families_differ = |other: &Listener| {
            let ip = |l: &Listener| l.host.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
            match (ip(listener), ip(other)) {
                (Some(one), Some(two)) => one.is_ipv4() != two.is_ipv4(),
                _ => false,
            }
        };
        let clash = all.iter().take(at).filter(same).any(|other| !families_differ(other));
        r.require(!clash, || {
            format!(
                "Each listener must have a different port unless exactly one listener has an \
                 IPv4 address and the other IPv6 address, port: {}",
                listener.port
            )
        });
    }
}

/// Addresses of the controller part: advertised ones, else the listeners themselves; the default
/// listener on a wildcard address takes this node's address in `controller.quorum.voters`.
fn advertised_controller(
    names: &[String],
    given: &[Listener],
    all: &[Listener],
    id: NodeId,
    voters: &[Voter],
) -> Vec<Listener> {
    let mut found = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(listener) = given.iter().find(|listener| listener.name == *name) {
            found.push(listener.clone());
            continue;
        }
        let Some(listener) = all.iter().find(|listener| listener.name == *name) else { continue };
        let mut listener = listener.clone();
        if listener.host.as_deref().is_none_or(|host| host == "0.0.0.0") {
            listener.host = None;
            if let Some(voter) = voters.iter().find(|voter| voter.id == id && at == 0) {
                listener.host = Some(voter.address.host.clone());
                listener.port = voter.address.port;
            }
        }
        found.push(listener);
    }
    found
}

fn inter_broker(
    r: &mut Reader<'_>,
    roles: Roles,
    protocols: &BTreeMap<String, SecurityProtocol>,
) -> String {
    let protocol = r.text("security.inter.broker.protocol").unwrap_or_default();
    let Some(name) = r.text("inter.broker.listener.name") else { return protocol };
    let name = name.to_uppercase();
    r.require(!r.is_set("security.inter.broker.protocol"), || {
        "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set."
            .to_owned()
    });
    r.require(!roles.broker || protocols.contains_key(&name), || {
        format!(
            "Listener with name {name} defined in inter.broker.listener.name not found in \
             listener.security.protocol.map."
        )
    });
    name
}
