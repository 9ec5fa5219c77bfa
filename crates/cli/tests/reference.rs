//! `docs/cli.md`, made from the definition of the command line; `UPDATE_EXPECT=1` writes it anew.
//!
//! It has what `--help` has, hidden commands and options left out, in the order of the help.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how it fails")]

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};
use ottla_cli::Cli;

const HEAD: &str = "\
# Command line

`ottla` is one binary: a node, and the tools for every cluster that speaks Kafka's protocol. Without a command it is
`ottla server`. `ottla COMMAND --help` shows what is here; how commands end is in [exit-codes.md](exit-codes.md).

This page is made from the definition of the command line, in crate `cli`:
`UPDATE_EXPECT=1 cargo test -p ottla-cli --test reference` writes it anew.
";

#[test]
fn the_page_is_what_the_definition_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = page();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/cli.md is not current; UPDATE_EXPECT=1 writes it anew");
}

fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = HEAD.to_owned();
    page.push_str("\n| command | does |\n|---|---|\n");
    for command in shown(&root) {
        let name = command.get_name();
        writeln!(page, "| [`{name}`](#ottla-{name}) | {} |", about(command)).unwrap();
    }
    page.push_str("\n## Options of every command\n");
    let shared = root.get_arguments().filter(|arg| is_listed(arg));
    page.push_str(&arguments(shared));
    for command in shown(&root) {
        describe(command, "##", &mut page);
    }
    page
}

fn describe(command: &Command, level: &str, page: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    write!(page, "\n{level} {name}\n\n{}\n", long_about(command)).unwrap();
    if command.has_subcommands() {
        shown(command).for_each(|sub| describe(sub, &format!("{level}#"), page));
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim_start);
    let usage = usage.collect::<Vec<_>>().join("\n");
    write!(page, "\n```text\n{usage}\n```\n").unwrap();
    let own = |arg: &&Arg| !arg.is_global_set() && is_listed(arg);
    let positional = command.get_positionals().filter(own);
    let named = command.get_arguments().filter(|arg| !arg.is_positional()).filter(own);
    page.push_str(&arguments(positional.chain(named)));
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// Arguments of a command itself; `--help` and `--version` say nothing of it.
fn is_listed(arg: &Arg) -> bool {
    !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

fn about(command: &Command) -> String {
    cell(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

/// All that is said of a command, each paragraph a sentence at least.
fn long_about(command: &Command) -> String {
    let text = command.get_long_about().or_else(|| command.get_about());
    let text = text.map(ToString::to_string).unwrap_or_default();
    let paragraphs = text.split("\n\n").map(|text| format!("{}.", text.trim_end_matches('.')));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn arguments<'a>(all: impl Iterator<Item = &'a Arg>) -> String {
    let mut rows = String::new();
    for arg in all {
        writeln!(rows, "| {} | {} |", spelling(arg), cell(&meaning(arg))).unwrap();
    }
    match rows.as_str() {
        "" => rows,
        _ => format!("\n| argument | meaning |\n|---|---|\n{rows}"),
    }
}

/// `-b`, `--brokers HOST:PORT`.
fn spelling(arg: &Arg) -> String {
    let takes_value = arg.is_positional() || arg.get_action().takes_values();
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let value = match names.is_empty() {
        true => arg.get_id().as_str().to_uppercase(),
        false => names.join(" "),
    };
    let long = arg.get_long().map(|long| format!("--{long}"));
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.into_iter().map(|alias| format!("--{alias}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    let mut names: Vec<String> = short.into_iter().chain(aliases).chain(long).collect();
    match names.last_mut() {
        Some(last) if takes_value => last.push_str(&format!(" {value}")),
        Some(_) => {}
        None => names.push(value),
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let possible: Vec<_> = arg.get_possible_values();
    let possible = possible.iter().filter(|value| !value.is_hide_set());
    let possible: Vec<String> = possible.map(|value| format!("`{}`", value.get_name())).collect();
    // A flag takes no value to choose.
    if arg.get_action().takes_values() && !possible.is_empty() {
        text.push_str(&format!("; one of {}", possible.join(", ")));
    }
    let default = arg.get_default_values().first().filter(|_| !arg.is_hide_default_value_set());
    if let Some(default) = default.filter(|_| arg.get_action().takes_values()) {
        text.push_str(&format!("; `{}` by default", default.display()));
    }
    if let Some(variable) = arg.get_env() {
        text.push_str(&format!("; environment `{}`", variable.display()));
    }
    text
}

/// Text that may stand in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
