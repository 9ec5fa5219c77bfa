//! Administrative calls, one file for each kind of thing.
//!
//! Every call answers for each item that was asked about: an outer error means that nothing is
//! known, an inner one that this item was refused.

mod cluster;
mod configs;
mod groups;
mod offsets;
mod quotas;
mod scram;
mod topics;

use std::time::Duration;

use crate::client::Client;

pub use crate::metadata::Node;
pub use cluster::{
    ClusterDescription, Feature, FeatureUpgrade, LogDir, LogDirReplica, QuorumDescription,
    QuorumReplica,
};
pub use configs::{
    AlterOp, ConfigAlteration, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym,
    ResourceType,
};
pub use groups::{ConsumerMember, GroupDescription, GroupListing, GroupMember, GroupOffset};
pub(crate) use groups::{OFFSETS_BY_NAME_MAX, assigned};
pub use offsets::{OffsetAt, OffsetSpec};
pub use quotas::{ClientQuotas, QuotaMatch, QuotaType};
pub use scram::{ScramAlteration, ScramCredential, ScramMechanism};
pub use topics::{CreatedTopic, NewTopic};

/// Administrative calls on a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Calls through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client underneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How long the broker may take for a change, in its request's milliseconds.
    fn timeout_ms(&self) -> i32 {
        millis(self.client.options().connection.request_timeout)
    }
}

pub(crate) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
