//! A directory that goes from Ottla to Kafka in Java and back (one voter).

use crate::node::{Node, batch, static_voters};
use bytes::Bytes;
use ottla_quorum::SnapshotId;
use ottla_types::{LeaderEpoch, Offset};

#[track_caller]
fn check(node: &mut Node, script: &str, expected: &str) {
    let got = node.run(script);
    assert!(got == expected, "got\n{got}\nexpected\n{expected}");
}

// What Java leaves behind: an election in `epoch`, and perhaps a batch.
fn java_ran(node: &mut Node, epoch: u32, appended: bool) {
    let text = format!(
        "{{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":{epoch},\"votedId\":-1,\
         \"appliedOffset\":0,\"currentVoters\":[{{\"voterId\":1}}],\"data_version\":0}}"
    );
    node.files.quorum_state = Some(text.into());
    if appended {
        let mut bytes = batch(node.files.disk().log.end, 5).to_vec();
        bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
        node.files.log.push(Bytes::from(bytes));
    }
}

#[test]
fn a_directory_that_java_formatted_and_wrote_is_adopted() {
    let mut node = Node::new(static_voters(&[1]));
    java_ran(&mut node, 4, true);
    check(
        &mut node,
        "start\ncrash\nstart",
        "\
start
  sync the log up to 5
  epoch 5 is led by 1
  persist 1: state 1: term 5 vote 2 behind 5 at 5; quorum-state epoch 5 leader Some(1); new wal 6@5 5..5 7@5 5..6
  append 5..6 epoch 5 LeaderChange(1)
  became leader of 5
crash
start
  epoch 6 is led by 1
  persist 1: state 1: term 6 vote 2 behind 5 at 5; quorum-state epoch 6 leader Some(1); wal 8@6 6..6 9@6 6..7
  append 6..7 epoch 6 LeaderChange(1)
  became leader of 6
",
    );
}

#[test]
fn a_directory_comes_back_from_java() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\npropose 2\ncrash");
    java_ran(&mut node, 2, true);
    check(
        &mut node,
        "start",
        "\
start
  sync the log up to 8
  epoch 3 is led by 1
  persist 1: state 2: term 3 vote 2 behind 8 at 8; quorum-state epoch 3 leader Some(1); new wal 9@3 8..8 10@3 8..9
  append 8..9 epoch 3 LeaderChange(1)
  became leader of 3
",
    );
}

#[test]
fn an_election_without_a_batch_is_writing_too() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\npropose 2\ncrash");
    java_ran(&mut node, 7, false);
    let got = node.run("start");
    assert!(got.contains("epoch 8 is led by 1"), "{got}");
    assert!(got.contains("state 2: term 8"), "{got}");
}

#[test]
fn only_a_sole_voter_adopts() {
    let mut node = Node::new(static_voters(&[1, 2, 3]));
    java_ran(&mut node, 4, true);
    check(
        &mut node,
        "start",
        "\
start
  refused: the metadata log was written by another implementation since (there is no ottla-quorum.state), and only a quorum of one voter can be taken over
",
    );
}

#[test]
fn a_write_ahead_log_without_its_state_is_refused() {
    let mut node = Node::new(static_voters(&[1]));
    node.run("start\ncrash");
    node.files.state = None;
    let refused = "start\n  refused: ottla-quorum.wal exists without its ottla-quorum.state\n";
    check(&mut node, "start", refused);
}

#[test]
fn java_may_have_cut_the_log_behind_a_snapshot() {
    let mut node = Node::new(static_voters(&[1]));
    let id = SnapshotId { end: Offset(40), epoch: LeaderEpoch(3) };
    let control = ottla_quorum::ControlState::default();
    let now = node.now.wall;
    let builder = ottla_quorum::SnapshotBuilder::new(id, now, ottla_types::Timestamp(0), &control);
    node.files.snapshot = Some((id, builder.finish()));
    check(
        &mut node,
        "start",
        "\
start
  InstallSnapshot(SnapshotId { end: Offset(40), epoch: LeaderEpoch(3) })
  sync the log up to 40
  epoch 4 is led by 1
  persist 1: state 1: term 4 vote 2 behind 40 at 40; quorum-state epoch 4 leader Some(1); new wal 41@4 40..40 42@4 40..41
  append 40..41 epoch 4 LeaderChange(1)
  became leader of 4
",
    );
}
