//! A script of requests, executed on a broker; the same script on two brokers, compared field by field.
//!
//! One request a line: `Metadata 0-13 {"topics": [{"name": "t"}]}`, with `*` for all versions, and `@` before it
//! if the controller is asked at its own listener. Lines below it,
//! indented, say `keep NAME = PATH` (a value of the answer that later requests may use as `{NAME}`) and
//! `until PATH = VALUE` (ask again until the answer says so) and `differs REASON` (the answers need not be equal,
//! and are not). `{v}` is the version, `"batch:..."` a record
//! batch that `batch` describes.

mod batch;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ottla_protocol::ApiKey;
use ottla_testkit::schema::{self, Message};
use ottla_testkit::{Node, wait_for};
use serde_json::Value as Json;

use crate::dynamic;
use crate::raw::RawClient;

pub use batch::repacked;

/// The longest that `until` asks again.
const UNTIL_LIMIT: Duration = Duration::from_secs(30);

/// One line of a script.
#[derive(Debug)]
pub struct Step {
    /// Line in the script, from 1.
    pub line: usize,
    /// The API.
    pub api: ApiKey,
    /// Versions to ask in.
    pub versions: RangeInclusive<i16>,
    /// Whether the controller's listener is asked.
    pub at_controller: bool,
    text: String,
    keep: Vec<(String, String)>,
    until: Option<(String, Json)>,
    /// Why the answers of the two brokers differ.
    pub differs: Option<String>,
}

/// Reads a script.
pub fn parse(text: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let context = || format!("line {}: {line}", at + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(rest) = line.strip_prefix("  ") else {
            steps.push(parse_request(at + 1, line).with_context(context)?);
            continue;
        };
        let step = steps.last_mut().with_context(context)?;
        let (word, rest) = rest.trim().split_once(' ').with_context(context)?;
        if word == "differs" {
            step.differs = Some(rest.to_string());
            continue;
        }
        let (left, right) = rest.split_once(" = ").with_context(context)?;
        match word {
            "keep" => step.keep.push((left.to_string(), right.to_string())),
            "until" => {
                step.until =
                    Some((left.to_string(), serde_json::from_str(right).with_context(context)?))
            }
            _ => bail!("{}", context()),
        }
    }
    Ok(steps)
}

fn parse_request(line: usize, text: &str) -> Result<Step> {
    let (text, at_controller) = text.strip_prefix('@').map_or((text, false), |text| (text, true));
    let mut words = text.splitn(3, ' ');
    let (name, versions) = (words.next().context("API")?, words.next().context("versions")?);
    let api = ApiKey::all()
        .find(|a| a.name() == name)
        .with_context(|| format!("no API is called {name}"))?;
    let all = api.versions();
    let versions = match versions.split_once('-') {
        _ if versions == "*" => all,
        Some((low, "")) => low.parse()?..=*all.end(),
        Some((low, high)) => low.parse()?..=high.parse()?,
        None => versions.parse()?..=versions.parse()?,
    };
    let text = words.next().unwrap_or("{}").to_string();
    Ok(Step {
        line,
        api,
        versions,
        at_controller,
        text,
        keep: Vec::new(),
        until: None,
        differs: None,
    })
}

#[derive(Debug)]
struct Connection {
    address: String,
    client: RawClient,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        Ok(Self { address: address.to_string(), client: RawClient::connect(address)? })
    }
}

/// A broker that executes a script.
#[derive(Debug)]
pub struct Side {
    broker: Connection,
    controller: Connection,
    names: BTreeMap<String, String>,
    /// What only this broker has, and the words to put in its place.
    own: Vec<(String, &'static str)>,
    messages: Vec<Message>,
}

impl Side {
    /// Connects.
    pub fn connect(node: &Node) -> Result<Self> {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_string();
        let own = vec![
            (node.folder().display().to_string(), "<folder>"),
            (port(node.bootstrap()), "<port>"),
            (port(node.controller()), "<controller port>"),
        ];
        Ok(Self {
            broker: Connection::open(node.bootstrap())?,
            controller: Connection::open(node.controller())?,
            names: BTreeMap::new(),
            own,
            messages: schema::parse(dynamic::TABLE)?,
        })
    }

