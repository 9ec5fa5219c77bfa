//! Test helpers: seeds, scripts, bounded waits, running the real binary.
