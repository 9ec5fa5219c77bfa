//! What a failed log directory takes with it: its partitions, its moves, perhaps the process.

use std::path::Path;
use std::sync::Arc;

use super::Replicas;
use crate::shared::Shared;

impl Replicas {
    /// Completes when a directory has failed.
    pub(crate) async fn directory_failed(&self) {
        self.alarm.notified().await;
    }

    /// Takes partitions of failed directories out of service and lets the controller hear of it.
    /// Answers why the process cannot go on, if it cannot.
    pub(crate) fn handle_failures(&self, shared: &Arc<Shared>) -> Option<String> {
        let mut fresh = Vec::new();
        for (place, handled) in self.handled.lock().iter_mut().enumerate() {
            let failed = self.dirs.get(place).is_some_and(super::DataDir::is_offline);
            if failed && !std::mem::replace(handled, true) {
                fresh.push(place);
            }
        }
        let mut count = 0;
        for partition in shared.partitions.all() {
            if fresh.contains(&partition.directory()) {
                partition.fail();
                count += 1;
            }
        }
        for place in fresh {
            self.abandon_moves(place);
            let dir = self.dirs.get(place).map(|dir| dir.path.as_str());
            tracing::error!(
                dir,
                partitions = count,
                "partitions of a failed log directory are offline"
            );
        }
        self.beat_soon.notify_one();
        self.fatal(shared)
    }

    /// Why the process cannot go on without its failed directories.
    pub(crate) fn fatal(&self, shared: &Shared) -> Option<String> {
        let config = shared.config.load();
        let metadata = &config.dirs.metadata_log_dir;
        if self.dirs.iter().any(|d| Path::new(&d.path) == Path::new(metadata) && d.is_offline()) {
            return Some(format!("the metadata log directory {metadata} has failed"));
        }
        let all = self.dirs.iter().all(super::DataDir::is_offline);
        let paths: Vec<&str> = self.paths().collect();
        all.then(|| format!("all log directories have failed: {}", paths.join(", ")))
    }
}
