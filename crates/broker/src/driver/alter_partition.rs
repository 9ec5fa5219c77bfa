//! Tells the controller what a leader knows of its partitions: that they have recovered from an
//! unclean election (KIP-966), and that no other replica is in sync.
//!
//! A leader that was elected although it may lack data is marked as recovering. Once its log is
//! open here there is nothing more that it could do, so it says so with AlterPartition, and the
//! partition's ISR may grow again. Replicas of other brokers leave the ISR at once: this broker
//! does not look after followers, and must not count on them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::{ImageDelta, LeaderRecovery, PartitionState};
use ottla_protocol::alter_partition_request::{
    AlterPartitionRequest, BrokerState, PartitionData, TopicData,
};
use ottla_protocol::alter_partition_response::AlterPartitionResponse;
use ottla_types::{ErrorCode, LeaderEpoch, PartitionIndex, TopicId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::forward::{ForwardError, Forwarder};
use crate::shared::Shared;

/// Pause after something failed.
const BACKOFF: Duration = Duration::from_millis(50);
/// Most partitions in one request.
const PARTITIONS_MAX: usize = 1_000;

type Key = (TopicId, PartitionIndex);

/// Partitions that this broker leads and that the metadata calls recovering, or in sync elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Recovering {
    partitions: Mutex<HashMap<Key, Arc<PartitionState>>>,
    ready: Notify,
}

impl Recovering {
    /// Notes what new metadata says; called after it has become effective for the replicas.
    pub(crate) fn note(&self, shared: &Shared, delta: &ImageDelta) {
        let node = shared.node_id();
        let mut partitions = self.partitions.lock();
        for changed in &delta.partitions {
            let key = (changed.topic.id, changed.partition);
            let recovering = changed.state.new.as_ref().filter(|state| {
                let differs = state.recovery == LeaderRecovery::Recovering || state.isr != [node];
                state.leader == Some(node) && differs
            });
            // A log that could not be opened has not recovered.
            let hosted = shared.partitions.find(Some(changed.topic.id), &changed.topic.name);
            let here = hosted.is_some_and(|topic| topic.partition(changed.partition).is_some());
            match recovering.filter(|_| here) {
                Some(state) => partitions.insert(key, state.clone()),
                None => partitions.remove(&key),
            };
        }
        if !partitions.is_empty() {
            self.ready.notify_one();
        }
    }

    fn take(&self) -> Vec<(Key, Arc<PartitionState>)> {
        let mut partitions = self.partitions.lock();
        let keys: Vec<Key> = partitions.keys().take(PARTITIONS_MAX).copied().collect();
        let mut taken: Vec<_> =
            keys.into_iter().filter_map(|key| partitions.remove_entry(&key)).collect();
        taken.sort_unstable_by_key(|(key, _)| *key);
        taken
    }

    /// Gives back what was not done; what newer metadata says has precedence.
    fn give_back(&self, taken: impl IntoIterator<Item = (Key, Arc<PartitionState>)>) {
        let mut partitions = self.partitions.lock();
        for (key, state) in taken {
            partitions.entry(key).or_insert(state);
        }
    }
}

/// Starts the task; aborting it ends it.
pub(crate) fn start(shared: &Arc<Shared>, forwarder: &Forwarder) -> JoinHandle<()> {
    tokio::spawn(run(shared.clone(), forwarder.clone()))
}

