//! Where encoded values go: a counter of bytes, or a list of parts.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{EncodeError, Few, Part, Parts, RecordData};

// Payloads below this are copied into the running block: a separate part costs more than the copy.
const SHARE_FROM: usize = 512;

// Turned into bytes on the stack before they are appended.
const I32S_AT_ONCE: usize = 64;

/// Takes encoded values, big-endian.
pub trait Sink {
    /// Appends raw bytes (copied).
    fn put(&mut self, bytes: &[u8]);

    /// Appends bytes that may be shared instead of copied.
    fn put_shared(&mut self, bytes: &Bytes);

    /// Appends record data, which is never copied.
    fn put_records(&mut self, records: &RecordData);

    /// Bytes taken so far.
    fn len(&self) -> usize;

    /// Whether nothing was taken yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an `int8`.
    fn put_i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a `bool`.
    fn put_bool(&mut self, value: bool) {
        self.put_i8(value.into());
    }

    /// Appends an `int16`.
    fn put_i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends the error code of a response.
    fn put_error_code(&mut self, code: i16) {
        self.put_i16(code);
    }

    /// Appends a `uint16`.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Appends an `int32`.
    fn put_i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends several `int32`, which is cheaper than one after the other.
    fn put_i32s(&mut self, values: &[i32]) {
        let mut block = [0_u8; I32S_AT_ONCE * size_of::<i32>()];
        for some in values.chunks(I32S_AT_ONCE) {
            for (place, value) in block.chunks_exact_mut(size_of::<i32>()).zip(some) {
                place.copy_from_slice(&value.to_be_bytes());
            }
            self.put(block.get(..size_of_val(some)).unwrap_or_default());
        }
    }

    /// Appends a `uint32`.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Appends an `int64`.
    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// Appends a `float64`.
    fn put_f64(&mut self, value: f64) {
        self.put(&value.to_be_bytes());
    }

    /// Appends an unsigned variable-length integer.
    fn put_uvarint(&mut self, value: u32) {
        self.put_base128(value.into());
    }

    /// Appends a zigzag variable-length integer of 32 bits.
    fn put_varint(&mut self, value: i32) {
        self.put_base128(((value << 1) ^ (value >> 31)).cast_unsigned().into());
    }

    /// Appends a zigzag variable-length integer of 64 bits.
    fn put_varlong(&mut self, value: i64) {
        self.put_base128(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// Appends the seven-bit groups of `value`, lowest first.
    fn put_base128(&mut self, mut value: u64) {
        let mut groups = [0_u8; 10];
        let mut used = 0;
        for group in &mut groups {
            used += 1;
            let low = u8::try_from(value & 0x7f).unwrap_or_default();
            value >>= 7;
            if value == 0 {
                *group = low;
                break;
            }
            *group = low | 0x80;
        }
        self.put(groups.get(..used).unwrap_or_default());
    }

    /// Appends a string with an `int16` length; `None` is -1.
    fn put_string(&mut self, field: &'static str, text: Option<&[u8]>) -> Result<(), EncodeError> {
        match text {
            None => self.put_i16(-1),
            Some(text) => {
                let len = i16::try_from(text.len())
                    .map_err(|_| EncodeError::TooLong { field, len: text.len() })?;
                self.put_i16(len);
                self.put(text);
            }
        }
        Ok(())
    }

    /// Appends a string with an unsigned variable-length length plus one; `None` is 0.
    fn put_compact_string(
        &mut self,
        field: &'static str,
        text: Option<&[u8]>,
    ) -> Result<(), EncodeError> {
        match text {
            None => self.put_uvarint(0),
            Some(text) if text.len() > 0x7fff => {
                return Err(EncodeError::TooLong { field, len: text.len() });
            }
            Some(text) => {
                self.put_compact_len(field, Some(text.len()))?;
                self.put(text);
            }
        }
        Ok(())
    }

    /// Appends an `int32` count or length; `None` is -1.
    fn put_len(&mut self, field: &'static str, len: Option<usize>) -> Result<(), EncodeError> {
        let raw = match len {
            None => -1,
            Some(len) => i32::try_from(len).map_err(|_| EncodeError::TooLong { field, len })?,
        };
        self.put_i32(raw);
        Ok(())
    }

    /// Appends a count or length plus one as an unsigned variable-length integer; `None` is 0.
    fn put_compact_len(
        &mut self,
        field: &'static str,
        len: Option<usize>,
    ) -> Result<(), EncodeError> {
        let raw = match len {
            None => 0,
            Some(len) => len
                .checked_add(1)
                .filter(|&raw| raw <= 0x7fff_ffff)
                .and_then(|raw| u32::try_from(raw).ok())
                .ok_or(EncodeError::TooLong { field, len })?,
        };
        self.put_uvarint(raw);
        Ok(())
    }
}

/// Bytes of `value` as an unsigned variable-length integer.
pub const fn uvarint_len(value: u32) -> usize {
    base128_len(value as u64)
}

/// Bytes of `value` as a zigzag variable-length integer.
pub const fn varint_len(value: i32) -> usize {
    base128_len(((value << 1) ^ (value >> 31)).cast_unsigned() as u64)
}

/// Bytes of `value` as a zigzag variable-length integer of 64 bits.
pub const fn varlong_len(value: i64) -> usize {
    base128_len(((value << 1) ^ (value >> 63)).cast_unsigned())
}

const fn base128_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Counts bytes and keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    len: usize,
}

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        self.len += bytes.len();
    }

    fn put_records(&mut self, records: &RecordData) {
        self.len += records.len();
    }

    fn len(&self) -> usize {
        self.len
    }

    fn put_i32s(&mut self, values: &[i32]) {
        self.len += size_of_val(values);
    }

    fn put_base128(&mut self, value: u64) {
        self.len += base128_len(value);
    }
}

