//! `kafka-broker-api-versions`.

use std::collections::BTreeMap;

use ottla_client::{Client, HostPort};
use ottla_protocol::{ApiKey, ApiVersionsResponse};

use super::options::{Known, Options, with};
use super::session::{Properties, client};
use super::stop::{Run, Stop};
use super::{help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "server(s)", "REQUIRED: where the cluster is."),
    with("command-config", "file", "A file with settings of the client."),
];

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments)?;
    help_or_version(&options, "This tool helps to retrieve broker version information.")?;
    options.require(&["bootstrap-server"]).map_err(Stop::Usage)?;
    let properties = Properties::of_file(options.one("command-config")?)?;
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    let client = client(bootstrap, &properties, "admin-1")?;
    let metadata = client.metadata(Some(&[]), false).await;
    let mut nodes = metadata.map_err(|_| no_metadata(&client))?.brokers;
    nodes.sort_by_key(|node| node.id);
    for node in nodes {
        let rack = node.rack.as_deref().unwrap_or("null");
        let id = node.id;
        let shown = match client.node(id).await {
            Ok(connection) => text(connection.offered()),
            Err(error) => format!("ERROR: {error}"),
        };
        say(&format!("{} (id: {id} rack: {rack} isFenced: false) -> {shown}", node.address));
    }
    Ok(())
}

fn no_metadata(client: &Client) -> Stop {
    let shown = |(index, address): (usize, &HostPort)| {
        format!("{address} (id: -{} rack: null isFenced: false)", index + 1)
    };
    let servers: Vec<_> = client.options().bootstrap.iter().enumerate().map(shown).collect();
    Stop::Thrown {
        class: "java.lang.RuntimeException".to_owned(),
        message: format!("Request METADATA failed on brokers [{}]", servers.join(", ")),
    }
}

/// What a broker offers and which of it Kafka's clients of this release can use.
fn text(offered: &ApiVersionsResponse) -> String {
    let mut lines = BTreeMap::new();
    for api in ApiKey::all().filter(|api| api.on_broker()) {
        if newest_usable(api).is_some() {
            lines.insert(api.key(), format!("{}({}): UNSUPPORTED", api.name(), api.key()));
        }
    }
    for api in &offered.api_keys {
        let (low, high) = (api.min_version, api.max_version);
        let range = if low == high { low.to_string() } else { format!("{low} to {high}") };
        let known = ApiKey::from_key(api.api_key);
        let line = match known.and_then(|known| Some((known, newest_usable(known)?))) {
            None => format!("UNKNOWN({}): {range}", api.api_key),
            Some((known, newest)) => {
                let usable = if newest < low {
                    "unusable: node too new".to_owned()
                } else if high < *known.versions().start() {
                    "unusable: node too old".to_owned()
                } else {
                    format!("usable: {}", newest.min(high))
                };
                format!("{}({}): {range} [{usable}]", known.name(), api.api_key)
            }
        };
        lines.insert(api.api_key, line);
    }
    let lines: Vec<String> = lines.into_values().collect();
    format!("(\n\t{}\n)", lines.join(",\n\t"))
}

/// The newest version of an API in Kafka's clients of this tool's release; our own table of
/// messages has some that came later.
fn newest_usable(api: ApiKey) -> Option<i16> {
    match api {
        ApiKey::StreamsGroupTopologyDescriptionUpdate | ApiKey::UnregisterController => None,
        ApiKey::StreamsGroupHeartbeat | ApiKey::StreamsGroupDescribe => Some(0),
        ApiKey::DeleteGroups => Some(2),
        ApiKey::ApiVersions => Some(4),
        ApiKey::TxnOffsetCommit => Some(5),
        other => Some(*other.versions().end()),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::api_versions_response::ApiVersion;

    use super::*;

    fn check(api_key: i16, min_version: i16, max_version: i16, expected: &str) {
        let api = ApiVersion { api_key, min_version, max_version };
        let offered = ApiVersionsResponse { api_keys: vec![api], ..Default::default() };
        let text = text(&offered);
        assert!(text.contains(&format!("\t{expected}")), "{expected} is not in {text}");
        assert!(text.contains("\tEndTxn(26): UNSUPPORTED,\n"), "{text}");
    }

    #[test]
    fn versions_are_shown_as_kafka_shows_them() {
        check(18, 0, 5, "ApiVersions(18): 0 to 5 [usable: 4],\n");
        check(1, 19, 20, "Fetch(1): 19 to 20 [unusable: node too new],\n");
        check(1, 0, 3, "Fetch(1): 0 to 3 [unusable: node too old],\n");
        check(47, 0, 0, "OffsetDelete(47): 0 [usable: 0],\n");
        check(999, 1, 2, "UNKNOWN(999): 1 to 2\n)");
    }
}
