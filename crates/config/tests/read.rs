//! What the configuration says has an effect is read by somebody: every field of the typed configuration, and by that
//! every key behind it. A key that nobody acts on says so in its status.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reads the sources of the readers, which the crate itself never does"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Read by nobody until there is what they belong to; their keys say so.
const LATER: [&str; 7] = [
    "auto_join",
    "fetch_bytes_min",
    "fetch_response_bytes_max",
    "fetch_wait_max",
    "share_log",
    "transaction_log",
    // The controller asks for the key itself, topic by topic.
    "unclean_leader_election",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of all sources below a folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}

/// Names of the public fields of every struct.
fn fields(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("    pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_'))
        .collect()
}

#[test]
fn every_field_is_read() {
    let (mut typed, mut readers) = (String::new(), String::new());
    sources(&crates().join("config/src/broker"), &mut typed);
    for reader in ["broker", "server", "cli"] {
        sources(&crates().join(reader).join("src"), &mut readers);
    }
    let is_read = |name: &str| {
        let ends =
            |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        readers.split(&format!(".{name}")).skip(1).any(ends)
    };
    let all = fields(&typed);
    assert!(all.len() > 100, "{} fields are found", all.len());
    let mut unread: Vec<&str> = all.into_iter().filter(|name| !is_read(name)).collect();
    unread.sort_unstable();
    assert_eq!(unread, LATER, "fields that nobody reads");
}
