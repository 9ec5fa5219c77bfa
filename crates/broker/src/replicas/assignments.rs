//! What the controller must be told of where replicas lie (AssignReplicasToDirs).
//!
//! The newest directory of a replica wins. Nothing is sent here.

use std::collections::BTreeMap;

use ottla_types::{DirectoryId, PartitionIndex, TopicId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Replicas;

/// A replica whose directory the controller does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Assignment {
    pub(crate) directory: DirectoryId,
    pub(crate) topic: TopicId,
    pub(crate) partition: PartitionIndex,
}

/// Assignments that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    waiting: Mutex<BTreeMap<(TopicId, PartitionIndex), DirectoryId>>,
    ready: Notify,
}

/// Most assignments in one request, as in Kafka.
const AT_ONCE: usize = 2_250;

impl Replicas {
    /// Has the controller told where a replica lies, or is about to lie.
    pub(super) fn assign(&self, assignment: Assignment) {
        let key = (assignment.topic, assignment.partition);
        self.assignments.waiting.lock().insert(key, assignment.directory);
        self.assignments.ready.notify_one();
    }

    /// Completes when there are assignments to tell.
    pub(crate) async fn assignments_ready(&self) {
        self.assignments.ready.notified().await;
    }

    /// Takes the assignments that the controller must be told.
    pub(crate) fn take_assignments(&self) -> Vec<Assignment> {
        let mut waiting = self.assignments.waiting.lock();
        let mut taken = Vec::new();
        while taken.len() < AT_ONCE
            && let Some(((topic, partition), directory)) = waiting.pop_first()
        {
            taken.push(Assignment { directory, topic, partition });
        }
        if !waiting.is_empty() {
            self.assignments.ready.notify_one();
        }
        taken
    }

    /// Gives assignments back that the controller did not take; they are told again later, unless
    /// a newer directory of the same replica waits.
    pub(crate) fn return_assignments(&self, assignments: Vec<Assignment>) {
        if assignments.is_empty() {
            return;
        }
        let mut waiting = self.assignments.waiting.lock();
        for Assignment { directory, topic, partition } in assignments {
            waiting.entry((topic, partition)).or_insert(directory);
        }
        self.assignments.ready.notify_one();
    }
}
