//! A quorum of one voter: start, commit, crash, trim, upgrade.
//!
//! Each test is a script and the outputs it must lead to.

use crate::node::{Node, bootstrap_checkpoint, static_voters};
use ottla_quorum::VoterSet;
use ottla_types::Offset;

#[track_caller]
fn check(node: &mut Node, script: &str, expected: &str) {
    let got = node.run(script);
    assert!(got == expected, "got\n{got}\nexpected\n{expected}");
}

#[test]
fn a_fresh_static_node_leads_at_once_and_writes_what_kafka_writes() {
    check(
        &mut Node::new(static_voters(&[1])),
        "start\ntimer\npropose 9\npropose 1",
        "\
start
  epoch 1 is led by 1
  persist 1: state 1: term 1 vote 2 behind 0 at 0; quorum-state epoch 1 leader Some(1); new wal 1@1 0..0 2@1 0..1
  append 0..1 epoch 1 LeaderChange(1)
  became leader of 1
timer
  none
propose 9
  persist 2: wal 3@1 1..10
  append 1..10 epoch 1
propose 1
  persist 3: wal 4@1 10..11
  append 10..11 epoch 1
",
    );
}

#[test]
fn a_fresh_dynamic_node_brings_its_voters_into_the_log() {
    let mut node = Node::new(VoterSet::default());
    node.files.snapshot = Some(bootstrap_checkpoint(&[1]));
    check(
        &mut node,
        "start\ncrash\nstart",
        "\
start
  epoch 1 is led by 1
  persist 1: state 1: term 1 vote 2 behind 0 at 0; quorum-state epoch 1 leader Some(1); new wal 1@1 0..0 2@1 0..3
  append 0..3 epoch 1 LeaderChange(1) KRaftVersion(1) KRaftVoters(1)
  became leader of 1
crash
start
  epoch 2 is led by 1
  persist 1: state 1: term 2 vote 2 behind 0 at 0; quorum-state epoch 2 leader Some(1); wal 3@2 3..3 4@2 3..4
  append 3..4 epoch 2 LeaderChange(1)
  became leader of 2
",
    );
}

#[test]
fn proposals_that_wait_share_one_write() {
    check(
        &mut Node::new(static_voters(&[1])),
        "start\nhold\npropose 1\npropose 2\npropose 3\nrelease",
        "\
start
  epoch 1 is led by 1
  persist 1: state 1: term 1 vote 2 behind 0 at 0; quorum-state epoch 1 leader Some(1); new wal 1@1 0..0 2@1 0..1
  append 0..1 epoch 1 LeaderChange(1)
  became leader of 1
hold
propose 1
  persist 2: wal 3@1 1..2
propose 2
propose 3
release
  append 1..2 epoch 1
  persist 3: wal 4@1 2..4 5@1 4..7
  append 2..4 epoch 1
  append 4..7 epoch 1
",
    );
}

#[test]
fn nothing_is_served_before_the_epoch_has_begun() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("hold");
    check(
        &mut node,
        "start\npropose 1\nrelease\npropose 1",
        "\
start
  epoch 1 is led by 1
  persist 1: state 1: term 1 vote 2 behind 0 at 0; quorum-state epoch 1 leader Some(1); new wal 1@1 0..0 2@1 0..1
propose 1
  refused: not the leader of epoch 1
release
  append 0..1 epoch 1 LeaderChange(1)
  became leader of 1
propose 1
  persist 2: wal 3@1 1..2
  append 1..2 epoch 1
",
    );
}

#[test]
fn entries_that_the_log_lost_come_back_from_the_write_ahead_log() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\npropose 2\npropose 3\ncrash\nlose-log 1");
    check(
        &mut node,
        "start",
        "\
start
  epoch 2 is led by 1
  persist 1: state 1: term 2 vote 2 behind 0 at 0; quorum-state epoch 2 leader Some(1); wal 5@2 6..6 6@2 6..7
  append 1..3 epoch 1
  append 3..6 epoch 1
  append 6..7 epoch 2 LeaderChange(1)
  became leader of 2
",
    );
}

