//! Compacts logs in the background (Kafka's `LogCleaner` and `LogCleanerManager`).
//!
//! Every `log.cleaner.backoff.ms` somebody looks whether a log is dirty enough, or a record has
//! waited too long. Only then there are threads, at most `log.cleaner.threads`: each takes the
//! dirtiest log, compacts it, and ends when there is none left. A log that cannot be compacted is
//! left alone until the next start, the others go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_log::{CompactionError, CompactionStats, LogError, MapSettings, ReadError};
use ottla_types::MonoTime;
use parking_lot::{Condvar, Mutex};

use super::pace::Throttle;
use crate::partition::Claimed;
use crate::replicas::is_full;
use crate::shared::Shared;

/// The last pass of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LastPass {
    /// What it did.
    pub(crate) stats: CompactionStats,
    /// How long it took.
    pub(crate) took: Duration,
    /// By how much a record had waited too long when it was chosen.
    pub(crate) delay: Duration,
}

/// The cleaner of a node.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    threads: Mutex<Threads>,
    stopped: AtomicBool,
    /// Held while a thread waits for its share of the disk.
    waiting: Mutex<()>,
    bell: Condvar,
    throttle: Mutex<Throttle>,
    dead: AtomicUsize,
    /// Dirty part of the dirtiest log, as bits of a float.
    dirtiest: AtomicU64,
    looked_at: Mutex<Option<MonoTime>>,
}

/// Threads by number; one that has ended leaves its figures.
#[derive(Debug, Default)]
struct Threads {
    running: Vec<Option<JoinHandle<()>>>,
    last: Vec<LastPass>,
}

/// A log to compact.
struct Filthiest {
    claimed: Claimed,
    delay: Duration,
    /// Logs that may be compacted, this one counted.
    due: usize,
}

impl Cleaner {
    /// Starts threads if there is something to do for them.
    pub(crate) fn look(&self, shared: &Arc<Shared>) {
        let config = shared.config.load();
        let threads = usize::try_from(config.cleaner.threads).unwrap_or(usize::MAX);
        if !config.cleaner.enabled || self.stopped.load(Ordering::Acquire) {
            return;
        }
        // Claimed only to learn that there is one: the thread chooses for itself.
        let Some(Filthiest { due, claimed, .. }) = self.filthiest(shared) else { return };
        drop(claimed);
        let mut known = self.threads.lock();
        let free =
            |slot: &Option<JoinHandle<()>>| slot.as_ref().is_none_or(JoinHandle::is_finished);
        let size = threads.max(known.running.len());
        known.running.resize_with(size, || None);
        known.last.resize(size, LastPass::default());
        let slots = known.running.iter_mut().enumerate().take(threads);
        for (number, slot) in slots.filter(|(_, slot)| free(slot)).take(due) {
            match start(shared, number) {
                Ok(thread) => *slot = Some(thread),
                Err(error) => tracing::error!(%error, "no thread for compaction"),
            }
        }
    }

    /// The dirtiest log that is dirty enough, or holds records that have waited too long.
    fn filthiest(&self, shared: &Shared) -> Option<Filthiest> {
        let now = shared.clock.wall();
        *self.looked_at.lock() = Some(shared.clock.now());
        let mut due = Vec::new();
        let (mut dirtiest, mut delay) = (0.0_f64, Duration::ZERO);
        for partition in shared.partitions.all() {
            if !partition.may_be_compacted() {
                continue;
            }
            let cleanable = match partition.cleanable(now) {
                None => continue,
                Some(Ok(cleanable)) => cleanable,
                Some(Err(error)) => {
                    note_failure(&partition, &error.into());
                    continue;
                }
            };
            dirtiest = dirtiest.max(cleanable.ratio());
            delay = delay.max(cleanable.delay);
            if cleanable.is_due(partition.cleanable_ratio_min()) {
                due.push((cleanable.ratio(), partition));
            }
        }
        self.dirtiest.store(dirtiest.to_bits(), Ordering::Release);
        due.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let count = due.len();
        let mut claimed = due.into_iter().filter_map(|(_, found)| found.claim_for_compaction());
        claimed.next().map(|claimed| Filthiest { claimed, delay, due: count })
    }

    /// Ends all threads; what they are at is undone.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        drop(self.waiting.lock());
        self.bell.notify_all();
        let running = std::mem::take(&mut self.threads.lock().running);
        for thread in running.into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a thread that compacted panicked");
            }
        }
    }

    /// Waits until so many bytes more may be read or written; false if the node stops.
    fn pace(&self, shared: &Shared, bytes: usize) -> bool {
        let rate = shared.config.load().cleaner.io_bytes_per_second;
        let until = self.throttle.lock().after(shared.clock.now(), bytes, rate);
        let mut waiting = self.waiting.lock();
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return false;
            }
            let wait = until.since(shared.clock.now());
            if wait.is_zero() {
                return true;
            }
            self.bell.wait_for(&mut waiting, wait);
        }
    }

    /// The last passes, of the threads that there may be.
    pub(crate) fn last_passes(&self) -> Vec<LastPass> {
        self.threads.lock().last.clone()
    }

    /// Threads that ended by a fault.
    pub(crate) fn dead_threads(&self) -> usize {
        self.dead.load(Ordering::Acquire)
    }

    /// Dirty part of the dirtiest log, between 0 and 1, when somebody looked.
    pub(crate) fn dirtiest(&self) -> f64 {
        f64::from_bits(self.dirtiest.load(Ordering::Acquire))
    }

    /// When somebody looked.
    pub(crate) fn looked_at(&self) -> Option<MonoTime> {
        *self.looked_at.lock()
    }

    fn note_pass(&self, number: usize, pass: LastPass) {
        if let Some(last) = self.threads.lock().last.get_mut(number) {
            *last = pass;
        }
    }
}

