//! Dynamic configuration: from the image to what this node runs with.
//!
//! The precedence is Kafka's: topic, then this broker, then all brokers, then the file, then the
//! default. Stored configs never stop a broker: what cannot be read is left out with a line in
//! the log.

use std::sync::Arc;
use std::time::Duration;

use ottla_config::{
    Compression, Durability as Wanted, ProduceValidation, TimestampType, TopicConfig,
};
use ottla_log::{LogConfig, Validation};
use ottla_metadata::{ClusterImage, ConfigKind, ConfigResource, ImageDelta};
use ottla_record::{CompressionSettings, TimestampType as RecordTimestamps};
use ottla_types::TopicName;

use crate::config_rules::NodeRules;
use crate::partition::{Durability, PartitionConfig};
use crate::shared::Shared;

/// Makes changed configs effective.
pub(crate) fn apply(shared: &Arc<Shared>, delta: &ImageDelta, image: &ClusterImage) {
    let node = shared.node_id().to_string();
    let is_broker = |resource: &ConfigResource| {
        resource.kind == ConfigKind::Broker && (resource.name.is_empty() || resource.name == node)
    };
    if delta.configs.iter().any(is_broker) {
        apply_broker(shared, image);
        let mut configs = PartitionConfigs::default();
        for partition in shared.partitions.all() {
            partition.set_config(configs.of(shared, image, partition.topic()));
        }
        return;
    }
    for resource in delta.configs.iter().filter(|resource| resource.kind == ConfigKind::Topic) {
        let Some(topic) = shared.partitions.find(None, &resource.name) else { continue };
        let mut configs = PartitionConfigs::default();
        for partition in topic.partitions() {
            partition.set_config(configs.of(shared, image, partition.topic()));
        }
    }
}

fn apply_broker(shared: &Shared, image: &ClusterImage) {
    let [broker, every_broker] = image.broker_config_layers(shared.node_id());
    let (layers, left_out) = shared.layers.load().with_dynamic(&every_broker, &broker);
    for error in left_out {
        tracing::warn!(%error, "a stored config is left out");
    }
    match layers.config() {
        Ok(config) => {
            shared.replicas.set_cordoned(&config.dirs.cordoned_log_dirs);
            let before = shared.config.swap(Arc::new(config));
            if let Some(controller) = shared.controller.get() {
                controller.set_rules(Box::new(NodeRules::new(layers.clone())));
            }
            shared.layers.store(Arc::new(layers));
            if before.network != shared.config.load().network {
                crate::node::apply_connection_limits(shared);
            }
        }
        Err(errors) => {
            for error in errors {
                tracing::error!(%error, "stored configs do not go together and have no effect");
            }
        }
    }
}

/// What partitions run with; those of a topic share it.
#[derive(Debug, Default)]
pub(crate) struct PartitionConfigs {
    last: Option<(TopicName, Arc<PartitionConfig>)>,
}

impl PartitionConfigs {
    /// What a partition of this topic runs with.
    pub(crate) fn of(
        &mut self,
        shared: &Shared,
        image: &ClusterImage,
        topic: &TopicName,
    ) -> Arc<PartitionConfig> {
        // A jitter is drawn for each partition, so that they do not roll at the same time.
        let shared_by = |(name, config): &&(TopicName, Arc<PartitionConfig>)| {
            name == topic && config.log.segment_jitter.is_zero()
        };
        if let Some((_, config)) = self.last.as_ref().filter(shared_by) {
            return config.clone();
        }
        let config = Arc::new(partition_config(shared, image, topic));
        self.last = Some((topic.clone(), config.clone()));
        config
    }
}

fn partition_config(shared: &Shared, image: &ClusterImage, topic: &TopicName) -> PartitionConfig {
    let overrides = image.config(&ConfigResource::topic(topic.as_str())).cloned();
    let (config, left_out) = shared.layers.load().topic_config(&overrides.unwrap_or_default());
    for error in left_out {
        tracing::warn!(%topic, %error, "a stored config is left out");
    }
    let broker = shared.config.load();
    PartitionConfig {
        log: Arc::new(log_config(&config, broker.validation, broker.producer_id_expiration)),
        durability: match config.durability {
            Wanted::Fsync => Durability::Fsync,
            Wanted::Os => Durability::Os,
        },
        min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(usize::MAX),
        file_delete_delay: config.file_delete_delay,
        flush_messages: config.flush_messages,
        flush_age: config.flush_age,
    }
}

