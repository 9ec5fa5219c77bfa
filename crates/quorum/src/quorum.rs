//! The state machine: raft's node, the offsets of its entries, and what is to be done.
//!
//! Here are construction, inputs and the clock. `ready.rs` turns what raft wants into writes,
//! messages and appends; `lead.rs` is what only a leader does; `receive.rs` checks peers'
//! messages; `describe.rs` answers questions. It reads no clock and does no IO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_types::{LeaderEpoch, MonoTime, Offset};
use raft::eraftpb::{ConfChange, ConfChangeType, HardState, Message};
use raft::{Config, RawNode, StateRole};

use crate::control::ControlState;
use crate::describe::Observers;
use crate::entry::epoch_of;
use crate::ids::{IdTable, RaftId, ReplicaKey};
use crate::io::{FileWrite, Input, Now, Output, Persist, PersistNumber, QuorumConfig};
use crate::lead::Leading;
use crate::logger::logger;
use crate::open::{Disk, OpenError, Opened, open, own_id};
use crate::peer::{PeerError, PeerSnapshot};
use crate::quorum_state::QuorumState;
use crate::ready::InFlight;
use crate::snapshot::SnapshotId;
use crate::state_file::StateFile;
use crate::store::Store;
use crate::voters::VoterSet;

// Follower patience in raft's ticks; a tick is this part of `controller.quorum.fetch.timeout.ms`.
const PATIENCE_TICKS: u32 = 20;
const HEARTBEAT_TICKS: usize = 2;
const MESSAGE_BYTES: u64 = 1 << 20;
const INFLIGHT_MESSAGES: usize = 64;

/// One node of the metadata quorum. See the crate's documentation for how it is driven.
pub struct Quorum {
    pub(crate) config: QuorumConfig,
    pub(crate) own: RaftId,
    pub(crate) raw: RawNode<Store>,
    pub(crate) now: Now,
    /// What the state file says, or will once the next writes are on disk.
    pub(crate) state: StateFile,
    pub(crate) quorum_state: Option<QuorumState>,
    pub(crate) dirty: Dirty,
    pub(crate) last_write: u64,
    pub(crate) wal_bytes: usize,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) last_persist: u64,
    pub(crate) outputs: VecDeque<Output>,
    /// Where the metadata log ends once all outputs are carried out: the high watermark.
    pub(crate) log_end: Offset,
    pub(crate) control: ControlState,
    pub(crate) voters: VoterSet,
    pub(crate) leading: Option<Leading>,
    pub(crate) reported: (u64, u64),
    /// Who voted for this node in the term.
    pub(crate) granted: (u64, BTreeSet<RaftId>),
    pub(crate) fetch: Option<(SnapshotId, Message, PeerSnapshot)>,
    pub(crate) fetched: Option<(SnapshotId, ControlState)>,
    pub(crate) installing: Option<(SnapshotId, ControlState)>,
    pub(crate) syncing: bool,
    pub(crate) snapshot_asked: bool,
    pub(crate) history: BTreeMap<u64, VoterSet>,
    pub(crate) observers: Observers,
    adopted: bool,
    /// Peers that have no number in the state file (yet), from their messages.
    pub(crate) seen: BTreeMap<RaftId, ReplicaKey>,
    timing: Timing,
}

/// Files that must be written with the next writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) state: bool,
    pub(crate) wal: bool,
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quorum").field("own", &self.config.own).finish_non_exhaustive()
    }
}

// Raft counts ticks; the random part of its timeouts is added here, from the seed.
#[derive(Clone, Copy, Debug)]
struct Timing {
    tick: Duration,
    follower_ticks: usize,
    candidate_ticks: usize,
    jitter_ticks: usize,
    fire_ticks: usize,
    jitter: usize,
    random: u64,
    deadline: Option<MonoTime>,
}

