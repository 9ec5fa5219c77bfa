//! [`Storage`] in memory that can lose power, run full and fail.
//!
//! Every write is remembered until it is synced. [`SimStorage::crash`] gives the disk as it might
//! be found after a power cut: what was synced, and of the rest as much as [`CrashMode`] says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_types::WallTime;

use super::{DirEntry, Storage, StorageFile};

/// What survives of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// Nothing.
    Nothing,
    /// Everything, as after a killed process on a machine that went on.
    Everything,
    /// For each file a random number of its oldest writes, the next one perhaps torn in the
    /// middle; for each directory a random number of its oldest changes.
    Prefix(u64),
    /// For each file any subset of its writes, which leaves holes of zeros.
    Subset(u64),
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<FileState>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending: BTreeMap<PathBuf, Vec<NameChange>>,
    syncs: usize,
    fail_at_sync: Option<usize>,
    capacity: Option<usize>,
    dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, Node),
    Remove(PathBuf),
    // Of a file or a whole directory.
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Debug, Default)]
struct FileState {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

/// A file of a [`SimStorage`].
#[derive(Debug)]
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    id: usize,
}

impl SimStorage {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> usize {
        self.guard().syncs
    }

    /// Makes the `number`-th sync from the start fail, and every call after it: the machine loses
    /// power there.
    pub fn lose_power_at_sync(&self, number: usize) {
        self.guard().fail_at_sync = Some(number);
    }

    /// Limits what all files may hold together, in bytes; `None` is no limit.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.guard().capacity = capacity;
    }

    /// The disk as it might be found after losing power now.
    #[must_use]
    pub fn crash(&self, mode: CrashMode) -> Self {
        let disk = self.guard();
        let mut random = match mode {
            CrashMode::Prefix(seed) | CrashMode::Subset(seed) => Random(seed | 1),
            CrashMode::Nothing | CrashMode::Everything => Random(1),
        };
        let mut names = disk.durable_names.clone();
        for changes in disk.pending.values() {
            let kept = match mode {
                CrashMode::Nothing => 0,
                CrashMode::Everything => changes.len(),
                CrashMode::Prefix(_) | CrashMode::Subset(_) => random.below(changes.len() + 1),
            };
            for change in changes.iter().take(kept) {
                apply_name(&mut names, change);
            }
        }
        // What is in a directory is lost with the directory's own name.
        let lost = |dir: &Path| disk.names.get(dir) == Some(&Node::Dir) && !names.contains_key(dir);
        let orphans: Vec<PathBuf> =
            names.keys().filter(|name| name.ancestors().skip(1).any(lost)).cloned().collect();
        for orphan in orphans {
            names.remove(&orphan);
        }
        let files = disk.files.iter().map(|file| survivor(file, mode, &mut random)).collect();
        let after = Disk { files, durable_names: names.clone(), names, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(after)) }
    }

    fn guard(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Disk>> {
        alive(&self.disk)
    }

    fn file(&self, id: usize) -> SimFile {
        SimFile { disk: Arc::clone(&self.disk), id }
    }
}

fn survivor(file: &FileState, mode: CrashMode, random: &mut Random) -> FileState {
    let mut content = file.durable.clone();
    let count = file.unsynced.len();
    let kept = match mode {
        CrashMode::Nothing => 0,
        CrashMode::Everything | CrashMode::Subset(_) => count,
        CrashMode::Prefix(_) => random.below(count + 1),
    };
    for change in file.unsynced.iter().take(kept) {
        if !matches!(mode, CrashMode::Subset(_)) || random.below(2) == 0 {
            apply_change(&mut content, change);
        }
    }
    // The write in progress may have come to the disk in part.
    if let (CrashMode::Prefix(_), Some(Change::Write(at, bytes))) = (mode, file.unsynced.get(kept))
    {
        let torn = random.below(bytes.len() + 1);
        let part = bytes.get(..torn).unwrap_or_default().to_vec();
        if torn > 0 {
            apply_change(&mut content, &Change::Write(*at, part));
        }
    }
    FileState { durable: content.clone(), content, unsynced: Vec::new() }
}

fn apply_change(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLen(len) => content.resize(*len, 0),
        Change::Write(at, bytes) => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    match change {
        NameChange::Put(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameChange::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
        NameChange::Rename(from, to) => {
            let moved: Vec<PathBuf> =
                names.keys().filter(|name| name.starts_with(from)).cloned().collect();
            for name in moved {
                let (Some(node), Ok(rest)) = (names.remove(&name), name.strip_prefix(from)) else {
                    continue;
                };
                let target = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                names.insert(target, node);
            }
        }
    }
}

fn alive(disk: &Mutex<Disk>) -> io::Result<MutexGuard<'_, Disk>> {
    let disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
    if disk.dead { Err(io::Error::other("no power")) } else { Ok(disk) }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or_else(|| Path::new("")).to_path_buf()
}

impl Disk {
    fn change(&mut self, dir: PathBuf, change: NameChange) {
        apply_name(&mut self.names, &change);
        self.pending.entry(dir).or_default().push(change);
    }

    fn lookup(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if self.fail_at_sync == Some(self.syncs) {
            self.dead = true;
            return Err(io::Error::other("power lost in a sync"));
        }
        Ok(())
    }

