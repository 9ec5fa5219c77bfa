//! IncrementalAlterConfigs (44), AlterConfigs (33) and AlterClientQuotas (49).
//!
//! Null values and keys that stand twice are refused by the broker that passes a request on; who
//! asks a controller itself gets what Kafka's `ControllerApis` answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_codec::Str;
use ottla_metadata::controller::{
    AlterConfigs, AlterQuotas, ApiError, ConfigOp, NameValues, Outcome, QuotaChange,
    ReplaceConfigs, Request, Response,
};
use ottla_metadata::{ConfigKind, ConfigResource};
use ottla_protocol::*;
use ottla_types::ErrorCode;

use super::{ask, mismatched, outcome, told};
use crate::api::alter_configs::Change;
use crate::api::broker_loggers;
use crate::dispatch::{Reply, RequestContext};
use crate::shared::Shared;

/// A resource as the wire names it.
type Raw = (i8, Str);

/// Handles IncrementalAlterConfigs.
pub(crate) fn incremental(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Reply<IncrementalAlterConfigsResponse> {
    let mut resources = Vec::new();
    let mut unknown: Vec<(Raw, Told)> = Vec::new();
    let mut loggers = Vec::new();
    for (at, resource) in request.resources.iter().enumerate() {
        let raw = (resource.resource_type, resource.resource_name.detached());
        match ConfigKind::from_code(raw.0) {
            Some(ConfigKind::BrokerLogger) => loggers.push((at, raw)),
            Some(kind) => {
                let Some(ops) = operations(resource) else {
                    return Reply::Now(broken(&request));
                };
                resources.push((ConfigResource::new(kind, &*raw.1), ops));
            }
            None => unknown.push(unknown_kind(raw)),
        }
    }
    let logged: Vec<(Raw, Told)> = loggers
        .into_iter()
        .filter_map(|(at, raw)| {
            let resource = request.resources.get(at)?;
            Some((raw, alter_loggers(shared, resource, request.validate_only)))
        })
        .collect();
    let decision = Request::AlterConfigs(AlterConfigs {
        resources: resources.clone(),
        validate_only: request.validate_only,
        forwarded: ctx.forwarded,
    });
    let asked: Vec<ConfigResource> = resources.into_iter().map(|(resource, _)| resource).collect();
    ask(shared, decision, move |answer| {
        let mut told = unknown;
        told.extend(results(answer, asked));
        told.extend(logged);
        incremental_response(told)
    })
}

fn incremental_response(told: Vec<(Raw, Told)>) -> IncrementalAlterConfigsResponse {
    use incremental_alter_configs_response::AlterConfigsResourceResponse as Result;
    let responses = told
        .into_iter()
        .map(|((resource_type, resource_name), (error_code, error_message))| Result {
            error_code,
            error_message,
            resource_type,
            resource_name,
        })
        .collect();
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// What to do with the configs of a resource, by name: of several operations the last one counts.
/// None if an operation does not exist or lacks what it adds or takes away; Kafka's controller
/// trips over such a request.
fn operations(
    resource: &incremental_alter_configs_request::AlterConfigsResource,
) -> Option<Vec<(String, ConfigOp)>> {
    let operation = |config: &incremental_alter_configs_request::AlterableConfig| {
        let value = config.value.as_ref().map(ToString::to_string);
        let op = match config.config_operation {
            0 => ConfigOp::Set(value),
            1 => ConfigOp::Delete,
            2 => ConfigOp::Append(Some(value?)),
            3 => ConfigOp::Subtract(Some(value?)),
            _ => return None,
        };
        Some((config.name.to_string(), op))
    };
    resource.configs.iter().map(operation).collect()
}

/// The answer to a request that Kafka's controller trips over: nothing of it is done.
fn broken(request: &IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let code = ErrorCode::UnknownServerError;
    let told = request.resources.iter().map(|resource| {
        let raw = (resource.resource_type, resource.resource_name.detached());
        (raw, (code.code(), Some(Str::from_static(code.message()))))
    });
    incremental_response(told.collect())
}

/// Levels of this process's loggers; they are the node's own and no metadata.
fn alter_loggers(
    shared: &Shared,
    resource: &incremental_alter_configs_request::AlterConfigsResource,
    validate_only: bool,
) -> Told {
    let changes: Vec<Change<'_>> = resource
        .configs
        .iter()
        .map(|config| Change {
            name: &config.name,
            op: config.config_operation,
            value: config.value.as_deref(),
        })
        .collect();
    match broker_loggers::alter(shared, &resource.resource_name, &changes, validate_only) {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(refusal) => (refusal.code.code(), refusal.text().map(Str::from)),
    }
}

fn unknown_kind(raw: Raw) -> (Raw, Told) {
    let text = format!("Unknown resource type {}.", raw.0);
    (raw, (ErrorCode::UnsupportedVersion.code(), Some(Str::from(text))))
}

/// Handles AlterConfigs, which replaces everything that a resource has.
pub(crate) fn replace(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: AlterConfigsRequest,
) -> Reply<AlterConfigsResponse> {
    let mut resources: Vec<(ConfigResource, NameValues)> = Vec::new();
    let mut unknown: Vec<(Raw, Told)> = Vec::new();
    for resource in &request.resources {
        let raw = (resource.resource_type, resource.resource_name.detached());
        let Some(kind) = ConfigKind::from_code(raw.0) else {
            unknown.push(unknown_kind(raw));
            continue;
        };
        // Of several values the last one counts.
        let configs: BTreeMap<String, Option<String>> = resource
            .configs
            .iter()
            .map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)))
            .collect();
        resources.push((ConfigResource::new(kind, &*raw.1), configs.into_iter().collect()));
    }
    let asked: Vec<ConfigResource> =
        resources.iter().map(|(resource, _)| resource.clone()).collect();
    let decision = Request::ReplaceConfigs(ReplaceConfigs {
        resources,
        validate_only: request.validate_only,
        forwarded: ctx.forwarded,
    });
    ask(shared, decision, move |answer| {
        use alter_configs_response::AlterConfigsResourceResponse as Result;
        let mut told = unknown;
        told.extend(results(answer, asked));
        let responses = told
            .into_iter()
            .map(|((resource_type, resource_name), (error_code, error_message))| Result {
                error_code,
                error_message,
                resource_type,
                resource_name,
            })
            .collect();
        AlterConfigsResponse { responses, ..Default::default() }
    })
}

