//! Kafka's tools by their names: `ottla`, called through a link `kafka-topics.sh`, is that tool.
//!
//! Flags, output and exit codes are those of Kafka 4.3's tools; `crates/conformance/tests/names.rs`
//! runs both and compares. What is our own: the words of the usage, and no stack traces.
//!
//! Not here: `ottla`'s own commands. Called by the name of a script of Kafka's that is in [`NOT_HERE`],
//! it says so, and does not take the words for its own.

mod arguments;
mod broker_api_versions;
mod cluster;
mod configs;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod delete_records;
mod directories;
mod dump_log;
mod dump_records;
mod features;
mod formatter;
mod get_offsets;
mod groups;
mod java;
mod levels;
mod lines;
mod link;
mod log_dirs;
mod options;
mod schema;
mod session;
mod stop;
mod storage;
mod topics;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use options::{Known, Options};
use stop::{Run, Stop};

pub(crate) use link::{LinkArgs, run as link_tools};
pub use storage::{Disk, FormatOrder, OrderedVoters};

/// A tool of Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `kafka-topics`
    Topics,
    /// `kafka-console-consumer`
    ConsoleConsumer,
    /// `kafka-console-producer`
    ConsoleProducer,
    /// `kafka-get-offsets`
    GetOffsets,
    /// `kafka-groups`
    Groups,
    /// `kafka-broker-api-versions`
    BrokerApiVersions,
    /// `kafka-log-dirs`
    LogDirs,
    /// `kafka-cluster`
    Cluster,
    /// `kafka-configs`
    Configs,
    /// `kafka-features`
    Features,
    /// `kafka-storage`
    Storage,
    /// `kafka-dump-log`
    DumpLog,
    /// `kafka-consumer-groups`
    ConsumerGroups,
    /// `kafka-delete-records`
    DeleteRecords,
}

/// The tools and their names; a link may end in `.sh`.
pub(crate) const TOOLS: [(&str, Tool); 14] = [
    ("kafka-broker-api-versions", Tool::BrokerApiVersions),
    ("kafka-cluster", Tool::Cluster),
    ("kafka-configs", Tool::Configs),
    ("kafka-console-consumer", Tool::ConsoleConsumer),
    ("kafka-console-producer", Tool::ConsoleProducer),
    ("kafka-consumer-groups", Tool::ConsumerGroups),
    ("kafka-delete-records", Tool::DeleteRecords),
    ("kafka-dump-log", Tool::DumpLog),
    ("kafka-features", Tool::Features),
    ("kafka-get-offsets", Tool::GetOffsets),
    ("kafka-groups", Tool::Groups),
    ("kafka-log-dirs", Tool::LogDirs),
    ("kafka-storage", Tool::Storage),
    ("kafka-topics", Tool::Topics),
];

/// Kafka's other scripts, and the command of `ottla` that does what they are for.
const NOT_HERE: [(&str, &str); 21] = [
    ("kafka-acls", ""),
    ("kafka-client-metrics", ""),
    ("kafka-console-share-consumer", ""),
    ("kafka-consumer-perf-test", ""),
    ("kafka-delegation-tokens", ""),
    ("kafka-e2e-latency", ""),
    ("kafka-leader-election", ""),
    ("kafka-metadata-quorum", "ottla quorum"),
    ("kafka-metadata-shell", "ottla metadata"),
    ("kafka-producer-perf-test", ""),
    ("kafka-reassign-partitions", ""),
    ("kafka-replica-verification", ""),
    ("kafka-server-start", "ottla server"),
    ("kafka-server-stop", ""),
    ("kafka-share-consumer-perf-test", ""),
    ("kafka-share-groups", ""),
    ("kafka-streams-application-reset", ""),
    ("kafka-streams-groups", ""),
    ("kafka-transactions", ""),
    ("kafka-verifiable-consumer", ""),
    ("kafka-verifiable-producer", ""),
];

/// The Kafka release whose tools these are.
const VERSION: &str = "4.3.1";

