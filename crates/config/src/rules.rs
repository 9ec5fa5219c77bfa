//! Rules between keys.
//!
//! They are those of Kafka's `KafkaConfig` and `GroupCoordinatorConfig`, in its order and words,
//! followed by our own: no protection that is asked for may be missing.

use crate::{
    address::SecurityProtocol, broker::BrokerConfig, key::Status, reader::Reader, table,
    value::Value,
};

/// Notes every broken rule in the reader.
pub(crate) fn check(config: &BrokerConfig, r: &mut Reader<'_>) {
    identity(r);
    logs(r);
    replication(r);
    if config.roles.broker || config.roles.controller {
        quorum(config, r);
    }
    if config.roles.broker {
        advertised(config, r);
    }
    no_wildcards(config, r);
    network(r);
    for (kind, keys) in GROUP_BOUNDS {
        group_bounds(kind, keys, r);
    }
    groups(r);
    security(config, r);
}

fn identity(r: &mut Reader<'_>) {
    let same = r.number("node.id") == r.number("broker.id");
    // That node.id is missing has been said.
    r.require(same || !r.is_set("node.id"), || {
        "You must set `node.id` to the same value as `broker.id`.".to_owned()
    });
}

fn logs(r: &mut Reader<'_>) {
    let hour = 3_600_000;
    let roll = r.number_or_null("log.roll.ms").unwrap_or_else(|| r.number("log.roll.hours") * hour);
    r.require(1 <= roll, || "log.roll.ms must be greater than or equal to 1".to_owned());
    let jitter = r.number_or_null("log.roll.jitter.ms").unwrap_or(0);
    r.require(0 <= jitter, || "log.roll.jitter.ms must be greater than or equal to 0".to_owned());
    let retention = r
        .number_or_null("log.retention.ms")
        .or_else(|| r.number_or_null("log.retention.minutes"))
        .unwrap_or_else(|| r.number("log.retention.hours"));
    r.require(retention != 0, || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
    });
    let threads = r.number("log.cleaner.threads").max(1);
    let enough = (1 << 20) < r.number("log.cleaner.dedupe.buffer.size") / threads;
    r.require(enough, || {
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned()
    });
    let lag_min = r.number("log.cleaner.min.compaction.lag.ms");
    let lag_max = r.number("log.cleaner.max.compaction.lag.ms");
    r.require(lag_min <= lag_max, || {
        format!(
            "conflict topic config setting min.compaction.lag.ms ({lag_min}) > \
             max.compaction.lag.ms ({lag_max})"
        )
    });
}

fn replication(r: &mut Reader<'_>) {
    let wait = r.number("replica.fetch.wait.max.ms");
    r.require(wait <= r.number("replica.socket.timeout.ms"), || {
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to \
         prevent unnecessary socket timeouts"
            .to_owned()
    });
    r.require(wait <= r.number("replica.lag.time.max.ms"), || {
        "replica.fetch.wait.max.ms should always be less than or equal to \
         replica.lag.time.max.ms to prevent frequent changes in ISR"
            .to_owned()
    });
}

fn quorum(config: &BrokerConfig, r: &mut Reader<'_>) {
    let quorum = &config.quorum;
    r.require(!quorum.voters.is_empty() || !quorum.bootstrap_servers.is_empty(), || {
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set \
         of bootstrap controllers or controller.quorum.voters must contain a parseable set of \
         controllers."
            .to_owned()
    });
    let id = config.node_id;
    let listed = quorum.voters.iter().any(|voter| voter.id == id);
    let voters = r.list("controller.quorum.voters").join(",");
    if config.roles.controller {
        r.require(quorum.voters.is_empty() || listed, || {
            format!(
                "If process.roles contains the 'controller' role, the node id {id} must be \
                 included in the set of voters controller.quorum.voters={voters}"
            )
        });
        controller_listeners(config, r);
    } else {
        r.require(!listed, || {
            format!(
                "If process.roles contains just the 'broker' role, the node id {id} must not be \
                 included in the set of voters controller.quorum.voters={voters}"
            )
        });
        r.require(!quorum.auto_join, || {
            "controller.quorum.auto.join.enable is only supported when process.roles contains \
             the 'controller' role."
                .to_owned()
        });
        broker_only_listeners(config, r);
    }
}

fn controller_listeners(config: &BrokerConfig, r: &mut Reader<'_>) {
    let listeners = &config.listeners;
    r.require(!listeners.advertised_controller.is_empty(), || {
        "controller.listener.names must contain at least one value appearing in the 'listeners' \
         configuration when running the KRaft controller role"
            .to_owned()
    });
    let all_there = listeners
        .controller_names
        .iter()
        .all(|name| listeners.all.iter().any(|listener| listener.name == *name));
    r.require(all_there, || {
        "controller.listener.names must only contain values appearing in the 'listeners' \
         configuration when running the KRaft controller role"
            .to_owned()
    });
    if config.roles.broker {
        return;
    }
    r.require(listeners.advertised_controller.len() == listeners.all.len(), || {
        "The listeners config must only contain KRaft controller listeners from \
         controller.listener.names when process.roles=controller"
            .to_owned()
    });
    let explicit = r.text("inter.broker.listener.name").map(|name| name.to_uppercase());
    let clash = explicit.is_some_and(|name| listeners.is_controller(&name));
    r.require(!clash, || {
        "controller.listener.names must not contain an explicitly set \
         inter.broker.listener.name configuration value when process.roles=controller"
            .to_owned()
    });
}

