//! PartitionEpochsGrow: no change of a partition takes its epochs back.
//!
//! On one replica of the log, from batch to batch: neither the leader epoch nor the partition
//! epoch of a partition goes back, and the partition epoch grows whenever the leader epoch does.
//! A process that starts again reads what it had before.
//!
//! Source: Kafka's `PartitionRegistration.merge`; KIP-841.

use std::collections::HashMap;

use ottla_types::Uuid;

use super::Invariant;
use crate::event::{DiskId, Event, Said};

/// See the file.
#[derive(Debug, Default)]
pub struct PartitionEpochsGrow {
    seen: HashMap<DiskId, HashMap<(Uuid, u32), [u32; 2]>>,
}

impl Invariant for PartitionEpochsGrow {
    fn name(&self) -> &'static str {
        "PartitionEpochsGrow"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let (disk, topic, partition, epochs) = match event {
            // What it had seen may be lost with unsynced batches.
            Event::Started { disk, .. } => {
                self.seen.remove(disk);
                return Ok(());
            }
            Event::Said { disk, said: Said::Partition { topic, partition, epochs } } => {
                (disk, topic, partition, epochs)
            }
            _ => return Ok(()),
        };
        let seen = self.seen.entry(*disk).or_default();
        let Some(before) = seen.insert((*topic, *partition), *epochs) else { return Ok(()) };
        let ([leader, own], [new_leader, new_own]) = (before, *epochs);
        let grew = leader <= new_leader && own <= new_own;
        if !grew || (leader < new_leader && own == new_own) {
            return Err(format!("{topic}-{partition} went from epochs {before:?} to {epochs:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{disk, feed, started};
    use super::*;

    #[test]
    fn it_bites() {
        let event = |epochs| {
            let said = Said::Partition { topic: Uuid([7; 16]), partition: 0, epochs };
            Event::Said { disk: disk(1), said }
        };
        let check = |before, after| {
            feed(PartitionEpochsGrow::default(), &[event(before), event(after)]).is_none()
        };
        assert!(check([1, 5], [1, 6]) && check([1, 5], [2, 6]) && check([1, 5], [1, 5]));
        assert!(!check([2, 5], [1, 6]) && !check([1, 5], [1, 4]) && !check([1, 5], [2, 5]));
        let again = [event([2, 5]), started(1, &[]), event([1, 4])];
        assert_eq!(feed(PartitionEpochsGrow::default(), &again), None);
    }
}
