//! A real file system whose power can be cut: ext4 in a file, mounted through a loop device.
//!
//! The ioctl `EXT4_IOC_SHUTDOWN` ends a mounted file system at once and drops what its journal had not yet written, as a
//! loss of power does. It needs root and a kernel that has loop devices.

#![allow(unsafe_code, reason = "an ioctl that no crate wraps; the argument stands at the call")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::ioctl::{Setter, ioctl};

use crate::folder::Folder;

/// `_IOR('X', 125, __u32)`: EXT4_IOC_SHUTDOWN.
const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
/// EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted disk; it is unmounted, and its file removed, when this goes.
#[derive(Debug)]
pub struct CutDisk {
    folder: Folder,
}

impl CutDisk {
    /// Makes and mounts an empty disk of so many MiB.
    ///
    /// # Errors
    /// The machine does not allow it, or has no `mkfs.ext4`: the message says which step failed.
    pub fn create(mebibytes: u32) -> Result<Self> {
        let disk = Self { folder: Folder::new("cut-disk")? };
        let image = disk.image();
        File::create(&image)?.set_len(u64::from(mebibytes) << 20)?;
        std::fs::create_dir(disk.path())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Cuts the power. Every call to a file on it fails from now on.
    ///
    /// # Errors
    /// The file system cannot be shut down.
    pub fn cut(&self) -> Result<()> {
        let root = File::open(self.path())?;
        // SAFETY: the kernel reads one `u32` behind the pointer that it is given, which is what a `Setter` of that
        // type passes; it keeps no pointer, and changes no memory of this process.
        let ended = unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
        ended.context("EXT4_IOC_SHUTDOWN")
    }

    /// Gives it its power back; no file on it may be open.
    ///
    /// # Errors
    /// It cannot be unmounted or mounted.
    pub fn restore(&self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    fn unmount(&self) -> Result<()> {
        run(Command::new("umount").arg(self.path()))
    }
}

impl Drop for CutDisk {
    fn drop(&mut self) {
        // What was never mounted cannot be unmounted.
        if is_mounted(&self.path())
            && let Err(error) = self.unmount()
        {
            eprintln!("left mounted: {}: {error:#}", self.path().display());
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
