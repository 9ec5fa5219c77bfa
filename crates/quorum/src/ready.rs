//! From raft's `Ready` to writes, messages and appends, in an order that survives a crash.
//!
//! At most one set of writes is on its way to the disk; what arrives meanwhile joins the next
//! one, so that many proposals share one sync. Raft's asynchronous mode is used: a follower's
//! messages wait for the writes they promise, a leader's do not need to.

use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Ready, SnapshotStatus};

use crate::entry::{EntryKind, LogEntry, epoch_of};
use crate::ids::{IdTable, RaftId};
use crate::io::{Committed, FileWrite, Output, PersistNumber};
use crate::peer::{PeerId, PeerMessage, PeerSnapshot};
use crate::quorum::Quorum;
use crate::quorum_state::QuorumState;
use crate::snapshot::SnapshotId;
use crate::state_file::LogPoint;
use crate::store::StoredSnapshot;
use crate::wal::{encode_wal_header, encode_wal_write};
use prost::Message as _;

/// Writes on their way to the disk.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) persist: PersistNumber,
    pub(crate) ready: Option<u64>,
    /// Index of the snapshot that is being installed, if one is.
    pub(crate) installs: Option<u64>,
    /// Messages that promise what is being written.
    pub(crate) held: Vec<Message>,
}