#[test]
fn a_torn_write_that_nobody_waited_for_is_cut_off() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\npropose 2\npropose 3\ncrash\nlose-log 2\ntear 5");
    check(
        &mut node,
        "start",
        "\
start
  epoch 2 is led by 1
  persist 1: state 1: term 2 vote 2 behind 0 at 0; quorum-state epoch 2 leader Some(1); new wal 1@1 0..0 2@1 0..1 3@1 1..3 4@2 3..3 5@2 3..4
  append 3..4 epoch 2 LeaderChange(1)
  became leader of 2
",
    );
}

#[test]
fn a_snapshot_outlives_the_batches_that_it_covers() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\npropose 2\npropose 3\nsnapshot\npropose 1\ncrash\nlose-log 1");
    check(
        &mut node,
        "start",
        "\
start
  InstallSnapshot(SnapshotId { end: Offset(6), epoch: LeaderEpoch(1) })
  epoch 2 is led by 1
  persist 1: state 1: term 2 vote 2 behind 0 at 0; quorum-state epoch 2 leader Some(1); wal 6@2 7..7 7@2 7..8
  append 6..7 epoch 1
  append 7..8 epoch 2 LeaderChange(1)
  became leader of 2
",
    );
}

#[test]
fn the_write_ahead_log_is_trimmed_once_the_log_is_synced() {
    let mut node = Node::new(static_voters(&[1]));
    node.config.trim_from = 600;
    check(
        &mut node,
        "start\npropose 50\npropose 1\ncrash\nstart",
        "\
start
  epoch 1 is led by 1
  persist 1: state 1: term 1 vote 2 behind 0 at 0; quorum-state epoch 1 leader Some(1); new wal 1@1 0..0 2@1 0..1
  append 0..1 epoch 1 LeaderChange(1)
  became leader of 1
propose 50
  persist 2: wal 3@1 1..51
  append 1..51 epoch 1
  sync the log up to 51
  persist 3: state 1: term 1 vote 2 behind 3 at 51; new wal
propose 1
  persist 4: wal 4@1 51..52
  append 51..52 epoch 1
crash
start
  epoch 2 is led by 1
  persist 1: state 1: term 2 vote 2 behind 3 at 51; quorum-state epoch 2 leader Some(1); wal 5@2 52..52 6@2 52..53
  append 52..53 epoch 2 LeaderChange(1)
  became leader of 2
",
    );
    node.run("crash\nlose-log 0");
    check(
        &mut node,
        "start",
        "\
start
  refused: the metadata log ends at offset 0, but had been synced up to 51
",
    );
}

#[test]
fn a_static_voter_becomes_dynamic_and_keeps_its_number() {
    let mut node = Node::new(static_voters(&[1]));
    check(
        &mut node,
        "start\nupgrade\nupgrade\ncrash\nstart",
        "\
start
  epoch 1 is led by 1
  persist 1: state 1: term 1 vote 2 behind 0 at 0; quorum-state epoch 1 leader Some(1); new wal 1@1 0..0 2@1 0..1
  append 0..1 epoch 1 LeaderChange(1)
  became leader of 1
upgrade
  Ok(())
  persist 2: wal 3@1 1..3
  append 1..3 epoch 1 KRaftVersion(1) KRaftVoters(1)
  voters 1-AAAAAAAAEAAAAAAAAAAAAQ at Dynamic
  VoterChangeDone(Ok(()))
  persist 3: state 1: term 1 vote 2 behind 0 at 0
upgrade
  Err(Static)
crash
start
  epoch 2 is led by 1
  persist 1: state 1: term 2 vote 2 behind 0 at 0; quorum-state epoch 2 leader Some(1); wal 4@2 3..3 5@2 3..4
  append 3..4 epoch 2 LeaderChange(1)
  became leader of 2
",
    );
}

#[test]
fn proposals_must_be_whole_data_batches_at_the_next_offset() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\npropose 1");
    let quorum = node.quorum.as_mut().unwrap();
    let (now, epoch) = (node.now, quorum.epoch());
    let mut refused =
        |bytes: &bytes::Bytes, epoch| quorum.propose(now, epoch, bytes).unwrap_err().to_string();
    let batch = crate::node::batch;
    assert_eq!(
        refused(&batch(Offset(1), 1), epoch),
        "the next offset is 2, the batch was built for 1"
    );
    assert_eq!(refused(&batch(Offset(2), 1), epoch.next()), "not the leader of epoch 2");
    let short = batch(Offset(2), 1);
    let short = short.slice(..short.len() - 1);
    assert!(refused(&short, epoch).starts_with("not a batch for the metadata log: "));
}
