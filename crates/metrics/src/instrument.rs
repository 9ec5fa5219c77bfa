//! What code that is measured holds: counters, meters, gauges, histograms.
//!
//! Recording is one or two relaxed atomic additions; nothing locks, allocates after the first
//! record, or reads a clock. Rates and windows move only when somebody reads, with the time that
//! the reader passes in.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    One(AtomicU64),
    Many(Box<[Padded; SHARDS]>),
}

/// A cell on its own cache line, so that cores do not fight over it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(AtomicU64);

impl Counter {
    /// A counter of eight bytes, for the many that are seldom touched.
    pub fn small() -> Self {
        Self { cells: Cells::One(AtomicU64::new(0)) }
    }

    /// A counter with a cell for each few threads, for the few that every request touches.
    pub fn hot() -> Self {
        Self { cells: Cells::Many(Box::default()) }
    }

    /// Adds to it.
    pub fn add(&self, amount: u64) {
        match &self.cells {
            Cells::One(cell) => cell,
            Cells::Many(cells) => &cells[shard()].0,
        }
        .fetch_add(amount, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        match &self.cells {
            Cells::One(cell) => cell.load(Relaxed),
            Cells::Many(cells) => {
                cells.iter().fold(0, |sum: u64, cell| sum.wrapping_add(cell.0.load(Relaxed)))
            }
        }
    }
}

/// Number of cells of a hot counter.
const SHARDS: usize = 8;

/// The cell of this thread: threads take turns.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % SHARDS);
    }
    MINE.with(Cell::get)
}

/// Events: how many, and how many a second over the last 1, 5 and 15 minutes.
#[derive(Debug)]
pub struct Meter {
    count: Counter,
    rates: Mutex<MovingRates>,
}

#[derive(Debug, Default)]
struct MovingRates {
    began: Option<Duration>,
    ticked: Duration,
    counted: u64,
    per_second: Option<[f64; 3]>,
}

/// Rates of a meter, in events a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Since the meter was first read.
    pub mean: f64,
    /// Over about the last minute.
    pub one_minute: f64,
    /// Over about the last five minutes.
    pub five_minutes: f64,
    /// Over about the last fifteen minutes.
    pub fifteen_minutes: f64,
}

impl Meter {
    /// A meter over this kind of counter.
    pub fn new(count: Counter) -> Self {
        Self { count, rates: Mutex::default() }
    }

    /// Notes events.
    pub fn mark(&self, events: u64) {
        self.count.add(events);
    }

    /// Events so far.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Rates at this time, counted from any fixed moment. Averages move in steps of five seconds,
    /// as in Kafka; events between two reads count as spread evenly over the time between them.
    pub fn rates(&self, now: Duration) -> Rates {
        let count = self.count();
        let mut moving = self.rates.lock();
        let began = *moving.began.get_or_insert(now);
        if began == now {
            moving.ticked = now;
            moving.counted = count;
        }
        let steps = now.saturating_sub(moving.ticked).as_secs() / STEP.as_secs();
        if 0 < steps {
            let passed = STEP.as_secs_f64() * steps as f64;
            let rate = count.saturating_sub(moving.counted) as f64 / passed;
            let before = moving.per_second;
            moving.per_second = Some([60.0, 300.0, 900.0].map(|_| rate));
            if let (Some(old), Some(new)) = (before, moving.per_second.as_mut()) {
                for ((new, old), window) in new.iter_mut().zip(old).zip([60.0, 300.0, 900.0]) {
                    let kept: f64 = (-passed / window).exp();
                    *new = rate + (old - rate) * kept;
                }
            }
            moving.counted = count;
            moving.ticked += STEP * u32::try_from(steps).unwrap_or(u32::MAX);
        }
        let age = now.saturating_sub(began).as_secs_f64();
        let mean = if 0.0 < age { count as f64 / age } else { 0.0 };
        let [one_minute, five_minutes, fifteen_minutes] = moving.per_second.unwrap_or_default();
        Rates { mean, one_minute, five_minutes, fifteen_minutes }
    }
}

/// How often averages move.
const STEP: Duration = Duration::from_secs(5);

/// A number that may do anything.
#[derive(Debug, Default)]
pub struct Gauge {
    value: AtomicI64,
}

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.value.store(value, Relaxed);
    }

    /// Adds to it; a negative number takes away.
    pub fn add(&self, amount: i64) {
        self.value.fetch_add(amount, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.value.load(Relaxed)
    }
}

