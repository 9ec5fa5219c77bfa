//! Frames: a signed 32-bit size, then that many bytes (Kafka's protocol guide, "Common Structure").
//!
//! The declared size is checked before anything is allocated, and memory grows as bytes arrive:
//! a peer that only announces a large frame costs one small buffer. Nothing is parsed here.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::budget::{MemoryBudget, MemoryPermit};
use crate::buffer::{BufferPool, CHUNK_LEN};

/// Why a frame was refused; the connection cannot go on, since the stream has lost its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The size is zero or negative.
    #[error("frame size {size} is not positive")]
    NotPositive {
        /// The size as sent.
        size: i32,
    },
    /// The size is above the limit that holds now.
    #[error("frame size {size} is above the limit of {limit} bytes")]
    TooLarge {
        /// The size as sent.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// What the reader needs or has.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole frame, without its size, and the memory charged for it.
    Frame(Bytes, MemoryPermit),
    /// Call [`FrameReader::poll_fill`].
    NeedBytes,
    /// Wait for this much of the budget, then [`FrameReader::grant`] it.
    NeedBudget(usize),
}

/// Cuts one connection's stream into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    pool: Arc<BufferPool>,
    chunk: BytesMut,
    /// Where short frames are copied to; used again once the last one is dropped.
    short: BytesMut,
    large: Option<LargeFrame>,
    granted: Option<MemoryPermit>,
    /// Size of the largest frame that arrived whole: the next such frame is allocated at once.
    proven: usize,
    /// Whether requests fill the usual chunk: a wide one receives several of them in one call.
    wide: bool,
    /// What the wide chunk is charged.
    widened: Option<MemoryPermit>,
}

#[derive(Debug)]
struct LargeFrame {
    size: usize,
    data: Vec<u8>,
    /// Bytes that may be received into `data` before it has to grow.
    room: usize,
    permit: MemoryPermit,
}

impl FrameReader {
    pub(crate) fn new(pool: Arc<BufferPool>) -> Self {
        Self {
            pool,
            chunk: BytesMut::new(),
            short: BytesMut::new(),
            large: None,
            granted: None,
            proven: 0,
            wide: false,
            widened: None,
        }
    }

    /// Whether a frame has begun that holds budget and is not complete.
    pub(crate) fn holds_budget(&self) -> bool {
        self.large.is_some() || self.granted.is_some() || self.widened.is_some()
    }

    /// Whether bytes of a frame have arrived that is not complete.
    #[cfg(test)]
    fn is_mid_frame(&self) -> bool {
        self.large.is_some() || !self.chunk.is_empty()
    }

    /// Hands over what [`Step::NeedBudget`] asked for.
    pub(crate) fn grant(&mut self, permit: MemoryPermit) {
        self.granted = Some(permit);
    }

    /// The next frame, or what is needed to go on.
    pub(crate) fn next(&mut self, limit: usize, budget: &MemoryBudget) -> Result<Step, FrameError> {
        if self.large.is_some() {
            return Ok(self.next_large(budget));
        }
        let Some(size) = self.declared_size(limit)? else {
            return Ok(Step::NeedBytes);
        };
        let whole = SIZE_LEN + size;
        if whole <= self.chunk.len() {
            let Some(permit) = self.granted(size).or_else(|| budget.try_acquire(size)) else {
                return Ok(Step::NeedBudget(size));
            };
            return Ok(Step::Frame(self.take_small(size), permit));
        }
        if whole <= self.chunk_limit() {
            return Ok(Step::NeedBytes);
        }
        Ok(self.begin_large(size, budget))
    }

