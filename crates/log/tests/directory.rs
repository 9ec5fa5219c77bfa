//! A log directory on the real file system: lock, identity, checkpoints, names.
#![allow(clippy::disallowed_methods, reason = "a test looks at the files itself")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::{
    AppendOrigin, Checkpoint, CleanShutdown, DirectoryError, FsStorage, LogConfig, LogDirectory,
    MetaProperties, Offsets, OpenInfo, PartitionDirKind, PartitionLog, UnrecoveredLog,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{
    BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, Offset, Timestamp, TopicPartition, Uuid,
    WallTime,
};

/// A directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-log-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<LogDirectory<FsStorage>, DirectoryError> {
        LogDirectory::open(Arc::new(FsStorage::default()), &self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn partition(name: &str) -> TopicPartition {
    TopicPartition::parse(name).expect("a partition")
}

#[test]
fn one_process_at_a_time() {
    let scratch = Scratch::new("lock");
    let first = scratch.open().unwrap();
    assert!(matches!(scratch.open(), Err(DirectoryError::Locked(_))));
    drop(first);
    scratch.open().unwrap();
}

#[test]
fn identity_and_checkpoints_come_back() {
    let scratch = Scratch::new("meta");
    let meta = MetaProperties {
        cluster_id: "4L6g3nShT-eMCtK--X86sw".to_owned(),
        node_id: NodeId(1),
        directory_id: Some(DirectoryId(Uuid([7; 16]))),
        other: Default::default(),
    };
    let offsets: Offsets = [(partition("a-0"), Offset(3)), (partition("b-c-12"), Offset(0))].into();
    {
        let mut directory = scratch.open().unwrap();
        assert!(directory.is_empty().unwrap() && directory.meta().is_none());
        directory.write_meta(meta.clone()).unwrap();
        directory.write_checkpoint(Checkpoint::RecoveryPoints, &offsets).unwrap();
        assert_eq!(directory.take_clean_mark().unwrap(), None);
        let mark = CleanShutdown { broker_epoch: Some(BrokerEpoch(9)) };
        directory.write_clean_mark(mark).unwrap();
    }
    let directory = scratch.open().unwrap();
    assert!(!directory.is_empty().unwrap());
    assert_eq!(directory.meta(), Some(&meta));
    assert_eq!(directory.read_checkpoint(Checkpoint::RecoveryPoints).unwrap(), offsets);
    assert!(directory.read_checkpoint(Checkpoint::HighWatermarks).unwrap().is_empty());
    let mark = directory.take_clean_mark().unwrap().unwrap();
    assert_eq!(mark.broker_epoch, Some(BrokerEpoch(9)));
    assert_eq!(directory.take_clean_mark().unwrap(), None, "it counts once");
    std::fs::write(scratch.0.join("replication-offset-checkpoint"), "0\n2\na 0 1\n").unwrap();
    let error = directory.read_checkpoint(Checkpoint::HighWatermarks).unwrap_err();
    assert!(matches!(error, DirectoryError::Malformed { .. }));
}

#[test]
fn partitions_are_told_apart_by_their_names() {
    let scratch = Scratch::new("names");
    let directory = scratch.open().unwrap();
    let unique = "0123456789abcdef0123456789abcdef";
    for name in [
        "a-0",
        "b-c-12",
        &format!("a-1.{unique}-delete"),
        &format!("a-2.{unique}-future"),
        "a-3-stray",
        "no_partition",
    ] {
        std::fs::create_dir(scratch.0.join(name)).unwrap();
    }
    let kinds: Vec<_> = directory.partitions().unwrap().into_iter().map(|dir| dir.kind).collect();
    assert_eq!(
        kinds,
        [
            PartitionDirKind::Live(partition("a-0")),
            PartitionDirKind::Deleted,
            PartitionDirKind::Future(partition("a-2")),
            PartitionDirKind::Stray,
            PartitionDirKind::Live(partition("b-c-12")),
        ]
    );
    // Kafka refuses to start on a directory whose name has no such number.
    let at = directory.partition_path(&partition("a-0"));
    let unique = Uuid([0xab; 16]);
    let stray = directory.set_stray(&partition("a-0"), &at, unique).unwrap();
    assert_eq!(stray, scratch.0.join(format!("a-0.{}-stray", "ab".repeat(16))));
    assert!(stray.is_dir());
    std::fs::create_dir(&at).unwrap();
    let second = directory.set_stray(&partition("a-0"), &at, Uuid([1; 16])).unwrap();
    assert!(second.is_dir() && stray.is_dir(), "none takes the place of another");
}

#[test]
fn a_log_lives_in_real_files_and_lends_them() {
    let scratch = Scratch::new("files");
    let directory = scratch.open().unwrap();
    let storage = Arc::clone(directory.storage());
    let config = Arc::new(LogConfig::default());
    let now = WallTime::from_millis(10);
    let name = partition("t-0");
    let mut log = PartitionLog::create(
        Arc::clone(&storage),
        directory.path(),
        name.clone(),
        None,
        Offset(5),
        Arc::clone(&config),
        now,
    )
    .unwrap();
    let mut builder = BatchBuilder::new(Compression::Gzip);
    builder.push_pair(Timestamp(9), Some(b"k"), Some(b"v"));
    let prepared = config.prepare(builder.build().unwrap(), AppendOrigin::Client, now).unwrap();
    log.append(&prepared, LeaderEpoch(1), now).unwrap();
    let slice = log.read(Offset(5), 1 << 20, Offset(6), true).unwrap();
    let Some(ottla_codec::Part::File(range)) = slice.records else { panic!("not a file") };
    assert_eq!((range.position, range.len), (0, prepared.size()));
    log.close().unwrap();
    drop(log);
    assert_eq!(
        listing(&directory.partition_path(&name)),
        [
            "00000000000000000005.index",
            "00000000000000000005.log",
            "00000000000000000005.timeindex",
            "00000000000000000006.snapshot",
            "leader-epoch-checkpoint",
        ]
    );
    let info = OpenInfo {
        partition: name.clone(),
        topic_id: None,
        clean: true,
        recovery_point: Offset(6),
        log_start: Offset(5),
        config,
        accept_damage: false,
        now,
    };
    let path = directory.partition_path(&name);
    let (mut log, _) = UnrecoveredLog::open(storage, path, info).unwrap().recover().unwrap();
    assert_eq!((log.log_start_offset(), log.end_offset()), (Offset(5), Offset(6)));
    assert_eq!(log.read_bytes(Offset(5), 1 << 20, Offset(6)).unwrap().len(), prepared.size());
}

fn listing(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).expect("lists");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
