//! Consumer that shares topics with the other members of its group (the classic protocol).
//!
//! Heartbeats are sent from [`GroupConsumer::poll`]; whoever stops polling for longer than the
//! session timeout leaves the group. Offsets are committed for what an earlier poll returned, so
//! a record is read at least once. Assignment is Kafka's range assignor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_codec::{Message, Reader, Sink, Str, Writer};
use ottla_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
    consumer_protocol_assignment, join_group_request, leave_group_request, offset_commit_request,
    sync_group_request,
};
use ottla_types::{ErrorCode, Offset, PartitionIndex};
use tokio::time::Instant;

use crate::admin::{Admin, OffsetSpec, millis};
use crate::client::Client;
use crate::consumer::{ConsumedRecord, Consumer, ConsumerOptions, Ends};
use crate::error::{ClientError, Refusal};

/// How to be a member.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupOptions {
    /// How long the coordinator waits for a heartbeat.
    pub session_timeout: Duration,
    /// How long it waits for this member in a rebalance.
    pub rebalance_timeout: Duration,
    /// How often a heartbeat is sent.
    pub heartbeat_interval: Duration,
    /// How often offsets are committed; `None` leaves that to [`GroupConsumer::commit`].
    pub commit_interval: Option<Duration>,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(3),
            commit_interval: Some(Duration::from_secs(5)),
        }
    }
}

/// A member of a consumer group.
#[derive(Debug)]
pub struct GroupConsumer {
    consumer: Consumer,
    options: GroupOptions,
    reset: OffsetSpec,
    group: String,
    topics: Vec<String>,
    member_id: String,
    membership: Option<Membership>,
}

#[derive(Debug)]
struct Membership {
    generation: i32,
    last_heartbeat: Instant,
    last_commit: Instant,
    committed: BTreeMap<(String, PartitionIndex), Offset>,
}

impl GroupConsumer {
    /// A member of `group` that reads `topics`; it joins when it is first polled. Partitions
    /// without a committed offset begin at `consumer.reset`.
    pub fn new(
        client: Client,
        group: impl Into<String>,
        topics: Vec<String>,
        consumer: ConsumerOptions,
        options: GroupOptions,
    ) -> Self {
        Self {
            reset: consumer.reset.unwrap_or(OffsetSpec::Latest),
            consumer: Consumer::new(client, consumer),
            options,
            group: group.into(),
            topics,
            member_id: String::new(),
            membership: None,
        }
    }

    /// Partitions that this member has, and their next offsets.
    pub fn positions(&self) -> impl Iterator<Item = (&str, PartitionIndex, Offset)> {
        self.consumer.positions()
    }

    /// Whether this member has a place in the group and nothing is left to read for it.
    pub fn is_at_end(&self) -> bool {
        self.membership.is_some() && self.consumer.is_at_end()
    }

    /// As [`Consumer::ends`], of this member's partitions.
    ///
    /// # Errors
    /// As there.
    pub async fn ends(&self) -> Result<Ends, ClientError> {
        self.consumer.ends().await
    }

    /// As [`Consumer::is_past`], while this member has a place in the group.
    pub fn is_past(&self, ends: &Ends) -> bool {
        self.membership.is_some() && self.consumer.is_past(ends)
    }

    /// Reads as [`Consumer::poll`] does, and keeps up the membership. Offsets of what the call
    /// before returned may be committed.
    ///
    /// # Errors
    /// When the group refuses this member, or as [`Consumer::poll`].
    pub async fn poll(&mut self, patience: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        if self.membership.is_some() {
            self.commit_if_due().await?;
            self.heartbeat_if_due().await?;
        }
        if self.membership.is_none() {
            self.join().await?;
        }
        self.consumer.poll(patience.min(self.options.heartbeat_interval)).await
    }

    /// Goes back to a record that was returned and not used, so that its offset is not committed.
    pub fn rewind(&mut self, topic: &str, partition: PartitionIndex, to: Offset) {
        let has =
            |(name, index, next): (&str, _, _)| name == topic && index == partition && to < next;
        if self.consumer.positions().any(has) {
            self.consumer.assign(topic, partition, to);
        }
    }

