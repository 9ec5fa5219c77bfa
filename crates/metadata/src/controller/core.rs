//! The controller's frame: becoming active, taking requests, batching records, releasing answers.
//!
//! What each request leads to is decided in the sibling files; here nothing is.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, NodeId, Offset};

use super::ControllerConfig;
use super::op::{Op, RECORDS_MAX};
use super::request::{ApiError, ConfigRules, Request, Response, Token};
use super::rng::Rng;
use super::session::Sessions;
use crate::bootstrap::Bootstrap;
use crate::features::{Feature, MetadataVersion};
use crate::generated::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, NoOpRecord,
};
use crate::image::{ClusterImage, ConfigKind};
use crate::record::Record;

/// Most bytes of record values in one batch; Kafka's `MAX_BATCH_SIZE_BYTES` less some room.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024 - 64 * 1024;

/// What a controller learns when its node has become the quorum's leader and the first batch of
/// its epoch is committed.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Epoch of the leadership.
    pub epoch: LeaderEpoch,
    /// Everything that is committed. Nothing else is in the log.
    pub image: ClusterImage,
    /// Offset that the next record gets.
    pub next_offset: Offset,
    /// What a cluster without metadata begins with.
    pub bootstrap: Bootstrap,
    /// Level of `kraft.version`.
    pub kraft_version: i16,
    /// Brokers whose process is known to be dead: a combined node's own former self. A new
    /// incarnation need not wait for the end of their sessions.
    pub dead: Vec<NodeId>,
}

/// Records to append as one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Epoch in which they were decided; they must be appended in no other.
    pub epoch: LeaderEpoch,
    /// Offset that the first record must get; broker epochs rest on it.
    pub base_offset: Offset,
    /// Values of the records; keys are null.
    pub values: Vec<Bytes>,
}

/// What a controller wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Append this batch. If that is refused, resign and become active anew.
    Propose(Proposal),
    /// Answer a request.
    Respond {
        /// The request.
        token: Token,
        /// The answer.
        response: Response,
    },
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether it is the active controller.
    pub active: bool,
    /// Requests that wait for a commit.
    pub waiting: usize,
    /// Brokers that are fenced.
    pub fenced_brokers: usize,
    /// Brokers that are not.
    pub active_brokers: usize,
    /// Topics.
    pub topics: usize,
    /// Partitions of all topics.
    pub partitions: usize,
    /// Partitions without a leader.
    pub offline_partitions: usize,
    /// Partitions that the preferred replica does not lead.
    pub imbalanced_partitions: usize,
}

struct Waiting {
    /// The answer leaves once everything below this is committed.
    end: Offset,
    token: Token,
    response: Response,
}

/// Records that wait for the next batch.
#[derive(Default)]
struct Batch {
    values: Vec<Bytes>,
    bytes: usize,
}

/// Whether the records of an operation may go into several batches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    /// All or none.
    Never,
    /// Each record stands for itself.
    Allowed,
}

struct Active {
    epoch: LeaderEpoch,
    /// Everything that was decided, committed or not.
    image: ClusterImage,
    next: Offset,
    committed: Offset,
    /// Batches that are full, in order; they go before `batch`.
    full: VecDeque<Proposal>,
    batch: Batch,
    waiting: VecDeque<Waiting>,
    sessions: Sessions,
    kraft_version: i16,
    next_idle_record: Option<MonoTime>,
    next_balance: Option<MonoTime>,
    next_unclean: MonoTime,
}

/// The controller. See the module's description.
pub struct Controller {
    config: ControllerConfig,
    rules: Box<dyn ConfigRules>,
    rng: Rng,
    active: Option<Active>,
    outputs: VecDeque<Output>,
    last_token: u64,
}

impl Controller {
    /// A controller that is not active.
    pub fn new(config: ControllerConfig, rules: Box<dyn ConfigRules>) -> Self {
        let rng = Rng::new(config.seed);
        Self { config, rules, rng, active: None, outputs: VecDeque::new(), last_token: 0 }
    }

    /// Whether it is active.
    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// The image that runs ahead, while it is active.
    pub fn image(&self) -> Option<&ClusterImage> {
        self.active.as_ref().map(|active| &active.image)
    }

    /// Offset that the next record gets, while it is active.
    pub fn next_offset(&self) -> Option<Offset> {
        self.active.as_ref().map(|active| active.next)
    }

