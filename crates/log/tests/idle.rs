//! What a log costs that nobody uses: no open file, and nothing to do at a stop.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{DIR, at, client, config, create, offsets, reopen, try_create, values};
use ottla_log::Storage as _;
use ottla_log::storage::CrashMode;
use ottla_types::{LeaderEpoch, Offset};

#[test]
fn files_are_open_from_an_append_to_a_release() {
    let (storage, mut log) = create(config());
    assert!(!log.is_open());
    log.append(&client(&log, &["a"]), LeaderEpoch(0), at(5)).unwrap();
    assert!(log.is_open());
    // Unsynced records stay so, and the next flush is theirs.
    log.release().unwrap();
    assert!(!log.is_open() && log.flushed_to() == Offset(0));
    assert_eq!(values(&mut log), ["a"]);
    assert!(!log.is_open(), "a read keeps nothing open");
    assert_eq!(log.flush().unwrap(), Offset(1));
    log.append(&client(&log, &["b"]), LeaderEpoch(0), at(6)).unwrap();
    log.flush().unwrap();
    log.release().unwrap();
    let (mut log, _) = reopen(&storage.crash(CrashMode::Nothing), log.config(), false, 0);
    assert!(!log.is_open());
    assert_eq!(offsets(&mut log), [0, 1]);
}

#[test]
fn a_stop_syncs_only_what_changed() {
    let (storage, mut log) = create(config());
    let before = storage.syncs();
    log.start_epoch(LeaderEpoch(0));
    log.close().unwrap();
    assert_eq!(storage.syncs(), before, "a log without records costs a stop nothing");
    let lost = Arc::new(storage.crash(CrashMode::Nothing));
    drop(log);

    // Power may go after the stop that did not sync it: the next start makes another.
    let settings = Arc::new(config());
    assert!(lost.list(Path::new(DIR)).is_err());
    let mut log = try_create(&lost, &settings).unwrap();
    log.append(&client(&log, &["a"]), LeaderEpoch(1), at(5)).unwrap();
    log.close().unwrap();
    let (mut log, _) = reopen(&lost, &settings, true, 1);
    let before = lost.syncs();
    // Every start leads in a new epoch; without records it is no reason to write.
    log.start_epoch(LeaderEpoch(2));
    assert_eq!(values(&mut log), ["a"]);
    log.close().unwrap();
    assert_eq!(lost.syncs(), before, "nothing was appended since the clean start");
    log.append(&client(&log, &["b"]), LeaderEpoch(2), at(6)).unwrap();
    log.close().unwrap();
    assert!(lost.syncs() > before);
    let (mut log, _) = reopen(&lost.crash(CrashMode::Nothing), &settings, true, 2);
    assert_eq!(values(&mut log), ["a", "b"]);
    assert_eq!(log.epoch_at(Offset(1)), Some(LeaderEpoch(2)));
}
