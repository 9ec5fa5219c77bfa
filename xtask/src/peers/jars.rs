//! Jars from Maven: fetched by exact version, and used only if each is the one in `jars.lock`.
//!
//! The lock is what sha256sum prints, so that `sha256sum -c` reads it too. Jars that differ are moved out of the
//! class path and kept for whoever looks into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Unavailable;
use crate::process;
use crate::workspace::{self, Workspace};

/// Apache Kafka itself: broker, tools, clients, Connect.
pub(super) const KAFKA: Jars = Jars {
    name: "java",
    pom: "crates/conformance/java/peers/pom.xml",
    lock: "crates/conformance/java/peers/jars.lock",
    versions: &[],
};

/// The client library alone, in the versions of the matrix.
pub(super) const CLIENTS: Jars = Jars {
    name: "kafka-clients",
    pom: "crates/conformance/clients/java/pom.xml",
    lock: "crates/conformance/clients/java/jars.lock",
    versions: &["2.1.1", "3.9.2", "4.3.1"],
};

const ATTEMPTS: u32 = 3;
const ATTEMPT_LIMIT: Duration = Duration::from_secs(600);

/// Jars that come together.
pub(super) struct Jars {
    /// Their folder below the peers.
    name: &'static str,
    pom: &'static str,
    lock: &'static str,
    /// Values for the pom's `kafka.version`, each in a folder of its own; none if the pom names the only one.
    versions: &'static [&'static str],
}

/// Where the jars are, and what is written beside them.
struct Places {
    libs: PathBuf,
    rejected: PathBuf,
    /// The pom that the jars were fetched with.
    fetched: PathBuf,
    /// The lock that the jars were checked against.
    checked: PathBuf,
}

impl Jars {
    fn places(&self, workspace: &Workspace) -> Places {
        let folder = workspace::peers_folder(workspace).join(self.name);
        Places {
            libs: folder.join("libs"),
            rejected: folder.join("libs-rejected"),
            fetched: folder.join("fetched-pom.xml"),
            checked: folder.join("checked-jars.lock"),
        }
    }

    /// The jars, unless those of this very pom and lock are there already.
    pub(super) fn fetch(&self, workspace: &Workspace) -> Result<(), Unavailable> {
        self.fetch_unchecked(workspace)?;
        self.check_fetched(workspace)
    }

    /// Fetches and takes what came for right: the answer to a changed pom.
    pub(super) fn update_lock(&self, workspace: &Workspace) -> Result<()> {
        let places = self.places(workspace);
        // What was fetched before may be what was refused.
        std::fs::remove_file(&places.fetched).ok();
        match self.fetch_unchecked(workspace) {
            Ok(()) => {}
            Err(Unavailable::Registry(why) | Unavailable::Other(why) | Unavailable::Wrong(why)) => {
                bail!("nothing was fetched: {why}")
            }
        }
        let (sums, lock) = (self.sums(&places.libs)?, self.lock);
        std::fs::write(workspace.root.join(lock), &sums)?;
        std::fs::write(&places.checked, &sums)?;
        let count = sums.lines().count();
        println!("{count} jars are in {lock}; look at its diff before it is committed");
        Ok(())
    }

    fn fetch_unchecked(&self, workspace: &Workspace) -> Result<(), Unavailable> {
        let other = |e: std::io::Error| Unavailable::Other(e.to_string());
        let (places, pom) = (self.places(workspace), workspace.root.join(self.pom));
        let wanted = std::fs::read_to_string(&pom).map_err(other)? + &self.versions.join(" ");
        if std::fs::read_to_string(&places.fetched).is_ok_and(|old| old == wanted) {
            return Ok(());
        }
        // Old versions must not stay on the class path.
        if places.libs.is_dir() {
            std::fs::remove_dir_all(&places.libs).map_err(other)?;
        }
        std::fs::remove_file(&places.checked).ok();
        std::fs::create_dir_all(&places.libs).map_err(other)?;
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            eprintln!("fetching {} from Maven, attempt {attempt} of {ATTEMPTS}", self.name);
            match self.fetch_versions(&pom, &places.libs) {
                Ok(()) => return std::fs::write(&places.fetched, &wanted).map_err(other),
                Err(error) => last = format!("{error:#}"),
            }
        }
        Err(Unavailable::Registry(last))
    }

    fn fetch_versions(&self, pom: &Path, libs: &Path) -> Result<()> {
        if self.versions.is_empty() {
            return maven(pom, libs, None);
        }
        let mut versions = self.versions.iter();
        versions.try_for_each(|version| maven(pom, &libs.join(version), Some(version)))
    }

    fn check_fetched(&self, workspace: &Workspace) -> Result<(), Unavailable> {
        let (places, lock_path) = (self.places(workspace), self.lock);
        let other = |error: anyhow::Error| Unavailable::Other(format!("{error:#}"));
        let lock = std::fs::read_to_string(workspace.root.join(lock_path));
        let lock = lock.context(lock_path).map_err(other)?;
        if std::fs::read_to_string(&places.checked).is_ok_and(|old| old == lock) {
            return Ok(());
        }
        let differences = differences(&lock, &self.sums(&places.libs).map_err(other)?);
        if differences.is_empty() {
            return std::fs::write(&places.checked, &lock).map_err(|e| other(e.into()));
        }
        std::fs::remove_file(&places.fetched).ok();
        std::fs::remove_dir_all(&places.rejected).ok();
        std::fs::rename(&places.libs, &places.rejected).map_err(|e| other(e.into()))?;
        Err(Unavailable::Wrong(format!(
            "what came from Maven is not what {lock_path} names ({}). It was moved to {}. If pom.xml was changed on \
             purpose, write the lock anew with `cargo xtask peers {} --update-lock` and look at its diff; if not, do not \
             use it: empty ~/.m2/repository and fetch again, from another network if it stays",
            differences.join("; "),
            places.rejected.display(),
            self.name
        )))
    }

    /// A line for each jar: its SHA-256 and its name, which has its version in it.
    fn sums(&self, libs: &Path) -> Result<String> {
        let folders = if self.versions.is_empty() { &[""] } else { self.versions };
        let mut names: Vec<PathBuf> = Vec::new();
        for folder in folders {
            for entry in std::fs::read_dir(libs.join(folder))? {
                names.push(Path::new(folder).join(entry?.file_name()));
            }
        }
        names.sort();
        ensure!(!names.is_empty(), "no jars in {}", libs.display());
        let ran = Command::new("sha256sum").args(names).current_dir(libs).output();
        let ran = ran.context("sha256sum (Debian: coreutils) cannot be started")?;
        ensure!(ran.status.success(), "sha256sum: {}", String::from_utf8_lossy(&ran.stderr));
        Ok(String::from_utf8(ran.stdout)?)
    }
}

