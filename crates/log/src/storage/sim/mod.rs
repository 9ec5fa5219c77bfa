//! [`Storage`] in memory that can lose power, run full, fail and rot.
//!
//! Every change is remembered until it is synced. [`SimStorage::crash`] gives the disk as it might
//! be found after a power cut: what was synced, and of the rest as much as [`CrashMode`] says.
//! [`SimStorage::inject`] makes calls fail, [`SimStorage::rot`] damages what is there. Nothing is
//! random but by a seed that is given.

mod crash;
mod disk;
mod fault;
mod rot;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_types::WallTime;

use super::{DirEntry, Storage, StorageFile};
pub use crash::CrashMode;
use disk::{Change, Disk, Node, NodeId};
pub use fault::{Fault, Operation, Site};
pub use rot::Rot;

/// A disk in memory; clones are the same disk.
///
/// Renames stay within a directory. After a sync that failed, what it covered is never durable,
/// though later syncs of it say that all is well: so do Linux's.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

/// A file of a [`SimStorage`].
#[derive(Debug)]
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    node: NodeId,
    path: PathBuf,
}

impl SimStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> usize {
        self.guard().faults.syncs
    }

    /// Calls so far that change the disk or make something durable: what a crash may come between.
    pub fn steps(&self) -> usize {
        self.guard().faults.steps
    }

    /// Makes the `number`-th sync from the start fail, and every call after it: the machine loses
    /// power there.
    pub fn lose_power_at_sync(&self, number: usize) {
        self.guard().faults.power_lost_at_sync = Some(number);
    }

    /// As [`SimStorage::lose_power_at_sync`], at one of [`SimStorage::steps`]. What that step
    /// writes, creates or renames may survive like anything else that was not synced.
    pub fn lose_power_at_step(&self, number: usize) {
        self.guard().faults.power_lost_at_step = Some(number);
    }

    /// Limits what all files may hold together, in bytes; `None` is no limit. A write that does
    /// not fit writes what does.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.guard().capacity = capacity;
    }

    /// Makes a call fail.
    pub fn inject(&self, fault: Fault) {
        self.guard().faults.plan(fault);
    }

    /// Nothing fails from here on, but for lost power.
    pub fn clear_faults(&self) {
        self.guard().faults.clear();
    }

    /// Notes from here on which lines of the sources call, for [`SimStorage::sites`].
    pub fn record_sites(&self) {
        self.guard().faults.record_sites();
    }

    /// The places that called, and whether a call of theirs was made to fail.
    pub fn sites(&self) -> BTreeMap<Site, bool> {
        self.guard().faults.sites()
    }

    /// The disk as it might be found after losing power now.
    #[must_use]
    pub fn crash(&self, mode: CrashMode) -> Self {
        let after = crash::crash(&self.guard(), mode);
        Self { disk: Arc::new(Mutex::new(after)) }
    }

    fn guard(&self) -> MutexGuard<'_, Disk> {
        guard(&self.disk)
    }

    // A call that fails by plan changes nothing, unless it is a sync.
    #[track_caller]
    fn enter(&self, operation: Operation, path: &Path) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.guard();
        match disk.faults.enter(operation, path)? {
            Ok(()) => Ok(disk),
            Err(failure) => {
                if let (Operation::SyncDir, Ok(dir)) = (operation, disk.dir(path)) {
                    dir.in_doubt = true;
                }
                Err(failure.error)
            }
        }
    }

    fn file(&self, node: NodeId, path: &Path) -> SimFile {
        SimFile { disk: Arc::clone(&self.disk), node, path: path.to_path_buf() }
    }
}

