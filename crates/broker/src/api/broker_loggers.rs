//! The resource BROKER_LOGGER of DescribeConfigs and IncrementalAlterConfigs: levels of this
//! broker's loggers (KIP-412). They are this process's own, so the controller never sees them.

use ottla_codec::Str;
use ottla_protocol::describe_configs_response::DescribeConfigsResourceResult;
use ottla_types::ErrorCode;

use super::alter_configs::Change;
use crate::log_levels::{LogLevel, LogLevels, ROOT_LOGGER};
use crate::refusal::Refusal;
use crate::shared::Shared;

/// Where the value of a logger comes from, on the wire.
const DYNAMIC_BROKER_LOGGER: i8 = 6;

/// Every logger and its level.
pub(super) fn describe(
    shared: &Shared,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if name.is_empty() {
        return Err(invalid("Broker id must not be empty".to_owned()));
    }
    check_id(name, shared, "Broker")?;
    let Some(levels) = shared.log_levels.get() else { return Ok(Vec::new()) };
    let one = |(name, level): (String, LogLevel)| DescribeConfigsResourceResult {
        name: Str::from(name),
        value: Some(Str::from_static(level.name())),
        config_source: DYNAMIC_BROKER_LOGGER,
        ..Default::default()
    };
    Ok(levels.levels().into_iter().map(one).collect())
}

/// Checks all changes, then makes them unless they are only to be checked.
pub(crate) fn alter(
    shared: &Shared,
    name: &str,
    changes: &[Change<'_>],
    validate_only: bool,
) -> Result<(), Refusal> {
    check_id(name, shared, "Node")?;
    let Some(levels) = shared.log_levels.get() else {
        let text = "the levels of this process cannot be changed".to_owned();
        return Err(Refusal::with_string(ErrorCode::InvalidConfig, text));
    };
    let changes = checked(&**levels, changes)?;
    if !validate_only {
        for (logger, level) in changes {
            levels.set(logger, level);
            let level = level.map(LogLevel::name);
            tracing::warn!(logger, level, "the level of a logger was changed");
        }
    }
    Ok(())
}

type Wanted<'a> = (&'a str, Option<LogLevel>);

fn checked<'a>(levels: &dyn LogLevels, changes: &[Change<'a>]) -> Result<Vec<Wanted<'a>>, Refusal> {
    let known = levels.levels();
    let exists = |logger: &str| match known.contains_key(logger) {
        true => Ok(()),
        false => {
            let text = format!("Logger {logger} does not exist!");
            Err(Refusal::with_string(ErrorCode::InvalidConfig, text))
        }
    };
    changes
        .iter()
        .map(|change| {
            let logger = change.name;
            match change.op {
                0 => {
                    exists(logger)?;
                    let name = change.value.unwrap_or_default();
                    let level = LogLevel::parse(name).ok_or_else(|| unsupported(logger, name))?;
                    Ok((logger, Some(level)))
                }
                1 => {
                    exists(logger)?;
                    match logger == ROOT_LOGGER {
                        true => Err(invalid(format!(
                            "Removing the log level of the {ROOT_LOGGER} logger is not allowed"
                        ))),
                        false => Ok((logger, None)),
                    }
                }
                2 => Err(invalid(format!("APPEND {NOT_ALLOWED}"))),
                3 => Err(invalid(format!("SUBTRACT {NOT_ALLOWED}"))),
                // Kafka 4.3 trips over it.
                _ => Err(Refusal::new(ErrorCode::UnknownServerError)),
            }
        })
        .collect()
}

const NOT_ALLOWED: &str = "operation is not allowed for the BROKER_LOGGER resource";

fn unsupported(logger: &str, level: &str) -> Refusal {
    let mut valid: Vec<&str> = LogLevel::ALL.into_iter().map(LogLevel::name).collect();
    valid.sort_unstable();
    let text = format!(
        "Cannot set the log level of {logger} to {level} as it is not a supported log level. \
         Valid log levels are {}",
        valid.join(", ")
    );
    Refusal::with_string(ErrorCode::InvalidConfig, text)
}

/// That a resource is named after this node.
pub(super) fn check_id(name: &str, shared: &Shared, what: &str) -> Result<(), Refusal> {
    let own = shared.node_id().to_wire();
    match name.parse::<i32>() {
        Ok(id) if id == own => Ok(()),
        Ok(_) => {
            let text = format!("Unexpected broker id, expected {own}, but received {name}");
            Err(invalid(text))
        }
        Err(_) => Err(invalid(format!("{what} id must be an integer, but it is: {name}"))),
    }
}

fn invalid(text: String) -> Refusal {
    Refusal::with_string(ErrorCode::InvalidRequest, text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Logger, operation and level of each change.
    type Script<'a> = &'a [(&'a str, i8, &'a str)];

    struct Two;

    impl LogLevels for Two {
        fn levels(&self) -> BTreeMap<String, LogLevel> {
            [(ROOT_LOGGER, LogLevel::Info), ("ottla_log", LogLevel::Warn)]
                .map(|(name, level)| (name.to_owned(), level))
                .into()
        }

        fn set(&self, _logger: &str, _level: Option<LogLevel>) {}
    }

    fn check(script: Script<'_>) -> String {
        let change = |&(name, op, value)| Change { name, op, value: Some(value) };
        let changes: Vec<Change<'_>> = script.iter().map(change).collect();
        match checked(&Two, &changes) {
            Ok(changes) => format!("{changes:?}"),
            Err(refusal) => format!("{:?} {}", refusal.code, refusal.text().unwrap_or("-")),
        }
    }

    #[test]
    fn changes_are_checked_in_kafkas_order() {
        let table: &[(Script<'_>, &str)] = &[
            (
                &[("ottla_log", 0, "DEBUG"), ("root", 0, "WARN")],
                "[(\"ottla_log\", Some(Debug)), (\"root\", Some(Warn))]",
            ),
            (&[("ottla_log", 1, "")], "[(\"ottla_log\", None)]"),
            (
                &[("root", 1, "")],
                "InvalidRequest Removing the log level of the root logger is not allowed",
            ),
            (&[("nobody", 0, "DEBUG")], "InvalidConfig Logger nobody does not exist!"),
            (&[("nobody", 1, "")], "InvalidConfig Logger nobody does not exist!"),
            (
                &[("ottla_log", 0, "debug")],
                "InvalidConfig Cannot set the log level of ottla_log to debug as it is not a \
                 supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
            ),
            (
                &[("nobody", 2, "DEBUG")],
                "InvalidRequest APPEND operation is not allowed for the BROKER_LOGGER resource",
            ),
            (
                &[("root", 3, "DEBUG")],
                "InvalidRequest SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
            ),
            (&[("root", 9, "")], "UnknownServerError -"),
        ];
        for (script, expected) in table {
            assert_eq!(check(script), *expected);
        }
    }
}
