//! Metrics of the broker: what handlers note, and what is asked for when somebody reads.
//!
//! Noting costs a few atomic additions; names are looked up once and kept. Figures that exist
//! anyway (partitions, quorum, groups, sockets) are read when `/metrics` is rendered.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use ottla_codec::ErrorTally;
use ottla_metrics::{
    Definition, OneRequest, Phases, Registry, RequestMetrics, TopicEvent, TopicMetrics,
};
use ottla_net::{MemoryBudget, NetStats, StatsSnapshot};
use ottla_protocol::ApiKey;
use ottla_types::{ErrorCode, MonoTime, TopicName};

use crate::dispatch::RequestContext;
use crate::partition::{Appended, ReadOutcome};
use crate::refusal::Refusal;
use crate::shared::Shared;

mod cleaner;
mod gauges;
mod groups;
mod process;

pub(crate) use gauges::{partitions as refresh, register};

/// API keys that have a slot of their own.
const API_SLOTS: usize = 96;

/// Everything that handlers note.
pub(crate) struct Telemetry {
    registry: Registry,
    broker: Arc<TopicMetrics>,
    topics: DashMap<TopicName, Arc<TopicMetrics>>,
    requests: RequestMetrics,
    by_api: Vec<OnceLock<Arc<OneRequest>>>,
    /// Counters and request memory of the listeners, once they are open.
    net: OnceLock<(Arc<NetStats>, MemoryBudget)>,
}

impl Telemetry {
    /// Notes into this registry.
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            broker: TopicMetrics::of_broker(&registry),
            topics: DashMap::new(),
            requests: RequestMetrics::new(&registry),
            by_api: (0..API_SLOTS).map(|_| OnceLock::new()).collect(),
            net: OnceLock::new(),
            registry,
        }
    }

    /// Takes over the counters of the listeners.
    pub(crate) fn listens(&self, stats: &Arc<NetStats>, budget: &MemoryBudget) {
        // A node opens its listeners once.
        let _ = self.net.set((stats.clone(), budget.clone()));
    }

    fn net(&self) -> StatsSnapshot {
        self.net.get().map(|(stats, _)| stats.snapshot()).unwrap_or_default()
    }

    /// The registry, for rendering.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn topic(&self, topic: &TopicName) -> Arc<TopicMetrics> {
        if let Some(found) = self.topics.get(topic) {
            return found.clone();
        }
        let fresh = Arc::new(TopicMetrics::of_topic(&self.broker, topic));
        self.topics.entry(topic.clone()).or_insert(fresh).clone()
    }

    /// Forgets a deleted topic.
    pub(crate) fn topic_deleted(&self, topic: &TopicName) {
        self.topics.remove(topic);
        self.registry.remove("topic", topic);
    }

    /// Notes a batch that was appended.
    pub(crate) fn produced(&self, topic: &TopicName, appended: &Appended, bytes: usize) {
        let topic = self.topic(topic);
        topic.mark(TopicEvent::Produce, 1);
        if !appended.duplicate {
            let records = appended.last_offset.next().since(appended.base_offset);
            topic.mark(TopicEvent::MessagesIn, records);
            topic.mark(TopicEvent::BytesIn, u64::try_from(bytes).unwrap_or_default());
        }
    }

    /// Notes a batch that was refused, for its topic if that is hosted here.
    pub(crate) fn produce_failed(
        &self,
        topic: Option<&TopicName>,
        refusal: &Refusal,
        bytes: usize,
    ) {
        let code = refusal.code;
        let of_topic = topic.map(|topic| self.topic(topic));
        let counted = of_topic.as_ref().unwrap_or(&self.broker);
        counted.mark(TopicEvent::Produce, 1);
        if is_unexpected_of_produce(code) {
            counted.mark(TopicEvent::FailedProduce, 1);
        }
        match code {
            ErrorCode::MessageTooLarge => {
                let bytes = u64::try_from(bytes).unwrap_or_default();
                counted.mark(TopicEvent::BytesRejected, bytes);
            }
            // Only a record without a key makes single records invalid.
            ErrorCode::InvalidRecord => {
                let records = u64::try_from(refusal.record_errors.len()).unwrap_or_default();
                self.broker.mark(TopicEvent::NoKey, records);
            }
            ErrorCode::CorruptMessage => self.broker.mark(TopicEvent::InvalidCrc, 1),
            ErrorCode::OutOfOrderSequenceNumber => {
                self.broker.mark(TopicEvent::InvalidSequence, 1);
            }
            _ => {}
        }
    }

    /// Notes a partition that was read and answered.
    pub(crate) fn fetched(&self, read: &ReadOutcome) {
        let topic = self.topic(&read.topic);
        topic.mark(TopicEvent::Fetch, 1);
        topic.mark(TopicEvent::BytesOut, u64::try_from(read.bytes()).unwrap_or_default());
    }

    /// Notes a partition that could not be read.
    pub(crate) fn fetch_failed(&self, code: ErrorCode) {
        self.broker.mark(TopicEvent::Fetch, 1);
        if is_unexpected_of_fetch(code) {
            self.broker.mark(TopicEvent::FailedFetch, 1);
        }
    }

    fn request(&self, api: ApiKey) -> Arc<OneRequest> {
        // A consumer's and a follower's Fetch are told apart once followers exist.
        let name = if api == ApiKey::Fetch { "FetchConsumer" } else { api.name() };
        let slot = usize::try_from(api.key()).ok().and_then(|key| self.by_api.get(key));
        match slot {
            Some(slot) => slot.get_or_init(|| self.requests.of(name)).clone(),
            None => self.requests.of(name),
        }
    }
}

