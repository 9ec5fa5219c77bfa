//! Verifying the closed segments of a log that is in use, without its lock.
//!
//! [`PartitionLog::prepare_scrub`] names the segments, [`ScrubJob::run`] reads them, and
//! [`PartitionLog::complete_scrub`] leaves out what was said of segments that have gone or changed meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_types::Offset;

use super::PartitionLog;
use crate::compact::Pace;
use crate::epochs::LeaderEpochs;
use crate::format::offset_in_name;
use crate::storage::Storage;
use crate::verify::{Verified, verify_segments};

/// The closed segments of a log that are on disk.
#[derive(Debug)]
pub struct ScrubJob<S: Storage> {
    storage: Arc<S>,
    dir: PathBuf,
    /// Base offsets and lengths.
    segments: Vec<(Offset, u64)>,
    epochs: LeaderEpochs,
}

impl<S: Storage> ScrubJob<S> {
    /// Reads them; `pace` is told how many bytes were read, and may wait, or end it. Segments that retention has
    /// removed meanwhile are passed over.
    ///
    /// # Errors
    /// The disk failed.
    pub fn run(&self, pace: Pace<'_>) -> io::Result<Verified> {
        let mut seen = Verified::default();
        let told = Some(&self.epochs);
        verify_segments(&*self.storage, &self.dir, (&self.segments, told), &mut seen, pace)?;
        Ok(seen)
    }
}

impl<S: Storage> PartitionLog<S> {
    /// What may be verified now; `None` if no segment is closed and on disk, or the log has failed.
    pub fn prepare_scrub(&self) -> Option<ScrubJob<S>> {
        let segments: Vec<_> = self.scrubbable().into_iter().collect();
        if self.failed || segments.is_empty() {
            return None;
        }
        let (storage, dir) = (Arc::clone(&self.home.storage), self.home.dir.clone());
        Some(ScrubJob { storage, dir, segments, epochs: self.epochs.clone() })
    }

    /// What still holds of what a job has seen.
    pub fn complete_scrub(&self, job: ScrubJob<S>, mut seen: Verified) -> Verified {
        let now = self.scrubbable();
        let as_it_was = |base: Offset| {
            let then = job.segments.binary_search_by_key(&base, |(base, _)| *base).ok();
            then.and_then(|at| job.segments.get(at)).map(|(_, len)| len) == now.get(&base)
        };
        let named = |name: &str| {
            let suffix = name.find('.').and_then(|at| name.get(at..))?;
            offset_in_name(name, suffix)
        };
        seen.findings.retain(|finding| {
            let name = finding.path.file_name().unwrap_or_default().to_string_lossy();
            // Nothing else is named by an offset; the epochs' file stands for what is in memory.
            named(&name).is_none_or(as_it_was)
        });
        seen
    }

    fn scrubbable(&self) -> BTreeMap<Offset, u64> {
        let active = self.active_segment_base();
        let closed = self.segments.iter().filter(|s| s.base() != active && !s.is_unsynced());
        closed.map(|segment| (segment.base(), segment.size())).collect()
    }
}
