//! `kafka-configs --describe`.

use std::collections::BTreeSet;

use ottla_client::{
    Admin, ClientError, ClientQuotas, ConfigEntry, ConfigResource, ConfigSource, ResourceType,
};
use ottla_types::{ErrorCode, TopicName};

use super::{Entities, check_broker_id, resource_type, singular};
use crate::names::java::{double, hash, hash_order, hash_order_by, scala_order};
use crate::names::say;
use crate::names::session::nodes;
use crate::names::stop::{Run, Stop};

/// Shows configs.
pub(super) async fn run(admin: &Admin, entities: &Entities, all: bool) -> Run<()> {
    let kind = entities.kind();
    if let Some(resource) = resource_type(kind) {
        let name = entities.names.first().map(String::as_str);
        return resources(admin, kind, resource, name, all).await;
    }
    for quotas in quotas(admin, entities).await? {
        say(&shown_quotas(quotas));
    }
    let of_default = entities.names.iter().any(String::is_empty);
    if entities.kind() == "ips" || entities.has("clients") || of_default {
        return Ok(());
    }
    let names: Vec<&str> = entities.names.iter().map(String::as_str).collect();
    let users = admin.describe_scram_credentials(&names).await.map_err(Stop::of_future)?;
    for (user, credentials) in users {
        let told = match credentials {
            Ok(credentials) => {
                let each = credentials
                    .iter()
                    .map(|one| format!("{}=iterations={}", one.mechanism.name(), one.iterations));
                let each: Vec<String> = each.collect();
                format!(
                    "SCRAM credential configs for user-principal '{user}' are {}",
                    each.join(", ")
                )
            }
            Err(refused) => format!(
                "Error retrieving SCRAM credential configs for user-principal '{user}': ExecutionException: {}",
                Stop::of_future(refused.into()).text()
            ),
        };
        say(&told);
    }
    Ok(())
}

async fn resources(
    admin: &Admin,
    kind: &str,
    resource: ResourceType,
    name: Option<&str>,
    all: bool,
) -> Run<()> {
    if let Some(name) = name.filter(|_| !all)
        && !exists(admin, resource, name).await?
    {
        let one = singular(kind);
        say(&format!("The {one} '{name}' doesn't exist and doesn't have dynamic config."));
        return Ok(());
    }
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => everything(admin, resource).await?,
    };
    for name in names {
        say(&match name.as_str() {
            "" => format!("Default configs for {kind} in the cluster are:"),
            name => {
                let which = if all { "All" } else { "Dynamic" };
                format!("{which} configs for {} {name} are:", singular(kind))
            }
        });
        for entry in configs(admin, kind, &name, all).await? {
            let value = |value: Option<&str>| value.unwrap_or("null").to_owned();
            let synonyms = entry.synonyms.iter().map(|one| {
                format!("{}:{}={}", one.source.name(), one.name, value(one.value.as_deref()))
            });
            let synonyms: Vec<String> = synonyms.collect();
            say(&format!(
                "  {}={} sensitive={} synonyms={{{}}}",
                entry.name,
                value(entry.value.as_deref()),
                entry.sensitive,
                synonyms.join(", ")
            ));
        }
    }
    Ok(())
}

async fn topics(admin: &Admin) -> Run<Vec<String>> {
    let topics = admin.client().metadata(None, false).await.map_err(Stop::of_future)?.topics;
    let mut names: Vec<String> = topics.into_iter().map(|topic| topic.name).collect();
    hash_order(&mut names, 16, |name| name);
    Ok(names)
}

async fn brokers(admin: &Admin) -> Run<Vec<String>> {
    let nodes =
        nodes(admin, admin.client().options().controllers).await.map_err(Stop::in_future)?;
    Ok(nodes.iter().map(|node| node.id.to_wire().to_string()).collect())
}

async fn groups(admin: &Admin) -> Run<Vec<String>> {
    let groups = admin.list_groups().await.map_err(Stop::of_future)?;
    let mut ids: Vec<String> = groups.into_iter().map(|group| group.id).collect();
    hash_order(&mut ids, 16, |id| id);
    Ok(ids)
}

async fn subscriptions(admin: &Admin) -> Run<Vec<String>> {
    let listed = admin.list_config_resources(ResourceType::ClientMetrics).await;
    let listed = listed.map_err(Stop::of_future)?;
    Ok(listed.into_iter().map(|resource| resource.name).collect())
}

