//! Numbers about a shard, as plain values; a shell makes metrics of them.

/// What has happened since the shard was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Offsets stored (`offset-commit`).
    pub offset_commits: u64,
    /// Offsets that expired (`offset-expiration`).
    pub offset_expirations: u64,
    /// Offsets that an administrator deleted (`offset-deletion`).
    pub offset_deletions: u64,
    /// Rebalances that ended with an assignment (`group-completed-rebalance`).
    pub completed_rebalances: u64,
    /// Times that a consumer group's epoch was raised (`consumer-group-rebalance`).
    pub consumer_rebalances: u64,
    /// Records of the log that were not understood and left alone.
    pub skipped_records: u64,
    /// Appends that the log refused.
    pub failed_appends: u64,
}

/// What there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Classic groups in state Empty.
    pub groups_empty: usize,
    /// Classic groups in state PreparingRebalance.
    pub groups_preparing_rebalance: usize,
    /// Classic groups in state CompletingRebalance.
    pub groups_completing_rebalance: usize,
    /// Classic groups in state Stable.
    pub groups_stable: usize,
    /// Consumer groups in state Empty.
    pub consumer_groups_empty: usize,
    /// Consumer groups in state Assigning.
    pub consumer_groups_assigning: usize,
    /// Consumer groups in state Reconciling.
    pub consumer_groups_reconciling: usize,
    /// Consumer groups in state Stable.
    pub consumer_groups_stable: usize,
    /// Groups of other kinds, which are kept but not served.
    pub groups_foreign: usize,
    /// Members of all classic and consumer groups.
    pub members: usize,
    /// Offsets stored.
    pub offsets: usize,
    /// Appends that are not committed.
    pub uncommitted_appends: usize,
    /// Deadlines that are set.
    pub timers: usize,
    /// What has happened.
    pub counters: Counters,
}

impl Stats {
    /// Counts a consumer group by its state.
    pub(crate) fn count_consumer(&mut self, state: &str) {
        let count = match state {
            "Empty" => &mut self.consumer_groups_empty,
            "Assigning" => &mut self.consumer_groups_assigning,
            "Reconciling" => &mut self.consumer_groups_reconciling,
            _ => &mut self.consumer_groups_stable,
        };
        *count += 1;
    }
}
