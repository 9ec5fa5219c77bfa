//! Arguments in the style of Kafka's tools that are made of commands, as argparse4j reads them:
//! `tool --option value command --option value`; long names may be abbreviated, `-bvalue` is
//! `-b value`.
//!
//! Not here: what the arguments mean, and the wrapping and spacing of argparse4j's texts.

use std::collections::HashMap;
use std::fmt::Write;

/// What an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Nothing,
    /// A text.
    Text,
    /// A number of Java's `Integer`.
    Number,
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument {
    /// Its names, the long one first, with dashes.
    pub names: &'static [&'static str],
    /// What it takes.
    pub value: Value,
    /// Whether it must be there.
    pub required: bool,
    /// What it is for.
    pub about: &'static str,
}

/// A text or nothing.
pub(super) const fn text(names: &'static [&'static str], about: &'static str) -> Argument {
    Argument { names, value: Value::Text, required: false, about }
}

/// Without a value.
pub(super) const fn flag(names: &'static [&'static str], about: &'static str) -> Argument {
    Argument { names, value: Value::Nothing, required: false, about }
}

/// A number or nothing.
pub(super) const fn number(names: &'static [&'static str], about: &'static str) -> Argument {
    Argument { names, value: Value::Number, required: false, about }
}

/// It must be there.
pub(super) const fn required(argument: Argument) -> Argument {
    Argument { required: true, ..argument }
}

/// The arguments before the command, or behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// The tool's name, or the command's.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its arguments.
    pub arguments: &'static [Argument],
    /// Only one of these, by their long names.
    pub exclusive: &'static [&'static str],
    /// Whether one of them must be there.
    pub one_required: bool,
}

/// A tool and its commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    /// The tool itself.
    pub tool: Level,
    /// Its commands.
    pub commands: &'static [Level],
}

/// Why a command line is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It asks for help; this is it.
    Help(String),
    /// It is wrong.
    Wrong { usage: String, message: String },
}

/// A command line that was read.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The command.
    pub command: &'static str,
    found: HashMap<&'static str, Vec<String>>,
}

impl Words {
    /// Whether the argument with this long name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// Its value; the last one counts.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.found.get(name)?.last().map(String::as_str)
    }

    /// All its values.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.found.get(name).into_iter().flatten().map(String::as_str).collect()
    }

    /// Its value, a number.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.one(name)?.parse().ok()
    }
}

impl Grammar {
    /// Reads a command line.
    pub(super) fn parse(&self, words: &[String]) -> Result<Words, Refused> {
        let mut read = Words::default();
        let rest = self.level(&self.tool, words, &mut read)?;
        let tool = |message: &str| Err(self.wrong(&self.tool, message.to_owned()));
        let Some((first, rest)) = rest.split_first() else { return tool("too few arguments") };
        if first == "--" {
            return match rest {
                [] => tool("too few arguments"),
                rest => tool(&unrecognized(rest)),
            };
        }
        let command = self.command(first)?;
        read.command = command.name;
        let rest = self.level(command, rest, &mut read)?;
        let rest = match rest.split_first() {
            Some((first, behind)) if first == "--" => behind,
            _ => rest,
        };
        if !rest.is_empty() {
            return Err(self.wrong(command, unrecognized(rest)));
        }
        self.complete(command, &read)?;
        self.complete(&self.tool, &read)?;
        Ok(read)
    }

    /// The whole command line is wrong.
    pub(super) fn refuse(&self, message: String) -> Refused {
        self.wrong(&self.tool, message)
    }

