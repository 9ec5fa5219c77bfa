//! The broker's life with its controller: registration, heartbeats, readiness, goodbye.
//!
//! One task. It registers, tells how far it has followed the metadata, asks to be unfenced once
//! it has caught up with its own registration, and before a shutdown asks for permission. The
//! order of a start is Kafka's (kafka.server.BrokerLifecycleManager).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ottla_codec::Str;
use ottla_config::SecurityProtocol;
use ottla_protocol::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use ottla_protocol::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use ottla_protocol::{
    AssignReplicasToDirsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
};
use ottla_types::{BrokerEpoch, DirectoryId, ErrorCode, MonoTime, Offset, PartitionIndex, TopicId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::forward::{ForwardError, Forwarder};
use crate::replicas::Assignment;
use crate::shared::Shared;

/// Where a broker stands (`BrokerState` of Kafka).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It catches up with the metadata.
    Starting,
    /// It has caught up and is still fenced.
    Recovery,
    /// Clients may come.
    Running,
    /// It hands over its leaderships.
    PendingShutdown,
    /// It may stop.
    Stopped,
}

impl Phase {
    /// What the log says of it.
    fn says(self) -> &'static str {
        match self {
            Self::Starting => "catches up with the metadata",
            Self::Recovery => "has caught up and waits to be unfenced",
            Self::Running => "serves clients",
            Self::PendingShutdown => "asks the controller for permission to stop",
            Self::Stopped => "may stop",
        }
    }
}

/// An address that this broker advertises, with the port it really has.
#[derive(Clone, Debug)]
pub(crate) struct Advertised {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: SecurityProtocol,
}

/// What the task is started with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) forwarder: Forwarder,
    pub(crate) listeners: Vec<Advertised>,
    /// Epoch of the last run, if it stopped cleanly.
    pub(crate) previous_epoch: Option<BrokerEpoch>,
    /// Offset up to which metadata is effective here.
    pub(crate) published: watch::Receiver<Offset>,
}

/// Handle of the task.
pub(crate) struct Lifecycle {
    phase: watch::Receiver<Phase>,
    stop: watch::Sender<bool>,
    epoch: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

impl Lifecycle {
    /// Starts the task.
    pub(crate) fn start(start: Start) -> Self {
        let (phase, seen) = watch::channel(Phase::Starting);
        let (stop, stopping) = watch::channel(false);
        let epoch = Arc::new(AtomicI64::new(-1));
        let driver = Driver { start, phase, stopping, epoch: epoch.clone() };
        Self { phase: seen, stop, epoch, task: tokio::spawn(driver.run()) }
    }

    /// Follows where the broker stands.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// The broker's epoch, once it is registered.
    pub(crate) fn epoch(&self) -> Option<BrokerEpoch> {
        BrokerEpoch::from_wire(self.epoch.load(Ordering::Acquire))
    }

    /// The same, for those who outlive this handle.
    pub(crate) fn epoch_cell(&self) -> Arc<AtomicI64> {
        self.epoch.clone()
    }

    /// Asks the controller for permission to stop, for at most `patience`; without one
    /// (`controlled.shutdown.enable=false`) it is not asked.
    pub(crate) async fn shut_down(mut self, patience: Option<Duration>) {
        if let Some(patience) = patience {
            self.stop.send_replace(true);
            let stopped = self.phase.wait_for(|phase| *phase == Phase::Stopped);
            if tokio::time::timeout(patience, stopped).await.is_err() {
                tracing::warn!("the controller gave no permission to stop in time");
            }
        }
        self.task.abort();
    }
}

struct Driver {
    start: Start,
    phase: watch::Sender<Phase>,
    stopping: watch::Receiver<bool>,
    epoch: Arc<AtomicI64>,
}

enum Event {
    Beat,
    Stop,
    Assignments,
}

/// Failed log directories that the controller may not know of.
#[derive(Debug, Default)]
struct Failures {
    /// As many were offline at the last heartbeat that got an answer.
    told: usize,
    /// When more were first seen.
    since: Option<MonoTime>,
}

impl Failures {
    fn told(&mut self, offline: usize) {
        *self = Self { told: offline, since: None };
    }

    /// For how long a failure has been untold, if there is one.
    fn untold_for(&mut self, offline: usize, now: MonoTime) -> Option<Duration> {
        (self.told < offline).then(|| now.since(*self.since.get_or_insert(now)))
    }
}

/// Pause after something failed.
const BACKOFF: Duration = Duration::from_millis(20);
/// Longest such pause.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

impl Driver {
    async fn run(mut self) {
        let Some(mut epoch) = self.register_in_time().await else { return };
        let mut failures = Failures::default();
        loop {
            let stopping = *self.stopping.borrow();
            match self.beat(epoch, stopping).await {
                Ok(reply) => {
                    failures.told(self.start.shared.replicas.offline_directory_count());
                    self.note(&reply, stopping);
                    if *self.phase.borrow() == Phase::Stopped {
                        return;
                    }
                    let interval = self.pause(stopping);
                    match self.select(interval).await {
                        Event::Beat | Event::Stop => {}
                        Event::Assignments => self.assign(epoch).await,
                    }
                }
                Err(ForwardError::Refused(
                    ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered,
                )) => {
                    tracing::warn!("the controller does not know this broker any more");
                    epoch = self.register().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "no heartbeat");
                    self.check_directories(&mut failures);
                    tokio::time::sleep(BACKOFF_MAX).await;
                }
            }
        }
    }

