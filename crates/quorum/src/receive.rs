//! Checks peers' messages before raft sees them.
//!
//! Raft trusts its peers and panics when one contradicts what is committed. Peers are
//! authenticated, but a bug, a wiped disk or another quorum's log must end in a refused message
//! and a log line, not in an abort. A message that names a snapshot is kept back until the
//! snapshot has been fetched.

use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use ottla_types::Offset;

use crate::control::ControlState;
use crate::entry::LogEntry;
use crate::ids::{RaftId, ReplicaKey};
use crate::io::Output;
use crate::peer::{PeerError, PeerMessage, PeerSnapshot};
use crate::quorum::Quorum;
use crate::snapshot::SnapshotId;

// Peers without a number of their own that are remembered.
const SEEN_MAX: usize = 64;

impl Quorum {
    pub(crate) fn receive_message(&mut self, message: &PeerMessage) -> Result<(), PeerError> {
        if message.cluster_id != self.config.cluster_id {
            return Err(PeerError::Cluster(message.cluster_id.clone()));
        }
        let from = RaftId::from_wire(message.from).ok_or(PeerError::Field("sender"))?;
        if message.to != self.own.to_wire() || from == self.own {
            return Err(PeerError::Receiver(format!("{:x}", message.to)));
        }
        if message.term == 0 || i32::try_from(message.term).is_err() {
            return Err(PeerError::Field("term"));
        }
        self.check_sender(from, message.sender()?)?;
        let raft_message = message.to_raft()?;
        match raft_message.get_msg_type() {
            MessageType::MsgAppend => self.check_entries(message)?,
            MessageType::MsgSnapshot => return self.snapshot_named(message, raft_message),
            MessageType::MsgHeartbeat => self.check_index(message.term, message.commit)?,
            MessageType::MsgAppendResponse if !message.reject => {
                self.check_index(message.term, message.index)?;
            }
            MessageType::MsgRequestVoteResponse => self.note_vote(from, message),
            MessageType::MsgTimeoutNow if self.installs() => return Ok(()),
            _ => {}
        }
        let answers = matches!(
            raft_message.get_msg_type(),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
        );
        // What raft reports here is a peer that it does not know: nothing to do.
        let known = self.raw.step(raft_message).is_ok();
        if answers && known {
            self.peer_answered(from);
        }
        Ok(())
    }

    // A number belongs to one disk for good.
    fn check_sender(&mut self, from: RaftId, sender: ReplicaKey) -> Result<(), PeerError> {
        if let Some(known) = self.state.ids.key(from) {
            if !known.matches(sender) {
                let text = format!("{from:?} is {known}, but {sender} speaks");
                return Err(PeerError::Contradiction(text));
            }
        } else if self.seen.len() < SEEN_MAX || self.seen.contains_key(&from) {
            self.seen.insert(from, sender);
        }
        Ok(())
    }

    /// The replica with this number, from the state file or from its messages.
    pub(crate) fn peer_key(&self, id: RaftId) -> Option<ReplicaKey> {
        self.state.ids.key(id).or_else(|| self.seen.get(&id).copied())
    }

    fn note_vote(&mut self, from: RaftId, message: &PeerMessage) {
        if self.granted.0 != message.term {
            self.granted = (message.term, [from].into());
        } else {
            self.granted.1.insert(from);
        }
        if message.reject {
            self.granted.1.remove(&from);
        }
    }

    // An index that a peer says it has, or that is committed, must exist here if its term is ours.
    fn check_index(&self, term: u64, index: u64) -> Result<(), PeerError> {
        let last = self.raw.raft.raft_log.last_index();
        if term < self.raw.raft.term || index <= last {
            return Ok(());
        }
        Err(PeerError::Contradiction(format!("entry {index} is beyond the last one, {last}")))
    }

    fn check_entries(&self, message: &PeerMessage) -> Result<(), PeerError> {
        let contradiction = |text: String| Err(PeerError::Contradiction(text));
        if (message.index == 0) != (message.log_term == 0) {
            // To raft, an entry that does not exist has term 0.
            return Err(PeerError::Field("entry term"));
        }
        let mut index = message.index;
        let mut term = message.log_term;
        // Where the log ends before the first entry, unless raft will refuse them anyway.
        let mut end = self.end_after(message.index, message.log_term);
        for entry in &message.entries {
            if entry.index != index + 1 || entry.term < term || entry.term > message.term {
                return contradiction(format!("entry {} does not follow {index}", entry.index));
            }
            (index, term) = (entry.index, entry.term);
            let kind = entry.entry_kind()?;
            let Some(base) = end else { continue };
            let placed = LogEntry::place((index, term), base, kind, entry.batch.clone());
            let placed = placed.map_err(|e| PeerError::Contradiction(e.to_string()))?;
            check_control(&placed)?;
            end = Some(placed.end);
        }
        Ok(())
    }

