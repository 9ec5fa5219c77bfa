//! Counters of the listeners, for metrics. They are only ever read by others.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that all connections of a server share.
#[derive(Debug, Default)]
pub struct NetStats {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
}

/// A copy of [`NetStats`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsSnapshot {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections closed at once because of a connection limit.
    pub refused: u64,
    /// Connections open now.
    pub open: u64,
    /// Connections closed because nothing came for too long.
    pub expired: u64,
    /// Connections closed because of a malformed frame or request.
    pub malformed: u64,
    /// Frames handed to the service.
    pub requests: u64,
    /// Bytes read from sockets.
    pub received_bytes: u64,
    /// Bytes written to sockets.
    pub sent_bytes: u64,
}

impl NetStats {
    /// The counters now.
    pub fn snapshot(&self) -> StatsSnapshot {
        let closed = self.closed.load(Relaxed);
        let accepted = self.accepted.load(Relaxed);
        StatsSnapshot {
            accepted,
            refused: self.refused.load(Relaxed),
            open: accepted.saturating_sub(closed),
            expired: self.expired.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            requests: self.requests.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
        }
    }

    pub(crate) fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Relaxed);
    }
}
