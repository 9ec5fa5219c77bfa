//! [`Storage`] on the operating system's files: the only place in this crate that knows `std::fs`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the one door of the core to the disk"
)]

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ottla_types::WallTime;
use parking_lot::Mutex;

use super::{DirEntry, IndexFile, Storage, StorageFile};

/// Files of the operating system. Clones share the index files that are kept mapped, and the files that are kept open for
/// reads.
#[derive(Clone, Debug, Default)]
pub struct FsStorage {
    indexes: Arc<Mutex<VecDeque<Arc<IndexFile>>>>,
    read: Arc<Mutex<VecDeque<ReadFile>>>,
}

/// A file that is kept open because it was read.
#[derive(Debug)]
struct ReadFile {
    path: PathBuf,
    _open: Arc<File>,
}

/// Index files that are kept mapped, those that were opened last. A mapping of a removed file holds its
/// space on disk for as long.
const INDEXES_KEPT: usize = 1024;
const _: () = assert!(INDEXES_KEPT < ottla_sys::MappedFile::MOST, "as many may be mapped");

/// Files of closed segments that are kept open, those that were opened last.
const READ_FILES_KEPT: usize = 64;

impl FsStorage {
    /// Lets go of what is kept open at or below a path whose name is about to go.
    fn forget(&self, path: &Path) {
        self.read.lock().retain(|kept| !kept.path.starts_with(path));
    }
}

impl Storage for FsStorage {
    type File = File;
    type Lock = File;

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since it was listed, as a `.deleted` file may be.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                path: entry.path(),
                is_dir: metadata.is_dir(),
                len: metadata.len(),
                modified: WallTime::default().plus(modified),
            });
        }
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.forget(path);
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.forget(path);
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn open_index(&self, path: &Path) -> io::Result<Arc<IndexFile>> {
        let file = File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let index = match ottla_sys::MappedFile::map(&file, len)? {
            Some(mapped) => Arc::new(IndexFile::mapped(mapped)),
            None => {
                let content = self.read_small(path)?.ok_or(io::ErrorKind::NotFound)?;
                return Ok(Arc::new(IndexFile::read(content)));
            }
        };
        let mut kept = self.indexes.lock();
        kept.push_back(Arc::clone(&index));
        let surplus = kept.len().saturating_sub(INDEXES_KEPT);
        let forgotten: Vec<_> = kept.drain(..surplus).collect();
        drop(kept);
        // Unmapped without the lock.
        drop(forgotten);
        Ok(index)
    }

    fn keep_for_reads(&self, path: &Path, file: &Arc<File>) {
        let mut kept = self.read.lock();
        kept.push_back(ReadFile { path: path.to_path_buf(), _open: Arc::clone(file) });
        let surplus = kept.len().saturating_sub(READ_FILES_KEPT);
        let forgotten: Vec<_> = kept.drain(..surplus).collect();
        drop(kept);
        // Closed without the lock.
        drop(forgotten);
    }

    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        // Not truncated: nobody's content is touched before the lock is held.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(ottla_sys::lock_exclusive(&file)?.then_some(file))
    }
}

impl StorageFile for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        ottla_sys::write_all_at(self, parts, position)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn set_modified(&self, time: WallTime) -> io::Result<()> {
        let millis = u64::try_from(time.as_millis()).unwrap_or(0);
        Self::set_modified(self, UNIX_EPOCH + Duration::from_millis(millis))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn lend(this: &Arc<Self>) -> Option<Arc<Self>> {
        Some(Arc::clone(this))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use ottla_testkit::Folder;

    use super::*;

    #[test]
    fn so_many_indexes_are_kept_and_no_more() {
        let folder = Folder::new("indexes").unwrap();
        let path = folder.path().join("0.index");
        fs::write(&path, [7; 16]).unwrap();
        let storage = FsStorage::default();
        let open = || Arc::downgrade(&storage.clone().open_index(&path).unwrap());
        let all: Vec<Weak<IndexFile>> = (0..=INDEXES_KEPT).map(|_| open()).collect();
        let kept: Vec<bool> = all.iter().map(|index| index.upgrade().is_some()).collect();
        assert_eq!(kept.iter().filter(|kept| **kept).count(), INDEXES_KEPT);
        assert_eq!(kept.first(), Some(&false), "the first one goes first");
        drop(storage);
        assert!(all.iter().all(|index| index.upgrade().is_none()));
    }

    #[test]
    fn a_file_that_was_read_stays_open_until_its_name_goes() {
        let folder = Folder::new("reads").unwrap();
        let storage = FsStorage::default();
        let read = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [7; 16]).unwrap();
            let file = Arc::new(storage.open(path).unwrap());
            storage.keep_for_reads(path, &file);
            Arc::downgrade(&file)
        };
        let (dir, path) = (folder.path().join("t-0"), folder.path().join("t-0/0.log"));
        let other = read(&folder.path().join("t-00/0.log"));
        let renamed = read(&path);
        storage.rename(&path, &folder.path().join("t-0/0.log.deleted")).unwrap();
        assert!(renamed.upgrade().is_none());
        let (removed, replaced) = (read(&path), read(&folder.path().join("t-0/1.log")));
        storage.rename(&path, &folder.path().join("t-0/1.log")).unwrap();
        assert!(removed.upgrade().is_none() && replaced.upgrade().is_none());
        let moved = read(&path);
        storage.rename(&dir, &folder.path().join("t-0-delete")).unwrap();
        assert!(moved.upgrade().is_none());
        let removed = read(&path);
        storage.remove_dir_all(&dir).unwrap();
        assert!(removed.upgrade().is_none() && other.upgrade().is_some());
        let all: Vec<_> = (0..READ_FILES_KEPT).map(|_| read(&path)).collect();
        assert!(other.upgrade().is_none(), "the first one goes first");
        assert!(all.iter().all(|file| file.upgrade().is_some()));
        storage.remove_file(&path).unwrap();
        assert!(all.iter().all(|file| file.upgrade().is_none()));
    }

    #[test]
    fn an_index_is_what_the_file_was() {
        let folder = Folder::new("indexes").unwrap();
        let storage = FsStorage::default();
        for content in [vec![], vec![1; 8], vec![2; 10_000]] {
            let path = folder.path().join("0.index");
            fs::write(&path, &content).unwrap();
            let index = storage.open_index(&path).unwrap();
            let mut out = vec![0; content.len()];
            assert!(index.copy_to(0, &mut out));
            assert_eq!(out, content);
            assert!(!index.copy_to(1, &mut out) || content.is_empty());
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(0).unwrap();
            assert!(index.copy_to(0, &mut out), "nothing happens to who reads on");
        }
        assert!(storage.open_index(&folder.path().join("1.index")).is_err());
    }
}