    fn command(&self, word: &str) -> Result<&'static Level, Refused> {
        let wrong = |message| Err(self.wrong(&self.tool, message));
        if let Some(exact) = self.commands.iter().find(|command| command.name == word) {
            return Ok(exact);
        }
        let matching = self.commands.iter().filter(|command| command.name.starts_with(word));
        let mut matching: Vec<_> = matching.collect();
        matching.sort_by_key(|command| command.name);
        let names = |commands: &[&Level]| {
            let names: Vec<_> = commands.iter().map(|command| command.name).collect();
            names.join(", ")
        };
        match matching.as_slice() {
            [one] => Ok(one),
            [] => {
                let all: Vec<_> =
                    self.commands.iter().map(|command| format!("'{}'", command.name)).collect();
                wrong(format!("invalid choice: '{word}' (choose from {})", all.join(", ")))
            }
            several => wrong(format!("ambiguous command: {word} could match {}", names(several))),
        }
    }

    /// Reads arguments up to the first word that is none.
    fn level<'w>(
        &self,
        level: &Level,
        words: &'w [String],
        read: &mut Words,
    ) -> Result<&'w [String], Refused> {
        let mut left = words;
        while let Some((word, rest)) = left.split_first() {
            if word == "--" || !is_option(word) {
                break;
            }
            left = self.option(level, word, rest, read)?;
        }
        Ok(left)
    }

    fn option<'w>(
        &self,
        level: &Level,
        word: &str,
        rest: &'w [String],
        read: &mut Words,
    ) -> Result<&'w [String], Refused> {
        let wrong = |message| Err(self.wrong(level, message));
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let (argument, inline) = match find(level, name) {
            Found::One(argument) => (argument, inline),
            Found::Several(names) => {
                let names = names.join(", ");
                return wrong(format!("ambiguous option: {name} could match {names}"));
            }
            // Behind one dash: a letter, and what it takes or more letters.
            Found::None if !word.starts_with("--") && word.is_char_boundary(2) => {
                let (letter, more) = word.split_at(2);
                let Found::One(argument) = find(level, letter) else {
                    return wrong(unrecognized(std::slice::from_ref(&word)));
                };
                if argument.value == Value::Nothing && !more.is_empty() {
                    self.take(level, argument, "", read)?;
                    return self.option(level, &format!("-{more}"), rest, read);
                }
                (argument, Some(more).filter(|more| !more.is_empty()))
            }
            Found::None => return wrong(unrecognized(std::slice::from_ref(&word))),
        };
        if argument.value == Value::Nothing {
            if let Some(value) = inline {
                let names = shown(argument);
                return wrong(format!("argument {names}: ignore implicit argument '{value}'"));
            }
            self.take(level, argument, "", read)?;
            return Ok(rest);
        }
        let (value, rest) = match (inline, rest.split_first()) {
            (Some(value), _) => (value, rest),
            (None, Some((value, rest))) if !is_option(value) => (value.as_str(), rest),
            _ => return wrong(format!("argument {}: expected one argument", shown(argument))),
        };
        self.take(level, argument, value, read)?;
        Ok(rest)
    }

    fn take(
        &self,
        level: &Level,
        argument: &Argument,
        value: &str,
        read: &mut Words,
    ) -> Result<(), Refused> {
        let name = long(argument);
        if name == "help" {
            return Err(Refused::Help(self.help(level)));
        }
        let names = shown(argument);
        if argument.value == Value::Number && value.parse::<i32>().is_err() {
            let text = format!(
                "argument {names}: could not convert '{value}' to Integer (For input string: \
                 \"{value}\")"
            );
            return Err(self.wrong(level, text));
        }
        if level.exclusive.contains(&name) {
            let earlier = level.exclusive.iter().find(|other| **other != name && read.has(other));
            if let Some(earlier) = earlier.and_then(|earlier| of_name(level, earlier)) {
                let text =
                    format!("argument {names}: not allowed with argument {}", shown(earlier));
                return Err(self.wrong(level, text));
            }
        }
        read.found.entry(name).or_default().push(value.to_owned());
        Ok(())
    }

    fn complete(&self, level: &Level, read: &Words) -> Result<(), Refused> {
        let missing = |argument: &&Argument| argument.required && !read.has(long(argument));
        if let Some(argument) = level.arguments.iter().find(missing) {
            return Err(self.wrong(level, format!("argument {} is required", shown(argument))));
        }
        if level.one_required && !level.exclusive.iter().any(|name| read.has(name)) {
            let names = level.exclusive.iter().filter_map(|name| of_name(level, name)).map(shown);
            let names = names.collect::<Vec<_>>().join(" ");
            return Err(self.wrong(level, format!("one of the arguments {names} is required")));
        }
        Ok(())
    }

    fn wrong(&self, level: &Level, message: String) -> Refused {
        Refused::Wrong { usage: self.usage(level), message }
    }

    fn is_tool(&self, level: &Level) -> bool {
        level.name == self.tool.name
    }

    fn usage(&self, level: &Level) -> String {
        let mut line = format!("usage: {}", self.tool.name);
        if !self.is_tool(level) {
            let _ = write!(line, " {}", level.name);
        }
        line.push_str(" [-h]");
        for argument in level.arguments {
            let text = left(argument);
            let text = if argument.required { text } else { format!("[{text}]") };
            let _ = write!(line, " {text}");
        }
        if self.is_tool(level) {
            let names: Vec<_> = self.commands.iter().map(|command| command.name).collect();
            let _ = write!(line, " {{{}}} ...", names.join(","));
        }
        line
    }

    fn help(&self, level: &Level) -> String {
        let mut text = format!("{}\n", self.usage(level));
        if !level.about.is_empty() {
            let _ = writeln!(text, "\n{}", level.about);
        }
        let mut row = |left: &str, about: &str| {
            let _ = writeln!(text, "  {left:<42} {about}");
        };
        if self.is_tool(level) {
            for command in self.commands {
                row(command.name, command.about);
            }
        }
        row("-h, --help", HELP.about);
        for argument in level.arguments {
            let mut names = left(argument);
            for short in argument.names.iter().skip(1) {
                let _ = write!(names, ", {short}");
            }
            row(&names, argument.about);
        }
        text
    }
}

