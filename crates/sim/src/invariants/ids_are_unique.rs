//! IdsAreUnique: ids and epochs that were handed out once are never handed out again.
//!
//! No two topics have one id, no two registrations one broker epoch, no two blocks one producer
//! id. What was handed out and not answered does not count: nobody has it.
//!
//! Source: Kafka's `ReplicationControlManager`, `ClusterControlManager` (a broker's epoch is an
//! offset of the log) and `ProducerIdControlManager`.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;

use super::Invariant;
use crate::event::{Answer, Event, Said};

/// See the file.
#[derive(Debug, Default)]
pub struct IdsAreUnique {
    topics: BTreeSet<Uuid>,
    broker_epochs: BTreeMap<u64, u32>,
    /// First id of each block, and the id after its last one.
    producer_ids: BTreeMap<u64, u64>,
}

impl Invariant for IdsAreUnique {
    fn name(&self) -> &'static str {
        "IdsAreUnique"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let Event::Said { said: Said::Answered(answer), .. } = event else { return Ok(()) };
        match answer {
            Answer::TopicCreated(id) if !self.topics.insert(*id) => {
                Err(format!("two topics have the id {id}"))
            }
            Answer::Registered { node, epoch } => {
                // A process that asks again is told again.
                let other = self.broker_epochs.insert(*epoch, *node);
                match other.filter(|other| other != node) {
                    Some(other) => Err(format!("brokers {other} and {node} have epoch {epoch}")),
                    None => Ok(()),
                }
            }
            Answer::ProducerIds { first, end } => {
                let before = self.producer_ids.range(..end).next_back();
                if let Some((_, taken)) = before.filter(|(_, taken)| first < *taken) {
                    return Err(format!("producer ids from {first} on, taken up to {taken}"));
                }
                self.producer_ids.insert(*first, *end);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{disk, feed};
    use super::*;

    fn check(answers: &[Answer]) -> bool {
        let said = |answer: &Answer| Said::Answered(answer.clone());
        let event = |answer| Event::Said { disk: disk(1), said: said(answer) };
        let events: Vec<_> = answers.iter().map(event).collect();
        feed(IdsAreUnique::default(), &events).is_none()
    }

    #[test]
    fn it_bites() {
        let topic = |n| Answer::TopicCreated(Uuid([n; 16]));
        assert!(check(&[topic(1), topic(2)]) && !check(&[topic(1), topic(1)]));
        let broker = |node, epoch| Answer::Registered { node, epoch };
        assert!(check(&[broker(1, 5), broker(1, 5), broker(2, 6)]));
        assert!(!check(&[broker(1, 5), broker(2, 5)]));
        let ids = |first, end| Answer::ProducerIds { first, end };
        assert!(check(&[ids(0, 10), ids(20, 30), ids(10, 20)]));
        assert!(!check(&[ids(0, 10), ids(9, 20)]) && !check(&[ids(9, 20), ids(0, 10)]));
        assert!(!check(&[ids(0, 10), ids(0, 10)]) && !check(&[ids(0, 30), ids(10, 20)]));
    }
}
