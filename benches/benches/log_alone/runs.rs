//! Where measurements go, how large they are, and the folders that they use.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More than any contestant writes or keeps.
const WARM_BYTES: usize = 2 << 30;

/// Measures itself in an empty folder.
pub(crate) type Contestant<'a> = Box<dyn FnMut(&Folder) + 'a>;

/// Prints what one round measures.
pub(crate) struct Runs {
    round: u32,
    folder: PathBuf,
    pub(crate) scale: Scale,
}

/// How much is written and read.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    short: bool,
}

impl Scale {
    pub(crate) fn new(short: bool) -> Self {
        Self { short }
    }

    /// The whole amount, or a thirty-second of it in a short run, which is there to be seen working.
    pub(crate) fn of(self, amount: usize) -> usize {
        if self.short { amount / 32 } else { amount }
    }
}

impl Runs {
    pub(crate) fn new(round: u32, short: bool, folder: PathBuf) -> Self {
        Self { round, folder, scale: Scale::new(short) }
    }

    /// One figure.
    pub(crate) fn note(&self, workload: &str, contestant: &str, value: f64, unit: &str) {
        let round = self.round;
        println!(
            r#"{{"round":{round},"workload":"{workload}","contestant":"{contestant}","value":{value},"unit":"{unit}"}}"#
        );
    }

    /// Bytes that took `time`, in MB/s.
    pub(crate) fn rate(&self, workload: &str, contestant: &str, bytes: usize, time: Duration) {
        self.note(workload, contestant, bytes as f64 / time.as_secs_f64() / 1e6, "MB/s");
    }

    /// The time of each of `count` calls that took `time` together.
    pub(crate) fn each(&self, workload: &str, contestant: &str, count: usize, time: Duration) {
        self.note(workload, contestant, time.as_secs_f64() * 1e9 / count as f64, "ns");
    }

    /// Runs all contestants of a workload, in another order in every other round.
    pub(crate) fn in_turns(&self, mut contestants: Vec<Contestant<'_>>) {
        if self.round.is_multiple_of(2) {
            contestants.reverse();
        }
        for mut contestant in contestants {
            self.warm_memory();
            contestant(&self.folder());
        }
    }

    /// A virtual machine gives memory that is free back to its host, and whoever needs it next waits
    /// until it is there again: that is to be nobody who is measured.
    fn warm_memory(&self) {
        drop(black_box(vec![1_u8; self.scale.of(WARM_BYTES)]));
    }

    /// An empty folder that goes with the value.
    pub(crate) fn folder(&self) -> Folder {
        let path = self.folder.join(format!("ottla-bench-log-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

/// A folder that goes with the value. What was written to it is on the disk before the next measurement
/// begins, so that nobody pays for another.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
        // The removal is waited for by nobody else.
        if let Some(parent) = self.0.parent().and_then(|parent| std::fs::File::open(parent).ok()) {
            parent.sync_all().unwrap();
        }
    }
}

/// How long it takes.
pub(crate) fn timed<T>(action: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = action();
    (begun.elapsed(), result)
}

/// A simple generator of numbers that look random and are the same in every run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Bytes that no codec makes smaller.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_be_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
