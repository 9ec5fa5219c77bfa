//! Fetch (1) on a broker listener: reads record batches of partitions this broker leads.
//!
//! Long poll: an answer with fewer than `min_bytes` waits up to `max_wait_ms` for a change of one
//! of its partitions. The first batch found is sent whole even if it is larger than the limits
//! (KIP-74). Record data leaves as ranges of segment files, or, when there is little of it, in the
//! buffer that it was read into; it is never copied here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_codec::{Few, RecordData, Str};
use ottla_protocol::fetch_request::FetchRequest;
use ottla_protocol::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use ottla_types::{ErrorCode, MonoTime, Offset, TopicId};

use crate::dispatch::{Reply, RequestContext};
use crate::fetch_session::{
    AnswerSummary, FetchContext, FetchParams, FetchTarget, PartitionKey, TopicKey,
};
use crate::partition::{Partition, Reach, ReadOutcome, ReadSpec};
use crate::purgatory::Wait;
use crate::shared::Shared;

/// First version whose answers name the new leader (KIP-951).
const LEADER_HINTS: i16 = 16;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: FetchRequest,
) -> Reply<FetchResponse> {
    let uses_ids = ctx.version >= 13;
    let (targets, forget) = read_targets(&request, uses_ids);
    let session = (request.session_id, request.session_epoch);
    let now = shared.clock.now();
    let context = match shared.sessions.lock().context(now, session, uses_ids, targets, &forget) {
        Ok(context) => context,
        Err(code) => return Reply::Now(refused(code)),
    };
    let plan = Plan {
        shared: shared.clone(),
        ctx: ctx.clone(),
        context,
        from_replica: replica_id(&request, ctx.version) >= 0,
        reach: Reach::of_consumer(request.isolation_level),
        max_bytes: limit(request.max_bytes, shared.fetch_max_bytes()),
        min_bytes: limit(request.min_bytes, usize::MAX),
    };
    let read = plan.read();
    let deadline =
        now.after(Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)));
    if plan.is_enough(&read) || request.max_wait_ms <= 0 {
        return Reply::Now(plan.answer(read));
    }
    Reply::later(async move {
        let read = plan.wait(deadline).await;
        plan.answer(read)
    })
}

fn limit(raw: i32, max: usize) -> usize {
    usize::try_from(raw).unwrap_or_default().min(max)
}

fn replica_id(request: &FetchRequest, version: i16) -> i32 {
    if version >= 15 { request.replica_state.replica_id } else { request.replica_id }
}

fn refused(code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: code.code(), ..Default::default() }
}

fn read_targets(request: &FetchRequest, uses_ids: bool) -> (Few<FetchTarget>, Vec<PartitionKey>) {
    let key = |id, name: &Str| {
        if uses_ids { TopicKey::Id(TopicId(id)) } else { TopicKey::Name(name.clone()) }
    };
    let targets = request
        .topics
        .iter()
        .flat_map(|topic| {
            let topic_key = key(topic.topic_id, &topic.topic);
            topic.partitions.iter().map(move |partition| FetchTarget {
                key: (topic_key.clone(), partition.partition),
                params: FetchParams {
                    current_leader_epoch: partition.current_leader_epoch,
                    fetch_offset: partition.fetch_offset,
                    last_fetched_epoch: partition.last_fetched_epoch,
                    log_start_offset: partition.log_start_offset,
                    max_bytes: partition.partition_max_bytes,
                },
            })
        })
        .collect();
    let targets = once(targets);
    let forget = request
        .forgotten_topics_data
        .iter()
        .flat_map(|topic| {
            let topic_key = key(topic.topic_id, &topic.topic);
            topic.partitions.iter().map(move |&partition| (topic_key.clone(), partition))
        })
        .collect();
    (targets, forget)
}

