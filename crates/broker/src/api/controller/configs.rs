//! IncrementalAlterConfigs (44), AlterConfigs (33) and AlterClientQuotas (49).

use std::collections::HashSet;
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
    let mut wrong: Vec<(Raw, ApiError)> = Vec::new();
    for resource in &request.resources {
        let raw = (resource.resource_type, resource.resource_name.detached());
        let ops = resource
            .configs
            .iter()
            .map(|config| {
                let op = operation(config.config_operation, config.value.as_ref())?;
                Ok((config.name.to_string(), op))
            })
            .collect::<Result<Vec<_>, ApiError>>();
        let names = resource.configs.iter().map(|config| &config.name);
        let nulls = resource
            .configs
            .iter()
            .filter(|config| config.config_operation != DELETE && config.value.is_none());
        let ops = check_keys(names, nulls.map(|config| &config.name)).and(ops);
        match (kind(raw.0), ops) {
            (Ok(kind), Ok(ops)) => resources.push((ConfigResource::new(kind, &*raw.1), ops)),
            (Err(error), _) | (_, Err(error)) => wrong.push((raw, error)),
        }
    }
    let decision = Request::AlterConfigs(AlterConfigs {
        resources: resources.clone(),
        validate_only: request.validate_only,
        forwarded: ctx.forwarded,
    });
    let asked: Vec<ConfigResource> = resources.into_iter().map(|(resource, _)| resource).collect();
    ask(shared, decision, move |answer| {
        use incremental_alter_configs_response::AlterConfigsResourceResponse as Result;
        let responses = results(answer, asked, wrong)
            .into_iter()
            .map(|((resource_type, resource_name), (error_code, error_message))| Result {
                error_code,
                error_message,
                resource_type,
                resource_name,
            })
            .collect();
        IncrementalAlterConfigsResponse { responses, ..Default::default() }
    })
}

/// Code of the operation that needs no value.
const DELETE: i8 = 1;

fn operation(code: i8, value: Option<&Str>) -> Result<ConfigOp, ApiError> {
    let value = value.map(ToString::to_string);
    match code {
        0 => Ok(ConfigOp::Set(value)),
        DELETE => Ok(ConfigOp::Delete),
        2 => Ok(ConfigOp::Append(value)),
        3 => Ok(ConfigOp::Subtract(value)),
        other => {
            let text = format!("Unknown operation type {other}");
            Err(ApiError::new(ErrorCode::InvalidRequest, text))
        }
    }
}

/// What Kafka asks of the keys of one resource before it looks at their values.
fn check_keys<'a>(
    names: impl Iterator<Item = &'a Str>,
    nulls: impl Iterator<Item = &'a Str>,
) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let text = format!("{name} appears twice");
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
    }
    let nulls: Vec<&str> = nulls.map(Str::as_str).collect();
    if !nulls.is_empty() {
        let text = format!("no value is given for {}", nulls.join(", "));
        return Err(ApiError::new(ErrorCode::InvalidRequest, text));
    }
    Ok(())
}

fn kind(code: i8) -> Result<ConfigKind, ApiError> {
    ConfigKind::from_code(code).ok_or_else(|| {
        ApiError::new(ErrorCode::InvalidRequest, format!("Unknown resource type {code}"))
    })
}

/// Handles AlterConfigs, which replaces everything that a resource has.
pub(crate) fn replace(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: AlterConfigsRequest,
) -> Reply<AlterConfigsResponse> {
    let mut resources = Vec::new();
    let mut wrong: Vec<(Raw, ApiError)> = Vec::new();
    for resource in &request.resources {
        let raw = (resource.resource_type, resource.resource_name.detached());
        let configs = resource.configs.iter().map(|config| {
            (config.name.to_string(), config.value.as_ref().map(ToString::to_string))
        });
        let names = resource.configs.iter().map(|config| &config.name);
        let nulls = resource.configs.iter().filter(|config| config.value.is_none());
        let checked = check_keys(names, nulls.map(|config| &config.name));
        match (kind(raw.0), checked) {
            (Ok(kind), Ok(())) => {
                resources.push((ConfigResource::new(kind, &*raw.1), configs.collect()));
            }
            (Err(error), _) | (_, Err(error)) => wrong.push((raw, error)),
        }
    }
    let asked: Vec<ConfigResource> =
        resources.iter().map(|(resource, _): &(ConfigResource, Vec<_>)| resource.clone()).collect();
    let decision = Request::ReplaceConfigs(ReplaceConfigs {
        resources,
        validate_only: request.validate_only,
        forwarded: ctx.forwarded,
    });
    ask(shared, decision, move |answer| {
        use alter_configs_response::AlterConfigsResourceResponse as Result;
        let responses = results(answer, asked, wrong)
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

fn results(
    answer: Result<Response, ApiError>,
    asked: Vec<ConfigResource>,
    wrong: Vec<(Raw, ApiError)>,
) -> Vec<(Raw, Told)> {
    let raw = |resource: ConfigResource| (resource.kind.code(), Str::from(resource.name));
    let mut all: Vec<(Raw, Told)> = match answer {
        Ok(Response::ConfigsAltered(altered)) => altered
            .into_iter()
            .map(|(resource, result): (ConfigResource, Outcome)| (raw(resource), outcome(&result)))
            .collect(),
        other => {
            let error = other.err().unwrap_or_else(mismatched);
            asked.into_iter().map(|resource| (raw(resource), told(&error))).collect()
        }
    };
    all.extend(wrong.into_iter().map(|(resource, error)| (resource, told(&error))));
    all
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
