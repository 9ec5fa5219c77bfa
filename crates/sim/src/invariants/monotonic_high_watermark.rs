//! MonotonicHighWatermark: the high watermark never goes back.
//!
//! On one replica it only grows while its process runs, without gaps; and a leader never begins to
//! serve below what an earlier leader served. After a crash a replica's metadata log may be
//! shorter, because it is not synced for every batch.
//!
//! Source: Kafka's `RaftEventSimulationTest.MonotonicHighWatermark`; KIP-595.

use std::collections::HashMap;

use super::Invariant;
use crate::event::{DiskId, Event};

/// See the file.
#[derive(Debug, Default)]
pub struct MonotonicHighWatermark {
    ends: HashMap<DiskId, u64>,
    served: u64,
}

impl Invariant for MonotonicHighWatermark {
    fn name(&self) -> &'static str {
        "MonotonicHighWatermark"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Started { disk, start, log, .. } => {
                self.ends.insert(*disk, log.last().map_or(*start, |batch| batch.end));
            }
            Event::Installed { disk, end, .. } => {
                let before = self.ends.insert(*disk, *end).unwrap_or(0);
                if before > *end {
                    return Err(format!("{disk:?} went back from {before} to a snapshot at {end}"));
                }
            }
            Event::Appended { disk, batch, voters, .. } => {
                let before = self.ends.insert(*disk, batch.end).unwrap_or(0);
                if before != batch.base {
                    return Err(format!(
                        "{disk:?} appends {batch:?} to a log that ends at {before}"
                    ));
                }
                if voters.is_some() {
                    self.served = self.served.max(batch.end);
                }
            }
            Event::BecameLeader { disk, epoch, end } if *end < self.served => {
                let served = self.served;
                return Err(format!("{disk:?} leads {epoch} from {end}, {served} was served"));
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
        let gap = [started(1, &[]), appended(1, batch(0, 2, 1)), appended(1, batch(3, 4, 1))];
        assert!(feed(MonotonicHighWatermark::default(), &gap).is_some());
        let again = [started(1, &[]), appended(1, batch(0, 2, 1)), appended(1, batch(0, 2, 1))];
        assert!(feed(MonotonicHighWatermark::default(), &again).is_some());
        let served = Event::Appended {
            disk: disk(1),
            batch: batch(0, 5, 1),
            state: 0,
            voters: Some([Vec::new(), Vec::new()]),
        };
        let behind = Event::BecameLeader { disk: disk(2), epoch: 2, end: 4 };
        assert!(feed(MonotonicHighWatermark::default(), &[served, behind]).is_some());
        let back = Event::Installed { disk: disk(1), end: 1, state: 0 };
        let back = [started(1, &[batch(0, 2, 1)]), back];
        assert!(feed(MonotonicHighWatermark::default(), &back).is_some());
    }

    #[test]
    fn a_crash_may_shorten_a_log() {
        let crash = [
            started(1, &[]),
            appended(1, batch(0, 2, 1)),
            started(1, &[]),
            appended(1, batch(0, 2, 1)),
        ];
        assert_eq!(feed(MonotonicHighWatermark::default(), &crash), None);
    }
}