    /// Ends the node if the controller cannot be told of a failed log directory: others would go on
    /// to believe that its partitions have a leader here.
    fn check_directories(&self, failures: &mut Failures) {
        let shared = &self.start.shared;
        let limit = shared.config.load().lifecycle.directory_failure_timeout;
        let offline = shared.replicas.offline_directory_count();
        if failures.untold_for(offline, shared.clock.now()).is_some_and(|time| limit < time) {
            shared.fatal.send_replace(Some(format!(
                "the controller could not be told of a failed log directory within {} ms \
                 (log.dir.failure.timeout.ms)",
                limit.as_millis()
            )));
        }
    }

    /// Waits for the next reason to act.
    async fn select(&mut self, interval: Duration) -> Event {
        let catching_up = *self.phase.borrow() < Phase::Running;
        let shared = self.start.shared.clone();
        tokio::select! {
            () = tokio::time::sleep(interval) => Event::Beat,
            changed = self.stopping.changed(), if !*self.stopping.borrow() => {
                if changed.is_err() { std::future::pending::<()>().await; }
                Event::Stop
            }
            _ = self.start.published.changed(), if catching_up => Event::Beat,
            () = shared.replicas.beat_soon.notified() => Event::Beat,
            () = shared.replicas.assignments_ready() => Event::Assignments,
        }
    }

    fn pause(&self, stopping: bool) -> Duration {
        if stopping || *self.phase.borrow() < Phase::Running {
            BACKOFF
        } else {
            self.start.shared.config.load().lifecycle.heartbeat_interval
        }
    }

    fn note(&self, reply: &BrokerHeartbeatResponse, stopping: bool) {
        let phase = match (stopping, reply.is_caught_up, reply.is_fenced) {
            (true, _, _) if reply.should_shut_down => Phase::Stopped,
            (true, _, _) => Phase::PendingShutdown,
            (false, _, false) => Phase::Running,
            (false, true, true) => Phase::Recovery,
            (false, false, true) => Phase::Starting,
        };
        let before = self.phase.send_replace(phase);
        if before != phase {
            tracing::info!("the broker {}", phase.says());
        }
    }

    /// The first registration; a controller that does not take it in time ends the node.
    async fn register_in_time(&self) -> Option<i64> {
        let shared = &self.start.shared;
        let limit = shared.config.load().lifecycle.registration_timeout;
        let registered = tokio::time::timeout(limit, self.register()).await.ok();
        if registered.is_none() {
            shared.fatal.send_replace(Some(format!(
                "no controller took this broker's registration within {} ms \
                 (initial.broker.registration.timeout.ms)",
                limit.as_millis()
            )));
        }
        registered
    }

