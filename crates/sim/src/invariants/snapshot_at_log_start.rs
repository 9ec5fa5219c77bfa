//! SnapshotAtLogStart: a log that does not start at 0 starts at or below a snapshot's end.
//!
//! Otherwise the records before its start would be nowhere. It holds when a process starts, when
//! the start of a log is deleted, and when a snapshot is installed.
//!
//! Source: Kafka's `RaftEventSimulationTest.SnapshotAtLogStart`; KIP-630.

use std::collections::HashMap;

use super::Invariant;
use crate::event::{DiskId, Event};

/// See the file.
#[derive(Debug, Default)]
pub struct SnapshotAtLogStart {
    snapshots: HashMap<DiskId, u64>,
}

impl Invariant for SnapshotAtLogStart {
    fn name(&self) -> &'static str {
        "SnapshotAtLogStart"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let (disk, start) = match event {
            Event::SnapshotTaken { disk, end } | Event::Installed { disk, end, .. } => {
                let known = self.snapshots.entry(*disk).or_insert(*end);
                *known = (*known).max(*end);
                return Ok(());
            }
            Event::Started { disk, start, snapshot, .. } => {
                self.snapshots.remove(disk);
                self.snapshots.extend(snapshot.map(|end| (*disk, end)));
                (disk, start)
            }
            Event::LogCut { disk, start } => (disk, start),
            _ => return Ok(()),
        };
        let covered = self.snapshots.get(disk).copied().unwrap_or(0);
        if *start <= covered {
            return Ok(());
        }
        Err(format!("the log of {disk:?} starts at {start}, its snapshot ends at {covered}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{disk, feed};
    use super::*;

    fn started(start: u64, snapshot: Option<u64>) -> Event {
        Event::Started { disk: disk(1), start, log: Vec::new(), snapshot }
    }

    #[test]
    fn it_bites() {
        let check = |events: &[Event]| feed(SnapshotAtLogStart::default(), events);
        assert!(check(&[started(5, None)]).is_some());
        assert!(check(&[started(5, Some(4))]).is_some());
        let taken = Event::SnapshotTaken { disk: disk(1), end: 5 };
        let cut = |start| Event::LogCut { disk: disk(1), start };
        assert!(check(&[started(0, None), taken.clone(), cut(6)]).is_some());
        // A snapshot that did not survive the crash does not count.
        assert!(check(&[started(0, None), taken.clone(), started(3, None)]).is_some());
        assert_eq!(check(&[started(0, None), taken, cut(5), started(5, Some(5))]), None);
    }
}
