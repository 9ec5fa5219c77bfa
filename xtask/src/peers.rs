//! `cargo xtask peers`: the foreign programs that Ottla is proven with, by name and exact version.
//!
//! Everything comes from package registries into one folder (`target/peers`, or `OTTLA_PEERS`); nothing is
//! committed but the locks. System packages are installed only on request.

mod clients;
mod jars;

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::{self, Workspace};

/// Which peers, and how far to go for them.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Peers by name; all of them if none is given.
    names: Vec<String>,
    /// Also install missing system packages (apt-get, as root).
    #[arg(long)]
    install_system: bool,
    /// Fetch the jars anew and take their checksums for right; after a change of a pom.xml.
    #[arg(long)]
    update_lock: bool,
}

/// A foreign program or library.
pub(crate) struct Peer {
    /// Its name on the command line and in skip messages.
    pub(crate) name: &'static str,
    what: &'static str,
    /// Programs that must be on the path, and the Debian package that brings each.
    needs: &'static [(&'static str, &'static str)],
    /// Whether continuous integration fails without it, whatever the reason.
    always: bool,
    fetch: fn(&Workspace) -> Result<(), Unavailable>,
}

/// Whether a peer can be used.
pub(crate) enum Status {
    Ready,
    /// Something is missing on this machine.
    Missing(String),
    /// The registry did not answer, after retries.
    Unreachable(String),
    /// What came is not what the lock names; an error everywhere.
    Wrong(String),
}

/// Why a fetch failed.
enum Unavailable {
    Registry(String),
    Wrong(String),
    Other(String),
}

const PEERS: &[Peer] = &[
    Peer {
        name: "java",
        what: "Apache Kafka 4.3.1: broker, tools, clients (Maven)",
        needs: &[
            ("java", "openjdk-17-jdk-headless"),
            ("javac", "openjdk-17-jdk-headless"),
            ("mvn", "maven"),
            ("sha256sum", "coreutils"),
        ],
        always: true,
        fetch: |workspace| jars::KAFKA.fetch(workspace),
    },
    Peer {
        name: "librdkafka",
        what: "librdkafka, built by crate rdkafka",
        needs: &[("cc", "gcc"), ("make", "make"), ("bash", "bash")],
        always: true,
        fetch: |_| Ok(()),
    },
    Peer {
        name: "python",
        what: "confluent-kafka, kafka-python, aiokafka (PyPI)",
        needs: &[("python3", "python3-venv"), ("sh", "dash")],
        always: false,
        fetch: clients::python,
    },
    Peer {
        name: "python-old",
        what: "librdkafka 2.0.2 in confluent-kafka 2.0.2 (PyPI)",
        needs: &[("python3", "python3-venv"), ("sh", "dash")],
        always: false,
        fetch: clients::python_old,
    },
    Peer {
        name: "node",
        what: "kafkajs, @platformatic/kafka (npm)",
        needs: &[("node", "nodejs"), ("npm", "npm"), ("sh", "dash")],
        always: false,
        fetch: clients::node,
    },
    Peer {
        name: "go",
        what: "franz-go, sarama, kafka-go (Go modules)",
        needs: &[("go", "golang-go"), ("env", "coreutils"), ("sh", "dash")],
        always: false,
        fetch: clients::go,
    },
    Peer {
        name: "kcat",
        what: "kcat 1.7.1 with librdkafka 2.0.2 (Debian 12)",
        needs: &[("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("env", "coreutils"), ("sh", "dash")],
        always: false,
        fetch: clients::kcat,
    },
    Peer {
        name: "kafka-clients",
        what: "kafka-clients of several years, for the matrix (Maven)",
        needs: &[("java", "openjdk-17-jdk-headless"), ("mvn", "maven"), ("sha256sum", "coreutils")],
        always: false,
        fetch: |workspace| jars::CLIENTS.fetch(workspace),
    },
];

/// Fetches and prints the table; a named peer that cannot be had is an error.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let workspace = workspace::load()?;
    if let Some(unknown) = arguments.names.iter().find(|n| PEERS.iter().all(|p| p.name != **n)) {
        let known: Vec<_> = PEERS.iter().map(|p| p.name).collect();
        bail!("no peer is called `{unknown}`; there are: {}", known.join(", "));
    }
    if arguments.install_system {
        install_system(arguments)?;
    }
    if arguments.update_lock {
        for (jars, name) in [(jars::KAFKA, "java"), (jars::CLIENTS, "kafka-clients")] {
            if arguments.names.is_empty() || arguments.names.iter().any(|chosen| chosen == name) {
                jars.update_lock(&workspace)?;
            }
        }
    }
    let named =
        |p: &&Peer| arguments.names.is_empty() || arguments.names.iter().any(|n| n == p.name);
    let found: Vec<_> = PEERS.iter().filter(named).map(|p| (p, p.prepare(&workspace))).collect();
    println!("{}", table(&found));
    let missing = found.iter().any(|(_, s)| !matches!(s, Status::Ready));
    if missing && !arguments.names.is_empty() {
        bail!("not every named peer can be had");
    }
    verdict(&found, is_ci())
}

/// Fetches all peers for a run of tests.
pub(crate) fn prepare_all(workspace: &Workspace) -> Vec<(&'static Peer, Status)> {
    PEERS.iter().map(|p| (p, p.prepare(workspace))).collect()
}

/// Whether the environment says that this is continuous integration.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|v| v == "true" || v == "1")
}

