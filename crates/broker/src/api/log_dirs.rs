//! DescribeLogDirs (35) and AlterReplicaLogDirs (34): what lies in which directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use ottla_protocol::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use ottla_protocol::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_protocol::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_types::{ErrorCode, PartitionIndex, TopicName, TopicPartition};

use crate::dispatch::{Reply, RequestContext};
use crate::replicas::{DirectoryView, MoveError, MoveView};
use crate::shared::Shared;

/// Handles DescribeLogDirs.
pub(crate) fn describe(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeLogDirsRequest,
) -> Reply<DescribeLogDirsResponse> {
    let wanted = |topic: &str, partition: i32| match &request.topics {
        None => true,
        Some(topics) => {
            topics.iter().any(|asked| asked.topic == topic && asked.partitions.contains(&partition))
        }
    };
    let views = shared.replicas.views();
    let is_offline = |(place, view): (usize, &DirectoryView)| view.offline.then_some(place);
    let offline: Vec<usize> = views.iter().enumerate().filter_map(is_offline).collect();
    let mut results: Vec<_> = views
        .into_iter()
        .map(|view: DirectoryView| DescribeLogDirsResult {
            error_code: if view.offline { ErrorCode::KafkaStorageError.code() } else { 0 },
            log_dir: Str::from(view.path),
            topics: Vec::new(),
            total_bytes: view.total_bytes,
            usable_bytes: view.usable_bytes,
            is_cordoned: view.cordoned,
        })
        .collect();
    let mut topics: BTreeMap<(usize, String), Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let mut add = |place: usize, topic: &str, described: DescribeLogDirsPartition| {
        if !offline.contains(&place) && wanted(topic, described.partition_index) {
            topics.entry((place, topic.to_owned())).or_default().push(described);
        }
    };
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    for partition in shared.partitions.all() {
        let (name, figures) = (partition.topic_partition(), partition.figures());
        let described = DescribeLogDirsPartition {
            partition_index: name.partition.to_wire(),
            partition_size: size(figures.bytes),
            ..Default::default()
        };
        add(partition.directory(), &name.topic, described);
    }
    for MoveView { partition, target, end, bytes } in shared.replicas.move_views() {
        let (name, figures) = (partition.topic_partition(), partition.figures());
        let described = DescribeLogDirsPartition {
            partition_index: name.partition.to_wire(),
            partition_size: size(bytes),
            offset_lag: figures.log_end.to_wire() - end.to_wire(),
            is_future_key: true,
        };
        add(target, &name.topic, described);
    }
    for ((directory, name), mut partitions) in topics {
        partitions.sort_by_key(|partition| partition.partition_index);
        if let Some(result) = results.get_mut(directory) {
            result.topics.push(DescribeLogDirsTopic { name: Str::from(name), partitions });
        }
    }
    Reply::Now(DescribeLogDirsResponse { results, ..Default::default() })
}

/// Handles AlterReplicaLogDirs: a replica that is here begins to move, one that does not exist yet
/// will be made there.
pub(crate) fn alter(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> Reply<AlterReplicaLogDirsResponse> {
    let mut topics: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            let results = topics.entry(topic.name.to_string()).or_default();
            for &partition_index in &topic.partitions {
                let outcome = place(shared, &dir.path, &topic.name, partition_index);
                let error_code = outcome.map_or_else(ErrorCode::code, |()| 0);
                results.push(AlterReplicaLogDirPartitionResult { partition_index, error_code });
            }
        }
    }
    let results = topics
        .into_iter()
        .map(|(name, partitions)| AlterReplicaLogDirTopicResult {
            topic_name: Str::from(name),
            partitions,
        })
        .collect();
    Reply::Now(AlterReplicaLogDirsResponse { results, ..Default::default() })
}

// The order of the checks is Kafka's (ReplicaManager.alterReplicaLogDirs).
fn place(shared: &Arc<Shared>, path: &str, topic: &str, partition: i32) -> Result<(), ErrorCode> {
    let unknown = || ErrorCode::UnknownTopicOrPartition;
    let index = PartitionIndex::from_wire(partition).ok_or_else(unknown)?;
    let name = TopicName::parse(topic).map_err(|_| unknown())?;
    let name = TopicPartition::new(name, index);
    let target = shared.replicas.check_target(path, &name).map_err(MoveError::code)?;
    let hosted = shared.partitions.find(None, topic);
    match shared.leader(hosted.as_ref(), None, topic, partition) {
        Ok(found) if found.figures().failed => Err(ErrorCode::KafkaStorageError),
        Ok(found) => shared.replicas.begin_move(shared, &found, target).map_err(MoveError::code),
        Err(refusal) if refusal.code == ErrorCode::KafkaStorageError => Err(refusal.code),
        Err(refusal) => {
            shared.replicas.prefer(name, target);
            Err(match refusal.code {
                ErrorCode::NotLeaderOrFollower => ErrorCode::ReplicaNotAvailable,
                other => other,
            })
        }
    }
}
