//! An image as records, in the order of Kafka's snapshots.
//!
//! Order: features (metadata.version first), brokers, controllers, topics each with its
//! partitions, configs, client quotas, producer ids, ACLs, SCRAM credentials, delegation tokens.
//! Header and footer of the snapshot file belong to the quorum.

use ottla_types::{LeaderEpoch, Offset};

use super::error::ApplyError;
use super::{ClusterImage, KeptKey, QuotaEntity};
use crate::features::{METADATA_VERSION, MetadataVersion};
use crate::generated::{
    ClientQuotaRecord, ConfigRecord, FeatureLevelRecord, MetadataRecord, ProducerIdsRecord,
    client_quota_record,
};
use crate::record::Record;

/// Reads a snapshot record by record.
#[derive(Debug)]
pub struct SnapshotLoader {
    image: ClusterImage,
    end: Offset,
    epoch: LeaderEpoch,
}

impl SnapshotLoader {
    /// Begins with the snapshot that covers the log below `end`, whose last batch is of `epoch`.
    pub fn new(end: Offset, epoch: LeaderEpoch) -> Self {
        Self { image: ClusterImage::new(), end, epoch }
    }

    /// Takes the next record.
    pub fn add(&mut self, record: &Record) -> Result<(), ApplyError> {
        // Kafka counts a broker of a snapshot as registered at the last offset that it covers.
        let last = Offset(self.end.0.saturating_sub(1));
        self.image.apply(record.message(), last)
    }

    /// The image, after the last record.
    pub fn finish(mut self) -> ClusterImage {
        self.image.advance(self.end, self.epoch);
        self.image
    }
}

impl ClusterImage {
    /// Hands every record of a snapshot of the stable image to `write`. Before the bootstrap
    /// records there is nothing to write.
    pub fn write_snapshot(&self, mut write: impl FnMut(Record)) {
        let image = self.stable();
        let Some(version) = image.metadata_version() else { return };
        image.write_features(&mut write);
        for broker in image.brokers.values() {
            write(broker.to_record(version));
        }
        if version.controller_registration() {
            for controller in image.controllers.values() {
                write(controller.to_record());
            }
        }
        let elr_enabled = image.elr_enabled();
        for topic in image.topics.values() {
            write(topic.to_record());
            for (partition, state) in &topic.partitions {
                write(state.to_record(topic.id, *partition, version, elr_enabled));
            }
        }
        image.write_configs(&mut write);
        image.write_quotas(&mut write);
        if let Some(next) = image.next_producer_id {
            write(Record::new(ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: next.to_wire(),
            }));
        }
        image.write_kept(version, &mut write);
    }

    /// The records of a snapshot.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.write_snapshot(|record| records.push(record));
        records
    }

    /// Reads a snapshot that covers the log below `end`.
    pub fn from_snapshot<'a>(
        records: impl IntoIterator<Item = &'a Record>,
        end: Offset,
        epoch: LeaderEpoch,
    ) -> Result<Self, ApplyError> {
        let mut loader = SnapshotLoader::new(end, epoch);
        for record in records {
            loader.add(record)?;
        }
        Ok(loader.finish())
    }

    fn write_features(&self, write: &mut impl FnMut(Record)) {
        let others = self.features.iter().filter(|(name, _)| *name != METADATA_VERSION);
        let first = self.features.get_key_value(METADATA_VERSION);
        for (name, level) in first.into_iter().chain(others) {
            write(Record::new(FeatureLevelRecord {
                name: name.as_str().into(),
                feature_level: *level,
            }));
        }
    }

    fn write_configs(&self, write: &mut impl FnMut(Record)) {
        for (resource, configs) in &self.configs {
            for (name, value) in configs.iter() {
                write(Record::new(ConfigRecord {
                    resource_type: resource.kind.code(),
                    resource_name: resource.name.as_str().into(),
                    name: name.as_str().into(),
                    value: Some(value.as_str().into()),
                }));
            }
        }
    }

    fn write_quotas(&self, write: &mut impl FnMut(Record)) {
        for (entity, quotas) in &self.quotas {
            for (key, value) in quotas.iter() {
                write(Record::new(ClientQuotaRecord {
                    entity: entity.to_data(),
                    key: key.as_str().into(),
                    value: *value,
                    remove: false,
                }));
            }
        }
    }

    fn write_kept(&self, version: MetadataVersion, write: &mut impl FnMut(Record)) {
        for (key, record) in &self.kept {
            let carried = match key {
                KeptKey::Acl(_) => true,
                KeptKey::Scram(..) => version.scram(),
                KeptKey::Token(_) => version.delegation_tokens(),
            };
            if carried {
                write(Record::new(MetadataRecord::clone(record)));
            }
        }
    }
}

impl QuotaEntity {
    /// The entity as a record carries it.
    pub(crate) fn to_data(&self) -> Vec<client_quota_record::EntityData> {
        let entries = self.0.iter();
        entries
            .map(|(kind, name)| client_quota_record::EntityData {
                entity_type: kind.as_str().into(),
                entity_name: name.as_deref().map(Into::into),
            })
            .collect()
    }
}
