//! One controller operation while it is being decided.
//!
//! It works on a copy of the speculative image and sees its own records, so that two decisions of
//! one operation never contradict. Either all of its records are proposed, or none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{BrokerEpoch, ErrorCode, MonoTime, NodeId, Offset, TopicId};

use super::ControllerConfig;
use super::request::{ApiError, ConfigRules, TopicLayers};
use super::rng::Rng;
use super::session::Sessions;
use crate::features::MetadataVersion;
use crate::generated::MetadataRecord;
use crate::image::{BrokerRegistration, ClusterImage, ConfigResource};
use crate::record::Record;

/// Most records of one operation that must not be split.
pub(super) const RECORDS_MAX: usize = 10_000;

/// An operation. See the module's description.
pub(super) struct Op<'a> {
    pub(super) image: ClusterImage,
    pub(super) records: Vec<Record>,
    /// Offset of the operation's first record.
    pub(super) base: Offset,
    pub(super) version: MetadataVersion,
    pub(super) now: MonoTime,
    pub(super) config: &'a ControllerConfig,
    pub(super) rules: &'a dyn ConfigRules,
    pub(super) sessions: &'a mut Sessions,
    pub(super) rng: &'a mut Rng,
    /// Level of `kraft.version`, which is not in the image.
    pub(super) kraft_version: i16,
    /// Topic configs in effect where a topic has none of its own, by name; asking the table for
    /// each of many partitions would be slow.
    pub(super) inherited: RefCell<BTreeMap<&'static str, Option<String>>>,
}

impl Op<'_> {
    /// Adds a record and applies it to the operation's image.
    pub(super) fn push(&mut self, record: Record) {
        let offset = self.base.plus(self.records.len() as u64);
        let applied = self.image.apply(record.message(), offset);
        if let Err(error) = applied {
            // Not input but our own decision: going on would write a log that nobody can read.
            panic!("the controller decided on a record that does not fit: {error}: {record:?}");
        }
        match record.message() {
            MetadataRecord::RegisterBroker(record) => self.track(record.broker_id),
            MetadataRecord::BrokerRegistrationChange(record) => self.track(record.broker_id),
            MetadataRecord::UnregisterBroker(record) => {
                self.sessions.remove(NodeId::from_wire(record.broker_id).unwrap_or_default());
            }
            MetadataRecord::Config(_) => self.inherited.get_mut().clear(),
            _ => {}
        }
        self.records.push(record);
    }

    fn track(&mut self, broker: i32) {
        let id = NodeId::from_wire(broker).unwrap_or_default();
        if let Some(broker) = self.image.broker(id) {
            self.sessions.register(id, broker.fenced);
        }
    }

    /// Adds a record in version 0.
    pub(super) fn add(&mut self, message: impl Into<MetadataRecord>) {
        self.push(Record::new(message));
    }

    /// The broker if it is registered under this epoch; Kafka's error and text otherwise.
    pub(super) fn check_broker_epoch(
        &self,
        id: NodeId,
        epoch: BrokerEpoch,
    ) -> Result<Arc<BrokerRegistration>, ApiError> {
        let stale = |text: String| ApiError::new(ErrorCode::StaleBrokerEpoch, text);
        match self.image.broker(id) {
            None => Err(stale(format!("No broker registration found for broker id {id}"))),
            Some(broker) if broker.epoch != epoch => Err(stale(format!(
                "Expected broker epoch {}, but got broker epoch {epoch}",
                broker.epoch
            ))),
            Some(broker) => Ok(Arc::clone(broker)),
        }
    }

    /// A topic config in effect on this node.
    pub(super) fn topic_config(&self, topic: &str, name: &'static str) -> Option<String> {
        let own = self.image.config(&ConfigResource::topic(topic));
        if let Some(value) = own.and_then(|configs| configs.get(name)) {
            return Some(value.clone());
        }
        let mut inherited = self.inherited.borrow_mut();
        let ask = || {
            let none = BTreeMap::new();
            self.with_layers(&none, |layers| self.rules.topic_config(name, layers))
        };
        inherited.entry(name).or_insert_with(ask).clone()
    }

    /// Runs `ask` with the config layers under a topic with these configs.
    pub(super) fn with_layers<T>(
        &self,
        topic: &BTreeMap<String, String>,
        ask: impl FnOnce(TopicLayers<'_>) -> T,
    ) -> T {
        let [broker, every_broker] = self.image.broker_config_layers(self.config.node_id);
        ask(TopicLayers { topic, broker: &broker, every_broker: &every_broker })
    }

    /// `min.insync.replicas` of a topic, at most its replication factor.
    pub(super) fn min_isr(&self, topic: TopicId) -> usize {
        let Some(topic) = self.image.topic_by_id(topic) else { return 1 };
        let configured = self.topic_config(&topic.name, "min.insync.replicas");
        let configured = configured.and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let first = topic.partitions.values().next();
        first.map_or(configured, |state| state.replicas.len().min(configured))
    }

    /// Whether a replica that is not in sync may lead the topic.
    pub(super) fn unclean_election_enabled(&self, topic: &str) -> bool {
        let text = self.topic_config(topic, "unclean.leader.election.enable");
        text.is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    }
}
