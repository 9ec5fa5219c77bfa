//! Figures that exist anyway and are read when metrics are rendered.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::controller::Stats as ControllerStats;
use ottla_metrics::table as names;
use ottla_quorum::Role;
use ottla_types::{LeaderEpoch, MonoTime, NodeId, Offset, Timestamp};

use super::computed;
use crate::driver::quorum::Latencies;
use crate::partition::PartitionFigures;
use crate::shared::Shared;

type Latency = fn(&Latencies, Duration) -> Option<f64>;
type Chosen = fn(&Led) -> bool;
type Figure = fn(&ControllerStats) -> usize;

/// Makes every computed gauge known to the registry; called once, when the node is assembled.
pub(crate) fn register(shared: &Arc<Shared>) {
    replicas(shared);
    super::cleaner::register(shared);
    controller(shared);
    quorum(shared);
    super::process::register(shared);
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
    let syncs = shared.telemetry.registry().histogram(&names::LOG_FLUSH_TIME, &[]);
    shared.replicas.measure_syncs(&syncs);
    computed(shared, &names::PARTITION_COUNT, &[], |s| count(s.partitions.all().len()));
    computed(shared, &names::LEADER_COUNT, &[], |s| sum(s, |figures| figures.leads.into()));
    computed(shared, &names::OFFLINE_REPLICAS, &[], |s| count(s.replicas.offline_count()));
    let led: [(_, Chosen); 4] = [
        (&names::UNDER_REPLICATED_PARTITIONS, |led| led.isr < led.replicas),
        (&names::UNDER_MIN_ISR, |led| led.isr < led.min_isr),
        (&names::AT_MIN_ISR, |led| led.isr == led.min_isr),
        (&names::REASSIGNING, |led| led.moving),
    ];
    for (definition, chosen) in led {
        computed(shared, definition, &[], move |s| {
            count(led_partitions(s).iter().filter(|led| chosen(led)).count())
        });
    }
    computed(shared, &names::OFFLINE_LOG_DIRECTORIES, &[], |s| {
        count(s.replicas.offline_directory_count())
    });
    for path in shared.replicas.paths() {
        let theirs = path.to_owned();
        computed(shared, &names::LOG_DIRECTORY_OFFLINE, &[("logDirectory", path)], move |s| {
            f64::from(u8::from(s.replicas.is_path_offline(&theirs)))
        });
    }
    let purgatory = [("delayedOperation", "Produce")];
    computed(shared, &names::PURGATORY_SIZE, &purgatory, |s| sum(s, |f| f.waiting_produce));
    let purgatory = [("delayedOperation", "Fetch")];
    computed(shared, &names::PURGATORY_SIZE, &purgatory, |s| sum(s, |f| f.waiting_fetch));
    computed(shared, &names::PRODUCER_IDS, &[], |s| sum(s, |figures| figures.producers));
    computed(shared, &names::FETCH_SESSIONS, &[], |s| count(s.sessions.lock().len()));
    computed(shared, &names::FETCH_SESSION_PARTITIONS, &[], |s| {
        count(s.sessions.lock().partitions())
    });
}

/// A partition that this broker leads, as the metadata have it.
struct Led {
    isr: usize,
    replicas: usize,
    min_isr: usize,
    moving: bool,
}

fn led_partitions(shared: &Shared) -> Vec<Led> {
    let image = shared.image.load();
    let here = shared.partitions.all();
    let led = here.iter().filter_map(|partition| {
        let state = image
            .topic(partition.topic())?
            .partitions
            .get(&partition.topic_partition().partition)?;
        (state.leader == Some(shared.node_id())).then(|| Led {
            isr: state.isr.len(),
            replicas: state.replicas.len(),
            min_isr: partition.min_insync_replicas().min(state.replicas.len()),
            moving: !state.adding.is_empty() || !state.removing.is_empty(),
        })
    });
    led.collect()
}

