//! Batches that are appended as a run lie on the disk as if they had come one by one, and get the
//! same answers.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, at, config, create, reopen};
use ottla_log::storage::SimStorage;
use ottla_log::{AppendError, AppendInfo, AppendOrigin, LogConfig, PreparedAppend, Storage};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp};
use proptest::prelude::*;

/// A batch of a client: who sends it, with which sequence, how many records, how long and when.
#[derive(Clone, Debug)]
struct Sent {
    producer: Option<(u8, u8, u8)>,
    count: u8,
    len: u8,
    millis: i64,
}

fn sent() -> impl Strategy<Value = Sent> {
    // Few producers and short sequences, so that runs in order, repeats and gaps all happen.
    let producer = prop::option::of((0..2_u8, 0..2_u8, 0..6_u8));
    (producer, 1..4_u8, 0..120_u8, 0..40_i64).prop_map(|(producer, count, len, millis)| Sent {
        producer,
        count,
        len,
        millis,
    })
}

/// Batches of one producer in sequence, as an honest client sends them.
fn stream() -> impl Strategy<Value = Vec<Sent>> {
    (2..12_u8, 0..2_u8).prop_map(|(batches, producer)| {
        let one = |number| Sent {
            producer: (producer == 0).then_some((7, 0, number)),
            count: 1,
            len: 40,
            millis: 1,
        };
        (0..batches).map(one).collect()
    })
}

fn prepared(config: &LogConfig, sent: &Sent) -> PreparedAppend {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, epoch, sequence)) = sent.producer {
        builder = builder.producer(
            ProducerId(id.into()),
            ProducerEpoch(epoch.into()),
            Sequence(sequence.into()),
        );
    }
    for _ in 0..sent.count {
        builder.push_pair(Timestamp(sent.millis), None, Some(&vec![7; sent.len.into()]));
    }
    let bytes = builder.build().expect("builds");
    config.prepare(bytes, AppendOrigin::Client, at(5)).expect("acceptable")
}

fn files(storage: &SimStorage) -> Vec<(String, Option<Vec<u8>>)> {
    let entries = storage.list(Path::new(DIR)).expect("lists");
    let mut files: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.name, storage.read_small(&entry.path).expect("reads")))
        .collect();
    files.sort();
    files
}

fn told(results: &[Result<AppendInfo, AppendError>]) -> String {
    results.iter().map(|result| format!("{result:?}\n")).collect()
}

/// Small segments of 20 ms, with an index entry for nearly each batch.
fn small() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 100,
        segment_age_max: std::time::Duration::from_millis(20),
        ..config()
    })
}

fn check(sent: &[Sent], cuts: &[u8], capacity: Option<usize>) {
    let config = small();
    let (one_by_one, mut first) = create(*config);
    let (together, mut second) = create(*config);
    one_by_one.set_capacity(capacity);
    together.set_capacity(capacity);
    let batches: Vec<_> = sent.iter().map(|sent| prepared(&config, sent)).collect();
    let epoch = LeaderEpoch(0);
    let mut rest = &batches[..];
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (run, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        let expected: Vec<_> = run.iter().map(|b| first.append(b, epoch, at(5))).collect();
        assert_eq!(told(&second.append_run(run, epoch, at(5))), told(&expected));
    }
    for (storage, log) in [(&one_by_one, &mut first), (&together, &mut second)] {
        storage.set_capacity(None);
        log.close().expect("closes");
    }
    assert_eq!(files(&together), files(&one_by_one));
}

proptest! {
    #[test]
    fn anything_together_is_as_one_by_one(
        sent in prop::collection::vec(sent(), 1..30),
        cuts in prop::collection::vec(1..9_u8, 0..10),
    ) {
        check(&sent, &cuts, None);
    }

    #[test]
    fn a_stream_together_is_as_one_by_one(
        sent in stream(),
        cuts in prop::collection::vec(1..9_u8, 0..10),
    ) {
        check(&sent, &cuts, None);
    }

    #[test]
    fn a_full_disk_takes_as_much(
        sent in prop_oneof![prop::collection::vec(sent(), 1..20), stream()],
        cuts in prop::collection::vec(1..9_u8, 0..10),
        capacity in 100..2000_usize,
    ) {
        check(&sent, &cuts, Some(capacity));
    }
}

/// The snapshot of a clean stop has a producer's last batch alone; the log has the others.
#[test]
fn repeats_are_known_after_a_clean_stop() {
    let config = small();
    let (storage, mut log) = create(*config);
    let epoch = LeaderEpoch(0);
    let batch = |sequence| Sent { producer: Some((7, 0, sequence)), count: 1, len: 40, millis: 1 };
    for sequence in 0..9 {
        log.append(&prepared(&config, &batch(sequence)), epoch, at(5)).expect("in order");
    }
    log.close().expect("closes");
    drop(log);
    let (mut log, _) = reopen(&storage, &config, true, 9);
    let mut told = |sequence| match log.append(&prepared(&config, &batch(sequence)), epoch, at(5)) {
        Ok(info) => (info.duplicate, info.base_offset.0),
        Err(AppendError::OutOfOrderSequence { .. }) => (false, u64::MAX),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(told(3), (false, u64::MAX), "older than what is remembered");
    for sequence in 5..9 {
        assert_eq!(told(sequence), (true, sequence.into()));
    }
    assert_eq!(told(9), (false, 9));
    assert_eq!(told(5), (true, 5));
}