/// Whether a refused batch counts as a failure: not what a producer gets wrong or meets in a healthy cluster.
fn is_unexpected_of_produce(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
            | ErrorCode::KafkaStorageError
    )
}

/// Whether a refused read counts as a failure.
fn is_unexpected_of_fetch(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::OffsetOutOfRange
    )
}

/// Measures one request from its frame to its answer.
pub(crate) struct RequestTimer {
    shared: Arc<Shared>,
    request: Arc<OneRequest>,
    version: i16,
    bytes: u64,
    received: MonoTime,
    begun: MonoTime,
    local: Option<Duration>,
}

impl RequestTimer {
    /// Begins with the handler.
    pub(crate) fn start(shared: &Arc<Shared>, ctx: &RequestContext) -> Self {
        Self {
            shared: shared.clone(),
            request: shared.telemetry.request(ctx.api),
            version: ctx.version,
            bytes: ctx.bytes,
            received: ctx.received,
            begun: shared.clock.now(),
            local: None,
        }
    }

    /// The handler has returned and the request waits for something else.
    pub(crate) fn waits(&mut self) {
        self.local = Some(self.shared.clock.now().since(self.begun));
    }

    /// What the answer says of errors, success included.
    pub(crate) fn errors(&self, errors: &ErrorTally) {
        for (code, count) in errors.iter() {
            let error = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
            self.request.errors(error.name(), count);
        }
    }

    /// The answer is known.
    pub(crate) fn answered(&self) {
        let now = self.shared.clock.now();
        let worked = now.since(self.begun);
        let local = self.local.unwrap_or(worked);
        let phases = Phases {
            queue: self.begun.since(self.received),
            local,
            remote: worked.saturating_sub(local),
            ..Phases::default()
        };
        self.request.answered(self.version, self.bytes, &phases);
    }
}

/// A gauge that is computed when somebody reads.
pub(super) fn computed(
    shared: &Arc<Shared>,
    definition: &'static Definition,
    labels: &[(&'static str, &str)],
    value: impl Fn(&Shared) -> f64 + Send + Sync + 'static,
) {
    let weak = Arc::downgrade(shared);
    let registry = shared.telemetry.registry();
    registry.computed(definition, labels, move || weak.upgrade().map_or(0.0, |s| value(&s)));
}

/// The version of this build, as `app-info` shows it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