/// At home a missing peer is a loud skip; in continuous integration it is a failure, unless its registry
/// did not answer and the peer is not one of those that always run.
pub(crate) fn verdict(found: &[(&Peer, Status)], ci: bool) -> Result<()> {
    let fatal: Vec<&str> = found
        .iter()
        .filter(|(peer, status)| match status {
            Status::Ready => false,
            Status::Missing(_) => ci,
            Status::Unreachable(_) => ci && peer.always,
            Status::Wrong(_) => true,
        })
        .map(|(peer, _)| peer.name)
        .collect();
    if fatal.is_empty() {
        Ok(())
    } else {
        let reason =
            if ci { "CI=true, and these peers are missing" } else { "these peers are wrong" };
        bail!("{reason}: {}", fatal.join(", "))
    }
}

/// What tests are told, so that they skip in continuous integration too: optional peers whose registry did not answer.
pub(crate) fn unreachable(found: &[(&Peer, Status)]) -> (&'static str, String) {
    let optional = found
        .iter()
        .filter(|(peer, status)| matches!(status, Status::Unreachable(_)) && !peer.always);
    let names: Vec<&str> = optional.map(|(peer, _)| peer.name).collect();
    ("OTTLA_UNREACHABLE", names.join(","))
}

/// One line for each peer: its name, whether it is there, and if not, why.
pub(crate) fn table(found: &[(&Peer, Status)]) -> String {
    let mut text = format!("{:<14}{:<10}{}", "peer", "", "what, or why not");
    for (peer, status) in found {
        let (word, why) = match status {
            Status::Ready => ("ready", peer.what.to_string()),
            Status::Missing(why) => ("SKIPPED", why.clone()),
            Status::Unreachable(why) => ("SKIPPED", format!("registry does not answer: {why}")),
            Status::Wrong(why) => ("REFUSED", why.clone()),
        };
        text.push_str(&format!("\n{:<14}{word:<10}{why}", peer.name));
    }
    text
}

impl Peer {
    fn prepare(&self, workspace: &Workspace) -> Status {
        let missing: Vec<_> =
            self.needs.iter().filter(|(program, _)| !process::exists(program)).collect();
        if !missing.is_empty() {
            let words: Vec<_> = missing
                .iter()
                .map(|(program, package)| format!("{program} (Debian: {package})"))
                .collect();
            return Status::Missing(format!("not on the path: {}", words.join(", ")));
        }
        match (self.fetch)(workspace) {
            Ok(()) => Status::Ready,
            Err(Unavailable::Registry(why)) => Status::Unreachable(why),
            Err(Unavailable::Wrong(why)) => Status::Wrong(why),
            Err(Unavailable::Other(why)) => Status::Missing(why),
        }
    }
}

fn install_system(arguments: &Arguments) -> Result<()> {
    let named =
        |p: &&Peer| arguments.names.is_empty() || arguments.names.iter().any(|n| n == p.name);
    let mut packages: Vec<&str> = PEERS
        .iter()
        .filter(named)
        .flat_map(|p| p.needs)
        .filter(|(program, _)| !process::exists(program))
        .map(|(_, package)| *package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    process::run(&mut command).context("apt-get wants root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(always: bool) -> Peer {
        Peer { name: "p", what: "a peer", needs: &[], always, fetch: |_| Ok(()) }
    }

    #[test]
    fn a_missing_peer_fails_only_in_ci() {
        let found = peer(false);
        let missing = || [(&found, Status::Missing("no java".into()))];
        assert!(verdict(&missing(), false).is_ok());
        assert!(verdict(&missing(), true).is_err());
    }

    #[test]
    fn a_silent_registry_is_reported_unless_the_peer_always_runs() {
        let (optional, always) = (peer(false), peer(true));
        assert!(verdict(&[(&optional, Status::Unreachable("timeout".into()))], true).is_ok());
        assert!(verdict(&[(&always, Status::Unreachable("timeout".into()))], true).is_err());
        let silent = || Status::Unreachable("timeout".into());
        let missing = Status::Missing("no node".into());
        let found = [(&optional, silent()), (&optional, missing), (&always, silent())];
        assert_eq!(unreachable(&found).1, "p");
        let text = table(&[(&optional, Status::Unreachable("timeout".into()))]);
        assert!(text.contains("SKIPPED") && text.contains("timeout"), "{text}");
    }

    #[test]
    fn a_peer_that_is_not_the_one_in_the_lock_fails_everywhere() {
        let found = [(&peer(false), Status::Wrong("a.jar has another checksum".into()))];
        assert!(verdict(&found, false).is_err() && verdict(&found, true).is_err());
        assert!(table(&found).contains("REFUSED   a.jar has"), "{}", table(&found));
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let needs = Peer { needs: &[("no-such-program", "its-package")], ..peer(false) };
        let workspace = Workspace { root: "/".into(), target: "/".into(), packages: Vec::new() };
        let Status::Missing(why) = needs.prepare(&workspace) else { panic!("it is not there") };
        assert!(why.contains("no-such-program (Debian: its-package)"), "{why}");
    }
}
