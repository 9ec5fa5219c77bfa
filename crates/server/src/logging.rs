//! Where a node's log goes: stderr, as lines for people or one JSON object a line.
//!
//! `OTTLA_LOG` (or `RUST_LOG`) chooses levels, as in `info,ottla_log=debug`; the default is info,
//! which is quiet. Levels can be changed while the node runs ([`Levels`]).

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_broker::{LogLevel, LogLevels, ROOT_LOGGER};
use ottla_cli::LogFormat;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

/// Loggers beside the root: the crates that log.
const LOGGERS: &[&str] = &[
    "ottla_broker",
    "ottla_client",
    "ottla_group",
    "ottla_log",
    "ottla_metadata",
    "ottla_net",
    "ottla_quorum",
    "raft",
];

/// Starts logging; a second call changes nothing.
pub(crate) fn start(format: LogFormat, default: &str) -> Arc<dyn LogLevels> {
    let first = ["OTTLA_LOG", "RUST_LOG"].iter().find_map(|name| {
        let text = std::env::var(name).ok().filter(|text| !text.trim().is_empty())?;
        Targets::from_str(&text).ok()
    });
    let first = first.or_else(|| Targets::from_str(default).ok()).unwrap_or_default();
    let (filter, handle) = reload::Layer::new(first.clone());
    let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colour).with_target(false).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Fails only if somebody set one already.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Arc::new(Levels { first, handle, changed: Mutex::default() })
}

/// Levels of the loggers: those of the start, and what was changed since.
struct Levels<S> {
    first: Targets,
    handle: reload::Handle<Targets, S>,
    changed: Mutex<BTreeMap<String, LogLevel>>,
}

impl<S> Levels<S> {
    fn targets(&self, changed: &BTreeMap<String, LogLevel>) -> Targets {
        let mut targets = self.first.clone();
        for (logger, level) in changed {
            targets = match logger.as_str() {
                ROOT_LOGGER => targets.with_default(filter(*level)),
                logger => targets.with_target(logger, filter(*level)),
            };
        }
        targets
    }
}

impl<S> LogLevels for Levels<S>
where
    S: 'static,
    reload::Handle<Targets, S>: Send + Sync,
{
    fn levels(&self) -> BTreeMap<String, LogLevel> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let targets = self.targets(&changed);
        let loudest_first = [
            (LevelFilter::TRACE, LogLevel::Trace),
            (LevelFilter::DEBUG, LogLevel::Debug),
            (LevelFilter::INFO, LogLevel::Info),
            (LevelFilter::WARN, LogLevel::Warn),
            (LevelFilter::ERROR, LogLevel::Error),
        ];
        let of = |logger: &str| {
            let enabled = |(filter, _): &&(LevelFilter, LogLevel)| {
                filter.into_level().is_some_and(|level| targets.would_enable(logger, &level))
            };
            loudest_first.iter().find(enabled).map_or(LogLevel::Fatal, |(_, level)| *level)
        };
        let named = self.first.iter().map(|(target, _)| target).chain(LOGGERS.iter().copied());
        named.chain([ROOT_LOGGER]).map(|logger| (logger.to_owned(), of(logger))).collect()
    }

    fn set(&self, logger: &str, level: Option<LogLevel>) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        match level {
            Some(level) => changed.insert(logger.to_owned(), level),
            None => changed.remove(logger),
        };
        if let Err(error) = self.handle.reload(self.targets(&changed)) {
            tracing::error!(%error, "the level of a logger cannot be changed");
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Fatal => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_change_and_go_back() {
        let first = Targets::from_str("info,ottla_log=debug").unwrap();
        let (_layer, handle) = reload::Layer::<Targets, Registry>::new(first.clone());
        let levels = Levels { first, handle, changed: Mutex::default() };
        let shown = || {
            let all = levels.levels();
            ["root", "ottla_log", "ottla_net"].map(|logger| all[logger].name()).join(" ")
        };
        assert_eq!(shown(), "INFO DEBUG INFO");
        levels.set("ottla_log", Some(LogLevel::Fatal));
        levels.set("ottla_net", Some(LogLevel::Trace));
        levels.set(ROOT_LOGGER, Some(LogLevel::Warn));
        assert_eq!(shown(), "WARN FATAL TRACE");
        assert_eq!(levels.levels()["ottla_broker"], LogLevel::Warn);
        levels.set("ottla_log", None);
        levels.set("ottla_net", None);
        assert_eq!(shown(), "WARN DEBUG WARN");
        let now = levels.handle.clone_current().unwrap();
        assert!(now.would_enable("ottla_log", &tracing::Level::DEBUG));
        assert!(!now.would_enable("ottla_net", &tracing::Level::INFO));
    }
}