    /// Swaps the table of configs, after this node's own configs changed.
    pub fn set_rules(&mut self, rules: Box<dyn ConfigRules>) {
        self.rules = rules;
    }

    /// Becomes active, and decides what a new leader must: the bootstrap records of an empty log,
    /// or the end of a metadata transaction that the last leader left open.
    pub fn activate(&mut self, now: MonoTime, activation: Activation) {
        assert!(self.active.is_none(), "an active controller is activated again");
        let Activation { epoch, image, next_offset, bootstrap, kraft_version, dead } = activation;
        assert!(image.end() <= next_offset, "the image has read beyond the end of the log");
        let mut sessions = Sessions::new(self.config.session_timeout);
        for broker in image.brokers().values() {
            sessions.register(broker.id, broker.fenced);
            if !broker.fenced {
                sessions.assume(broker.id, broker.epoch, now, !dead.contains(&broker.id));
            }
        }
        self.active = Some(Active {
            epoch,
            image,
            next: next_offset,
            committed: next_offset,
            full: VecDeque::new(),
            batch: Batch::default(),
            waiting: VecDeque::new(),
            sessions,
            kraft_version,
            next_idle_record: self.config.idle_interval.map(|wait| now.after(wait)),
            next_balance: self.config.balance_interval.map(|wait| now.after(wait)),
            next_unclean: now.after(self.config.unclean_interval),
        });
        let version = bootstrap.metadata_version();
        let done = self.run(now, version, Split::Never, |op| {
            op.first_records(&bootstrap);
            Ok(Response::Done)
        });
        assert!(done.is_ok(), "the records of a bootstrap were refused");
    }

    /// Stops being active: whatever waits is answered NOT_CONTROLLER and what was decided but not
    /// committed is forgotten. Does nothing if it is not active.
    pub fn resign(&mut self) {
        let Some(active) = self.active.take() else { return };
        for waiting in active.waiting {
            let response = Response::Refused(not_controller());
            self.outputs.push_back(Output::Respond { token: waiting.token, response });
        }
    }

    /// Takes a request; its answer comes by [`Self::poll_output`] under the token.
    pub fn handle(&mut self, now: MonoTime, request: Request) -> Token {
        self.last_token += 1;
        let token = Token(self.last_token);
        let Some(active) = &mut self.active else {
            let response = Response::Refused(not_controller());
            self.outputs.push_back(Output::Respond { token, response });
            return token;
        };
        if let Request::Heartbeat(heartbeat) = &request {
            active.sessions.heard_of(heartbeat.node, heartbeat.epoch, now);
        }
        let split = splits(&request);
        let response = self.run(now, MetadataVersion::LATEST, split, |op| op.decide(request));
        let active = self.active.as_mut().expect("deciding does not resign");
        // An answer without records still rests on what was decided before it.
        let last = active.waiting.back().map(|waiting| waiting.end);
        let end = last.unwrap_or(active.committed);
        let (end, response) = match response {
            Ok((response, Some(own))) => (end.max(own), response),
            Ok((response, None)) => (end, response),
            Err(error) => (end, Response::Refused(error)),
        };
        active.waiting.push_back(Waiting { end, token, response });
        self.release();
        token
    }

    /// Notes that everything below `end` is committed.
    pub fn committed(&mut self, end: Offset) {
        let Some(active) = &mut self.active else { return };
        assert!(end <= active.next, "more is committed than was decided");
        active.committed = active.committed.max(end);
        self.release();
    }

