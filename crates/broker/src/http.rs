//! The HTTP listener: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever watches.
//!
//! It serves figures only; nothing can be changed here, and it listens on loopback unless
//! `ottla.http.listener` says otherwise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use ottla_config::BrokerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::driver::lifecycle::Phase;
use crate::node::StartError;
use crate::shared::Shared;
use crate::telemetry;

/// A port that is taken and not served yet.
pub(crate) struct BoundHttp {
    listener: TcpListener,
    address: SocketAddr,
}

/// The running server.
pub(crate) struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl BoundHttp {
    /// Takes the port, if the configuration has one. With `optional` a port that cannot be had is
    /// a warning.
    ///
    /// # Errors
    /// The port cannot be had.
    pub(crate) async fn bind(
        config: &BrokerConfig,
        optional: bool,
    ) -> Result<Option<Self>, StartError> {
        let Some(wanted) = &config.http_listener else { return Ok(None) };
        let bound = match TcpListener::bind((wanted.host.as_str(), wanted.port)).await {
            Ok(listener) => listener.local_addr().map(|address| (listener, address)),
            Err(error) => Err(error),
        };
        match bound {
            Ok((listener, address)) => Ok(Some(Self { listener, address })),
            Err(source) => {
                let address = format!("{}:{}", wanted.host, wanted.port);
                if optional {
                    tracing::warn!(address, error = %source, "no metrics: the port cannot be had");
                    return Ok(None);
                }
                Err(StartError::Http { address, source })
            }
        }
    }
}

impl HttpServer {
    /// Serves on a port that has been taken.
    pub(crate) fn start(shared: &Arc<Shared>, bound: BoundHttp) -> Self {
        let BoundHttp { listener, address } = bound;
        telemetry::register(shared);
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(shared.clone());
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let stopping = async move {
                // A sender that is gone means the same.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            let served = axum::serve(listener, routes).with_graceful_shutdown(stopping);
            if let Err(error) = served.await {
                tracing::error!(%error, "the HTTP listener failed");
            }
        });
        Self { address, stop, task }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops; an answer that is being sent gets a moment.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(PATIENCE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

const PATIENCE: Duration = Duration::from_millis(500);

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    telemetry::refresh(&shared);
    let now = Duration::from_nanos(shared.clock.now().as_nanos());
    let text = ottla_metrics::render(shared.telemetry.registry(), now);
    ([(header::CONTENT_TYPE, ottla_metrics::CONTENT_TYPE)], text)
}

async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.phase() {
        Some(Phase::Running) => (StatusCode::OK, "ready\n"),
        Some(Phase::Starting) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the broker catches up with the metadata\n")
        }
        Some(Phase::Recovery) => (StatusCode::SERVICE_UNAVAILABLE, "the broker is still fenced\n"),
        Some(Phase::PendingShutdown | Phase::Stopped) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the broker is shutting down\n")
        }
        None => match shared.quorum.get().and_then(|quorum| quorum.leader()) {
            Some(_) => (StatusCode::OK, "ready\n"),
            None => (StatusCode::SERVICE_UNAVAILABLE, "the metadata quorum has no leader\n"),
        },
    }
}
