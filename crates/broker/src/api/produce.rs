//! Produce (0): appends record batches to partitions this broker leads.
//!
//! Order of checks as in Kafka: acks, topic, batch rules of the request version, then the log's
//! own. acks=0 gets no answer (an error closes the connection), acks=1 answers after the write,
//! acks=all when the high watermark covers it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::Str;
use ottla_protocol::produce_request::{ProduceRequest, TopicProduceData};
use ottla_protocol::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use ottla_types::{ErrorCode, Offset, TopicId};

use crate::dispatch::{Reply, RequestContext};
use crate::partition::{Acks, Appended, Partition};
use crate::purgatory::Wait;
use crate::refusal::Refusal;
use crate::shared::Shared;

/// First version whose answers name the new leader (KIP-951).
const LEADER_HINTS: i16 = 10;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: ProduceRequest,
) -> Reply<ProduceResponse> {
    let acks = Acks::from_wire(request.acks);
    let transactional = request.transactional_id.is_some();
    if request.topic_data.iter().flat_map(|t| &t.partition_data).any(|p| p.records.is_none()) {
        return Reply::Close("a Produce request without records".into());
    }
    let mut work = Work::default();
    for topic in request.topic_data.into_iter().filter(|t| !t.partition_data.is_empty()) {
        append_topic(shared, ctx, acks, transactional, topic, &mut work);
    }
    let Work { mut response, waits, failed } = work;
    if acks == Some(Acks::None) {
        // Kafka closes the connection so that a client which does not listen notices (KAFKA-1113).
        return match failed {
            None => Reply::Nothing,
            Some(error) => Reply::Close(format!("produce with acks=0 failed: {error}").into()),
        };
    }
    if LEADER_HINTS <= ctx.version {
        shared.fill_produce_hints(ctx, &mut response);
    }
    if waits.is_empty() {
        return Reply::Now(response);
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
    Reply::later(wait_for_high_watermark(response, waits, timeout))
}

/// One partition whose answer waits for the high watermark.
struct Waiter {
    partition: Arc<Partition>,
    /// Place of the answer in the response.
    at: (usize, usize),
    /// High watermark that covers the append.
    covered_by: Offset,
}

#[derive(Default)]
struct Work {
    response: ProduceResponse,
    waits: Vec<Waiter>,
    failed: Option<ErrorCode>,
}

fn append_topic(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    acks: Option<Acks>,
    transactional: bool,
    topic: TopicProduceData,
    work: &mut Work,
) {
    let topic_at = work.response.responses.len();
    let id = (ctx.version >= 13).then_some(TopicId(topic.topic_id));
    let found = shared.partitions.find(id, &topic.name);
    let mut answers = Vec::with_capacity(topic.partition_data.len());
    for data in topic.partition_data {
        let size = data.records.as_ref().map_or(0, ottla_codec::RecordData::len);
        let records = data.records.and_then(|records| records.as_bytes().cloned());
        let outcome =
            acks.ok_or_else(|| Refusal::new(ErrorCode::InvalidRequiredAcks)).and_then(|acks| {
                if transactional {
                    return Err(NO_TRANSACTIONS);
                }
                let partition = shared.leader(found.as_ref(), id, &topic.name, data.index)?;
                shared.check_produce_target(ctx, &partition)?;
                let appended = append(shared, ctx, acks, &partition, records)?;
                Ok((partition, appended))
            });
        let mut answer = PartitionProduceResponse { index: data.index, ..Default::default() };
        match outcome {
            Ok((partition, appended)) => {
                fill(&mut answer, &appended);
                let covered_by = appended.last_offset.next();
                if acks == Some(Acks::All) && partition.high_watermark() < covered_by {
                    let at = (topic_at, answers.len());
                    work.waits.push(Waiter { partition, at, covered_by });
                }
            }
            Err(refusal) => {
                let here = found.as_ref().and_then(|topic| topic.at(data.index));
                let name = here.as_ref().map(|partition| partition.topic());
                shared.telemetry.produce_failed(name, refusal.code, size);
                work.failed = Some(refusal.code);
                refuse(&mut answer, refusal);
            }
        }
        answers.push(answer);
    }
    work.response.responses.push(TopicProduceResponse {
        name: if id.is_none() { topic.name.detached() } else { Str::default() },
        topic_id: topic.topic_id,
        partition_responses: answers,
    });
}

const NO_TRANSACTIONS: Refusal =
    Refusal::with_text(ErrorCode::UnsupportedVersion, "this broker has no transactions yet");

fn append(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    acks: Acks,
    partition: &Arc<Partition>,
    records: Option<Bytes>,
) -> Result<Appended, Refusal> {
    let records = records.unwrap_or_default();
    if records.is_empty() {
        let text = format!(
            "Produce requests with version {} must have at least one record batch per partition",
            ctx.version
        );
        return Err(Refusal::with_string(ErrorCode::InvalidRecord, text));
    }
    let bytes = records.len();
    let appended = partition.append_from_client(records, ctx.version, acks, shared.clock.wall())?;
    shared.telemetry.produced(partition.topic(), &appended, bytes);
    Ok(appended)
}

fn fill(answer: &mut PartitionProduceResponse, appended: &Appended) {
    answer.base_offset = appended.base_offset.to_wire();
    answer.log_append_time_ms = appended.log_append_time.0;
    answer.log_start_offset = appended.log_start_offset.to_wire();
}

fn refuse(answer: &mut PartitionProduceResponse, refusal: Refusal) {
    answer.error_code = refusal.code.code();
    answer.base_offset = -1;
    answer.log_start_offset = refusal.log_start_offset.map_or(-1, Offset::to_wire);
    answer.error_message = refusal.text().map(Str::from);
    answer.record_errors = refusal
        .record_errors
        .into_iter()
        .map(|(batch_index, text)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(Str::from(text)),
        })
        .collect();
}