const HELP: Argument = flag(&["--help", "-h"], "show this help and exit");

enum Found<'a> {
    None,
    One(&'a Argument),
    Several(Vec<&'static str>),
}

fn find<'a>(level: &'a Level, name: &str) -> Found<'a> {
    let all = || level.arguments.iter().chain(std::iter::once(&HELP));
    if let Some(exact) = all().find(|argument| argument.names.contains(&name)) {
        return Found::One(exact);
    }
    if !name.starts_with("--") {
        return Found::None;
    }
    let begins = |argument: &&Argument| argument.names.iter().any(|one| one.starts_with(name));
    let matching: Vec<&Argument> = all().filter(begins).collect();
    match matching.as_slice() {
        [] => Found::None,
        [one] => Found::One(one),
        several => {
            let mut names: Vec<_> =
                several.iter().filter_map(|argument| argument.names.first().copied()).collect();
            names.sort_unstable();
            Found::Several(names)
        }
    }
}

fn of_name<'a>(level: &'a Level, name: &str) -> Option<&'a Argument> {
    level.arguments.iter().find(|argument| long(argument) == name)
}

/// The long name without dashes.
fn long(argument: &Argument) -> &'static str {
    argument.names.first().map_or("", |name| name.trim_start_matches('-'))
}

fn shown(argument: &Argument) -> String {
    argument.names.join("/")
}

fn left(argument: &Argument) -> String {
    let name = long(argument);
    match argument.value {
        Value::Nothing => format!("--{name}"),
        _ => format!("--{name} {}", name.replace('-', "_").to_uppercase()),
    }
}

fn unrecognized(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    format!("unrecognized arguments: '{}'", words.join(" "))
}

/// A dash alone and negative numbers are values.
fn is_option(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| {
        !rest.is_empty() && !rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAMMAR: Grammar = Grammar {
        tool: Level {
            name: "tool",
            about: "A tool.",
            arguments: &[text(&["--file"], "A file.")],
            exclusive: &[],
            one_required: false,
        },
        commands: &[
            Level {
                name: "begin",
                about: "Begins.",
                arguments: &[
                    text(&["--server", "-s"], "Where."),
                    text(&["--service", "-S"], "Where else."),
                    required(number(&["--id", "-i"], "Which.")),
                    flag(&["--dry-run", "-d"], "Only looks."),
                ],
                exclusive: &["server", "service"],
                one_required: true,
            },
            Level {
                name: "bend",
                about: "Bends.",
                arguments: &[text(&["--feature", "-f"], "What.")],
                exclusive: &[],
                one_required: false,
            },
        ],
    };

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let found = match GRAMMAR.parse(&words) {
            Err(Refused::Help(text)) => text.lines().next().unwrap_or_default().to_owned(),
            Err(Refused::Wrong { message, .. }) => message,
            Ok(words) => {
                let mut text = words.command.to_owned();
                for name in ["file", "server", "service", "id", "dry-run", "feature"] {
                    if words.has(name) {
                        let _ = write!(text, " {name}={}", words.all(name).join("+"));
                    }
                }
                text
            }
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn command_lines() {
        check("begin --server a --id 1", "begin server=a id=1");
        check("--file=f begin -sa -i=-1 -d", "begin file=f server=a id=-1 dry-run=");
        check("begin -di 7 --serv a", "ambiguous option: --serv could match --server, --service");
        check("begin -di 7 --service=a", "begin service=a id=7 dry-run=");
        check("ben --feature a -f b", "bend feature=a+b");
        check("bend --", "bend");
        check("bend -f -", "bend feature=-");
        check("bend -h --nonsense", "usage: tool bend [-h] [--feature FEATURE]");
        check("--help", "usage: tool [-h] [--file FILE] {begin,bend} ...");
    }

    #[test]
    fn complaints() {
        check("", "too few arguments");
        check("be", "ambiguous command: be could match begin, bend");
        check("none", "invalid choice: 'none' (choose from 'begin', 'bend')");
        check("-- bend", "unrecognized arguments: 'bend'");
        check("bend a --feature b", "unrecognized arguments: 'a --feature b'");
        check("bend --no", "unrecognized arguments: '--no'");
        check("bend -no", "unrecognized arguments: '-no'");
        check("bend --file f", "unrecognized arguments: '--file'");
        check("bend -f", "argument --feature/-f: expected one argument");
        check("bend -f -x", "argument --feature/-f: expected one argument");
        check("begin -s a", "argument --id/-i is required");
        check("begin -i 1", "one of the arguments --server/-s --service/-S is required");
        check("begin -s a -S b", "argument --service/-S: not allowed with argument --server/-s");
        check("begin --dry-run=1", "argument --dry-run/-d: ignore implicit argument '1'");
        check(
            "begin -i x",
            "argument --id/-i: could not convert 'x' to Integer (For input string: \"x\")",
        );
    }
}
