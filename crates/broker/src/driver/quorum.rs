//! Drives the metadata quorum and, on controllers, the controller that decides on top of it.
//!
//! One thread: it collects what has come in, changes the two cores in plain synchronous code, and
//! carries out what they say, in order. Requests that arrive together share one batch, one write
//! and one sync. Committed batches are appended to `__cluster_metadata-0` and handed to the
//! [publisher](super::publisher).
//!
//! A broken invariant or a failed write ends the process: memory and disk may disagree then, and
//! a restart reads the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use arc_swap::ArcSwap;
use ottla_metadata::controller::{
    Activation, ApiError, ConfigRules, Controller, Output as Decision, Proposal, Request, Response,
    Stats, Token,
};
use ottla_metadata::{Bootstrap, ClusterImage};
use ottla_quorum::{
    Committed, Input, KRaftVersion, Now, Output, Quorum, QuorumView, ReplicaKey, SnapshotId,
    Stats as QuorumStats, VoterSet,
};
use ottla_record::{BatchBuilder, Compression};
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, NodeId, Offset, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::publisher::Publisher;
use crate::clock::Clock;
use crate::replicas::FsLog;

mod disk;
mod latencies;

pub(crate) use disk::{MetadataDisk, MetadataDiskError, Retention, read_snapshot_part};
pub(crate) use latencies::Latencies;
use latencies::Stopwatch;

/// What the quorum looks like from outside, swapped whole.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// Current epoch.
    pub(crate) epoch: LeaderEpoch,
    /// Its leader.
    pub(crate) leader: Option<NodeId>,
    /// Whether this node is the active controller.
    pub(crate) active: bool,
    /// Offset after the last committed record.
    pub(crate) high_watermark: Offset,
    /// Finalized `kraft.version`.
    pub(crate) kraft_version: KRaftVersion,
    /// Who votes.
    pub(crate) voters: VoterSet,
    /// Numbers for metrics.
    pub(crate) quorum: QuorumStats,
    /// Numbers of the controller for metrics.
    pub(crate) controller: Stats,
    /// When the last committed record was written.
    pub(crate) last_timestamp: Timestamp,
    /// Newest snapshot.
    pub(crate) snapshot: Option<SnapshotId>,
    /// Oldest snapshot that is kept.
    pub(crate) oldest_snapshot: Option<SnapshotId>,
}

/// Something for the thread to do.
enum Command {
    /// A request for the controller.
    Request(Request, oneshot::Sender<Response>),
    /// A question about the quorum; only a leader knows.
    Describe(oneshot::Sender<Option<QuorumView>>),
    /// This node's own dynamic configs have changed.
    Rules(Box<dyn ConfigRules>),
    /// An observer has fetched from this offset.
    ObserverFetched(ReplicaKey, Offset),
    /// Hand over and stop.
    Stop,
}

/// Reaches the quorum's thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct QuorumHandle {
    commands: Sender<Command>,
    status: Arc<ArcSwap<Status>>,
    high_watermark: watch::Receiver<Offset>,
    known_leader: watch::Receiver<Option<NodeId>>,
    log: Arc<Mutex<FsLog>>,
    directory: Arc<std::path::Path>,
    latencies: Arc<Latencies>,
}

/// Reaches the controller in the same thread.
#[derive(Clone)]
pub(crate) struct ControllerHandle {
    commands: Sender<Command>,
}

impl ControllerHandle {
    /// Asks the controller; a node that is not active answers NOT_CONTROLLER.
    pub(crate) async fn request(&self, request: Request) -> Response {
        let (answer, answered) = oneshot::channel();
        let gone = || Response::Refused(ApiError::from(ErrorCode::NotController));
        match self.commands.send(Command::Request(request, answer)) {
            Ok(()) => answered.await.unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }

    /// Swaps what the controller knows of configs.
    pub(crate) fn set_rules(&self, rules: Box<dyn ConfigRules>) {
        // A thread that is gone decides nothing.
        let _ = self.commands.send(Command::Rules(rules));
    }
}

impl QuorumHandle {
    /// What the quorum looks like now.
    pub(crate) fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// The leader, if it is known.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.status.load().leader
    }

    /// The leader, once there is one and it serves.
    pub(crate) async fn wait_for_leader(&self) -> Option<NodeId> {
        let mut leader = self.known_leader.clone();
        leader.wait_for(Option::is_some).await.ok().and_then(|leader| *leader)
    }

    /// Finalized level of `kraft.version`.
    pub(crate) fn kraft_version(&self) -> i16 {
        self.status.load().kraft_version.level()
    }

