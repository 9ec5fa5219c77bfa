//! Reading from a partition: how far a reader may see, and what it gets.

use std::sync::Arc;

use ottla_codec::{Few, Part, RecordData};
use ottla_log::{AbortedTransaction, ReadBuffers};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, TopicName};

use super::offsets::{self, Diverging};
use super::{Partition, check_epoch, leader_epoch};
use crate::replicas::FsLog;

/// How far a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is committed, of transactions too (`read_committed`).
    LastStable,
    /// What is committed (`read_uncommitted`).
    HighWatermark,
    /// All there is: for replicas.
    End,
}

impl Reach {
    /// Of a consumer with the isolation level of its request.
    pub(crate) fn of_consumer(isolation_level: i8) -> Self {
        if isolation_level == 1 { Self::LastStable } else { Self::HighWatermark }
    }

    /// The first offset that is not seen.
    pub(super) fn end(self, log: &mut FsLog, high_watermark: Offset) -> Offset {
        match self {
            Self::LastStable => last_stable(log, high_watermark),
            Self::HighWatermark => high_watermark,
            Self::End => log.end_offset(),
        }
    }
}

fn last_stable(log: &mut FsLog, high_watermark: Offset) -> Offset {
    let unstable = log.first_unstable_offset(high_watermark);
    unstable.map_or(high_watermark, |unstable| unstable.min(high_watermark))
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSpec {
    /// First offset wanted (raw).
    pub(crate) offset: i64,
    /// Most bytes.
    pub(crate) max_bytes: usize,
    /// Whether the first batch is wanted even if it is larger.
    pub(crate) at_least_one: bool,
    /// How far to read.
    pub(crate) reach: Reach,
    /// Epoch that the reader believes in, or -1.
    pub(crate) current_leader_epoch: i32,
    /// Epoch of the last record that the reader has, or -1.
    pub(crate) last_fetched_epoch: i32,
}

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct ReadOutcome {
    /// The topic.
    pub(crate) topic: TopicName,
    /// High watermark at the time of the read.
    pub(crate) high_watermark: Offset,
    /// Last stable offset.
    pub(crate) last_stable: Offset,
    /// First offset of the log.
    pub(crate) log_start: Offset,
    /// Set if the reader's log went another way: the epoch and end to go back to.
    pub(crate) diverging: Option<Diverging>,
    /// The batches.
    pub(crate) records: RecordData,
    /// Aborted transactions among them, for who reads committed records only.
    pub(crate) aborted: Option<Vec<AbortedTransaction>>,
}

impl ReadOutcome {
    /// Bytes of the batches.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len()
    }
}

impl Partition {
    /// Reads batches for a client.
    ///
    /// A short read comes in one of the `buffers`, a longer one as a range of the file.
    pub(crate) fn read(
        &self,
        spec: &ReadSpec,
        buffers: &Arc<ReadBuffers>,
    ) -> Result<ReadOutcome, ErrorCode> {
        let mut state = self.state.lock();
        let epoch = leader_epoch(&state)?;
        check_epoch(epoch, spec.current_leader_epoch)?;
        let high_watermark = state.high_watermark;
        let log = state.log.as_mut().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let last_stable = last_stable(log, high_watermark);
        let log_start = log.log_start_offset();
        let mut outcome = ReadOutcome {
            topic: self.topic_partition.topic.clone(),
            high_watermark,
            last_stable,
            log_start,
            diverging: None,
            records: RecordData::default(),
            aborted: (spec.reach == Reach::LastStable).then(Vec::new),
        };
        if let Some(last) = LeaderEpoch::from_wire(spec.last_fetched_epoch) {
            outcome.diverging = offsets::diverging(log, last, spec.offset)?;
        }
        let offset = Offset::from_wire(spec.offset)
            .filter(|offset| log_start <= *offset && *offset <= log.end_offset())
            .ok_or(ErrorCode::OffsetOutOfRange)?;
        let upper = spec.reach.end(log, high_watermark);
        if outcome.diverging.is_some() || upper <= offset {
            return Ok(outcome);
        }
        let slice = log
            .read_into(buffers.take(), offset, spec.max_bytes, upper, spec.at_least_one)
            .map_err(|error| self.note_failed_read(&error))?;
        if let Some(part) = slice.records {
            if let Some(aborted) = &mut outcome.aborted {
                *aborted = log
                    .aborted_between(offset, slice.next_offset)
                    .map_err(|error| self.note_failed_read(&error))?;
                // Some clients merge the list with the batches without sorting it.
                aborted.sort_by_key(|one| one.first_offset);
            }
            outcome.records = match part {
                Part::Bytes(bytes) => RecordData::Bytes(bytes),
                file => RecordData::Parts(Few::from_buf([file])),
            };
        }
        Ok(outcome)
    }
}
