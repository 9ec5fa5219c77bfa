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
use ottla_types::ErrorCode;

use crate::dispatch::{Reply, RequestContext};
use crate::replicas::DirectoryView;
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
    let mut results: Vec<_> = shared
        .replicas
        .views()
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
    for partition in shared.partitions.all() {
        let name = partition.topic().as_str();
        let partition_index = partition.topic_partition().partition.to_wire();
        if wanted(name, partition_index) {
            let partition_size = i64::try_from(partition.figures().bytes).unwrap_or(i64::MAX);
            topics.entry((partition.directory(), name.to_owned())).or_default().push(
                DescribeLogDirsPartition { partition_index, partition_size, ..Default::default() },
            );
        }
    }
    for ((directory, name), mut partitions) in topics {
        partitions.sort_by_key(|partition| partition.partition_index);
        if let Some(result) = results.get_mut(directory) {
            result.topics.push(DescribeLogDirsTopic { name: Str::from(name), partitions });
        }
    }
    Reply::Now(DescribeLogDirsResponse { results, ..Default::default() })
}

/// Handles AlterReplicaLogDirs: a replica that does not exist yet will be made there, one that is
/// there already stays. Moving a replica is not possible yet and says so.
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

fn place(shared: &Arc<Shared>, path: &str, topic: &str, partition: i32) -> Result<(), ErrorCode> {
    let directory = shared.replicas.directory_at(path).ok_or(ErrorCode::LogDirNotFound)?;
    let hosted = shared.partitions.find(None, topic);
    match shared.leader(hosted.as_ref(), None, topic, partition) {
        Ok(found) if found.directory() == directory => Ok(()),
        Ok(_) => Err(ErrorCode::KafkaStorageError),
        Err(refusal) if refusal.code == ErrorCode::NotLeaderOrFollower => {
            Err(ErrorCode::ReplicaNotAvailable)
        }
        Err(refusal) => Err(refusal.code),
    }
}