    // A file is emptied or grown only if the disk has room for it.
    fn make_room(&self, id: usize, len: usize) -> io::Result<()> {
        let others: usize = self.files.iter().map(|file| file.content.len()).sum::<usize>()
            - self.files[id].content.len();
        match self.capacity {
            Some(capacity) if others + len > capacity && len > self.files[id].content.len() => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl Storage for SimStorage {
    type File = SimFile;
    type Lock = ();

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let id = self.alive()?.lookup(path)?;
        Ok(self.file(id))
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut disk = self.alive()?;
        if let Ok(id) = disk.lookup(path) {
            disk.files[id].content.clear();
            disk.files[id].unsynced.push(Change::SetLen(0));
            return Ok(self.file(id));
        }
        disk.files.push(FileState::default());
        let id = disk.files.len() - 1;
        disk.change(parent(path), NameChange::Put(path.to_path_buf(), Node::File(id)));
        Ok(self.file(id))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        if !disk.names.contains_key(path) {
            disk.change(parent(path), NameChange::Put(path.to_path_buf(), Node::Dir));
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.alive()?;
        let entry = |(name, node): (&PathBuf, &Node)| DirEntry {
            name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            path: name.clone(),
            is_dir: *node == Node::Dir,
            len: match node {
                Node::Dir => 0,
                Node::File(id) => disk.files[*id].content.len() as u64,
            },
            modified: WallTime::from_millis(0),
        };
        let inside = |(name, _): &(&PathBuf, &Node)| name.parent() == Some(path);
        Ok(disk.names.iter().filter(inside).map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        if !disk.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change(parent(to), NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.lookup(path)?;
        disk.change(parent(path), NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.alive()?.change(parent(path), NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.alive()?;
        disk.count_sync()?;
        for change in disk.pending.remove(path).unwrap_or_default() {
            apply_name(&mut disk.durable_names, &change);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<()>> {
        if self.open(path).is_err() {
            self.create(path)?;
        }
        Ok(Some(()))
    }
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut disk = alive(&self.disk)?;
        let len = match &change {
            Change::SetLen(len) => *len,
            Change::Write(at, bytes) => disk.files[self.id].content.len().max(at + bytes.len()),
        };
        disk.make_room(self.id, len)?;
        let file = &mut disk.files[self.id];
        apply_change(&mut file.content, &change);
        file.unsynced.push(change);
        Ok(())
    }
}

impl StorageFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let disk = alive(&self.disk)?;
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let rest = disk.files[self.id].content.get(at..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let at = usize::try_from(position).map_err(io::Error::other)?;
        self.change(Change::Write(at, parts.concat()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(alive(&self.disk)?.files[self.id].content.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = alive(&self.disk)?;
        disk.count_sync()?;
        let file = &mut disk.files[self.id];
        file.durable.clone_from(&file.content);
        file.unsynced.clear();
        Ok(())
    }

    #[expect(clippy::disallowed_types, reason = "there is none")]
    fn lend(_: &Arc<Self>) -> Option<Arc<std::fs::File>> {
        None
    }
}

/// Xorshift: enough to scatter crashes, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_survives_for_sure() {
        let disk = SimStorage::new();
        let path = Path::new("d/f");
        let file = disk.create(path).unwrap();
        file.write_at(&[b"ab", b"cd"], 0).unwrap();
        assert!(disk.crash(CrashMode::Nothing).open(path).is_err(), "the name was not synced");
        disk.sync_dir(Path::new("d")).unwrap();
        assert_eq!(disk.crash(CrashMode::Nothing).read_small(path).unwrap().unwrap(), b"");
        file.sync().unwrap();
        file.write_at(&[b"ef"], 4).unwrap();
        assert_eq!(disk.crash(CrashMode::Nothing).read_small(path).unwrap().unwrap(), b"abcd");
        let all = disk.crash(CrashMode::Everything);
        assert_eq!(all.read_small(path).unwrap().unwrap(), b"abcdef");
        for seed in 0..50 {
            let got = disk.crash(CrashMode::Prefix(seed)).read_small(path).unwrap().unwrap();
            assert!(b"abcdef".starts_with(&got) && got.len() >= 4, "{got:?}");
        }
    }

    #[test]
    fn a_replaced_file_is_old_or_new() {
        let disk = SimStorage::new();
        let path = Path::new("d/f");
        disk.replace_small(path, b"old").unwrap();
        let syncs = disk.syncs();
        for at in 1..=2 {
            let disk = disk.crash(CrashMode::Nothing);
            disk.lose_power_at_sync(at);
            assert!(disk.replace_small(path, b"new").is_err());
            for mode in [CrashMode::Nothing, CrashMode::Everything, CrashMode::Prefix(at as u64)] {
                let got = disk.crash(mode).read_small(path).unwrap().unwrap();
                assert!(got == b"old" || got == b"new", "{got:?}");
            }
        }
        assert_eq!(syncs, 2, "the file, then the directory");
    }

    #[test]
    fn a_full_disk_says_so_and_takes_nothing() {
        let disk = SimStorage::new();
        let file = disk.create(Path::new("f")).unwrap();
        disk.set_capacity(Some(3));
        let error = file.write_at(&[b"abcd"], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(&[b"abc"], 0).unwrap();
    }
}
