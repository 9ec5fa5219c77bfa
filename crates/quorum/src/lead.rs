//! What only a leader does: begin its epoch, propose, change voters, watch its peers.
//!
//! Only the leader proposes, because base offset and broker epochs are inside the batches; a
//! proposal that raft drops gives its offsets back. One change of voters is on its way at a time.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ottla_record::format::LEADER_EPOCH_AT;
use ottla_record::{Batch, ControlType};
use ottla_types::{LeaderEpoch, MonoTime, NodeId, Offset};
use raft::StateRole;
use raft::eraftpb::{ConfChange, ConfChangeType};

use crate::control::{ControlBatch, EpochStart};
use crate::entry::{EntryKind, LogEntry, epoch_of};
use crate::ids::{RaftId, ReplicaKey};
use crate::io::{Output, ProposeError, VoterChange, VoterChangeError};
use crate::quorum::Quorum;
use crate::voters::{KRaftVersion, Voter, VoterSet};

// How long a joiner may take to catch up, in ticks (20 to the fetch timeout).
const CATCH_UP_TICKS: u32 = 600;

/// A leader's state.
#[derive(Debug)]
pub(crate) struct Leading {
    pub(crate) epoch: LeaderEpoch,
    /// Where the next proposal goes.
    pub(crate) next: Offset,
    stage: Stage,
    change: Option<Change>,
    pub(crate) peers: BTreeMap<RaftId, PeerProgress>,
}

/// | from | event | to |
/// |---|---|---|
/// | `Starting` | the start of the epoch is applied | `Serving` |
/// | any | raft steps down, or this node's removal is applied | (no longer leading) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The start of the epoch is proposed; nothing else may be.
    Starting,
    /// Proposals are taken.
    Serving,
}

/// | from | event | to |
/// |---|---|---|
/// | (none) | asked to add | `CatchingUp` |
/// | (none) | asked for anything else | `Committing` |
/// | `CatchingUp` | the joiner has what the log had | `Committing` |
/// | `CatchingUp` | too many ticks | (none), failed |
/// | `Committing` | its batch is applied | (none), done |
#[derive(Debug)]
enum Change {
    /// The joiner is a learner that only this leader knows of; that needs no entry.
    CatchingUp { voter: Voter, id: RaftId, target: u64, ticks_left: u32 },
    /// The batch of voters that ends there is proposed.
    Committing { end: Offset },
}

/// What is known of one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerProgress {
    pub(crate) last_answer: MonoTime,
    pub(crate) last_caught_up: Option<MonoTime>,
}

impl Quorum {
    /// Offset that the next proposal gets, if this node leads and may propose.
    pub fn next_offset(&self) -> Option<Offset> {
        let serving = self.leading.as_ref().filter(|leading| leading.stage == Stage::Serving);
        serving.map(|leading| leading.next)
    }

    /// Proposes one batch of records, built for [`Quorum::next_offset`]; returns the offset after
    /// its last record. The leader epoch in the batch is filled in here.
    ///
    /// Once the batch is committed it comes back as [`Output::Append`]. If leadership is lost
    /// first ([`Output::LostLeadership`]), it may be committed by the next leader, or not.
    ///
    /// # Errors
    /// The batch was not proposed.
    pub fn propose(
        &mut self,
        now: crate::Now,
        epoch: LeaderEpoch,
        batch: &Bytes,
    ) -> Result<Offset, ProposeError> {
        self.now = now;
        let expected = self.next_offset();
        let expected = expected.filter(|_| epoch == self.epoch());
        let expected = expected.ok_or(ProposeError::NotLeader { epoch })?;
        let parsed = Batch::parse_checked(batch.clone());
        let parsed = parsed.map_err(|error| ProposeError::Batch(error.to_string()))?;
        let header = *parsed.header();
        if header.attributes.is_control() || header.record_count == 0 {
            return Err(ProposeError::Batch("it has control records, or none".to_owned()));
        }
        if header.record_count != header.last_offset_delta + 1 {
            return Err(ProposeError::Batch("its offsets have gaps".to_owned()));
        }
        let got = header.base_offset;
        if got != expected {
            return Err(ProposeError::Offset { expected, got });
        }
        self.propose_batch(EntryKind::Batch, batch, header.next_offset())
            .map_err(|()| ProposeError::Full)?;
        Ok(header.next_offset())
    }