/// Completes the response when every partition's high watermark covers its append.
async fn wait_for_high_watermark(
    mut response: ProduceResponse,
    waits: Vec<Waiter>,
    timeout: Duration,
) -> ProduceResponse {
    let wait = Wait::new(waits.len());
    for waiter in &waits {
        waiter.partition.wake_at_high_watermark(waiter.covered_by, &wait);
    }
    // Time running out is one outcome among others; each partition is asked below.
    let _ = tokio::time::timeout(timeout, wait.done()).await;
    for Waiter { partition, at: (topic, place), covered_by } in waits {
        let Some(answer) = response
            .responses
            .get_mut(topic)
            .and_then(|topic| topic.partition_responses.get_mut(place))
        else {
            continue;
        };
        if let Err(code) = partition.check_covered(covered_by) {
            answer.error_code = code.code();
        }
    }
    response
}

impl Shared {
    /// Names the current leader to clients that asked the wrong broker (KIP-951).
    fn fill_produce_hints(&self, ctx: &RequestContext, response: &mut ProduceResponse) {
        let moved = ErrorCode::NotLeaderOrFollower.code();
        let mut leaders = Vec::new();
        for topic in &mut response.responses {
            for answer in topic.partition_responses.iter_mut().filter(|a| a.error_code == moved) {
                let id = (ctx.version >= 13).then_some(TopicId(topic.topic_id));
                if let Some((leader, epoch)) = self.current_leader(id, &topic.name, answer.index) {
                    answer.current_leader =
                        LeaderIdAndEpoch { leader_id: leader, leader_epoch: epoch };
                    leaders.push(leader);
                }
            }
        }
        if ctx.version >= 10 {
            response.node_endpoints = self
                .endpoints_of(&leaders, &ctx.listener)
                .into_iter()
                .map(|node| NodeEndpoint {
                    node_id: node.id,
                    host: node.host,
                    port: node.port,
                    rack: node.rack,
                })
                .collect();
        }
    }
}