impl Timing {
    fn new(config: &QuorumConfig) -> Self {
        let tick = (config.fetch_timeout / PATIENCE_TICKS).max(Duration::from_millis(1));
        let ticks = |wait: Duration| {
            usize::try_from(wait.as_nanos().div_ceil(tick.as_nanos())).unwrap_or(usize::MAX / 4)
        };
        let follower_ticks = ticks(config.fetch_timeout).max(HEARTBEAT_TICKS + 1);
        let candidate_ticks = ticks(config.election_timeout).max(1);
        let jitter_ticks = ticks(config.election_backoff_max);
        let fire_ticks = follower_ticks.max(candidate_ticks) + jitter_ticks;
        let mut timing = Self {
            tick,
            follower_ticks,
            candidate_ticks,
            jitter_ticks,
            fire_ticks,
            jitter: 0,
            random: config.seed.0,
            deadline: None,
        };
        timing.draw();
        timing
    }

    // SplitMix64.
    fn draw(&mut self) {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let range = u64::try_from(self.jitter_ticks + 1).expect("a small number");
        self.jitter = usize::try_from((z ^ z >> 31) % range).expect("a small number");
    }
}

impl Quorum {
    /// Starts a node from what is on disk. Outputs may be waiting; a sole voter has already
    /// elected itself.
    ///
    /// # Errors
    /// The directory cannot be used.
    ///
    /// # Panics
    /// If the configuration names no directory for this node.
    pub fn open(config: QuorumConfig, disk: &Disk, now: Now) -> Result<Self, OpenError> {
        assert!(config.own.directory.is_some(), "a node knows its directory id");
        let opened = open(config.own, &config.static_voters, disk)?;
        let own = own_id(&opened.state, config.own);
        let timing = Timing::new(&config);
        let raw = raw_node(&config, &opened, own, timing);
        let mut quorum = Self::assemble(config, opened, own, raw, timing, now);
        if quorum.voters.is_only_voter(quorum.config.own) {
            // Nobody else can win, so there is nothing to wait for.
            quorum.raw.campaign().expect("a sole voter may stand");
        }
        quorum.note_role();
        Ok(quorum)
    }

    fn assemble(
        config: QuorumConfig,
        opened: Opened,
        own: RaftId,
        raw: RawNode<Store>,
        timing: Timing,
        now: Now,
    ) -> Self {
        let mut state = opened.state;
        let changed = state.own.replace(own) != Some(own);
        let wal_bytes = opened.entries.iter().map(|entry| entry.batch.len()).sum();
        let mut outputs = VecDeque::new();
        outputs.extend(opened.install.map(Output::InstallSnapshot));
        if opened.adopted {
            // From now on nothing but the metadata log holds these batches.
            outputs.push_back(Output::SyncLog(opened.applied.end));
        }
        let mut quorum = Self {
            config,
            own,
            raw,
            now,
            dirty: Dirty { state: opened.write_state || changed, wal: opened.write_wal },
            state,
            quorum_state: None,
            last_write: opened.last_write,
            wal_bytes,
            in_flight: None,
            last_persist: 0,
            outputs,
            log_end: opened.applied.end,
            control: opened.control,
            voters: opened.voters,
            leading: None,
            reported: (0, 0),
            granted: (0, BTreeSet::new()),
            fetch: None,
            fetched: None,
            installing: None,
            syncing: opened.adopted,
            snapshot_asked: false,
            history: BTreeMap::new(),
            observers: Observers::default(),
            adopted: opened.adopted,
            seen: BTreeMap::new(),
            timing,
        };
        quorum.history.insert(opened.applied.index, quorum.voters.clone());
        quorum
    }

