//! Requests that wait: produce for the high watermark, fetch for data.
//!
//! A request makes one [`Wait`], leaves it with every partition it waits on, and awaits it with
//! its own time limit. Partitions keep waits in [`Waiting`], inside their own lock; an idle
//! partition keeps an empty list, no task and no timer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use ottla_types::Offset;
use tokio::sync::Notify;

/// One waiting request.
#[derive(Debug)]
pub(crate) struct Wait {
    pending: AtomicUsize,
    notify: Notify,
}

impl Wait {
    /// A wait that is over after `events` calls of [`Wait::event`].
    pub(crate) fn new(events: usize) -> Arc<Self> {
        assert!(events > 0, "nothing to wait for");
        Arc::new(Self { pending: AtomicUsize::new(events), notify: Notify::new() })
    }

    /// Notes one event; further ones after the last are ignored.
    pub(crate) fn event(&self) {
        let left = self
            .pending
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if left == Ok(1) {
            self.notify.notify_one();
        }
    }

    /// Completes when the last event has happened.
    pub(crate) async fn done(&self) {
        self.notify.notified().await;
    }
}

/// Who waits on one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    // In ascending order of offset.
    produce: VecDeque<(Offset, Weak<Wait>)>,
    fetch: Vec<Weak<Wait>>,
    prune_at: usize,
}

impl Waiting {
    /// Wakes `wait` once the high watermark reaches `offset`.
    pub(crate) fn until_high_watermark(&mut self, offset: Offset, wait: &Arc<Wait>) {
        // Nearly always the end: requests arrive here almost in the order of their appends.
        let place = self.produce.partition_point(|(other, _)| *other <= offset);
        self.produce.insert(place, (offset, Arc::downgrade(wait)));
    }

    /// Wakes `wait` at the next change of the partition.
    pub(crate) fn until_change(&mut self, wait: &Arc<Wait>) {
        // Requests that timed out leave dead entries; clear them before the list doubles.
        if self.fetch.len() >= self.prune_at {
            self.fetch.retain(|wait| wait.strong_count() > 0);
            self.prune_at = (self.fetch.len() * 2).max(PRUNE_FROM);
        }
        self.fetch.push(Arc::downgrade(wait));
    }

    /// Whether a request may be waiting.
    pub(crate) fn anybody(&self) -> bool {
        !self.produce.is_empty() || !self.fetch.is_empty()
    }

    /// The high watermark moved up to `to`.
    pub(crate) fn high_watermark_moved(&mut self, to: Offset) {
        while let Some((offset, _)) = self.produce.front()
            && *offset <= to
        {
            if let Some((_, wait)) = self.produce.pop_front() {
                wake(&wait);
            }
        }
        self.changed();
    }

    /// Something a fetch would see has changed.
    pub(crate) fn changed(&mut self) {
        self.fetch.drain(..).for_each(|wait| wake(&wait));
    }

    /// The partition cannot serve any more: everybody looks again and finds out why.
    pub(crate) fn abandon(&mut self) {
        self.produce.drain(..).for_each(|(_, wait)| wake(&wait));
        self.changed();
    }

    /// Live requests that wait here, produce and fetch.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let produce = self.produce.iter().filter(|(_, wait)| wait.strong_count() > 0).count();
        (produce, self.fetch.iter().filter(|wait| wait.strong_count() > 0).count())
    }
}

const PRUNE_FROM: usize = 16;

fn wake(wait: &Weak<Wait>) {
    if let Some(wait) = wait.upgrade() {
        wait.event();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_done(wait: &Wait) -> bool {
        wait.pending.load(Ordering::Acquire) == 0
    }

    #[test]
    fn a_produce_waits_for_all_its_partitions() {
        let (mut a, mut b) = (Waiting::default(), Waiting::default());
        let wait = Wait::new(2);
        a.until_high_watermark(Offset(5), &wait);
        b.until_high_watermark(Offset(9), &wait);
        a.high_watermark_moved(Offset(7));
        b.high_watermark_moved(Offset(8));
        assert!(!is_done(&wait));
        b.high_watermark_moved(Offset(9));
        assert!(is_done(&wait));
    }

    #[test]
    fn waits_may_arrive_out_of_order() {
        let mut waiting = Waiting::default();
        let (late, early) = (Wait::new(1), Wait::new(1));
        waiting.until_high_watermark(Offset(9), &late);
        waiting.until_high_watermark(Offset(5), &early);
        waiting.high_watermark_moved(Offset(6));
        assert!(is_done(&early) && !is_done(&late));
    }

    #[test]
    fn dead_waits_do_not_pile_up() {
        let mut waiting = Waiting::default();
        for _ in 0..1000 {
            waiting.until_change(&Wait::new(1));
        }
        assert!(waiting.fetch.len() <= PRUNE_FROM);
        assert_eq!(waiting.counts(), (0, 0));
    }

    #[test]
    fn abandoning_wakes_everybody() {
        let mut waiting = Waiting::default();
        let (produce, fetch) = (Wait::new(1), Wait::new(1));
        waiting.until_high_watermark(Offset(5), &produce);
        waiting.until_change(&fetch);
        waiting.abandon();
        assert!(is_done(&produce) && is_done(&fetch));
    }
}
