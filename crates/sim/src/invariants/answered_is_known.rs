//! AnsweredIsKnown: what a client was told is in the image of every later leader.
//!
//! A topic that was created is there unless somebody asked to delete it; a deleted one is not; a
//! registered broker has the epoch it was told or a later one, unless somebody asked to take it
//! out; producer ids that were handed out are not free; a config has the value or a later one.
//!
//! Source: Kafka's `QuorumController`, which completes a request once its records are committed;
//! Ongaro, dissertation, section 3.6.3 (leader completeness).

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;

use super::Invariant;
use crate::event::{Answer, Ask, Event, Said, View};

/// See the file.
#[derive(Debug, Default)]
pub struct AnsweredIsKnown {
    created: BTreeSet<Uuid>,
    deleted: BTreeSet<Uuid>,
    doomed: BTreeSet<Uuid>,
    configured: BTreeMap<Uuid, u64>,
    registered: BTreeMap<u32, u64>,
    /// Up to which epoch somebody asked to take a broker out.
    leaving: BTreeMap<u32, u64>,
    producer_ids: u64,
}

impl AnsweredIsKnown {
    fn asked(&mut self, ask: &Ask) {
        match ask {
            Ask::DeleteTopic(id) => {
                self.doomed.insert(*id);
            }
            Ask::Unregister { node, epoch } => {
                let leaving = self.leaving.entry(*node).or_default();
                *leaving = (*leaving).max(*epoch);
                self.registered.retain(|known, since| known != node || *leaving < *since);
            }
        }
    }

    fn answered(&mut self, answer: &Answer) {
        match answer {
            Answer::TopicCreated(id) => {
                self.created.insert(*id);
            }
            Answer::TopicDeleted(id) => {
                self.deleted.insert(*id);
            }
            Answer::Registered { node, epoch } => {
                if self.leaving.get(node).is_none_or(|leaving| leaving < epoch) {
                    let known = self.registered.entry(*node).or_default();
                    *known = (*known).max(*epoch);
                }
            }
            Answer::ProducerIds { end, .. } => {
                self.producer_ids = self.producer_ids.max(*end);
            }
            Answer::Configured { topic, value } => {
                let known = self.configured.entry(*topic).or_default();
                *known = (*known).max(*value);
            }
        }
    }

    fn check(&self, view: &View) -> Result<(), String> {
        let there = |id: &&Uuid| view.topics.contains_key(id);
        if let Some(id) = self.created.difference(&self.doomed).find(|id| !there(id)) {
            return Err(format!("topic {id} was created and is not there"));
        }
        if let Some(id) = self.deleted.iter().find(there) {
            return Err(format!("topic {id} was deleted and is there"));
        }
        for (id, value) in &self.configured {
            let known = view.topics.get(id);
            if known.is_some_and(|known| known.is_none_or(|known| known < *value)) {
                return Err(format!("topic {id} was given {value} and has {known:?}"));
            }
        }
        for (node, epoch) in &self.registered {
            let known = view.brokers.get(node);
            if known.is_none_or(|known| known < epoch) {
                return Err(format!("broker {node} registered in {epoch} is known in {known:?}"));
            }
        }
        if view.next_producer_id < self.producer_ids {
            let (end, next) = (self.producer_ids, view.next_producer_id);
            return Err(format!("producer ids up to {end} are taken, {next} is called free"));
        }
        Ok(())
    }
}

impl Invariant for AnsweredIsKnown {
    fn name(&self) -> &'static str {
        "AnsweredIsKnown"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let Event::Said { disk, said } = event else { return Ok(()) };
        match said {
            Said::Asked(ask) => self.asked(ask),
            Said::Answered(answer) => self.answered(answer),
            Said::Leads(view) => {
                return self.check(view).map_err(|what| format!("{what} ({disk:?} leads)"));
            }
            Said::Partition { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::slice;
    use std::sync::Arc;

    use super::super::testing::{disk, feed};
    use super::*;

    const A: Uuid = Uuid([7; 16]);

    fn check(said: &[Said], view: &View) -> bool {
        let said = said.iter().cloned().chain([Said::Leads(Arc::new(view.clone()))]);
        let events: Vec<_> = said.map(|said| Event::Said { disk: disk(1), said }).collect();
        feed(AnsweredIsKnown::default(), &events).is_none()
    }

    #[test]
    fn it_bites() {
        let empty = View::default();
        let view = View {
            topics: BTreeMap::from([(A, Some(5))]),
            brokers: BTreeMap::from([(1, 30)]),
            next_producer_id: 2000,
        };
        let answered = |answer: Answer| Said::Answered(answer);
        let created = answered(Answer::TopicCreated(A));
        assert!(
            !check(slice::from_ref(&created), &empty) && check(slice::from_ref(&created), &view)
        );
        assert!(check(&[created, Said::Asked(Ask::DeleteTopic(A))], &empty));
        let deleted = answered(Answer::TopicDeleted(A));
        assert!(check(slice::from_ref(&deleted), &empty) && !check(&[deleted], &view));
        let set = |value| answered(Answer::Configured { topic: A, value });
        assert!(check(&[set(5)], &view) && !check(&[set(6)], &view));
        let registered = |epoch| answered(Answer::Registered { node: 1, epoch });
        assert!(check(&[registered(30)], &view) && !check(&[registered(31)], &view));
        assert!(!check(&[registered(1)], &empty));
        let out = |epoch| Said::Asked(Ask::Unregister { node: 1, epoch });
        assert!(check(&[registered(5), out(5)], &empty) && check(&[out(5), registered(5)], &empty));
        assert!(!check(&[out(4), registered(5)], &empty));
        let ids = |end| answered(Answer::ProducerIds { first: 0, end });
        assert!(check(&[ids(2000)], &view) && !check(&[ids(2001)], &view));
    }
}