    fn declared_size(&self, limit: usize) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.chunk.first_chunk::<SIZE_LEN>() else {
            return Ok(None);
        };
        let raw = i32::from_be_bytes(*prefix);
        match usize::try_from(raw) {
            Err(_) | Ok(0) => Err(FrameError::NotPositive { size: raw }),
            Ok(size) if limit < size => Err(FrameError::TooLarge { size, limit }),
            Ok(size) => Ok(Some(size)),
        }
    }

    fn begin_large(&mut self, size: usize, budget: &MemoryBudget) -> Step {
        let room = size.min(self.proven.max(LARGE_START).max(self.chunk.len()));
        let Some(permit) = self.charge(room, budget) else {
            return Step::NeedBudget(room);
        };
        let mut data = self.pool.take(room);
        self.chunk.advance(SIZE_LEN);
        data.extend_from_slice(&self.chunk);
        self.pool.give_chunk(std::mem::take(&mut self.chunk));
        self.widened = None;
        self.large = Some(LargeFrame { size, data, room, permit });
        Step::NeedBytes
    }

    fn next_large(&mut self, budget: &MemoryBudget) -> Step {
        let Some(mut large) = self.large.take() else {
            return Step::NeedBytes;
        };
        if large.data.len() == large.size {
            self.proven = self.proven.max(large.size.min(PROVEN_MAX));
            return Step::Frame(self.pool.freeze(large.data), large.permit);
        }
        if large.data.len() == large.room {
            let room = large.size.min(large.room.saturating_mul(GROWTH));
            let Some(more) = self.charge(room - large.room, budget) else {
                let missing = room - large.room;
                self.large = Some(large);
                return Step::NeedBudget(missing);
            };
            let mut grown = self.pool.take(room);
            grown.extend_from_slice(&large.data);
            self.pool.give(std::mem::replace(&mut large.data, grown));
            large.permit.merge(more);
            large.room = room;
        }
        self.large = Some(large);
        Step::NeedBytes
    }

    /// What was granted after a wait, else what is free now.
    fn charge(&mut self, bytes: usize, budget: &MemoryBudget) -> Option<MemoryPermit> {
        self.granted(bytes).or_else(|| budget.try_acquire_common(bytes))
    }

    fn granted(&mut self, bytes: usize) -> Option<MemoryPermit> {
        self.granted.take().filter(|permit| permit.bytes() == bytes)
    }

    /// Cuts a frame out of the chunk. A short one is copied: a request that waits (a long poll)
    /// would otherwise keep the whole chunk in memory, and the chunk could not be used again.
    fn take_small(&mut self, size: usize) -> Bytes {
        self.chunk.advance(SIZE_LEN);
        if size <= COPIED_MAX {
            self.short.extend_from_slice(self.chunk.get(..size).unwrap_or_default());
            self.chunk.advance(size);
            return self.short.split().freeze();
        }
        self.chunk.split_to(size).freeze()
    }

    /// Reads once; `Ready(Ok(0))` means that the peer has closed.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut R,
        budget: &MemoryBudget,
    ) -> Poll<io::Result<usize>> {
        if let Some(large) = &mut self.large {
            let free = large.room - large.data.len();
            let mut into = (&mut large.data).limit(free);
            return pin!(stream.read_buf(&mut into)).poll(cx);
        }
        self.make_room(budget);
        let filled = pin!(stream.read_buf(&mut self.chunk)).poll(cx);
        if filled.is_pending() && self.chunk.is_empty() {
            self.pool.give_chunk(std::mem::take(&mut self.chunk));
            self.widened = None;
        } else if let Poll::Ready(Ok(read)) = &filled {
            let full = self.chunk.len() == self.chunk.capacity();
            self.wide = full || (self.wide && CHUNK_LEN / 2 < *read);
        }
        filled
    }

    /// Room for a whole chunk, behind a frame that has begun. A chunk whose frames are done is used
    /// again or widened; while some are still held the next one is short, so that few bytes of
    /// requests never hold much memory.
    fn make_room(&mut self, budget: &MemoryBudget) {
        if self.wide && self.widened.is_none() {
            self.widened = budget.try_acquire_spare(WIDE_CHUNK_LEN);
        }
        let len = self.chunk_limit();
        let room = len - self.chunk.len().min(len);
        let free = self.chunk.capacity() - self.chunk.len();
        if room <= free || self.chunk.try_reclaim(room) {
            return;
        }
        let unshared = self.chunk.capacity() == 0 || self.chunk.try_reclaim(free + 1);
        if unshared {
            let usual = self.widened.is_none();
            let mut chunk =
                if usual { self.pool.take_chunk() } else { BytesMut::with_capacity(len) };
            chunk.extend_from_slice(&self.chunk);
            self.chunk = chunk;
        } else if free < CHUNK_LEN / 2 {
            self.chunk.reserve(CHUNK_LEN);
        }
    }

    /// The longest frame, with its size, that is cut out of a chunk.
    fn chunk_limit(&self) -> usize {
        if self.widened.is_some() { WIDE_CHUNK_LEN } else { CHUNK_LEN }
    }
}

