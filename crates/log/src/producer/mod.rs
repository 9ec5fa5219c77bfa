//! What a partition remembers of each producer: enough to know repeats and gaps (KIP-98, KIP-360).
//!
//! Pure state: checked before an append, changed after it, read from snapshots and rebuilt from
//! batches. Transactions are tracked as far as the format shows them; who may begin one is decided
//! elsewhere.

mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use ottla_record::BatchHeader;
use ottla_types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, WallTime};

use crate::compact::LastRecord;
use crate::error::AppendError;
use crate::txn_index::AbortedTransaction;

pub(crate) use snapshot::{decode, encode};

/// Batches remembered for each producer: as many as a client may have in flight.
const BATCHES_KEPT: usize = 5;

/// One appended batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RememberedBatch {
    pub(crate) last_sequence: Sequence,
    pub(crate) last_offset: Offset,
    pub(crate) offset_delta: u32,
    pub(crate) timestamp: Timestamp,
}

impl RememberedBatch {
    /// What is remembered of a batch; `None` if it has no sequence.
    fn of(header: &BatchHeader) -> Option<Self> {
        Some(Self {
            last_sequence: header.last_sequence()?,
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        })
    }

    fn first_sequence(&self) -> Sequence {
        // Backwards with the same wrap as forwards: 2^31 values.
        Sequence(self.last_sequence.0.wrapping_sub(self.offset_delta) & i32::MAX.unsigned_abs())
    }

    pub(crate) fn first_offset(&self) -> Offset {
        Offset(self.last_offset.0 - u64::from(self.offset_delta))
    }
}

/// State of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(crate) epoch: Option<ProducerEpoch>,
    pub(crate) batches: VecDeque<RememberedBatch>,
    pub(crate) last_timestamp: Timestamp,
    // Of the transaction coordinator that wrote the last marker; -1 in Kafka's files for none.
    pub(crate) coordinator_epoch: i32,
    pub(crate) transaction_start: Option<Offset>,
    /// Came from a snapshot, which has the last batch alone; the log may have more.
    pub(crate) partial: bool,
}

impl Default for ProducerEntry {
    fn default() -> Self {
        Self {
            epoch: None,
            batches: VecDeque::new(),
            last_timestamp: Timestamp::NONE,
            coordinator_epoch: -1,
            transaction_start: None,
            partial: false,
        }
    }
}

impl ProducerEntry {
    fn set_epoch(&mut self, epoch: Option<ProducerEpoch>) {
        if self.epoch != epoch {
            self.batches.clear();
            self.epoch = epoch;
        }
    }

    fn remember(&mut self, batch: RememberedBatch) {
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
        assert!(self.batches.len() <= BATCHES_KEPT, "no more than five batches are kept");
    }

    pub(crate) fn last_sequence(&self) -> Option<Sequence> {
        self.batches.back().map(|batch| batch.last_sequence)
    }
}

/// What is known about one producer, as DescribeProducers answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerView {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its newest epoch.
    pub epoch: Option<ProducerEpoch>,
    /// Its last sequence.
    pub last_sequence: Option<Sequence>,
    /// Timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// Epoch of the coordinator of its last transaction marker; `None` if there was none.
    pub coordinator_epoch: Option<u32>,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// Producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    entries: HashMap<ProducerId, ProducerEntry>,
    open: BTreeMap<Offset, ProducerId>,
    /// First and last offsets of transactions that have ended, but perhaps not for every replica.
    ended: VecDeque<(Offset, Offset)>,
}

/// The record by which a coordinator ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) aborts: bool,
    pub(crate) coordinator_epoch: i32,
}

