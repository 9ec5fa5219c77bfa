//! How each record changes an image.
//!
//! Nothing is decided here: a record that does not fit is an error, never repaired.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use ottla_types::{
    LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionIndex, ProducerId, TopicId, TopicName,
};

use super::broker::{BrokerRegistration, ControllerRegistration};
use super::error::ApplyError;
use super::resource::{ConfigKind, ConfigResource, QuotaEntity};
use super::topic::{PartitionState, TopicImage};
use super::{ClusterImage, KeptKey};
use crate::features::{METADATA_VERSION, MetadataVersion};
use crate::generated::{
    BrokerRegistrationChangeRecord, ClearElrRecord, ClientQuotaRecord, ConfigRecord,
    FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RegisterControllerRecord, RemoveTopicRecord, TopicRecord,
    UnregisterBrokerRecord,
};
use crate::record::Record;

impl ClusterImage {
    /// Applies a batch of the log: records with consecutive offsets from `base`.
    pub fn apply_batch<'a>(
        &mut self,
        base: Offset,
        epoch: LeaderEpoch,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), ApplyError> {
        assert!(self.end <= base, "metadata batches are applied in order");
        let mut offset = base;
        for record in records {
            self.apply(record.message(), offset)?;
            offset = offset.next();
        }
        self.advance(offset, epoch);
        Ok(())
    }

    /// Notes that everything below `end` was applied, control batches included.
    pub fn advance(&mut self, end: Offset, epoch: LeaderEpoch) {
        assert!(self.end <= end, "the end of an image never moves back");
        self.end = end;
        self.epoch = epoch;
    }

    /// Applies one record at its offset.
    pub fn apply(&mut self, record: &MetadataRecord, offset: Offset) -> Result<(), ApplyError> {
        use MetadataRecord as M;
        match record {
            M::RegisterBroker(record) => self.register_broker(record, offset),
            M::UnregisterBroker(record) => self.unregister_broker(record),
            M::Topic(record) => self.add_topic(record),
            M::Partition(record) => self.add_partition(record),
            M::Config(record) => self.set_config(record),
            M::PartitionChange(record) => self.change_partition(record),
            M::FenceBroker(record) => self.change_broker(&BrokerRegistrationChangeRecord {
                broker_id: record.id,
                broker_epoch: record.epoch,
                fenced: 1,
                ..Default::default()
            }),
            M::UnfenceBroker(record) => self.change_broker(&BrokerRegistrationChangeRecord {
                broker_id: record.id,
                broker_epoch: record.epoch,
                fenced: -1,
                ..Default::default()
            }),
            M::BrokerRegistrationChange(record) => self.change_broker(record),
            M::RemoveTopic(record) => self.remove_topic(record),
            M::FeatureLevel(record) => self.set_feature(record),
            M::ClientQuota(record) => {
                self.set_quota(record);
                Ok(())
            }
            M::ProducerIds(record) => {
                let bad = ApplyError::BadField { record: "ProducerIds", field: "NextProducerId" };
                self.next_producer_id =
                    Some(ProducerId::from_wire(record.next_producer_id).ok_or(bad)?);
                Ok(())
            }
            M::RegisterController(record) => self.register_controller(record),
            M::UnregisterController(record) => {
                let id = NodeId::from_wire(record.controller_id).unwrap_or_default();
                self.controllers.remove(&id).map(drop).ok_or(ApplyError::NoController { id })
            }
            M::ClearElr(record) => self.clear_elr(record),
            M::NoOp(_) | M::ZkMigrationState(_) => Ok(()),
            M::BeginTransaction(_) => self.begin_transaction(),
            M::EndTransaction(_) => self
                .before_transaction
                .take()
                .map(drop)
                .ok_or(ApplyError::NoTransaction { record: "EndTransaction" }),
            M::AbortTransaction(_) => self.abort_transaction(),
            M::AccessControlEntry(_)
            | M::RemoveAccessControlEntry(_)
            | M::UserScramCredential(_)
            | M::RemoveUserScramCredential(_)
            | M::DelegationToken(_)
            | M::RemoveDelegationToken(_) => {
                self.keep(record);
                Ok(())
            }
        }
    }

    fn keep(&mut self, record: &MetadataRecord) {
        use MetadataRecord as M;
        let (key, stays) = match record {
            M::AccessControlEntry(acl) => (KeptKey::Acl(acl.id), true),
            M::RemoveAccessControlEntry(acl) => (KeptKey::Acl(acl.id), false),
            M::UserScramCredential(user) => {
                (KeptKey::Scram(user.mechanism, user.name.to_string()), true)
            }
            M::RemoveUserScramCredential(user) => {
                (KeptKey::Scram(user.mechanism, user.name.to_string()), false)
            }
            M::DelegationToken(token) => (KeptKey::Token(token.token_id.to_string()), true),
            M::RemoveDelegationToken(token) => (KeptKey::Token(token.token_id.to_string()), false),
            _ => return,
        };
        if stays {
            self.kept.insert(key, Arc::new(record.clone()));
        } else {
            self.kept.remove(&key);
        }
    }

    fn begin_transaction(&mut self) -> Result<(), ApplyError> {
        if self.before_transaction.is_some() {
            return Err(ApplyError::TransactionOpen);
        }
        self.before_transaction = Some(Arc::new(self.clone()));
        Ok(())
    }

    fn abort_transaction(&mut self) -> Result<(), ApplyError> {
        let before = self.before_transaction.take();
        let before = before.ok_or(ApplyError::NoTransaction { record: "AbortTransaction" })?;
        let (end, epoch) = (self.end, self.epoch);
        *self = Self::clone(&before);
        (self.end, self.epoch) = (end, epoch);
        Ok(())
    }

    fn set_feature(&mut self, record: &FeatureLevelRecord) -> Result<(), ApplyError> {
        let name = record.name.to_string();
        if name == METADATA_VERSION {
            let version = MetadataVersion::from_level(record.feature_level);
            if version.is_none_or(|version| MetadataVersion::LATEST < version) {
                return Err(ApplyError::BadField { record: "FeatureLevel", field: "FeatureLevel" });
            }
        }
        let was_kept = self.elr_enabled();
        match record.feature_level {
            0 => self.features.remove(&name),
            level => self.features.insert(name, level),
        };
        if was_kept && !self.elr_enabled() {
            // A snapshot does not carry them from here on, and they would be stale when the
            // feature came back. No partition epoch changes, because no record changes it.
            self.without_elrs("", |state| state.partition_epoch)?;
        }
        Ok(())
    }

    fn register_broker(
        &mut self,
        record: &RegisterBrokerRecord,
        offset: Offset,
    ) -> Result<(), ApplyError> {
        let broker = BrokerRegistration::from_record(record)?;
        self.registered_at.insert(broker.id, offset);
        self.brokers.insert(broker.id, Arc::new(broker));
        Ok(())
    }

    fn registered(
        &self,
        record: &'static str,
        id: i32,
        epoch: i64,
    ) -> Result<&Arc<BrokerRegistration>, ApplyError> {
        let id = NodeId::from_wire(id).ok_or(ApplyError::BadField { record, field: "BrokerId" })?;
        let broker = self.brokers.get(&id).filter(|broker| broker.epoch.to_wire() == epoch);
        broker.ok_or(ApplyError::NoBroker { record, id })
    }

    fn unregister_broker(&mut self, record: &UnregisterBrokerRecord) -> Result<(), ApplyError> {
        let broker = self.registered("UnregisterBroker", record.broker_id, record.broker_epoch)?;
        let id = broker.id;
        self.brokers.remove(&id);
        self.registered_at.remove(&id);
        Ok(())
    }

    fn change_broker(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ApplyError> {
        let name = "BrokerRegistrationChange";
        let broker = self.registered(name, record.broker_id, record.broker_epoch)?;
        let next = broker.changed(record)?;
        self.brokers.insert(next.id, Arc::new(next));
        Ok(())
    }

    fn register_controller(&mut self, record: &RegisterControllerRecord) -> Result<(), ApplyError> {
        let controller = ControllerRegistration::from_record(record)?;
        self.controllers.insert(controller.id, Arc::new(controller));
        Ok(())
    }

    fn add_topic(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        let bad = ApplyError::BadField { record: "Topic", field: "Name" };
        let name = TopicName::parse(&record.name).map_err(|_| bad)?;
        if self.topic_ids.contains_key(&name) {
            return Err(ApplyError::TopicExists { name: name.to_string() });
        }
        let id = TopicId(record.topic_id);
        self.indexes.name_added(&name);
        self.topic_ids.insert(name.clone(), id);
        self.topics.insert(id, Arc::new(TopicImage { name, id, partitions: OrdMap::new() }));
        Ok(())
    }

    fn remove_topic(&mut self, record: &RemoveTopicRecord) -> Result<(), ApplyError> {
        let id = TopicId(record.topic_id);
        let topic = self.topics.remove(&id);
        let topic = topic.ok_or(ApplyError::NoTopic { record: "RemoveTopic", id })?;
        self.topic_ids.remove(&topic.name);
        self.indexes.name_removed(&topic.name);
        self.configs.remove(&ConfigResource::topic(topic.name.as_str()));
        for (partition, state) in &topic.partitions {
            self.indexes.update(id, *partition, Some(state), None);
        }
        Ok(())
    }

    fn put_partition(
        &mut self,
        record: &'static str,
        id: TopicId,
        partition: PartitionIndex,
        state: PartitionState,
    ) -> Result<(), ApplyError> {
        let topic = self.topics.get_mut(&id).ok_or(ApplyError::NoTopic { record, id })?;
        let state = Arc::new(state);
        let old = Arc::make_mut(topic).partitions.insert(partition, Arc::clone(&state));
        self.indexes.update(id, partition, old.as_deref(), Some(&state));
        Ok(())
    }

    fn add_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let bad = ApplyError::BadField { record: "Partition", field: "PartitionId" };
        let partition = PartitionIndex::from_wire(record.partition_id).ok_or(bad)?;
        let state = PartitionState::from_record(record)?;
        self.put_partition("Partition", TopicId(record.topic_id), partition, state)
    }

    fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let name = "PartitionChange";
        let bad = ApplyError::BadField { record: name, field: "PartitionId" };
        let partition = PartitionIndex::from_wire(record.partition_id).ok_or(bad)?;
        let id = TopicId(record.topic_id);
        let topic = self.topics.get(&id).ok_or(ApplyError::NoTopic { record: name, id })?;
        let old = topic.partitions.get(&partition);
        let old = old.ok_or(ApplyError::NoPartition { id, partition })?;
        let new = old.merge(record)?;
        self.put_partition(name, id, partition, new)
    }

    fn clear_elr(&mut self, record: &ClearElrRecord) -> Result<(), ApplyError> {
        self.without_elrs(&record.topic_name, |state| state.partition_epoch.next())
    }

    /// Takes the ELRs of a topic away, or of all topics when the name is empty.
    fn without_elrs(
        &mut self,
        name: &str,
        epoch: impl Fn(&PartitionState) -> PartitionEpoch,
    ) -> Result<(), ApplyError> {
        let topics: Vec<TopicId> = if name.is_empty() {
            self.topics.keys().copied().collect()
        } else {
            let unknown = || ApplyError::NoTopicNamed { record: "ClearElr", name: name.to_owned() };
            vec![self.topic_ids.get(name).copied().ok_or_else(unknown)?]
        };
        for id in topics {
            let Some(topic) = self.topics.get(&id) else { continue };
            let with_elr: Vec<_> = topic
                .partitions
                .iter()
                .filter(|(_, state)| !state.elr.is_empty() || !state.last_known_elr.is_empty())
                .map(|(partition, state)| (*partition, Arc::clone(state)))
                .collect();
            for (partition, state) in with_elr {
                let cleared = PartitionState {
                    elr: Vec::new(),
                    last_known_elr: Vec::new(),
                    partition_epoch: epoch(&state),
                    ..PartitionState::clone(&state)
                };
                self.put_partition("ClearElr", id, partition, cleared)?;
            }
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord) -> Result<(), ApplyError> {
        let bad = ApplyError::BadField { record: "Config", field: "ResourceType" };
        let kind = ConfigKind::from_code(record.resource_type).ok_or(bad)?;
        let resource = ConfigResource::new(kind, record.resource_name.as_str());
        let configs = self.configs.entry(resource.clone()).or_default();
        let configs: &mut BTreeMap<String, String> = Arc::make_mut(configs);
        match &record.value {
            Some(value) => configs.insert(record.name.to_string(), value.to_string()),
            None => configs.remove(record.name.as_str()),
        };
        if configs.is_empty() {
            self.configs.remove(&resource);
        }
        Ok(())
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let name = |raw: &Option<ottla_codec::Str>| raw.as_ref().map(ToString::to_string);
        let entity = record.entity.iter();
        let entity = QuotaEntity(
            entity.map(|part| (part.entity_type.to_string(), name(&part.entity_name))).collect(),
        );
        let quotas = Arc::make_mut(self.quotas.entry(entity.clone()).or_default());
        if record.remove {
            quotas.remove(record.key.as_str());
        } else {
            quotas.insert(record.key.to_string(), record.value);
        }
        if quotas.is_empty() {
            self.quotas.remove(&entity);
        }
    }
}
