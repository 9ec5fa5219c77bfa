//! A partition's log against what Kafka does, one behaviour at a time.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{DIR, PARENT, at, batch, client, config, create, names, offsets, reopen, values};
use ottla_log::storage::{CrashMode, Fault, SimStorage};
use ottla_log::{
    AppendError, AppendOrigin, ExpiryReason, LogConfig, LogError, PartitionLog, ReadError, Storage,
    StorageFile,
};
use ottla_record::{BatchBuilder, BatchError, Batches, Compression, TimestampType};
use ottla_types::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId, Uuid,
};

#[test]
fn records_get_offsets_and_epochs() {
    let (_, mut log) = create(config());
    let info = log.append(&client(&log, &["a", "b"]), LeaderEpoch(3), at(5)).unwrap();
    assert_eq!((info.base_offset, info.last_offset), (Offset(0), Offset(1)));
    log.append(&client(&log, &["c"]), LeaderEpoch(4), at(6)).unwrap();
    assert_eq!(values(&mut log), ["a", "b", "c"]);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
    let end = |epoch| log.end_offset_for_epoch(LeaderEpoch(epoch)).map(|end| end.end_offset.0);
    assert_eq!([end(2), end(3), end(4), end(5)], [Some(0), Some(2), Some(3), None]);
}

#[test]
fn reads_are_whole_batches_within_their_bounds() {
    let (_, mut log) = create(config());
    for text in ["a", "b", "c", "d"] {
        log.append(&client(&log, &[text]), LeaderEpoch(0), at(5)).unwrap();
    }
    let one = client(&log, &["a"]).size();
    let mut read = |from: u64, max: usize, upper: u64, min_one: bool| {
        let slice = log.read(Offset(from), max, Offset(upper), min_one).unwrap();
        (slice.first_offset.0, slice.next_offset.0, slice.len / one)
    };
    assert_eq!(read(0, 1 << 20, 4, false), (0, 4, 4));
    assert_eq!(read(1, 1 << 20, 3, false), (1, 3, 2));
    assert_eq!(read(0, 3 * one - 1, 4, false), (0, 2, 2));
    assert_eq!(read(0, one - 1, 4, false), (0, 0, 0));
    assert_eq!(read(0, one - 1, 4, true), (0, 1, 1));
    assert_eq!(read(2, 1 << 20, 2, true), (2, 2, 0));
    assert_eq!(read(4, 1 << 20, 9, true), (4, 4, 0));
    let error = log.read(Offset(5), 1, Offset(9), true).unwrap_err();
    assert!(matches!(error, ReadError::OutOfRange { start: Offset(0), end: Offset(4) }));
}

#[test]
fn a_batch_is_never_split_by_the_upper_bound() {
    let (_, mut log) = create(config());
    log.append(&client(&log, &["a", "b", "c"]), LeaderEpoch(0), at(5)).unwrap();
    log.append(&client(&log, &["d", "e"]), LeaderEpoch(0), at(5)).unwrap();
    let mut next = |from: u64, upper: u64| {
        log.read(Offset(from), 1 << 20, Offset(upper), true).unwrap().next_offset.0
    };
    assert_eq!([next(0, 2), next(0, 3), next(1, 4), next(2, 5), next(3, 4)], [0, 3, 3, 5, 3]);
}

#[test]
fn segments_roll_by_size_and_by_the_age_of_their_first_batch() {
    let small = LogConfig { segment_bytes: 300, ..config() };
    let (storage, mut log) = create(small);
    for round in 0..6 {
        log.append(&client(&log, &["0123456789"]), LeaderEpoch(0), at(round)).unwrap();
    }
    assert_eq!(log.segment_count(), 2, "{:?}", names(&storage));
    assert_eq!(values(&mut log).len(), 6);

    let old = LogConfig { segment_age_max: Duration::from_millis(10), ..config() };
    let (_, mut log) = create(old);
    let mut stamped = |millis: i64| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push_pair(Timestamp(millis), None, Some(b"x"));
        let prepared =
            log.config().prepare(builder.build().unwrap(), AppendOrigin::Client, at(9)).unwrap();
        log.append(&prepared, LeaderEpoch(0), at(9)).unwrap();
        log.segment_count()
    };
    assert_eq!([stamped(100), stamped(110), stamped(111)], [1, 1, 2]);
}

