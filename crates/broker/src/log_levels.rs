//! Levels of this process's loggers: what DescribeConfigs and IncrementalAlterConfigs show and
//! change under the resource BROKER_LOGGER (KIP-412).
//!
//! Logging itself is set up by whoever starts the node; this is what the node asks of it. Levels
//! are not stored: a restart begins with those of the command line.

use std::collections::BTreeMap;

/// The logger that stands for everything that is not named.
pub const ROOT_LOGGER: &str = "root";

/// How severe a line must be to be logged, by Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing: no line of this program has Kafka's level FATAL.
    Fatal,
    /// Something failed.
    Error,
    /// Something may fail.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What explains a decision.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// Every level, the quietest first.
    pub const ALL: [Self; 6] =
        [Self::Fatal, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The level of this name; Kafka knows them in capital letters only.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }
}

/// Reads and changes the levels of a process's loggers.
pub trait LogLevels: Send + Sync {
    /// Every logger that can be changed and its level, [`ROOT_LOGGER`] among them.
    fn levels(&self) -> BTreeMap<String, LogLevel>;

    /// Sets the level of a logger that [`LogLevels::levels`] names; `None` takes back what was
    /// set before.
    fn set(&self, logger: &str, level: Option<LogLevel>);
}