fn broker_only_listeners(config: &BrokerConfig, r: &mut Reader<'_>) {
    let listeners = &config.listeners;
    r.require(listeners.controller().next().is_none(), || {
        "controller.listener.names must not contain a value appearing in the 'listeners' \
         configuration when running KRaft with just the broker role"
            .to_owned()
    });
    for name in &listeners.controller_names {
        r.require(listeners.protocols.contains_key(name), || {
            format!(
                "Controller listener with name {name} defined in controller.listener.names not \
                 found in listener.security.protocol.map  (an explicit security mapping for each \
                 controller listener is required if listener.security.protocol.map is non-empty, \
                 or if there are security protocols other than PLAINTEXT in use)"
            )
        });
    }
}

fn advertised(config: &BrokerConfig, r: &mut Reader<'_>) {
    let listeners = &config.listeners;
    let names: Vec<&str> = listeners.advertised.iter().map(|l| l.name.as_str()).collect();
    r.require(!names.is_empty(), || {
        "There must be at least one broker advertised listener. Perhaps all listeners appear in \
         controller.listener.names?"
            .to_owned()
    });
    r.require(names.contains(&listeners.inter_broker.as_str()), || {
        format!(
            "inter.broker.listener.name must be a listener name defined in \
             advertised.listeners. The valid options based on currently configured listeners \
             are {}",
            names.join(",")
        )
    });
    let bound: Vec<&str> = listeners.all.iter().map(|l| l.name.as_str()).collect();
    r.require(names.iter().all(|name| bound.contains(name)), || {
        format!(
            "advertised.listeners listener names must be equal to or a subset of the ones \
             defined in listeners. Found {}. The valid options based on the current \
             configuration are {}",
            names.join(","),
            bound.join(",")
        )
    });
}

fn no_wildcards(config: &BrokerConfig, r: &mut Reader<'_>) {
    let listeners = &config.listeners;
    let given = listeners.advertised.iter().chain(&listeners.advertised_controller);
    let wildcard = given.clone().any(|listener| listener.host.as_deref() == Some("0.0.0.0"));
    r.require(!wildcard, || {
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP \
         address."
            .to_owned()
    });
}

fn network(r: &mut Reader<'_>) {
    let queued = r.number("queued.max.request.bytes");
    r.require(queued <= 0 || r.number("socket.request.max.bytes") <= queued, || {
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned()
    });
    let overrides = r.text("max.connections.per.ip.overrides").unwrap_or_default();
    r.require(r.number("max.connections.per.ip") != 0 || !overrides.is_empty(), || {
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides \
         property is set."
            .to_owned()
    });
    let delay = r.number("connection.failed.authentication.delay.ms");
    let idle = r.number("connections.max.idle.ms");
    r.require(idle < 0 || delay < idle, || {
        format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than \
             connections.max.idle.ms={idle} to prevent failed authentication responses from \
             timing out"
        )
    });
}

/// Bounded times of each kind of group: names after `group.KIND.` with a minimum and a maximum.
const GROUP_BOUNDS: &[(&str, &[&str])] = &[
    ("consumer", &["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"]),
    ("share", &["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"]),
    ("streams", &["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"]),
    ("share", &["record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks"]),
];

fn group_bounds(kind: &str, keys: &[&str], r: &mut Reader<'_>) {
    for key in keys {
        let name = format!("group.{kind}.{key}");
        let min = format!("group.{kind}.min.{key}");
        let max = format!("group.{kind}.max.{key}");
        for (upper, lower) in [(&max, &min), (&name, &min), (&max, &name)] {
            let holds = r.number(lower) <= r.number(upper);
            r.require(holds, || format!("{upper} must be greater than or equal to {lower}"));
        }
    }
}

fn groups(r: &mut Reader<'_>) {
    for kind in ["consumer", "share", "streams"] {
        let heartbeat = format!("group.{kind}.heartbeat.interval.ms");
        let session = format!("group.{kind}.session.timeout.ms");
        let holds = r.number(&heartbeat) < r.number(&session);
        r.require(holds, || format!("{heartbeat} must be less than {session}"));
    }
    let assignors = r.list("group.share.assignors").len();
    r.require(assignors == 1, || {
        format!("group.share.assignors must contain exactly one assignor, but found {assignors}")
    });
    let standby = r.number("group.streams.num.standby.replicas");
    r.require(standby <= r.number("group.streams.max.standby.replicas"), || {
        "group.streams.num.standby.replicas must be less than or equal to \
         group.streams.max.standby.replicas"
            .to_owned()
    });
    let protocols = r.list("group.coordinator.rebalance.protocols");
    r.require(protocols.iter().any(|protocol| protocol == "classic"), || {
        "Disabling the 'classic' protocol is not supported.".to_owned()
    });
}

/// Asking for a protection that does not exist refuses the start: it never runs unprotected.
fn security(config: &BrokerConfig, r: &mut Reader<'_>) {
    for listener in &config.listeners.all {
        r.require(listener.protocol == SecurityProtocol::Plaintext, || {
            format!(
                "listener {} uses {}, which does not exist here yet; refusing to start without it",
                listener.name,
                listener.protocol.name()
            )
        });
    }
    for key in table::broker_keys() {
        let Status::Refused(feature) = key.status else { continue };
        let asked = r.is_set(key.name) && r.value(key.name) != key.default_value();
        let nothing =
            matches!(r.value(key.name), Value::Null) || r.text(key.name) == Some(String::new());
        r.require(!asked || nothing, || refusal(key.name, feature));
    }
    for name in r.foreign_security_keys() {
        r.require(false, || refusal(&name, "security of listeners and authorization"));
    }
}

fn refusal(name: &str, feature: &str) -> String {
    format!(
        "{name} asks for {feature}, which does not exist here yet; refusing to start without it"
    )
}
