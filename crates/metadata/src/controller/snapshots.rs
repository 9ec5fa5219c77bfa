//! When a node should write a snapshot of the metadata: by bytes since the last one, or by age.
//!
//! Decides only; every node that keeps the log asks for itself. Source: Kafka's
//! `SnapshotGenerator`.

use std::time::Duration;

use ottla_types::MonoTime;

/// A number of bytes.
pub type ByteCount = u64;

/// Counts towards the next snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotTrigger {
    bytes_max: ByteCount,
    age_max: Option<Duration>,
    bytes: ByteCount,
    last: MonoTime,
}

impl SnapshotTrigger {
    /// `bytes_max` is `metadata.log.max.record.bytes.between.snapshots` (20 MiB), `age_max` is
    /// `metadata.log.max.snapshot.interval.ms` (1 h; `None` for never).
    pub fn new(bytes_max: ByteCount, age_max: Option<Duration>, now: MonoTime) -> Self {
        Self { bytes_max, age_max, bytes: 0, last: now }
    }

    /// Notes that a batch of this size was applied.
    pub fn applied(&mut self, bytes: ByteCount) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether a snapshot is due. Nothing new means no snapshot, however old the last one is.
    pub fn is_due(&self, now: MonoTime) -> bool {
        let old = self.age_max.is_some_and(|age| self.last.after(age) <= now);
        self.bytes >= self.bytes_max || (old && self.bytes > 0)
    }

    /// Notes that a snapshot was written, or read at start.
    pub fn written(&mut self, now: MonoTime) {
        self.bytes = 0;
        self.last = now;
    }
}
