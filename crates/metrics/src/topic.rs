//! Metrics of one topic, or of all topics of a broker.
//!
//! A series of a topic appears with its first event, so that an idle topic costs a few words.

use std::sync::{Arc, OnceLock};

use crate::{definition::Definition, instrument::Meter, registry::Registry, table};

/// An event of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum TopicEvent {
    /// Records appended.
    MessagesIn,
    /// Bytes appended.
    BytesIn,
    /// Bytes sent to consumers.
    BytesOut,
    /// Bytes refused for the size of their batch.
    BytesRejected,
    /// A partition written to.
    Produce,
    /// A partition read.
    Fetch,
    /// A partition whose write failed.
    FailedProduce,
    /// A partition whose read failed.
    FailedFetch,
    /// Records without the key that compaction needs.
    NoKey,
    /// Batches with a wrong checksum.
    InvalidCrc,
    /// Batches with wrong offsets or sequence numbers.
    InvalidSequence,
}

/// Definitions in the order of [`TopicEvent`].
static DEFINITIONS: [&Definition; 11] = [
    &table::MESSAGES_IN,
    &table::BYTES_IN,
    &table::BYTES_OUT,
    &table::BYTES_REJECTED,
    &table::PRODUCE_REQUESTS,
    &table::FETCH_REQUESTS,
    &table::FAILED_PRODUCE_REQUESTS,
    &table::FAILED_FETCH_REQUESTS,
    &table::NO_KEY_COMPACTED,
    &table::INVALID_CRC,
    &table::INVALID_SEQUENCE,
];

/// Metrics of one topic, or of the broker.
#[derive(Debug)]
pub struct TopicMetrics {
    registry: Registry,
    topic: Option<Arc<str>>,
    broker: Option<Arc<Self>>,
    meters: [OnceLock<Arc<Meter>>; 11],
}

impl TopicMetrics {
    /// Metrics of all topics together. Its series exist from the start, so that dashboards find
    /// zeros.
    pub fn of_broker(registry: &Registry) -> Arc<Self> {
        let metrics = Self {
            registry: registry.clone(),
            topic: None,
            broker: None,
            meters: Default::default(),
        };
        for at in 0..metrics.meters.len() {
            metrics.meter(at);
        }
        Arc::new(metrics)
    }

    /// Metrics of a topic; every event also counts for the broker.
    pub fn of_topic(broker: &Arc<Self>, topic: &str) -> Self {
        Self {
            registry: broker.registry.clone(),
            topic: Some(Arc::from(topic)),
            broker: Some(broker.clone()),
            meters: Default::default(),
        }
    }

    /// Notes events.
    pub fn mark(&self, event: TopicEvent, count: u64) {
        self.meter(event as usize).mark(count);
        if let Some(broker) = &self.broker {
            broker.mark(event, count);
        }
    }

    fn meter(&self, at: usize) -> &Meter {
        self.meters[at].get_or_init(|| match &self.topic {
            Some(topic) => self.registry.meter(DEFINITIONS[at], &[("topic", topic)]),
            None => self.registry.meter(DEFINITIONS[at], &[]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_count_for_topic_and_broker() {
        let registry = Registry::default();
        let broker = TopicMetrics::of_broker(&registry);
        let topic = TopicMetrics::of_topic(&broker, "orders");
        topic.mark(TopicEvent::BytesIn, 7);
        broker.mark(TopicEvent::BytesIn, 1);
        assert_eq!(registry.meter(&table::BYTES_IN, &[]).count(), 8);
        assert_eq!(registry.meter(&table::BYTES_IN, &[("topic", "orders")]).count(), 7);
        let of_topic = |series: &&crate::Series| !series.labels.is_empty();
        assert_eq!(registry.read(std::time::Duration::ZERO).iter().filter(of_topic).count(), 1);
    }

    #[test]
    fn events_are_in_the_order_of_their_definitions() {
        assert_eq!(DEFINITIONS[TopicEvent::MessagesIn as usize].name, "MessagesInPerSec");
        assert_eq!(DEFINITIONS[TopicEvent::FailedFetch as usize].name, "FailedFetchRequestsPerSec");
        let last = DEFINITIONS[TopicEvent::InvalidSequence as usize];
        assert_eq!(last.name, "InvalidOffsetOrSequenceRecordsPerSec");
    }
}
