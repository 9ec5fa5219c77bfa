//! How fast threads that work in the background may read and write together.

use std::time::Duration;

use ottla_types::MonoTime;

/// Bytes are paid for after they were used: the next ones have to wait.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    free_at: MonoTime,
}

impl Throttle {
    /// When it may go on for whoever has just used so many bytes.
    pub(crate) fn after(&mut self, now: MonoTime, bytes: usize, rate: Option<f64>) -> MonoTime {
        let Some(rate) = rate.filter(|rate| *rate > 0.0) else {
            self.free_at = now;
            return now;
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let cost = Duration::try_from_secs_f64(f64::from(bytes) / rate).unwrap_or(LONGEST);
        self.free_at = self.free_at.max(now).after(cost.min(LONGEST));
        self.free_at
    }
}

/// However low the limit is, what is asked for may change.
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_share_the_rate() {
        let at = MonoTime::from_millis;
        let mut throttle = Throttle::default();
        let rate = Some(1000.0);
        assert_eq!(throttle.after(at(5000), 500, rate), at(5500));
        assert_eq!(throttle.after(at(5100), 100, rate), at(5600));
        assert_eq!(throttle.after(at(9000), 100, rate), at(9100), "idle time is not saved up");
        assert_eq!(throttle.after(at(9000), usize::MAX, None), at(9000));
        assert_eq!(throttle.after(at(9000), 100, rate), at(9100), "nor are debts of before");
        assert_eq!(throttle.after(at(9000), 100, Some(1e-300)), at(9100).after(LONGEST));
        assert_eq!(throttle.after(at(9000), 100, Some(0.0)), at(9000));
    }
}
