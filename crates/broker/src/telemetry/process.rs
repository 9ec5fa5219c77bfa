//! Figures of the process, its sockets and its state, read when metrics are rendered.

use std::sync::Arc;
use std::time::Duration;

use ottla_metrics::table as names;
use ottla_net::{MemoryBudget, StatsSnapshot};
use ottla_sys::ProcessUsage;
use ottla_types::MonoTime;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::gauges::{count, number};
use super::{VERSION, computed};
use crate::driver::lifecycle::Phase;
use crate::shared::Shared;

type Figure = fn(&ProcessUsage) -> f64;
type Socket = fn(&StatsSnapshot) -> u64;
type Pool = fn(&MemoryBudget) -> usize;

/// Makes these gauges known to the registry.
pub(super) fn register(shared: &Arc<Shared>) {
    usage(shared);
    sockets(shared);
    idleness(shared);
    computed(shared, &names::BROKER_STATE, &[], |s| match s.phase() {
        Some(Phase::Starting) => 1.0,
        Some(Phase::Recovery) => 2.0,
        Some(Phase::Running) => 3.0,
        Some(Phase::PendingShutdown) => 6.0,
        Some(Phase::Stopped) => 7.0,
        None => 0.0,
    });
    let registry = shared.telemetry.registry();
    registry.state(&names::APP_INFO, &[], || VERSION.to_owned());
}

fn usage(shared: &Arc<Shared>) {
    let figures: [(_, Figure); 9] = [
        (&names::PROCESS_CPU, |usage| usage.cpu.as_secs_f64()),
        (&names::PROCESS_MEMORY, |usage| number(usage.resident_bytes)),
        (&names::PROCESS_VIRTUAL_MEMORY, |usage| number(usage.virtual_bytes)),
        (&names::PROCESS_THREADS, |usage| number(usage.threads)),
        (&names::PROCESS_OPEN_FDS, |usage| number(usage.open_files)),
        (&names::PROCESS_MAX_FDS, |usage| usage.open_files_max.map_or(f64::INFINITY, number)),
        (&names::DISK_READ_BYTES, |usage| number(usage.disk_read_bytes)),
        (&names::DISK_WRITE_BYTES, |usage| number(usage.disk_written_bytes)),
        (&names::PROCESS_START_TIME, |usage| usage.started.as_secs_f64()),
    ];
    for (definition, figure) in figures {
        computed(shared, definition, &[], move |_| {
            ottla_sys::process_usage().map_or(0.0, |usage| figure(&usage))
        });
    }
}

fn sockets(shared: &Arc<Shared>) {
    // Listeners share one set of counters, and there are no network threads to tell apart.
    let labels = [("listener", "all"), ("networkProcessor", "0")];
    let figures: [(_, Socket); 4] = [
        (&names::CONNECTION_COUNT, |net| net.open),
        (&names::CONNECTIONS_OPENED, |net| net.accepted),
        (&names::CONNECTIONS_CLOSED, |net| net.accepted.saturating_sub(net.open)),
        (&names::CONNECTIONS_EXPIRED, |net| net.expired),
    ];
    for (definition, figure) in figures {
        computed(shared, definition, &labels, move |s| number(figure(&s.telemetry.net())));
    }
    let pool: [(_, Pool); 2] = [
        (&names::MEMORY_POOL_AVAILABLE, |pool| pool.total().saturating_sub(pool.used())),
        (&names::MEMORY_POOL_USED, MemoryBudget::used),
    ];
    for (definition, figure) in pool {
        computed(shared, definition, &[], move |s| {
            s.telemetry.net.get().map_or(0.0, |(_, pool)| count(figure(pool)))
        });
    }
}

/// What the worker threads of the runtime had done at one moment.
#[derive(Default)]
struct Sample {
    at: MonoTime,
    busy: Duration,
    idle: f64,
}

impl Sample {
    /// The share of time without work between the last sample and this one; samples are a while
    /// apart, so that a reading does not measure only itself.
    fn next(&mut self, at: MonoTime, busy: Duration, workers: u32) -> f64 {
        let passed = at.since(self.at);
        if IDLE_WINDOW <= passed {
            let worked = busy.saturating_sub(self.busy).as_secs_f64();
            let share = worked / (passed.as_secs_f64() * f64::from(workers.max(1)));
            *self = Self { at, busy, idle: (1.0 - share).clamp(0.0, 1.0) };
        }
        self.idle
    }
}

fn idleness(shared: &Arc<Shared>) {
    // Without a runtime, as in tests of single parts, nothing is measured.
    let Ok(runtime) = Handle::try_current() else { return };
    let sample = Arc::new(Mutex::new(Sample { idle: 1.0, ..Sample::default() }));
    for definition in [&names::NETWORK_IDLE, &names::HANDLER_IDLE] {
        let (runtime, sample) = (runtime.clone(), sample.clone());
        computed(shared, definition, &[], move |s| {
            let metrics = runtime.metrics();
            let workers = metrics.num_workers();
            let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker)).sum();
            let workers = u32::try_from(workers).unwrap_or(u32::MAX);
            sample.lock().next(s.clock.now(), busy, workers)
        });
    }
}

const IDLE_WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idleness_is_the_share_between_two_samples() {
        let mut sample = Sample { idle: 1.0, ..Sample::default() };
        let at = |ms| MonoTime::ZERO.after(Duration::from_millis(ms));
        let busy = Duration::from_millis;
        assert_eq!(sample.next(at(500), busy(400), 2), 1.0);
        assert_eq!(sample.next(at(2000), busy(1000), 2), 0.75);
        assert_eq!(sample.next(at(2500), busy(1500), 2), 0.75);
        assert_eq!(sample.next(at(3000), busy(3000), 2), 0.0);
    }
}
