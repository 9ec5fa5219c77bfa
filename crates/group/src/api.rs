//! Questions that a shard answers, and its answers: Kafka's requests without their wire form.
//!
//! Authorization, the existence of topics, and what depends on an API version only in its
//! encoding are the caller's. An answer that failed as a whole carries its reason in `error`.

use std::time::Duration;

use bytes::Bytes;
use ottla_types::{Generation, LeaderEpoch, PartitionIndex, Timestamp, TopicId, Uuid};

pub use crate::consumer_api::*;
use crate::names::{
    AppendId, Epoch, GroupId, InstanceId, MemberId, ProtocolName, ProtocolType, Token, Topic,
};

/// Why a request or a part of it was refused. Each is the Kafka error of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The log could not take the records; its reason is kept from the client, as in Kafka.
    #[error("the coordinator failed")]
    UnknownServerError,
    /// The partition is being loaded.
    #[error("the coordinator is loading")]
    CoordinatorLoadInProgress,
    /// The records could not be committed in time, or a limit of ours is reached.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// Another broker leads the partition.
    #[error("not the coordinator of this group")]
    NotCoordinator,
    /// Metadata of a commit is longer than `offset.metadata.max.bytes`.
    #[error("offset metadata is too large")]
    OffsetMetadataTooLarge,
    /// The generation is not the group's.
    #[error("not the group's generation")]
    IllegalGeneration,
    /// Protocol type or names do not fit the group.
    #[error("the group has another protocol")]
    InconsistentGroupProtocol,
    /// The group id is empty where it must not be.
    #[error("invalid group id")]
    InvalidGroupId,
    /// The group has no such member.
    #[error("unknown member")]
    UnknownMemberId,
    /// Outside `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
    #[error("session timeout out of range")]
    InvalidSessionTimeout,
    /// Join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// The group has members, or is of a kind that must be empty for this.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// There is no such group, or it is not a classic one.
    #[error("group not found")]
    GroupIdNotFound,
    /// Join again with the id in the answer (KIP-394).
    #[error("join again with the member id given")]
    MemberIdRequired,
    /// The group is full.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// Another member took over the static id (KIP-345).
    #[error("another member has this instance id")]
    FencedInstanceId,
    /// Offsets of a topic that members consume cannot be deleted.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// A transaction that commits this offset is open.
    #[error("an open transaction commits this offset")]
    UnstableOffsetCommit,
    /// The member's epoch is not the one known; it must give up everything and join again.
    #[error("the member epoch is fenced")]
    FencedMemberEpoch,
    /// The member's epoch is not the one that the offsets need.
    #[error("the member epoch is stale")]
    StaleMemberEpoch,
    /// Another member has the static id and has not left.
    #[error("the instance id is in use")]
    UnreleasedInstanceId,
    /// The subscription's regular expression is none.
    #[error("invalid regular expression")]
    InvalidRegularExpression,
    /// The request's version cannot say what the group needs to know.
    #[error("the version is too old for this group")]
    UnsupportedVersion,
}

/// Why the log did not take an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFailure {
    /// The partition is missing, has too few replicas in sync, or was too slow.
    Unavailable,
    /// This broker does not lead the partition any more, or its disk failed.
    NotLeader,
    /// The records are larger than the topic allows.
    TooLarge,
    /// Anything else.
    Other,
}

impl From<AppendFailure> for GroupError {
    /// Kafka's mapping of append errors to what group clients understand.
    fn from(failure: AppendFailure) -> Self {
        match failure {
            AppendFailure::Unavailable => Self::CoordinatorNotAvailable,
            AppendFailure::NotLeader => Self::NotCoordinator,
            AppendFailure::TooLarge | AppendFailure::Other => Self::UnknownServerError,
        }
    }
}

/// Kind of a group, as ListGroups names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GroupKind {
    /// Members choose assignments among themselves: this crate's protocol.
    Classic,
    /// KIP-848.
    Consumer,
    /// KIP-932.
    Share,
    /// KIP-1071.
    Streams,
}

impl GroupKind {
    /// Kafka's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }
}

/// One request. The variants carry Kafka's names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// Enter a group or stay in it.
    JoinGroup(JoinGroup),
    /// Bring (leader) and fetch the assignment.
    SyncGroup(SyncGroup),
    /// Keep the session alive.
    Heartbeat(Heartbeat),
    /// Leave, or remove members.
    LeaveGroup(LeaveGroup),
    /// Store offsets.
    OffsetCommit(OffsetCommit),
    /// Read offsets of one group.
    OffsetFetch(OffsetFetch),
    /// Remove offsets.
    OffsetDelete(OffsetDelete),
    /// Describe classic groups.
    DescribeGroups(Vec<GroupId>),
    /// List groups of this shard.
    ListGroups(ListGroups),
    /// Remove empty groups and their offsets.
    DeleteGroups(Vec<GroupId>),
    /// Enter a consumer group, stay in it or leave it.
    ConsumerGroupHeartbeat(Box<ConsumerGroupHeartbeat>),
    /// Describe consumer groups.
    ConsumerGroupDescribe(Vec<GroupId>),
}

