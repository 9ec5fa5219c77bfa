//! How a command ends: exit codes, and failures with what to do about them.

use std::fmt;

use ottla_client::{ClientError, Refusal};
use ottla_types::ErrorCode;

/// Exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The broker refused, or the operation failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Some of several things failed.
    Partly = 3,
    /// No broker could be reached, or none answered in time.
    Connection = 4,
    /// Not authenticated or not allowed.
    Denied = 5,
    /// What was asked for does not exist.
    NotFound = 6,
    /// It exists already, or is in the way.
    Conflict = 7,
    /// A check found something unhealthy.
    Unhealthy = 10,
    /// Interrupted by Ctrl-C, or told to end (SIGTERM).
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// What every help text says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 usage, 3 partly failed, 4 no connection or no answer in \
time, 5 not allowed, 6 not found, 7 exists already or in the way, 10 unhealthy, 130 interrupted.";

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is the matter, without a full stop.
    pub message: String,
    /// What to do about it, as sentences.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match (&error, error.code()) {
            (ClientError::Invalid(_), _) => Exit::Usage,
            (_, Some(code)) => of_code(code),
            _ if error.is_connection() => Exit::Connection,
            _ => Exit::Failed,
        };
        let mut message = error.to_string();
        // The chain below, unless the text tells it already.
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self { exit, message, hint: error.hint() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::from(ClientError::from(refusal))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

fn of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::GroupIdNotFound
        | ErrorCode::ResourceNotFound
        | ErrorCode::BrokerNotAvailable => Exit::NotFound,
        ErrorCode::TopicAlreadyExists | ErrorCode::NonEmptyGroup => Exit::Conflict,
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::SaslAuthenticationFailed
        | ErrorCode::SecurityDisabled => Exit::Denied,
        ErrorCode::RequestTimedOut => Exit::Connection,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_find_their_exit_codes() {
        let refused = |code| {
            let what = "topic a".to_owned();
            Failure::from(Refusal { what, code, message: None }).exit
        };
        assert_eq!(refused(ErrorCode::UnknownTopicOrPartition), Exit::NotFound);
        assert_eq!(refused(ErrorCode::TopicAlreadyExists), Exit::Conflict);
        assert_eq!(refused(ErrorCode::TopicAuthorizationFailed), Exit::Denied);
        assert_eq!(refused(ErrorCode::InvalidConfig), Exit::Failed);
        let late = ClientError::TimedOut { what: "x".to_owned(), last: None };
        assert_eq!(Failure::from(late).exit, Exit::Connection);
        assert_eq!(Failure::from(ClientError::Invalid("x".to_owned())).exit, Exit::Usage);
    }

    #[test]
    fn advice_travels_with_the_failure() {
        let code = ErrorCode::UnknownTopicOrPartition;
        let refusal = Refusal { what: "topic a".to_owned(), code, message: None };
        assert!(Failure::from(refusal).hint.unwrap().contains("ottla topic list"));
    }
}
