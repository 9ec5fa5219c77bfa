//! Options in the style of Kafka's tools, as joptsimple reads them: `--name value`, `--name=value`,
//! `-name value`; an argument may look like an option; words that belong to none are passed over.
//!
//! Not here: what the options mean, and which go together; each tool says that. Abbreviations are
//! not understood, since none of the tools allows them.

use std::collections::HashMap;
use std::fmt::Write;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing.
    Nothing,
    /// An argument, called so in the usage.
    Argument(&'static str),
    /// An argument or nothing.
    Maybe(&'static str),
}

/// One option of a tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What it is for.
    pub about: &'static str,
}

/// An option without argument.
pub(super) const fn flag(name: &'static str, about: &'static str) -> Known {
    Known { name, takes: Takes::Nothing, about }
}

/// An option with an argument.
pub(super) const fn with(name: &'static str, what: &'static str, about: &'static str) -> Known {
    Known { name, takes: Takes::Argument(what), about }
}

/// A command line that was read.
#[derive(Debug, Default)]
pub(super) struct Options {
    found: HashMap<&'static str, Vec<Option<String>>>,
    /// Names as they came, each as often as it came.
    order: Vec<&'static str>,
    empty: bool,
}

const HELP: [Known; 2] =
    [flag("help", "Print usage information."), flag("version", "Display Kafka version.")];

impl Options {
    /// Reads a command line; the error is a text as joptsimple's.
    pub(super) fn parse(known: &[Known], arguments: &[String]) -> Result<Self, String> {
        let mut options = Self { empty: arguments.is_empty(), ..Self::default() };
        let mut left = arguments.iter();
        while let Some(word) = left.next() {
            if word == "--" {
                break;
            }
            let (name, inline) = match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
                None | Some("") => continue,
                Some(option) => match option.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (option, None),
                },
            };
            let found = known.iter().chain(&HELP).find(|one| one.name == name);
            let Some(found) = found else {
                // Behind a single dash every letter is an option of its own.
                let single = !word.starts_with("--");
                let name = if single { name.get(..1).unwrap_or(name) } else { name };
                return Err(format!("{name} is not a recognized option"));
            };
            let inline = inline.filter(|text| !text.is_empty());
            let value = match found.takes {
                Takes::Nothing => None,
                Takes::Argument(_) => {
                    let value = inline.or_else(|| left.next().map(String::as_str));
                    let missing = || format!("Option {name} requires an argument");
                    Some(value.ok_or_else(missing)?.to_owned())
                }
                Takes::Maybe(_) => {
                    let next = left.as_slice().first().filter(|next| !next.starts_with('-'));
                    let value = inline.map(str::to_owned).or_else(|| next.cloned());
                    if inline.is_none() && value.is_some() {
                        left.next();
                    }
                    value
                }
            };
            options.found.entry(found.name).or_default().push(value);
            options.order.push(found.name);
        }
        Ok(options)
    }

    /// Whether the command line was empty.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Whether the option is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// The argument of an option that may be there once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, String> {
        match self.found.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([value]) => Ok(value.as_deref()),
            Some(_) => Err(format!(
                "Found multiple arguments for option {name}, but you asked for only one"
            )),
        }
    }

    /// As [`Self::one`], a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| {
            let failed = |_| format!("Cannot parse argument '{text}' of option {name}");
            text.parse().map_err(failed)
        };
        self.one(name)?.map(parse).transpose()
    }

    /// The arguments of an option that may be there several times.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.found.get(name).into_iter().flatten().flatten().map(String::as_str).collect()
    }

    /// Those of these that are there, in the order of the command line, each as often as it came.
    pub(super) fn in_order(&self, names: &[&str]) -> Vec<&'static str> {
        self.order.iter().copied().filter(|name| names.contains(name)).collect()
    }

    /// The first of these that is there.
    pub(super) fn any_of<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names.iter().copied().find(|name| self.has(name))
    }

    /// How many of these are there.
    pub(super) fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }

    /// The complaint if one of `required` is missing.
    pub(super) fn require(&self, required: &[&str]) -> Result<(), String> {
        match required.iter().find(|name| !self.has(name)) {
            Some(name) => Err(format!("Missing required argument \"[{name}]\"")),
            None => Ok(()),
        }
    }

    /// The complaint if `used` is there together with one of `others`.
    pub(super) fn exclude(&self, used: &str, others: &[&str]) -> Result<(), String> {
        match self.any_of(others).filter(|_| self.has(used)) {
            Some(other) => {
                Err(format!("Option \"[{used}]\" can't be used with option \"[{other}]\""))
            }
            None => Ok(()),
        }
    }

    /// The complaint of a parser that was told which options are required.
    pub(super) fn demand(&self, required: &[&str]) -> Result<(), String> {
        if self.has("help") || self.has("version") {
            return Ok(());
        }
        let missing: Vec<&str> = required.iter().copied().filter(|name| !self.has(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("Missing required option(s) [{}]", missing.join(", ")))
    }
}

