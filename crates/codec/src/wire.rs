//! What generated code calls: primitive types in the classic or the compact form.
//!
//! From a message's first flexible version on, lengths are unsigned variable-length integers plus
//! one (KIP-482); `flexible` says which form a version has.

use bytes::Bytes;

use crate::{Counter, DecodeError, DecodeErrorKind, EncodeError, Few, Reader, Sink, Str};

/// Refuses a version that a message does not have, while reading.
pub fn check_decode(
    name: &'static str,
    version: i16,
    (low, high): (i16, i16),
) -> Result<(), DecodeError> {
    if (low..=high).contains(&version) {
        return Ok(());
    }
    Err(DecodeError { field: name, kind: DecodeErrorKind::UnsupportedVersion(version) })
}

/// Refuses a version that a message does not have, while writing.
pub fn check_encode(
    message: &'static str,
    version: i16,
    (low, high): (i16, i16),
) -> Result<(), EncodeError> {
    if (low..=high).contains(&version) {
        return Ok(());
    }
    Err(EncodeError::UnsupportedVersion { message, version })
}

/// A value that may not be null was null.
pub fn not_null<T>(field: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError { field, kind: DecodeErrorKind::UnexpectedNull })
}

/// Reads a string.
pub fn string(r: &mut Reader, field: &'static str, flexible: bool) -> Result<Str, DecodeError> {
    if flexible { r.compact_string(field) } else { r.string(field) }
}

/// Reads a string that may be null.
pub fn nullable_string(
    r: &mut Reader,
    field: &'static str,
    flexible: bool,
) -> Result<Option<Str>, DecodeError> {
    if flexible { r.compact_nullable_string(field) } else { r.nullable_string(field) }
}

/// Reads bytes.
pub fn bytes(r: &mut Reader, field: &'static str, flexible: bool) -> Result<Bytes, DecodeError> {
    if flexible { r.compact_bytes(field) } else { r.bytes(field) }
}

/// Reads bytes that may be null.
pub fn nullable_bytes(
    r: &mut Reader,
    field: &'static str,
    flexible: bool,
) -> Result<Option<Bytes>, DecodeError> {
    if flexible { r.compact_nullable_bytes(field) } else { r.nullable_bytes(field) }
}

/// What an array becomes.
pub trait Elements<T>: Default {
    /// Elements that it has.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Elements that it has room for.
    fn capacity(&self) -> usize;
    /// Makes room for `more`.
    fn grow(&mut self, more: usize);
    /// Adds one.
    fn push(&mut self, element: T);
}

impl<T> Elements<T> for Vec<T> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn capacity(&self) -> usize {
        Self::capacity(self)
    }

    fn grow(&mut self, more: usize) {
        self.reserve_exact(more);
    }

    fn push(&mut self, element: T) {
        Self::push(self, element);
    }
}

impl<T> Elements<T> for Few<T> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn capacity(&self) -> usize {
        Self::capacity(self)
    }

    fn grow(&mut self, more: usize) {
        self.reserve_exact(more);
    }

    fn push(&mut self, element: T) {
        Self::push(self, element);
    }
}

/// Reads an array whose elements take at least `min_size` bytes each.
pub fn array<T, E: Elements<T>>(
    r: &mut Reader,
    field: &'static str,
    flexible: bool,
    min_size: usize,
    element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<E, DecodeError> {
    not_null(field, nullable_array(r, field, flexible, min_size, element)?)
}

/// Reads an array that may be null.
///
/// The list grows as elements arrive, and its memory is charged to the reader's budget first.
pub fn nullable_array<T, E: Elements<T>>(
    r: &mut Reader,
    field: &'static str,
    flexible: bool,
    min_size: usize,
    mut element: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Option<E>, DecodeError> {
    let len = if flexible {
        r.compact_nullable_array_len(field, min_size)?
    } else {
        r.nullable_array_len(field, min_size)?
    };
    let Some(len) = len else { return Ok(None) };
    let mut elements = E::default();
    for _ in 0..len {
        if elements.len() == elements.capacity() {
            let more = elements.capacity().clamp(4, GROW_MAX).min(len - elements.len());
            r.charge(field, more.saturating_mul(size_of::<T>()))?;
            elements.grow(more);
        }
        elements.push(element(r)?);
    }
    Ok(Some(elements))
}

// Elements that a vector grows by at the most.
const GROW_MAX: usize = 1_000;

/// Writes a string.
pub fn put_string<S: Sink>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    text: &Str,
) -> Result<(), EncodeError> {
    put_nullable_string(s, field, flexible, Some(text))
}

/// Writes a string that may be null.
pub fn put_nullable_string<S: Sink>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    text: Option<&Str>,
) -> Result<(), EncodeError> {
    let text = text.map(|text| text.as_bytes().as_ref());
    if flexible { s.put_compact_string(field, text) } else { s.put_string(field, text) }
}

/// Writes bytes.
pub fn put_bytes<S: Sink>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    bytes: &Bytes,
) -> Result<(), EncodeError> {
    put_nullable_bytes(s, field, flexible, Some(bytes))
}

/// Writes bytes that may be null.
pub fn put_nullable_bytes<S: Sink>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    bytes: Option<&Bytes>,
) -> Result<(), EncodeError> {
    put_len(s, field, flexible, bytes.map(Bytes::len))?;
    if let Some(bytes) = bytes {
        s.put_shared(bytes);
    }
    Ok(())
}

/// Writes a count or length; none is null.
pub fn put_len<S: Sink>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    len: Option<usize>,
) -> Result<(), EncodeError> {
    if flexible { s.put_compact_len(field, len) } else { s.put_len(field, len) }
}

/// Writes an array.
pub fn put_array<S: Sink, T>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    elements: &[T],
    mut element: impl FnMut(&mut S, &T) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    put_len(s, field, flexible, Some(elements.len()))?;
    elements.iter().try_for_each(|value| element(s, value))
}

/// Writes an array of `int32`.
pub fn put_i32s<S: Sink>(
    s: &mut S,
    field: &'static str,
    flexible: bool,
    values: &[i32],
) -> Result<(), EncodeError> {
    put_len(s, field, flexible, Some(values.len()))?;
    s.put_i32s(values);
    Ok(())
}

/// Writes tag and size of a tagged field, whose value follows.
pub fn put_tag<S: Sink>(
    s: &mut S,
    field: &'static str,
    tag: u32,
    size: Counter,
) -> Result<(), EncodeError> {
    let len =
        u32::try_from(size.len()).map_err(|_| EncodeError::TooLong { field, len: size.len() })?;
    s.put_uvarint(tag);
    s.put_uvarint(len);
    Ok(())
}

/// A field that this version lacks holds a value other than its default.
pub fn not_in_version(field: &'static str, version: i16) -> Result<(), EncodeError> {
    Err(EncodeError::FieldNotInVersion { field, version })
}

/// A null where this version has none.
pub fn null_not_allowed(field: &'static str, version: i16) -> EncodeError {
    EncodeError::NullNotAllowed { field, version }
}
