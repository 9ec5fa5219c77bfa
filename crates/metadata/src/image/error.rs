//! Why a record cannot be applied to an image.
//!
//! The log was agreed on, so each of these means a log that this code does not understand or a
//! bug; the caller stops rather than guesses.

use ottla_types::{NodeId, PartitionIndex, TopicId};

/// A record does not fit the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A field has a value that means nothing.
    #[error("{record}: {field} has no meaning")]
    BadField {
        /// Record type.
        record: &'static str,
        /// Field.
        field: &'static str,
    },
    /// The topic is not there.
    #[error("{record}: no topic with id {id}")]
    NoTopic {
        /// Record type.
        record: &'static str,
        /// The topic.
        id: TopicId,
    },
    /// The topic is not there.
    #[error("{record}: no topic named {name}")]
    NoTopicNamed {
        /// Record type.
        record: &'static str,
        /// The topic.
        name: String,
    },
    /// A topic of this name is there already.
    #[error("Topic: {name} exists already")]
    TopicExists {
        /// The topic.
        name: String,
    },
    /// The partition is not there.
    #[error("PartitionChange: topic {id} has no partition {partition}")]
    NoPartition {
        /// The topic.
        id: TopicId,
        /// The partition.
        partition: PartitionIndex,
    },
    /// The broker is not there, or has another epoch.
    #[error("{record}: no broker {id} with that epoch")]
    NoBroker {
        /// Record type.
        record: &'static str,
        /// The broker.
        id: NodeId,
    },
    /// The controller is not there.
    #[error("UnregisterController: no controller {id}")]
    NoController {
        /// The controller.
        id: NodeId,
    },
    /// A metadata transaction begins inside another one.
    #[error("BeginTransaction: one is open already")]
    TransactionOpen,
    /// A metadata transaction ends that never began.
    #[error("{record}: no transaction is open")]
    NoTransaction {
        /// Record type.
        record: &'static str,
    },
}
