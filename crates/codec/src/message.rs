//! What every generated message can do.

use bytes::Bytes;

use crate::{Counter, DecodeError, DecodeErrorKind, EncodeError, Parts, Reader, Sink, Writer};

/// A message of Kafka's schemas: one struct for all of its versions.
pub trait Message: Sized {
    /// Name in the schema, such as `FetchRequest`.
    const NAME: &'static str;
    /// Lowest and highest version that can be read and written.
    const VERSIONS: (i16, i16);

    /// Reads the message in `version`; fields that the version lacks get their defaults.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message in `version`.
    fn encode<S: Sink>(&self, version: i16, sink: &mut S) -> Result<(), EncodeError>;

    /// Bytes that [`Message::encode`] will write.
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let mut counter = Counter::default();
        self.encode(version, &mut counter)?;
        Ok(counter.len())
    }
}

/// Writes a message as one block; file ranges are not possible here.
///
/// # Errors
/// As [`Message::encode`].
///
/// # Panics
/// If the message holds a [`Part::File`], which only a shell can read.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::with_capacity(message.encoded_len(version)?);
    message.encode(version, &mut writer)?;
    Ok(writer.into_bytes())
}

/// Writes a message as parts; record data is shared, not copied.
///
/// # Errors
/// As [`Message::encode`].
pub fn encode_to_parts<M: Message>(message: &M, version: i16) -> Result<Parts, EncodeError> {
    let mut writer = Writer::default();
    message.encode(version, &mut writer)?;
    Ok(writer.into_parts())
}

/// Reads a message that must fill `bytes` to the end.
///
/// # Errors
/// As [`Message::decode`], and if bytes are left over.
pub fn decode_exact<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version)?;
    match reader.remaining() {
        0 => Ok(message),
        left => Err(DecodeError { field: M::NAME, kind: DecodeErrorKind::TrailingBytes(left) }),
    }
}
