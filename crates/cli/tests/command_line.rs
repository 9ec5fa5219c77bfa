//! The command line as people and scripts see it: help, defaults, what is refused.
//!
//! The help is committed as text in `testdata/help.txt`; `UPDATE_EXPECT=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how it fails")]

use clap::CommandFactory;
use ottla_cli::{Cli, Local};

#[test]
fn help_is_what_is_committed() {
    let mut all = String::new();
    let mut root = Cli::command().term_width(100);
    root.build();
    write_help(&mut root, &mut all);
    let all: String = all.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/help.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &all).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == all, "help differs from {path}; UPDATE_EXPECT=1 writes it anew:\n{all}");
}

/// Every command once, without the options that all of them share.
fn write_help(command: &mut clap::Command, all: &mut String) {
    let shown = command.clone().mut_args(|arg| {
        let shared =
            ["brokers", "timeout", "output", "color", "no_header", "quiet", "help", "version"];
        let hidden = arg.is_hide_set() || shared.contains(&arg.get_id().as_str());
        arg.hide(hidden).hide_env_values(true)
    });
    all.push_str(&format!("{}\n", shown.clone().render_help()));
    for sub in command.get_subcommands_mut() {
        if sub.get_name() != "help" {
            all.push_str("----\n");
            write_help(sub, all);
        }
    }
}

fn parse(line: &str) -> Result<Cli, String> {
    Cli::from_arguments(std::iter::once("ottla").chain(line.split_whitespace()))
        .map_err(|error| error.to_string())
}

fn server(line: &str) -> ottla_cli::ServerArgs {
    match parse(line).unwrap().local() {
        Some(Local::Server(args)) => args,
        other => panic!("{line:?} is {other:?}"),
    }
}

#[test]
fn the_server_is_the_default_command() {
    assert!(server("").file.is_none());
    assert_eq!(server("server a.properties").file.unwrap().to_str(), Some("a.properties"));
    assert_eq!(server("a.properties").file.unwrap().to_str(), Some("a.properties"));
    let args = server("--override a=b --override c=d");
    assert_eq!(args.overrides, ["a=b", "c=d"]);
    assert!(server("--strict a.properties").strict);
}

#[test]
fn dev_and_storage_belong_to_the_binary() {
    assert!(
        matches!(parse("dev --port 9092").unwrap().local(), Some(Local::Dev(dev)) if dev.port == 9092)
    );
    let line =
        "storage format -t abc -c x.properties --standalone --feature kraft.version=1 -f a=2";
    let Some(Local::StorageFormat(format)) = parse(line).unwrap().local() else {
        panic!("{line}");
    };
    assert!(format.standalone);
    let levels = format.feature_levels().unwrap();
    assert_eq!(levels, [("kraft.version".to_owned(), 1), ("a".to_owned(), 2)]);
    assert!(parse("storage random-uuid").unwrap().local().is_none());
}

#[test]
fn near_misses_are_named() {
    for (line, tip) in [
        ("tpoic list", "'topic'"),
        ("topic lst", "'list'"),
        ("topic create t --partition 3", "'--partitions'"),
    ] {
        let error = parse(line).err().unwrap();
        assert!(error.contains("tip:") && error.contains(tip), "{line}: {error}");
    }
}

#[test]
fn contradictions_are_usage_errors() {
    for line in [
        "topic",
        "topic create",
        "topic create t -p 0",
        "topic create t -c novalue",
        "consume t --offset 3 --from-beginning",
        "consume t --group g --partition 1",
        "group reset-offsets g",
        "group reset-offsets g --to-earliest --to-latest",
        "storage format -t a -c x --standalone --no-initial-controllers",
        "storage format -c x",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