/// One answer, of the same variant as its request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Response {
    /// To [`Request::JoinGroup`].
    JoinGroup(JoinGroupResponse),
    /// To [`Request::SyncGroup`].
    SyncGroup(SyncGroupResponse),
    /// To [`Request::Heartbeat`].
    Heartbeat(Result<(), GroupError>),
    /// To [`Request::LeaveGroup`].
    LeaveGroup(LeaveGroupResponse),
    /// To [`Request::OffsetCommit`].
    OffsetCommit(Vec<OffsetCommitTopicResult>),
    /// To [`Request::OffsetFetch`].
    OffsetFetch(Result<Vec<OffsetFetchTopicResult>, GroupError>),
    /// To [`Request::OffsetDelete`].
    OffsetDelete(Result<Vec<OffsetDeleteTopicResult>, GroupError>),
    /// To [`Request::DescribeGroups`], in its order.
    DescribeGroups(Vec<DescribedGroup>),
    /// To [`Request::ListGroups`].
    ListGroups(Result<Vec<ListedGroup>, GroupError>),
    /// To [`Request::DeleteGroups`], in its order.
    DeleteGroups(Vec<(GroupId, Result<(), GroupError>)>),
    /// To [`Request::ConsumerGroupHeartbeat`].
    ConsumerGroupHeartbeat(Result<ConsumerGroupHeartbeatResponse, Refused>),
    /// To [`Request::ConsumerGroupDescribe`], in its order.
    ConsumerGroupDescribe(Vec<(GroupId, Result<DescribedConsumerGroup, Refused>)>),
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Answer a request. Every token is answered exactly once.
    Reply {
        /// The request.
        token: Token,
        /// The answer.
        response: Response,
    },
    /// Append these records, as one batch, to the partition; then call
    /// [`crate::GroupShard::appended`] or [`crate::GroupShard::append_failed`] before anything
    /// else.
    Append {
        /// Names the append.
        id: AppendId,
        /// Never empty.
        records: Vec<Record>,
    },
}

/// One record for `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kafka's versioned key.
    pub key: Bytes,
    /// Kafka's versioned value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Enter a group or stay in it (API key 11).
#[derive(Clone, Debug, PartialEq)]
pub struct JoinGroup {
    /// The group.
    pub group: GroupId,
    /// Empty for a client that was given none.
    pub member: MemberId,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
    /// Of the request header; a dynamic member's id begins with it.
    pub client_id: String,
    /// Kafka writes the address as `/127.0.0.1`.
    pub client_host: String,
    /// How long the member may stay silent.
    pub session_timeout: Duration,
    /// How long it may take to join a rebalance. Version 0: the session timeout.
    pub rebalance_timeout: Duration,
    /// What the group does.
    pub protocol_type: ProtocolType,
    /// Protocols with their metadata, in order of preference.
    pub protocols: Vec<(ProtocolName, Bytes)>,
    /// Random bytes for the id of a new member.
    pub random: Uuid,
    /// Whether a new member is sent back for its id first (version 4 and up, KIP-394).
    pub member_id_required: bool,
    /// Whether the answer can say that no assignment is needed (version 9, KIP-814).
    pub skip_assignment: bool,
}

/// Answer to a [`JoinGroup`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct JoinGroupResponse {
    /// Why the member is not in.
    pub error: Option<GroupError>,
    /// The group's generation; none with an error.
    pub generation: Option<Generation>,
    /// The group's protocol type (version 7).
    pub protocol_type: Option<ProtocolType>,
    /// The protocol chosen.
    pub protocol_name: Option<ProtocolName>,
    /// The leader, or empty.
    pub leader: MemberId,
    /// The leader need not compute an assignment.
    pub skip_assignment: bool,
    /// The member's own id.
    pub member: MemberId,
    /// For the leader: everyone.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
    /// Its metadata for the protocol chosen.
    pub metadata: Bytes,
}

/// Bring and fetch the assignment (API key 14).
#[derive(Clone, Debug, PartialEq)]
pub struct SyncGroup {
    /// The group.
    pub group: GroupId,
    /// From the join; a negative number is none.
    pub generation: Option<Generation>,
    /// The member.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
    /// Checked if present (version 5).
    pub protocol_type: Option<ProtocolType>,
    /// Checked if present (version 5).
    pub protocol_name: Option<ProtocolName>,
    /// From the leader.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// Answer to a [`SyncGroup`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SyncGroupResponse {
    /// Why there is no assignment.
    pub error: Option<GroupError>,
    /// The group's protocol type (version 5).
    pub protocol_type: Option<ProtocolType>,
    /// The protocol chosen (version 5).
    pub protocol_name: Option<ProtocolName>,
    /// The member's assignment.
    pub assignment: Bytes,
}

/// Keep the session alive (API key 12).
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupId,
    /// From the join; a negative number is none.
    pub generation: Option<Generation>,
    /// The member.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
}

