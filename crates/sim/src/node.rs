//! One simulated node: a quorum, a state machine, a disk, and the shell between them.
//!
//! The shell is the contract of `ottla_quorum` in its smallest form. What takes time (writes,
//! messages, fetching snapshots) becomes a [`Request`] that the world answers later.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ottla_quorum::{
    Committed, FileWrite, Input, LogEntry, Now, OpenError, Output, Persist, Quorum, QuorumConfig,
    ReplicaKey, SnapshotBuilder, SnapshotId, StateFile, VoterSet, read_wal, read_wal_append,
};
use ottla_testkit::Random;
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};

use crate::disk::SimDisk;
use crate::event::{BatchId, DiskId, Event};
use crate::machine::{Machine, MakeMachine};

/// Something that a node wants and that takes time.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Finish the writes.
    Write,
    /// Deliver a message.
    Send { to: ReplicaKey, message: Bytes },
    /// Sync the metadata log.
    SyncLog(Offset),
    /// Write a snapshot.
    TakeSnapshot,
    /// Fetch a snapshot.
    Fetch { from: ReplicaKey, id: SnapshotId },
}

/// What one step of a node led to.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) requests: Vec<Request>,
    pub(crate) events: Vec<Event>,
    pub(crate) lines: Vec<String>,
}

impl Effects {
    fn said(&mut self, disk: DiskId, machine: &mut dyn Machine) {
        self.events.extend(machine.said().into_iter().map(|said| Event::Said { disk, said }));
    }
}

/// A process.
pub(crate) struct Running {
    pub(crate) quorum: Quorum,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) writing: Option<Persist>,
    blocked: VecDeque<Output>,
    /// The epoch in which it serves.
    pub(crate) serves: Option<LeaderEpoch>,
    proposed: VecDeque<BatchId>,
    voters: [VoterSet; 2],
}

pub(crate) struct SimNode {
    pub(crate) node: NodeId,
    /// Counts the starts, so that answers to an earlier process are dropped.
    pub(crate) incarnation: u64,
    pub(crate) disk: SimDisk,
    pub(crate) running: Option<Running>,
    pub(crate) static_voters: VoterSet,
}

impl SimNode {
    pub(crate) fn key(&self) -> ReplicaKey {
        ReplicaKey::new(self.node, self.disk.directory)
    }

    pub(crate) fn start(
        &mut self,
        now: Now,
        seed: u64,
        make: MakeMachine,
    ) -> Result<Effects, OpenError> {
        self.incarnation += 1;
        let mut config = QuorumConfig::new("sim", self.key(), self.static_voters.clone(), seed);
        // Small, so that trimming and snapshots happen all the time.
        config.trim_from = 4 << 10;
        config.keep_for_peers = 16 << 10;
        config.election_backoff_max = Duration::from_millis(1000);
        let found = self.disk.found();
        let ahead = found.ahead.iter().map(|(id, _)| *id).max();
        let snapshot = found.snapshot.max(ahead).map(|id| id.end.0);
        let quorum = Quorum::open(config, &found, now)?;
        let mut machine = make(self.node, seed);
        let loaded = self.disk.load(&mut *machine);
        let voters = [quorum.voters().clone(), quorum.voters().clone()];
        let (blocked, proposed) = (VecDeque::new(), VecDeque::new());
        self.running = Some(Running {
            quorum,
            machine,
            writing: None,
            blocked,
            serves: None,
            proposed,
            voters,
        });
        let mut effects = Effects::default();
        let (start, log) = (self.disk.log_start.0, self.disk.batches());
        effects.events.push(Event::Started { disk: self.disk.id, start, log, snapshot });
        if let Some(running) = self.running.as_ref().filter(|_| loaded) {
            let (disk, end) = (self.disk.id, self.disk.log_end().0);
            effects.events.push(Event::Replayed { disk, end, state: running.machine.digest() });
        }
        // A write that the crash interrupted may have reached the disk all the same.
        let survived = self.disk.wal.clone().map(FileWrite::NewWal);
        effects.events.extend(survived.and_then(|wal| stored(&self.disk, &wal)));
        Ok(effects)
    }

