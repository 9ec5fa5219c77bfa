//! What is done to a log until the power goes: everything that the crate can do.
//!
//! A workload is a list of steps; a random one is drawn from a seed. Every step tells the model
//! first what may be seen from then on, and afterwards what was promised.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_log::storage::SimStorage;
use ottla_log::{
    AppendOrigin, Checkpoint, CleanShutdown, LogConfig, LogDirectory, OpenInfo, UnrecoveredLog,
};
use ottla_record::{BatchBuilder, BatchHeader, Compression, ControlType, NewRecord};
use ottla_testkit::Random;
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::common::{DIR, Log, PARENT, at, config, partition, try_create};
use crate::model::{Batch, Kind, Model};

/// One thing that is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// So many records of a producer, or of none.
    Append {
        producer: Option<u64>,
        count: u64,
    },
    /// The same, in a transaction that it begins if need be.
    Transact {
        producer: u64,
        count: u64,
    },
    /// The end of its transaction, if there is one.
    Marker {
        producer: u64,
        aborts: bool,
    },
    /// A group commit, with so many appends while it is under way.
    Flush {
        meanwhile: u64,
    },
    Roll,
    NextEpoch,
    /// Back to a part of 256 of the log.
    Truncate(u64),
    TruncateFully,
    DeleteRecords(u64),
    Retain {
        remove: bool,
    },
    /// The directory's checkpoints are written.
    Checkpoint,
    Release,
    /// An orderly stop and start.
    Reopen,
}

pub(crate) fn settings() -> Arc<LogConfig> {
    Arc::new(LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 100,
        retention_bytes: Some(1500),
        ..config()
    })
}

/// A random workload of so many steps.
pub(crate) fn draw(random: &mut Random, steps: usize) -> Vec<Step> {
    (0..steps).map(|_| one(random)).collect()
}

fn one(random: &mut Random) -> Step {
    let count = 1 + random.below(4);
    match random.below(32) {
        0..=5 => Step::Append { producer: None, count },
        6..=11 => Step::Append { producer: Some(1 + random.below(2)), count },
        12..=15 => Step::Transact { producer: 3 + random.below(2), count },
        16..=18 => Step::Marker { producer: 3 + random.below(2), aborts: random.once_in(2) },
        19..=22 => Step::Flush { meanwhile: random.below(3) },
        23 => Step::Roll,
        24 => Step::NextEpoch,
        25 => Step::Truncate(random.below(256)),
        26 => Step::DeleteRecords(random.below(256)),
        27 => Step::Retain { remove: random.once_in(2) },
        28 => Step::Checkpoint,
        29 => Step::Release,
        30 => Step::Reopen,
        _ if random.once_in(4) => Step::TruncateFully,
        _ => Step::Append { producer: None, count: 9 },
    }
}

/// The steps that every run makes: each kind, and the ones that are known to be delicate together.
pub(crate) fn script() -> Vec<Step> {
    use Step::{
        Append, Checkpoint, DeleteRecords, Flush, Marker, NextEpoch, Release, Reopen, Retain, Roll,
        Transact, Truncate, TruncateFully,
    };
    let mut steps = Vec::new();
    for round in 0..6 {
        steps.extend([
            Append { producer: Some(1), count: 1 + round % 4 },
            Append { producer: None, count: 2 },
            Transact { producer: 3, count: 1 },
            Flush { meanwhile: 1 },
            Transact { producer: 4, count: 2 },
            Marker { producer: 3, aborts: round % 2 == 0 },
        ]);
        steps.extend(match round {
            0 => [Checkpoint, Roll, Append { producer: Some(2), count: 9 }],
            1 => [NextEpoch, Append { producer: Some(1), count: 1 }, Truncate(128)],
            2 => [Flush { meanwhile: 0 }, Retain { remove: true }, Checkpoint],
            3 => [DeleteRecords(200), Release, Reopen],
            4 => [Retain { remove: false }, Marker { producer: 4, aborts: true }, Truncate(200)],
            _ => [Append { producer: Some(1), count: 3 }, TruncateFully, Reopen],
        });
    }
    steps.push(Append { producer: Some(1), count: 2 });
    steps.push(Flush { meanwhile: 2 });
    steps
}

