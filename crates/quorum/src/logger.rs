//! Raft's own log lines, forwarded to whoever wants them.
//!
//! Crate raft logs through slog. A shell that wants the lines implements [`RaftLogger`]; without
//! one they go nowhere. There is no global logger.

use std::fmt::{self, Write as _};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use slog::{Drain, KV, Logger, OwnedKVList, Record, Serializer, o};

/// How important a line of raft is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every message.
    Debug,
    /// Elections and changes of state.
    Info,
    /// Something unexpected that raft copes with.
    Warn,
    /// A broken rule; raft panics after it.
    Error,
}

/// Takes raft's log lines.
pub trait RaftLogger: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Whether lines of this level are wanted; others are not even formatted.
    fn wants(&self, level: LogLevel) -> bool;

    /// Takes one line.
    fn log(&self, level: LogLevel, line: &str);
}

/// The logger that raft gets.
pub(crate) fn logger(target: Option<Arc<dyn RaftLogger>>) -> Logger {
    match target {
        Some(target) => Logger::root(Forward(target), o!()),
        None => Logger::root(slog::Discard, o!()),
    }
}

struct Forward(Arc<dyn RaftLogger>);

fn level(level: slog::Level) -> LogLevel {
    match level {
        slog::Level::Critical | slog::Level::Error => LogLevel::Error,
        slog::Level::Warning => LogLevel::Warn,
        slog::Level::Info => LogLevel::Info,
        slog::Level::Debug | slog::Level::Trace => LogLevel::Debug,
    }
}

impl Drain for Forward {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let level = level(record.level());
        if !self.0.wants(level) {
            return Ok(());
        }
        let mut line = Line(record.msg().to_string());
        // Values only fail to be written if memory does not suffice.
        let _ = record.kv().serialize(record, &mut line);
        let _ = values.serialize(record, &mut line);
        self.0.log(level, &line.0);
        Ok(())
    }

    fn is_enabled(&self, wanted: slog::Level) -> bool {
        self.0.wants(level(wanted))
    }
}

struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl RaftLogger for Lines {
        fn wants(&self, level: LogLevel) -> bool {
            level >= LogLevel::Info
        }

        fn log(&self, level: LogLevel, line: &str) {
            self.0.lock().unwrap().push(format!("{level:?} {line}"));
        }
    }

    #[test]
    fn lines_arrive_with_their_values() {
        let lines = Arc::new(Lines::default());
        let logger = logger(Some(lines.clone())).new(o!("raft_id" => 3));
        slog::info!(logger, "became leader"; "term" => 7);
        slog::debug!(logger, "not wanted");
        assert_eq!(*lines.0.lock().unwrap(), ["Info became leader term=7 raft_id=3"]);
    }
}