/// A partition that is named twice is read once, at its first place and as its last mention says.
fn once(targets: Few<FetchTarget>) -> Few<FetchTarget> {
    let mut seen = HashSet::new();
    if targets.len() < 2 || targets.iter().all(|target| seen.insert(&target.key)) {
        return targets;
    }
    let mut places = HashMap::new();
    let mut kept: Few<FetchTarget> = Few::with_capacity(targets.len());
    for target in targets {
        let place = *places.entry(target.key.clone()).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => *earlier = target,
            None => kept.push(target),
        }
    }
    kept
}

/// One fetch request, as often as it has to look.
struct Plan {
    shared: Arc<Shared>,
    ctx: RequestContext,
    context: FetchContext,
    from_replica: bool,
    reach: Reach,
    max_bytes: usize,
    min_bytes: usize,
}

/// What one look found.
struct Read {
    outcomes: Few<(PartitionKey, Result<ReadOutcome, ErrorCode>)>,
    bytes: usize,
    /// Something that must be told at once: an error or a diverging epoch.
    urgent: bool,
}

impl Plan {
    fn read(&self) -> Read {
        let targets = self.context.targets();
        let mut read =
            Read { outcomes: Few::with_capacity(targets.len()), bytes: 0, urgent: false };
        for target in targets {
            let left = self.max_bytes.saturating_sub(read.bytes);
            let outcome = self.read_one(target, left, read.bytes == 0);
            match &outcome {
                Ok(found) => {
                    read.bytes += found.bytes();
                    read.urgent |= found.diverging.is_some();
                }
                Err(_) => read.urgent = true,
            }
            read.outcomes.push((target.key.clone(), outcome));
        }
        read
    }

