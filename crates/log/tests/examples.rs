//! The examples run to their ends; what they show they assert themselves.

#[path = "../examples/compaction.rs"]
mod compaction;
#[path = "../examples/storage.rs"]
mod storage;
#[path = "../examples/tailing.rs"]
mod tailing;

#[test]
fn the_examples_hold_what_they_say() {
    compaction::main().expect("compaction");
    storage::main().expect("storage");
    tailing::main().expect("tailing");
}