    fn propose_batch(&mut self, kind: EntryKind, batch: &Bytes, end: Offset) -> Result<(), ()> {
        let epoch = self.epoch();
        let batch = with_epoch(batch, epoch);
        let proposed = match kind {
            EntryKind::Empty => unreachable!("only raft makes empty entries"),
            EntryKind::Batch => self.raw.propose(Vec::new(), batch),
            EntryKind::AddVoter(id) => {
                self.raw.propose_conf_change(batch, single(ConfChangeType::AddNode, id))
            }
            EntryKind::RemoveVoter(id) => {
                self.raw.propose_conf_change(batch, single(ConfChangeType::RemoveNode, id))
            }
        };
        // Only now are the offsets taken.
        proposed.map_err(|_| ())?;
        let leading = self.leading.as_mut().expect("only a leader proposes");
        leading.next = end;
        Ok(())
    }

    pub(crate) fn start_leading(&mut self) {
        let epoch = self.epoch();
        // A node becomes leader only with its whole log on disk, and the one entry that raft adds
        // itself is empty.
        let at = self.raw.store().end();
        let stage = Stage::Starting;
        self.leading =
            Some(Leading { epoch, next: at, stage, change: None, peers: BTreeMap::new() });
        let (term, granted) = &self.granted;
        let granted = granted.iter().filter(|_| *term == u64::from(epoch.0));
        let mut granting: Vec<NodeId> =
            granted.filter_map(|id| self.state.ids.key(*id)).map(|key| key.node).collect();
        granting.push(self.config.own.node);
        granting.sort_unstable();
        granting.dedup();
        let own = Voter::new(self.config.own, self.config.endpoints.clone());
        let rewritten = self.rewritten_voters(own);
        let start = EpochStart {
            at,
            epoch,
            now: self.now.wall,
            leader: self.config.own.node,
            voters: &self.voters,
            granting: &granting,
            rewritten: rewritten.as_ref().map(|voters| (KRaftVersion::Dynamic, voters)),
        };
        let batch = start.build();
        let end = at.plus(if rewritten.is_some() { 3 } else { 1 });
        self.propose_batch(EntryKind::Batch, &batch, end).expect("nothing else is proposed yet");
    }

    // Voters go into the start of an epoch if they stand only in the bootstrap checkpoint, which
    // no observer reads, or if this node listens elsewhere now.
    fn rewritten_voters(&self, own: Voter) -> Option<VoterSet> {
        if self.control.kraft_version == KRaftVersion::Static {
            return None;
        }
        let current = self.voters.get(own.key.node).filter(|voter| voter.key == own.key);
        let moved = current.is_some_and(|voter| *voter != own) && !own.endpoints.is_empty();
        if self.control.in_log && !moved {
            return None;
        }
        if moved { self.voters.updated(own) } else { Some(self.voters.clone()) }
    }

    pub(crate) fn stop_leading(&mut self) {
        let leading = self.leading.take().expect("it was leading");
        if leading.stage == Stage::Serving {
            self.outputs.push_back(Output::LostLeadership { epoch: leading.epoch });
        }
        if leading.change.is_some() {
            self.done(Err(VoterChangeError::NotLeader));
        }
        self.set_conf_state();
    }

    /// Reacts to an entry that was just applied.
    pub(crate) fn applied(&mut self, entry: &LogEntry) {
        let Some(leading) = &mut self.leading else { return };
        if epoch_of(entry.term) != leading.epoch {
            return;
        }
        if leading.stage == Stage::Starting && !entry.batch.is_empty() {
            leading.stage = Stage::Serving;
            self.outputs.push_back(Output::BecameLeader { epoch: leading.epoch });
            return;
        }
        if matches!(leading.change, Some(Change::Committing { end }) if end == entry.end) {
            leading.change = None;
            self.done(Ok(()));
        }
        if !self.voters.is_voter(self.config.own) {
            // Raft would go on leading a quorum that this node is no part of; Kafka does not.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, 0);
            self.stop_leading();
        }
    }

