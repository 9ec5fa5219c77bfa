//! Who is to have which partition: the assignors `uniform` and `range`.
//!
//! Members and topics come in sorted maps, so the same group gives the same result everywhere.
//! Kafka goes through hash tables in some places; there its order is arbitrary and ours is not.
//! Racks play no part in either (in Kafka 4.3 they do not); a changed rack only makes a new target.

mod mixed;
mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::TopicId;

use super::member::Partitions;
use crate::names::{InstanceId, MemberId};

/// An assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Even, and as little as possible moves.
    Uniform,
    /// Ranges of each topic, so that topics of equal count lie side by side.
    Range,
}

impl Assignor {
    /// The assignor of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    pub(crate) fn assign(self, group: &Spec) -> BTreeMap<MemberId, Partitions> {
        if group.members.is_empty() {
            return BTreeMap::new();
        }
        match self {
            Self::Range => range::assign(group),
            Self::Uniform if group.homogeneous => uniform::assign(group),
            Self::Uniform => mixed::assign(group),
        }
    }
}

/// What an assignor knows of a member.
#[derive(Clone, Debug)]
pub(crate) struct MemberSpec {
    pub(crate) instance: Option<InstanceId>,
    /// Topics that exist.
    pub(crate) topics: BTreeSet<TopicId>,
    /// What it is to have until now.
    pub(crate) before: Partitions,
}

/// What an assignor knows of a group.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) members: BTreeMap<MemberId, MemberSpec>,
    /// How many partitions each topic has that anybody asks for.
    pub(crate) partitions: BTreeMap<TopicId, u32>,
    /// Everybody asks for the same.
    pub(crate) homogeneous: bool,
}

#[cfg(test)]
mod tests;
