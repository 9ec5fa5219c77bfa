//! Client libraries of other languages, from their registries by locked version and checksum.
//!
//! What is fetched lies in a folder of its own below the peers; a copy of the lock beside it says that it is
//! there and whose it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Unavailable;
use crate::process;
use crate::workspace::{self, Workspace};

const ATTEMPTS: u32 = 3;
const ATTEMPT_LIMIT: Duration = Duration::from_secs(600);

/// How the libraries of one language come.
struct Language {
    name: &'static str,
    /// The lock, in the repository.
    lock: &'static str,
    /// Fetches into a folder; run again after a failure.
    fetch: fn(sources: &Path, folder: &Path) -> Result<()>,
}

/// confluent-kafka, kafka-python and aiokafka, in a virtual environment.
pub(super) fn python(workspace: &Workspace) -> Result<(), Unavailable> {
    let fetch = |sources: &Path, folder: &Path| wheels(&sources.join("requirements.txt"), folder);
    let lock = "crates/conformance/clients/python/requirements.txt";
    Language { name: "python", lock, fetch }.prepare(workspace)
}

/// An old librdkafka, in a virtual environment of its own.
pub(super) fn python_old(workspace: &Workspace) -> Result<(), Unavailable> {
    let fetch = |sources: &Path, folder: &Path| wheels(&sources.join("old.txt"), folder);
    Language { name: "python-old", lock: "crates/conformance/clients/python/old.txt", fetch }
        .prepare(workspace)
}

fn wheels(lock: &Path, folder: &Path) -> Result<()> {
    fetched(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"]);
    fetched(pip.args(["--require-hashes", "--only-binary=:all:", "-r"]).arg(lock))
}

/// kafkajs and @platformatic/kafka; their install scripts are not run.
pub(super) fn node(workspace: &Workspace) -> Result<(), Unavailable> {
    let fetch = |sources: &Path, folder: &Path| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(sources.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        fetched(npm.arg("--prefix").arg(folder))
    };
    let lock = "crates/conformance/clients/node/package-lock.json";
    Language { name: "node", lock, fetch }.prepare(workspace)
}

/// franz-go, sarama and kafka-go in one program; nothing of the machine's Go but its compiler is used.
pub(super) fn go(workspace: &Workspace) -> Result<(), Unavailable> {
    fn command(sources: &Path, folder: &Path) -> Command {
        let mut command = Command::new("env");
        // An older compiler fetches the one that go.mod names; without -modcacherw, nothing can be removed again.
        command.args(["GOTOOLCHAIN=auto", "GOFLAGS=-mod=readonly -modcacherw -buildvcs=false"]);
        command.args(["CGO_ENABLED=0", "GOWORK=off", "GOMODCACHE="]);
        for (name, below) in [("GOPATH", "path"), ("GOCACHE", "cache")] {
            command.arg(format!("{name}={}", folder.join(below).display()));
        }
        command.args(["go", "-C"]).arg(sources);
        command
    }
    let fetch =
        |sources: &Path, folder: &Path| fetched(command(sources, folder).args(["mod", "download"]));
    let lock = "crates/conformance/clients/go/go.sum";
    Language { name: "go", lock, fetch }.prepare(workspace)?;
    let folder = workspace::peers_folder(workspace).join("go");
    let sources = workspace.root.join("crates/conformance/clients/go");
    // The program is of this repository, and may have changed since.
    fetched(command(&sources, &folder).args(["build", "-o"]).arg(folder.join("driver")))
        .map_err(|error| Unavailable::Other(format!("go build: {error:#}")))
}

/// kcat as Debian ships it, unpacked and not installed: root is not needed. apt-get checks signatures, with lists
/// of packages of its own.
pub(super) fn kcat(workspace: &Workspace) -> Result<(), Unavailable> {
    let fetch = |sources: &Path, folder: &Path| {
        let lock = std::fs::read_to_string(sources.join("packages.txt"))?;
        let apt = folder.join("apt");
        for below in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(apt.join(below))?;
        }
        let apt_get = |arguments: &[&str]| {
            let mut command = Command::new("env");
            command.arg("-C").arg(&apt).args(["apt-get", "--quiet", "-oDebug::NoLocking=1"]);
            command.args(["-oAPT::Sandbox::User=", "-oAcquire::Retries=2"]);
            for (name, below) in [("State::lists", "lists"), ("Cache", "cache")] {
                command.arg(format!("-oDir::{name}={}", apt.join(below).display()));
            }
            fetched(command.args(arguments))
        };
        apt_get(&["update", "--error-on=any"])?;
        let packages: Vec<&str> = ["download"].into_iter().chain(lock.split_whitespace()).collect();
        apt_get(&packages)?;
        for entry in std::fs::read_dir(&apt)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                fetched(Command::new("dpkg-deb").arg("--extract").args([&path, folder]))?;
            }
        }
        std::fs::remove_dir_all(&apt)?;
        Ok(())
    };
    let lock = "crates/conformance/clients/kcat/packages.txt";
    Language { name: "kcat", lock, fetch }.prepare(workspace)
}

