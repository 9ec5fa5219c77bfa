//! Bounded big-endian reader and writer for Kafka's wire and disk formats.
//!
//! [`Reader`] parses foreign bytes: every read names its field, every count is checked against
//! the bytes that remain before anything is allocated, and nothing ever panics on input. Strings
//! ([`Str`]) and payloads are slices of the frame, not copies; a slice keeps its whole frame
//! alive, so whoever keeps one beyond the request copies it.
//!
//! [`Sink`] takes encoded values. A message encodes itself once, generically: into a [`Counter`]
//! to learn its size, into a [`Writer`] to become a list of [`Part`]s, of which record data is
//! never copied.
//!
//! What this crate is not: it knows no message and no version; generated code in other crates
//! does. See the README for an example.

#![doc = include_str!("../README.md")]

mod error;
mod message;
mod reader;
mod records;
mod sink;
mod str;
pub mod wire;

use smallvec::SmallVec;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use message::{Message, decode_exact, encode_to_bytes, encode_to_parts};
pub use reader::{MAX_ARRAY_LEN, MAX_TAGS, Reader};
pub use records::{FileRange, Part, RecordData};
pub use sink::{Counter, ErrorTally, Sink, Writer, uvarint_len, varint_len, varlong_len};
pub use str::Str;

/// A list of usually one, which then takes no memory of its own.
pub type Few<T> = SmallVec<[T; 1]>;

/// The parts of an encoded message; a range of a file between two blocks takes no memory.
pub type Parts = SmallVec<[Part; 3]>;