impl Tool {
    /// The tool that a program of this name is.
    ///
    /// # Errors
    /// What to say of a script of Kafka's that is not here.
    pub fn of_name(program: &OsStr) -> Result<Option<Self>, String> {
        let Some(name) = Path::new(program).file_name().and_then(OsStr::to_str) else {
            return Ok(None);
        };
        let name = name.strip_suffix(".sh").unwrap_or(name);
        let Some((_, instead)) = NOT_HERE.iter().find(|(known, _)| *known == name) else {
            return Ok(TOOLS.iter().find(|(known, _)| *known == name).map(|(_, tool)| *tool));
        };
        let hint = match *instead {
            "" => {
                "Apache Kafka's own works against Ottla as far as its requests are offered.".into()
            }
            command => format!("`{command}` does what it is for."),
        };
        Err(format!("{name} is not among the tools that ottla is by their names. {hint}"))
    }

    /// Runs it with these arguments, without the program's name; the value is its exit code.
    pub async fn run(self, arguments: Vec<OsString>, disk: &dyn Disk) -> u8 {
        let arguments: Vec<String> =
            arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let (known, done): (&[Known], _) = match self {
            Self::Topics => (topics::KNOWN, topics::run(&arguments).await),
            Self::ConsoleConsumer => {
                (console_consumer::KNOWN, console_consumer::run(&arguments).await)
            }
            Self::ConsoleProducer => {
                (console_producer::KNOWN, console_producer::run(&arguments).await)
            }
            Self::GetOffsets => (get_offsets::KNOWN, get_offsets::run(&arguments).await),
            Self::Groups => (groups::KNOWN, groups::run(&arguments).await),
            Self::BrokerApiVersions => {
                (broker_api_versions::KNOWN, broker_api_versions::run(&arguments).await)
            }
            Self::ConsumerGroups => {
                (consumer_groups::KNOWN, consumer_groups::run(&arguments).await)
            }
            Self::DeleteRecords => (delete_records::KNOWN, delete_records::run(&arguments).await),
            Self::Cluster => (&[], cluster::run(&arguments).await),
            Self::Configs => (configs::KNOWN, configs::run(&arguments).await),
            Self::Features => (&[], features::run(&arguments).await),
            Self::Storage => (&[], storage::run(&arguments, disk)),
            Self::DumpLog => (dump_log::KNOWN, dump_log::run(&arguments)),
            Self::LogDirs => (log_dirs::KNOWN, log_dirs::run(&arguments).await),
        };
        ended(known, done)
    }
}

fn ended(known: &[Known], done: Run<()>) -> u8 {
    match done {
        Ok(()) => 0,
        Err(Stop::Usage(message)) => {
            complain(&message);
            complain(options::usage(known).trim_end());
            1
        }
        Err(Stop::End { out, err, code }) => {
            if !out.is_empty() {
                say(&out);
            }
            if !err.is_empty() {
                complain(&err);
            }
            code
        }
        Err(Stop::Thrown { message, .. }) => {
            complain(&message);
            1
        }
    }
}

/// What most tools look at first.
fn help_or_version(options: &Options, about: &str) -> Run<()> {
    if options.is_empty() || options.has("help") {
        return Err(Stop::Usage(about.to_owned()));
    }
    if options.has("version") {
        return Err(Stop::done(VERSION));
    }
    Ok(())
}

/// A line on stdout. Whoever no longer reads it is no reason to fail.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// These bytes on stdout; false if nobody reads them.
fn say_part(bytes: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// A line on stderr.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let tool = |name: &str| Tool::of_name(OsStr::new(name)).unwrap();
        assert_eq!(tool("/usr/bin/kafka-topics.sh"), Some(Tool::Topics));
        assert_eq!(tool("kafka-topics"), Some(Tool::Topics));
        let page = include_str!("../../../../docs/kafka-tools.md");
        for (name, _) in TOOLS {
            assert!(page.contains(&format!("| `{name}` |")), "{name} is not in the page");
        }
        for other in ["ottla", "kafka-topic", "kafka-topics.bat", "/kafka-topics/ottla", ""] {
            assert_eq!(tool(other), None, "{other}");
        }
        for (name, command) in NOT_HERE {
            assert!(!TOOLS.iter().any(|(known, _)| *known == name), "{name} is here");
            let said = Tool::of_name(OsStr::new(&format!("/bin/{name}.sh"))).unwrap_err();
            assert!(said.starts_with(name) && said.contains(command), "{said}");
        }
    }
}