    /// The leader's view of everybody; none on other nodes.
    pub(crate) async fn describe(&self) -> Option<QuorumView> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Describe(answer)).ok()?;
        answered.await.ok().flatten()
    }

    /// Notes how far an observer is.
    pub(crate) fn observer_fetched(&self, observer: ReplicaKey, end: Offset) {
        // A thread that is gone has nobody to tell.
        let _ = self.commands.send(Command::ObserverFetched(observer, end));
    }

    /// Follows the high watermark of the metadata log.
    pub(crate) fn high_watermark(&self) -> watch::Receiver<Offset> {
        self.high_watermark.clone()
    }

    /// How long commits and elections took of late.
    pub(crate) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// The metadata log: committed batches only.
    pub(crate) fn log(&self) -> &Mutex<FsLog> {
        &self.log
    }

    /// Directory of the metadata log, where the snapshots are.
    pub(crate) fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Asks the thread to stop; [`QuorumThread::join`] waits for it.
    pub(crate) fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}

/// What the thread is started with.
pub(crate) struct Start {
    /// The quorum, opened from `disk`.
    pub(crate) quorum: Quorum,
    /// The controller, on nodes with that role.
    pub(crate) controller: Option<Controller>,
    /// Files of the quorum.
    pub(crate) disk: MetadataDisk,
    /// What a cluster without metadata begins with.
    pub(crate) bootstrap: Option<Bootstrap>,
    /// Brokers whose process is known to be dead: a combined node's own former self.
    pub(crate) dead: Vec<NodeId>,
    /// Where committed metadata goes.
    pub(crate) publisher: Publisher,
    /// Reads time.
    pub(crate) clock: Clock,
}

/// The running thread.
pub(crate) struct QuorumThread(std::thread::JoinHandle<()>);

impl QuorumThread {
    /// Waits for the thread's end.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the quorum's thread panicked");
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// The system starts no thread.
pub(crate) fn start(
    start: Start,
) -> std::io::Result<(QuorumHandle, ControllerHandle, QuorumThread)> {
    let (commands, inbox) = channel();
    let status = Arc::new(ArcSwap::from_pointee(status_of(&start.quorum, None, &start.disk)));
    let (publish, high_watermark) = watch::channel(start.disk.image.end());
    let (tell_leader, known_leader) = watch::channel(None);
    let handle = QuorumHandle {
        commands: commands.clone(),
        status: status.clone(),
        high_watermark,
        known_leader,
        log: start.disk.log.clone(),
        directory: start.disk.directory.clone().into(),
        latencies: Arc::default(),
    };
    let driver = Driver {
        quorum: start.quorum,
        controller: start.controller,
        disk: start.disk,
        bootstrap: start.bootstrap,
        dead: start.dead,
        publisher: start.publisher,
        clock: start.clock,
        waiting: HashMap::new(),
        status,
        publish,
        tell_leader,
        restarts: None,
        stopwatch: Stopwatch::start(handle.latencies.clone(), start.clock.now()),
        stopping: false,
    };
    let thread =
        std::thread::Builder::new().name("quorum".to_owned()).spawn(move || driver.run(&inbox))?;
    Ok((handle, ControllerHandle { commands }, QuorumThread(thread)))
}

struct Driver {
    quorum: Quorum,
    controller: Option<Controller>,
    disk: MetadataDisk,
    bootstrap: Option<Bootstrap>,
    dead: Vec<NodeId>,
    publisher: Publisher,
    clock: Clock,
    waiting: HashMap<Token, oneshot::Sender<Response>>,
    status: Arc<ArcSwap<Status>>,
    publish: watch::Sender<Offset>,
    tell_leader: watch::Sender<Option<NodeId>>,
    /// Epoch in which the controller waits to begin again after a refused proposal.
    restarts: Option<LeaderEpoch>,
    stopwatch: Stopwatch,
    stopping: bool,
}

enum Event {
    Command(Command),
    Timeout,
    Closed,
}

impl Driver {
    fn run(mut self, inbox: &Receiver<Command>) {
        self.publisher.publish(Arc::new(self.disk.image.clone()));
        self.settle();
        while !self.stopping {
            match self.select(inbox) {
                Event::Closed => break,
                Event::Timeout => self.timeout(),
                Event::Command(command) => {
                    self.apply(command);
                    // Whatever came in meanwhile shares the batch, the write and the sync.
                    for command in inbox.try_iter().take(COMMANDS_AT_ONCE) {
                        self.apply(command);
                    }
                }
            }
            self.settle();
        }
        if let Some(controller) = &mut self.controller {
            controller.resign();
        }
        self.settle();
        self.disk.close();
    }

