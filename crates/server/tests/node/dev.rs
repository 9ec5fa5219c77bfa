//! `ottla dev`: the throw-away node.

use std::path::PathBuf;
use std::time::Duration;

use ottla_testkit::{DevNode, Folder, free_port};

use crate::support::{binary, json, succeeds};

const STOP_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn it_says_where_it_is_and_leaves_nothing_behind() {
    binary();
    let mut dev = DevNode::start(&["--override", "ottla.http.listener=127.0.0.1:0"]).unwrap();
    let text = |key: &str| dev.ready[key].as_str().unwrap_or_default().to_owned();
    let (bootstrap, http, data) = (text("bootstrap"), text("http"), PathBuf::from(text("data")));
    assert_eq!(dev.ready["pid"], dev.process.pid());
    let id = succeeds(&["-b", &bootstrap, "cluster", "id"], "").unwrap();
    assert_eq!(id.trim(), text("cluster_id"));
    assert_eq!(crate::support::http_get(&http, "/readyz").unwrap().0, 200);
    assert!(data.join("meta.properties").exists());
    dev.process.terminate().unwrap();
    assert_eq!(dev.process.wait(STOP_LIMIT).unwrap().code(), Some(0));
    assert!(!data.exists(), "{} is left", data.display());
}

#[test]
fn a_folder_of_ones_own_is_kept_and_a_port_is_obeyed() {
    binary();
    let folder = Folder::new("data").unwrap();
    let data = folder.path().join("deep/data").display().to_string();
    let port = free_port().unwrap().to_string();
    let arguments = ["--data", &data, "--port", &port];
    let bootstrap = format!("127.0.0.1:{port}");
    let mut cluster = None;
    for round in 0..2 {
        let mut dev = DevNode::start(&arguments).unwrap();
        assert_eq!(dev.bootstrap(), bootstrap);
        let id = dev.ready["cluster_id"].clone();
        assert_eq!(*cluster.get_or_insert_with(|| id.clone()), id);
        succeeds(&["-b", &bootstrap, "topic", "create", &format!("t{round}")], "").unwrap();
        dev.process.terminate().unwrap();
        assert_eq!(dev.process.wait(STOP_LIMIT).unwrap().code(), Some(0));
    }
    let dev = DevNode::start(&arguments).unwrap();
    let topics = json(&["-b", dev.bootstrap(), "topic", "list"]).unwrap();
    let names: Vec<_> = topics.as_array().unwrap().iter().map(|topic| &topic["name"]).collect();
    assert_eq!(names, ["t0", "t1"]);
}
