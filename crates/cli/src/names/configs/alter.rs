//! `kafka-configs --alter`.

use std::fs::File;
use std::io::Read;

use ottla_client::{
    Admin, AlterOp, ClientError, ConfigAlteration, ConfigResource, ResourceType, ScramAlteration,
    ScramMechanism,
};

use super::describe::{configs, quotas};
use super::{Entities, INVALID_CONFIG, UNSUPPORTED, check_broker_id, resource_type, singular};
use crate::names::java::{hash_order, parse_double, scala_order, scala_part};
use crate::names::options::Options;
use crate::names::say;
use crate::names::session::Properties;
use crate::names::stop::{Run, Stop};

const CLIENT_QUOTAS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const IP_QUOTAS: [&str; 1] = ["connection_creation_rate"];
/// Rounds of hashing, by default and at least.
const ITERATIONS: u32 = 4096;
const SALT_LEN: usize = 32;

/// Changes configs, and says so.
pub(super) async fn run(admin: &Admin, options: &Options, entities: &Entities) -> Run<()> {
    let changes = Changes { add: to_add(options)?, delete: to_delete(options) };
    let kind = entities.kind();
    let name = entities.names.first().map_or("", String::as_str);
    match resource_type(kind) {
        Some(ResourceType::BrokerLogger) => loggers(admin, name, &changes).await?,
        Some(_) => resource(admin, kind, name, &changes).await?,
        None if kind == "ips" => {
            let mut unknown = joined(changes.added(), &changes.delete);
            let all = unknown.len();
            unknown.retain(|key| !IP_QUOTAS.contains(&key.as_str()));
            let unknown = scala_part(unknown, all);
            if !unknown.is_empty() {
                let text = "Only connection quota configs can be added for 'ips' using --bootstrap-server. \
                            Unexpected config names: ";
                return Err(Stop::illegal(format!("{text}{}", unknown.join(","))));
            }
            set_quotas(admin, entities, &changes).await?;
        }
        None => users_and_clients(admin, entities, &changes).await?,
    }
    say(&match name {
        "" => format!("Completed updating default config for {kind} in the cluster."),
        name => format!("Completed updating config for {} {name}.", singular(kind)),
    });
    Ok(())
}

/// What is wanted.
struct Changes {
    add: Vec<(String, String)>,
    delete: Vec<String>,
}

impl Changes {
    /// Keys, of both kinds, that are so.
    fn keys(&self, is: impl Fn(&str) -> bool) -> Vec<&str> {
        let all = self.add.iter().map(|(key, _)| key.as_str());
        all.chain(self.delete.iter().map(String::as_str)).filter(|key| is(key)).collect()
    }

    fn added(&self) -> Vec<String> {
        self.add.iter().map(|(key, _)| key.clone()).collect()
    }

    fn alterations(&self) -> Vec<ConfigAlteration> {
        let delete = self.delete.iter().map(|name| ConfigAlteration {
            name: name.clone(),
            op: AlterOp::Delete,
            value: None,
        });
        let add = self.add.iter().map(|(name, value)| ConfigAlteration {
            name: name.clone(),
            op: AlterOp::Set,
            value: Some(value.clone()),
        });
        delete.chain(add).collect()
    }
}

/// Scala's `keys ++ more`, where `keys` are a set.
fn joined(mut keys: Vec<String>, more: &[String]) -> Vec<String> {
    for key in more {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    scala_order(keys)
}

fn to_add(options: &Options) -> Run<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| match found.iter_mut().find(|(known, _)| known == key) {
        Some((_, known)) => value.clone_into(known),
        None => found.push((key.to_owned(), value.to_owned())),
    };
    if let Some(path) = options.one("add-config-file")? {
        Properties::load(path)?.entries().for_each(|(key, value)| set(key, value));
    }
    if let Some(text) = options.one("add-config")? {
        for (key, value) in pairs(text)? {
            set(&key, &value);
        }
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "$._-".contains(letter);
    hash_order(&mut found, 16, |(key, _)| key);
    match found.iter().find(|(key, _)| !key.chars().all(is_plain)) {
        Some((key, _)) => {
            Err(Stop::illegal(format!("Invalid character found for config key: {key}")))
        }
        None => {
            let keys = scala_order(found.iter().map(|(key, _)| key.clone()).collect());
            found.sort_by_key(|(key, _)| keys.iter().position(|known| known == key));
            Ok(found)
        }
    }
}

/// `k1=v1,k2=[v1,v2]`.
fn pairs(text: &str) -> Run<Vec<(String, String)>> {
    let mut parts = split(text, ',');
    // As Java splits: what is empty at the end is dropped where there was something to split.
    if parts.len() > 1 {
        let used = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
        parts.truncate(used);
    }
    let pair = |part: &&str| match split(part, '=')[..] {
        [key, value] => {
            let value: String = value.chars().filter(|letter| !"[]".contains(*letter)).collect();
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Stop::illegal(
            "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" \
             or  \"key=[val1,val2]\" to group values which contain commas.",
        )),
    };
    parts.iter().map(pair).collect()
}

/// Parts between separators that are not within brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let outside = |behind: &str| match behind.split_once(']') {
        Some((before, _)) => before.contains('['),
        None => true,
    };
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, _) in text.match_indices(separator) {
        let (part, behind) = (text.get(from..at), text.get(at + 1..).unwrap_or_default());
        if outside(behind) {
            parts.extend(part);
            from = at + 1;
        }
    }
    parts.extend(text.get(from..));
    parts
}

