//! Verifies closed segments in the background, at a bounded rate: damage is found before somebody needs the records.
//!
//! Every `ottla.scrub.interval.ms` one thread reads each log once, and ends. What it finds is told in the log of the
//! broker and counted; the partition goes on as it is, because what is intact in it can be served.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use ottla_log::Verified;
use parking_lot::{Condvar, Mutex};

use super::pace::Throttle;
use crate::partition::Partition;
use crate::shared::Shared;

/// The scrub of a node.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    running: Mutex<Option<JoinHandle<()>>>,
    stopped: AtomicBool,
    /// Held while the thread waits for its share of the disk.
    waiting: Mutex<Throttle>,
    bell: Condvar,
    bytes: AtomicU64,
    passes: AtomicU64,
    damaged: AtomicU64,
}

impl Scrub {
    /// Starts a pass, unless one is under way or it is turned off.
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        let config = shared.config.load();
        let mut running = self.running.lock();
        let busy = running.as_ref().is_some_and(|thread| !thread.is_finished());
        if config.scrub.bytes_per_second == 0 || busy || self.stopped.load(Ordering::Acquire) {
            return;
        }
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("scrub".into()).spawn(move || pass(&theirs));
        match thread {
            Ok(thread) => *running = Some(thread),
            Err(error) => tracing::error!(%error, "no thread to verify logs"),
        }
    }

    /// Ends the pass that is under way.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        drop(self.waiting.lock());
        self.bell.notify_all();
        let running = self.running.lock().take();
        if running.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that verifies logs panicked");
        }
    }

    /// Bytes verified since the start.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Passes that came to their end.
    pub(crate) fn passes(&self) -> u64 {
        self.passes.load(Ordering::Acquire)
    }

    /// Partitions that were not whole in the last pass, or are not in the one under way, if those are more.
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Acquire)
    }

    /// Waits until so many bytes more may be read.
    fn pace(&self, shared: &Shared, bytes: usize) -> ControlFlow<()> {
        self.bytes.fetch_add(bytes as u64, Ordering::AcqRel);
        let rate = shared.config.load().scrub.bytes_per_second;
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        let mut throttle = self.waiting.lock();
        let until = throttle.after(shared.clock.now(), bytes, Some(rate.into()));
        loop {
            if self.stopped.load(Ordering::Acquire) || rate == 0 {
                return ControlFlow::Break(());
            }
            let wait = until.since(shared.clock.now());
            if wait.is_zero() {
                return ControlFlow::Continue(());
            }
            self.bell.wait_for(&mut throttle, wait);
        }
    }
}

fn pass(shared: &Arc<Shared>) {
    let scrub = &shared.scrub;
    let mut damaged = 0;
    for partition in shared.partitions.all() {
        match verify(shared, &partition) {
            Ok(None) => {}
            Ok(Some(seen)) => {
                damaged += u64::from(!seen.findings.is_empty());
                scrub.damaged.fetch_max(damaged, Ordering::AcqRel);
                tell(&partition, &seen);
                if seen.stopped {
                    return;
                }
            }
            Err(error) => {
                let name = partition.topic_partition();
                tracing::error!(partition = %name, %error, "a log could not be read to be verified");
            }
        }
    }
    scrub.damaged.store(damaged, Ordering::Release);
    scrub.passes.fetch_add(1, Ordering::AcqRel);
}

/// `None` if there is nothing closed to look at.
fn verify(shared: &Arc<Shared>, partition: &Partition) -> io::Result<Option<Verified>> {
    let Some(job) = partition.with_log(|log| log.prepare_scrub()).flatten() else {
        return Ok(None);
    };
    let seen = job.run(&mut |bytes| shared.scrub.pace(shared, bytes))?;
    // A log that has gone meanwhile has nothing to tell.
    Ok(partition.with_log(|log| log.complete_scrub(job, seen)))
}

fn tell(partition: &Partition, seen: &Verified) {
    let name = partition.topic_partition();
    for finding in &seen.findings {
        tracing::error!(partition = %name, %finding, "a log is damaged");
    }
    let Verified { segments, batches, bytes, .. } = seen;
    if seen.findings.is_empty() && !seen.stopped {
        tracing::debug!(partition = %name, segments, batches, bytes, "a log is whole");
    }
}