    /// Asks for a change of voters; if it is taken on, [`Output::VoterChangeDone`] follows.
    ///
    /// # Errors
    /// It was not taken on.
    pub fn change_voters(
        &mut self,
        now: crate::Now,
        change: VoterChange,
    ) -> Result<(), VoterChangeError> {
        self.now = now;
        let serving = self.leading.as_ref().filter(|leading| leading.stage == Stage::Serving);
        let leading = serving.ok_or(VoterChangeError::NotLeader)?;
        if leading.change.is_some() || self.raw.raft.has_pending_conf() {
            return Err(VoterChangeError::Busy);
        }
        let dynamic = self.control.kraft_version == KRaftVersion::Dynamic;
        if dynamic == matches!(change, VoterChange::Upgrade(_)) {
            return Err(VoterChangeError::Static);
        }
        let result = match change {
            VoterChange::Add(voter) => self.add_voter(voter),
            VoterChange::Remove(key) => self.remove_voter(key),
            VoterChange::Update(voter) => {
                supports(&voter)?;
                let key = voter.key;
                let voters = self.voters.updated(voter);
                self.commit_voters(EntryKind::Batch, voters.ok_or(VoterChangeError::NotFound(key))?)
            }
            VoterChange::Upgrade(voters) => self.upgrade(&voters),
        };
        self.note_role();
        result
    }

    fn add_voter(&mut self, voter: Voter) -> Result<(), VoterChangeError> {
        supports(&voter)?;
        let node = voter.key.node;
        if self.voters.get(node).is_some() {
            return Err(VoterChangeError::Duplicate(node));
        }
        let id = voter.key.directory.and_then(|_| self.state.ids.number_for(voter.key));
        let id = id.ok_or(VoterChangeError::NotFound(voter.key))?;
        self.seen.insert(id, voter.key);
        self.conf_change(ConfChangeType::AddLearnerNode, id.to_wire());
        let target = self.raw.raft.raft_log.last_index();
        let ticks_left = CATCH_UP_TICKS;
        let leading = self.leading.as_mut().expect("only a leader adds voters");
        leading.change = Some(Change::CatchingUp { voter, id, target, ticks_left });
        Ok(())
    }

    fn remove_voter(&mut self, key: ReplicaKey) -> Result<(), VoterChangeError> {
        let voters = self.voters.without(key).ok_or(VoterChangeError::NotFound(key))?;
        if voters.is_empty() {
            return Err(VoterChangeError::LastVoter);
        }
        let id = self.state.ids.find(key).ok_or(VoterChangeError::NotFound(key))?;
        self.commit_voters(EntryKind::RemoveVoter(id), voters)
    }

    fn upgrade(&mut self, voters: &VoterSet) -> Result<(), VoterChangeError> {
        for voter in voters.iter() {
            supports(voter)?;
        }
        let nodes = |set: &VoterSet| set.keys().map(|key| key.node).collect::<Vec<_>>();
        if nodes(voters) != nodes(&self.voters) {
            let odd = voters.keys().find(|key| !self.voters.is_voter(*key));
            return Err(VoterChangeError::NotFound(odd.unwrap_or(self.config.own)));
        }
        self.commit_voters(EntryKind::Batch, voters.clone())
    }

    fn commit_voters(&mut self, kind: EntryKind, voters: VoterSet) -> Result<(), VoterChangeError> {
        let leading = self.leading.as_mut().expect("only a leader changes voters");
        let at = leading.next;
        let mut batch = ControlBatch::new(at, leading.epoch, self.now.wall);
        let end = if self.control.kraft_version == KRaftVersion::Static {
            batch.push_voters(KRaftVersion::Dynamic, &voters);
            at.plus(2)
        } else {
            batch.push(ControlType::KraftVoters, &voters.to_record());
            at.next()
        };
        leading.change = Some(Change::Committing { end });
        let proposed = self.propose_batch(kind, &batch.build(), end);
        if proposed.is_err() {
            self.leading.as_mut().expect("still leading").change = None;
            return Err(VoterChangeError::Busy);
        }
        Ok(())
    }