fn guard(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage for SimStorage {
    type File = SimFile;
    type Lock = ();

    #[track_caller]
    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let node = self.enter(Operation::Open, path)?.find_file(path)?;
        Ok(self.file(node, path))
    }

    #[track_caller]
    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut disk = self.enter(Operation::Create, path)?;
        let node = disk.create(path)?;
        disk.faults.step(Operation::Create)?;
        Ok(self.file(node, path))
    }

    #[track_caller]
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.enter(Operation::CreateDir, path)?;
        disk.create_dir(path)?;
        disk.faults.step(Operation::CreateDir)
    }

    #[track_caller]
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut disk = self.enter(Operation::List, path)?;
        let names = disk.dir(path)?.names.clone();
        let entry = |(name, node): (std::ffi::OsString, NodeId)| DirEntry {
            path: path.join(&name),
            name: name.to_string_lossy().into_owned(),
            is_dir: matches!(disk.nodes[node], Node::Dir(_)),
            len: match &disk.nodes[node] {
                Node::Dir(_) => 0,
                Node::File(file) => file.content.len() as u64,
            },
            modified: WallTime::from_millis(0),
        };
        Ok(names.into_iter().map(entry).collect())
    }

    #[track_caller]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.enter(Operation::Rename, from)?;
        disk.rename(from, to)?;
        disk.faults.step(Operation::Rename)
    }

    #[track_caller]
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.enter(Operation::RemoveFile, path)?;
        disk.remove_file(path)?;
        disk.faults.step(Operation::RemoveFile)
    }

    #[track_caller]
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.enter(Operation::RemoveDir, path)?;
        disk.remove_dir_all(path)?;
        disk.faults.step(Operation::RemoveDir)
    }

    #[track_caller]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.enter(Operation::SyncDir, path)?;
        disk.faults.step(Operation::SyncDir)?;
        disk.dir(path)?.sync();
        Ok(())
    }

    #[track_caller]
    fn lock(&self, path: &Path) -> io::Result<Option<()>> {
        let mut disk = self.enter(Operation::Lock, path)?;
        if disk.find_file(path).is_err() {
            disk.create(path)?;
        }
        Ok(Some(()))
    }
}

impl SimFile {
    #[track_caller]
    fn enter(
        &self,
        operation: Operation,
    ) -> io::Result<(MutexGuard<'_, Disk>, Result<(), fault::Failure>)> {
        let mut disk = guard(&self.disk);
        let entered = disk.faults.enter(operation, &self.path)?;
        Ok((disk, entered))
    }
}

impl StorageFile for SimFile {
    #[track_caller]
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let (mut disk, entered) = self.enter(Operation::Read)?;
        entered.map_err(|failure| failure.error)?;
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let rest = disk.file(self.node).content.get(at..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    #[track_caller]
    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let (mut disk, entered) = self.enter(Operation::Write)?;
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let mut bytes = parts.concat();
        let old = disk.file(self.node).content.len();
        let mut outcome = Ok(());
        if let Some(room) = disk.room()
            && old.max(at) + room < at + bytes.len()
        {
            bytes.truncate((old + room).saturating_sub(at));
            outcome = Err(io::ErrorKind::StorageFull.into());
        }
        if let Err(failure) = entered {
            bytes.truncate(failure.bytes);
            outcome = Err(failure.error);
        }
        if !bytes.is_empty() {
            disk.file(self.node).change(Change::Write(at, bytes));
        }
        disk.faults.step(Operation::Write)?;
        outcome
    }

    #[track_caller]
    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut disk, entered) = self.enter(Operation::SetLen)?;
        entered.map_err(|failure| failure.error)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        disk.file(self.node).change(Change::SetLen(len));
        disk.faults.step(Operation::SetLen)
    }

    #[track_caller]
    fn len(&self) -> io::Result<u64> {
        let (mut disk, entered) = self.enter(Operation::Len)?;
        entered.map_err(|failure| failure.error)?;
        Ok(disk.file(self.node).content.len() as u64)
    }

    #[track_caller]
    fn sync(&self) -> io::Result<()> {
        let (mut disk, entered) = self.enter(Operation::Sync)?;
        if let Err(failure) = entered {
            disk.file(self.node).in_doubt = true;
            return Err(failure.error);
        }
        disk.faults.step(Operation::Sync)?;
        disk.file(self.node).sync();
        Ok(())
    }

    #[expect(clippy::disallowed_types, reason = "there is none")]
    fn lend(_: &Arc<Self>) -> Option<Arc<std::fs::File>> {
        None
    }
}

/// SplitMix64: enough to scatter crashes, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`; 0 below 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound.max(1) as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
