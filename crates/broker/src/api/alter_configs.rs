//! IncrementalAlterConfigs (44) and AlterConfigs (33) on a broker listener.
//!
//! Levels of loggers are this broker's own, and a broker's configs are checked by that broker,
//! because only it knows its static ones; the rest is passed on to the controller, which stores
//! what it finds good. Source of the order: Kafka's `ConfigAdminManager`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_codec::{Message, Str};
use ottla_config::{Target, is_list, table};
use ottla_metadata::{ConfigKind, ConfigResource};
use ottla_protocol::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};
use ottla_types::ErrorCode;

use super::broker_loggers;
use crate::dispatch::{Reply, RequestContext};
use crate::refusal::Refusal;
use crate::shared::Shared;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// One change of a resource's configs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// Name of the config.
    pub(crate) name: &'a str,
    /// Code of the operation: set, delete, append, subtract.
    pub(crate) op: i8,
    /// The value, if there is one.
    pub(crate) value: Option<&'a str>,
}

/// One resource of a request.
struct Asked<'a> {
    kind: i8,
    name: &'a str,
    changes: Vec<Change<'a>>,
}

/// Type and name of a resource.
type Named = (i8, Str);

/// Code and message.
type Verdict = (i16, Option<Str>);

/// What became of a resource, or `None` if the controller is to decide.
type Told = Option<Verdict>;

/// Handles IncrementalAlterConfigs.
pub(crate) fn incremental(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Reply<IncrementalAlterConfigsResponse> {
    use incremental_alter_configs_response::AlterConfigsResourceResponse as Result;
    let asked: Vec<Asked<'_>> = request
        .resources
        .iter()
        .map(|resource| Asked {
            kind: resource.resource_type,
            name: &resource.resource_name,
            changes: resource
                .configs
                .iter()
                .map(|config| Change {
                    name: &config.name,
                    op: config.config_operation,
                    value: config.value.as_deref(),
                })
                .collect(),
        })
        .collect();
    let told = preprocess(shared, &asked, Ground::Stored, request.validate_only);
    let mut rest = request.clone();
    let mut verdicts = told.iter();
    rest.resources.retain(|_| verdicts.next().is_some_and(Option::is_none));
    let names =
        request.resources.into_iter().map(|r| (r.resource_type, r.resource_name.detached()));
    let names: Vec<Named> = names.collect();
    let assemble =
        move |decided: Option<IncrementalAlterConfigsResponse>| {
            let decided = decided.map(|response| response.responses).unwrap_or_default();
            let decided = decided.into_iter().map(|one| {
                ((one.resource_type, one.resource_name), (one.error_code, one.error_message))
            });
            let verdicts = verdicts_on(names, told, decided.collect());
            let responses =
                verdicts.map(|((resource_type, resource_name), (error_code, error_message))| {
                    Result { error_code, error_message, resource_type, resource_name }
                });
            IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
        };
    if rest.resources.is_empty() {
        Reply::Now(assemble(None))
    } else {
        pass_on(shared, ctx, &rest, assemble)
    }
}

/// Handles AlterConfigs.
pub(crate) fn replace(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: AlterConfigsRequest,
) -> Reply<AlterConfigsResponse> {
    use alter_configs_response::AlterConfigsResourceResponse as Result;
    let asked: Vec<Asked<'_>> = request
        .resources
        .iter()
        .map(|resource| Asked {
            kind: resource.resource_type,
            name: &resource.resource_name,
            changes: resource
                .configs
                .iter()
                .map(|c| Change { name: &c.name, op: SET, value: c.value.as_deref() })
                .collect(),
        })
        .collect();
    let told = preprocess(shared, &asked, Ground::Nothing, request.validate_only);
    let mut rest = request.clone();
    let mut verdicts = told.iter();
    rest.resources.retain(|_| verdicts.next().is_some_and(Option::is_none));
    let names =
        request.resources.into_iter().map(|r| (r.resource_type, r.resource_name.detached()));
    let names: Vec<Named> = names.collect();
    let assemble =
        move |decided: Option<AlterConfigsResponse>| {
            let decided = decided.map(|response| response.responses).unwrap_or_default();
            let decided = decided.into_iter().map(|one| {
                ((one.resource_type, one.resource_name), (one.error_code, one.error_message))
            });
            let verdicts = verdicts_on(names, told, decided.collect());
            let responses =
                verdicts.map(|((resource_type, resource_name), (error_code, error_message))| {
                    Result { error_code, error_message, resource_type, resource_name }
                });
            AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
        };
    if rest.resources.is_empty() {
        Reply::Now(assemble(None))
    } else {
        pass_on(shared, ctx, &rest, assemble)
    }
}

/// This broker's verdicts, and the controller's where it was to decide, in the order of the request.
fn verdicts_on(
    names: Vec<Named>,
    told: Vec<Told>,
    decided: Vec<(Named, Verdict)>,
) -> impl Iterator<Item = (Named, Verdict)> {
    names.into_iter().zip(told).map(move |(name, told)| {
        let theirs = || decided.iter().find(|(other, _)| *other == name).map(|(_, v)| v.clone());
        let verdict = told.or_else(theirs).unwrap_or(UNANSWERED);
        (name, verdict)
    })
}

/// A resource that the controller said nothing about.
const UNANSWERED: Verdict = (-1, None);

fn pass_on<Q, R>(
    shared: &Arc<Shared>,
    ctx: &RequestContext,
    request: &Q,
    assemble: impl FnOnce(Option<R>) -> R + Send + 'static,
) -> Reply<R>
where
    Q: Message,
    R: Message + Send + 'static,
{
    let Some(forwarder) = shared.forwarder.get() else {
        return Reply::Close("this node cannot reach a controller".into());
    };
    match forwarder.forward::<Q, R>(ctx, request) {
        Reply::Later(wait) => Reply::Later(Box::pin(async move {
            match wait.await {
                Reply::Now(response) => Reply::Now(assemble(Some(response))),
                other => other,
            }
        })),
        other => other,
    }
}

/// What changes are made to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// What is stored.
    Stored,
    /// Nothing: everything stored is replaced.
    Nothing,
}

