//! Moves replicas between log directories in the background (KIP-113).
//!
//! One thread for all moves, in turn, in small steps, no faster than
//! `replica.alter.log.dirs.io.max.bytes.per.second`. While nothing moves it sleeps. What a step
//! does is up to [`Replicas`](crate::replicas::Replicas).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_types::MonoTime;

use crate::replicas::Step;
use crate::shared::Shared;

/// Bytes of one step; also the most that is in memory.
const STEP: usize = 1 << 20;
/// How often a move that waits is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// How much may be copied: so many bytes a second, and at most one second's worth at once.
#[derive(Debug)]
struct Throttle {
    allowance: u64,
    seen: MonoTime,
}

impl Throttle {
    fn new(now: MonoTime) -> Self {
        Self { allowance: 0, seen: now }
    }

    /// Bytes that may be copied now.
    fn allowed(&mut self, now: MonoTime, per_second: u64) -> u64 {
        let nanos = u128::from(per_second) * now.since(self.seen).as_nanos();
        let fresh = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        // Time that was too short for a byte counts the next time.
        if fresh > 0 || per_second == 0 {
            self.seen = now;
        }
        self.allowance = self.allowance.saturating_add(fresh).min(per_second);
        self.allowance
    }

    /// Takes note of what was copied, which may be more: a batch is never split.
    fn copied(&mut self, bytes: usize, now: MonoTime, per_second: u64) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(rest) = self.allowance.checked_sub(bytes) {
            self.allowance = rest;
            return;
        }
        let debt = u128::from(bytes - self.allowance) * 1_000_000_000;
        let nanos = u64::try_from(debt / u128::from(per_second.max(1))).unwrap_or(u64::MAX);
        self.allowance = 0;
        self.seen = now.after(Duration::from_nanos(nanos));
    }
}

/// The running thread.
pub(crate) struct MoverThread {
    shared: Arc<Shared>,
    stopped: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl MoverThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (theirs, stop) = (shared.clone(), stopped.clone());
        let thread = std::thread::Builder::new()
            .name("mover".to_owned())
            .spawn(move || run(&theirs, &stop))?;
        Ok(Self { shared: shared.clone(), stopped, thread })
    }

    /// Ends the thread after the step that it is at.
    pub(crate) fn stop(self) {
        self.stopped.store(true, Ordering::Release);
        self.shared.replicas.mover().wake();
        if self.thread.join().is_err() {
            tracing::error!("the mover's thread panicked");
        }
    }
}

fn run(shared: &Arc<Shared>, stopped: &AtomicBool) {
    let mut throttle = Throttle::new(shared.clock.now());
    while !stopped.load(Ordering::Acquire) {
        let moves = shared.replicas.active_moves();
        let idle = moves.is_empty();
        let mut copied = false;
        for entry in moves {
            if stopped.load(Ordering::Acquire) {
                return;
            }
            let per_second = shared.config.load().replication.alter_dirs_bytes_per_second;
            let allowed = throttle.allowed(shared.clock.now(), per_second);
            let bytes = usize::try_from(allowed).unwrap_or(STEP).min(STEP);
            if bytes == 0 {
                break;
            }
            if let Step::Copied(bytes) = shared.replicas.step_move(shared, &entry, bytes) {
                throttle.copied(bytes, shared.clock.now(), per_second);
                copied = true;
            }
        }
        if !copied {
            shared.replicas.mover().wait((!idle).then_some(PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_allows_so_many_bytes_a_second() {
        let at = MonoTime::from_millis;
        let mut throttle = Throttle::new(at(0));
        assert_eq!(throttle.allowed(at(100), 1_000), 100);
        throttle.copied(100, at(100), 1_000);
        assert_eq!(throttle.allowed(at(100), 1_000), 0);
        assert_eq!(throttle.allowed(at(150), 1_000), 50);
        // A batch that is larger is paid for later.
        throttle.copied(1_050, at(150), 1_000);
        assert_eq!(throttle.allowed(at(1_150), 1_000), 0);
        assert_eq!(throttle.allowed(at(1_250), 1_000), 100);
        // No more than a second's worth comes together.
        assert_eq!(throttle.allowed(at(9_000), 1_000), 1_000);
        // Other limits take effect at once.
        assert_eq!(throttle.allowed(at(9_000), 10), 10);
        assert_eq!(throttle.allowed(at(10_000), 0), 0);
        assert_eq!(throttle.allowed(at(10_001), i64::MAX.unsigned_abs()), 9_223_372_036_854_775);
        // Unlimited is what it says.
        assert!(throttle.allowed(at(11_001), i64::MAX.unsigned_abs()) > 1 << 60);
    }
}
