//! Metrics under Kafka's names, at the price of an atomic addition.
//!
//! A [`Registry`] is a value: whoever measures asks it once for an instrument and keeps the
//! handle; whoever reads passes in the time. [`table`] has the name, unit and meaning of every
//! metric; [`TopicMetrics`] and [`RequestMetrics`] bundle those that one place feeds.
//!
//! What this crate is not: it reads no clock, opens no socket and knows nothing of the broker.

#![doc = include_str!("../README.md")]
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no foreign bytes are read here; indexes are bucket numbers and enum values that \
              tests bound, and rates are floating point on purpose"
)]

mod definition;
mod docs;
mod instrument;
mod prometheus;
mod registry;
mod request;
pub mod table;
mod topic;

pub use definition::{Definition, Shape};
pub use docs::page;
pub use instrument::{Counter, Distribution, Gauge, Histogram, Meter, QUANTILES, Rates, Recent};
pub use prometheus::{CONTENT_TYPE, render};
pub use registry::{Labels, Reading, Registry, Series};
pub use request::{OneRequest, Phases, RequestMetrics};
pub use topic::{TopicEvent, TopicMetrics};
