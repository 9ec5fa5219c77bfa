//! Names that a group is made of, and the moment at which something happens.
//!
//! Kafka does not check these texts, so neither do the types: they only keep a group id from
//! being taken for a member id.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ottla_types::{MonoTime, WallTime};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self("".into())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        // Hash and Eq of an `Arc<str>` are those of the `str`.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name! {
    /// `group.id`.
    GroupId
}
name! {
    /// Name that the coordinator gives a member; empty where a client has none yet.
    MemberId
}
name! {
    /// `group.instance.id` of a static member (KIP-345).
    InstanceId
}
name! {
    /// What the members of a group do: `consumer`, `connect`, `sr` or any other text.
    ProtocolType
}
name! {
    /// Name of an assignor or other protocol that members choose by vote, such as `range`.
    ProtocolName
}
name! {
    /// A topic's name as a client or a record wrote it. Not checked: an old record may hold any.
    Topic
}

/// Epoch of a consumer group, of its target assignment or of a member (KIP-848). Kafka keeps states
/// in negative ones, and records hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i32);

impl Epoch {
    /// Of a member that has left.
    pub const LEFT: Self = Self(-1);
    /// Of a static member that is away and is expected back.
    pub const AWAY: Self = Self(-2);

    /// The epoch after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The moment at which something happens, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For sessions and other waiting.
    pub mono: MonoTime,
    /// For timestamps that go into records, and for the retention of offsets.
    pub wall: WallTime,
}

/// Names one waiting request; the shell that made it up gets it back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names one append that the coordinator asked for, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);
