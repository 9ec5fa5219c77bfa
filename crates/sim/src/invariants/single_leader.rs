//! SingleLeader: at most one leader for each epoch.
//!
//! Nor does one leader lead an epoch twice: a process that crashed while leading stands for
//! election in a new epoch.
//!
//! Source: Ongaro, dissertation, section 3.2 (election safety); Kafka's
//! `RaftEventSimulationTest.SingleLeader`.

use std::collections::HashMap;

use super::Invariant;
use crate::event::{DiskId, Event};

/// See the file.
#[derive(Debug, Default)]
pub struct SingleLeader {
    leaders: HashMap<u32, DiskId>,
}

impl Invariant for SingleLeader {
    fn name(&self) -> &'static str {
        "SingleLeader"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let Event::BecameLeader { disk, epoch, .. } = event else { return Ok(()) };
        match self.leaders.insert(*epoch, *disk) {
            Some(other) => Err(format!("epoch {epoch} is led by {other:?} and then by {disk:?}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{disk, feed};
    use super::*;

    fn led(n: u32, epoch: u32) -> Event {
        Event::BecameLeader { disk: disk(n), epoch, end: 0 }
    }

    #[test]
    fn it_bites() {
        assert!(feed(SingleLeader::default(), &[led(1, 4), led(2, 4)]).is_some());
        assert!(feed(SingleLeader::default(), &[led(1, 4), led(1, 4)]).is_some());
        assert_eq!(feed(SingleLeader::default(), &[led(1, 4), led(2, 5), led(1, 6)]), None);
    }
}