    fn done(&mut self, result: Result<(), VoterChangeError>) {
        self.outputs.push_back(Output::VoterChangeDone(result));
    }

    /// Notes that a peer answered, and lets a joiner that caught up vote.
    pub(crate) fn peer_answered(&mut self, id: RaftId) {
        let matched = self.raw.raft.prs().get(id.to_wire()).map(|progress| progress.matched);
        let last = self.raw.raft.raft_log.last_index();
        let now = self.now.mono;
        let Some((leading, matched)) = self.leading.as_mut().zip(matched) else { return };
        let progress = leading
            .peers
            .entry(id)
            .or_insert(PeerProgress { last_answer: now, last_caught_up: None });
        progress.last_answer = now;
        if matched == last {
            progress.last_caught_up = Some(now);
        }
        let joined = match &leading.change {
            Some(Change::CatchingUp { voter, id: joiner, target, .. })
                if *joiner == id && matched >= *target =>
            {
                voter.clone()
            }
            _ => return,
        };
        let voters = self.voters.with(joined).expect("nobody took the node id meanwhile");
        if self.commit_voters(EntryKind::AddVoter(id), voters).is_err() {
            self.done(Err(VoterChangeError::Busy));
        }
    }

    pub(crate) fn tick_leader(&mut self) {
        let Some(leading) = &mut self.leading else { return };
        let Some(Change::CatchingUp { ticks_left, voter, id, .. }) = &mut leading.change else {
            return;
        };
        *ticks_left -= 1;
        if *ticks_left == 0 {
            let (node, id) = (voter.key.node, id.to_wire());
            leading.change = None;
            self.done(Err(VoterChangeError::Timeout(node)));
            self.conf_change(ConfChangeType::RemoveNode, id);
        }
    }

    /// Hands leadership to the voter with the longest log, as before a shutdown; returns whether
    /// there is one.
    pub fn resign(&mut self, now: crate::Now) -> bool {
        self.now = now;
        let best = self.raw.raft.prs().iter();
        let others = best.filter(|(id, _)| **id != self.own.to_wire());
        let voters = others.filter(|(id, _)| self.raw.raft.prs().conf().voters().contains(**id));
        let best = voters.max_by_key(|(id, progress)| (progress.matched, **id));
        let Some(best) = best.map(|(id, _)| *id) else { return false };
        if self.raw.raft.state == StateRole::Leader {
            self.raw.transfer_leader(best);
        }
        self.note_role();
        self.leading.is_some()
    }

    /// The last entry that every peer has; `None` without peers.
    pub(crate) fn slowest_peer(&self) -> Option<u64> {
        self.leading.as_ref()?;
        let peers = self.raw.raft.prs().iter().filter(|(id, _)| **id != self.own.to_wire());
        peers.map(|(_, progress)| progress.matched).min()
    }
}

fn supports(voter: &Voter) -> Result<(), VoterChangeError> {
    let (min, max) = voter.kraft_versions;
    let dynamic = KRaftVersion::Dynamic.level();
    if (min..=max).contains(&dynamic) {
        Ok(())
    } else {
        Err(VoterChangeError::Unsupported(voter.key.node))
    }
}

fn single(kind: ConfChangeType, id: RaftId) -> ConfChange {
    let mut change = ConfChange { node_id: id.to_wire(), ..ConfChange::default() };
    change.set_change_type(kind);
    change
}

// The epoch is not covered by the checksum.
fn with_epoch(batch: &Bytes, epoch: LeaderEpoch) -> Vec<u8> {
    let mut bytes = BytesMut::from(&batch[..]);
    let epoch = epoch.to_wire().to_be_bytes();
    let slot = bytes.get_mut(LEADER_EPOCH_AT..LEADER_EPOCH_AT + epoch.len());
    slot.expect("a batch has a header").copy_from_slice(&epoch);
    bytes.into()
}
