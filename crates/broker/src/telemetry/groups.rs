//! Figures of the group coordinator, read when metrics are rendered.

use std::sync::Arc;

use ottla_group::Counters;
use ottla_metrics::table as names;

use super::computed;
use super::gauges::{count, number};
use crate::driver::group::GroupFigures;
use crate::shared::Shared;

type Figure = fn(&GroupFigures) -> usize;
type Counter = fn(&Counters) -> u64;

/// Makes the coordinator's gauges known to the registry.
pub(super) fn register(shared: &Arc<Shared>) {
    let figures = |s: &Shared| s.groups.get().map(|groups| groups.figures()).unwrap_or_default();
    let partitions: [(_, Figure); 3] = [
        ("loading", |figures| figures.loading),
        ("active", |figures| figures.active),
        ("failed", |figures| figures.failed),
    ];
    for (state, figure) in partitions {
        let labels = [("state", state)];
        computed(shared, &names::COORDINATOR_PARTITIONS, &labels, move |s| {
            count(figure(&figures(s)))
        });
    }
    let groups: [(_, Figure); 4] = [
        ("Empty", |figures| figures.empty),
        ("PreparingRebalance", |figures| figures.preparing_rebalance),
        ("CompletingRebalance", |figures| figures.completing_rebalance),
        ("Stable", |figures| figures.stable),
    ];
    for (state, figure) in groups {
        let labels = [("state", state)];
        computed(shared, &names::CLASSIC_GROUP_COUNT, &labels, move |s| count(figure(&figures(s))));
    }
    computed(shared, &names::GROUP_COUNT, &[("protocol", "classic")], move |s| {
        count(figures(s).classic())
    });
    let groups: [(_, Figure); 4] = [
        ("Empty", |figures| figures.consumer_empty),
        ("Assigning", |figures| figures.consumer_assigning),
        ("Reconciling", |figures| figures.consumer_reconciling),
        ("Stable", |figures| figures.consumer_stable),
    ];
    for (state, figure) in groups {
        let labels = [("state", state)];
        computed(shared, &names::CONSUMER_GROUP_COUNT, &labels, move |s| {
            count(figure(&figures(s)))
        });
    }
    computed(shared, &names::GROUP_COUNT, &[("protocol", "consumer")], move |s| {
        count(figures(s).consumer())
    });
    computed(shared, &names::OFFSET_COUNT, &[], move |s| count(figures(s).offsets));
    let loads = |s: &Shared| s.groups.get().and_then(|groups| groups.load_times());
    // Kafka's word for none of late.
    computed(shared, &names::COORDINATOR_LOAD_AVG, &[], move |s| {
        loads(s).map_or(f64::NAN, |(mean, _)| mean)
    });
    computed(shared, &names::COORDINATOR_LOAD_MAX, &[], move |s| {
        loads(s).map_or(f64::NAN, |(_, max)| max)
    });
    let counters: [(_, Counter); 5] = [
        (&names::OFFSET_COMMITS, |counters| counters.offset_commits),
        (&names::OFFSET_EXPIRATIONS, |counters| counters.offset_expirations),
        (&names::OFFSET_DELETIONS, |counters| counters.offset_deletions),
        (&names::GROUP_REBALANCES, |counters| counters.completed_rebalances),
        (&names::CONSUMER_GROUP_REBALANCES, |counters| counters.consumer_rebalances),
    ];
    for (definition, counter) in counters {
        computed(shared, definition, &[], move |s| number(counter(&figures(s).counters)));
    }
}
