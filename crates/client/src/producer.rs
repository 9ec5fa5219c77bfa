//! Producer: batches records by partition and sends them in order.
//!
//! Every partition has a task with one batch in flight, so order needs no more than that; while a
//! batch is on its way the next one grows. Idempotent by default: a batch that is sent again
//! after a lost answer is written once (KIP-98).

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ottla_codec::{RecordData, Str};
use ottla_protocol::{InitProducerIdRequest, ProduceRequest, ProduceResponse, produce_request};
use ottla_record::{BatchBuilder, Compression, NewRecord};
use ottla_types::{
    ErrorCode, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp,
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::millis;
use crate::client::{Client, PAUSE_MAX, PAUSE_MIN, partitions_there_are};
use crate::error::{ClientError, Refusal};
use crate::partitioner::{Sticky, partition_for_key};

/// What a record must have survived before it counts as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: the broker does not answer.
    None,
    /// The leader has it.
    Leader,
    /// Every replica in sync has it.
    All,
}

impl Acks {
    fn to_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How records are sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProducerOptions {
    /// When a record counts as sent.
    pub acks: Acks,
    /// How batches are compressed.
    pub compression: Compression,
    /// Whether the broker removes duplicates of batches that are sent again; needs
    /// [`Acks::All`].
    pub idempotent: bool,
    /// Uncompressed size at which a batch is sent, in bytes.
    pub batch_bytes: usize,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// How long a record is tried to be sent.
    pub delivery_timeout: Duration,
    /// Whether missing topics are created, if the broker allows it.
    pub create_topics: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::None,
            idempotent: true,
            batch_bytes: 128 << 10,
            linger: Duration::from_millis(5),
            delivery_timeout: Duration::from_secs(120),
            create_topics: true,
        }
    }
}

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// Key; decides the partition unless that is given.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Partition; by key, else spread, if `None`.
    pub partition: Option<PartitionIndex>,
    /// Time; the clock's, if `None`.
    pub timestamp: Option<Timestamp>,
}

impl OutgoingRecord {
    fn len(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Bytes::len) + 4).sum();
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.value) + headers + RECORD_OVERHEAD
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledged {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset; unknown with [`Acks::None`].
    pub offset: Option<Offset>,
}

/// The fate of one record.
pub type Delivery = oneshot::Receiver<Result<Acknowledged, Arc<ClientError>>>;

/// Sends records. Dropping it abandons what is not sent; see [`Producer::close`].
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    lanes: HashMap<(String, PartitionIndex), mpsc::Sender<Queued>>,
    sticky: HashMap<String, Sticky>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    options: ProducerOptions,
    identity: Mutex<Option<Identity>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    id: ProducerId,
    epoch: ProducerEpoch,
}

#[derive(Debug)]
struct Queued {
    record: OutgoingRecord,
    done: oneshot::Sender<Result<Acknowledged, Arc<ClientError>>>,
}

