//! Kafka's group coordinator, classic and consumer protocol (KIP-848), as a pure state machine.
//!
//! A [`GroupShard`] holds the groups of one partition of `__consumer_offsets`: their members, who
//! leads, which generation they are in, and the offsets they have committed. It reads no clock,
//! opens nothing and draws no random number: time, random bytes and the results of appends come
//! in as arguments, and what is to be done comes out of [`GroupShard::poll_output`].
//!
//! How to drive it:
//! 1. [`GroupShard::new`], then [`GroupShard::replay`] for every record of the partition (and
//!    [`GroupShard::replay_marker`] for markers of transactions), then [`GroupShard::loaded`].
//! 2. [`GroupShard::handle`] for requests, [`GroupShard::handle_timeout`] when the time of
//!    [`GroupShard::poll_timeout`] has come, [`GroupShard::high_watermark`] when it moves.
//! 3. After each of these, [`GroupShard::poll_output`] until it is `None`. An
//!    [`Output::Append`] is carried out at once and answered by [`GroupShard::appended`] or
//!    [`GroupShard::append_failed`] before anything else. Handling several requests before
//!    polling puts their records into one append.
//!
//! Answers that depend on records leave when the high watermark covers them. An append that
//! fails is undone, with everything that was decided on its ground.
//!
//! What this crate is not: it does not authorize, look up topics ([`Topics`] come in as a value),
//! or see a request's wire form, and the protocols of KIP-932 and KIP-1071 are not spoken; groups of
//! those kinds are kept and listed.

#![doc = include_str!("../README.md")]

mod api;
mod classic;
mod config;
mod consumer;
mod consumer_api;
mod effects;
mod embedded;
mod failed;
mod foreign;
#[allow(unused_variables, reason = "generated code has one form, whatever a message holds")]
pub mod generated;
mod journal;
mod names;
mod offsets;
mod records;
mod registry;
mod shard;
mod state;
mod stats;
mod subscription;
mod timers;
mod topics;

pub use api::*;
pub use config::{ConsumerTimes, GroupConfig, MigrationPolicy};
pub use consumer::regex::check as check_regex;
pub use names::{
    AppendId, Epoch, GroupId, InstanceId, MemberId, Now, ProtocolName, ProtocolType, Token, Topic,
};
pub use shard::{DeletedTopic, GroupShard, LoggedRecord};
pub use stats::{Counters, Stats};
pub use topics::{NoTopics, TopicInfo, Topics};

/// The table that the messages in [`generated`] are made from, for whoever shows them as JSON.
pub const SCHEMA: &str = include_str!("../schemas/group-coordinator.schema");
