//! Truncation: a follower gives up records that its leader does not have (KIP-101), or starts over.

use std::io;

use ottla_types::{Offset, WallTime};

use super::PartitionLog;
use crate::error::LogError;
use crate::format::{SNAPSHOT_SUFFIX, file_name};
use crate::producer::Producers;
use crate::recovery::{Replay, rebuild_producers, remove_segment};
use crate::segment::Segment;
use crate::storage::{Storage, StorageFile as _};
use crate::window::Window;

impl<S: Storage> PartitionLog<S> {
    /// Cuts the log back so that it ends at or before `offset`: a batch that reaches beyond it
    /// goes as a whole. An offset at or behind the end changes nothing. Returns the new end. A power
    /// cut brings nothing back of what was cut off.
    ///
    /// A recovery point kept elsewhere must not lie behind the new end: whoever keeps one lowers it
    /// first, or what a power cut tears later counts as damage.
    ///
    /// # Errors
    /// The offset lies before the start of the log, or the disk failed (then the log refuses every
    /// later change).
    pub fn truncate_to(&mut self, offset: Offset) -> Result<Offset, LogError> {
        self.refuse_if_failed()?;
        if offset < self.log_start {
            let (start, limit) = (self.log_start, self.end);
            return Err(LogError::OutOfRange { offset, start, limit });
        }
        if offset >= self.end {
            // KAFKA-10706: the epochs may know more than the log holds.
            self.epochs.truncate_from_end(offset);
            return Ok(self.end);
        }
        let cut = self.cut(offset);
        if cut.is_err() {
            self.failed = true;
        }
        self.check();
        cut.map(|()| self.end)
    }

    // What is cut off is durably gone before anything takes its place: bytes that come back behind
    // newer ones could continue them.
    fn cut(&mut self, offset: Offset) -> Result<(), LogError> {
        self.abort_compaction();
        let keep = self.segment_of(offset) + 1;
        let gone = self.segments.split_off(keep);
        let Self { segments, home, .. } = self;
        let active = segments.last_mut().expect("a log has a segment");
        let place = active.locate(home, offset, &mut Window::default())?;
        let end = match place {
            Some(placed) => placed.header.base_offset,
            None => match active.last_batch(home)? {
                Some(last) => last.header.next_offset(),
                None => active.base(),
            },
        };
        self.remove_all(&gone, |at| at > end)?;
        if let Some(placed) = place {
            let Self { segments, home, .. } = self;
            let (active, older) = segments.split_last_mut().expect("a log has a segment");
            // Nor may the cut be durable and what lies before it not.
            for segment in older.iter_mut().filter(|segment| segment.is_unsynced()) {
                segment.file(home)?.sync()?;
            }
            active.truncate(home, placed.position, end)?;
        }
        self.truncations += 1;
        self.cursors.clear();
        self.names_unsynced = true;
        self.end = end;
        self.closed_at = None;
        self.flushed = self.flushed.min(end);
        self.log_start = self.log_start.min(end);
        self.epochs.truncate_from_end(end);
        self.producers = rebuild_producers(
            &self.home,
            &mut self.segments,
            &mut self.snapshots,
            Replay { untold: None, plain: &[], end, limits: &self.config.decompress_limits },
        )?;
        Ok(())
    }

    // What tells of segments goes before them, and the last one first: a crash leaves no gap.
    fn remove_all(
        &mut self,
        gone: &[Segment<S::File>],
        snapshots: impl Fn(Offset) -> bool,
    ) -> io::Result<()> {
        self.remove_snapshots(snapshots)?;
        for segment in gone.iter().rev() {
            remove_segment(&self.home, segment.base())?;
        }
        self.home.storage.sync_dir(&self.home.dir)
    }

    /// Forgets everything and starts over with an empty log whose next record gets `start`. A
    /// recovery point kept elsewhere is set to 0 first.
    ///
    /// # Errors
    /// The disk failed: the log refuses every later change.
    pub fn truncate_fully(&mut self, start: Offset, now: WallTime) -> Result<(), LogError> {
        self.refuse_if_failed()?;
        let emptied = self.empty(start, now);
        if emptied.is_err() {
            self.failed = true;
        }
        self.check();
        emptied.map_err(LogError::Disk)
    }

    fn empty(&mut self, start: Offset, now: WallTime) -> io::Result<()> {
        self.abort_compaction();
        self.truncations += 1;
        self.cursors.clear();
        self.names_unsynced = true;
        let gone = std::mem::take(&mut self.segments);
        let removed = self.remove_all(&gone, |_| true);
        self.segments = gone;
        removed?;
        let segment = Segment::create(&self.home, start, now)?;
        self.segments = vec![segment];
        (self.log_start, self.end, self.flushed) = (start, start, start);
        self.epochs.clear();
        self.producers = Producers::default();
        Ok(())
    }

    fn remove_snapshots(&mut self, gone: impl Fn(Offset) -> bool) -> io::Result<()> {
        for offset in self.snapshots.iter().copied().filter(|&offset| gone(offset)) {
            let path = self.home.dir.join(file_name(offset, SNAPSHOT_SUFFIX));
            remove_if_there(&*self.home.storage, &path)?;
        }
        self.snapshots.retain(|&offset| !gone(offset));
        Ok(())
    }
}

fn remove_if_there<S: Storage>(storage: &S, path: &std::path::Path) -> io::Result<()> {
    match storage.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