    /// Tries until the controller takes the registration.
    async fn register(&self) -> i64 {
        let request = self.registration();
        let mut pause = BACKOFF;
        loop {
            let outcome = match self.start.forwarder.send(&request).await {
                Ok(response) if response.error_code == 0 => {
                    self.epoch.store(response.broker_epoch, Ordering::Release);
                    tracing::debug!(epoch = response.broker_epoch, "registered");
                    return response.broker_epoch;
                }
                Ok(response) => {
                    let code = ErrorCode::from_code(response.error_code);
                    ForwardError::Refused(code.unwrap_or(ErrorCode::UnknownServerError))
                }
                Err(error) => error,
            };
            if let ForwardError::Refused(code) = &outcome
                && !matches!(code, ErrorCode::NotController)
            {
                tracing::warn!(%code, "the controller refuses the registration: {}", code.message());
                self.start.forwarder.forget().await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    fn registration(&self) -> BrokerRegistrationRequest {
        let shared = &self.start.shared;
        let listeners = self.start.listeners.iter().map(|listener| Listener {
            name: Str::from(listener.name.as_str()),
            host: Str::from(listener.host.as_str()),
            port: listener.port,
            security_protocol: listener.protocol.id(),
        });
        let features = ottla_metadata::features::supported_features();
        BrokerRegistrationRequest {
            broker_id: shared.node_id().to_wire(),
            cluster_id: Str::from(shared.cluster_id()),
            incarnation_id: shared.identity.incarnation.0,
            listeners: listeners.collect(),
            features: features
                .iter()
                .map(|(name, range)| Feature {
                    name: Str::from(name.as_str()),
                    min_supported_version: range.min,
                    max_supported_version: range.max,
                })
                .collect(),
            rack: shared.config.load().rack.as_deref().map(Str::from),
            log_dirs: shared.replicas.online_directories().into_iter().map(|id| id.0).collect(),
            previous_broker_epoch: BrokerEpoch::option_to_wire(self.start.previous_epoch),
            ..Default::default()
        }
    }

    async fn beat(
        &mut self,
        epoch: i64,
        stopping: bool,
    ) -> Result<BrokerHeartbeatResponse, ForwardError> {
        let shared = self.start.shared.clone();
        let published = self.start.published.borrow_and_update().to_wire();
        let request = BrokerHeartbeatRequest {
            broker_id: shared.node_id().to_wire(),
            broker_epoch: epoch,
            current_metadata_offset: published - 1,
            want_fence: false,
            want_shut_down: stopping,
            offline_log_dirs: shared.replicas.offline_directories().iter().map(|id| id.0).collect(),
            cordoned_log_dirs: Some(
                shared.replicas.cordoned_directories().iter().map(|id| id.0).collect(),
            ),
        };
        let response = self.start.forwarder.send(&request).await?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => Ok(response),
            other => Err(ForwardError::Refused(other.unwrap_or(ErrorCode::UnknownServerError))),
        }
    }

    /// Tells the controller where replicas lie.
    async fn assign(&self, epoch: i64) {
        let shared = &self.start.shared;
        let assignments = shared.replicas.take_assignments();
        if assignments.is_empty() {
            return;
        }
        let request = AssignReplicasToDirsRequest {
            broker_id: shared.node_id().to_wire(),
            broker_epoch: epoch,
            directories: group(&assignments),
        };
        let refused = match self.start.forwarder.send(&request).await {
            Ok(response) if response.error_code == 0 => {
                let codes = answers(&response);
                let code = |one: &Assignment| codes.get(one).copied().unwrap_or_default();
                let (accepted, refused): (Vec<_>, Vec<_>) =
                    assignments.into_iter().partition(|one| code(one) == 0);
                shared.replicas.assigned(&accepted);
                // A replica that the controller does not know is gone, or about to be.
                refused.into_iter().filter(|one| may_succeed(code(one))).collect()
            }
            Ok(response) => {
                let code = ErrorCode::from_code(response.error_code);
                let code = code.unwrap_or(ErrorCode::UnknownServerError);
                tracing::warn!(%code, "directories were not assigned, trying again");
                assignments
            }
            Err(error) => {
                tracing::warn!(%error, "directories were not assigned, trying again");
                assignments
            }
        };
        if !refused.is_empty() {
            tokio::time::sleep(BACKOFF_MAX).await;
            shared.replicas.return_assignments(refused);
        }
    }
}

/// Error codes by replica and directory.
fn answers(response: &AssignReplicasToDirsResponse) -> BTreeMap<Assignment, i16> {
    let mut codes = BTreeMap::new();
    for directory in &response.directories {
        for topic in &directory.topics {
            for partition in &topic.partitions {
                let Some(index) = PartitionIndex::from_wire(partition.partition_index) else {
                    continue;
                };
                let one = Assignment {
                    directory: DirectoryId(directory.id),
                    topic: TopicId(topic.topic_id),
                    partition: index,
                };
                codes.insert(one, partition.error_code);
            }
        }
    }
    codes
}

fn may_succeed(code: i16) -> bool {
    let gone = [
        ErrorCode::UnknownTopicId,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::NotLeaderOrFollower,
    ];
    !gone.iter().any(|gone| gone.code() == code)
}

fn group(assignments: &[Assignment]) -> Vec<DirectoryData> {
    let mut directories: Vec<DirectoryData> = Vec::new();
    for assignment in assignments {
        let id = assignment.directory.0;
        let place = directories.iter().position(|directory| directory.id == id);
        let place = place.unwrap_or_else(|| {
            directories.push(DirectoryData { id, topics: Vec::new() });
            directories.len() - 1
        });
        let Some(directory) = directories.get_mut(place) else { continue };
        let partition = PartitionData { partition_index: assignment.partition.to_wire() };
        let topic_id = assignment.topic.0;
        match directory.topics.iter_mut().find(|topic| topic.topic_id == topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                directory.topics.push(TopicData { topic_id, partitions: vec![partition] });
            }
        }
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_from_when_it_could_not_be_told() {
        let at = |seconds: u64| MonoTime::from_millis(seconds * 1000);
        let mut failures = Failures::default();
        assert_eq!(failures.untold_for(0, at(1)), None);
        assert_eq!(failures.untold_for(1, at(2)), Some(Duration::ZERO));
        assert_eq!(failures.untold_for(2, at(5)), Some(Duration::from_secs(3)));
        failures.told(2);
        assert_eq!(failures.untold_for(2, at(9)), None);
        assert_eq!(failures.untold_for(3, at(10)), Some(Duration::ZERO));
    }
}
