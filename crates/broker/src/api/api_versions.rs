//! ApiVersions (18): what this listener offers, and the cluster's features.
//!
//! Answered before anything else is known of the client. A version that does not exist yet gets
//! error 35 in the oldest form, with the one range a client needs to try again (KIP-511).

use std::sync::Arc;

use ottla_codec::{Message, Reader, Str, Writer};
use ottla_net::{Answer, Handled};
use ottla_protocol::api_versions_request::ApiVersionsRequest;
use ottla_protocol::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_protocol::{ApiKey, ResponseHeader};
use ottla_types::ErrorCode;

use crate::api;
use crate::dispatch::{self, ClientSession, ListenerKind, RequestContext};
use crate::shared::Shared;
use crate::telemetry::RequestTimer;

/// Handles a frame whose header is read; unlike other handlers it changes the session.
pub(crate) fn handle_frame(
    shared: &Arc<Shared>,
    session: &mut ClientSession,
    ctx: RequestContext,
    mut body: Reader,
) -> Handled {
    let request = match ApiVersionsRequest::decode(&mut body, ctx.version) {
        Ok(request) => request,
        Err(error) => {
            return Handled::Now(Answer::Close(format!("unreadable ApiVersions: {error}").into()));
        }
    };
    let timer = RequestTimer::start(shared, &ctx);
    let response = match check(shared, ctx.version, &request) {
        Ok(()) => {
            if ctx.version >= 3 {
                let software = (
                    request.client_software_name.detached(),
                    request.client_software_version.detached(),
                );
                session.software = Some(software);
            }
            offered(shared, ctx.kind, ctx.version)
        }
        Err(code) => ApiVersionsResponse { error_code: code.code(), ..Default::default() },
    };
    Handled::Now(dispatch::answer(&ctx, &response, &timer))
}

fn check(shared: &Shared, version: i16, request: &ApiVersionsRequest) -> Result<(), ErrorCode> {
    let valid = |text: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        !text.is_empty()
            && text.chars().all(inner)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    if version >= 3
        && !(valid(&request.client_software_name) && valid(&request.client_software_version))
    {
        return Err(ErrorCode::InvalidRequest);
    }
    // KIP-1242: the client came to a node of another cluster, or to another node than it meant.
    let other_cluster =
        request.cluster_id.as_ref().is_some_and(|id| id.as_str() != shared.cluster_id());
    let other_node = request.node_id >= 0 && request.node_id != shared.node_id().to_wire();
    if other_cluster || other_node {
        return Err(ErrorCode::RebootstrapRequired);
    }
    Ok(())
}

fn offered(shared: &Shared, kind: ListenerKind, version: i16) -> ApiVersionsResponse {
    let api_keys = api::advertised(kind)
        .into_iter()
        .map(|(api, min_version, max_version)| ApiVersion {
            api_key: api.key(),
            min_version,
            max_version,
        })
        .collect();
    let features = shared.features();
    ApiVersionsResponse {
        api_keys,
        supported_features: features
            .supported
            .into_iter()
            // Older clients take a lowest level of 0 for an error (KAFKA-17011).
            .filter(|feature| version >= 4 || feature.min > 0)
            .map(|feature| SupportedFeatureKey {
                name: Str::from(feature.name),
                min_version: feature.min,
                max_version: feature.max,
            })
            .collect(),
        finalized_features_epoch: features.epoch,
        finalized_features: features
            .finalized
            .into_iter()
            .map(|(name, level)| FinalizedFeatureKey {
                name: Str::from(name),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    }
}

/// The answer to a version that this broker does not know, in the form of version 0.
pub(crate) fn unsupported(correlation_id: i32) -> Answer {
    let versions = ApiKey::ApiVersions.versions();
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![ApiVersion {
            api_key: ApiKey::ApiVersions.key(),
            min_version: *versions.start(),
            max_version: ApiKey::ApiVersions.latest_stable_version(),
        }],
        ..Default::default()
    };
    let mut writer = Writer::default();
    let header = ResponseHeader { correlation_id };
    match header.encode(0, &mut writer).and_then(|()| response.encode(0, &mut writer)) {
        Ok(()) => Answer::Send(writer.into_parts()),
        Err(error) => Answer::Close(format!("cannot write ApiVersions: {error}").into()),
    }
}
