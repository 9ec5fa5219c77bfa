//! The command line as people and scripts type it: defaults, what is refused.

#![allow(clippy::unwrap_used, reason = "test code: a panic is how it fails")]

use ottla_cli::{Cli, Local};

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
