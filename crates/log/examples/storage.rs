//! A storage of one's own: the file system, with each sync counted.
//!
//! `cargo run -p ottla-log --example storage`

#![allow(clippy::print_stdout, reason = "an example talks")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a storage is where files are touched"
)]

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_log::storage::DirEntry;
use ottla_log::{AppendOrigin, FsStorage, LogConfig, PartitionLog, Storage, StorageFile};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

/// Hands everything on, and counts.
#[derive(Debug, Default)]
struct Counted {
    inner: FsStorage,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountedFile {
    inner: Arc<<FsStorage as Storage>::File>,
    syncs: Arc<AtomicU64>,
}

impl Counted {
    fn file(&self, inner: <FsStorage as Storage>::File) -> CountedFile {
        CountedFile { inner: Arc::new(inner), syncs: Arc::clone(&self.syncs) }
    }
}

impl Storage for Counted {
    type File = CountedFile;
    type Lock = <FsStorage as Storage>::Lock;

    fn open(&self, path: &Path) -> io::Result<Self::File> {
        self.inner.open(path).map(|file| self.file(file))
    }
    fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.inner.create(path).map(|file| self.file(file))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>> {
        self.inner.lock(path)
    }
}

impl StorageFile for CountedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        StorageFile::read_at(&*self.inner, buffer, position)
    }
    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        StorageFile::write_at(&*self.inner, parts, position)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        StorageFile::set_len(&*self.inner, len)
    }
    fn len(&self) -> io::Result<u64> {
        StorageFile::len(&*self.inner)
    }
    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        StorageFile::sync(&*self.inner)
    }
    fn lend(this: &Arc<Self>) -> Option<Arc<std::fs::File>> {
        StorageFile::lend(&this.inner)
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::temp_dir().join(format!("ottla-storage-{}", std::process::id()));
    let storage = Arc::new(Counted::default());
    let syncs = Arc::clone(&storage.syncs);
    let partition = TopicPartition::parse("counted-0").ok_or("a partition")?;
    let config = Arc::new(LogConfig::default());
    let now = WallTime::from_millis(0);
    let mut log = PartitionLog::create(storage, &parent, partition, None, Offset(0), config, now)?;
    for _ in 0..100 {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.push_pair(Timestamp(0), None, Some(b"value"));
        let prepared = log.config().prepare(batch.build()?, AppendOrigin::Client, now)?;
        log.append(&prepared, LeaderEpoch(0), now)?;
    }
    assert_eq!(syncs.load(Ordering::Relaxed), 0, "an append does not sync");
    // The log's file, its directory's names, and the directory's own name.
    log.flush()?;
    let first = syncs.load(Ordering::Relaxed);
    println!("100 appends became durable with {first} syncs");
    assert!((1..10).contains(&first));
    log.flush()?;
    assert_eq!(syncs.load(Ordering::Relaxed), first, "there is nothing to sync twice");
    std::fs::remove_dir_all(parent)?;
    Ok(())
}
