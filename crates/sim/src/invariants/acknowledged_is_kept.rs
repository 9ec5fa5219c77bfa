//! AcknowledgedIsKept: what was answered with success is in the log of every later leader.
//!
//! Checked whenever a leader begins to serve: every acknowledged batch is in its metadata log, or
//! below the snapshot that it installed (whose state [`super::ConsistentCommittedData`] compares).
//!
//! Source: the promise of acks to whoever asked; Ongaro, dissertation, section 3.6.3 (leader
//! completeness).

use std::collections::{BTreeMap, HashMap};

use super::Invariant;
use crate::event::{BatchId, DiskId, Event};

#[derive(Debug, Default)]
struct Log {
    start: u64,
    batches: BTreeMap<u64, BatchId>,
}

/// See the file.
#[derive(Debug, Default)]
pub struct AcknowledgedIsKept {
    acknowledged: BTreeMap<u64, BatchId>,
    logs: HashMap<DiskId, Log>,
}

impl Invariant for AcknowledgedIsKept {
    fn name(&self) -> &'static str {
        "AcknowledgedIsKept"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Started { disk, start, log, .. } => {
                let batches = log.iter().map(|batch| (batch.base, *batch)).collect();
                self.logs.insert(*disk, Log { start: *start, batches });
            }
            Event::Installed { disk, end, .. } => {
                self.logs.insert(*disk, Log { start: *end, batches: BTreeMap::new() });
            }
            Event::Appended { disk, batch, .. } => {
                self.logs.entry(*disk).or_default().batches.insert(batch.base, *batch);
            }
            Event::Acknowledged { batch } => {
                self.acknowledged.insert(batch.base, *batch);
            }
            Event::BecameLeader { disk, epoch, .. } => {
                let log = self.logs.entry(*disk).or_default();
                let lost = self.acknowledged.values().find(|batch| {
                    batch.base >= log.start && log.batches.get(&batch.base) != Some(batch)
                });
                if let Some(lost) = lost {
                    return Err(format!("{disk:?} leads {epoch} without acknowledged {lost:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{appended, batch, disk, feed, started};
    use super::*;

    #[test]
    fn it_bites() {
        let check = |events: &[Event]| feed(AcknowledgedIsKept::default(), events);
        let acknowledged = Event::Acknowledged { batch: batch(0, 2, 1) };
        let led = Event::BecameLeader { disk: disk(2), epoch: 2, end: 2 };
        assert!(check(&[started(2, &[]), acknowledged.clone(), led.clone()]).is_some());
        let other = appended(2, batch(0, 2, 9));
        assert!(check(&[started(2, &[]), acknowledged.clone(), other, led.clone()]).is_some());
        let same = appended(2, batch(0, 2, 1));
        assert_eq!(check(&[started(2, &[]), acknowledged.clone(), same, led.clone()]), None);
        let installed = Event::Installed { disk: disk(2), end: 2, state: 0 };
        assert_eq!(check(&[acknowledged, installed, led]), None);
    }
}
