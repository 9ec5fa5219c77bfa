//! A part of a segment's file in memory: what was read once is not read again.
//!
//! A read looks at the headers of batches first. When the batches themselves are few bytes, they
//! come with their headers, and one call of the system does both. This knows no batch; walks do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_record::format::HEADER_LEN;
use ottla_types::Offset;
use parking_lot::Mutex;

use crate::storage::{StorageFile, read_full};

// Walks start at an index entry, so the batch in question is rarely further away.
const HEADER_CHUNK: usize = 4 << 10;
// What is read of batches that are further apart: one header, and where batches are few bytes the next ones too.
const FIRST_CHUNK: usize = 512;
// Up to here copying is as cheap as letting the system send from the file, and saves two calls.
const SMALL: usize = 32 << 10;
const BUFFER_LEN: usize = SMALL + HEADER_LEN;

/// Buffers for small reads, of which so many exist at the most, lent or kept.
#[derive(Debug)]
pub struct ReadBuffers {
    kept: Mutex<Vec<Box<[u8]>>>,
    lent: AtomicUsize,
    most: usize,
}

impl ReadBuffers {
    /// No buffer yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { kept: Mutex::default(), lent: AtomicUsize::new(0), most }
    }

    /// A buffer, if not all are in use.
    pub fn take(self: &Arc<Self>) -> Option<ReadBuffer> {
        let free = |lent: usize| (lent < self.most).then_some(lent + 1);
        self.lent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        let kept = self.kept.lock().pop();
        let memory = kept.unwrap_or_else(|| vec![0; BUFFER_LEN].into_boxed_slice());
        Some(ReadBuffer { memory, home: Arc::clone(self) })
    }
}

/// A buffer for one small read; it goes back when the last slice of what was read is dropped.
#[derive(Debug)]
pub struct ReadBuffer {
    memory: Box<[u8]>,
    home: Arc<ReadBuffers>,
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.home.kept.lock().push(std::mem::take(&mut self.memory));
        self.home.lent.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of one segment's file from `at` on.
///
/// It lies on the stack: what a read looks at costs no allocation.
#[derive(Debug)]
pub(crate) struct Window {
    own: [u8; HEADER_CHUNK],
    lent: Option<ReadBuffer>,
    segment: Offset,
    at: u64,
    len: usize,
    /// Bytes that are worth reading at once, beginning with a header.
    wanted: usize,
}

impl Default for Window {
    fn default() -> Self {
        let segment = Offset::default();
        Self { own: [0; HEADER_CHUNK], lent: None, segment, at: 0, len: 0, wanted: 0 }
    }
}

impl Window {
    /// A window in `buffer` for a read that wants at most `wanted` bytes of batches.
    pub(crate) fn new(buffer: ReadBuffer, wanted: usize) -> Self {
        // The header of the batch behind says that the one before it fits.
        let wanted = wanted.saturating_add(HEADER_LEN);
        Self { lent: Some(buffer), wanted, ..Self::default() }
    }

    /// Whether a whole header at `position` is there without a read.
    pub(crate) fn holds(&self, segment: Offset, position: u64) -> bool {
        segment == self.segment && HEADER_LEN <= self.held(position).len()
    }

    /// The file from `position` on, with a whole header unless the file ends before.
    pub(crate) fn header_at<F: StorageFile>(
        &mut self,
        (segment, file): (Offset, &F),
        position: u64,
        end: u64,
    ) -> io::Result<&[u8]> {
        if !self.holds(segment, position) {
            let rest = usize::try_from(end - position).unwrap_or(usize::MAX);
            let worth = rest.min(self.wanted);
            let near = segment == self.segment
                && self.len > 0
                && position.wrapping_sub(self.at) <= HEADER_CHUNK as u64;
            let ahead = if near { HEADER_CHUNK } else { FIRST_CHUNK };
            let len = if worth <= BUFFER_LEN { worth } else { 0 };
            let len = len.max(rest.min(ahead));
            let into = match &mut self.lent {
                Some(buffer) => &mut *buffer.memory,
                None => self.own.as_mut_slice(),
            };
            let into = into.get_mut(..len).unwrap_or_default();
            self.len = 0;
            let read = read_full(file, into, position)?;
            (self.segment, self.at, self.len) = (segment, position, read);
        }
        Ok(self.held(position))
    }

    fn held(&self, position: u64) -> &[u8] {
        let bytes = self.lent.as_ref().map_or(self.own.as_slice(), |buffer| &buffer.memory);
        let ahead = usize::try_from(position.wrapping_sub(self.at)).unwrap_or(usize::MAX);
        bytes.get(..self.len).and_then(|held| held.get(ahead..)).unwrap_or_default()
    }

    /// A range of the file that was looked at last, if all of it was read into a lent buffer.
    pub(crate) fn into_bytes(mut self, position: u64, len: usize) -> Option<Bytes> {
        let from = usize::try_from(position.checked_sub(self.at)?).ok()?;
        let until = from.checked_add(len).filter(|until| *until <= self.len)?;
        Some(Bytes::from_owner(self.lent.take()?).slice(from..until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_bounded_and_come_back() {
        let buffers = Arc::new(ReadBuffers::new(2));
        let (first, second) = (buffers.take().unwrap(), buffers.take().unwrap());
        assert!(buffers.take().is_none());
        let slice = Bytes::from_owner(first).slice(3..7);
        drop(second);
        let again = buffers.take().unwrap();
        assert!(buffers.take().is_none(), "a slice holds the other");
        drop((slice, again));
        assert_eq!(buffers.kept.lock().len(), 2);
    }
}
