//! Foreign programs may be missing at home, never in continuous integration.

use std::path::PathBuf;
use std::sync::OnceLock;

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Whether the environment says that this is continuous integration.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| v == "true" || v == "1")
}

/// Chooses the folder of the peers for the rest of this process; the first choice stays.
pub fn use_peers(folder: PathBuf) {
    CHOSEN.get_or_init(|| folder);
}

/// Where `cargo xtask peers` puts what it fetches: `OTTLA_PEERS`, or `peers` in the target folder.
pub fn peers_folder() -> PathBuf {
    let chosen = std::env::var_os("OTTLA_PEERS").filter(|p| !p.is_empty());
    chosen.map_or_else(|| crate::binary::target_folder().join("peers"), PathBuf::from)
}

/// Says loudly that `test` does not run for want of `peer`.
///
/// # Panics
/// In continuous integration, where a missing peer is a failure, unless its registry did not answer: xtask, which
/// knows that, names such peers in `OTTLA_UNREACHABLE`.
pub fn note_skip(test: &str, peer: &str, why: &str) {
    let unreachable = std::env::var("OTTLA_UNREACHABLE").unwrap_or_default();
    let excused = !is_ci() || is_named(&unreachable, peer);
    assert!(excused, "{test}: peer {peer} is missing in continuous integration: {why}");
    eprintln!("SKIPPED {test}: no {peer}: {why}; `cargo xtask peers {peer}` fetches it");
}

fn is_named(list: &str, peer: &str) -> bool {
    list.split(',').any(|name| name == peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_excused() {
        for (list, peer, expected) in [
            ("", "node", false),
            ("node", "node", true),
            ("go,python", "python", true),
            ("python-old", "python", false),
            ("python", "python-old", false),
        ] {
            assert_eq!(is_named(list, peer), expected, "{peer} in {list:?}");
        }
    }
}
