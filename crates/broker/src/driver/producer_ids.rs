//! Producer ids: handed out one by one from blocks that the controller allocates.
//!
//! The next block is fetched before the current one is used up. A request that finds no id left
//! waits for the block instead of being sent away (Kafka answers `COORDINATOR_LOAD_IN_PROGRESS`
//! at once, and the client waits for its backoff).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ottla_types::{ErrorCode, ProducerId};
use parking_lot::Mutex;

use crate::forward::ForwardError;
use crate::shared::Shared;

/// The next block is asked for when less than a tenth of the current one is left.
const PREFETCH_DIVISOR: u64 = 10;
/// How long a request waits for a block.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after the controller did not give a block.
const BACKOFF: Duration = Duration::from_millis(50);

/// The producer ids of this broker.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    blocks: Mutex<Blocks>,
    /// Held while a block is asked for, so that one request goes out for all that wait.
    asking: tokio::sync::Mutex<()>,
}

/// Ids that are not handed out yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Blocks {
    current: Range<u64>,
    next: Option<Range<u64>>,
    prefetch_below: u64,
    prefetching: bool,
}

impl Blocks {
    /// Takes an id, if there is one; the flag says whether a block should be fetched now.
    fn take(&mut self) -> (Option<ProducerId>, bool) {
        if self.current.is_empty()
            && let Some(next) = self.next.take()
        {
            self.prefetch_below = (next.end - next.start) / PREFETCH_DIVISOR;
            self.current = next;
        }
        let id = self.current.next().map(ProducerId);
        let left = self.current.end - self.current.start;
        let prefetch =
            id.is_some() && self.next.is_none() && left <= self.prefetch_below && !self.prefetching;
        self.prefetching |= prefetch;
        (id, prefetch)
    }

    /// Whether a block is still needed; somebody who waited may have fetched one.
    fn wants_more(&mut self) -> bool {
        self.prefetching &= self.next.is_none();
        self.prefetching
    }

    fn add(&mut self, block: Range<u64>) {
        assert!(!block.is_empty(), "a block has ids");
        self.next = Some(block);
        self.prefetching = false;
    }
}

impl ProducerIds {
    /// An id that is at hand. Must be called inside a tokio runtime.
    pub(crate) fn take(&self, shared: &Arc<Shared>) -> Option<ProducerId> {
        let (id, prefetch) = self.blocks.lock().take();
        if prefetch {
            let shared = shared.clone();
            tokio::spawn(async move {
                let ids = &shared.producer_ids;
                let _asking = ids.asking.lock().await;
                if !ids.blocks.lock().wants_more() {
                    return;
                }
                match fetch(&shared).await {
                    Ok(block) => ids.blocks.lock().add(block),
                    Err(error) => {
                        tracing::warn!(%error, "no block of producer ids");
                        ids.blocks.lock().prefetching = false;
                    }
                }
            });
        }
        id
    }

    /// An id, for which a block is fetched first if need be.
    pub(crate) async fn wait(&self, shared: &Arc<Shared>) -> Result<ProducerId, ErrorCode> {
        let attempt = async {
            loop {
                let _asking = self.asking.lock().await;
                // Somebody else may have fetched a block in the meantime.
                if let Some(id) = self.take(shared) {
                    return id;
                }
                match fetch(shared).await {
                    Ok(block) => self.blocks.lock().add(block),
                    Err(error) => {
                        tracing::warn!(%error, "no block of producer ids");
                        tokio::time::sleep(BACKOFF).await;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, attempt)
            .await
            .map_err(|_| ErrorCode::CoordinatorLoadInProgress)
    }
}

/// Asks the controller for a block.
async fn fetch(shared: &Shared) -> Result<Range<u64>, ForwardError> {
    let forwarder = shared.forwarder.get().ok_or(ForwardError::NoController)?;
    // Not the image's: just after a start it still has the former process.
    let epoch = shared.broker_epoch();
    let (start, count) = forwarder.allocate_producer_ids(shared.node_id(), epoch).await?;
    match (u64::try_from(start), u64::try_from(count)) {
        (Ok(start), Ok(count @ 1..)) => Ok(start..start.saturating_add(count)),
        _ => Err(ForwardError::Codec(format!("a block of {count} ids from {start}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_used_once_and_the_next_block_comes_in_time() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.take(), (None, false));
        blocks.add(0..20);
        let mut prefetches = Vec::new();
        for expected in 0..20 {
            let (id, prefetch) = blocks.take();
            assert_eq!(id, Some(ProducerId(expected)));
            if prefetch {
                prefetches.push(expected);
            }
        }
        // Once, when two of twenty are left.
        assert_eq!(prefetches, [17]);
        assert_eq!(blocks.take(), (None, false));
        blocks.add(1000..1010);
        assert_eq!(blocks.take(), (Some(ProducerId(1000)), false));
        assert!(!blocks.prefetching);
    }
}
