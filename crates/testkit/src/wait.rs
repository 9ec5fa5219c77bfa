//! Waiting for a condition at the boundary of a real process: bounded, and the only place that pauses.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks; grows to the longest so that a long wait costs little.
const PAUSE_MIN: Duration = Duration::from_micros(500);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value, at most for `limit`; `what` says in the error what never came.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    let mut pause = PAUSE_MIN;
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// As [`wait_for`], for a condition without a value.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, limit, || holds().then_some(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_condition() {
        let mut looks = 0;
        let third = wait_for("three looks", Duration::from_secs(5), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third.unwrap(), 3);
    }

    #[test]
    fn a_wait_that_is_in_vain_says_for_what() {
        let error = wait_until("the moon", Duration::from_millis(3), || false).unwrap_err();
        assert_eq!(error.to_string(), "waited 3ms for the moon");
    }
}
