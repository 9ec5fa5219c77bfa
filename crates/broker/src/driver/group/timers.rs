//! One task for the deadlines of all shards.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use ottla_types::{MonoTime, PartitionIndex};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Env, Inner};

/// The next deadline of each shard that has one.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: Mutex<BTreeSet<(MonoTime, PartitionIndex)>>,
    /// Rung when the earliest deadline has become earlier.
    sooner: Notify,
}

impl Timers {
    /// Replaces a shard's deadline.
    pub(super) fn rearm(
        &self,
        shard: PartitionIndex,
        before: Option<MonoTime>,
        after: Option<MonoTime>,
    ) {
        let mut queue = self.queue.lock();
        if let Some(before) = before {
            queue.remove(&(before, shard));
        }
        let Some(after) = after else { return };
        let first = queue.first().is_none_or(|(earliest, _)| after < *earliest);
        queue.insert((after, shard));
        drop(queue);
        if first {
            self.sooner.notify_one();
        }
    }

    fn next(&self) -> Option<MonoTime> {
        self.queue.lock().first().map(|(at, _)| *at)
    }

    /// Takes out the shards whose time has come.
    fn pop_due(&self, now: MonoTime) -> Vec<PartitionIndex> {
        let mut queue = self.queue.lock();
        let mut due = Vec::new();
        while let Some((at, shard)) = queue.first().copied()
            && at <= now
        {
            queue.pop_first();
            due.push(shard);
        }
        due
    }
}

/// Tells shards that their time has come, for as long as the coordinator exists.
pub(super) async fn run(inner: Weak<Inner>, env: Arc<Env>) {
    loop {
        select(&env).await;
        let Some(inner) = inner.upgrade() else { return };
        for index in env.timers.pop_due(env.clock.now()) {
            let shard = inner.shards.get(&index).map(|shard| shard.clone());
            if let Some(shard) = shard {
                shard.timeout();
            }
        }
    }
}

/// Waits for the earliest deadline.
async fn select(env: &Env) {
    let sooner = env.timers.sooner.notified();
    match env.timers.next() {
        None => sooner.await,
        Some(at) => tokio::select! {
            () = sooner => {}
            () = tokio::time::sleep(env.clock.until(at)) => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_one_deadline() {
        let timers = Timers::default();
        let at = |millis| Some(MonoTime::from_millis(millis));
        let (a, b) = (PartitionIndex(1), PartitionIndex(2));
        timers.rearm(a, None, at(10));
        timers.rearm(b, None, at(20));
        timers.rearm(a, at(10), at(30));
        assert_eq!(timers.next(), at(20));
        assert_eq!(timers.pop_due(MonoTime::from_millis(25)), [b]);
        timers.rearm(a, at(30), None);
        assert_eq!(timers.next(), None);
        assert_eq!(timers.pop_due(MonoTime::from_millis(99)), []);
    }
}