    /// When [`Self::handle_timeout`] wants to be called, if ever.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        let active = self.active.as_ref()?;
        let others = [active.next_idle_record, active.next_balance, active.sessions.next_expiry()];
        others.into_iter().flatten().chain([active.next_unclean]).min()
    }

    /// Acts on the passage of time: fences silent brokers, balances leaders, writes idle records.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        while let Some(active) = &mut self.active {
            let Some((node, epoch)) = active.sessions.take_expired(now) else { break };
            let registered = active.image.broker(node);
            if registered.is_some_and(|broker| broker.epoch == epoch && !broker.fenced) {
                self.run_own(now, |op| op.fence(node));
            }
        }
        let Some(active) = &mut self.active else { return };
        if active.next_unclean <= now {
            active.next_unclean = now.after(self.config.unclean_interval);
            self.run_own(now, |op| {
                op.elect_unclean_leaders();
            });
        }
        let Some(active) = &mut self.active else { return };
        if active.next_balance.is_some_and(|at| at <= now) {
            active.next_balance = self.config.balance_interval.map(|wait| now.after(wait));
            self.run_own(now, |op| {
                op.balance_leaders();
            });
        }
        let Some(active) = &self.active else { return };
        if active.next_idle_record.is_some_and(|at| at <= now) {
            self.run_own(now, |op| op.add(NoOpRecord {}));
        }
    }

    /// The next thing to do. All decisions since the last call come as one batch, if they fit.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(active) = &mut self.active {
            let full = active.full.pop_front();
            if let Some(proposal) = full.or_else(|| active.take_batch(0)) {
                return Some(Output::Propose(proposal));
            }
        }
        self.outputs.pop_front()
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> Stats {
        let Some(active) = &self.active else { return Stats::default() };
        let image = &active.image;
        let fenced_brokers = image.brokers().values().filter(|broker| broker.fenced).count();
        Stats {
            active: true,
            waiting: active.waiting.len(),
            fenced_brokers,
            active_brokers: image.brokers().len() - fenced_brokers,
            topics: image.topics().len(),
            partitions: image.topics().values().map(|topic| topic.partitions.len()).sum(),
            offline_partitions: image.indexes().leaderless().len(),
            imbalanced_partitions: image.indexes().imbalanced().len(),
        }
    }

    /// An operation of the controller's own, which may be split over batches and cannot fail.
    fn run_own(&mut self, now: MonoTime, decide: impl FnOnce(&mut Op<'_>)) {
        let done = self.run(now, MetadataVersion::LATEST, Split::Allowed, |op| {
            decide(op);
            Ok(Response::Done)
        });
        assert!(done.is_ok(), "an operation of the controller's own was refused");
    }

    /// Runs one operation on the speculative image and keeps its records for the next batch. With
    /// records, the second value is the offset after the last of them.
    fn run(
        &mut self,
        now: MonoTime,
        first_version: MetadataVersion,
        split: Split,
        decide: impl FnOnce(&mut Op<'_>) -> Result<Response, ApiError>,
    ) -> Result<(Response, Option<Offset>), ApiError> {
        let active = self.active.as_mut().expect("only an active controller decides");
        let mut op = Op {
            image: active.image.clone(),
            records: Vec::new(),
            base: active.next,
            version: active.image.metadata_version().unwrap_or(first_version),
            now,
            config: &self.config,
            rules: self.rules.as_ref(),
            sessions: &mut active.sessions,
            rng: &mut self.rng,
            kraft_version: active.kraft_version,
            inherited: RefCell::default(),
        };
        let response = decide(&mut op)?;
        let Op { image, records, .. } = op;
        if records.is_empty() {
            return Ok((response, None));
        }
        let mut values = Vec::with_capacity(records.len());
        for record in &records {
            values.push(encode(record)?);
        }
        let bytes: usize = values.iter().map(Bytes::len).sum();
        if split == Split::Never && (values.len() > RECORDS_MAX || bytes > BATCH_BYTES_MAX) {
            let text = "Unable to perform excessively large batch operation.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, text));
        }
        active.image = image;
        active.next = active.next.plus(records.len() as u64);
        active.next_idle_record = self.config.idle_interval.map(|wait| now.after(wait));
        active.append(values);
        Ok((response, Some(active.next)))
    }

    fn release(&mut self) {
        let Some(active) = &mut self.active else { return };
        while active.waiting.front().is_some_and(|waiting| waiting.end <= active.committed) {
            let Some(Waiting { token, response, .. }) = active.waiting.pop_front() else { return };
            self.outputs.push_back(Output::Respond { token, response });
        }
    }
}

impl Active {
    /// Adds an operation's records to the batch; only what fits into no batch at all is split.
    fn append(&mut self, values: Vec<Bytes>) {
        let bytes: usize = values.iter().map(Bytes::len).sum();
        let mut left = values.len();
        if !self.batch.has_room_for(left, bytes) {
            let batch = self.take_batch(left);
            self.full.extend(batch);
        }
        for value in values {
            if !self.batch.has_room_for(1, value.len()) {
                let batch = self.take_batch(left);
                self.full.extend(batch);
            }
            self.batch.bytes += value.len();
            self.batch.values.push(value);
            left -= 1;
        }
    }

    /// The batch, when `left` records that were decided are not in it yet.
    fn take_batch(&mut self, left: usize) -> Option<Proposal> {
        if self.batch.values.is_empty() {
            return None;
        }
        let values = std::mem::take(&mut self.batch).values;
        let behind = (values.len() + left) as u64;
        let base_offset = Offset(self.next.0 - behind);
        Some(Proposal { epoch: self.epoch, base_offset, values })
    }
}

impl Batch {
    fn has_room_for(&self, records: usize, bytes: usize) -> bool {
        self.values.len() + records <= RECORDS_MAX && self.bytes + bytes <= BATCH_BYTES_MAX
    }
}

impl Op<'_> {
    /// What a new leader begins with.
    fn first_records(&mut self, bootstrap: &Bootstrap) {
        if self.image.in_transaction() {
            self.add(AbortTransactionRecord { reason: Some("Controller failover".into()) });
        }
        if self.image.metadata_version().is_some() {
            return;
        }
        let transactional = self.version.transactions();
        if transactional {
            self.add(BeginTransactionRecord { name: Some("Bootstrap records".into()) });
        }
        for record in bootstrap.records() {
            self.push(record);
        }
        if bootstrap.level(Feature::EligibleLeaderReplicas.name()) > 0 {
            let value = self.static_min_isr();
            self.push(Record::new(ConfigRecord {
                resource_type: ConfigKind::Broker.code(),
                resource_name: "".into(),
                name: "min.insync.replicas".into(),
                value: Some(value.into()),
            }));
        }
        if transactional {
            self.add(EndTransactionRecord {});
        }
    }

    /// What a request leads to.
    fn decide(&mut self, request: Request) -> Result<Response, ApiError> {
        match request {
            Request::RegisterBroker(request) => self.register_broker(request),
            Request::Heartbeat(request) => self.heartbeat(&request),
            Request::UnregisterBroker(node) => self.unregister_broker(node),
            Request::RegisterController(request) => self.register_controller(request),
            Request::CreateTopics(request) => self.create_topics(request),
            Request::DeleteTopics(request) => self.delete_topics(&request),
            Request::CreatePartitions(request) => self.create_partitions(&request),
            Request::AlterPartition(request) => self.alter_partition(&request),
            Request::ElectLeaders(request) => self.elect_leaders(request),
            Request::AssignReplicasToDirs(request) => self.assign_replicas(&request),
            Request::AlterConfigs(request) => self.alter_configs(&request),
            Request::ReplaceConfigs(request) => self.replace_configs(&request),
            Request::AlterQuotas(request) => self.alter_quotas(&request),
            Request::UpdateFeatures(request) => self.update_features(&request),
            Request::AllocateProducerIds { broker, epoch } => {
                self.allocate_producer_ids(broker, epoch)
            }
        }
    }
}