impl Producer {
    /// A producer on a cluster. Without [`Acks::All`] it is not idempotent, whatever is asked.
    pub fn new(client: Client, mut options: ProducerOptions) -> Self {
        options.idempotent &= options.acks == Acks::All;
        let shared = Shared { client, options, identity: Mutex::default() };
        Self {
            shared: Arc::new(shared),
            lanes: HashMap::new(),
            sticky: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Queues a record; waits while too many are queued. The value is its fate, to be awaited
    /// when it matters.
    ///
    /// # Errors
    /// When the topic or partition does not exist.
    pub async fn send(
        &mut self,
        topic: &str,
        record: OutgoingRecord,
    ) -> Result<Delivery, ClientError> {
        let partition = self.place(topic, &record).await?;
        let (done, delivery) = oneshot::channel();
        let queued = Queued { record, done };
        let lane = self.lane(topic, partition);
        if let Err(mpsc::error::SendError(queued)) = lane.send(queued).await {
            // Only a panic ends a lane early.
            drop(queued);
            return Err(ClientError::Invalid("the producer's task is gone".to_owned()));
        }
        Ok(delivery)
    }

    /// Sends what is queued, waits for the answers, and ends.
    pub async fn close(mut self) {
        self.lanes.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    async fn place(
        &mut self,
        topic: &str,
        record: &OutgoingRecord,
    ) -> Result<PartitionIndex, ClientError> {
        let create = self.shared.options.create_topics;
        let ask = || self.shared.client.topic(topic, create);
        // Whoever has never reached a broker shall hear of it at once.
        let known = match self.lanes.is_empty() {
            true => ask().await?,
            false => self.shared.through_outage(ask).await?,
        };
        let count = u32::try_from(known.partitions.len()).unwrap_or(u32::MAX);
        match (record.partition, &record.key) {
            (Some(index), _) if known.partitions.iter().any(|one| one.index == index) => Ok(index),
            (Some(index), _) => Err(Refusal {
                what: format!("{topic}-{index}"),
                code: ErrorCode::UnknownTopicOrPartition,
                message: Some(partitions_there_are(topic, known.partitions.len())),
            }
            .into()),
            (None, Some(key)) => Ok(partition_for_key(key, count)),
            (None, None) => {
                let switch = self.shared.options.batch_bytes;
                let start = std::process::id();
                let sticky = self.sticky.entry(topic.to_owned());
                let sticky = sticky.or_insert_with(|| Sticky::new(start, switch));
                Ok(sticky.next(record.len(), count))
            }
        }
    }

    fn lane(&mut self, topic: &str, partition: PartitionIndex) -> mpsc::Sender<Queued> {
        let key = (topic.to_owned(), partition);
        if let Some(lane) = self.lanes.get(&key) {
            return lane.clone();
        }
        let (sender, queue) = mpsc::channel(QUEUED_MAX);
        let lane = Lane {
            shared: Arc::clone(&self.shared),
            topic: topic.to_owned(),
            partition,
            sequence: Sequence::ZERO,
            identity: None,
        };
        self.tasks.spawn(lane.run(queue));
        self.lanes.insert(key, sender.clone());
        sender
    }
}

/// The task of one partition.
struct Lane {
    shared: Arc<Shared>,
    topic: String,
    partition: PartitionIndex,
    sequence: Sequence,
    /// The identity that `sequence` belongs to.
    identity: Option<Identity>,
}

impl Lane {
    async fn run(mut self, mut queue: mpsc::Receiver<Queued>) {
        let mut held = None;
        loop {
            let first = match held.take() {
                Some(first) => first,
                None => match queue.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let batch = self.collect(first, &mut queue, &mut held).await;
            let result = self.deliver(&batch).await.map_err(Arc::new);
            for (queued, at) in batch.into_iter().zip(0_u64..) {
                let fate = match &result {
                    Ok(base) => Ok(Acknowledged {
                        partition: self.partition,
                        offset: base.map(|base| base.plus(at)),
                    }),
                    Err(error) => Err(Arc::clone(error)),
                };
                // Whoever sent it may not care.
                let _ = queued.done.send(fate);
            }
        }
    }

    /// Takes records until the batch is full, the time is up, or nothing more can come.
    async fn collect(
        &self,
        first: Queued,
        queue: &mut mpsc::Receiver<Queued>,
        held: &mut Option<Queued>,
    ) -> Vec<Queued> {
        let options = &self.shared.options;
        let deadline = Instant::now() + options.linger;
        let mut bytes = first.record.len();
        let mut batch = vec![first];
        while bytes < options.batch_bytes {
            let next = match queue.try_recv() {
                Ok(next) => Some(next),
                Err(_) => tokio::time::timeout_at(deadline, queue.recv()).await.unwrap_or(None),
            };
            let Some(next) = next else { break };
            bytes += next.record.len();
            if options.batch_bytes < bytes {
                *held = Some(next);
                break;
            }
            batch.push(next);
        }
        batch
    }

    /// Sends a batch until it is written, refused, or too late. Yields its first offset.
    async fn deliver(&mut self, batch: &[Queued]) -> Result<Option<Offset>, ClientError> {
        let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + self.shared.options.delivery_timeout;
        let records = self.encode(batch).await?;
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.attempt(&records).await {
                Ok(base) => {
                    self.sequence = self.sequence.plus(count);
                    return Ok(base);
                }
                Err(error) => error,
            };
            // An earlier try was written and its answer lost.
            if error.code() == Some(ErrorCode::DuplicateSequenceNumber) {
                self.sequence = self.sequence.plus(count);
                return Ok(None);
            }
            self.shared.client.forget_topic(&self.topic);
            if !error.is_retriable() || deadline < Instant::now() + pause {
                // Whether the batch was written is unknown, so its sequences cannot be used for
                // another: the next batch begins with a new identity.
                *self.shared.identity.lock().await = None;
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn encode(&mut self, batch: &[Queued]) -> Result<Bytes, ClientError> {
        let options = &self.shared.options;
        let mut builder = BatchBuilder::new(options.compression);
        if options.idempotent {
            let identity = self.shared.identity().await?;
            if self.identity != Some(identity) {
                self.identity = Some(identity);
                self.sequence = Sequence::ZERO;
            }
            builder = builder.producer(identity.id, identity.epoch, self.sequence);
        }
        let now = now();
        for Queued { record, .. } in batch {
            let headers: Vec<(&[u8], Option<&[u8]>)> =
                record.headers.iter().map(|(key, value)| (&**key, value.as_deref())).collect();
            builder.push(&NewRecord {
                timestamp: record.timestamp.unwrap_or(now),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            });
        }
        builder.build().map_err(|error| ClientError::Records {
            what: format!("batch for {}-{}", self.topic, self.partition),
            reason: error.to_string(),
        })
    }

    async fn attempt(&self, records: &Bytes) -> Result<Option<Offset>, ClientError> {
        let client = &self.shared.client;
        let options = &self.shared.options;
        let connection = client.leader(&self.topic, self.partition).await?;
        let timeout = client.options().connection.request_timeout;
        let request = ProduceRequest {
            acks: options.acks.to_wire(),
            timeout_ms: millis(timeout),
            topic_data: [produce_request::TopicProduceData {
                name: Str::from(self.topic.as_str()),
                partition_data: [produce_request::PartitionProduceData {
                    index: self.partition.to_wire(),
                    records: Some(RecordData::Bytes(records.clone())),
                }]
                .into(),
                ..Default::default()
            }]
            .into(),
            ..ProduceRequest::default()
        };
        if options.acks == Acks::None {
            connection.send_only(&request, NAMES_MAX).await?;
            return Ok(None);
        }
        let response = connection.send_capped(&request, NAMES_MAX, timeout).await?;
        self.base_offset(&response)
    }

    fn base_offset(&self, response: &ProduceResponse) -> Result<Option<Offset>, ClientError> {
        let what = || format!("{}-{}", self.topic, self.partition);
        let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let answer = answers.next().ok_or_else(|| Refusal {
            what: what(),
            code: ErrorCode::UnknownServerError,
            message: Some("the broker did not answer for it".to_owned()),
        })?;
        Refusal::check(answer.error_code, answer.error_message.as_deref(), what)?;
        Ok(Offset::from_wire(answer.base_offset))
    }
}

impl Shared {
    async fn identity(&self) -> Result<Identity, ClientError> {
        let mut known = self.identity.lock().await;
        if let Some(identity) = *known {
            return Ok(identity);
        }
        let request =
            InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
        let ask = || async {
            // Version 6 is for two-phase commit and not final (KIP-939).
            let timeout = self.client.options().connection.request_timeout;
            let connection = self.client.bootstrap().await?;
            let response = connection.send_capped(&request, 5, timeout).await?;
            let what = || "producer id".to_owned();
            Refusal::check(response.error_code, None, what)?;
            let id = ProducerId::from_wire(response.producer_id);
            let epoch = ProducerEpoch::from_wire(response.producer_epoch);
            id.zip(epoch).ok_or_else(|| {
                let code = ErrorCode::InvalidProducerIdMapping;
                Refusal { what: what(), code, message: None }.into()
            })
        };
        let lasting = || self.client.retry("getting a producer id", true, ask);
        let (id, epoch) = self.through_outage(lasting).await?;
        Ok(*known.insert(Identity { id, epoch }))
    }

    /// Repeats a call while no broker can be reached, for as long as a record is tried to be sent:
    /// a broker that restarts is not the end of a producer.
    async fn through_outage<T, F, W>(&self, call: F) -> Result<T, ClientError>
    where
        F: Fn() -> W,
        W: Future<Output = Result<T, ClientError>>,
    {
        let deadline = Instant::now() + self.options.delivery_timeout;
        let mut pause = PAUSE_MIN;
        loop {
            let error = match call().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let away = error.is_connection() && error.is_retriable();
            if !away || deadline < Instant::now() + pause {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Records that may wait in one partition's queue.
const QUEUED_MAX: usize = 4096;
/// Highest version of Produce that names topics instead of giving their ids.
const NAMES_MAX: i16 = 12;
/// About what a record's lengths and deltas take.
const RECORD_OVERHEAD: usize = 16;