    /// Takes notice of something that happened outside. The result is for the log: a message of
    /// a peer that was refused.
    ///
    /// # Errors
    /// The message was refused; nothing changed.
    ///
    /// # Panics
    /// If an acknowledgement names something that was not asked for.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<(), PeerError> {
        self.now = now;
        let result = match input {
            Input::Message(bytes) => self.receive(bytes),
            Input::Persisted(number) => {
                self.persisted(number);
                Ok(())
            }
            Input::LogSynced(end) => {
                self.log_synced(end);
                Ok(())
            }
            Input::SnapshotWritten(id) => {
                self.snapshot_written(id);
                Ok(())
            }
            Input::SnapshotFetched { id, control } => self.snapshot_fetched(id, control),
            Input::SnapshotFailed(id) => {
                if self.fetch.as_ref().is_some_and(|(wanted, ..)| *wanted == id) {
                    self.fetch = None;
                }
                Ok(())
            }
        };
        self.note_role();
        result
    }

    /// When [`Quorum::handle_timeout`] wants to be called, if ever.
    ///
    /// A sole voter has nothing to wait for, so an idle node of one has no timer.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.timing.deadline
    }

    /// Acts on the passage of time.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        if self.timing.deadline.is_some_and(|deadline| deadline <= now.mono) {
            // One tick for each call: a node that slept does not act as if it had listened.
            self.timing.deadline = None;
            self.tick();
        }
        self.note_role();
    }

    /// The next thing to do, in order; call it until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if !self.advance() {
                return None;
            }
            self.note_role();
        }
    }

    fn tick(&mut self) {
        if self.installs() {
            return;
        }
        let raft = &mut self.raw.raft;
        let patience = match raft.state {
            StateRole::Leader => None,
            StateRole::Follower => Some(self.timing.follower_ticks),
            StateRole::Candidate | StateRole::PreCandidate => Some(self.timing.candidate_ticks),
        };
        if let Some(patience) = patience
            && raft.election_elapsed + 1 >= patience + self.timing.jitter
        {
            raft.election_elapsed = self.timing.fire_ticks - 1;
            self.timing.draw();
        }
        self.raw.tick();
        self.tick_leader();
    }

    // Compares raft's role with what was last known, and reacts. Called after whatever may have
    // changed it.
    pub(crate) fn note_role(&mut self) {
        let raft = &self.raw.raft;
        let (term, leader, leads) = (raft.term, raft.leader_id, raft.state == StateRole::Leader);
        let led = self.leading.as_ref().map(|leading| leading.epoch);
        if led.is_some_and(|epoch| !leads || epoch != epoch_of(term)) {
            self.stop_leading();
        }
        if self.reported != (term, leader) {
            self.reported = (term, leader);
            let leader = RaftId::from_wire(leader).and_then(|id| self.state.ids.key(id));
            let leader = leader.map(|key| key.node);
            self.outputs.push_back(Output::LeaderChanged { epoch: epoch_of(term), leader });
        }
        if leads && self.leading.is_none() {
            self.start_leading();
        }
        let raft = &self.raw.raft;
        let conf = raft.prs().conf();
        let peers = raft.prs().iter().any(|(id, _)| *id != self.own.to_wire());
        let waits = if leads { peers } else { conf.voters().contains(self.own.to_wire()) };
        self.timing.deadline = match self.timing.deadline {
            _ if !waits => None,
            Some(deadline) => Some(deadline),
            None => Some(self.now.mono.after(self.timing.tick)),
        };
    }

    /// Makes raft's voters exactly these. Raft takes one change at a time, and from nothing a
    /// joiner would count itself alone; here the set is always the full one from the log.
    pub(crate) fn set_conf_state(&mut self) {
        let ids = |key| self.state.ids.find(key).expect("every voter has a number").to_wire();
        let wanted: BTreeSet<u64> = self.voters.keys().map(ids).collect();
        let conf = self.raw.raft.prs().conf().to_conf_state();
        let current: BTreeSet<u64> = conf.get_voters().iter().copied().collect();
        let learners: BTreeSet<u64> = conf.get_learners().iter().copied().collect();
        for id in wanted.difference(&current) {
            self.conf_change(ConfChangeType::AddNode, *id);
        }
        for id in current.difference(&wanted) {
            self.conf_change(ConfChangeType::RemoveNode, *id);
        }
        if self.raw.raft.state != StateRole::Leader {
            // Learners are known to the leader that tracks them, and to nobody else.
            for id in learners.difference(&wanted) {
                self.conf_change(ConfChangeType::RemoveNode, *id);
            }
        }
        let conf = self.raw.raft.prs().conf().to_conf_state();
        let current: BTreeSet<u64> = conf.get_voters().iter().copied().collect();
        assert_eq!(current, wanted, "raft counts other voters than the log names");
    }

    pub(crate) fn conf_change(&mut self, kind: ConfChangeType, id: u64) {
        let mut change = ConfChange { node_id: id, ..ConfChange::default() };
        change.set_change_type(kind);
        self.raw.apply_conf_change(&change).expect("single changes are possible");
    }

    fn persisted(&mut self, number: PersistNumber) {
        let in_flight = self.in_flight.take().expect("something is being written");
        assert_eq!(in_flight.persist, number, "writes are acknowledged in order");
        if let Some(ready) = in_flight.ready {
            self.raw.on_persist_ready(ready);
        }
        if let Some(index) = in_flight.installs {
            self.raw.advance_apply_to(index);
        }
        self.send_all(in_flight.held);
    }

    /// Whether a snapshot is on its way to the disk. Raft cannot stand for election then, because
    /// it would look for entries between those it applied and the snapshot.
    pub(crate) fn installs(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.installs.is_some())
    }

    /// Whether the directory was taken over from another implementation at the start.
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// This node's number, which goes into its files.
    pub fn raft_id(&self) -> RaftId {
        self.own
    }

    /// Offset after the last committed record: the metadata log's high watermark.
    pub fn high_watermark(&self) -> Offset {
        self.log_end
    }

    /// Current epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        epoch_of(self.raw.raft.term)
    }

    /// The epoch's leader, if it is known.
    pub fn leader(&self) -> Option<ReplicaKey> {
        RaftId::from_wire(self.raw.raft.leader_id).and_then(|id| self.state.ids.key(id))
    }

    /// Committed voters.
    pub fn voters(&self) -> &VoterSet {
        &self.voters
    }

    /// Committed control records.
    pub fn control(&self) -> &ControlState {
        &self.control
    }

    /// Every replica that has a number.
    pub fn ids(&self) -> &IdTable {
        &self.state.ids
    }

    /// Queues writes and returns their number.
    pub(crate) fn push_persist(&mut self, writes: Vec<FileWrite>) -> PersistNumber {
        self.last_persist += 1;
        let number = PersistNumber(self.last_persist);
        self.outputs.push_back(Output::Persist(Persist { number, writes }));
        number
    }

    fn receive(&mut self, bytes: Bytes) -> Result<(), PeerError> {
        let message = crate::peer::PeerMessage::parse(bytes)?;
        self.receive_message(&message)
    }
}

