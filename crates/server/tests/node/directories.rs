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

/// As a failing disk may leave it at the end of a move: the directory that the controller knows has everything.
#[test]
fn of_two_directories_with_one_partition_the_assigned_one_is_served() {
    let folder = Folder::new("dirs").unwrap();
    let dirs = ["a", "b"].map(|dir| folder.path().join(dir));
    let list = format!("{},{}", dirs[0].display(), dirs[1].display());
    let mut node = running(NodeOptions::default().with("log.dirs", &list)).unwrap();
    let bootstrap = node.bootstrap().to_owned();
    succeeds(&["-b", &bootstrap, "topic", "create", "t", "--partitions", "2"], "").unwrap();
    let place = |name: &str| dirs.iter().position(|dir| dir.join(name).exists()).unwrap();
    let names = ["t-0", "t-1"];
    assert_ne!(place(names[0]), place(names[1]), "one in each directory");
    node.stop().unwrap();
    // Both are empty, and so are their copies in the other directory.
    for (name, from) in names.map(|name| (name, place(name))) {
        let (from, to) = (dirs[from].join(name), dirs[1 - from].join(name));
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(&from).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        std::fs::rename(&to, folder.path().join(name)).unwrap();
    }
    node.restart().unwrap();
    for partition in ["0", "1"] {
        let produce = ["-b", &bootstrap, "produce", "t", "--partition", partition];
        succeeds(&produce, &format!("value {partition}\n")).unwrap();
    }
    node.stop().unwrap();
    for (name, from) in names.map(|name| (name, place(name))) {
        std::fs::rename(folder.path().join(name), dirs[1 - from].join(name)).unwrap();
    }
    node.restart().unwrap();
    let consume = ["-b", &bootstrap, "consume", "t", "--from-beginning", "--exit-at-end"];
    let mut values: Vec<_> = succeeds(&consume, "").unwrap().lines().map(String::from).collect();
    values.sort();
    assert_eq!(values, ["value 0", "value 1"]);
}
