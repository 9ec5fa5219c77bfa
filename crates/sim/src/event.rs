//! What happened in a simulated cluster, as the invariants see it.
//!
//! A disk, not a node, is who stores and votes: a node whose disk was wiped is somebody else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_record::Batch;
use ottla_types::Uuid;

/// Number of a disk in the simulation; a wiped disk gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub u32);

/// A batch, by place and content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BatchId {
    /// Offset of its first record.
    pub base: u64,
    /// Offset after its last record.
    pub end: u64,
    /// Epoch of the leader that proposed it.
    pub epoch: u32,
    /// Its checksum.
    pub crc: u32,
}

impl BatchId {
    /// The identity of a batch.
    ///
    /// # Panics
    /// If the bytes are not a whole batch.
    pub fn of(bytes: &Bytes) -> Self {
        let batch =
            Batch::parse_checked(bytes.clone()).expect("the simulation keeps whole batches");
        let header = batch.header();
        Self {
            base: header.base_offset.0,
            end: header.next_offset().0,
            epoch: header.leader_epoch.map_or(u32::MAX, |epoch| epoch.0),
            crc: header.crc,
        }
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}@{} {:08x}", self.base, self.end, self.epoch, self.crc)
    }
}

/// What a controller was asked, what it answered, and what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A client asked for something that undoes what others were told.
    Asked(Ask),
    /// A client was told that something is done.
    Answered(Answer),
    /// It begins to lead, knowing this.
    Leads(Arc<View>),
    /// A partition was changed by a committed batch.
    Partition {
        /// Id of its topic.
        topic: Uuid,
        /// Its number.
        partition: u32,
        /// Its leader epoch and partition epoch.
        epochs: [u32; 2],
    },
}

/// A request that may undo an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Deletes this topic.
    DeleteTopic(Uuid),
    /// Takes a broker out, whatever registration up to this epoch it has.
    Unregister {
        /// The broker.
        node: u32,
        /// The epoch that it had.
        epoch: u64,
    },
}

/// Something that a client may rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The topic exists.
    TopicCreated(Uuid),
    /// The topic does not exist and never will again.
    TopicDeleted(Uuid),
    /// The broker is registered in this epoch.
    Registered {
        /// The broker.
        node: u32,
        /// Its epoch.
        epoch: u64,
    },
    /// These producer ids are nobody else's.
    ProducerIds {
        /// The first of them.
        first: u64,
        /// The one after the last of them.
        end: u64,
    },
    /// A topic has a config. Values grow from request to request.
    Configured {
        /// The topic.
        topic: Uuid,
        /// The value.
        value: u64,
    },
}

/// What a leader knows when it begins to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Topics, each with the value of the config that clients set.
    pub topics: BTreeMap<Uuid, Option<u64>>,
    /// Brokers and their epochs.
    pub brokers: BTreeMap<u32, u64>,
    /// First producer id that is free.
    pub next_producer_id: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process started on what its disk holds.
    Started {
        /// The disk.
        disk: DiskId,
        /// Where its metadata log starts.
        start: u64,
        /// Its batches.
        log: Vec<BatchId>,
        /// End of its newest snapshot.
        snapshot: Option<u64>,
    },
    /// A process saw an epoch.
    EpochSeen {
        /// Its disk.
        disk: DiskId,
        /// The epoch.
        epoch: u32,
    },
    /// An epoch is on disk.
    EpochStored {
        /// The disk.
        disk: DiskId,
        /// The epoch.
        epoch: u32,
    },
    /// A process serves as leader.
    BecameLeader {
        /// Its disk.
        disk: DiskId,
        /// Its epoch.
        epoch: u32,
        /// Where its metadata log ends.
        end: u64,
    },
    /// Entries are on disk in the write-ahead log, replacing whatever follows them.
    Stored {
        /// The disk.
        disk: DiskId,
        /// Their batches.
        batches: Vec<BatchId>,
        /// Whether everything that was stored before is void, as when a snapshot is installed.
        anew: bool,
    },
    /// A process appended a committed batch to its metadata log.
    Appended {
        /// Its disk.
        disk: DiskId,
        /// The batch.
        batch: BatchId,
        /// Digest of the state machine after it.
        state: u64,
        /// If the process led then: who voted, before and after the last change of voters.
        voters: Option<[Vec<DiskId>; 2]>,
    },
    /// A proposal was answered with success.
    Acknowledged {
        /// Its batch.
        batch: BatchId,
    },
    /// A snapshot is on disk.
    SnapshotTaken {
        /// The disk.
        disk: DiskId,
        /// End of the snapshot.
        end: u64,
    },
    /// A process installed a leader's snapshot.
    Installed {
        /// Its disk.
        disk: DiskId,
        /// End of the snapshot.
        end: u64,
        /// Digest of the state machine in it.
        state: u64,
    },
    /// A process has read its state from its disk.
    Replayed {
        /// Its disk.
        disk: DiskId,
        /// Where its metadata log ends.
        end: u64,
        /// Digest of its state machine.
        state: u64,
    },
    /// What a state machine says of itself.
    Said {
        /// The disk of its process.
        disk: DiskId,
        /// What it says.
        said: Said,
    },
    /// The start of a metadata log was deleted.
    LogCut {
        /// The disk.
        disk: DiskId,
        /// Where the log starts now.
        start: u64,
    },
}
