//! A simulated disk: what was synced survives a crash, the rest may survive, vanish or be torn.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_quorum::{
    Committed, ControlState, Disk, FileWrite, KRaftVersion, LogEnds, Persist, Snapshot,
    SnapshotBuilder, SnapshotId, VoterSet, choose_snapshots,
};
use ottla_record::Batch;
use ottla_testkit::Random;
use ottla_types::{DirectoryId, Offset, Timestamp, WallTime};

use crate::event::{BatchId, DiskId};
use crate::machine::Machine;

/// One metadata directory.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// Its number.
    pub id: DiskId,
    /// Its `directory.id`.
    pub directory: DirectoryId,
    /// `ottla-quorum.state`.
    pub state: Option<Bytes>,
    /// `ottla-quorum.wal`.
    pub wal: Option<Bytes>,
    /// `quorum-state`.
    pub quorum_state: Option<Bytes>,
    /// Batches of the metadata log.
    pub log: Vec<Bytes>,
    /// Where that log starts.
    pub log_start: Offset,
    /// Number of batches that are synced.
    pub synced: usize,
    /// Complete snapshots.
    pub snapshots: BTreeMap<SnapshotId, Bytes>,
}

impl SimDisk {
    /// A formatted disk. Voters go into the bootstrap checkpoint.
    pub fn format(id: DiskId, directory: DirectoryId, voters: Option<&VoterSet>) -> Self {
        let mut disk = Self {
            id,
            directory,
            state: None,
            wal: None,
            quorum_state: None,
            log: Vec::new(),
            log_start: Offset::ZERO,
            synced: 0,
            snapshots: BTreeMap::new(),
        };
        if let Some(voters) = voters {
            let (kraft_version, voters) = (KRaftVersion::Dynamic, Some(voters.clone()));
            let control = ControlState { kraft_version, voters, in_log: false };
            let id = SnapshotId::BOOTSTRAP;
            let builder = SnapshotBuilder::new(id, WallTime::default(), Timestamp(0), &control);
            disk.snapshots.insert(id, builder.finish());
        }
        disk
    }

    /// Where the metadata log ends.
    pub fn log_end(&self) -> Offset {
        self.log.last().map_or(self.log_start, |bytes| batch(bytes).header().next_offset())
    }

    /// Identities of the batches in the metadata log.
    pub fn batches(&self) -> Vec<BatchId> {
        self.log.iter().map(BatchId::of).collect()
    }

    /// A snapshot's content.
    pub fn snapshot(&self, id: SnapshotId) -> Snapshot {
        let bytes = self.snapshots.get(&id).expect("it is there").clone();
        Snapshot::read(id, bytes).expect("snapshots are complete")
    }

    /// Loads a state machine from the newest snapshot and the log behind it; returns whether it
    /// could. If not, what is missing is in a snapshot beyond the log, which is installed next.
    pub fn load(&self, machine: &mut dyn Machine) -> bool {
        let (snapshot, ahead) = choose_snapshots(self.snapshots.keys().copied(), self.log_end());
        let covered = snapshot.map_or(Offset::ZERO, |id| id.end);
        if covered < self.log_start {
            assert!(!ahead.is_empty(), "what a log lost is in a snapshot");
            return false;
        }
        if let Some(id) = snapshot {
            machine.install(id, &self.snapshot(id));
        }
        for bytes in &self.log {
            let committed = committed(bytes);
            if committed.base >= covered {
                machine.apply(&committed);
            }
        }
        // What it says of the past was said then.
        machine.said();
        true
    }

    /// What a starting node finds.
    pub fn found(&self) -> Disk {
        let (snapshot, ahead) = choose_snapshots(self.snapshots.keys().copied(), self.log_end());
        let covered = snapshot.map_or(Offset::ZERO, |id| id.end);
        let mut control = snapshot.map(|id| self.snapshot(id).control).unwrap_or_default();
        let ahead = ahead.into_iter().map(|id| (id, self.snapshot(id).control)).collect();
        let mut log = LogEnds { end: self.log_start, last_epoch: None };
        for bytes in &self.log {
            let batch = batch(bytes);
            let header = batch.header();
            if header.base_offset >= covered {
                control.observe(&batch).expect("control records can be read");
            }
            log = LogEnds { end: header.next_offset(), last_epoch: header.leader_epoch };
        }
        Disk {
            state: self.state.clone(),
            wal: self.wal.clone(),
            quorum_state: self.quorum_state.clone(),
            log,
            snapshot,
            control,
            ahead,
        }
    }

