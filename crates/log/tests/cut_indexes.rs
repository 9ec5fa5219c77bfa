//! Index files that somebody cuts or fills with rubbish while they are mapped: reads find what they found before.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "somebody else spoils the files"
)]

use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::{AppendOrigin, FsStorage, LogConfig, OpenInfo, PartitionLog, UnrecoveredLog};
use ottla_record::{BatchBuilder, Batches, Compression};
use ottla_testkit::Folder;
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

const NOW: WallTime = WallTime::from_millis(10_000);
const RECORDS: u64 = 3_000;

fn partition() -> TopicPartition {
    TopicPartition::parse("t-0").expect("a partition")
}

fn config() -> Arc<LogConfig> {
    let indexed =
        LogConfig { segment_bytes: 100_000, index_interval_bytes: 1, ..LogConfig::default() };
    Arc::new(LogConfig { retention: None, ..indexed })
}

/// A closed log of several segments, each with an index of more than a page.
fn filled(folder: &Folder) {
    let storage = Arc::new(FsStorage::default());
    let created =
        PartitionLog::create(storage, folder.path(), partition(), None, Offset(0), config(), NOW);
    let mut log = created.expect("created");
    for number in 0..RECORDS {
        let mut builder = BatchBuilder::new(Compression::None);
        let millis = i64::try_from(number).expect("small");
        builder.push_pair(Timestamp(millis), None, Some(&[7; 60]));
        let prepared =
            config().prepare(builder.build().expect("builds"), AppendOrigin::Client, NOW);
        log.append(&prepared.expect("fine"), LeaderEpoch(0), NOW).expect("appends");
    }
    log.close().expect("closes");
}

fn open(folder: &Folder) -> PartitionLog<FsStorage> {
    let info = OpenInfo {
        partition: partition(),
        topic_id: None,
        clean: true,
        recovery_point: Offset(RECORDS),
        log_start: Offset(0),
        config: config(),
        accept_damage: false,
        now: NOW,
    };
    let dir = folder.path().join("t-0");
    let log = UnrecoveredLog::open(Arc::new(FsStorage::default()), dir, info).expect("opens");
    log.recover().expect("recovers").0
}

fn everything_is_found(log: &mut PartitionLog<FsStorage>) {
    for number in (0..RECORDS).step_by(97) {
        let bytes = log.read_bytes(Offset(number), 1, log.end_offset()).expect("reads");
        let batch = Batches::new(bytes).next().expect("one").expect("whole");
        assert_eq!(batch.header().base_offset, Offset(number));
        let millis = i64::try_from(number).expect("small");
        let found = log.offset_for_timestamp(Timestamp(millis)).expect("reads").expect("is there");
        assert_eq!(found.offset, Offset(number));
    }
}

fn indexes(folder: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.path().join("t-0")).expect("lists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.to_string_lossy().ends_with("index")).collect()
}

#[test]
fn a_spoiled_index_costs_time_and_nothing_else() {
    type Spoil = fn(&std::fs::File, u64);
    let spoils: [Spoil; 4] = [
        |file, _| file.set_len(0).expect("cuts"),
        |file, len| file.set_len(len / 3).expect("cuts"),
        |file, len| file.set_len(0).and_then(|()| file.set_len(len)).expect("fills with zeros"),
        |file, len| {
            let bytes: Vec<u8> =
                (0..=250).cycle().step_by(37).zip(0..len).map(|(byte, _)| byte).collect();
            std::os::unix::fs::FileExt::write_all_at(file, &bytes, 0).expect("writes");
        },
    ];
    for spoil in spoils {
        let folder = Folder::new("cut-indexes").expect("a folder");
        filled(&folder);
        let mut log = open(&folder);
        assert!(log.segment_count() > 3);
        everything_is_found(&mut log);
        let indexes = indexes(&folder);
        assert!(indexes.len() > 6);
        for path in indexes {
            let file = std::fs::File::options().write(true).open(&path).expect("opens");
            let len = file.metadata().expect("there").len();
            spoil(&file, len);
        }
        everything_is_found(&mut log);
    }
}
