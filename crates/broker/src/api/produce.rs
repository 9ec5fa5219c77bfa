//! Produce (0): appends record batches to partitions this broker leads.
//!
//! Order of checks as in Kafka: acks, topic, batch rules of the request version, then the log's
//! own. acks=0 gets no answer (an error closes the connection), acks=1 answers after the write,
//! acks=all when the high watermark covers it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{Few, Str};
use ottla_protocol::produce_request::{ProduceRequest, TopicProduceData};
use ottla_protocol::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    ProduceResponse, TopicProduceResponse,
};
use ottla_types::{ErrorCode, Offset, TopicId, TopicName};

use crate::dispatch::{Reply, RequestContext};
use crate::partition::{Acks, Appended, FromClient, Partition};
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
    let mut replies = handle_run(shared, Few::from_buf([(ctx, request)]));
    replies.pop().unwrap_or(Reply::Nothing)
}

/// Handles requests of one connection that arrived together, with one reply each: what they bring
/// for one partition is written at once.
pub(crate) fn handle_run(
    shared: &Arc<Shared>,
    requests: Few<(&RequestContext, ProduceRequest)>,
) -> Few<Reply<ProduceResponse>> {
    let mut appends = Few::new();
    let mut works: Few<Work<'_>> = requests
        .into_iter()
        .enumerate()
        .map(|(number, (ctx, request))| Work::begin(shared, ctx, number, request, &mut appends))
        .collect();
    // Stable: what a partition gets keeps its order.
    appends.sort_by_key(|append: &Append| Arc::as_ptr(&append.partition));
    let mut appends = appends.into_iter().peekable();
    while let Some(first) = appends.next() {
        let partition = first.partition.clone();
        let mut run = Few::from_buf([first]);
        while let Some(next) = appends.next_if(|next| Arc::ptr_eq(&next.partition, &partition)) {
            run.push(next);
        }
        append_run(shared, &partition, run, &mut works);
    }
    works.into_iter().map(|work| work.reply(shared)).collect()
}

/// A batch on its way to a partition.
struct Append {
    partition: Arc<Partition>,
    batch: FromClient,
    /// Number of the request, and place of the answer in its response.
    request: usize,
    at: (usize, usize),
}

/// One partition whose answer waits for the high watermark.
struct Waiter {
    partition: Arc<Partition>,
    /// Place of the answer in the response.
    at: (usize, usize),
    /// High watermark that covers the append.
    covered_by: Offset,
}

/// A request that is being handled.
struct Work<'a> {
    ctx: &'a RequestContext,
    acks: Option<Acks>,
    timeout: Duration,
    response: ProduceResponse,
    waits: Vec<Waiter>,
    failed: Option<ErrorCode>,
    malformed: bool,
}

impl<'a> Work<'a> {
    /// Refuses what can be refused now, and lists the rest in `appends`.
    fn begin(
        shared: &Arc<Shared>,
        ctx: &'a RequestContext,
        number: usize,
        request: ProduceRequest,
        appends: &mut Few<Append>,
    ) -> Self {
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
        let mut partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
        let mut work = Self {
            ctx,
            acks: Acks::from_wire(request.acks),
            timeout,
            response: ProduceResponse::default(),
            waits: Vec::new(),
            failed: None,
            malformed: partitions.any(|partition| partition.records.is_none()),
        };
        if work.malformed {
            return work;
        }
        let transactional = request.transactional_id.is_some();
        let topics = request.topic_data.into_iter();
        for topic in topics.filter(|topic| !topic.partition_data.is_empty()) {
            work.begin_topic(shared, number, transactional, topic, appends);
        }
        work
    }

