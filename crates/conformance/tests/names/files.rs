//! Files that command lines name: settings of clients, configurations of nodes, directories.
//!
//! `{dir}/{x}/name.properties` is of one side alone, since formatting changes directories.

use std::path::Path;

use anyhow::Result;

/// A configuration's name, what it has beside [`BASE`] (a line that begins with `-` takes that key away), and its
/// directories.
const NODES: &[(&str, &[&str], &[&str])] = &[
    ("static", &[VOTERS], &["a"]),
    ("more", &[VOTERS], &["a", "b"]),
    ("dynamic", &[SERVERS], &["c", "d"]),
    ("joining", &[SERVERS], &["e"]),
    ("initial", &[SERVERS], &["f"]),
    ("others", &[SERVERS], &["g"]),
    ("two", &[VOTERS, "metadata.log.dir={dir}/i"], &["h"]),
    ("broker", &["process.roles=broker", "listeners=PLAINTEXT://127.0.0.1:29412", SERVERS], &["j"]),
    ("other-node", &[VOTERS, "node.id=2", "controller.quorum.voters=2@127.0.0.1:29413"], &["a"]),
    ("fresh", &[VOTERS], &["fresh"]),
    ("no-roles", &[VOTERS, "-process.roles"], &["fresh"]),
    ("no-id", &[VOTERS, "-node.id"], &["fresh"]),
    ("no-voters", &[], &["fresh"]),
    ("bad-value", &[VOTERS, "log.retention.hours=x"], &["fresh"]),
    ("file", &[VOTERS], &["file"]),
    ("unwritable", &[VOTERS, "log.dirs=/proc/none"], &["fresh"]),
    ("foreign", &[VOTERS], &["foreign"]),
    ("garbage", &[VOTERS], &["garbage"]),
];

const VOTERS: &str = "controller.quorum.voters=1@127.0.0.1:29413";
const SERVERS: &str = "controller.quorum.bootstrap.servers=127.0.0.1:29413";

const BASE: &[&str] = &[
    "node.id=1",
    "process.roles=broker,controller",
    "controller.listener.names=CONTROLLER",
    "listeners=PLAINTEXT://127.0.0.1:29412,CONTROLLER://127.0.0.1:29413",
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
];

/// A batch of one record, "one", at offset 1; its largest timestamp is at byte 35.
const BATCH: &str = "\
    00000000000000010000003b0000000002754e1245000000000000000001a2091ecdad000001a2091ecdad00000000000000\
    01000000000000000000011200000001066f6e6500";

/// Writes them into a folder.
pub(crate) fn write(folder: &Path, sides: &[&str]) -> Result<()> {
    // An address that does not answer costs a minute otherwise.
    let impatient = "request.timeout.ms=500\ndefault.api.timeout.ms=1000\n";
    std::fs::write(folder.join("impatient.properties"), impatient)?;
    std::fs::write(folder.join("topic.properties"), "retention.ms=2000\nsegment.ms = 5000\n")?;
    std::fs::write(folder.join("random-uuid.arguments"), "random-uuid\n--help\n")?;
    for side in sides {
        nodes(&folder.join(side))?;
    }
    nodes(&folder.join("both"))?;
    logs(&folder.join("logs"))
}

/// Segments and indexes that are damaged or do not fit.
fn logs(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let digits = BATCH.as_bytes().chunks(2);
    let batch: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).map_err(Into::into))
        .collect::<Result<_>>()?;
    let mut flipped = batch.clone();
    flipped[68] ^= 1;
    let name = |first: u64, ending: &str| folder.join(format!("{first:020}.{ending}"));
    let write =
        |first, ending, parts: &[&[u8]]| std::fs::write(name(first, ending), parts.concat());
    write(1, "log", &[&batch, b"8 bytes."])?;
    // Entries that say 9 at 0, and 1 at 0.
    write(1, "index", &[&[0, 0, 0, 8, 0, 0, 0, 0], &[0; 8]])?;
    let time = &batch[35..43];
    // A time that is not the batch's, an offset that is not there, and room that is not used.
    let entries: [&[u8]; 6] =
        [&[0, 0, 0, 0, 0, 0, 0, 5], &[0; 4], time, &[0, 0, 0, 3], time, &[0; 4]];
    write(1, "timeindex", &entries)?;
    write(2, "log", &[&flipped])?;
    write(3, "log", &[&batch, &[0; 100]])?;
    write(4, "log", &[&batch, &batch])?;
    write(5, "log", &[&[]])?;
    write(5, "index", &[&[]])?;
    write(5, "timeindex", &[&[]])?;
    write(5, "snapshot", &[&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]])?;
    let aborted: Vec<u8> =
        [7_i64, 1, 2, 3].iter().flat_map(|number| number.to_be_bytes()).collect();
    write(5, "txnindex", &[&[0, 0], &aborted])?;
    Ok(())
}

fn nodes(folder: &Path) -> Result<()> {
    for (name, meta) in
        [("foreign", "version=1\ncluster.id=other\nnode.id=1\n"), ("garbage", "garbage\n")]
    {
        std::fs::create_dir_all(folder.join(name))?;
        std::fs::write(folder.join(name).join("meta.properties"), meta)?;
    }
    std::fs::write(folder.join("file"), "no directory")?;
    std::fs::write(folder.join("empty.properties"), "")?;
    let own = folder.display().to_string();
    for (name, lines, directories) in NODES {
        let directories: Vec<String> = directories.iter().map(|d| format!("{own}/{d}")).collect();
        let mut all: Vec<String> = BASE.iter().map(ToString::to_string).collect();
        all.push(format!("log.dirs={}", directories.join(",")));
        for line in *lines {
            let key = |line: &str| {
                line.trim_start_matches('-').split('=').next().unwrap_or_default().to_string()
            };
            all.retain(|other| key(other) != key(line));
            if !line.starts_with('-') {
                all.push(line.replace("{dir}", &own));
            }
        }
        std::fs::write(folder.join(format!("{name}.properties")), all.join("\n"))?;
    }
    Ok(())
}
