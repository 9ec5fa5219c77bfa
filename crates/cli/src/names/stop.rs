//! How a tool ends early: with a usage text, with a word and a code, or as by an exception that the
//! tool reports in its own way.
//!
//! Kafka's tools print the stack of an exception as well; there is none here.

use ottla_client::{ClientError, Refusal};
use ottla_types::ErrorCode;

/// Why a tool goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// This on stderr and the options, exit code 1.
    Usage(String),
    /// These on stdout and stderr, and this exit code.
    End { out: String, err: String, code: u8 },
    /// What is an exception in Kafka: its class where a tool prints that, and its message.
    Thrown { class: String, message: String },
}

/// What a tool does.
pub(super) type Run<T> = Result<T, Stop>;

impl Stop {
    /// Done, early.
    pub(super) fn done(out: impl Into<String>) -> Self {
        Self::End { out: out.into(), err: String::new(), code: 0 }
    }

    /// This on stderr, and 1.
    pub(super) fn err(err: impl Into<String>) -> Self {
        Self::End { out: String::new(), err: err.into(), code: 1 }
    }

    /// This on stdout, and 1.
    pub(super) fn out(out: impl Into<String>) -> Self {
        Self::End { out: out.into(), err: String::new(), code: 1 }
    }

    /// A signal, which a Java machine ends with this code after all was put in order.
    pub(super) fn signal(code: u8) -> Self {
        Self::End { out: String::new(), err: String::new(), code }
    }

    /// An `IllegalArgumentException`.
    pub(super) fn illegal(message: impl Into<String>) -> Self {
        let class = "java.lang.IllegalArgumentException".to_owned();
        Self::Thrown { class, message: message.into() }
    }

    /// An error of one of Kafka's numbers.
    pub(super) fn kafka(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Thrown { class: class_of(code), message: message.into() }
    }

    /// What a call that has failed throws, an `ExecutionException`.
    pub(super) fn of_future(failed: ClientError) -> Self {
        Self::from(failed).in_future()
    }

    /// The `ExecutionException` around an exception: the message names the cause's class too.
    pub(super) fn in_future(self) -> Self {
        match self {
            Self::Thrown { class, message } => {
                let class_of_future = "java.util.concurrent.ExecutionException".to_owned();
                Self::Thrown { class: class_of_future, message: format!("{class}: {message}") }
            }
            other => other,
        }
    }

    /// Whether it is the exception of this number.
    pub(super) fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Thrown { class, .. } if *class == class_of(code))
    }

    /// The message of an exception.
    pub(super) fn text(self) -> String {
        match self {
            Self::Usage(message) | Self::Thrown { message, .. } => message,
            Self::End { out, err, .. } => out + &err,
        }
    }

    /// For a tool that catches exceptions: the message, to be printed its way.
    pub(super) fn caught(self, end: impl FnOnce(String, String) -> Self) -> Self {
        match self {
            Self::Thrown { class, message } => {
                let full = format!("{class}: {message}");
                end(message, full)
            }
            other => other,
        }
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Thrown { class: "java.io.IOException".to_owned(), message: error.to_string() }
    }
}

/// Texts of joptsimple: an exception, unless the tool makes a usage of it.
impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Thrown { class: "joptsimple.OptionException".to_owned(), message }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let said = refusal.message.filter(|text| !text.is_empty());
        let message = said.unwrap_or_else(|| message_of(refusal.code));
        Self::kafka(refusal.code, message)
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => refusal.into(),
            ClientError::TimedOut { last: Some(last), .. } if last.code().is_some() => {
                (*last).into()
            }
            ClientError::Invalid(message) => Self::illegal(message),
            ClientError::Unsupported { .. } => {
                Self::kafka(ErrorCode::UnsupportedVersion, error.to_string())
            }
            other => {
                let class = "org.apache.kafka.common.errors.TimeoutException".to_owned();
                Self::Thrown { class, message: other.to_string() }
            }
        }
    }
}

/// The error that a response's field tells of.
pub(super) fn refuse(code: i16, message: Option<&str>) -> Run<()> {
    if code == 0 {
        return Ok(());
    }
    let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
    let refusal = Refusal { what: String::new(), code, message: message.map(str::to_owned) };
    Err(refusal.into())
}

/// What Java prints of an exception that nobody catches.
pub(super) fn uncaught(class: &str, message: &str) -> Stop {
    Stop::err(format!("Exception in thread \"main\" {class}: {message}"))
}

/// What joptsimple throws with this text.
pub(super) fn option_exception(text: &str) -> Stop {
    let class = if text.ends_with("is not a recognized option") {
        "UnrecognizedOptionException"
    } else if text.ends_with("are unavailable given other options on the command line") {
        "UnavailableOptionException"
    } else if text.starts_with("Found multiple") {
        "MultipleArgumentsForOptionException"
    } else if text.starts_with("Cannot parse") {
        "OptionArgumentConversionException"
    } else {
        "OptionMissingRequiredArgumentException"
    };
    uncaught(&format!("joptsimple.{class}"), text)
}

/// The exception that a client of Kafka's makes of an error.
pub(super) fn class_of(code: ErrorCode) -> String {
    let name = match code {
        ErrorCode::UnknownServerError => "UnknownServerException".to_owned(),
        ErrorCode::TopicAlreadyExists => "TopicExistsException".to_owned(),
        ErrorCode::InvalidConfig => "InvalidConfigurationException".to_owned(),
        ErrorCode::RequestTimedOut => "TimeoutException".to_owned(),
        ErrorCode::NonEmptyGroup => "GroupNotEmptyException".to_owned(),
        ErrorCode::UnsupportedVersion => "UnsupportedVersionException".to_owned(),
        ErrorCode::NotController => "NotControllerException".to_owned(),
        _ => {
            let words = code.name().split('_');
            let mut name: String = words
                .map(|word| {
                    let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
                    format!("{first}{}", rest.to_lowercase())
                })
                .collect();
            if !name.ends_with("Exception") {
                name.push_str("Exception");
            }
            name
        }
    };
    format!("org.apache.kafka.common.errors.{name}")
}

/// What clients of Kafka's say of an error that the broker sent without words, where scripts look
/// at it; otherwise our own words.
pub(super) fn message_of(code: ErrorCode) -> String {
    match code {
        ErrorCode::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        ErrorCode::GroupIdNotFound => "The group id does not exist.",
        ErrorCode::NonEmptyGroup => "The group is not empty.",
        ErrorCode::OffsetOutOfRange => {
            "The requested offset is not within the range of offsets maintained by the server."
        }
        ErrorCode::GroupSubscribedToTopic => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed \
             to it."
        }
        ErrorCode::SecurityDisabled => "Security features are disabled.",
        _ => code.message(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let check = |code, expected: &str| {
            assert_eq!(class_of(code), format!("org.apache.kafka.common.errors.{expected}"));
        };
        check(ErrorCode::TopicAlreadyExists, "TopicExistsException");
        check(ErrorCode::InvalidTopicException, "InvalidTopicException");
        check(ErrorCode::UnknownTopicOrPartition, "UnknownTopicOrPartitionException");
    }
}
