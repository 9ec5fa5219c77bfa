//! Envelope (58) on a controller listener: a client's request that a broker passes on.
//!
//! The inner request is answered as if the client had come by itself; its answer goes back as
//! bytes. Only requests that may be forwarded are taken.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ottla_codec::{Message, Reader};
use ottla_net::{Answer, Handled};
use ottla_protocol::{
    ApiKey, DefaultPrincipalData, EnvelopeRequest, EnvelopeResponse, RequestHeader,
};
use ottla_types::ErrorCode;

use crate::api;
use crate::dispatch::{Reply, RequestContext};
use crate::forward::join;
use crate::shared::Shared;

/// APIs that brokers pass on.
const FORWARDABLE: &[ApiKey] = &[
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::AllocateProducerIds,
];

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: EnvelopeRequest,
) -> Reply<EnvelopeResponse> {
    let active = shared.quorum.get().is_some_and(|quorum| quorum.status().active);
    if !active {
        return Reply::Now(refused(ErrorCode::NotController));
    }
    let (inner, body) = match inner(ctx, &request) {
        Ok(inner) => inner,
        Err(code) => return Reply::Now(refused(code)),
    };
    match api::route(shared, inner, body) {
        Handled::Now(answer) => Reply::Now(wrap(answer)),
        Handled::Later(wait) => Reply::later(async move { wrap(wait.await) }),
    }
}

fn inner(
    ctx: &RequestContext,
    request: &EnvelopeRequest,
) -> Result<(RequestContext, Reader), ErrorCode> {
    check_principal(request.request_principal.as_ref())?;
    let address = ip(&request.client_host_address).ok_or(ErrorCode::InvalidRequest)?;
    // What is wrong with the inner request is told apart from what is wrong with the envelope.
    let unreadable = |_| ErrorCode::UnsupportedVersion;
    let mut peek = Reader::new(request.request_data.clone());
    let key = peek.i16("request_api_key").map_err(unreadable)?;
    let version = peek.i16("request_api_version").map_err(unreadable)?;
    let api = ApiKey::from_key(key).ok_or(ErrorCode::UnsupportedVersion)?;
    if !FORWARDABLE.contains(&api) {
        return Err(ErrorCode::InvalidRequest);
    }
    if !api::offers(ctx.kind, api, version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let mut body = Reader::new(request.request_data.clone());
    let header = RequestHeader::decode(&mut body, api.request_header_version(version))
        .map_err(unreadable)?;
    let inner = RequestContext {
        api,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        listener: ctx.listener.clone(),
        kind: ctx.kind,
        peer: SocketAddr::new(address, 0),
        bytes: u64::try_from(request.request_data.len()).unwrap_or(u64::MAX),
        received: ctx.received,
        forwarded: true,
    };
    Ok((inner, body))
}

/// Everybody may do everything yet, but a principal that nobody can read is an error.
fn check_principal(principal: Option<&Bytes>) -> Result<(), ErrorCode> {
    let read = |bytes: &Bytes| {
        let mut reader = Reader::new(bytes.clone());
        let version = reader.i16("version").ok()?;
        DefaultPrincipalData::decode(&mut reader, version).ok()
    };
    principal.and_then(read).map(drop).ok_or(ErrorCode::PrincipalDeserializationFailure)
}

fn ip(bytes: &Bytes) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_ref()) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes.as_ref()).ok().map(IpAddr::from)
}

fn wrap(answer: Answer) -> EnvelopeResponse {
    match answer {
        Answer::Send(parts) | Answer::SendAndClose(parts, _) => match join(&parts) {
            Some(data) => EnvelopeResponse { response_data: Some(data), error_code: 0 },
            None => refused(ErrorCode::UnknownServerError),
        },
        Answer::Nothing => EnvelopeResponse { response_data: None, error_code: 0 },
        Answer::Close(reason) => {
            tracing::warn!(%reason, "a forwarded request could not be answered");
            refused(ErrorCode::UnsupportedVersion)
        }
    }
}

fn refused(code: ErrorCode) -> EnvelopeResponse {
    EnvelopeResponse { response_data: None, error_code: code.code() }
}