/// What is in one list of sums and not in the other, in words.
fn differences(lock: &str, found: &str) -> Vec<String> {
    let (lock, found) = (by_name(lock), by_name(found));
    let names: BTreeSet<&str> = lock.keys().chain(found.keys()).copied().collect();
    let words = |name: &str| match (lock.get(name), found.get(name)) {
        (Some(expected), Some(sum)) if expected == sum => None,
        (Some(expected), Some(sum)) => Some(format!("{name} has SHA-256 {sum}, not {expected}")),
        (Some(_), None) => Some(format!("{name} did not come")),
        (None, _) => Some(format!("{name} is not in the lock")),
    };
    names.into_iter().filter_map(words).collect()
}

fn by_name(list: &str) -> BTreeMap<&str, &str> {
    let pairs = list.lines().filter_map(|line| line.split_once("  "));
    pairs.map(|(sum, name)| (name, sum)).collect()
}

fn maven(pom: &Path, libs: &Path, version: Option<&str>) -> Result<()> {
    let mut command = Command::new("mvn");
    command.args(["-B", "-ntp", "-f"]).arg(pom);
    command.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
    command.arg(format!("-DoutputDirectory={}", libs.display())).arg("-DincludeScope=runtime");
    command.args(version.map(|version| format!("-Dkafka.version={version}")));
    let mut last_error = String::new();
    let ended = process::run_bounded(&mut command, ATTEMPT_LIMIT, |line| {
        if line.contains("Copying ") || line.contains("Downloading") {
            eprintln!("{line}");
        }
        if line.starts_with("[ERROR]") && last_error.is_empty() {
            last_error = line.to_string();
        }
    })?;
    if ended { Ok(()) } else { bail!("mvn failed: {last_error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jar_is_the_one_in_the_lock() {
        let lock = "aa  one-1.jar\nbb  two-2.jar\n";
        for (found, expected) in [
            (lock, vec![]),
            ("bb  two-2.jar\naa  one-1.jar\n", vec![]),
            ("aa  one-1.jar\nbc  two-2.jar\n", vec!["two-2.jar has SHA-256 bc, not bb"]),
            ("aa  one-1.jar\n", vec!["two-2.jar did not come"]),
            (
                "aa  one-1.jar\nbb  two-3.jar\n",
                vec!["two-2.jar did not come", "two-3.jar is not in the lock"],
            ),
        ] {
            assert_eq!(differences(lock, found), expected, "{found}");
        }
    }

    #[test]
    fn jars_that_differ_leave_the_class_path() {
        let root = std::env::temp_dir().join(format!("ottla-jars-{}", std::process::id()));
        let workspace =
            Workspace { root: root.clone(), target: root.join("target"), packages: Vec::new() };
        let places = KAFKA.places(&workspace);
        // A chosen folder of peers is none of this test's.
        if places.libs.starts_with(&root) {
            for folder in [&places.libs, &root.join(KAFKA.lock).parent().unwrap().to_path_buf()] {
                std::fs::create_dir_all(folder).unwrap();
            }
            std::fs::write(places.libs.join("one-1.jar"), "one").unwrap();
            std::fs::write(root.join(KAFKA.lock), KAFKA.sums(&places.libs).unwrap()).unwrap();
            assert!(KAFKA.check_fetched(&workspace).is_ok());
            std::fs::remove_file(&places.checked).unwrap();
            std::fs::write(places.libs.join("one-1.jar"), "other").unwrap();
            let Err(Unavailable::Wrong(why)) = KAFKA.check_fetched(&workspace) else {
                panic!("taken")
            };
            assert!(
                why.contains("one-1.jar has") && why.contains("peers java --update-lock"),
                "{why}"
            );
            assert!(!places.libs.exists() && places.rejected.join("one-1.jar").is_file());
        }
        std::fs::remove_dir_all(&root).ok();
    }
}
