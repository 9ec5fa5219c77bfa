//! Figures of all shards of this broker, for metrics.

use ottla_group::{Counters, Stats};

/// What the shard of a partition is doing, as Kafka names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardPhase {
    /// Its partition is read.
    Loading,
    /// It serves.
    Active,
    /// It could not be loaded.
    Failed,
}

/// Sums over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupFigures {
    pub(crate) loading: usize,
    pub(crate) active: usize,
    pub(crate) failed: usize,
    pub(crate) empty: usize,
    pub(crate) preparing_rebalance: usize,
    pub(crate) completing_rebalance: usize,
    pub(crate) stable: usize,
    pub(crate) consumer_empty: usize,
    pub(crate) consumer_assigning: usize,
    pub(crate) consumer_reconciling: usize,
    pub(crate) consumer_stable: usize,
    pub(crate) offsets: usize,
    /// Since the start, shards that are gone included.
    pub(crate) counters: Counters,
}

impl GroupFigures {
    /// Classic groups in any state.
    pub(crate) fn classic(&self) -> usize {
        self.empty + self.preparing_rebalance + self.completing_rebalance + self.stable
    }

    /// Consumer groups in any state.
    pub(crate) fn consumer(&self) -> usize {
        self.consumer_empty
            + self.consumer_assigning
            + self.consumer_reconciling
            + self.consumer_stable
    }

    /// Adds a shard's figures.
    pub(super) fn add(&mut self, phase: ShardPhase, stats: &Stats) {
        match phase {
            ShardPhase::Loading => self.loading += 1,
            ShardPhase::Active => self.active += 1,
            ShardPhase::Failed => self.failed += 1,
        }
        self.empty += stats.groups_empty;
        self.preparing_rebalance += stats.groups_preparing_rebalance;
        self.completing_rebalance += stats.groups_completing_rebalance;
        self.stable += stats.groups_stable;
        self.consumer_empty += stats.consumer_groups_empty;
        self.consumer_assigning += stats.consumer_groups_assigning;
        self.consumer_reconciling += stats.consumer_groups_reconciling;
        self.consumer_stable += stats.consumer_groups_stable;
        self.offsets += stats.offsets;
        self.count(&stats.counters);
    }

    /// Adds what a shard has counted.
    pub(super) fn count(&mut self, more: &Counters) {
        let sum = &mut self.counters;
        sum.offset_commits += more.offset_commits;
        sum.offset_expirations += more.offset_expirations;
        sum.offset_deletions += more.offset_deletions;
        sum.completed_rebalances += more.completed_rebalances;
        sum.consumer_rebalances += more.consumer_rebalances;
        sum.skipped_records += more.skipped_records;
        sum.failed_appends += more.failed_appends;
    }
}