/// Groups that have configs; nothing if the cluster cannot tell or may not.
async fn configured_groups(admin: &Admin) -> Run<Option<Vec<String>>> {
    match admin.list_config_resources(ResourceType::Group).await {
        Ok(listed) => Ok(Some(listed.into_iter().map(|resource| resource.name).collect())),
        Err(ClientError::Unsupported { .. }) => Ok(None),
        Err(failed) if failed.code() == Some(ErrorCode::ClusterAuthorizationFailed) => Ok(None),
        Err(failed) => Err(failed.into()),
    }
}

async fn exists(admin: &Admin, resource: ResourceType, name: &str) -> Run<bool> {
    let is = |names: Vec<String>| names.iter().any(|known| known == name);
    Ok(match resource {
        ResourceType::Topic => {
            check_topic(name)?;
            is(topics(admin).await?)
        }
        ResourceType::Broker | ResourceType::BrokerLogger => {
            is(brokers(admin).await?) || name.is_empty()
        }
        ResourceType::Group => {
            is(groups(admin).await?) || configured_groups(admin).await?.is_none_or(is)
        }
        _ => is(subscriptions(admin).await?),
    })
}

async fn everything(admin: &Admin, resource: ResourceType) -> Run<Vec<String>> {
    Ok(match resource {
        ResourceType::Topic => topics(admin).await?,
        ResourceType::Broker | ResourceType::BrokerLogger => {
            let mut ids = brokers(admin).await?;
            ids.push(String::new());
            ids
        }
        ResourceType::Group => {
            let mut names = scala_order(groups(admin).await?);
            names.extend(scala_order(configured_groups(admin).await?.unwrap_or_default()));
            let mut seen = BTreeSet::new();
            names.retain(|name| seen.insert(name.clone()));
            scala_order(names)
        }
        _ => subscriptions(admin).await?,
    })
}

fn check_topic(name: &str) -> Run<()> {
    let checked = TopicName::parse(name).map(drop);
    checked.map_err(|why| Stop::kafka(ErrorCode::InvalidTopicException, why.message(name)))
}

/// Configs of one thing, by name; without `all` those that were set on it at run time.
pub(super) async fn configs(
    admin: &Admin,
    kind: &str,
    name: &str,
    all: bool,
) -> Run<Vec<ConfigEntry>> {
    let Some(resource) = resource_type(kind) else { return Ok(Vec::new()) };
    match resource {
        ResourceType::Broker | ResourceType::BrokerLogger if !name.is_empty() => {
            check_broker_id(kind, name)?;
        }
        ResourceType::Topic if !name.is_empty() => check_topic(name)?,
        _ => {}
    }
    let wanted = match resource {
        ResourceType::Topic => Some(ConfigSource::Topic),
        ResourceType::Broker if name.is_empty() => Some(ConfigSource::DynamicDefaultBroker),
        ResourceType::Broker => Some(ConfigSource::DynamicBroker),
        ResourceType::ClientMetrics => Some(ConfigSource::ClientMetrics),
        ResourceType::Group => Some(ConfigSource::Group),
        _ => None,
    };
    let resource = ConfigResource::new(resource, name);
    let mut found =
        admin.describe_configs(&resource, None, false).await.map_err(Stop::of_future)?;
    found.retain(|entry| all || wanted.is_none_or(|wanted| entry.source == wanted));
    Ok(found)
}

/// Quotas of what is meant, in the order of a Java map.
pub(super) async fn quotas(admin: &Admin, entities: &Entities) -> Run<Vec<ClientQuotas>> {
    let filter = entities.quota_filter()?;
    let found = admin.describe_client_quotas(&filter, true).await;
    let mut found = found.map_err(Stop::of_future)?;
    let room = found.len();
    hash_order_by(&mut found, room, |quotas| {
        let parts = quotas.entity.iter();
        let hashes = parts.map(|(kind, name)| hash(kind) ^ name.as_deref().map_or(0, hash));
        hashes.fold(31, u32::wrapping_add)
    });
    Ok(found)
}

fn shown_quotas(mut quotas: ClientQuotas) -> String {
    let whose = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")];
    let whose = whose.iter().filter_map(|(kind, shown)| {
        let (_, name) = quotas.entity.iter().find(|(known, _)| known == kind)?;
        Some(match name {
            Some(name) => format!("{shown} '{name}'"),
            None => format!("the default {shown}"),
        })
    });
    let whose: Vec<String> = whose.collect();
    let room = quotas.values.len();
    hash_order(&mut quotas.values, room, |(key, _)| key);
    let values: Vec<String> =
        quotas.values.iter().map(|(key, value)| format!("{key}={}", double(*value))).collect();
    format!("Quota configs for {} are {}", whose.join(", "), values.join(", "))
}
