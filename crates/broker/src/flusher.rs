//! Group commit: one thread for each log directory syncs the partitions that ask for it.
//!
//! A partition that was appended to is queued once; when its turn comes everything appended until
//! then shares one sync, and whoever waits on the high watermark is woken. While nobody waits the
//! syncs are [`LINGER`] apart, because each costs the same for much data as for little. The
//! thread sleeps when nothing is queued.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_metrics::Histogram;
use parking_lot::{Condvar, Mutex};

use crate::partition::Partition;

#[derive(Debug, Default)]
struct Queue {
    partitions: VecDeque<Arc<Partition>>,
    /// Somebody waits for a sync.
    hurry: bool,
    closed: bool,
}

#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    work: Condvar,
}

/// Handle of the thread that syncs one log directory.
#[derive(Debug)]
pub(crate) struct Flusher {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Where the times of syncs are noted.
    times: OnceLock<Arc<Histogram>>,
}

impl Flusher {
    /// Starts the thread; `name` ends up in the thread's name.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let inner = Arc::new(Inner { queue: Mutex::new(Queue::default()), work: Condvar::new() });
        let theirs = inner.clone();
        let thread = std::thread::Builder::new()
            .name(format!("flush-{name}"))
            .spawn(move || run(&theirs))?;
        Ok(Self { inner, thread: Mutex::new(Some(thread)), times: OnceLock::new() })
    }

    /// Queues a partition, for which nobody waits yet; the caller makes sure that it is queued
    /// once.
    pub(crate) fn request(&self, partition: Arc<Partition>) {
        let mut queue = self.inner.queue.lock();
        let first = queue.partitions.is_empty();
        queue.partitions.push_back(partition);
        drop(queue);
        if first {
            self.inner.work.notify_one();
        }
    }

    /// Syncs what is queued now and not later: somebody waits for it.
    pub(crate) fn hurry(&self) {
        let mut queue = self.inner.queue.lock();
        let news = !queue.hurry;
        queue.hurry = true;
        drop(queue);
        if news {
            self.inner.work.notify_one();
        }
    }

    /// From now on the times of syncs are noted here.
    pub(crate) fn measure(&self, times: Arc<Histogram>) {
        let _ = self.times.set(times);
    }

    /// Notes how long a sync took.
    pub(crate) fn took(&self, time: Duration) {
        if let Some(times) = self.times.get() {
            times.record_time(time);
        }
    }

    /// Syncs what is queued, then ends the thread.
    pub(crate) fn close(&self) {
        self.inner.queue.lock().closed = true;
        self.inner.work.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("a flusher thread panicked");
        }
    }
}

fn run(inner: &Inner) {
    loop {
        let mut queue = inner.queue.lock();
        while queue.partitions.is_empty() && !queue.closed {
            inner.work.wait(&mut queue);
        }
        let latest = Instant::now() + LINGER;
        while !queue.hurry && !queue.closed {
            if inner.work.wait_until(&mut queue, latest).timed_out() {
                break;
            }
        }
        queue.hurry = false;
        let batch = std::mem::take(&mut queue.partitions);
        if batch.is_empty() {
            return;
        }
        drop(queue);
        for partition in batch {
            partition.flush();
        }
    }
}

/// How long data that nobody waits for may stay unsynced. It delays no answer: only a reader that
/// does not wait sees the high watermark so much later.
const LINGER: Duration = Duration::from_millis(10);
