//! Figures that exist anyway and are read when metrics are rendered.

use std::sync::Arc;

use ottla_metadata::controller::Stats as ControllerStats;
use ottla_metrics::table as names;
use ottla_types::{LeaderEpoch, NodeId, Offset};

use super::{VERSION, computed};
use crate::driver::lifecycle::Phase;
use crate::partition::PartitionFigures;
use crate::shared::Shared;

/// Makes every computed gauge known to the registry; called once, when the node is assembled.
pub(crate) fn register(shared: &Arc<Shared>) {
    replicas(shared);
    controller(shared);
    quorum(shared);
    process(shared);
    super::groups::register(shared);
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

pub(super) fn count(value: usize) -> f64 {
    number(u64::try_from(value).unwrap_or(u64::MAX))
}

fn sum(shared: &Shared, figure: impl Fn(&PartitionFigures) -> usize) -> f64 {
    count(shared.partitions.all().iter().map(|partition| figure(&partition.figures())).sum())
}

fn replicas(shared: &Arc<Shared>) {
    computed(shared, &names::PARTITION_COUNT, &[], |s| count(s.partitions.all().len()));
    computed(shared, &names::LEADER_COUNT, &[], |s| sum(s, |figures| figures.leads.into()));
    computed(shared, &names::OFFLINE_REPLICAS, &[], |s| count(s.replicas.offline_count()));
    // With one replica each, no partition can have fewer than it should.
    computed(shared, &names::UNDER_REPLICATED_PARTITIONS, &[], |_| 0.0);
    computed(shared, &names::OFFLINE_LOG_DIRECTORIES, &[], |s| {
        count(s.replicas.offline_directories().len())
    });
    let purgatory = [("delayedOperation", "Produce")];
    computed(shared, &names::PURGATORY_SIZE, &purgatory, |s| sum(s, |f| f.waiting_produce));
    let purgatory = [("delayedOperation", "Fetch")];
    computed(shared, &names::PURGATORY_SIZE, &purgatory, |s| sum(s, |f| f.waiting_fetch));
    computed(shared, &names::FETCH_SESSIONS, &[], |s| count(s.sessions.lock().len()));
    computed(shared, &names::FETCH_SESSION_PARTITIONS, &[], |s| {
        count(s.sessions.lock().partitions())
    });
}

/// Refreshes the series of single partitions; called before each rendering.
pub(crate) fn partitions(shared: &Shared) {
    let registry = shared.telemetry.registry();
    for partition in shared.partitions.all() {
        let figures = partition.figures();
        let name = partition.topic_partition();
        let index = name.partition.to_string();
        let labels = [("topic", name.topic.as_str()), ("partition", index.as_str())];
        let set = |definition, value: u64| {
            registry.gauge(definition, &labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&names::LOG_SIZE, figures.bytes);
        set(&names::LOG_START_OFFSET, figures.log_start.0);
        set(&names::LOG_END_OFFSET, figures.log_end.0);
        set(&names::LOG_SEGMENTS, u64::try_from(figures.segments).unwrap_or(u64::MAX));
    }
}

fn controller(shared: &Arc<Shared>) {
    let stats = |s: &Shared| -> ControllerStats {
        s.quorum.get().map(|quorum| quorum.status().controller).unwrap_or_default()
    };
    let figures: [(_, fn(&ControllerStats) -> usize); 6] = [
        (&names::ACTIVE_BROKERS, |s| s.active_brokers),
        (&names::FENCED_BROKERS, |s| s.fenced_brokers),
        (&names::GLOBAL_TOPICS, |s| s.topics),
        (&names::GLOBAL_PARTITIONS, |s| s.partitions),
        (&names::OFFLINE_PARTITIONS, |s| s.offline_partitions),
        (&names::PREFERRED_IMBALANCE, |s| s.imbalanced_partitions),
    ];
    for (definition, figure) in figures {
        computed(shared, definition, &[], move |s| count(figure(&stats(s))));
    }
    computed(shared, &names::ACTIVE_CONTROLLERS, &[], move |s| {
        f64::from(u8::from(stats(s).active))
    });
}

fn quorum(shared: &Arc<Shared>) {
    let status = |s: &Shared| s.quorum.get().map(|quorum| quorum.status());
    computed(shared, &names::RAFT_LEADER, &[], move |s| {
        status(s).map_or(-1.0, |status| f64::from(NodeId::option_to_wire(status.leader)))
    });
    computed(shared, &names::RAFT_EPOCH, &[], move |s| {
        status(s).map_or(0.0, |status| f64::from(status.epoch.to_wire()))
    });
    computed(shared, &names::RAFT_HIGH_WATERMARK, &[], move |s| {
        status(s).map_or(0.0, |status| number(status.high_watermark.0))
    });
    computed(shared, &names::RAFT_LOG_END_OFFSET, &[], move |s| {
        status(s).map_or(0.0, |status| number(status.quorum.log_end.0))
    });
    computed(shared, &names::RAFT_LOG_END_EPOCH, &[], move |s| {
        let epoch = |status: Arc<crate::driver::quorum::Status>| status.quorum.log_end_epoch;
        f64::from(LeaderEpoch::option_to_wire(status(s).and_then(epoch)))
    });
    computed(shared, &names::RAFT_VOTERS, &[], move |s| {
        status(s).map_or(0.0, |status| count(status.quorum.voters))
    });
    computed(shared, &names::RAFT_OBSERVERS, &[], move |s| {
        status(s).map_or(0.0, |status| count(status.quorum.observers))
    });
    computed(shared, &names::METADATA_APPLIED_OFFSET, &[], |s| {
        number(s.image.load().end().max(Offset(1)).0 - 1)
    });
}

fn process(shared: &Arc<Shared>) {
    let usage = || ottla_sys::process_usage().ok();
    computed(shared, &names::PROCESS_CPU, &[], move |_| {
        usage().map_or(0.0, |usage| usage.cpu.as_secs_f64())
    });
    computed(shared, &names::PROCESS_MEMORY, &[], move |_| {
        usage().map_or(0.0, |usage| number(usage.resident_bytes))
    });
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
