//! The same request bytes to Apache Kafka 4.3.1 and to Ottla, answers compared field by field.
//!
//! `SCRIPTS` are what is asked, one after the other; `allowed.txt` names every field that may differ, with its reason. A line of
//! it that allows nothing any more is a failure too.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ottla_conformance::ensure_java;
use ottla_conformance::script::{self, Side, Step, differences};
use ottla_testkit::{Kind, Node, NodeOptions};

const SCRIPTS: [(&str, &str); 4] = [
    ("script.txt", include_str!("script.txt")),
    ("edges.txt", include_str!("edges.txt")),
    ("consumer_groups.txt", include_str!("consumer_groups.txt")),
    ("controller.txt", include_str!("controller.txt")),
];
const ALLOWED: &str = include_str!("allowed.txt");

/// A field that may differ.
struct Allowed {
    api: &'static str,
    path: &'static str,
    /// Clocks and counters of the machine, which may also be equal by chance.
    by_chance: bool,
    used: bool,
}

#[test]
fn answers_are_kafkas() -> Result<()> {
    ensure_java!();
    let options = NodeOptions::default()
        .with("ottla.produce.validation", "records")
        .with("group.consumer.assignment.interval.ms", "0")
        .with("auto.create.topics.enable", "false");
    let kafka = Node::start(Kind::Kafka, options.clone())?;
    let ottla = Node::start(Kind::target(), options)?;
    let mut sides = (Side::connect(&kafka)?, Side::connect(&ottla)?);
    let offered = [
        offered_versions(&mut sides.0, "ApiVersions 0")?,
        offered_versions(&mut sides.0, "@ApiVersions 0")?,
    ];
    let mut allowed = parse_allowed()?;
    // For each place and pair of values, the versions that show it.
    let mut found: BTreeMap<(&str, usize, String), Vec<i16>> = BTreeMap::new();
    let mut compared = 0;
    for (file, step) in steps()? {
        let offered = offered[usize::from(step.at_controller)].get(&step.api.key());
        for version in step.versions.clone() {
            if !offered.is_some_and(|(low, high)| (*low..=*high).contains(&version)) {
                continue;
            }
            let context = || format!("{file} line {}: {} version {version}", step.line, step.api);
            let left =
                sides.0.execute(&step, version).with_context(|| format!("Kafka, {}", context()))?;
            let right = sides.1.execute(&step, version);
            let right = right.with_context(|| format!("Ottla, {}\n{}", context(), ottla.tail()))?;
            compared += 1;
            let different = differences(&left, &right);
            if step.differs.is_some() {
                if different.is_empty() {
                    let place = format!("{} is said to differ and does not", step.api);
                    found.entry((file, step.line, place)).or_default().push(version);
                }
                continue;
            }
            for (path, left, right) in different {
                if !allow(&mut allowed, step.api.name(), &path) {
                    let place = format!("{} {path}: Kafka {left}, Ottla {right}", step.api);
                    found.entry((file, step.line, place)).or_default().push(version);
                }
            }
        }
    }
    println!("{compared} answers compared");
    let shown: Vec<String> = found
        .iter()
        .map(|((file, line, place), versions)| format!("{file}:{line} {versions:?} {place}"))
        .collect();
    ensure!(found.is_empty(), "{} differences:\n{}", found.len(), shown.join("\n"));
    let idle: Vec<String> = allowed
        .iter()
        .filter(|a| !a.used && !a.by_chance)
        .map(|a| format!("{} {}", a.api, a.path))
        .collect();
    let all = std::env::var_os("OTTLA_SCRIPT").is_none() && Kind::target() == Kind::Ottla;
    ensure!(idle.is_empty() || !all, "allowed but equal: {idle:?}");
    Ok(())
}

/// Every step with the name of its file. `OTTLA_SCRIPT` chooses one file, while one works on it.
fn steps() -> Result<Vec<(&'static str, Step)>> {
    let only = std::env::var("OTTLA_SCRIPT").unwrap_or_default();
    let mut all = Vec::new();
    for (file, text) in SCRIPTS.into_iter().filter(|s| only.is_empty() || only == s.0) {
        all.extend(script::parse(text).context(file)?.into_iter().map(|step| (file, step)));
    }
    Ok(all)
}

/// What Kafka offers decides which versions are asked; ours may know newer ones.
fn offered_versions(kafka: &mut Side, question: &str) -> Result<BTreeMap<i16, (i16, i16)>> {
    let steps = script::parse(question)?;
    let answer = kafka.execute(&steps[0], 0)?;
    let mut offered = BTreeMap::new();
    for api in answer["apiKeys"].as_array().into_iter().flatten() {
        let number =
            |name: &str| api[name].as_i64().and_then(|n| i16::try_from(n).ok()).context("number");
        offered.insert(number("apiKey")?, (number("minVersion")?, number("maxVersion")?));
    }
    Ok(offered)
}

/// Lines `API PATH: REASON`; `*` stands for anything, `~` before it says that both may agree by chance.
fn parse_allowed() -> Result<Vec<Allowed>> {
    let lines = ALLOWED.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (field, reason) = line.split_once(": ").with_context(|| line.to_string())?;
            let by_chance = field.starts_with('~');
            let field = field.trim_start_matches('~');
            let (api, path) = field.split_once(' ').with_context(|| line.to_string())?;
            ensure!(reason.len() > 10, "no reason: {line}");
            Ok(Allowed { api, path, by_chance, used: false })
        })
        .collect()
}

fn allow(allowed: &mut [Allowed], api: &str, path: &str) -> bool {
    let fits = allowed.iter_mut().find(|a| (a.api == "*" || a.api == api) && matches(a.path, path));
    fits.is_some_and(|a| {
        a.used = true;
        true
    })
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    last.map_or(rest.is_empty(), |part| part.is_empty() || path.ends_with(part))
}

#[test]
fn a_star_stands_for_anything() {
    assert!(matches("a[*].b", "a[x].b") && matches("*.len", "topics.len") && matches("a", "a"));
    assert!(!matches("a[*].b", "a[x].c") && !matches("a", "ab") && matches("a*", "ab"));
}
