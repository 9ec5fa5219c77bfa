//! Finding the binary `ottla` that belongs to the tests that run.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Chooses the binary for the rest of this process; the first choice stays.
pub fn use_binary(path: PathBuf) {
    CHOSEN.get_or_init(|| path);
}

/// Path of the binary: chosen by [`use_binary`], or `OTTLA_BIN`, or built once with cargo into the target folder of this test.
pub fn ottla_binary() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = CHOSEN.get() {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("OTTLA_BIN") {
        return Ok(path.into());
    }
    let built = BUILT.get_or_init(|| build().map_err(|e| format!("{e:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

/// The target folder above the running test program (`target/debug/deps/name`).
pub(crate) fn target_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let profile = own.ancestors().find(|a| a.join("deps").is_dir() || a.ends_with("debug"));
    profile.and_then(|p| p.parent()).map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

fn build() -> Result<PathBuf> {
    let target = target_folder();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--package", "ottla-server", "--bin", "ottla"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .context("cannot start cargo")?;
    let path = target.join("debug/ottla");
    if !status.success() || !path.is_file() {
        bail!("cargo built no {}", path.display());
    }
    Ok(path)
}