#[test]
fn a_clean_stop_is_opened_without_reading_batches() {
    let (storage, mut log) = create(LogConfig { segment_bytes: 200, ..config() });
    for text in ["aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc", "dddddddddd"] {
        log.append(&client(&log, &[text]), LeaderEpoch(1), at(5)).unwrap();
    }
    log.close().unwrap();
    let after = storage.crash(CrashMode::Nothing);
    let (mut log, report) = reopen(&after, log.config(), true, 0);
    assert_eq!(report.checked_bytes, 0);
    assert_eq!((log.end_offset(), log.flushed_to()), (Offset(4), Offset(4)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
    assert_eq!(values(&mut log).len(), 4);
    log.append(&client(&log, &["e"]), LeaderEpoch(1), at(6)).unwrap();
    assert_eq!(offsets(&mut log), [0, 1, 2, 3, 4]);
}

#[test]
fn a_torn_tail_is_cut_off_and_kept() {
    let (storage, mut log) = create(config());
    for text in ["a", "b", "c"] {
        log.append(&client(&log, &[text]), LeaderEpoch(0), at(5)).unwrap();
    }
    let size = log.size_bytes();
    let path = Path::new(DIR).join("00000000000000000000.log");
    storage.open(&path).unwrap().set_len(size as u64 - 5).unwrap();
    let (mut log, report) = reopen(&storage, log.config(), false, 0);
    assert_eq!(values(&mut log), ["a", "b"]);
    assert_eq!(report.truncated_bytes, size as u64 / 3 - 5);
    let kept = storage.read_small(&report.quarantined[0]).unwrap().unwrap();
    assert_eq!(kept.len() as u64, report.truncated_bytes);
    log.append(&client(&log, &["d"]), LeaderEpoch(0), at(6)).unwrap();
    assert_eq!(offsets(&mut log), [0, 1, 2]);
}

#[test]
fn damage_that_is_no_torn_tail_keeps_the_log_offline() {
    let (storage, mut log) = create(config());
    for text in ["a", "b", "c"] {
        log.append(&client(&log, &[text]), LeaderEpoch(0), at(5)).unwrap();
    }
    let batch_len = log.size_bytes() as u64 / 3;
    let config = Arc::clone(log.config());
    let path = Path::new(DIR).join("00000000000000000000.log");
    let damage = |position: u64| {
        let storage = storage.crash(CrashMode::Everything);
        storage.open(&path).unwrap().write_at(&[&[0xff; 8]], position).unwrap();
        storage
    };
    let open = |storage: &SimStorage, point: u64, accept: bool| {
        common::try_open(storage, &config, false, point, accept)
            .map(|(mut log, _)| values(&mut log))
            .map_err(|error| error.to_string())
    };
    let middle = damage(batch_len + 61);
    let text = open(&middle, 0, false).unwrap_err();
    assert!(text.contains("whole batches follow"), "{text}");
    let tail = damage(2 * batch_len + 61);
    let text = open(&tail, 3, false).unwrap_err();
    assert!(text.contains("before the recovery point"), "{text}");
    // Nothing was changed, so asking again gives the same answer.
    assert!(open(&middle, 0, false).is_err());
    // Behind the recovery point, with nothing after it: a torn tail.
    assert_eq!(open(&tail, 2, false).unwrap(), ["a", "b"]);
    // An operator may accept it.
    assert_eq!(open(&middle, 0, true).unwrap(), ["a"]);
}

#[test]
fn repeats_are_answered_with_the_first_offsets() {
    let (storage, mut log) = create(config());
    let send = |log: &mut PartitionLog<SimStorage>, epoch: u16, first: u32| {
        let mut builder = BatchBuilder::new(Compression::None).producer(
            ProducerId(9),
            ProducerEpoch(epoch),
            Sequence(first),
        );
        builder.push_pair(Timestamp(1), None, Some(b"x"));
        let prepared = log.config().prepare(builder.build().unwrap(), AppendOrigin::Client, at(5));
        log.append(&prepared.unwrap(), LeaderEpoch(0), at(5))
    };
    assert_eq!(send(&mut log, 0, 0).unwrap().base_offset, Offset(0));
    assert_eq!(send(&mut log, 0, 1).unwrap().base_offset, Offset(1));
    let again = send(&mut log, 0, 0).unwrap();
    assert!(again.duplicate && again.bytes == 0 && again.base_offset == Offset(0));
    assert!(matches!(send(&mut log, 0, 5), Err(AppendError::OutOfOrderSequence { .. })));
    send(&mut log, 1, 0).unwrap();
    assert!(matches!(send(&mut log, 0, 2), Err(AppendError::ProducerFenced { .. })));
    assert_eq!(log.end_offset(), Offset(3));
    // Unclean: the batches tell; clean: the snapshot does.
    let (mut unclean, _) = reopen(&storage, log.config(), false, 0);
    assert!(send(&mut unclean, 1, 0).unwrap().duplicate);
    log.close().unwrap();
    let (mut clean, _) = reopen(&storage, log.config(), true, 0);
    assert!(send(&mut clean, 1, 0).unwrap().duplicate);
    assert_eq!(clean.describe_producers()[0].last_sequence, Some(Sequence(0)));
}

#[test]
fn retention_takes_old_segments_but_none_above_the_high_watermark() {
    let short =
        LogConfig { segment_bytes: 100, retention: Some(Duration::from_millis(100)), ..config() };
    let (storage, mut log) = create(short);
    for millis in [1000, 1010, 1500] {
        log.append(&common::stamped(&log, millis), LeaderEpoch(0), at(millis)).unwrap();
    }
    assert_eq!(log.segment_count(), 3);
    let mut expired = |now: i64, high_watermark: u64| {
        let expired = log.expired_segments(at(now), Offset(high_watermark)).unwrap();
        expired.iter().map(|segment| segment.base_offset.0).collect::<Vec<_>>()
    };
    assert_eq!(expired(1100, 3), []);
    assert_eq!(expired(1101, 3), [0]);
    assert_eq!(expired(1200, 3), [0, 1]);
    assert_eq!(expired(1200, 1), [0]);
    assert_eq!(expired(9999, 3), [0, 1, 2]);
    let deleted = log.delete_expired(at(9999), Offset(3)).unwrap().unwrap();
    assert_eq!(deleted.segments.len(), 3);
    assert_eq!((log.log_start_offset(), log.end_offset()), (Offset(3), Offset(3)));
    assert!(names(&storage).iter().any(|name| name == "00000000000000000000.log.deleted"));
    deleted.remove().unwrap();
    assert!(!names(&storage).iter().any(|name| name.ends_with(".deleted")));
    log.append(&common::stamped(&log, 9999), LeaderEpoch(0), at(9999)).unwrap();
    assert_eq!(offsets(&mut log), [3]);
}

#[test]
fn retention_by_size_leaves_at_least_the_limit() {
    let small = LogConfig { segment_bytes: 100, retention_bytes: Some(150), ..config() };
    let (_, mut log) = create(small);
    for _ in 0..4 {
        log.append(&client(&log, &["x"]), LeaderEpoch(0), at(1)).unwrap();
    }
    let size = log.size_bytes() / 4;
    let expired = log.expired_segments(at(1), Offset(4)).unwrap();
    assert!(expired.iter().all(|segment| segment.reason == ExpiryReason::Size));
    let left = 4 - expired.len();
    assert!(left * size >= 150 && (left - 1) * size < 150, "{left} segments of {size} left");
}

#[test]
fn deleted_records_are_out_of_range_and_their_segments_go() {
    let (_, mut log) = create(LogConfig { segment_bytes: 100, ..config() });
    for _ in 0..4 {
        log.append(&client(&log, &["x"]), LeaderEpoch(0), at(1)).unwrap();
    }
    let refused = log.delete_records(Offset(4), Offset(3)).unwrap_err();
    assert!(matches!(refused, LogError::OutOfRange { limit: Offset(3), .. }));
    assert_eq!(log.delete_records(Offset(2), Offset(3)).unwrap(), Offset(2));
    assert_eq!(log.delete_records(Offset(1), Offset(3)).unwrap(), Offset(2));
    assert!(matches!(log.read(Offset(1), 1, Offset(4), true), Err(ReadError::OutOfRange { .. })));
    let deleted = log.delete_expired(at(1), Offset(3)).unwrap().unwrap();
    assert_eq!(deleted.segments.len(), 2);
    assert_eq!(deleted.segments[0].reason, ExpiryReason::BeforeStart);
    assert_eq!(offsets(&mut log), [2, 3]);
}

#[test]
fn offsets_are_found_by_timestamp() {
    let (_, mut log) = create(LogConfig { segment_bytes: 300, ..config() });
    for millis in [100, 300, 200, 400, 350] {
        log.append(&common::stamped(&log, millis), LeaderEpoch(7), at(millis)).unwrap();
    }
    assert!(log.segment_count() > 1);
    let mut find = |millis: i64| {
        let found = log.offset_for_timestamp(Timestamp(millis)).unwrap();
        found.map(|found| (found.timestamp.0, found.offset.0))
    };
    assert_eq!(find(0), Some((100, 0)));
    assert_eq!(find(101), Some((300, 1)));
    assert_eq!(find(301), Some((400, 3)));
    assert_eq!(find(401), None);
    let max = log.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((max.offset, max.leader_epoch), (Offset(3), Some(LeaderEpoch(7))));
    log.delete_records(Offset(4), Offset(5)).unwrap();
    assert_eq!(log.offset_for_timestamp(Timestamp(0)).unwrap().unwrap().offset, Offset(4));
}

#[test]
fn log_append_time_is_stamped_and_checked_by_readers() {
    let (_, mut log) =
        create(LogConfig { timestamp_type: TimestampType::LogAppendTime, ..config() });
    let info = log.append(&client(&log, &["a"]), LeaderEpoch(0), at(777)).unwrap();
    assert_eq!(info.log_append_time, Some(Timestamp(5)), "stamped when it was prepared");
    let bytes = log.read_bytes(Offset(0), 1 << 20, Offset(1)).unwrap();
    let batch = Batches::new(bytes).next().unwrap().unwrap();
    ottla_record::check_crc(batch.bytes()).unwrap();
    assert_eq!(batch.header().max_timestamp, Timestamp(5));
}

#[test]
fn a_topic_may_demand_another_codec() {
    let zstd = LogConfig { compression: Some(Compression::Zstd.into()), ..config() };
    let (_, mut log) = create(zstd);
    log.append(&client(&log, &["a", "b"]), LeaderEpoch(0), at(5)).unwrap();
    let bytes = log.read_bytes(Offset(0), 1 << 20, Offset(2)).unwrap();
    let batch = Batches::new(bytes).next().unwrap().unwrap();
    assert_eq!(batch.header().compression(), Ok(Compression::Zstd));
    assert_eq!(values(&mut log), ["a", "b"]);
}

#[test]
fn batches_that_no_leader_takes_are_named() {
    let (_, log) = create(LogConfig { max_message_bytes: 100, ..config() });
    let prepare = |bytes| log.config().prepare(bytes, AppendOrigin::Client, at(5));
    let big = batch(&["0123456789012345678901234567890123456789"]);
    assert!(matches!(prepare(big), Err(AppendError::TooLarge { max: 100, .. })));
    assert!(matches!(prepare(bytes::Bytes::new()), Err(AppendError::BatchCount(0))));
    let two = [batch(&["a"]), batch(&["b"])].concat();
    assert!(matches!(prepare(two.into()), Err(AppendError::BatchCount(2))));
    let mut broken = batch(&["a"]).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert!(matches!(prepare(broken.into()), Err(AppendError::Batch(_))));
    // A damaged field is damage, whatever it says.
    let mut broken = batch(&["a"]).to_vec();
    broken[ottla_record::format::LAST_OFFSET_DELTA_AT] = 0xff;
    let got = prepare(broken.into());
    assert!(matches!(got, Err(AppendError::Batch(BatchError::Crc { .. }))), "{got:?}");
    let mut shifted = batch(&["a"]).to_vec();
    shifted[7] = 1;
    let got = prepare(shifted.into());
    assert!(matches!(got, Err(AppendError::Batch(BatchError::ClientBaseOffset(1)))));
    let tiny = LogConfig { segment_bytes: 60, ..config() };
    let got = tiny.prepare(batch(&["a"]), AppendOrigin::Client, at(5));
    assert!(matches!(got, Err(AppendError::LargerThanSegment { max: 60, .. })));
    let keyed = LogConfig { compact: true, ..config() };
    let got = keyed.prepare(batch(&["a"]), AppendOrigin::Client, at(5));
    assert!(matches!(got, Err(AppendError::Records(_))));
}

#[test]
fn given_offsets_are_kept_and_must_not_go_back() {
    let (_, mut log) = create(config());
    let given = |base: u64, epoch: u32| {
        let mut builder = BatchBuilder::new(Compression::None)
            .base_offset(Offset(base))
            .leader_epoch(LeaderEpoch(epoch));
        builder.push_pair(Timestamp(1), None, Some(b"x"));
        builder.build().unwrap()
    };
    let both = [given(0, 1), given(5, 2)].concat();
    let cut = [&both[..], &both[..20]].concat();
    let info = log.append_given(cut.into(), at(1)).unwrap().unwrap();
    assert_eq!((info.base_offset, info.last_offset), (Offset(0), Offset(5)));
    let error = log.append_given(given(5, 2), at(1)).unwrap_err();
    assert!(matches!(error, AppendError::UnexpectedOffset { first: Offset(5), end: Offset(6) }));
    assert!(log.append_given(bytes::Bytes::new(), at(1)).unwrap().is_none());
    assert_eq!(log.epoch_at(Offset(5)), Some(LeaderEpoch(2)));
    assert_eq!(offsets(&mut log), [0, 5]);
}

#[test]
fn truncation_forgets_records_epochs_and_producers() {
    let (storage, mut log) = create(LogConfig { segment_bytes: 200, ..config() });
    for round in 0..6_u32 {
        let mut builder = BatchBuilder::new(Compression::None).producer(
            ProducerId(1),
            ProducerEpoch(0),
            Sequence(round),
        );
        builder.push_pair(Timestamp(1), None, Some(b"0123456789"));
        let prepared =
            log.config().prepare(builder.build().unwrap(), AppendOrigin::Client, at(5)).unwrap();
        log.append(&prepared, LeaderEpoch(round), at(5)).unwrap();
    }
    log.flush().unwrap();
    let segments = log.segment_count();
    assert_eq!(log.truncate_to(Offset(9)).unwrap(), Offset(6));
    assert_eq!(log.truncate_to(Offset(3)).unwrap(), Offset(3));
    assert!(log.segment_count() < segments);
    assert_eq!((log.flushed_to(), log.latest_epoch()), (Offset(3), Some(LeaderEpoch(2))));
    assert_eq!(log.describe_producers()[0].last_sequence, Some(Sequence(2)));
    log.append(&client(&log, &["new"]), LeaderEpoch(9), at(6)).unwrap();
    assert_eq!(offsets(&mut log), [0, 1, 2, 3]);
    let (mut log, _) = reopen(&storage, log.config(), false, 0);
    assert_eq!(offsets(&mut log), [0, 1, 2, 3]);
    log.truncate_fully(Offset(50), at(7)).unwrap();
    assert_eq!((log.log_start_offset(), log.end_offset()), (Offset(50), Offset(50)));
    assert_eq!(log.producer_count(), 0);
}

#[test]
fn a_flush_that_began_before_a_truncation_proves_nothing() {
    let (_, mut log) = create(config());
    log.append(&client(&log, &["a"]), LeaderEpoch(0), at(1)).unwrap();
    log.append(&client(&log, &["b"]), LeaderEpoch(0), at(1)).unwrap();
    let job = log.prepare_flush().unwrap();
    log.truncate_to(Offset(1)).unwrap();
    log.append(&client(&log, &["c"]), LeaderEpoch(1), at(1)).unwrap();
    let outcome = job.run();
    assert_eq!(log.complete_flush(job, outcome).unwrap(), Offset(0));
    assert_eq!(log.flush().unwrap(), Offset(2));
    assert!(log.prepare_flush().is_none());
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room() {
    let (storage, mut log) = create(config());
    log.append(&client(&log, &["a"]), LeaderEpoch(0), at(1)).unwrap();
    storage.set_capacity(Some(log.size_bytes() + 10));
    let refused = log.append(&client(&log, &["b"]), LeaderEpoch(0), at(1));
    assert!(matches!(refused, Err(AppendError::NoSpace { at: Offset(1), .. })));
    assert_eq!(values(&mut log), ["a"]);
    let file = storage.open(&Path::new(DIR).join("00000000000000000000.log")).unwrap();
    assert_eq!(file.len().unwrap(), log.size_bytes() as u64, "no half of a batch stays");
    storage.set_capacity(None);
    log.append(&client(&log, &["c"]), LeaderEpoch(0), at(1)).unwrap();
    assert_eq!(values(&mut log), ["a", "c"]);
}

#[test]
fn a_disk_that_is_full_while_rolling_hides_nothing() {
    let large = "x".repeat(200);
    for call in 1.. {
        let rules = LogConfig { segment_bytes: 500, ..config() };
        let (storage, mut log) = create(rules);
        let mut expected = vec!["a", &large];
        for text in &expected {
            log.append(&client(&log, &[text]), LeaderEpoch(0), at(1)).unwrap();
        }
        // Too large for the rest of the segment; what comes after it is not.
        storage.inject(Fault::any().full().nth(call));
        let rolled = log.append(&client(&log, &[&large]), LeaderEpoch(0), at(1)).is_ok();
        storage.clear_faults();
        if rolled {
            expected.push(&large);
        }
        log.append(&client(&log, &["b"]), LeaderEpoch(0), at(1)).unwrap();
        expected.push("b");
        log.flush().unwrap();
        let recovery_point = log.flushed_to().0;
        for disk in [storage.crash(CrashMode::Nothing), storage.crash(CrashMode::Everything)] {
            let (mut log, _) = reopen(&disk, log.config(), false, recovery_point);
            assert_eq!(values(&mut log), expected, "a fault at call {call}");
        }
        if rolled {
            assert!(call > 5, "rolling makes some calls");
            return;
        }
    }
}

#[test]
fn a_segment_that_begins_inside_the_one_before_hides_nothing() {
    let (storage, mut log) = create(config());
    for text in ["a", "b", "c"] {
        log.append(&client(&log, &[text]), LeaderEpoch(0), at(1)).unwrap();
    }
    log.flush().unwrap();
    storage.create(&Path::new(DIR).join("00000000000000000001.log")).unwrap();
    let (mut log, _) = reopen(&storage, log.config(), false, 3);
    assert_eq!(values(&mut log), ["a", "b", "c"]);
}

#[test]
fn a_failed_sync_is_the_end() {
    let (storage, mut log) = create(config());
    log.append(&client(&log, &["a"]), LeaderEpoch(0), at(1)).unwrap();
    storage.lose_power_at_sync(storage.syncs() + 1);
    assert!(matches!(log.flush(), Err(LogError::Disk(_))));
    assert!(log.is_failed());
    let refused = log.append(&client(&log, &["b"]), LeaderEpoch(0), at(1));
    assert!(matches!(refused, Err(AppendError::Failed)));
    assert!(matches!(log.close(), Err(LogError::Failed)));
    assert!(log.prepare_flush().is_none());
}

#[test]
fn what_a_killed_process_left_in_memory_is_not_called_durable() {
    let (storage, mut log) = create(config());
    log.append(&client(&log, &["a"]), LeaderEpoch(0), at(1)).unwrap();
    // The process dies, the machine goes on: the record is in the page cache only.
    let (mut log, _) = reopen(&storage, log.config(), false, 0);
    assert_eq!((log.end_offset(), log.flushed_to()), (Offset(1), Offset(0)));
    assert_eq!(log.flush().unwrap(), Offset(1));
    let (mut log, _) = reopen(&storage.crash(CrashMode::Nothing), log.config(), false, 1);
    assert_eq!(values(&mut log), ["a"]);
}

#[test]
fn missing_indexes_are_rebuilt_and_orphans_removed() {
    let (storage, mut log) =
        create(LogConfig { segment_bytes: 200, index_interval_bytes: 0, ..config() });
    for _ in 0..5 {
        log.append(&client(&log, &["0123456789"]), LeaderEpoch(0), at(1)).unwrap();
    }
    log.close().unwrap();
    let dir = Path::new(DIR);
    storage.remove_file(&dir.join("00000000000000000000.index")).unwrap();
    storage.create(&dir.join("00000000000000000099.timeindex")).unwrap();
    let (mut log, report) = reopen(&storage, log.config(), true, 0);
    assert_eq!((report.rebuilt_segments, report.removed_files), (1, 1));
    assert_eq!(values(&mut log).len(), 5);
    assert!(names(&storage).contains(&"00000000000000000000.index".to_owned()));
}

#[test]
fn a_lying_index_costs_time_and_nothing_else() {
    let (storage, mut log) = create(LogConfig { index_interval_bytes: 0, ..config() });
    for text in ["a", "b", "c", "d", "e"] {
        log.append(&client(&log, &[text]), LeaderEpoch(0), at(1)).unwrap();
    }
    log.close().unwrap();
    let path = Path::new(DIR).join("00000000000000000000.index");
    let len = storage.open(&path).unwrap().len().unwrap();
    assert_eq!(len, 4 * 8);
    for lie in [[0_u8; 32], [0x7f; 32], [1; 32]] {
        storage.open(&path).unwrap().write_at(&[&lie], 0).unwrap();
        let (mut log, _) = reopen(&storage, log.config(), true, 0);
        assert_eq!(values(&mut log), ["a", "b", "c", "d", "e"]);
        for from in 0..5 {
            let slice = log.read(Offset(from), 1 << 20, Offset(5), true).unwrap();
            assert_eq!((slice.first_offset, slice.next_offset), (Offset(from), Offset(5)));
        }
    }
}

#[test]
fn a_directory_belongs_to_one_topic() {
    let storage = Arc::new(SimStorage::new());
    let partition = common::partition();
    let id = |byte: u8| TopicId(Uuid([byte; 16]));
    let config = Arc::new(config());
    PartitionLog::create(
        Arc::clone(&storage),
        Path::new(PARENT),
        partition,
        Some(id(1)),
        Offset(0),
        Arc::clone(&config),
        at(0),
    )
    .unwrap();
    let text = storage.read_small(&Path::new(DIR).join("partition.metadata")).unwrap().unwrap();
    assert_eq!(text, format!("version: 0\ntopic_id: {}", id(1)).into_bytes());
    let other = common::open_as(&storage, &config, Some(id(2)));
    assert!(other.unwrap_err().to_string().contains("belongs to topic id"));
    let (log, _) = common::open_as(&storage, &config, None).unwrap().recover().unwrap();
    assert_eq!(log.topic_id(), Some(id(1)));
    let gone = log.delete(Uuid([0xab; 16])).unwrap();
    assert_eq!(gone, Path::new(PARENT).join(format!("t-0.{}-delete", "ab".repeat(16))));
}

#[test]
fn transactional_batches_need_a_transaction() {
    let (_, mut log) = create(config());
    let mut builder = BatchBuilder::new(Compression::None)
        .producer(ProducerId(1), ProducerEpoch(0), Sequence(0))
        .transactional();
    builder.push_pair(Timestamp(1), None, Some(b"x"));
    let prepared =
        log.config().prepare(builder.build().unwrap(), AppendOrigin::Client, at(5)).unwrap();
    let refused = log.append(&prepared, LeaderEpoch(0), at(5));
    assert!(matches!(refused, Err(AppendError::NoTransaction(ProducerId(1)))));
}
