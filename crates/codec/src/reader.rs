//! Reads Kafka's primitive types from a frame, within limits and without panics.

use bytes::Bytes;

use crate::{DecodeError, DecodeErrorKind, Str};

/// Most elements that one array may have (Kafka 4.4's own limit).
pub const MAX_ARRAY_LEN: usize = 1_000_000;

/// Most tagged fields that one section may have (Kafka 4.4's own limit).
pub const MAX_TAGS: usize = 10_000;

// Memory that decoded arrays may take unless the caller says otherwise: a constant, and a multiple
// of the input that honest messages stay far below (their structs are at most eight times as large
// as their wire form).
const BUDGET_BASE: usize = 512 << 10;
const BUDGET_PER_BYTE: usize = 8;

/// A cursor over one frame.
///
/// Reads are big-endian. Byte strings come back as slices that share the frame.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    budget: usize,
}

impl Reader {
    /// Starts at the first byte of `frame`.
    pub fn new(frame: Bytes) -> Self {
        let budget = frame.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_BASE);
        Self { frame, position: 0, budget }
    }

    /// As [`Reader::new`], with a limit on the memory that decoded arrays may take, in bytes.
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        Self { frame, position: 0, budget }
    }

    /// Takes `bytes` from the memory budget; generated code calls it before a vector grows.
    pub fn charge(&mut self, field: &'static str, bytes: usize) -> Result<(), DecodeError> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(DecodeError { field, kind: DecodeErrorKind::BudgetExhausted }),
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Whether everything is read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// All that is not read yet, as a slice of the frame.
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.position..)
    }

    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let rest = self.frame.get(self.position..).unwrap_or_default();
        match rest.first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(truncated(field, N, rest.len())),
        }
    }

    /// Reads an `int8`.
    pub fn i8(&mut self, field: &'static str) -> Result<i8, DecodeError> {
        self.fixed(field).map(i8::from_be_bytes)
    }

    /// Reads an unsigned byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.fixed(field).map(u8::from_be_bytes)
    }

    /// Reads an `int16`.
    pub fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.fixed(field).map(i16::from_be_bytes)
    }

    /// Reads a `uint16`.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.fixed(field).map(u16::from_be_bytes)
    }

    /// Reads an `int32`.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.fixed(field).map(i32::from_be_bytes)
    }

    /// Reads a `uint32`.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.fixed(field).map(u32::from_be_bytes)
    }

    /// Reads an `int64`.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.fixed(field).map(i64::from_be_bytes)
    }

    /// Reads a `float64`.
    pub fn f64(&mut self, field: &'static str) -> Result<f64, DecodeError> {
        self.fixed(field).map(f64::from_be_bytes)
    }

    /// Reads a `bool`; any byte but zero is true, as in Kafka.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.i8(field).map(|byte| byte != 0)
    }

    /// Reads 16 bytes, such as a uuid.
    pub fn array16(&mut self, field: &'static str) -> Result<[u8; 16], DecodeError> {
        self.fixed(field)
    }

    /// Reads an unsigned variable-length integer of at most 32 bits.
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let raw = self.base128(field, 5)?;
        u32::try_from(raw).map_err(|_| DecodeError { field, kind: DecodeErrorKind::VarintTooLong })
    }

    /// Reads a zigzag variable-length integer of at most 32 bits.
    pub fn varint(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        let raw = self.uvarint(field)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Reads a zigzag variable-length integer of at most 64 bits.
    pub fn varlong(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let raw = self.base128(field, 10)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    fn base128(&mut self, field: &'static str, max_bytes: u32) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for at in 0..max_bytes {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            let shift = at * 7;
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError { field, kind: DecodeErrorKind::VarintTooLong })
    }

    /// Reads exactly `len` bytes as a slice of the frame.
    pub fn bytes_exact(&mut self, field: &'static str, len: usize) -> Result<Bytes, DecodeError> {
        if self.remaining() < len {
            return Err(truncated(field, len, self.remaining()));
        }
        let start = self.position;
        self.position += len;
        Ok(self.frame.slice(start..self.position))
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, field: &'static str, len: usize) -> Result<(), DecodeError> {
        if self.remaining() < len {
            return Err(truncated(field, len, self.remaining()));
        }
        self.position += len;
        Ok(())
    }

    /// Reads a string with an `int16` length.
    pub fn string(&mut self, field: &'static str) -> Result<Str, DecodeError> {
        not_null(field, self.nullable_string(field)?)
    }

    /// Reads a string with an `int16` length, where -1 is null.
    pub fn nullable_string(&mut self, field: &'static str) -> Result<Option<Str>, DecodeError> {
        let len = signed_len(field, self.i16(field)?.into())?;
        self.text(field, len)
    }

    /// Reads a string with an unsigned variable-length length plus one.
    pub fn compact_string(&mut self, field: &'static str) -> Result<Str, DecodeError> {
        not_null(field, self.compact_nullable_string(field)?)
    }

    /// Reads a string with an unsigned variable-length length plus one, where 0 is null.
    pub fn compact_nullable_string(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Str>, DecodeError> {
        let len = self.compact_len(field)?;
        if let Some(len) = len
            && len > MAX_STRING_LEN
        {
            let kind = DecodeErrorKind::TooLong { len, limit: MAX_STRING_LEN };
            return Err(DecodeError { field, kind });
        }
        self.text(field, len)
    }

    fn text(
        &mut self,
        field: &'static str,
        len: Option<usize>,
    ) -> Result<Option<Str>, DecodeError> {
        let Some(len) = len else { return Ok(None) };
        let bytes = self.bytes_exact(field, len)?;
        let text = Str::from_utf8(bytes)
            .map_err(|_| DecodeError { field, kind: DecodeErrorKind::InvalidUtf8 })?;
        Ok(Some(text))
    }

    /// Reads bytes with an `int32` length.
    pub fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        not_null(field, self.nullable_bytes(field)?)
    }

    /// Reads bytes with an `int32` length, where -1 is null.
    pub fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
        match signed_len(field, self.i32(field)?.into())? {
            Some(len) => self.bytes_exact(field, len).map(Some),
            None => Ok(None),
        }
    }

    /// Reads bytes with an unsigned variable-length length plus one.
    pub fn compact_bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        not_null(field, self.compact_nullable_bytes(field)?)
    }

    /// Reads bytes with an unsigned variable-length length plus one, where 0 is null.
    pub fn compact_nullable_bytes(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Bytes>, DecodeError> {
        match self.compact_len(field)? {
            Some(len) => self.bytes_exact(field, len).map(Some),
            None => Ok(None),
        }
    }

    /// Reads the `int32` count of an array whose elements take at least `min_size` bytes each.
    pub fn array_len(
        &mut self,
        field: &'static str,
        min_size: usize,
    ) -> Result<usize, DecodeError> {
        not_null(field, self.nullable_array_len(field, min_size)?)
    }

    /// As [`Reader::array_len`], where -1 is null.
    pub fn nullable_array_len(
        &mut self,
        field: &'static str,
        min_size: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let len = signed_len(field, self.i32(field)?.into())?;
        self.check_count(field, len, min_size)
    }

    /// As [`Reader::array_len`], with an unsigned variable-length count plus one.
    pub fn compact_array_len(
        &mut self,
        field: &'static str,
        min_size: usize,
    ) -> Result<usize, DecodeError> {
        not_null(field, self.compact_nullable_array_len(field, min_size)?)
    }

    /// As [`Reader::compact_array_len`], where 0 is null.
    pub fn compact_nullable_array_len(
        &mut self,
        field: &'static str,
        min_size: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let len = self.compact_len(field)?;
        self.check_count(field, len, min_size)
    }

    fn check_count(
        &self,
        field: &'static str,
        len: Option<usize>,
        min_size: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(len) = len else { return Ok(None) };
        if len > MAX_ARRAY_LEN {
            let kind = DecodeErrorKind::TooLong { len, limit: MAX_ARRAY_LEN };
            return Err(DecodeError { field, kind });
        }
        let needed = len.saturating_mul(min_size.max(1));
        if self.remaining() < needed {
            return Err(truncated(field, needed, self.remaining()));
        }
        Ok(Some(len))
    }

    fn compact_len(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        let raw = self.uvarint(field)?;
        Ok(raw.checked_sub(1).map(|len| usize::try_from(len).unwrap_or(usize::MAX)))
    }

    /// Reads a section of tagged fields.
    ///
    /// `known` gets each tag and a reader of exactly that field's bytes; it answers whether it
    /// read the field. Unknown fields are passed over.
    pub fn tags(
        &mut self,
        field: &'static str,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = usize::try_from(self.uvarint(field)?).unwrap_or(usize::MAX);
        if count > MAX_TAGS {
            let kind = DecodeErrorKind::TooLong { len: count, limit: MAX_TAGS };
            return Err(DecodeError { field, kind });
        }
        let mut last = None;
        for _ in 0..count {
            let tag = self.uvarint(field)?;
            if last.is_some_and(|last| tag <= last) {
                return Err(DecodeError { field, kind: DecodeErrorKind::TagOrder(tag) });
            }
            last = Some(tag);
            let len = usize::try_from(self.uvarint(field)?).unwrap_or(usize::MAX);
            let bytes = self.bytes_exact(field, len)?;
            let mut inner = Self { frame: bytes, position: 0, budget: self.budget };
            let read = known(tag, &mut inner)?;
            self.budget = inner.budget;
            if read && !inner.is_empty() {
                let kind = DecodeErrorKind::TrailingBytes(inner.remaining());
                return Err(DecodeError { field, kind });
            }
        }
        Ok(())
    }
}

// Kafka's generated readers refuse a longer compact string, because the classic form cannot say it.
const MAX_STRING_LEN: usize = 0x7fff;

fn truncated(field: &'static str, needed: usize, remaining: usize) -> DecodeError {
    DecodeError { field, kind: DecodeErrorKind::Truncated { needed, remaining } }
}

fn not_null<T>(field: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError { field, kind: DecodeErrorKind::UnexpectedNull })
}

// Kafka accepts -1 only; its older writers never wrote other negative lengths.
fn signed_len(field: &'static str, raw: i64) -> Result<Option<usize>, DecodeError> {
    if raw == -1 {
        return Ok(None);
    }
    match usize::try_from(raw) {
        Ok(len) => Ok(Some(len)),
        Err(_) => Err(DecodeError { field, kind: DecodeErrorKind::NegativeLength(raw) }),
    }
}

#[cfg(test)]
mod tests;
