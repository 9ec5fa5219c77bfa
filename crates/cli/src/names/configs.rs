//! `kafka-configs`: which entity is meant, and whether the options go together.
//!
//! What Kafka's own repeats of the command line after an error is printed here without passwords.

mod alter;
mod describe;

use std::net::ToSocketAddrs;

use ottla_client::{QuotaMatch, QuotaType, ResourceType};

use super::help_or_version;
use super::options::{Known, Options, flag, with};
use super::session::{Properties, admin_of};
use super::stop::{Run, Stop};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "server to connect to", "Where the cluster is."),
    with("bootstrap-controller", "controller to connect to", "Where its controllers are."),
    with("command-config", "command config property file", "A file with settings of the client."),
    flag("alter", "Change configs of an entity."),
    flag("describe", "Show configs of an entity, or of all of a type."),
    flag("all", "Show all configs, not only those that were set at run time."),
    with(
        "entity-type",
        "String",
        "topics, clients, users, brokers, broker-loggers, ips, client-metrics or groups.",
    ),
    with("entity-name", "String", "Its name or id; once for each type."),
    flag("entity-default", "Instead of a name: the default of clients, users, brokers or ips."),
    with(
        "add-config",
        "String",
        "Configs to set, as k1=v1,k2=[v1,v2],k3=v3; `ottla config keys` tells what there is.",
    ),
    with("add-config-file", "String", "A file with configs to set."),
    with("delete-config", "String", "Keys to remove, comma between them."),
    with("topic", "String", "The topic of this name."),
    with("client", "String", "The client of this id."),
    flag("client-defaults", "The default of all clients."),
    with("user", "String", "The user of this principal."),
    flag("user-defaults", "The default of all users."),
    with("broker", "String", "The broker of this id."),
    flag("broker-defaults", "The default of all brokers."),
    with("broker-logger", "String", "The loggers of the broker of this id."),
    flag("ip-defaults", "The default of all addresses."),
    with("ip", "String", "The address."),
    with("group", "String", "The group of this id."),
    with("client-metrics", "String", "The subscription to client metrics of this name."),
];

const ABOUT: &str = "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, \
                     client-metrics or group";

const TYPES: [&str; 8] =
    ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];
/// Options that name an entity, in the order in which Kafka's looks at them.
const FLAGS: [(&str, &str); 8] = [
    ("topic", "topics"),
    ("client", "clients"),
    ("user", "users"),
    ("broker", "brokers"),
    ("broker-logger", "broker-loggers"),
    ("ip", "ips"),
    ("client-metrics", "client-metrics"),
    ("group", "groups"),
];
/// Those that mean a default.
const DEFAULTS: [(&str, &str); 4] = [
    ("client-defaults", "clients"),
    ("user-defaults", "users"),
    ("broker-defaults", "brokers"),
    ("ip-defaults", "ips"),
];
/// Types that have defaults.
const WITH_DEFAULT: [&str; 4] = ["users", "clients", "brokers", "ips"];
const INVALID_TOPIC: &str = "org.apache.kafka.common.errors.InvalidTopicException";
const INVALID_CONFIG: &str = "org.apache.kafka.common.errors.InvalidConfigurationException";
const UNSUPPORTED: &str = "org.apache.kafka.common.errors.UnsupportedVersionException";

/// What the keys of secrets have in them, in small letters.
const SECRETS: [&str; 5] = ["password", "secret", "jaas.config", "keystore.key", "scram-sha-"];

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    commanded(arguments).await.map_err(|stop| match stop {
        Stop::Thrown { class, message } => {
            // The second is one of the third.
            let illegal = "java.lang.IllegalArgumentException";
            let told = [illegal, INVALID_TOPIC, INVALID_CONFIG, UNSUPPORTED];
            if told.contains(&class.as_str()) || class.starts_with("joptsimple.") {
                return Stop::err(message);
            }
            let words = without_secrets(arguments);
            let head = format!("Error while executing config command with args '{words}'");
            Stop::err(format!("{head}\n{class}: {message}"))
        }
        other => other,
    })
}

