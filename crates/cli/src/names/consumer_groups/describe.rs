//! `kafka-consumer-groups --describe`: offsets, members, states.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::{Admin, GroupDescription, GroupMember, OffsetSpec};
use ottla_types::{LeaderEpoch, Offset, PartitionIndex};

use super::{Partitions, chosen, error, of_runtime};
use crate::names::options::Options;
use crate::names::stop::{Run, Stop};
use crate::names::{complain, say, say_part};

/// What stands where nothing is known.
const MISSING: &str = "-";

/// Shows the chosen groups.
pub(super) async fn run(admin: &Admin, options: &Options) -> Run<()> {
    let verbose = options.has("verbose");
    let mut groups = BTreeMap::new();
    for id in chosen(admin, options).await? {
        let group = admin.describe_group(&id).await.map_err(Stop::of_future)?;
        groups.insert(id, group);
    }
    if options.has("members") {
        groups.values().for_each(|group| members(group, verbose));
        return Ok(());
    }
    if options.has("state") {
        groups.values().for_each(|group| state(group, verbose));
        return Ok(());
    }
    let mut all = Vec::new();
    for group in groups.values() {
        all.push((group, rows(admin, group).await?));
    }
    for (group, rows) in all {
        offsets(group, &rows, verbose);
    }
    Ok(())
}

/// Says what a state means; whether there are rows to show.
fn announce(group: &GroupDescription, rows: usize) -> bool {
    let id = &group.id;
    match group.state.as_str() {
        "Dead" => error(&format!("Consumer group '{id}' does not exist.")),
        "Empty" => complain(&format!("\nConsumer group '{id}' has no active members.")),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            complain(&format!("\nWarning: Consumer group '{id}' is rebalancing."));
        }
        _ => {}
    }
    group.state != "Dead" && 0 < rows
}

/// One partition of a group.
struct Row {
    topic: String,
    partition: PartitionIndex,
    committed: Option<(Offset, Option<LeaderEpoch>)>,
    end: Option<Offset>,
    owner: [String; 3],
}

/// Partitions by their members, those with most first, and what nobody has.
async fn rows(admin: &Admin, group: &GroupDescription) -> Run<Vec<Row>> {
    let committed = admin.group_offsets(&group.id).await.map_err(of_runtime)?;
    let of = |member: &GroupMember| -> Partitions {
        let topics = member.assigned.iter();
        topics.flat_map(|(t, all)| all.iter().map(move |index| (t.clone(), *index))).collect()
    };
    let mut shares: Vec<(Partitions, [String; 3])> = group
        .members
        .iter()
        .map(|member| (of(member), [&member.id, &member.host, &member.client_id].map(Clone::clone)))
        .filter(|(partitions, _)| !partitions.is_empty())
        .collect();
    shares.sort_by_key(|(partitions, _)| std::cmp::Reverse(partitions.len()));
    let assigned: BTreeSet<_> = shares.iter().flat_map(|share| share.0.clone()).collect();
    let left: Partitions =
        committed.keys().filter(|key| !assigned.contains(*key)).cloned().collect();
    if !left.is_empty() {
        shares.push((left, [MISSING; 3].map(str::to_owned)));
    }
    let mut rows = Vec::new();
    for (mut partitions, owner) in shares {
        partitions.sort();
        let ends = ends(admin, &partitions, OffsetSpec::Latest).await?;
        for key in partitions {
            let at = committed.get(&key).map(|at| (at.offset, at.leader_epoch));
            let end = ends.get(&key).copied().flatten();
            let (topic, partition) = key;
            rows.push(Row { topic, partition, committed: at, end, owner: owner.clone() });
        }
    }
    Ok(rows)
}

/// Offsets of partitions; none for one without a leader.
pub(super) async fn ends(
    admin: &Admin,
    partitions: &Partitions,
    spec: OffsetSpec,
) -> Run<BTreeMap<(String, PartitionIndex), Option<Offset>>> {
    let topics: BTreeSet<&String> = partitions.iter().map(|(topic, _)| topic).collect();
    let mut found = BTreeMap::new();
    for topic in topics {
        let known = admin.client().refreshed_topic(topic, false).await.map_err(of_runtime)?;
        let led = |index: PartitionIndex| {
            known.partitions.iter().any(|one| one.index == index && one.leader.is_some())
        };
        let of_topic = partitions.iter().filter(|(name, _)| name == topic).map(|(_, index)| *index);
        let (led, rest): (Vec<_>, Vec<_>) = of_topic.partition(|index| led(*index));
        for index in rest {
            found.insert((topic.clone(), index), None);
        }
        let offsets = admin.list_offsets(topic, &led, spec).await.map_err(of_runtime)?;
        for (index, offset) in offsets {
            let offset = offset.map_err(|refusal| of_runtime(refusal.into()))?;
            found.insert((topic.clone(), index), offset.offset);
        }
    }
    Ok(found)
}

