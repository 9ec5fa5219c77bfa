//! What can be wrong with a configuration.
//!
//! The texts of [`ConfigError`] reach clients in answers to AlterConfigs and CreateTopics, so they
//! have Kafka's shape. Values of sensitive keys are never part of a text.

/// A key, a value or a combination of them that is not acceptable. The operator or the client
/// that asked for it has to change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The value does not fit the key.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Value {
        /// Name of the key.
        name: String,
        /// The value, or `[hidden]`.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A list is empty or contains an empty entry.
    #[error("Configuration '{name}' {reason}")]
    List {
        /// Name of the key.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that must be set is not.
    #[error("Missing required configuration \"{name}\" which has no default value.")]
    Missing {
        /// Name of the key.
        name: String,
    },
    /// There is no key of this name for this kind of resource.
    #[error("Unknown {resource} config name: {name}")]
    UnknownName {
        /// `topic` or `group`.
        resource: &'static str,
        /// The name as it was given.
        name: String,
    },
    /// What Kafka refuses as a request and not as a config, INVALID_REQUEST.
    #[error("{0}")]
    Request(String),
    /// Values that are each fine do not go together, or a change is not allowed.
    #[error("{0}")]
    Rule(String),
}

impl ConfigError {
    pub(crate) fn value(name: &str, value: &str, reason: impl Into<String>) -> Self {
        Self::Value { name: name.to_owned(), value: value.to_owned(), reason: reason.into() }
    }

    pub(crate) fn list(name: &str, reason: impl Into<String>) -> Self {
        Self::List { name: name.to_owned(), reason: reason.into() }
    }

    pub(crate) fn rule(text: impl Into<String>) -> Self {
        Self::Rule(text.into())
    }
}
