//! Settings: each key's text, and where it came from.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{table, value::HIDDEN};

/// Key names and their texts, as files, dynamic configs and topics carry them.
pub type Texts = BTreeMap<String, String>;

/// Where a setting came from; a later kind wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// What this server sets when there is no file.
    BuiltIn,
    /// A line of a file.
    File {
        /// Path as it was given.
        path: Arc<str>,
        /// Number of the line, from 1.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        variable: String,
    },
    /// The command line.
    Override,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Env { variable } => write!(f, "environment variable {variable}"),
            Self::Override => f.write_str("--override"),
        }
    }
}

/// One key that is set. Its `Debug` hides the text of sensitive and of unknown keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The text, with references to config providers replaced.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
    /// Whether the text must not be shown.
    pub sensitive: bool,
}

impl Setting {
    /// The text, or `[hidden]`.
    pub fn shown(&self) -> &str {
        if self.sensitive { HIDDEN } else { &self.text }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.shown(), self.origin)
    }
}

/// Everything that is set before the start: file, environment and command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    entries: BTreeMap<String, Setting>,
}

impl Settings {
    /// The setting of this key, if it is set.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.entries.get(name)
    }

    /// Whether this key is set.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// All settings in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.entries.iter().map(|(name, setting)| (name.as_str(), setting))
    }

    /// Names and texts. Sensitive texts are in it: never show it.
    pub fn texts(&self) -> Texts {
        let pair = |(name, setting): (&String, &Setting)| (name.clone(), setting.text.clone());
        self.entries.iter().map(pair).collect()
    }

    pub(crate) fn set(&mut self, name: &str, text: &str, origin: Origin) {
        let setting = Setting { text: text.to_owned(), origin, sensitive: is_sensitive(name) };
        self.entries.insert(name.to_owned(), setting);
    }

    pub(crate) fn replace_text(&mut self, name: &str, text: String) {
        if let Some(setting) = self.entries.get_mut(name) {
            setting.text = text;
        }
    }
}

/// Whether a broker key's text must not be shown; a key that is not known may be a secret.
pub fn is_sensitive(name: &str) -> bool {
    let key =
        table::broker_key(name).or_else(|| table::listener_base(name).and_then(table::broker_key));
    match key {
        Some(key) => key.is_sensitive(),
        None => !name.starts_with("config.providers."),
    }
}
