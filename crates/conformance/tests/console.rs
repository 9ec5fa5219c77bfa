//! kafka-get-offsets with every name for a time, and what the console clients print and read.
#![allow(clippy::indexing_slicing, reason = "a missing field of an answer is a failed test")]

use anyhow::{Result, ensure};
use ottla_conformance::{Setup, ensure_java, tool_class};
use serde_json::json;

/// Three records whose middle one is the newest, the first of them deleted.
fn with_times() -> Result<Setup> {
    let mut setup = Setup::start()?;
    setup.topic("times", 2)?;
    let records = json!([
        {"partition": 0, "value": "a", "timestamp": 1000},
        {"partition": 0, "value": "b", "timestamp": 5000},
        {"partition": 0, "value": "c", "timestamp": 3000},
    ]);
    setup.call(json!({"do": "produce", "topic": "times", "records": records}))?;
    setup.call(json!({"do": "deleteRecords", "topic": "times", "partition": 0, "before": 1}))?;
    Ok(setup)
}

#[test]
fn offsets_by_every_name_of_a_time() -> Result<()> {
    ensure_java!();
    let mut setup = with_times()?;
    let (tool, bootstrap) = (tool_class("kafka-get-offsets")?, setup.node.bootstrap().to_owned());
    for (time, expected) in [
        ("-1", "times:0:3\ntimes:1:0"),
        ("latest", "times:0:3\ntimes:1:0"),
        ("-2", "times:0:1\ntimes:1:0"),
        ("earliest", "times:0:1\ntimes:1:0"),
        // A partition in which no record fits is not printed.
        ("-3", "times:0:1"),
        ("max-timestamp", "times:0:1"),
        ("-4", "times:0:1\ntimes:1:0"),
        ("earliest-local", "times:0:1\ntimes:1:0"),
        ("-5", ""),
        ("latest-tiered", ""),
        ("-6", ""),
        ("earliest-pending-upload", ""),
        ("4000", "times:0:1"),
        ("2000", "times:0:1"),
        ("6000", ""),
    ] {
        let command = json!({"do": "tool", "class": tool, "arguments": ["--bootstrap-server", bootstrap, "--topic", "times", "--time", time]});
        let out = setup.call(command)?;
        assert_eq!(out["out"].as_str().map(str::trim), Some(expected), "--time {time}: {out}");
    }
    Ok(())
}

#[test]
fn offsets_of_chosen_partitions() -> Result<()> {
    ensure_java!();
    let setup = with_times()?;
    for (chosen, expected) in [
        (["--topic", "tim.*", "--partitions", "1"].as_slice(), "times:1:0"),
        (&["--topic-partitions", "times:0"], "times:0:3"),
        (&["--topic-partitions", "t.*:0-2"], "times:0:3\ntimes:1:0"),
    ] {
        assert_eq!(setup.online("kafka-get-offsets", chosen)?.trim(), expected, "{chosen:?}");
    }
    Ok(())
}

#[test]
fn the_console_consumer_prints_what_it_is_asked_for() -> Result<()> {
    ensure_java!();
    let mut setup = Setup::start()?;
    setup.topic("lines", 1)?;
    let write = [
        "--topic",
        "lines",
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
        "--reader-property",
        "null.marker=NIL",
        "--command-property",
        "compression.type=zstd",
    ];
    let lines = "h1:v1,h2:v2\tk1\tone\nh1:v1\tNIL\ttwo\nNIL\tk3\tNIL\n";
    setup.online_with("kafka-console-producer", &write, lines)?;
    let properties = [
        "print.key=true",
        "print.offset=true",
        "print.partition=true",
        "print.headers=true",
        "print.timestamp=true",
        "key.separator=|",
        "headers.separator=;",
        "null.literal=nil",
    ];
    let mut read = vec!["--topic", "lines", "--from-beginning", "--max-messages", "3"];
    read.extend(["--group", "readers"]);
    read.extend(properties.iter().flat_map(|p| ["--formatter-property", p]));
    let out = setup.online("kafka-console-consumer", &read)?;
    let rows: Vec<Vec<&str>> = out.lines().map(|l| l.split('|').collect()).collect();
    ensure!(rows.iter().all(|r| r[0].starts_with("CreateTime:")), "{out}");
    let rest: Vec<&[&str]> = rows.iter().map(|r| &r[1..]).collect();
    assert_eq!(
        rest,
        [
            ["Partition:0", "Offset:0", "h1:v1;h2:v2", "k1", "one"],
            ["Partition:0", "Offset:1", "h1:v1", "nil", "two"],
            ["Partition:0", "Offset:2", "NO_HEADERS", "k3", "nil"],
        ]
    );
    // The group has committed: what comes next is what was written since.
    setup.online_with("kafka-console-producer", &["--topic", "lines"], "four\nfive\n")?;
    let next = ["--topic", "lines", "--group", "readers", "--max-messages", "1"];
    assert_eq!(setup.online("kafka-console-consumer", &next)?, "four\n");
    // One was read and the group left in time: the other is still owed.
    assert_eq!(setup.online("kafka-console-consumer", &next)?, "five\n");
    let at = ["--topic", "lines", "--partition", "0", "--offset", "1", "--max-messages", "2"];
    assert_eq!(setup.online("kafka-console-consumer", &at)?, "two\nnull\n");
    Ok(())
}
