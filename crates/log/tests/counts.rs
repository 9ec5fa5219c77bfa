//! What an append and a read plan cost, counted: allocations, which are the same on every machine.

use std::sync::Arc;

use bytes::Bytes;
use ottla_log::{AppendOrigin, FsStorage, LogConfig, PartitionLog};
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::{Folder, Memory};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

#[global_allocator]
static MEMORY: Memory = Memory;

const NOW: WallTime = WallTime::from_millis(1);
const RECORDS: u64 = 16;
/// So many reads have been in every segment.
const FIRST: usize = 100;

#[test]
fn an_append_allocates_twice_at_most_and_a_read_plan_never() {
    let folder = Folder::new("log-counts").unwrap();
    let config = Arc::new(LogConfig { segment_bytes: 8 << 20, ..LogConfig::default() });
    let mut log = PartitionLog::create(
        Arc::new(FsStorage::default()),
        folder.path(),
        TopicPartition::parse("t-0").unwrap(),
        None,
        Offset(0),
        Arc::clone(&config),
        NOW,
    )
    .unwrap();
    let batch = batch();
    for round in 0..2_000 {
        let segments = log.segment_count();
        let count = allocations(|| {
            let prepared = config.prepare(batch.clone(), AppendOrigin::Client, NOW).unwrap();
            log.append(&prepared, LeaderEpoch(0), NOW).unwrap();
        });
        // A new segment costs its files' names; there are a few in a day.
        let rolled = log.segment_count() > segments || round == 0;
        assert!(rolled || count <= 2, "append {round}: {count} allocations");
    }
    assert!(log.segment_count() > 3);
    log.flush().unwrap();
    let end = log.end_offset().0;
    for (what, step) in [("onwards", 64 * RECORDS), ("anywhere", 7_919)] {
        for segment in ["closed", "growing"] {
            let base = log.active_segment_base().0;
            let (first, last) = if segment == "closed" { (0, base) } else { (base, end) };
            plans(&mut log, (what, segment), step, first..last);
        }
    }
}

fn plans(
    log: &mut PartitionLog<FsStorage>,
    what: (&str, &str),
    step: u64,
    within: std::ops::Range<u64>,
) {
    let mut from = within.start;
    for round in 0..500 {
        let mut next = from;
        let count = allocations(|| {
            let slice = log.read(Offset(from), 1 << 20, log.end_offset(), true).expect("reads");
            assert!(slice.len > 0);
            next = slice.next_offset.0;
        });
        // The first ones open the files and map the indexes.
        assert!(round < FIRST || count == 0, "{what:?} {round}: {count} allocations");
        from = if what.0 == "onwards" { next } else { from + step };
        if !within.contains(&from) {
            from = within.start + from % RECORDS;
        }
    }
}

fn allocations(code: impl FnOnce()) -> u64 {
    Memory::measure(code).1.count
}

/// 16 records of 1,000 bytes.
fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..RECORDS {
        builder.push_pair(Timestamp(1), None, Some(&[7; 1000]));
    }
    builder.build().expect("builds")
}
