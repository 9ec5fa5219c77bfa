//! A log of keys and values, told in words: the one place in these tests that knows how logs are
//! filled and compacted.
//!
//! A line of a script appends a batch, or does something else:
//!
//! - `a=1 b=2 -a ?x`: records; `-a` is a tombstone, `?x` a value without a key,
//! - `#7 a=1`: of the idempotent producer 7; `t7 a=1`: of its transaction,
//! - `commit 7`, `abort 7`: the marker that ends it,
//! - `roll`: another segment,
//! - `compact 500`: a pass at that time, `compact 500 map=3`: with room for three keys.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_log::storage::SimStorage;
use ottla_log::{CompactionError, CompactionStats, LogConfig, MapSettings, PartitionLog, Storage};
use ottla_record::{
    BatchBuilder, Batches, Compression, ControlType, DecompressLimits, NewRecord, Record,
    delete_horizon,
};
use ottla_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::{DIR, Log, at, config, create};

/// Tombstones stay this long.
pub(crate) const RETENTION_MS: i64 = 100;

pub(crate) fn settings() -> LogConfig {
    let delete_retention = Duration::from_millis(RETENTION_MS.unsigned_abs());
    LogConfig { compact: true, delete: false, delete_retention, ..config() }
}

/// A log and what was told to it.
pub(crate) struct Told {
    pub(crate) storage: Arc<SimStorage>,
    pub(crate) log: Log,
    pub(crate) codec: Compression,
    pub(crate) cleaned_to: Option<Offset>,
    pub(crate) stats: Vec<CompactionStats>,
    sequences: HashMap<i64, u32>,
}

impl Told {
    pub(crate) fn new(config: LogConfig) -> Self {
        let (storage, log) = create(config);
        Self::of(storage, log)
    }

    pub(crate) fn of(storage: Arc<SimStorage>, log: Log) -> Self {
        Self {
            storage,
            log,
            codec: Compression::None,
            cleaned_to: None,
            stats: Vec::new(),
            sequences: HashMap::new(),
        }
    }

    pub(crate) fn tell(&mut self, script: &str) -> &mut Self {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.line(line);
        }
        self
    }

    fn line(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let id = |word: &str| word.parse::<i64>().expect("a producer");
        match *words.as_slice() {
            ["roll"] => self.log.roll(at(0)).expect("rolls"),
            ["commit", who] => self.end(id(who), ControlType::Commit),
            ["abort", who] => self.end(id(who), ControlType::Abort),
            ["compact", now] => self.compact(id(now), 1000),
            ["compact", now, map] => {
                self.compact(id(now), id(map.trim_start_matches("map=")).unsigned_abs());
            }
            [first, ref rest @ ..] if first.starts_with('#') => {
                self.data(rest, Some(id(&first[1..])), false);
            }
            [first, ref rest @ ..]
                if first.starts_with('t') && first.len() > 1 && !first.contains('=') =>
            {
                self.data(rest, Some(id(&first[1..])), true);
            }
            ref records => self.data(records, None, false),
        }
    }

    fn data(&mut self, words: &[&str], producer: Option<i64>, transactional: bool) {
        let base = self.log.end_offset();
        let mut batch = self.builder(self.codec);
        if let Some(id) = producer {
            let sequence = self.sequences.entry(id).or_default();
            let first = Sequence(*sequence);
            *sequence += u32::try_from(words.len()).expect("few");
            batch =
                batch.producer(ProducerId::from_wire(id).expect("an id"), ProducerEpoch(0), first);
            if transactional {
                batch = batch.transactional();
            }
        }
        for (offset, word) in (base.0..).zip(words) {
            let timestamp = Timestamp(i64::try_from(offset + 1).expect("small"));
            let (key, value) = match (word.strip_prefix('-'), word.strip_prefix('?')) {
                (Some(key), _) => (Some(key), None),
                (None, Some(value)) => (None, Some(value)),
                (None, None) => {
                    let (key, value) = word.split_once('=').expect("key=value");
                    (Some(key), Some(value))
                }
            };
            let [key, value] = [key, value].map(|text| text.map(str::as_bytes));
            batch.push(&NewRecord { timestamp, key, value, headers: &[(b"h", Some(b"1"))] });
        }
        self.append(batch);
    }

    fn builder(&self, codec: Compression) -> BatchBuilder {
        BatchBuilder::new(codec).base_offset(self.log.end_offset()).leader_epoch(LeaderEpoch(3))
    }

    fn append(&mut self, batch: BatchBuilder) {
        let bytes = batch.build().expect("builds");
        self.log.append_given(bytes, at(0)).expect("appends");
    }

    fn end(&mut self, id: i64, kind: ControlType) {
        let producer = ProducerId::from_wire(id).expect("an id");
        let batch = self.builder(Compression::None).marker_of(producer, ProducerEpoch(0));
        let mut batch = batch.transactional().control();
        let value = [0, 0, 0, 0, 0, 0];
        batch.push_pair(Timestamp(7), Some(&kind.key()), Some(&value));
        self.append(batch);
    }

    fn compact(&mut self, now: i64, keys: u64) {
        self.log.flush().expect("flushes");
        let end = self.log.end_offset();
        self.cleaned_to = pass(&mut self.log, self.cleaned_to, end, now, keys, &mut self.stats)
            .expect("compacts");
    }

    /// The segments and batches, one a line.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        for name in super::names(&self.storage) {
            if let Some(base) = name.strip_suffix(".log") {
                let base = base.trim_start_matches('0');
                text += &format!("segment {}\n", if base.is_empty() { "0" } else { base });
                text += &dump_file(&self.storage, &name);
            } else if name.ends_with(".txnindex") {
                let content = self.storage.read_small(&Path::new(DIR).join(&name));
                let content = content.expect("reads").expect("is there");
                text += &format!("  aborted {}\n", content.len() / 34);
            }
        }
        text
    }
}

