//! Batches as data: built, read, patched, checked; and bytes that are no batch.

use std::time::Duration;

use bytes::Bytes;
use ottla_record::{
    Batch, BatchBuilder, BatchError, Batches, CheckRules, Checked, Compression, ControlType,
    DecompressLimits, NewRecord, Patch, RecordsRefused, RefusedReason, RefusedRecord,
    TimestampType, check_crc, check_header, check_records, format,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, WallTime};
use proptest::prelude::*;

const LIMITS: DecompressLimits =
    DecompressLimits { output_max: 100 << 20, ratio_free: 16 << 20, ratio_max: 1024 };

fn codec() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Gzip),
        Just(Compression::Snappy),
        Just(Compression::Lz4),
        Just(Compression::Zstd),
    ]
}

type Pair = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn records() -> impl Strategy<Value = Vec<Pair>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let header = (bytes(), prop::option::of(bytes()));
    let record = (
        0..i64::MAX,
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        prop::collection::vec(header, 0..4),
    );
    prop::collection::vec(record, 1..20)
}

fn build(codec: Compression, base: u64, pairs: &[Pair]) -> Bytes {
    let mut builder = BatchBuilder::new(codec).base_offset(Offset(base)).producer(
        ProducerId(5),
        ProducerEpoch(1),
        Sequence(10),
    );
    for (timestamp, key, value, headers) in pairs {
        let headers: Vec<_> =
            headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        builder.push(&NewRecord {
            timestamp: Timestamp(*timestamp),
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        });
    }
    builder.build().expect("builds")
}