/// A distribution of values up to 2^40, over the last five to ten minutes.
///
/// Values fall into buckets that are at most 1/16 of their value wide, so a quantile is off by at
/// most about 3 %. Memory is allocated with the first value: about 2.5 KiB for each of two
/// windows, of which one is recorded into while the other is kept for reading.
#[derive(Debug, Default)]
pub struct Histogram {
    windows: [OnceLock<Box<[AtomicU32]>>; 2],
    active: AtomicUsize,
    count: AtomicU64,
    sum: AtomicU64,
    min: OnceLock<AtomicU64>,
    max: AtomicU64,
    turned: Mutex<Option<Duration>>,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Values since the start.
    pub count: u64,
    /// Sum of all values since the start.
    pub sum: u64,
    /// Smallest value since the start.
    pub min: u64,
    /// Largest value since the start.
    pub max: u64,
    /// Quantiles of the window, in the order of [`QUANTILES`].
    pub quantiles: [u64; 6],
}

/// The quantiles that are shown, as Kafka's attributes 50thPercentile to 999thPercentile.
pub const QUANTILES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];

impl Histogram {
    /// Notes a value.
    pub fn record(&self, value: u64) {
        let active = self.active.load(Relaxed) % 2;
        let window = self.windows[active].get_or_init(new_window);
        window[bucket(value)].fetch_add(1, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
        self.max.fetch_max(value, Relaxed);
        self.min.get_or_init(|| AtomicU64::new(value)).fetch_min(value, Relaxed);
    }

    /// Notes a time in microseconds.
    pub fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Values so far.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// What it looks like at this time, counted from any fixed moment.
    pub fn read(&self, now: Duration) -> Distribution {
        self.turn(now);
        let mut counts = vec![0_u64; BUCKETS];
        for window in self.windows.iter().filter_map(OnceLock::get) {
            for (sum, bucket) in counts.iter_mut().zip(window) {
                *sum += u64::from(bucket.load(Relaxed));
            }
        }
        Distribution {
            count: self.count(),
            sum: self.sum.load(Relaxed),
            min: self.min.get().map_or(0, |min| min.load(Relaxed)),
            max: self.max.load(Relaxed),
            quantiles: QUANTILES.map(|quantile| value_at(&counts, quantile)),
        }
    }

    /// Begins a new window when the active one is old.
    fn turn(&self, now: Duration) {
        let mut turned = self.turned.lock();
        let began = *turned.get_or_insert(now);
        let age = now.saturating_sub(began);
        if age < WINDOW {
            return;
        }
        let next = (self.active.load(Relaxed) + 1) % 2;
        let empty = |window: usize| {
            for bucket in self.windows[window].get().into_iter().flatten() {
                bucket.store(0, Relaxed);
            }
        };
        empty(next);
        self.active.store(next, Relaxed);
        if WINDOW * 2 <= age {
            // Nobody has looked for so long that the other window is old as well.
            empty(1 - next);
        }
        *turned = Some(now);
    }
}

/// Mean and largest of rare values over the last half to one minute, as Kafka's sampled sensors.
#[derive(Debug, Default)]
pub struct Recent {
    /// The sample that is filled, and the one before.
    samples: Mutex<[Sample; 2]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    began: Duration,
    count: u64,
    sum: f64,
    max: f64,
}

impl Recent {
    /// Notes a value at this time, counted from any fixed moment.
    pub fn record(&self, now: Duration, value: f64) {
        let mut samples = self.samples.lock();
        turn(&mut samples, now);
        let [filled, _] = &mut *samples;
        filled.count += 1;
        filled.sum += value;
        filled.max = filled.max.max(value);
    }

    /// Mean and largest value at this time; none, if there was none.
    pub fn read(&self, now: Duration) -> Option<(f64, f64)> {
        let mut samples = self.samples.lock();
        turn(&mut samples, now);
        let count: u64 = samples.iter().map(|sample| sample.count).sum();
        let sum: f64 = samples.iter().map(|sample| sample.sum).sum();
        let max = samples.iter().map(|sample| sample.max).fold(0.0, f64::max);
        (0 < count).then(|| (sum / count as f64, max))
    }
}

fn turn(samples: &mut [Sample; 2], now: Duration) {
    let age = now.saturating_sub(samples[0].began);
    if SAMPLE <= age {
        let last = if age < SAMPLE * 2 { samples[0] } else { Sample::default() };
        *samples = [Sample { began: now, ..Sample::default() }, last];
    }
}

/// Length of one sample.
const SAMPLE: Duration = Duration::from_secs(30);

fn new_window() -> Box<[AtomicU32]> {
    (0..BUCKETS).map(|_| AtomicU32::new(0)).collect()
}

/// Bucket of a value: exact below 16, then 16 buckets for each power of two.
fn bucket(value: u64) -> usize {
    let value = value.min(LARGEST);
    if value < SUB {
        return value as usize;
    }
    let power = 63 - value.leading_zeros();
    let shift = power - SUB_BITS;
    let sub = (value >> shift) - SUB;
    ((u64::from(shift) + 1) * SUB + sub) as usize
}

/// Middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << shift;
    low + ((1 << shift) >> 1)
}

