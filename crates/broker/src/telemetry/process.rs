//! Figures of the process, its sockets and its state, read when metrics are rendered.

use std::sync::Arc;

use ottla_metrics::table as names;
use ottla_net::{MemoryBudget, StatsSnapshot};
use ottla_sys::ProcessUsage;

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
    let figures: [(_, Figure); 6] = [
        (&names::PROCESS_CPU, |usage| usage.cpu.as_secs_f64()),
        (&names::PROCESS_MEMORY, |usage| number(usage.resident_bytes)),
        (&names::PROCESS_VIRTUAL_MEMORY, |usage| number(usage.virtual_bytes)),
        (&names::PROCESS_THREADS, |usage| number(usage.threads)),
        (&names::PROCESS_OPEN_FDS, |usage| number(usage.open_files)),
        (&names::PROCESS_MAX_FDS, |usage| usage.open_files_max.map_or(f64::INFINITY, number)),
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
    let figures: [(_, Socket); 3] = [
        (&names::CONNECTION_COUNT, |net| net.open),
        (&names::CONNECTIONS_OPENED, |net| net.accepted),
        (&names::CONNECTIONS_CLOSED, |net| net.accepted.saturating_sub(net.open)),
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
