//! `ottla group`: list, describe, delete, reset-offsets, delete-offsets.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgGroup, Args, Subcommand};
use ottla_client::{Admin, GroupDescription, OffsetSpec};
use ottla_types::{Offset, PartitionIndex, Timestamp};
use serde::Serialize;

use super::topic::existing;
use super::{counted, partly};
use crate::args::ConnectionArgs;
use crate::connect::admin;
use crate::exit::{Exit, Failure};
use crate::output::{Render, Text, maybe};
use crate::suggest::with_name;
use crate::table::Table;
use crate::terminal::Terminal;

/// Commands of `ottla group`.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Lists groups
    List,
    /// Shows members, offsets and lag of groups
    Describe {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Deletes groups that have no members, with their offsets
    Delete {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
        /// Does not ask
        #[arg(short, long)]
        yes: bool,
        /// Only shows what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    /// Moves the offsets of a group that has no members
    ResetOffsets(ResetArgs),
    /// Removes a group's offsets in a topic
    DeleteOffsets {
        /// The group
        group: String,
        /// The topic
        topic: String,
        /// Does not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Arguments of `ottla group reset-offsets`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("target").required(true)))]
pub(crate) struct ResetArgs {
    /// The group
    group: String,
    /// A topic, or some of its partitions as topic:0,1; all that it has offsets in if left out
    #[arg(short, long = "topic", value_name = "TOPIC[:N,...]")]
    topics: Vec<String>,
    /// To the oldest record
    #[arg(long, group = "target")]
    to_earliest: bool,
    /// Behind the newest record
    #[arg(long, group = "target")]
    to_latest: bool,
    /// To this offset
    #[arg(long, group = "target", value_name = "OFFSET")]
    to_offset: Option<u64>,
    /// To the first record at or after this time, in milliseconds
    #[arg(long, group = "target", value_name = "MILLISECONDS")]
    to_timestamp: Option<i64>,
    /// By this many records, forward or back
    #[arg(long, group = "target", value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// Only shows what would change
    #[arg(long)]
    dry_run: bool,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(
    command: GroupCommand,
    connection: &ConnectionArgs,
    terminal: Terminal,
) -> Result<Exit, Failure> {
    let admin = admin(connection)?;
    match command {
        GroupCommand::List => list_groups(&admin, terminal).await,
        GroupCommand::Describe { groups } => describe(&admin, &groups, terminal).await,
        GroupCommand::Delete { groups, yes, dry_run } => {
            if dry_run {
                groups.iter().for_each(|id| terminal.say(format!("{id} would be deleted")));
                return Ok(Exit::Ok);
            }
            terminal.confirm(yes, &format!("Delete {} with all offsets?", groups.join(", ")))?;
            let mut failures = Vec::new();
            for id in &groups {
                match admin.delete_group(id).await {
                    Ok(()) => terminal.say(format!("{id} deleted")),
                    Err(error) => failures.push(near_group(&admin, id, error.into()).await),
                }
            }
            Ok(partly(terminal, groups.len(), failures))
        }
        GroupCommand::ResetOffsets(args) => reset(&admin, &args, terminal).await,
        GroupCommand::DeleteOffsets { group, topic, yes } => {
            terminal.confirm(yes, &format!("Delete the offsets of {group} in {topic}?"))?;
            let offsets = admin.group_offsets(&group).await?;
            let of_topic = offsets.keys().filter(|(name, _)| *name == topic);
            let indexes: Vec<_> = of_topic.map(|(_, index)| *index).collect();
            admin.delete_group_offsets(&group, &topic, &indexes).await?;
            terminal
                .say(format!("{group}: {} in {topic} deleted", counted(indexes.len(), "offset")));
            Ok(Exit::Ok)
        }
    }
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    kind: String,
    protocol: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct GroupList(Vec<Listed>);

impl Render for GroupList {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["group", "state", "type", "protocol"]);
        for group in &self.0 {
            let cells = [&group.group, &group.state, &group.kind, &group.protocol];
            table
                .row(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.clone() }));
        }
        text.table(&table);
    }
}

async fn list_groups(admin: &Admin, terminal: Terminal) -> Result<Exit, Failure> {
    let mut groups = admin.list_groups().await?;
    groups.sort_by(|one, other| one.id.cmp(&other.id));
    let listed = groups.into_iter().map(|group| Listed {
        group: group.id,
        state: group.state,
        kind: group.kind,
        protocol: group.protocol_type,
    });
    terminal.print(&GroupList(listed.collect()))?;
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    protocol: String,
    assignor: String,
    members: Vec<Member>,
    offsets: Vec<Progress>,
    total_lag: u64,
}

#[derive(Serialize)]
struct Member {
    id: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

#[derive(Serialize)]
struct Progress {
    topic: String,
    partition: u32,
    committed: Option<u64>,
    end: Option<u64>,
    lag: Option<u64>,
    member: Option<String>,
    client_id: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Description(Vec<Described>);

impl Render for Description {
    fn text(&self, text: &mut Text) {
        for group in &self.0 {
            text.gap();
            text.field("group", &group.group);
            text.field("state", &group.state);
            if !group.assignor.is_empty() {
                text.field("assignor", &group.assignor);
            }
            text.field("members", group.members.len().to_string());
            text.field("lag", group.total_lag.to_string());
            if !group.offsets.is_empty() {
                text.gap();
                let columns = ["topic", "partition", "committed", "end", "lag", "client", "member"];
                let mut table = Table::new(&columns);
                for row in &group.offsets {
                    table.row([
                        row.topic.clone(),
                        row.partition.to_string(),
                        maybe(row.committed),
                        maybe(row.end),
                        maybe(row.lag),
                        maybe(row.client_id.clone()),
                        maybe(row.member.clone()),
                    ]);
                }
                text.table(&table);
            }
            let idle = group.members.iter().filter(|member| member.partitions == 0).count();
            if 0 < idle {
                text.gap();
                text.line(format!("{idle} members have no partition"));
            }
        }
    }
}

async fn describe(admin: &Admin, ids: &[String], terminal: Terminal) -> Result<Exit, Failure> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for id in ids {
        match describe_one(admin, id).await {
            Ok(group) => found.push(group),
            Err(failure) => failures.push(near_group(admin, id, failure).await),
        }
    }
    if !found.is_empty() {
        terminal.print(&Description(found))?;
    }
    Ok(partly(terminal, ids.len(), failures))
}

async fn describe_one(admin: &Admin, id: &str) -> Result<Described, Failure> {
    let group = admin.describe_group(id).await?;
    let committed = admin.group_offsets(id).await?;
    // Before KIP-1043 a group that does not exist was described as dead.
    if group.state == "Dead" && committed.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("group {id} does not exist")));
    }
    let owners = owners(&group);
    let keys: BTreeSet<&(String, PartitionIndex)> = committed.keys().chain(owners.keys()).collect();
    let mut ends = BTreeMap::new();
    let topics: BTreeSet<&String> = keys.iter().map(|(topic, _)| topic).collect();
    for topic in topics {
        let indexes: Vec<_> =
            keys.iter().filter(|(name, _)| name == topic).map(|(_, index)| *index).collect();
        // A topic may be gone while the group still has offsets in it.
        if let Ok(found) = admin.list_offsets(topic, &indexes, OffsetSpec::Latest).await {
            for (index, end) in found {
                ends.insert((topic.clone(), index), end.ok().and_then(|end| end.offset));
            }
        }
    }
    let offsets: Vec<Progress> = keys
        .into_iter()
        .map(|key| {
            let own = committed.get(key).map(|at| at.offset);
            let end = ends.get(key).copied().flatten();
            let owner = owners.get(key);
            Progress {
                topic: key.0.clone(),
                partition: key.1.0,
                committed: own.map(|offset| offset.0),
                end: end.map(|offset| offset.0),
                lag: own.zip(end).map(|(own, end)| end.since(own)),
                member: owner.map(|(member, _)| member.clone()),
                client_id: owner.map(|(_, client)| client.clone()),
            }
        })
        .collect();
    Ok(Described {
        group: group.id.clone(),
        state: group.state.clone(),
        protocol: group.protocol_type.clone(),
        assignor: group.assignor.clone(),
        members: group.members.iter().map(member).collect(),
        total_lag: offsets.iter().filter_map(|row| row.lag).sum(),
        offsets,
    })
}

