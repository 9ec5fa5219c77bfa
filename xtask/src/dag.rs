//! `cargo xtask dag`: which crate may depend on which.
//!
//! The table is the law, cargo's metadata the evidence. Rules: an arrow points to a lower layer only,
//! so crates of one layer do not see each other; tokio is for shells; a core never sees a request.

use anyhow::{Result, bail};

use crate::workspace::{self, Package};

/// Layers from the bottom. A crate may depend on crates of earlier layers only.
const LAYERS: &[(&str, &[&str])] = &[
    ("foundation", &["codec", "types", "sys", "metrics"]),
    ("format", &["config", "record", "protocol"]),
    ("core", &["log", "quorum", "metadata", "group"]),
    ("net", &["net"]),
    ("client", &["client"]),
    ("assembly", &["broker"]),
    ("command", &["cli"]),
    ("binary", &["server"]),
    ("development", &["testkit"]),
    ("proof", &["sim", "conformance", "benches", "xtask"]),
];

/// Outside crates that only the named crates may use, with what to do instead.
const RESERVED: &[(&str, &[&str], &str)] = &[
    (
        "tokio",
        &["net", "client", "broker", "cli", "server", "conformance"],
        "a core takes events and returns effects; the driver in `broker` waits",
    ),
    (
        "ottla-protocol",
        &["net", "client", "broker", "cli", "conformance", "benches"],
        "translate the request in `broker::api` and hand the core its own types",
    ),
    (
        "anyhow",
        &["cli", "server", "testkit", "sim", "conformance", "xtask"],
        "a library's error is an enum that says whose fault it is",
    ),
    ("axum", &["broker"], "HTTP is the broker's; a core reports `Stats`"),
    (
        "tracing",
        &["net", "client", "broker", "server", "cli"],
        "return what happened; the shell logs it",
    ),
    ("rand", &[], "randomness comes in as an argument, drawn by the shell with rustix's getrandom"),
    ("memmap2", &["sys"], "mapped files are `sys`'s only"),
    ("libc", &["sys"], "use rustix, in `sys` or a shell; libc for what rustix has not"),
    ("openssl", &[], "TLS is rustls with ring"),
];

/// Checks the workspace and prints its layers.
pub(crate) fn run() -> Result<()> {
    let workspace = workspace::load()?;
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        complaints.extend(check(package));
    }
    for (layer, crates) in LAYERS.iter().rev() {
        println!("{layer:>12}  {}", crates.join(" "));
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("{} arrows point the wrong way:\n  {}", complaints.len(), complaints.join("\n  "))
}

fn check(package: &Package) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(own) = layer(&package.short) else {
        complaints.push(format!(
            "{}: not in a layer; add it to LAYERS in xtask/src/dag.rs",
            package.short
        ));
        return complaints;
    };
    for dependency in &package.dependencies {
        if let Some((name, users, instead)) = RESERVED.iter().find(|r| r.0 == dependency.name)
            && !users.contains(&package.short.as_str())
            && !dependency.dev
            && package.short != name.trim_start_matches("ottla-")
        {
            complaints.push(format!("{} uses {name}: {instead}", package.short));
        }
        let Some(used) = dependency.name.strip_prefix("ottla-") else { continue };
        let Some(other) = layer(used) else { continue };
        // Tests of any crate may use the test helpers, which know no other crate of ours.
        let test_helper = dependency.dev && used == "testkit";
        // A crate's own tests ask for its features so.
        let itself = dependency.dev && used == package.short;
        if own <= other && !test_helper && !itself {
            complaints.push(format!(
                "{} ({}) uses {used} ({}): an arrow points down only; move the shared piece below both",
                package.short, LAYERS[own].0, LAYERS[other].0
            ));
        }
    }
    complaints
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, crates)| crates.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn complaints(short: &str, uses: &[(&str, bool)]) -> Vec<String> {
        let dependencies =
            uses.iter().map(|(n, dev)| Dependency { name: (*n).into(), dev: *dev }).collect();
        check(&Package {
            short: short.into(),
            name: format!("ottla-{short}"),
            folder: "/".into(),
            published: true,
            dependencies,
        })
    }

    #[test]
    fn arrows_point_down() {
        assert_eq!(
            complaints(
                "log",
                &[("ottla-record", false), ("ottla-testkit", true), ("ottla-log", true)]
            ),
            Vec::<String>::new()
        );
        assert_eq!(complaints("record", &[("ottla-log", false)]).len(), 1);
    }

    #[test]
    fn cores_do_not_see_each_other() {
        assert_eq!(complaints("group", &[("ottla-metadata", false)]).len(), 1);
    }

    #[test]
    fn tokio_and_requests_are_for_shells() {
        assert_eq!(complaints("group", &[("tokio", false), ("ottla-protocol", false)]).len(), 2);
        assert_eq!(complaints("broker", &[("tokio", false), ("ottla-protocol", false)]).len(), 0);
    }

    #[test]
    fn an_unknown_crate_wants_a_layer() {
        assert!(complaints("mystery", &[])[0].contains("add it to LAYERS"));
    }
}