proptest! {
    #[test]
    fn records_come_back(codec in codec(), base in 0..1_u64 << 40, pairs in records()) {
        let batch = Batch::parse_checked(build(codec, base, &pairs)).unwrap();
        let header = *batch.header();
        prop_assert_eq!(header.base_offset, Offset(base));
        prop_assert_eq!(header.next_offset(), Offset(base + pairs.len() as u64));
        prop_assert_eq!(header.max_timestamp.0, pairs.iter().map(|pair| pair.0).max().unwrap());
        let got: Vec<_> = batch.records(&LIMITS).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(got.len(), pairs.len());
        for (index, (record, pair)) in got.iter().zip(&pairs).enumerate() {
            let headers: Vec<_> = record.headers.iter()
                .map(|header| (header.key.to_vec(), header.value.as_ref().map(|v| v.to_vec())))
                .collect();
            let index = u32::try_from(index).unwrap();
            prop_assert_eq!(record.offset, Offset(base + u64::from(index)));
            prop_assert_eq!(record.sequence, Some(Sequence(10 + index)));
            prop_assert_eq!(record.timestamp, Timestamp(pair.0));
            prop_assert_eq!(record.key.as_deref(), pair.1.as_deref());
            prop_assert_eq!(record.value.as_deref(), pair.2.as_deref());
            prop_assert_eq!(&headers, &pair.3);
        }
    }

    #[test]
    fn mutated_bytes_are_errors_not_panics(
        codec in codec(),
        pairs in records(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = build(codec, 0, &pairs).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let rules = CheckRules::default();
        let limits = DecompressLimits { output_max: 1 << 20, ..LIMITS };
        for batch in Batches::new(bytes.into()) {
            let Ok(batch) = batch else { break };
            // Whatever the checksum says, walking must be safe.
            let _ = check_crc(batch.bytes());
            let _ = check_header(batch.header(), &rules, WallTime::from_millis(0));
            let _ = check_records(&batch, &rules, &limits, WallTime::from_millis(0));
            if let Ok(records) = batch.records(&limits) {
                for record in records.flatten() {
                    let _ = ControlType::of(&record);
                }
            }
        }
    }

    #[test]
    fn a_single_wrong_byte_behind_the_crc_is_seen(
        codec in codec(), pairs in records(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = build(codec, 0, &pairs).to_vec();
        let at = format::ATTRIBUTES_AT + at.index(bytes.len() - format::ATTRIBUTES_AT);
        bytes[at] ^= flip;
        let got = Batch::parse_checked(bytes.into());
        prop_assert!(matches!(got, Err(BatchError::Crc { .. })), "{got:?}");
    }

    #[test]
    fn recompression_keeps_everything_else(from in codec(), to in codec(), pairs in records()) {
        let batch = Batch::parse(build(from, 3, &pairs)).unwrap();
        let other = batch.recompress(to.into(), &LIMITS).unwrap().unwrap();
        check_crc(other.bytes()).unwrap();
        prop_assert_eq!(other.header().compression(), Ok(to));
        let read = |batch: &Batch| {
            batch.records(&LIMITS).unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        prop_assert_eq!(read(&batch), read(&other));
    }
}

fn small() -> BatchBuilder {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push_pair(Timestamp(1000), Some(b"a"), Some(b"1"));
    builder.push_pair(Timestamp(2000), None, Some(b"2"));
    builder
}

fn patched(batch: &Batch, patch: &Patch) -> Batch {
    let bytes = [&batch.patched_header(patch)[..], &batch.body()].concat();
    Batch::parse_checked(bytes.into()).expect("stays a batch")
}

#[test]
fn a_leader_patches_the_header_only() {
    let batch = Batch::parse(small().build().unwrap()).unwrap();
    let mut patch = Patch {
        base_offset: Offset(77),
        leader_epoch: LeaderEpoch(4),
        timestamp_type: TimestampType::CreateTime,
        max_timestamp: None,
    };
    let placed = patched(&batch, &patch);
    assert_eq!(placed.header().base_offset, Offset(77));
    assert_eq!(placed.header().leader_epoch, Some(LeaderEpoch(4)));
    assert_eq!(placed.header().crc, batch.header().crc, "neither field is covered");
    assert_eq!(placed.body(), batch.body());

    patch.timestamp_type = TimestampType::LogAppendTime;
    patch.max_timestamp = Some(Timestamp(9000));
    let stamped = patched(&batch, &patch);
    assert_ne!(stamped.header().crc, batch.header().crc);
    let times: Vec<_> =
        stamped.records(&LIMITS).unwrap().map(|record| record.unwrap().timestamp.0).collect();
    assert_eq!(times, [9000, 9000]);
}

#[test]
fn batches_stop_at_a_cut_one_and_at_a_wrong_one() {
    let one = small().build().unwrap();
    let cut = [&one[..], &one[..one.len() - 1]].concat();
    let mut walk = Batches::new(cut.into());
    assert_eq!(walk.next().unwrap().unwrap().bytes(), &one);
    assert!(walk.next().is_none());
    assert_eq!(walk.rest().len(), one.len() - 1);

    let mut old = one.to_vec();
    old[format::MAGIC_AT] = 1;
    let wrong = [&one[..], &old[..], &one[..]].concat();
    let got: Vec<_> = Batches::new(wrong.into()).map(|batch| batch.map(|_| ())).collect();
    assert_eq!(got, [Ok(()), Err(BatchError::Legacy(1))]);
}

#[test]
fn header_check_refuses_what_kafka_refuses() {
    let now = WallTime::from_millis(10_000);
    let rules =
        CheckRules { timestamp_after_max: Duration::from_millis(500), ..Default::default() };
    let check = |edit: &dyn Fn(&mut ottla_record::BatchHeader)| {
        let mut header = *Batch::parse(small().build().unwrap()).unwrap().header();
        edit(&mut header);
        check_header(&header, &rules, now)
    };
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(check(&|h| h.base_offset = Offset(1)), Err(BatchError::ClientBaseOffset(1)));
    assert_eq!(check(&|h| h.record_count = 0), Err(BatchError::RecordCount(0)));
    assert_eq!(
        check(&|h| h.record_count = 3),
        Err(BatchError::CountMismatch { offsets: 2, count: 3 })
    );
    assert_eq!(
        check(&|h| h.attributes.0 |= format::CONTROL_BIT),
        Err(BatchError::ControlFromClient)
    );
    assert_eq!(check(&|h| h.producer_id = Some(ProducerId(1))), Err(BatchError::MissingSequence));
    assert_eq!(check(&|h| h.attributes.0 |= 5), Err(BatchError::UnknownCodec(5)));
    assert_eq!(check(&|h| h.max_timestamp.0 = 10_500), Ok(()));
    assert_eq!(check(&|h| h.max_timestamp.0 = 10_501), Err(BatchError::Timestamp(10_501)));
    let append_time = |h: &mut ottla_record::BatchHeader| {
        h.attributes = h.attributes.with_timestamp_type(TimestampType::LogAppendTime);
    };
    assert_eq!(check(&append_time), Ok(()), "Kafka takes the timestamp as the producer's");
    let rules = CheckRules { timestamp_type: TimestampType::LogAppendTime, ..rules };
    let mut header = *Batch::parse(small().build().unwrap()).unwrap().header();
    header.max_timestamp.0 = 99_999;
    assert_eq!(check_header(&header, &rules, now), Ok(()), "the broker's clock replaces it");
    append_time(&mut header);
    assert_eq!(check_header(&header, &rules, now), Err(BatchError::Timestamp(99_999)));
}

#[test]
fn record_check_lists_every_refused_record() {
    let batch = Batch::parse(small().build().unwrap()).unwrap();
    let now = WallTime::from_millis(1500);
    let mut rules = CheckRules::default();
    let check = |rules: &CheckRules| check_records(&batch, rules, &LIMITS, now);
    assert_eq!(check(&rules), Ok(Checked { max_timestamp: Timestamp(2000) }));
    rules.keys_required = true;
    rules.timestamp_before_max = Duration::from_millis(400);
    assert_eq!(
        check(&rules),
        Err(RecordsRefused::Records(vec![
            RefusedRecord { index: 0, reason: RefusedReason::Timestamp(Timestamp(1000)) },
            RefusedRecord { index: 1, reason: RefusedReason::MissingKey },
        ]))
    );
}

#[test]
fn records_must_fill_the_batch_exactly() {
    let whole = small().build().unwrap();
    let batch = |count: u32, extra: &[u8]| {
        let mut bytes = [&whole[..], extra].concat();
        let length = i32::try_from(bytes.len() - format::OVERHEAD).unwrap();
        bytes[format::LENGTH_AT..][..4].copy_from_slice(&length.to_be_bytes());
        bytes[format::RECORD_COUNT_AT..][..4].copy_from_slice(&count.to_be_bytes());
        Batch::parse(bytes.into()).unwrap().records(&LIMITS).unwrap().last().unwrap()
    };
    assert!(batch(2, &[]).is_ok());
    assert_eq!(batch(2, &[0]).unwrap_err(), BatchError::RecordSize { index: 1 });
    assert_eq!(batch(1, &[]).unwrap_err(), BatchError::RecordSize { index: 0 });
    assert!(matches!(batch(3, &[]), Err(BatchError::Record { index: 2, .. })));
    assert!(matches!(batch(3, &[2, 0]), Err(BatchError::Record { index: 2, .. })));
}
