//! From file, environment and command line to what a node runs with.
//!
//! Later sources win: built-in values (only without a file), file, environment, command line.
//! Everything that is wrong is reported at once; what is merely worth knowing becomes a
//! [`Notice`], to be logged once at the start.

use std::{fmt, sync::Arc};

use crate::{
    address::{endpoint, host_port},
    broker::BrokerConfig,
    env,
    error::ConfigError,
    key::Status,
    properties,
    provider::{Lookup, Providers},
    reader::AUTHORIZER_KEYS,
    settings::{Origin, Settings},
    suggest, table,
    value::split_list,
};

/// What a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Path and text of the file, if there is one.
    pub file: Option<(String, String)>,
    /// Environment variables; only those that begin with `KAFKA_` matter.
    pub env: Vec<(String, String)>,
    /// `--override` pairs in the order they were given.
    pub overrides: Vec<(String, String)>,
    /// Whether an unknown key in the file or on the command line is an error.
    pub strict: bool,
}

/// A configuration that can be run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every key that is set, and where.
    pub settings: Settings,
    /// What the node runs with.
    pub config: BrokerConfig,
    /// What is worth knowing.
    pub notices: Vec<Notice>,
}

/// A configuration that cannot be run.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Rejected {
    /// What is wrong, at least one thing.
    pub problems: Vec<Problem>,
    /// What is worth knowing.
    pub notices: Vec<Notice>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if 0 < at {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong, and where the key was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the key that it is about was set, if it is about one.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub error: ConfigError,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

/// Something worth knowing at the start. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A key that nobody knows.
    Unknown {
        /// Its name.
        name: String,
        /// Where it was set.
        origin: Origin,
        /// A key that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A key that has no effect here.
    Inert {
        /// Its name.
        name: String,
        /// Where it was set.
        origin: Origin,
        /// Why.
        reason: String,
    },
    /// A key that is set twice in the file; the last one counts.
    Repeated {
        /// Its name.
        name: String,
        /// Where it is set again.
        origin: Origin,
    },
    /// The file names no listeners.
    Loopback {
        /// The listeners that are used.
        listeners: String,
    },
    /// There is no file.
    NoFile,
    /// Values that are allowed but rarely meant.
    Doubtful(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, origin, nearest: Some(nearest) } => {
                write!(f, "{origin}: unknown key {name}; did you mean {nearest}?")
            }
            Self::Unknown { name, origin, nearest: None } => {
                write!(f, "{origin}: unknown key {name}")
            }
            Self::Inert { name, origin, reason } => {
                write!(f, "{origin}: {name} has no effect: {reason}")
            }
            Self::Repeated { name, origin } => {
                write!(f, "{origin}: {name} is set again; the last line counts")
            }
            Self::Loopback { listeners } => write!(
                f,
                "listeners is not set: listening on {listeners} only; set listeners to be reached \
                 from other machines"
            ),
            Self::NoFile => f.write_str(
                "no configuration file: broker and controller on loopback, internal topics with \
                 one replica",
            ),
            Self::Doubtful(text) => f.write_str(text),
        }
    }
}

/// Reads and checks a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(input: &Input, lookup: &dyn Lookup) -> Result<Loaded, Rejected> {
    let mut loading = Loading::default();
    loading.file(input);
    loading.environment(input);
    loading.command_line(input);
    loading.built_in(input);
    loading.references(lookup);
    loading.names(input.strict);
    loading.loopback();
    let texts = loading.settings.texts();
    match BrokerConfig::read(&texts) {
        Ok(config) if loading.problems.is_empty() => {
            loading.doubts(&config);
            let Loading { settings, notices, .. } = loading;
            Ok(Loaded { settings, config, notices })
        }
        outcome => {
            for error in outcome.err().unwrap_or_default() {
                loading.problem(error);
            }
            Err(Rejected { problems: loading.problems, notices: loading.notices })
        }
    }
}

#[derive(Default)]
struct Loading {
    settings: Settings,
    notices: Vec<Notice>,
    problems: Vec<Problem>,
}

impl Loading {
    fn problem(&mut self, error: ConfigError) {
        let name = match &error {
            ConfigError::Value { name, .. } | ConfigError::List { name, .. } => Some(name.as_str()),
            ConfigError::Rule(text) => text.split([' ', ':']).next(),
            _ => None,
        };
        let setting = name.and_then(|name| self.settings.get(name));
        let origin = setting.map(|setting| setting.origin.clone());
        self.problems.push(Problem { origin, error });
    }