/// The command line; what stands behind the first key of a secret is hidden, up to the end of its argument, for nobody
/// can tell where a password ends that was written wrongly.
fn without_secrets(arguments: &[String]) -> String {
    let shown = arguments.iter().map(|argument| {
        let lower = argument.to_ascii_lowercase();
        let behind = |key: &&str| {
            let at = lower.find(*key)?;
            lower.get(at..)?.find('=').map(|equals| at + equals + 1)
        };
        match SECRETS.iter().filter_map(behind).min().and_then(|at| argument.get(..at)) {
            Some(before) => format!("{before}[hidden]"),
            None => argument.clone(),
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

async fn commanded(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments)?;
    help_or_version(&options, ABOUT)?;
    let entities = checked(&options)?;
    let properties = Properties::of_file(options.one("command-config")?)?;
    let server = options.one("bootstrap-server")?;
    let controllers = server.is_none();
    let server = server.or(options.one("bootstrap-controller")?).unwrap_or_default();
    let admin = admin_of(server, controllers, &properties, "adminclient-1")?;
    if options.has("alter") {
        if entities.types.len() != entities.names.len() {
            return Err(Stop::illegal("An entity name must be specified for every entity type"));
        }
        return alter::run(&admin, &options, &entities).await;
    }
    describe::run(&admin, &entities, options.has("all")).await
}

/// What is meant: one type, or users and clients.
#[derive(Debug)]
struct Entities {
    types: Vec<String>,
    /// Empty for a default.
    names: Vec<String>,
}

impl Entities {
    fn types(options: &Options) -> Vec<String> {
        let flags = FLAGS.iter().chain(&DEFAULTS).filter(|(flag, _)| options.has(flag));
        let types = options.all("entity-type").into_iter().chain(flags.map(|(_, kind)| *kind));
        types.map(str::to_owned).collect()
    }

    fn names(options: &Options) -> Run<Vec<String>> {
        let mut given = options.all("entity-name").into_iter();
        let mut names: Vec<String> = Vec::new();
        for name in options.in_order(&["entity-name", "entity-default"]) {
            let name = if name == "entity-name" { given.next() } else { None };
            names.push(name.unwrap_or_default().to_owned());
        }
        for (flag, _) in FLAGS {
            names.extend(options.one(flag)?.map(str::to_owned));
        }
        names.extend(DEFAULTS.iter().filter(|(flag, _)| options.has(flag)).map(|_| String::new()));
        Ok(names)
    }

    /// The first type.
    fn kind(&self) -> &str {
        self.types.first().map_or("", String::as_str)
    }

    fn has(&self, kind: &str) -> bool {
        self.types.iter().any(|known| known == kind)
    }

    fn quota_types(&self) -> Run<Vec<QuotaType>> {
        let kind = |kind: &String| match kind.as_str() {
            "users" => Ok(QuotaType::User),
            "clients" => Ok(QuotaType::ClientId),
            "ips" => Ok(QuotaType::Ip),
            other => Err(Stop::illegal(format!("Unexpected entity type {other}"))),
        };
        self.types.iter().map(kind).collect()
    }

    /// Whose quotas are asked for.
    fn quota_filter(&self) -> Run<Vec<(QuotaType, QuotaMatch)>> {
        if self.types.len() < self.names.len() {
            return Err(Stop::illegal("More entity names specified than entity types"));
        }
        let wanted = |at: usize| match self.names.get(at).map(String::as_str) {
            None => QuotaMatch::Any,
            Some("") => QuotaMatch::Default,
            Some(name) => QuotaMatch::Exact(name.to_owned()),
        };
        let types = self.quota_types()?.into_iter().enumerate();
        Ok(types.map(|(at, kind)| (kind, wanted(at))).collect())
    }
}

/// `topics` is `topic`.
fn singular(kind: &str) -> &str {
    kind.split_at_checked(kind.len().saturating_sub(1)).map_or(kind, |(one, _)| one)
}

/// The kind of thing that has configs of its own.
fn resource_type(kind: &str) -> Option<ResourceType> {
    match kind {
        "topics" => Some(ResourceType::Topic),
        "brokers" => Some(ResourceType::Broker),
        "broker-loggers" => Some(ResourceType::BrokerLogger),
        "client-metrics" => Some(ResourceType::ClientMetrics),
        "groups" => Some(ResourceType::Group),
        _ => None,
    }
}

/// `Integer.parseInt`.
fn is_int(text: &str) -> bool {
    text.parse::<i32>().is_ok()
}

fn check_broker_id(kind: &str, name: &str) -> Run<()> {
    if is_int(name) {
        return Ok(());
    }
    Err(Stop::illegal(format!(
        "The entity name for {kind} must be a valid integer broker id, found: {name}"
    )))
}

/// What is meant, if the options go together.
fn checked(options: &Options) -> Run<Entities> {
    if options.count(&["alter", "describe"]) != 1 {
        let text = "Command must include exactly one action: --describe, --alter";
        return Err(Stop::Usage(text.to_owned()));
    }
    let unfit = ["alter", "add-config", "delete-config"];
    options.exclude("describe", &unfit).map_err(Stop::Usage)?;
    let mut entities = Entities { types: Entities::types(options), names: Vec::new() };
    check_types(options, &entities)?;
    check_flags(options)?;
    entities.names = Entities::names(options)?;
    check_names(options, &entities)?;
    if options.has("describe") {
        check_describe(options, &entities)?;
    } else {
        check_alter(options, &entities)?;
    }
    Ok(entities)
}

fn check_types(options: &Options, entities: &Entities) -> Run<()> {
    let types = &entities.types;
    let twice: Vec<&str> = types
        .iter()
        .enumerate()
        .filter(|(at, kind)| types.iter().take(*at).any(|other| other == *kind))
        .map(|(_, kind)| kind.as_str())
        .collect();
    if !twice.is_empty() {
        let text = format!("Duplicate entity type(s) specified: {}", twice.join(","));
        return Err(Stop::illegal(text));
    }
    if options.count(&["bootstrap-server", "bootstrap-controller"]) == 0 {
        let text = "Either --bootstrap-server or --bootstrap-controller must be specified.";
        return Err(Stop::illegal(text));
    }
    if let Some(kind) = types.iter().find(|kind| !TYPES.contains(&kind.as_str())) {
        return Err(Stop::illegal(format!(
            "Invalid entity type {kind}, the entity type must be one of {} with a --bootstrap-server or \
             --bootstrap-controller argument",
            TYPES.join(", ")
        )));
    }
    if types.is_empty() {
        return Err(Stop::illegal("At least one entity type must be specified"));
    }
    if types.len() > 1 && !(types.len() == 2 && entities.has("users") && entities.has("clients")) {
        let text = "Only 'users' and 'clients' entity types may be specified together";
        return Err(Stop::illegal(text));
    }
    Ok(())
}

fn check_flags(options: &Options) -> Run<()> {
    let by_flag = FLAGS.iter().chain(&DEFAULTS).any(|(flag, _)| options.has(flag));
    if by_flag && options.any_of(&["entity-name", "entity-type", "entity-default"]).is_some() {
        return Err(Stop::illegal(
            "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
        ));
    }
    Ok(())
}

fn check_names(options: &Options, entities: &Entities) -> Run<()> {
    if options.count(&["bootstrap-server", "bootstrap-controller"]) > 1 {
        let text = "Only one of --bootstrap-server or --bootstrap-controller can be specified";
        return Err(Stop::illegal(text));
    }
    if entities.names.iter().all(String::is_empty) {
        return Ok(());
    }
    let kind = entities.kind();
    if ["brokers", "broker-loggers"].contains(&kind) {
        for flag in ["entity-name", "broker", "broker-logger"] {
            if let Some(id) = options.one(flag)?.filter(|id| !is_int(id)) {
                return Err(Stop::illegal(format!(
                    "The entity name for {kind} must be a valid integer broker id, but it is: {id}"
                )));
            }
        }
    }
    if kind == "ips" {
        for flag in ["entity-name", "ip"] {
            let unknown = |ip: &&str| !ip.is_empty() && (*ip, 0).to_socket_addrs().is_err();
            if let Some(ip) = options.one(flag)?.filter(unknown) {
                return Err(Stop::illegal(format!(
                    "The entity name for {kind} must be a valid IP or resolvable host, but it is: {ip}"
                )));
            }
        }
    }
    Ok(())
}

fn check_describe(options: &Options, entities: &Entities) -> Run<()> {
    let has_default = WITH_DEFAULT.iter().any(|kind| entities.has(kind));
    if !has_default && options.has("entity-default") {
        return Err(Stop::illegal(format!(
            "--entity-default must not be specified with --describe of {}",
            entities.types.join(",")
        )));
    }
    if entities.has("broker-loggers") && entities.names.iter().all(String::is_empty) {
        return Err(Stop::illegal(format!(
            "An entity name must be specified with --describe of {}",
            entities.types.join(",")
        )));
    }
    Ok(())
}

fn check_alter(options: &Options, entities: &Entities) -> Run<()> {
    if WITH_DEFAULT.iter().any(|kind| entities.has(kind)) {
        if entities.names.is_empty() {
            return Err(Stop::illegal(
                "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
            ));
        }
    } else if entities.names.iter().all(String::is_empty) {
        return Err(Stop::illegal(format!(
            "An entity name must be specified with --alter of {}",
            entities.types.join(",")
        )));
    }
    if options.has("add-config") && options.has("add-config-file") {
        let text = "Only one of --add-config or --add-config-file must be specified";
        return Err(Stop::illegal(text));
    }
    if options.any_of(&["add-config", "add-config-file", "delete-config"]).is_none() {
        return Err(Stop::illegal(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_repeated() {
        let check = |words: &[&str], expected: &str| {
            let words: Vec<String> = words.iter().copied().map(str::to_owned).collect();
            assert_eq!(without_secrets(&words), expected);
        };
        check(&["--alter", "--topic", "t"], "--alter --topic t");
        check(
            &["--add-config", "x=1,SCRAM-SHA-256=[iterations=8192,password=a b,c]", "--user", "u"],
            "--add-config x=1,SCRAM-SHA-256=[hidden] --user u",
        );
        check(&["--add-config=ssl.key.password=x,y=z"], "--add-config=ssl.key.password=[hidden]");
        check(
            &["listener.name.x.plain.Sasl.Jaas.Config=y z"],
            "listener.name.x.plain.Sasl.Jaas.Config=[hidden]",
        );
    }
}
