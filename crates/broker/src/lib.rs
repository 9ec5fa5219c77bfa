//! Assembly of Ottla's layers into a Kafka broker and controller.
//!
//! [`Node::start`] makes a running node from a configuration: it opens directories, resumes the
//! metadata quorum, follows the metadata, and serves Kafka's protocol. API handlers are in
//! `api`, one file each; each timed core has its driver in `driver`; everything they share is in
//! `shared`. [`storage`] formats directories.
//!
//! What this crate is not: it parses no command line and prints nothing; decisions are made by
//! the cores that it drives.

#![doc = include_str!("../README.md")]

mod api;
mod clock;
mod config_rules;
mod dispatch;
mod driver;
mod dynamic_config;
mod error_code;
mod fetch_session;
mod flusher;
mod forward;
mod http;
mod log_levels;
mod node;
mod partition;
mod partitions;
mod purgatory;
mod refusal;
mod replicas;
mod shared;
pub mod storage;
mod telemetry;
mod upkeep;

pub use log_levels::{LogLevel, LogLevels, ROOT_LOGGER};
pub use node::{Node, StartError, StartOptions};
pub use ottla_net::BindError;
