//! Reading: which bytes of which file a fetch gets, always whole batches.

use bytes::Bytes;
use ottla_codec::{FileRange, Part};
use ottla_types::Offset;

use super::PartitionLog;
use crate::error::ReadError;
use crate::segment::Segment;
use crate::storage::{Storage, StorageFile};
use crate::walk::Placed;

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

/// A range of a segment that holds whole batches.
struct Range {
    segment: usize,
    position: u64,
    len: usize,
    first_offset: Offset,
    next_offset: Offset,
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
        let Some(range) = self.plan(from, max_bytes, upper_bound, min_one_batch)? else {
            return Ok(FetchSlice { records: None, len: 0, first_offset: from, next_offset: from });
        };
        let (segment, home) = (&mut self.segments[range.segment], &self.home);
        let file = segment.file(home)?;
        let records = match StorageFile::lend(&file) {
            Some(file) => Part::File(FileRange { file, position: range.position, len: range.len }),
            None => Part::Bytes(segment.read(home, range.position, range.len)?),
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
        let Some(range) = self.plan(from, max_bytes, upper_bound, true)? else {
            return Ok(Bytes::new());
        };
        self.segments[range.segment].read(&self.home, range.position, range.len)
    }

    fn plan(
        &mut self,
        from: Offset,
        max_bytes: usize,
        upper_bound: Offset,
        min_one_batch: bool,
    ) -> Result<Option<Range>, ReadError> {
        if from < self.log_start || self.end < from {
            return Err(ReadError::OutOfRange { start: self.log_start, end: self.end });
        }
        let upper_bound = upper_bound.min(self.end);
        if upper_bound <= from {
            return Ok(None);
        }
        let Some((index, start)) = self.locate(from)? else { return Ok(None) };
        if start.header.next_offset() > upper_bound {
            return Ok(None);
        }
        let next_base = self.segments.get(index + 1).map(Segment::base);
        let segment_end = next_base.unwrap_or(self.end);
        let (segment, home) = (&mut self.segments[index], &self.home);
        // Where the bound cuts the file off; the batch that reaches beyond it is out.
        let (bound, bound_offset) = if segment_end <= upper_bound {
            (segment.size(), segment_end)
        } else {
            let beyond = segment.locate(home, upper_bound)?;
            match beyond {
                Some(placed) => (placed.position, placed.header.base_offset),
                None => (segment.size(), segment_end),
            }
        };
        let limit = start.position.saturating_add(max_bytes as u64);
        let (end, next_offset) = if bound <= limit {
            (bound, bound_offset.max(start.header.next_offset()))
        } else {
            match segment.boundary(home, &start, limit)? {
                Some(last) => (last.end(), last.header.next_offset()),
                None if min_one_batch => (start.end(), start.header.next_offset()),
                None => return Ok(None),
            }
        };
        assert!(start.position < end, "a read yields at least one batch");
        let len = usize::try_from(end - start.position).unwrap_or(usize::MAX);
        let first_offset = start.header.base_offset;
        Ok(Some(Range { segment: index, position: start.position, len, first_offset, next_offset }))
    }

    /// The first batch that ends at or behind `from`, and the index of its segment.
    pub(super) fn locate(&mut self, from: Offset) -> Result<Option<(usize, Placed)>, ReadError> {
        let first = self.segment_of(from);
        for (index, segment) in self.segments.iter_mut().enumerate().skip(first) {
            // A compacted segment may end before the next one begins.
            if let Some(placed) = segment.locate(&self.home, from)? {
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
