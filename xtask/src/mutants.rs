//! `cargo xtask mutants`: bugs put into the segment log, one at a time, to see that its tests notice.
//!
//! Each is built in a copy of the sources with a target folder of its own. docs/mutations.md lists them.

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::workspace;
use table::{MUTANTS, Mutant};

/// Which ones.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only bugs with this in their names.
    #[arg(long, default_value = "")]
    only: String,
}

/// The longest a test program may take; a bug may keep it from ending.
const LIMIT: Duration = Duration::from_secs(300);

/// Tries the chosen bugs; an error names those that no test noticed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    let folder = workspace.target.join("mutants");
    let copy = folder.join("sources");
    copy_sources(&workspace.root, &copy)?;
    let chosen: Vec<_> = MUTANTS.iter().filter(|m| m.name.contains(&arguments.only)).collect();
    ensure!(!chosen.is_empty(), "no bug has `{}` in its name", arguments.only);
    for test in ["compact", "crash", "log", "transactions", "verify"] {
        eprintln!("without a bug: {test}");
        ensure!(passes(&copy, &folder, test)?, "{test} fails as it is");
    }
    let mut unnoticed = Vec::new();
    for (number, mutant) in chosen.iter().enumerate() {
        let path = source(&copy, mutant);
        let whole = std::fs::read_to_string(&path)?;
        std::fs::write(&path, changed(&whole, mutant)?)?;
        let noticed = builds(&copy, &folder, mutant.test)
            .and_then(|()| passes(&copy, &folder, mutant.test).map(|passed| !passed));
        std::fs::write(&path, whole)?;
        let verdict = if noticed? { "noticed" } else { "NOT NOTICED" };
        println!("{:>2} of {}  {:<62}{verdict}", number + 1, chosen.len(), mutant.name);
        if verdict != "noticed" {
            unnoticed.push(mutant.name);
        }
    }
    if unnoticed.is_empty() { Ok(()) } else { bail!("not noticed: {}", unnoticed.join("; ")) }
}

fn source(root: &Path, mutant: &Mutant) -> PathBuf {
    root.join("crates/log/src").join(mutant.file)
}

/// The source with the bug in it.
fn changed(whole: &str, mutant: &Mutant) -> Result<String> {
    let count = whole.matches(mutant.find).count();
    ensure!(count == 1, "{}: its place is in {} {count} times", mutant.name, mutant.file);
    Ok(whole.replace(mutant.find, mutant.replace))
}

fn copy_sources(root: &Path, to: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    for name in process::output(&mut list)?.lines() {
        let (from, to) = (root.join(name), to.join(name));
        // Deleted, but not yet in a commit.
        if !from.exists() {
            continue;
        }
        let content = std::fs::read(&from)?;
        std::fs::create_dir_all(to.parent().context("a folder")?)?;
        // What is as it was is not to be compiled again.
        if std::fs::read(&to).ok().as_ref() != Some(&content) {
            std::fs::write(&to, content)?;
        }
    }
    Ok(())
}

fn cargo(copy: &Path, folder: &Path, test: &str) -> Command {
    let mut command = process::cargo(copy, &["test", "--quiet", "--package", "ottla-log"]);
    command.args(["--test", test]).env("CARGO_TARGET_DIR", folder.join("target"));
    command
}

fn builds(copy: &Path, folder: &Path, test: &str) -> Result<()> {
    process::run(cargo(copy, folder, test).arg("--no-run"))
}

fn passes(copy: &Path, folder: &Path, test: &str) -> Result<bool> {
    let mut command = cargo(copy, folder, test);
    // A bug that a test program dies of is noticed as well.
    Ok(process::run_bounded(command.stderr(Stdio::null()), LIMIT, |_| {}).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let mut text = String::from(
            "# Mutations\n\n\
             Bugs that `cargo xtask mutants` puts into crate `log`, one at a time, and the test program that\n\
             notices each. The table is made from `xtask/src/mutants/table.rs`; the command ends with an error\n\
             that names each bug which no test noticed.\n\n\
             | bug | in | noticed by |\n|---|---|---|\n",
        );
        for Mutant { name, file, test, .. } in &MUTANTS {
            text.push_str(&format!("| {name} | `{file}` | `tests/{test}` |\n"));
        }
        text
    }

    #[test]
    fn every_bug_has_its_place_and_its_line() {
        let root = workspace::root();
        for mutant in &MUTANTS {
            let whole = std::fs::read_to_string(source(&root, mutant)).unwrap();
            assert_ne!(changed(&whole, mutant).unwrap(), whole, "{}", mutant.name);
        }
        let path = root.join("docs/mutations.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == page(), "docs/mutations.md is old");
    }
}