fn raw_node(config: &QuorumConfig, opened: &Opened, own: RaftId, timing: Timing) -> RawNode<Store> {
    let ids = |key| opened.state.ids.find(key).expect("every voter has a number");
    let voters = opened.voters.keys().map(ids).collect();
    let hard_state = HardState {
        term: opened.state.term,
        vote: opened.state.vote.map_or(0, RaftId::to_wire),
        commit: opened.applied.index,
        ..HardState::default()
    };
    let store = Store::new(opened.state.trimmed, opened.entries.clone(), hard_state, voters);
    let raft_config = Config {
        id: own.to_wire(),
        election_tick: timing.follower_ticks,
        heartbeat_tick: HEARTBEAT_TICKS,
        // A range of one tick: raft would draw from a random number generator of its own.
        min_election_tick: timing.fire_ticks,
        max_election_tick: timing.fire_ticks + 1,
        applied: opened.applied.index,
        max_size_per_msg: MESSAGE_BYTES,
        max_inflight_msgs: INFLIGHT_MESSAGES,
        check_quorum: true,
        pre_vote: true,
        max_uncommitted_size: u64::try_from(config.uncommitted_max).unwrap_or(u64::MAX),
        ..Config::default()
    };
    RawNode::new(&raft_config, store, &logger(config.logger.clone()))
        .expect("a valid configuration")
}
