//! Pool of buffers: those for frames that do not fit the small read buffer, and those read buffers.
//!
//! A large frame's memory returns here when the last slice of it is dropped, a read buffer when its
//! connection has nothing to read. The pool keeps a few megabytes at most; the allocator serves
//! what goes beyond.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    kept: Mutex<Vec<Vec<u8>>>,
    chunks: Mutex<Vec<BytesMut>>,
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

    /// An empty read buffer of [`CHUNK_LEN`].
    pub(crate) fn take_chunk(&self) -> BytesMut {
        let kept = self.chunks.lock().pop();
        kept.unwrap_or_else(|| BytesMut::with_capacity(CHUNK_LEN))
    }

    /// Gives a read buffer back, if it is of that length and no frame of it is still held.
    pub(crate) fn give_chunk(&self, mut chunk: BytesMut) {
        chunk.clear();
        let usual = chunk.try_reclaim(CHUNK_LEN) && chunk.capacity() < 2 * CHUNK_LEN;
        let mut chunks = self.chunks.lock();
        if usual && chunks.len() < CHUNKS_MAX {
            chunks.push(chunk);
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
/// Read buffer for frames that are not large; most requests of an idle cluster fit many times.
pub(crate) const CHUNK_LEN: usize = 32 << 10;
const CHUNKS_MAX: usize = 32;
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
