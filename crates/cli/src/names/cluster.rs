//! `kafka-cluster`.

use ottla_client::Admin;
use ottla_types::{ErrorCode, NodeId};

use super::arguments::{Argument, Grammar, Level, Refused, Words, flag, number, required, text};
use super::say;
use super::session::{Properties, admin, described, nodes};
use super::stop::{Run, Stop};

const SERVER: Argument = text(&["--bootstrap-server", "-b"], "Brokers to begin with.");
const CONTROLLER: Argument = text(&["--bootstrap-controller", "-C"], "Or controllers.");
const CONFIG: Argument = text(&["--config"], "The same, deprecated.");
const COMMAND_CONFIG: Argument =
    text(&["--command-config", "-c"], "A file with settings of the client.");
const FENCED: Argument = flag(&["--include-fenced-brokers"], "Fenced brokers as well.");
const ID: Argument = required(number(&["--id", "-i"], "The broker to unregister."));

const fn command(name: &'static str, about: &'static str, arguments: &'static [Argument]) -> Level {
    let exclusive = &["bootstrap-server", "bootstrap-controller"];
    Level { name, about, arguments, exclusive, one_required: true }
}

const GRAMMAR: Grammar = Grammar {
    tool: Level {
        name: "kafka-cluster",
        about: "The Kafka cluster tool.",
        arguments: &[],
        exclusive: &[],
        one_required: false,
    },
    commands: &[
        command(
            "cluster-id",
            "Shows the id of the cluster.",
            &[SERVER, CONTROLLER, CONFIG, COMMAND_CONFIG],
        ),
        command(
            "unregister",
            "Takes a broker out of the cluster.",
            &[SERVER, CONTROLLER, CONFIG, COMMAND_CONFIG, ID],
        ),
        command(
            "list-endpoints",
            "Lists brokers or controllers.",
            &[SERVER, CONTROLLER, CONFIG, COMMAND_CONFIG, FENCED],
        ),
    ],
};

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let words = GRAMMAR.parse(arguments).map_err(|refused| match refused {
        Refused::Help(text) => Stop::out(text.trim_end()),
        Refused::Wrong { usage, message } => {
            Stop::err(format!("{usage}\nkafka-cluster: error: {message}"))
        }
    })?;
    if words.has("config") && words.has("command-config") {
        return Err(Stop::err("--config and --command-config cannot be specified together."));
    }
    if words.has("config") {
        say("Option --config has been deprecated and will be removed in a future version. Use \
             --command-config instead.");
    }
    let file = words.one("config").or_else(|| words.one("command-config"));
    let properties = Properties::of_file(file)?;
    let controllers = words.has("bootstrap-controller");
    let bootstrap = words.one("bootstrap-server").or_else(|| words.one("bootstrap-controller"));
    let admin = admin(bootstrap.unwrap_or_default(), &properties, "adminclient-1")?;
    match words.command {
        "cluster-id" => {
            let id = described(&admin, controllers).await.map_err(asked)?.id;
            say(&format!("Cluster ID: {id}"));
            Ok(())
        }
        "unregister" => unregister(&admin, &words, controllers).await,
        _ => list(&admin, &words, controllers).await,
    }
}

/// What an exception of a call says: its class too.
fn asked(stop: Stop) -> Stop {
    stop.caught(|_, full| Stop::err(full))
}

async fn unregister(admin: &Admin, words: &Words, controllers: bool) -> Run<()> {
    let raw = words.number("id").unwrap_or_default();
    let done = async {
        described(admin, controllers).await?;
        let unknown = || {
            let text = format!("Broker ID {raw} is not currently registered");
            Stop::kafka(ErrorCode::BrokerIdNotRegistered, text)
        };
        let id = NodeId::from_wire(raw).ok_or_else(unknown)?;
        Ok(admin.unregister_broker(id).await?)
    };
    let done: Run<()> = done.await;
    match done {
        Ok(()) => say(&format!("Broker {raw} is no longer registered.")),
        Err(stop) if stop.is(ErrorCode::UnsupportedVersion) => {
            say("The target cluster does not support the broker unregistration API.");
        }
        Err(stop) => return Err(asked(stop)),
    }
    Ok(())
}

async fn list(admin: &Admin, words: &Words, controllers: bool) -> Run<()> {
    let fenced = words.has("include-fenced-brokers");
    if fenced && controllers {
        return Err(Stop::illegal(
            "The option --include-fenced-brokers is only supported with --bootstrap-server option",
        ));
    }
    let mut nodes = match nodes(admin, controllers).await {
        Ok(nodes) => nodes,
        Err(stop) if stop.is(ErrorCode::UnsupportedVersion) => {
            return Err(stop.caught(|message, _| Stop::done(message)));
        }
        Err(stop) => return Err(asked(stop)),
    };
    nodes.retain(|node| fenced || !node.fenced);
    let longest = nodes.iter().map(|node| node.address.host.len()).max();
    let host_width = longest.unwrap_or(100);
    let racks = nodes.iter().filter_map(|node| node.rack.as_deref());
    let rack_width = racks.map(str::len).max().unwrap_or(10);
    let line = |id: &str, host: &str, port: &str, rack: &str, state: &str, kind: &str| {
        let start = format!("{id:<10} {host:<host_width$} {port:<10} {rack:<rack_width$}");
        if controllers {
            say(&format!("{start} {kind:<15}"));
        } else {
            say(&format!("{start} {state:<10} {kind:<15}"));
        }
    };
    line("ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE");
    let kind = if controllers { "controller" } else { "broker" };
    for node in nodes {
        let state = if node.fenced { "fenced" } else { "unfenced" };
        let (id, port) = (node.id.to_string(), node.address.port.to_string());
        let rack = node.rack.as_deref().unwrap_or("null");
        line(&id, &node.address.host, &port, rack, state, kind);
    }
    Ok(())
}