    /// Waits for the next event.
    fn select(&self, inbox: &Receiver<Command>) -> Event {
        let controller = self.controller.as_ref().and_then(Controller::poll_timeout);
        let due = [self.quorum.poll_timeout(), controller].into_iter().flatten().min();
        let received = match due {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(self.clock.until(due)),
        };
        match received {
            Ok(command) => Event::Command(command),
            Err(RecvTimeoutError::Timeout) => Event::Timeout,
            Err(RecvTimeoutError::Disconnected) => Event::Closed,
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.clock.now(), wall: self.clock.wall() }
    }

    fn timeout(&mut self) {
        let now = self.now();
        let is_due = |due: Option<MonoTime>| due.is_some_and(|due| due <= now.mono);
        if is_due(self.quorum.poll_timeout()) {
            self.quorum.handle_timeout(now);
        }
        if let Some(controller) = &mut self.controller
            && is_due(controller.poll_timeout())
        {
            controller.handle_timeout(now.mono);
        }
    }

    /// Changes the cores.
    fn apply(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Request(request, answer) => match &mut self.controller {
                Some(controller) => {
                    let token = controller.handle(now.mono, request);
                    self.waiting.insert(token, answer);
                }
                None => {
                    let refused = ApiError::from(ErrorCode::NotController);
                    let _ = answer.send(Response::Refused(refused));
                }
            },
            Command::Describe(answer) => {
                let _ = answer.send(self.quorum.describe(now));
            }
            Command::Rules(rules) => {
                if let Some(controller) = &mut self.controller {
                    controller.set_rules(rules);
                }
            }
            Command::ObserverFetched(key, end) => self.quorum.observer_fetched(now, key, end),
            Command::Stop => {
                self.quorum.resign(now);
                self.stopping = true;
            }
        }
    }

