//! `kafka-consumer-groups`: list, describe, delete, offsets.
//!
//! As Kafka's, it ends with 0 after an error that a broker told.

mod describe;
mod reset;

use std::collections::{BTreeMap, HashSet};

use ottla_client::{Admin, ClientError, GroupListing};
use ottla_types::{ErrorCode, PartitionIndex};

use super::java::hash_order;
use super::options::{Known, Options, Takes, flag, with};
use super::session::{Properties, admin};
use super::stop::{Run, Stop, message_of, option_exception};
use super::{complain, help_or_version, say};

/// Its options.
pub(super) const KNOWN: &[Known] = &[
    with("bootstrap-server", "server to connect to", "REQUIRED: where the cluster is."),
    with("group", "group id", "The group; may be given several times."),
    with("topic", "topic", "A topic, or topic:0,1 for some of its partitions."),
    flag("all-topics", "All topics that the group has offsets in."),
    flag("list", "List the groups."),
    flag("describe", "Show groups and how far behind they are."),
    flag("all-groups", "All groups."),
    flag("delete", "Delete groups with their offsets."),
    with("timeout", "timeout (ms)", "How long each call may take; 30000 if not said."),
    with("command-config", "command config property file", "A file with settings of the client."),
    flag("reset-offsets", "Set the offsets of groups without members."),
    flag("delete-offsets", "Delete offsets of a group."),
    flag("dry-run", "With --reset-offsets: only show what would be set."),
    flag("execute", "With --reset-offsets: set the offsets."),
    flag("export", "With --reset-offsets: print CSV."),
    with("to-offset", "offset", "To this offset."),
    with("from-file", "path to CSV file", "To the offsets in a file, as --export prints them."),
    with("to-datetime", "datetime", "To a time: YYYY-MM-DDThh:mm:ss.sss"),
    with("by-duration", "duration", "To so long ago: PnDTnHnMnS"),
    flag("to-earliest", "To the earliest offset."),
    flag("to-latest", "To the latest offset."),
    flag("to-current", "To where they are."),
    with("shift-by", "number-of-offsets", "So many on, or back if it is negative."),
    flag("members", "With --describe: the members."),
    flag("verbose", "With --describe: more of it."),
    flag("offsets", "With --describe: the offsets, as without it."),
    Known {
        name: "state",
        takes: Takes::Maybe("String"),
        about: "With --describe the state; with --list the states, or only groups in some.",
    },
    Known {
        name: "type",
        takes: Takes::Maybe("String"),
        about: "With --list: the types, or only groups of some.",
    },
    with("validate-regex", "regex", "Say whether a regular expression is one of RE2."),
];

const ACTIONS: [&str; 6] =
    ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];
const SCENARIOS: [&str; 8] = [
    "to-offset",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "shift-by",
    "from-file",
];

/// Partitions by topic, in order.
type Partitions = Vec<(String, PartitionIndex)>;

/// Runs the tool.
pub(super) async fn run(arguments: &[String]) -> Run<()> {
    let options = Options::parse(KNOWN, arguments).and_then(available);
    let options = options.map_err(|text| option_exception(&text))?;
    check(&options)?;
    if options.count(&ACTIONS) != 1 {
        let actions = ACTIONS.map(|action| format!("--{action}")).join(", ");
        return Err(Stop::Usage(format!("Command must include exactly one action: {actions}")));
    }
    if let Some(regex) = options.one("validate-regex").map_err(Stop::Usage)? {
        say(&match ottla_group::check_regex(regex) {
            Ok(()) => format!("The regular expression `{regex}` is valid."),
            Err(why) => format!("The regular expression `{regex}` is invalid: {why}."),
        });
        return Ok(());
    }
    match act(&options).await {
        Err(Stop::Thrown { class, message }) if class == ILLEGAL => Err(Stop::Usage(message)),
        Err(Stop::Thrown { message, .. }) => {
            error(&format!("Executing consumer group command failed due to {message}"));
            Ok(())
        }
        done => done,
    }
}

const ILLEGAL: &str = "java.lang.IllegalArgumentException";

/// Options that go with some actions only.
fn available(options: Options) -> Result<Options, String> {
    let of = [
        ("members", &["describe"][..]),
        ("verbose", &["describe"]),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("type", &["list"]),
    ];
    let lost = of.iter().find(|(name, with)| options.has(name) && options.count(with) == 0);
    match lost.filter(|_| !options.has("help") && !options.has("version")) {
        None => Ok(options),
        Some((name, _)) => Err(format!(
            "Option(s) [{name}] are unavailable given other options on the command line"
        )),
    }
}

fn check(options: &Options) -> Run<()> {
    help_or_version(
        options,
        "This tool helps to list all consumer groups, describe a consumer group, delete consumer \
         group info, or reset consumer group offsets.",
    )?;
    combinations(options).map_err(Stop::Usage)
}

