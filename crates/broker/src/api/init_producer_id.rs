//! InitProducerId (22): an idempotent producer gets its id.
//!
//! Every call hands out a new one. Transactions are not there yet: a transactional id gets an
//! error that no client tries again.

use std::sync::Arc;

use ottla_protocol::init_producer_id_request::InitProducerIdRequest;
use ottla_protocol::init_producer_id_response::InitProducerIdResponse;
use ottla_types::{ErrorCode, ProducerId};

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: InitProducerIdRequest,
) -> Reply<InitProducerIdResponse> {
    if let Err(code) = check(&request) {
        return Reply::Now(answer(Err(code)));
    }
    if let Some(id) = shared.producer_ids.take(shared) {
        return Reply::Now(answer(Ok(id)));
    }
    let shared = shared.clone();
    Reply::later(async move { answer(shared.producer_ids.wait(&shared).await) })
}

fn check(request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    // An id without an epoch, or the other way round.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        None => Ok(()),
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::UnsupportedVersion),
    }
}

fn answer(outcome: Result<ProducerId, ErrorCode>) -> InitProducerIdResponse {
    match outcome {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.to_wire(),
            producer_epoch: 0,
            ..Default::default()
        },
        Err(code) => InitProducerIdResponse {
            error_code: code.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use ottla_codec::Str;

    use super::*;

    #[test]
    fn checks_in_kafkas_order() {
        let check = |transactional: Option<&str>, producer_id, producer_epoch| {
            check(&InitProducerIdRequest {
                transactional_id: transactional.map(Str::from),
                producer_id,
                producer_epoch,
                ..Default::default()
            })
        };
        assert_eq!(check(None, -1, -1), Ok(()));
        assert_eq!(check(None, 5, 0), Ok(()));
        assert_eq!(check(Some("t"), 5, -1), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(Some("t"), -1, 0), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(Some(""), -1, -1), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(Some("t"), -1, -1), Err(ErrorCode::UnsupportedVersion));
    }
}
