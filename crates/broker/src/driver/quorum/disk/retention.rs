//! How long old metadata is kept: `metadata.max.retention.bytes` and `metadata.max.retention.ms`.
//!
//! Not the log's own retention, because what may go is decided by snapshots (KIP-630): the oldest
//! snapshot goes together with the log below the next one, as long as the limits are broken and
//! another snapshot is left. Somebody who needs what is gone begins with the newest snapshot.

use std::time::Duration;

use ottla_log::Storage as _;
use ottla_quorum::SnapshotId;
use ottla_types::{Timestamp, WallTime};

use super::{MetadataDisk, MetadataDiskError, io_error, snapshot};

/// The limits; `None` sets none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retention {
    /// Bytes of log and snapshots together.
    pub(crate) bytes: Option<u64>,
    /// Age of the newest record that a snapshot covers.
    pub(crate) age: Option<Duration>,
}

impl MetadataDisk {
    /// Deletes old snapshots and the log below the oldest one that is kept.
    pub(in crate::driver::quorum) fn delete_old(
        &mut self,
        now: WallTime,
    ) -> Result<(), MetadataDiskError> {
        let all = snapshot::list(&self.storage, &self.directory)?;
        let mut total: u64 = all.iter().map(|(_, bytes)| bytes).sum();
        for pair in all.windows(2) {
            let [(oldest, bytes), (next, _)] = pair else { continue };
            if !self.is_too_much(total) && !self.is_too_old(*oldest, now)? {
                break;
            }
            self.begin_at(*next, now)?;
            let path = self.directory.join(oldest.file_name());
            self.storage.remove_file(&path).map_err(|source| io_error(&path, source))?;
            tracing::info!(snapshot = %oldest, "old metadata deleted");
            self.oldest_snapshot = Some(*next);
            total -= bytes;
        }
        Ok(())
    }

    fn is_too_much(&self, snapshots: u64) -> bool {
        let log = u64::try_from(self.log.lock().size_bytes()).unwrap_or(u64::MAX);
        self.retention.bytes.is_some_and(|most| most < log.saturating_add(snapshots))
    }

    fn is_too_old(&self, id: SnapshotId, now: WallTime) -> Result<bool, MetadataDiskError> {
        let Some(age) = self.retention.age else { return Ok(false) };
        let Timestamp(newest) = snapshot::last_timestamp(&self.storage, &self.directory, id)?;
        Ok(newest < now.minus(age).as_millis())
    }

    /// Lets the log begin at a snapshot; whole segments below it go.
    fn begin_at(&mut self, id: SnapshotId, now: WallTime) -> Result<(), MetadataDiskError> {
        let mut log = self.log.lock();
        let end = log.end_offset();
        log.delete_records(id.end, end)?;
        if let Some(files) = log.delete_expired(now, end)? {
            // Whoever reads one of them has it open.
            files.remove().map_err(|source| io_error(&self.directory, source))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use ottla_log::{FsStorage, LogConfig};
    use ottla_metadata::controller::SnapshotTrigger;
    use ottla_metadata::{MetadataRecord, Record};
    use ottla_quorum::{Committed, ControlState, Now};
    use ottla_record::{BatchBuilder, Compression};
    use ottla_testkit::Folder;
    use ottla_types::{LeaderEpoch, MonoTime, Offset};

    use super::*;

    fn open(root: &std::path::Path, retention: Retention) -> MetadataDisk {
        let config = LogConfig { segment_bytes: 1, ..LogConfig::default() };
        let trigger = SnapshotTrigger::new(u64::MAX, None, MonoTime::default());
        let now = Now { mono: MonoTime::default(), wall: WallTime::from_millis(0) };
        let storage = Arc::new(FsStorage::default());
        MetadataDisk::open(storage, root, true, config, now, trigger, retention).unwrap().0
    }

    /// Appends a batch of one record at each of these times, with a snapshot after each.
    fn fill(disk: &mut MetadataDisk, times: &[i64]) {
        for &time in times {
            let wall = WallTime::from_millis(time);
            let base = disk.image.end();
            let record = Record::new(MetadataRecord::NoOp(Default::default()));
            let mut batch = BatchBuilder::new(Compression::None).base_offset(base);
            batch = batch.leader_epoch(LeaderEpoch(1));
            batch.push_pair(Timestamp(time), None, Some(&record.encode().unwrap()));
            let batch: Bytes = batch.build().unwrap();
            let end = base.next();
            disk.append(
                &Committed { base, end, epoch: LeaderEpoch(1), control: false, batch },
                wall,
            )
            .unwrap();
            let now = Now { mono: MonoTime::default(), wall };
            disk.write_snapshot(now, &ControlState::default()).unwrap().unwrap();
        }
    }

    fn kept(disk: &MetadataDisk) -> (Vec<u64>, u64) {
        let all = snapshot::list(&disk.storage, &disk.directory).unwrap();
        let start = disk.log.lock().log_start_offset();
        (all.iter().map(|(id, _)| id.end.0).collect(), start.0)
    }

    #[test]
    fn the_log_begins_at_the_oldest_snapshot_that_is_young_enough() {
        let dir = Folder::new("metadata-retention").unwrap();
        let retention = Retention { bytes: None, age: Some(Duration::from_millis(100)) };
        let mut disk = open(dir.path(), retention);
        fill(&mut disk, &[1_000, 2_000, 3_000, 3_050]);
        disk.delete_old(WallTime::from_millis(1_050)).unwrap();
        assert_eq!(kept(&disk), (vec![1, 2, 3, 4], 0));
        disk.delete_old(WallTime::from_millis(3_100)).unwrap();
        assert_eq!(kept(&disk), (vec![3, 4], 3));
        // However old, one snapshot is left.
        disk.delete_old(WallTime::from_millis(9_000)).unwrap();
        assert_eq!(kept(&disk), (vec![4], 4));
        drop(disk);
        let disk = open(dir.path(), retention);
        assert_eq!(disk.image.end(), Offset(4));
    }

    #[test]
    fn size_counts_snapshots_too() {
        let dir = Folder::new("metadata-retention").unwrap();
        let mut disk = open(dir.path(), Retention { bytes: Some(1), age: None });
        fill(&mut disk, &[1_000, 2_000, 3_000]);
        disk.delete_old(WallTime::from_millis(3_000)).unwrap();
        assert_eq!(kept(&disk), (vec![3], 3));
        fill(&mut disk, &[4_000]);
        disk.retention = Retention::default();
        disk.delete_old(WallTime::from_millis(9_000)).unwrap();
        assert_eq!(kept(&disk), (vec![3, 4], 3));
    }
}