    /// Commits the offsets of what was returned so far.
    ///
    /// # Errors
    /// When the coordinator refuses; a rebalance is not an error.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        membership.last_commit = Instant::now();
        let positions: BTreeMap<(String, PartitionIndex), Offset> = self
            .consumer
            .positions()
            .map(|(topic, index, next)| ((topic.to_owned(), index), next))
            .filter(|(partition, next)| membership.committed.get(partition) != Some(next))
            .collect();
        if positions.is_empty() {
            return Ok(());
        }
        let generation = membership.generation;
        let request = self.commit_request(generation, &positions);
        let connection = self.consumer.client().coordinator(&self.group).await?;
        let timeout = self.consumer.client().options().connection.request_timeout;
        let response =
            connection.send_capped(&request, crate::admin::OFFSETS_BY_NAME_MAX, timeout).await?;
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = || format!("offsets of group {}", self.group);
            let checked = Refusal::check(partition.error_code, None, what);
            match checked {
                Ok(()) => {}
                Err(refusal) if self.lost_place(refusal.code) => return Ok(()),
                Err(refusal) => return Err(refusal.into()),
            }
        }
        if let Some(membership) = &mut self.membership {
            membership.committed.extend(positions);
        }
        Ok(())
    }

    /// Commits and leaves, so that the others need not wait for the session to end.
    ///
    /// # Errors
    /// When the coordinator cannot be told.
    pub async fn leave(mut self) -> Result<(), ClientError> {
        if self.options.commit_interval.is_some() {
            self.commit().await?;
        }
        if self.member_id.is_empty() {
            return Ok(());
        }
        let connection = self.consumer.client().coordinator(&self.group).await?;
        let several = connection.version_of::<LeaveGroupRequest>(i16::MAX)? >= 3;
        let member_id = Str::from(self.member_id.as_str());
        let mut request = LeaveGroupRequest {
            group_id: Str::from(self.group.as_str()),
            ..LeaveGroupRequest::default()
        };
        if several {
            request.members =
                vec![leave_group_request::MemberIdentity { member_id, ..Default::default() }];
        } else {
            request.member_id = member_id;
        }
        connection.send(&request).await?;
        Ok(())
    }

    async fn commit_if_due(&mut self) -> Result<(), ClientError> {
        let Some(interval) = self.options.commit_interval else { return Ok(()) };
        match &self.membership {
            Some(membership) if interval <= membership.last_commit.elapsed() => self.commit().await,
            _ => Ok(()),
        }
    }

    async fn heartbeat_if_due(&mut self) -> Result<(), ClientError> {
        let Some(membership) = &mut self.membership else { return Ok(()) };
        if membership.last_heartbeat.elapsed() < self.options.heartbeat_interval {
            return Ok(());
        }
        membership.last_heartbeat = Instant::now();
        let request = HeartbeatRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id: membership.generation,
            member_id: Str::from(self.member_id.as_str()),
            ..HeartbeatRequest::default()
        };
        let connection = self.consumer.client().coordinator(&self.group).await?;
        let response = connection.send(&request).await?;
        let what = || format!("group {}", self.group);
        let Err(refusal) = Refusal::check(response.error_code, None, what) else { return Ok(()) };
        if refusal.code == ErrorCode::RebalanceInProgress {
            // What was read so far is committed before the partitions may go to another member.
            if self.options.commit_interval.is_some() {
                self.commit().await?;
            }
            self.membership = None;
            return Ok(());
        }
        if self.lost_place(refusal.code) { Ok(()) } else { Err(refusal.into()) }
    }

    /// Whether an error only means that the place in the group is lost; notes it then.
    fn lost_place(&mut self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {}
            ErrorCode::UnknownMemberId => self.member_id.clear(),
            _ => return code.retriable(),
        }
        self.membership = None;
        true
    }

    /// Joins until there is an assignment.
    async fn join(&mut self) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.consumer.client().options().api_timeout * 2;
        while self.membership.is_none() {
            match self.try_join().await {
                Ok(()) => {}
                Err(error) => {
                    let code = error.code();
                    let again = match code {
                        Some(ErrorCode::MemberIdRequired) => true,
                        Some(code) => self.lost_place(code),
                        None => error.is_retriable(),
                    };
                    if !again || deadline < Instant::now() {
                        return Err(error);
                    }
                    if code != Some(ErrorCode::MemberIdRequired) {
                        tokio::time::sleep(REJOIN_PAUSE).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn try_join(&mut self) -> Result<(), ClientError> {
        self.consumer.unassign_all();
        let connection = self.consumer.client().coordinator(&self.group).await?;
        let patience = self.options.rebalance_timeout + Duration::from_secs(5);
        let joined = connection.send_capped(&self.join_request(), i16::MAX, patience).await?;
        if !joined.member_id.is_empty() {
            joined.member_id.as_str().clone_into(&mut self.member_id);
        }
        let what = || format!("group {}", self.group);
        Refusal::check(joined.error_code, None, what)?;
        let leads = *joined.leader == *self.member_id && !joined.skip_assignment;
        let assignments = if leads { self.assign_all(&joined).await? } else { Vec::new() };
        let request = SyncGroupRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id: joined.generation_id,
            member_id: Str::from(self.member_id.as_str()),
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: Some(Str::from_static(ASSIGNOR)),
            assignments,
            ..SyncGroupRequest::default()
        };
        let synced = connection.send_capped(&request, i16::MAX, patience).await?;
        Refusal::check(synced.error_code, None, what)?;
        let assigned = crate::admin::assigned(&synced.assignment).unwrap_or_default();
        self.start(joined.generation_id, assigned).await
    }

    /// Begins where the group has committed, else where it is configured to.
    async fn start(
        &mut self,
        generation: i32,
        assigned: BTreeMap<String, Vec<PartitionIndex>>,
    ) -> Result<(), ClientError> {
        let admin = Admin::new(self.consumer.client().clone());
        let offsets = admin.group_offsets(&self.group).await?;
        let mut committed = BTreeMap::new();
        for (topic, partitions) in assigned {
            for index in partitions {
                let key = (topic.clone(), index);
                match offsets.get(&key) {
                    Some(at) => {
                        self.consumer.assign(&topic, index, at.offset);
                        committed.insert(key, at.offset);
                    }
                    None => {
                        self.consumer.assign_at(&topic, index, self.reset).await?;
                    }
                }
            }
        }
        let now = Instant::now();
        let membership =
            Membership { generation, last_heartbeat: now, last_commit: now, committed };
        self.membership = Some(membership);
        Ok(())
    }

    fn join_request(&self) -> JoinGroupRequest {
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.iter().map(|topic| Str::from(topic.as_str())).collect(),
            ..ConsumerProtocolSubscription::default()
        };
        JoinGroupRequest {
            group_id: Str::from(self.group.as_str()),
            session_timeout_ms: millis(self.options.session_timeout),
            rebalance_timeout_ms: millis(self.options.rebalance_timeout),
            member_id: Str::from(self.member_id.as_str()),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols: vec![join_group_request::JoinGroupRequestProtocol {
                name: Str::from_static(ASSIGNOR),
                metadata: blob(&subscription, SUBSCRIPTION_VERSION),
            }],
            ..JoinGroupRequest::default()
        }
    }

    fn commit_request(
        &self,
        generation: i32,
        positions: &BTreeMap<(String, PartitionIndex), Offset>,
    ) -> OffsetCommitRequest {
        let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for ((topic, index), next) in positions {
            let partition = offset_commit_request::OffsetCommitRequestPartition {
                partition_index: index.to_wire(),
                committed_offset: next.to_wire(),
                committed_metadata: Some(Str::default()),
                ..Default::default()
            };
            topics.entry(topic).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            let name = Str::from(name);
            offset_commit_request::OffsetCommitRequestTopic {
                name,
                partitions,
                ..Default::default()
            }
        });
        OffsetCommitRequest {
            group_id: Str::from(self.group.as_str()),
            generation_id_or_member_epoch: generation,
            member_id: Str::from(self.member_id.as_str()),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        }
    }

    /// The leader's work: who reads what.
    async fn assign_all(
        &self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<sync_group_request::SyncGroupRequestAssignment>, ClientError> {
        let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for member in &joined.members {
            let topics = subscribed(&member.metadata).unwrap_or_default();
            members.insert(member.member_id.as_str().to_owned(), topics);
        }
        let wanted: BTreeSet<&String> = members.values().flatten().collect();
        let mut partitions = BTreeMap::new();
        for topic in wanted {
            // A topic that does not exist yet has no partitions; everybody waits for it.
            let known = self.consumer.client().refreshed_topic(topic, false).await;
            let count = known.map_or(0, |topic| topic.partitions.len());
            partitions.insert(topic.clone(), u32::try_from(count).unwrap_or(u32::MAX));
        }
        let assigned = range_assign(&members, &partitions);
        Ok(assigned
            .into_iter()
            .map(|(member, topics)| encode_assignment(&member, topics))
            .collect())
    }
}

/// Partitions of one member, by topic.
type Share = BTreeMap<String, Vec<PartitionIndex>>;

/// Kafka's `RangeAssignor` without racks: for each topic, its members in the order of their ids
/// get runs of partitions, the first ones one more if it does not divide evenly.
fn range_assign(
    members: &BTreeMap<String, BTreeSet<String>>,
    partitions: &BTreeMap<String, u32>,
) -> BTreeMap<String, Share> {
    let mut shares: BTreeMap<String, Share> =
        members.keys().map(|member| (member.clone(), Share::new())).collect();
    for (topic, count) in partitions {
        let readers: Vec<&String> = members
            .iter()
            .filter_map(|(member, topics)| topics.contains(topic).then_some(member))
            .collect();
        let Ok(among) = u32::try_from(readers.len()) else { continue };
        let mut next = 0;
        for (reader, place) in readers.into_iter().zip(0_u32..) {
            let extra = u32::from(place < count % among);
            let end = next + count / among + extra;
            if next < end {
                let run = (next..end).map(PartitionIndex).collect();
                shares.entry(reader.clone()).or_default().insert(topic.clone(), run);
            }
            next = end;
        }
    }
    shares
}

fn encode_assignment(
    member: &str,
    topics: Share,
) -> sync_group_request::SyncGroupRequestAssignment {
    let assigned = topics.into_iter().map(|(topic, partitions)| {
        consumer_protocol_assignment::TopicPartition {
            topic: Str::from(topic.as_str()),
            partitions: partitions.into_iter().map(PartitionIndex::to_wire).collect(),
        }
    });
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: assigned.collect(),
        ..ConsumerProtocolAssignment::default()
    };
    sync_group_request::SyncGroupRequestAssignment {
        member_id: Str::from(member),
        assignment: blob(&assignment, ASSIGNMENT_VERSION),
    }
}