/// Counts a thread that ends by a fault.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cleaner.dead.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn start(shared: &Arc<Shared>, number: usize) -> io::Result<JoinHandle<()>> {
    let theirs = Alive(shared.clone());
    std::thread::Builder::new().name(format!("cleaner-{number}")).spawn(move || {
        run(&theirs.0, number);
        ottla_sys::release_free_memory();
    })
}

fn run(shared: &Arc<Shared>, number: usize) {
    while !shared.cleaner.stopped.load(Ordering::Acquire) {
        let Some(Filthiest { claimed, delay, .. }) = shared.cleaner.filthiest(shared) else {
            return;
        };
        let begun = shared.clock.now();
        match compact(shared, &claimed) {
            Ok(stats) => {
                let took = shared.clock.now().since(begun);
                tell(&claimed, &stats, took);
                shared.cleaner.note_pass(number, LastPass { stats, took, delay });
            }
            // Whoever has changed the log knows.
            Err(CompactionError::Aborted) => {}
            Err(error) => {
                note_failure(&claimed, &error);
                // As Kafka: the next look is after the pause.
                return;
            }
        }
    }
}

/// One pass over a log.
fn compact(shared: &Shared, partition: &Claimed) -> Result<CompactionStats, CompactionError> {
    let Some(mut job) = partition.prepare_compaction(shared.clock.wall())? else {
        return Err(CompactionError::Aborted);
    };
    let config = shared.config.load();
    let cleaner = &config.cleaner;
    let threads = u64::from(cleaner.threads.max(1));
    let share = |bytes: u64| usize::try_from(bytes / threads).unwrap_or(usize::MAX);
    job.set_buffer(share(cleaner.io_buffer_bytes) / 2);
    let seed = u64::from_be_bytes(ottla_sys::random_bytes());
    let settings =
        MapSettings { memory: share(cleaner.dedupe_bytes), load: cleaner.load_factor, seed };
    let mut map = job.offset_map(settings);
    let mut pace = |bytes| match shared.cleaner.pace(shared, bytes) {
        true => std::ops::ControlFlow::Continue(()),
        false => std::ops::ControlFlow::Break(()),
    };
    job.index(&mut map, &mut pace)?;
    while let Some(cleaned) = job.clean_next(&map, &mut pace)? {
        let deleted = partition.complete_compaction(cleaned)?;
        let due = shared.clock.now().after(partition.file_delete_delay());
        shared.replicas.discard_files(due, deleted);
    }
    partition.set_cleaned_to(job.cleaned_to());
    shared.replicas.write_cleaner_offsets(shared);
    Ok(job.stats())
}

fn tell(partition: &Claimed, stats: &CompactionStats, took: Duration) {
    let name = partition.topic_partition();
    let to = partition.cleaned_to().unwrap_or_default();
    let (from_bytes, to_bytes) = (stats.read_bytes, stats.written_bytes);
    let (from_records, to_records) = (stats.read_records, stats.written_records);
    tracing::info!(partition = %name, %to, from_bytes, to_bytes, from_records, to_records, ?took,
        "compacted");
    if stats.invalid_records > 0 {
        let count = stats.invalid_records;
        tracing::warn!(partition = %name, count, "records without a key were removed");
    }
}

/// A failing disk takes its directory away, a full one heals; anything else is the log's own.
fn note_failure(partition: &crate::partition::Partition, error: &CompactionError) {
    let name = partition.topic_partition();
    let source = std::error::Error::source(error).map(ToString::to_string);
    match disk_error(error) {
        Some(disk) if is_full(disk) => {
            tracing::error!(partition = %name, error = %disk, "no room to compact");
        }
        Some(disk) => {
            tracing::error!(partition = %name, error = %disk, "compaction failed");
            partition.note_failed_compaction(disk);
        }
        None if matches!(error, CompactionError::Log(LogError::Failed)) => {}
        None => {
            tracing::error!(partition = %name, %error, source, "uncleanable until the next start");
            partition.set_uncleanable();
        }
    }
}

fn disk_error(error: &CompactionError) -> Option<&io::Error> {
    match error {
        CompactionError::Write(source)
        | CompactionError::Read(ReadError::Disk(source))
        | CompactionError::Log(LogError::Disk(source)) => Some(source),
        _ => None,
    }
}
