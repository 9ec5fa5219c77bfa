//! Drivers: each owns one timed core and does what it says.
//!
//! * [`quorum`]: the metadata quorum and, on controllers, the controller; one thread.
//! * [`publisher`]: makes committed metadata effective in this node; one thread.
//! * [`lifecycle`]: registers the broker, keeps it alive, and says goodbye; one task.
//! * [`mover`]: moves replicas between log directories; one thread.
//! * [`controller_registration`]: registers the controller; one task.
//! * [`alter_partition`]: tells the controller which partitions have recovered; one task.
//! * [`group`]: the group coordinator's shards.
//! * [`producer_ids`]: blocks of producer ids.
//! * [`cleaner`] and [`scrub`]: compact and verify logs; threads while there is something to do.

pub(crate) mod alter_partition;
pub(crate) mod cleaner;
pub(crate) mod controller_registration;
pub(crate) mod group;
pub(crate) mod lifecycle;
pub(crate) mod mover;
mod pace;
pub(crate) mod producer_ids;
pub(crate) mod publisher;
pub(crate) mod quorum;
pub(crate) mod scrub;

pub(crate) use group::GroupHandle;
pub(crate) use quorum::{ControllerHandle, QuorumHandle};
