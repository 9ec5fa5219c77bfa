//! The segments that compaction writes, under names that say that they are not part of the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_record::BatchHeader;
use ottla_types::{Offset, WallTime};

use crate::format::{
    CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, file_name,
};
use crate::partition::sync_if_there;
use crate::segment::{Home, Segment};
use crate::storage::{Storage, StorageFile};
use crate::txn_index::AbortedTransaction;

/// Suffixes of a segment's files. The log comes first: recovery asks for it.
pub(crate) const SEGMENT_SUFFIXES: [&str; 4] =
    [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];

/// A segment whose files are complete and synced, but still called `.cleaned`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CleanedSegment {
    pub(crate) base: Offset,
    pub(crate) size: u64,
    pub(crate) index_bytes: [u64; 3],
    pub(crate) modified: WallTime,
}

/// A segment that is being written.
#[derive(Debug)]
pub(crate) struct Output<F> {
    segment: Segment<F>,
    file: Arc<F>,
    buffer: Vec<u8>,
    /// Bytes that are in the file.
    position: u64,
}

impl<F: StorageFile> Output<F> {
    /// Creates the file of an empty segment.
    pub(crate) fn create<S: Storage<File = F>>(home: &Home<S>, base: Offset) -> io::Result<Self> {
        let file = Arc::new(home.storage.create(&cleaned_path(&home.dir, base, LOG_SUFFIX))?);
        let segment = Segment::cleaned(base, Arc::clone(&file));
        Ok(Self { segment, file, buffer: Vec::new(), position: 0 })
    }

    /// Whether a batch has room: Kafka's limits are those of the numbers in the indexes. The first
    /// batch always has.
    pub(crate) fn has_room(&self, header: &BatchHeader) -> bool {
        let most = u64::from(i32::MAX.unsigned_abs());
        let bytes = self.segment.size() + header.total_len() as u64;
        let span = header.last_offset().since(self.segment.base());
        self.segment.size() == 0 || (bytes <= most && span <= most)
    }

    /// Adds a batch; `flush_at` bytes are written at once.
    pub(crate) fn push(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        index_interval: u32,
        flush_at: usize,
    ) -> io::Result<()> {
        self.segment.note(header, batch.len() as u64, index_interval);
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() < flush_at { Ok(()) } else { self.flush() }
    }

    /// What the index of aborted transactions must go on saying.
    pub(crate) fn push_aborted(&mut self, aborted: AbortedTransaction) {
        self.segment.note_aborted(aborted);
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&[&self.buffer], self.position)?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        assert!(self.position == self.segment.size(), "every byte is accounted for");
        Ok(())
    }

    /// Writes what is left and makes all of it durable, but for the names.
    pub(crate) fn finish<S: Storage<File = F>>(
        mut self,
        home: &Home<S>,
        modified: WallTime,
    ) -> io::Result<CleanedSegment> {
        self.flush()?;
        self.segment.seal(home)?;
        for path in self.segment.index_paths(home) {
            sync_if_there(&*home.storage, &path)?;
        }
        self.file.set_modified(modified)?;
        self.file.sync()?;
        let (base, size) = (self.segment.base(), self.segment.size());
        Ok(CleanedSegment { base, size, index_bytes: self.segment.index_bytes(), modified })
    }
}

/// Path of a segment's file while it is being written.
pub(crate) fn cleaned_path(dir: &Path, base: Offset, suffix: &str) -> PathBuf {
    dir.join(format!("{}{CLEANED_SUFFIX}", file_name(base, suffix)))
}

/// Removes whatever there is of a segment that will not be put in place.
pub(crate) fn remove_cleaned<S: Storage>(home: &Home<S>, base: Offset) -> io::Result<()> {
    for suffix in SEGMENT_SUFFIXES {
        match home.storage.remove_file(&cleaned_path(&home.dir, base, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
