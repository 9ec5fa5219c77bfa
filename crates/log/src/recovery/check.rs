//! Checking the batches of one segment, and building its indexes anew: the part of a recovery that reads
//! every byte. Segments do not depend on each other, so a caller may check several at once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_record::BatchError;
use ottla_types::{LeaderEpoch, Offset};

use super::disk;
use crate::error::OpenError;
use crate::format::{LOG_SUFFIX, file_name};
use crate::segment::{Home, Segment};
use crate::storage::Storage;
use crate::walk::CheckedWalk;

/// One segment that a recovery has to check.
///
/// [`SegmentCheck::run`] may be called on any thread. What is not run when the caller gives the
/// checks back is run by the recovery itself.
#[derive(Debug)]
pub struct SegmentCheck<S: Storage> {
    home: Home<S>,
    pub(super) segment: Segment<S::File>,
    index_interval: u32,
    outcome: Option<io::Result<Checked>>,
}

/// What a check found.
#[derive(Debug)]
pub(super) struct Checked {
    /// First batches of leader epochs, as far as they follow each other.
    pub(super) epochs: Vec<(LeaderEpoch, Offset)>,
    /// Whether a whole batch has a producer.
    pub(super) producers: bool,
    /// Bytes of whole batches.
    pub(super) position: u64,
    /// Offset after the last of them.
    pub(super) next: Offset,
    /// What is wrong with the batch that follows, if one does.
    pub(super) damage: Option<BatchError>,
    /// Bytes of the file.
    pub(super) len: u64,
}

impl<S: Storage> SegmentCheck<S> {
    pub(super) fn new(home: &Home<S>, segment: Segment<S::File>, index_interval: u32) -> Self {
        let home = Home { storage: Arc::clone(&home.storage), dir: home.dir.clone() };
        Self { home, segment, index_interval, outcome: None }
    }

    /// Reads the segment, unless that was done; errors are told to the recovery.
    pub fn run(&mut self) {
        if self.outcome.is_none() {
            self.outcome = Some(self.check());
        }
    }

    /// The segment and what is to be known of it.
    pub(super) fn finish(mut self) -> (Segment<S::File>, Result<Checked, OpenError>) {
        self.run();
        let path = self.path();
        let outcome = self.outcome.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        (self.segment, outcome.map_err(|source| disk(&path, source)))
    }

    fn path(&self) -> PathBuf {
        self.home.dir.join(file_name(self.segment.base(), LOG_SUFFIX))
    }

    fn check(&mut self) -> io::Result<Checked> {
        let segment = &mut self.segment;
        let len = segment.size();
        let file = segment.file(&self.home)?;
        let mut walk = CheckedWalk::new(&*file, segment.base(), len);
        segment.reset();
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        let mut producers = false;
        let damage = loop {
            match walk.next()? {
                None => break None,
                Some(Ok(header)) => {
                    segment.note(&header, header.total_len() as u64, self.index_interval);
                    producers |= header.producer_id.is_some();
                    if let Some(epoch) = header.leader_epoch
                        && epochs.last().is_none_or(|(last, _)| *last != epoch)
                    {
                        epochs.push((epoch, header.base_offset));
                    }
                }
                Some(Err(error)) => break Some(error),
            }
        };
        let (position, next) = (walk.position(), walk.next_offset());
        Ok(Checked { epochs, producers, position, next, damage, len })
    }
}