type Owners = BTreeMap<(String, PartitionIndex), (String, String)>;

fn owners(group: &GroupDescription) -> Owners {
    let mut owners = Owners::new();
    for member in &group.members {
        for (topic, indexes) in &member.assigned {
            for index in indexes {
                let owner = (member.id.clone(), member.client_id.clone());
                owners.insert((topic.clone(), *index), owner);
            }
        }
    }
    owners
}

fn member(member: &ottla_client::GroupMember) -> Member {
    Member {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        partitions: member.assigned.values().map(Vec::len).sum(),
    }
}

async fn near_group(admin: &Admin, id: &str, failure: Failure) -> Failure {
    if failure.exit != Exit::NotFound {
        return failure;
    }
    let groups = admin.list_groups().await.unwrap_or_default();
    with_name(id, groups.iter().map(|group| group.id.as_str()), failure)
}

#[derive(Serialize)]
struct Move {
    topic: String,
    partition: u32,
    from: Option<u64>,
    to: u64,
}

#[derive(Serialize)]
struct Moves {
    group: String,
    applied: bool,
    moves: Vec<Move>,
}

impl Render for Moves {
    fn text(&self, text: &mut Text) {
        let mut table = Table::new(&["topic", "partition", "from", "to"]);
        for row in &self.moves {
            let partition = row.partition.to_string();
            table.row([row.topic.clone(), partition, maybe(row.from), row.to.to_string()]);
        }
        text.table(&table);
    }
}