fn combinations(options: &Options) -> Result<(), String> {
    let has = |name: &str| options.has(name);
    if !has("validate-regex") {
        options.require(&["bootstrap-server"])?;
    }
    let no_group = options.count(&["group", "all-groups"]) == 0;
    let scope = |action: &str| {
        Err(format!("Option [{action}] takes one of these options: [group], [all-groups]"))
    };
    if has("describe") {
        if no_group {
            return scope("describe");
        }
        if 1 < options.count(&["members", "offsets", "state"]) {
            return Err("Option [describe] takes at most one of these options: [members], \
                        [offsets], [state]"
                .to_owned());
        }
        if options.one("state")?.is_some() {
            return Err("Option [describe] does not take a value for [state]".to_owned());
        }
    }
    if has("delete") {
        if no_group {
            return scope("delete");
        }
        if has("topic") {
            return Err("The consumer does not support topic-specific offset deletion from a \
                        consumer group."
                .to_owned());
        }
    }
    if has("delete-offsets") && !(has("group") && has("topic")) {
        return Err("Option [delete-offsets] takes the following options: [group], [topic]".into());
    }
    if has("reset-offsets") {
        if has("dry-run") && has("execute") {
            return Err("Option [reset-offsets] only accepts one of [execute] and [dry-run]".into());
        }
        if !has("dry-run") && !has("execute") {
            complain(NO_ACTION);
        }
        if no_group {
            return scope("reset-offsets");
        }
        for scenario in SCENARIOS {
            let others: Vec<_> = SCENARIOS.into_iter().filter(|other| *other != scenario).collect();
            options.exclude(scenario, &others)?;
        }
    }
    options.exclude("group", &["all-groups"])?;
    options.exclude("group", &["list"])?;
    options.exclude("topic", &["list", "describe"])
}

const NO_ACTION: &str = "WARN: No action will be performed as the --execute option is missing. In \
    version 5.0, this command will require either --dry-run or --execute to be specified. You \
    should add the --dry-run option explicitly if you are scripting this command and want to keep \
    the current default behavior without prompting.";

async fn act(options: &Options) -> Run<()> {
    let mut properties = Properties::of_file(options.one("command-config")?)?;
    let timeout: Option<i64> = options.number("timeout")?;
    properties.set("default.api.timeout.ms", &timeout.unwrap_or(30_000).max(0).to_string());
    let bootstrap = options.one("bootstrap-server")?.unwrap_or_default();
    let admin = admin(bootstrap, &properties, "adminclient-1")?;
    if options.has("list") {
        return list(&admin, options).await;
    }
    if options.has("describe") {
        return describe::run(&admin, options).await;
    }
    if options.has("delete") {
        return delete(&admin, options).await;
    }
    if options.has("reset-offsets") {
        return reset::run(&admin, options).await;
    }
    delete_offsets(&admin, options).await
}

/// What went wrong, as this tool says it.
fn error(text: &str) {
    say(&format!("\nError: {text}"));
}

/// As [`Stop::of_future`], within a `RuntimeException`.
fn of_runtime(failed: ClientError) -> Stop {
    match Stop::of_future(failed) {
        Stop::Thrown { class, message } => Stop::Thrown {
            class: "java.lang.RuntimeException".to_owned(),
            message: format!("{class}: {message}"),
        },
        other => other,
    }
}

async fn consumer_groups(admin: &Admin) -> Result<Vec<GroupListing>, ClientError> {
    let mut groups = admin.list_groups().await?;
    groups.retain(|group| ["", "consumer"].contains(&group.protocol_type.as_str()));
    groups.retain(|group| !["share", "streams"].contains(&group.kind.to_lowercase().as_str()));
    hash_order(&mut groups, 16, |group| &group.id);
    Ok(groups)
}

/// The groups that are meant.
async fn chosen(admin: &Admin, options: &Options) -> Run<Vec<String>> {
    if options.has("all-groups") {
        let groups = consumer_groups(admin).await.map_err(of_runtime)?;
        return Ok(groups.into_iter().map(|group| group.id).collect());
    }
    Ok(options.all("group").into_iter().map(str::to_owned).collect())
}

async fn list(admin: &Admin, options: &Options) -> Run<()> {
    let (types, states) = (options.has("type"), options.has("state"));
    if !types && !states {
        for group in consumer_groups(admin).await.map_err(of_runtime)? {
            say(&group.id);
        }
        return Ok(());
    }
    let words = |text: &str| -> Vec<String> {
        text.split(',').map(|word| word.trim().to_lowercase()).collect()
    };
    let wanted = |name: &str, valid: &[&str], what: &str| -> Run<Vec<String>> {
        let Some(text) = options.one(name)?.filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        let found = words(text);
        let plain: Vec<String> = valid.iter().map(|one| one.to_lowercase()).collect();
        if found.iter().all(|one| plain.contains(one)) {
            return Ok(found);
        }
        let (list, kinds) = (valid.join(", "), if what == "state" { "states" } else { "types" });
        let what = if what == "state" { "state" } else { "types" };
        Err(Stop::illegal(format!("Invalid {what} list '{text}'. Valid {kinds} are: {list}")))
    };
    let of_types = wanted("type", &["Classic", "Consumer"], "types")?;
    let of_states = wanted("state", &STATES, "state")?;
    let mut groups = consumer_groups(admin).await.map_err(Stop::of_future)?;
    let fits =
        |words: &[String], value: &str| words.is_empty() || words.contains(&value.to_lowercase());
    groups.retain(|group| fits(&of_types, &group.kind) && fits(&of_states, &group.state));
    let width = groups.iter().map(|group| group.id.len()).max().unwrap_or(0).max(15) + 10;
    let row = |id: &str, kind: &str, state: &str| {
        let mut line = format!("{id:<width$}");
        if types {
            line.push_str(&format!(" {kind:<20}"));
        }
        if states {
            line.push_str(&format!(" {state:<20}"));
        }
        say(&line);
    };
    row("GROUP", "TYPE", "STATE");
    for group in &groups {
        row(&group.id, &capital(&group.kind), &group.state);
    }
    Ok(())
}

