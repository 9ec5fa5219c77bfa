//! The state machine above the quorum: the hook by which the controller joins the simulation.
//!
//! [`Chain`] is the one that the quorum's own simulation uses: its state is a digest of everything
//! it was given, so two replicas that applied different batches differ for ever.

use bytes::Bytes;
use ottla_quorum::{Committed, Now, Snapshot, SnapshotId};
use ottla_record::{BatchBuilder, Compression, DecompressLimits};
use ottla_testkit::Random;
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};

use crate::event::{BatchId, Said};

/// What stands above the quorum on each simulated node.
pub trait Machine {
    /// A batch to propose at `next`, or nothing for now. Called on a serving leader only.
    fn propose(&mut self, now: Now, random: &mut Random, next: Offset) -> Option<Bytes>;

    /// The last batch that it proposed was refused: what rests on it is void.
    fn refused(&mut self) {}

    /// Takes a committed batch, control batches included.
    fn apply(&mut self, committed: &Committed);

    /// Leadership began (`Some`) or ended: speculation ends with it.
    fn leads(&mut self, epoch: Option<LeaderEpoch>);

    /// What clients asked and were told since the last call, and what became of the state.
    fn said(&mut self) -> Vec<Said> {
        Vec::new()
    }

    /// Records of a snapshot of the state.
    fn snapshot(&self) -> Vec<Vec<u8>>;

    /// Replaces the state by a snapshot's.
    fn install(&mut self, id: SnapshotId, snapshot: &Snapshot);

    /// Equal states have equal digests.
    fn digest(&self) -> u64;
}

/// Makes the machine of a node that starts with nothing, with a seed for its own chance.
pub type MakeMachine = fn(NodeId, u64) -> Box<dyn Machine>;

/// A digest of every committed batch in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    digest: u64,
}

impl Chain {
    /// For [`MakeMachine`].
    pub fn make(_node: NodeId, _seed: u64) -> Box<dyn Machine> {
        Box::new(Self::default())
    }
}

impl Machine for Chain {
    fn propose(&mut self, _now: Now, random: &mut Random, next: Offset) -> Option<Bytes> {
        let mut builder = BatchBuilder::new(Compression::None).base_offset(next);
        for _ in 0..1 + random.below(4) {
            let value = random.bits().to_be_bytes();
            builder.push_pair(Timestamp(0), None, Some(&value));
        }
        builder.build().ok()
    }

    fn apply(&mut self, committed: &Committed) {
        let batch = BatchId::of(&committed.batch);
        for word in [batch.base, batch.end, u64::from(batch.epoch), u64::from(batch.crc)] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn leads(&mut self, _epoch: Option<LeaderEpoch>) {}

    fn snapshot(&self) -> Vec<Vec<u8>> {
        vec![self.digest.to_be_bytes().to_vec()]
    }

    fn install(&mut self, _id: SnapshotId, snapshot: &Snapshot) {
        let batch = snapshot.batches.first();
        let records = batch.and_then(|batch| batch.records(&DecompressLimits::default()).ok());
        let record = records.and_then(|mut records| records.next()?.ok());
        let value = record.and_then(|record| record.value);
        let digest = value.and_then(|value| value.first_chunk().copied());
        // The bootstrap checkpoint has no records.
        self.digest = digest.map_or(0, u64::from_be_bytes);
    }

    fn digest(&self) -> u64 {
        self.digest
    }
}
