//! A log directory as its partitions see it: who syncs it, and who hears of a failure.
//!
//! A directory that fails once stays out of service until the next start, as in Kafka. A full
//! disk is no failure, and neither is a process that has run out of files or memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::open_files::OpenFiles;
use crate::flusher::Flusher;
use crate::partition::Partition;

/// Handle of one log directory.
#[derive(Debug)]
pub(crate) struct Directory {
    place: usize,
    path: String,
    flusher: Flusher,
    open_files: OpenFiles,
    failed: AtomicBool,
    /// Rung when a directory fails.
    alarm: Arc<Notify>,
}

impl Directory {
    /// A directory in service, and its flusher; so many of its partitions may keep files open.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(
        place: usize,
        path: String,
        alarm: Arc<Notify>,
        most_open: usize,
    ) -> io::Result<Self> {
        let flusher = Flusher::start(&place.to_string())?;
        let open_files = OpenFiles::new(most_open);
        Ok(Self { place, path, flusher, open_files, failed: AtomicBool::new(false), alarm })
    }

    /// The partitions that have files open.
    pub(crate) fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    /// Place in the broker's list.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Queues a partition for a sync.
    pub(crate) fn request_flush(&self, partition: Arc<Partition>) {
        self.flusher.request(partition);
    }

    /// Somebody waits for what is queued.
    pub(crate) fn hurry(&self) {
        self.flusher.hurry();
    }

    /// From now on the times of syncs are noted here.
    pub(crate) fn measure_syncs(&self, times: Arc<ottla_metrics::Histogram>) {
        self.flusher.measure(times);
    }

    /// Notes how long a sync of a partition took.
    pub(crate) fn sync_took(&self, time: std::time::Duration) {
        self.flusher.took(time);
    }

    /// Syncs what is queued and ends the flusher.
    pub(crate) fn close(&self) {
        self.flusher.close();
    }

    /// Whether it has failed.
    pub(crate) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes note of an error; the first that accuses the disk takes the directory out of service.
    pub(crate) fn report(&self, error: &io::Error) {
        if accuses_disk(error) && !self.failed.swap(true, Ordering::AcqRel) {
            let dir = &self.path;
            tracing::error!(dir, %error, "the log directory failed and is offline");
            self.alarm.notify_one();
        }
    }
}

/// Whether the disk has no room, or the user no quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn accuses_disk(error: &io::Error) -> bool {
    let starved = matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
        || error.kind() == io::ErrorKind::OutOfMemory;
    !starved && !is_full(error)
}

const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_disk_take_a_directory_away() {
        for (error, failed) in [
            (io::ErrorKind::StorageFull.into(), false),
            (io::ErrorKind::OutOfMemory.into(), false),
            (io::Error::from_raw_os_error(EMFILE), false),
            (io::Error::from_raw_os_error(5), true),
            (io::Error::from_raw_os_error(30), true),
            (io::ErrorKind::NotFound.into(), true),
        ] {
            let directory = Directory::start(0, String::new(), Arc::default(), 1).unwrap();
            directory.report(&error);
            assert_eq!(directory.is_failed(), failed, "{error}");
            directory.close();
        }
    }
}