const STATES: [&str; 7] = [
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
    "Empty",
    "Assigning",
    "Reconciling",
];

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
    format!("{}{}", first.to_uppercase(), rest.to_lowercase())
}

async fn delete(admin: &Admin, options: &Options) -> Run<()> {
    let mut groups = chosen(admin, options).await?;
    let mut seen = HashSet::new();
    groups.retain(|group| seen.insert(group.clone()));
    hash_order(&mut groups, 16, |group| group);
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for group in groups {
        match admin.delete_group(&group).await {
            Ok(()) => deleted.push(format!("'{group}'")),
            Err(error) => failed.push((group, Stop::from(error))),
        }
    }
    let deleted = deleted.join(", ");
    if failed.is_empty() {
        say(&format!("Deletion of requested consumer groups ({deleted}) was successful."));
        return Ok(());
    }
    error("Deletion of some consumer groups failed:");
    for (group, stop) in failed {
        let why = match stop {
            Stop::Thrown { class, message } => format!("{class}: {message}"),
            other => format!("{other:?}"),
        };
        say(&format!("* Group '{group}' could not be deleted due to: {why}"));
    }
    if !deleted.is_empty() {
        say(&format!("\nThese consumer groups were deleted successfully: {deleted}"));
    }
    Ok(())
}

async fn delete_offsets(admin: &Admin, options: &Options) -> Run<()> {
    let group = options.one("group")?.unwrap_or_default();
    let mut results: BTreeMap<(String, Option<PartitionIndex>), Option<String>> = BTreeMap::new();
    let mut topics: BTreeMap<String, Vec<PartitionIndex>> = BTreeMap::new();
    for argument in options.all("topic") {
        if argument.contains(':') {
            for (topic, index) in reset::partitions_of(argument)? {
                topics.entry(topic).or_default().push(index);
            }
            continue;
        }
        match admin.client().refreshed_topic(argument, false).await {
            Ok(known) => {
                let indexes = known.partitions.iter().map(|one| one.index);
                topics.entry(argument.to_owned()).or_default().extend(indexes);
            }
            Err(failed) => {
                let why = Stop::of_future(failed).text();
                results.insert((argument.to_owned(), None), Some(why));
            }
        }
    }
    let mut top = None;
    for (topic, indexes) in topics {
        for index in indexes {
            let deleted = admin.delete_group_offsets(group, &topic, &[index]).await;
            let why = deleted.err().map(|failed| {
                let code = failed.code().unwrap_or(ErrorCode::UnknownServerError);
                top = top.or(Some(code));
                Stop::of_future(failed).text()
            });
            results.insert((topic.clone(), Some(index)), why);
        }
    }
    match top {
        None => say(&format!("Request succeeded for deleting offsets from group {group}.")),
        Some(
            code @ (ErrorCode::InvalidGroupId
            | ErrorCode::GroupIdNotFound
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::NonEmptyGroup),
        ) => error(&message_of(code)),
        Some(
            ErrorCode::GroupSubscribedToTopic
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::UnknownTopicOrPartition,
        ) => error("Encountered some partition-level error, see the follow-up details."),
        Some(other) => error(&format!("Encountered some unknown error: {}", other.name())),
    }
    let width = results.keys().map(|(topic, _)| topic.len()).max().unwrap_or(0).max(15);
    let row = |topic: &str, partition: &str, status: &str| {
        format!("\n{topic:<width$} {partition:<10} {status:<15}")
    };
    let mut table = row("TOPIC", "PARTITION", "STATUS");
    let mut rows: Vec<_> = results.into_iter().collect();
    let place = |index: Option<PartitionIndex>| index.map_or(-1, PartitionIndex::to_wire);
    rows.sort_by_key(|((topic, index), _)| format!("{topic}{}", place(*index)));
    for ((topic, index), why) in rows {
        let partition = index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        let status = why.map_or_else(|| "Successful".to_owned(), |why| format!("Error: {why}"));
        table.push_str(&row(&topic, &partition, &status));
    }
    say(&table);
    Ok(())
}
