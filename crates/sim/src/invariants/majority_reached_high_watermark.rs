//! MajorityReachedHighWatermark: what a leader commits is on the disks of a majority of voters.
//!
//! A disk has a batch if it is in its write-ahead log or covered by a snapshot that it installed.
//! While voters change, the majority may be that of the voters before the change or after it:
//! several entries can be committed together before the first of them is applied.
//!
//! Source: Kafka's `RaftEventSimulationTest.MajorityReachedHighWatermark`; Ongaro, dissertation,
//! section 3.6.2.

use std::collections::{BTreeMap, HashMap};

use super::Invariant;
use crate::event::{BatchId, DiskId, Event};

/// See the file.
#[derive(Debug, Default)]
pub struct MajorityReachedHighWatermark {
    stored: HashMap<DiskId, BTreeMap<u64, BatchId>>,
    covered: HashMap<DiskId, u64>,
}

impl MajorityReachedHighWatermark {
    fn has(&self, disk: DiskId, batch: &BatchId) -> bool {
        let covered = self.covered.get(&disk).is_some_and(|end| *end >= batch.end);
        let stored = self.stored.get(&disk).and_then(|stored| stored.get(&batch.base));
        covered || stored == Some(batch)
    }

    fn has_majority(&self, voters: &[DiskId], batch: &BatchId) -> bool {
        let have = voters.iter().filter(|disk| self.has(**disk, batch)).count();
        have * 2 > voters.len()
    }
}

impl Invariant for MajorityReachedHighWatermark {
    fn name(&self) -> &'static str {
        "MajorityReachedHighWatermark"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Stored { disk, batches, anew } => {
                let stored = self.stored.entry(*disk).or_default();
                if *anew {
                    stored.clear();
                }
                for batch in batches {
                    stored.split_off(&batch.base);
                    stored.insert(batch.base, *batch);
                }
            }
            Event::Installed { disk, end, .. } => {
                self.covered.insert(*disk, *end);
            }
            Event::Appended { disk, batch, voters: Some(voters), .. }
                if !voters.iter().any(|voters| self.has_majority(voters, batch)) =>
            {
                return Err(format!("{disk:?} commits {batch:?}, which {voters:?} do not have"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch, disk, feed};
    use super::*;

    fn stored(n: u32, batch: BatchId) -> Event {
        Event::Stored { disk: disk(n), batches: vec![batch], anew: false }
    }

    fn committed(batch: BatchId) -> Event {
        let voters = vec![disk(1), disk(2), disk(3)];
        let voters = Some([voters.clone(), voters]);
        Event::Appended { disk: disk(1), batch, state: 0, voters }
    }

    #[test]
    fn it_bites() {
        let (b, other) = (batch(0, 2, 2), batch(0, 2, 1));
        let check = |events: &[Event]| feed(MajorityReachedHighWatermark::default(), events);
        assert!(check(&[stored(1, b), committed(b)]).is_some());
        assert!(check(&[stored(1, b), stored(2, other), committed(b)]).is_some());
        let replaced = [stored(1, b), stored(2, b), stored(2, other), committed(b)];
        assert!(check(&replaced).is_some());
        let outsider = [stored(1, b), stored(4, b), committed(b)];
        assert!(check(&outsider).is_some());
        let void = Event::Stored { disk: disk(2), batches: Vec::new(), anew: true };
        assert!(check(&[stored(1, b), stored(2, b), void, committed(b)]).is_some());
        assert_eq!(check(&[stored(2, b), stored(3, b), committed(b)]), None);
        let covered = Event::Installed { disk: disk(3), end: 2, state: 0 };
        assert_eq!(check(&[stored(1, b), covered, committed(b)]), None);
    }
}