/// Offset, key and value of every record that is no marker, in the order of the files.
pub(crate) fn data(storage: &SimStorage) -> Vec<(u64, String, Option<String>)> {
    let mut data = Vec::new();
    for name in super::names(storage).iter().filter(|name| name.ends_with(".log")) {
        let content = storage.read_small(&Path::new(DIR).join(name)).expect("reads");
        for batch in Batches::new(Bytes::from(content.expect("is there"))) {
            let batch = batch.expect("a batch");
            if batch.header().attributes.is_control() {
                continue;
            }
            for record in batch.records(&DecompressLimits::default()).expect("records") {
                let record = record.expect("a record");
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                let key = text(&record.key.expect("a key"));
                data.push((record.offset.0, key, record.value.as_ref().map(text)));
            }
        }
    }
    data
}

fn dump_file(storage: &SimStorage, name: &str) -> String {
    let content = storage.read_small(&Path::new(DIR).join(name)).expect("reads");
    let mut text = String::new();
    for batch in Batches::new(Bytes::from(content.expect("is there"))) {
        let batch = batch.expect("a batch");
        ottla_record::check_crc(batch.bytes()).expect("undamaged");
        let header = batch.header();
        text += &format!("  {}..{}", header.base_offset, header.last_offset());
        if let Some(id) = header.producer_id {
            let sequence = header.base_sequence.map(|sequence| format!("/{}", sequence.0));
            text += &format!(" #{id}{}", sequence.unwrap_or_default());
        }
        for record in batch.records(&DecompressLimits::default()).expect("records") {
            text += &word(&record.expect("a record"), header.attributes.is_control());
        }
        if let Some(horizon) = delete_horizon(header) {
            text += &format!(" until {horizon}");
        }
        text += "\n";
    }
    text
}

fn word(record: &Record, control: bool) -> String {
    if control {
        return format!(" {:?}", ControlType::of(record).expect("a control record"));
    }
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(record.headers.len(), 1, "headers stay");
    assert!(record.timestamp.0 == record.offset.to_wire() + 1, "timestamps stay: {record:?}");
    match (&record.key, &record.value) {
        (Some(key), Some(value)) => format!(" {}={}", text(key), text(value)),
        (Some(key), None) => format!(" -{}", text(key)),
        (None, value) => format!(" ?{}", text(value.as_ref().expect("a value"))),
    }
}

/// One pass over a log: its end, or where it was if nothing is dirty.
pub(crate) fn pass<S: Storage>(
    log: &mut PartitionLog<S>,
    cleaned_to: Option<Offset>,
    high_watermark: Offset,
    now: i64,
    keys: u64,
    stats: &mut Vec<CompactionStats>,
) -> Result<Option<Offset>, CompactionError> {
    let mut pace = |_| ControlFlow::Continue(());
    let cleanable = log.cleanable(cleaned_to, high_watermark, at(now))?;
    let Some(mut job) = log.prepare_compaction(cleanable, at(now))? else { return Ok(cleaned_to) };
    let memory = usize::try_from(keys * 24).expect("small");
    let mut map = job.offset_map(MapSettings { memory, load: 1.0, seed: 5 });
    job.index(&mut map, &mut pace)?;
    while let Some(cleaned) = job.clean_next(&map, &mut pace)? {
        let deleted = log.complete_compaction(cleaned)?;
        deleted.remove().map_err(CompactionError::Write)?;
    }
    stats.push(job.stats());
    Ok(Some(job.cleaned_to()))
}
