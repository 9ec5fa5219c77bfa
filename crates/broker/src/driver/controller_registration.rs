//! Registers this node's controller part with the active controller (KIP-919).
//!
//! Tools that come by a controller listener learn from the registrations where controllers
//! listen, and feature updates which levels each of them can run. One task: whenever the metadata
//! holds no registration of this run of the process, it sends one. It decides nothing about the
//! quorum; a controller votes whether it is registered or not.

use std::sync::Arc;
use std::time::Duration;

use ottla_codec::Str;
use ottla_metadata::features::supported_features;
use ottla_protocol::controller_registration_request::{
    ControllerRegistrationRequest, Feature, Listener,
};
use ottla_types::{ErrorCode, Offset};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lifecycle::Advertised;
use crate::forward::{ForwardError, Forwarder};
use crate::shared::Shared;

/// First pause after a registration failed; each further one is twice as long.
const BACKOFF: Duration = Duration::from_millis(100);
/// Longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long an accepted registration may take to become effective here before it is sent again.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(5);

/// What the task is started with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) forwarder: Forwarder,
    /// Where this node's controller part listens.
    pub(crate) listeners: Vec<Advertised>,
    /// Offset up to which metadata is effective here.
    pub(crate) published: watch::Receiver<Offset>,
}

/// Starts the task; aborting it ends it.
pub(crate) fn start(start: Start) -> JoinHandle<()> {
    tokio::spawn(start.run())
}

impl Start {
    async fn run(mut self) {
        let mut pause = BACKOFF;
        // Ends when the publisher does.
        while self.wait_for(|start| start.is_wanted()).await {
            match self.register().await {
                Ok(()) => {
                    pause = BACKOFF;
                    let effective = self.wait_for(|start| !start.is_wanted());
                    // Time running out means to send it again.
                    let _ = tokio::time::timeout(EFFECTIVE_WITHIN, effective).await;
                }
                Err(error) => {
                    tracing::info!(%error, "this controller could not be registered");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Waits for metadata of which `wanted` holds; false when there will be no more metadata.
    async fn wait_for(&mut self, wanted: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.published.borrow_and_update();
            if wanted(self) {
                return true;
            }
            if self.published.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Whether the metadata could hold this run's registration and does not.
    fn is_wanted(&self) -> bool {
        let image = self.shared.image.load();
        let supported = image.metadata_version().is_some_and(|v| v.controller_registration());
        let own = image.controllers().get(&self.shared.node_id());
        let incarnation = self.shared.identity.incarnation;
        supported && own.is_none_or(|own| own.incarnation != incarnation)
    }

    async fn register(&self) -> Result<(), ForwardError> {
        let response = self.forwarder.send(&self.request()).await?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => Ok(()),
            other => {
                // Whoever refuses may not be the active controller any more.
                self.forwarder.forget().await;
                Err(ForwardError::Refused(other.unwrap_or(ErrorCode::UnknownServerError)))
            }
        }
    }

    fn request(&self) -> ControllerRegistrationRequest {
        let listeners = self.listeners.iter().map(|listener| Listener {
            name: Str::from(listener.name.as_str()),
            host: Str::from(listener.host.as_str()),
            port: listener.port,
            security_protocol: listener.protocol.id(),
        });
        let features = supported_features();
        let features = features.iter().map(|(name, range)| Feature {
            name: Str::from(name.as_str()),
            min_supported_version: range.min,
            max_supported_version: range.max,
        });
        ControllerRegistrationRequest {
            controller_id: self.shared.node_id().to_wire(),
            incarnation_id: self.shared.identity.incarnation.0,
            zk_migration_ready: false,
            listeners: listeners.collect(),
            features: features.collect(),
        }
    }
}