/// A log directory with one partition in use, and what is known about it.
pub(crate) struct Run {
    storage: Arc<SimStorage>,
    pub(crate) model: Model,
    settings: Arc<LogConfig>,
}

impl Run {
    pub(crate) fn new(storage: SimStorage) -> Self {
        Self { storage: Arc::new(storage), model: Model::default(), settings: settings() }
    }

    /// Does it all, or as much as can be done before the power goes; `None` says that it went.
    pub(crate) fn play(&mut self, steps: &[Step]) -> Option<()> {
        let mut directory = Some(self.start()?);
        let mut log = Some(try_create(&self.storage, &self.settings).ok()?);
        for step in steps {
            if let Step::Reopen = step {
                let closed = log.take().zip(directory.take())?;
                let opened = self.reopen(closed)?;
                (log, directory) = (Some(opened.0), Some(opened.1));
            } else {
                self.step(*step, log.as_mut()?, directory.as_ref()?)?;
            }
            self.compare(log.as_mut()?);
        }
        Some(())
    }

    fn start(&self) -> Option<LogDirectory<SimStorage>> {
        let directory = LogDirectory::open(Arc::clone(&self.storage), Path::new(PARENT)).ok()?;
        directory.take_clean_mark().ok()?;
        Some(directory)
    }

    fn step(
        &mut self,
        step: Step,
        log: &mut Log,
        directory: &LogDirectory<SimStorage>,
    ) -> Option<()> {
        match step {
            Step::Append { producer, count } => self.append(log, producer, count),
            Step::Transact { producer, count } => self.transact(log, producer, count),
            Step::Marker { producer, aborts } => self.marker(log, producer, aborts),
            Step::Flush { meanwhile } => self.flush(log, meanwhile),
            Step::Roll => log.roll(at(1)).ok(),
            Step::NextEpoch => {
                self.model.epoch += 1;
                log.start_epoch(LeaderEpoch(self.model.epoch));
                Some(())
            }
            Step::Truncate(part) => self.truncate(log, directory, part),
            Step::TruncateFully => self.truncate_fully(log, directory),
            Step::DeleteRecords(part) => {
                let to = self.model.log_start
                    + (self.model.durable.max(self.model.log_start) - self.model.log_start) * part
                        / 255;
                let end = log.end_offset();
                self.model.log_start = log.delete_records(Offset(to), end).ok()?.0;
                Some(())
            }
            Step::Retain { remove } => self.retain(log, remove),
            Step::Checkpoint => self.checkpoint(log, directory),
            Step::Release => log.release().ok(),
            Step::Reopen => unreachable!("it needs the log by value"),
        }
    }

    fn builder(&mut self, count: u64) -> BatchBuilder {
        let mut builder = BatchBuilder::new(Compression::None);
        for index in 0..count {
            self.model.serial += 1;
            let value = format!("{} {index}", self.model.serial);
            let timestamp = i64::try_from(self.model.serial).expect("small");
            builder.push_pair(Timestamp(timestamp), None, Some(value.as_bytes()));
        }
        builder
    }

    fn next_sequence(&self, producer: u64) -> u32 {
        let known = self.model.producers_at(u64::MAX);
        known.get(&producer).and_then(|known| known.last_sequence).map_or(0, |last| last + 1)
    }

    /// Notes that a batch is on its way: it may be found from now on.
    fn note(&mut self, bytes: &Bytes, producer: Option<u64>, kind: Kind) {
        let header = BatchHeader::parse(bytes).expect("a batch");
        let base = self.model.end();
        let next = base + u64::from(header.last_offset_delta) + 1;
        let (crc, epoch) = (header.crc, self.model.epoch);
        self.model.batches.push(Batch { base, next, epoch, crc, producer, kind });
    }

