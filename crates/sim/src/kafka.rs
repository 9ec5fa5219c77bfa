//! Another implementation takes a turn on the directory of a sole voter.
//!
//! It knows Kafka's files only: the metadata log, its snapshots and `quorum-state`. It wins an
//! election in an epoch above all that these name, appends batches, perhaps takes a snapshot and
//! deletes what that covers, and leaves. Our own files stay behind, out of date, for the node
//! that starts next; which may crash anywhere while it adopts the directory.

use bytes::{Bytes, BytesMut};
use ottla_codec::encode_to_bytes;
use ottla_quorum::{KRaftVersion, Now, QuorumState, SnapshotBuilder, SnapshotId};
use ottla_record::generated::{LeaderChangeMessage, leader_change_message};
use ottla_record::{BatchBuilder, Compression, ControlType};
use ottla_testkit::Random;
use ottla_types::{LeaderEpoch, NodeId, Timestamp, Uuid};

use crate::disk::{SimDisk, committed};
use crate::event::{BatchId, Event};
use crate::machine::Machine;
use crate::world::{Action, Violation, World};

/// One turn.
struct Turn<'a> {
    node: NodeId,
    epoch: LeaderEpoch,
    disk: &'a mut SimDisk,
    machine: &'a mut dyn Machine,
    events: Vec<Event>,
}

impl World {
    /// Stops a node cleanly, lets the other implementation run on its directory, and starts the
    /// node again; half of the time it crashes soon after.
    pub(crate) fn kafka_takes_a_turn(&mut self, at: usize) -> Result<(), Violation> {
        if self.nodes[at].running.is_none() {
            // After a crash our own files may hold what Kafka would not find.
            return Ok(());
        }
        self.stop_cleanly(at)?;
        self.say(at, "gives its directory to Kafka");
        let (now, seed) = (self.now(), self.random.bits());
        let mut machine = self.machine(at, seed);
        let node = &mut self.nodes[at];
        let events = take_turn(node.node, &mut node.disk, &mut *machine, now, &mut self.random);
        for event in events {
            self.observe(&event)?;
        }
        let down = self.random.below(500_000);
        self.later(down * 1_000, Action::Restart { node: at });
        if self.random.once_in(2) {
            // Within the first few writes.
            let after = down + 1 + self.random.below(30_000);
            self.later(after * 1_000, Action::Crash { node: at });
        }
        Ok(())
    }
}

fn take_turn(
    node: NodeId,
    disk: &mut SimDisk,
    machine: &mut dyn Machine,
    now: Now,
    random: &mut Random,
) -> Vec<Event> {
    let found = disk.found();
    let control = found.control.clone();
    let state = found.quorum_state.as_ref().map(|text| QuorumState::parse(text));
    let named = state.map(|state| state.expect("it was written whole").epoch);
    let newest = named.max(found.log.last_epoch).unwrap_or_default();
    let more = u32::try_from(random.below(3)).expect("a few");
    let epoch = LeaderEpoch(newest.0 + 1 + more);
    let loaded = disk.load(machine);
    assert!(loaded, "a clean stop leaves a whole log");
    let snapshot = found.snapshot.map(|id| id.end.0);
    let (start, log) = (disk.log_start.0, disk.batches());
    let mut events = vec![Event::Started { disk: disk.id, start, log, snapshot }];
    let elected = QuorumState { epoch, leader: Some(node), voted: None, voters: vec![node] };
    disk.quorum_state = Some(elected.render(control.kraft_version).into());
    events.push(Event::EpochStored { disk: disk.id, epoch: epoch.0 });
    let end = disk.log_end();
    events.push(Event::BecameLeader { disk: disk.id, epoch: epoch.0, end: end.0 });
    if random.once_in(4) || (control.kraft_version == KRaftVersion::Dynamic && !control.in_log) {
        // It is gone before its first batch.
        return events;
    }
    let mut turn = Turn { node, epoch, disk, machine, events };
    turn.append(turn.epoch_start(now));
    turn.machine.leads(Some(epoch));
    turn.listen();
    for _ in 0..random.below(6) {
        let next = turn.disk.log_end();
        if let Some(batch) = turn.machine.propose(now, random, next) {
            turn.listen();
            turn.append(batch);
        }
    }
    turn.disk.sync_log(turn.disk.log_end());
    if random.once_in(3) {
        turn.snapshot(now);
        if random.once_in(2) {
            let start = turn.disk.cut_log().0;
            turn.events.push(Event::LogCut { disk: turn.disk.id, start });
        }
    }
    turn.events
}

impl Turn<'_> {
    fn epoch_start(&self, now: Now) -> Bytes {
        let voter = leader_change_message::Voter {
            voter_id: self.node.to_wire(),
            voter_directory_id: Uuid::ZERO,
        };
        let change = LeaderChangeMessage {
            version: 0,
            leader_id: self.node.to_wire(),
            voters: vec![voter.clone()],
            granting_voters: vec![voter],
        };
        let value = encode_to_bytes(&change, 0).expect("small");
        let mut batch = BatchBuilder::new(Compression::None)
            .base_offset(self.disk.log_end())
            .leader_epoch(self.epoch)
            .control();
        let key = ControlType::LeaderChange.key();
        batch.push_pair(now.wall.timestamp(), Some(&key), Some(&value));
        batch.build().expect("small")
    }

    fn append(&mut self, bytes: Bytes) {
        let mut bytes = BytesMut::from(bytes);
        // Partition leader epoch; the checksum does not cover it.
        bytes[12..16].copy_from_slice(&self.epoch.0.to_be_bytes());
        let committed = committed(&bytes.freeze());
        self.disk.append(&committed);
        self.machine.apply(&committed);
        let (disk, batch) = (self.disk.id, BatchId::of(&committed.batch));
        let state = self.machine.digest();
        let voters = Some([vec![disk], vec![disk]]);
        self.events.push(Event::Stored { disk, batches: vec![batch], anew: false });
        self.events.push(Event::Appended { disk, batch, state, voters });
        self.events.push(Event::Acknowledged { batch });
        self.listen();
    }

    fn listen(&mut self) {
        let disk = self.disk.id;
        self.events.extend(self.machine.said().into_iter().map(|said| Event::Said { disk, said }));
    }

    fn snapshot(&mut self, now: Now) {
        let id = SnapshotId { end: self.disk.log_end(), epoch: self.epoch };
        let control = self.disk.found().control;
        let mut builder = SnapshotBuilder::new(id, now.wall, Timestamp(0), &control);
        let records = self.machine.snapshot();
        if !records.is_empty() {
            builder.push(records.iter().map(Vec::as_slice)).expect("small records");
        }
        self.disk.snapshots.insert(id, builder.finish());
        self.events.push(Event::SnapshotTaken { disk: self.disk.id, end: id.end.0 });
    }
}
