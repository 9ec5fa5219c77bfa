//! Committed offsets of all groups, in two views: the newest, on which decisions rest, and the
//! committed one, which readers see.
//!
//! Writes come in log order and are committed or undone in it, so a queue of versions for each
//! offset that is on its way is all the history there is.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ottla_types::{Offset, PartitionIndex, ProducerId};

use crate::api::OffsetValue;
use crate::names::{GroupId, Topic};

/// A stored offset and where its record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: OffsetValue,
    /// Offset of its record, if the log told it: with transactions the newest record wins, not
    /// the newest marker.
    pub(crate) at: Option<Offset>,
}

/// Offsets of one group.
pub(crate) type GroupOffsets = BTreeMap<Topic, BTreeMap<PartitionIndex, Entry>>;

/// Which view to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Everything that was decided.
    Newest,
    /// What the high watermark covers.
    Committed,
}

#[derive(Debug, Default)]
struct Versions {
    committed: Option<Entry>,
    /// Never empty between calls; the last one equals the newest view.
    uncommitted: VecDeque<Option<Entry>>,
}

/// Offsets that a transaction wrote and has not yet committed.
type OpenOffsets = BTreeMap<(GroupId, Topic, PartitionIndex), Entry>;

/// All offsets of a shard.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    newest: HashMap<GroupId, GroupOffsets>,
    versions: HashMap<GroupId, BTreeMap<(Topic, PartitionIndex), Versions>>,
    transactions: BTreeMap<ProducerId, OpenOffsets>,
    count: usize,
}

impl Offsets {
    /// Offsets in the newest view.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// One offset.
    pub(crate) fn get(
        &self,
        view: View,
        group: &str,
        topic: &Topic,
        partition: PartitionIndex,
    ) -> Option<&OffsetValue> {
        if view == View::Committed
            && let Some(versions) = self.versions.get(group)
            && let Some(versions) = versions.get(&(topic.clone(), partition))
        {
            return versions.committed.as_ref().map(|entry| &entry.value);
        }
        let entry = self.newest.get(group)?.get(topic)?.get(&partition)?;
        Some(&entry.value)
    }

    /// All offsets of a group, by topic and partition.
    pub(crate) fn of_group(
        &self,
        view: View,
        group: &str,
    ) -> BTreeMap<Topic, BTreeMap<PartitionIndex, &OffsetValue>> {
        let mut all: BTreeMap<Topic, BTreeMap<PartitionIndex, &OffsetValue>> = BTreeMap::new();
        for (topic, partitions) in self.newest.get(group).into_iter().flatten() {
            let partitions = partitions.iter().map(|(index, entry)| (*index, &entry.value));
            all.insert(topic.clone(), partitions.collect());
        }
        if view == View::Newest {
            return all;
        }
        for ((topic, partition), versions) in self.versions.get(group).into_iter().flatten() {
            let topic_offsets = all.entry(topic.clone()).or_default();
            match &versions.committed {
                Some(entry) => topic_offsets.insert(*partition, &entry.value),
                None => topic_offsets.remove(partition),
            };
            if topic_offsets.is_empty() {
                all.remove(topic);
            }
        }
        all
    }

    /// The newest offsets of a group.
    pub(crate) fn newest_of(&self, group: &str) -> Option<&GroupOffsets> {
        self.newest.get(group)
    }

