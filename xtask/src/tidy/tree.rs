//! Rules about the repository as a whole: documents that must name things, files that must not exist.

use std::path::Path;

use anyhow::{Context, Result};

use super::Complaint;
use super::rules::CORES;
use crate::source::{self, Source};
use crate::workspace::Workspace;

/// Checks documents and files.
pub(super) fn check(
    workspace: &Workspace,
    sources: &[Source],
    complaints: &mut Vec<Complaint>,
) -> Result<()> {
    crates_are_described(workspace, complaints)?;
    dependencies_are_explained(&workspace.root, complaints)?;
    unsafe_is_argued(&workspace.root, sources, complaints)?;
    cores_are_watched(&workspace.root, complaints)?;
    no_scripts(&workspace.root, complaints)?;
    no_foreign_paths(&workspace.root, complaints)
}

fn read(root: &Path, name: &str) -> Result<String> {
    std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))
}

fn crates_are_described(workspace: &Workspace, complaints: &mut Vec<Complaint>) -> Result<()> {
    let architecture = read(&workspace.root, "docs/architecture.md")?;
    let words: Vec<&str> = architecture.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for package in &workspace.packages {
        if !words.contains(&package.short.as_str()) {
            complaints.push(Complaint {
                place: "docs/architecture.md".into(),
                what: format!("crate `{}` is missing", package.short),
                instead: "say what it is and where it stands",
            });
        }
        if package.published && !package.folder.join("README.md").is_file() {
            complaints.push(Complaint {
                place: package.folder.display().to_string(),
                what: "no README.md".into(),
                instead: "show its use in 20 compiled lines, or set publish = false",
            });
        }
    }
    Ok(())
}

/// Names in `[workspace.dependencies]` and of crates that declare an outside crate themselves.
fn dependencies_are_explained(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    let page = read(root, "docs/decisions/dependencies.md")?;
    for name in outside_crates(&read(root, "Cargo.toml")?) {
        if !page.contains(&format!("| `{name}` |")) {
            complaints.push(Complaint {
                place: "docs/decisions/dependencies.md".into(),
                what: format!("outside crate `{name}` has no line"),
                instead: "say what it is for, who keeps it and what it costs",
            });
        }
    }
    Ok(())
}

fn outside_crates(manifest: &str) -> Vec<String> {
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|l| l.split_once(" =")).map(|(name, _)| name.trim());
    names.filter(|n| !n.starts_with("ottla-") && !n.starts_with('#')).map(String::from).collect()
}

/// Clippy reads the nearest `clippy.toml` only, so each core has the whole of it.
fn cores_are_watched(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    let path = |core: &str| format!("crates/{core}/clippy.toml");
    let [first, others @ ..] = CORES;
    let expected = read(root, &path(first))?;
    for core in others {
        if std::fs::read_to_string(root.join(path(core))).ok().as_ref() != Some(&expected) {
            complaints.push(Complaint {
                place: path(core),
                what: format!("it differs from the one of `{first}`"),
                instead: "forbid the same in every core",
            });
        }
    }
    Ok(())
}

fn unsafe_is_argued(
    root: &Path,
    sources: &[Source],
    complaints: &mut Vec<Complaint>,
) -> Result<()> {
    let pages = source::files(root, ".md")?;
    let decisions: Vec<String> = pages
        .iter()
        .filter(|p| p.starts_with("docs/decisions"))
        .map(|p| std::fs::read_to_string(root.join(p)))
        .collect::<Result<_, _>>()?;
    for source in sources {
        let code: String = source.code.iter().collect();
        if code.contains("unsafe {") && !decisions.iter().any(|d| d.contains(&source.path)) {
            complaints.push(Complaint {
                place: source.path.clone(),
                what: "unsafe without a decision page".into(),
                instead: "argue in docs/decisions why it is needed and why it is sound",
            });
        }
    }
    Ok(())
}

fn no_scripts(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    for ending in [".sh", ".bash", ".py", "Makefile"] {
        for path in source::files(root, ending)? {
            // A foreign client can only be driven in its own language.
            if path.starts_with("crates/conformance/clients") {
                continue;
            }
            complaints.push(Complaint {
                place: path.display().to_string(),
                what: "a script beside xtask".into(),
                instead: "make it a command of `cargo xtask`, so that it runs wherever cargo does",
            });
        }
    }
    Ok(())
}

/// Paths of somebody's machine in what everybody reads.
fn no_foreign_paths(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    // Spelled in halves so that this file does not find itself.
    const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    for ending in [".rs", ".md", ".toml", ".java", ".xml", ".txt", ".py", ".go", ".mjs"] {
        for path in source::files(root, ending)? {
            let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
            for (at, line) in text.lines().enumerate() {
                if HOMES.iter().any(|h| line.contains(h)) {
                    complaints.push(Complaint {
                        place: format!("{}:{}", path.display(), at + 1),
                        what: "a path of one machine".into(),
                        instead: "name a path inside the repository",
                    });
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_crates_are_read_from_the_manifest() {
        let manifest = "[workspace.dependencies]\nottla-log = { path = \"x\" }\n# note\nbytes = \"1\"\n\n[workspace.lints]\nx = \"deny\"\n";
        assert_eq!(outside_crates(manifest), ["bytes"]);
    }
}