const SIZE_LEN: usize = size_of::<i32>();
/// Read buffer of a peer that filled the usual one; charged to the memory budget, if that is
/// mostly free.
const WIDE_CHUNK_LEN: usize = 256 << 10;
/// Frames up to this size are copied out of the chunk.
const COPIED_MAX: usize = 1 << 10;
/// First buffer of a large frame.
const LARGE_START: usize = 64 << 10;
/// A large frame's buffer grows by this factor when it is full.
const GROWTH: usize = 4;
/// Trust in a peer's sizes ends here; larger frames always grow.
const PROVEN_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;
    const LIMIT_SIZE: i32 = 1 << 20;

    fn reader() -> FrameReader {
        FrameReader::new(Arc::new(BufferPool::default()))
    }

    /// Feeds `input` in pieces of `piece` bytes and lists what comes out.
    fn run(input: &[u8], piece: usize) -> Vec<String> {
        let budget = MemoryBudget::new(4 << 20);
        let mut reader = reader();
        let mut out = Vec::new();
        let mut pieces = input.chunks(piece);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut source: &[u8] = &[];
        loop {
            match reader.next(LIMIT, &budget) {
                Ok(Step::Frame(frame, permit)) => {
                    assert_eq!(permit.bytes(), frame.len());
                    out.push(format!("{} {:?}", frame.len(), frame.first()));
                }
                Ok(Step::NeedBytes) => {
                    if source.is_empty() {
                        let Some(next) = pieces.next() else { break };
                        source = next;
                    }
                    assert!(matches!(
                        reader.poll_fill(&mut cx, &mut source, &budget),
                        Poll::Ready(Ok(_))
                    ));
                }
                Ok(Step::NeedBudget(bytes)) => out.push(format!("budget {bytes}")),
                Err(error) => {
                    out.push(error.to_string());
                    break;
                }
            }
        }
        out.push(format!("mid-frame {}", reader.is_mid_frame()));
        out
    }

    fn frames(sizes: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            bytes.extend_from_slice(&i32::try_from(*size).unwrap().to_be_bytes());
            bytes.extend(std::iter::repeat_n(u8::try_from(at).unwrap(), *size));
        }
        bytes
    }

    #[test]
    fn any_cutting_gives_the_same_frames() {
        let input = frames(&[1, 40_000, 300_000, 7, 32_764, 32_765, 900_000, 2]);
        let expected = run(&input, usize::MAX);
        assert_eq!(
            expected,
            [
                "1 Some(0)",
                "40000 Some(1)",
                "300000 Some(2)",
                "7 Some(3)",
                "32764 Some(4)",
                "32765 Some(5)",
                "900000 Some(6)",
                "2 Some(7)",
                "mid-frame false"
            ]
        );
        for piece in [1, 3, 4, 5, 1_000, 32_767, 65_536, 65_537] {
            assert_eq!(run(&input, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn sizes_are_checked_before_memory_is_taken() {
        let bad = |size: i32| run(&size.to_be_bytes(), 4).remove(0);
        assert_eq!(bad(0), "frame size 0 is not positive");
        assert_eq!(bad(-1), "frame size -1 is not positive");
        assert_eq!(bad(i32::MIN), "frame size -2147483648 is not positive");
        assert_eq!(bad(LIMIT_SIZE + 1), "frame size 1048577 is above the limit of 1048576 bytes");
        assert_eq!(run(&frames(&[LIMIT]), 50_000).remove(0), "1048576 Some(0)");
    }

    #[test]
    fn an_announced_frame_costs_what_has_arrived() {
        let budget = MemoryBudget::new(10 << 20);
        let mut reader = reader();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut source: &[u8] = &LIMIT_SIZE.to_be_bytes();
        let _ = reader.poll_fill(&mut cx, &mut source, &budget);
        assert!(matches!(reader.next(LIMIT, &budget), Ok(Step::NeedBytes)));
        assert_eq!(budget.used(), LARGE_START);
        assert!(reader.holds_budget());
        drop(reader);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn without_budget_the_frame_waits_and_then_goes_on() {
        let budget = MemoryBudget::new(1_000);
        let other = (budget.try_acquire(870).unwrap(), budget.try_acquire(125).unwrap());
        let mut reader = reader();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut source: &[u8] = &frames(&[6]);
        let _ = reader.poll_fill(&mut cx, &mut source, &budget);
        assert!(matches!(reader.next(LIMIT, &budget), Ok(Step::NeedBudget(6))));
        drop(other);
        reader.grant(budget.try_acquire(6).unwrap());
        assert!(matches!(reader.next(LIMIT, &budget), Ok(Step::Frame(f, _)) if f.len() == 6));
        assert!(!reader.holds_budget());
    }

    #[test]
    fn a_peer_that_fills_the_chunk_gets_a_wide_one() {
        let fills = |budget: &MemoryBudget, sizes: &[usize]| {
            let mut reader = reader();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let input = frames(sizes);
            let (mut source, mut fills, mut got) = (&input[..], 0, 0);
            while got < sizes.len() {
                match reader.next(LIMIT, budget).unwrap() {
                    Step::Frame(..) => got += 1,
                    Step::NeedBytes => {
                        let _ = reader.poll_fill(&mut cx, &mut source, budget);
                        fills += 1;
                    }
                    Step::NeedBudget(_) => panic!("the budget is large enough"),
                }
            }
            (fills, budget.used())
        };
        let sizes = [16_000; 20];
        assert_eq!(fills(&MemoryBudget::new(1 << 20), &sizes), (3, WIDE_CHUNK_LEN));
        // Without memory to spare it goes on as before.
        assert_eq!(fills(&MemoryBudget::new(100_000), &sizes), (10, 0));
        assert_eq!(fills(&MemoryBudget::new(1 << 20), &[1_000; 20]), (1, 0));
    }

    #[test]
    fn an_idle_reader_holds_no_buffer() {
        let budget = MemoryBudget::new(1_000);
        let mut reader = reader();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut source: &[u8] = &frames(&[6]);
        let _ = reader.poll_fill(&mut cx, &mut source, &budget);
        let Ok(Step::Frame(frame, _)) = reader.next(LIMIT, &budget) else { panic!("no frame") };
        assert!(matches!(reader.next(LIMIT, &budget), Ok(Step::NeedBytes)));
        let (mut near, _far) = tokio::io::duplex(8);
        assert!(reader.poll_fill(&mut cx, &mut near, &budget).is_pending());
        assert_eq!((reader.chunk.capacity(), &frame[..]), (0, &[0u8; 6][..]));
    }
}
