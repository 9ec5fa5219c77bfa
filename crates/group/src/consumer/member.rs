//! A member of a consumer group: what it wants, and what it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_types::{PartitionIndex, TopicId};

use super::partitions::{PartitionMap, PartitionSet};
use crate::names::{Epoch, InstanceId, Topic};

/// Partitions by topic. No topic is without partitions.
pub(crate) type Partitions = BTreeMap<TopicId, PartitionSet>;

/// Partitions with the epoch in which the member got each.
pub(crate) type Held = BTreeMap<TopicId, PartitionMap<Epoch>>;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has what it is to have.
    Stable,
    /// It must let partitions go first.
    Unrevoked,
    /// It waits for partitions that others hold.
    Unreleased,
    /// A state of a newer Kafka.
    Unknown,
}

impl Progress {
    pub(crate) const fn to_wire(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => 127,
        }
    }

    pub(crate) const fn from_wire(raw: i8) -> Self {
        match raw {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }
}

/// What a member that speaks the classic protocol said besides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassicPart {
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// What a member said of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) topics: BTreeSet<Topic>,
    /// Empty is the same as none, but is described as it is.
    pub(crate) regex: Option<Arc<str>>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) assignor: Option<String>,
    pub(crate) classic: Option<ClassicPart>,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            regex: Some("".into()),
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
        }
    }
}

impl Subscription {
    /// The regular expression, if it says anything.
    pub(crate) fn regex(&self) -> Option<&Arc<str>> {
        self.regex.as_ref().filter(|regex| !regex.is_empty())
    }
}

/// What a member was told to have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Current {
    pub(crate) epoch: Epoch,
    pub(crate) previous: Epoch,
    pub(crate) progress: Progress,
    pub(crate) assigned: Held,
    pub(crate) revoking: Held,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: Epoch(0),
            previous: Epoch(-1),
            progress: Progress::Stable,
            assigned: Held::new(),
            revoking: Held::new(),
        }
    }
}

impl Current {
    /// What is left of a member whose record is gone, until its subscription goes too.
    pub(crate) fn left() -> Self {
        Self { epoch: Epoch::LEFT, previous: Epoch::LEFT, ..Self::default() }
    }

    /// Whether the member has all that is meant for it in this epoch.
    pub(crate) fn is_reconciled_to(&self, epoch: Epoch) -> bool {
        self.progress == Progress::Stable && self.epoch == epoch
    }

    /// In which epoch the member got a partition that it holds or still gives back.
    pub(crate) fn held_since(&self, topic: TopicId, partition: PartitionIndex) -> Option<Epoch> {
        let in_part = |part: &Held| part.get(&topic).and_then(|held| held.get(partition));
        in_part(&self.assigned).or_else(|| in_part(&self.revoking))
    }

    /// What a static member keeps while it is away.
    pub(crate) fn away(&self) -> Self {
        let mut away = Self { epoch: Epoch::AWAY, revoking: Held::new(), ..self.clone() };
        away.assigned.values_mut().for_each(|held| held.fill(Epoch(0)));
        away
    }
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Member {
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) current: Arc<Current>,
}