    // Offset after an entry that raft has, in whatever stage it is.
    fn end_after(&self, index: u64, term: u64) -> Option<Offset> {
        let log = &self.raw.raft.raft_log;
        if log.unstable.snapshot.is_some() || !log.match_term(index, term) {
            return None;
        }
        let stable = log.unstable.offset - 1;
        let mut end = self.raw.store().end_at(index.min(stable))?;
        for entry in log.unstable_entries().iter().take_while(|entry| entry.index <= index) {
            end = LogEntry::from_raft(entry, end).ok()?.end;
        }
        Some(end)
    }

    fn snapshot_named(&mut self, message: &PeerMessage, raft: Message) -> Result<(), PeerError> {
        let named = message.snapshot.as_ref().ok_or(PeerError::Field("snapshot"))?;
        let id = named.id()?;
        named.table()?;
        if named.voters.is_empty() || named.term == 0 || named.term > message.term {
            return Err(PeerError::Field("snapshot"));
        }
        let log = &self.raw.raft.raft_log;
        if named.index == log.committed && !log.match_term(named.index, named.term) {
            let text = format!("entry {} is committed in another term", named.index);
            return Err(PeerError::Contradiction(text));
        }
        let old = message.term < self.raw.raft.term || named.index <= log.committed;
        if old || log.match_term(named.index, named.term) {
            // Raft only answers; it needs no snapshot.
            let _ = self.raw.step(raft);
            return Ok(());
        }
        // The leader lives, which is all that raft is told for now. It is not answered: the leader
        // would name the snapshot again at once, and for ever.
        let raft_core = &mut self.raw.raft;
        if raft.term > raft_core.term || raft_core.state != StateRole::Follower {
            raft_core.become_follower(raft.term, raft.from);
        }
        raft_core.leader_id = raft.from;
        raft_core.election_elapsed = 0;
        if log_busy(self) {
            return Ok(());
        }
        let leader = message.sender()?;
        if let Some((fetched, control)) = self.fetched.clone().filter(|(have, _)| *have == id) {
            return self.start_install(fetched, control, raft, named);
        }
        let known = self.fetch.as_ref().is_some_and(|(wanted, ..)| *wanted == id);
        self.fetch = Some((id, raft, named.clone()));
        if !known {
            self.outputs.push_back(Output::FetchSnapshot { from: leader, id });
        }
        Ok(())
    }

    pub(crate) fn snapshot_fetched(
        &mut self,
        id: SnapshotId,
        control: ControlState,
    ) -> Result<(), PeerError> {
        let wanted = self.fetch.take_if(|(wanted, ..)| *wanted == id);
        self.fetched = Some((id, control.clone()));
        let Some((_, message, named)) = wanted else { return Ok(()) };
        if log_busy(self) {
            return Ok(());
        }
        self.start_install(id, control, message, &named)
    }

    fn start_install(
        &mut self,
        id: SnapshotId,
        control: ControlState,
        message: Message,
        named: &PeerSnapshot,
    ) -> Result<(), PeerError> {
        self.fetch = None;
        for (raft_id, key) in named.table()?.pairs() {
            match self.state.ids.key(raft_id) {
                Some(known) if !known.matches(key) => {
                    let text = format!("{raft_id:?} is {known}, not {key}");
                    return Err(PeerError::Contradiction(text));
                }
                _ => self.dirty.state |= self.state.ids.learn(raft_id, key),
            }
        }
        let log = &self.raw.raft.raft_log;
        let stale = message.term < self.raw.raft.term;
        if stale || named.index <= log.committed || log.match_term(named.index, named.term) {
            return Ok(());
        }
        let _ = self.raw.step(message);
        if self.raw.raft.raft_log.unstable.snapshot.is_some() {
            self.installing = Some((id, control));
        }
        Ok(())
    }
}

// Whether raft is already about to install a snapshot.
fn log_busy(quorum: &Quorum) -> bool {
    quorum.raw.raft.raft_log.unstable.snapshot.is_some()
}

// Control records are read again when they are applied, where a fault would be ours.
fn check_control(entry: &LogEntry) -> Result<(), PeerError> {
    if entry.batch.is_empty() {
        return Ok(());
    }
    let batch = ottla_record::Batch::parse(entry.batch.clone());
    let read = batch.map_err(Into::into).and_then(|batch| crate::control::read_control(&batch));
    read.map(|_| ()).map_err(|error| PeerError::Contradiction(error.to_string()))
}
