//! Listeners, frames, back-pressure and outbound connections for Kafka's protocol.
//!
//! [`BoundListener`] owns a socket, [`Server`] accepts on several of them and runs one task for
//! each connection. Frames go to a [`Service`]; its answers leave in request order. Memory held
//! by requests of all connections is bounded by one [`MemoryBudget`]: when it is used up, net
//! stops reading, and TCP tells the clients. [`Outbound`] is the other direction: one connection
//! to a peer, with correlation ids and pipelining.
//!
//! What this crate is not: it parses no request beyond the frame's length and a response's
//! correlation id, and it decides nothing about a request.

#![doc = include_str!("../README.md")]

mod budget;
mod buffer;
mod connection;
mod frame;
mod linger;
mod listener;
mod outbound;
mod output;
mod quota;
mod server;
mod service;
mod stats;

pub use budget::{MemoryBudget, MemoryPermit};
pub use frame::FrameError;
pub use listener::{BindError, BoundListener, ListenerOptions};
pub use outbound::{CallError, ConnectError, Outbound, OutboundOptions};
pub use quota::{ConnectionLimits, ListenerLimits};
pub use server::{DrainReport, LimitsHandle, Server, ServerOptions};
pub use service::{Answer, AnswerFuture, ConnectionContext, Handled, Service};
pub use stats::{NetStats, StatsSnapshot};