    fn begin_topic(
        &mut self,
        shared: &Arc<Shared>,
        number: usize,
        transactional: bool,
        topic: TopicProduceData,
        appends: &mut Few<Append>,
    ) {
        let (ctx, acks) = (self.ctx, self.acks);
        let topic_at = self.response.responses.len();
        let id = (ctx.version >= 13).then_some(TopicId(topic.topic_id));
        let found = shared.partitions.find(id, &topic.name);
        let mut answers = Few::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let size = data.records.as_ref().map_or(0, ottla_codec::RecordData::len);
            let records = data.records.and_then(|records| records.as_bytes().cloned());
            let target =
                acks.ok_or_else(|| Refusal::new(ErrorCode::InvalidRequiredAcks)).and_then(|acks| {
                    if transactional {
                        return Err(NO_TRANSACTIONS);
                    }
                    let partition = shared.leader(found.as_ref(), id, &topic.name, data.index)?;
                    shared.check_produce_target(ctx, &partition)?;
                    Ok((partition, batch(ctx, acks, records)?))
                });
            let mut answer = PartitionProduceResponse { index: data.index, ..Default::default() };
            match target {
                Ok((partition, batch)) => {
                    let at = (topic_at, answers.len());
                    appends.push(Append { partition, batch, request: number, at });
                }
                Err(refusal) => {
                    let here = found.as_ref().and_then(|topic| topic.at(data.index));
                    let name = here.as_ref().map(|partition| partition.topic());
                    self.refuse(shared, name, &mut answer, refusal, size);
                }
            }
            answers.push(answer);
        }
        self.response.responses.push(TopicProduceResponse {
            name: if id.is_none() { topic.name.detached() } else { Str::default() },
            topic_id: topic.topic_id,
            partition_responses: answers,
        });
    }

    fn refuse(
        &mut self,
        shared: &Shared,
        topic: Option<&TopicName>,
        answer: &mut PartitionProduceResponse,
        refusal: Refusal,
        size: usize,
    ) {
        shared.telemetry.produce_failed(topic, &refusal, size);
        self.failed = Some(refusal.code);
        refuse(answer, refusal);
    }

    /// Writes down what became of one partition.
    fn settle(
        &mut self,
        shared: &Shared,
        partition: &Arc<Partition>,
        at: (usize, usize),
        size: usize,
        outcome: Result<Appended, Refusal>,
    ) {
        let Some(place) = answer_at(&mut self.response, at) else { return };
        let mut answer = std::mem::take(place);
        match outcome {
            Ok(appended) => {
                shared.telemetry.produced(partition.topic(), &appended, size);
                fill(&mut answer, &appended);
                let covered_by = appended.last_offset.next();
                if self.acks == Some(Acks::All) && partition.high_watermark() < covered_by {
                    self.waits.push(Waiter { partition: partition.clone(), at, covered_by });
                }
            }
            Err(refusal) => {
                self.refuse(shared, Some(partition.topic()), &mut answer, refusal, size);
            }
        }
        if let Some(place) = answer_at(&mut self.response, at) {
            *place = answer;
        }
    }

    fn reply(self, shared: &Arc<Shared>) -> Reply<ProduceResponse> {
        let Self { ctx, acks, timeout, mut response, waits, failed, malformed } = self;
        if malformed {
            return Reply::Close("a Produce request without records".into());
        }
        if acks == Some(Acks::None) {
            // Kafka closes the connection so that a client which does not listen notices
            // (KAFKA-1113).
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
        Reply::later(wait_for_high_watermark(response, waits, timeout))
    }
}

/// Appends what one partition gets.
fn append_run(
    shared: &Arc<Shared>,
    partition: &Arc<Partition>,
    run: Few<Append>,
    works: &mut [Work<'_>],
) {
    let places = run.iter().map(|one| (one.request, one.at, one.batch.records.len()));
    let places: Few<_> = places.collect();
    let batches = run.into_iter().map(|one| one.batch);
    let outcomes = partition.append_from_client(batches, shared.clock.wall());
    for ((request, at, size), outcome) in places.into_iter().zip(outcomes) {
        if let Some(work) = works.get_mut(request) {
            work.settle(shared, partition, at, size, outcome);
        }
    }
}

fn answer_at(
    response: &mut ProduceResponse,
    (topic, place): (usize, usize),
) -> Option<&mut PartitionProduceResponse> {
    response.responses.get_mut(topic)?.partition_responses.get_mut(place)
}

const NO_TRANSACTIONS: Refusal =
    Refusal::with_text(ErrorCode::UnsupportedVersion, "this broker has no transactions yet");

/// The records of one partition; a request must bring some.
fn batch(ctx: &RequestContext, acks: Acks, records: Option<Bytes>) -> Result<FromClient, Refusal> {
    let records = records.unwrap_or_default();
    if records.is_empty() {
        let text = format!(
            "Produce requests with version {} must have at least one record batch per partition",
            ctx.version
        );
        return Err(Refusal::with_string(ErrorCode::InvalidRecord, text));
    }
    Ok(FromClient { records, version: ctx.version, acks })
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
    for Waiter { partition, at, covered_by } in waits {
        let Some(answer) = answer_at(&mut response, at) else { continue };
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
