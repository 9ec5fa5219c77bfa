//! Memory budget: how many bytes of requests may be held at once, over all connections.
//!
//! A frame is charged before its memory is allocated and given back when its request is answered.
//! It is not a quota: it knows no client, it only bounds the sum.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A shared number of bytes that requests in flight may hold.
///
/// Large requests are served first come, first served, so a large one that waits is never starved
/// by others. An eighth is kept for short requests: heartbeats and metadata pass while large
/// ones wait, so that being busy does not end sessions.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    common: Reserve,
    short: Reserve,
}

#[derive(Clone, Debug)]
struct Reserve {
    permits: Arc<Semaphore>,
    total: usize,
}

impl MemoryBudget {
    /// A budget of `total` bytes; at least one byte, at most 4 GiB (what one charge can name).
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, u32::MAX as usize);
        let short = total / 8;
        Self { common: Reserve::new(total - short), short: Reserve::new(short) }
    }

    /// The whole budget, in bytes.
    pub fn total(&self) -> usize {
        self.common.total + self.short.total
    }

    /// Bytes held by requests now.
    pub fn used(&self) -> usize {
        self.common.used() + self.short.used()
    }

    /// Takes `bytes` if they are free now. A charge above the whole counts as the whole.
    pub fn try_acquire(&self, bytes: usize) -> Option<MemoryPermit> {
        let short = (bytes <= SHORT_MAX.min(self.short.total)).then_some(&self.short);
        short.and_then(|reserve| reserve.take(bytes)).or_else(|| self.try_acquire_common(bytes))
    }

    /// As [`Self::try_acquire`], from the part that permits can be merged in.
    pub(crate) fn try_acquire_common(&self, bytes: usize) -> Option<MemoryPermit> {
        self.common.take(bytes)
    }

    /// Takes `bytes` for a convenience: only while more than half of the budget stays free.
    pub(crate) fn try_acquire_spare(&self, bytes: usize) -> Option<MemoryPermit> {
        let free = self.common.permits.available_permits();
        (self.common.total / 2 + bytes <= free).then(|| self.common.take(bytes))?
    }

    /// Waits, first come first served, until `bytes` are free.
    pub async fn acquire(self, bytes: usize) -> MemoryPermit {
        let charge = self.common.charge(bytes);
        // The semaphore is never closed; if it were, an uncharged permit is the safe answer.
        let held = self.common.permits.acquire_many_owned(charge).await.ok();
        MemoryPermit { held, bytes }
    }
}

impl Reserve {
    fn new(total: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(total)), total }
    }

    fn used(&self) -> usize {
        self.total - self.permits.available_permits().min(self.total)
    }

    fn take(&self, bytes: usize) -> Option<MemoryPermit> {
        let held = self.permits.clone().try_acquire_many_owned(self.charge(bytes)).ok()?;
        Some(MemoryPermit { held: Some(held), bytes })
    }

    fn charge(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.total)).unwrap_or(u32::MAX)
    }
}

/// Largest request that may use the part kept for short ones.
const SHORT_MAX: usize = 4 << 10;

/// Bytes taken from a [`MemoryBudget`]; dropping gives them back.
#[derive(Debug)]
pub struct MemoryPermit {
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl MemoryPermit {
    /// Bytes this permit stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A permit for nothing.
    pub(crate) fn none() -> Self {
        Self { held: None, bytes: 0 }
    }

    /// Adds another permit of the same budget to this one.
    pub(crate) fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        match (&mut self.held, other.held) {
            (Some(held), Some(more)) => held.merge(more),
            (held @ None, more) => *held = more,
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_and_gives_back() {
        let budget = MemoryBudget::new(80_000);
        let mut first = budget.try_acquire(60_000).unwrap();
        assert!(budget.try_acquire(10_001).is_none());
        first.merge(budget.try_acquire_common(10_000).unwrap());
        assert_eq!((budget.used(), first.bytes()), (70_000, 70_000));
        drop(first);
        assert_eq!((budget.used(), budget.total()), (0, 80_000));
    }

    #[test]
    fn short_requests_pass_while_large_ones_wait() {
        let budget = MemoryBudget::new(80_000);
        let all = budget.try_acquire(70_000).unwrap();
        let short: Vec<_> = (0..10).map(|_| budget.try_acquire(1_000).unwrap()).collect();
        assert!(budget.try_acquire(1).is_none());
        drop(all);
        assert!(budget.try_acquire(1_000).is_some());
        assert_eq!(budget.used(), 10_000);
        drop(short);
    }

    #[test]
    fn more_than_everything_counts_as_everything() {
        let budget = MemoryBudget::new(10);
        let all = budget.try_acquire(1_000).unwrap();
        assert_eq!(budget.used(), 9);
        assert!(budget.try_acquire(2).is_none());
        drop(all);
        assert_eq!(budget.used(), 0);
    }
}