    fn append(&mut self, log: &mut Log, producer: Option<u64>, count: u64) -> Option<()> {
        let first_sequence = producer.map_or(0, |id| self.next_sequence(id));
        let mut builder = self.builder(count);
        if let Some(id) = producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(0), Sequence(first_sequence));
        }
        let bytes = builder.build().expect("builds");
        self.note(&bytes, producer, Kind::Data { first_sequence, transactional: false });
        let prepared = log.config().prepare(bytes, AppendOrigin::Client, at(1)).expect("fine");
        log.append(&prepared, LeaderEpoch(self.model.epoch), at(1)).ok()?;
        Some(())
    }

    fn transact(&mut self, log: &mut Log, producer: u64, count: u64) -> Option<()> {
        let first_sequence = self.next_sequence(producer);
        let builder = self
            .builder(count)
            .producer(ProducerId(producer), ProducerEpoch(0), Sequence(first_sequence))
            .transactional();
        self.append_given(
            log,
            builder,
            producer,
            Kind::Data { first_sequence, transactional: true },
        )
    }

    fn marker(&mut self, log: &mut Log, producer: u64, aborts: bool) -> Option<()> {
        let known = self.model.producers_at(u64::MAX);
        if known.get(&producer).is_none_or(|known| known.transaction_start.is_none()) {
            return Some(());
        }
        let mut builder = BatchBuilder::new(Compression::None)
            .marker_of(ProducerId(producer), ProducerEpoch(0))
            .transactional()
            .control();
        let control = if aborts { ControlType::Abort } else { ControlType::Commit };
        self.model.serial += 1;
        let timestamp = Timestamp(i64::try_from(self.model.serial).expect("small"));
        builder.push(&NewRecord {
            timestamp,
            key: Some(&control.key()),
            value: Some(&[0, 0, 0, 0, 0, 7]),
            headers: &[],
        });
        self.append_given(log, builder, producer, Kind::Marker { aborts })
    }

    /// As a follower does: transactions are begun by a coordinator that is not here.
    fn append_given(
        &mut self,
        log: &mut Log,
        builder: BatchBuilder,
        producer: u64,
        kind: Kind,
    ) -> Option<()> {
        let builder = builder
            .base_offset(Offset(self.model.end()))
            .leader_epoch(LeaderEpoch(self.model.epoch));
        let bytes = builder.build().expect("builds");
        self.note(&bytes, Some(producer), kind);
        log.append_given(bytes, at(1)).ok()?.map(drop)
    }

    fn flush(&mut self, log: &mut Log, meanwhile: u64) -> Option<()> {
        let job = log.prepare_flush();
        for _ in 0..meanwhile {
            self.append(log, Some(1), 1)?;
        }
        match job {
            Some(job) => {
                let outcome = job.run();
                self.model.durable = log.complete_flush(job, outcome).ok()?.0;
            }
            None if log.is_failed() => return None,
            None => {}
        }
        Some(())
    }

    fn truncate(
        &mut self,
        log: &mut Log,
        directory: &LogDirectory<SimStorage>,
        part: u64,
    ) -> Option<()> {
        let start = self.model.log_start;
        let to = start + (self.model.end() - start) * part / 255;
        let mut kept = self.model.batches.clone();
        kept.retain(|batch| batch.next <= to);
        let end = kept.last().map_or(self.model.first, |batch| batch.next);
        lower_recovery_point(directory, end)?;
        self.model.before = Some(std::mem::replace(&mut self.model.batches, kept));
        self.model.durable = self.model.durable.min(end);
        let got = log.truncate_to(Offset(to)).ok()?;
        self.model.before = None;
        assert_eq!(got.0, self.model.end(), "where a truncation ends");
        self.model.log_start = log.log_start_offset().0;
        self.next_leader(log);
        Some(())
    }

    fn truncate_fully(
        &mut self,
        log: &mut Log,
        directory: &LogDirectory<SimStorage>,
    ) -> Option<()> {
        lower_recovery_point(directory, 0)?;
        let start = self.model.end() + 5;
        self.model.before = Some(std::mem::take(&mut self.model.batches));
        // Nothing that was durable is asked for any more.
        (self.model.durable, self.model.start) = (0, start);
        log.truncate_fully(Offset(start), at(1)).ok()?;
        self.model.before = None;
        // Where it starts is durable with the next flush.
        (self.model.log_start, self.model.first) = (start, start);
        self.next_leader(log);
        Some(())
    }

    // Whoever truncated follows another leader.
    fn next_leader(&mut self, log: &mut Log) {
        self.model.epoch += 1;
        log.start_epoch(LeaderEpoch(self.model.epoch));
    }

    fn retain(&mut self, log: &mut Log, remove: bool) -> Option<()> {
        let high_watermark = Offset(self.model.durable);
        self.model.start = self.model.start.max(self.model.durable);
        let deleted = log.delete_expired(at(1), high_watermark).ok()?;
        let start = log.log_start_offset().0;
        (self.model.start, self.model.log_start) = (start, start);
        match deleted {
            Some(deleted) if remove => deleted.remove().ok(),
            _ => Some(()),
        }
    }

    fn checkpoint(&self, log: &Log, directory: &LogDirectory<SimStorage>) -> Option<()> {
        let offsets = |offset| [(partition(), offset)].into();
        directory
            .write_checkpoint(Checkpoint::RecoveryPoints, &offsets(log.flushed_to()))
            .and_then(|()| {
                directory.write_checkpoint(Checkpoint::LogStarts, &offsets(log.log_start_offset()))
            })
            .ok()
    }

    fn reopen(
        &mut self,
        (mut log, directory): (Log, LogDirectory<SimStorage>),
    ) -> Option<(Log, LogDirectory<SimStorage>)> {
        log.close().ok()?;
        self.model.durable = log.flushed_to().0;
        self.checkpoint(&log, &directory)?;
        directory.write_clean_mark(CleanShutdown { broker_epoch: None }).ok()?;
        let (start, end) = (log.log_start_offset(), log.end_offset());
        drop((log, directory));
        let directory = LogDirectory::open(Arc::clone(&self.storage), Path::new(PARENT)).ok()?;
        let clean = directory.take_clean_mark().ok()?.is_some();
        assert!(clean, "the stop was clean");
        let (log, report) = open_as_left(&self.storage, &directory, clean, false)?.ok()?;
        assert_eq!(report.truncated_bytes, 0);
        assert_eq!((log.log_start_offset(), log.end_offset()), (start, end));
        Some((log, directory))
    }

    // Without any crash the log is what the model is.
    fn compare(&self, log: &mut Log) {
        let model = &self.model;
        assert_eq!(log.end_offset().0, model.end());
        assert!(model.durable <= log.flushed_to().0.max(model.durable));
        let start = log.log_start_offset().0;
        let last = model.batches.last().filter(|batch| start < batch.next);
        let newest = last.map(|batch| batch.epoch);
        assert!(log.latest_epoch().map(|epoch| epoch.0) >= newest, "epochs of appended batches");
        assert!(log.latest_epoch().is_none_or(|epoch| epoch.0 <= model.epoch));
        for batch in &model.batches {
            if batch.base >= log.log_start_offset().0 {
                assert_eq!(log.epoch_at(Offset(batch.base)), Some(LeaderEpoch(batch.epoch)));
            }
        }
    }
}