fn subscribed(blob: &Bytes) -> Option<BTreeSet<String>> {
    let mut reader = Reader::new(blob.clone());
    let version = reader.i16("version").ok()?;
    let version = version.min(ConsumerProtocolSubscription::VERSIONS.1);
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, version).ok()?;
    Some(subscription.topics.iter().map(|topic| topic.as_str().to_owned()).collect())
}

/// A blob of the consumer protocol: its version, then the message.
fn blob<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::default();
    writer.put_i16(version);
    // Names and numbers of this process always fit; a blob that failed would be empty.
    match message.encode(version, &mut writer) {
        Ok(()) => writer.into_bytes(),
        Err(_) => Bytes::new(),
    }
}

const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";
const SUBSCRIPTION_VERSION: i16 = 1;
const ASSIGNMENT_VERSION: i16 = 1;
/// Pause before joining again after a refusal.
const REJOIN_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(members: &[(&str, &[&str])], partitions: &[(&str, u32)]) -> Vec<String> {
        let members = members.iter().map(|(member, topics)| {
            ((*member).to_owned(), topics.iter().map(|topic| (*topic).to_owned()).collect())
        });
        let partitions = partitions.iter().map(|(topic, count)| ((*topic).to_owned(), *count));
        let shares = range_assign(&members.collect(), &partitions.collect());
        let share = |(member, topics): (String, Share)| {
            let topics = topics.iter().map(|(topic, run)| {
                let run: Vec<String> = run.iter().map(ToString::to_string).collect();
                format!(" {topic}:{}", run.join(","))
            });
            format!("{member}{}", topics.collect::<String>())
        };
        shares.into_iter().map(share).collect()
    }

    #[test]
    fn ranges_are_those_of_kafkas_assignor() {
        // RangeAssignorTest: two consumers, two topics of three partitions.
        assert_eq!(
            assign(&[("b", &["s", "t"]), ("a", &["s", "t"])], &[("s", 3), ("t", 3)]),
            ["a s:0,1 t:0,1", "b s:2 t:2"]
        );
        // Only those who subscribe to a topic share it.
        assert_eq!(
            assign(&[("a", &["s"]), ("b", &["s", "t"]), ("c", &["s"])], &[("s", 3), ("t", 2)]),
            ["a s:0", "b s:1 t:0,1", "c s:2"]
        );
        // More members than partitions, and a topic without any.
        assert_eq!(
            assign(&[("a", &["s"]), ("b", &["s", "t"])], &[("s", 1), ("t", 0)]),
            ["a s:0", "b"]
        );
    }

    #[test]
    fn a_subscription_comes_back_from_its_blob() {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![Str::from_static("b"), Str::from_static("a")],
            ..ConsumerProtocolSubscription::default()
        };
        let blob = blob(&subscription, SUBSCRIPTION_VERSION);
        assert_eq!(&blob[..8], [0, 1, 0, 0, 0, 2, 0, 1]);
        assert_eq!(subscribed(&blob).unwrap(), ["a", "b"].map(str::to_owned).into());
        assert_eq!(subscribed(&Bytes::from_static(b"\0")), None);
    }
}
