//! `kafka-groups`.

use ottla_client::GroupListing;

use super::java::hash_order;
use super::options::{Known, Options, flag, with};
use super::session::{Properties, admin};
use super::stop::{Run, Stop};
use super::{help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "server to connect to", "REQUIRED: where the cluster is."),
    with("command-config", "command config property file", "A file with settings of the client."),
    flag("list", "List the groups."),
    with("group-type", "type", "Only groups of this type: classic, consumer, share or streams."),
    with("protocol", "protocol", "Only groups of this protocol."),
    flag("consumer", "Only groups of consumers, of either type, also those without members."),
    flag("share", "Only share groups."),
    flag("streams", "Only streams groups."),
];

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments).map_err(Stop::Usage)?;
    options.demand(&["bootstrap-server"]).map_err(Stop::Usage)?;
    help_or_version(&options, "This tool helps to list groups of all types.")?;
    if !options.has("list") {
        return Err(Stop::Usage("Command must include exactly one action: --list.".to_owned()));
    }
    let kind = options.one("group-type")?.map(str::to_lowercase);
    let kinds = ["classic", "consumer", "share", "streams"];
    if kind.as_deref().is_some_and(|kind| !kinds.contains(&kind)) {
        return Err(Stop::illegal("--group-type must be a valid group type."));
    }
    let excluding = [
        ("consumer", ["group-type", "protocol", "share", "streams"]),
        ("share", ["consumer", "group-type", "protocol", "streams"]),
        ("streams", ["consumer", "group-type", "protocol", "share"]),
    ];
    for (used, others) in excluding {
        options.exclude(used, &others).map_err(Stop::Usage)?;
    }
    let properties = Properties::of_file(options.one("command-config")?)?;
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    let listed = async {
        let mut groups = admin(bootstrap, &properties, "adminclient-1")?.list_groups().await?;
        hash_order(&mut groups, 16, |group| &group.id);
        let protocol = options.one("protocol")?;
        groups.retain(|group| passes(group, kind.as_deref(), protocol, &options));
        print(&groups);
        Ok(())
    };
    let done: Run<()> = listed.await;
    done.map_err(|stop| {
        stop.caught(|message, _| {
            Stop::out(format!("Error while executing groups command : {message}"))
        })
    })
}

fn passes(
    group: &GroupListing,
    kind: Option<&str>,
    protocol: Option<&str>,
    options: &Options,
) -> bool {
    let is = |kind: &str| group.kind.eq_ignore_ascii_case(kind);
    let protocol_fits = protocol.is_none_or(|wanted| group.protocol_type == wanted);
    match (kind, protocol) {
        (Some(kind), _) => is(kind) && protocol_fits,
        (None, Some(_)) => protocol_fits,
        _ if options.has("consumer") => {
            ["consumer", ""].contains(&group.protocol_type.as_str()) || is("consumer")
        }
        _ if options.has("share") => is("share"),
        _ if options.has("streams") => is("streams"),
        _ => true,
    }
}

fn print(groups: &[GroupListing]) {
    let name = |kind: &str| {
        let (first, rest) = kind.split_at_checked(1).unwrap_or((kind, ""));
        format!("{}{}", first.to_uppercase(), rest.to_lowercase())
    };
    let longest = groups.iter().map(|group| group.id.len().max(group.protocol_type.len())).max();
    let width = longest.unwrap_or(0).max(20);
    say(&format!("{:<width$} {:<width$} {:<width$}", "GROUP", "TYPE", "PROTOCOL"));
    for group in groups {
        let kind = name(&group.kind);
        say(&format!("{:<width$} {kind:<width$} {:<width$} ", group.id, group.protocol_type));
    }
}
