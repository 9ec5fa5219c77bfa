//! Random logs with tombstones and transactions, compacted at random, against a list of what was
//! appended.

mod common;

use std::collections::BTreeMap;

use common::compacted::{RETENTION_MS, Told, data, settings};
use common::reopen;
use ottla_log::LogConfig;
use ottla_log::storage::CrashMode;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    /// Keys and whether each has a value; a producer's transaction, or none.
    Append {
        keys: Vec<(u8, bool)>,
        producer: Option<u8>,
    },
    End {
        producer: u8,
        commit: bool,
    },
    Roll,
    /// Milliseconds since the last one, and room for so many keys.
    Compact {
        later: u8,
        keys: u8,
    },
    Recover(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let record = (0..12_u8, prop::bool::weighted(0.8));
    let records = prop::collection::vec(record, 1..6);
    prop_oneof![
        12 => (records, prop::option::weighted(0.4, 1..4_u8))
            .prop_map(|(keys, producer)| Op::Append { keys, producer }),
        3 => (1..4_u8, any::<bool>()).prop_map(|(producer, commit)| Op::End { producer, commit }),
        3 => Just(Op::Roll),
        3 => (any::<u8>(), prop_oneof![3 => Just(200_u8), 1 => 1..12_u8])
            .prop_map(|(later, keys)| Op::Compact { later, keys }),
        1 => any::<u64>().prop_map(Op::Recover),
    ]
}

#[derive(Clone, Debug)]
struct Appended {
    key: String,
    value: Option<String>,
    /// `None` while its transaction is open; then whether it was committed.
    committed: Option<bool>,
    producer: Option<u8>,
    /// When a pass may have seen it first.
    seen: Option<i64>,
}

#[derive(Debug, Default)]
struct Model {
    /// By offset.
    records: BTreeMap<u64, Appended>,
    now: i64,
    value: u32,
}

impl Model {
    fn append(&mut self, told: &mut Told, keys: &[(u8, bool)], producer: Option<u8>) {
        let mut line = producer.map_or_else(String::new, |id| format!("t{id}"));
        for (offset, &(key, has_value)) in (told.log.end_offset().0..).zip(keys) {
            self.value += 1;
            let key = format!("k{key}");
            let value = has_value.then(|| self.value.to_string());
            line += &match &value {
                Some(value) => format!(" {key}={value}"),
                None => format!(" -{key}"),
            };
            let committed = producer.is_none().then_some(true);
            let appended = Appended { key, value, committed, producer, seen: None };
            self.records.insert(offset, appended);
        }
        told.tell(&line);
    }

    fn end(&mut self, told: &mut Told, producer: u8, commit: bool) {
        let open = self
            .records
            .values_mut()
            .filter(|record| record.producer == Some(producer) && record.committed.is_none());
        let count = open.map(|record| record.committed = Some(commit)).count();
        if count > 0 {
            told.tell(&format!("{} {producer}", if commit { "commit" } else { "abort" }));
        }
    }

    fn compact(&mut self, told: &mut Told, keys: u8) {
        told.log.flush().expect("flushes");
        let cleanable =
            told.log.cleanable(told.cleaned_to, told.log.end_offset(), common::at(self.now));
        let cleanable = cleanable.expect("decides");
        if cleanable.dirty_bytes > 0 {
            let first = self.records.range_mut(..cleanable.until.0);
            first.for_each(|(_, record)| record.seen = record.seen.or(Some(self.now)));
        }
        told.tell(&format!("compact {} map={keys}", self.now));
        self.check(told);
        if let Some(cleaned_to) = told.cleaned_to {
            self.check_compacted(told, cleaned_to.0);
        }
    }

    /// Nothing is invented or moved, and no newest value is missing.
    fn check(&self, told: &Told) {
        let found = data(&told.storage);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{found:?}");
        for (offset, key, value) in &found {
            let appended = self.records.get(offset).expect("was appended");
            assert_eq!((&appended.key, &appended.value), (key, value));
        }
        let offsets: Vec<_> = found.iter().map(|record| record.0).collect();
        let mut newest: BTreeMap<&str, (u64, &Appended)> = BTreeMap::new();
        for (&offset, record) in &self.records {
            match record.committed {
                Some(true) => drop(newest.insert(&record.key, (offset, record))),
                Some(false) => {}
                None => assert!(offsets.contains(&offset), "undecided {offset} is gone"),
            }
        }
        for (offset, record) in newest.into_values() {
            let horizon = record.seen.map(|seen| seen + RETENTION_MS);
            let may_go = record.value.is_none() && horizon.is_some_and(|at| at <= self.now);
            assert!(may_go || offsets.contains(&offset), "{offset} is gone: {record:?}");
        }
    }

    /// Below where the last pass has come, every key is there once, and nothing aborted is.
    fn check_compacted(&self, told: &Told, cleaned_to: u64) {
        let mut keys = BTreeMap::new();
        for (offset, key, _) in data(&told.storage) {
            if offset < cleaned_to {
                let appended = self.records.get(&offset).expect("was appended");
                assert_eq!(appended.committed, Some(true), "{offset} was aborted");
                let earlier = keys.insert(key, offset);
                assert_eq!(earlier, None, "twice, at {offset}, of {cleaned_to}");
            }
        }
    }

    fn recover(&self, told: &mut Told, seed: u64) {
        told.log.flush().expect("flushes");
        let end = told.log.end_offset();
        let found = told.storage.crash(CrashMode::Prefix(seed));
        let shared = told.log.config().clone();
        let (log, _) = reopen(&found, &shared, false, end.0 / 2);
        assert_eq!(log.end_offset(), end);
        (told.storage, told.log) = (std::sync::Arc::new(found), log);
        self.check(told);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_has_every_keys_newest_value(
        ops in prop::collection::vec(op(), 1..80),
        segment_bytes in prop_oneof![Just(300_u64), Just(1000), Just(1 << 20)],
    ) {
        let mut told = Told::new(LogConfig { segment_bytes, ..settings() });
        let mut model = Model { now: 1000, ..Model::default() };
        for op in ops {
            match op {
                Op::Append { keys, producer } => model.append(&mut told, &keys, producer),
                Op::End { producer, commit } => model.end(&mut told, producer, commit),
                Op::Roll => drop(told.tell("roll")),
                Op::Compact { later, keys } => {
                    model.now += i64::from(later);
                    model.compact(&mut told, keys);
                }
                Op::Recover(seed) => model.recover(&mut told, seed),
            }
        }
        // All that is left to do: everything decided, everything compacted, twice the same.
        for producer in 1..4 {
            model.end(&mut told, producer, true);
        }
        told.tell("roll");
        told.cleaned_to = None;
        model.compact(&mut told, 200);
        let once = data(&told.storage);
        told.cleaned_to = None;
        model.compact(&mut told, 200);
        prop_assert_eq!(data(&told.storage), once);
        let end = told.log.end_offset();
        prop_assert_eq!(told.cleaned_to, (end.0 > 0).then_some(end));
    }
}