    /// Asks one version of a step, again if it says `until`, and keeps what it says to keep.
    pub fn execute(&mut self, step: &Step, version: i16) -> Result<Json> {
        let answer = match &step.until {
            None => self.ask(step, version)?,
            Some((path, wanted)) => {
                let mut last = Json::Null;
                let waited = wait_for("the wanted answer", UNTIL_LIMIT, || {
                    last = self.ask(step, version).unwrap_or_else(|e| format!("{e:#}").into());
                    (find(&last, path) == Some(wanted)).then_some(())
                });
                waited.with_context(|| format!("line {} version {version}: {last}", step.line))?;
                last
            }
        };
        for (name, path) in &step.keep {
            let value = find(&answer, path)
                .with_context(|| format!("line {}: no {path} in {answer}", step.line))?;
            let text = value.as_str().map_or_else(|| value.to_string(), String::from);
            self.names.insert(name.clone(), text);
        }
        Ok(self.named(answer))
    }

    fn ask(&mut self, step: &Step, version: i16) -> Result<Json> {
        let mut text = step.text.replace("{v}", &version.to_string());
        for (name, value) in &self.names {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        let mut json: Json =
            serde_json::from_str(&text).with_context(|| format!("line {}: {text}", step.line))?;
        batch::fill_in(&mut json)?;
        let name = step.api.name();
        let body = dynamic::encode(message(&self.messages, name, "Request")?, version, &json)
            .with_context(|| format!("line {}", step.line))?;
        let to = if step.at_controller { &mut self.controller } else { &mut self.broker };
        match to.client.exchange(step.api, version, &body) {
            Ok(answer) => {
                dynamic::decode(message(&self.messages, name, "Response")?, version, answer)
            }
            Err(_) => {
                to.client = RawClient::connect(&to.address)?;
                Ok("the connection was closed".into())
            }
        }
    }

    /// Puts names in place of what is this broker's own, and of the values that were kept.
    fn named(&self, json: Json) -> Json {
        match json {
            Json::Array(items) => items.into_iter().map(|i| self.named(i)).collect(),
            Json::Object(fields) => fields.into_iter().map(|(k, v)| (k, self.named(v))).collect(),
            Json::Number(number) => {
                let name = self.own.iter().find(|(value, _)| number.to_string() == *value);
                name.map_or(Json::Number(number), |(_, name)| (*name).into())
            }
            Json::String(text) => {
                let own = self.own.iter();
                let mut text =
                    own.fold(text, |text, (value, name)| text.replace(value.as_str(), name));
                // Short values are ordinary words and numbers, which must be equal as they are.
                for (name, value) in self.names.iter().filter(|(_, v)| v.len() >= 16) {
                    text = text.replace(value.as_str(), &format!("<{name}>"));
                }
                text.into()
            }
            other => other,
        }
    }
}

fn message<'a>(messages: &'a [Message], api: &str, kind: &str) -> Result<&'a Message> {
    let name = format!("{api}{kind}");
    messages.iter().find(|m| m.name == name).with_context(|| format!("no message is called {name}"))
}

/// The value at `topics[0].partitions[1].errorCode`.
fn find<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    let mut here = json;
    for part in path.split('.') {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        here = here.get(name)?;
        for index in indexes.split(['[', ']']).filter(|i| !i.is_empty()) {
            here = here.get(index.parse::<usize>().ok()?)?;
        }
    }
    Some(here)
}

/// Paths at which two answers differ, with both values.
pub fn differences(left: &Json, right: &Json) -> Vec<(String, String, String)> {
    // A closed connection is one difference, not one for each field.
    if left.is_string() != right.is_string() {
        return vec![("answer".into(), left.to_string(), right.to_string())];
    }
    let (left, right) = (flatten(left), flatten(right));
    let paths: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let value = |side: &BTreeMap<String, String>, path: &String| {
        side.get(path).cloned().unwrap_or_else(|| "absent".into())
    };
    let mut different: Vec<(String, String, String)> = Vec::new();
    for path in paths {
        if value(&left, path) == value(&right, path) {
            continue;
        }
        // An element that only one of them has is one difference, not one for each of its fields.
        let whole = missing_element(&left, path).or_else(|| missing_element(&right, path));
        let Some(whole) = whole else {
            different.push((path.clone(), value(&left, path), value(&right, path)));
            continue;
        };
        if different.last().is_none_or(|(last, _, _)| *last != whole) {
            let seen = |side| match missing_element(side, path) {
                Some(_) => "absent".to_string(),
                None => summary(side, &whole),
            };
            different.push((whole.clone(), seen(&left), seen(&right)));
        }
    }
    different
}

