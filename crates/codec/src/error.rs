//! What can go wrong between bytes and values.

/// Foreign bytes could not be read as the expected value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {kind}")]
pub struct DecodeError {
    /// Name of the field that was being read, as the schema spells it.
    pub field: &'static str,
    /// What was wrong with it.
    pub kind: DecodeErrorKind,
}

/// What was wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ended inside the field.
    #[error("needs {needed} bytes, {remaining} remain")]
    Truncated {
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that were left.
        remaining: usize,
    },
    /// A length or count is negative and the field is not nullable.
    #[error("negative length {0}")]
    NegativeLength(i64),
    /// A length or count is above its limit.
    #[error("length {len} is above the limit of {limit}")]
    TooLong {
        /// Length that the input claims.
        len: usize,
        /// Largest length that is accepted.
        limit: usize,
    },
    /// Null, but the field is not nullable in this version.
    #[error("null is not allowed")]
    UnexpectedNull,
    /// A variable-length integer has too many bytes.
    #[error("variable-length integer is too long")]
    VarintTooLong,
    /// A string is not UTF-8.
    #[error("not valid UTF-8")]
    InvalidUtf8,
    /// Tags of a tagged section are not in ascending order, or one stands twice.
    #[error("tag {0} is out of order")]
    TagOrder(u32),
    /// The value is outside the range that the field allows.
    #[error("invalid value {0}")]
    InvalidValue(i64),
    /// A tagged field did not use exactly the bytes that its size announced.
    #[error("{0} bytes left over")]
    TrailingBytes(usize),
    /// The message does not exist in this version.
    #[error("version {0} is not supported")]
    UnsupportedVersion(i16),
    /// Decoding would need more memory than the budget of the reader.
    #[error("memory budget exhausted")]
    BudgetExhausted,
}

/// A value could not be written in the chosen version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message does not exist in this version.
    #[error("{message}: version {version} is not supported")]
    UnsupportedVersion {
        /// Name of the message.
        message: &'static str,
        /// Version that was asked for.
        version: i16,
    },
    /// A field that this version lacks holds a value other than its default.
    #[error("field {field} is set but does not exist in version {version}")]
    FieldNotInVersion {
        /// Name of the field.
        field: &'static str,
        /// Version that was asked for.
        version: i16,
    },
    /// A field is null, but not nullable in this version.
    #[error("field {field} may not be null in version {version}")]
    NullNotAllowed {
        /// Name of the field.
        field: &'static str,
        /// Version that was asked for.
        version: i16,
    },
    /// A string or array is longer than its length prefix can say.
    #[error("field {field} is too long: {len}")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Its length.
        len: usize,
    },
}
