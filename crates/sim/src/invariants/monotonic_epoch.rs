//! MonotonicEpoch: the epoch of a replica never goes back.
//!
//! While a process runs, no epoch that it sees is below one that it saw; on disk, none is below
//! one that was stored. A process that crashed before its epoch was stored may see it again.
//!
//! Source: Kafka's `RaftEventSimulationTest.MonotonicEpoch`; Ongaro, dissertation, section 3.3.

use std::collections::HashMap;

use super::Invariant;
use crate::event::{DiskId, Event};

/// See the file.
#[derive(Debug, Default)]
pub struct MonotonicEpoch {
    seen: HashMap<DiskId, u32>,
    stored: HashMap<DiskId, u32>,
}

impl Invariant for MonotonicEpoch {
    fn name(&self) -> &'static str {
        "MonotonicEpoch"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let (disk, epoch, before) = match event {
            Event::Started { disk, .. } => {
                let stored = self.stored.get(disk).copied().unwrap_or(0);
                self.seen.insert(*disk, stored);
                return Ok(());
            }
            Event::EpochSeen { disk, epoch } => (disk, epoch, self.seen.insert(*disk, *epoch)),
            Event::EpochStored { disk, epoch } => (disk, epoch, self.stored.insert(*disk, *epoch)),
            _ => return Ok(()),
        };
        match before.filter(|before| before > epoch) {
            Some(before) => Err(format!("{disk:?} went from epoch {before} to {epoch}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{disk, feed, started};
    use super::*;

    fn seen(epoch: u32) -> Event {
        Event::EpochSeen { disk: disk(1), epoch }
    }

    fn stored(epoch: u32) -> Event {
        Event::EpochStored { disk: disk(1), epoch }
    }

    #[test]
    fn it_bites() {
        assert!(feed(MonotonicEpoch::default(), &[seen(3), seen(2)]).is_some());
        assert!(feed(MonotonicEpoch::default(), &[stored(3), stored(2)]).is_some());
        let lost = [stored(3), started(1, &[]), seen(2)];
        assert!(feed(MonotonicEpoch::default(), &lost).is_some());
    }

    #[test]
    fn an_epoch_that_was_not_stored_may_be_seen_again() {
        let crash = [stored(1), seen(3), started(1, &[]), seen(2)];
        assert_eq!(feed(MonotonicEpoch::default(), &crash), None);
    }
}
