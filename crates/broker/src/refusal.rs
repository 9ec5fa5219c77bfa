//! Why a part of a request was refused: Kafka's error, and what to tell the client beside it.

use std::borrow::Cow;

use ottla_types::{ErrorCode, InvalidTopicName, Offset};

/// A refusal of one partition, topic or resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Kafka's error.
    pub(crate) code: ErrorCode,
    /// What to tell beyond the error's name.
    text: Option<Cow<'static, str>>,
    /// Log start offset, where the answer carries it beside an error.
    pub(crate) log_start_offset: Option<Offset>,
    /// Records of a batch that are at fault: index in the batch and reason.
    pub(crate) record_errors: Vec<(i32, String)>,
}

impl Refusal {
    /// Only the error.
    pub(crate) const fn new(code: ErrorCode) -> Self {
        Self { code, text: None, log_start_offset: None, record_errors: Vec::new() }
    }

    /// The error with a fixed text.
    pub(crate) const fn with_text(code: ErrorCode, text: &'static str) -> Self {
        let text = Some(Cow::Borrowed(text));
        Self { code, text, log_start_offset: None, record_errors: Vec::new() }
    }

    /// The error with a text made for the occasion.
    pub(crate) fn with_string(code: ErrorCode, text: String) -> Self {
        Self { text: Some(Cow::Owned(text)), ..Self::new(code) }
    }

    /// A name that cannot be a topic's.
    pub(crate) fn invalid_topic(name: &str, why: &InvalidTopicName) -> Self {
        Self::with_string(ErrorCode::InvalidTopicException, why.message(name))
    }

    /// What to tell the client, if more than the error.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}
