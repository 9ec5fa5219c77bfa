//! Records on their way in and out: bytes, offsets, limits, sequences.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ottla_conformance::script::Side;
use ottla_record::{BatchBuilder, Compression};
use ottla_testkit::Kind;
use ottla_types::Timestamp;
use serde_json::{Value as Json, json};

use crate::{World, ask, bytes};

/// Where the records of a batch begin.
const HEADER_BYTES: usize = 61;
/// Base offset and leader epoch, which the broker writes.
const OURS: [std::ops::Range<usize>; 2] = [0..8, 12..16];

fn base_offset(batch: &[u8]) -> i64 {
    batch.get(..8).and_then(|b| b.try_into().ok()).map_or(-1, i64::from_be_bytes)
}

/// A consumer that asks from within a batch gets all of it, and leaves out what it has.
#[test]
fn a_fetch_inside_a_batch_returns_the_whole_batch() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    world.produce("t", "batch:count=5")?;
    world.produce("t", "batch:count=5,codec=gzip")?;
    for (offset, base) in [(3, 0), (9, 5)] {
        let got = bytes(&world.fetch("t", offset, "")?["records"]);
        ensure!(base_offset(&got) == base, "from {offset}: {}", base_offset(&got));
    }
    Ok(())
}

/// The bytes of all topics are bounded, of each partition too, and the first batch comes in any case.
#[test]
fn a_fetch_honours_its_limits_but_returns_a_batch() -> Result<()> {
    let mut world = World::start()?;
    world.topic("a", 1, "")?;
    world.topic("b", 1, "")?;
    for topic in ["a", "b"] {
        for _ in 0..10 {
            world.produce(topic, "batch:size=10000")?;
        }
    }
    let mut lengths = |max: u32, partition_max: u32| -> Result<Vec<usize>> {
        let one = |topic: &str| {
            format!(
                r#"{{"topic": "{topic}", "partitions": [{{"partition": 0, "fetchOffset": 0, "partitionMaxBytes": {partition_max}}}]}}"#
            )
        };
        let answer = world.ask(&format!(
            r#"Fetch 11 {{"maxWaitMs": 0, "minBytes": 1, "maxBytes": {max}, "topics": [{}, {}]}}"#,
            one("a"),
            one("b")
        ))?;
        let all = answer["responses"].as_array().cloned().unwrap_or_default();
        Ok(all.iter().map(|t| bytes(&t["partitions"][0]["records"]).len()).collect())
    };
    let all = lengths(10_000_000, 10_000_000)?;
    ensure!(all.iter().all(|length| (100_000..110_000).contains(length)), "{all:?}");
    let each = lengths(10_000_000, 25_000)?;
    ensure!(each.iter().all(|length| (1..=25_000).contains(length)), "{each:?}");
    let sum = lengths(30_000, 10_000_000)?;
    ensure!((1..=30_000).contains(&sum.iter().sum::<usize>()), "{sum:?}");
    let least = lengths(1, 1)?;
    ensure!(least[0] > 10_000 && least[1] == 0, "{least:?}");
    Ok(())
}

#[test]
fn a_fetch_waits_for_its_bytes_and_no_longer_than_it_says() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let ask_for = |max_wait: u32, bytes: u32| {
        format!(
            r#"Fetch 11 {{"maxWaitMs": {max_wait}, "minBytes": {bytes}, "maxBytes": 1000000, "topics": [{{"topic": "t", "partitions": [{{"partition": 0, "fetchOffset": 0, "partitionMaxBytes": 1000000}}]}}]}}"#
        )
    };
    let begun = Instant::now();
    let answer = world.ask(&ask_for(500, 1))?;
    ensure!(begun.elapsed().as_millis() >= 450, "{:?}", begun.elapsed());
    ensure!(bytes(&answer["responses"][0]["partitions"][0]["records"]).is_empty(), "{answer}");
    // It would wait for ever, and is woken.
    let mut waiting = Side::connect(&world.node)?;
    let waiter = std::thread::spawn(move || ask(&mut waiting, &ask_for(600_000, 100)));
    while !waiter.is_finished() {
        world.produce("t", "batch:")?;
    }
    let answer = waiter.join().ok().context("it panicked")??;
    let got = bytes(&answer["responses"][0]["partitions"][0]["records"]).len();
    ensure!(got >= 100, "{got}");
    Ok(())
}

