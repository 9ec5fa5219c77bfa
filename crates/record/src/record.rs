//! The records inside a batch.
//!
//! A record's fields are slices of the batch (or of its decompressed body): keep one beyond the
//! batch only as a copy.

use bytes::Bytes;
use ottla_codec::{DecodeError, DecodeErrorKind, Reader, Sink, varint_len, varlong_len};
use ottla_types::{Offset, Sequence, Timestamp};

use crate::error::BatchError;
use crate::header::{BatchHeader, TimestampType};

/// One record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition.
    pub offset: Offset,
    /// Its own timestamp, or the append time of the batch.
    pub timestamp: Timestamp,
    /// Sequence, in a batch of an idempotent producer.
    pub sequence: Option<Sequence>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers, in order; a key may stand twice.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// Key; UTF-8 by convention, which nobody enforces.
    pub key: Bytes,
    /// Value.
    pub value: Option<Bytes>,
}

/// Walks over the records of one batch; after an error the walk is over.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    body: Reader,
    index: u32,
    failed: bool,
}

impl Records {
    pub(crate) fn new(header: BatchHeader, body: Bytes) -> Self {
        Self { header, body: Reader::new(body), index: 0, failed: false }
    }

    fn read(&mut self) -> Result<Record, BatchError> {
        let index = self.index;
        let at = |source| BatchError::Record { index, source };
        let size = self.body.varint("record size").map_err(at)?;
        let size = non_negative("record size", size).map_err(at)?;
        if self.body.remaining() < size {
            let remaining = self.body.remaining();
            let kind = DecodeErrorKind::Truncated { needed: size, remaining };
            return Err(at(DecodeError { field: "record size", kind }));
        }
        let start = self.body.position();
        let record = read_fields(&mut self.body, &self.header).map_err(at)?;
        let read = self.body.position() - start;
        let last = index.checked_add(1) == Some(self.header.record_count);
        // As Kafka: the declared size, and the end of the batch, must be met exactly.
        if read != size || (last && !self.body.is_empty()) {
            return Err(BatchError::RecordSize { index });
        }
        Ok(record)
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.index >= self.header.record_count {
            return None;
        }
        let record = self.read();
        self.index += 1;
        self.failed = record.is_err();
        Some(record)
    }
}

fn read_fields(body: &mut Reader, header: &BatchHeader) -> Result<Record, DecodeError> {
    body.skip("record attributes", 1)?;
    let timestamp_delta = body.varlong("record timestamp delta")?;
    let timestamp = match header.attributes.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        // Kafka's sum wraps as well; a hostile delta is just another wrong timestamp.
        TimestampType::CreateTime => {
            Timestamp(header.base_timestamp.0.wrapping_add(timestamp_delta))
        }
    };
    let delta = body.varint("record offset delta")?;
    let invalid = |raw: i32| {
        let kind = DecodeErrorKind::InvalidValue(raw.into());
        DecodeError { field: "record offset delta", kind }
    };
    let offset_delta = u32::try_from(delta).map_err(|_| invalid(delta))?;
    let offset = header.base_offset.0.checked_add(offset_delta.into());
    let offset = offset.map(Offset).ok_or_else(|| invalid(delta))?;
    let key = read_nullable(body, "record key")?;
    let value = read_nullable(body, "record value")?;
    let count = body.varint("record header count")?;
    let count = non_negative("record header count", count)?;
    if count > body.remaining() {
        let kind = DecodeErrorKind::TooLong { len: count, limit: body.remaining() };
        return Err(DecodeError { field: "record header count", kind });
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        let len = body.varint("record header key")?;
        let len = non_negative("record header key", len)?;
        let key = body.bytes_exact("record header key", len)?;
        headers.push(RecordHeader { key, value: read_nullable(body, "record header value")? });
    }
    let sequence = header.base_sequence.map(|base| base.plus(offset_delta));
    Ok(Record { offset, timestamp, sequence, key, value, headers })
}

// Any negative length is null, as in Kafka.
fn read_nullable(body: &mut Reader, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
    match usize::try_from(body.varint(field)?) {
        Ok(len) => body.bytes_exact(field, len).map(Some),
        Err(_) => Ok(None),
    }
}

fn non_negative(field: &'static str, raw: i32) -> Result<usize, DecodeError> {
    usize::try_from(raw)
        .map_err(|_| DecodeError { field, kind: DecodeErrorKind::NegativeLength(raw.into()) })
}

/// A record that is to be written; all of it is borrowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers: key and value.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

impl NewRecord<'_> {
    /// Bytes of this record in a batch, uncompressed.
    pub fn encoded_len(&self, offset_delta: u32, timestamp_delta: i64) -> usize {
        let body = self.body_len(offset_delta, timestamp_delta);
        varint_len(wire_len(body)) + body
    }

    fn body_len(&self, offset_delta: u32, timestamp_delta: i64) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(key, value)| nullable_len(Some(key)) + nullable_len(*value))
            .sum();
        1 + varlong_len(timestamp_delta)
            + varint_len(offset_delta.cast_signed())
            + nullable_len(self.key)
            + nullable_len(self.value)
            + varint_len(wire_len(self.headers.len()))
            + headers
    }

    pub(crate) fn write<S: Sink>(&self, offset_delta: u32, timestamp_delta: i64, sink: &mut S) {
        sink.put_varint(wire_len(self.body_len(offset_delta, timestamp_delta)));
        sink.put_i8(0);
        sink.put_varlong(timestamp_delta);
        sink.put_varint(offset_delta.cast_signed());
        put_nullable(sink, self.key);
        put_nullable(sink, self.value);
        sink.put_varint(wire_len(self.headers.len()));
        for (key, value) in self.headers {
            put_nullable(sink, Some(key));
            put_nullable(sink, *value);
        }
    }
}

// The builder refuses a batch over 2 GiB, so a saturated length never reaches anybody.
fn wire_len(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_len(wire_len(bytes.len())) + bytes.len())
}

fn put_nullable<S: Sink>(sink: &mut S, bytes: Option<&[u8]>) {
    match bytes {
        None => sink.put_varint(-1),
        Some(bytes) => {
            sink.put_varint(wire_len(bytes.len()));
            sink.put(bytes);
        }
    }
}
