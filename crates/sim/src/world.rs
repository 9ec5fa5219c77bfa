//! The simulated cluster: nodes, network, disks, one clock, and one queue of what happens next.
//!
//! Everything random comes from one seed, and everything happens in one thread, so a seed gives
//! the same run every time. A step is one entry of the queue, or one timer. After each step the
//! invariants see what happened.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use ottla_quorum::{Input, Now, ReplicaKey, Snapshot, SnapshotId, VoterChange, VoterSet};
use ottla_testkit::Random;
use ottla_types::{DirectoryId, MonoTime, NodeId, Offset, Uuid, WallTime};

use crate::chaos::Chaos;
use crate::disk::SimDisk;
use crate::event::{DiskId, Event};
use crate::invariants::{self, Invariant};
use crate::machine::{Machine, MakeMachine};
use crate::network::{Network, Weather};
use crate::node::{Effects, Request, SimNode};
use crate::trace::Trace;

/// How voters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voters {
    /// A static list (kraft.version 0).
    Static,
    /// In the log (kraft.version 1), with so many spare nodes that may join.
    Dynamic {
        /// Nodes that do not vote at first.
        spares: usize,
    },
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Voters at the start.
    pub voters: usize,
    /// How voters are kept.
    pub kind: Voters,
    /// The network.
    pub weather: Weather,
    /// The state machine on each node.
    pub machine: MakeMachine,
    /// Arguments of the command `sim` that choose this machine.
    pub arguments: &'static str,
}

/// A violated invariant, or another reason to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// What is wrong.
    pub what: String,
    /// Arguments that repeat it, beside the seed.
    pub arguments: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, what, arguments } = self;
        let again = format!("cargo xtask sim -- --seed {seed} --until {step}{arguments}");
        write!(f, "{what} at step {step}; again: {again}")
    }
}

impl std::error::Error for Violation {}

#[derive(Debug)]
pub(crate) enum Action {
    Deliver { to: usize, message: Bytes },
    Written { node: usize, incarnation: u64 },
    LogSynced { node: usize, incarnation: u64, end: Offset },
    TakeSnapshot { node: usize, incarnation: u64 },
    Fetched { node: usize, incarnation: u64, from: ReplicaKey, id: SnapshotId },
    Restart { node: usize },
    Crash { node: usize },
    Clients,
    Chaos,
}

/// A simulated cluster.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) random: Random,
    now_ns: u64,
    step: u64,
    order: u64,
    queue: BTreeMap<(u64, u64), Action>,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) network: Network,
    disks: BTreeMap<ReplicaKey, DiskId>,
    invariants: Vec<Box<dyn Invariant>>,
    /// Log of the run.
    pub trace: Trace,
    plan: Plan,
    pub(crate) chaos: Option<Chaos>,
    /// Offset after the last acknowledged proposal.
    acknowledged: u64,
    /// Batches that were acknowledged.
    acknowledgements: u64,
    /// Writes of this node take very long.
    pub(crate) slow_disk: Option<usize>,
}

