//! Two clocks that do not mix: a monotonic one for waiting, a wall clock for timestamps.

use std::fmt;
use std::time::Duration;

/// A moment on a clock that never goes back, in nanoseconds since an arbitrary start.
///
/// Shells make it from `Instant`; tests write it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The arbitrary start.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The moment `wait` later; stays at the end of time if that is too far.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Time from `earlier` to this moment; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for MonoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.as_millis())
    }
}

/// A moment on the wall clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// It may jump, so nothing waits on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// From milliseconds since the epoch of 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch of 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment `wait` later.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }

    /// The moment `wait` earlier.
    #[must_use]
    pub fn minus(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(millis(wait)))
    }

    /// As a record timestamp.
    pub const fn timestamp(self) -> Timestamp {
        Timestamp(self.0)
    }
}

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

/// Timestamp of a record: milliseconds since 1970, or [`Timestamp::NONE`].
///
/// Clients may set anything, so it is not a [`WallTime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// No timestamp (-1).
    pub const NONE: Self = Self(-1);
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates() {
        assert_eq!(MonoTime::from_millis(5).after(Duration::from_millis(7)).as_millis(), 12);
        assert_eq!(MonoTime::from_millis(5).since(MonoTime::from_millis(9)), Duration::ZERO);
        assert_eq!(MonoTime::from_nanos(u64::MAX).after(Duration::MAX).as_nanos(), u64::MAX);
        assert_eq!(WallTime::from_millis(5).minus(Duration::from_secs(1)).as_millis(), -995);
    }
}