async fn reset(admin: &Admin, args: &ResetArgs, terminal: Terminal) -> Result<Exit, Failure> {
    let committed = admin.group_offsets(&args.group).await?;
    let partitions = if args.topics.is_empty() {
        committed.keys().cloned().collect()
    } else {
        chosen(admin, &args.topics).await?
    };
    if partitions.is_empty() {
        let message = format!("group {} has no offsets", args.group);
        return Err(Failure::new(Exit::NotFound, message)
            .with_hint("Name the topics with --topic to give it some."));
    }
    let mut targets = BTreeMap::new();
    for key in &partitions {
        let own = committed.get(key).map(|at| at.offset);
        targets.insert(key.clone(), target(admin, args, key, own).await?);
    }
    let moves = targets.iter().map(|((topic, index), to)| Move {
        topic: topic.clone(),
        partition: index.0,
        from: committed.get(&(topic.clone(), *index)).map(|at| at.offset.0),
        to: to.0,
    });
    let mut moves =
        Moves { group: args.group.clone(), applied: !args.dry_run, moves: moves.collect() };
    if !args.dry_run {
        if !args.yes {
            moves.applied = false;
            terminal.print(&moves)?;
            terminal.confirm(false, &format!("Move the offsets of {} like this?", args.group))?;
        }
        admin.alter_group_offsets(&args.group, &targets).await?;
        moves.applied = true;
        if !args.yes {
            return Ok(Exit::Ok);
        }
    }
    terminal.print(&moves)?;
    Ok(Exit::Ok)
}

async fn chosen(
    admin: &Admin,
    topics: &[String],
) -> Result<BTreeSet<(String, PartitionIndex)>, Failure> {
    let mut partitions = BTreeSet::new();
    for text in topics {
        let (topic, numbers) = topic_and_partitions(text)?;
        let known = existing(admin, topic).await?;
        let all = known.partitions.iter().map(|one| one.index);
        let wanted = all.filter(|index| numbers.is_empty() || numbers.contains(&index.0));
        partitions.extend(wanted.map(|index| (topic.to_owned(), index)));
    }
    Ok(partitions)
}

fn topic_and_partitions(text: &str) -> Result<(&str, Vec<u32>), Failure> {
    let Some((topic, numbers)) = text.split_once(':') else { return Ok((text, Vec::new())) };
    let numbers = numbers.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>();
    let invalid = |_| Failure::usage(format!("{text:?} is not topic:0,1"));
    Ok((topic, numbers.map_err(invalid)?))
}

async fn target(
    admin: &Admin,
    args: &ResetArgs,
    (topic, index): &(String, PartitionIndex),
    own: Option<Offset>,
) -> Result<Offset, Failure> {
    let find = |spec| async move {
        let mut found = admin.list_offsets(topic, &[*index], spec).await?;
        let at = found.remove(index).transpose()?.and_then(|at| at.offset);
        Ok::<_, Failure>(at)
    };
    let start = find(OffsetSpec::Earliest).await?.unwrap_or(Offset::ZERO);
    let end = find(OffsetSpec::Latest).await?.unwrap_or(start);
    let wanted = match args {
        ResetArgs { to_earliest: true, .. } => start,
        ResetArgs { to_offset: Some(offset), .. } => Offset(*offset),
        ResetArgs { to_timestamp: Some(millis), .. } => {
            find(OffsetSpec::At(Timestamp(*millis))).await?.unwrap_or(end)
        }
        ResetArgs { shift_by: Some(by), .. } => {
            let own = own.ok_or_else(|| {
                Failure::usage(format!("{topic}-{index} has no offset that could be shifted"))
            })?;
            Offset(own.0.saturating_add_signed(*by))
        }
        _ => end,
    };
    // Beyond the ends a consumer would only jump to where auto.offset.reset says.
    Ok(wanted.clamp(start, end.max(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_may_name_partitions() {
        assert_eq!(topic_and_partitions("t").unwrap(), ("t", vec![]));
        assert_eq!(topic_and_partitions("t:0,2").unwrap(), ("t", vec![0, 2]));
        assert!(topic_and_partitions("t:x").is_err());
    }

    #[test]
    fn a_description_shows_lag_and_owner() {
        let progress = |partition, committed, end: u64, client: Option<&str>| Progress {
            topic: "orders".to_owned(),
            partition,
            committed,
            end: Some(end),
            lag: committed.map(|own: u64| end - own),
            member: client.map(|client| format!("{client}-1")),
            client_id: client.map(str::to_owned),
        };
        let group = Described {
            group: "billing".to_owned(),
            state: "Stable".to_owned(),
            protocol: "consumer".to_owned(),
            assignor: "range".to_owned(),
            members: vec![Member {
                id: "app-1".to_owned(),
                instance_id: None,
                client_id: "app".to_owned(),
                host: "/127.0.0.1".to_owned(),
                partitions: 0,
            }],
            offsets: vec![progress(0, Some(7), 17, Some("app")), progress(1, None, 3, None)],
            total_lag: 10,
        };
        let mut text = Text::default();
        Description(vec![group]).text(&mut text);
        assert_eq!(
            text.into_string(),
            "\
group           billing
state           Stable
assignor        range
members         1
lag             10

TOPIC   PARTITION  COMMITTED  END  LAG  CLIENT  MEMBER
orders          0          7   17   10  app     app-1
orders          1          -    3    -  -       -

1 members have no partition
"
        );
    }
}
