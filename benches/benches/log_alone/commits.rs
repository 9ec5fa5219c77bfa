//! Durable appends from many threads that share their syncs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_log::{FlushJob, FsStorage, PreparedAppend};

use crate::runs::{Folder, Runs};
use crate::stores::{Fjall, Redb};
use crate::written::{EPOCH, Log, NOW, batch, config, create, prepare};

const THREADS: usize = 16;
const BATCH: usize = 4 << 10;
const WORKLOAD: &str = "commit, 16 threads";

pub(crate) fn run(runs: &mut Runs) {
    let runs = &*runs;
    let milliseconds = runs.scale.of(3_200) as u64;
    let limit = Duration::from_millis(milliseconds);
    let batch = &batch(BATCH);
    let note = move |contestant, commits: u64| {
        runs.note(WORKLOAD, contestant, commits as f64 / limit.as_secs_f64(), "commits/s");
    };
    runs.in_turns(vec![
        Box::new(move |f: &Folder| {
            note("pwrite, fdatasync", shared(RawLog::new(f.path(), batch), limit));
        }),
        Box::new(move |f: &Folder| note("ottla", shared(Appended::new(f.path(), batch), limit))),
        Box::new(move |f: &Folder| {
            let store = Fjall::open(f.path());
            let commit = |number| {
                store.append(number, batch);
                store.sync();
            };
            note("fjall", alone(limit, commit));
        }),
        Box::new(move |f: &Folder| {
            let store = Redb::open(f.path());
            note("redb", alone(limit, |number| store.append(number, batch, true)));
        }),
    ]);
}

/// What threads append to, and one of them makes durable for all.
trait Commits: Send {
    type Job;
    /// Appends once; returns how much there is now.
    fn append(&mut self) -> u64;
    /// What there is to sync.
    fn begin(&mut self) -> Option<Self::Job>;
    /// Syncs, while others append.
    fn sync(job: &Self::Job);
    /// Returns how much is durable now.
    fn complete(&mut self, job: Self::Job) -> u64;
}

struct RawLog {
    file: Arc<File>,
    batch: Bytes,
    end: u64,
}

impl RawLog {
    fn new(folder: &Path, batch: &Bytes) -> Self {
        let file = Arc::new(File::create(folder.join("raw")).unwrap());
        Self { file, batch: batch.clone(), end: 0 }
    }
}

impl Commits for RawLog {
    type Job = (Arc<File>, u64);

    fn append(&mut self) -> u64 {
        self.file.write_all_at(&self.batch, self.end).unwrap();
        self.end += self.batch.len() as u64;
        self.end
    }

    fn begin(&mut self) -> Option<Self::Job> {
        Some((Arc::clone(&self.file), self.end))
    }

    fn sync(job: &Self::Job) {
        job.0.sync_data().unwrap();
    }

    fn complete(&mut self, job: Self::Job) -> u64 {
        job.1
    }
}

struct Appended {
    log: Log,
    prepared: PreparedAppend,
}

impl Appended {
    fn new(folder: &Path, batch: &Bytes) -> Self {
        let config = config(1 << 30);
        Self { log: create(folder, 0, &config), prepared: prepare(&config, batch) }
    }
}

impl Commits for Appended {
    type Job = FlushJob<FsStorage>;

    fn append(&mut self) -> u64 {
        self.log.append(&self.prepared, EPOCH, NOW).unwrap().last_offset.0 + 1
    }

    fn begin(&mut self) -> Option<Self::Job> {
        self.log.prepare_flush()
    }

    fn sync(job: &Self::Job) {
        job.run().unwrap();
    }

    fn complete(&mut self, job: Self::Job) -> u64 {
        self.log.complete_flush(job, Ok(())).unwrap().0
    }
}

struct Shared<C> {
    state: Mutex<State<C>>,
    appended: Condvar,
    durable: Condvar,
}

struct State<C> {
    log: C,
    end: u64,
    durable: u64,
    stopped: bool,
}

/// Commits of all threads within the limit; a thread waits until its own append is durable.
fn shared<C: Commits>(log: C, limit: Duration) -> u64 {
    let state = State { log, end: 0, durable: 0, stopped: false };
    let shared =
        Shared { state: Mutex::new(state), appended: Condvar::new(), durable: Condvar::new() };
    std::thread::scope(|scope| {
        scope.spawn(|| flush(&shared));
        let commits = alone(limit, |_| {
            let mut state = shared.state.lock().unwrap();
            let end = state.log.append();
            state.end = end;
            shared.appended.notify_one();
            while state.durable < end {
                state = shared.durable.wait(state).unwrap();
            }
        });
        shared.state.lock().unwrap().stopped = true;
        shared.appended.notify_one();
        commits
    })
}

fn flush<C: Commits>(shared: &Shared<C>) {
    let mut state = shared.state.lock().unwrap();
    while !state.stopped {
        if state.durable == state.end {
            state = shared.appended.wait(state).unwrap();
            continue;
        }
        let Some(job) = state.log.begin() else { continue };
        drop(state);
        C::sync(&job);
        state = shared.state.lock().unwrap();
        state.durable = state.log.complete(job);
        shared.durable.notify_all();
    }
}

/// Calls of `commit` from all threads within the limit.
fn alone(limit: Duration, commit: impl Fn(u64) + Sync) -> u64 {
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let end = Instant::now() + limit;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while Instant::now() < end {
                    commit(next.fetch_add(1, Ordering::Relaxed));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}
