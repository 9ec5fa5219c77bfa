//! A producer's story as data: what each batch meets.

use ottla_record::{Attributes, BatchHeader, format};
use proptest::prelude::*;

use super::*;

fn batch(id: u64, epoch: u16, first: u32, count: u32, at: u64) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(at),
        length: 0,
        leader_epoch: None,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: count - 1,
        base_timestamp: Timestamp(1000),
        max_timestamp: Timestamp(1000),
        producer_id: Some(ProducerId(id)),
        producer_epoch: Some(ProducerEpoch(epoch)),
        base_sequence: Some(Sequence(first)),
        record_count: count,
    }
}

fn outcome(producers: &mut Producers, header: &BatchHeader) -> String {
    match producers.check(header) {
        Ok(None) => {
            producers.note(header);
            "new".to_owned()
        }
        Ok(Some(batch)) => format!("repeat of {}..{}", batch.first_offset(), batch.last_offset),
        Err(AppendError::OutOfOrderSequence { first, last, .. }) => {
            format!("{first} does not follow {:?}", last.map(|last| last.0))
        }
        Err(AppendError::ProducerFenced { epoch, current, .. }) => {
            format!("epoch {epoch} is fenced by {current}")
        }
        Err(other) => format!("{other:?}"),
    }
}

#[test]
fn a_producers_story() {
    let mut producers = Producers::default();
    let mut offset = 0;
    let story = [
        // epoch, first sequence, records -> what happens
        ((0, 5, 1), "new"), // unknown producer: any sequence
        ((0, 6, 2), "new"),
        ((0, 6, 2), "repeat of 1..2"),
        ((0, 5, 1), "repeat of 0..0"),
        ((0, 7, 1), "7 does not follow Some(7)"), // overlaps, but is no repeat
        ((0, 9, 1), "9 does not follow Some(7)"),
        ((0, 8, 1), "new"),
        ((1, 3, 1), "3 does not follow None"), // a new epoch begins at 0
        ((1, 0, 1), "new"),
        ((0, 9, 1), "epoch 0 is fenced by 1"),
        ((0, 8, 1), "epoch 0 is fenced by 1"), // repeats of older epochs are fenced too
        ((1, 1, 1), "new"),
    ];
    for ((epoch, first, count), expected) in story {
        let header = batch(7, epoch, first, count, offset);
        let got = outcome(&mut producers, &header);
        assert_eq!(got, expected, "epoch {epoch}, sequence {first}");
        if got == "new" {
            offset += u64::from(count);
        }
    }
}

#[test]
fn five_batches_are_remembered_and_sequences_wrap() {
    let mut producers = Producers::default();
    let start = i32::MAX.unsigned_abs() - 2;
    for step in 0..6_u32 {
        let first = Sequence(start).plus(step).0;
        assert_eq!(outcome(&mut producers, &batch(1, 0, first, 1, step.into())), "new");
    }
    assert_eq!(outcome(&mut producers, &batch(1, 0, 0, 1, 99)), "repeat of 3..3");
    assert_eq!(outcome(&mut producers, &batch(1, 0, start + 1, 1, 99)), "repeat of 1..1");
    assert_eq!(
        outcome(&mut producers, &batch(1, 0, start, 1, 99)),
        format!("{start} does not follow Some(2)"),
        "the sixth last is forgotten"
    );
}

#[test]
fn silent_producers_expire_unless_in_a_transaction() {
    let mut producers = Producers::default();
    producers.note(&batch(1, 0, 0, 1, 0));
    let mut open = batch(2, 0, 0, 1, 1);
    open.attributes.0 |= format::TRANSACTIONAL_BIT;
    producers.note(&open);
    assert_eq!(producers.first_open(), Some(Offset(1)));
    let later = WallTime::from_millis(1000 + 60_000);
    assert_eq!(producers.expire(later, Duration::from_secs(61)), 0);
    assert_eq!(producers.expire(later, Duration::from_secs(60)), 1);
    let mut marker = batch(2, 0, 0, 1, 2);
    marker.attributes.0 |= format::TRANSACTIONAL_BIT | format::CONTROL_BIT;
    producers.note_marker(&marker, Marker { aborts: false, coordinator_epoch: 4 });
    assert_eq!(producers.first_open(), None);
    assert_eq!(producers.views()[0].coordinator_epoch, Some(4));
    assert_eq!(producers.expire(later, Duration::from_secs(60)), 1);
}

#[test]
fn a_snapshot_is_kafkas() {
    let mut producers = Producers::default();
    producers.note(&batch(0x0102, 3, 10, 5, 100));
    let file = encode(&producers);
    let expected = [
        &[0, 1][..],                  // version
        &file[2..6],                  // crc, checked below
        &[0, 0, 0, 1],                // one entry
        &[0, 0, 0, 0, 0, 0, 1, 2],    // producer id
        &[0, 3],                      // epoch
        &[0, 0, 0, 14],               // last sequence
        &[0, 0, 0, 0, 0, 0, 0, 104],  // last offset
        &[0, 0, 0, 4],                // offset delta
        &[0, 0, 0, 0, 0, 0, 3, 0xe8], // timestamp
        &[0xff; 4],                   // coordinator epoch
        &[0xff; 8],                   // no transaction
    ];
    assert_eq!(file, expected.concat());
    assert_eq!(decode(file.clone()).unwrap(), as_stored(producers));
    for at in 0..file.len() {
        let mut bad = file.to_vec();
        bad[at] ^= 1;
        assert!(decode(bad.into()).is_err(), "byte {at}");
        assert!(decode(file.slice(..at)).is_err(), "cut at {at}");
    }
}

/// A snapshot keeps the last batch of each producer only, as Kafka's does.
fn as_stored(mut producers: Producers) -> Producers {
    for entry in producers.entries.values_mut() {
        entry.partial = true;
        while entry.batches.len() > 1 {
            entry.batches.pop_front();
        }
    }
    producers
}

proptest! {
    #[test]
    fn snapshots_come_back(stories in prop::collection::vec((0..50_u64, 0..3_u16, 0..9_u32), 0..40)) {
        let mut producers = Producers::default();
        for (at, (id, epoch, first)) in stories.into_iter().enumerate() {
            producers.note(&batch(id, epoch, first, 1, at as u64));
        }
        prop_assert_eq!(decode(encode(&producers)).unwrap(), as_stored(producers));
    }
}
