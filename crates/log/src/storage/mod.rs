//! The one door to the disk.
//!
//! Nothing in this crate opens, writes or renames a file except through [`Storage`], so a test can
//! stand a simulated disk behind it (`SimStorage`, with the feature `test-support`) that loses what
//! was not synced, runs full, fails and rots.

mod fs;
mod index_file;
#[cfg(feature = "test-support")]
mod sim;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_types::WallTime;

pub use fs::FsStorage;
pub use index_file::IndexFile;
#[cfg(feature = "test-support")]
pub use sim::{CrashMode, Fault, Operation, Rot, SimFile, SimStorage, Site};

/// Where logs live.
///
/// The log relies on exactly this and nothing more:
/// 1. bytes and lengths covered by a completed [`StorageFile::sync`] survive a crash;
/// 2. names covered by a completed [`Storage::sync_dir`] survive a crash, and a rename is seen
///    whole or not at all;
/// 3. other writes may survive, vanish, or survive in part;
/// 4. a failed sync leaves what it covered in an unknown state, and is never repeated;
/// 5. within one process, what was written is what is read.
pub trait Storage: Debug + Send + Sync + 'static {
    /// An open file.
    type File: StorageFile;
    /// A held lock; dropping it gives it back.
    type Lock: Debug + Send + Sync + 'static;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Creates a file, emptying one that exists.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Creates a directory; one that exists is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, in no particular order.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Renames a file or directory, replacing a file that exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes an exclusive lock on a file, creating it; `None` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;

    /// Reads a small file as a whole; `None` if there is none.
    #[track_caller]
    fn read_small(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        if len > SMALL_FILE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "file is too large"));
        }
        let mut content = vec![0; len];
        let read = read_full(&file, &mut content, 0)?;
        content.truncate(read);
        Ok(Some(content))
    }

    /// Opens an index file to be searched. The caller keeps no hold of it, so a storage that wants it to be found
    /// again soon keeps it, up to a bound of its own; this one reads it each time.
    fn open_index(&self, path: &Path) -> io::Result<Arc<IndexFile>> {
        let content = self.read_small(path)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(IndexFile::read(content)))
    }

    /// Offers a file that was opened to be read; reads of the same file are likely to follow. A storage whose
    /// opening is not free keeps it for a while, up to a bound of its own, and lets go of it when the name is
    /// renamed or removed; this one does not.
    fn keep_for_reads(&self, path: &Path, file: &Arc<Self::File>) {
        let _ = (path, file);
    }

    /// Replaces a small file so that, whatever happens, either the old or the new content is
    /// there: a temporary file is written, synced and renamed, and the directory synced.
    #[track_caller]
    fn replace_small(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let file = self.create(&temporary)?;
        file.write_at(&[content], 0)?;
        file.sync()?;
        drop(file);
        self.rename(&temporary, path)?;
        self.sync_dir(path.parent().unwrap_or_else(|| Path::new(".")))
    }
}

// Checkpoints and snapshots; a million producers take 46 MB.
const SMALL_FILE_MAX: usize = 256 << 20;

/// An open file; all calls may come from several threads.
pub trait StorageFile: Debug + Send + Sync + 'static {
    /// Reads at a position; fewer bytes than asked for means that the file ends there.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all parts, one after the other, from a position on.
    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Sets the time of the last write, where there is one; it orders nothing, and need not be
    /// durable.
    fn set_modified(&self, _: WallTime) -> io::Result<()> {
        Ok(())
    }
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// The operating system's file, for sending ranges of it without a copy; `None` if there is
    /// none behind this.
    #[expect(clippy::disallowed_types, reason = "whoever sends the file has no other name for it")]
    fn lend(this: &Arc<Self>) -> Option<Arc<std::fs::File>>;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Last part of the path.
    pub name: String,
    /// The whole path.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes.
    pub len: u64,
    /// When it was last written.
    pub modified: WallTime,
}

/// Reads until `buffer` is full or the file ends; returns how many bytes were read.
#[track_caller]
pub(crate) fn read_full<F: StorageFile>(
    file: &F,
    buffer: &mut [u8],
    position: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
