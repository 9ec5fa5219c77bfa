//! The table of every Kafka configuration key, and everything that is made from it.
//!
//! [`load`] turns a `server.properties`, the environment and the command line into a typed
//! [`BrokerConfig`]; [`Layers`] puts dynamic configs on top, checks changes and answers
//! DescribeConfigs; [`TopicConfig`] is what a topic runs with; [`explain()`] and [`page`] are for
//! people.
//!
//! What this crate is not: it opens no file, reads no environment and logs nothing. Texts come in
//! as arguments, references to other files go through [`Lookup`], and what is worth logging comes
//! back as [`Notice`]s.

#![doc = include_str!("../README.md")]
#![allow(
    clippy::indexing_slicing,
    reason = "configuration is read from texts with str methods; the one indexed algorithm, the \
              edit distance, indexes rows it has just built"
)]

mod address;
mod broker;
mod describe;
mod dynamic;
mod env;
mod error;
mod explain;
mod key;
mod load;
pub mod properties;
mod provider;
mod reader;
mod rules;
mod settings;
mod suggest;
pub mod table;
mod topic;
mod value;

pub use address::{HostPort, Listener, SecurityProtocol, Voter, host_port};
pub use broker::{
    Bounded, BrokerConfig, CleanerConfig, CleanupPolicy, Compression, ConsumerGroups,
    ControllerConfig, DirConfig, Durability, FetchConfig, GroupConfig, InternalTopic,
    LifecycleConfig, Listeners, LogConfig, NetworkConfig, OffsetsTopic, ProduceValidation,
    QuorumConfig, ReplicationConfig, Roles, ScrubConfig, TimestampType, TopicConfig, TopicPolicy,
    effective_topic_texts,
};
pub use describe::{Described, Provided, Source, describe_client_metrics};
pub use dynamic::{Layers, Target, is_list};
pub use env::key_of as key_of_variable;
pub use error::ConfigError;
pub use explain::{explain, page};
pub use key::{Check, Convert, Fallback, Importance, Key, Kind, Scope, Status, Synonym};
pub use load::{Input, Loaded, Notice, Problem, Rejected, is_loopback, load, parse_override};
pub use provider::{Lookup, NoLookup};
pub use settings::{Origin, Setting, Settings, Texts, is_sensitive};
pub use suggest::nearest;
pub use topic::{
    validate_client_metrics_configs, validate_group_configs, validate_topic_config,
    validate_topic_configs,
};
pub use value::{HIDDEN, Secret, Value, split_list};
