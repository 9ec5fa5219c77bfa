//! Texts for people: one key explained, and the whole table as a page.

use std::fmt::Write;

use crate::{
    env,
    key::{Check, Fallback, Importance, Key, Scope, Status},
    settings::Settings,
    suggest, table,
};

/// Everything there is to say about a key of a broker, topic, group or client metrics
/// subscription; with settings, also its value and where it was set.
///
/// # Errors
/// The name is unknown; the text says so and names the nearest known one.
pub fn explain(name: &str, settings: Option<&Settings>) -> Result<String, String> {
    let found: Vec<(&str, &Key)> = [
        ("broker", table::broker_key(name)),
        ("topic", table::topic_key(name)),
        ("group", table::group_key(name)),
        ("client metrics", table::client_metrics_key(name)),
    ]
    .into_iter()
    .filter_map(|(resource, key)| Some((resource, key?)))
    .collect();
    if found.is_empty() {
        let names = table::broker_keys().chain(table::TOPIC).chain(table::GROUP);
        let nearest = suggest::nearest(name, names.map(|key| key.name));
        let hint = nearest.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
        return Err(format!("unknown key {name}{hint}"));
    }
    let mut out = String::new();
    for (at, (resource, key)) in found.iter().enumerate() {
        if 0 < at {
            out.push('\n');
        }
        let settings = settings.filter(|_| *resource == "broker");
        out.push_str(&explained(resource, key, settings));
    }
    Ok(out)
}

fn explained(resource: &str, key: &Key, settings: Option<&Settings>) -> String {
    let mut lines = vec![
        format!("{} ({resource} config, {})", key.name, key.kind.name().to_lowercase()),
        format!("  {}", key.doc),
    ];
    if let Some(setting) = settings.and_then(|settings| settings.get(key.name)) {
        lines.push(format!("  set to      {} ({})", setting.shown(), setting.origin));
    }
    lines.push(format!("  default     {}", default_text(key)));
    if let Some(allowed) = allowed(key.check) {
        lines.push(format!("  allowed     {allowed}"));
    }
    if resource == "broker" {
        lines.push(format!("  changed     {}", changed(key.scope)));
        let variable = format!("KAFKA_{}", variable(key.name));
        if env::key_of(&variable).as_deref() == Some(key.name) {
            lines.push(format!("  environment {variable}"));
        }
    }
    let synonyms: Vec<&str> = key.synonyms.iter().map(|synonym| synonym.name).collect();
    if !synonyms.is_empty() {
        lines.push(format!("  inherits    {}", synonyms.join(", then ")));
    }
    lines.push(format!("  here        {}", status(key.status)));
    lines.push(String::new());
    lines.join("\n")
}

/// The configuration page of the documentation, in Markdown.
pub fn page() -> String {
    let mut out = String::from(PREFACE);
    for area in table::BROKER {
        section(&mut out, area.title, area.keys, true);
    }
    section(&mut out, "Dynamic broker configs only", table::BROKER_DYNAMIC_ONLY, true);
    section(&mut out, "Topic configs", table::TOPIC, false);
    section(&mut out, "Group configs", table::GROUP, false);
    section(&mut out, "Client metrics subscriptions", table::CLIENT_METRICS, false);
    out
}

