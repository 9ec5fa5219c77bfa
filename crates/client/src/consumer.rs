//! Consumer of partitions that it is told: fetches from all their leaders at once.
//!
//! No membership here (see [`crate::GroupConsumer`]) and no fetch sessions: every fetch names its
//! partitions, which is simple and right for the few that a tool reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{RecordData, Str};
use ottla_protocol::{FetchRequest, FetchResponse, fetch_request, fetch_response};
use ottla_record::{Batches, DecompressLimits, TimestampType};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp};
use tokio::task::JoinSet;

use crate::admin::{Admin, OffsetSpec, millis};
use crate::client::Client;
use crate::error::{ClientError, Refusal};

/// How records are fetched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// Bytes of one answer (`fetch.max.bytes`).
    pub max_bytes: u32,
    /// Bytes of one partition in it (`max.partition.fetch.bytes`).
    pub partition_max_bytes: u32,
    /// How long the broker waits for records (`fetch.max.wait.ms`).
    pub max_wait: Duration,
    /// Bytes it waits for (`fetch.min.bytes`).
    pub min_bytes: u32,
    /// Where to go on when an offset does not exist (any more); `None` is an error.
    pub reset: Option<OffsetSpec>,
    /// Whether records of open and aborted transactions are hidden.
    pub read_committed: bool,
    /// Limits of decompression.
    pub decompress: DecompressLimits,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            reset: Some(OffsetSpec::Latest),
            read_committed: false,
            decompress: DecompressLimits::default(),
        }
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumedRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
    /// Its time.
    pub timestamp: Timestamp,
    /// Who set the time.
    pub timestamp_type: TimestampType,
    /// Epoch of the leader that wrote it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl ConsumedRecord {
    /// A record with neither key, value, headers nor time, for tests of what prints records.
    pub fn new(topic: &str, partition: PartitionIndex, offset: Offset) -> Self {
        Self {
            topic: Arc::from(topic),
            partition,
            offset,
            timestamp: Timestamp::NONE,
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }
}

/// Reads partitions from given offsets on.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    positions: BTreeMap<(Arc<str>, PartitionIndex), Position>,
    in_flight: JoinSet<Fetched>,
    busy: HashMap<NodeId, u64>,
    /// Counts assignments: an answer to a fetch of an earlier one is not used.
    generation: u64,
}

/// Where partitions ended when somebody asked.
#[derive(Clone, Debug)]
pub struct Ends(BTreeMap<(Arc<str>, PartitionIndex), Offset>);

#[derive(Clone, Copy, Debug)]
struct Position {
    next: Offset,
    high_watermark: Option<Offset>,
}

#[derive(Debug)]
struct Fetched {
    leader: NodeId,
    generation: u64,
    result: Result<FetchResponse, ClientError>,
}

impl Consumer {
    /// A consumer that reads nothing yet.
    pub fn new(client: Client, options: ConsumerOptions) -> Self {
        Self {
            client,
            options,
            positions: BTreeMap::new(),
            in_flight: JoinSet::new(),
            busy: HashMap::new(),
            generation: 0,
        }
    }

    /// The client underneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads this partition too, from `next` on; or moves there.
    pub fn assign(&mut self, topic: &str, partition: PartitionIndex, next: Offset) {
        self.forget_in_flight();
        let position = Position { next, high_watermark: None };
        self.positions.insert((Arc::from(topic), partition), position);
    }

    /// As [`Self::assign`], from an offset that is looked up.
    ///
    /// # Errors
    /// When it cannot be looked up.
    pub async fn assign_at(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        spec: OffsetSpec,
    ) -> Result<Offset, ClientError> {
        let next = self.look_up(topic, partition, spec).await?;
        self.assign(topic, partition, next);
        Ok(next)
    }

    /// Stops reading this partition.
    pub fn unassign(&mut self, topic: &str, partition: PartitionIndex) {
        self.forget_in_flight();
        self.positions.remove(&(Arc::from(topic), partition));
    }

    /// Stops reading everything.
    pub fn unassign_all(&mut self) {
        self.forget_in_flight();
        self.positions.clear();
    }

    /// The next offset of every partition that is read.
    pub fn positions(&self) -> impl Iterator<Item = (&str, PartitionIndex, Offset)> {
        self.positions.iter().map(|((topic, index), at)| (&**topic, *index, at.next))
    }

    /// Whether nothing is left to read in any partition, as of the last answers.
    pub fn is_at_end(&self) -> bool {
        self.positions.values().all(|at| at.high_watermark.is_some_and(|end| end <= at.next))
    }

