//! From a file, the environment and the command line to a configuration.

use std::path::Path;

use ottla_config::{ConfigError, Input, Loaded, Lookup, Rejected, load, parse_override};

use crate::exit::{Exit, Failure};

/// Reads what the configuration refers to: environment variables and other files.
pub(crate) struct System;

impl Lookup for System {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

/// Loads the configuration of a node.
///
/// # Errors
/// The file cannot be read, or a node cannot run with what is configured.
pub fn read_settings(
    file: Option<&Path>,
    overrides: &[String],
    strict: bool,
) -> Result<Loaded, Failure> {
    let input = input(file, overrides, strict)?;
    load(&input, &System).map_err(|rejected| {
        Failure::new(Exit::Usage, rejected.to_string()).with_hint(advice(&rejected))
    })
}

/// What to do about a configuration that no node can run with.
pub(crate) fn advice(rejected: &Rejected) -> &'static str {
    let missing =
        |problem: &ottla_config::Problem| matches!(problem.error, ConfigError::Missing { .. });
    if rejected.problems.iter().any(missing) {
        "A node that is broker and controller needs process.roles=broker,controller, node.id, \
         controller.listener.names, listeners, controller.quorum.voters and log.dirs; without a \
         file `ottla server` has all of them. `ottla config explain KEY` says what a key is for."
    } else {
        "`ottla config explain KEY` says what a key is for and what it takes."
    }
}

/// What there is to load.
pub(crate) fn input(
    file: Option<&Path>,
    overrides: &[String],
    strict: bool,
) -> Result<Input, Failure> {
    let file = match file {
        None => None,
        Some(path) => {
            let unreadable = |error| {
                let text = format!("{} cannot be read: {error}", path.display());
                Failure::new(Exit::NotFound, text).with_hint(
                    "Name the server.properties of a node. Without a file `ottla server` runs a \
                     node on loopback with its data in ./data.",
                )
            };
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            Some((path.display().to_string(), text))
        }
    };
    let overrides = overrides.iter().map(|text| parse_override(text));
    let overrides = overrides.collect::<Result<Vec<_>, _>>();
    Ok(Input {
        file,
        env: std::env::vars().filter(|(name, _)| name.starts_with("KAFKA_")).collect(),
        overrides: overrides.map_err(|error| Failure::usage(error.to_string()))?,
        strict,
    })
}