async fn run(shared: Arc<Shared>, forwarder: Forwarder) {
    loop {
        let taken = shared.recovering.take();
        if taken.is_empty() {
            shared.recovering.ready.notified().await;
            continue;
        }
        let request = request(&shared, &taken);
        match send(&forwarder, &request).await {
            Ok(response) => {
                let again = to_try_again(&response);
                if !again.is_empty() {
                    let kept = taken.into_iter().filter(|(key, _)| again.contains(key));
                    shared.recovering.give_back(kept);
                    tokio::time::sleep(BACKOFF).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the state of partitions could not be told");
                shared.recovering.give_back(taken);
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

async fn send(
    forwarder: &Forwarder,
    request: &AlterPartitionRequest,
) -> Result<AlterPartitionResponse, ForwardError> {
    let response = forwarder.send(request).await?;
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => Ok(response),
        other => {
            if other == Some(ErrorCode::NotController) {
                forwarder.forget().await;
            }
            Err(ForwardError::Refused(other.unwrap_or(ErrorCode::UnknownServerError)))
        }
    }
}

fn request(shared: &Shared, taken: &[(Key, Arc<PartitionState>)]) -> AlterPartitionRequest {
    let (own, own_epoch) = (shared.node_id(), shared.broker_epoch());
    let mut topics: Vec<TopicData> = Vec::new();
    for ((topic, partition), state) in taken {
        let alone = BrokerState { broker_id: own.to_wire(), broker_epoch: own_epoch };
        let data = PartitionData {
            partition_index: partition.to_wire(),
            leader_epoch: LeaderEpoch::to_wire(state.leader_epoch),
            new_isr_with_epochs: vec![alone],
            leader_recovery_state: LeaderRecovery::Recovered.code(),
            partition_epoch: state.partition_epoch.to_wire(),
            ..Default::default()
        };
        match topics.last_mut().filter(|last| last.topic_id == topic.0) {
            Some(last) => last.partitions.push(data),
            None => topics.push(TopicData { topic_id: topic.0, partitions: vec![data] }),
        }
    }
    AlterPartitionRequest { broker_id: own.to_wire(), broker_epoch: own_epoch, topics }
}

/// Partitions whose request may succeed later. After every other error newer metadata is on its
/// way, and brings the partition here again if it is still recovering.
fn to_try_again(response: &AlterPartitionResponse) -> Vec<Key> {
    let mut again = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let code = ErrorCode::from_code(partition.error_code);
            let later = matches!(
                code,
                Some(ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted)
            );
            if let Some(index) = PartitionIndex::from_wire(partition.partition_index)
                && later
            {
                again.push((TopicId(topic.topic_id), index));
            }
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use ottla_protocol::alter_partition_response as answer;
    use ottla_types::{NodeId, PartitionEpoch, Uuid};

    use super::*;

    fn state(partition_epoch: u32) -> Arc<PartitionState> {
        Arc::new(PartitionState {
            replicas: vec![NodeId(1)],
            directories: Vec::new(),
            isr: vec![NodeId(1)],
            removing: Vec::new(),
            adding: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: Some(NodeId(1)),
            recovery: LeaderRecovery::Recovering,
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(partition_epoch),
        })
    }

    #[test]
    fn what_is_given_back_does_not_replace_newer_metadata() {
        let recovering = Recovering::default();
        let (first, second) = (
            (TopicId(Uuid([7; 16])), PartitionIndex(0)),
            (TopicId(Uuid([7; 16])), PartitionIndex(1)),
        );
        recovering.partitions.lock().extend([(second, state(1)), (first, state(1))]);
        let taken = recovering.take();
        assert_eq!(taken.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [first, second]);
        assert!(recovering.take().is_empty());
        recovering.partitions.lock().insert(second, state(2));
        recovering.give_back(taken);
        let epochs: Vec<_> =
            recovering.take().iter().map(|(_, state)| state.partition_epoch.0).collect();
        assert_eq!(epochs, [1, 2]);
    }

    #[test]
    fn only_errors_that_pass_by_themselves_are_tried_again() {
        let data = |partition_index, code: ErrorCode| answer::PartitionData {
            partition_index,
            error_code: code.code(),
            ..Default::default()
        };
        let partitions = vec![
            data(0, ErrorCode::None),
            data(1, ErrorCode::IneligibleReplica),
            data(2, ErrorCode::FencedLeaderEpoch),
            data(3, ErrorCode::OperationNotAttempted),
            data(4, ErrorCode::InvalidUpdateVersion),
        ];
        let topic_id = Uuid([7; 16]);
        let topics = vec![answer::TopicData { topic_id, partitions }];
        let again = to_try_again(&AlterPartitionResponse { topics, ..Default::default() });
        let again: Vec<u32> = again.into_iter().map(|(_, index)| index.0).collect();
        assert_eq!(again, [1, 3]);
    }
}
