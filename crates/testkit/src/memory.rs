//! How much memory a piece of code takes: an allocator that counts for each thread.
//!
//! A test binary installs it: `#[global_allocator] static MEMORY: Memory = Memory;`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often any thread asked for memory.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// How many bytes those were.
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

/// The system's allocator with a count of what the running thread holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

/// What a piece of code took from the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Most bytes that it held at one time beyond what was held before.
    pub peak: usize,
    /// Its largest single allocation, in bytes.
    pub largest: usize,
    /// How often it asked for memory.
    pub count: u64,
}

impl Memory {
    /// Runs `code` on this thread and says what it took; all zero unless [`Memory`] is installed.
    pub fn measure<T>(code: impl FnOnce() -> T) -> (T, Taken) {
        let before = LIVE.get();
        PEAK.set(before);
        LARGEST.set(0);
        COUNT.set(0);
        let value = code();
        let (peak, largest) = (PEAK.get().saturating_sub(before), LARGEST.get());
        (value, Taken { peak, largest, count: COUNT.get() })
    }

    /// How often all threads together have asked for memory so far, and for how many bytes; zero
    /// unless [`Memory`] is installed.
    pub fn allocations() -> (u64, u64) {
        (ALLOCATIONS.load(Ordering::Relaxed), ALLOCATED.load(Ordering::Relaxed))
    }
}

fn took(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    ALLOCATED.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    let live = LIVE.get().wrapping_add(bytes);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    LARGEST.set(LARGEST.get().max(bytes));
    COUNT.set(COUNT.get() + 1);
}

fn gave(bytes: usize) {
    // What another thread allocated may end here, so the count is not exact over threads.
    LIVE.set(LIVE.get().saturating_sub(bytes));
}

#[expect(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the system's allocator as it came"
)]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block may live until the new one is filled.
        took(size);
        gave(layout.size());
        // SAFETY: as above; `at` came from `System` with `layout`.
        unsafe { System.realloc(at, layout, size) }
    }
}
