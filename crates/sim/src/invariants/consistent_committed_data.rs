//! ConsistentCommittedData: at one offset, everybody has the same batch.
//!
//! Whatever any replica ever had in its metadata log agrees with what any other had, restarts and wiped disks included.
//!
//! Source: Kafka's `RaftEventSimulationTest.ConsistentCommittedData`; Ongaro, dissertation,
//! section 3.6.3 (state machine safety).

use std::collections::BTreeMap;

use super::Invariant;
use crate::event::{BatchId, Event};

/// See the file.
#[derive(Debug, Default)]
pub struct ConsistentCommittedData {
    batches: BTreeMap<u64, BatchId>,
}

impl ConsistentCommittedData {
    fn batch(&mut self, who: &Event, batch: BatchId) -> Result<(), String> {
        let known = *self.batches.entry(batch.base).or_insert(batch);
        // Neither may another batch begin inside this one, nor this one inside another.
        let before = self.batches.range(..batch.base).next_back();
        let overlaps = before.is_some_and(|(_, before)| before.end > batch.base);
        if known != batch || overlaps {
            return Err(format!("{known:?} and {batch:?} are both committed ({who:?})"));
        }
        Ok(())
    }
}

impl Invariant for ConsistentCommittedData {
    fn name(&self) -> &'static str {
        "ConsistentCommittedData"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Started { log, .. } => log.iter().try_for_each(|b| self.batch(event, *b)),
            Event::Appended { batch, .. } => self.batch(event, *batch),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{appended, batch, feed, started};
    use super::*;

    #[test]
    fn it_bites() {
        let check = |events: &[Event]| feed(ConsistentCommittedData::default(), events);
        let (one, other) = (appended(1, batch(0, 2, 1)), appended(2, batch(0, 2, 2)));
        assert!(check(&[one.clone(), other]).is_some());
        assert!(check(&[one.clone(), appended(2, batch(1, 2, 1))]).is_some());
        assert!(check(&[one.clone(), started(2, &[batch(0, 1, 1)])]).is_some());
        assert_eq!(check(&[one, started(1, &[batch(0, 2, 1)])]), None);
    }
}
