//! Reading: which bytes of which file a fetch gets, always whole batches.

use std::sync::Arc;

use bytes::Bytes;
use ottla_codec::{FileRange, Part};
use ottla_types::Offset;

use super::PartitionLog;
use crate::error::ReadError;
use crate::format::{LOG_SUFFIX, file_name};
use crate::segment::Segment;
use crate::storage::{Storage, StorageFile};
use crate::txn_index::AbortedTransaction;
use crate::walk::{Boundary, Placed, read_range};
use crate::window::{ReadBuffer, Window};

/// What one read found: batches that lie next to each other in one segment.
#[derive(Clone, Debug)]
pub struct FetchSlice {
    /// The batches, as a range of an open file if the storage has one; `None` if there is nothing
    /// to read yet.
    pub records: Option<Part>,
    /// Bytes of the batches.
    pub len: usize,
    /// Offset of the first batch, which may lie before the offset asked for.
    pub first_offset: Offset,
    /// Offset after the last batch: where to read on.
    pub next_offset: Offset,
}

/// Where earlier reads ended: a consumer that reads on needs no index.
///
/// Entries are hints, like those of an index.
#[derive(Debug, Default)]
pub(super) struct Cursors(Option<Box<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    ends: [Option<Cursor>; CURSORS],
    oldest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    offset: Offset,
    segment: Offset,
    position: u64,
    /// The batch there, if the earlier read has seen it.
    seen: Option<Placed>,
}

// Consumers of one partition that are behind at the same time, and at different places, are few.
const CURSORS: usize = 4;

impl Cursors {
    fn take(&mut self, offset: Offset) -> Option<Cursor> {
        let ends = &mut self.0.as_mut()?.ends;
        let found = ends.iter_mut().find(|end| end.is_some_and(|end| end.offset == offset))?;
        found.take()
    }

    fn put(&mut self, cursor: Cursor) {
        let Ends { ends, oldest } = &mut **self.0.get_or_insert_default();
        let free = ends.iter().position(Option::is_none).unwrap_or(*oldest);
        ends[free] = Some(cursor);
        *oldest = (free + 1) % CURSORS;
    }

    /// Forgets everything, because positions have changed or nobody reads.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A range of a segment that holds whole batches.
#[derive(Debug)]
pub(super) struct Range<F> {
    /// Kept open from the first look at it to the last.
    pub(super) file: Arc<F>,
    pub(super) position: u64,
    pub(super) len: usize,
    first_offset: Offset,
    pub(super) next_offset: Offset,
}

impl<S: Storage> PartitionLog<S> {
    /// Finds the batches from the one that holds `from` on, up to `max_bytes`, of which all
    /// records lie before `upper_bound` (the high watermark, or the end of the log for a
    /// follower). With `min_one_batch` the first batch comes even if it alone is larger.
    ///
    /// Reads a few headers at most, and no records. The file stays open for as long as the
    /// returned range is held, even if retention removes it.
    ///
    /// # Errors
    /// The offset is before the start or behind the end of the log, or the disk failed.
    pub fn read(
        &mut self,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
        min_one_batch: bool,
    ) -> Result<FetchSlice, ReadError> {
        self.read_into(None, from, max_bytes, upper_bound, min_one_batch)
    }

    /// As [`PartitionLog::read`]; if `buffer` has room for the batches, they come in it, read
    /// together with the headers that were looked at.
    ///
    /// # Errors
    /// As [`PartitionLog::read`].
    pub fn read_into(
        &mut self,
        buffer: Option<ReadBuffer>,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
        min_one_batch: bool,
    ) -> Result<FetchSlice, ReadError> {
        let mut window =
            buffer.map_or_else(Window::default, |buffer| Window::new(buffer, max_bytes));
        let range = self.plan(from, max_bytes, upper_bound, min_one_batch, &mut window)?;
        let Some(range) = range else {
            return Ok(FetchSlice { records: None, len: 0, first_offset: from, next_offset: from });
        };
        let records = match window.into_bytes(range.position, range.len) {
            Some(bytes) => Part::Bytes(bytes),
            None => lent_range(&range)?,
        };
        Ok(FetchSlice {
            records: Some(records),
            len: range.len,
            first_offset: range.first_offset,
            next_offset: range.next_offset,
        })
    }

    /// As [`PartitionLog::read`], with the batches in memory.
    ///
    /// # Errors
    /// As [`PartitionLog::read`].
    pub fn read_bytes(
        &mut self,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
    ) -> Result<Bytes, ReadError> {
        let mut window = Window::default();
        let Some(range) = self.plan(from, max_bytes, upper_bound, true, &mut window)? else {
            return Ok(Bytes::new());
        };
        read_range(&*range.file, range.position, range.len)
    }

    /// Where in its segment's file the index alone says to look for a batch: for measurements.
    ///
    /// # Errors
    /// The disk failed.
    #[cfg(feature = "test-support")]
    pub fn indexed_position(&mut self, offset: Offset) -> Result<usize, ReadError> {
        let segment = self.segment_of(offset);
        let position = self.segments[segment].hint(&self.home, |e| e.offset <= offset)?;
        Ok(usize::try_from(position).unwrap_or(usize::MAX))
    }

