//! A connection to the cluster as the tools' options and property files ask for it.
//!
//! Settings that this client has no use for are passed over, as Kafka's clients do; those that
//! would change what a connection is (TLS, SASL) are refused.

use std::fs;
use std::time::Duration;

use ottla_client::{Admin, Client, ClientOptions, ClusterDescription, HostPort, Node};
use ottla_protocol::ApiKey;
use ottla_types::ErrorCode;

use super::java::hash_order_by;
use super::stop::{Run, Stop};

/// Settings of a client: those of a file, then those of the command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Properties(Vec<(String, String)>);

impl Properties {
    /// Reads a file.
    pub(super) fn load(path: &str) -> Run<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            let (class, message) = if error.kind() == std::io::ErrorKind::NotFound {
                ("java.nio.file.NoSuchFileException", path.to_owned())
            } else {
                ("java.io.IOException", format!("{path}: {error}"))
            };
            Stop::Thrown { class: class.to_owned(), message }
        })?;
        let entries = ottla_config::properties::parse(&text)
            .map_err(|error| Stop::illegal(format!("{path}: {error}")))?;
        Ok(Self(entries.into_iter().map(|entry| (entry.key, entry.value)).collect()))
    }

    /// Those of a file, if one is named.
    pub(super) fn of_file(path: Option<&str>) -> Run<Self> {
        path.map_or_else(|| Ok(Self::default()), Self::load)
    }

    /// Adds `key=value` words; without `=` the value is empty.
    pub(super) fn extend(&mut self, words: &[&str]) {
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            self.set(key, value);
        }
    }

    /// Sets one.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.0.push((key.to_owned(), value.to_owned()));
    }

    /// The value of one.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// All of them; of a key that is there twice the last one holds.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether one is `true`, as Java reads it.
    pub(super) fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// A time in milliseconds.
    pub(super) fn millis(&self, key: &str) -> Run<Option<Duration>> {
        let parse = |text: &str| {
            text.trim().parse().map(Duration::from_millis).map_err(|_| Stop::Thrown {
                class: CONFIG_EXCEPTION.to_owned(),
                message: format!(
                    "Invalid value {text} for configuration {key}: Not a number of type INT"
                ),
            })
        };
        self.get(key).map(parse).transpose()
    }
}

/// A client for these brokers.
pub(super) fn client(bootstrap: &str, properties: &Properties, id: &str) -> Run<Client> {
    options(bootstrap, properties, id).map(Client::new)
}

fn options(bootstrap: &str, properties: &Properties, id: &str) -> Run<ClientOptions> {
    let protocol = properties.get("security.protocol").unwrap_or("PLAINTEXT");
    if !protocol.eq_ignore_ascii_case("PLAINTEXT") {
        return Err(Stop::illegal(format!(
            "security.protocol={protocol} is not available: this tool speaks PLAINTEXT only"
        )));
    }
    if bootstrap.is_empty() {
        return Err(Stop::Thrown {
            class: CONFIG_EXCEPTION.to_owned(),
            message: "Configuration 'bootstrap.servers' must not be empty. Valid values include: \
                      any non-empty value"
                .to_owned(),
        });
    }
    let addresses = HostPort::parse_list(bootstrap).map_err(|_| Stop::Thrown {
        class: CONFIG_EXCEPTION.to_owned(),
        message: format!("Invalid url in bootstrap.servers: {bootstrap}"),
    })?;
    let mut options = ClientOptions::new(addresses);
    if let Some(timeout) = properties.millis("request.timeout.ms")? {
        options.connection.request_timeout = timeout;
    }
    if let Some(timeout) = properties.millis("default.api.timeout.ms")? {
        options.api_timeout = timeout;
    }
    properties.get("client.id").unwrap_or(id).clone_into(&mut options.connection.client_id);
    Ok(options)
}

/// As [`client`], for administrative calls; Kafka's own wraps what is wrong with its settings.
pub(super) fn admin(bootstrap: &str, properties: &Properties, id: &str) -> Run<Admin> {
    admin_of(bootstrap, false, properties, id)
}

/// As [`admin`], of brokers or of controllers.
pub(super) fn admin_of(
    bootstrap: &str,
    controllers: bool,
    properties: &Properties,
    id: &str,
) -> Run<Admin> {
    let options = options(bootstrap, properties, id).map_err(|stop| match stop {
        Stop::Thrown { class, .. } if class == CONFIG_EXCEPTION => Stop::Thrown {
            class: "org.apache.kafka.common.KafkaException".to_owned(),
            message: "Failed to create new KafkaAdminClient".to_owned(),
        },
        other => other,
    });
    let mut options = options?;
    options.controllers = controllers;
    Ok(Admin::new(Client::new(options)))
}

/// The nodes of the kind that the tool was told to ask: brokers or controllers.
pub(super) async fn nodes(admin: &Admin, controllers: bool) -> Run<Vec<Node>> {
    let mut nodes = described(admin, controllers).await?.brokers;
    hash_order_by(&mut nodes, 16, |node| node.id.to_wire().cast_unsigned());
    Ok(nodes)
}

/// As [`nodes`], with all that is known of the cluster.
pub(super) async fn described(admin: &Admin, controllers: bool) -> Run<ClusterDescription> {
    if controllers {
        return Ok(admin.describe_controllers().await?);
    }
    // Kafka's clients ask brokers for metadata first, and controllers have none for them.
    if admin.client().bootstrap().await?.range(ApiKey::Metadata).is_none() {
        let text = "The node does not support METADATA";
        return Err(Stop::kafka(ErrorCode::UnsupportedVersion, text));
    }
    Ok(admin.describe_cluster().await?)
}

/// The complaint about a list of servers that is none.
pub(super) fn validate_bootstrap(servers: &str) -> Result<(), String> {
    if servers.trim().is_empty() {
        return Err("Error while validating the bootstrap address".to_owned());
    }
    let is_pair = |pair: &str| {
        pair.rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if servers.split(',').map(str::trim).all(is_pair) {
        return Ok(());
    }
    Err("Please provide valid host:port like host1:9091,host2:9092\n ".to_owned())
}

const CONFIG_EXCEPTION: &str = "org.apache.kafka.common.config.ConfigException";
