//! Kafka's metadata records, the cluster image, and the controller's decisions.
//!
//! Three layers, all pure: [`Record`] is what the metadata log holds; [`ClusterImage`] is what
//! the log says, as persistent maps; [`controller::Controller`] decides which records a request
//! leads to, on an image that runs ahead of what is committed. Features and the bootstrap of a
//! new cluster are tables beside them.
//!
//! What this crate is not: it keeps no log and elects no controller (that is the quorum's), reads
//! no clock, and knows no request of the wire.

#![doc = include_str!("../README.md")]
#![allow(
    clippy::indexing_slicing,
    reason = "foreign bytes are read by the codec; indexes here come from this crate's own lists"
)]

mod bootstrap;
pub mod controller;
pub mod features;
pub mod generated;
mod image;
mod record;

pub use bootstrap::{Bootstrap, BootstrapError};
pub use generated::MetadataRecord;
pub use image::{
    ApplyError, BrokerRegistration, Changed, ClusterImage, ConfigKind, ConfigResource,
    ControllerRegistration, Endpoint, ImageDelta, ImageHash, KeptKey, LeaderRecovery,
    PartitionDelta, PartitionState, PartitionView, QuotaEntity, ReplicaProblem, SecurityProtocol,
    SnapshotLoader, TopicImage,
};
pub use record::Record;

/// The table that the messages in [`generated`] are made from, for whoever shows them as JSON.
pub const SCHEMA: &str = include_str!("../schemas/metadata.schema");