/// The outermost `name[label]` on the way to a field of which this side has nothing.
fn missing_element(side: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let ends = path.match_indices("].").map(|(at, _)| at + 1);
    let mut elements = ends.map(|end| &path[..end]);
    let has = |element: &&str| {
        let from = side.range((*element).to_string()..).next();
        from.is_some_and(|(path, _)| path.starts_with(*element))
    };
    elements.find(|element| !has(element)).map(String::from)
}

/// What an element says, in one line.
fn summary(side: &BTreeMap<String, String>, element: &str) -> String {
    let fields =
        side.range(element.to_string()..).take_while(|(path, _)| path.starts_with(element));
    let fields: Vec<String> =
        fields.map(|(path, value)| format!("{}={value}", &path[element.len()..])).collect();
    fields.join(" ")
}

fn flatten(json: &Json) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    flatten_into(json, String::new(), &mut flat);
    flat
}

fn flatten_into(json: &Json, path: String, flat: &mut BTreeMap<String, String>) {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flatten_into(value, format!("{path}{dot}{name}"), flat);
            }
        }
        Json::Array(items) => {
            flat.insert(format!("{path}.len"), items.len().to_string());
            let key = identity(items);
            let mut items: Vec<&Json> = items.iter().collect();
            if key.is_none() {
                // Sets without names come in any order.
                items.sort_by_key(|i| {
                    (i.get("resourceName").map(ToString::to_string), i.to_string())
                });
            }
            for (at, item) in items.into_iter().enumerate() {
                let label = key
                    .and_then(|k| item.get(k))
                    .map_or_else(|| at.to_string(), |v| v.to_string().replace('"', ""));
                flatten_into(item, format!("{path}[{label}]"), flat);
            }
        }
        other => drop(flat.insert(path, other.to_string())),
    }
}

/// The field by which the elements of an array are told apart, so that order does not matter.
fn identity(items: &[Json]) -> Option<&'static str> {
    const KEYS: [&str; 17] = [
        "apiKey",
        "name",
        "topicName",
        "topic",
        "partitionIndex",
        "partition",
        "index",
        "groupId",
        "memberId",
        "nodeId",
        "brokerId",
        "replicaId",
        "key",
        "feature",
        "entityType",
        "resourceName",
        "topicId",
    ];
    KEYS.into_iter().find(|key| {
        let values: BTreeSet<String> =
            items.iter().filter_map(|i| i.get(key)).map(ToString::to_string).collect();
        !items.is_empty() && values.len() == items.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_script_names_api_versions_and_what_to_keep() {
        let steps = parse("# note\nMetadata 1-3 {\"topics\": []}\n  keep id = topics[0].topicId\n  until a.b = 0\n").unwrap();
        assert_eq!((steps[0].api, steps[0].versions.clone()), (ApiKey::Metadata, 1..=3));
        assert_eq!(steps[0].keep, [("id".to_string(), "topics[0].topicId".to_string())]);
        assert_eq!(steps[0].until, Some(("a.b".to_string(), json!(0))));
    }

    #[test]
    fn order_of_named_elements_does_not_matter() {
        let left =
            json!({"topics": [{"name": "a", "errorCode": 0}, {"name": "b", "errorCode": 3}]});
        let right =
            json!({"topics": [{"name": "b", "errorCode": 3}, {"name": "a", "errorCode": 7}]});
        let expected = vec![("topics[a].errorCode".to_string(), "0".to_string(), "7".to_string())];
        assert_eq!(differences(&left, &right), expected);
        assert_eq!(find(&left, "topics[1].name"), Some(&json!("b")));
    }

    #[test]
    fn an_element_that_is_missing_is_one_difference() {
        let left = json!({"topics": [{"name": "a", "errorCode": 0}]});
        let right = json!({"topics": []});
        let expected = [
            ("topics.len".to_string(), "1".to_string(), "0".to_string()),
            ("topics[a]".to_string(), ".errorCode=0 .name=\"a\"".to_string(), "absent".to_string()),
        ];
        assert_eq!(differences(&left, &right), expected);
    }
}
