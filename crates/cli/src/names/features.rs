//! `kafka-features`.

use ottla_client::{Admin, Connection, FeatureUpgrade};
use ottla_metadata::features::{Feature, METADATA_VERSION, MetadataVersion};
use ottla_protocol::ApiVersionsResponse;
use ottla_types::NodeId;

use super::arguments::{Argument, Grammar, Level, Refused, Words, flag, number, required, text};
use super::java::hash_order;
use super::levels::{self, Unknown};
use super::say;
use super::session::{Properties, admin, described, nodes};
use super::stop::{Run, Stop};

const METADATA: Argument = text(&["--metadata"], "The metadata version; going away.");
const RELEASE: Argument = text(&["--release-version"], "The levels of this release.");
const FEATURE: Argument = text(&["--feature"], "A level, feature=level; may be there repeatedly.");
const DRY_RUN: Argument = flag(&["--dry-run"], "Only say whether it can be done.");
const UNSAFE: Argument = flag(&["--unsafe"], "Even if metadata are lost.");

const fn command(name: &'static str, about: &'static str, arguments: &'static [Argument]) -> Level {
    Level { name, about, arguments, exclusive: &[], one_required: false }
}

const GRAMMAR: Grammar = Grammar {
    tool: Level {
        name: "kafka-features",
        about: "This tool manages feature flags in Kafka.",
        arguments: &[
            text(&["--bootstrap-server"], "Brokers to begin with."),
            text(&["--bootstrap-controller"], "Or controllers."),
            text(&["--command-config"], "A file with settings of the client."),
        ],
        exclusive: &["bootstrap-server", "bootstrap-controller"],
        one_required: false,
    },
    commands: &[
        command("describe", "Shows levels.", &[number(&["--node-id"], "The node to ask.")]),
        command("upgrade", "Raises levels.", &[METADATA, RELEASE, FEATURE, DRY_RUN]),
        command("downgrade", "Lowers levels.", &[METADATA, RELEASE, FEATURE, UNSAFE, DRY_RUN]),
        command(
            "disable",
            "Lowers levels to zero.",
            &[text(&["--feature"], "A feature; may be there repeatedly."), UNSAFE, DRY_RUN],
        ),
        command("version-mapping", "Shows the levels of a release.", &[RELEASE]),
        command("feature-dependencies", "Shows what levels need.", &[required(FEATURE)]),
    ],
};

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    // Exceptions are told by their message alone.
    carry_out(arguments).await.map_err(|stop| stop.caught(|message, _| Stop::err(message)))
}

async fn carry_out(arguments: &[String]) -> Run<()> {
    let words = GRAMMAR.parse(arguments).map_err(|refused| match refused {
        Refused::Help(text) => Stop::done(text.trim_end()),
        Refused::Wrong { message, .. } => wrong(&message),
    })?;
    match words.command {
        "version-mapping" => {
            say(&levels::mapping(words.one("release-version")).map_err(Stop::err)?);
            return Ok(());
        }
        "feature-dependencies" => return dependencies(&words),
        _ => {}
    }
    let properties = Properties::of_file(words.one("command-config"))?;
    let controllers = words.has("bootstrap-controller");
    let bootstrap = words.one("bootstrap-server").or_else(|| words.one("bootstrap-controller"));
    let bootstrap = bootstrap.ok_or_else(|| {
        wrong("You must specify either --bootstrap-controller or --bootstrap-server.")
    })?;
    let admin = admin(bootstrap, &properties, "adminclient-1")?;
    match words.command {
        "describe" => describe(&admin, &words, controllers).await,
        "disable" => {
            let mut updates = Updates::default();
            for feature in words.all("feature") {
                updates.add(feature, 0)?;
            }
            updates.carry_out(&admin, &words, controllers).await
        }
        _ => wanted(&words)?.carry_out(&admin, &words, controllers).await,
    }
}

fn wrong(message: &str) -> Stop {
    Stop::err(format!("Command line error: {message}. Type --help for help."))
}

fn dependencies(words: &Words) -> Run<()> {
    for text in words.all("feature") {
        let (name, level) = name_and_level(text)?;
        match levels::needs(name, level) {
            Ok(text) => say(&text),
            Err(Unknown::Version) => {
                return Err(Stop::err(format!("Unknown metadata.version {level}")));
            }
            Err(Unknown::Feature) => return Err(Stop::err(format!("Unknown feature: {name}"))),
            Err(Unknown::Level) => {
                return Err(Stop::err(format!("No feature:{name} with feature level {level}")));
            }
        }
    }
    Ok(())
}

async fn describe(admin: &Admin, words: &Words, controllers: bool) -> Run<()> {
    let node = words.number("node-id");
    if let Some(id) = node.filter(|id| *id < 0) {
        return Err(Stop::err(format!("Invalid node id {id}: must be non-negative.")));
    }
    let asked = connection(admin, node.and_then(NodeId::from_wire), controllers).await;
    let connection = asked.map_err(|stop| stop.caught(|_, full| Stop::err(full)))?;
    say(&shown(connection.offered()));
    Ok(())
}

async fn connection(admin: &Admin, node: Option<NodeId>, controllers: bool) -> Run<Connection> {
    let nodes = nodes(admin, controllers).await?;
    let client = admin.client();
    match node {
        None => Ok(client.bootstrap().await?),
        Some(id) if !controllers => Ok(client.node(id).await?),
        Some(id) => {
            let found = nodes.into_iter().find(|node| node.id == id).ok_or_else(|| {
                let class = "org.apache.kafka.common.errors.TimeoutException".to_owned();
                Stop::Thrown { class, message: format!("there is no controller {id}") }
            })?;
            Ok(Connection::open(found.address, &client.options().connection).await?)
        }
    }
}