impl Quorum {
    /// Lets raft go one step further; returns whether there was one to go.
    pub(crate) fn advance(&mut self) -> bool {
        if self.in_flight.is_some() {
            return false;
        }
        if !self.raw.has_ready() {
            let dirty = self.dirty.state || self.dirty.wal;
            if dirty {
                self.write(None, Vec::new(), &[]);
            }
            return dirty;
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        let installed = self.install(&ready);
        let entries = self.place(ready.take_entries());
        if let Some(hard_state) = ready.hs() {
            let vote = RaftId::from_wire(hard_state.vote);
            if (self.state.term, self.state.vote) != (hard_state.term, vote) {
                self.state.term = hard_state.term;
                self.state.vote = vote;
                self.dirty.state = true;
            }
        }
        let messages = ready.take_messages();
        let held = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.raw.advance_append_async(ready);
        if installed.is_some() {
            self.set_conf_state();
        }
        self.apply(&committed);
        self.send_all(messages);
        self.write(Some(number), held, &entries);
        self.outputs.extend(installed.map(Output::InstallSnapshot));
        self.ask_for_snapshot();
        true
    }

    // The order of the writes matters: our own state first, because `quorum-state` must never be
    // newer than it (that would look like Java's writing); `quorum-state` before any entry of its
    // epoch can reach the metadata log; a new write-ahead log only after the state that makes the
    // old one void or superfluous.
    fn write(&mut self, ready: Option<u64>, held: Vec<Message>, entries: &[LogEntry]) {
        let mut writes = Vec::new();
        if std::mem::take(&mut self.dirty.state) {
            writes.push(FileWrite::State(self.state.encode()));
        }
        if let Some(changed) = self.changed_quorum_state() {
            let text = changed.render(self.control.kraft_version);
            writes.push(FileWrite::QuorumState(text.into_bytes().into()));
            self.quorum_state = Some(changed);
        }
        if std::mem::take(&mut self.dirty.wal) {
            self.last_write += 1;
            let all: Vec<LogEntry> = self.raw.store().entries().cloned().collect();
            let body = encode_wal_write(self.last_write, &all);
            self.wal_bytes = body.len();
            let header = encode_wal_header(self.state.generation);
            writes.push(FileWrite::NewWal([header, body].concat().into()));
        } else if !entries.is_empty() {
            self.last_write += 1;
            let body = encode_wal_write(self.last_write, entries);
            self.wal_bytes += body.len();
            writes.push(FileWrite::Wal(body));
        }
        if writes.is_empty() {
            if let Some(ready) = ready {
                self.raw.on_persist_ready(ready);
            }
            self.send_all(held);
            return;
        }
        let persist = self.push_persist(writes);
        let installs = self.raw.raft.raft_log.applied < self.state.trimmed.index;
        let installs = installs.then_some(self.state.trimmed.index);
        self.in_flight = Some(InFlight { persist, ready, installs, held });
    }

    fn changed_quorum_state(&self) -> Option<QuorumState> {
        let raft = &self.raw.raft;
        if self.state.term == 0 {
            return None;
        }
        let leader = RaftId::from_wire(raft.leader_id).and_then(|id| self.state.ids.key(id));
        let voted = self.state.vote.and_then(|id| self.state.ids.key(id));
        let epoch = epoch_of(self.state.term);
        // As in Kafka, a leader's own vote is not worth mentioning.
        let voted = voted.filter(|_| raft.leader_id != self.own.to_wire());
        let leader = leader.map(|key| key.node).filter(|_| raft.term == self.state.term);
        let voters = self.voters.keys().map(|key| key.node).collect();
        let current = QuorumState { epoch, leader, voted, voters };
        (self.quorum_state.as_ref() != Some(&current)).then_some(current)
    }

    // Entries that raft wants written get their place among the offsets.
    fn place(&mut self, entries: Vec<Entry>) -> Vec<LogEntry> {
        let mut placed = Vec::with_capacity(entries.len());
        for entry in entries {
            let store = self.raw.mut_store();
            let base = store.end_at(entry.index - 1).expect("entries follow one another");
            // Checked when it was proposed or received, so this is a fault of ours.
            let entry = LogEntry::from_raft(&entry, base).expect("entries were checked");
            store.place(entry.clone());
            placed.push(entry);
        }
        placed
    }

    fn apply(&mut self, committed: &[Entry]) {
        for entry in committed {
            let entry = self.raw.store().entry(entry.index).cloned();
            let entry = entry.expect("committed entries are in the store");
            if !entry.batch.is_empty() {
                self.append(&entry);
            }
            self.raw.advance_apply_to(entry.index);
            self.applied(&entry);
        }
        self.want_sync();
    }

    fn append(&mut self, entry: &LogEntry) {
        // The offset was assigned by the leader that proposed the batch, maybe long ago.
        assert_eq!(entry.base, self.log_end, "a committed batch does not continue the log");
        self.log_end = entry.end;
        let parsed = ottla_record::Batch::parse(entry.batch.clone());
        let batch = parsed.expect("the batch was checked when it was placed");
        let control = batch.header().attributes.is_control();
        self.outputs.push_back(Output::Append(Committed {
            base: entry.base,
            end: entry.end,
            epoch: entry.epoch(),
            control,
            batch: entry.batch.clone(),
        }));
        if !control {
            return;
        }
        let before = (self.control.kraft_version, self.control.voters.clone());
        // Control records of ours can be read; those of a later version would have been refused.
        self.control.observe(&batch).expect("control records were checked");
        if before != (self.control.kraft_version, self.control.voters.clone()) {
            self.voters_changed(entry);
        }
    }

    fn voters_changed(&mut self, entry: &LogEntry) {
        let Some(voters) = self.control.voters.clone() else { return };
        if let EntryKind::AddVoter(id) = entry.kind {
            let added = voters.keys().find(|key| !self.voters.is_voter(*key));
            self.dirty.state |= added.is_some_and(|key| self.state.ids.learn(id, key));
        }
        for key in voters.keys() {
            // A quorum that becomes dynamic tells its directory ids now, and to a joiner the first
            // voters are new; whoever joined later was in an entry of its own.
            let id = self.state.ids.find(key).unwrap_or_else(|| IdTable::initial_number(key.node));
            self.dirty.state |= self.state.ids.learn(id, key);
        }
        self.voters = voters;
        self.history.insert(entry.index, self.voters.clone());
        self.set_conf_state();
        self.outputs.push_back(Output::VotersChanged {
            voters: self.voters.clone(),
            kraft_version: self.control.kraft_version,
        });
    }

    fn want_sync(&mut self) {
        let trimmable = self.log_end > self.raw.store().trimmed().end;
        if self.wal_bytes >= self.config.trim_from && trimmable && !self.syncing {
            self.syncing = true;
            self.outputs.push_back(Output::SyncLog(self.log_end));
        }
    }

    /// The metadata log is safe up to `end`, so the write-ahead log need not hold it any more.
    pub(crate) fn log_synced(&mut self, end: ottla_types::Offset) {
        self.syncing = false;
        assert!(end <= self.log_end, "more was synced than appended");
        let applied = self.raw.raft.raft_log.applied;
        let store = self.raw.store();
        let synced = |entry: &&LogEntry| entry.index <= applied && entry.end <= end;
        let safe = store.entries().take_while(synced).last().map(|entry| entry.index);
        let Some(safe) = safe else { return };
        let lagging = self.slowest_peer().unwrap_or(safe);
        let kept: usize = store.entries().map(|entry| entry.batch.len()).sum();
        let to = if kept <= self.config.keep_for_peers { safe.min(lagging) } else { safe };
        if to > store.trimmed().index {
            self.raw.mut_store().trim(to);
            self.state.trimmed = self.raw.store().trimmed();
            self.forget_history();
            self.dirty.state = true;
            self.dirty.wal = true;
        }
    }

    // Keeps the voters as of the trimmed point and everything newer.
    fn forget_history(&mut self) {
        let trimmed = self.state.trimmed.index;
        if let Some((&newest, _)) = self.history.range(..=trimmed).next_back() {
            self.history = self.history.split_off(&newest);
        }
    }

    pub(crate) fn snapshot_written(&mut self, id: SnapshotId) {
        self.snapshot_asked = false;
        let Some(point) = self.raw.store().point_at(id.end) else { return };
        let voters = self.history.range(..=point.index).next_back().map(|(_, set)| set);
        let ids = voters.into_iter().flat_map(|set| set.keys());
        let voters = ids.filter_map(|key| self.state.ids.find(key)).collect();
        self.raw.mut_store().note_snapshot(StoredSnapshot { point, id, voters });
    }

    fn ask_for_snapshot(&mut self) {
        if self.raw.store().take_snapshot_wanted() && !self.snapshot_asked {
            self.snapshot_asked = true;
            self.outputs.push_back(Output::SnapshotNeeded);
        }
    }

    // The snapshot that raft wants is complete on disk; what remains is to start over behind it.
    fn install(&mut self, ready: &Ready) -> Option<SnapshotId> {
        if ready.snapshot().is_empty() {
            return None;
        }
        let (id, control) = self.installing.take().expect("raft was given this snapshot");
        let metadata = ready.snapshot().get_metadata();
        let voters = metadata.get_conf_state().get_voters().iter();
        let voters = voters.filter_map(|id| RaftId::from_wire(*id)).collect();
        let (index, term) = (metadata.index, metadata.term);
        let point = LogPoint { index, term, end: id.end, epoch: Some(id.epoch) };
        self.raw.mut_store().install(StoredSnapshot { point, id, voters });
        self.log_end = id.end;
        self.control = control;
        self.voters =
            self.control.voters.clone().unwrap_or_else(|| self.config.static_voters.clone());
        self.history.clear();
        self.history.insert(index, self.voters.clone());
        self.state.trimmed = point;
        // Entries of the old log must not be taken for ones that follow the snapshot.
        self.state.generation += 1;
        self.dirty.state = true;
        self.dirty.wal = true;
        self.fetched = None;
        self.syncing = false;
        Some(id)
    }

    pub(crate) fn send_all(&mut self, messages: Vec<Message>) {
        for message in messages {
            let Some(to) = RaftId::from_wire(message.to).and_then(|id| self.peer_key(id)) else {
                continue;
            };
            let names_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
            let snapshot = names_snapshot.then(|| self.name_snapshot(&message)).flatten();
            if names_snapshot && snapshot.is_none() {
                // A newer one has replaced it since.
                self.raw.report_snapshot(message.to, SnapshotStatus::Failure);
                continue;
            }
            let own = self.config.own;
            let wire = PeerMessage::from_raft(&message, &self.config.cluster_id, own, snapshot);
            let encoded = wire.encode_to_vec().into();
            self.outputs.push_back(Output::Send { to, message: encoded });
            if names_snapshot {
                // The message may be lost and fetching takes its time. Raft goes on asking the
                // peer where it is, and names the snapshot again as long as it is needed.
                self.raw.report_snapshot(message.to, SnapshotStatus::Finish);
            }
        }
    }

    fn name_snapshot(&self, message: &Message) -> Option<PeerSnapshot> {
        let metadata = message.get_snapshot().get_metadata();
        let id = self.raw.store().snapshot_at(metadata.index)?;
        Some(PeerSnapshot {
            index: metadata.index,
            term: metadata.term,
            end: id.end.0,
            epoch: id.epoch.0,
            voters: metadata.get_conf_state().get_voters().to_vec(),
            ids: self.state.ids.pairs().map(PeerId::new).collect(),
        })
    }
}
