//! Which partitions of a log directory keep files open: a bounded number, and none that is idle.
//!
//! A partition is added when an append opens its file. It closes it when others need the place, or
//! when nothing was appended for a while. Files that are only read are the storage's to keep.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::partition::Partition;

/// The partitions with open files, those that opened them first in front.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    most: usize,
    partitions: Mutex<VecDeque<Weak<Partition>>>,
}

impl OpenFiles {
    /// Room for `most` partitions, and for one at least.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), partitions: Mutex::default() }
    }

    /// Takes note of a partition that has opened its file, and closes those of others if there
    /// are too many. The caller holds no partition's lock.
    pub(crate) fn add(&self, partition: &Arc<Partition>) {
        let mut open = self.partitions.lock();
        open.push_back(Arc::downgrade(partition));
        let surplus = open.len().saturating_sub(self.most);
        let leaving: Vec<_> = open.drain(..surplus).collect();
        drop(open);
        self.keep(leaving, |partition| !partition.close_files());
    }

    /// Closes the files of partitions that nothing was appended to since the last call.
    pub(crate) fn close_idle(&self) {
        let all = std::mem::take(&mut *self.partitions.lock());
        self.keep(all, |partition| !partition.close_idle_files());
    }

    /// Calls `look` for each partition with open files.
    pub(crate) fn each(&self, look: impl Fn(&Arc<Partition>)) {
        let all: Vec<_> = self.partitions.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(look);
    }

    // Puts back those that `keeps` is true for, before those that came meanwhile.
    fn keep(
        &self,
        partitions: impl IntoIterator<Item = Weak<Partition>>,
        keeps: impl Fn(&Partition) -> bool,
    ) {
        let keeps = |weak: &Weak<Partition>| weak.upgrade().is_some_and(|it| keeps(&it));
        let kept: Vec<_> = partitions.into_iter().filter(keeps).collect();
        let mut open = self.partitions.lock();
        kept.into_iter().rev().for_each(|weak| open.push_front(weak));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use ottla_log::{FsStorage, LogConfig, PartitionLog};
    use ottla_record::{BatchBuilder, Compression};
    use ottla_testkit::Folder;
    use ottla_types::{LeaderEpoch, Offset, Timestamp, TopicPartition, WallTime};

    use super::*;
    use crate::partition::{Durability, PartitionConfig, Role};
    use crate::replicas::Directory;

    const NOW: WallTime = WallTime::from_millis(1);

    fn partition(
        folder: &Folder,
        directory: &Arc<Directory>,
        index: i32,
        durability: Durability,
    ) -> Arc<Partition> {
        let name = TopicPartition::parse(&format!("t-{index}")).unwrap();
        let log = Arc::new(LogConfig::default());
        let config = PartitionConfig {
            log: log.clone(),
            durability,
            min_insync_replicas: 1,
            file_delete_delay: Duration::ZERO,
            flush_messages: None,
            flush_age: None,
        };
        let storage = Arc::new(FsStorage::default());
        let log = PartitionLog::create(storage, folder.path(), name, None, Offset::ZERO, log, NOW);
        let role = Role::Leader { epoch: LeaderEpoch(0), isr: 1, replicas: 1 };
        Arc::new(Partition::new(log.unwrap(), directory.clone(), Arc::new(config), role))
    }

    fn append(partition: &Arc<Partition>) {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push_pair(Timestamp(1), None, Some(b"x"));
        let batch: Bytes = builder.build().unwrap();
        partition.append_from_coordinator(batch, NOW).unwrap();
    }

    #[test]
    fn a_few_partitions_keep_files_open_while_they_are_used() {
        let folder = Folder::new("open-files").unwrap();
        let path = folder.path().display().to_string();
        let directory = Arc::new(Directory::start(0, path, Arc::default(), 2).unwrap());
        let all: Vec<_> =
            (0..4).map(|index| partition(&folder, &directory, index, Durability::Os)).collect();
        let check = |expected: [bool; 4]| {
            let open: Vec<_> =
                all.iter().map(|p| p.with_log(|log| log.is_open()).unwrap()).collect();
            assert_eq!(open, expected);
        };
        check([false; 4]);
        all.iter().for_each(append);
        check([false, false, true, true]);
        append(&all[0]);
        check([true, false, false, true]);
        let look = |times: usize| (0..times).for_each(|_| directory.open_files().close_idle());
        look(1);
        append(&all[3]);
        look(1);
        check([false, false, false, true]);
        look(1);
        check([false; 4]);
        all.iter().for_each(append);
        assert!(all.iter().all(|p| p.with_log(|log| log.end_offset().0 >= 2).unwrap()));
        directory.close();
    }

    #[test]
    fn a_file_stays_open_until_its_promised_sync() {
        let folder = Folder::new("open-files").unwrap();
        let path = folder.path().display().to_string();
        let directory = Arc::new(Directory::start(0, path, Arc::default(), 4).unwrap());
        // Nobody syncs but this test.
        directory.close();
        for (index, durability) in [(0, Durability::Os), (1, Durability::Fsync)] {
            let partition = partition(&folder, &directory, index, durability);
            append(&partition);
            let unsynced = partition.with_log(|log| log.flushed_to() < log.end_offset()).unwrap();
            assert!(unsynced, "{durability:?}");
            assert_eq!(partition.close_files(), durability == Durability::Os, "{durability:?}");
            partition.flush();
            assert!(partition.close_files(), "{durability:?}");
        }
    }
}
