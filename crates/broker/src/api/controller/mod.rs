//! Requests that the active controller decides, on its listener.
//!
//! Each handler turns the wire's message into the controller's own request, waits for the commit,
//! and turns the answer back.

pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod partitions;
pub(crate) mod quorum;
pub(crate) mod registration;
pub(crate) mod topics;

use std::future::Future;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::controller::{ApiError, Outcome, Request, Response};
use ottla_types::ErrorCode;

use crate::dispatch::Reply;
use crate::shared::Shared;

/// Asks the controller and makes the answer from what it says.
pub(crate) fn ask<R: Send + 'static>(
    shared: &Arc<Shared>,
    request: Request,
    answer: impl FnOnce(Result<Response, ApiError>) -> R + Send + 'static,
) -> Reply<R> {
    let wait = decision(shared, request);
    Reply::later(async move { answer(wait.await) })
}

fn decision(
    shared: &Arc<Shared>,
    request: Request,
) -> impl Future<Output = Result<Response, ApiError>> + Send + 'static {
    let controller = shared.controller.get().cloned();
    async move {
        let Some(controller) = controller else { return Err(ErrorCode::NotController.into()) };
        match controller.request(request).await {
            Response::Refused(error) => Err(error),
            response => Ok(response),
        }
    }
}

/// Where the quorum's leader listens under the name of a listener, with its id.
pub(crate) fn leader_endpoint(shared: &Shared, listener: &str) -> Option<(i32, Str, u16)> {
    let status = shared.quorum.get()?.status();
    let leader = status.leader?;
    let voter = status.voters.iter().find(|voter| voter.key.node == leader);
    let known = voter.and_then(|voter| voter.endpoints.iter().find(|e| e.name == listener));
    if let Some(endpoint) = known {
        return Some((leader.to_wire(), Str::from(endpoint.host.as_str()), endpoint.port));
    }
    // Static voters have no addresses in the quorum, but they have registered.
    let image = shared.image.load();
    let registered = image.controllers().get(&leader)?.listeners.iter();
    let endpoint = registered.into_iter().find(|endpoint| endpoint.name == listener)?;
    Some((leader.to_wire(), Str::from(endpoint.host.as_str()), endpoint.port))
}

/// Code and message of an error, as responses carry them.
pub(crate) fn told(error: &ApiError) -> (i16, Option<Str>) {
    (error.code.code(), error.message.as_deref().map(Str::from))
}

/// Code and message of an outcome.
pub(crate) fn outcome(outcome: &Outcome) -> (i16, Option<Str>) {
    outcome.as_ref().map_or_else(told, |()| (0, None))
}

/// An answer of the controller that does not belong to the request.
pub(crate) fn mismatched() -> ApiError {
    ApiError::new(ErrorCode::UnknownServerError, "the controller gave another answer")
}
