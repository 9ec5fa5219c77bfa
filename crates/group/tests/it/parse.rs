//! Words of a script line: positional words and `key=value` pairs.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_types::{Generation, PartitionIndex};

/// A line in pieces.
pub(crate) struct Line {
    pub(crate) command: String,
    words: Vec<String>,
    pairs: BTreeMap<String, String>,
}

impl Line {
    pub(crate) fn new(line: &str) -> Self {
        let mut all = line.split_whitespace().map(expand);
        let command = all.next().unwrap_or_default();
        let mut words = Vec::new();
        let mut pairs = BTreeMap::new();
        for word in all {
            match word.split_once('=') {
                Some((key, value)) if !key.contains('-') => {
                    pairs.insert(key.to_owned(), value.to_owned());
                }
                _ => words.push(word),
            }
        }
        Self { command, words, pairs }
    }

    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(crate) fn words(&self, from: usize) -> &[String] {
        self.words.get(from..).unwrap_or_default()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    pub(crate) fn or<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.get(key).unwrap_or(default)
    }

    pub(crate) fn number(&self, key: &str, default: i64) -> i64 {
        self.get(key).map_or(default, |text| text.parse().expect("a number"))
    }

    pub(crate) fn millis(&self, key: &str, default: u64) -> Duration {
        let millis = self.get(key).map_or(default, |text| text.parse().expect("milliseconds"));
        Duration::from_millis(millis)
    }

    pub(crate) fn generation(&self) -> Option<Generation> {
        Generation::from_wire(i32::try_from(self.number("gen", -1)).expect("a generation"))
    }

    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.get(key).into_iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
    }
}

/// `t-0` as topic and partition.
pub(crate) fn partition(text: &str) -> (&str, PartitionIndex) {
    let (topic, index) = text.rsplit_once('-').expect("topic-partition");
    (topic, PartitionIndex(index.parse().expect("a partition")))
}

/// `c~1` is short for the id that the client `c` gets with the first random number of a script.
/// `''` is the empty word.
pub(crate) fn expand(word: &str) -> String {
    let word = if word == "''" { "" } else { word };
    let mut out = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('~') {
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = after.split_at(digits);
        out += &format!("{before}-00000000-0000-4000-8000-{number:0>12}");
        rest = tail;
    }
    out + rest
}

/// The reverse of [`expand`].
pub(crate) fn shorten(text: &str) -> String {
    const MARK: &str = "-00000000-0000-4000-8000-";
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let (number, tail) = after.split_at(12);
        out += &format!("{before}~{}", number.trim_start_matches('0'));
        rest = tail;
    }
    out + rest
}
