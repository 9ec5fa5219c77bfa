//! How long commits and elections take, for metrics. Nothing is decided by it.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_metrics::{Counter, Meter, Recent};
use ottla_types::{MonoTime, Offset};

/// How long things took of late, in milliseconds.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// From a proposal to its commit.
    pub(crate) commit: Recent,
    /// From the loss of a leader, or the start, to the next leader.
    pub(crate) election: Recent,
    /// Records that this node proposed as the leader.
    pub(crate) appended: Meter,
}

impl Default for Latencies {
    fn default() -> Self {
        let appended = Meter::new(Counter::small());
        Self { commit: Recent::default(), election: Recent::default(), appended }
    }
}

/// What has begun and is not over.
#[derive(Debug)]
pub(super) struct Stopwatch {
    latencies: Arc<Latencies>,
    /// Ends of proposals that are not committed, and when they were made.
    uncommitted: VecDeque<(Offset, MonoTime)>,
    leaderless_since: Option<MonoTime>,
}

impl Stopwatch {
    pub(super) fn start(latencies: Arc<Latencies>, now: MonoTime) -> Self {
        Self { latencies, uncommitted: VecDeque::new(), leaderless_since: Some(now) }
    }

    pub(super) fn proposed(&mut self, records: u64, end: Offset, now: MonoTime) {
        self.latencies.appended.mark(records);
        self.uncommitted.push_back((end, now));
    }

    pub(super) fn committed(&mut self, end: Offset, now: MonoTime) {
        while let Some((_, at)) = self.uncommitted.pop_front_if(|(proposed, _)| *proposed <= end) {
            let took = now.since(at).as_secs_f64() * 1000.0;
            self.latencies.commit.record(now.since(MonoTime::ZERO), took);
        }
    }

    /// Another node leads, or none does.
    pub(super) fn led(&mut self, there_is_a_leader: bool, now: MonoTime) {
        if !there_is_a_leader {
            self.leaderless_since.get_or_insert(now);
        } else if let Some(since) = self.leaderless_since.take() {
            let took = now.since(since).as_secs_f64() * 1000.0;
            self.latencies.election.record(now.since(MonoTime::ZERO), took);
        }
        // What was proposed to the last leader is not heard of again.
        self.uncommitted.clear();
    }
}