    /// Asks where the partitions that are read end now. A broker that syncs records before it shows
    /// them (`ottla.durability=fsync`) answers with those that it has acknowledged, too.
    ///
    /// With [`ConsumerOptions::read_committed`] it asks nothing: an open transaction may hold back
    /// what is there.
    ///
    /// # Errors
    /// When an offset cannot be looked up.
    pub async fn ends(&self) -> Result<Ends, ClientError> {
        let mut ends = BTreeMap::new();
        for key in self.positions.keys().filter(|_| !self.options.read_committed) {
            let end = self.look_up(&key.0, key.1, OffsetSpec::Latest).await?;
            ends.insert(key.clone(), end);
        }
        Ok(Ends(ends))
    }

    /// Whether everything before `ends` has been read, and nothing is left as of the last answers.
    pub fn is_past(&self, ends: &Ends) -> bool {
        let past = |(key, at): (_, &Position)| ends.0.get(key).is_none_or(|end| *end <= at.next);
        self.is_at_end() && self.positions.iter().all(past)
    }

    /// Reads what the next answer brings: records in offset order for each partition, or nothing
    /// when `patience` is over. Cancelling it loses no record.
    ///
    /// # Errors
    /// When no broker can be reached, a leader cannot be found in time, or records are not valid.
    /// Leaders that move are followed. After an error that is retriable a later call goes on where
    /// this one stood.
    pub async fn poll(&mut self, patience: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        self.fetch_from_idle_leaders().await?;
        if self.in_flight.is_empty() {
            tokio::time::sleep(patience).await;
            return Ok(Vec::new());
        }
        let Ok(answer) = tokio::time::timeout(patience, self.in_flight.join_next()).await else {
            return Ok(Vec::new());
        };
        let Some(Ok(fetched)) = answer else { return Ok(Vec::new()) };
        if fetched.generation != self.generation {
            return Ok(Vec::new());
        }
        self.busy.remove(&fetched.leader);
        match fetched.result {
            Ok(response) => self.take(response).await,
            Err(error) if error.is_retriable() => {
                self.forget_topics();
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch_from_idle_leaders(&mut self) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        for ((topic, index), at) in &self.positions {
            match self.client.leader_id(topic, *index).await {
                Ok(leader) => {
                    by_leader.entry(leader).or_default().push((Arc::clone(topic), *index, at.next));
                }
                // Between two leaders there is none; the next poll asks again.
                Err(error) if error.code() == Some(ErrorCode::LeaderNotAvailable) => {
                    self.client.forget_topic(topic);
                }
                Err(error) => return Err(error),
            }
        }
        for (leader, partitions) in by_leader {
            if self.busy.contains_key(&leader) {
                continue;
            }
            let connection = self.client.node(leader).await?;
            let request = self.request(&partitions);
            let timeout = self.client.options().connection.request_timeout + self.options.max_wait;
            let generation = self.generation;
            self.busy.insert(leader, generation);
            self.in_flight.spawn(async move {
                let result = connection.send_capped(&request, NAMES_MAX, timeout).await;
                Fetched { leader, generation, result }
            });
        }
        Ok(())
    }

    fn request(&self, partitions: &[(Arc<str>, PartitionIndex, Offset)]) -> FetchRequest {
        let mut topics: Vec<fetch_request::FetchTopic> = Vec::new();
        for (topic, index, next) in partitions {
            if topics.last().is_none_or(|last| *last.topic != **topic) {
                let topic = Str::from(&**topic);
                topics.push(fetch_request::FetchTopic { topic, ..Default::default() });
            }
            let Some(last) = topics.last_mut() else { continue };
            last.partitions.push(fetch_request::FetchPartition {
                partition: index.to_wire(),
                fetch_offset: next.to_wire(),
                partition_max_bytes: wire(self.options.partition_max_bytes),
                ..Default::default()
            });
        }
        FetchRequest {
            max_wait_ms: millis(self.options.max_wait),
            min_bytes: wire(self.options.min_bytes),
            max_bytes: wire(self.options.max_bytes),
            isolation_level: i8::from(self.options.read_committed),
            topics: topics.into(),
            ..FetchRequest::default()
        }
    }

    async fn take(&mut self, response: FetchResponse) -> Result<Vec<ConsumedRecord>, ClientError> {
        Refusal::check(response.error_code, None, || "fetch".to_owned())?;
        let mut records = Vec::new();
        for topic in response.responses {
            let name: Arc<str> = Arc::from(topic.topic.as_str());
            for partition in topic.partitions {
                let Some(index) = PartitionIndex::from_wire(partition.partition_index) else {
                    continue;
                };
                if self.settle(&name, index, &partition).await? {
                    self.read(&name, index, partition, &mut records)?;
                }
            }
        }
        Ok(records)
    }

    /// Looks at a partition's error; true if there may be records.
    async fn settle(
        &mut self,
        topic: &Arc<str>,
        index: PartitionIndex,
        partition: &fetch_response::PartitionData,
    ) -> Result<bool, ClientError> {
        let what = || format!("{topic}-{index}");
        let Err(refusal) = Refusal::check(partition.error_code, None, what) else {
            return Ok(true);
        };
        match (refusal.code, self.options.reset) {
            (ErrorCode::OffsetOutOfRange, Some(spec)) => {
                match self.look_up(topic, index, spec).await {
                    Ok(next) => {
                        let position = Position { next, high_watermark: None };
                        self.positions.insert((Arc::clone(topic), index), position);
                    }
                    // The answer may hold records of other partitions, whose positions have moved.
                    Err(error) if error.is_retriable() => {}
                    Err(error) => return Err(error),
                }
                Ok(false)
            }
            (code, _) if code.retriable() => {
                self.client.forget_topic(topic);
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(false)
            }
            _ => Err(refusal.into()),
        }
    }

    fn read(
        &mut self,
        topic: &Arc<str>,
        index: PartitionIndex,
        partition: fetch_response::PartitionData,
        records: &mut Vec<ConsumedRecord>,
    ) -> Result<(), ClientError> {
        let Some(position) = self.positions.get_mut(&(Arc::clone(topic), index)) else {
            return Ok(());
        };
        let invalid = |reason: String| ClientError::Records {
            what: format!("records of {topic}-{index}"),
            reason,
        };
        position.high_watermark = Offset::from_wire(partition.high_watermark);
        let Some(RecordData::Bytes(bytes)) = partition.records else { return Ok(()) };
        for batch in Batches::new(bytes) {
            let batch = batch.map_err(|error| invalid(error.to_string()))?;
            ottla_record::check_crc(batch.bytes()).map_err(|error| invalid(error.to_string()))?;
            let header = *batch.header();
            let walk = batch.records(&self.options.decompress);
            // Control batches are the broker's own notes; they only move the position.
            let is_data = !header.attributes.is_control();
            for record in walk.map_err(|error| invalid(error.to_string()))? {
                let record = record.map_err(|error| invalid(error.to_string()))?;
                // A batch may begin before the offset that was asked for.
                if is_data && position.next <= record.offset {
                    records.push(ConsumedRecord {
                        topic: Arc::clone(topic),
                        partition: index,
                        offset: record.offset,
                        timestamp: record.timestamp,
                        timestamp_type: header.attributes.timestamp_type(),
                        leader_epoch: header.leader_epoch,
                        key: record.key,
                        value: record.value,
                        headers: record.headers.into_iter().map(|h| (h.key, h.value)).collect(),
                    });
                }
            }
            position.next = position.next.max(header.next_offset());
        }
        Ok(())
    }

    async fn look_up(
        &self,
        topic: &str,
        partition: PartitionIndex,
        spec: OffsetSpec,
    ) -> Result<Offset, ClientError> {
        let admin = Admin::new(self.client.clone());
        let found = |at: OffsetSpec| {
            let admin = admin.clone();
            async move {
                let ask = || async {
                    let mut all = admin.list_offsets(topic, &[partition], at).await?;
                    Ok(all.remove(&partition).transpose()?.and_then(|found| found.offset))
                };
                admin.client().retry(&format!("offsets of {topic}-{partition}"), true, ask).await
            }
        };
        if let Some(offset) = found(spec).await? {
            return Ok(offset);
        }
        // No record is that young: what comes next is what was asked for.
        Ok(found(OffsetSpec::Latest).await?.unwrap_or(Offset::ZERO))
    }

    fn forget_in_flight(&mut self) {
        self.generation += 1;
        self.in_flight.abort_all();
        self.in_flight = JoinSet::new();
        self.busy.clear();
    }

    fn forget_topics(&self) {
        for (topic, _) in self.positions.keys() {
            self.client.forget_topic(topic);
        }
    }
}

fn wire(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// Highest version of Fetch that names topics instead of giving their ids.
const NAMES_MAX: i16 = 12;
/// Pause after a partition that has no leader for the moment.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