    fn file(&mut self, input: &Input) {
        let Some((path, text)) = &input.file else { return };
        let path: Arc<str> = path.as_str().into();
        let entries = properties::parse(text).unwrap_or_else(|error| {
            let origin = Origin::File { path: path.clone(), line: error.line };
            let error = ConfigError::rule(error.to_string());
            self.problems.push(Problem { origin: Some(origin), error });
            Vec::new()
        });
        for entry in entries {
            let origin = Origin::File { path: path.clone(), line: entry.line };
            if self.settings.contains(&entry.key) {
                let name = entry.key.clone();
                self.notices.push(Notice::Repeated { name, origin: origin.clone() });
            }
            self.settings.set(&entry.key, &entry.value, origin);
        }
    }

    fn environment(&mut self, input: &Input) {
        for (variable, text) in &input.env {
            if let Some(key) = env::key_of(variable) {
                self.settings.set(&key, text, Origin::Env { variable: variable.clone() });
            }
        }
    }

    fn command_line(&mut self, input: &Input) {
        for (key, text) in &input.overrides {
            self.settings.set(key, text, Origin::Override);
        }
    }

    /// Without a file, and unless the environment or the command line say what the node is, it is
    /// a combined node on loopback.
    fn built_in(&mut self, input: &Input) {
        if input.file.is_some() || self.settings.contains("process.roles") {
            return;
        }
        self.notices.push(Notice::NoFile);
        for (key, text) in BUILT_IN {
            let other_name = *key == "node.id" && self.settings.contains("broker.id");
            let other_dirs = *key == "log.dirs" && self.settings.contains("log.dir");
            if !self.settings.contains(key) && !other_name && !other_dirs {
                self.settings.set(key, text, Origin::BuiltIn);
            }
        }
        self.add_controller_listener();
        let quorum = ["controller.quorum.voters", "controller.quorum.bootstrap.servers"];
        if quorum.iter().all(|key| !self.settings.contains(key)) {
            let server = self.own_controller();
            self.settings.set("controller.quorum.bootstrap.servers", &server, Origin::BuiltIn);
        }
    }

    /// Whoever says where clients connect need not know that a node has a controller, too.
    fn add_controller_listener(&mut self) {
        let text = |key| self.settings.get(key).map_or("", |setting| setting.text.as_str());
        let names = split_list(text("controller.listener.names"));
        let listeners = split_list(text("listeners"));
        let is_controller = |entry: &String| {
            let name = entry.split_once("://").map_or("", |(name, _)| name);
            names.iter().any(|other| other.eq_ignore_ascii_case(name))
        };
        let (Some(name), false) = (names.first(), listeners.iter().any(is_controller)) else {
            return;
        };
        let all = format!("{},{name}://127.0.0.1:9093", listeners.join(","));
        self.settings.replace_text("listeners", all);
    }

