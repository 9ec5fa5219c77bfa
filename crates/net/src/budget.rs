//! Memory budget: how many bytes of requests may be held at once, over all connections.
//!
//! A frame is charged before its memory is allocated and given back when its request is answered.
//! It is not a quota: it knows no client, it only bounds the sum.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A shared number of bytes that requests in flight may hold.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    permits: Arc<Semaphore>,
    total: usize,
}

impl MemoryBudget {
    /// A budget of `total` bytes; at least one byte, at most 4 GiB (what one charge can name).
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Self::MAX);
        Self { permits: Arc::new(Semaphore::new(total)), total }
    }

    /// The whole budget, in bytes.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes held by requests now.
    pub fn used(&self) -> usize {
        self.total - self.permits.available_permits().min(self.total)
    }

    /// Takes `bytes` if they are free now. A charge above the whole budget counts as the whole.
    pub fn try_acquire(&self, bytes: usize) -> Option<MemoryPermit> {
        let held = self.permits.clone().try_acquire_many_owned(self.charge(bytes)).ok()?;
        Some(MemoryPermit { _held: Some(held), bytes })
    }

    /// Waits, first come first served, until `bytes` are free.
    pub async fn acquire(self, bytes: usize) -> MemoryPermit {
        let charge = self.charge(bytes);
        // The semaphore is never closed; if it were, an uncharged permit is the safe answer.
        MemoryPermit { _held: self.permits.acquire_many_owned(charge).await.ok(), bytes }
    }

    fn charge(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.total)).unwrap_or(u32::MAX)
    }

    const MAX: usize = u32::MAX as usize;
}

/// Bytes taken from a [`MemoryBudget`]; dropping gives them back.
#[derive(Debug)]
pub struct MemoryPermit {
    _held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl MemoryPermit {
    /// Bytes this permit stands for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A permit for nothing.
    pub(crate) fn none() -> Self {
        Self { _held: None, bytes: 0 }
    }

    /// Adds another permit of the same budget to this one.
    pub(crate) fn merge(&mut self, other: Self) {
        self.bytes += other.bytes;
        match (&mut self._held, other._held) {
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
        let budget = MemoryBudget::new(100);
        let mut first = budget.try_acquire(60).unwrap();
        assert!(budget.try_acquire(41).is_none());
        first.merge(budget.try_acquire(40).unwrap());
        assert_eq!((budget.used(), first.bytes()), (100, 100));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn more_than_everything_counts_as_everything() {
        let budget = MemoryBudget::new(10);
        let all = budget.try_acquire(1_000).unwrap();
        assert_eq!(budget.used(), 10);
        assert!(budget.try_acquire(1).is_none());
        drop(all);
        assert_eq!(budget.used(), 0);
    }
}
