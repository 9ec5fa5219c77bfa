//! The task that looks after log directories as time passes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::replicas::Schedule;
use crate::shared::Shared;

/// How often the schedule is looked at; every interval it serves is a second or more.
const TICK: Duration = Duration::from_secs(1);

/// Handle of the task.
pub(crate) struct Upkeep {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Upkeep {
    /// Starts the task.
    pub(crate) fn start(shared: &Arc<Shared>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let shared = shared.clone();
        let mut schedule = Schedule::new(&shared);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(TICK) => {}
                    () = shared.replicas.directory_failed() => {
                        handle_failures(&shared).await;
                        continue;
                    }
                    _ = stopped.changed() => return,
                }
                let theirs = shared.clone();
                let mut next = schedule;
                let done = tokio::task::spawn_blocking(move || {
                    theirs.replicas.upkeep(&theirs, &mut next);
                    next
                });
                match done.await {
                    Ok(next) => schedule = next,
                    Err(error) => tracing::error!(%error, "upkeep failed"),
                }
            }
        });
        Self { stop, task }
    }

    /// Ends the task after what it is doing.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::error!("upkeep did not end cleanly");
        }
    }
}

/// Acts on failed log directories.
async fn handle_failures(shared: &Arc<Shared>) {
    let theirs = shared.clone();
    let handled =
        tokio::task::spawn_blocking(move || theirs.replicas.handle_failures(&theirs)).await;
    match handled {
        Ok(None) => {}
        Ok(Some(reason)) => {
            shared.fatal.send_replace(Some(reason));
        }
        Err(error) => tracing::error!(%error, "a failed log directory could not be dealt with"),
    }
}
