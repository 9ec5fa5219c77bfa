//! What cargo knows about the workspace: packages, their dependencies, where the target folder is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The workspace as `cargo metadata` describes it.
pub(crate) struct Workspace {
    /// Root folder of the repository.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// Members, in the order of the root `Cargo.toml`.
    pub(crate) packages: Vec<Package>,
}

/// One member.
pub(crate) struct Package {
    /// Name of its folder: `log` for `ottla-log`.
    pub(crate) short: String,
    /// Package name.
    pub(crate) name: String,
    /// Folder with its `Cargo.toml`.
    pub(crate) folder: PathBuf,
    /// Whether it may be published.
    pub(crate) published: bool,
    /// Direct dependencies of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One direct dependency.
pub(crate) struct Dependency {
    /// Package name.
    pub(crate) name: String,
    /// Whether only tests, examples and benches see it.
    pub(crate) dev: bool,
}

/// Root of the repository: the parent of xtask's own folder.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// Asks cargo.
pub(crate) fn load() -> Result<Workspace> {
    let root = root();
    let text = process::output(&mut process::cargo(
        &root,
        &["metadata", "--no-deps", "--format-version", "1"],
    ))?;
    parse(&root, &text)
}

fn parse(root: &Path, text: &str) -> Result<Workspace> {
    let json: Value = serde_json::from_str(text).context("cargo metadata is no JSON")?;
    let target = json["target_directory"].as_str().context("no target_directory")?;
    let mut packages = Vec::new();
    for package in json["packages"].as_array().context("no packages")? {
        packages.push(parse_package(package)?);
    }
    Ok(Workspace { root: root.to_path_buf(), target: target.into(), packages })
}

fn parse_package(package: &Value) -> Result<Package> {
    let name = package["name"].as_str().context("package without name")?;
    let manifest = package["manifest_path"].as_str().context("package without manifest_path")?;
    let folder = Path::new(manifest).parent().context("manifest without folder")?.to_path_buf();
    let dependencies =
        package["dependencies"].as_array().context("package without dependencies")?;
    Ok(Package {
        short: name.strip_prefix("ottla-").unwrap_or(name).to_string(),
        name: name.to_string(),
        folder,
        published: package["publish"].is_null(),
        dependencies: dependencies
            .iter()
            .map(|d| Dependency {
                name: d["name"].as_str().unwrap_or_default().to_string(),
                dev: d["kind"] == "dev",
            })
            .collect(),
    })
}

/// Folder of the fetched peers: `OTTLA_PEERS`, or `peers` in the target folder.
pub(crate) fn peers_folder(workspace: &Workspace) -> PathBuf {
    let chosen = std::env::var_os("OTTLA_PEERS").filter(|p| !p.is_empty());
    // Absolute, because test programs run in the folders of their crates.
    chosen.map_or_else(|| workspace.target.join("peers"), |p| workspace.root.join(p))
}
