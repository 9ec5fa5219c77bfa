//! Record data on its way out: bytes in memory or a range of a file, never copied by the codec.
#![expect(clippy::disallowed_types, reason = "a file that somebody else opened is carried")]

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;

use crate::Few;

/// A range of an open file that a shell will send (by sendfile where it can).
///
/// This crate only carries it; nothing here opens or reads a file.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file; stays open for as long as the range is referenced.
    pub file: Arc<File>,
    /// First byte of the range.
    pub position: u64,
    /// Bytes in the range.
    pub len: usize,
}

/// Ranges are equal when they name the same open file and the same bytes of it.
impl PartialEq for FileRange {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
            && self.position == other.position
            && self.len == other.len
    }
}

/// One piece of an encoded message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file.
    File(FileRange),
}

impl Part {
    /// Bytes in this part.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(range) => range.len,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Value of a `records` field: record batches, back to back.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordData {
    /// One block in memory; what decoding always yields.
    Bytes(Bytes),
    /// Several pieces that are sent one after the other.
    Parts(Few<Part>),
}

impl RecordData {
    /// Total bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Parts(parts) => parts.iter().map(Part::len).sum(),
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block in memory, if it is one (always so after decoding).
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Parts(_) => None,
        }
    }
}

impl Default for RecordData {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for RecordData {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