/// Leave, or remove members (API key 13). Versions 0 to 2 hold one member.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveGroup {
    /// The group.
    pub group: GroupId,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// One that leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct LeavingMember {
    /// Its id; may be empty if the static id is given.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
    /// The client's reason, for the log (KIP-800).
    pub reason: Option<String>,
}

/// Answer to a [`LeaveGroup`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct LeaveGroupResponse {
    /// Why nobody left.
    pub error: Option<GroupError>,
    /// One for each member, in the request's order.
    pub members: Vec<LeftMember>,
}

/// What became of one that leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftMember {
    /// As in the request.
    pub member: MemberId,
    /// As in the request.
    pub instance: Option<InstanceId>,
    /// Why it did not leave.
    pub error: Option<GroupError>,
}

/// Store offsets (API key 8).
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetCommit {
    /// The group.
    pub group: GroupId,
    /// A negative number is none: the client does not use group management.
    pub generation: Option<Generation>,
    /// Empty without group management.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
    /// Versions 2 to 4: how long to keep the offsets, if not as the broker is set.
    pub retention: Option<Duration>,
    /// Whether the client knows `GROUP_ID_NOT_FOUND` here (version 9 and up).
    pub knows_group_id_not_found: bool,
    /// What to store.
    pub topics: Vec<OffsetCommitTopic>,
}

/// Offsets of one topic to store.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetCommitTopic {
    /// Its name.
    pub topic: Topic,
    /// Its id; zero if not known.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<OffsetCommitPartition>,
}

/// The offset of one partition to store.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetCommitPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset.
    pub offset: CommittedOffset,
    /// Leader epoch of the last record consumed.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Text of the client's own.
    pub metadata: String,
}

/// An offset as a client stored it: Kafka does not check it, so it may even be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommittedOffset(pub i64);

/// What became of the offsets of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetCommitTopicResult {
    /// As in the request.
    pub topic: Topic,
    /// As in the request.
    pub topic_id: TopicId,
    /// In the request's order.
    pub partitions: Vec<(PartitionIndex, Result<(), GroupError>)>,
}

/// Read offsets of one group (API key 9).
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetFetch {
    /// The group.
    pub group: GroupId,
    /// The member that asks, if it says so (version 9); only consumer groups look at it.
    pub member: Option<MemberId>,
    /// Its epoch; a negative number is none.
    pub member_epoch: Option<Epoch>,
    /// `None` for all that the group has.
    pub topics: Option<Vec<OffsetFetchTopic>>,
    /// Wait for what is being stored, and refuse what a transaction holds open (KIP-447).
    pub require_stable: bool,
}

/// Partitions whose offsets are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetFetchTopic {
    /// Its name.
    pub topic: Topic,
    /// Its id, zero if not known: an offset stored for another id is not given.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// Offsets of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetFetchTopicResult {
    /// Its name.
    pub topic: Topic,
    /// As in the request; zero if all topics were asked for.
    pub topic_id: TopicId,
    /// In the request's order; `Ok(None)` where nothing is stored.
    pub partitions: Vec<(PartitionIndex, Result<Option<OffsetValue>, GroupError>)>,
}

/// A stored offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The offset.
    pub offset: CommittedOffset,
    /// Leader epoch of the last record consumed.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Text of the client's own.
    pub metadata: std::sync::Arc<str>,
    /// When it was stored.
    pub committed_at: Timestamp,
    /// When it expires, if the client said so.
    pub expires_at: Option<Timestamp>,
    /// The topic it was stored for; zero in old records.
    pub topic_id: TopicId,
}

/// Remove offsets (API key 47).
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetDelete {
    /// The group.
    pub group: GroupId,
    /// What to remove.
    pub topics: Vec<(Topic, Vec<PartitionIndex>)>,
}

/// What became of one topic's offsets.
#[derive(Clone, Debug, PartialEq)]
pub struct OffsetDeleteTopicResult {
    /// Its name.
    pub topic: Topic,
    /// In the request's order.
    pub partitions: Vec<(PartitionIndex, Result<(), GroupError>)>,
}

/// A classic group in detail (API key 15).
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    /// The group.
    pub group: GroupId,
    /// Why there is no more to say; versions before 6 do not show `GroupIdNotFound`, only the
    /// state `Dead`.
    pub error: Option<GroupError>,
    /// Says what is not found (version 6).
    pub error_message: Option<String>,
    /// Kafka's name of the state; empty with most errors.
    pub state: &'static str,
    /// Empty if the group has none.
    pub protocol_type: ProtocolType,
    /// The protocol chosen; empty unless the group is stable.
    pub protocol_name: ProtocolName,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    /// Its id.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
    /// Client id of its join.
    pub client_id: String,
    /// Address of its join.
    pub client_host: String,
    /// Its metadata for the protocol chosen; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// Which groups to list (API key 16). Both filters ignore case; an empty one lets all pass.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ListGroups {
    /// Names of states.
    pub states: Vec<String>,
    /// Names of kinds.
    pub kinds: Vec<String>,
}

/// One group of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedGroup {
    /// The group.
    pub group: GroupId,
    /// Empty if the group has none.
    pub protocol_type: ProtocolType,
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Its kind.
    pub kind: GroupKind,
}