fn to_delete(options: &Options) -> Vec<String> {
    let of = |text| {
        let mut keys: Vec<&str> = str::split(text, ',').filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            keys.push(text);
        }
        keys
    };
    let words = options.all("delete-config").into_iter().flat_map(of);
    words.map(|word| word.trim().to_owned()).collect()
}

fn invalid(message: String) -> Stop {
    Stop::Thrown { class: INVALID_CONFIG.to_owned(), message }
}

async fn resource(admin: &Admin, kind: &str, name: &str, changes: &Changes) -> Run<()> {
    if kind == "brokers" && !name.is_empty() {
        check_broker_id(kind, name)?;
    }
    altered(admin, kind, name, changes).await.map_err(|failed| match failed {
        ClientError::Unsupported { .. } => Stop::Thrown {
            class: UNSUPPORTED.to_owned(),
            message: "The INCREMENTAL_ALTER_CONFIGS API is not supported by the cluster. The API is supported \
                      starting from version 2.3.0. You may want to use an older version of this tool to interact \
                      with your cluster, or upgrade your brokers to version 2.3.0 or newer to avoid this error."
                .to_owned(),
        },
        other => Stop::of_future(other),
    })
}

async fn altered(
    admin: &Admin,
    kind: &str,
    name: &str,
    changes: &Changes,
) -> Result<(), ClientError> {
    let Some(resource_type) = resource_type(kind) else { return Ok(()) };
    let resource = ConfigResource::new(resource_type, name);
    admin.alter_configs(&resource, &changes.alterations(), false).await
}

async fn loggers(admin: &Admin, name: &str, changes: &Changes) -> Run<()> {
    let known = configs(admin, "broker-loggers", name, false).await?;
    let is_unknown = |key: &&str| !known.iter().any(|entry| entry.name == **key);
    let delete = changes.delete.iter().map(String::as_str);
    let all = delete.chain(changes.add.iter().map(|(key, _)| key.as_str()));
    let unknown: Vec<&str> = all.filter(is_unknown).collect();
    if !unknown.is_empty() {
        return Err(invalid(format!("Invalid broker logger(s): {}", unknown.join(","))));
    }
    altered(admin, "broker-loggers", name, changes).await.map_err(Stop::of_future)
}

async fn users_and_clients(admin: &Admin, entities: &Entities, changes: &Changes) -> Run<()> {
    check_keys(entities, changes)?;
    if !changes.keys(|key| CLIENT_QUOTAS.contains(&key)).is_empty() {
        return set_quotas(admin, entities, changes).await;
    }
    let [user] = entities.names.as_slice() else {
        return Err(Stop::Thrown {
            class: "java.lang.IllegalStateException".to_owned(),
            message: format!(
                "Altering user SCRAM credentials should never occur for more zero or multiple users: List({})",
                entities.names.join(", ")
            ),
        });
    };
    set_credentials(admin, user, changes).await
}

/// Whether clients and users have such configs.
fn check_keys(entities: &Entities, changes: &Changes) -> Run<()> {
    let of_clients = entities.kind() == "clients" || entities.types.len() == 2;
    let (what, whose) = match of_clients {
        true => ("quota", "clients"),
        false => ("quota and SCRAM credential", "users"),
    };
    let (mechanisms, unknown) = apart(changes.added());
    let mut unknown = scala_part(unknown, changes.add.len());
    let mut set = "Set";
    if of_clients {
        unknown = joined(unknown, &mechanisms);
        // Keys of a map print as `Set`, sets that were joined as what they are.
        set = if unknown.len() > 4 { "HashSet" } else { set };
    }
    let unexpected = |done: &str, list: &str, names: &[String]| {
        Stop::illegal(format!(
            "Only {what} configs can be {done} for '{whose}' using --bootstrap-server. Unexpected config names: \
             {list}({})",
            names.join(", ")
        ))
    };
    if !unknown.is_empty() {
        return Err(unexpected("added", set, &unknown));
    }
    let (mechanisms, mut unknown) = apart(changes.delete.clone());
    if of_clients {
        unknown.extend(mechanisms);
    }
    if !unknown.is_empty() {
        return Err(unexpected("deleted", "ArrayBuffer", &unknown));
    }
    if of_clients || changes.keys(|key| mechanism_of(key).is_some()).is_empty() {
        return Ok(());
    }
    if entities.names.iter().any(String::is_empty) {
        return Err(Stop::illegal(
            "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using \
             --bootstrap-server.",
        ));
    }
    if !changes.keys(|key| CLIENT_QUOTAS.contains(&key)).is_empty() {
        return Err(Stop::illegal(
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
             --bootstrap-server.",
        ));
    }
    Ok(())
}