type Told = (i16, Option<Str>);

fn results(answer: Result<Response, ApiError>, asked: Vec<ConfigResource>) -> Vec<(Raw, Told)> {
    let raw = |resource: ConfigResource| (resource.kind.code(), Str::from(resource.name));
    match answer {
        Ok(Response::ConfigsAltered(altered)) => altered
            .into_iter()
            .map(|(resource, result): (ConfigResource, Outcome)| (raw(resource), outcome(&result)))
            .collect(),
        other => {
            let error = other.err().unwrap_or_else(mismatched);
            asked.into_iter().map(|resource| (raw(resource), told(&error))).collect()
        }
    }
}

/// Handles AlterClientQuotas: quotas are stored; nothing enforces them yet.
pub(crate) fn quotas(
    shared: &Arc<Shared>,
    _ctx: &RequestContext,
    request: AlterClientQuotasRequest,
) -> Reply<AlterClientQuotasResponse> {
    let text = |name: &Option<Str>| name.as_ref().map(ToString::to_string);
    let entries: Vec<QuotaChange> = request
        .entries
        .iter()
        .map(|entry| QuotaChange {
            entity: entry
                .entity
                .iter()
                .map(|part| (part.entity_type.to_string(), text(&part.entity_name)))
                .collect(),
            ops: entry
                .ops
                .iter()
                .map(|op| (op.key.to_string(), (!op.remove).then_some(op.value)))
                .collect(),
        })
        .collect();
    let asked: Vec<_> = entries.iter().map(|change| change.entity.clone()).collect();
    let validate_only = request.validate_only;
    ask(shared, Request::AlterQuotas(AlterQuotas { entries, validate_only }), move |answer| {
        use alter_client_quotas_response::{EntityData, EntryData};
        let results: Vec<(NameValues, Told)> = match answer {
            Ok(Response::QuotasAltered(altered)) => altered
                .into_iter()
                .map(|(entity, result)| (entity.0.into_iter().collect(), outcome(&result)))
                .collect(),
            other => {
                let error = other.err().unwrap_or_else(mismatched);
                asked.into_iter().map(|entity| (entity, told(&error))).collect()
            }
        };
        let entries = results
            .into_iter()
            .map(|(entity, (error_code, error_message))| EntryData {
                error_code,
                error_message,
                entity: entity
                    .into_iter()
                    .map(|(kind, name)| EntityData {
                        entity_type: Str::from(kind),
                        entity_name: name.map(Str::from),
                    })
                    .collect(),
            })
            .collect();
        AlterClientQuotasResponse { entries, ..Default::default() }
    })
}
