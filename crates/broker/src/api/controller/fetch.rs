//! Fetch (1) and FetchSnapshot (59) on a controller listener: observers follow the metadata log.
//!
//! Committed batches only are served. A fetch position that this log does not have, or has in
//! another epoch, gets the diverging epoch; one below the log's start gets the snapshot to read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{RecordData, Str};
use ottla_log::{FsStorage, Storage as _};
use ottla_protocol::fetch_request::{FetchPartition, FetchRequest};
use ottla_protocol::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
    SnapshotId as WireSnapshotId,
};
use ottla_protocol::fetch_snapshot_request::{FetchSnapshotRequest, PartitionSnapshot as Asked};
use ottla_protocol::fetch_snapshot_response::{
    FetchSnapshotResponse, LeaderIdAndEpoch as SnapshotLeader, PartitionSnapshot,
    SnapshotId as AnsweredSnapshotId, TopicSnapshot,
};
use ottla_quorum::{ReplicaKey, SnapshotId};
use ottla_types::{DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

use crate::dispatch::{Reply, RequestContext};
use crate::driver::QuorumHandle;
use crate::replicas::METADATA_TOPIC;
use crate::shared::Shared;

/// Handles Fetch.
pub(crate) fn fetch(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: FetchRequest,
) -> Reply<FetchResponse> {
    let refused = |code: ErrorCode| FetchResponse { error_code: code.code(), ..Default::default() };
    let other_cluster =
        request.cluster_id.as_ref().is_some_and(|id| id.as_str() != shared.cluster_id());
    if other_cluster {
        return Reply::Now(refused(ErrorCode::InconsistentClusterId));
    }
    let Some(asked) = only_partition(&request, ctx.version) else {
        return Reply::Now(refused(ErrorCode::InvalidRequest));
    };
    let Some(quorum) = shared.quorum.get().cloned() else {
        return Reply::Now(refused(ErrorCode::NotLeaderOrFollower));
    };
    let limit = usize::try_from(shared.config.load().quorum.fetch_bytes_max).unwrap_or(usize::MAX);
    let fetch = Fetch { quorum, asked: asked.clone(), version: ctx.version, limit };
    fetch.note_observer(&request);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    match fetch.look() {
        Look::Nothing(data) if wait.is_zero() => Reply::Now(fetch.answer(data)),
        Look::Nothing(_) => Reply::later(fetch.wait(wait)),
        Look::Found(data) => Reply::Now(fetch.answer(data)),
    }
}

fn only_partition(request: &FetchRequest, version: i16) -> Option<&FetchPartition> {
    let [topic] = request.topics.as_slice() else { return None };
    let named =
        if version >= 13 { topic.topic_id == Uuid::ONE } else { topic.topic == METADATA_TOPIC };
    match topic.partitions.as_slice() {
        [partition] if named && partition.partition == 0 => Some(partition),
        _ => None,
    }
}

struct Fetch {
    quorum: QuorumHandle,
    asked: FetchPartition,
    version: i16,
    limit: usize,
}

enum Look {
    /// There is nothing new; the answer if time is up.
    Nothing(PartitionData),
    Found(PartitionData),
}

impl Fetch {
    fn note_observer(&self, request: &FetchRequest) {
        let id = match self.version {
            15.. => request.replica_state.replica_id,
            _ => request.replica_id,
        };
        let observer = NodeId::from_wire(id);
        if let (Some(node), Some(end)) = (observer, Offset::from_wire(self.asked.fetch_offset)) {
            let key = ReplicaKey::new(node, DirectoryId(self.asked.replica_directory_id));
            self.quorum.observer_fetched(key, end);
        }
    }

    fn look(&self) -> Look {
        let status = self.quorum.status();
        let mut data = PartitionData {
            high_watermark: status.high_watermark.to_wire(),
            last_stable_offset: status.high_watermark.to_wire(),
            current_leader: LeaderIdAndEpoch {
                leader_id: NodeId::option_to_wire(status.leader),
                leader_epoch: status.epoch.to_wire(),
            },
            records: Some(RecordData::default()),
            ..Default::default()
        };
        if let Err(code) = self.check_epoch(status.epoch, status.active) {
            data.error_code = code.code();
            return Look::Found(data);
        }
        let mut log = self.quorum.log().lock();
        data.log_start_offset = log.log_start_offset().to_wire();
        let offset = Offset::from_wire(self.asked.fetch_offset).unwrap_or_default();
        if offset < log.log_start_offset()
            || (offset == Offset::ZERO && log.log_start_offset() > offset)
        {
            data.snapshot_id = snapshot(status.snapshot);
            return Look::Found(data);
        }
        if let Some(last) = LeaderEpoch::from_wire(self.asked.last_fetched_epoch)
            && (offset > Offset::ZERO || self.asked.last_fetched_epoch > 0)
        {
            let end = log.end_offset_for_epoch(last);
            let fits = end.is_some_and(|end| end.epoch == last && offset <= end.end_offset);
            if !fits {
                data.diverging_epoch = EpochEndOffset {
                    epoch: end.map_or(0, |end| end.epoch.to_wire()),
                    end_offset: end.map_or(0, |end| end.end_offset.to_wire()),
                };
                return Look::Found(data);
            }
        }
        if status.high_watermark <= offset {
            // Version 18 also waits for the high watermark that the follower knows.
            return Look::Nothing(data);
        }
        match log.read(offset, self.limit, status.high_watermark, true) {
            Ok(slice) => {
                let parts = slice.records.into_iter().collect();
                data.records = Some(RecordData::Parts(parts));
            }
            Err(error) => data.error_code = crate::error_code::read_error(&error).code(),
        }
        Look::Found(data)
    }

    fn check_epoch(&self, epoch: LeaderEpoch, active: bool) -> Result<(), ErrorCode> {
        match LeaderEpoch::from_wire(self.asked.current_leader_epoch) {
            Some(theirs) if theirs < epoch => Err(ErrorCode::FencedLeaderEpoch),
            Some(theirs) if theirs > epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ if !active => Err(ErrorCode::NotLeaderOrFollower),
            _ => Ok(()),
        }
    }

    async fn wait(self, patience: Duration) -> FetchResponse {
        let mut high_watermark = self.quorum.high_watermark();
        let from = Offset::from_wire(self.asked.fetch_offset).unwrap_or_default();
        // Time running out is one outcome among others.
        let _ = tokio::time::timeout(patience, high_watermark.wait_for(|end| from < *end)).await;
        let (Look::Nothing(data) | Look::Found(data)) = self.look();
        self.answer(data)
    }

    fn answer(&self, data: PartitionData) -> FetchResponse {
        let (topic, topic_id) = match self.version {
            13.. => (Str::default(), Uuid::ONE),
            _ => (Str::from_static(METADATA_TOPIC), Uuid::ZERO),
        };
        let responses = vec![FetchableTopicResponse { topic, topic_id, partitions: vec![data] }];
        FetchResponse { responses, ..Default::default() }
    }
}

fn snapshot(newest: Option<SnapshotId>) -> WireSnapshotId {
    newest.filter(|id| *id != SnapshotId::BOOTSTRAP).map_or_else(Default::default, |id| {
        WireSnapshotId { end_offset: id.end.to_wire(), epoch: id.epoch.to_wire() }
    })
}

/// Handles FetchSnapshot.
pub(crate) fn fetch_snapshot(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: FetchSnapshotRequest,
) -> Reply<FetchSnapshotResponse> {
    let refused =
        |code: ErrorCode| FetchSnapshotResponse { error_code: code.code(), ..Default::default() };
    let other_cluster =
        request.cluster_id.as_ref().is_some_and(|id| id.as_str() != shared.cluster_id());
    if other_cluster {
        return Reply::Now(refused(ErrorCode::InconsistentClusterId));
    }
    let asked = match request.topics.as_slice() {
        [topic] if topic.name == METADATA_TOPIC => match topic.partitions.as_slice() {
            [partition] if partition.partition == 0 => partition.clone(),
            _ => return Reply::Now(refused(ErrorCode::UnknownTopicOrPartition)),
        },
        _ => return Reply::Now(refused(ErrorCode::UnknownTopicOrPartition)),
    };
    let Some(quorum) = shared.quorum.get().cloned() else {
        return Reply::Now(refused(ErrorCode::NotLeaderOrFollower));
    };
    let configured = shared.config.load().quorum.fetch_snapshot_bytes_max;
    let limit = u64::try_from(request.max_bytes).unwrap_or_default().min(configured);
    Reply::later(async move {
        let read = tokio::task::spawn_blocking(move || read_snapshot(&quorum, &asked, limit));
        match read.await {
            Ok(partition) => FetchSnapshotResponse {
                topics: vec![TopicSnapshot {
                    name: Str::from_static(METADATA_TOPIC),
                    partitions: vec![partition],
                }],
                ..Default::default()
            },
            Err(_) => refused(ErrorCode::UnknownServerError),
        }
    })
}

fn read_snapshot(quorum: &QuorumHandle, asked: &Asked, limit: u64) -> PartitionSnapshot {
    let status = quorum.status();
    let mut answer = PartitionSnapshot {
        snapshot_id: AnsweredSnapshotId {
            end_offset: asked.snapshot_id.end_offset,
            epoch: asked.snapshot_id.epoch,
        },
        current_leader: SnapshotLeader {
            leader_id: NodeId::option_to_wire(status.leader),
            leader_epoch: status.epoch.to_wire(),
        },
        position: asked.position,
        ..Default::default()
    };
    match read_part(quorum, asked, limit) {
        Ok((size, bytes)) => {
            answer.size = i64::try_from(size).unwrap_or(i64::MAX);
            answer.unaligned_records = RecordData::Bytes(bytes);
        }
        Err(code) => answer.error_code = code.code(),
    }
    answer
}

fn read_part(
    quorum: &QuorumHandle,
    asked: &Asked,
    limit: u64,
) -> Result<(usize, Bytes), ErrorCode> {
    let end = Offset::from_wire(asked.snapshot_id.end_offset);
    let epoch = LeaderEpoch::from_wire(asked.snapshot_id.epoch);
    let id = end.zip(epoch).map(|(end, epoch)| SnapshotId { end, epoch });
    // The bootstrap checkpoint is nobody's but its own node's.
    let id = id.filter(|id| *id != SnapshotId::BOOTSTRAP).ok_or(ErrorCode::SnapshotNotFound)?;
    let path = quorum.directory().join(id.file_name());
    let content = FsStorage
        .read_small(&path)
        .map_err(|_| ErrorCode::KafkaStorageError)?
        .ok_or(ErrorCode::SnapshotNotFound)?;
    let whole = Bytes::from(content);
    let from = usize::try_from(asked.position).map_err(|_| ErrorCode::PositionOutOfRange)?;
    if from >= whole.len() {
        return Err(ErrorCode::PositionOutOfRange);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let to = whole.len().min(from.saturating_add(limit));
    Ok((whole.len(), whole.slice(from..to)))
}
