//! Reads into a buffer find what other reads find, whatever the bounds and wherever they begin.

mod common;

use std::sync::Arc;

use common::{at, config, create};
use ottla_codec::Part;
use ottla_log::{AppendOrigin, FetchSlice, LogConfig, ReadBuffers};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp};

const SIZES: [usize; 12] =
    [10, 3_000, 40_000, 100, 17_000, 5, 32_000, 4_000, 70_000, 1, 15_000, 16_000];

#[test]
fn a_buffer_changes_nothing_but_where_bytes_lie() {
    let small = LogConfig { segment_bytes: 100_000, index_interval_bytes: 1_000, ..config() };
    let (_, mut log) = create(small);
    for (number, size) in SIZES.into_iter().enumerate() {
        let mut builder = BatchBuilder::new(Compression::None);
        let value = vec![u8::try_from(number).unwrap(); size];
        builder.push_pair(Timestamp(9), None, Some(&value));
        builder.push_pair(Timestamp(9), None, Some(b"second"));
        let records = builder.build().unwrap();
        let prepared = log.config().prepare(records, AppendOrigin::Client, at(9)).unwrap();
        log.append(&prepared, LeaderEpoch(0), at(9)).unwrap();
    }
    assert!(log.segment_count() > 2);
    let buffers = Arc::new(ReadBuffers::new(1));
    let end = 2 * SIZES.len() as u64;
    // Upwards and downwards: where the last read ended is known, or not.
    for from in (0..end).chain((0..end).rev()) {
        for max in [0, 1, 100, 4_096, 16_000, 32 << 10, (32 << 10) + 61, 1 << 20] {
            for (upper, min_one) in [(end, true), (end, false), (from + 3, true), (from + 1, true)]
            {
                let upper = Offset(upper.min(end));
                let plain = log.read(Offset(from), max, upper, min_one).unwrap();
                let buffer = buffers.take();
                assert!(buffer.is_some(), "the last one came back");
                let read = log.read_into(buffer, Offset(from), max, upper, min_one).unwrap();
                assert_eq!(told(&read), told(&plain), "{from} {max} {upper} {min_one}");
            }
        }
    }
}

fn told(slice: &FetchSlice) -> (Option<&[u8]>, usize, Offset, Offset) {
    let bytes = slice.records.as_ref().map(|part| match part {
        Part::Bytes(bytes) => bytes.as_ref(),
        Part::File(_) => panic!("the simulated disk lends no files"),
    });
    (bytes, slice.len, slice.first_offset, slice.next_offset)
}