    /// Carries out what the cores say until both are silent.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            while let Some(decision) = self.controller.as_mut().and_then(Controller::poll_output) {
                idle = false;
                self.carry_out(decision);
            }
            while let Some(output) = self.quorum.poll_output() {
                idle = false;
                self.execute(output);
            }
            if idle {
                break;
            }
        }
        let status = status_of(&self.quorum, self.controller.as_ref(), &self.disk);
        let leader = status.leader;
        self.status.store(Arc::new(status));
        self.tell_leader.send_if_modified(|known| std::mem::replace(known, leader) != leader);
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Propose(proposal) => self.propose(&proposal),
            Decision::Respond { token, response } => {
                if let Some(answer) = self.waiting.remove(&token) {
                    // The connection may be gone.
                    let _ = answer.send(response);
                }
            }
        }
    }

    fn propose(&mut self, proposal: &Proposal) {
        let now = self.now();
        let mut batch = BatchBuilder::new(Compression::None)
            .base_offset(proposal.base_offset)
            .leader_epoch(proposal.epoch);
        for value in &proposal.values {
            batch.push_pair(Timestamp(now.wall.as_millis()), None, Some(value));
        }
        let proposed = batch.build().map_err(|error| error.to_string()).and_then(|batch| {
            self.quorum.propose(now, proposal.epoch, &batch).map_err(|error| error.to_string())
        });
        match proposed {
            Ok(_) => {
                let count = u64::try_from(proposal.values.len()).unwrap_or(u64::MAX);
                self.stopwatch.proposed(count, proposal.base_offset.plus(count), now.mono);
            }
            Err(error) => {
                tracing::warn!(error, "a proposal was refused, the controller starts over");
                self.restart_controller();
            }
        }
    }

    /// Throws the speculation away; while this node leads the controller begins again, once all
    /// that is in the log is committed.
    fn restart_controller(&mut self) {
        if let Some(controller) = &mut self.controller {
            controller.resign();
            self.restarts = self.quorum.next_offset().map(|_| self.quorum.epoch());
        }
        self.begin_again();
    }

    fn begin_again(&mut self) {
        let epoch = self.restarts.filter(|epoch| *epoch == self.quorum.epoch());
        if let Some(epoch) = epoch
            && self.quorum.next_offset() == Some(self.disk.image.end())
        {
            self.activate(epoch);
        }
    }

    fn activate(&mut self, epoch: LeaderEpoch) {
        self.restarts = None;
        let Some(next_offset) = self.quorum.next_offset() else { return };
        let Some(controller) = &mut self.controller else { return };
        let Some(bootstrap) = self.bootstrap.clone() else { return };
        let kraft_version = self.quorum.control().kraft_version.level();
        tracing::info!(%epoch, "this node is the active controller");
        controller.activate(
            self.clock.now(),
            Activation {
                epoch,
                image: self.disk.image.clone(),
                next_offset,
                bootstrap,
                kraft_version,
                dead: std::mem::take(&mut self.dead),
            },
        );
    }

    /// Carries out one output of the quorum.
    fn execute(&mut self, output: Output) {
        match output {
            Output::Persist(persist) => {
                self.or_die("a write of the quorum", |disk| disk.persist(&persist));
                self.acknowledge(Input::Persisted(persist.number));
            }
            Output::Append(committed) => self.append(&committed),
            Output::Send { to, .. } => {
                // A quorum of more than one node is refused at the start.
                tracing::warn!(%to, "there is no way to another controller yet");
            }
            Output::LeaderChanged { epoch, leader } => {
                self.stopwatch.led(leader.is_some(), self.clock.now());
                match leader {
                    Some(leader) => {
                        tracing::info!(%epoch, %leader, "the metadata quorum has a leader")
                    }
                    None => tracing::info!(%epoch, "the metadata quorum has no leader"),
                }
            }
            Output::BecameLeader { epoch } => self.activate(epoch),
            Output::LostLeadership { epoch } => {
                tracing::info!(%epoch, "this node no longer leads the metadata quorum");
                self.restarts = None;
                if let Some(controller) = &mut self.controller {
                    controller.resign();
                }
            }
            Output::VotersChanged { .. } => {}
            Output::VoterChangeDone(done) => match done {
                Ok(()) => tracing::info!("the voters have changed"),
                Err(error) => tracing::warn!(%error, "the voters have not changed"),
            },
            Output::SyncLog(up_to) => {
                self.or_die("a sync of the metadata log", MetadataDisk::sync_log);
                self.acknowledge(Input::LogSynced(up_to));
            }
            Output::SnapshotNeeded => self.snapshot(),
            Output::FetchSnapshot { id, .. } => {
                self.acknowledge(Input::SnapshotFailed(id));
            }
            Output::InstallSnapshot(id) => {
                self.or_die("the installation of a snapshot", |disk| disk.install(id));
                self.publisher.publish(Arc::new(self.disk.image.clone()));
            }
        }
    }

    fn acknowledge(&mut self, input: Input) {
        let now = self.now();
        if let Err(error) = self.quorum.handle(now, input) {
            tracing::error!(%error, "the quorum refused its own acknowledgement");
        }
    }

    fn append(&mut self, committed: &Committed) {
        self.stopwatch.committed(committed.end, self.clock.now());
        let now = self.clock.wall();
        self.or_die("an append to the metadata log", |disk| disk.append(committed, now));
        let image = self.disk.image.stable();
        if self.disk.image.in_transaction() {
            tracing::debug!(end = %committed.end, "inside a metadata transaction");
        }
        self.publisher.publish(Arc::new(image.clone()));
        self.publish.send_replace(committed.end);
        if let Some(controller) = &mut self.controller {
            // Control batches of the quorum count too, and may lie beyond what it decided.
            let next = controller.next_offset().unwrap_or(committed.end);
            controller.committed(committed.end.min(next));
        }
        self.begin_again();
        if self.disk.snapshot_due(self.clock.now()) {
            self.snapshot();
        }
    }

    fn snapshot(&mut self) {
        let now = self.now();
        let control = self.quorum.control().clone();
        match self.disk.write_snapshot(now, &control) {
            Ok(Some(id)) => {
                tracing::info!(%id, "metadata snapshot written");
                self.acknowledge(Input::SnapshotWritten(id));
                if let Err(error) = self.disk.delete_old(now.wall) {
                    tracing::error!(%error, "old metadata could not be deleted");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "a metadata snapshot could not be written"),
        }
    }

    fn or_die(
        &mut self,
        what: &str,
        action: impl FnOnce(&mut MetadataDisk) -> Result<(), MetadataDiskError>,
    ) {
        if let Err(error) = action(&mut self.disk) {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, source, "{what} failed; the process ends");
            // What is on disk is unknown, so no destructor may act on what memory believes.
            std::process::exit(DISK_FAILED);
        }
    }
}

/// Exit code of a process whose metadata directory has failed; `docs/exit-codes.md` names it.
const DISK_FAILED: i32 = 1;
// Commands that share one batch at the most.
const COMMANDS_AT_ONCE: usize = 1_000;

fn status_of(quorum: &Quorum, controller: Option<&Controller>, disk: &MetadataDisk) -> Status {
    Status {
        epoch: quorum.epoch(),
        leader: quorum.leader().map(|key| key.node),
        active: controller.is_some_and(Controller::is_active),
        high_watermark: quorum.high_watermark(),
        kraft_version: quorum.control().kraft_version,
        voters: quorum.voters().clone(),
        quorum: quorum.stats(),
        controller: controller.map(Controller::stats).unwrap_or_default(),
        last_timestamp: disk.last_timestamp(),
        snapshot: disk.newest_snapshot(),
        oldest_snapshot: disk.oldest_snapshot(),
    }
}

/// An image of the metadata, shared.
pub(crate) type SharedImage = Arc<ClusterImage>;
