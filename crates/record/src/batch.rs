//! One whole batch in memory, and the walk over several of them.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

use crate::compress::{DecompressLimits, decompress};
use crate::error::BatchError;
use crate::format::{ATTRIBUTES_AT, CRC_AT, HEADER_LEN};
use crate::header::{BatchHeader, Compression, batch_len};
use crate::record::Records;

/// A batch whose structure is known to be right; its checksum may not have been compared yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes the one batch that `bytes` holds.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], and if bytes are missing or left over.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if header.total_len() != bytes.len() {
            let needed = header.total_len();
            return Err(BatchError::Truncated { needed, remaining: bytes.len() });
        }
        Ok(Self { header, bytes })
    }

    /// As [`Batch::parse`], with the checksum compared before any field behind it is believed.
    ///
    /// # Errors
    /// As [`Batch::parse`] and [`check_crc`].
    pub fn parse_checked(bytes: Bytes) -> Result<Self, BatchError> {
        let needed = batch_len(&bytes)?;
        if needed != bytes.len() {
            return Err(BatchError::Truncated { needed, remaining: bytes.len() });
        }
        check_crc(&bytes)?;
        Self::parse(bytes)
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Everything behind the header: the records, compressed or not.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN..)
    }

    /// Walks over the records; compressed ones are decompressed as a whole, within `limits`.
    ///
    /// # Errors
    /// An unknown codec, data that cannot be decompressed, or more of it than the limits allow.
    pub fn records(&self, limits: &DecompressLimits) -> Result<Records, BatchError> {
        let body = match self.header.compression()? {
            Compression::None => self.body(),
            // An empty batch that compaction left behind has no body to decompress.
            _ if self.header.record_count == 0 => Bytes::new(),
            codec => decompress(codec, &self.body(), limits)?,
        };
        Ok(Records::new(self.header, body))
    }
}

/// Compares the checksum of the whole batch in `bytes` with the stored one.
///
/// # Errors
/// The checksums differ, or there are too few bytes for a header.
pub fn check_crc(bytes: &[u8]) -> Result<(), BatchError> {
    if bytes.len() < HEADER_LEN {
        return Err(BatchError::Truncated { needed: HEADER_LEN, remaining: bytes.len() });
    }
    let stored = bytes.get(CRC_AT..).and_then(|rest| rest.first_chunk()).copied();
    let stored = u32::from_be_bytes(stored.unwrap_or_default());
    let computed = crc_fast::crc32_iscsi(bytes.get(ATTRIBUTES_AT..).unwrap_or_default());
    if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
}

/// CRC-32C (Castagnoli), as Kafka uses it in batches and producer snapshots.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C of a batch that consists of `header` (whose own checksum is not read) and `body`.
pub(crate) fn crc_of(header: &[u8; HEADER_LEN], body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(header.get(ATTRIBUTES_AT..).unwrap_or_default());
    digest.update(body);
    u32::try_from(digest.finalize()).unwrap_or_default()
}

/// Splits bytes into batches, without looking at checksums or records.
///
/// A batch whose end is missing is not an error, since a fetch may cut the last one off: the walk
/// ends there, and [`Batches::rest`] holds what is left. After an error the walk is over.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// Starts at the first byte.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// What was not split off yet.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let whole = match batch_len(&self.rest) {
            Ok(len) if len <= self.rest.len() => self.rest.slice(..len),
            Ok(_) | Err(BatchError::Truncated { .. }) => return None,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        let len = whole.len();
        let batch = Batch::parse(whole);
        match &batch {
            Ok(_) => self.rest = self.rest.slice(len..),
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}
