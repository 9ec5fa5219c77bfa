//! What stays of each batch (Kafka's filter in `Cleaner.cleanInto`, and `MemoryRecords.filterTo`).

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_record::{
    Batch, BatchError, BatchHeader, BuildError, ControlType, DecompressLimits, RawRecord,
    RawRecords, delete_horizon, emptied, raw_body, retain,
};
use ottla_types::{Offset, ProducerEpoch, ProducerId, Timestamp, WallTime};

use super::map::OffsetMap;
use super::transactions::Transactions;
use crate::txn_index::AbortedTransaction;

/// What tells the end of a producer's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRecord {
    /// Last offset of its data; `None` if it is known by a marker alone.
    pub(crate) offset: Option<Offset>,
    pub(crate) epoch: Option<ProducerEpoch>,
}

/// What does not change during a pass.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) producers: HashMap<ProducerId, LastRecord>,
    /// A batch that ends here stays, if need be without records: the log must not end earlier.
    pub(crate) until: Offset,
    pub(crate) now: WallTime,
    pub(crate) delete_retention: Duration,
    pub(crate) limits: DecompressLimits,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes.
    Gone,
    /// It stays as it is.
    Same,
    /// It is written anew, see [`Filter::written`].
    Rewritten,
}

/// What a pass has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) read: u64,
    pub(crate) kept: u64,
    /// Records without a key.
    pub(crate) invalid: u64,
}

/// A batch cannot be filtered.
#[derive(Debug)]
pub(crate) enum FilterError {
    Batch(BatchError),
    Build(BuildError),
}

/// Decides batch after batch, in the order of the log.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) transactions: Transactions,
    pub(crate) counts: Counts,
    /// Of the batch at hand: which records stay.
    keep: Vec<bool>,
    /// The batch as it was written last.
    written: Vec<u8>,
}

/// What is known of a batch before its records are looked at.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    /// No record of it stays.
    discard: bool,
    /// It stays without records.
    keep_empty: bool,
    /// A marker of whose transaction nothing is left.
    lone_marker: bool,
}

impl Filter {
    /// Decides about a batch whose checksum is right; also returns what the index of aborted
    /// transactions must go on saying.
    pub(crate) fn judge(
        &mut self,
        rules: &Rules,
        map: &OffsetMap,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Result<(Fate, Option<AbortedTransaction>), FilterError> {
        let (outlook, aborted) =
            self.look_ahead(rules, header, bytes).map_err(FilterError::Batch)?;
        if outlook.discard && !outlook.keep_empty {
            return Ok((Fate::Gone, aborted));
        }
        self.records(rules, map, header, bytes, outlook).map(|fate| (fate, aborted))
    }

    /// The batch that the last [`Fate::Rewritten`] spoke of.
    pub(crate) fn written(&self) -> &[u8] {
        &self.written
    }

    fn look_ahead(
        &mut self,
        rules: &Rules,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Result<(Outlook, Option<AbortedTransaction>), BatchError> {
        let control = header.attributes.is_control();
        let (done, aborted) = if control {
            let kind = control_type(header, bytes, &rules.limits)?;
            self.transactions.on_control(header, kind)
        } else {
            (self.transactions.on_data(header), None)
        };
        let passed = delete_horizon(header).is_some_and(|horizon| horizon <= rules.now.timestamp());
        let last_of_producer = header
            .producer_id
            .and_then(|id| rules.producers.get(&id))
            .is_some_and(|last| match last.offset {
                Some(offset) => header.last_offset() == offset,
                None => control && header.producer_epoch == last.epoch,
            });
        let outlook = Outlook {
            discard: done && (!control || passed),
            keep_empty: last_of_producer || header.next_offset() == rules.until,
            lone_marker: done && control,
        };
        Ok((outlook, aborted))
    }

    fn records(
        &mut self,
        rules: &Rules,
        map: &OffsetMap,
        header: &BatchHeader,
        bytes: &[u8],
        outlook: Outlook,
    ) -> Result<Fate, FilterError> {
        let mut scratch = Bytes::new();
        let body = raw_body(header, bytes, &rules.limits, &mut scratch);
        let body = body.map_err(FilterError::Batch)?;
        self.keep.clear();
        let (mut kept, mut tombstones) = (0_u64, false);
        for record in RawRecords::new(header, body) {
            let record = record.map_err(FilterError::Batch)?;
            let keep = !outlook.discard
                && (header.attributes.is_control() || self.stays(rules, map, header, &record));
            kept += u64::from(keep);
            tombstones |= keep && !record.has_value;
            self.keep.push(keep);
        }
        self.counts.read += self.keep.len() as u64;
        self.counts.kept += kept;
        self.written.clear();
        if kept == 0 {
            if !outlook.keep_empty {
                return Ok(Fate::Gone);
            }
            emptied(header, &mut self.written);
            return Ok(Fate::Rewritten);
        }
        let sets_horizon = (tombstones || outlook.lone_marker) && delete_horizon(header).is_none();
        if kept == self.keep.len() as u64 && !sets_horizon {
            return Ok(Fate::Same);
        }
        let horizon: Timestamp = rules.now.plus(rules.delete_retention).timestamp();
        let keep = |index: usize| self.keep.get(index).copied().unwrap_or(false);
        retain(header, body, keep, sets_horizon.then_some(horizon), &mut self.written)
            .map_err(FilterError::Batch)?
            .map_err(FilterError::Build)?;
        Ok(Fate::Rewritten)
    }

    fn stays(
        &mut self,
        rules: &Rules,
        map: &OffsetMap,
        header: &BatchHeader,
        record: &RawRecord<'_>,
    ) -> bool {
        if map.latest().is_none_or(|latest| latest < record.offset) {
            return true;
        }
        let Some(key) = record.key else {
            self.counts.invalid += 1;
            return false;
        };
        let newest = map.get(key).is_none_or(|newest| newest <= record.offset);
        let waits = delete_horizon(header).is_none_or(|horizon| rules.now.timestamp() < horizon);
        newest && (record.has_value || waits)
    }
}

/// Kind of a control batch; `None` if compaction has taken its record.
pub(crate) fn control_type(
    header: &BatchHeader,
    bytes: &[u8],
    limits: &DecompressLimits,
) -> Result<Option<ControlType>, BatchError> {
    if header.record_count == 0 {
        return Ok(None);
    }
    // A marker is small, and there is one for each transaction.
    let batch = Batch::parse(Bytes::copy_from_slice(bytes))?;
    let record = batch.records(limits)?.next().transpose()?;
    record.map(|record| ControlType::of(&record)).transpose()
}
