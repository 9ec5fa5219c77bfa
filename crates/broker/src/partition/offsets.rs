//! Questions about offsets: seek by timestamp, ends of epochs, deletion of records.

use ottla_log::ProducerView;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};

use super::{Partition, Reach, check_epoch, leader_epoch};
use crate::error_code;
use crate::replicas::FsLog;

/// Epoch and end that a reader with another history must go back to.
pub(crate) type Diverging = (Option<LeaderEpoch>, Option<Offset>);

/// Where to seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// First record at or after this time.
    Timestamp(i64),
    /// The end.
    Latest,
    /// The start.
    Earliest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// A place that exists only in tiered storage.
    Nowhere,
}

/// What a seek found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Timestamp of the record, or none.
    pub(crate) timestamp: Timestamp,
    /// Its offset.
    pub(crate) offset: Option<Offset>,
    /// Its epoch.
    pub(crate) epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// Finds a position in what the asker sees.
    pub(crate) fn seek(
        &self,
        seek: Seek,
        reach: Reach,
        current_leader_epoch: i32,
    ) -> Result<Option<Position>, ErrorCode> {
        let mut state = self.state.lock();
        let epoch = leader_epoch(&state)?;
        check_epoch(epoch, current_leader_epoch)?;
        let high_watermark = state.high_watermark;
        let log = state.log.as_mut().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let upper = reach.end(log, high_watermark);
        let found = match seek {
            Seek::Nowhere => return Ok(Some(Position::default())),
            Seek::Latest => return Ok(Some(at(upper, Some(epoch)))),
            Seek::Earliest => {
                let start = log.log_start_offset();
                return Ok(Some(at(start, log.epoch_at(start))));
            }
            Seek::MaxTimestamp => log.max_timestamp_offset(),
            Seek::Timestamp(time) => log.offset_for_timestamp(Timestamp(time)),
        };
        let found = found.map_err(|error| self.note_failed_read(&error))?;
        // What is not committed yet has not happened for a consumer.
        let found = found.filter(|found| found.offset < upper);
        Ok(found.map(|found| Position {
            timestamp: found.timestamp,
            offset: Some(found.offset),
            epoch: found.leader_epoch,
        }))
    }

    /// Where an epoch ended: the largest epoch up to `asked` and its end, or nothing.
    pub(crate) fn end_of_epoch(
        &self,
        asked: i32,
        current_leader_epoch: i32,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
        let state = self.state.lock();
        check_epoch(leader_epoch(&state)?, current_leader_epoch)?;
        let log = state.log.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok(LeaderEpoch::from_wire(asked)
            .and_then(|asked| log.end_offset_for_epoch(asked))
            .map(|end| (end.epoch, end.end_offset)))
    }

    /// Deletes records below `offset` (-1: below the high watermark); answers the new start.
    pub(crate) fn delete_records(&self, offset: i64) -> Result<Offset, ErrorCode> {
        let mut state = self.state.lock();
        leader_epoch(&state)?;
        let high_watermark = state.high_watermark;
        let before = match offset {
            -1 => high_watermark,
            _ => Offset::from_wire(offset).ok_or(ErrorCode::OffsetOutOfRange)?,
        };
        if high_watermark < before {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let log = state.log.as_mut().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if log.config().compact && !log.config().delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let start = log
            .delete_records(before, high_watermark)
            .map_err(|error| error_code::log_error(&error))?;
        state.waiting.changed();
        Ok(start)
    }

    /// Fetches that wait look again, whether there is news or not.
    pub(crate) fn wake_readers(&self) {
        self.state.lock().waiting.changed();
    }

    /// The producers that the partition remembers.
    pub(crate) fn producers(&self) -> Vec<ProducerView> {
        self.state.lock().log.as_ref().map(FsLog::describe_producers).unwrap_or_default()
    }
}

fn at(offset: Offset, epoch: Option<LeaderEpoch>) -> Position {
    Position { timestamp: Timestamp::NONE, offset: Some(offset), epoch }
}

/// Finds out whether a reader, whose last record is of epoch `last` and who wants `offset` next,
/// has records that this log has not.
pub(super) fn diverging(
    log: &FsLog,
    last: LeaderEpoch,
    offset: i64,
) -> Result<Option<Diverging>, ErrorCode> {
    let Some(end) = log.end_offset_for_epoch(last) else {
        return Err(ErrorCode::OffsetOutOfRange);
    };
    let diverges = end.epoch < last || end.end_offset.to_wire() < offset;
    Ok(diverges.then_some((Some(end.epoch), Some(end.end_offset))))
}
