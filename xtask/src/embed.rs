//! `cargo xtask embed`: is a crate usable alone?
//!
//! Builds and runs a throw-away crate outside the workspace that depends on one of ours and executes the
//! example of its README, so that feature unification and path leaks cannot hide. All of them share one
//! target folder.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::{self, Package, Workspace};

/// Which crates.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Crates by their short names, for example `log`.
    crates: Vec<String>,
    /// Every crate that may be published.
    #[arg(long)]
    all: bool,
}

impl Arguments {
    /// `--all`.
    pub(crate) fn everything() -> Self {
        Self { crates: Vec::new(), all: true }
    }
}

/// Embeds the named crates, or all.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    let chosen: Vec<&Package> = workspace
        .packages
        .iter()
        .filter(|p| if arguments.all { is_library(p) } else { arguments.crates.contains(&p.short) })
        .collect();
    if chosen.is_empty() {
        bail!("name a crate, or --all");
    }
    for package in chosen {
        eprintln!("embedding {}", package.name);
        embed(&workspace, package)
            .with_context(|| format!("{} cannot be used alone", package.name))?;
        println!("{} can be used alone", package.name);
    }
    Ok(())
}

fn is_library(package: &Package) -> bool {
    package.published && package.folder.join("src/lib.rs").is_file()
}

fn embed(workspace: &Workspace, package: &Package) -> Result<()> {
    let folder = workspace.target.join("embed").join(&package.short);
    std::fs::create_dir_all(folder.join("src"))?;
    let readme =
        std::fs::read_to_string(package.folder.join("README.md")).context("it has no README.md")?;
    // An assembly has no example of twenty lines; that it can be named and linked alone is checked.
    let trivial =
        || Example { code: format!("use {} as _;", package.name.replace('-', "_")), runs: true };
    let example = example(&readme).unwrap_or_else(trivial);
    let root_manifest = std::fs::read_to_string(workspace.root.join("Cargo.toml"))?;
    write_if_changed(
        &folder.join("Cargo.toml"),
        &manifest(package, &example.code, &root_manifest)?,
    )?;
    write_if_changed(&folder.join("src/main.rs"), &program(&example.code))?;
    // The workspace's lock file, so that the same versions are used and nothing is looked up.
    std::fs::copy(workspace.root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    // What needs a broker is compiled only.
    let verb = if example.runs { "run" } else { "build" };
    let mut command = process::cargo(&folder, &[verb, "--quiet"]);
    command.env("CARGO_TARGET_DIR", workspace.target.join("embed/target"));
    process::run(&mut command)
}

fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

struct Example {
    code: String,
    runs: bool,
}

/// The first Rust example of a README, without rustdoc's hiding marks.
fn example(readme: &str) -> Option<Example> {
    let mut lines = readme.lines().skip_while(|l| !l.starts_with("```rust"));
    let fence = lines.next()?;
    if fence.contains("ignore") {
        return None;
    }
    let body = lines.take_while(|l| !l.starts_with("```"));
    let shown = body.map(|l| l.strip_prefix("# ").unwrap_or(if l == "#" { "" } else { l }));
    Some(Example { code: shown.collect::<Vec<_>>().join("\n"), runs: !fence.contains("no_run") })
}

fn program(example: &str) -> String {
    if example.contains("fn main(") {
        return example.to_string();
    }
    // An example may use `?`, as rustdoc allows when it ends in a typed Ok.
    if example.contains("Ok::<") {
        return format!(
            "fn main() {{\n    let result = (|| {{\n{example}\n    }})();\n    result.unwrap();\n}}\n"
        );
    }
    format!("fn main() {{\n{example}\n}}\n")
}

/// A manifest with our crate, and those outside crates that the example names.
fn manifest(package: &Package, example: &str, root_manifest: &str) -> Result<String> {
    let mut text = format!(
        "[package]\nname = \"embeds-{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n\n[dependencies]\n{} = {{ path = {:?} }}\n",
        package.short, package.name, package.folder
    );
    for dependency in &package.dependencies {
        let ident = dependency.name.replace('-', "_");
        let named =
            example.contains(&format!("{ident}::")) || example.contains(&format!("use {ident}"));
        // One line each, though tests may want it with more features.
        if !named || text.contains(&format!("\n{} = ", dependency.name)) {
            continue;
        }
        if let Some(short) = dependency.name.strip_prefix("ottla-") {
            let folder = package.folder.with_file_name(short);
            text.push_str(&format!("{} = {{ path = {folder:?} }}\n", dependency.name));
        } else {
            let wanted = format!("\n{} = ", dependency.name);
            let at = root_manifest
                .find(&wanted)
                .context("dependency outside [workspace.dependencies]")?;
            let line = root_manifest[at + 1..].lines().next().unwrap_or_default();
            text.push_str(&format!("{line}\n"));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_example_is_the_program() {
        let readme = "# x\n\n```toml\n[a]\n```\n\n```rust\n# use a::b;\nlet c = 1;\n```\n";
        let found = example(readme).unwrap();
        assert_eq!((found.code.as_str(), found.runs), ("use a::b;\nlet c = 1;", true));
        assert!(!example("```rust,no_run\n```").unwrap().runs);
        assert_eq!(program("let c = 1;"), "fn main() {\nlet c = 1;\n}\n");
        assert_eq!(program("fn main() {}"), "fn main() {}");
    }

    #[test]
    fn the_manifest_names_what_the_example_names() {
        let dependency = |name: &str| workspace::Dependency { name: name.into(), dev: false };
        let package = Package {
            short: "log".into(),
            name: "ottla-log".into(),
            folder: "/r/crates/log".into(),
            published: true,
            dependencies: vec![
                dependency("bytes"),
                dependency("ottla-types"),
                dependency("thiserror"),
            ],
        };
        let text =
            manifest(&package, "use bytes::Bytes;\nuse ottla_types::Offset;", "\nbytes = \"1\"\n")
                .unwrap();
        assert!(text.ends_with(
            "[dependencies]\nottla-log = { path = \"/r/crates/log\" }\nbytes = \"1\"\nottla-types = { path = \"/r/crates/types\" }\n"
        ));
    }
}