fn offsets(group: &GroupDescription, rows: &[Row], verbose: bool) {
    if !announce(group, rows.len()) {
        return;
    }
    let widest = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).len()).max().unwrap_or(0);
    let widths = [
        group.id.len().max(15),
        widest(|row| &row.topic).max(15),
        10,
        15,
        15,
        15,
        15,
        widest(|row| &row.owner[0]).max(15),
        widest(|row| &row.owner[1]).max(15),
    ];
    let mut out = String::new();
    let mut line = |cells: [&str; 10]| {
        out.push('\n');
        for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if place != 3 || verbose {
                out.push_str(&format!("{cell:<width$} "));
            }
        }
        out.push_str(cells[9]);
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    for row in rows {
        let lag = row.committed.zip(row.end).map(|((at, _), end)| end.to_wire() - at.to_wire());
        let [id, host, client] = &row.owner;
        line([
            &group.id,
            &row.topic,
            &row.partition.to_string(),
            &shown(row.committed.and_then(|(_, epoch)| epoch)),
            &shown(row.committed.map(|(at, _)| at)),
            &shown(row.end),
            &shown(lag),
            id,
            host,
            client,
        ]);
    }
    out.push('\n');
    say_part(out.as_bytes());
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

fn members(group: &GroupDescription, verbose: bool) {
    let announced = announce(group, group.members.len());
    let columns = Columns::of(group, announced, verbose);
    say_part(b"\n");
    columns.line([
        "GROUP",
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT",
        "TARGET-EPOCH",
        "TARGET-ASSIGNMENT",
        "UPGRADED",
    ]);
    for one in &group.members {
        let count: usize = one.assigned.values().map(Vec::len).sum();
        let consumer = one.consumer.as_ref();
        columns.line([
            &group.id,
            &one.id,
            one.instance_id.as_deref().unwrap_or_default(),
            &one.host,
            &one.client_id,
            &count.to_string(),
            &shown(consumer.map(|consumer| consumer.epoch)),
            &assignment(&one.assigned),
            &shown(group.epochs.map(|(_, target)| target)),
            &target(one),
            &shown(consumer.and_then(|consumer| consumer.upgraded)),
        ]);
    }
}

/// What the table of members shows, and how wide.
struct Columns {
    verbose: bool,
    static_members: bool,
    migrates: bool,
    widths: [usize; 10],
}

impl Columns {
    fn of(group: &GroupDescription, announced: bool, verbose: bool) -> Self {
        // Of a group that is not announced the table has a head alone.
        let members = || group.members.iter().filter(|_| announced);
        let speaks = |own: bool| {
            let is =
                |one: &GroupMember| one.consumer.as_ref().is_some_and(|c| c.upgraded == Some(own));
            members().any(is)
        };
        let widest = |least: usize, len: fn(&GroupMember) -> usize| {
            members().map(len).max().unwrap_or(0).max(least)
        };
        let widths = [
            group.id.len().max(15),
            widest(15, |one| one.id.len()),
            widest(17, |one| one.instance_id.as_ref().map_or(0, String::len)),
            widest(15, |one| one.host.len()),
            widest(15, |one| one.client_id.len()),
            15,
            15,
            widest(20, |one| assignment(&one.assigned).len()),
            15,
            widest(20, |one| target(one).len()),
        ];
        let static_members = members().any(|one| one.instance_id.is_some());
        Self { verbose, static_members, migrates: speaks(true) && speaks(false), widths }
    }

    fn line(&self, cells: [&str; 11]) {
        let mut out = String::new();
        let shown = if self.verbose { 10 } else { 6 };
        for (place, (cell, width)) in cells.iter().zip(self.widths).enumerate().take(shown) {
            if place != 2 || self.static_members {
                // The last column of the longer form has nothing behind it.
                let gap = if place == 9 { "" } else { " " };
                out.push_str(&format!("{cell:<width$}{gap}"));
            }
        }
        if self.verbose && self.migrates {
            out.push(' ');
            out.push_str(cells[10]);
        }
        say(&out);
    }
}

fn assignment(topics: &BTreeMap<String, Vec<PartitionIndex>>) -> String {
    let mut parts = Vec::new();
    for (topic, indexes) in topics.iter().filter(|(_, indexes)| !indexes.is_empty()) {
        let mut indexes = indexes.clone();
        indexes.sort();
        let indexes: Vec<_> = indexes.iter().map(ToString::to_string).collect();
        parts.push(format!("{topic}:{}", indexes.join(",")));
    }
    if parts.is_empty() { MISSING.to_owned() } else { parts.join(";") }
}

fn target(member: &GroupMember) -> String {
    let consumer = member.consumer.as_ref();
    consumer.map_or_else(|| MISSING.to_owned(), |consumer| assignment(&consumer.target))
}

fn state(group: &GroupDescription, verbose: bool) {
    if !announce(group, 1) {
        return;
    }
    let broker = &group.coordinator;
    let coordinator = format!("{}:{}  ({})", broker.address.host, broker.address.port, broker.id);
    let (group_width, width) = (group.id.len().max(15), coordinator.len().max(25));
    let line = |cells: [&str; 7]| {
        let [id, coordinator, assignor, state, epoch, target, members] = cells;
        let more = if verbose { format!("{epoch:<15} {target:<25} ") } else { String::new() };
        format!(
            "\n{id:<group_width$} {coordinator:<width$} {assignor:<20} {state:<20} {more}{members}"
        )
    };
    let head = line([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ]);
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let row = line([
        &group.id,
        &coordinator,
        assignor,
        &group.state,
        &shown(group.epochs.map(|(epoch, _)| epoch)),
        &shown(group.epochs.map(|(_, target)| target)),
        &group.members.len().to_string(),
    ]);
    say(&format!("{head}{row}"));
}