fn log_config(
    config: &TopicConfig,
    validation: ProduceValidation,
    producer_expiration: Duration,
) -> LogConfig {
    let small = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    LogConfig {
        segment_bytes: config.segment_bytes,
        segment_age_max: config.roll_age(),
        segment_jitter: jitter(config.segment_jitter),
        index_bytes: small(config.index_bytes),
        index_interval_bytes: small(config.index_interval_bytes),
        retention: config.retention_age,
        retention_bytes: config.retention_bytes,
        delete: config.cleanup.delete,
        compact: config.cleanup.compact,
        cleanable_ratio_min: config.cleanable_ratio_min,
        compaction_lag_min: config.compaction_lag_min,
        compaction_lag_max: config.compaction_lag_max,
        delete_retention: config.tombstone_retention,
        max_message_bytes: small(config.message_bytes_max),
        timestamp_type: match config.timestamp_type {
            TimestampType::CreateTime => RecordTimestamps::CreateTime,
            TimestampType::LogAppendTime => RecordTimestamps::LogAppendTime,
        },
        timestamp_before_max: config.timestamp_before_max.unwrap_or(Duration::MAX),
        timestamp_after_max: config.timestamp_after_max.unwrap_or(Duration::MAX),
        compression: compression(config.compression),
        validation: match validation {
            ProduceValidation::Header => Validation::Header,
            ProduceValidation::Records => Validation::Records,
        },
        producer_expiration,
        ..LogConfig::default()
    }
}

/// A random part of the jitter, so that segments of many partitions are not rolled at once.
fn jitter(most: Duration) -> Duration {
    let share = f64::from(u32::from_be_bytes(ottla_sys::random_bytes())) / f64::from(u32::MAX);
    most.mul_f64(share)
}

fn compression(wanted: Compression) -> Option<CompressionSettings> {
    use ottla_record::Compression as Codec;
    let with = |codec, level| Some(CompressionSettings { codec, level });
    match wanted {
        Compression::Producer => None,
        Compression::Uncompressed => with(Codec::None, None),
        // -1 is the library's own choice.
        Compression::Gzip(level) => with(Codec::Gzip, Some(level).filter(|level| *level >= 0)),
        Compression::Snappy => with(Codec::Snappy, None),
        Compression::Lz4(level) => with(Codec::Lz4, Some(level)),
        Compression::Zstd(level) => with(Codec::Zstd, Some(level)),
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::Layers;

    use super::*;

    fn mapped(overrides: &[(&str, &str)]) -> LogConfig {
        let overrides =
            overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let fixed = [("log.retention.hours", "2"), ("log.segment.bytes", "2097152")];
        let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (config, left_out) = Layers::new(fixed).topic_config(&overrides.collect());
        assert!(left_out.is_empty());
        log_config(&config, ProduceValidation::Records, Duration::from_secs(9))
    }

    #[test]
    fn a_log_runs_with_the_topics_configs_over_the_brokers() {
        let plain = mapped(&[]);
        assert_eq!(plain.retention, Some(Duration::from_secs(7200)));
        assert_eq!((plain.segment_bytes, plain.retention_bytes), (2_097_152, None));
        assert_eq!((plain.delete, plain.compact, plain.compression), (true, false, None));
        assert_eq!(plain.validation, Validation::Records);
        assert_eq!(plain.producer_expiration, Duration::from_secs(9));

        let own = mapped(&[
            ("retention.ms", "-1"),
            ("retention.bytes", "7"),
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "123"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.after.max.ms", "4000"),
            ("segment.ms", "5000"),
            ("index.interval.bytes", "0"),
        ]);
        assert_eq!((own.retention, own.retention_bytes), (None, Some(7)));
        assert_eq!((own.delete, own.compact, own.max_message_bytes), (false, true, 123));
        assert_eq!(own.timestamp_type, RecordTimestamps::LogAppendTime);
        assert_eq!(own.timestamp_after_max, Duration::from_secs(4));
        assert_eq!((own.segment_age_max, own.index_interval_bytes), (Duration::from_secs(5), 0));
    }

    #[test]
    fn compression_keeps_its_level() {
        let of = |configs: &[(&str, &str)]| {
            mapped(configs).compression.map(|settings| (settings.codec, settings.level))
        };
        use ottla_record::Compression as Codec;
        assert_eq!(of(&[("compression.type", "producer")]), None);
        assert_eq!(of(&[("compression.type", "uncompressed")]), Some((Codec::None, None)));
        assert_eq!(of(&[("compression.type", "gzip")]), Some((Codec::Gzip, None)));
        let zstd = [("compression.type", "zstd"), ("compression.zstd.level", "7")];
        assert_eq!(of(&zstd), Some((Codec::Zstd, Some(7))));
    }

    #[test]
    fn jitter_stays_below_its_limit() {
        let most = Duration::from_secs(5);
        assert!((0..100).all(|_| jitter(most) <= most));
        assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
    }
}
