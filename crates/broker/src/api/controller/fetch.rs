//! Fetch (1) and FetchSnapshot (59) on a controller listener: observers follow the metadata log.
//!
//! Committed batches only are served. A fetch position that this log does not have, or has in
//! another epoch, gets the diverging epoch; one below the log's start gets the snapshot to read.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{RecordData, Str};
use ottla_protocol::fetch_request::{FetchPartition, FetchRequest};
use ottla_protocol::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData, SnapshotId as WireSnapshotId,
};
use ottla_protocol::fetch_snapshot_request::{FetchSnapshotRequest, PartitionSnapshot as Asked};
use ottla_protocol::fetch_snapshot_response::{
    FetchSnapshotResponse, LeaderIdAndEpoch as SnapshotLeader, NodeEndpoint as SnapshotNode,
    PartitionSnapshot, SnapshotId as AnsweredSnapshotId, TopicSnapshot,
};
use ottla_quorum::{ReplicaKey, SnapshotId};
use ottla_types::{DirectoryId, ErrorCode, LeaderEpoch, NodeId, Offset, Uuid};

use super::leader_endpoint;
use crate::dispatch::{Reply, RequestContext};
use crate::driver::QuorumHandle;
use crate::driver::quorum::{Status, read_snapshot_part};
use crate::replicas::{FsLog, METADATA_TOPIC};
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
    let configured = shared.config.load().quorum.fetch_bytes_max;
    let limit = u64::try_from(request.max_bytes).unwrap_or_default().min(configured);
    let fetch = Fetch {
        shared: shared.clone(),
        quorum,
        asked: asked.clone(),
        observer: observer(&request, asked, ctx.version),
        version: ctx.version,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        leader: leader_endpoint(shared, &ctx.listener).filter(|_| ctx.version >= 17),
    };
    let wait = u64::try_from(request.max_wait_ms).map(Duration::from_millis);
    let (Ok(wait), true) = (wait, is_sound(asked)) else {
        let mut data = fetch.empty();
        data.error_code = ErrorCode::InvalidRequest.code();
        return Reply::Now(fetch.answer(data));
    };
    match fetch.look() {
        Look::Nothing(data) if wait.is_zero() => Reply::Now(fetch.answer(data)),
        Look::Nothing(_) => Reply::later(fetch.wait(wait)),
        Look::Found(data) => Reply::Now(fetch.answer(data)),
    }
}

fn only_partition(request: &FetchRequest, version: i16) -> Option<&FetchPartition> {
    let [topic] = request.topics.as_slice() else { return None };
    // Kafka compares the id, which versions up to 12 do not carry.
    let named = version >= 13 && topic.topic_id == Uuid::ONE;
    match topic.partitions.as_slice() {
        [partition] if named && partition.partition == 0 => Some(partition),
        _ => None,
    }
}

fn is_sound(asked: &FetchPartition) -> bool {
    let epochs = 0..=asked.current_leader_epoch;
    asked.fetch_offset >= 0 && epochs.contains(&asked.last_fetched_epoch)
}

fn observer(request: &FetchRequest, asked: &FetchPartition, version: i16) -> Option<ReplicaKey> {
    let id = match version {
        15.. => request.replica_state.replica_id,
        _ => request.replica_id,
    };
    let directory = DirectoryId(asked.replica_directory_id);
    NodeId::from_wire(id).map(|node| ReplicaKey::new(node, directory))
}

struct Fetch {
    shared: Arc<Shared>,
    quorum: QuorumHandle,
    asked: FetchPartition,
    observer: Option<ReplicaKey>,
    version: i16,
    limit: usize,
    /// Where the leader listens, if the answer may say so.
    leader: Option<(i32, Str, u16)>,
}

enum Look {
    /// There is nothing new; the answer if time is up.
    Nothing(PartitionData),
    Found(PartitionData),
}

impl Fetch {
    /// An answer without records, high watermark and errors.
    fn empty(&self) -> PartitionData {
        let status = self.quorum.status();
        PartitionData {
            high_watermark: -1,
            log_start_offset: self.quorum.log().lock().log_start_offset().to_wire(),
            current_leader: LeaderIdAndEpoch {
                leader_id: NodeId::option_to_wire(status.leader),
                leader_epoch: status.epoch.to_wire(),
            },
            records: Some(RecordData::default()),
            ..Default::default()
        }
    }

