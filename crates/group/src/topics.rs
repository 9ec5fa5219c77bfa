//! What a coordinator of consumer groups (KIP-848) must know of the cluster's topics. They come in
//! as a value; this file has the questions and the hash by which a group notices changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ottla_types::{PartitionIndex, TopicId};
use twox_hash::XxHash3_64;

use crate::names::Topic;

/// The topics of the cluster at one moment. A shell implements this on its metadata.
pub trait Topics: fmt::Debug + Send + Sync {
    /// Position of the metadata; grows with every change.
    fn version(&self) -> u64;
    /// Id and count of partitions of a topic.
    fn find(&self, name: &str) -> Option<TopicInfo>;
    /// Name of a topic.
    fn name_of(&self, id: TopicId) -> Option<Topic>;
    /// Racks of the brokers that have replicas of a partition, where known.
    fn racks(&self, id: TopicId, partition: PartitionIndex) -> Vec<String>;
    /// All names.
    fn names(&self) -> Vec<Topic>;
}

/// A topic, as assignors see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A cluster without topics: what a shard knows before it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTopics;

impl Topics for NoTopics {
    fn version(&self) -> u64 {
        0
    }

    fn find(&self, _name: &str) -> Option<TopicInfo> {
        None
    }

    fn name_of(&self, _id: TopicId) -> Option<Topic> {
        None
    }

    fn racks(&self, _id: TopicId, _partition: PartitionIndex) -> Vec<String> {
        Vec::new()
    }

    fn names(&self) -> Vec<Topic> {
        Vec::new()
    }
}

/// What a shard knows of topics, with the hashes computed so far.
#[derive(Debug)]
pub(crate) struct KnownTopics {
    pub(crate) now: Arc<dyn Topics>,
    /// Version at which topics were last created.
    pub(crate) created_at: Option<u64>,
    hashes: BTreeMap<Topic, u64>,
}

impl Default for KnownTopics {
    fn default() -> Self {
        Self { now: Arc::new(NoTopics), created_at: None, hashes: BTreeMap::new() }
    }
}

impl KnownTopics {
    /// Takes over newer metadata, in which these topics are not what they were.
    pub(crate) fn replace(&mut self, now: Arc<dyn Topics>, changed: &[Topic], created: bool) {
        for topic in changed {
            self.hashes.remove(topic);
        }
        if created || self.created_at.is_none() {
            self.created_at = Some(now.version());
        }
        self.now = now;
    }

    /// Hash over the topics that exist, as it is kept in a group's record; 0 for none.
    pub(crate) fn group_hash<'a>(&mut self, names: impl Iterator<Item = &'a Topic>) -> i64 {
        let mut bytes = Vec::new();
        // In the order of the names, which is the map's.
        for name in names {
            let Some(info) = self.now.find(name) else { continue };
            let hash = match self.hashes.get(name) {
                Some(hash) => *hash,
                None => {
                    let hash = topic_hash(&*self.now, name, info);
                    self.hashes.insert(name.clone(), hash);
                    hash
                }
            };
            put(&mut bytes, &hash.to_be_bytes());
        }
        if bytes.is_empty() { 0 } else { XxHash3_64::oneshot(&bytes).cast_signed() }
    }
}

/// Kafka hashes a byte 0, the id, the name, and each partition with its racks. The stream behind
/// that hash is little-endian, and text in it is UTF-16 with its length after it.
fn topic_hash(topics: &dyn Topics, name: &str, info: TopicInfo) -> u64 {
    let mut bytes = vec![0];
    let (most, least) = info.id.0.0.split_at(8);
    put(&mut bytes, most);
    put(&mut bytes, least);
    put_text(&mut bytes, name);
    put(&mut bytes, &info.partitions.to_be_bytes());
    for index in 0..info.partitions {
        put(&mut bytes, &index.to_be_bytes());
        let mut racks = topics.racks(info.id, PartitionIndex(index));
        racks.sort_by(|one, other| one.encode_utf16().cmp(other.encode_utf16()));
        for rack in racks {
            put(&mut bytes, &utf16_len(&rack).to_be_bytes());
            put_text(&mut bytes, &rack);
        }
    }
    XxHash3_64::oneshot(&bytes)
}

/// Appends a number, given big-endian, the other way round.
fn put(bytes: &mut Vec<u8>, big_endian: &[u8]) {
    bytes.extend(big_endian.iter().rev());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    for unit in text.encode_utf16() {
        put(bytes, &unit.to_be_bytes());
    }
    put(bytes, &utf16_len(text).to_be_bytes());
}

fn utf16_len(text: &str) -> u32 {
    u32::try_from(text.encode_utf16().count()).unwrap_or(u32::MAX)
}
