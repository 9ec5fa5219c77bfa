//! Figures of the cleaner (Kafka's `LogCleaner` and `LogCleanerManager`) and of the scrub.

use std::sync::Arc;

use ottla_metrics::table as names;

use super::computed;
use super::gauges::{count, number};
use crate::driver::cleaner::LastPass;
use crate::partition::Partition;
use crate::shared::Shared;

type Figure = fn(&LastPass) -> f64;

/// Makes the cleaner's gauges known to the registry. As in Kafka, percents and seconds are whole.
pub(super) fn register(shared: &Arc<Shared>) {
    let most: [(_, Figure); 3] = [
        (&names::CLEANER_UTILIZATION, |pass| 100.0 * pass.stats.map_utilization),
        (&names::CLEANER_TIME, |pass| pass.took.as_secs_f64()),
        (&names::CLEANER_DELAY, |pass| pass.delay.as_secs_f64()),
    ];
    for (definition, figure) in most {
        computed(shared, definition, &[], move |s| {
            s.cleaner.last_passes().iter().map(figure).fold(0.0, f64::max).trunc()
        });
    }
    computed(shared, &names::CLEANER_RECOPY, &[], |s| {
        let passes = s.cleaner.last_passes();
        let written = passes.iter().map(|pass| pass.stats.written_bytes).sum();
        let read = passes.iter().map(|pass| pass.stats.read_bytes).sum::<u64>().max(1);
        (100.0 * number(written) / number(read)).trunc()
    });
    computed(shared, &names::CLEANER_DEAD_THREADS, &[], |s| count(s.cleaner.dead_threads()));
    computed(shared, &names::CLEANER_DIRTIEST, &[], |s| (100.0 * s.cleaner.dirtiest()).trunc());
    computed(shared, &names::CLEANER_IDLE_TIME, &[], |s| {
        let since = s.cleaner.looked_at().map(|at| s.clock.now().since(at));
        since.map_or(0.0, |since| (1000.0 * since.as_secs_f64()).trunc())
    });
    computed(shared, &names::SCRUB_BYTES, &[], |s| number(s.scrub.bytes()));
    computed(shared, &names::SCRUB_PASSES, &[], |s| number(s.scrub.passes()));
    computed(shared, &names::SCRUB_DAMAGED, &[], |s| number(s.scrub.damaged()));
    for (place, path) in shared.replicas.paths().enumerate() {
        let labels = [("logDirectory", path)];
        computed(shared, &names::UNCLEANABLE_PARTITIONS, &labels, move |s| {
            count(uncleanable(s, place).len())
        });
        computed(shared, &names::UNCLEANABLE_BYTES, &labels, move |s| {
            let now = s.clock.wall();
            let bytes = uncleanable(s, place).into_iter().map(|partition| {
                partition.cleanable(now).and_then(Result::ok).map_or(0, |found| found.dirty_bytes)
            });
            number(bytes.sum())
        });
    }
}

fn uncleanable(shared: &Shared, place: usize) -> Vec<Arc<Partition>> {
    let mut all = shared.partitions.all();
    all.retain(|partition| partition.directory() == place && partition.is_uncleanable());
    all
}
