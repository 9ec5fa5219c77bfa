//! Offsets by timestamp, as ListOffsets asks for them.

use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::PartitionLog;
use crate::error::ReadError;
use crate::segment::Segment;
use crate::storage::Storage;
use crate::walk::{Placed, read_batch};

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
    /// Epoch of the leader that appended it.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl<S: Storage> PartitionLog<S> {
    /// The first record with a timestamp of `target` or later.
    ///
    /// # Errors
    /// The disk failed, or a batch on it is damaged.
    pub fn offset_for_timestamp(
        &mut self,
        target: Timestamp,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let start = self.log_start;
        for index in self.segment_of(start)..self.segments.len() {
            let (segment, home) = (&mut self.segments[index], &self.home);
            if segment.max_timestamp(home)?.is_none_or(|max| max.timestamp < target) {
                continue;
            }
            // A batch may begin before the start of the log, so the first that qualifies by its
            // header may still have no record that does.
            let mut from = start.max(segment.base());
            while let Some(placed) =
                self.segments[index].locate_timestamp(&self.home, target, from)?
            {
                let found = self.first_record(index, &placed, |timestamp, offset| {
                    timestamp >= target && offset >= start
                })?;
                if found.is_some() {
                    return Ok(found);
                }
                from = placed.header.next_offset();
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first if there are several (KIP-734).
    ///
    /// # Errors
    /// As [`PartitionLog::offset_for_timestamp`].
    pub fn max_timestamp_offset(&mut self) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut best: Option<(usize, Timestamp)> = None;
        for (index, segment) in self.segments.iter_mut().enumerate() {
            let Some(max) = segment.max_timestamp(&self.home)? else { continue };
            if max.timestamp.0 >= 0 && best.is_none_or(|(_, best)| best < max.timestamp) {
                best = Some((index, max.timestamp));
            }
        }
        let Some((index, max)) = best else { return Ok(None) };
        let from = self.segments.get(index).map_or(self.log_start, Segment::base);
        match self.segments[index].locate_timestamp(&self.home, max, from)? {
            Some(placed) => self.first_record(index, &placed, |timestamp, _| timestamp >= max),
            None => Ok(None),
        }
    }

    fn first_record(
        &mut self,
        index: usize,
        placed: &Placed,
        wanted: impl Fn(Timestamp, Offset) -> bool,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let limits = self.config.decompress_limits;
        let (segment, home) = (&mut self.segments[index], &self.home);
        let (base, position) = (segment.base(), placed.position);
        let corrupt = |source| ReadError::Corrupt { segment: base, position, source };
        let batch = read_batch(&*segment.file(home)?, base, placed)?;
        for record in batch.records(&limits).map_err(corrupt)? {
            let record = record.map_err(corrupt)?;
            if wanted(record.timestamp, record.offset) {
                return Ok(Some(TimestampedOffset {
                    timestamp: record.timestamp,
                    offset: record.offset,
                    leader_epoch: placed.header.leader_epoch,
                }));
            }
        }
        Ok(None)
    }
}
