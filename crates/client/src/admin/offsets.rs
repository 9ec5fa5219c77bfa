//! Offsets of partitions: where they begin and end, what was written when, and cutting the front.

use std::collections::BTreeMap;

use ottla_codec::Str;
use ottla_protocol::{
    DeleteRecordsRequest, ListOffsetsRequest, delete_records_request, list_offsets_request,
};
use ottla_types::{NodeId, Offset, PartitionIndex, Timestamp};

use super::Admin;
use super::topics::no_answer;
use crate::error::{ClientError, Refusal};

/// Which offset is meant; the numbers are Kafka's `ListOffsetsRequest` timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record that consumers may read.
    Latest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record at or after a time.
    At(Timestamp),
}

impl OffsetSpec {
    fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::At(Timestamp(millis)) => millis,
        }
    }
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffsetAt {
    /// The offset; `None` when no record is that young.
    pub offset: Option<Offset>,
    /// The record's timestamp, where one was looked for.
    pub timestamp: Option<Timestamp>,
}

impl Admin {
    /// Looks up offsets, each partition at its leader.
    ///
    /// # Errors
    /// When the topic or a leader cannot be found; the inner results are for each partition.
    pub async fn list_offsets(
        &self,
        topic: &str,
        partitions: &[PartitionIndex],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<PartitionIndex, Result<OffsetAt, Refusal>>, ClientError> {
        let mut found = BTreeMap::new();
        for (leader, partitions) in self.by_leader(topic, partitions).await? {
            let partition = |index: &PartitionIndex| list_offsets_request::ListOffsetsPartition {
                partition_index: index.to_wire(),
                timestamp: spec.to_wire(),
                ..Default::default()
            };
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: vec![list_offsets_request::ListOffsetsTopic {
                    name: Str::from(topic),
                    partitions: partitions.iter().map(partition).collect(),
                }],
                timeout_ms: self.timeout_ms(),
                ..ListOffsetsRequest::default()
            };
            let response = self.client.node(leader).await?.send(&request).await?;
            for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let Some(index) = PartitionIndex::from_wire(answer.partition_index) else {
                    continue;
                };
                let what = || format!("offsets of {topic}-{index}");
                let result = Refusal::check(answer.error_code, None, what).map(|()| OffsetAt {
                    offset: Offset::from_wire(answer.offset),
                    timestamp: (answer.timestamp >= 0).then_some(Timestamp(answer.timestamp)),
                });
                if result.is_err() {
                    self.client.forget_topic(topic);
                }
                found.insert(index, result);
            }
        }
        Ok(found)
    }

    /// Deletes the records before an offset in each partition; `None` means all of them. Yields
    /// the first offset that is left.
    ///
    /// # Errors
    /// As [`Self::list_offsets`].
    pub async fn delete_records(
        &self,
        topic: &str,
        before: &BTreeMap<PartitionIndex, Option<Offset>>,
    ) -> Result<BTreeMap<PartitionIndex, Result<Offset, Refusal>>, ClientError> {
        let indexes: Vec<_> = before.keys().copied().collect();
        let mut done = BTreeMap::new();
        for (leader, partitions) in self.by_leader(topic, &indexes).await? {
            let partition = |index: &PartitionIndex| {
                let offset = before.get(index).copied().flatten();
                delete_records_request::DeleteRecordsPartition {
                    partition_index: index.to_wire(),
                    offset: Offset::option_to_wire(offset),
                }
            };
            let request = DeleteRecordsRequest {
                topics: vec![delete_records_request::DeleteRecordsTopic {
                    name: Str::from(topic),
                    partitions: partitions.iter().map(partition).collect(),
                }],
                timeout_ms: self.timeout_ms(),
            };
            let response = self.client.node(leader).await?.send(&request).await?;
            for answer in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let Some(index) = PartitionIndex::from_wire(answer.partition_index) else {
                    continue;
                };
                let what = || format!("records of {topic}-{index}");
                let result = Refusal::check(answer.error_code, None, what).and_then(|()| {
                    Offset::from_wire(answer.low_watermark).ok_or_else(|| no_answer(what()))
                });
                done.insert(index, result);
            }
        }
        Ok(done)
    }

    async fn by_leader(
        &self,
        topic: &str,
        partitions: &[PartitionIndex],
    ) -> Result<BTreeMap<NodeId, Vec<PartitionIndex>>, ClientError> {
        let mut by_leader: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for index in partitions {
            by_leader.entry(self.client.leader_id(topic, *index).await?).or_default().push(*index);
        }
        Ok(by_leader)
    }
}
