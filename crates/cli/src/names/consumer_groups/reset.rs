//! `kafka-consumer-groups --reset-offsets`: where groups without members go on reading.

use std::collections::{BTreeMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_client::{Admin, OffsetSpec};
use ottla_types::{ErrorCode, Offset, PartitionIndex, Timestamp};

use super::describe::ends;
use super::{Partitions, SCENARIOS, chosen, error, of_runtime};
use crate::names::java::{hash, hash_order, hash_order_by};
use crate::names::options::Options;
use crate::names::say;
use crate::names::stop::{Run, Stop};

/// New offsets of one group.
type Plan = BTreeMap<(String, PartitionIndex), Offset>;

/// Plans, carries out if asked to, and shows.
pub(super) async fn run(admin: &Admin, options: &Options) -> Run<()> {
    let mut groups = chosen(admin, options).await?;
    let mut seen = HashSet::new();
    groups.retain(|group| seen.insert(group.clone()));
    hash_order(&mut groups, 16, |group| group);
    let mut plans = Vec::new();
    for group in groups {
        let state = match admin.describe_group(&group).await {
            Ok(described) => described.state,
            Err(failed) if failed.code() == Some(ErrorCode::GroupIdNotFound) => "Dead".to_owned(),
            Err(failed) => return Err(of_runtime(failed)),
        };
        let plan = if ["Empty", "Dead"].contains(&state.as_str()) {
            one(admin, options, &group).await?
        } else {
            error(&format!(
                "Assignments can only be reset if the group '{group}' is inactive, but the current \
                 state is {state}."
            ));
            Plan::new()
        };
        plans.push((group, plan));
    }
    if options.has("export") {
        export(&plans, options.all("group").len() == 1);
    } else {
        show(&plans);
    }
    Ok(())
}

async fn one(admin: &Admin, options: &Options, group: &str) -> Run<Plan> {
    let partitions = scope(admin, options, group).await?;
    let plan = plan(admin, options, group, partitions).await?;
    if options.has("execute") && !plan.is_empty() {
        admin.alter_group_offsets(group, &plan).await?;
    }
    Ok(plan)
}

async fn scope(admin: &Admin, options: &Options, group: &str) -> Run<Partitions> {
    if options.has("all-topics") {
        let offsets = admin.group_offsets(group).await.map_err(of_runtime)?;
        return Ok(offsets.into_keys().collect());
    }
    if !options.has("topic") && !options.has("from-file") {
        return Err(Stop::Usage(
            "One of the reset scopes should be defined: --all-topics, --topic.".to_owned(),
        ));
    }
    let mut partitions = Vec::new();
    let (some, whole): (Vec<&str>, Vec<&str>) =
        options.all("topic").into_iter().partition(|topic| topic.contains(':'));
    for topic in some {
        partitions.extend(partitions_of(topic)?);
    }
    for topic in whole {
        let known = admin.client().refreshed_topic(topic, false).await?;
        partitions.extend(known.partitions.iter().map(|one| (topic.to_owned(), one.index)));
    }
    Ok(partitions)
}

/// The partitions that `topic:0,1` names.
pub(super) fn partitions_of(argument: &str) -> Run<Partitions> {
    let parts: Vec<&str> = argument.trim_end_matches(':').split(':').collect();
    let [topic, list] = parts[..] else {
        return Err(Stop::illegal(format!(
            "Invalid topic arg '{argument}', expected topic name and partitions"
        )));
    };
    let partition = |text: &str| {
        let index = text.parse().ok().and_then(PartitionIndex::from_wire);
        index.map(|index| (topic.to_owned(), index)).ok_or_else(|| {
            Stop::illegal(format!(
                "Invalid partition '{text}' specified in topic arg '{argument}''"
            ))
        })
    };
    list.split(',').map(partition).collect()
}

async fn plan(admin: &Admin, options: &Options, group: &str, partitions: Partitions) -> Run<Plan> {
    there(admin, &partitions).await?;
    let committed = async || -> Run<Plan> {
        let offsets = admin.group_offsets(group).await.map_err(of_runtime)?;
        Ok(offsets.into_iter().map(|(key, at)| (key, at.offset)).collect())
    };
    let Some(scenario) = options.any_of(&ORDER) else {
        let all = SCENARIOS.map(|one| format!("[{one}]")).join(", ");
        return Err(Stop::Usage(format!(
            "Option '[reset-offsets]' requires one of the following scenarios: [{all}]"
        )));
    };
    match scenario {
        "to-offset" => {
            let to: i64 = options.number("to-offset")?.unwrap_or_default();
            within(admin, partitions.into_iter().map(|key| (key, to)).collect()).await
        }
        "to-earliest" => Ok(found(ends(admin, &partitions, OffsetSpec::Earliest).await?)),
        "to-latest" => Ok(found(ends(admin, &partitions, OffsetSpec::Latest).await?)),
        "shift-by" => {
            let by: i64 = options.number("shift-by")?.unwrap_or_default();
            let committed = committed().await?;
            let mut wanted = BTreeMap::new();
            for key in partitions {
                let at = committed.get(&key).ok_or_else(|| {
                    Stop::illegal(format!(
                        "Cannot shift offset for partition {}-{} since there is no current \
                         committed offset",
                        key.0, key.1
                    ))
                })?;
                wanted.insert(key, at.to_wire().saturating_add(by));
            }
            within(admin, wanted).await
        }
        "to-datetime" => {
            let text = options.one("to-datetime")?.unwrap_or_default();
            since(admin, &partitions, millis_of_date(text)?).await
        }
        "by-duration" => {
            let text = options.one("by-duration")?.unwrap_or_default();
            let ago = millis_of_duration(text)?;
            since(admin, &partitions, now().saturating_sub(ago)).await
        }
        "from-file" => {
            let path = options.one("from-file")?.unwrap_or_default();
            let single = options.all("group").len() == 1;
            match read_plans(path, group, single)?.remove(group) {
                Some(wanted) => within(admin, wanted).await,
                None => {
                    error(&format!("No reset plan for group {group} found."));
                    Ok(Plan::new())
                }
            }
        }
        _ => {
            let committed = committed().await?;
            let (with, without): (Partitions, Partitions) =
                partitions.into_iter().partition(|key| committed.contains_key(key));
            let mut plan = found(ends(admin, &without, OffsetSpec::Latest).await?);
            for key in with {
                plan.extend(committed.get(&key).map(|at| (key.clone(), *at)));
            }
            Ok(plan)
        }
    }
}

/// In the order in which Kafka's tool looks for them.
const ORDER: [&str; 8] = [
    "to-offset",
    "to-earliest",
    "to-latest",
    "shift-by",
    "to-datetime",
    "by-duration",
    "from-file",
    "to-current",
];

/// Refuses partitions that do not exist or have no leader.
async fn there(admin: &Admin, partitions: &Partitions) -> Run<()> {
    let (mut missing, mut leaderless) = (Vec::new(), Vec::new());
    for (topic, index) in partitions {
        let known = admin.client().topic(topic, false).await.map_err(of_runtime)?;
        let name = format!("{topic}-{index}");
        match known.partitions.iter().find(|one| one.index == *index) {
            None => missing.push(name),
            Some(one) if one.leader.is_none() => leaderless.push(name),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let text = format!("The partitions \"{}\" do not exist", missing.join(","));
        return Err(Stop::kafka(ErrorCode::UnknownTopicOrPartition, text));
    }
    if !leaderless.is_empty() {
        let text = format!("The partitions \"{}\" have no leader", leaderless.join(","));
        return Err(Stop::kafka(ErrorCode::LeaderNotAvailable, text));
    }
    Ok(())
}

fn found(offsets: BTreeMap<(String, PartitionIndex), Option<Offset>>) -> Plan {
    offsets.into_iter().filter_map(|(key, offset)| Some((key, offset?))).collect()
}

/// Offsets as they are wished for, but none outside the log.
async fn within(admin: &Admin, wanted: BTreeMap<(String, PartitionIndex), i64>) -> Run<Plan> {
    let partitions: Partitions = wanted.keys().cloned().collect();
    let first = found(ends(admin, &partitions, OffsetSpec::Earliest).await?);
    let last = found(ends(admin, &partitions, OffsetSpec::Latest).await?);
    let bounded = wanted.into_iter().filter_map(|(key, to)| {
        let (low, high) = (first.get(&key)?.to_wire(), last.get(&key)?.to_wire());
        Offset::from_wire(to.min(high).max(low)).map(|offset| (key, offset))
    });
    Ok(bounded.collect())
}

/// The first offsets of records that are no older.
async fn since(admin: &Admin, partitions: &Partitions, millis: i64) -> Run<Plan> {
    let spec = OffsetSpec::At(Timestamp(millis));
    let mut plan = Plan::new();
    let mut empty = Vec::new();
    for (key, offset) in ends(admin, partitions, spec).await? {
        match offset {
            Some(offset) => _ = plan.insert(key, offset),
            None => empty.push(key),
        }
    }
    partition_order(&mut empty, |key| key);
    for (topic, index) in &empty {
        say(&format!(
            "\nWarn: Partition {index} from topic {topic} is empty. Falling back to latest known \
             offset."
        ));
    }
    plan.extend(found(ends(admin, &empty, OffsetSpec::Latest).await?));
    Ok(plan)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// As Java orders a `HashMap` of partitions.
fn partition_order<T>(items: &mut [T], key: impl Fn(&T) -> &(String, PartitionIndex)) {
    hash_order_by(items, 16, |item| {
        let (topic, index) = key(item);
        (31 + index.0).wrapping_mul(31).wrapping_add(hash(topic))
    });
}

fn sorted(plan: &Plan) -> Vec<(&(String, PartitionIndex), &Offset)> {
    let mut rows: Vec<_> = plan.iter().collect();
    partition_order(&mut rows, |row| row.0);
    rows
}

fn show(plans: &[(String, Plan)]) {
    let group_width = plans.iter().map(|(group, _)| group.len()).max().unwrap_or(0).max(15);
    let topics = plans.iter().flat_map(|(_, plan)| plan.keys());
    let width = topics.map(|(topic, _)| topic.len()).max().unwrap_or(0).max(15);
    let row = |group: &str, topic: &str, partition: &str, offset: &str| {
        format!("\n{group:<group_width$} {topic:<width$} {partition:<10} {offset}")
    };
    let mut text = String::new();
    if !plans.is_empty() {
        text.push_str(&row("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"));
    }
    for (group, plan) in plans {
        for ((topic, index), offset) in sorted(plan) {
            text.push_str(&row(group, topic, &index.to_string(), &offset.to_string()));
        }
    }
    say(&text);
}

fn export(plans: &[(String, Plan)], single: bool) {
    let mut text = String::new();
    for (group, plan) in plans {
        for ((topic, index), offset) in sorted(plan) {
            let group = if single { String::new() } else { format!("{},", quoted(group)) };
            text.push_str(&format!("{group}{},{index},{offset}\n", quoted(topic)));
        }
    }
    say(&text);
}

/// A cell of CSV.
fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell.to_owned()
}

type Wanted = BTreeMap<(String, PartitionIndex), i64>;

/// The plans in a file: topic, partition, offset; with the group before them if it is for several.
fn read_plans(path: &str, group: &str, single: bool) -> Run<BTreeMap<String, Wanted>> {
    let unreadable = |_| runtime(format!("java.io.IOException: Unable to read file {path}"));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let short = text.lines().next().is_some_and(|line| line.split(',').count() == 3);
    let mut plans: BTreeMap<String, Wanted> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let parsed = match cells[..] {
            [topic, index, offset] if single && short => Some((group, topic, index, offset)),
            [group, topic, index, offset] => Some((group, topic, index, offset)),
            _ => None,
        };
        let plan = parsed.and_then(|(group, topic, index, offset)| {
            let index = index.parse().ok().and_then(PartitionIndex::from_wire)?;
            Some((group, (topic.to_owned(), index), offset.parse().ok()?))
        });
        let (group, key, offset) =
            plan.ok_or_else(|| runtime(format!("{path}: no plan for a partition: {line}")))?;
        plans.entry(group.to_owned()).or_default().insert(key, offset);
    }
    Ok(plans)
}

fn runtime(message: String) -> Stop {
    Stop::Thrown { class: "java.lang.RuntimeException".to_owned(), message }
}

/// `YYYY-MM-DDThh:mm:ss.sss`, then nothing (UTC), `Z`, or an offset such as `+02:00`.
fn millis_of_date(text: &str) -> Run<i64> {
    let wrong = |what: &str| runtime(format!("java.text.ParseException: {what}"));
    let Some((date, rest)) = text.split_once('T') else {
        return Err(wrong(
            "Error parsing timestamp. It does not contain a 'T' according to ISO8601 format",
        ));
    };
    let parsed = || -> Option<i64> {
        let at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
        let (time, zone) = rest.split_at_checked(at)?;
        let date: Vec<i64> = date.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [year, month, day] = date[..] else { return None };
        let (clock, millis) = time.split_once('.')?;
        let clock: Vec<i64> = clock.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [hour, minute, second] = clock[..] else { return None };
        let millis: i64 = millis.parse().ok().filter(|_| millis.len() <= 3)?;
        let valid = (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second);
        let seconds =
            (days_since_epoch(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
        valid.then_some((seconds - zone_seconds(zone)?) * 1000 + millis)
    };
    parsed().ok_or_else(|| wrong(&format!("Unparseable date: \"{text}\"")))
}

fn zone_seconds(zone: &str) -> Option<i64> {
    let Some((sign, digits)) = zone.split_at_checked(1) else { return Some(0) };
    let digits = digits.replace(':', "");
    let number =
        |range: std::ops::Range<usize>| digits.get(range).and_then(|t| t.parse::<i64>().ok());
    let seconds = match digits.len() {
        0 if sign == "Z" => 0,
        2 => number(0..2)? * 3600,
        4 => number(0..2)? * 3600 + number(2..4)? * 60,
        _ => return None,
    };
    Some(if sign == "-" { -seconds } else { seconds })
}

fn days_of(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_since_epoch(next_year, next, 1) - days_since_epoch(year, month, 1)
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March while counting, so that
/// the leap day is the last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

/// `PnDTnHnMn.nS`, in milliseconds, as `java.time.Duration` reads it.
fn millis_of_duration(text: &str) -> Run<i64> {
    let parsed = || -> Option<i64> {
        let upper = text.to_uppercase();
        let (sign, body) = match upper.strip_prefix('-') {
            Some(body) => (-1.0, body),
            None => (1.0, upper.strip_prefix('+').unwrap_or(&upper)),
        };
        let body =
            body.strip_prefix('P').filter(|body| !body.is_empty() && !body.ends_with('T'))?;
        let (days, time) = body.split_once('T').unwrap_or((body, ""));
        let mut millis = 0.0;
        let mut read = |mut rest: &str, units: &[(char, f64)]| -> Option<()> {
            for (unit, each) in units {
                if let Some((number, after)) = rest.split_once(*unit) {
                    let whole = *unit == 'S' || !number.contains('.');
                    millis += number.parse::<f64>().ok().filter(|n| whole && n.is_finite())? * each;
                    rest = after;
                }
            }
            rest.is_empty().then_some(())
        };
        read(days, &[('D', 86_400_000.0)])?;
        read(time, &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1000.0)])?;
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as centuries may")]
        Some((sign * millis) as i64)
    };
    parsed().ok_or_else(|| Stop::Thrown {
        class: "java.time.format.DateTimeParseException".to_owned(),
        message: "Text cannot be parsed to a Duration".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(millis_of_date(text).ok(), expected, "{text}");
        };
        check("1970-01-01T00:00:00.000", Some(0));
        check("2024-02-29T12:00:00.250Z", Some(1_709_208_000_250));
        check("2026-11-23T10:00:00.000+02:00", Some(1_795_420_800_000));
        check("2026-11-23T10:00:00.000-0130", Some(1_795_433_400_000));
        check("1969-12-31T23:59:59.999Z", Some(-1));
        for wrong in ["", "2026-11-23", "2026-11-23T10:00:00", "2026-02-29T10:00:00.000", "xTy"] {
            check(wrong, None);
        }
    }

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(millis_of_duration(text).ok(), expected, "{text}");
        };
        check("P1D", Some(86_400_000));
        check("PT1H30M", Some(5_400_000));
        check("p1dt2h3m4.5s", Some(93_784_500));
        check("-PT1S", Some(-1000));
        for wrong in ["", "P", "PT", "1D", "P1H", "PT1.5H", "PT1S2H"] {
            check(wrong, None);
        }
    }

    #[test]
    fn partitions_of_arguments() {
        let text = |argument: &str| match partitions_of(argument) {
            Ok(all) => all.iter().map(|(t, i)| format!("{t}-{i}")).collect::<Vec<_>>().join(" "),
            Err(Stop::Thrown { message, .. }) => message,
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(text("t:0,2"), "t-0 t-2");
        assert_eq!(text("t:"), "Invalid topic arg 't:', expected topic name and partitions");
        assert_eq!(text("t:x"), "Invalid partition 'x' specified in topic arg 't:x''");
        assert_eq!(text("a:b:c"), "Invalid topic arg 'a:b:c', expected topic name and partitions");
    }
}