/// KIP-227: only what has changed, until it is forgotten.
#[test]
fn fetch_sessions_remember_and_forget() -> Result<()> {
    let mut world = World::start()?;
    for topic in ["a", "b"] {
        world.topic(topic, 1, "")?;
        world.produce(topic, "batch:")?;
    }
    let one = |topic: &str, offset: u32| {
        format!(
            r#"{{"topic": "{topic}", "partitions": [{{"partition": 0, "fetchOffset": {offset}, "partitionMaxBytes": 1000000}}]}}"#
        )
    };
    let fetch = |id: &str, epoch: i32, topics: &str, forgotten: &str| {
        format!(
            r#"Fetch 11 {{"maxWaitMs": 0, "minBytes": 1, "maxBytes": 1000000, "sessionId": {id}, "sessionEpoch": {epoch}, "topics": [{topics}], "forgottenTopicsData": [{forgotten}]}}"#
        )
    };
    let both = format!("{}, {}", one("a", 0), one("b", 0));
    let first = world.ask(&fetch("0", 0, &both, ""))?;
    let id = first["sessionId"].to_string();
    ensure!(id != "0" && first["responses"].as_array().map(Vec::len) == Some(2), "{first}");
    let read = format!("{}, {}", one("a", 1), one("b", 1));
    let second = world.ask(&fetch(&id, 1, &read, ""))?;
    ensure!(second["responses"] == json!([]), "nothing is new: {second}");
    for topic in ["a", "b"] {
        world.produce(topic, "batch:")?;
    }
    let third = world.ask(&fetch(&id, 2, "", r#"{"topic": "a", "partitions": [0]}"#))?;
    let names: Vec<&Json> =
        third["responses"].as_array().into_iter().flatten().map(|t| &t["topic"]).collect();
    ensure!(names == [&json!("b")], "{third}");
    let wrong = world.ask(&fetch(&id, 9, "", ""))?;
    ensure!(wrong["errorCode"] == 71, "INVALID_FETCH_SESSION_EPOCH: {wrong}");
    Ok(())
}

#[test]
fn a_fetch_says_where_the_log_starts_and_ends() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    for _ in 0..3 {
        world.produce("t", "batch:count=2")?;
    }
    let deleted = world.ask(r#"DeleteRecords 2 {"topics": [{"name": "t", "partitions": [{"partitionIndex": 0, "offset": 3}]}], "timeoutMs": 20000}"#)?;
    ensure!(deleted["topics"][0]["partitions"][0]["lowWatermark"] == 3, "{deleted}");
    for isolation in [0, 1] {
        let got = world.fetch("t", 3, &format!(r#""isolationLevel": {isolation},"#))?;
        let offsets = json!([got["logStartOffset"], got["highWatermark"], got["lastStableOffset"]]);
        ensure!(offsets == json!([3, 6, 6]), "{offsets}");
        // Who reads what is committed is told of no aborted transactions, others of none at all.
        ensure!(got["abortedTransactions"].as_array().map_or(0, Vec::len) == 0, "{got}");
    }
    let gone = world.fetch("t", 2, "")?;
    ensure!((&gone["errorCode"], &gone["logStartOffset"]) == (&json!(1), &json!(-1)), "{gone}");
    Ok(())
}

/// By time the record itself is found, also within a compressed batch; none is -1, and no error.
#[test]
fn offsets_by_time_are_exact() -> Result<()> {
    let mut world = World::start()?;
    // Else it would be gone soon.
    world.topic("t", 2, r#"{"name": "retention.ms", "value": "-1"}"#)?;
    world.produce("t", "batch:count=5,time=1000")?;
    world.produce("t", "batch:count=5,time=2000,codec=lz4")?;
    let mut at = |partition: u32, isolation: u32, time: i64| -> Result<Json> {
        let answer = world.ask(&format!(r#"ListOffsets 7 {{"replicaId": -1, "isolationLevel": {isolation}, "topics": [{{"name": "t", "partitions": [{{"partitionIndex": {partition}, "timestamp": {time}}}, {{"partitionIndex": 77, "timestamp": -1}}]}}]}}"#))?;
        let partitions = answer["topics"][0]["partitions"].as_array().cloned().unwrap_or_default();
        let other = partitions.iter().find(|p| p["partitionIndex"] == 77).context("77")?;
        ensure!(other["errorCode"] == 3, "{answer}");
        let own = partitions.iter().find(|p| p["partitionIndex"] == json!(partition));
        let own = own.context("the partition")?;
        ensure!(own["errorCode"] == 0, "{answer}");
        Ok(json!([own["offset"], own["timestamp"]]))
    };
    assert_eq!(at(0, 0, 1003)?, json!([3, 1003]));
    assert_eq!(at(0, 0, 1500)?, json!([5, 2000]));
    assert_eq!(at(0, 0, 2002)?, json!([7, 2002]));
    assert_eq!(at(0, 0, 2005)?, json!([-1, -1]));
    assert_eq!(at(0, 0, -1)?, json!([10, -1]));
    assert_eq!(at(0, 1, -1)?, json!([10, -1]));
    assert_eq!(at(0, 0, -2)?, json!([0, -1]));
    assert_eq!(at(0, 0, -3)?, json!([9, 2004]));
    assert_eq!(at(1, 0, -3)?, json!([-1, -1]));
    Ok(())
}

/// Streams purge what they have repartitioned every half minute.
#[test]
fn records_are_deleted_again_and_again() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let delete = |world: &mut World, offset: i64| -> Result<Json> {
        let answer = world.ask(&format!(r#"DeleteRecords 2 {{"topics": [{{"name": "t", "partitions": [{{"partitionIndex": 0, "offset": {offset}}}]}}], "timeoutMs": 20000}}"#))?;
        let partition = &answer["topics"][0]["partitions"][0];
        Ok(json!([partition["lowWatermark"], partition["errorCode"]]))
    };
    for round in 1..=20 {
        world.produce("t", "batch:count=3")?;
        assert_eq!(delete(&mut world, round * 3 - 1)?, json!([round * 3 - 1, 0]));
        // A second time does nothing, and is no error.
        assert_eq!(delete(&mut world, round * 3 - 1)?, json!([round * 3 - 1, 0]));
    }
    assert_eq!(delete(&mut world, -1)?, json!([60, 0]), "all there is");
    assert_eq!(delete(&mut world, 61)?, json!([-1, 1]), "more than there is");
    Ok(())
}

#[test]
fn a_batch_over_the_topics_limit_is_refused() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, r#"{"name": "max.message.bytes", "value": "2000"}"#)?;
    ensure!(world.produce("t", "batch:size=1000")?["errorCode"] == 0, "it fits");
    ensure!(world.produce("t", "batch:size=3000")?["errorCode"] == 10, "MESSAGE_TOO_LARGE");
    // Compressed it fits.
    ensure!(world.produce("t", "batch:size=3000,codec=gzip")?["errorCode"] == 0, "it fits");
    Ok(())
}

#[test]
fn a_compacted_topic_refuses_records_without_keys() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, r#"{"name": "cleanup.policy", "value": "compact"}"#)?;
    ensure!(world.produce("t", "batch:key=k")?["errorCode"] == 0, "with a key");
    let refused = world.produce("t", "batch:count=2")?;
    ensure!(refused["errorCode"] == 87, "INVALID_RECORD: {refused}");
    let which: Vec<&Json> = refused["recordErrors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| &e["batchIndex"])
        .collect();
    ensure!(which == [&json!(0), &json!(1)], "{refused}");
    Ok(())
}

/// Idempotence is what Java's producers have by default: an id for whoever asks, the first offsets for a batch
/// that comes again, an error for a gap, after a restart as before.
#[test]
fn a_repeated_batch_gets_its_first_offset() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let got = world.ask("InitProducerId 4 {\"transactionalId\": null, \"transactionTimeoutMs\": 60000}\n  until errorCode = 0")?;
    ensure!(got["producerEpoch"] == 0, "{got}");
    let id = got["producerId"].to_string();
    // A producer that wrote nothing for a day is forgotten.
    let now = std::time::UNIX_EPOCH.elapsed()?.as_millis();
    let send = |world: &mut World, sequence: u32| -> Result<Json> {
        let answer =
            world.produce("t", &format!("batch:count=2,time={now},producer={id}:0:{sequence}"))?;
        Ok(json!([answer["errorCode"], answer["baseOffset"]]))
    };
    for number in 0..7_u32 {
        assert_eq!(send(&mut world, number * 2)?, json!([0, number * 2]));
    }
    world.node.kill9()?;
    world.node.restart()?;
    world.side = Side::connect(&world.node)?;
    // Five batches are remembered, in any order; by Kafka after a restart the last one.
    let remembered: &[u32] = if Kind::target() == Kind::Ottla { &[6, 2, 4, 3, 5] } else { &[6] };
    for number in remembered {
        assert_eq!(send(&mut world, number * 2)?, json!([0, number * 2]), "again");
    }
    // OUT_OF_ORDER_SEQUENCE_NUMBER, which a producer tries again.
    assert_eq!(send(&mut world, 0)?[0], 45, "too old to be remembered");
    assert_eq!(send(&mut world, 40)?[0], 45, "a gap");
    assert_eq!(send(&mut world, 14)?, json!([0, 14]), "and on it goes");
    ensure!(world.fetch("t", 0, "")?["highWatermark"] == 16);
    Ok(())
}

/// A batch as a producer made it comes back as it was: unknown attributes aside, nulls, empty values, headers, times.
#[test]
fn batches_come_back_byte_for_byte() -> Result<()> {
    let mut world = World::start()?;
    world.topic("t", 1, "")?;
    let mut sent = Vec::new();
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let mut builder = BatchBuilder::new(codec);
        builder.push_pair(Timestamp(1_700_000_000_123), None, None);
        builder.push_pair(Timestamp(1_600_000_000_000), Some(b""), Some(b""));
        builder.push_pair(Timestamp(1_700_000_000_124), Some(b"k"), None);
        builder.push_pair(Timestamp(1_700_000_000_125), None, Some(b"\0\xff\xfe"));
        let batch = builder.build()?.to_vec();
        let answer = world.produce("t", &ottla_testkit::codec::to_hex(&batch))?;
        ensure!(answer["errorCode"] == 0, "{answer}");
        sent.push(batch);
    }
    let mut got = bytes(&world.fetch("t", 0, "")?["records"]);
    for (number, mut sent) in sent.into_iter().enumerate() {
        let rest = got.split_off(sent.len());
        ensure!(base_offset(&got) == i64::try_from(number * 4)?, "{}", base_offset(&got));
        for range in OURS {
            sent[range.clone()].fill(0);
            got[range].fill(0);
        }
        ensure!(got == sent, "codec {number}");
        got = rest;
    }
    ensure!(got.is_empty(), "{} bytes more", got.len());
    Ok(())
}

/// xerial's framing of snappy (Java, kafkajs) and plain snappy (librdkafka); LZ4 in independent blocks.
#[test]
fn foreign_framings_of_snappy_and_lz4_are_accepted() -> Result<()> {
    let mut plain = BatchBuilder::new(Compression::None);
    plain.push_pair(Timestamp(1_700_000_000_000), Some(b"key"), Some(b"value"));
    let plain = plain.build()?.to_vec();
    let (header, records) = plain.split_at(HEADER_BYTES);
    let length = u8::try_from(records.len())?;
    ensure!(length < 60, "one literal of snappy");
    let snappy = [&[length, (length - 1) << 2], records].concat();
    let xerial = [
        &b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..],
        &u32::try_from(snappy.len())?.to_be_bytes(),
        &snappy,
    ];
    // Blocks of their own, not compressed, no checksums.
    let lz4 = [&b"\x04\x22\x4d\x18\x60\x40\x82"[..], &[length, 0, 0, 0x80], records, &[0; 4]];
    for (checks, recompress) in [("records", "producer"), ("records", "gzip"), ("", "lz4")] {
        let options = ottla_testkit::NodeOptions::default();
        // Whether records are looked at is Ottla's own question; Kafka always does.
        let options = if checks.is_empty() {
            options
        } else {
            options.with("ottla.produce.validation", checks)
        };
        let mut world = World::with(options)?;
        let config = format!(r#"{{"name": "compression.type", "value": "{recompress}"}}"#);
        world.topic("t", 1, &config)?;
        for (codec, packed) in [(2, &snappy), (2, &xerial.concat()), (3, &lz4.concat())] {
            let batch = ottla_conformance::script::repacked(header, codec, packed)?;
            let answer = world.produce("t", &ottla_testkit::codec::to_hex(&batch))?;
            ensure!(answer["errorCode"] == 0, "codec {codec}, {recompress}: {answer}");
        }
        let got = bytes(&world.fetch("t", 0, "")?["records"]);
        ensure!(!got.is_empty(), "nothing came back");
    }
    Ok(())
}
