//! A metadata record with its version, and the framing of its bytes in the log (KIP-631).
//!
//! Layout of a record's value: unsigned varint 1 (frame version), unsigned varint record id,
//! unsigned varint record version, then the message. Keys are null. What a record does is the
//! image's business.

use bytes::Bytes;
use ottla_codec::{DecodeError, DecodeErrorKind, EncodeError, Reader, Sink, Writer};

use crate::generated::MetadataRecord;

/// The only frame version that exists.
const FRAME_VERSION: i16 = 1;

/// A metadata record and the version that its bytes have or will have.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    message: MetadataRecord,
    version: i16,
}

impl Record {
    /// A record in version 0, which is the only one that most records have.
    pub fn new(message: impl Into<MetadataRecord>) -> Self {
        Self::versioned(message, 0)
    }

    /// A record in a given version.
    pub fn versioned(message: impl Into<MetadataRecord>, version: i16) -> Self {
        Self { message: message.into(), version }
    }

    /// The message.
    pub fn message(&self) -> &MetadataRecord {
        &self.message
    }

    /// The version.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// The value as it is written to the log. Fails when a field has a value that the version
    /// cannot carry.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::with_capacity(128);
        writer.put_uvarint(u32::from(FRAME_VERSION.unsigned_abs()));
        writer.put_uvarint(u32::from(self.message.id().unsigned_abs()));
        writer.put_uvarint(u32::from(self.version.unsigned_abs()));
        self.message.encode(self.version, &mut writer)?;
        Ok(writer.into_bytes())
    }

    /// Reads a value from the log. Fails on an unknown frame version, record id or record
    /// version, and on bytes that are left over.
    pub fn decode(value: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let frame = number(&mut reader, "frame version")?;
        if frame != FRAME_VERSION {
            return Err(unsupported("frame version", frame));
        }
        let key = number(&mut reader, "record id")?;
        let version = number(&mut reader, "record version")?;
        let message = MetadataRecord::decode(key, version, &mut reader)?;
        match reader.remaining() {
            0 => Ok(Self { message, version }),
            left => {
                Err(DecodeError { field: "record", kind: DecodeErrorKind::TrailingBytes(left) })
            }
        }
    }
}

fn number(reader: &mut Reader, field: &'static str) -> Result<i16, DecodeError> {
    let raw = reader.uvarint(field)?;
    i16::try_from(raw).map_err(|_| unsupported(field, i16::MAX))
}

fn unsupported(field: &'static str, version: i16) -> DecodeError {
    DecodeError { field, kind: DecodeErrorKind::UnsupportedVersion(version) }
}
