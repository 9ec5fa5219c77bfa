//! What must hold in every run, one property a file: statement, source, boundary cases, and a
//! test that it bites.

mod acknowledged_is_kept;
mod answered_is_known;
mod consistent_committed_data;
mod equal_states;
mod ids_are_unique;
mod majority_reached_high_watermark;
mod monotonic_epoch;
mod monotonic_high_watermark;
mod partition_epochs_grow;
mod single_leader;
mod snapshot_at_log_start;

pub use acknowledged_is_kept::AcknowledgedIsKept;
pub use answered_is_known::AnsweredIsKnown;
pub use consistent_committed_data::ConsistentCommittedData;
pub use equal_states::EqualStates;
pub use ids_are_unique::IdsAreUnique;
pub use majority_reached_high_watermark::MajorityReachedHighWatermark;
pub use monotonic_epoch::MonotonicEpoch;
pub use monotonic_high_watermark::MonotonicHighWatermark;
pub use partition_epochs_grow::PartitionEpochsGrow;
pub use single_leader::SingleLeader;
pub use snapshot_at_log_start::SnapshotAtLogStart;

use crate::event::Event;

/// A property of histories.
pub trait Invariant {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Takes one more event into account.
    ///
    /// # Errors
    /// What is violated, and how.
    fn observe(&mut self, event: &Event) -> Result<(), String>;
}

/// Every invariant, at the start of a history.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(MonotonicEpoch::default()),
        Box::new(SingleLeader::default()),
        Box::new(MonotonicHighWatermark::default()),
        Box::new(MajorityReachedHighWatermark::default()),
        Box::new(SnapshotAtLogStart::default()),
        Box::new(ConsistentCommittedData::default()),
        Box::new(AcknowledgedIsKept::default()),
        Box::new(EqualStates::default()),
        Box::new(AnsweredIsKnown::default()),
        Box::new(IdsAreUnique::default()),
        Box::new(PartitionEpochsGrow::default()),
    ]
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Invariant;
    use crate::event::{BatchId, DiskId, Event};

    /// Feeds a history; the result is the violation, if there is one.
    pub(crate) fn feed(mut invariant: impl Invariant, events: &[Event]) -> Option<String> {
        events.iter().find_map(|event| invariant.observe(event).err())
    }

    pub(crate) fn disk(n: u32) -> DiskId {
        DiskId(n)
    }

    pub(crate) fn batch(base: u64, end: u64, epoch: u32) -> BatchId {
        BatchId { base, end, epoch, crc: 0 }
    }

    pub(crate) fn started(n: u32, log: &[BatchId]) -> Event {
        Event::Started { disk: disk(n), start: 0, log: log.to_vec(), snapshot: None }
    }

    pub(crate) fn appended(n: u32, batch: BatchId) -> Event {
        Event::Appended { disk: disk(n), batch, state: batch.end, voters: None }
    }
}
