//! UpdateFeatures (57).

use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::controller::{Request, Response, UpdateFeatures};
use ottla_protocol::update_features_response::UpdatableFeatureResult;
use ottla_protocol::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::{ask, mismatched, told};
use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// Handles UpdateFeatures.
pub(crate) fn update_features(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: UpdateFeaturesRequest,
) -> Reply<UpdateFeaturesResponse> {
    let version = ctx.version;
    let names: Vec<Str> = request.feature_updates.iter().map(|u| u.feature.detached()).collect();
    let updates = request
        .feature_updates
        .iter()
        .map(|update| {
            let kind = match (version, update.allow_downgrade) {
                (0, true) => SAFE_DOWNGRADE,
                (0, false) => UPGRADE,
                _ => update.upgrade_type,
            };
            (update.feature.to_string(), update.max_version_level, kind)
        })
        .collect();
    let validate_only = request.validate_only;
    let decision = Request::UpdateFeatures(UpdateFeatures { updates, validate_only });
    ask(shared, decision, move |answer| {
        let outcome = match answer {
            Ok(Response::FeaturesUpdated(outcome)) => outcome,
            Ok(_) => Err(mismatched()),
            Err(error) => Err(error),
        };
        let (error_code, error_message) = outcome.map_or_else(|e| told(&e), |()| (0, None));
        let mut response =
            UpdateFeaturesResponse { error_code, error_message, ..Default::default() };
        if version <= 1 && error_code == 0 {
            let result = |feature| UpdatableFeatureResult { feature, ..Default::default() };
            response.results = names.into_iter().map(result).collect();
        }
        response
    })
}

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