fn value_at(counts: &[u64], quantile: f64) -> u64 {
    let total: u64 = counts.iter().sum();
    let wanted = ((total as f64 * quantile).ceil() as u64).max(1);
    let mut seen = 0;
    for (at, count) in counts.iter().enumerate() {
        seen += count;
        if wanted <= seen {
            return middle(at);
        }
    }
    0
}

const SUB_BITS: u32 = 4;
const SUB: u64 = 1 << SUB_BITS;
const LARGEST: u64 = (1 << 40) - 1;
const BUCKETS: usize = (40 - SUB_BITS as usize + 1) * SUB as usize;
const WINDOW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_add_up_over_threads() {
        for counter in [Counter::small(), Counter::hot()] {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..1000).for_each(|_| counter.add(2)));
                }
            });
            assert_eq!(counter.get(), 8000);
        }
    }

    #[test]
    fn rates_move_with_the_time_that_is_passed_in() {
        let meter = Meter::new(Counter::small());
        let at = Duration::from_secs;
        assert_eq!(meter.rates(at(100)), Rates::default());
        meter.mark(500);
        assert_eq!(meter.rates(at(104)).one_minute, 0.0);
        let first = meter.rates(at(105));
        assert_eq!((first.mean, first.one_minute, first.fifteen_minutes), (100.0, 100.0, 100.0));
        let idle = meter.rates(at(165));
        assert!((idle.one_minute - 100.0 / std::f64::consts::E).abs() < 1e-9, "{idle:?}");
        assert!(idle.one_minute < idle.five_minutes && idle.five_minutes < idle.fifteen_minutes);
        assert_eq!(meter.count(), 500);
    }

    #[test]
    fn quantiles_are_close() {
        let histogram = Histogram::default();
        (1..=10_000).for_each(|value| histogram.record(value));
        let seen = histogram.read(Duration::ZERO);
        assert_eq!((seen.count, seen.min, seen.max, seen.sum), (10_000, 1, 10_000, 50_005_000));
        for (quantile, value) in QUANTILES.iter().zip(seen.quantiles) {
            let exact = quantile * 10_000.0;
            assert!((value as f64 - exact).abs() <= exact * 0.033, "{quantile}: {value}");
        }
    }

    #[test]
    fn recent_values_are_forgotten_after_a_minute() {
        let recent = Recent::default();
        let at = Duration::from_secs;
        assert_eq!(recent.read(at(100)), None);
        recent.record(at(100), 2.0);
        recent.record(at(129), 4.0);
        assert_eq!(recent.read(at(129)), Some((3.0, 4.0)));
        recent.record(at(130), 6.0);
        assert_eq!(recent.read(at(140)), Some((4.0, 6.0)));
        assert_eq!(recent.read(at(161)), Some((6.0, 6.0)));
        assert_eq!(recent.read(at(240)), None);
    }

    #[test]
    fn old_values_leave_the_window() {
        let histogram = Histogram::default();
        let at = Duration::from_secs;
        histogram.record(1000);
        let median = |now| histogram.read(at(now)).quantiles[0];
        assert!(900 < median(0));
        assert!(900 < median(300));
        histogram.record(10);
        histogram.record(10);
        assert_eq!(median(301), 10);
        assert_eq!(median(600), 10);
        assert_eq!(median(2000), 0);
        assert_eq!(histogram.count(), 3);
    }

    proptest! {
        #[test]
        fn a_bucket_is_near_its_values(value in 0_u64..1 << 40) {
            let near = middle(bucket(value));
            prop_assert!(near.abs_diff(value) <= value / 32 + 1);
            prop_assert!(bucket(value) < BUCKETS);
            prop_assert!(bucket(value) <= bucket(value + 1));
        }

        #[test]
        fn no_value_is_too_large(value: u64) {
            prop_assert!(bucket(value) < BUCKETS);
        }
    }
}