    fn read_one(
        &self,
        target: &FetchTarget,
        left: usize,
        at_least_one: bool,
    ) -> Result<ReadOutcome, ErrorCode> {
        let partition = self.find(&target.key)?;
        if self.from_replica {
            // No other broker holds a replica yet, so none may follow.
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let spec = ReadSpec {
            offset: target.params.fetch_offset,
            max_bytes: limit(target.params.max_bytes, left),
            at_least_one,
            reach: self.reach,
            current_leader_epoch: target.params.current_leader_epoch,
            last_fetched_epoch: target.params.last_fetched_epoch,
        };
        partition.read(&spec, &self.shared.read_buffers)
    }

    fn find(&self, key: &PartitionKey) -> Result<Arc<Partition>, ErrorCode> {
        let (id, name) = match &key.0 {
            TopicKey::Id(id) => (Some(*id), ""),
            TopicKey::Name(name) => (None, &**name),
        };
        let hosted = self.shared.partitions.find(id, name);
        self.shared.leader(hosted.as_ref(), id, name, key.1).map_err(|refusal| refusal.code)
    }

    fn is_enough(&self, read: &Read) -> bool {
        read.urgent
            || read.outcomes.is_empty()
            || read.bytes >= self.min_bytes
            || self.shared.stopping.load(Ordering::SeqCst)
    }

    /// Looks again at every change until there is enough or time is up.
    async fn wait(&self, deadline: MonoTime) -> Read {
        loop {
            let wait = Wait::new(1);
            for target in self.context.targets() {
                if let Ok(partition) = self.find(&target.key) {
                    partition.wake_at_change(&wait);
                }
            }
            // Data may have come between the last look and the registration.
            let read = self.read();
            if self.is_enough(&read) {
                return read;
            }
            drop(read);
            let left = self.shared.clock.until(deadline);
            if tokio::time::timeout(left, wait.done()).await.is_err() {
                return self.read();
            }
        }
    }

    fn answer(&self, read: Read) -> FetchResponse {
        let mut response = FetchResponse::default();
        let mut summaries = Few::new();
        let full = matches!(self.context, FetchContext::Full { .. });
        let mut leaders = Vec::new();
        for (key, outcome) in read.outcomes {
            let data = self.partition_data(&key, outcome, &mut leaders);
            let summary = AnswerSummary {
                high_watermark: data.high_watermark,
                log_start_offset: data.log_start_offset,
                must_send: data.error_code != 0
                    || data.records.as_ref().is_some_and(|records| !records.is_empty())
                    || data.diverging_epoch.epoch >= 0,
            };
            if self.context.include(&key, summary) {
                push(&mut response, &key, data);
            }
            if full {
                summaries.push((key, summary));
            }
        }
        let now = self.shared.clock.now();
        let draw = || self.shared.random_session_id();
        response.session_id = self.shared.sessions.lock().finish(
            now,
            &self.context,
            &summaries,
            self.from_replica,
            draw,
        );
        if LEADER_HINTS <= self.ctx.version {
            response.node_endpoints = self.node_endpoints(&leaders);
        }
        response
    }

    fn partition_data(
        &self,
        key: &PartitionKey,
        outcome: Result<ReadOutcome, ErrorCode>,
        leaders: &mut Vec<i32>,
    ) -> PartitionData {
        let mut data = PartitionData {
            partition_index: key.1,
            high_watermark: -1,
            records: Some(RecordData::default()),
            ..Default::default()
        };
        match outcome {
            Ok(found) => {
                self.shared.telemetry.fetched(&found);
                data.high_watermark = found.high_watermark.to_wire();
                data.last_stable_offset = found.last_stable.to_wire();
                data.log_start_offset = found.log_start.to_wire();
                data.aborted_transactions = found.aborted.map(|all| all.iter().map(told).collect());
                if let Some((epoch, end)) = found.diverging {
                    let epoch = ottla_types::LeaderEpoch::option_to_wire(epoch);
                    let end_offset = Offset::option_to_wire(end);
                    data.diverging_epoch = EpochEndOffset { epoch, end_offset };
                }
                data.records = Some(found.records);
            }
            Err(code) => {
                self.shared.telemetry.fetch_failed(code);
                data.error_code = code.code();
                // Kafka's default, an empty list, for what it finds missing before it looks into a log.
                let missing =
                    [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId].contains(&code);
                data.aborted_transactions = missing.then(Vec::new);
                if LEADER_HINTS <= self.ctx.version
                    && matches!(code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)
                {
                    let (id, name) = match &key.0 {
                        TopicKey::Id(id) => (Some(*id), ""),
                        TopicKey::Name(name) => (None, &**name),
                    };
                    if let Some((leader_id, leader_epoch)) =
                        self.shared.current_leader(id, name, key.1)
                    {
                        data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
                        // A replica knows the nodes' addresses from the metadata.
                        if !self.from_replica {
                            leaders.push(leader_id);
                        }
                    }
                }
            }
        }
        data
    }

    fn node_endpoints(&self, leaders: &[i32]) -> Vec<NodeEndpoint> {
        self.shared
            .endpoints_of(leaders, &self.ctx.listener)
            .into_iter()
            .map(|node| NodeEndpoint {
                node_id: node.id,
                host: node.host,
                port: node.port,
                rack: node.rack,
            })
            .collect()
    }
}

fn told(aborted: &ottla_log::AbortedTransaction) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: aborted.producer_id.to_wire(),
        first_offset: aborted.first_offset.to_wire(),
    }
}

/// Adds a partition, joining runs of the same topic as Kafka does.
fn push(response: &mut FetchResponse, key: &PartitionKey, data: PartitionData) {
    let same = |topic: &FetchableTopicResponse| match &key.0 {
        TopicKey::Id(id) => topic.topic_id == id.0,
        TopicKey::Name(name) => topic.topic == **name,
    };
    if let Some(last) = response.responses.last_mut().filter(|last| same(last)) {
        last.partitions.push(data);
        return;
    }
    let (topic, topic_id) = match &key.0 {
        TopicKey::Id(id) => (Str::default(), id.0),
        TopicKey::Name(name) => (name.clone(), Default::default()),
    };
    response.responses.push(FetchableTopicResponse {
        topic,
        topic_id,
        partitions: Few::from_buf([data]),
    });
}