    /// Groups with offsets, newest view.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&GroupId, &GroupOffsets)> {
        self.newest.iter()
    }

    /// Sets or removes an offset, to be committed or undone later.
    pub(crate) fn write(
        &mut self,
        group: &GroupId,
        topic: &Topic,
        partition: PartitionIndex,
        value: Option<OffsetValue>,
    ) {
        let entry = value.map(|value| Entry { value, at: None });
        let old = self.put(group, topic, partition, entry.clone());
        let versions = self.versions.entry(group.clone()).or_default();
        let versions = versions
            .entry((topic.clone(), partition))
            .or_insert_with(|| Versions { committed: old, uncommitted: VecDeque::new() });
        versions.uncommitted.push_back(entry);
    }

    /// The oldest uncommitted write of this offset is committed.
    pub(crate) fn commit(&mut self, group: &GroupId, topic: &Topic, partition: PartitionIndex) {
        self.versions(group, topic, partition, |versions| {
            let oldest = versions.uncommitted.pop_front();
            versions.committed = oldest.expect("a write is committed once");
        });
    }

    /// The newest write of this offset did not happen.
    pub(crate) fn undo(&mut self, group: &GroupId, topic: &Topic, partition: PartitionIndex) {
        let mut before = None;
        self.versions(group, topic, partition, |versions| {
            let newest = versions.uncommitted.pop_back();
            assert!(newest.is_some(), "a write is undone once");
            before = versions.uncommitted.back().unwrap_or(&versions.committed).clone();
        });
        self.put(group, topic, partition, before);
    }

    fn versions(
        &mut self,
        group: &GroupId,
        topic: &Topic,
        partition: PartitionIndex,
        change: impl FnOnce(&mut Versions),
    ) {
        let of_group = self.versions.get_mut(group).expect("an uncommitted write has a group");
        let key = (topic.clone(), partition);
        let versions = of_group.get_mut(&key).expect("an uncommitted write has versions");
        change(versions);
        if versions.uncommitted.is_empty() {
            of_group.remove(&key);
        }
        if of_group.is_empty() {
            self.versions.remove(group);
        }
    }

    fn put(
        &mut self,
        group: &GroupId,
        topic: &Topic,
        partition: PartitionIndex,
        entry: Option<Entry>,
    ) -> Option<Entry> {
        let old = match entry {
            Some(entry) => {
                let topics = self.newest.entry(group.clone()).or_default();
                topics.entry(topic.clone()).or_default().insert(partition, entry)
            }
            None => {
                let topics = self.newest.get_mut(group)?;
                let partitions = topics.get_mut(topic)?;
                let old = partitions.remove(&partition);
                if partitions.is_empty() {
                    topics.remove(topic);
                }
                if topics.is_empty() {
                    self.newest.remove(group);
                }
                self.count -= usize::from(old.is_some());
                return old;
            }
        };
        self.count += usize::from(old.is_none());
        old
    }
}

/// Loading.
impl Offsets {
    /// Takes an offset from the log; a producer id marks one of an open transaction.
    pub(crate) fn replay(
        &mut self,
        group: &GroupId,
        topic: &Topic,
        partition: PartitionIndex,
        value: Option<OffsetValue>,
        at: Offset,
        producer: Option<ProducerId>,
    ) {
        assert!(self.versions.is_empty(), "loading comes before serving");
        let Some(value) = value else {
            self.put(group, topic, partition, None);
            // A tombstone also ends what open transactions hold.
            let key = (group.clone(), topic.clone(), partition);
            self.transactions.retain(|_, open| {
                open.remove(&key);
                !open.is_empty()
            });
            return;
        };
        let entry = Entry { value, at: Some(at) };
        match producer {
            None => {
                self.put(group, topic, partition, Some(entry));
            }
            Some(producer) => {
                let open = self.transactions.entry(producer).or_default();
                open.insert((group.clone(), topic.clone(), partition), entry);
            }
        }
    }

    /// Takes the end of a transaction from the log; gives back the groups that got offsets.
    pub(crate) fn replay_marker(&mut self, producer: ProducerId, commit: bool) -> Vec<GroupId> {
        let mut groups = BTreeSet::new();
        for ((group, topic, partition), entry) in
            self.transactions.remove(&producer).unwrap_or_default()
        {
            let stored = self.newest.get(&group).and_then(|topics| topics.get(&topic));
            let stored = stored.and_then(|partitions| partitions.get(&partition));
            // A later plain commit wins over an earlier one whose marker came after it.
            if commit && stored.is_none_or(|stored| stored.at < entry.at) {
                self.put(&group, &topic, partition, Some(entry));
                groups.insert(group);
            }
        }
        groups.into_iter().collect()
    }

    /// Whether an open transaction holds this offset.
    pub(crate) fn is_open(&self, group: &str, topic: &Topic, partition: PartitionIndex) -> bool {
        self.transactions.values().any(|open| {
            open.keys().any(|(g, t, p)| g.as_str() == group && t == topic && *p == partition)
        })
    }

    /// Whether an open transaction holds any offset of the group.
    pub(crate) fn has_open(&self, group: &str) -> bool {
        self.transactions.values().any(|open| open.keys().any(|(g, _, _)| g.as_str() == group))
    }

    /// Offsets of the group that are only in open transactions.
    pub(crate) fn open_only(&self, group: &str) -> BTreeSet<(Topic, PartitionIndex)> {
        let open = self.transactions.values().flat_map(BTreeMap::keys);
        open.filter(|(g, topic, partition)| {
            g.as_str() == group && self.get(View::Newest, group, topic, *partition).is_none()
        })
        .map(|(_, topic, partition)| (topic.clone(), *partition))
        .collect()
    }
}