    /// Stops the process without warning.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        if let Some(running) = self.running.take() {
            self.disk.crash(random, running.writing.as_ref());
        }
        self.incarnation += 1;
    }

    pub(crate) fn input(&mut self, now: Now, input: Input, effects: &mut Effects) {
        let Some(running) = &mut self.running else { return };
        if let Err(error) = running.quorum.handle(now, input) {
            effects.lines.push(format!("refuses: {error}"));
        }
    }

    pub(crate) fn propose(&mut self, now: Now, random: &mut Random, effects: &mut Effects) {
        let Some(running) = &mut self.running else { return };
        let (Some(next), Some(epoch)) = (running.quorum.next_offset(), running.serves) else {
            return;
        };
        let proposed = running.machine.propose(now, random, next);
        effects.said(self.disk.id, &mut *running.machine);
        let Some(bytes) = proposed else { return };
        match running.quorum.propose(now, epoch, &bytes) {
            Ok(_) => {
                let batch = BatchId { epoch: epoch.0, ..BatchId::of(&bytes) };
                effects.lines.push(format!("proposes {batch:?}"));
                running.proposed.push_back(batch);
            }
            Err(error) => {
                running.machine.refused();
                effects.lines.push(format!("cannot propose: {error}"));
            }
        }
    }

    /// Carries out what the quorum wants, as far as nothing has to be waited for.
    pub(crate) fn drain(&mut self, disks: &dyn Fn(ReplicaKey) -> DiskId, effects: &mut Effects) {
        loop {
            let Some(running) = &mut self.running else { return };
            let waits = running.writing.is_some();
            let output = match running.blocked.front() {
                Some(_) if !waits => running.blocked.pop_front(),
                _ => running.quorum.poll_output(),
            };
            let Some(output) = output else { return };
            let ordered = matches!(output, Output::Append(_) | Output::InstallSnapshot(_));
            // Who leads knows everything that was committed before.
            let follows =
                matches!(output, Output::BecameLeader { .. } | Output::LostLeadership { .. });
            if waits && (ordered || follows && !running.blocked.is_empty()) {
                running.blocked.push_back(output);
            } else {
                self.carry_out(output, disks, effects);
            }
        }
    }

    fn carry_out(
        &mut self,
        output: Output,
        disks: &dyn Fn(ReplicaKey) -> DiskId,
        effects: &mut Effects,
    ) {
        let running = self.running.as_mut().expect("only running nodes have outputs");
        let disk = self.disk.id;
        match output {
            Output::Persist(persist) => {
                assert!(running.writing.is_none(), "one write at a time");
                running.writing = Some(persist);
                effects.requests.push(Request::Write);
            }
            Output::Append(committed) => self.append(&committed, disks, effects),
            Output::Send { to, message } => effects.requests.push(Request::Send { to, message }),
            Output::LeaderChanged { epoch, leader } => {
                let leader = leader.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
                effects.lines.push(format!("sees epoch {epoch} led by {leader}"));
                effects.events.push(Event::EpochSeen { disk, epoch: epoch.0 });
            }
            Output::BecameLeader { epoch } => {
                running.serves = Some(epoch);
                running.machine.leads(Some(epoch));
                effects.said(disk, &mut *running.machine);
                effects.lines.push(format!("serves epoch {epoch}"));
                let end = self.disk.log_end().0;
                effects.events.push(Event::BecameLeader { disk, epoch: epoch.0, end });
            }
            Output::LostLeadership { epoch } => {
                running.serves = None;
                running.proposed.clear();
                running.machine.leads(None);
                effects.said(disk, &mut *running.machine);
                effects.lines.push(format!("no longer leads epoch {epoch}"));
            }
            Output::VotersChanged { voters, .. } => {
                let names: Vec<_> = voters.keys().map(|key| key.node.to_string()).collect();
                effects.lines.push(format!("voters are {}", names.join(" ")));
                running.voters.swap(0, 1);
                running.voters[1] = voters;
            }
            Output::VoterChangeDone(result) => {
                effects.lines.push(format!("change of voters: {result:?}"));
            }
            Output::SyncLog(end) => effects.requests.push(Request::SyncLog(end)),
            Output::SnapshotNeeded => effects.requests.push(Request::TakeSnapshot),
            Output::FetchSnapshot { from, id } => {
                effects.lines.push(format!("wants snapshot {id}"));
                effects.requests.push(Request::Fetch { from, id });
            }
            Output::InstallSnapshot(id) => self.install(id, effects),
        }
    }

    fn append(
        &mut self,
        committed: &Committed,
        disks: &dyn Fn(ReplicaKey) -> DiskId,
        effects: &mut Effects,
    ) {
        self.disk.append(committed);
        let running = self.running.as_mut().expect("only running nodes append");
        running.machine.apply(committed);
        let batch = BatchId::of(&committed.batch);
        let leads = running.quorum.next_offset().is_some() && running.serves.is_some();
        let voters = leads.then(|| {
            running.voters.each_ref().map(|set| set.keys().map(disks).collect::<Vec<_>>())
        });
        let state = running.machine.digest();
        effects.lines.push(format!("appends {batch:?}"));
        effects.events.push(Event::Appended { disk: self.disk.id, batch, state, voters });
        if running.proposed.front() == Some(&batch) {
            running.proposed.pop_front();
            effects.events.push(Event::Acknowledged { batch });
        }
        effects.said(self.disk.id, &mut *running.machine);
    }

    fn install(&mut self, id: SnapshotId, effects: &mut Effects) {
        let running = self.running.as_mut().expect("only running nodes install");
        let snapshot = self.disk.snapshot(id);
        running.machine.install(id, &snapshot);
        let voters = running.quorum.voters().clone();
        running.voters = [voters.clone(), voters];
        self.disk.install(id);
        effects.lines.push(format!("installs {id}"));
        let (disk, state) = (self.disk.id, running.machine.digest());
        effects.events.push(Event::Installed { disk, end: id.end.0, state });
    }

    /// The writes are on disk.
    pub(crate) fn written(&mut self, now: Now, effects: &mut Effects) {
        let Some(running) = &mut self.running else { return };
        let persist = running.writing.take().expect("something was being written");
        for write in &persist.writes {
            effects.events.extend(stored(&self.disk, write));
            self.disk.write(write);
        }
        self.input(now, Input::Persisted(persist.number), effects);
    }

    /// Writes a snapshot of the applied state; returns its name.
    pub(crate) fn take_snapshot(&mut self, now: Now, effects: &mut Effects) {
        let Some(running) = &mut self.running else { return };
        let last = self.disk.log.last().map(BatchId::of);
        let end = last.map_or(self.disk.log_start, |batch| Offset(batch.end));
        let newest = self.disk.snapshots.last_key_value().map(|(id, _)| *id);
        if let Some(newest) = newest.filter(|newest| newest.end >= end) {
            // It exists already.
            self.input(now, Input::SnapshotWritten(newest), effects);
            return;
        }
        let Some(last) = last else { return };
        let id = SnapshotId { end, epoch: LeaderEpoch(last.epoch) };
        let control = running.quorum.control().clone();
        let mut builder = SnapshotBuilder::new(id, now.wall, Timestamp(0), &control);
        let records = running.machine.snapshot();
        if !records.is_empty() {
            builder.push(records.iter().map(Vec::as_slice)).expect("small records");
        }
        self.disk.snapshots.insert(id, builder.finish());
        effects.lines.push(format!("takes snapshot {id}"));
        effects.events.push(Event::SnapshotTaken { disk: self.disk.id, end: id.end.0 });
        self.input(now, Input::SnapshotWritten(id), effects);
    }
}

fn stored(old: &SimDisk, write: &FileWrite) -> Option<Event> {
    let disk = old.id;
    let mut anew = false;
    let contents = match write {
        FileWrite::State(bytes) => {
            let state = StateFile::decode(bytes).expect("it was just encoded");
            let epoch = u32::try_from(state.term).expect("terms are epochs");
            return Some(Event::EpochStored { disk, epoch });
        }
        FileWrite::QuorumState(_) => return None,
        FileWrite::NewWal(bytes) => {
            let generation = |wal| read_wal(wal).map(|wal| wal.generation).ok();
            anew = old.wal.as_ref().and_then(generation) != generation(bytes);
            read_wal(bytes)
        }
        FileWrite::Wal(bytes) => read_wal_append(bytes),
    };
    let contents = contents.expect("it is whole up to a torn tail");
    let whole = |entry: &&LogEntry| !entry.batch.is_empty();
    let batches = contents.entries.iter().filter(whole).map(|entry| BatchId::of(&entry.batch));
    Some(Event::Stored { disk, batches: batches.collect(), anew })
}
