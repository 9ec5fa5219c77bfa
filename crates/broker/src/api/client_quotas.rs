//! DescribeClientQuotas (48): the quotas that are stored (KIP-546).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_protocol::describe_client_quotas_request::{ComponentData, DescribeClientQuotasRequest};
use ottla_protocol::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use ottla_types::ErrorCode;

use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Handles one request.
pub(crate) fn handle(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> Reply<DescribeClientQuotasResponse> {
    if let Err((code, text)) = check(&request.components) {
        return Reply::Now(DescribeClientQuotasResponse {
            error_code: code.code(),
            error_message: Some(Str::from(text)),
            entries: None,
            ..Default::default()
        });
    }
    let image = shared.image.load();
    let entries = image
        .quotas()
        .iter()
        .filter(|(entity, _)| matches(&entity.0, &request))
        .map(|(entity, values)| EntryData {
            entity: entity
                .0
                .iter()
                .map(|(kind, name)| EntityData {
                    entity_type: Str::from(kind.as_str()),
                    entity_name: name.as_deref().map(Str::from),
                })
                .collect(),
            values: values
                .iter()
                .map(|(key, value)| ValueData { key: Str::from(key.as_str()), value: *value })
                .collect(),
        })
        .collect();
    Reply::Now(DescribeClientQuotasResponse {
        error_message: None,
        entries: Some(entries),
        ..Default::default()
    })
}

fn check(components: &[ComponentData]) -> Result<(), (ErrorCode, String)> {
    for (at, component) in components.iter().enumerate() {
        let kind = component.entity_type.as_str();
        let wrong = |text: String| Err((ErrorCode::InvalidRequest, text));
        if kind.is_empty() {
            return wrong("Unexpected empty filter component entity type.".to_owned());
        }
        if components.iter().take(at).any(|other| other.entity_type == component.entity_type) {
            return wrong(format!(
                "Entity type {kind} cannot appear more than once in the filter."
            ));
        }
        if !["user", "client-id", "ip"].contains(&kind) {
            return Err((
                ErrorCode::UnsupportedVersion,
                format!("Custom entity type {kind} not supported"),
            ));
        }
        match (component.match_type, &component.match_) {
            (EXACT, None) => {
                return wrong("Request specified EXACT, but set match to null.".to_owned());
            }
            (DEFAULT, Some(_)) | (ANY, Some(_)) => {
                return wrong("Request specified a match without need for it.".to_owned());
            }
            (EXACT | DEFAULT | ANY, _) => {}
            (other, _) => return wrong(format!("Unknown match type {other}")),
        }
    }
    let names = |kind: &str| components.iter().any(|c| c.entity_type.as_str() == kind);
    if names("ip") && (names("user") || names("client-id")) {
        return Err((
            ErrorCode::InvalidRequest,
            "Filters for ip addresses cannot be combined with those for users or client ids."
                .to_owned(),
        ));
    }
    Ok(())
}

fn matches(
    entity: &BTreeMap<String, Option<String>>,
    request: &DescribeClientQuotasRequest,
) -> bool {
    if request.strict && entity.len() != request.components.len() {
        return false;
    }
    request.components.iter().all(|component| {
        let Some(name) = entity.get(component.entity_type.as_str()) else { return false };
        match component.match_type {
            EXACT => name.as_deref() == component.match_.as_deref(),
            DEFAULT => name.is_none(),
            _ => true,
        }
    })
}