/// The table of options, two columns.
pub(super) fn usage(known: &[Known]) -> String {
    let mut rows: Vec<(String, &str)> = known
        .iter()
        .chain(&HELP)
        .map(|one| {
            let left = match one.takes {
                Takes::Nothing => format!("--{}", one.name),
                Takes::Argument(what) => format!("--{} <{what}>", one.name),
                Takes::Maybe(what) => format!("--{} [{what}]", one.name),
            };
            (left, one.about)
        })
        .collect();
    rows.sort();
    let mut text = format!("{:<LEFT$}Description\n{:<LEFT$}-----------\n", "Option", "------");
    for (left, about) in rows {
        let mut left = left;
        for line in wrapped(about, WIDTH - LEFT) {
            if LEFT <= left.len() {
                let _ = writeln!(text, "{left}");
                left.clear();
            }
            let _ = writeln!(text, "{left:<LEFT$}{line}");
            left.clear();
        }
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && width < line.len() + 1 + word.len() {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

const LEFT: usize = 41;
const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known] = &[
        flag("list", "lists"),
        with("topic", "name", "topic"),
        Known { name: "codec", takes: Takes::Maybe("codec"), about: "codec" },
    ];

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = match Options::parse(KNOWN, &words) {
            Err(error) => error,
            Ok(options) => {
                let mut parts = Vec::new();
                for name in ["list", "topic", "codec"] {
                    if options.has(name) {
                        parts.push(format!("{name}={}", options.all(name).join("+")));
                    }
                }
                parts.join(" ")
            }
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn command_lines() {
        check("--list --topic a", "list= topic=a");
        check("--topic=a", "topic=a");
        check("--topic=a=b", "topic=a=b");
        check("-topic a word", "topic=a");
        check("--topic --list", "topic=--list");
        check("--topic a --topic b", "topic=a+b");
        check("--codec --list", "list= codec=");
        check("--codec lz4", "codec=lz4");
        check("--codec=lz4", "codec=lz4");
        check("--topic", "Option topic requires an argument");
        check("--no", "no is not a recognized option");
        check("-no", "n is not a recognized option");
        check("-- --no", "");
    }

    #[test]
    fn complaints() {
        let words = ["--topic", "a", "--topic", "b"].map(str::to_owned);
        let options = Options::parse(KNOWN, &words).unwrap();
        assert_eq!(
            options.require(&["list"]),
            Err("Missing required argument \"[list]\"".to_owned())
        );
        assert!(options.one("topic").unwrap_err().starts_with("Found multiple arguments"));
        assert!(options.exclude("topic", &["list"]).is_ok());
        assert!(options.demand(&["list"]).unwrap_err().ends_with("[list]"));
        assert!(usage(KNOWN).lines().all(|line| line.len() <= WIDTH));
    }
}
