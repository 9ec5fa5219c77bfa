//! The shell's two clocks: the only place in this crate where time is read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_types::{MonoTime, WallTime};

/// Reads time for everything below; cores get it as an argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Monotonic time since the start.
    pub(crate) fn now(&self) -> MonoTime {
        MonoTime::ZERO.after(self.start.elapsed())
    }

    /// The wall clock, in milliseconds; a clock before 1970 reads as 1970.
    pub(crate) fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime::from_millis(0).plus(since)
    }

    /// How long from now until `moment`; zero if it has passed.
    pub(crate) fn until(&self, moment: MonoTime) -> std::time::Duration {
        moment.since(self.now())
    }
}
