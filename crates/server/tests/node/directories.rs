//! Log directories that cannot be used: at the start, and under a node that runs.

use std::time::Duration;

use ottla_testkit::{Folder, NodeOptions};

use crate::support::{check_failure, ottla, ottla_with, properties, running, succeeds};

#[test]
fn a_node_goes_on_without_a_directory_but_not_without_its_metadata() {
    let folder = Folder::new("dirs").unwrap();
    let [first, second] = ["a", "b"].map(|dir| folder.path().join(dir));
    let dirs = format!("{},{}", first.display(), second.display());
    let mut node = running(NodeOptions::default().with("log.dirs", &dirs)).unwrap();
    node.stop().unwrap();
    let away = folder.path().join("away");
    std::fs::rename(&second, &away).unwrap();
    std::fs::write(&second, "no directory").unwrap();
    node.restart().unwrap();
    let output = node.process().unwrap().output();
    assert!(output.contains("the log directory failed and is offline"), "{output}");
    succeeds(&["-b", node.bootstrap(), "topic", "create", "t"], "").unwrap();
    node.stop().unwrap();

    std::fs::remove_file(&second).unwrap();
    std::fs::rename(&away, &second).unwrap();
    std::fs::rename(&first, &away).unwrap();
    std::fs::write(&first, "no directory").unwrap();
    let ran = ottla(&["server", &properties(&node)]).unwrap();
    check_failure("no metadata directory", &ran, 1, &["cannot be used"]).unwrap();
}

#[test]
fn a_node_ends_when_its_only_directory_fails() {
    let folder = Folder::new("dirs").unwrap();
    let data = folder.path().join("data");
    let options = NodeOptions::default()
        .with("log.dirs", &data.display().to_string())
        .with("log.segment.bytes", "1048576");
    let mut node = running(options).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "t"], "").unwrap();
    // The next segment cannot be made.
    std::fs::rename(data.join("t-0"), folder.path().join("away")).unwrap();
    let line = format!("{}\n", "x".repeat(100_000));
    ottla_with(&["-b", &bootstrap, "--timeout", "5", "produce", "t"], &line.repeat(30)).unwrap();
    let ended = node.process().unwrap().wait(Duration::from_secs(30)).unwrap();
    let output = node.process().unwrap().output();
    assert_eq!(ended.code(), Some(1), "{output}");
    assert!(output.contains("the metadata log directory"), "{output}");
}