/// The value of a record. A string of a request can be too long for a record; that is the
/// client's mistake and not ours.
fn encode(record: &Record) -> Result<Bytes, ApiError> {
    let error = |error: ottla_codec::EncodeError| {
        ApiError::new(ErrorCode::InvalidRequest, format!("A record cannot be written: {error}"))
    };
    record.encode().map_err(error)
}

/// What a broker reports stands for itself partition by partition; what a person asks for is done
/// whole or not at all.
fn splits(request: &Request) -> Split {
    match request {
        Request::RegisterBroker(_)
        | Request::Heartbeat(_)
        | Request::UnregisterBroker(_)
        | Request::AlterPartition(_)
        | Request::AssignReplicasToDirs(_)
        | Request::ElectLeaders(_) => Split::Allowed,
        Request::RegisterController(_)
        | Request::CreateTopics(_)
        | Request::DeleteTopics(_)
        | Request::CreatePartitions(_)
        | Request::AlterConfigs(_)
        | Request::ReplaceConfigs(_)
        | Request::AlterQuotas(_)
        | Request::UpdateFeatures(_)
        | Request::AllocateProducerIds { .. } => Split::Never,
    }
}

fn not_controller() -> ApiError {
    ApiError::new(ErrorCode::NotController, "No controller appears to be active.")
}