fn preprocess(
    shared: &Shared,
    asked: &[Asked<'_>],
    ground: Ground,
    validate_only: bool,
) -> Vec<Told> {
    let same =
        |one: &Asked<'_>, other: &Asked<'_>| (one.kind, one.name) == (other.kind, other.name);
    asked
        .iter()
        .map(|resource| {
            if asked.iter().filter(|other| same(resource, other)).count() > 1 {
                return Err(invalid("Each resource must appear at most once.".to_owned()));
            }
            check_changes(&resource.changes)?;
            match ConfigKind::from_code(resource.kind) {
                Some(ConfigKind::BrokerLogger) if ground == Ground::Stored => {
                    let (name, changes) = (resource.name, &resource.changes);
                    broker_loggers::alter(shared, name, changes, validate_only).map(|()| true)
                }
                Some(ConfigKind::Broker) => check_broker(shared, resource, ground).map(|()| false),
                Some(ConfigKind::Topic | ConfigKind::ClientMetrics | ConfigKind::Group) => {
                    Ok(false)
                }
                Some(ConfigKind::BrokerLogger) | None => {
                    Err(invalid(format!("Unknown resource type {}", resource.kind)))
                }
            }
        })
        .map(|outcome: Result<bool, Refusal>| match outcome {
            Ok(true) => Some((ErrorCode::None.code(), None)),
            Ok(false) => None,
            Err(refusal) => Some((refusal.code.code(), refusal.text().map(Str::from))),
        })
        .collect()
}

fn check_changes(changes: &[Change<'_>]) -> Result<(), Refusal> {
    let mut names = BTreeSet::new();
    if !changes.iter().all(|change| names.insert(change.name)) {
        return Err(invalid("Error due to duplicate config keys".to_owned()));
    }
    let is_null = |change: &&Change<'_>| change.op != DELETE && change.value.is_none();
    let nulls: Vec<&str> = changes.iter().filter(is_null).map(|change| change.name).collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Null value not supported for : {}", nulls.join(", "))))
}

/// That a broker could run with its configs after the change.
fn check_broker(shared: &Shared, asked: &Asked<'_>, ground: Ground) -> Result<(), Refusal> {
    let target = if asked.name.is_empty() { Target::ClusterDefault } else { Target::Broker };
    if target == Target::Broker {
        broker_loggers::check_id(asked.name, shared, "Node")?;
    }
    let resource = ConfigResource::new(ConfigKind::Broker, asked.name);
    let stored = match ground {
        Ground::Stored => shared.image.load().config(&resource).cloned(),
        Ground::Nothing => None,
    };
    let mut configs = (*stored.unwrap_or_default()).clone();
    for Change { name, op, value } in &asked.changes {
        let value = value.unwrap_or_default();
        match *op {
            SET => {
                configs.insert((*name).to_owned(), value.to_owned());
            }
            DELETE => {
                configs.remove(*name);
            }
            APPEND | SUBTRACT => {
                let old = configs.get(*name).map(String::as_str);
                let new = changed_list(name, old, value, *op == APPEND)?;
                configs.insert((*name).to_owned(), new);
            }
            other => return Err(invalid(format!("Unknown operations type {other}"))),
        }
    }
    let checked = shared.layers.load().validate_change(target, &configs);
    checked.map_err(|error| invalid(error.to_string()))
}

fn changed_list(
    name: &str,
    old: Option<&str>,
    value: &str,
    appends: bool,
) -> Result<String, Refusal> {
    let wrong = |text: String| Err(Refusal::with_string(ErrorCode::InvalidConfig, text));
    let Some(key) = table::broker_key(name) else {
        return wrong(format!("Unknown config name: {name}"));
    };
    if !is_list(ConfigKind::Broker.code(), name) {
        let op = if appends { "append" } else { "subtract" };
        return wrong(format!("Config value {op} is not allowed for config key: {name}"));
    }
    let old = old.or_else(|| key.default_text()).unwrap_or_default();
    let mut parts: Vec<&str> = old.split(',').filter(|part| !part.is_empty()).collect();
    let named: Vec<&str> = value.split(',').collect();
    match appends {
        true => {
            let fresh: Vec<&str> = named.into_iter().filter(|part| !parts.contains(part)).collect();
            parts.extend(fresh);
        }
        false => parts.retain(|part| !named.contains(part)),
    }
    Ok(parts.join(","))
}

fn invalid(text: String) -> Refusal {
    Refusal::with_string(ErrorCode::InvalidRequest, text)
}