fn shown(offered: &ApiVersionsResponse) -> String {
    let epoch = offered.finalized_features_epoch;
    let epoch = if epoch < 0 { "-".to_owned() } else { epoch.to_string() };
    let mut lines = Vec::new();
    for feature in &offered.supported_features {
        let name = feature.name.as_str();
        let finalized = offered.finalized_features.iter().find(|one| one.name == feature.name);
        let finalized = finalized.map_or(0, |one| one.max_version_level);
        let level = |level: i16| match levels::of_level(level) {
            _ if name != METADATA_VERSION => level.to_string(),
            Some(version) => version.name().to_owned(),
            None => format!("UNKNOWN {level}"),
        };
        lines.push(format!(
            "Feature: {name:<40}  SupportedMinVersion: {:<15}  SupportedMaxVersion: {:<15}  \
             FinalizedVersionLevel: {:<15}  Epoch: {epoch}",
            level(feature.min_version),
            level(feature.max_version),
            level(finalized)
        ));
    }
    lines.sort();
    lines.join("\n")
}

/// Levels that shall hold.
#[derive(Debug, Default)]
struct Updates(Vec<(String, i16)>);

impl Updates {
    fn add(&mut self, name: &str, level: i16) -> Run<()> {
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(Stop::err(format!("Feature {name} was specified more than once.")));
        }
        self.0.push((name.to_owned(), level));
        Ok(())
    }

    async fn carry_out(mut self, admin: &Admin, words: &Words, controllers: bool) -> Run<()> {
        let (operation, dry) = (words.command, words.has("dry-run"));
        let updates = &mut self.0;
        if updates.is_empty() {
            let text = format!("You must specify at least one feature to {operation}");
            return Err(Stop::err(text));
        }
        if updates.iter().any(|(name, _)| name.trim().is_empty()) {
            return Err(Stop::err("Provided feature can not be empty."));
        }
        // The broker tells of the first that is wrong.
        hash_order(updates, 16, |(name, _)| name);
        let levels: Vec<_> = updates.iter().map(|(name, level)| (name.as_str(), *level)).collect();
        let how = match operation {
            "upgrade" => FeatureUpgrade::Upgrade,
            _ if words.has("unsafe") => FeatureUpgrade::UnsafeDowngrade,
            _ => FeatureUpgrade::SafeDowngrade,
        };
        let done = async {
            described(admin, controllers).await?;
            Ok(admin.update_features(&levels, how, dry).await?)
        };
        let done: Run<()> = done.await;
        let mut failed = None;
        if let Err(stop) = done {
            let Stop::End { err, .. } = stop.caught(|message, _| Stop::err(message)) else {
                return Ok(());
            };
            failed = Some(err);
        }
        updates.sort();
        for (name, level) in &*updates {
            say(&outcome(operation, dry, name, *level, failed.as_deref()));
        }
        match failed {
            None => Ok(()),
            Some(_) => {
                let all = updates.len();
                Err(Stop::err(format!("{all} out of {all} operation(s) failed.")))
            }
        }
    }
}

fn outcome(operation: &str, dry: bool, name: &str, level: i16, failed: Option<&str>) -> String {
    let level = if operation == "disable" { String::new() } else { format!(" to {level}") };
    match failed {
        Some(error) => {
            let helper = if dry { "Can not" } else { "Could not" };
            format!("{helper} {operation} {name}{level}. {error}")
        }
        None => {
            let verb = if dry { "can be" } else { "was" };
            let done = operation.trim_end_matches('e');
            format!("{name} {verb} {done}ed{level}.")
        }
    }
}

/// The levels that an upgrade or downgrade asks for.
fn wanted(words: &Words) -> Run<Updates> {
    let (metadata, features) = (words.one("metadata"), words.all("feature"));
    let upgrade = words.command == "upgrade";
    let mut updates = Updates::default();
    if let Some(text) = words.one("release-version") {
        if metadata.is_some() || !features.is_empty() {
            return Err(Stop::err("Can not specify `release-version` with other feature flags."));
        }
        let version = levels::release(text, true).map_err(Stop::err)?;
        updates.add(METADATA_VERSION, version.level())?;
        for feature in Feature::ALL {
            let level = feature.default_level(version);
            // An upgrade to 0 is none.
            if !upgrade || 0 < level {
                updates.add(feature.name(), level)?;
            }
        }
        return Ok(updates);
    }
    if let Some(text) = metadata {
        say(" `metadata` flag is deprecated and may be removed in a future release.");
        let version = levels::release(text, true).map_err(Stop::err)?;
        updates.add(METADATA_VERSION, MetadataVersion::level(version))?;
    }
    for text in features {
        let (name, level) = name_and_level(text)?;
        if upgrade && level == 0 {
            return Err(Stop::err(
                "The upgradeType flag should be set to SAFE_DOWNGRADE or UNSAFE_DOWNGRADE when the \
                 provided maxVersionLevel:0 is < 1.",
            ));
        }
        if level < 0 {
            return Err(Stop::err("Cannot specify a negative version level."));
        }
        updates.add(name, level)?;
    }
    Ok(updates)
}

fn name_and_level(text: &str) -> Run<(&str, i16)> {
    let wrong = |why: &str| Stop::err(format!("Can't parse feature=level string {text}: {why}"));
    let (name, level) = text.split_once('=').ok_or_else(|| wrong("equals sign not found."))?;
    let level = level.trim();
    let number = level.parse();
    let number = number.map_err(|_| wrong(&format!("unable to parse {level} as a short.")))?;
    Ok((name.trim(), number))
}
