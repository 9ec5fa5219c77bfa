//! Questions about consumer groups (KIP-848), and their answers.

use std::time::Duration;

use ottla_types::{PartitionIndex, TopicId};

pub use crate::consumer::Refused;
pub use crate::consumer::assignor::Assignor;
use crate::names::{Epoch, GroupId, InstanceId, MemberId, Topic};

/// What a heartbeat is for; on the wire it is the member's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Enter the group, or enter it again (epoch 0).
    Join,
    /// Go on in this epoch.
    Stay(Epoch),
    /// Leave (epoch -1).
    Leave,
    /// Leave, to come back: a static member (epoch -2).
    LeaveForNow,
}

/// A member of a consumer group is alive, and says what has changed (API key 68). `None` is "as
/// before".
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroupHeartbeat {
    /// The group.
    pub group: GroupId,
    /// Never empty: who has no id yet is given one before.
    pub member: MemberId,
    /// What it is for.
    pub beat: Beat,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
    /// Where the member is.
    pub rack: Option<String>,
    /// How long it may take to give up partitions.
    pub rebalance_timeout: Option<Duration>,
    /// Topics by name.
    pub topics: Option<Vec<Topic>>,
    /// Topics by regular expression; empty for none.
    pub regex: Option<String>,
    /// The assignor that it prefers.
    pub assignor: Option<Assignor>,
    /// Partitions that it has.
    pub owned: Option<Vec<(TopicId, Vec<PartitionIndex>)>>,
    /// Of the request header.
    pub client_id: String,
    /// Kafka writes the address as `/127.0.0.1`.
    pub client_host: String,
}

/// Answer to a [`ConsumerGroupHeartbeat`].
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerGroupHeartbeatResponse {
    /// The member.
    pub member: MemberId,
    /// Its epoch from now on.
    pub epoch: Epoch,
    /// When the next heartbeat is expected; `None` for who leaves.
    pub interval: Option<Duration>,
    /// What it is to have; `None` if nothing changed.
    pub assignment: Option<Vec<(TopicId, Vec<PartitionIndex>)>>,
}

/// A consumer group in detail (API key 69).
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedConsumerGroup {
    /// The group.
    pub group: GroupId,
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Epoch of the group.
    pub epoch: Epoch,
    /// Epoch of its target assignment.
    pub assignment_epoch: Epoch,
    /// Name of the assignor that most members prefer.
    pub assignor: String,
    /// Its members.
    pub members: Vec<ConsumerMember>,
}

/// A member of a consumer group in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerMember {
    /// Its id.
    pub member: MemberId,
    /// Its static id.
    pub instance: Option<InstanceId>,
    /// Where it is.
    pub rack: Option<String>,
    /// Its epoch.
    pub epoch: Epoch,
    /// Client id of its last heartbeat.
    pub client_id: String,
    /// Address of its last heartbeat.
    pub client_host: String,
    /// Topics it asks for by name.
    pub topics: Vec<Topic>,
    /// Its regular expression.
    pub regex: Option<String>,
    /// What it has, with what it still gives back.
    pub assignment: Vec<ConsumerAssignment>,
    /// What it is meant to have.
    pub target: Vec<ConsumerAssignment>,
    /// Whether it speaks the classic protocol.
    pub is_classic: bool,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerAssignment {
    /// Its id.
    pub topic_id: TopicId,
    /// Its name.
    pub topic: Topic,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionIndex>,
}
