//! Pool of buffers for frames that do not fit the small read buffer.
//!
//! A frame's memory returns here when the last slice of it is dropped. The pool keeps a few
//! megabytes at most; the allocator serves what goes beyond.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    kept: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// An empty buffer with room for at least `capacity` bytes.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let found = {
            let mut kept = self.kept.lock();
            // Best fit up to twice the need, so that a small frame does not pin a large buffer.
            let fits = |len: usize| capacity <= len && len / 2 <= capacity;
            kept.iter().position(|b| fits(b.capacity())).map(|at| kept.swap_remove(at))
        };
        found.unwrap_or_else(|| Vec::with_capacity(capacity.next_multiple_of(GRAIN)))
    }

    /// Turns a filled buffer into shared bytes that come back to the pool at the end.
    pub(crate) fn freeze(self: &Arc<Self>, data: Vec<u8>) -> Bytes {
        Bytes::from_owner(Pooled { data, pool: Arc::clone(self) })
    }

    /// Gives a buffer back without having shared it.
    pub(crate) fn give(&self, mut data: Vec<u8>) {
        data.clear();
        let mut kept = self.kept.lock();
        let held: usize = kept.iter().map(Vec::capacity).sum();
        if held.saturating_add(data.capacity()) <= KEPT_BYTES_MAX && kept.len() < KEPT_MAX {
            kept.push(data);
        }
    }

    #[cfg(test)]
    fn kept_bytes(&self) -> usize {
        self.kept.lock().iter().map(Vec::capacity).sum()
    }
}

struct Pooled {
    data: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.data));
    }
}

/// Capacities are multiples of this, so that frames of similar size share buffers.
const GRAIN: usize = 64 << 10;
const KEPT_BYTES_MAX: usize = 16 << 20;
const KEPT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_after_the_last_slice() {
        let pool = Arc::new(BufferPool::default());
        let mut data = pool.take(100_000);
        assert_eq!(data.capacity(), 131_072);
        data.extend_from_slice(b"frame");
        let slice = pool.freeze(data).slice(1..3);
        assert_eq!((pool.kept_bytes(), &slice[..]), (0, &b"ra"[..]));
        drop(slice);
        assert_eq!(pool.kept_bytes(), 131_072);
        let again = pool.take(70_000);
        assert!(again.is_empty());
        assert_eq!((again.capacity(), pool.kept_bytes()), (131_072, 0));
    }

    #[test]
    fn a_large_buffer_is_not_pinned_by_a_small_frame() {
        let pool = BufferPool::default();
        pool.give(Vec::with_capacity(8 << 20));
        assert_eq!(pool.take(100_000).capacity(), 131_072);
        assert_eq!(pool.kept_bytes(), 8 << 20);
    }

    #[test]
    fn the_pool_is_bounded() {
        let pool = BufferPool::default();
        for _ in 0..10 {
            pool.give(Vec::with_capacity(4 << 20));
        }
        assert_eq!(pool.kept_bytes(), 16 << 20);
    }
}
