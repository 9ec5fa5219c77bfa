//! EqualStates: at one offset, every state machine has the same state.
//!
//! Whether it came there batch by batch, by an installed snapshot, or by reading its disk after a
//! crash: for the controller, its image is a function of the log and of nothing else.
//!
//! Source: Ongaro, dissertation, section 3.6.3 (state machine safety); KIP-630 (a snapshot stands
//! for the log below it).

use std::collections::BTreeMap;

use super::Invariant;
use crate::event::Event;

/// See the file.
#[derive(Debug, Default)]
pub struct EqualStates {
    states: BTreeMap<u64, u64>,
}

impl Invariant for EqualStates {
    fn name(&self) -> &'static str {
        "EqualStates"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let (end, state) = match event {
            Event::Appended { batch, state, .. } => (batch.end, *state),
            Event::Installed { end, state, .. } | Event::Replayed { end, state, .. } => {
                (*end, *state)
            }
            _ => return Ok(()),
        };
        let known = *self.states.entry(end).or_insert(state);
        if known != state {
            return Err(format!("two states at offset {end}: {known:x} and {state:x}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{appended, batch, disk, feed};
    use super::*;

    #[test]
    fn it_bites() {
        let check = |event| feed(EqualStates::default(), &[appended(1, batch(0, 2, 1)), event]);
        let installed = |state| Event::Installed { disk: disk(3), end: 2, state };
        let replayed = |state| Event::Replayed { disk: disk(1), end: 2, state };
        assert!(check(installed(9)).is_some() && check(replayed(9)).is_some());
        assert_eq!((check(installed(2)), check(replayed(2))), (None, None));
    }
}