fn section(out: &mut String, title: &str, keys: &[Key], broker: bool) {
    let last = if broker { "Changed" } else { "Inherits" };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "\n## {title}\n\n| Key | Type | Default | Allowed | {last} | What it does |\n\
         |---|---|---|---|---|---|\n"
    );
    for key in keys {
        let last = if broker { key.scope.name().to_owned() } else { inherits(key) };
        let mut doc = key.doc.to_owned();
        match key.status {
            Status::Used => {}
            other => {
                let _ = write!(doc, " *{}.*", capitalized(&status(other)));
            }
        }
        if key.importance == Importance::High {
            doc.push_str(" (important)");
        }
        let cells = [
            format!("`{}`", key.name),
            key.kind.name().to_lowercase(),
            default_text(key),
            allowed(key.check).unwrap_or_default(),
            last,
            doc,
        ];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

fn inherits(key: &Key) -> String {
    let names: Vec<String> =
        key.synonyms.iter().map(|synonym| format!("`{}`", synonym.name)).collect();
    names.join(", ")
}

fn default_text(key: &Key) -> String {
    match key.default {
        Fallback::Required => "must be set".to_owned(),
        Fallback::Null => "none".to_owned(),
        Fallback::Text("") => "empty".to_owned(),
        Fallback::Text("9223372036854775807" | "2147483647" | "1.7976931348623157E308") => {
            "no limit".to_owned()
        }
        Fallback::Text(text) => text.to_owned(),
    }
}

fn allowed(check: Check) -> Option<String> {
    match check {
        Check::Any => None,
        Check::AtLeast(min) => Some(format!("at least {min}")),
        Check::Between(min, max) => Some(format!("{min} to {max}")),
        Check::BetweenF(min, max) => Some(format!("{min} to {max}")),
        Check::OneOf(words) => Some(words.join(", ")),
        Check::OneOfAnyCase(words) => Some(format!("{} in upper or lower case", words.join(", "))),
        Check::NonEmpty => Some("not empty".to_owned()),
        Check::List { of: [], empty: true } => Some("repeats count once".to_owned()),
        Check::List { of: [], empty: false } => Some("not empty, repeats count once".to_owned()),
        Check::List { of, empty: true } => Some(format!("any of {}", of.join(", "))),
        Check::List { of, empty: false } => Some(format!("some of {}", of.join(", "))),
        Check::GzipLevel => Some("1 to 9, or -1".to_owned()),
        Check::ThrottledReplicas => Some("*, or partition:broker entries".to_owned()),
        Check::Voters => Some("id@host:port entries".to_owned()),
        Check::HostPorts => Some("host:port entries".to_owned()),
        Check::ShareOffsetReset => Some("earliest, latest, by_duration:PnDTnHnMn.nS".to_owned()),
        Check::HttpListener => Some("host:port, or none".to_owned()),
    }
}

fn changed(scope: Scope) -> &'static str {
    match scope {
        Scope::ReadOnly => "only before the start",
        Scope::PerBroker => "while running, for one broker",
        Scope::ClusterWide => "while running, for one broker or for all",
    }
}

fn status(status: Status) -> String {
    match status {
        Status::Used => "has this effect".to_owned(),
        Status::Meaningless(reason) => format!("no effect: {reason}"),
        Status::NotYet(feature) => format!("no effect until there is: {feature}"),
        Status::Refused(feature) => format!("refuses to start until there is: {feature}"),
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn variable(name: &str) -> String {
    name.replace('_', "__").replace('-', "___").replace('.', "_").to_uppercase()
}

const PREFACE: &str = "\
# Configuration

<!-- Made from the table in crate ottla-config: UPDATE_EXPECT=1 cargo test -p ottla-config -->

Ottla reads Kafka's `server.properties` unchanged. Values come from, the later winning: the
default below, the file, environment variables (`KAFKA_NODE_ID=1` sets `node.id`: a dot is
written `_`, an underscore `__`, a dash `___`), `--override KEY=VALUE`, and dynamic configs.
`ottla config explain KEY` says what a key does and where it was set; `ottla config check FILE`
finds mistakes.

Values may refer to `${env:NAME}` and `${file:/path:key}`. Keys without effect here are accepted
and named once in the log at start. A key that asks for a protection which does not exist yet
refuses to start. Without a file Ottla is a broker and controller on 127.0.0.1:9092 with
internal topics of one replica; with a file that has no `listeners` it listens on loopback only.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Input, load},
        provider::NoLookup,
    };

    #[test]
    fn a_key_is_explained_with_its_value() {
        let text = "process.roles=broker\nnode.id=1\nssl.client.auth=none\n\
                    controller.listener.names=C\ncontroller.quorum.bootstrap.servers=h:1\n\
                    compression.type=zstd\n";
        let file = Some(("s.properties".to_owned(), text.to_owned()));
        let loaded = load(&Input { file, ..Input::default() }, &NoLookup).unwrap();
        assert_eq!(
            explain("compression.type", Some(&loaded.settings)).unwrap(),
            "\
compression.type (broker config, string)
  Codec in which batches are stored; producer keeps what the producer chose.
  set to      zstd (s.properties:6)
  default     producer
  allowed     uncompressed, zstd, lz4, snappy, gzip, producer
  changed     while running, for one broker or for all
  environment KAFKA_COMPRESSION_TYPE
  here        has this effect

compression.type (topic config, string)
  Codec in which batches are stored; producer keeps what the producer chose.
  default     producer
  allowed     uncompressed, zstd, lz4, snappy, gzip, producer
  inherits    compression.type
  here        has this effect
"
        );
        assert_eq!(
            explain("retention.m", None),
            Err("unknown key retention.m; did you mean retention.ms?".to_owned())
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the page is a file of the repository")]
    fn the_page_is_current() {
        // Set UPDATE_EXPECT=1 to write it.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let current = page();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == current, "docs/configuration.md is stale; run with UPDATE_EXPECT=1");
    }
}