fn lower_recovery_point(directory: &LogDirectory<SimStorage>, to: u64) -> Option<()> {
    let known = directory.read_checkpoint(Checkpoint::RecoveryPoints).ok()?;
    if known.values().all(|point| point.0 <= to) {
        return Some(());
    }
    let lower = [(partition(), Offset(to))].into();
    directory.write_checkpoint(Checkpoint::RecoveryPoints, &lower).ok()
}

/// Opens the partition as a start does: with what the directory's checkpoints say. `None` if there
/// is no such partition.
pub(crate) fn open_as_left(
    storage: &Arc<SimStorage>,
    directory: &LogDirectory<SimStorage>,
    clean: bool,
    accept_damage: bool,
) -> Option<Result<(Log, ottla_log::RecoveryReport), ottla_log::OpenError>> {
    let known = |which| {
        let offsets = directory.read_checkpoint(which).ok()?;
        Some(offsets.get(&partition()).copied().unwrap_or_default())
    };
    let (recovery_point, log_start) =
        (known(Checkpoint::RecoveryPoints)?, known(Checkpoint::LogStarts)?);
    let dirs = directory.partitions().ok()?;
    let found = dirs.into_iter().find(|dir| dir.path == Path::new(DIR))?;
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean,
        recovery_point,
        log_start,
        config: settings(),
        accept_damage,
        now: at(0),
    };
    let opened = UnrecoveredLog::open(Arc::clone(storage), found.path, info);
    Some(opened.and_then(UnrecoveredLog::recover))
}