/// The mechanisms among these keys, and those that are neither mechanisms nor quotas.
fn apart(keys: Vec<String>) -> (Vec<String>, Vec<String>) {
    let others = keys.into_iter().filter(|key| !CLIENT_QUOTAS.contains(&key.as_str()));
    others.partition(|key| mechanism_of(key).is_some())
}

fn mechanism_of(key: &str) -> Option<ScramMechanism> {
    ScramMechanism::ALL.into_iter().find(|mechanism| mechanism.name() == key)
}

async fn set_credentials(admin: &Admin, user: &str, changes: &Changes) -> Run<()> {
    let delete = changes.delete.iter().filter_map(|key| mechanism_of(key));
    let mut alterations: Vec<_> = delete.map(ScramAlteration::Delete).collect();
    let mut salts = [[0; SALT_LEN]; ScramMechanism::ALL.len()];
    let mut random = File::open("/dev/urandom")?;
    for ((key, text), salt) in changes.add.iter().zip(&mut salts) {
        let Some(mechanism) = mechanism_of(key) else { continue };
        let (iterations, password) = credential(mechanism, text)?;
        random.read_exact(salt)?;
        let password = password.as_bytes();
        alterations.push(ScramAlteration::Set { mechanism, iterations, salt, password });
    }
    if alterations.is_empty() {
        return Ok(());
    }
    admin.alter_scram_credentials(user, &alterations).await.map_err(Stop::of_future)
}

/// `iterations=8192,password=..`, the first part or none. What was written stays out of the complaint: it may well be a
/// password.
fn credential(mechanism: ScramMechanism, text: &str) -> Run<(u32, &str)> {
    let read = || {
        let Some(rest) = text.strip_prefix("iterations=") else {
            return Some((None, text.strip_prefix("password=")?));
        };
        let (number, rest) = rest.split_once(',')?;
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some((Some(number), rest.strip_prefix("password=")?))
    };
    let (iterations, password) = read().ok_or_else(|| {
        let name = mechanism.name().replace('-', "_");
        Stop::illegal(format!("Invalid credential property {name}=[hidden]"))
    })?;
    let Some(number) = iterations.filter(|number| *number != "-1") else {
        return Ok((ITERATIONS, password));
    };
    let failed = |_| Stop::illegal(format!("For input string: \"{number}\""));
    let iterations: i32 = number.parse().map_err(failed)?;
    match u32::try_from(iterations) {
        Ok(enough) if ITERATIONS <= enough => Ok((enough, password)),
        _ => Err(Stop::illegal(format!(
            "Iterations {iterations} is less than the minimum {ITERATIONS} required for {}",
            mechanism.name()
        ))),
    }
}

async fn set_quotas(admin: &Admin, entities: &Entities, changes: &Changes) -> Run<()> {
    if entities.types.len() != entities.names.len() {
        let text = "Exactly one entity name must be specified for every entity type";
        return Err(Stop::illegal(text));
    }
    let old = quotas(admin, entities).await?;
    let known = |key: &String| {
        old.first().is_some_and(|entity| entity.values.iter().any(|(name, _)| name == key))
    };
    let missing: Vec<&str> =
        changes.delete.iter().filter(|key| !known(key)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Err(invalid(format!("Invalid config(s): {}", missing.join(","))));
    }
    let names =
        entities.names.iter().map(|name| Some(name.as_str()).filter(|name| !name.is_empty()));
    let entity: Vec<_> = entities.quota_types()?.into_iter().zip(names).collect();
    let mut ops = Vec::new();
    for (key, value) in &changes.add {
        let number = parse_double(value).ok_or_else(|| {
            Stop::illegal(format!("Cannot parse quota configuration value for {key}: {value}"))
        })?;
        ops.push((key.as_str(), Some(number)));
    }
    ops.extend(changes.delete.iter().map(|key| (key.as_str(), None)));
    admin.alter_client_quotas(&entity, &ops).await.map_err(Stop::of_future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_commas_and_equals_signs_together() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let found = pairs(text).unwrap();
            let found: Vec<_> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("a=1,b = 2 ", &[("a", "1"), ("b", "2")]);
        check("a=[1,2],b=3", &[("a", "1,2"), ("b", "3")]);
        check("a=[x=1,y=2]", &[("a", "x=1,y=2")]);
        check("a=,", &[("a", "")]);
        check(",,", &[]);
        for wrong in ["a", "a=1,b", "a=1=2", ""] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_read_and_not_told() {
        let check = |text: &str, expected: Result<(u32, &str), &str>| {
            let found = credential(ScramMechanism::Sha256, text).map_err(Stop::text);
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        };
        check("password=x", Ok((4096, "x")));
        check("iterations=8192,password=x,y=z", Ok((8192, "x,y=z")));
        check("iterations=-1,password=", Ok((4096, "")));
        let few = "is less than the minimum 4096 required for SCRAM-SHA-256";
        check("iterations=1,password=x", Err(&format!("Iterations 1 {few}")));
        check("iterations=-,password=x", Err("For input string: \"-\""));
        for wrong in ["secret", "", "iterations=8192", "iterations=a,password=x"] {
            check(wrong, Err("Invalid credential property SCRAM_SHA_256=[hidden]"));
        }
    }
}