    /// Appends a batch, without a sync.
    pub fn append(&mut self, committed: &Committed) {
        assert_eq!(committed.base, self.log_end(), "the metadata log has no gaps");
        self.log.push(committed.batch.clone());
    }

    /// Syncs the metadata log up to an offset.
    pub fn sync_log(&mut self, end: Offset) {
        let before = |bytes: &&Bytes| batch(bytes).header().next_offset() <= end;
        let synced = self.log.iter().take_while(before).count();
        self.synced = self.synced.max(synced);
    }

    /// Completes a durable write.
    pub fn write(&mut self, write: &FileWrite) {
        match write {
            FileWrite::State(bytes) => self.state = Some(bytes.clone()),
            FileWrite::QuorumState(bytes) => self.quorum_state = Some(bytes.clone()),
            FileWrite::NewWal(bytes) => self.wal = Some(bytes.clone()),
            FileWrite::Wal(bytes) => {
                let old = self.wal.clone().expect("the file exists before it is appended to");
                self.wal = Some([old, bytes.clone()].concat().into());
            }
        }
    }

    /// Starts the metadata log over behind a snapshot.
    pub fn install(&mut self, id: SnapshotId) {
        self.log.clear();
        self.synced = 0;
        self.log_start = id.end;
    }

    /// Deletes the start of the metadata log as far as a snapshot covers it; returns where the
    /// log starts now. As in Kafka, only synced batches go.
    pub fn cut_log(&mut self) -> Offset {
        // A fetched snapshot that is not installed yet is about a log that this one is not.
        let (covered, _) = choose_snapshots(self.snapshots.keys().copied(), self.log_end());
        let covered = covered.map_or(Offset::ZERO, |id| id.end);
        let gone = |bytes: &&Bytes| batch(bytes).header().next_offset() <= covered;
        let gone = self.log.iter().take_while(gone).count().min(self.synced);
        if let Some(last) = self.log.drain(..gone).next_back() {
            self.log_start = batch(&last).header().next_offset();
        }
        self.synced -= gone;
        self.log_start
    }

    /// The power fails while `writing` was on its way.
    pub fn crash(&mut self, random: &mut Random, writing: Option<&Persist>) {
        let unsynced = self.log.len() - self.synced;
        let kept = if unsynced == 0 { 0 } else { random.index(unsynced + 1) };
        self.log.truncate(self.synced + kept);
        // What is found after a crash is synced by recovery.
        self.synced = self.log.len();
        let Some(persist) = writing else { return };
        let done = random.index(persist.writes.len() + 1);
        let (complete, rest) = persist.writes.split_at(done);
        for write in complete {
            self.write(write);
        }
        match rest.first() {
            // Appending may leave any part of it; replacing leaves the old file or the new one.
            Some(FileWrite::Wal(bytes)) => {
                let mut part = bytes.slice(..random.index(bytes.len() + 1)).to_vec();
                if !part.is_empty() && random.once_in(3) {
                    let at = random.index(part.len());
                    if let Some(byte) = part.get_mut(at) {
                        *byte ^= 0x40;
                    }
                }
                self.write(&FileWrite::Wal(part.into()));
            }
            Some(replaced) if random.once_in(2) => self.write(replaced),
            _ => {}
        }
    }
}

/// A batch of the metadata log, as the quorum hands it out.
pub(crate) fn committed(bytes: &Bytes) -> Committed {
    let batch = batch(bytes);
    let header = batch.header();
    Committed {
        base: header.base_offset,
        end: header.next_offset(),
        epoch: header.leader_epoch.unwrap_or_default(),
        control: header.attributes.is_control(),
        batch: bytes.clone(),
    }
}

fn batch(bytes: &Bytes) -> Batch {
    Batch::parse_checked(bytes.clone()).expect("the simulation keeps whole batches")
}