/// Builds the parts of an encoded message.
#[derive(Debug, Default)]
pub struct Writer {
    /// All that was copied, as one block; a short one takes no memory until it is done.
    block: Block,
    /// What is shared, and how much of the block lies before it.
    shared: Few<(usize, Part)>,
    shared_len: usize,
    errors: ErrorTally,
}

type Block = SmallVec<[u8; BLOCK_LEN]>;

// Most messages fit into this, record data aside.
const BLOCK_LEN: usize = 256;

/// Error codes of a response, and how often each is in it; 0 is success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorTally {
    /// Nearly always the only one.
    first: Option<(i16, u64)>,
    others: Vec<(i16, u64)>,
}

impl ErrorTally {
    fn note(&mut self, code: i16) {
        let first = self.first.get_or_insert((code, 0));
        if first.0 == code {
            first.1 += 1;
        } else if let Some(other) = self.others.iter_mut().find(|other| other.0 == code) {
            other.1 += 1;
        } else {
            self.others.push((code, 1));
        }
    }

    /// Codes and counts; no code twice.
    pub fn iter(&self) -> impl Iterator<Item = (i16, u64)> {
        self.first.iter().chain(&self.others).copied()
    }
}

impl Writer {
    /// Starts with room for `capacity` bytes beside what is shared.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { block: Block::with_capacity(capacity), ..Self::default() }
    }

    /// The error codes that were put in.
    pub fn errors(&self) -> &ErrorTally {
        &self.errors
    }

    /// The parts, in order; none is empty.
    pub fn into_parts(self) -> Parts {
        let mut block = freeze(self.block);
        let mut parts =
            Parts::with_capacity(self.shared.len() * 2 + usize::from(!block.is_empty()));
        let mut taken = 0;
        for (before, part) in self.shared {
            if taken < before {
                parts.push(Part::Bytes(block.split_to(before - taken)));
                taken = before;
            }
            parts.push(part);
        }
        if !block.is_empty() {
            parts.push(Part::Bytes(block));
        }
        parts
    }

    /// Everything as one block.
    ///
    /// # Panics
    /// If a file range was put in, which only a shell can read.
    pub fn into_bytes(self) -> Bytes {
        if self.shared.is_empty() {
            return freeze(self.block);
        }
        let mut whole = Vec::with_capacity(self.len());
        for part in &self.into_parts() {
            match part {
                Part::Bytes(bytes) => whole.extend_from_slice(bytes),
                Part::File(_) => panic!("a file range cannot become bytes here"),
            }
        }
        whole.into()
    }

    fn share(&mut self, part: Part) {
        self.shared_len += part.len();
        self.shared.push((self.block.len(), part));
    }
}

/// A short block becomes shared with one allocation, which is all that it ever takes.
fn freeze(block: Block) -> Bytes {
    if block.spilled() { block.into_vec().into() } else { Bytes::from_owner(block) }
}

impl Sink for Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }

    fn put_error_code(&mut self, code: i16) {
        self.errors.note(code);
        self.put_i16(code);
    }

    fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_FROM {
            self.put(bytes);
        } else {
            self.share(Part::Bytes(bytes.clone()));
        }
    }

    fn put_records(&mut self, records: &RecordData) {
        match records {
            RecordData::Bytes(bytes) => self.put_shared(bytes),
            RecordData::Parts(parts) => {
                for part in parts.iter().filter(|part| !part.is_empty()) {
                    self.share(part.clone());
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.shared_len + self.block.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_payloads_are_shared_and_small_ones_joined() {
        let large = Bytes::from(vec![7; SHARE_FROM]);
        let mut writer = Writer::default();
        writer.put_i32(1);
        writer.put_shared(&Bytes::from_static(b"small"));
        writer.put_records(&RecordData::Bytes(large.clone()));
        writer.put_i8(2);
        assert_eq!(writer.len(), 4 + 5 + SHARE_FROM + 1);
        let parts = writer.into_parts();
        assert_eq!(parts.iter().map(Part::len).collect::<Vec<_>>(), [9, SHARE_FROM, 1]);
        let Part::Bytes(shared) = &parts[1] else { panic!("bytes expected") };
        assert_eq!(shared.as_ptr(), large.as_ptr(), "the payload was copied");
    }

    #[test]
    fn lengths_agree_with_what_is_written() {
        for value in [0, 1, 127, 128, 16383, 16384, u32::MAX >> 1, u32::MAX] {
            let mut writer = Writer::default();
            writer.put_uvarint(value);
            assert_eq!(writer.len(), uvarint_len(value), "{value}");
        }
        for value in [0, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            let mut writer = Writer::default();
            writer.put_varlong(value);
            assert_eq!(writer.len(), varlong_len(value), "{value}");
        }
    }

    #[test]
    fn many_numbers_are_written_as_one_by_one() {
        for count in [0, 1, 63, 64, 65, 200] {
            let values: Vec<i32> = (0..count).map(|n| n * -1_000_003).collect();
            let (mut at_once, mut counter) = (Writer::default(), Counter::default());
            at_once.put_i32s(&values);
            counter.put_i32s(&values);
            let expected: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
            assert_eq!(counter.len(), expected.len(), "{count}");
            assert_eq!(at_once.into_bytes(), expected, "{count}");
        }
    }

    #[test]
    fn strings_that_do_not_fit_are_errors() {
        let text = vec![b'x'; 0x8000];
        let mut counter = Counter::default();
        let error = EncodeError::TooLong { field: "f", len: 0x8000 };
        assert_eq!(counter.put_string("f", Some(&text)), Err(error.clone()));
        assert_eq!(counter.put_compact_string("f", Some(&text)), Err(error));
    }
}
