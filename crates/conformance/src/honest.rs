//! A client that behaves, for tests of how a broker serves it while others do not.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use ottla_codec::RecordData;
use ottla_protocol::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_protocol::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ProduceRequest,
    ProduceResponse, create_topics_request::CreatableTopic,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::{Node, wait_until};
use ottla_types::Timestamp;

use crate::RawClient;

/// A client that behaves, on one connection for the whole time.
#[derive(Debug)]
pub struct Honest {
    /// Its connection.
    pub client: RawClient,
}

impl Honest {
    /// Connects and makes the topic.
    ///
    /// # Errors
    /// When the broker does not serve it.
    pub fn start(node: &Node) -> Result<Self> {
        let mut client = RawClient::connect(node.bootstrap())?;
        let topic = CreatableTopic {
            name: "honest".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: [topic].into(),
            timeout_ms: 10_000,
            ..CreateTopicsRequest::default()
        };
        // A broker that has just started may be fenced for a moment.
        wait_until("the topic", Duration::from_secs(10), || {
            let created = client.call(ApiKey::CreateTopics, 5, &request);
            created.is_ok_and(|c: CreateTopicsResponse| c.topics[0].error_code == 0)
        })?;
        let mut honest = Self { client };
        wait_until("a leader", Duration::from_secs(10), || honest.produce().is_ok_and(|e| e == 0))?;
        Ok(honest)
    }

    /// Writes records of this many bytes, one a request, so that there is something to read.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub fn fill(&mut self, records: u32, bytes: usize) -> Result<()> {
        let value = vec![b'h'; bytes];
        for _ in 0..records {
            let error = self.produce_value(&value)?;
            ensure!(error == 0, "produce answered {error}");
        }
        Ok(())
    }

    /// Writes one record and reads what is there; `turn` is for the error.
    ///
    /// # Errors
    /// When the broker does not do its part.
    pub fn work(&mut self, turn: i64) -> Result<()> {
        let error = self.produce()?;
        ensure!(error == 0, "turn {turn}: produce answered {error}");
        let partition = FetchPartition {
            partition: 0,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic: "honest".into(),
            partitions: [partition].into(),
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: 1000,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: [topic].into(),
            ..FetchRequest::default()
        };
        let answer: FetchResponse = self.client.call(ApiKey::Fetch, 11, &request)?;
        let partition = &answer.responses[0].partitions[0];
        ensure!(partition.error_code == 0, "turn {turn}: fetch answered {}", partition.error_code);
        ensure!(
            partition.records.as_ref().is_some_and(|r| !r.is_empty()),
            "turn {turn}: nothing fetched"
        );
        Ok(())
    }

    fn produce(&mut self) -> Result<i16> {
        self.produce_value(b"honest")
    }

    fn produce_value(&mut self, value: &[u8]) -> Result<i16> {
        // Not an old one: retention would take it.
        let since = std::time::UNIX_EPOCH.elapsed()?.as_millis();
        let now = Timestamp(i64::try_from(since)?);
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push_pair(now, None, Some(value));
        let records: Bytes = builder.build()?;
        let partition = PartitionProduceData { index: 0, records: Some(RecordData::from(records)) };
        let topic = TopicProduceData {
            name: "honest".into(),
            partition_data: [partition].into(),
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: [topic].into(),
            ..ProduceRequest::default()
        };
        let answer: ProduceResponse = self.client.call(ApiKey::Produce, 8, &request)?;
        Ok(answer.responses[0].partition_responses[0].error_code)
    }
}
