//! Our bytes beside Kafka's: the start of an epoch, checkpoints, and `quorum-state`.

use bytes::Bytes;
use ottla_quorum::{
    ControlState, KRaftVersion, Now, Snapshot, SnapshotBuilder, SnapshotId, VoterSet,
};
use ottla_record::{Batch, Batches, DecompressLimits};
use ottla_types::WallTime;

use crate::node::{Node, static_voters};

const STATIC_START: &[u8] = include_bytes!("../golden/static-epoch-start.batch");
const DYNAMIC_START: &[u8] = include_bytes!("../golden/dynamic-epoch-start.batch");
const STATIC_STATE: &[u8] = include_bytes!("../golden/static.quorum-state");
const DYNAMIC_STATE: &[u8] = include_bytes!("../golden/dynamic.quorum-state");
const BOOTSTRAP: (&str, &[u8]) = (
    "00000000000000000000-0000000000.checkpoint",
    include_bytes!("../golden/00000000000000000000-0000000000.checkpoint"),
);
const CHECKPOINT: (&str, &[u8]) = (
    "00000000000000000014-0000000001.checkpoint",
    include_bytes!("../golden/00000000000000000014-0000000001.checkpoint"),
);

fn kafkas((name, bytes): (&str, &'static [u8])) -> (SnapshotId, Bytes) {
    (SnapshotId::from_file_name(name).unwrap(), Bytes::from_static(bytes))
}

fn batches(bytes: &Bytes) -> Vec<Batch> {
    Batches::new(bytes.clone()).map(Result::unwrap).collect()
}

fn written_at(batch: &Batch) -> WallTime {
    WallTime::from_millis(batch.header().base_timestamp.0)
}

// What a fresh node appends first and notes in `quorum-state`, at the moment that Kafka did.
fn first(mut node: Node, kafkas: &'static [u8]) -> (Bytes, Bytes) {
    let batch = Batch::parse_checked(Bytes::from_static(kafkas)).unwrap();
    node.now = Now { wall: written_at(&batch), ..node.now };
    node.run("start");
    (node.files.log[0].clone(), node.files.quorum_state.unwrap())
}

#[test]
fn a_static_node_starts_its_first_epoch_with_kafkas_bytes() {
    let (batch, state) = first(Node::new(static_voters(&[1])), STATIC_START);
    assert_eq!((&batch[..], &state[..]), (STATIC_START, STATIC_STATE));
}

#[test]
fn a_dynamic_node_starts_its_first_epoch_with_kafkas_bytes() {
    let mut node = Node::new(VoterSet::default());
    let (id, bytes) = kafkas(BOOTSTRAP);
    let voters = Snapshot::read(id, bytes.clone()).unwrap().control.voters.unwrap();
    // The node that Kafka formatted: its directory, its endpoints.
    let voter = voters.iter().next().unwrap().clone();
    node.config.own = voter.key;
    node.config.endpoints = voter.endpoints;
    node.files.snapshot = Some((id, bytes));
    let (batch, state) = first(node, DYNAMIC_START);
    assert_eq!((&batch[..], &state[..]), (DYNAMIC_START, DYNAMIC_STATE));
}

#[test]
fn kafkas_checkpoints_are_read_and_written_again_to_the_byte() {
    for named in [BOOTSTRAP, CHECKPOINT] {
        let (id, bytes) = kafkas(named);
        let snapshot = Snapshot::read(id, bytes.clone()).unwrap();
        let control = &snapshot.control;
        assert_eq!((control.kraft_version, control.in_log), (KRaftVersion::Dynamic, id.end.0 > 0));
        let theirs = batches(&bytes);
        for (at, batch) in theirs.iter().enumerate() {
            // Each batch has the time at which it was built.
            let ours = rebuild(id, written_at(batch), &snapshot, control);
            assert_eq!(batches(&ours)[at].bytes(), batch.bytes(), "{} batch {at}", named.0);
        }
    }
}

fn rebuild(id: SnapshotId, now: WallTime, snapshot: &Snapshot, control: &ControlState) -> Bytes {
    let mut builder = SnapshotBuilder::new(id, now, snapshot.last_timestamp, control);
    for batch in &snapshot.batches {
        let records = batch.records(&DecompressLimits::default()).unwrap();
        let values: Vec<_> = records.map(|record| record.unwrap().value.unwrap()).collect();
        builder.push(values.iter().map(|value| &value[..])).unwrap();
    }
    builder.finish()
}