    fn look(&self) -> Look {
        let mut data = self.empty();
        let status = self.quorum.status();
        if let Err(code) = check_epoch(&status, self.asked.current_leader_epoch) {
            data.error_code = code.code();
            return Look::Found(data);
        }
        data.high_watermark = status.high_watermark.to_wire();
        let offset = Offset::from_wire(self.asked.fetch_offset).unwrap_or_default();
        let last = LeaderEpoch::from_wire(self.asked.last_fetched_epoch).unwrap_or_default();
        let mut log = self.quorum.log().lock();
        match position(&log, &status, offset, last) {
            Position::Valid => {}
            Position::Snapshot(id) => {
                let (end_offset, epoch) = (id.end.to_wire(), id.epoch.to_wire());
                data.snapshot_id = WireSnapshotId { end_offset, epoch };
                return Look::Found(data);
            }
            Position::Diverging { epoch, end } => {
                let (epoch, end_offset) = (epoch.to_wire(), end.to_wire());
                data.diverging_epoch = EpochEndOffset { epoch, end_offset };
                return Look::Found(data);
            }
        }
        if let Some(observer) = self.observer {
            self.quorum.observer_fetched(observer, offset);
        }
        if status.high_watermark <= offset {
            // A follower that knows an older high watermark (KIP-1166) is told at once.
            return match self.asked.high_watermark < data.high_watermark {
                true => Look::Found(data),
                false => Look::Nothing(data),
            };
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

    async fn wait(self, patience: Duration) -> FetchResponse {
        let mut high_watermark = self.quorum.high_watermark();
        let from = Offset::from_wire(self.asked.fetch_offset).unwrap_or_default();
        let moved = tokio::time::timeout(patience, high_watermark.wait_for(|end| from < *end));
        // Time running out is one outcome among others, and a node that stops does not wait.
        tokio::select! {
            _ = moved => {}
            () = self.shared.stopped() => {}
        }
        let (Look::Nothing(data) | Look::Found(data)) = self.look();
        self.answer(data)
    }

    fn answer(&self, data: PartitionData) -> FetchResponse {
        let (topic, topic_id) = match self.version {
            13.. => (Str::default(), Uuid::ONE),
            _ => (Str::from_static(METADATA_TOPIC), Uuid::ZERO),
        };
        let responses = vec![FetchableTopicResponse { topic, topic_id, partitions: [data].into() }];
        let node_endpoints = self.leader.iter().map(|(node_id, host, port)| NodeEndpoint {
            node_id: *node_id,
            host: host.clone(),
            port: (*port).into(),
            rack: None,
        });
        let node_endpoints = node_endpoints.collect();
        FetchResponse { responses: responses.into(), node_endpoints, ..Default::default() }
    }
}

/// Whether this node leads the quorum in the epoch that a request names.
fn check_epoch(status: &Status, theirs: i32) -> Result<(), ErrorCode> {
    match theirs.cmp(&status.epoch.to_wire()) {
        Ordering::Less => Err(ErrorCode::FencedLeaderEpoch),
        Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
        Ordering::Equal if !status.active => Err(ErrorCode::NotLeaderOrFollower),
        Ordering::Equal => Ok(()),
    }
}

/// What the log says of the place that a follower has come to.
enum Position {
    /// It goes on there.
    Valid,
    /// What it wants is gone, or comes faster by a snapshot.
    Snapshot(SnapshotId),
    /// Its log went another way; the last place where both may agree.
    Diverging { epoch: LeaderEpoch, end: Offset },
}

/// The rules are Kafka's (`RaftLog.validateOffsetAndEpoch`).
fn position(log: &FsLog, status: &Status, offset: Offset, last: LeaderEpoch) -> Position {
    let start = log.log_start_offset();
    // The bootstrap checkpoint is nobody's but its own node's.
    let newest = status.snapshot.filter(|id| *id != SnapshotId::BOOTSTRAP);
    if let Some(newest) = newest {
        let oldest = status.oldest_snapshot.unwrap_or(newest);
        let gone = offset < start || (offset == start && last != oldest.epoch);
        if offset == Offset::ZERO || gone || last < oldest.epoch {
            return Position::Snapshot(newest);
        }
    }
    if offset == Offset::ZERO && start == Offset::ZERO {
        return Position::Valid;
    }
    let known = log.end_offset_for_epoch(last).map(|end| (end.epoch, end.end_offset));
    let (epoch, end) =
        known.unwrap_or_else(|| (log.latest_epoch().unwrap_or_default(), log.end_offset()));
    if epoch == last && offset <= end {
        Position::Valid
    } else {
        Position::Diverging { epoch, end }
    }
}

/// Handles FetchSnapshot.
pub(crate) fn fetch_snapshot(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: FetchSnapshotRequest,
) -> Reply<FetchSnapshotResponse> {
    let refused =
        |code: ErrorCode| FetchSnapshotResponse { error_code: code.code(), ..Default::default() };
    let other_cluster =
        request.cluster_id.as_ref().is_some_and(|id| id.as_str() != shared.cluster_id());
    if other_cluster {
        return Reply::Now(refused(ErrorCode::InconsistentClusterId));
    }
    let [topic] = request.topics.as_slice() else {
        return Reply::Now(refused(ErrorCode::InvalidRequest));
    };
    let [asked] = topic.partitions.as_slice() else {
        return Reply::Now(refused(ErrorCode::InvalidRequest));
    };
    let leader = leader_endpoint(shared, &ctx.listener).filter(|_| ctx.version >= 1);
    let answer = answer_with(topic.name.detached(), leader);
    if topic.name != METADATA_TOPIC || asked.partition != 0 {
        return Reply::Now(answer(PartitionSnapshot {
            index: asked.partition,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
            ..Default::default()
        }));
    }
    let asked = asked.clone();
    let Some(quorum) = shared.quorum.get().cloned() else {
        return Reply::Now(refused(ErrorCode::NotLeaderOrFollower));
    };
    let configured = shared.config.load().quorum.fetch_snapshot_bytes_max;
    let limit = u64::try_from(request.max_bytes).unwrap_or_default().min(configured);
    Reply::later(async move {
        let read = tokio::task::spawn_blocking(move || read_snapshot(&quorum, &asked, limit));
        match read.await {
            Ok(partition) => answer(partition),
            Err(_) => refused(ErrorCode::UnknownServerError),
        }
    })
}

/// Makes the answer from what it says of its only partition.
fn answer_with(
    name: Str,
    leader: Option<(i32, Str, u16)>,
) -> impl FnOnce(PartitionSnapshot) -> FetchSnapshotResponse + Send {
    move |partition| FetchSnapshotResponse {
        topics: vec![TopicSnapshot { name, partitions: [partition].into() }],
        node_endpoints: leader
            .into_iter()
            .map(|(node_id, host, port)| SnapshotNode { node_id, host, port })
            .collect(),
        ..Default::default()
    }
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
    let led = check_epoch(&status, asked.current_leader_epoch);
    match led.and_then(|()| read_part(quorum, asked, limit)) {
        Ok((size, bytes)) => {
            answer.size = i64::try_from(size).unwrap_or(i64::MAX);
            answer.unaligned_records = RecordData::Bytes(bytes);
        }
        Err(code) => answer.error_code = code.code(),
    }
    answer
}

fn read_part(quorum: &QuorumHandle, asked: &Asked, limit: u64) -> Result<(u64, Bytes), ErrorCode> {
    let end = Offset::from_wire(asked.snapshot_id.end_offset);
    let epoch = LeaderEpoch::from_wire(asked.snapshot_id.epoch);
    let id = end.zip(epoch).map(|(end, epoch)| SnapshotId { end, epoch });
    // The bootstrap checkpoint is nobody's but its own node's.
    let id = id.filter(|id| *id != SnapshotId::BOOTSTRAP).ok_or(ErrorCode::SnapshotNotFound)?;
    let position = u64::try_from(asked.position).map_err(|_| ErrorCode::PositionOutOfRange)?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let (size, part) = read_snapshot_part(quorum.directory(), id, position, most)
        .map_err(|_| ErrorCode::KafkaStorageError)?
        .ok_or(ErrorCode::SnapshotNotFound)?;
    if position >= size {
        return Err(ErrorCode::PositionOutOfRange);
    }
    Ok((size, part))
}