impl World {
    /// A cluster with formatted disks, nothing running yet.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let spares = match plan.kind {
            Voters::Static => 0,
            Voters::Dynamic { spares } => spares,
        };
        let mut world = Self {
            seed,
            random: Random::new(seed),
            now_ns: 0,
            step: 0,
            order: 0,
            queue: BTreeMap::new(),
            nodes: Vec::new(),
            network: Network::new(plan.weather),
            disks: BTreeMap::new(),
            invariants: invariants::all(),
            trace: Trace::default(),
            plan,
            chaos: None,
            acknowledged: 0,
            acknowledgements: 0,
            slow_disk: None,
        };
        let ids = |count: usize| (1..=u32::try_from(count).unwrap_or(u32::MAX)).map(NodeId);
        let keys: Vec<_> = ids(plan.voters + spares).map(|node| world.new_disk(node)).collect();
        let voter = |key: &ReplicaKey| ottla_quorum::Voter::new(*key, Vec::new());
        let dynamic = VoterSet::new(keys.iter().take(plan.voters).map(voter));
        let by_node = ids(plan.voters).map(ReplicaKey::of_node);
        let by_node = VoterSet::new(by_node.map(|key| voter(&key)));
        for (at, key) in keys.into_iter().enumerate() {
            let bootstrap = (plan.kind != Voters::Static && at < plan.voters).then_some(&dynamic);
            let directory = key.directory.expect("every disk has an id");
            let disk = SimDisk::format(world.disk_of(key), directory, bootstrap);
            let static_voters = match plan.kind {
                Voters::Static => by_node.clone(),
                Voters::Dynamic { .. } => VoterSet::default(),
            };
            let node = key.node;
            world.nodes.push(SimNode { node, incarnation: 0, disk, running: None, static_voters });
        }
        world
    }

    // A new directory id, and a number for the disk.
    fn new_disk(&mut self, node: NodeId) -> ReplicaKey {
        let number = u32::try_from(self.disks.len()).expect("few disks") + 1;
        let directory = DirectoryId(Uuid::from_parts(u64::from(number) << 32, self.random.bits()));
        let key = ReplicaKey::new(node, directory);
        self.disks.insert(key, DiskId(number));
        key
    }

    fn disk_of(&self, key: ReplicaKey) -> DiskId {
        find_disk(&self.disks, key)
    }

    /// Starts every node, and clients that propose.
    ///
    /// # Errors
    /// A violated invariant.
    pub fn start(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            self.start_node(node)?;
        }
        self.later(0, Action::Clients);
        Ok(())
    }

    pub(crate) fn now(&self) -> Now {
        let wall = i64::try_from(self.now_ns / 1_000_000).expect("a short run");
        let wall = WallTime::from_millis(1_600_000_000_000 + wall);
        Now { mono: MonoTime::from_nanos(self.now_ns), wall }
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Batches that were acknowledged so far.
    pub fn acknowledgements(&self) -> u64 {
        self.acknowledgements
    }

    /// Which node serves as leader, if any; the newest if two think so.
    pub fn leader(&self) -> Option<usize> {
        let serves = |node: &SimNode| node.running.as_ref().and_then(|running| running.serves);
        let leaders = (0..self.nodes.len()).filter_map(|n| Some((serves(self.nodes.get(n)?)?, n)));
        leaders.max().map(|(_, node)| node)
    }

    pub(crate) fn later(&mut self, delay_ns: u64, action: Action) {
        self.order += 1;
        self.queue.insert((self.now_ns + delay_ns, self.order), action);
    }

    /// Runs for so many milliseconds of simulated time, or until a step.
    ///
    /// # Errors
    /// A violated invariant.
    pub fn run(&mut self, millis: u64, until: Option<u64>) -> Result<(), Violation> {
        let end = self.now_ns + millis * 1_000_000;
        while until.is_none_or(|until| self.step < until) {
            let timer = self.next_timer();
            let action = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(action).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now_ns = self.now_ns.max(next);
            self.step += 1;
            match timer.filter(|(at, _)| action.is_none_or(|action| *at <= action)) {
                Some((_, node)) => self.tick(node)?,
                None => {
                    let (_, action) = self.queue.pop_first().expect("it is there");
                    self.act(action)?;
                }
            }
        }
        self.now_ns = self.now_ns.max(end);
        Ok(())
    }

    fn next_timer(&self) -> Option<(u64, usize)> {
        let timer = |node: usize| {
            let running = self.nodes.get(node)?.running.as_ref()?;
            Some((running.quorum.poll_timeout()?.as_nanos(), node))
        };
        (0..self.nodes.len()).filter_map(timer).min()
    }

    fn tick(&mut self, node: usize) -> Result<(), Violation> {
        let now = self.now();
        if let Some(running) = self.running(node) {
            running.quorum.handle_timeout(now);
        }
        self.finish(node, Effects::default())
    }

    fn running(&mut self, node: usize) -> Option<&mut crate::node::Running> {
        self.nodes.get_mut(node)?.running.as_mut()
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        let now = self.now();
        let mut effects = Effects::default();
        let node = match action {
            Action::Deliver { to, message } => {
                self.nodes[to].input(now, Input::Message(message), &mut effects);
                to
            }
            Action::Written { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.nodes[node].written(now, &mut effects);
                }
                node
            }
            Action::LogSynced { node, incarnation, end } => {
                if self.is_current(node, incarnation) {
                    self.nodes[node].disk.sync_log(end);
                    self.nodes[node].input(now, Input::LogSynced(end), &mut effects);
                }
                node
            }
            Action::TakeSnapshot { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.nodes[node].take_snapshot(now, &mut effects);
                }
                node
            }
            Action::Fetched { node, incarnation, from, id } => {
                if self.is_current(node, incarnation) {
                    self.fetched(node, from, id, &mut effects);
                }
                node
            }
            Action::Restart { node } => return self.start_node(node),
            Action::Crash { node } => {
                self.crash_for_a_while(node);
                return Ok(());
            }
            Action::Clients => return self.clients(),
            Action::Chaos => return self.make_chaos(),
        };
        self.finish(node, effects)
    }

    fn is_current(&self, node: usize, incarnation: u64) -> bool {
        self.nodes[node].running.is_some() && self.nodes[node].incarnation == incarnation
    }

    fn fetched(&mut self, node: usize, from: ReplicaKey, id: SnapshotId, effects: &mut Effects) {
        let source = self.nodes.iter().position(|other| other.key() == from);
        let source = source.filter(|source| {
            self.network.reaches(node, *source)
                && self.network.reaches(*source, node)
                && self.nodes[*source].running.is_some()
        });
        let bytes = source.and_then(|source| self.nodes[source].disk.snapshots.get(&id)).cloned();
        let now = self.now();
        let Some(bytes) = bytes else {
            self.nodes[node].input(now, Input::SnapshotFailed(id), effects);
            return;
        };
        let control = Snapshot::read(id, bytes.clone()).expect("snapshots are complete").control;
        self.nodes[node].disk.snapshots.insert(id, bytes);
        let disk = self.nodes[node].disk.id;
        effects.events.push(Event::SnapshotTaken { disk, end: id.end.0 });
        self.nodes[node].input(now, Input::SnapshotFetched { id, control }, effects);
    }

    // Lets a node carry out what it can, and takes care of the rest.
    fn finish(&mut self, at: usize, mut effects: Effects) -> Result<(), Violation> {
        let disks = &self.disks;
        self.nodes[at].drain(&|key| find_disk(disks, key), &mut effects);
        let name = self.nodes[at].node;
        for line in effects.lines {
            self.trace.line(self.step, self.now_ns / 1_000, &format!("node {name} {line}"));
        }
        let incarnation = self.nodes[at].incarnation;
        for request in effects.requests {
            self.request(at, incarnation, request);
        }
        for event in effects.events {
            self.observe(&event)?;
        }
        Ok(())
    }

    fn request(&mut self, node: usize, incarnation: u64, request: Request) {
        match request {
            Request::Write => {
                let slow = self.slow_disk == Some(node);
                let micros = 100 + self.random.below(if slow { 2_000_000 } else { 8_000 });
                self.later(micros * 1_000, Action::Written { node, incarnation });
            }
            Request::SyncLog(end) => {
                let micros = 100 + self.random.below(20_000);
                self.later(micros * 1_000, Action::LogSynced { node, incarnation, end });
            }
            Request::TakeSnapshot => {
                let micros = self.random.below(50_000);
                self.later(micros * 1_000, Action::TakeSnapshot { node, incarnation });
            }
            Request::Fetch { from, id } => {
                let micros = 1_000 + self.random.below(200_000);
                self.later(micros * 1_000, Action::Fetched { node, incarnation, from, id });
            }
            Request::Send { to, message } => {
                let Some(to) = self.nodes.iter().position(|other| other.node == to.node) else {
                    return;
                };
                self.trace.message(self.step, node, to, &message);
                for delay in self.network.deliveries(&mut self.random, node, to) {
                    self.later(delay, Action::Deliver { to, message: message.clone() });
                }
            }
        }
    }

    pub(crate) fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        if let Event::Acknowledged { batch } = event {
            self.acknowledged = self.acknowledged.max(batch.end);
            self.acknowledgements += 1;
        }
        for invariant in &mut self.invariants {
            invariant.observe(event).map_err(|what| Violation {
                seed: self.seed,
                step: self.step,
                what: format!("{}: {what}", invariant.name()),
                arguments: self.plan.arguments,
            })?;
        }
        Ok(())
    }

    /// Starts a node that is down.
    ///
    /// # Errors
    /// It refuses its directory, or an invariant is violated.
    pub fn start_node(&mut self, at: usize) -> Result<(), Violation> {
        if self.nodes[at].running.is_some() {
            return Ok(());
        }
        let (now, seed, make) = (self.now(), self.random.bits(), self.plan.machine);
        let name = self.nodes[at].node;
        self.trace.line(self.step, self.now_ns / 1_000, &format!("node {name} starts"));
        let started = self.nodes[at].start(now, seed, make);
        let effects = started.map_err(|error| self.violation(format!("node {name}: {error}")))?;
        self.finish(at, effects)
    }

    pub(crate) fn violation(&self, what: String) -> Violation {
        Violation { seed: self.seed, step: self.step, what, arguments: self.plan.arguments }
    }

    /// Stops a node without warning.
    pub fn crash(&mut self, at: usize) {
        self.say(at, "crashes");
        self.nodes[at].crash(&mut self.random);
    }

    /// Stops a node that runs, once what it was writing is written.
    pub(crate) fn stop_cleanly(&mut self, at: usize) -> Result<(), Violation> {
        let now = self.now();
        while self.running(at).is_some_and(|running| running.writing.is_some()) {
            let mut effects = Effects::default();
            self.nodes[at].written(now, &mut effects);
            self.finish(at, effects)?;
        }
        let end = self.nodes[at].disk.log_end();
        self.nodes[at].disk.sync_log(end);
        self.nodes[at].crash(&mut self.random);
        Ok(())
    }

    /// A state machine for a node that knows nothing yet.
    pub(crate) fn machine(&self, at: usize, seed: u64) -> Box<dyn Machine> {
        (self.plan.machine)(self.nodes[at].node, seed)
    }

    /// Stops a node and replaces its disk by an empty, formatted one with another directory id.
    pub fn wipe(&mut self, at: usize) {
        self.say(at, "loses its disk");
        self.nodes[at].crash(&mut self.random);
        let key = self.new_disk(self.nodes[at].node);
        let directory = key.directory.expect("every disk has an id");
        self.nodes[at].disk = SimDisk::format(self.disk_of(key), directory, None);
    }

    /// Asks the leader to change voters; returns whether it took that on.
    ///
    /// # Errors
    /// A violated invariant.
    pub fn change_voters(&mut self, change: VoterChange) -> Result<bool, Violation> {
        let Some(leader) = self.leader() else { return Ok(false) };
        let now = self.now();
        let line = format!("is asked to {change:?}");
        let asked = self.running(leader).map(|r| r.quorum.change_voters(now, change));
        let result = asked.expect("leaders run");
        self.say(leader, &format!("{line}: {result:?}"));
        self.finish(leader, Effects::default())?;
        Ok(result.is_ok())
    }

    /// Makes a node take a snapshot, and delete what it covers.
    ///
    /// # Errors
    /// A violated invariant.
    pub fn snapshot(&mut self, at: usize) -> Result<(), Violation> {
        let mut effects = Effects::default();
        let now = self.now();
        self.nodes[at].take_snapshot(now, &mut effects);
        let start = self.nodes[at].disk.cut_log().0;
        effects.events.push(Event::LogCut { disk: self.nodes[at].disk.id, start });
        self.finish(at, effects)
    }

    /// The network.
    pub fn network(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Voters as a node knows them; `None` while it is down.
    pub fn voters_at(&self, at: usize) -> Option<VoterSet> {
        self.nodes[at].running.as_ref().map(|running| running.quorum.voters().clone())
    }

    /// Which replica a node is.
    pub fn key(&self, at: usize) -> ReplicaKey {
        self.nodes[at].key()
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Where a node's metadata log ends.
    pub fn log_end(&self, at: usize) -> u64 {
        self.nodes[at].disk.log_end().0
    }

    /// Offset after the last acknowledged proposal.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(crate) fn say(&mut self, at: usize, line: &str) {
        let name = self.nodes[at].node;
        self.trace.line(self.step, self.now_ns / 1_000, &format!("node {name} {line}"));
    }

    fn clients(&mut self) -> Result<(), Violation> {
        let now = self.now();
        for at in 0..self.nodes.len() {
            let mut effects = Effects::default();
            for _ in 0..self.random.below(3) {
                self.nodes[at].propose(now, &mut self.random, &mut effects);
            }
            self.finish(at, effects)?;
        }
        let pause = 1 + self.random.below(40);
        self.later(pause * 1_000_000, Action::Clients);
        Ok(())
    }
}

fn find_disk(disks: &BTreeMap<ReplicaKey, DiskId>, key: ReplicaKey) -> DiskId {
    let exact = disks.get(&key);
    // Static voters have no directory id; their disks are never replaced in a simulation.
    let by_node = || disks.iter().find(|(known, _)| known.matches(key)).map(|(_, id)| id);
    *exact.or_else(by_node).expect("every replica has a disk")
}