impl Language {
    fn prepare(&self, workspace: &Workspace) -> Result<(), Unavailable> {
        let other = |error: std::io::Error| Unavailable::Other(error.to_string());
        let folder = workspace::peers_folder(workspace).join(self.name);
        let lock_path = workspace.root.join(self.lock);
        let lock = std::fs::read_to_string(&lock_path).map_err(other)?;
        let taken: PathBuf = folder.join("fetched.lock");
        if std::fs::read_to_string(&taken).is_ok_and(|old| old == lock) {
            return Ok(());
        }
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder).map_err(other)?;
        }
        std::fs::create_dir_all(&folder).map_err(other)?;
        let sources = lock_path.parent().unwrap_or(&workspace.root);
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            eprintln!("fetching clients for {}, attempt {attempt} of {ATTEMPTS}", self.name);
            match (self.fetch)(sources, &folder) {
                Ok(()) => return std::fs::write(&taken, &lock).map_err(other),
                Err(error) => last = format!("{error:#}"),
            }
        }
        Err(unavailable(last))
    }
}

/// Content of another checksum is an error everywhere; anything else may pass by itself.
fn unavailable(why: String) -> Unavailable {
    let wrong = ["DO NOT MATCH THE HASHES", "EINTEGRITY", "SECURITY ERROR"];
    if wrong.iter().any(|word| why.contains(word)) {
        Unavailable::Wrong(why)
    } else if why.contains("(from versions: ") && !why.contains("(from versions: none)")
        || why.contains("was not found") && why.contains("E: Version")
    {
        // An index that does not answer has no versions at all.
        Unavailable::Other(format!("nothing is published for this machine: {why}"))
    } else {
        Unavailable::Registry(why)
    }
}

fn fetched(command: &mut Command) -> Result<()> {
    let mut last = Vec::new();
    let mut with_errors = Command::new("sh");
    // What went wrong stands on stderr; the reader has stdout alone.
    with_errors.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program());
    with_errors.args(command.get_args());
    let ended = process::run_bounded(&mut with_errors, ATTEMPT_LIMIT, |line| {
        last.push(line.to_string());
    })?;
    let from = last.len().saturating_sub(10);
    if ended { Ok(()) } else { bail!("{}", last.split_off(from).join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_checksum_is_no_bad_day_of_the_registry() {
        let wrong = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.";
        assert!(matches!(unavailable(wrong.into()), Unavailable::Wrong(_)));
        let wrong =
            "verifying x@v1: checksum mismatch; ; SECURITY ERROR; This download does NOT match";
        assert!(matches!(unavailable(wrong.into()), Unavailable::Wrong(_)));
        let versions = |found| format!("no version satisfies a==1 (from versions: {found})");
        assert!(matches!(unavailable(versions("2, 3")), Unavailable::Other(_)));
        assert!(matches!(unavailable(versions("none")), Unavailable::Registry(_)));
        let package = "E: Version '1' for 'kcat' was not found";
        assert!(matches!(unavailable(package.into()), Unavailable::Other(_)));
        assert!(matches!(unavailable("Connection refused".into()), Unavailable::Registry(_)));
    }

    #[test]
    fn what_failed_is_told() {
        assert!(fetched(Command::new("sh").args(["-c", "true"])).is_ok());
        let failed = fetched(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 1"]));
        assert_eq!(failed.unwrap_err().to_string(), "one; two");
    }
}
