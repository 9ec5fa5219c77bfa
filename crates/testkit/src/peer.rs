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
/// In continuous integration, where a missing peer is a failure.
pub fn note_skip(test: &str, peer: &str, why: &str) {
    assert!(!is_ci(), "{test}: peer {peer} is missing in continuous integration: {why}");
    eprintln!("SKIPPED {test}: no {peer}: {why}; `cargo xtask peers {peer}` fetches it");
}