/// Refreshes the series of single partitions, and what is only counted elsewhere; called before each rendering.
pub(crate) fn partitions(shared: &Shared) {
    let registry = shared.telemetry.registry();
    let evictions = registry.meter(&names::FETCH_SESSION_EVICTIONS, &[]);
    evictions.mark(shared.sessions.lock().evictions.saturating_sub(evictions.count()));
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
    let figures: [(_, Figure); 6] = [
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
    computed(shared, &names::LAST_APPLIED_OFFSET, &[], |s| {
        number(s.image.load().end().max(Offset(1)).0 - 1)
    });
    computed(shared, &names::LAST_APPLIED_LAG, &[], move |s| match stats(s).active {
        true => 0.0,
        false => lag(s),
    });
    computed(shared, &names::LAST_COMMITTED_OFFSET, &[], |s| {
        let end = s.quorum.get().map_or(Offset::ZERO, |quorum| quorum.status().high_watermark);
        number(end.max(Offset(1)).0 - 1)
    });
    computed(shared, &names::ACTIVE_CONTROLLERS, &[], move |s| {
        f64::from(u8::from(stats(s).active))
    });
}

/// Milliseconds since the last committed metadata record was written; 0 before the first.
fn lag(shared: &Shared) -> f64 {
    let written = shared.quorum.get().map(|quorum| quorum.status().last_timestamp);
    let written = written.filter(|written| *written != Timestamp::NONE);
    let lag = written.map(|written| shared.clock.wall().as_millis().saturating_sub(written.0));
    lag.map_or(0.0, |lag| number(u64::try_from(lag).unwrap_or_default()))
}

fn quorum(shared: &Arc<Shared>) {
    let status = |s: &Shared| s.quorum.get().map(|quorum| quorum.status());
    let weak = Arc::downgrade(shared);
    shared.telemetry.registry().state(&names::RAFT_STATE, &[], move || {
        let role = weak.upgrade().and_then(|s| Some(s.quorum.get()?.status().quorum.role));
        role.map_or("unattached", role_name).to_owned()
    });
    computed(shared, &names::RAFT_VOTE, &[], move |s| {
        let vote = status(s).and_then(|status| status.quorum.vote);
        f64::from(NodeId::option_to_wire(vote.map(|key| key.node)))
    });
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
    let latencies: [(_, Latency); 4] = [
        (&names::RAFT_COMMIT_LATENCY_AVG, |s, now| s.commit.read(now).map(|(mean, _)| mean)),
        (&names::RAFT_COMMIT_LATENCY_MAX, |s, now| s.commit.read(now).map(|(_, max)| max)),
        (&names::RAFT_ELECTION_LATENCY_AVG, |s, now| s.election.read(now).map(|(mean, _)| mean)),
        (&names::RAFT_ELECTION_LATENCY_MAX, |s, now| s.election.read(now).map(|(_, max)| max)),
    ];
    for (definition, latency) in latencies {
        computed(shared, definition, &[], move |s| {
            let now = s.clock.now().since(MonoTime::ZERO);
            // Kafka's word for none.
            s.quorum.get().and_then(|quorum| latency(quorum.latencies(), now)).unwrap_or(f64::NAN)
        });
    }
    computed(shared, &names::RAFT_APPEND_RATE, &[], |s| {
        let now = s.clock.now().since(MonoTime::ZERO);
        s.quorum.get().map_or(0.0, |quorum| quorum.latencies().appended.rates(now).one_minute)
    });
    computed(shared, &names::METADATA_APPLIED_LAG, &[], lag);
    computed(shared, &names::METADATA_APPLIED_OFFSET, &[], |s| {
        number(s.image.load().end().max(Offset(1)).0 - 1)
    });
}

/// Kafka's names of what a node is in the quorum.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Prospective => "prospective",
        Role::Observer => "observer",
        _ => "unattached",
    }
}