    /// Address of this node's controller listener, as the first controller to ask.
    fn own_controller(&self) -> String {
        let text = |key| self.settings.get(key).map_or("", |setting| setting.text.as_str());
        let names = split_list(text("controller.listener.names"));
        for entry in split_list(text("listeners")) {
            let Some((name, host, port)) = endpoint(&entry) else { continue };
            if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let host = host.filter(|host| host != "0.0.0.0" && host != "::");
                return format!("{}:{port}", host.as_deref().unwrap_or("127.0.0.1"));
            }
        }
        "127.0.0.1:9093".to_owned()
    }

    fn references(&mut self, lookup: &dyn Lookup) {
        let texts = self.settings.texts();
        let providers = match Providers::read(&texts) {
            Ok(providers) => providers,
            Err(error) => return self.problem(error),
        };
        for (name, text) in &texts {
            match providers.resolve(name, text, lookup) {
                Ok(Some(text)) => self.settings.replace_text(name, text),
                Ok(None) => {}
                Err(error) => self.problem(error),
            }
        }
    }

    /// Keys that are not known or have no effect.
    fn names(&mut self, strict: bool) {
        let settings = self.settings.clone();
        for (name, setting) in settings.iter() {
            if setting.origin == Origin::BuiltIn {
                continue;
            }
            let base = table::listener_base(name).unwrap_or(name);
            match table::broker_keys().find(|key| key.name == base) {
                Some(key) => self.inert(name, &setting.origin, key.status),
                None if is_private(name) => {}
                None => self.unknown(name, &setting.origin, strict),
            }
        }
    }

    fn inert(&mut self, name: &str, origin: &Origin, status: Status) {
        let reason = match status {
            Status::Meaningless(reason) => reason.to_owned(),
            Status::NotYet(feature) => format!("it belongs to {feature}, which does not exist yet"),
            Status::Used | Status::Refused(_) => return,
        };
        self.notices.push(Notice::Inert { name: name.to_owned(), origin: origin.clone(), reason });
    }

    fn unknown(&mut self, name: &str, origin: &Origin, strict: bool) {
        if let Some((_, reason)) = REMOVED.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            let reason = (*reason).to_owned();
            let origin = origin.clone();
            return self.notices.push(Notice::Inert { name: name.to_owned(), origin, reason });
        }
        let nearest = suggest::nearest(name, table::broker_keys().map(|key| key.name));
        if strict && !matches!(origin, Origin::Env { .. }) {
            let hint = nearest.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
            let error = ConfigError::rule(format!("unknown key {name}{hint}"));
            return self.problems.push(Problem { origin: Some(origin.clone()), error });
        }
        let origin = origin.clone();
        self.notices.push(Notice::Unknown { name: name.to_owned(), origin, nearest });
    }

    /// A file without listeners gets loopback ones, where Kafka would listen everywhere.
    fn loopback(&mut self) {
        if self.settings.contains("listeners") {
            return;
        }
        let text = |key| self.settings.get(key).map_or("", |setting| setting.text.as_str());
        let roles = split_list(text("process.roles"));
        let has = |role: &str| roles.iter().any(|other| other == role);
        let mut listeners = Vec::new();
        if has("broker") {
            let name = text("inter.broker.listener.name");
            let name = if name.is_empty() { "PLAINTEXT" } else { name };
            listeners.push(format!("{name}://127.0.0.1:9092"));
        }
        if has("controller") {
            let name = split_list(text("controller.listener.names")).into_iter().next();
            listeners.push(format!("{}://127.0.0.1:9093", name.as_deref().unwrap_or("CONTROLLER")));
        }
        if listeners.is_empty() {
            return;
        }
        let listeners = listeners.join(",");
        self.settings.set("listeners", &listeners, Origin::BuiltIn);
        self.notices.push(Notice::Loopback { listeners });
    }

    fn doubts(&mut self, config: &BrokerConfig) {
        let life = &config.lifecycle;
        let (beat, session) = (life.heartbeat_interval, life.session_timeout);
        if session < beat * 2 {
            self.notices.push(Notice::Doubtful(format!(
                "broker.heartbeat.interval.ms ({} ms) is more than half of \
                 broker.session.timeout.ms ({} ms): one lost heartbeat may fence the broker",
                beat.as_millis(),
                session.as_millis()
            )));
        }
        for listener in &config.listeners.advertised {
            if listener.host.is_none() && config.roles.broker {
                self.notices.push(Notice::Doubtful(format!(
                    "listener {} is bound to every interface and advertised.listeners is not \
                     set: clients will be told this machine's host name",
                    listener.name
                )));
            }
        }
    }
}

/// Keys that belong to others: parameters of config providers, plug-ins, the authorizer.
fn is_private(name: &str) -> bool {
    let prefixes = ["config.providers.", "rsm.config.", "rlmm.config."];
    AUTHORIZER_KEYS.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Reads `KEY=VALUE`, as `--override` takes it.
///
/// # Errors
/// The text has no `=` or no key.
pub fn parse_override(text: &str) -> Result<(String, String), ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(ConfigError::rule(format!("expected KEY=VALUE, got {text:?}"))),
    }
}

/// Whether an address is one that only this machine reaches.
pub fn is_loopback(address: &str) -> bool {
    let host = host_port(address).map_or_else(|| address.to_owned(), |parsed| parsed.host);
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// What a node is when nobody says anything.
const BUILT_IN: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("log.dirs", "data"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

/// Keys of former Kafka releases, by prefix, and what became of them.
const REMOVED: &[(&str, &str)] = &[
    ("zookeeper.", "ZooKeeper mode was removed in Kafka 4.0"),
    ("broker.id.generation.enable", "it was removed in Kafka 4.0; set node.id"),
    ("control.plane.listener.name", "it was removed in Kafka 4.0; use controller.listener.names"),
    ("inter.broker.protocol.version", "it was removed in Kafka 4.0; metadata.version replaces it"),
    ("log.message.format.version", "it was removed in Kafka 4.0; there is one format"),
    ("log.message.downconversion.enable", "it was removed in Kafka 4.0; there is one format"),
    (
        "log.message.timestamp.difference.max.ms",
        "it was removed in Kafka 4.0; see \
      log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
    ),
    ("auto.include.jmx.reporter", "it was removed in Kafka 4.0"),
    ("group.coordinator.new.enable", "it was removed in Kafka 4.0"),
];
