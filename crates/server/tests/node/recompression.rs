//! `compression.type` and its levels: what a broker that compresses itself leaves on disk.

use ottla_testkit::NodeOptions;

use crate::support::{running, succeeds};

/// Text in which there is more to find for whoever looks longer.
fn text() -> String {
    let words = ["offset", "leader", "epoch", "replica", "segment", "batch", "group", "record"];
    let mut state = 7_u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(state >> 20) as usize % words.len()]
    };
    (0..20_000).map(|number| format!("{} {} ", word(), number % 97)).collect()
}

#[test]
fn levels_are_seen_in_the_size_of_what_is_stored() {
    let node = running(NodeOptions::default()).unwrap();
    let text = text();
    let stored = |codec: &str, level: &str| {
        let topic = format!("{codec}{level}");
        let (codec, level) =
            (format!("compression.type={codec}"), format!("compression.{codec}.level={level}"));
        let create = ["-b", node.bootstrap(), "topic", "create", &topic, "-p", "1"];
        succeeds(&[&create[..], &["-c", &codec, "-c", &level]].concat(), "").unwrap();
        succeeds(&["-b", node.bootstrap(), "produce", &topic, "--whole"], &text).unwrap();
        let consume = ["-b", node.bootstrap(), "consume", &topic, "--from-beginning", "-e"];
        assert_eq!(succeeds(&consume, "").unwrap().trim_end_matches('\n'), text);
        let log = node.folder().join(format!("data/{topic}-0/00000000000000000000.log"));
        std::fs::metadata(log).unwrap().len()
    };
    for (codec, low, high) in [("gzip", "1", "9"), ("zstd", "1", "19")] {
        let (fast, small) = (stored(codec, low), stored(codec, high));
        assert!(small < fast && fast < text.len() as u64, "{codec}: {fast} at {low}, {small}");
    }
    // As the page on configuration says: one level, whatever is asked for.
    assert_eq!(stored("lz4", "1"), stored("lz4", "17"));
}
