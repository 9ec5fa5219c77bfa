//! The simulated disk keeps the promises of [`Storage`], and no others.

use super::*;

fn disk() -> SimStorage {
    let disk = SimStorage::new();
    disk.create_dir(Path::new("d")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    disk
}

fn content(disk: &SimStorage, path: &str) -> Option<Vec<u8>> {
    disk.read_small(Path::new(path)).unwrap()
}

fn write(disk: &SimStorage, path: &str, at: u64, bytes: &[u8]) -> SimFile {
    let path = Path::new(path);
    let file = disk.open(path).or_else(|_| disk.create(path)).unwrap();
    file.write_at(&[bytes], at).unwrap();
    file
}

#[test]
fn only_what_was_synced_survives_for_sure() {
    let disk = disk();
    let file = write(&disk, "d/f", 0, b"abcd");
    assert_eq!(content(&disk.crash(CrashMode::Nothing), "d/f"), None, "no name was synced");
    disk.sync_dir(Path::new("d")).unwrap();
    assert_eq!(content(&disk.crash(CrashMode::Nothing), "d/f").unwrap(), b"");
    file.sync().unwrap();
    file.write_at(&[b"ef"], 4).unwrap();
    assert_eq!(content(&disk.crash(CrashMode::Nothing), "d/f").unwrap(), b"abcd");
    assert_eq!(content(&disk.crash(CrashMode::Everything), "d/f").unwrap(), b"abcdef");
    for seed in 0..50 {
        let got = content(&disk.crash(CrashMode::Prefix(seed)), "d/f").unwrap();
        assert!(b"abcdef".starts_with(&got) && got.len() >= 4, "{got:?}");
    }
}

#[test]
fn a_new_directory_is_lost_with_its_name() {
    let disk = disk();
    disk.create_dir(Path::new("d/new")).unwrap();
    write(&disk, "d/new/f", 0, b"x").sync().unwrap();
    disk.sync_dir(Path::new("d/new")).unwrap();
    assert!(disk.crash(CrashMode::Nothing).list(Path::new("d/new")).is_err());
    disk.sync_dir(Path::new("d")).unwrap();
    assert_eq!(content(&disk.crash(CrashMode::Nothing), "d/new/f").unwrap(), b"x");
}

#[test]
fn a_replaced_file_is_old_or_new() {
    let first = disk();
    let path = Path::new("d/f");
    let before = first.syncs();
    first.replace_small(path, b"old").unwrap();
    assert_eq!(first.syncs() - before, 2, "the file, then the directory");
    let steps = first.crash(CrashMode::Nothing);
    steps.replace_small(path, b"new").unwrap();
    for at in 1..=steps.steps() {
        let disk = first.crash(CrashMode::Nothing);
        disk.lose_power_at_step(at);
        assert!(disk.replace_small(path, b"new").is_err());
        let blocks = CrashMode::Blocks { seed: at as u64, size: 512 };
        let modes = [CrashMode::Nothing, CrashMode::Everything, CrashMode::Prefix(1), blocks];
        for mode in modes.into_iter().chain([CrashMode::Names, CrashMode::Content]) {
            let got = content(&disk.crash(mode), "d/f").unwrap();
            assert!(got == b"old" || got == b"new", "{got:?} {at} {mode:?}");
        }
    }
}

#[test]
fn a_rename_may_lose_its_content_and_content_its_rename() {
    let disk = disk();
    write(&disk, "d/a", 0, b"x");
    disk.sync_dir(Path::new("d")).unwrap();
    disk.rename(Path::new("d/a"), Path::new("d/b")).unwrap();
    let names = disk.crash(CrashMode::Names);
    assert_eq!((content(&names, "d/a"), content(&names, "d/b")), (None, Some(Vec::new())));
    let bytes = disk.crash(CrashMode::Content);
    assert_eq!((content(&bytes, "d/a"), content(&bytes, "d/b")), (Some(b"x".to_vec()), None));
}

#[test]
fn blocks_are_torn_and_come_in_any_order() {
    let disk = disk();
    let file = write(&disk, "d/f", 0, &[1; 2048]);
    disk.sync_dir(Path::new("d")).unwrap();
    file.sync().unwrap();
    file.write_at(&[&[2; 2048]], 0).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let got = content(&disk.crash(CrashMode::Blocks { seed, size: 512 }), "d/f").unwrap();
        assert!(got.chunks(512).all(|block| block == [1; 512] || block == [2; 512]));
        seen.insert(got.chunks(512).map(|block| block[0]).collect::<Vec<_>>());
    }
    assert_eq!(seen.len(), 16, "each of four blocks is old or new");
    let again = |seed| content(&disk.crash(CrashMode::Blocks { seed, size: 512 }), "d/f");
    assert_eq!(again(3), again(3), "the same seed, the same disk");
}

#[test]
fn a_full_disk_says_so_and_takes_what_fits() {
    let disk = disk();
    let file = write(&disk, "d/f", 0, b"");
    disk.set_capacity(Some(3));
    let error = file.write_at(&[b"abcd"], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(content(&disk, "d/f").unwrap(), b"abc");
    assert!(disk.create(Path::new("d/g")).is_err());
    disk.remove_file(Path::new("d/f")).unwrap();
    disk.create(Path::new("d/g")).unwrap();
}

#[test]
fn calls_fail_as_planned() {
    let disk = disk();
    let file = write(&disk, "d/f", 0, b"");
    disk.record_sites();
    disk.inject(Fault::on(Operation::Write).nth(2).after_bytes(1));
    file.write_at(&[b"ab"], 0).unwrap();
    assert_eq!(file.write_at(&[b"cd"], 2).unwrap_err().raw_os_error(), Some(5));
    file.write_at(&[b"e"], 3).unwrap();
    assert_eq!(content(&disk, "d/f").unwrap(), b"abce");
    disk.inject(Fault::on(Operation::Open).path_ending("f").full().from_then_on());
    for _ in 0..2 {
        let error = disk.open(Path::new("d/f")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    disk.clear_faults();
    disk.open(Path::new("d/f")).unwrap();
    let failed: Vec<_> = disk.sites().into_iter().filter(|(_, failed)| *failed).collect();
    assert!(failed.iter().all(|(site, _)| site.file.ends_with("sim/tests.rs")));
    assert_eq!(failed.len(), 2);
}

#[test]
fn nothing_is_durable_after_a_failed_sync() {
    let disk = disk();
    let file = write(&disk, "d/f", 0, b"old");
    disk.sync_dir(Path::new("d")).unwrap();
    file.sync().unwrap();
    file.write_at(&[b"new"], 0).unwrap();
    disk.inject(Fault::on(Operation::Sync));
    assert!(file.sync().is_err());
    file.sync().unwrap();
    assert_eq!(content(&disk, "d/f").unwrap(), b"new");
    assert_eq!(content(&disk.crash(CrashMode::Nothing), "d/f").unwrap(), b"old");
}

#[test]
fn bytes_rot() {
    let disk = disk();
    let file = write(&disk, "d/f", 0, &[7; 100]);
    file.sync().unwrap();
    file.write_at(&[&[8; 200]], 0).unwrap();
    file.sync().unwrap();
    for rot in Rot::ALL {
        let disk = disk.crash(CrashMode::Everything);
        let before = content(&disk, "d/f").unwrap();
        let changed = disk.rot(Path::new("d/f"), rot, 5).unwrap();
        assert_eq!(changed, content(&disk, "d/f").unwrap() != before, "{rot:?}");
        assert!(changed || rot == Rot::Copy, "{rot:?}");
    }
}
