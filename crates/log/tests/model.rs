//! Random operations against a list of records: the log must hold exactly what the list holds.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Log, at, config, create, records, reopen};
use ottla_log::storage::{CrashMode, SimStorage};
use ottla_log::{AppendOrigin, LogConfig};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Append { count: u8, len: u8, codec: Compression },
    Flush,
    Roll,
    NextEpoch,
    // Positions are parts of 256 of the log.
    Truncate(u8),
    DeleteRecords(u8),
    Retain,
    Release,
    ReopenClean,
    ReopenUnclean(u8),
    FindTimestamp(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let codec = prop_oneof![
        3 => Just(Compression::None),
        1 => Just(Compression::Lz4),
        1 => Just(Compression::Snappy),
    ];
    prop_oneof![
        10 => (1..6_u8, any::<u8>(), codec)
            .prop_map(|(count, len, codec)| Op::Append { count, len, codec }),
        2 => Just(Op::Flush),
        1 => Just(Op::Roll),
        1 => Just(Op::NextEpoch),
        1 => any::<u8>().prop_map(Op::Truncate),
        1 => any::<u8>().prop_map(Op::DeleteRecords),
        1 => Just(Op::Retain),
        1 => Just(Op::Release),
        1 => Just(Op::ReopenClean),
        2 => any::<u8>().prop_map(Op::ReopenUnclean),
        2 => any::<u8>().prop_map(Op::FindTimestamp),
    ]
}

/// What the log should hold.
#[derive(Clone, Debug, Default)]
struct Model {
    // (timestamp, value); the position is the offset less the first one kept.
    records: Vec<(i64, Vec<u8>)>,
    // First offset of each batch, and the epoch it was written in.
    batches: Vec<(u64, u32)>,
    start: u64,
    epoch: u32,
    clock: i64,
}

impl Model {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn part(&self, of_256: u8) -> u64 {
        self.start + (self.end() - self.start) * u64::from(of_256) / 255
    }
}

struct Run {
    storage: Arc<SimStorage>,
    log: Log,
    model: Model,
}

impl Run {
    fn step(&mut self, op: &Op) {
        match *op {
            Op::Append { count, len, codec } => self.append(count, len, codec),
            Op::Flush => {
                let end = Offset(self.model.end());
                assert_eq!(self.log.flush().expect("flushes"), end);
            }
            Op::Roll => self.log.roll(at(self.model.clock)).expect("rolls"),
            Op::NextEpoch => self.model.epoch += 1,
            Op::Truncate(part) => self.truncate(part),
            Op::DeleteRecords(part) => {
                self.model.start = self.model.part(part);
                let end = self.log.end_offset();
                let start = self.log.delete_records(Offset(self.model.start), end);
                assert_eq!(start.expect("in range"), Offset(self.model.start));
            }
            Op::Retain => {
                let now = at(self.model.clock);
                let end = self.log.end_offset();
                if let Some(deleted) = self.log.delete_expired(now, end).expect("deletes") {
                    deleted.remove().expect("removes");
                }
                self.model.start = self.log.log_start_offset().0;
            }
            Op::Release => {
                self.log.release().expect("releases");
            }
            Op::ReopenClean => {
                self.log.close().expect("closes");
                self.reopen(true, self.model.end());
            }
            Op::ReopenUnclean(part) => {
                let flushed = self.log.flushed_to().0;
                let point = flushed * u64::from(part) / 255;
                self.storage = Arc::new(self.storage.crash(CrashMode::Everything));
                self.reopen(false, point);
            }
            Op::FindTimestamp(part) => self.find(part),
        }
    }

    fn append(&mut self, count: u8, len: u8, codec: Compression) {
        let model = &mut self.model;
        let mut builder = BatchBuilder::new(codec);
        model.batches.push((model.end(), model.epoch));
        for index in 0..count {
            model.clock += 7;
            // Timestamps go up and down within a batch, and repeat between batches.
            let timestamp = model.clock - i64::from(index % 3) * 5;
            let value = vec![index; len.into()];
            builder.push_pair(Timestamp(timestamp), None, Some(&value));
            model.records.push((timestamp, value));
        }
        let now = at(model.clock);
        let bytes = builder.build().expect("builds");
        let prepared = self.log.config().prepare(bytes, AppendOrigin::Client, now);
        let info = self.log.append(&prepared.expect("fine"), LeaderEpoch(self.model.epoch), now);
        assert_eq!(info.expect("appends").last_offset.next(), Offset(self.model.end()));
    }

    fn truncate(&mut self, part: u8) {
        let to = self.model.part(part);
        let kept = self.log.truncate_to(Offset(to)).expect("truncates").0;
        // A batch that reaches beyond the offset goes as a whole.
        let whole = self.model.batches.iter().map(|batch| batch.0).filter(|&base| base <= to);
        let expected = if to == self.model.end() { to } else { whole.max().unwrap_or(to) };
        assert_eq!(kept, expected);
        self.model.records.truncate(usize::try_from(kept).expect("small"));
        self.model.batches.retain(|batch| batch.0 < kept);
        self.model.start = self.model.start.min(kept);
        // A leader that truncated comes back with a new epoch.
        self.model.epoch += 1;
    }

    fn reopen(&mut self, clean: bool, recovery_point: u64) {
        let config = Arc::clone(self.log.config());
        let (log, _) = reopen(&self.storage, &config, clean, recovery_point);
        self.log = log;
        // What DeleteRecords said is kept in the directory's checkpoint, which is not part of this.
        let start = Offset(self.model.start);
        self.log.delete_records(start, self.log.end_offset()).expect("in range");
    }

    fn find(&mut self, part: u8) {
        let target = self.model.clock * i64::from(part) / 255;
        let found = self.log.offset_for_timestamp(Timestamp(target)).expect("searches");
        let mut kept = (0_u64..).zip(&self.model.records);
        let expected = kept
            .find(|(offset, record)| *offset >= self.model.start && record.0 >= target)
            .map(|(offset, record)| (offset, record.0));
        assert_eq!(found.map(|found| (found.offset.0, found.timestamp.0)), expected);
    }

    fn compare(&mut self) {
        let model = &self.model;
        assert_eq!(self.log.end_offset(), Offset(model.end()));
        assert_eq!(self.log.log_start_offset(), Offset(model.start));
        let got = records(&mut self.log);
        let got: Vec<_> = got
            .into_iter()
            .map(|record| (record.offset.0, record.timestamp.0, record.value.unwrap_or_default()))
            .collect();
        let expected: Vec<_> = (0_u64..)
            .zip(&model.records)
            .skip_while(|(offset, _)| *offset < model.start)
            .map(|(offset, (timestamp, value))| (offset, *timestamp, value.clone().into()))
            .collect();
        assert_eq!(got, expected);
        for (base, epoch) in model.batches.iter().filter(|batch| batch.0 >= model.start) {
            assert_eq!(self.log.epoch_at(Offset(*base)), Some(LeaderEpoch(*epoch)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_log_holds_what_the_model_holds(
        ops in prop::collection::vec(op(), 1..60),
        segment_bytes in 400..3000_u64,
        index_interval_bytes in 0..600_u32,
    ) {
        let settings = LogConfig {
            segment_bytes: segment_bytes + 1500,
            index_interval_bytes,
            retention: Some(Duration::from_millis(500)),
            ..config()
        };
        let (storage, log) = create(settings);
        let mut run = Run { storage, log, model: Model::default() };
        for op in &ops {
            run.step(op);
            run.compare();
        }
    }
}
