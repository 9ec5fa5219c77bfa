//! A disk that is full: nothing acknowledged is lost, and the node says what is the matter.

use std::path::{Path, PathBuf};
use std::process::Command;

use ottla_testkit::{Folder, NodeOptions, is_ci};

use crate::support::{json, ottla_with, running, succeeds};

/// A small file system of its own; needs root.
struct SmallDisk {
    path: PathBuf,
    _folder: Folder,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Option<Self> {
        let folder = Folder::new("disk").ok()?;
        let path = folder.path().join("mount");
        std::fs::create_dir(&path).ok()?;
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path);
        mount.output().ok()?.status.success().then_some(Self { path, _folder: folder })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a node that is still being killed may hold it.
        Command::new("umount").arg("-l").arg(&self.path).status().ok();
    }
}

#[test]
fn a_full_disk_refuses_records_and_loses_none() {
    let Some(disk) = SmallDisk::mount(24) else {
        // In a container without the right to mount there is no small disk to be had.
        eprintln!("SKIPPED full disk: a tmpfs cannot be mounted here (CI: {})", is_ci());
        return;
    };
    let data = disk.path().join("data").display().to_string();
    let mut node = running(NodeOptions::default().with("log.dirs", &data)).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "full"], "").unwrap();
    let line = "x".repeat(100_000);
    let mut acknowledged = 0;
    let mut refused = None;
    for number in 0..60 {
        let records: String = (0..8).map(|record| format!("{number}-{record}-{line}\n")).collect();
        let ran = ottla_with(&["-b", &bootstrap, "--timeout", "5", "produce", "full"], &records);
        let ran = ran.unwrap();
        if ran.code != Some(0) {
            refused = Some(ran.stderr);
            break;
        }
        acknowledged += 8;
    }
    let refused = refused.expect("24 MiB hold no 48 MiB");
    assert!(refused.starts_with("error: "), "{refused}");
    let ran = ottla_with(&["-b", &bootstrap, "doctor"], "").unwrap();
    assert_eq!(ran.code, Some(10), "{}", ran.stdout);
    assert!(ran.stdout.contains("A full disk refuses records"), "{}", ran.stdout);
    let described = json(&["-b", &bootstrap, "topic", "describe", "full"]).unwrap();
    assert_eq!(described[0]["name"], "full", "a full disk does not end the node");
    let output = node.process().unwrap().output();
    assert!(output.contains("ERROR") || output.contains("WARN"), "{output}");
    node.kill9().unwrap();

    // With room again everything that was acknowledged is there.
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,size=64m"]).arg(disk.path());
    assert!(remount.status().unwrap().success());
    node.restart().unwrap();
    let consume = ["-b", &bootstrap, "consume", "full", "--from-beginning", "--exit-at-end"];
    let found = succeeds(&consume, "").unwrap();
    assert!(acknowledged <= found.lines().count(), "{} of {acknowledged}", found.lines().count());
    succeeds(&["-b", &bootstrap, "produce", "full"], "again\n").unwrap();
    node.stop().unwrap();
}