    pub(super) fn plan(
        &mut self,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
        min_one_batch: bool,
        window: &mut Window,
    ) -> Result<Option<Range<S::File>>, ReadError> {
        if from < self.log_start || self.end < from {
            return Err(ReadError::OutOfRange { start: self.log_start, end: self.end });
        }
        let upper_bound = upper_bound.min(self.end);
        if upper_bound <= from {
            return Ok(None);
        }
        // Open from here to the last look at it, and beyond if the storage keeps it.
        let near = self.segment_of(from);
        let opened = self.opened(near)?;
        let Some((index, start)) = self.locate_start(from, window)? else { return Ok(None) };
        let file = if index == near { opened } else { self.opened(index)? };
        if start.header.next_offset() > upper_bound {
            return Ok(None);
        }
        let next_base = self.segments.get(index + 1).map(Segment::base);
        let segment_end = next_base.unwrap_or(self.end);
        let (segment, home) = (&mut self.segments[index], &self.home);
        // Where the bound cuts the file off; the batch that reaches beyond it is out.
        let beyond = match segment_end <= upper_bound {
            true => None,
            false => segment.locate(home, upper_bound, window)?,
        };
        let whole = Boundary { position: segment.size(), next_offset: segment_end, batch: None };
        let mut found = beyond.map_or(whole, Boundary::before);
        let limit = start.position.saturating_add(max_bytes as u64);
        if found.position <= limit {
            found.next_offset = found.next_offset.max(start.header.next_offset());
        } else {
            found = match segment.boundary(home, &start, limit, window)? {
                Some(boundary) => boundary,
                None if min_one_batch => Boundary::behind(start),
                None => return Ok(None),
            }
        }
        let Boundary { position: end, next_offset, batch: seen } = found;
        assert!(start.position < end, "a read yields at least one batch");
        let cursor = Cursor { offset: next_offset, segment: segment.base(), position: end, seen };
        self.cursors.put(cursor);
        let len = usize::try_from(end - start.position).unwrap_or(usize::MAX);
        let (position, first_offset) = (start.position, start.header.base_offset);
        Ok(Some(Range { file, position, len, first_offset, next_offset }))
    }

    /// Aborted transactions with records from `from` on and before `end`, oldest marker first: what a
    /// reader of committed records must skip in that range. `end` is at most the last stable offset.
    ///
    /// # Errors
    /// The disk failed.
    pub fn aborted_between(
        &mut self,
        from: Offset,
        end: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let first = self.segment_of(from);
        let mut found = Vec::new();
        for segment in self.segments.iter_mut().skip(first) {
            let aborted = segment.aborted(&self.home)?;
            found.extend(aborted.iter().filter(|one| one.touches(from, end)));
            if aborted.last().is_some_and(|last| end <= last.last_stable_offset) {
                break;
            }
        }
        Ok(found)
    }

    /// The file of a segment. One that is not kept open because it grows is the storage's to keep.
    fn opened(&mut self, index: usize) -> Result<Arc<S::File>, ReadError> {
        let segment = &mut self.segments[index];
        let file = segment.file(&self.home)?;
        // Nobody else has it: it was opened just now.
        if !segment.is_open() && Arc::strong_count(&file) == 1 {
            let path = self.home.dir.join(file_name(segment.base(), LOG_SUFFIX));
            self.home.storage.keep_for_reads(&path, &file);
        }
        Ok(file)
    }

    // As `locate`, but where an earlier read ended the batch is known.
    fn locate_start(
        &mut self,
        from: Offset,
        window: &mut Window,
    ) -> Result<Option<(usize, Placed)>, ReadError> {
        if let Some(cursor) = self.cursors.take(from) {
            let index = self.segment_of(cursor.segment);
            let segment = &mut self.segments[index];
            if segment.base() == cursor.segment && cursor.position < segment.size() {
                let placed = match cursor.seen {
                    Some(placed) => Some(placed),
                    None => segment.batch_at(&self.home, cursor.position, window).ok().flatten(),
                };
                if let Some(placed) = placed.filter(|placed| placed.header.base_offset == from) {
                    return Ok(Some((index, placed)));
                }
            }
        }
        self.locate(from, window)
    }

    /// The first batch that ends at or behind `from`, and the index of its segment.
    pub(super) fn locate(
        &mut self,
        from: Offset,
        window: &mut Window,
    ) -> Result<Option<(usize, Placed)>, ReadError> {
        let first = self.segment_of(from);
        for (index, segment) in self.segments.iter_mut().enumerate().skip(first) {
            // A compacted segment may end before the next one begins.
            if let Some(placed) = segment.locate(&self.home, from, window)? {
                return Ok(Some((index, placed)));
            }
        }
        Ok(None)
    }

    /// Index of the last segment that begins at or before `offset`.
    pub(super) fn segment_of(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base() <= offset).saturating_sub(1)
    }
}

/// The range as one of an open file, if the storage has one.
fn lent_range<F: StorageFile>(range: &Range<F>) -> Result<Part, ReadError> {
    match StorageFile::lend(&range.file) {
        Some(file) => Ok(Part::File(FileRange { file, position: range.position, len: range.len })),
        None => read_range(&*range.file, range.position, range.len).map(Part::Bytes),
    }
}