impl Producers {
    /// Checks a client's batch against what its producer sent before.
    ///
    /// Returns the earlier batch if this is a repeat of it.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
    ) -> Result<Option<RememberedBatch>, AppendError> {
        let Some((producer_id, epoch, first)) = identity(header) else { return Ok(None) };
        let Some(entry) = self.entries.get(&producer_id) else {
            // After retention or expiry nothing is known, and any sequence will do (KIP-360).
            return Ok(None);
        };
        if entry.epoch == Some(epoch) {
            let last = header.last_sequence();
            let same = |batch: &&RememberedBatch| {
                batch.first_sequence() == first && Some(batch.last_sequence) == last
            };
            if let Some(batch) = entry.batches.iter().find(same) {
                return Ok(Some(*batch));
            }
        }
        self.check_epoch(header)?;
        let Some(current) = entry.epoch else { return Ok(None) };
        let in_order = if current == epoch {
            entry.last_sequence().map_or(first == Sequence::ZERO, |last| last.plus(1) == first)
        } else {
            first == Sequence::ZERO
        };
        if in_order {
            return Ok(None);
        }
        let last = entry.last_sequence().filter(|_| current == epoch);
        Err(AppendError::OutOfOrderSequence { producer_id, first, last })
    }

    /// Checks that no newer incarnation of the batch's producer has written.
    pub(crate) fn check_epoch(&self, header: &BatchHeader) -> Result<(), AppendError> {
        let Some((producer_id, epoch, _)) = identity(header) else { return Ok(()) };
        match self.entries.get(&producer_id).and_then(|entry| entry.epoch) {
            Some(current) if epoch < current => {
                Err(AppendError::ProducerFenced { producer_id, epoch, current })
            }
            _ => Ok(()),
        }
    }

    /// First offset of the transaction that a producer has open.
    pub(crate) fn transaction_of(&self, producer_id: ProducerId) -> Option<Offset> {
        self.entries.get(&producer_id)?.transaction_start
    }

    /// Notes an appended batch of data.
    pub(crate) fn note(&mut self, header: &BatchHeader) {
        let (Some(producer_id), Some(batch)) = (header.producer_id, RememberedBatch::of(header))
        else {
            return;
        };
        let entry = self.entries.entry(producer_id).or_default();
        entry.set_epoch(header.producer_epoch);
        entry.remember(batch);
        entry.last_timestamp = header.max_timestamp;
        if header.attributes.is_transactional() && entry.transaction_start.is_none() {
            entry.transaction_start = Some(header.base_offset);
            self.open.insert(header.base_offset, producer_id);
        }
    }

    /// Notes the marker that ends a producer's transaction; returns the transaction if it was aborted.
    pub(crate) fn note_marker(
        &mut self,
        header: &BatchHeader,
        marker: Marker,
    ) -> Option<AbortedTransaction> {
        let producer_id = header.producer_id?;
        let entry = self.entries.entry(producer_id).or_default();
        entry.set_epoch(header.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        let first_offset = entry.transaction_start.take()?;
        self.open.remove(&first_offset);
        let last_offset = header.last_offset();
        self.ended.push_back((first_offset, last_offset));
        let last_stable_offset = self.first_open().unwrap_or_else(|| last_offset.next());
        let aborted =
            AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset };
        marker.aborts.then_some(aborted)
    }

    /// Whether the log may tell more of a producer than is known here. Asking once is enough.
    pub(crate) fn take_partial(&mut self, producer_id: ProducerId) -> bool {
        self.entries.get_mut(&producer_id).is_some_and(|entry| std::mem::take(&mut entry.partial))
    }

    /// Takes over what the log has of a producer, oldest first; true if that was more than known.
    pub(crate) fn recall(&mut self, producer_id: ProducerId, headers: &[BatchHeader]) -> bool {
        let Some(entry) = self.entries.get_mut(&producer_id) else { return false };
        let same = |header: &&BatchHeader| {
            (header.producer_id, header.producer_epoch) == (Some(producer_id), entry.epoch)
                && !header.attributes.is_control()
        };
        let found: Vec<_> = headers.iter().filter(same).filter_map(RememberedBatch::of).collect();
        let found: VecDeque<_> =
            found.split_at(found.len().saturating_sub(BATCHES_KEPT)).1.to_vec().into();
        let last = |batches: &VecDeque<RememberedBatch>| batches.back().map(|b| b.last_offset);
        let more = last(&found) == last(&entry.batches) && entry.batches.len() < found.len();
        if more {
            entry.batches = found;
        }
        more
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// First offset of the oldest transaction that is open, or whose marker lies at or behind the high
    /// watermark: it may be open again once another replica leads. Forgets those before.
    pub(crate) fn first_unstable(&mut self, high_watermark: Offset) -> Option<Offset> {
        while self.ended.front().is_some_and(|(_, last)| *last < high_watermark) {
            self.ended.pop_front();
        }
        let ended = self.ended.iter().map(|(first, _)| *first).min();
        self.first_open().into_iter().chain(ended).min()
    }

    /// Forgets producers that have been silent for `expiration` and have no open transaction.
    pub(crate) fn expire(&mut self, now: WallTime, expiration: Duration) -> usize {
        let before = self.entries.len();
        let oldest = now.minus(expiration).as_millis();
        self.entries.retain(|_, entry| {
            entry.transaction_start.is_some() || entry.last_timestamp.0 > oldest
        });
        before - self.entries.len()
    }

    /// All producers, in order of their ids.
    pub(crate) fn views(&self) -> Vec<ProducerView> {
        let mut views: Vec<_> = self
            .entries
            .iter()
            .map(|(&producer_id, entry)| ProducerView {
                producer_id,
                epoch: entry.epoch,
                last_sequence: entry.last_sequence(),
                last_timestamp: entry.last_timestamp,
                coordinator_epoch: u32::try_from(entry.coordinator_epoch).ok(),
                transaction_start: entry.transaction_start,
            })
            .collect();
        views.sort_unstable_by_key(|view| view.producer_id);
        views
    }

    /// Where each producer's sequence ends, for compaction.
    pub(crate) fn last_records(&self) -> HashMap<ProducerId, LastRecord> {
        let last = |entry: &ProducerEntry| LastRecord {
            offset: entry.batches.back().map(|batch| batch.last_offset),
            epoch: entry.epoch,
        };
        self.entries.iter().map(|(&id, entry)| (id, last(entry))).collect()
    }

    /// Number of producers.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

// A producer id without epoch or sequence is refused before it comes here.
fn identity(header: &BatchHeader) -> Option<(ProducerId, ProducerEpoch, Sequence)> {
    Some((header.producer_id?, header.producer_epoch?, header.base_sequence?))
}
