//! `ottla storage format` and `info`: every flag, and that a node starts on what they left.

use ottla_testkit::{Kind, Node, NodeOptions};
use serde_json::Value;

use crate::support::{binary, check_failure, json, ottla, properties, succeeds};

const CLUSTER: &str = "b3R0bGEtdGVzdC1jbHVzdA";

fn prepared(options: NodeOptions) -> (Node, String) {
    binary();
    let node = Node::prepare(options).unwrap();
    let file = properties(&node);
    (node, file)
}

fn format<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["storage", "format", "-c", file, "-t", CLUSTER], more].concat()
}

/// A node whose voters are not in its properties.
fn dynamic() -> (Node, String) {
    let (node, file) = prepared(NodeOptions::default().with("controller.quorum.voters", ""));
    let servers = format!("controller.quorum.bootstrap.servers={}\n", node.controller());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + &servers).unwrap();
    (node, file)
}

fn level(features: &Value, name: &str) -> i64 {
    let features = features.as_array().unwrap();
    let feature = features.iter().find(|feature| feature["feature"] == name);
    let feature = feature.unwrap_or_else(|| panic!("no {name} in {features:?}"));
    // Level 0 is a feature that is not there.
    feature["level"].as_i64().unwrap_or(0)
}

#[test]
fn a_static_voter_is_formatted_once_and_told_so() {
    let (mut node, file) = prepared(NodeOptions::default());
    let before = ottla(&["storage", "info", "-c", &file]).unwrap();
    assert_eq!(before.code, Some(1), "{}", before.stdout);
    let said = succeeds(&format(&file, &[]), "").unwrap();
    let data = node.data().display().to_string();
    let expected = format!("Formatting metadata directory {data} with metadata.version 4.3-IV0.\n");
    assert_eq!(said, expected);
    let again = ottla(&format(&file, &[])).unwrap();
    check_failure("again", &again, 7, &[&data, "--ignore-formatted"]).unwrap();
    succeeds(&format(&file, &["--ignore-formatted"]), "").unwrap();
    // Whoever wants another cluster hears of both, and nothing is changed.
    let other = "R3Zs5wECQ3CF9YX2dAfAtQ";
    for more in [vec![], vec!["--ignore-formatted"]] {
        let arguments = [vec!["storage", "format", "-c", &file, "-t", other], more].concat();
        let refused = ottla(&arguments).unwrap();
        let says = format!("{data} belongs to cluster {CLUSTER}, not {other}");
        check_failure(
            "another cluster",
            &refused,
            7,
            &[&says, "Give the cluster id that the directory has"],
        )
        .unwrap();
    }
    let info = json(&["storage", "info", "-c", &file]).unwrap();
    assert_eq!(info["directories"][0]["cluster_id"], CLUSTER, "{info}");
    assert_eq!(info["directories"][0]["node_id"], 1);
    node.start_as(Kind::Ottla).unwrap();
    let id = succeeds(&["-b", node.bootstrap(), "cluster", "id"], "").unwrap();
    assert_eq!(id.trim(), CLUSTER);
    node.stop().unwrap();
}

#[test]
fn standalone_and_initial_controllers_make_a_dynamic_quorum() {
    let uuid = "R3Zs5wECQ3CF9YX2dAfAtQ";
    for standalone in [true, false] {
        let (mut node, file) = dynamic();
        let refused = ottla(&format(&file, &[])).unwrap();
        check_failure("nobody votes", &refused, 2, &["--standalone"]).unwrap();
        let voters = format!("1@{}:{uuid}", node.controller());
        let more =
            if standalone { vec!["--standalone"] } else { vec!["--initial-controllers", &voters] };
        succeeds(&format(&file, &more), "").unwrap();
        node.start_as(Kind::Ottla).unwrap();
        let features = json(&["-b", node.bootstrap(), "cluster", "features"]).unwrap();
        assert_eq!(level(&features, "kraft.version"), 1);
        let quorum = json(&["-b", node.bootstrap(), "quorum", "describe"]).unwrap();
        let endpoint = &quorum["endpoints"][0]["address"];
        assert_eq!(
            (&quorum["leader"], endpoint),
            (&1.into(), &node.controller().into()),
            "{quorum}"
        );
        if !standalone {
            let info = json(&["storage", "info", "-c", &file, "--override", "node.id=1"]);
            assert!(info.is_err(), "a running node's directory is locked");
        }
        node.stop().unwrap();
    }
}

#[test]
fn a_release_and_features_can_be_chosen() {
    let (mut node, file) = prepared(NodeOptions::default());
    let more = ["--release-version", "4.2", "--feature", "group.version=0"];
    let ran = ottla(&format(&file, &more)).unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("metadata.version 4.2-IV"), "{}", ran.stdout);
    node.start_as(Kind::Ottla).unwrap();
    let features = json(&["-b", node.bootstrap(), "cluster", "features"]).unwrap();
    assert!((25..30).contains(&level(&features, "metadata.version")), "{features}");
    assert_eq!(level(&features, "group.version"), 0);
    succeeds(&["-b", node.bootstrap(), "topic", "create", "works"], "").unwrap();
    node.stop().unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_and_formats_nothing() {
    let (node, file) = prepared(NodeOptions::default());
    let with = |id: &'static str| ["storage", "format", "-c", file.as_str(), "-t", id];
    check_failure("no uuid", &ottla(&with("nonsense")).unwrap(), 2, &["random-uuid"]).unwrap();
    for (more, says) in [
        (["--standalone", "-g"].as_slice(), "controller.quorum.voters is set"),
        (&["--release-version", "9.9"], "no release that this version knows"),
        (&["--feature", "unicorn.version=1"], "unicorn.version"),
        (&["--feature", "metadata.version"], "metadata.version"),
        (&["--feature", "group.version=99"], "group.version"),
    ] {
        check_failure(says, &ottla(&format(&file, more)).unwrap(), 2, &[says]).unwrap();
    }
    assert!(!node.data().join("meta.properties").exists());
}

#[test]
fn ids_and_releases_are_shown() {
    let one = succeeds(&["storage", "random-uuid"], "").unwrap();
    let two = succeeds(&["storage", "random-uuid"], "").unwrap();
    assert!(one.trim().len() == 22 && one != two, "{one}{two}");
    let mapping = succeeds(&["storage", "version-mapping", "-r", "4.3"], "").unwrap();
    assert!(mapping.contains("metadata.version") && mapping.contains("30"), "{mapping}");
    let needs = ["storage", "feature-dependencies", "-f", "transaction.version=2"];
    assert!(succeeds(&needs, "").unwrap().contains("transaction.version"));
}
