//! The innocent user: few requests at a steady rate, timed from when they were due.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ottla_conformance::RawClient;
use ottla_protocol::{ApiKey, ProduceResponse};
use serde_json::{Value, json};

use crate::PRODUCE;

const CONNECTIONS: u32 = 10;
const EVERY: Duration = Duration::from_millis(50);

/// When a request was due, in milliseconds since the start, and how long it took, in microseconds.
type Sample = (u64, u64);

/// Connections that ask all the time.
pub(crate) struct Probe {
    begun: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64>>>,
}

/// Percentiles of a phase, in microseconds.
#[derive(Debug)]
pub(crate) struct Seen {
    count: usize,
    p50: u64,
    pub(crate) p99: u64,
    p999: u64,
    max: u64,
}

impl Probe {
    pub(crate) fn start(bootstrap: &str) -> Result<Self> {
        let begun = Instant::now();
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let done = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for number in 0..CONNECTIONS {
            let client = RawClient::connect(bootstrap)?;
            let (samples, done) = (samples.clone(), done.clone());
            let first = EVERY * number / CONNECTIONS;
            threads.push(thread::spawn(move || ask(client, first, begun, &samples, &done)));
        }
        Ok(Self { begun, samples, done, threads })
    }

    /// Looks on for a while. What was due in that time counts, answered meanwhile.
    pub(crate) fn watch(&self, time: Duration) -> Seen {
        let from = self.now();
        self.sleep(time);
        Seen::of(self.between(from, u64::MAX))
    }

    /// Looks on for a while; also says after how many whole seconds the p99 of each further
    /// second was below a bound, if it was in the end.
    pub(crate) fn watch_recovery(&self, time: Duration, bound_us: u64) -> (Seen, Option<u64>) {
        let from = self.now();
        self.sleep(time);
        let last = time.as_secs().saturating_sub(1);
        let of_second =
            |second: u64| Seen::of(self.between(from + second * 1000, from + (second + 1) * 1000));
        let slow = |second: &u64| {
            let seen = of_second(*second);
            seen.count == 0 || bound_us < seen.p99
        };
        let slowest = (0..last).rev().find(slow);
        let back = slowest.map_or(0, |second| second + 1);
        (Seen::of(self.between(from, u64::MAX)), (back < last).then_some(back))
    }

    /// Ends it; the value is how many records were acknowledged.
    pub(crate) fn stop(self) -> Result<u64> {
        self.done.store(true, Ordering::Release);
        let mut acknowledged = 0;
        for thread in self.threads {
            acknowledged += thread.join().ok().context("a probe panicked")??;
        }
        Ok(acknowledged)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
    }

    fn between(&self, from: u64, to: u64) -> Vec<u64> {
        let samples = self.samples.lock().map(|samples| samples.clone()).unwrap_or_default();
        samples.iter().filter(|(due, _)| (from..to).contains(due)).map(|(_, took)| *took).collect()
    }
}

fn ask(
    mut client: RawClient,
    first: Duration,
    begun: Instant,
    samples: &Mutex<Vec<Sample>>,
    done: &AtomicBool,
) -> Result<u64> {
    let mut acknowledged = 0;
    let mut due = first;
    while !done.load(Ordering::Acquire) {
        while let Some(early) = due.checked_sub(begun.elapsed()) {
            thread::park_timeout(early);
        }
        let request = crate::request("probe", 0, &[b'p'; 100])?;
        let answer: ProduceResponse = client.call(ApiKey::Produce, PRODUCE, &request)?;
        crate::base_offset(&answer).context("the probe was refused")?;
        acknowledged += 1;
        let took = u64::try_from(begun.elapsed().saturating_sub(due).as_micros())?;
        if let Ok(mut samples) = samples.lock() {
            samples.push((u64::try_from(due.as_millis())?, took));
        }
        due += EVERY;
    }
    Ok(acknowledged)
}

impl Seen {
    fn of(mut took: Vec<u64>) -> Self {
        took.sort_unstable();
        let at = |share: usize| {
            let place = (took.len() * share / 1000).min(took.len().saturating_sub(1));
            took.get(place).copied().unwrap_or_default()
        };
        Self { count: took.len(), p50: at(500), p99: at(990), p999: at(999), max: at(1000) }
    }

    pub(crate) fn json(&self) -> Value {
        let Self { count, p50, p99, p999, max } = self;
        json!({"count": count, "p50": p50, "p99": p99, "p999": p999, "max": max})
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {} p99 {} p99.9 {} max {} us", self.p50, self.p99, self.p999, self.max)
    }
}
