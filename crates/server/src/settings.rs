//! From a file, the environment and the command line to a configuration.

use std::path::Path;

use ottla_cli::{Exit, Failure};
use ottla_config::{Input, Loaded, Lookup, load, parse_override};

/// Reads what the configuration refers to: environment variables and other files.
struct System;

impl Lookup for System {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

/// Loads a configuration.
pub(crate) fn read(
    file: Option<&Path>,
    overrides: &[String],
    strict: bool,
) -> Result<Loaded, Failure> {
    let file = match file {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::new(Exit::NotFound, format!("{} cannot be read: {error}", path.display()))
            })?;
            Some((path.display().to_string(), text))
        }
    };
    let overrides = overrides
        .iter()
        .map(|text| parse_override(text).map_err(|error| Failure::usage(error.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    let env = std::env::vars().filter(|(name, _)| name.starts_with("KAFKA_")).collect();
    let input = Input { file, env, overrides, strict };
    load(&input, &System).map_err(|rejected| {
        Failure::new(Exit::Usage, rejected.to_string())
            .with_hint("`ottla config explain KEY` says what a key is for.")
    })
}
