//! Kafka's requests and responses at every version, generated from schema tables.
//!
//! One struct stands for all versions of a message. Decoding copies no string and no payload:
//! both are slices of the frame. Fields that a version lacks get their defaults; encoding a value
//! that the version cannot carry is an error, unless the schema calls the field ignorable. A
//! version that a message does not have is an error value, never a panic.
//!
//! What this crate is not: it opens no connection and knows no behaviour.

#![doc = include_str!("../README.md")]

pub mod generated;

pub use generated::*;

/// The table of the data that clients put into others' messages, for whoever shows them as JSON.
pub const DATA_SCHEMA: &str = include_str!("../schemas/data.schema");
